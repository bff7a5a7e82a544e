"""Derivatives of the ends of the stiff problems, against differences in extended precision."""

import json

import numpy as np
import pytest
from benchmarks.work_precision import ATOL_OVER_RTOL

from cubie import RunStatus, Solver
from tests.oracle import make_sensitivity_references
from tests.oracle.stiff_problems import STIFF_BY_NAME

STORED = json.loads(make_sensitivity_references.PATH.read_text(encoding="utf-8"))
# Tolerance, and the error that may be left, over the largest derivative by the same input. Of Van
# der Pol's equation nothing is left of the start at the end, and derivatives were a million times
# larger before; Pleiades, the Oregonator and the ring modulator amplify what a step leaves.
ALLOWED = {
    "robertson": (1e-7, 1e-10),
    "hires": (1e-7, 1e-6),
    "oregonator": (1e-7, 1e-3),
    "van_der_pol": (1e-9, 3e-2),
    "pleiades": (1e-8, 2e-3),
    "pollu": (1e-7, 1e-6),
    "brusselator_40": (1e-7, 1e-3),
}


def solved(name, method, rtol):
    """Return the derivatives at the end of a problem, (n, P), and those of the reference."""
    problem, by = STIFF_BY_NAME[name], STORED[name]["by"]
    solver = Solver(
        problem.fun, method=method, backend="cpu", lanes=1, max_steps=200_000,
        sensitivities=[f"y0[{i}]" for i in by],
    )  # fmt: skip
    atol = rtol * ATOL_OVER_RTOL[name]
    y0 = np.array(problem.y0)
    result = solver.solve(problem.t_span, y0, args=problem.args, rtol=rtol, atol=atol)
    assert result.status == RunStatus.SUCCESS
    return result.dy[..., -1], np.array([one["dy"] for one in by.values()]).T


def test_the_references_are_of_all_problems_and_agree_with_themselves():
    assert {*STORED} == {*make_sensitivity_references.INPUTS}
    for name, entry in STORED.items():
        assert entry["t_end"] == STIFF_BY_NAME[name].t_span[1]
        for one in entry["by"].values():
            assert one["difference"] < (1e-5 if name == "e5" else 1e-9)


@pytest.mark.parametrize("method", ["kvaerno5", "radau_iia_5", "bdf", "rodas5p"])
@pytest.mark.parametrize("name", ALLOWED)
def test_derivatives_are_those_of_extended_precision(name, method):
    rtol, allowed = ALLOWED[name]
    found, expected = solved(name, method, rtol)
    largest = np.abs(expected).max(axis=0)
    assert np.abs(found - expected).max(axis=0) == pytest.approx(0.0, abs=allowed * largest.max())


@pytest.mark.parametrize("method", ["kvaerno5", "radau_iia_5", "bdf"])
def test_what_cancels_in_the_equations_cancels_in_their_derivatives(method):
    """Derivatives of E5 fall from 1e-8 to 5e-29; a total of theirs is all that tells the last."""
    rtol = 1e-7
    found, expected = solved("e5", method, rtol)
    atol = rtol * ATOL_OVER_RTOL["e5"] / STIFF_BY_NAME["e5"].y0[0]
    assert np.all(np.abs(found - expected) <= 10.0 * atol)
