"""Sphinx: MyST pages, furo.

The pages under _generated are written from theory, paper_figs and the sources at build time.
"""

import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

from numerics import __version__  # noqa: E402

project = "latedecay"
author = "the latedecay authors"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.mathjax", "generated", "executed"]
myst_enable_extensions = ["dollarmath", "amsmath", "substitution", "colon_fence", "attrs_inline"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_ext", "figures"]
html_theme = "furo"
html_title = "latedecay"
#: formulas show without a network: MathJax in one file, with its glyphs, copied beside the pages
mathjax = next(file for file in metadata.files("sphinx-mathjax-offline") or () if file.name == "tex-svg.js")
html_static_path = ["_static", str(mathjax.locate())]
mathjax_path = mathjax.name
html_css_files = ["latedecay.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_copyright = False
nitpicky = True
suppress_warnings = ["myst.header"]
