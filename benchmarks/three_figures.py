"""The three figures that docs/measurements.md begins with, each with a picture, from kept raw data.

``python -m benchmarks.three_figures`` draws them and writes the page's sections;
``python -m benchmarks.three_figures --plan`` plans first, and keeps the bytes of every plan.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from math import log10
from pathlib import Path
from typing import Any

from benchmarks import cpu, pypi_cubie
from benchmarks.documents import DOCS, RESULTS, write_section
from benchmarks.performance_docs import MACHINE
from benchmarks.table import figures, markdown_table

PAGE = DOCS / "measurements.md"
PICTURES = DOCS / "pictures"
BYTES = RESULTS / "bytes-planned.json"
WORK = "W1"
# Of the contenders of W1: ours, loops written by hand for this system, and peers.
CONTENDERS = ("cubie", "numba lanes", "heyoka", "numbalsoda dop853", "diffrax", "scipy")
METHODS = ("rk4", "tsit5", "dop853", "rodas5p", "kvaerno5", "radau_iia_5")
STATES, DTYPE = 20, "float32"
Bar = tuple[str, float, float | None]  # what, of ours, of the other

OURS, OTHER = "#4a6fa5", "#b8860b"
WIDTH, ROW, LEFT = 640, 24, 210


def cpu_bars(results: Path = RESULTS) -> list[Bar]:
    """Return the least wall time of contenders, in milliseconds."""
    kept = json.loads((results / f"cpu-{MACHINE}.json").read_text(encoding="utf-8"))
    contenders = kept["works"][WORK]["contenders"]
    bars = []
    for name in CONTENDERS:
        found = cpu.summarise(contenders[name])
        assert found is not None, name
        bars.append((name, found["wall"][0], None))
    return bars


def instruction_bars() -> list[Bar]:
    """Return instructions of an accepted step, ours and those of the other package."""
    return [
        (other.name, ours["instructions"], other.instructions)
        for other, ours in pypi_cubie.kept()
        if other.instructions is not None and ours["instructions"] is not None
    ]


def bytes_bars(kept: Path = BYTES) -> list[Bar]:
    """Return bytes of a run in shared memory: as planned, and with bytes of its own for each."""
    rows = json.loads(kept.read_text(encoding="utf-8"))["rows"]
    return [(method, row["planned"], row["without_reuse"]) for method, row in rows.items()]


def planned_bytes(method: str) -> dict[str, Any]:
    """Plan a kernel with everything in shared memory: its bytes, and whether that is proven."""
    from benchmarks.specs import lorenz96
    from cubie import Solver
    from cubie_planner import Location

    solver = Solver(
        lorenz96, method=method, dtype=DTYPE, locations="shared", block_size=32,
        max_shared="227k", verify=False, **({"first_step": 1e-3} if method == "rk4" else {}),
    )  # fmt: skip
    plan = solver.prepare([1.0] * STATES, args=(8.0,))
    return {
        "planned": plan.shared_bytes_per_run,
        "without_reuse": plan.bytes_without_reuse(Location.SHARED),
        "status": str(plan.status),
    }


def picture(
    title: str, bars: Sequence[Bar], unit: str, names: tuple[str, str], logarithmic: bool = False
) -> str:
    """Return horizontal bars as SVG, each with its number; text has the colour of the page."""
    pairs = bars[0][2] is not None
    most = max(max(ours, other or 0) for _, ours, other in bars)

    def length(value: float) -> float:
        part = log10(value) / log10(most) if logarithmic else value / most
        return max(2.0, (WIDTH - LEFT - 90) * part)

    step = 2 * ROW if pairs else ROW
    height = 54 + step * len(bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{title}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        "<style>text{font:13px sans-serif;fill:#1f2933}.t{font-weight:bold}</style>",
        f'<text class="t" x="8" y="18">{title}</text>',
    ]
    scale = ", logarithmic" if logarithmic else ""
    parts.append(f'<text x="8" y="38">{unit}{scale}</text>')
    if pairs:
        for place, (name, colour) in enumerate(zip(names, (OURS, OTHER), strict=True)):
            x = LEFT + 150 * place
            parts.append(f'<rect x="{x}" y="28" width="12" height="12" fill="{colour}"/>')
            parts.append(f'<text x="{x + 18}" y="38">{name}</text>')
    for number, (name, ours, other) in enumerate(bars):
        y = 48 + step * number
        parts.append(f'<text x="8" y="{y + 16 + (10 if pairs else 0)}">{name}</text>')
        first = OURS if pairs or name == "cubie" else OTHER
        for value, colour in ((ours, first), (other, OTHER)):
            if value is None:
                continue
            wide = length(value)
            parts.append(
                f'<rect x="{LEFT}" y="{y + 3}" width="{wide:.1f}" height="{ROW - 8}" '
                f'fill="{colour}"/>'
                f'<text x="{LEFT + wide + 6:.1f}" y="{y + 16}">{_number(value)}</text>'
            )
            y += ROW - 4
    return "\n".join([*parts, "</svg>", ""])


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else figures(value)


def outcome() -> dict[str, str]:
    """Return the text of every picture and section, made from the raw data that is kept."""
    speed, counted, planned = cpu_bars(), instruction_bars(), bytes_bars()
    return {
        "speed-cpu.svg": picture(
            "10,000 Lorenz runs on two cores", speed, "ms (least)", ("", ""), logarithmic=True
        ),
        "instructions-gpu.svg": picture(
            "Instructions of one step of one run, H100", counted, "instructions",
            ("cubie", "CuBIE of the index"),
        ),
        "bytes-planned.svg": picture(
            f"Shared memory of one run, {STATES} states", planned, "bytes",
            ("planned", "without reuse"),
        ),
        "speed": markdown_table(
            ("10,000 Lorenz runs", "ms", "times cubie's"),
            [(name, _number(ms), figures(ms / speed[0][1])) for name, ms, _ in speed],
        ),
        "instructions": _table(("kernel", "cubie", "CuBIE of the index", "part"), counted),
        "bytes": _table(("method", "planned", "without reuse", "part"), planned),
    }  # fmt: skip


def _table(head: Sequence[str], bars: Sequence[Bar]) -> str:
    rows = [
        (name, _number(ours), _number(other), f"{100 * ours / other:.0f} %")
        for name, ours, other in bars
        if other is not None
    ]
    return markdown_table(head, rows)


def main() -> None:
    """Draw and write all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", action="store_true", help="plan again, and keep the bytes")
    if parser.parse_args().plan:
        rows = {method: planned_bytes(method) for method in METHODS}
        kept = {"states": STATES, "dtype": DTYPE, "system": "Lorenz-96", "rows": rows}
        BYTES.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    for name, text in outcome().items():
        if name.endswith(".svg"):
            (PICTURES / name).write_text(text, encoding="utf-8", newline="\n")
        else:
            write_section(PAGE, name, text)


if __name__ == "__main__":
    main()
