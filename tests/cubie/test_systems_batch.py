"""Which entries of y0 and args have a run axis."""

import numpy as np
import pytest

from cubie import InvalidProblem
from cubie.systems import BatchShapeError, split_batch


def shapes(batch):
    """Return (n_runs, shape of y0, shape of the parameters)."""
    return batch.n_runs, batch.y0.shape, batch.parameters.shape


@pytest.mark.parametrize(
    ("y0", "args", "expected"),
    [
        ([1.0, 2.0], (), (None, (2, 1), (0, 1))),
        ([1, 2], (3.0, 4), (None, (2, 1), (2, 1))),
        ([1.0, 2.0], ([3.0, 4.0, 5.0],), (None, (2, 1), (3, 1))),
        ([1.0, 2.0], (np.eye(2),), (None, (2, 1), (4, 1))),
        ([1.0, 2.0], (3.0, np.arange(5.0)), (5, (2, 1), (2, 5))),
        ([1.0, 2.0], (np.arange(5), np.ones((5, 3))), (5, (2, 1), (4, 5))),
        ([1.0, 2.0], (np.arange(5), np.eye(2)), (5, (2, 1), (5, 5))),
        (np.ones((5, 2)), (), (5, (2, 5), (0, 1))),
        (np.ones((5, 2)), (3.0,), (5, (2, 5), (1, 1))),
        (np.ones((5, 2)), (np.arange(5), 1.0), (5, (2, 5), (2, 5))),
        (np.ones((5, 2)), (np.arange(3),), (5, (2, 5), (3, 1))),
        (np.ones((5, 2)), (np.ones((5, 3)), [1.0, 2.0]), (5, (2, 5), (5, 5))),
        (np.ones((5, 2)), ({"k": np.arange(5)},), (5, (2, 5), (1, 5))),
        (np.ones((1, 2)), (np.array([4.0]),), (1, (2, 1), (1, 1))),
    ],
)
def test_shapes(y0, args, expected):
    """The documented rule gives the number of runs and the shapes of all columns."""
    assert shapes(split_batch(y0, args)) == expected


def test_values():
    """Column r holds run r: states, swept numbers, swept vectors row-major, shared numbers."""
    y0 = np.arange(6.0).reshape(3, 2)
    batch = split_batch(y0, (np.array([7, 8, 9]), 0.5, np.arange(12.0).reshape(3, 2, 2)))
    np.testing.assert_array_equal(batch.y0, y0.T)
    np.testing.assert_array_equal(batch.parameters[:, 1], [8.0, 0.5, 4.0, 5.0, 6.0, 7.0])
    assert batch.parameters.flags.c_contiguous
    assert batch.swept == ("args[0]", "args[2]")


def test_args_are_those_of_the_first_run():
    """Tracing sees one run: swept entries without their run axis, as floats."""
    batch = split_batch([0.0], (np.array([7, 8]), "mode", [1, 2], {"v": np.array([3.0, 4.0])}))
    assert batch.args == (7.0, "mode", [1, 2], {"v": 3.0})
    assert batch.args[0].dtype == float


def test_result_is_independent_of_the_input():
    """Changing the caller's array afterwards does not change the batch."""
    y0 = np.ones((2, 2))
    batch = split_batch(y0)
    y0[:] = 5.0
    assert (batch.y0 == 1.0).all()


def test_unclear_number_of_runs():
    """Two lengths of 1-D arrays are refused, with the shapes and what to write instead."""
    with pytest.raises(BatchShapeError) as caught:
        split_batch([1.0, 2.0], (np.arange(3), 1.0, np.arange(4)))
    assert "y0 has shape (2,), args[0] has shape (3,), args[2] has shape (4,)" in str(caught.value)
    assert "as a list" in str(caught.value)


@pytest.mark.parametrize(
    ("y0", "args", "error", "words"),
    [
        (np.ones((0, 2)), (), BatchShapeError, "(0, 2)"),
        ([], (), BatchShapeError, "(0,)"),
        (1.0, (), BatchShapeError, "()"),
        (np.ones((2, 2, 2)), (), BatchShapeError, "(2, 2, 2)"),
        ([[1.0, 2.0], [3.0]], (), BatchShapeError, "rectangular"),
        ([1.0, 2.0], (np.array([]),), BatchShapeError, "args[0] has shape (0,)"),
        ([1j, 2.0], (), InvalidProblem, "the complex number 1j"),
        (["a", "b"], (), InvalidProblem, "the text 'a'"),
        ([1.0], 3.0, TypeError, "args=(value,)"),
        ([1.0], (2j,), TypeError, "args[0] is complex"),
        ([1.0], ({"k": [1.0, 2j]},), TypeError, "args[0]['k'][1] is complex"),
    ],
)
def test_bad_input(y0, args, error, words):
    """What cannot be a batch is refused in words that name it."""
    with pytest.raises(error) as caught:
        split_batch(y0, args)
    assert words in str(caught.value)
