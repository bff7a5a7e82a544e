"""Kernels beside those of the package CuBIE on PyPI, as the assembler made both.

``python -m benchmarks instructions --docs`` writes the table from what is kept of ours. Figures of
the other package are of version 0.17.0 (numba-cuda-mlir 0.5.3.1) with its defaults, compiled for
sm_90 and counted as ours are.
"""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen

from benchmarks.documents import RESULTS
from benchmarks.table import markdown_table

KINDS = ("instructions", "registers", "stack")
DEVICE = "sm_90"


@frozen(kw_only=True)
class Published:
    """What was measured of one kernel of the other package; None for what was not.

    Attributes
    ----------
    method : str
    states : int
    dtype : str
    adaptive : bool
    instructions : int or None
        Of an accepted step that is not saved.
    registers : int or None
        Of a thread.
    stack : int or None
        Bytes of a thread.
    """

    method: str
    states: int
    dtype: str = "float32"
    adaptive: bool = True
    instructions: int | None = None
    registers: int | None = None
    stack: int | None = None

    @property
    def name(self) -> str:
        return (
            f"{self.method}{'' if self.adaptive else ' fixed'}, {self.states} states, {self.dtype}"
        )


PUBLISHED = (
    Published(method="tsit5", states=3, adaptive=False, instructions=152, registers=40),
    Published(method="tsit5", states=3, instructions=220, registers=48),
    Published(method="tsit5", states=10, adaptive=False, instructions=486),
    Published(method="tsit5", states=10, instructions=651),
    Published(method="tsit5", states=20, adaptive=False, instructions=936),
    Published(method="tsit5", states=20, instructions=1241),
    Published(method="tsit5", states=40, adaptive=False, instructions=1845),
    Published(method="tsit5", states=40, instructions=2422),
    Published(method="tsit5", states=100, stack=2864),
    Published(method="rodas5p", states=3, instructions=464, registers=64, stack=0),
    Published(method="rodas5p", states=3, dtype="float64", instructions=858, registers=91, stack=0),
    Published(method="rodas5p", states=20, instructions=4442, registers=255, stack=1088),
    Published(method="kvaerno5", states=3, registers=72),
    Published(method="kvaerno5", states=3, dtype="float64", registers=132),
    Published(method="kvaerno5", states=20, stack=72),
    Published(method="radau_iia_5", states=20, stack=1272),
)


def beside(instructions: dict[str, Any], local: dict[str, Any]) -> list[tuple[Published, dict]]:
    """Return each kernel of the other package with ours, every buffer local.

    Parameters
    ----------
    instructions : dict
        Rows that `benchmarks instructions` keeps.
    local : dict
        Rows that ``benchmarks placement --only-local`` keeps, for what is not counted there.
    """
    return [(other, _ours(other, instructions, local)) for other in PUBLISHED]


def _ours(other: Published, instructions: dict, local: dict) -> dict[str, int | None]:
    steps = "adaptive" if other.adaptive else "fixed"
    row = instructions.get(f"{other.method} {steps} {other.states} {other.dtype} {DEVICE} local")
    if row is not None:
        return {"instructions": row["accepted"]["total"], **{k: row[k] for k in KINDS[1:]}}
    row = local[f"{other.method} {other.states} {other.dtype} {DEVICE}"]["placements"]["local"]
    return {"instructions": None, **{kind: row[kind] for kind in KINDS[1:]}}


def more_than_theirs(pairs: list[tuple[Published, dict]]) -> set[tuple[str, str]]:
    """Return where ours takes more: kernels, and instructions, registers or stack."""
    return {
        (other.name, kind)
        for other, ours in pairs
        for kind in KINDS
        if getattr(other, kind) is not None and ours[kind] > getattr(other, kind)
    }


def table(pairs: list[tuple[Published, dict]]) -> str:
    """Return the kernels as a Markdown table: ours / theirs."""
    rows = [
        (other.name, *(_both(ours[kind], getattr(other, kind)) for kind in KINDS))
        for other, ours in pairs
    ]
    return markdown_table(("kernel", *KINDS), rows)


def _both(ours: int | None, theirs: int | None) -> str:
    return f"{'-' if ours is None else ours} / {'-' if theirs is None else theirs}"


def kept() -> list[tuple[Published, dict]]:
    """Return the kernels with ours as they are kept."""
    files = ("instructions.json", "registers-later.json")
    rows = [json.loads((RESULTS / file).read_text(encoding="utf-8"))["rows"] for file in files]
    return beside(*rows)
