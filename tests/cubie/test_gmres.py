"""GMRES: when it ends, what it gives up on, and that lanes do not see each other."""

import numpy as np
import pytest

from cubie import Solver
from tests.cubie.linear_systems import solve_linear, sparse_matrix

SHIFT = 3.0


def with_matrix(whole):
    """Return J with ``SHIFT * I - J`` equal to a matrix."""
    return SHIFT * np.eye(len(whole)) - whole


@pytest.mark.parametrize("seed", range(4))
def test_it_ends_after_as_many_products_as_there_are_unknowns(seed):
    """Without restarts no matrix takes more, but the one that tells the residual."""
    matrix = sparse_matrix(9, seed, 0.4)
    ok, iterations, found, wanted = solve_linear(
        "gmres", matrix, [0.3, 1.0], preconditioner="none", gmres_restart=50
    )
    assert ok.all()
    assert (iterations <= 10).all()
    np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-9)


def test_what_restarts_cannot_solve_is_given_up():
    """A cycle of six states gets nowhere before the sixth product: three of them are no use."""
    cycle = with_matrix(np.roll(np.eye(6), 1, axis=0))
    rhs = np.eye(6)[:1]
    options = {"preconditioner": "none", "rhs": rhs}
    ok, iterations, _, _ = solve_linear("gmres", cycle, [SHIFT], gmres_restart=3, **options)
    assert not ok.any()
    assert iterations.tolist() == [4]
    ok, iterations, found, wanted = solve_linear(
        "gmres", cycle, [SHIFT], gmres_restart=6, **options
    )
    assert ok.all()
    assert iterations.tolist() == [7]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_restarts_go_on_where_they_were():
    """With a basis of two vectors a solution takes several cycles, and is as good."""
    matrix = sparse_matrix(12, 5)
    ok, iterations, found, wanted = solve_linear(
        "gmres", matrix, [4.0, 9.0], preconditioner="none", gmres_restart=2
    )
    assert ok.all()
    assert (iterations > 6).all()
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-8)


def test_a_matrix_of_nothing_is_singular():
    """A product that is nothing ends the iteration: the lane's mask is false, nothing is NaN."""
    matrix = SHIFT * np.eye(4)
    ok, iterations, found, _ = solve_linear("gmres", matrix, [SHIFT, 1.0], preconditioner="none")
    assert ok.tolist() == [False, True]
    assert np.isfinite(found).all()
    assert iterations[0] == 2


def test_a_limit_is_kept():
    """A lane that may take three products stops then, and says that it did not converge."""
    matrix = sparse_matrix(12, 5)
    ok, iterations, _, _ = solve_linear(
        "gmres", matrix, [0.5, np.nan], preconditioner="none", max_linear_iterations=3
    )
    assert not ok.any()
    assert iterations[0] <= 4


@pytest.mark.parametrize("preconditioner", ["jacobi", "ilu0"])
def test_lanes_do_not_see_each_other(preconditioner):
    """Lanes that end in other cycles, and after other products, hold what they hold alone."""
    matrix = sparse_matrix(12, 5)
    shifts = [0.2, 50.0, 3.0, 1e4, 0.7]
    options = {"preconditioner": preconditioner, "gmres_restart": 3, "target": "cpu"}
    options["eigenvalues"] = (1.0, 1.5 + 0.8j)
    alone = solve_linear("gmres", matrix, shifts, lanes=1, **options)
    together = solve_linear("gmres", matrix, shifts, lanes=8, **options)
    assert len({*alone[1]}) > 2
    for one, other in zip(alone[:3], together[:3], strict=True):
        np.testing.assert_array_equal(one, other)


def badly_scaled(t, y, k):
    """States of which each asks for another number of products."""
    return (
        -1e12 * k * (y[0] - 1e-9 * y[1]),
        -y[1] + 1e9 * y[0] * 1e-3,
        -1e-8 * y[2] + 1e-5 * y[1] * k,
        -1e5 * (y[3] - y[1]),
    )


def test_how_many_vectors_a_neighbour_needs_changes_nothing():
    """Compilers regroup sums by their length, which must not be that of the group's longest basis.

    Of two states no basis is long enough to show it.
    """
    solver = Solver(
        badly_scaled, method="rodas5p", linear_solver="gmres", preconditioner="block_jacobi",
        jacobi_block_size=2, backend="cpu", rtol=1e-5, atol=1e-8, lanes=8,
    )  # fmt: skip

    def solve(*rates):
        result = solver.solve((0.0, 1.0), [1.0, 1.0, 1.0, 0.0], args=(np.array(rates),))
        return result.y[0].tobytes(), int(result.n_linear[0]), int(result.status[0])

    alone = solve(5.0)
    assert alone[2] == 0
    for neighbours in ([1.0], [3.0], [1e6], [np.nan], [1.0, 2.0, 0.0, 1e-6, 1e6]):
        assert solve(5.0, *neighbours) == alone
