"""``python -m tests.oracle.make_sensitivity_references [problem ...]``: derivatives of the ends of
the stiff problems by initial states.

Four solutions in extended precision (`extended_radau`), one and two steps to either side, give a
difference of order four; with steps half as large it is taken again, and what both differ by is
stored beside. Takes five minutes. Not of the ring modulator, of which one solution takes ten.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.oracle.extended_radau import Integration
from tests.oracle.make_stiff_references import RECIPES, all_states, computed_form
from tests.oracle.problems import Problem
from tests.oracle.stiff_problems import STIFF_BY_NAME

PATH = Path(__file__).with_name("sensitivity_references.json")
# Which initial states, and how large a step of them is.
INPUTS = {
    "robertson": {0: 1e-4},
    "hires": {0: 1e-4, 7: 1e-6},
    "oregonator": {0: 1e-4, 2: 1e-4},
    "van_der_pol": {0: 1e-4, 1: 1e-4},
    "e5": {0: 1e-7},
    "pleiades": {0: 1e-6, 25: 1e-6},
    "pollu": {1: 1e-5, 6: 1e-5},
    "brusselator_40": {0: 1e-4, 20: 1e-4},
}
TIGHTER = 1e-2  # than the tighter tolerance of the reference solution


def make(problem: Problem) -> dict:
    """Return the derivatives of the end by each input, and what two steps of differences give."""
    found = {}
    for i, step in INPUTS[problem.name].items():
        coarse, fine = (derivative(problem, i, one) for one in (step, step / 2))
        size = np.max(np.abs(fine))
        found[str(i)] = {
            "dy": [float(value) for value in fine],
            "difference": float(np.max(np.abs(fine - coarse)) / size),
        }
    return {"t_end": problem.t_span[1], "by": found}


def derivative(problem: Problem, i: int, step: float) -> np.ndarray:
    """Return the derivative of the end by initial state i, by a difference of order four."""
    step = np.longdouble(step)
    near, far = (_end(problem, i, k * step) - _end(problem, i, -k * step) for k in (1, 2))
    return (8 * near - far) / (12 * step)


def _end(problem: Problem, i: int, change: np.longdouble) -> np.ndarray:
    recipe, form = RECIPES[problem.name], computed_form(problem)
    start = np.array(form.y0, np.longdouble)
    start[i] += change
    run = Integration(replace(form, y0=tuple(start)), TIGHTER * recipe.rtol[1], recipe.atol)
    return all_states(problem, run.solve())


def main(names: list[str]) -> None:
    """Make the named references, or all, and keep the others."""
    kept = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}
    for name in names or INPUTS:
        kept[name] = make(STIFF_BY_NAME[name])
        print(name, {i: one["difference"] for i, one in kept[name]["by"].items()}, flush=True)
        PATH.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
