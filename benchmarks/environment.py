"""What produced a result: machine, versions, threads."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "cubie", "numpy", "numba", "llvmlite", "numba-cuda", "ortools", "scipy", "numbalsoda",
    "diffrax", "jax", "jaxlib", "heyoka",
)  # fmt: skip
THREADS_VARIABLE = "NUMBA_NUM_THREADS"


def package_versions(loaded_only: bool = False) -> dict[str, str]:
    """Return the versions of the packages of interest that are installed, or imported."""
    versions = {}
    for name in PACKAGES:
        if loaded_only and name.replace("-", "_") not in sys.modules:
            continue
        try:
            versions[name] = metadata.version("cubie-ode" if name == "cubie" else name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def cpu_model() -> str:
    """Return the CPU's name, as the operating system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def vector_extension() -> str:
    """Return the widest vector extension of this CPU."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    wanted = ("avx512f", "avx2", "avx", "sse2", "sve", "neon")
    return next((name for name in wanted if features.get(name)), "none")


def machine_name() -> str:
    """Return a short name for file names, such as "epyc-2cpu-avx2"."""
    model = re.sub(r"\(\w+\)|@.*|\b(CPU|Processor|AMD|Intel)\b", " ", cpu_model())
    words = re.findall(r"[a-z0-9]+", model.lower())
    return "-".join([*words, f"{os.cpu_count()}cpu", vector_extension()])


def source_commit() -> str | None:
    """Return the commit these sources are at, marked where they differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        found = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def describe() -> dict[str, Any]:
    """Return everything a reader needs to judge timings made here and now."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": source_commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_model(),
        "vector_extension": vector_extension(),
        "cpus": os.cpu_count(),
        "threads": n_threads(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "versions": package_versions(),
    }


def n_threads() -> int:
    """Return how many threads contenders use: $NUMBA_NUM_THREADS, or this process's CPUs."""
    chosen = os.environ.get(THREADS_VARIABLE, "")
    if chosen.isdigit() and int(chosen) > 0:
        return int(chosen)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
