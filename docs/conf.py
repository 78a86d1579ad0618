"""Sphinx configuration: ``make docs`` builds the site into ``docs/_build/html`` without any network."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import generate  # noqa: E402
from numpydoc.xref import DEFAULT_LINKS  # noqa: E402

import latentscale  # noqa: E402

project = "latentscale"
author = "the latentscale developers"
copyright = "the latentscale developers, BSD-3-Clause"
version = release = latentscale.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "mathml",
]
exclude_patterns = ["_build", "_generated/changelog.md"]
master_doc = "index"

# Notebooks come executed, from vignettes/frozen: the site shows what the tests of the vignettes have checked.
nb_execution_mode = "off"
nb_merge_streams = True
html_math_renderer = "mathml"
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_update_mathjax = False
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]

autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
# numpydoc would link words such as "sequence" to the manual of Python, which needs a network.
DEFAULT_LINKS.clear()
# Types in docstrings link to the package's own pages, and to nothing else.
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"
numpydoc_xref_aliases = generate.class_names(HERE / "reference")

html_theme = "furo"
html_title = f"latentscale {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
highlight_language = "none"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
templates_path = []

generate.write_all(HERE)
