"""`jac_sparsity`, `lband` and `uband`: columns found together, and patterns that are wrong."""

import warnings
from itertools import combinations

import numpy as np
import pytest
from scipy import sparse
from scipy.integrate import solve_ivp as by_scipy
from scipy.optimize._numdiff import group_columns

from cubie import InvalidOption, Solver, UntracedWarning, solve_ivp
from cubie.systems import derivatives_of, trace, with_sparsity
from cubie.systems.derivatives.sparsity import column_groups, read_sparsity

N = 12
SPAN = (0.0, 0.1)
START = np.sin(np.linspace(0.1, 3.0, N))
BANDS = sparse.diags([np.ones(N - 1), np.ones(N), np.ones(N - 1)], [-1, 0, 1])
OPTIONS = {"rtol": 1e-6, "atol": 1e-8}


@pytest.fixture(autouse=True)
def quietly():
    """Most functions here cannot be traced, and that is told each time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntracedWarning)
        yield


def heat(t, y):
    """Diffusion along a rod with a loss; how often the loop runs depends on a state."""
    n = len(y)
    derivative = np.empty(n)
    loss = 0.0
    for _ in range(int(abs(y[0])) + 1):
        loss = 0.1
    for i in range(n):
        left = y[i - 1] if i > 0 else 0.0
        right = y[i + 1] if i < n - 1 else 0.0
        derivative[i] = 100.0 * (left - 2.0 * y[i] + right) - loss * y[i] ** 3
    return derivative


def bands_of_heat(t, y):
    """Its Jacobian in SciPy's packed form: entry (i, j) in row i - j + 1 of column j."""
    packed = np.zeros((3, N))
    packed[0, 1:] = 100.0
    packed[1] = -200.0 - 0.3 * y**2
    packed[2, :-1] = 100.0
    return packed


GIVEN = {
    "sparse": {"jac_sparsity": BANDS},
    "dense": {"jac_sparsity": BANDS.toarray()},
    "a list": {"jac_sparsity": BANDS.toarray().astype(int).tolist()},
    "bands": {"lband": 1, "uband": 1},
}


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("method", ["Radau", "rodas5p"])
def test_differences_by_groups(method, given):
    """The solution is that of SciPy; the Jacobian takes four evaluations in place of n + 1."""
    solver = Solver(heat, method=method, backend="python", **OPTIONS, **GIVEN[given])
    result = solver.solve(SPAN, START)
    exact = by_scipy(heat, SPAN, START, method="Radau", rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(result.y[:, -1], exact.y[:, -1], rtol=1e-5, atol=1e-8)
    derivatives = derivatives_of(solver.kernel.integrator.loop.system.system)
    assert derivatives.note.startswith("The Jacobian is found by differences, 4 evaluations")
    assert len(derivatives.pattern) == 3 * N - 2


def test_compiled_differences():
    """The same code on the processor."""
    result = solve_ivp(heat, SPAN, START, "rodas5p", backend="cpu", **OPTIONS, **GIVEN["sparse"])
    same = solve_ivp(heat, SPAN, START, "rodas5p", backend="python", **OPTIONS, **GIVEN["sparse"])
    np.testing.assert_allclose(result.y[:, -1], same.y[:, -1], rtol=1e-7)


def test_the_pattern_counts_where_things_are_found_again():
    """Another pattern makes another Jacobian, and no buffer is left of it without one."""
    solver = Solver(heat, method="rodas5p", backend="python", **OPTIONS)
    first = solver.solve(SPAN, START)
    wider = BANDS + sparse.diags([np.ones(N - 3)], [3])
    patterns = [BANDS, wider, None]
    seen = []
    for pattern in patterns:
        again = solver.solve(SPAN, START, jac_sparsity=pattern)
        np.testing.assert_allclose(again.y[:, -1], first.y[:, -1], rtol=1e-6)
        sizes = {n.rpartition(".")[2]: p.size_bytes for n, p in again.plan.placements.items()}
        system = solver.kernel.integrator.loop.system.system
        seen.append((sizes["difference_columns"], derivatives_of(system).digest))
    assert [size for size, _ in seen] == [8 * N, 8 * N, 0]
    assert len({digest for _, digest in seen}) == 3


def test_a_packed_jacobian():
    """With bands `jac` returns them packed, as SciPy's LSODA wants it."""
    result = solve_ivp(
        heat, SPAN, START, "Radau", backend="python", jac=bands_of_heat, lband=1, uband=1, **OPTIONS
    )
    exact = by_scipy(heat, SPAN, START, method="Radau", rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(result.y[:, -1], exact.y[:, -1], rtol=1e-5, atol=1e-8)
    assert [note for note in result.notes if note.startswith("The Jacobian is the given `jac`")]
    assert not [note for note in result.notes if "lband" in note]


def test_bands_of_several_widths():
    """jac[i, j] != 0 only for i - lband <= j <= i + uband, as SciPy has it."""
    for lower, upper in ((0, 0), (2, 0), (0, 3), (1, 2), (9, 9)):
        expected = {(i, j) for i in range(5) for j in range(5) if i - lower <= j <= i + upper}
        entries = read_sparsity(None, lower, upper).entries(5)
        assert set(entries) == expected
        assert list(entries) == sorted(entries, key=lambda entry: entry[::-1])


@pytest.mark.parametrize("seed", range(8))
def test_groups_of_columns(seed):
    """No two columns of a group share a row, each has its group, and there are few of them."""
    random = np.random.default_rng(seed)
    matrix = random.uniform(size=(15, 15)) < 0.2
    columns, rows = np.nonzero(matrix.T)
    groups = column_groups(tuple(zip(rows.tolist(), columns.tolist(), strict=True)), 15)
    assert sorted(column for group in groups for column in group) == np.unique(columns).tolist()
    for group in groups:
        for one, other in combinations(group, 2):
            assert not (matrix[:, one] & matrix[:, other]).any()
    assert len(groups) <= group_columns(matrix).max() + 2


def test_a_pattern_that_leaves_out_a_derivative():
    """An entry that is seen to change is named; one that is merely there costs nothing."""
    wrong = BANDS.tolil()
    wrong[3, 4] = wrong[0, 0] = 0
    told = (
        r"`jac_sparsity` is a pattern without \(0, 0\), \(3, 4\)\. There the derivative of the "
        "row's state changes with the column's"
    )
    with pytest.raises(InvalidOption, match=told):
        solve_ivp(heat, SPAN, START, "Radau", backend="python", jac_sparsity=wrong)
    with pytest.raises(InvalidOption, match=r"`lband` is a pattern without \(0, 1\)"):
        solve_ivp(heat, SPAN, START, "Radau", backend="python", lband=1)


def test_where_it_is_not_used():
    """Of a traced function the zeros are known: a pattern that contradicts them is told."""

    def fun(t, y):
        return [y[1], -1000.0 * y[0]]

    options = {"t_span": SPAN, "y0": [1.0, 0.0], "backend": "python"}
    derived = "the zeros of the Jacobian were derived from the traced right-hand side."
    right = solve_ivp(fun, method="Radau", jac_sparsity=[[0, 1], [1, 0]], **options)
    assert right.notes == (f"`jac_sparsity` is not used: {derived}",)
    wrong = solve_ivp(fun, method="Radau", jac_sparsity=np.eye(2), **options)
    assert wrong.notes == (
        f"`jac_sparsity` is not used: {derived} It leaves out (0, 1), (1, 0), where the Jacobian "
        "may differ from zero: check the pattern, or the equations.",
    )
    complex_states = {**options, "y0": [1.0 + 0j, 0.0]}
    ours = solve_ivp(fun, method="Radau", jac_sparsity=[[0, 1], [1, 0]], **complex_states)
    assert ours.notes == right.notes
    explicit = solve_ivp(fun, jac_sparsity=np.eye(2), jac=np.eye(2), **options)
    assert explicit.notes == ("`jac` and `jac_sparsity` are not used: `tsit5` is explicit.",)


REFUSED = {
    "a vector": ({"jac_sparsity": np.ones(3)}, "`jac_sparsity` is an array of shape (3,), but"),
    "another size": ({"jac_sparsity": np.eye(3)}, "of shape (3, 3), but must be one of shape (12"),
    "ragged": ({"jac_sparsity": [[1], [0, 1]]}, "`jac_sparsity` is [[1], [0, 1]], but must be one"),
    "both": ({"jac_sparsity": BANDS, "uband": 1}, "Give either `jac_sparsity` or `uband`, not"),
    "a negative band": ({"lband": -1}, "`lband` is -1, but must be one of a number of diagonals"),
    "half a band": ({"uband": 0.5}, "`uband` is 0.5, but must be one of a number of diagonals"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_pattern(case):
    """What was given, and what is allowed."""
    given, told = REFUSED[case]
    with pytest.raises(InvalidOption) as caught:
        solve_ivp(heat, SPAN, START, "Radau", backend="python", **given)
    assert told in str(caught.value)


def test_a_function_that_raises_where_it_is_tried():
    """Points outside of its domain say nothing of the pattern."""

    def fun(t, y):
        for _ in range(int(abs(y[0])) + 1):
            if y[1] > 1.4:
                raise ValueError("outside")
        return [y[1], -y[0]]

    system = trace(fun, 2)
    assert system.kind == "compiled"
    assert with_sparsity(system, read_sparsity([[0, 1], [1, 0]])).sparsity == ((1, 0), (0, 1))
