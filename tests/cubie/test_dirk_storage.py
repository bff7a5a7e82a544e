"""Where a diagonally implicit step keeps derivatives and sums: nothing is lost that is read."""

import numpy as np
import pytest

from cubie.algorithms.dirk_storage import DIRKStorage, dirk_storage
from cubie.tableaus import DIRKTableau, Stability, all_tableaus

TABLEAUS = {t.name: t for t in all_tableaus().values() if isinstance(t, DIRKTableau)}


def storages(tableau):
    """Return every way to keep what a method's step needs."""
    first = tableau.implicit_stages.index(True)
    of_sums = [DIRKStorage(tableau, stage) for stage in range(first + 1, tableau.n_stages)]
    kept = [DIRKStorage(tableau, None, rows) for rows in ((), (tableau.b,), (tableau.a[-1],))]
    return [*kept, *of_sums, dirk_storage(tableau, (tableau.b,))]


def random_tableau(seed: int) -> DIRKTableau:
    """Return a method of no use, with many coefficients that are zero."""
    random = np.random.default_rng(seed)
    n, gamma = int(random.integers(2, 8)), 0.25
    a = np.tril(random.integers(-4, 5, (n, n)) / 8 * (random.random((n, n)) < 0.6), -1)
    starts_explicit = random.random() < 0.5
    for i in range(int(starts_explicit), n):
        a[i, i] = gamma
    a[-1, 0] += 1.0 - a[-1].sum()
    errors = np.append(random.integers(-2, 3, n - 1) / 8.0, 0.0)
    errors[random.integers(n - 1)] = 0.5
    errors[-1] = -errors.sum()
    return DIRKTableau(
        name=f"random_{seed}", a=a.tolist(), b=a[-1].tolist(), c=a.sum(axis=1).tolist(), order=1,
        error_weights=errors.tolist(), error_order=1, stability=Stability.CONDITIONAL,
        source="a test",
    )  # fmt: skip


def follow(storage):
    """Go through a step with numbers for derivatives; compare every sum with the tableau's."""
    tableau, increment = storage.tableau, storage.increment
    k = np.random.default_rng(1).normal(size=tableau.n_stages)
    slots = np.full(storage.n_slots, np.nan)
    first = tableau.implicit_stages.index(True)
    if first:
        slots[storage.slots[0]] = k[0]

    def total(terms):
        return sum(weight * slots[slot] for slot, weight in terms)

    for i in range(first, tableau.n_stages):
        # One stage alone has no base: its sum is formed again in every iteration.
        alone = tableau.implicit_stages.count(True) == 1
        found = [total(storage.base(i)), total(storage.guess(i))]
        wanted = [np.dot(tableau.a[i][:i], k[:i]), np.dot(tableau.predictor[i], k)]
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
        written = [(slot, total(terms)) for slot, terms in storage.written_before(i)]
        assert len({slot for slot, _ in written} | {increment}) == len(written) + 1
        for slot, value in written:
            slots[slot] = value
        slots[increment] = np.nan  # the increment
        if alone:
            np.testing.assert_allclose(total(storage.base(i)), wanted[0])
        slots[increment] = k[i]
    ends = [row for row in (tableau.b, tableau.error_weights) if row is not None]
    found = [total(storage.at_end(row)) for row in ends]
    np.testing.assert_allclose(found, [np.dot(row, k) for row in ends], rtol=1e-12, atol=1e-12)
    outlives = {tableau.n_stages - 1, *([0] if tableau.fsal else [])}
    outlives |= {j for row in storage.kept for j, weight in enumerate(row) if weight}
    for j in outlives:
        assert slots[storage.slots[j]] == k[j]


@pytest.mark.parametrize("method", TABLEAUS)
def test_all_sums_are_those_of_the_tableau(method):
    """Whatever is kept, and from whichever stage on sums are."""
    for storage in storages(TABLEAUS[method]):
        follow(storage)


def test_sums_of_random_methods_are_those_of_their_tableaus():
    """Two hundred methods with up to seven stages and coefficients that are zero."""
    for seed in range(200):
        for storage in storages(random_tableau(seed)):
            follow(storage)


@pytest.mark.parametrize("method", TABLEAUS)
def test_the_storage_that_is_chosen_has_the_fewest_slots(method):
    """Of those that round as a sum of all derivatives does."""
    tableau = TABLEAUS[method]
    usable = [s for s in storages(tableau) if not s.kept and s.rounds_alike]
    assert dirk_storage(tableau).n_slots == min(storage.n_slots for storage in usable)


def test_four_slots_hold_what_seven_stages_need():
    """Kvaerno's method of order five keeps three derivatives, or the first and two sums."""
    found = dirk_storage(TABLEAUS["kvaerno5"])
    assert (found.n_slots, found.gathers) == (4, 5)
    assert found.slots[0] == 0
    assert dirk_storage(TABLEAUS["kvaerno5"], (TABLEAUS["kvaerno5"].b,)).n_slots == 6
