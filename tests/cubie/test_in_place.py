"""Right-hand sides that store derivatives where they read the state."""

import random

import numpy as np
import pytest

from cubie.systems import trace


def swap(t, y, rate):
    """Each derivative is the other state, or a number."""
    return [y[1], y[0], 2.0, rate * y[1]]


def random_equations(seed, n=6):
    """Return a right-hand side in which states meet at random, some of them late or never."""
    chosen = random.Random(seed)
    terms = [[chosen.randrange(n) for _ in range(chosen.randrange(4))] for _ in range(n)]

    def fun(t, y, rate):
        out = []
        for places in terms:
            total = rate
            for k in places:
                total = total * y[k] + np.sin(y[places[0]])
            out.append(total)
        return out

    return fun, n


@pytest.mark.parametrize("case", ["swap", *range(12)])
def test_generated_text_works_in_place(case, tmp_path):
    """`rhs` with `dy` being `y` stores what it stores with vectors of their own."""
    fun, n = (swap, 4) if case == "swap" else random_equations(case)
    system = trace(fun, n, (0.7,), cache_dir=tmp_path)
    state = np.linspace(0.5, 1.5, n)
    apart, together = np.empty(n), state.copy()
    system.rhs(0.0, state, (0.7,), apart, 0)
    system.rhs(0.0, together, (0.7,), together, 0)
    assert system.kind == "traced"
    assert together.tolist() == apart.tolist()
