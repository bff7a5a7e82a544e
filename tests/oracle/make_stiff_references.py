"""``python -m tests.oracle.make_stiff_references [problem ...]``: compute the reference solutions.

Each is computed twice in extended precision (`extended_radau`), at two tolerances, and compared
with a second solver, one of SciPy's, and with the published solution where there is one. Needs a
platform whose `numpy.longdouble` has more digits than a double; takes a quarter of an hour, most
of it for the ring modulator.
"""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.integrate import solve_ivp

from tests.oracle.extended_radau import Integration
from tests.oracle.problems import Problem
from tests.oracle.stiff_problems import E5, STIFF_BY_NAME

PATH = Path(__file__).with_name("stiff_references.json")


@dataclass(frozen=True)
class Recipe:
    """How the reference solution of a problem is made.

    Parameters
    ----------
    rtol : (float, float)
        Looser and tighter tolerance in extended precision.
    atol : float
        At the tighter one.
    second, second_rtol, second_atol
        SciPy's method and tolerances.
    """

    rtol: tuple[float, float]
    atol: float
    second: str
    second_rtol: float
    second_atol: float


RECIPES = {
    "robertson": Recipe((1e-10, 1e-11), 1e-24, "Radau", 1e-11, 1e-22),
    "hires": Recipe((1e-11, 1e-12), 1e-18, "Radau", 1e-12, 1e-16),
    "oregonator": Recipe((1e-11, 1e-12), 1e-14, "Radau", 1e-11, 1e-12),
    "van_der_pol": Recipe((1e-10, 1e-11), 1e-14, "Radau", 1e-11, 1e-13),
    "e5": Recipe((1e-11, 1e-12), 1e-34, "Radau", 1e-11, 1e-32),
    "ring_modulator": Recipe((1e-8, 1e-9), 1e-15, "LSODA", 1e-10, 1e-14),
    "pleiades": Recipe((1e-10, 1e-11), 1e-13, "DOP853", 1e-13, 1e-13),
    "pollu": Recipe((1e-10, 1e-11), 1e-22, "Radau", 1e-11, 1e-20),
    "brusselator_40": Recipe((1e-10, 1e-11), 1e-13, "DOP853", 1e-13, 1e-13),
}


def e5_without_invariant(t, y):
    """Problem E5 without its second state, the sum of the third and fourth.

    The states fall to 1e-22 from 1e-10, so that of the invariant nothing is left after rounding,
    in extended precision either: here no digits cancel.
    """
    second = E5.fun(t, [y[0], y[1] + y[2], y[1], y[2]])
    return [second[0], second[2], second[3]]


def computed_form(problem: Problem) -> Problem:
    """Return the equations that are integrated for a problem."""
    if problem.name != "e5":
        return problem
    return replace(problem, fun=e5_without_invariant, y0=(problem.y0[0], 0.0, 0.0), jac=None)


def all_states(problem: Problem, y):
    """Return the problem's states from those that were integrated."""
    return y if problem.name != "e5" else np.array([y[0], y[1] + y[2], y[1], y[2]])


def make(problem: Problem) -> dict:
    """Return a reference solution, and how well it agrees with others."""
    recipe, form = RECIPES[problem.name], computed_form(problem)
    looser, tighter = recipe.rtol
    before = Integration(form, looser, recipe.atol * looser / tighter)
    final = Integration(form, tighter, recipe.atol)
    solutions = [all_states(problem, run.solve()) for run in (before, final)]
    y = solutions[1]
    second = all_states(problem, _by_scipy(form, recipe, final))
    return {
        "t_end": problem.t_span[1],
        "y": [float(value) for value in y],
        "made_by": f"Radau IIA of order 13 in {np.finfo(np.longdouble).nmant + 1} bits, "
        f"rtol={tighter:g}, atol={recipe.atol:g}, {final.steps} steps",
        "floor": problem.floor,
        "differences": {
            f"rtol={looser:g}": largest_difference(problem, solutions[0], y),
            f"SciPy {recipe.second}, rtol={recipe.second_rtol:g}, atol={recipe.second_atol:g}":
                largest_difference(problem, second, y),
            **({} if problem.published is None else
               {"published": largest_difference(problem, problem.published, y)}),
        },
    }  # fmt: skip


def largest_difference(problem: Problem, found, wanted) -> float:
    """Return the largest difference of a component, relative to it or to the problem's floor."""
    found, wanted = np.asarray(found, dtype=np.longdouble), np.asarray(wanted)
    return float(np.max(np.abs(found - wanted) / (problem.floor + np.abs(wanted))))


def _by_scipy(form: Problem, recipe: Recipe, integration: Integration):
    jac = {} if recipe.second == "DOP853" else {"jac": integration.jacobian}
    solved = solve_ivp(
        form.rhs, form.t_span, form.y0, recipe.second, rtol=recipe.second_rtol,
        atol=recipe.second_atol, t_eval=[form.t_span[1]], **jac,
    )  # fmt: skip
    if not solved.success:
        raise ArithmeticError(f"{form.name}: {solved.message}")
    return solved.y[:, -1]


def main(names: list[str]) -> None:
    """Make the named references, or all, and keep the others."""
    kept = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}
    for name in names or RECIPES:
        kept[name] = make(STIFF_BY_NAME[name])
        print(name, json.dumps(kept[name]["differences"]), flush=True)
        PATH.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
