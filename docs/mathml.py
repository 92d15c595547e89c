"""Sphinx extension that renders mathematics as MathML, so that pages need neither JavaScript nor a network."""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.errors import SphinxError
from sphinx.util.math import get_node_equation_number


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def visit_inline(writer, node):
    writer.body.append(mathml(node, node.astext(), display=False))
    raise nodes.SkipNode


def visit_display(writer, node):
    writer.body.append(writer.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node["number"]:
        writer.body.append(f'<span class="eqno">({get_node_equation_number(writer, node)})')
        writer.add_permalink_ref(node, "Link to this equation")
        writer.body.append("</span>")
    writer.body.append(mathml(node, node.astext(), display=True))
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def mathml(node, formula, *, display):
    """Converts a formula to a `math` element. A formula that cannot be converted stops the build."""
    formula = formula.replace(r"\dots", r"\ldots")  # docutils does not know \dots, and misreads \frac12
    formula = re.sub(r"(\\[dt]?frac)(\d)(\d)", r"\1{\2}{\3}", formula)
    if display and "&" in formula and r"\begin" not in formula:  # the directive aligns such lines
        formula = rf"\begin{{aligned}}{formula}\end{{aligned}}"
    try:
        return tex2mathml(formula, as_block=display).replace(r"\_", "_")  # docutils keeps this escape in names
    except (MathError, AttributeError) as error:  # some syntax errors make docutils fail in other ways
        raise SphinxError(f"{node.source}:{node.line}: cannot render {formula!r}: {error}") from error
