"""The rooms of both packages: what each may be built on, and what is left on purpose.

``python -m tests.rooms`` draws them into docs/pictures; tests/test_layout.py holds the sources to
them, and the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import networkx as nx
from attrs import field, frozen

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "pictures" / "rooms.svg"


@frozen(eq=False)
class Package:
    """A package with its rooms: folders, or modules that stand at the top.

    Attributes
    ----------
    name : str
    folder : Path
    rooms : mapping of str to tuple of str
        Every room, lowest first, with those before it that it may import. The package's own
        `__init__` may import anything, and nothing may import it.
    arrows_back : mapping of (module, room) to str
        Imports that are left on purpose, each with its reason.
    circles : mapping of tuple of str to str
        Modules, sorted by name, that import each other on purpose, each group with its reason.
    long_modules : mapping of str to str
        Modules above `MOST_LINES`, each with its reason.
    long_functions : mapping of str to str
        Functions above the limits, as ``module:name``, each with its reason.
    """

    name: str
    folder: Path = field(converter=lambda path: ROOT / path)
    rooms: Mapping[str, tuple[str, ...]]
    arrows_back: Mapping[tuple[str, str], str] = {}
    circles: Mapping[tuple[str, ...], str] = {}
    long_modules: Mapping[str, str] = {}
    long_functions: Mapping[str, str] = {}


MOST_LINES = 400
# Of a function itself: without its docstring, and without the functions that it makes.
MOST_FUNCTION_LINES = 60
# Functions made in others are device functions.
MOST_DEVICE_LINES, MOST_PARAMETERS = 80, 8

VALUES = ("basics", "declarations", "plans")
PLANNER = Package(
    "cubie_planner",
    "planner/cubie_planner",
    rooms={
        "basics": (),
        "reading": ("basics",),
        "declarations": ("basics",),
        "assembler": ("basics",),
        "plans": ("basics", "reading", "declarations"),
        "gpu": ("basics", "reading", "declarations", "assembler"),
        "packing": ("basics",),
        "recording": ("basics", "declarations"),
        "engines": (*VALUES, "gpu", "packing"),
        "allocators": VALUES,
        "report": (*VALUES, "recording", "gpu", "engines"),
        "solve": (*VALUES, "gpu", "engines"),
        "explain": (*VALUES, "report", "solve"),
        "checked": (*VALUES, "reading", "assembler", "gpu", "engines", "solve"),
        "decide": (*VALUES, "engines", "solve"),
    },
    arrows_back={
        ("plans.plan", "report"): "a plan's views are made when they are asked for",
    },
)

CONTROLS = ("errors", "reals", "backend", "numerics", "factory")
SOLVING = ("errors", "backend", "factory", "systems", "status", "checks", "algorithms", "run")
CUBIE = Package(
    "cubie",
    "src/cubie",
    rooms={
        "errors": (),
        "distribution": (),
        "other_packages": (),
        "status": (),
        "recent": (),
        "buffers": (),
        "tableaus": ("errors",),
        "labelled": ("errors", "distribution", "status"),
        "reals": ("errors",),
        "sizes": ("errors", "reals"),
        "per_run": ("errors", "reals"),
        "cache": ("errors",),
        "backend": ("errors", "recent", "reals", "cache"),
        "numerics": ("backend",),
        "factory": ("errors", "backend", "recent", "buffers", "other_packages"),
        "systems": ("errors", "reals", "cache", "backend", "numerics", "factory"),
        "checks": ("errors", "reals", "systems", "per_run"),
        "solvers": (*CONTROLS, "systems"),
        "controllers": CONTROLS,
        "algorithms": (*CONTROLS, "systems", "status", "tableaus", "solvers", "controllers"),
        "run": (*SOLVING[:7], "reals", "numerics", "tableaus", "controllers"),
        "integrator": ("buffers", *SOLVING[:4], "tableaus", "algorithms", "controllers", "run"),
        "launch": (
            *("buffers", "distribution", "reals", "cache", "labelled", *SOLVING, "numerics"),
            "integrator",
        ),
        "lifetimes": ("errors", "backend", "buffers", "factory", "launch"),
        "settings": (
            "reals", "sizes", "per_run", *SOLVING[:4], "numerics", "checks", "tableaus", "run",
            "integrator", "launch",
        ),
        "other_choices": ("errors", "tableaus", "solvers", "controllers", "integrator"),
        "memory": ("recent", "factory", "systems", "tableaus", "launch", "settings"),
        "problem": ("recent", "tableaus", "errors", "systems", "checks", "settings", "memory"),
        "solver": (
            "recent", "per_run", "tableaus", *SOLVING[:4], "numerics", "checks", "run",
            "integrator", "launch", "settings", "other_choices", "memory", "problem",
        ),
        "fitting": ("errors", "reals", "per_run", "checks", "systems", "launch", "solver"),
        "models": ("errors", "systems"),
        "petab": ("models", "launch", "solver"),
        "ivp": (
            *("recent", "other_packages", "systems", "checks", "tableaus", "launch", "memory"),
            *("models", "solver"),
        ),
        "sweeps": (
            *("errors", "recent", "sizes", "reals", "checks", "backend", "systems", "tableaus"),
            *("status", "labelled", "factory", "integrator", "run", "launch", "settings"),
            *("distribution", "problem", "models", "solver"),
        ),
        "cli": (
            *("errors", "distribution", "sizes", "reals", "systems", "tableaus", "solvers"),
            *("status", "run", "launch", "lifetimes", "models", "solver", "labelled", "sweeps"),
        ),
        "demo": ("status", "run", "launch", "solver"),
        "versions": ("distribution", "cache", "backend", "ivp"),
        "__main__": ("backend", "versions"),
    },
    circles={
        tuple(
            f"systems.tracing.{name}"
            for name in (
                "arrays", "complex_numbers", "exceptions", "expression", "numpy_functions",
                "operations", "truth",
            )
        ): "an expression answers NumPy, whose functions make expressions",
    },
)  # fmt: skip
PACKAGES = [PLANNER, CUBIE]


# ---- pictures -------------------------------------------------------------------

BOX, GAP, FLOOR = (112, 26), 16, 62
STYLE = (
    "text{font:12px sans-serif;text-anchor:middle;fill:#1f2933}"
    "rect{fill:#e8f0fe;stroke:#4a6fa5}path{stroke:#9aa5b1;fill:none}"
    ".title{font-weight:bold;text-anchor:start}"
)


def floors_of(package: Package) -> list[list[str]]:
    """Return the rooms floor by floor: each stands one above the highest that it is built on."""
    floor: dict[str, int] = {}
    for room, below in package.rooms.items():
        floor[room] = 1 + max((floor[other] for other in below), default=-1)
    floors: list[list[str]] = [[] for _ in range(1 + max(floor.values()))]
    for room, number in floor.items():
        floors[number].append(room)
    return floors


def picture() -> str:
    """Return both packages as SVG: rooms on their floors, with the arrows that tell the rest."""
    width = max(_width(package) for package in PACKAGES)
    parts, top = [], 0
    for package in reversed(PACKAGES):
        drawn, height = _drawn(package, width, top)
        parts += drawn
        top += height
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}">'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>", ""])


def _width(package: Package) -> int:
    return GAP + max(len(floor) for floor in floors_of(package)) * (BOX[0] + GAP)


def _drawn(package: Package, width: int, top: int) -> tuple[list[str], int]:
    floors = floors_of(package)
    height = 30 + len(floors) * FLOOR
    place = {}
    for number, floor in enumerate(reversed(floors)):
        start = (width - len(floor) * (BOX[0] + GAP) + GAP) / 2
        for position, room in enumerate(floor):
            place[room] = (start + position * (BOX[0] + GAP), top + 30 + number * FLOOR)
    title = f'<text class="title" x="{GAP}" y="{top + 18}">{package.name}</text>'
    boxes = [line for room, at in place.items() for line in _box(room, *at)]
    return [title, *_arrows(package, place), *boxes], height


def _arrows(package: Package, place: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    graph = nx.DiGraph((room, other) for room, below in package.rooms.items() for other in below)
    for room, other in sorted(nx.transitive_reduction(graph).edges):
        (x, y), (to_x, to_y) = place[room], place[other]
        x, to_x, y = x + BOX[0] / 2, to_x + BOX[0] / 2, y + BOX[1]
        yield f'<path d="M{x:g} {y:g}C{x:g} {y + 24:g} {to_x:g} {to_y - 24:g} {to_x:g} {to_y:g}"/>'


def _box(room: str, x: float, y: float) -> tuple[str, str]:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{BOX[0]}" height="{BOX[1]}" rx="4"/>',
        f'<text x="{x + BOX[0] / 2:g}" y="{y + 17:g}">{room}</text>',
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
