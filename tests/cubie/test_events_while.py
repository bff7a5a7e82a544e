"""Events that are applied while their number is above zero."""

import numpy as np
import pytest

import cubie
from cubie.errors import InvalidOption

TIMES = np.linspace(0.0, 3.0, 13)


def rising(t, y):
    return [1.0, 0.0]


def lowered(t, y):
    return [y[0] - 0.5, y[1] + 1.0]


def above(t, y):
    return y[0] - 1.1


LOWERING = cubie.Event(above, apply=lowered, on="while")


def test_it_is_applied_at_the_start_and_again_at_one_time():
    """Whatever the number is above zero by, the state behind is not above it any more."""
    starts = np.array([[2.7, 0.0], [0.2, 0.0]])
    result = cubie.solve_ivp(
        rising, (0, 3), starts, events=LOWERING, t_eval=TIMES, backend="python"
    )
    risen = starts[:, :1] + TIMES
    count = np.maximum(np.ceil((risen - 1.1) / 0.5 - 1e-9), 0.0)
    assert result.y[:, 1] == pytest.approx(count)
    assert result.y[:, 0] == pytest.approx(risen - 0.5 * count)
    # What is applied at the start is no event that the run came to.
    assert list(np.array(result.n_events)[0]) == [count[0, -1] - count[0, 0], count[1, -1]]


def test_other_events_bring_it_about():
    """What another event makes of the state is looked at, at that time, and the other way round."""
    kick = cubie.Event(lambda t, y: t - 1.3, apply=lambda t, y: [y[0] + 1.0, y[1]])
    slow = lambda t, y: [0.1, 0.0]  # noqa: E731
    for method in ("tsit5", "rodas5p"):
        result = cubie.solve_ivp(
            slow, (0, 3), [0.0, 0.0], events=[kick, LOWERING], t_eval=TIMES, backend="python",
            method=method, rtol=1e-8, atol=1e-8,
        )  # fmt: skip
        assert result.y[1] == pytest.approx(np.where(TIMES < 1.3, 0.0, 1.0))
        assert result.y[0] == pytest.approx(0.1 * TIMES + np.where(TIMES < 1.3, 0.0, 0.5))


def test_the_number_is_above_zero_where_it_is_applied():
    """Not a rounding before it: what `apply` is told of the time decides the same again."""
    late = cubie.Event(
        lambda t, y: np.where((t >= 1.1) & (y[1] < 0.5), 1.0, -1.0),
        apply=lambda t, y: [y[0], np.where(t >= 1.1, 1.0, np.nan)],
        on="while",
    )
    result = cubie.solve_ivp(rising, (0, 3), [0.0, 0.0], events=late, backend="python")
    assert result.success
    assert result.y[1, -1] == 1.0


def test_one_that_has_no_end_ends_the_run():
    """A thousand times at one time, and the run says so."""
    for_ever = cubie.Event(above, apply=lambda t, y: [y[0], y[1] + 1.0], on="while")
    result = cubie.solve_ivp(rising, (0, 3), [0.2, 0.0], events=for_ever, backend="python")
    assert result.status == cubie.RunStatus.EVENTS_TOO_CLOSE
    assert result.t_reached == pytest.approx(0.9)


def test_lanes_and_steps_of_one_size():
    """Compiled, each run at times of its own; with fixed steps the grid is kept."""
    starts = np.stack([np.linspace(0.0, 3.0, 9), np.zeros(9)], axis=1)
    for more in ({}, {"method": "rk4", "first_step": 0.01}):
        given = {"t_eval": TIMES, "events": LOWERING, "backend": "cpu"}
        result = cubie.solve_ivp(rising, (0, 3), starts, **given, **more)
        count = np.maximum(np.ceil((starts[:, :1] + TIMES - 1.1) / 0.5 - 1e-9), 0.0)
        assert result.y[:, 1] == pytest.approx(count), more


def test_what_it_cannot_have_is_refused():
    """No end of a run, no direction, no sensitivities, and not without something to apply."""
    refused: list[dict] = [{"apply": None}, {"terminal": True}, {"direction": 1}]
    for given in refused:
        with pytest.raises(InvalidOption, match="on='while'"):
            cubie.Event(above, on="while", **{"apply": lowered, **given})
    with pytest.raises(InvalidOption, match="not differentiated yet"):
        cubie.solve_ivp(
            rising, (0, 1), [0.0, 0.0], events=LOWERING, backend="python", sensitivities=["y0[0]"]
        )
