"""Device functions that are called in turn."""

import numpy as np
import pytest

from cubie.backend import in_turn, make_backend


@pytest.mark.parametrize("n_arguments", range(1, 8))
@pytest.mark.parametrize("n_functions", [0, 1, 2, 3, 5, 8])
def test_all_are_called_in_order_with_all_arguments(n_functions, n_arguments):
    """Of none at all there is a function that does nothing."""
    calls, made = [], []
    backend = make_backend("python", np.float64, False)

    def function(number):
        return lambda *arguments: calls.append((number, arguments))

    def outermost(plain):
        made.append(plain)
        return backend.device(plain)

    chain = in_turn(backend, map(function, range(n_functions)), n_arguments, outermost)
    given = tuple(range(n_arguments))
    assert chain(*given) is None
    assert calls == [(number, given) for number in range(n_functions)]
    assert len(made) == (n_functions > 1)
