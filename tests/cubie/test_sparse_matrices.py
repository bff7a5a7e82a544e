"""SciPy's sparse matrices in right-hand sides: traced, entry by entry."""

import numpy as np
import pytest
from scipy import sparse
from scipy.integrate import solve_ivp as by_scipy

from cubie import Solver, UntracedWarning, solve_ivp
from cubie.systems import trace

SPAN = (0.0, 1.0)
START = np.linspace(1.0, 2.0, 5)
BANDS = sparse.diags([1.0, -2.0, 0.5], [-1, 0, 1], shape=(5, 5))
FORMS = {
    "csc": BANDS.tocsc(),
    "csr": BANDS.tocsr(),
    "coo": BANDS.tocoo(),
    "dia": BANDS,
    "array": sparse.csr_array(BANDS),
}
PRODUCTS = {
    "@": lambda a: lambda t, y: a @ y - y**3,
    "dot": lambda a: lambda t, y: a.dot(y),
    "on the right": lambda a: lambda t, y: y @ a,
    "transposed": lambda a: lambda t, y: a.T @ y + 0.1 * (a.transpose() @ y),
    "scaled": lambda a: lambda t, y: (2.0 * a) @ y,
    "a matrix": lambda a: lambda t, y: (a @ np.outer(y, y))[:, 0] - y**3,
    "a constant": lambda a: lambda t, y: a @ np.ones(5) - y,
}


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("form", FORMS)
def test_products(form, product):
    """Each form of matrix, in each product, is traced and gives what it gives in SciPy."""
    fun = PRODUCTS[product](FORMS[form])
    assert trace(fun, 5).kind == "traced"
    ours = solve_ivp(fun, SPAN, START, rtol=1e-7, atol=1e-9, backend="python")
    theirs = by_scipy(fun, SPAN, START, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ours.y[:, -1], theirs.y[:, -1], rtol=1e-5)


def test_the_star_is_that_of_the_kind():
    """Of matrices it is their product; of arrays it goes entry by entry, and is not traced."""
    matrix, array = sparse.csr_matrix(BANDS), sparse.csr_array(BANDS)
    ours = solve_ivp(lambda t, y: matrix * y, SPAN, START, rtol=1e-7, backend="python")
    same = solve_ivp(lambda t, y: matrix @ y, SPAN, START, rtol=1e-7, backend="python")
    np.testing.assert_array_equal(ours.y, same.y)
    with pytest.warns(UntracedWarning, match="the entries of a sparse matrix are multiplied"):
        solve_ivp(lambda t, y: (array * y) @ np.ones(5), SPAN, START, backend="python")


def test_matrices_in_args_and_complex_ones():
    """A matrix in args is the same for all runs; its entries, or the states, may be complex."""
    ours = solve_ivp(
        lambda t, y, a: 1j * (a @ y),
        SPAN,
        START + 0j,
        args=(FORMS["csc"],),
        rtol=1e-7,
        backend="python",
    )
    turned = (1j * BANDS).tocsr()
    same = solve_ivp(lambda t, y: turned @ y, SPAN, START + 0j, rtol=1e-7, backend="python")
    exact = by_scipy(lambda t, y: turned @ y, SPAN, START + 0j, rtol=1e-10, atol=1e-12)
    for result in (ours, same):
        np.testing.assert_allclose(result.y[:, -1], exact.y[:, -1], rtol=1e-4)


def test_entries_that_change_are_seen():
    """The next solve takes the matrix as it is then."""
    matrix = BANDS.tocsc()
    solver = Solver(lambda t, y: matrix @ y, rtol=1e-7, backend="python")
    before = solver.solve(SPAN, START)
    matrix.data[:] *= 2.0
    after = solver.solve(SPAN, START)
    exact = by_scipy(lambda t, y: matrix @ y, SPAN, START, rtol=1e-10, atol=1e-12)
    assert not np.allclose(before.y[:, -1], exact.y[:, -1], rtol=1e-2)
    np.testing.assert_allclose(after.y[:, -1], exact.y[:, -1], rtol=1e-5)
