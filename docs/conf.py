"""Sphinx configuration; `make docs` builds with warnings as errors."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "cubie"
author = "the cubie developers"
copyright = "2026, the cubie developers"
version = release = installed_version("cubie")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "tables",
]
exclude_patterns = ["_build", "_extensions"]
html_theme = "furo"
html_title = f"cubie {version}"
templates_path = []

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say shapes and units as well
napoleon_google_docstring = False
napoleon_use_ivar = True
autosummary_generate = False
