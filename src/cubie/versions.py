"""What a report of a fault says first: versions, targets, devices, cache; and a self-check."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from attrs import frozen

from cubie.backend import targets_in_words
from cubie.cache import cache_directory
from cubie.cache.bound import NotALimit, limit_bytes
from cubie.distribution import NAME, VERSION
from cubie.ivp import solve_ivp

# Distributions that cubie needs, and those that extras bring.
NEEDED = (
    "numpy", "numba", "llvmlite", "numba-cuda", "ortools", "sympy", "networkx", "attrs", "click",
    "platformdirs", "rich",
)  # fmt: skip
EXTRA = (
    "scipy", "matplotlib", "xarray", "zarr", "distributed", "python-libsbml", "antimony",
    "nvidia-cuda-nvdisasm",
)  # fmt: skip
# Of the self-check: y'' = -y over a quarter of a turn, of so many runs with a frequency each.
N_RUNS, TOLERANCE, MOST_ERROR = 64, 1e-8, 1e-6


@frozen
class Check:
    """What a target answered in the self-check.

    Attributes
    ----------
    target : {"cpu", "cuda", "python"}
    error : float
        Largest absolute error of a final state; NaN where none came.
    seconds : float
        With building; what is in the cache takes less.
    failure : str
        Why there is no answer, or a wrong one; "" where all is well.
    """

    target: str
    error: float
    seconds: float
    failure: str


def show_versions() -> None:
    """Print what a report of a fault should begin with.

    Versions of cubie, Python and the packages that cubie uses, what it can compute on, and where
    generated code is kept. Nothing is built, and nothing solved: ``python -m cubie`` prints the
    same and tries each target.
    """
    for head, text in _lines():
        print(f"{head:9} {text}")


def _lines() -> Iterator[tuple[str, str]]:
    """Yield what is told, each part with its head."""
    yield "cubie", f"{VERSION} ({NAME}), in {Path(__file__).parent}"
    yield "Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    found = {name: _version_of(name) for name in (*NEEDED, *EXTRA)}
    yield "needed", ", ".join(f"{name} {found[name] or 'MISSING'}" for name in NEEDED)
    yield "extras", ", ".join(f"{name} {found[name]}" for name in EXTRA if found[name]) or "none"
    absent = [name for name in EXTRA if not found[name]]
    if absent:
        yield "absent", ", ".join(absent)
    yield from targets_in_words()
    yield "cache", _cache()


def _version_of(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _cache() -> str:
    root = cache_directory()
    if root is None:
        return "none: there is no home directory; set CUBIE_CACHE_DIR"
    try:
        limit = limit_bytes()
    except NotALimit as error:
        return f"{root}; {error}"
    files = [path for path in root.rglob("*") if path.is_file()] if root.is_dir() else []
    size = sum(_size(path) for path in files)
    bound = "no bound" if limit is None else f"at most {limit / 2**20:.0f} MiB"
    return f"{root}: {len(files)} files, {size / 2**20:.1f} MiB, {bound}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # removed meanwhile, by another process
        return 0


def _turn(t, y, frequency):
    return frequency * y[1], -frequency * y[0]


def self_check(target: str, max_error: float = MOST_ERROR) -> Check:
    """Solve a small batch whose solution is known, on one target.

    Parameters
    ----------
    target : {"cpu", "cuda", "python"}
    max_error : float
        Absolute error from which on an answer is wrong.
    """
    frequency = np.linspace(0.5, 1.5, N_RUNS if target != "python" else 2)
    started, error, failure = time.perf_counter(), np.nan, ""
    try:
        result = solve_ivp(
            _turn, (0, np.pi / 2), [1.0, 0.0], args=(frequency,), rtol=TOLERANCE, atol=TOLERANCE,
            backend=target,
        )  # fmt: skip
        angle = frequency * np.pi / 2
        exact = np.stack([np.cos(angle), -np.sin(angle)], axis=1)
        error = float(np.abs(result.y[:, :, -1] - exact).max())
        if not error <= max_error:
            failure = f"an error of {error:.1e} is above {max_error:.1e}: {result.message}"
    except Exception as raised:  # what fails is what the check is for
        failure = f"{type(raised).__name__}: {raised}"
    return Check(target, error, time.perf_counter() - started, failure)
