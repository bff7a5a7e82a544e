"""Shared bytes of implicit methods, everything shared: what the page says of them stays true."""

import pytest
from benchmarks.implicit_memory import CUBIE, MATRIX_FREE, STATES, need


@pytest.mark.parametrize(("method", "linear_solver"), CUBIE)
def test_fewer_bytes_than_cubie_and_than_without_lifetimes(method, linear_solver):
    """At 4 and at 20 states, by the same linear solver (issue 5, done-when 3)."""
    options = MATRIX_FREE if linear_solver == "minimal_residual" else {}
    for states, theirs in zip(STATES, CUBIE[method, linear_solver], strict=False):
        found = need(method, states, options)
        assert found.planned < theirs
        assert found.planned < found.without_lifetimes


def test_matrix_free_steps_hold_what_their_formulas_do():
    """Vectors of a run at the peak: state, stages, change, residual and its image, no more."""
    vectors = {"backwards_euler": 5, "crank_nicolson": 6, "ros3p": 6}
    for method, count in vectors.items():
        small, large = (need(method, states, MATRIX_FREE).planned for states in STATES[:2])
        assert (large - small) / (STATES[1] - STATES[0]) == 4 * count
