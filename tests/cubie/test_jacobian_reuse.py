"""Jacobians and factors that are kept from step to step: what that saves, and what must stay."""

import numpy as np
import pytest

from cubie import InvalidOption, Solver, UnknownOption, solve_ivp
from tests.oracle.stiff_problems import STIFF_BY_NAME

METHODS = ("bdf", "kvaerno5", "radau_iia_5")


def robertson(t, y, k):
    """Robertson's reactions."""
    slow, fast, back = k * y[0], 3e7 * y[1] * y[1], 1e4 * y[1] * y[2]
    return [-slow + back, slow - back - fast, fast]


def heat(t, y, k):
    """Heat conduction, whose Jacobian changes with the parameter alone."""
    n = len(y)
    ends = [0.0, *(y[i] for i in range(n)), 0.0]
    return [k * (ends[i] - 2 * ends[i + 1] + ends[i + 2]) for i in range(n)]


def switched(t, y, at):
    """Relaxation to a root that moves, a thousand times faster after a while."""
    rate = np.where(t < at, 1.0, 1e3)
    return [-rate * (y[0] ** 3 - np.cos(t)), y[0] - y[1]]


def solve(method, reuse, **options):
    """Solve Robertson's reactions as far as they are stiff."""
    given = {"backend": "python", "rtol": 1e-5, "atol": 1e-10, "args": (0.04,)} | options
    return solve_ivp(robertson, (0.0, 40.0), [1.0, 0.0, 0.0], method, jacobian_reuse=reuse, **given)


@pytest.mark.parametrize("method", METHODS)
def test_few_jacobians_do_for_many_steps(method):
    """The counts are those of what was built, and the solution is as good."""
    exact = solve("radau_iia_5", False, rtol=1e-10, atol=1e-14).y[:, -1]
    kept, anew = solve(method, True), solve(method, False)
    attempts = kept.n_steps + kept.n_rejected
    assert 0 < kept.njev < attempts / 2.5
    assert kept.njev < anew.njev == anew.n_steps + anew.n_rejected
    assert kept.nlu < 0.9 * anew.nlu
    assert attempts < 1.1 * anew.njev
    errors = [np.max(np.abs(one.y[:, -1] - exact) / exact) for one in (kept, anew)]
    assert errors[0] < max(2.0 * errors[1], 1e-5)


def test_a_step_that_failed_with_an_old_jacobian_is_made_with_a_new_one():
    """Of the same size: steps that are given have no other."""
    options = {"first_step": 1.0, "step_controller": "fixed", "save": "steps"}
    kept = solve("backwards_euler", True, **options)
    assert kept.success
    assert kept.n_rejected > 0
    np.testing.assert_allclose(np.diff(kept.t), 1.0, rtol=1e-12)
    assert kept.njev < 20 < kept.n_steps


@pytest.mark.parametrize("method", METHODS)
def test_equations_may_change_at_once(method):
    """What was kept is then worth nothing, and no run fails of it."""
    found = [
        solve_ivp(
            switched, (0.0, 2.0), [1.0, 1.0], method, args=(0.7,), rtol=1e-6, atol=1e-9,
            backend="python", jacobian_reuse=reuse,
        )
        for reuse in (True, False)
    ]  # fmt: skip
    assert all(one.success for one in found)
    np.testing.assert_allclose(found[0].y[:, -1], found[1].y[:, -1], rtol=2e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_jacobian_that_does_not_change_is_evaluated_once(method):
    """And not at all where it was given as numbers."""
    start, matrix = np.ones(5), np.diag(np.full(5, -60.0))
    matrix += np.diag(np.full(4, 30.0), 1) + np.diag(np.full(4, 30.0), -1)
    options = {"args": (30.0,), "backend": "python", "rtol": 1e-6, "jacobian_reuse": True}
    derived = solve_ivp(heat, (0.0, 1.0), start, method, **options)
    given = solve_ivp(heat, (0.0, 1.0), start, method, jac=matrix, **options)
    assert derived.success
    assert (derived.njev, given.njev) == (1, 0)
    assert derived.nlu == given.nlu < 0.7 * derived.n_steps * (2 if "radau" in method else 1)


@pytest.mark.parametrize("method", METHODS)
def test_neighbours_see_nothing_of_it(method):
    """Runs that need new Jacobians at other times are the same alone and among others."""
    rates = np.geomspace(1e-3, 1.0, 11)
    solver = Solver(
        robertson, method=method, backend="cpu", lanes=8, rtol=1e-4, atol=1e-8, jacobian_reuse=True
    )

    def facts(result, run):
        counts = (result.njev, result.nlu, result.n_newton, result.n_steps, result.n_rejected)
        return [result.y[run].tobytes(), *(int(count[run]) for count in counts)]

    start = np.array([1.0, 0.0, 0.0])
    together = solver.solve((0.0, 40.0), start, args=(rates,))
    assert (together.status == 0).all()
    assert len(set(together.njev)) > 1
    for run in range(rates.size):
        alone = solver.solve((0.0, 40.0), start, args=(rates[run : run + 1],))
        assert facts(alone, 0) == facts(together, run)


def test_what_has_nothing_to_keep_refuses_it():
    """An iterative linear solver, and a method whose Jacobian is part of its formula."""
    with pytest.raises(InvalidOption, match="there are no factors to keep"):
        solve("kvaerno5", True, linear_solver="bicgstab")
    assert solve("kvaerno5", False, linear_solver="bicgstab").success
    with pytest.raises(UnknownOption, match="jacobian_reuse"):
        solve("rodas5p", True)


def test_several_steps_keep_it_by_default_where_that_pays():
    """With ten states or more; `jacobian_reuse` says otherwise."""
    problem = STIFF_BY_NAME["pollu"]
    options = {"backend": "python", "rtol": 1e-3, "atol": 1e-9, "args": problem.args}
    given = (problem.fun, problem.t_span, problem.y0, "bdf")
    counts = {
        reuse: solve_ivp(*given, jacobian_reuse=reuse, **options) for reuse in (None, True, False)
    }
    assert counts[None].njev == counts[True].njev < counts[False].njev / 3
    few = solve("bdf", None)
    assert few.njev == few.n_steps + few.n_rejected


@pytest.mark.parametrize("method", METHODS)
def test_factors_of_every_form_are_kept(method):
    """They agree to rounding; text and tables to the last bit, where text shares no entries."""
    forms = ("straight_line", "tables", "dense")
    found = [solve(method, True, lu_form=form, rtol=1e-3) for form in forms]
    assert len({(one.njev, one.nlu, one.n_newton) for one in found}) == 1
    for other in found[1:]:
        np.testing.assert_allclose(other.y, found[0].y, rtol=1e-8, atol=1e-16)
    assert method == "radau_iia_5" or (found[1].y == found[0].y).all()
