"""Conformance with the SBML semantic test suite: which cases are reproduced, and which are refused.

``python -m benchmarks sbml --suite DIR`` solves every case that DIR has: a folder for each, with
``model.xml`` (or, as the suite is published, ``NNNNN-sbml-l3v2.xml`` or its highest level and
version), its settings and its results. A value passes if it differs by no more than the case's
absolute tolerance plus its relative one times the value that is wanted. Cases are solved by each of
``--methods``, at tolerances far below those of the suite, and interpreted: a case takes a fraction
of what it takes to compile it. ``--backend cpu`` compiles them, ``--every 10`` takes every tenth,
``--cases 00001,00002`` takes some, ``--workers`` processes share them.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
import warnings
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

import cubie
from benchmarks.documents import DOCS, RESULTS, write_section
from benchmarks.environment import describe
from benchmarks.table import markdown_table

METHODS = ("tsit5", "rodas5p")
RTOL, ATOL = 1e-8, 1e-11
MAX_STEPS = 1_000_000
KEPT = RESULTS / "sbml.json"
PASSED, REFUSED, FAILED = "passed", "refused", "failed"


@frozen
class Case:
    """A case of the suite.

    Attributes
    ----------
    name : str
    model : Path
    span : (float, float)
    n_steps : int
    absolute, relative : float
        Tolerances of the comparison.
    kinds : mapping of str to (str or None)
        Of each quantity that is compared whether it is an amount or a concentration, in the order
        of the columns of results.
    wanted : ndarray (n_points, n_quantities)
    """

    name: str
    model: Path
    span: tuple[float, float]
    n_steps: int
    absolute: float
    relative: float
    kinds: dict[str, str | None]
    wanted: np.ndarray


@frozen
class Outcome:
    """What became of a case: passed, refused for a feature, or failed, and how."""

    name: str
    verdict: str
    why: str = ""


def cases_in(folder: Path) -> list[Path]:
    """Return the folders of cases."""
    return sorted(one for one in folder.iterdir() if one.is_dir() and _only(one, "settings.txt"))


def read_case(folder: Path) -> Case:
    """Read a case from its folder."""
    lines = _only(folder, "settings.txt")[0].read_text(encoding="utf-8").splitlines()
    pairs = (line.partition(":") for line in lines if ":" in line)
    settings = {name.strip(): value.strip() for name, _, value in pairs}
    with _only(folder, "results.csv")[0].open(encoding="utf-8") as file:
        head, *rows = [row for row in csv.reader(file) if row]
    values = np.array([[float(entry or "nan") for entry in row] for row in rows])
    amounts, concentrations = (_names(settings, kind) for kind in ("amount", "concentration"))
    kinds, places = {}, []
    for name in _names(settings, "variables"):
        kinds[name] = "amount" if name in amounts else None
        kinds[name] = "concentration" if name in concentrations else kinds[name]
        # The first column is the time, whatever else is called so.
        places.append([column.strip() for column in head[1:]].index(name) + 1)
    start = float(settings["start"])
    end = start + float(settings["duration"])
    tolerances = float(settings["absolute"]), float(settings["relative"])
    model = [*_only(folder, "model.xml"), *reversed(_only(folder, "sbml-l*.xml"))][0]
    span = (start, end)
    return Case(
        folder.name, model, span, int(settings["steps"]), *tolerances, kinds, values[:, places]
    )


def _only(folder: Path, name: str) -> list[Path]:
    return sorted(folder.glob(f"*{name}"))


def _names(settings: dict[str, str], key: str) -> list[str]:
    return [name.strip() for name in settings.get(key, "").split(",") if name.strip()]


def tried(case: Case, method: str, backend: str = "python") -> Outcome:
    """Solve a case, and compare."""
    start, end = case.span
    times = np.linspace(start, end, case.n_steps + 1)
    try:
        model = cubie.load_model(case.model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Models begin at time zero.
            result = cubie.solve_ivp(
                model, (0.0, end), t_eval=times, method=method, rtol=RTOL, atol=ATOL,
                max_steps=MAX_STEPS, backend=backend,
            )  # fmt: skip
            if not result.success:
                return Outcome(case.name, FAILED, result.message)
            found = [model.values(result, name, kind) for name, kind in case.kinds.items()]
    except cubie.ModelError as error:
        verdict = REFUSED if error.feature else FAILED
        return Outcome(case.name, verdict, error.feature or str(error))
    except Exception as error:  # every case is told of
        return Outcome(case.name, FAILED, f"{type(error).__name__}: {error}")
    wrong = [
        f"{name} is {got[where]:.8g} at {times[where]:.6g}, and not {want[where]:.8g}"
        for name, got, want in zip(case.kinds, found, case.wanted.T, strict=True)
        if (where := _first_wrong(got, want, case)) is not None
    ]
    return Outcome(case.name, FAILED if wrong else PASSED, "; ".join(wrong))


def _first_wrong(got: np.ndarray, want: np.ndarray, case: Case) -> int | None:
    """Return the first point that does not pass, or None."""
    with np.errstate(invalid="ignore"):
        near = np.abs(got - want) <= case.absolute + case.relative * np.abs(want)
    passes = near | (got == want) | (np.isnan(got) & np.isnan(want))
    return None if passes.all() else int(np.argmin(passes))


def _tried_in(work: tuple[Path, str, str]) -> Outcome:
    folder, method, backend = work
    try:
        case = read_case(folder)
    except (KeyError, ValueError, IndexError, OSError) as error:
        return Outcome(folder.name, FAILED, f"The case cannot be read: {error!r}")
    return tried(case, method, backend)


def run(
    folders: Iterable[Path], methods: Iterable[str], backend: str, workers: int
) -> dict[str, Any]:
    """Solve all cases by each method, and return what is kept."""
    folders, data = list(folders), {"environment": describe(), "backend": backend}
    data |= {"rtol": RTOL, "atol": ATOL, "n_cases": len(folders), "methods": {}}
    with ProcessPoolExecutor(workers) as pool:
        for method in methods:
            began = time.perf_counter()
            works = [(folder, method, backend) for folder in folders]
            apply = map if workers == 1 else pool.map
            outcomes = list(apply(_tried_in, works))
            data["methods"][method] = {
                "seconds": round(time.perf_counter() - began, 1),
                **Counter(one.verdict for one in outcomes),
                "refused for": dict(Counter(one.why for one in outcomes if one.verdict == REFUSED)),
                "failures": {one.name: one.why for one in outcomes if one.verdict == FAILED},
            }
    return data


def table(data: dict[str, Any]) -> str:
    """Return the counts."""
    verdicts = (PASSED, REFUSED, FAILED)
    rows = [
        (f"`{method}`", *(str(of.get(verdict, 0)) for verdict in verdicts))
        for method, of in data["methods"].items()
    ]
    return markdown_table(("method", *verdicts), rows)


def report(data: dict[str, Any]) -> str:
    """Return the counts as a table, what is behind them, and what it took."""
    told = [table(data)]
    told += [f"{method}: {of['seconds']:.0f} s" for method, of in data["methods"].items()]
    for method, of in data["methods"].items():
        told += [f"{method}: {n} refused for {feature}" for feature, n in of["refused for"].items()]
        told += [f"{method}: {name} failed: {why}" for name, why in of["failures"].items()]
    return "\n".join(told)


def main() -> None:
    """Parse the command line, solve, print and keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks sbml", description=__doc__)
    parser.add_argument("--suite", type=Path, required=True, help="folder of the cases")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--backend", default="python")
    parser.add_argument("--cases", help="comma-separated numbers of cases")
    parser.add_argument("--every", type=int, default=1, help="take every so many cases")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--results", type=Path, default=KEPT, help="file of the raw data")
    parser.add_argument("--docs", action="store_true", help="write the table of docs/sbml.md")
    options = parser.parse_args()
    folders = cases_in(options.suite)
    if options.cases:
        folders = [one for one in folders if one.name in options.cases.split(",")]
    folders = folders[:: options.every]
    if not folders:
        parser.error(f"there is no case in {options.suite}")
    data = run(folders, options.methods.split(","), options.backend, options.workers)
    print(report(data), flush=True)
    if not options.cases and options.every == 1:
        options.results.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        if options.docs:
            write_section(DOCS / "sbml.md", "conformance", table(data))


if __name__ == "__main__":
    main()
