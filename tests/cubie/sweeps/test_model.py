"""Models of sweeps: what cannot be traced, and what goes to workers."""

import pickle
import warnings

import numpy as np
import pytest

import cubie
from tests.cubie.sweeps.alone import grid_rows, require_same


def stepped(t, y, rate, level):
    """Count as no straight-line code can."""
    total = 0.0
    while total < y[0]:
        total += level
    return [-rate * total]


def swinging(t, y, a):
    return [y[1], -a * y[0]]


def test_functions_that_are_compiled_as_they_stand():
    """Of a function that cannot be traced runs are those of `solve_ivp`, too, and so are axes."""
    axes = {"rate": [0.5, 1.0, 2.0], "level": [0.25, 0.5]}
    options = {"rtol": 1e-3, "atol": 1e-4, "backend": "cpu"}
    over = cubie.grid(axes)
    with pytest.warns(cubie.UntracedWarning):
        sweep = cubie.sweep(stepped, (0, 1), [1.0], over=over, chunk=4, **options)
    sweep.run(progress=False)
    runs = [((0, 1), [1.0], tuple(row.values())) for row in grid_rows(**axes)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cubie.UntracedWarning)
        require_same(sweep, runs, stepped, **options)


def test_a_model_is_pickled_without_its_kernel():
    """What workers get is a model that makes a kernel of its own, and gives the same."""
    sweep = cubie.sweep(
        swinging, (0, 1), [1.0, 0.0], over=cubie.grid(a=[1.0, 2.0]), backend="python"
    )
    model = sweep._whole.model
    values, shape = {"a": np.array([1.0, 2.0])}, (2,)
    wanted = model.solve(values, shape)
    again = pickle.loads(pickle.dumps(model))
    assert again._prepared == []
    np.testing.assert_array_equal(again.solve(values, shape).y, wanted.y)
