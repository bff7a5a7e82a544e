"""What Python's messages advise, in the words of the command line and of model files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

NAME = r"'([^']+)'"


def _option(option: str, with_value: bool = False) -> Callable[[re.Match[str]], str]:
    """Return what writes an option of the command line with a name that was found."""

    def written(found: re.Match[str]) -> str:
        return f"{option} {shlex.quote(found[1] + (f'={found[2]}' if with_value else ''))}"

    return written


# What is written in Python, and what stands in its place.
OF_PYTHON = (
    (rf"\bsel=\{{{NAME}: ([^}}]*)\}}", _option("--sel", with_value=True)),
    (rf"\bover={NAME}", _option("--over")),
    (rf"\by={NAME}", _option("--y")),
    (r"another `(x|y)`", r"another --\1"),
    (r"solve with t_eval= for", "sweep with `t_eval` for"),
    (r"\bmax_events=(\d+)", r"--option max_events=\1"),
    (r"\bdtype='(\w+)'", r"--option dtype=\1"),
    (r"\(store='(\S+)'\)", r"(--store \1)"),
    (r"\(chunk=\)", "(--chunk)"),
    (r"\(over=\)", "(`sweep`)"),
    (r"\(t_eval=\)", "(`t_eval`)"),
    (r"\bsummaries= in", "`summaries` in"),
    (r"by cubie\.Sweep\.resume\(store\)", "by --resume without a model file"),
    (r"run\(\) of this sweep goes on, and so does cubie\.Sweep\.resume\(\S+\)\.run\(\)",
     "--resume goes on"),
    (r"what run\(\) goes on", "what --resume goes on"),
    (r"\brun\(\) computes", "--resume computes"),
    (r"Call cubie\.sweep\(\.\.\.\) with another store", "Give its model file and another --store"),
    (r"by cubie\.sweep\(\.\.\., store=\)", "with a model file and --store"),
    (r"Call (it|one|the dimension) otherwise: zipped\(\.\.\., dim='sample'\)",
     r'Call \1 otherwise: dim = "sample"'),
    (r"For all combinations use grid\(\.\.\.\)", "For all combinations use `grid`"),
    (r"rows\.rename_axis\('label'\)", "rename the column"),
    (rf"table\(rows, labels=\[{NAME}\]\)", r'labels = ["\1"]'),
    (r"over=cubie\.(grid|sampled)\((?:n, )?(\w+)=\.\.\.\)", r"`sweep.\1.\2`"),
    (r" before a pilot: s\.pilot\(\)", " without a pilot"),
)  # fmt: skip


def in_words_of_shell(message: str) -> str:
    """Return a message whose advice is typed, or written into a file, in place of called."""
    for pattern, instead in OF_PYTHON:
        message = re.sub(pattern, instead, message)
    return message
