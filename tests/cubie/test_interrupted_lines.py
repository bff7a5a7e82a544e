"""A signal may come between any two lines of a solve: the next solve is right all the same."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest

import cubie
from cubie import Solver

PACKAGE = str(Path(cubie.__file__).parent)


def interrupted_at(line: int, function) -> bool:
    """Call a function, and raise at the n-th line of the package; tell whether it came so far."""
    seen = 0

    def on_line(frame, event, _argument):
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == line:
                raise KeyboardInterrupt
        return on_line

    def on_call(frame, _event, _argument):
        return on_line if frame.f_code.co_filename.startswith(PACKAGE) else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        function()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return seen >= line


@pytest.mark.parametrize("kept", ["final", "steps", "times"])
def test_a_signal_between_any_two_lines_leaves_nothing_half_written(kept):
    """After an interrupt at each line of a repeated solve, others of the same shapes are right."""
    rates = np.linspace(0.5, 3.0, 5)
    spans = (0.0, 1.0), (0.0, 2.0)
    # The end is one of the first times, and none of the others.
    times = ([0.0, 0.5, 1.0], [0.5, 1.0, 1.5]) if kept == "times" else (None, None)
    solver = Solver(lambda t, y, k: [t - k * y[0]], save=None if kept == "times" else kept)

    def solve(case: int) -> list[np.ndarray]:
        given = [float(1 + case)], times[case]
        result = solver.solve(spans[case], *given, args=(rates / (1 + case),))
        return [np.asarray(result.y), result.status, result.n_steps, result.t_reached]

    expected = [solve(0), solve(1)]
    for line in count(1):
        if not interrupted_at(line, lambda: solve(1)):
            break
        for case in (0, 1, 0):  # the one before the interrupted one is next and last
            for made, right in zip(solve(case), expected[case], strict=True):
                np.testing.assert_array_equal(made, right, err_msg=f"after line {line}")
    assert line > 50
