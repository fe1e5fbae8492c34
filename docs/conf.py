"""How Sphinx builds the pages: everything they need is in the repository, so that they build and read offline."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import morn_losses  # noqa: E402

project = "morn-losses"
author = "the morn-losses contributors"
copyright = author
version = release = morn_losses.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "_static"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
myst_update_mathjax = False

# the extension marks the equations up; KaTeX renders them
mathjax_path = "katex/auto-render.min.js"
mathjax_options = {"defer": "defer"}
html_js_files = [
    ("katex/katex.min.js", {"defer": "defer", "priority": 100}),
    ("math.js", {"defer": "defer"}),
    "copy.js",
]
html_css_files = ["katex/katex.min.css", "page.css"]

# single backticks in docstrings, which read well in help(), are links here
default_role = "py:obj"

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signature and the docstring say it
autodoc_class_signature = "separated"
autodoc_default_options = {"exclude-members": "__init__, __new__"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = "morn-losses"
html_static_path = ["_static"]
html_extra_path = ["llms.txt"]  # where programs that read for a model look: at the root
html_copy_source = False
html_show_sourcelink = False
