"""What the forms of LU factors become on a GPU: instructions of a step, traffic, time to compile.

``python -m benchmarks lu-forms`` compiles kernels with every buffer local, in each form that
`lu_form` has, without a GPU, and each in a process of its own: the seconds are those of a first
call. ``--methods``, ``--systems``, ``--forms``, ``--dtypes`` and ``--arch`` choose some; rows that
benchmarks/results/lu-forms.json holds are measured again only with ``--again``.
`cubie.backend.form_costs` was chosen by looking at these figures.

Loops over tables, and over parts of a matrix, are gone through step by step: what is counted is
what they execute (`cubie_planner.assembler.walks`).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
from attrs import frozen

from benchmarks.documents import RESULTS
from benchmarks.large_systems import dense_network, lorenz_96, sparse_network
from benchmarks.resources import versions
from benchmarks.table import markdown_table
from cubie.backend import make_backend
from cubie.integrator import RunSettings, SingleIntegratorRun
from cubie.launch.kernel import BatchSolverKernel
from cubie.launch.planned import BatchSolverConfig
from cubie.launch.step_code import ACCEPTED, ATTEMPTS, RARE
from cubie.solvers.lu import LUSolver
from cubie.solvers.lu_form import DENSE, FORMS, STRAIGHT_LINE, TABLES
from cubie.systems import trace
from cubie.tableaus import get_method
from cubie_planner.assembler.machine_code import MachineCode
from cubie_planner.assembler.sources import Marks

METHODS = ("rodas5p", "radau_iia_5", "kvaerno5", "bdf")
FAMILIES = {"Lorenz-96": lorenz_96, "network": sparse_network, "dense": dense_network}
DTYPES = ("float32", "float64")
ARCHITECTURES = ("sm_90", "sm_75", "sm_120")
SYSTEMS = (("Lorenz-96", 40), ("dense", 20), ("network", 40), ("Lorenz-96", 100), ("dense", 40),
           ("Lorenz-96", 20), ("network", 100), ("Lorenz-96", 60), ("Lorenz-96", 10))  # fmt: skip
# Of double precision, of other devices, and of a fourth method a part.
DOUBLE = SYSTEMS[:5]
ELSEWHERE = (("Lorenz-96", 40), ("network", 40))
OF_BDF = (("Lorenz-96", 40), ("network", 40), ("dense", 40))
NEWTON_ITERATIONS = 2
# Text of more operations takes minutes.
LONGEST_TEXT = 25_000
MOST_CPU_SECONDS = 240
KEPT = RESULTS / "lu-forms.json"


@frozen
class Spec:
    """One kernel, compiled for one device."""

    method: str
    system: str
    states: int
    lu_form: str
    dtype: str
    arch: str

    @property
    def name(self) -> str:
        return " ".join(map(str, attrs.astuple(self)))


def specs(options: argparse.Namespace) -> Iterator[Spec]:
    """Yield the kernels that are asked for."""
    for arch in options.arch:
        for dtype in options.dtypes:
            for system in SYSTEMS:
                for method in options.methods:
                    if system[0] in options.systems and _is_measured(method, system, dtype, arch):
                        for form in options.forms:
                            if form != DENSE or system[0] != "Lorenz-96":
                                yield Spec(method, *system, form, dtype, arch)


def _is_measured(method: str, system: tuple[str, int], dtype: str, arch: str) -> bool:
    if arch != ARCHITECTURES[0]:
        return system in ELSEWHERE and method in METHODS[:2] and dtype == DTYPES[0]
    if dtype == DTYPES[1] and system not in DOUBLE:
        return False
    return method != METHODS[-1] or system in OF_BDF


def measure(spec: Spec) -> dict[str, Any]:
    """Compile a kernel, and return what it takes and executes; bytes are a thread's.

    Without seconds: the text is too long to be compiled.
    """
    made = FAMILIES[spec.system](spec.states)
    started = time.process_time()
    dtype, system = np.dtype(spec.dtype), trace(made.fun, spec.states, ())
    settings, backend = RunSettings(get_method(spec.method)), make_backend("cuda", dtype, True)
    integrator = SingleIntegratorRun(
        system, settings, dtype, {"lu_form": spec.lu_form}, form_costs=backend.form_costs
    )
    kernel = BatchSolverKernel(integrator, BatchSolverConfig("local"), backend)
    lu = next(part for part in kernel.integrator.loop.walk() if isinstance(part, LUSolver))
    choice, eigenvalues = lu.choice, lu.blocks.eigenvalues
    row = {
        **attrs.asdict(spec),
        "entries": choice.n_entries,
        "products": choice.n_products,
        "weight": sum(3 if value.imag else 1 for value in eigenvalues),
        "tail": choice.n_tail if spec.lu_form == TABLES else 0,
    }
    text = row["weight"] * (row["entries"] + row["products"])
    if spec.lu_form == STRAIGHT_LINE and text > LONGEST_TEXT:
        return row | {"seconds": None}
    found = kernel.resources(spec.arch)
    seconds = time.process_time() - started
    counted = kernel.resources(spec.arch, lines=True)
    code = MachineCode.of(counted.cubin)
    executed = code.executed(
        Marks(ACCEPTED), Marks(RARE), loop=ATTEMPTS, assumed_trips=NEWTON_ITERATIONS
    )
    kinds = {str(kind): count for kind, count in executed.kinds.items()}
    return row | {
        "seconds": round(seconds, 2),
        "instructions": executed.total,
        "local": kinds.get("local", 0),
        "kinds": kinds,
        "registers": found.registers,
        "stack": found.stack_bytes,
        "spill_stores": found.spill_store_bytes,
        "spill_loads": found.spill_load_bytes,
        "code_bytes": len(found.cubin),
    }


def measured_apart(spec: Spec) -> dict[str, Any]:
    """Measure in a process of its own, which ends where compiling takes too long."""
    command = [sys.executable, "-m", "benchmarks.lu_forms", "--one", json.dumps(attrs.asdict(spec))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode < 0:
        return attrs.asdict(spec) | {"seconds": None}
    if done.returncode:
        raise RuntimeError(f"{spec.name}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def stored() -> dict[str, Any]:
    """Return what the file holds."""
    return json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {"rows": {}}


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as a Markdown table."""
    header = ("method", "system", "form", "dtype", "device", "operations of text", "instructions",
              "LDL+STL", "registers", "stack", "s to compile")  # fmt: skip
    return markdown_table(header, [_cells(row) for row in rows])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    named = (row["method"], f"{row['system']} {row['states']}", row["lu_form"], row["dtype"],
             row["arch"])  # fmt: skip
    if row["seconds"] is None:
        return (*named, *["-"] * 6)
    text = row["weight"] * (row["entries"] + row["products"])
    figures = (text, *(row[name] for name in ("instructions", "local", "registers", "stack")))
    return (*named, *map(str, figures), f"{row['seconds']:.1f}")


def main(argv: list[str]) -> None:
    """Measure the kernels asked for; see the module."""
    parser = argparse.ArgumentParser(prog="benchmarks lu-forms", description=__doc__)
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--systems", nargs="*", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--forms", nargs="*", choices=FORMS, default=FORMS)
    parser.add_argument("--dtypes", nargs="*", choices=DTYPES, default=DTYPES)
    parser.add_argument("--arch", nargs="*", choices=ARCHITECTURES, default=ARCHITECTURES)
    parser.add_argument("--again", action="store_true", help="measure also what the file holds")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.one is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_SECONDS, MOST_CPU_SECONDS))
        print(json.dumps(measure(Spec(**json.loads(options.one)))))
        return
    for spec in specs(options):
        if spec.name not in stored()["rows"] or options.again:
            row = measured_apart(spec)
            held = stored()  # another process may have added to it
            held["rows"][spec.name] = row
            held["versions"] = versions()
            KEPT.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
            print(table([row]).splitlines()[-1], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
