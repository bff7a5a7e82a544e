"""What is in the kit: distributions, and what of their wheels no kernel and no test needs."""

from __future__ import annotations

PYTHON = "3.12"
MAX_BYTES = 64 * 2**20
# pip takes a wheel of exactly these; each names the oldest C library that it runs with.
PLATFORMS = tuple(
    f"manylinux{tag}_x86_64" for tag in ("_2_28", "_2_27", "_2_24", "_2_17", "2014", "_2_12")
)

CARRIED = (
    "numba-cuda", "numba", "numpy", "ortools", "protobuf", "immutabledict", "absl-py",
    "typing-extensions", "sympy", "mpmath", "networkx", "attrs", "click", "rich", "pygments",
    "markdown-it-py", "mdurl", "platformdirs", "pytest", "pluggy", "iniconfig", "packaging",
)  # fmt: skip
"""Brought along. The compilers are the machine's: llvmlite alone has 60 MB, the toolkit more."""

# Parts of paths. Wheels as they are would fill the kit: tests, type stubs, headers, Fortran's
# wrapper generator, OR-Tools beside CP-SAT.
STRIPPED = {
    "numpy": ("/tests/", ".pyi", "numpy/_core/include/", "numpy/f2py/", ".a"),
    "ortools": (
        "ortools/algorithms/", "ortools/constraint_solver/", "ortools/graph/",
        "ortools/linear_solver/", "ortools/math_opt/", "ortools/pdlp/", "ortools/routing/",
        "ortools/scheduling/", "ortools/service/", "ortools/set_cover/", ".pyi",
    ),
    "sympy": ("/tests/", "/benchmarks/", ".data/"),
    "networkx": ("/tests/",),
    "numba": ("numba/tests/",),
}  # fmt: skip

SOURCES = ("benchmarks", "tests", "pyproject.toml")
NOT_AMONG_SOURCES = ("__pycache__", "results", "peers", "baselines")


def is_stripped(name: str, path: str) -> bool:
    """Tell whether a file of a distribution's wheel stays out of the kit."""
    return any(
        path.endswith(part) if part.startswith(".") and not part.endswith("/") else part in path
        for part in STRIPPED.get(name, ())
    )
