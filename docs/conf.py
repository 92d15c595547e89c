"""Sphinx configuration. The build needs no network; the page `contributing` has the command."""

import inspect
import os
import pydoc
import re
import sys
from pathlib import Path

import liftlayers

sys.path.insert(0, str(Path(__file__).parent))  # for the extensions `benchmark_charts`, `mathml` and `wavelet_table`

project = "liftlayers"
author = "The liftlayers developers"
project_copyright = author
version = release = liftlayers.__version__

extensions = [
    "benchmark_charts",
    "mathml",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "wavelet_table",
]
exclude_patterns = ["_build", "_templates", "gallery"]  # sphinx-gallery writes its pages to auto_gallery
templates_path = ["_templates"]
default_role = "py:obj"  # `name` links to documented names and is plain code otherwise

# Links to the documentation of other projects need a network, so they are optional.
if os.environ.get("LIFTLAYERS_DOCS_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
    }

autosummary_generate = True
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False  # otherwise every forward repeats the docstring of nn.Module.forward
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 160
napoleon_custom_sections = ["Shape"]
napoleon_preprocess_types = False

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "notebook_extensions": set(),  # offer the script for download, but no notebook
    "show_signature": False,
    "capture_repr": (),  # show what a script prints, but not the value of its last expression
    "min_reported_time": 60,
    "write_computation_times": False,
    "reference_url": {"liftlayers": None},
}

html_theme = "furo"
html_math_renderer = "mathml"
html_title = f"liftlayers {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_copy_source = False
html_show_sourcelink = False


def public_names():
    """Yields the qualified name of every public object."""
    for module in (liftlayers, liftlayers.functional, liftlayers.interop, liftlayers.testing):
        for name in module.__all__:
            if not inspect.ismodule(getattr(module, name)):
                yield f"{module.__name__}.{name}"


def parameter_names():
    """Yields the name of every parameter of every public object."""
    for full in public_names():
        thing = pydoc.locate(full)
        for function in (thing, getattr(thing, "forward", None)):
            if callable(function):
                yield from inspect.signature(function).parameters


# Every reference must resolve, except for names of parameters and for objects that these pages do not document.
nitpicky = True
nitpick_ignore = [("py:obj", name) for name in sorted(set(parameter_names()))]
nitpick_ignore_regex = [
    ("py:.*", r"torch(\..+)?|collections\.abc\..+|pathlib\.Path"),
    # private names in public signatures
    (
        "py:class",
        r"liftlayers\.(testing\.randomise|memory|nn\.integer)\.M|liftlayers\.(exact\._\w+|interop\.transforms)\.\w+",
    ),
]


def resolve_short_name(app, env, node, contnode):
    """Resolves a short name such as `Haar` to the public object of that name, `liftlayers.Haar`."""
    if node.get("refdomain") != "py":
        return None
    for full in public_names():
        if full.rpartition(".")[2] == node["reftarget"]:
            domain = env.get_domain("py")
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", full, node, contnode)
    return None


def require_documented(_app, env):
    """Warns about every public name that is missing from the API reference."""
    from sphinx.util import logging  # not at the top: doctest imports this file even without Sphinx

    for name in sorted(set(public_names()) - env.get_domain("py").objects.keys()):
        logging.getLogger(__name__).warning("%s is public, but api/index.rst does not list it", name)


def trim_blocks(_app, _docname, source):
    """Removes the empty line before a closing fence, which only doctest needs."""
    source[0] = re.sub(r"\n\n```$", "\n```", source[0], flags=re.MULTILINE)


def setup(app):
    app.connect("source-read", trim_blocks)
    app.connect("missing-reference", resolve_short_name)
    app.connect("env-check-consistency", require_documented)
