"""Sphinx configuration; `make docs` builds with warnings as errors."""

import os
import sys
from pathlib import Path

from cubie.distribution import VERSION

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "cubie"
author = "the cubie developers"
copyright = "2026, the cubie developers"
version = release = VERSION

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "tables",
]
exclude_patterns = ["_build", "_extensions", "gallery"]
html_theme = "furo"
html_title = f"cubie {version}"
templates_path = []

# References lead somewhere. Types in docstrings are words: "array_like (n_runs, n)".
nitpicky = True
nitpick_ignore_regex = [("py:class", ".*")]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say shapes and units as well
napoleon_google_docstring = False
napoleon_use_ivar = True
autosummary_generate = False

# Pages of examples/ are written from the scripts of gallery/, which run at each build. Pages hold
# nothing of the machine: no times, no memory. Fast-math rounds as each processor likes: the numbers
# that are printed have fewer digits than that shows in.
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["COLUMNS"] = "100"
TOPICS = (
    *("dynamics", "neurons", "medicine", "chemistry"),
    *("mechanics", "inference", "sweeps", "planner"),
)
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "subsection_order": [f"gallery/{topic}" for topic in TOPICS],
    "within_subsection_order": "FileNameSortKey",
    "filename_pattern": r"\.py$",
    "copyfile_regex": r".*\.xml",  # models that pages offer for download
    "capture_repr": (),
    "min_reported_time": 10**9,
    "write_computation_times": False,
    "show_signature": False,
    "run_stale_examples": True,  # the code may have changed, if not the script
    "download_all_examples": False,
    "thumbnail_size": (400, 280),
}
