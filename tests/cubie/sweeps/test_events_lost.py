"""Events that a sweep has no room for: told once, wherever its runs were computed."""

import warnings

import numpy as np
import pytest

import cubie
from cubie.sweeps.events_lost import LostEvents, lost_events


def turning(t, y, w):
    return [w * y[1], -w * y[0]]


def crossing(t, y, w):
    return y[0]


def counts_of(w):
    """How often cos(w t) is 0 for t in (0, 10)."""
    return np.floor(10 * np.asarray(w) / np.pi + 0.5)


def turns(room, **options):
    over = cubie.grid(w=np.linspace(0.5, 3.0, 6), again=[1.0, 2.0])
    y0 = {"x": 1.0, "y": 0.0}
    return cubie.sweep(
        lambda t, y, w, again: turning(t, y, w), (0, 10), y0, over=over, chunk=4,
        events=lambda t, y, w, again: crossing(t, y, w), max_events=room, **options,
    )  # fmt: skip


@pytest.mark.parametrize("workers", [None, 1])
def test_told_once_with_the_place_of_the_most(workers, tmp_path):
    expected = counts_of(np.linspace(0.5, 3.0, 6))
    store = None if workers is None else tmp_path / "runs.zarr"
    with pytest.warns() as caught:
        sweep = turns(3, store=store).run(workers=workers, progress=False)
    (told,) = [str(one.message) for one in caught if one.category is cubie.EventsLost]
    assert f"in {2 * np.count_nonzero(expected > 3)} of 12 runs" in told
    assert f"event 0 at isel(w=5, again=0), {int(expected.max())} times" in told
    assert f"max_events={int(expected.max())}," in told
    np.testing.assert_array_equal(sweep.to_xarray().n_events[:, 0, 0], expected)


@pytest.mark.parametrize("room", [0, 10])
def test_nothing_is_told_where_there_is_room_or_none_is_asked_for(room):
    with warnings.catch_warnings():
        warnings.simplefilter("error", cubie.EventsLost)
        turns(room).run(progress=False)


def test_chunks_are_added_in_any_order():
    counts = np.array([[1, 2], [5, 3], [5, 4]])
    first = lost_events({"n_events": counts}, 2, 3, first=10)
    assert first == LostEvents(2, 2, 5, 0, 11)
    second = lost_events({"n_events": counts[::-1]}, 3, 3, first=4)
    assert second == LostEvents(3, 2, 5, 0, 4)
    assert first.plus(second) == LostEvents(2, 4, 5, 0, 4)
    assert second.plus(first) == LostEvents(3, 4, 5, 0, 4)
    assert lost_events({"n_events": counts}, 5, 3, 0) is None
