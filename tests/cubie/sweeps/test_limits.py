"""Runs that `solve_ivp` would refuse are refused before the first one is computed."""

import numpy as np
import pytest
from scipy import stats

import cubie
from cubie import InvalidProblem, grid, sampled, zipped
from tests.cubie.sweeps.alone import kept_by_run, require_same

PLAIN = {"backend": "python"}


def decay(t, y, a=1.0):
    return [-a * y[0]]


def driven(t, y, a=1.0):
    return [np.cos(t) - a * y[0]]


def half(t, y, a=1.0):
    return y[0] - 0.5


half.terminal = True

WRONG = [
    (decay, grid(t_end=[0.5, 2.0]), {"t_eval": [0.2, 0.7]}, r"0.7.*not within .*\(0.0, 0.5\)"),
    (decay, grid(t_start=[0.0, 0.3]), {"t_eval": [0.2, 0.7]}, r"0.2.*not within .*\(0.3, 1.0\)"),
    (decay, grid(t_end=[-0.5, 2.0]), {"t_eval": [0.0]}, None),
    (decay, grid(t_end=[-0.5, 2.0]), {"t_eval": [0.2]}, r"0.2.*not within .*\(0.0, -0.5\)"),
    (decay, sampled(9, t_end=(0.5, 2.0)), {"t_eval": [0.7]}, r"0.7.*not within .*\(0.0, 0.5\)"),
    (decay, grid(t_start=[0.1, 0.2], t_end=[0.5, 2.0]), {"t_eval": [0.15]}, r"\(0.2, "),
    (decay, zipped(t_start=[0.1, 0.5], t_end=[0.3, 2.0]), {"t_eval": [0.4]}, r"\(0.1, 0.3\)"),
    (decay, grid(t_end=[0.5, 0.05]), {"first_step": 0.1}, "first_step.* 0.1, longer than .* 0.05"),
    (decay, grid(a=[1.0, 2.0]), {"t_span": (0, np.inf)}, "ends at inf, and no event ends runs"),
    (decay, grid(a=[1.0, 2.0]), {"window": (3, 4)}, r"`window` is .* of which t_span"),
    (decay, grid(a=[1.0, 2.0]), {"after": 3}, r"`after` is 3.0, and t_span, .* after that"),
    (decay, grid(t_end=[1.0, 2.0]), {"window": (3, 4)}, r"t_span has nothing in any run"),
    (decay, grid(a=[1e-60, 1e60]), {"dtype": "float32"}, r"`over\['a'\]` contains 1e-60, which"),
    (driven, grid(t_end=[1e9 + 1, 2e9]), {"t_span": (1e9, 0), "dtype": "float32"}, "Shift time"),
    (driven, grid(a=[1.0, 2.0]), {"t_span": (1e9, 1e9 + 1), "dtype": "float32"}, "Shift time"),
]  # fmt: skip


@pytest.mark.parametrize(("fun", "over", "more", "message"), WRONG, ids=range(len(WRONG)))
def test_runs_that_cannot_be_are_refused(fun, over, more, message):
    """Times, steps and numbers that some run cannot have are refused, naming its own."""
    asked = {"t_span": (0.0, 1.0)} | PLAIN | more
    if {"window", "after"} & set(more):
        asked["summaries"] = {"y0": ["max"]}
    span = asked.pop("t_span")
    if message is None:
        cubie.sweep(fun, span, [1.0], over=over, **asked)
        return
    with pytest.raises(InvalidProblem, match=message):
        cubie.sweep(fun, span, [1.0], over=over, **asked)


def test_t_span_need_not_be_one_where_both_ends_are_swept():
    """What t_span says of an end that is swept is never looked at."""
    sweep = cubie.sweep(
        decay, (0.0, 0.0), [1.0], over=grid(t_end=[2.0, 3.0]), t_eval=[1.5], **PLAIN
    ).run(progress=False)
    runs = [((0.0, end), [1.0], ()) for end in (2.0, 3.0)]
    require_same(sweep, runs, decay, t_eval=[1.5], **PLAIN)


def test_spans_of_any_direction_and_length():
    """Backwards, forwards and nowhere, each as alone."""
    ends = [-0.5, 0.0, 0.5]
    sweep = cubie.sweep(decay, (0.0, 1.0), [1.0], over=grid(t_end=ends), **PLAIN)
    runs = [((0.0, end), [1.0], ()) for end in ends]
    require_same(sweep.run(progress=False), runs, decay, **PLAIN)


def test_an_endless_span_ends_at_an_event():
    """Runs without an end are ended by an event."""
    options = {"events": half, "max_events": 1}
    sweep = cubie.sweep(decay, (0, np.inf), [1.0], over=grid(a=[0.5, 2.0]), **options, **PLAIN)
    runs = [((0, np.inf), [1.0], (a,)) for a in (0.5, 2.0)]
    require_same(sweep.run(progress=False), runs, decay, **options, **PLAIN)


def test_a_window_that_some_chunks_miss():
    """Runs that end before a window have no summary, whatever else is in their chunk."""
    options = {"summaries": {"y0": ["max"]}, "window": (0.5, 1.0), "t_end": [0.1, 0.2, 0.7, 0.3]}
    ends = options.pop("t_end")
    found = [
        kept_by_run(
            cubie.sweep(
                decay, (0, 1), [1.0], over=grid(t_end=ends), chunk=chunk, **options, **PLAIN
            ).run(progress=False)
        )["max of y0"]
        for chunk in (1, 2, 4)
    ]
    assert np.isnan(found[0]).tolist() == [True, True, False, True]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_what_is_drawn_from_a_distribution_is_looked_at_where_it_is_drawn():
    """A tail that hardly any run is in is no reason to refuse the others."""
    over = sampled(20, t_end=stats.norm(2.0, 0.1))
    sweep = cubie.sweep(decay, (0, 1), [1.0], over=over, t_eval=[0.5], **PLAIN)
    assert np.all(sweep.run(progress=False).to_xarray().status == 0)


@pytest.mark.parametrize("values", [[1.0, 1.0 + 1e-9], [2**24, 2**24 + 1], [3.0, 2.0, 3.0 - 1e-9]])
def test_an_axis_whose_values_float32_cannot_tell_apart(values):
    """Its runs would be the same, under two names; of samples that is nobody's concern."""

    def swept(over, **options):
        return cubie.sweep(
            lambda t, y, k: [-k * y[0]], (0, 1), [1.0], over=over, backend="python", **options
        )

    with pytest.raises(InvalidProblem, match="which are the same number in float32"):
        swept(cubie.grid(k=values), dtype="float32")
    swept(cubie.grid(k=values))
    swept(cubie.table({"k": values}), dtype="float32")
