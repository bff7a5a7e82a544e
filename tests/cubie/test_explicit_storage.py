"""Where an explicit step keeps derivatives and sums: nothing is lost that is read."""

from fractions import Fraction

import numpy as np
import pytest

from cubie import Solver
from cubie.algorithms.explicit_storage import ExplicitStorage, explicit_storage
from cubie.tableaus import ERKTableau, Stability, all_tableaus, get_tableau

NAMED = {t.name: t for t in all_tableaus().values() if isinstance(t, ERKTableau)}
ESTIMATING = {name: t for name, t in NAMED.items() if t.has_error_estimate}
TABLEAUS = NAMED | {f"{n} fixed": t.without_error_estimate() for n, t in ESTIMATING.items()}


def storages(tableau):
    """Return many ways to keep what a method's step needs, and those that are chosen."""
    n = tableau.n_stages
    times = [tuple(range(first, last)) for first in range(1, n) for last in range(first, n + 1)]
    kept = [explicit_storage(tableau, rows) for rows in ((), (tableau.b,), (tableau.a[-1],))]
    return [*kept, *(ExplicitStorage(tableau, t, which) for t in times for which in (False, True))]


def random_tableau(seed: int) -> ERKTableau:
    """Return a method of no use, with many coefficients that are zero; every other one is FSAL."""
    random = np.random.default_rng(seed)
    n = int(random.integers(2, 9))
    a = np.tril(random.integers(-4, 5, (n, n)) / 8 * (random.random((n, n)) < 0.6), -1)
    a[-1, 0] += 1.0 - a[-1].sum()
    b = a[-1] if seed % 2 else np.append(a[-1][:-1] - 0.25 / (n - 1), 0.25)
    b[0] += 1.0 - b.sum()
    estimates = random.integers(-2, 3, (2, n)) / 8.0
    estimates[:, -1] = 0.5
    estimates[:, 0] -= estimates.sum(axis=1)
    return ERKTableau(
        name=f"random_{seed}", a=a.tolist(), b=b.tolist(), c=a.sum(axis=1).tolist(), order=1,
        error_weights=estimates[0].tolist(), error_order=1, stability=Stability.CONDITIONAL,
        error_weights_low=estimates[1].tolist() if seed % 3 else None, source="a test",
    )  # fmt: skip


def follow(storage):
    """Go through a step with numbers for derivatives; compare every sum with the tableau's."""
    tableau, n = storage.tableau, storage.tableau.n_stages
    k = np.random.default_rng(1).normal(size=n)
    slots = np.full(storage.n_slots, np.nan)

    def total(terms):
        return sum((weight * slots[slot] for slot, weight in terms), start=0.0)

    for i in range(n):
        np.testing.assert_allclose(total(storage.argument(i)), np.dot(tableau.a[i], k), atol=1e-11)
        made = [(slot, total(terms)) for slot, terms in storage.sums_before(i)]
        assert len({slot for slot, _ in made}) == len(made)
        for slot, value in made:
            slots[slot] = value
        slots[storage.slots[i]] = k[i]
    ends = storage.rows[1:1] if tableau.fsal else storage.rows[:1]
    ends = (*ends, *storage.of_errors)
    wanted = [np.dot(row.weights, k) for row in ends]
    np.testing.assert_allclose([total(storage.terms(row)) for row in ends], wanted, atol=1e-11)
    if storage.errors is not None:
        places = [storage.errors + place for place in range(len(storage.of_errors))]
        assert [storage.slot_of(row) for row in storage.of_errors] == places
    outlives = {0, n - 1} if tableau.fsal else set()
    outlives |= {j for row in storage.kept for j, weight in enumerate(row[:n]) if weight}
    assert all(slots[storage.slots[j]] == k[j] for j in outlives)


def rank(rows) -> int:
    """Return the rank of rows of fractions, by elimination."""
    rows, found = [list(map(Fraction, row)) for row in rows], 0
    for column in range(len(rows[0]) if rows else 0):
        pivots = [row for row in rows[found:] if row[column]]
        if pivots:
            pivot = pivots[0]
            rows.remove(pivot)
            rows[found:] = [
                [x - y * row[column] / pivot[column] for x, y in zip(row, pivot, strict=True)]
                for row in rows[found:]
            ]
            rows.insert(found, pivot)
            found += 1
    return found


def least_slots(tableau) -> int:
    """Return how many vectors a step needs by the rank of all that is still to be formed.

    While a stage is evaluated: its derivative, and what later sums are of those before it; with
    FSAL the first, which the next attempt begins with if this one is rejected.
    """
    n, fsal = tableau.n_stages, tableau.fsal
    estimates = (tableau.error_weights_exact, tableau.error_weights_low_exact)
    ends = [row for row in estimates if row is not None]
    needed = []
    for i in range(n):
        later = [*tableau.a_exact[i + 1 :], *ends, *([] if fsal else [tableau.b_exact])]
        first = [[1, *([0] * (n - 1))]] if fsal else []
        needed.append(1 + rank([list(row)[:i] for row in (*later, *first)]))
    return max(needed)


@pytest.mark.parametrize("method", TABLEAUS)
def test_all_sums_are_those_of_the_tableau(method):
    """Whatever is kept, and at whichever stages sums are made."""
    for storage in storages(TABLEAUS[method]):
        follow(storage)


def test_sums_of_random_methods_are_those_of_their_tableaus():
    """Thirty methods with up to eight stages, many zeros, and one or two error estimates."""
    for seed in range(30):
        for storage in storages(random_tableau(seed)):
            follow(storage)


@pytest.mark.parametrize("method", TABLEAUS)
def test_no_vector_more_is_kept_than_the_tableau_asks_for(method):
    """As many as the rank of what is still to be formed, for which no fewer can do.

    But for two with fixed steps, where sums of arguments do not pay; `docs/lifetimes.md`.
    """
    more = int(method in ("tsit5 fixed", "dormand_prince54 fixed"))
    assert explicit_storage(TABLEAUS[method]).n_slots == least_slots(TABLEAUS[method]) + more


def test_sums_replace_derivatives_that_points_inside_do_not_need():
    """What is read after a step is kept, and never takes more than all derivatives did."""
    for tableau in NAMED.values():
        rows = [*tableau.dense.rows, *zip(*tableau.dense.interpolant.weights, strict=True)]
        kept = explicit_storage(tableau, rows)
        assert kept.n_slots <= ExplicitStorage(tableau, (), False, rows).n_slots
        follow(kept)


def forced(t, y, rate):
    """Three states that go apart, pushed by time."""
    return [y[1] - t, rate * (1.0 - y[0] * y[0]) * y[1] - y[0], y[0] * y[2] - y[1]]


SUMMING = [name for name, t in TABLEAUS.items() if explicit_storage(t).gathers]


@pytest.mark.parametrize("method", SUMMING)
def test_sums_have_the_bits_of_derivatives_that_are_kept(method, monkeypatch):
    """They are added in the order of stages; of steps that are rejected, too."""
    name, *fixed = method.split()
    steps = {"step_controller": "fixed"} if fixed or name == "rk4" else {"rtol": 1e-6}

    def solve():
        return Solver(
            forced, backend="python", method=name, fastmath=False, first_step=0.2,
            stage_storage="vectors", **steps,
        ).solve((0.0, 1.0), [1.0, 0.0, 0.5], args=(np.array([0.5, 8.0]),))  # fmt: skip

    found, asked = solve(), []
    monkeypatch.setattr(
        "cubie.algorithms.erk.explicit_storage",
        lambda tableau, kept: asked.append(tableau) or ExplicitStorage(tableau, (), False, kept),
    )
    of_derivatives = solve()
    assert [explicit_storage(tableau).gathers for tableau in asked][-1:] != [()]
    np.testing.assert_array_equal(found.y, of_derivatives.y)
    np.testing.assert_array_equal(found.t, of_derivatives.t)


def test_the_largest_methods_keep_two_vectors_less():
    """Of order eight, seven and four, beside all derivatives that are read later."""
    for name, of_sums, of_derivatives in (("dop853", 7, 9), ("vern7", 6, 8), ("rk4", 2, 4)):
        assert explicit_storage(get_tableau(name)).n_slots == of_sums
        assert ExplicitStorage(get_tableau(name)).n_slots == of_derivatives
