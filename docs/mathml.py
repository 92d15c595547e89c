"""Renders mathematics as MathML while the pages are built, so that a reader needs neither a network nor a script."""

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
    """The formula as a `math` element; one that cannot be rendered ends the build."""
    formula = formula.replace(r"\dots", r"\ldots")  # unknown to docutils, which also reads \frac12 as 12 over nothing
    formula = re.sub(r"(\\[dt]?frac)(\d)(\d)", r"\1{\2}{\3}", formula)
    if display and "&" in formula and r"\begin" not in formula:  # lines that the directive aligns
        formula = rf"\begin{{aligned}}{formula}\end{{aligned}}"
    try:
        return tex2mathml(formula, as_block=display).replace(r"\_", "_")  # which it leaves as it is in names
    except (MathError, AttributeError) as error:  # docutils stumbles over some syntax errors
        raise SphinxError(f"{node.source}:{node.line}: cannot render {formula!r}: {error}") from error
