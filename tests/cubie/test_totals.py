"""Totals that equations keep: found in what was traced, and told where a solution loses one."""

import numpy as np
import pytest
from benchmarks.work_precision import error_at_end

from cubie import ConservationWarning, Event, RunStatus, Solver, solve_ivp
from cubie.systems import totals as module
from cubie.systems import trace
from cubie.systems.totals import conserved_totals
from tests.oracle.stiff_problems import STIFF_BY_NAME

E5 = STIFF_BY_NAME["e5"]
# Which methods lose the total of E5 by which options, and which keep it.
LOST = [
    *(
        (method, {"linear_solver": name})
        for method in ("kvaerno5", "radau_iia_5", "bdf", "rodas5p", "auto")
        for name in ("gmres", "bicgstab")
    ),
    *((method, {}) for method in ("rodas5p", "rodas4", "auto")),
]
KEPT = [
    *((method, {}) for method in ("kvaerno5", "radau_iia_5", "bdf", "sdirk2")),
    ("kvaerno5", {"linear_solver": "gmres", "preconditioner": "ilu0"}),
]


def totals_of(fun, n, *args):
    found = conserved_totals(trace(fun, n, args))
    return [[total.get(i, 0.0) for i in range(n)] for total in found]


def test_totals_of_published_networks():
    robertson, hires, e5, pollu = (
        STIFF_BY_NAME[name] for name in ("robertson", "hires", "e5", "pollu")
    )
    assert totals_of(robertson.fun, 3) == [[1.0, 1.0, 1.0]]
    assert totals_of(hires.fun, 8) == [[0.0] * 6 + [1.0, 1.0]]
    assert totals_of(e5.fun, 4) == [[0.0, -1.0, 1.0, 1.0]]
    # Nitrogen, sulphur, and the carbon of what starts as formaldehyde and its like.
    assert len(totals_of(pollu.fun, 20)) == 3
    for name in ("oregonator", "van_der_pol", "ring_modulator"):
        problem = STIFF_BY_NAME[name]
        assert totals_of(problem.fun, len(problem.y0), *problem.args) == []


def test_terms_are_equal_however_they_are_written():
    def products(t, y, k):
        return [-k * y[0] * (y[1] + 2.0), k * y[1] * y[0] + 2.0 * y[0] * k]

    def saturated(t, y, k):
        rate = k * y[0] / (0.5 + y[0])
        return [-rate + y[1] * 3.0, (rate - 3.0 * y[1]) / 2.0]

    def branches(t, y, k):
        flow = np.where(y[0] > 1.0, k * y[0], np.sin(t))
        return [flow, -flow, 4.0 * flow]

    assert totals_of(products, 2, 1.0) == [[1.0, 1.0]]
    assert totals_of(saturated, 2, 1.0) == [[1.0, 2.0]] or totals_of(saturated, 2, 1.0) == [
        [0.5, 1.0]
    ]
    assert totals_of(branches, 3, 1.0) == [[1.0, 1.0, 0.0], [-4.0, 0.0, 1.0]]


def test_what_only_nearly_cancels_is_no_total():
    def nearly(t, y):
        return [-0.1 * y[0], 0.30000000000000004 / 3.0 * y[0]]

    def driven(t, y):
        return [1.0 - y[0], y[0]]

    def overflowing(t, y):
        return [1e200 * (1e200 * y[0]) - y[0] * 1e308 * 1e308, 0.0 * y[0]]

    assert totals_of(driven, 2) == []
    assert totals_of(overflowing, 2) == [[0.0, 1.0]]
    # 0.30000000000000004 / 3 is 0.1 + 1.4e-17.
    assert totals_of(nearly, 2) != [[1.0, 1.0]]


def test_what_is_not_traced_or_has_a_mass_matrix_has_none():
    def rows(t, y):
        return [y[int(y[0] > 0.0)], -y[int(y[0] > 0.0)]]

    solver = Solver(
        STIFF_BY_NAME["robertson"].fun, method="sdirk2", linear_solver="gmres", backend="cpu",
        mass_matrix=np.diag([1.0, 1.0, 0.5]),
    )  # fmt: skip
    result = solver.solve((0.0, 1.0), np.array([1.0, 0.0, 0.0]))
    assert result.notes == ()
    assert conserved_totals(trace(rows, 2, ())) == ()


def test_totals_of_long_chains_and_the_end_of_the_search(monkeypatch):
    def diffusion(t, y):
        flow = y[1:] - y[:-1]
        return np.concatenate([flow, [0.0]]) - np.concatenate([[0.0], flow])

    assert totals_of(diffusion, 150) == [[1.0] * 150]
    monkeypatch.setattr(module, "MOST_OPERATIONS", 100)
    conserved_totals.cache_clear()
    assert totals_of(diffusion, 150) == []
    conserved_totals.cache_clear()


@pytest.mark.parametrize("exponent", [200, 130])
def test_weights_that_no_float_holds_make_no_total(exponent):
    """As a float the weight would be infinite, or zero: a total that is none."""
    large, small = 10.0**exponent, 10.0**-exponent

    def growing(t, y):
        return [small * y[0] * y[1], -large * y[0] * y[1]]

    def shrinking(t, y):
        return [large * y[0] * y[1], -small * y[0] * y[1]]

    assert totals_of(growing, 2) == totals_of(shrinking, 2) == []


def test_weights_are_ratios_of_the_numbers_in_the_equations():
    volumes, flows = (0.3, 0.7, 1.1e-6), (0.1, 17.3)

    def compartments(t, y):
        out, back = flows[0] * (y[0] - y[1]), flows[1] * y[1] * (y[2] + 0.1)
        return [-out / volumes[0], (out - back) / volumes[1], back / volumes[2]]

    (weights,) = totals_of(compartments, 3)
    np.testing.assert_allclose(np.array(weights) / weights[0] * volumes[0], volumes, rtol=1e-15)


def test_numbers_do_not_grow_in_the_search():
    """Fractions of seventy rows of seventy numbers, each exact, have thousands of digits."""
    n, random = 70, np.random.default_rng(0)
    rates = random.random((n, n))
    whole = random.integers(1, 9, (n, n))
    np.fill_diagonal(whole, 0)
    np.fill_diagonal(whole, -whole.sum(axis=0))

    def by(matrix):
        entries = matrix.tolist()
        return lambda t, y: [sum(a * y[j] for j, a in enumerate(row)) for row in entries]

    assert totals_of(by(rates), n) == []
    assert totals_of(by(whole), n) == [[1.0] * n]


def at_the_end(method, **options):
    solver = Solver(E5.fun, method=method, backend="cpu", lanes=1, max_steps=100_000, **options)
    return solver.solve(E5.t_span, np.array(E5.y0), rtol=1e-4, atol=E5.floor)


@pytest.mark.parametrize(("method", "options"), LOST)
def test_no_wrong_end_of_e5_is_taken_for_right(method, options):
    """States fall by twenty orders of magnitude, and a total is all that is left of them."""
    with pytest.warns(ConservationWarning, match=r"keep y1 - y2 - y3, and it changed, by"):
        result = at_the_end(method, **options)
    assert result.status == RunStatus.SUCCESS
    assert error_at_end(E5, result.y[:, -1]) > 1.0
    by_newton = method in ("kvaerno5", "radau_iia_5", "bdf")
    helps = "leave `linear_solver` out" if by_newton else "choose 'kvaerno5'"
    assert helps in result.notes[-1]


@pytest.mark.parametrize(("method", "options"), KEPT)
def test_the_right_end_of_e5_is_not_warned_of(method, options):
    result = at_the_end(method, **options)
    assert result.notes == ()
    # Rounding that differs, as with `fastmath` or without, changes it: wrong ends are off by all.
    assert error_at_end(E5, result.y[:, -1]) < 500 * 1e-4


def leaking(save_states=None, of_type=float, **changes):
    """Solve E5 to three ends, of which only the last ones lie where the total is lost."""
    options = {
        "method": "kvaerno5", "linear_solver": "gmres", "backend": "cpu", "rtol": 1e-4,
        "atol": E5.floor, "save_states": save_states, "max_steps": 100_000,
    }  # fmt: skip
    starts = np.array([0.0, 1e-6, 1.0])[:, None] * np.array(E5.y0, of_type)
    return solve_ivp(E5.fun, E5.t_span, starts, **(options | changes))


WAYS = {
    "final": {"save": "final"},
    "times": {"t_eval": np.array([1.0, 1e9, 1e13])},
    "steps": {"save": "steps"},
    "derivatives": {
        "save": "final",
        "sensitivities": ["y0[0]"],
        "sensitivity_error_control": False,
    },
    "complex": {"save": "final", "of_type": complex},
    "chosen": {"save": "final", "save_states": [3, 1, 2]},
}


@pytest.mark.parametrize("way", WAYS)
def test_the_total_is_seen_in_every_kind_of_result(way):
    with pytest.warns(ConservationWarning, match=r"of 3 runs, most in run 2") as told:
        result = leaking(**WAYS[way])
    assert result.status[2] == RunStatus.SUCCESS
    assert len([one for one in told if one.category is ConservationWarning]) == 1
    assert result.notes[-1] == str(told[0].message)


def test_what_cannot_be_seen_is_not_told(recwarn):
    leaking(save="final", save_states=[0, 1])
    leaking(save="final", save_states=[])
    leaking(save="final", events=[Event(lambda t, y: y[0] - 1e-9, apply=lambda t, y: 2.0 * y)])
    assert not [one for one in recwarn if one.category is ConservationWarning]


@pytest.mark.parametrize("method", ["kvaerno5", "bdf"])
@pytest.mark.parametrize("problem", ["robertson", "hires", "pollu"])
def test_solutions_that_are_right_are_not_warned_of(problem, method, recwarn):
    problem = STIFF_BY_NAME[problem]
    for rtol in (1e-3, 1e-6):
        solver = Solver(problem.fun, method=method, linear_solver="gmres", backend="cpu", lanes=1)
        y0 = np.array(problem.y0)
        result = solver.solve(problem.t_span, y0, args=problem.args, rtol=rtol, atol=1e-4 * rtol)
        assert result.status == RunStatus.SUCCESS
        assert result.notes == ()
    assert not [one for one in recwarn if one.category is ConservationWarning]
