"""Numbers that are drawn for different names have nothing in common, whatever draws them."""

import numpy as np
import pytest

from cubie.sweeps.draws import BLOCK, WAYS, Draws

N = 200


@pytest.mark.parametrize("by", WAYS)
def test_draws_of_one_seed_for_other_names_are_others(by):
    """Parts of a sweep share its seed: what one draws must not follow from what another does."""
    first, second = (Draws.of(N, {name: (0, 1)}, by, 3) for name in ("a", "b"))
    a, b = first.at(np.arange(N))["a"], second.at(np.arange(N))["b"]
    assert not np.array_equal(a, b)
    if by in ("random", "latin"):  # points of little discrepancy alternate in one way
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.3


@pytest.mark.parametrize("by", WAYS)
def test_draws_repeat_from_any_place(by):
    """The same seed gives the same numbers, from the first place on or from a later one."""
    n = 2 * BLOCK
    late, whole = (Draws.of(n, {"a": (0, 1), "b": (2, 3)}, by, 3) for _ in range(2))
    some = late.at(np.arange(BLOCK + 5, BLOCK + 9))["b"]
    np.testing.assert_array_equal(some, whole.at(np.arange(n))["b"][BLOCK + 5 : BLOCK + 9])
