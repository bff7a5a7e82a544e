"""Step ``imports``: which packages are there, which are missing or too new, and what loads."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
import tomllib
from importlib import metadata
from pathlib import Path

from benchmarks.gpu.rows import Rows, run_as_step

ROOT = Path(__file__).parents[2]
# What is asked of the machine beside what cubie itself names: its compiler, and the tests' runner.
ALSO = ("numba", "numba-cuda", "ortools", "pytest")
MODULES = (
    "numpy", "llvmlite.binding", "numba", "numba.cuda", "cuda.bindings.driver",
    "cuda.bindings.nvjitlink", "ortools.sat.python.cp_model_helper", "sympy", "pytest",
    "cubie_planner", "cubie",
)  # fmt: skip
LIBRARIES = ("nvvm", "nvJitLink", "nvrtc", "cudart")


def requirements() -> list[tuple[str, str]]:
    """Return who asks for what: (distribution, requirement as it is written)."""
    project = ROOT / "pyproject.toml"
    if project.exists():
        own = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    else:
        own = metadata.requires("cubie-ode") or []
    asked = [("cubie", text) for text in own]
    for name in ALSO:
        try:
            asked += [(name, text) for text in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:
            continue  # asked for by cubie: reported as missing
    return asked


def report_packages(rows: Rows) -> None:
    """Add a row for every package that is asked for, with whether the version found suits."""
    from packaging.requirements import Requirement

    for by, text in requirements():
        asked = Requirement(text)
        if asked.marker is not None and not asked.marker.evaluate({"extra": ""}):
            continue
        try:
            found = metadata.version(asked.name)
        except metadata.PackageNotFoundError:
            found = None
        suits = found is not None and asked.specifier.contains(found, prereleases=True)
        rows.add(
            "package",
            distribution=asked.name,
            asked_by=by,
            asked=str(asked.specifier),
            found=found,
            suits=suits,
        )


def report_imports(rows: Rows) -> None:
    """Import module after module; a row tells from where, in what time, or why not."""
    for name in MODULES:
        print("importing", name, flush=True)  # the last line, should this one end the process
        started = time.perf_counter()
        try:
            module = importlib.import_module(name)
        except Exception as error:
            origin, failure = None, f"{type(error).__name__}: {error}"
        else:
            origin, failure = getattr(module, "__file__", None), None
        seconds = round(time.perf_counter() - started, 3)
        rows.add("import", module=name, origin=origin, seconds=seconds, error=failure)


def report_toolkit(rows: Rows) -> None:
    """Look for the libraries of the CUDA toolkit that compiling needs."""
    from cuda.pathfinder import load_nvidia_dynamic_lib

    for name in LIBRARIES:
        try:
            path, failure = load_nvidia_dynamic_lib(name).abs_path, None
        except Exception as error:
            path, failure = None, str(error).splitlines()[0]
        rows.add("library", library=name, path=path, error=failure)


def main(rows: Rows, options: argparse.Namespace) -> None:
    """Add the rows of all three."""
    rows.add(
        "python",
        version=platform.python_version(),
        executable=sys.executable,
        system=f"{platform.system()} {platform.machine()}",
        cpus=os.cpu_count(),
    )
    failures = []
    for report in (report_packages, report_imports, report_toolkit):
        try:
            report(rows)
        except ImportError as error:  # of packaging or the pathfinder; the others go on
            failures.append(str(error))
    if failures:
        sys.exit("; ".join(failures))


if __name__ == "__main__":
    run_as_step(main, __doc__ or "")
