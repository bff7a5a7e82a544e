"""Axes: how many runs there are, in which order, and with which values."""

import itertools

import numpy as np
import pandas as pd
import pytest

import cubie
from cubie import CubieError, InvalidOption, InvalidProblem, grid, sampled, table, zipped


def test_runs_are_in_c_order():
    """The last dimension varies fastest; values are those of each run by its number."""
    space = grid(a=[1, 2, 3]) * zipped(b=[4, 5], c=[6, 7]) * grid({"k[1]": [8, 9]})
    assert space.dims == ("a", "run", "k[1]")
    assert space.shape == (3, 2, 2)
    assert space.n_runs == 12
    assert space.names == ("a", "b", "c", "k[1]")
    found = space.of_runs(np.arange(12))
    rows = list(zip(*found.values(), strict=True))
    wanted = [(a, b, c, k) for a, (b, c), k in itertools.product(
        (1, 2, 3), ((4, 6), (5, 7)), (8, 9))]  # fmt: skip
    assert rows == wanted
    assert repr(space) == "<a 3 x run 2 x k[1] 2: 12 runs>"


def test_tables_keep_their_order():
    """A table of pandas, a structured array, columns, and rows with names are the same runs."""
    rows = np.array([[3.0, 1.0], [1.0, 2.0], [2.0, 9.0]])
    frame = pd.DataFrame(rows, columns=["a", "b"], index=[7, 5, 6])
    structured = np.array([tuple(row) for row in rows], dtype=[("a", float), ("b", float)])
    spaces = [table(frame), table(structured), table(rows, ["a", "b"]),
              table({"a": rows[:, 0], "b": rows[:, 1]}),
              table(frame[["b", "a"]], ["a", "b"])]  # fmt: skip
    for space in spaces:
        found = space.of_runs(np.arange(3))
        np.testing.assert_array_equal(np.stack([found["a"], found["b"]], axis=1), rows)
    assert table(frame, ["b"]).names == ("b",)


def test_values_are_copied():
    """What becomes of an array afterwards changes no sweep, and nobody changes its axes."""
    values = np.array([1.0, 2.0])
    space = grid(a=values)
    values[:] = 7.0
    held = space.axes[0].columns[0]
    np.testing.assert_array_equal(held, [1.0, 2.0])
    with pytest.raises(ValueError, match="read-only"):
        held[0] = 3.0


def test_a_product_of_many_runs_is_no_array():
    """10^9 runs are two axes, and runs in the middle have the right values."""
    space = grid(a=np.arange(40_000.0), b=np.arange(25_000.0))
    assert space.n_runs == 10**9
    found = space.of_runs(np.array([0, 25_000 * 7 + 3, 10**9 - 1]))
    assert found["a"].tolist() == [0.0, 7.0, 39_999.0]
    assert found["b"].tolist() == [0.0, 3.0, 24_999.0]


WRONG = [
    (lambda: grid(a=[1]) * grid(a=[2]), "has the name 'a' twice"),
    (lambda: zipped(a=[1]) * zipped(b=[2]), "dimension 'run' twice. Call one otherwise"),
    (lambda: grid(run=[1]) * zipped(b=[2]), "dimension 'run' twice"),
    (lambda: grid(a=[1]) * zipped(b=[2], c=[3], dim="a"), "dimension 'a' twice"),
    (lambda: grid(a="12"), "sweeps 'a' over text: '12'. Give numbers"),
    (lambda: grid(a=["x"]), "contains the text 'x'"),
    (lambda: grid(a=[None]), "contains None"),
    (lambda: grid(a=[True]), "truth value True; give 1.0 or 0.0"),
    (lambda: grid(a=[1, np.nan]), "values of which number 1 is nan"),
    (lambda: grid(a=[np.inf]), "values of which number 0 is inf"),
    (lambda: grid(a=[]), "sweeps 'a' over no values"),
    (lambda: grid(a=1), "sweeps 'a' over one number; give a sequence, or put it into args or y0"),
    (lambda: grid(a=[[1, 2]]), r"values of shape \(1, 2\), but an axis has one dimension"),
    (lambda: grid(a=[[1, 2], [1]]), "sweeps 'a' over what is no number"),
    (lambda: grid(a={1, 2}), "sweeps 'a' over what is no number"),
    (lambda: grid(a=np.ma.array([1, 2], mask=[0, 1])), "is masked in 1 of 2 places"),
    (lambda: grid(a=np.array(["2020-01-01"], "M8[D]")), "the date or duration"),
    (lambda: grid(a=[10**400]), "int of 1329 bits, which is beyond the largest number"),
    (lambda: grid(), "is an empty grid: name at least one axis"),
    (lambda: grid([1, 2]), r"is grid of a list, but must be of names: grid\(rho="),
    (lambda: grid({1: [1]}), "names an axis 1, but axes are called as what they sweep"),
    (lambda: grid({"": [1]}), "names an axis ''"),
    (lambda: zipped(a=[1, 2], b=[1]), r"a has 2, b has 1. For all combinations use grid"),
    (lambda: zipped(a=[1], dim=""), "`dim` is ''.*a name for the dimension"),
    (lambda: table([1, 2]), r"table of shape \(2,\), but must have rows and columns"),
    (lambda: table(None), r"table of shape \(\)"),
    (lambda: table([[1, 2]]), "table of 2 columns, and names= has none: name each"),
    (lambda: table([[1, 2]], ["a"]), "table of 2 columns, and names= has 1"),
    (lambda: table([[1, 2]], ["a", "a"]), "has the name 'a' twice"),
    (lambda: table([[1, 2]], "ab"), "`names` is 'ab'. Give a list, one name for each column"),
    (lambda: table(pd.DataFrame({"a": [1]}), ["b"]), "`names` is 'b'.*one of 'a'"),
    (lambda: table(pd.DataFrame({"a": ["u"]})), "contains the text 'u'"),
    (lambda: table(pd.DataFrame({"a": [np.nan]})), "values of which number 0 is nan"),
    (lambda: table(pd.DataFrame([[1, 2]], columns=["a", "a"])), "has the name 'a' twice"),
    (lambda: table(pd.DataFrame({"a": []})), "sweeps 'a' over no values"),
    (lambda: table({"a": [1, 2], "b": [1]}), "different lengths: a has 2, b has 1. A row is a run"),
    (lambda: sampled(3, dim="sample"), "is an empty sampled: name at least one axis"),
]


@pytest.mark.parametrize(("make", "message"), WRONG, ids=range(len(WRONG)))
def test_wrong_axes_are_refused(make, message):
    """Each wrong axis is named, with what is wrong with it and what to do."""
    with pytest.raises((InvalidProblem, InvalidOption), match=message) as raised:
        make()
    assert isinstance(raised.value, CubieError)


def test_what_is_no_space_is_refused():
    """`over` must be what says how values combine."""
    with pytest.raises(InvalidOption, match=r"`over` is \[1, 2\], but must be one of grid"):
        cubie.sweep(lambda t, y, a: [-a * y[0]], (0, 1), [1.0], over=[1, 2])
    with pytest.raises(TypeError, match="multiply sequence"):
        grid(a=[1]) * [1, 2]


LARGE = 2**53


@pytest.mark.parametrize(
    "values",
    [
        [LARGE + 1], (1, 0.5, LARGE + 1), np.array([1, LARGE + 1]), np.array([-LARGE - 1]),
        np.array([LARGE + 1], np.uint64), [2**200 + 1], [np.int64(LARGE + 1), 0.5],
    ],
)  # fmt: skip
def test_integers_that_no_float_is_equal_to_are_refused(values):
    """Runs would be called, and found, by another number than was given."""
    for make in (lambda: grid(k=values), lambda: table({"k": values}), lambda: zipped(k=values)):
        with pytest.raises(InvalidProblem, match=r"'k' over -?\d+, an integer that is no float"):
            make()


def test_integers_that_floats_hold_are_kept():
    """Large ones, too, where they are floats."""
    for values in ([LARGE, 2**60, -(2**53)], np.array([LARGE, 2**62]), [np.iinfo(np.int64).min]):
        (axis,) = grid(k=values).axes
        assert [int(value) for value in axis.columns[0]] == [int(value) for value in values]


def test_a_grid_has_each_value_once():
    """Two places of one value could not be told apart, whatever the dtype of runs."""
    with pytest.raises(InvalidProblem, match=r"a grid of 'a' with 0\.3 twice"):
        grid(a=[0.3, 0.1, 0.3])
    assert zipped(a=[0.3, 0.3]).n_runs == table({"a": [0.3, 0.3]}).n_runs == 2
