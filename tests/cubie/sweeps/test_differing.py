"""In what two sweeps differ: a line for each thing, that names it and both values."""

import pytest
from scipy import stats

import cubie
from cubie.sweeps.differing import differences, told
from cubie.sweeps.errors import OtherSweep


def swinging(t, y, a, b=0.5):
    return [y[1], -a * y[0] - b * y[1]]


def other(t, y, a, b=0.5):
    return [y[1], -a * y[0] - b * y[1] * y[1]]


def crossing(t, y, a, b=0.5):
    return y[0]


falling = cubie.Event(crossing, direction=-1)


A = cubie.grid(a=[1.0, 2.0, 3.0])
BEGUN = {
    "fun": swinging, "t_span": (0.0, 1.0), "y0": {"x": 1.0, "v": 0.0}, "over": A, "rtol": 1e-4,
    "args": {"b": 0.5}, "backend": "python",
}  # fmt: skip
DRAWN = cubie.sampled(4, a=(0.0, 1.0), seed=1)
ONES = {"args": {"b": stats.norm(1.0, 0.1)}}


def whole_of(**changes):
    asked = BEGUN | changes
    return cubie.sweep(asked.pop("fun"), asked.pop("t_span"), asked.pop("y0"), **asked)._whole


CHANGES = [
    ({}, {}, []),
    ({}, {"fun": other}, ["its right-hand side is another"]),
    ({}, {"method": "vern7"}, ["its method is tsit5, here it is vern7"]),
    ({}, {"rtol": 1e-5}, ["its rtol is 0.0001, here it is 1e-05"]),
    ({}, {"max_steps": 10}, ["its max_steps is 100000, here it is 10"]),
    ({}, {"dtype": "float32"}, ["its dtype is float64, here it is float32"]),
    ({}, {"t_span": (0, 2)}, ["its t_span is [0.0, 1.0], here it is [0.0, 2.0]"]),
    ({}, {"t_eval": [0.5]}, ["its t_eval is None, here it is 0.5"]),
    ({}, {"y0": {"x": 1.0, "v": 0.25}}, ["its y0 of v is 0.0, here it is 0.25"]),
    ({}, {"args": {"b": 0.75}}, ["its args of b is 0.5, here it is 0.75"]),
    ({}, {"fastmath": False}, ["its fastmath is True, here it is False"]),
    ({}, {"locations": "local"}, ["its locations is auto, here it is local"]),
    ({}, {"step_controller": "pid"}, ["its step_controller is None, here it is pid"]),
    ({}, {"summaries": {"x": ["max"]}}, ["its summaries is {}, here it is {'x': ['max']}"]),
    ({}, {"save_states": ["x"]}, ["its save_states is None, here it is ['x']"]),
    ({}, {"first_step": 0.5}, ["its first_step is 0.0, here it is 0.5"]),
    ({}, {"min_step": 1e-9}, ["its min_step is 0.0, here it is 1e-09"]),
    ({}, {"breakpoints": [0.5]}, ["its breakpoints is None, here it is 0.5"]),
    ({}, {"y0": {"x": 1.0, "u": 0.0}},
     ["its names of states is ['x', 'v'], here it is ['x', 'u']"]),
    ({"events": crossing, "max_events": 1}, {"events": falling},
     ["its events are others"]),
    ({}, {"events": crossing, "max_events": 1},
     ["its events are others", "its max_events is None, here it is 1"]),
    ({"summaries": {"x": ["max"]}}, {"window": (0.0, 0.5)},
     ["its window is None, here it is [0.0, 0.5]"]),
    ({}, {"over": cubie.grid(a=[1.0, 2.0])}, ["its 'a' has 3 values, here 2"]),
    ({}, {"over": cubie.grid(a=[1.0, 2.5, 4.0])}, ["value 1 of its 'a' is 2.0, here it is 2.5"]),
    ({"over": DRAWN}, {"over": cubie.sampled(4, a=(0.0, 1.0), seed=2)},
     ["its seed is 1, here it is 2"]),
    ({"over": DRAWN}, {"over": cubie.sampled(4, a=(0.0, 2.0), seed=1)},
     ["it draws 'a' from [0.0, 1.0], here from [0.0, 2.0]"]),
    ({"over": DRAWN}, {"over": cubie.sampled(4, a=(0.0, 1.0), seed=1, by="sobol")},
     ["its by is random, here it is sobol"]),
    (ONES, {"args": {"b": stats.norm(1.0, 0.2)}},
     ["it draws 'b' from norm(1.0, 0.1), here from norm(1.0, 0.2)"]),
    (ONES, ONES | {"seed": 3}, ["its seed is 0, here it is 3"]),
]  # fmt: skip


@pytest.mark.parametrize(("begun", "changes", "wanted"), CHANGES, ids=range(len(CHANGES)))
def test_each_difference_has_a_line(begun, changes, wanted):
    """What differs is named, with what it was and what it is; what does not, is not."""
    was, now = whole_of(**begun), whole_of(**(begun | changes))
    assert (was.digest == now.digest) == (not wanted)
    assert differences(was.content, now.model, now.space, now.drawn) == wanted


def test_many_differences_are_counted(monkeypatch):
    """Of many differences the first are told, and how many more there are."""
    monkeypatch.setattr("cubie.sweeps.differing.MOST_TOLD", 3)
    now = whole_of(fun=other, method="vern7", rtol=1e-5, max_steps=10, dtype="float32",
                   t_span=(0, 2), t_eval=[0.5], args={"b": 3.0})  # fmt: skip
    was = whole_of()
    found = differences(was.content, now.model, now.space, now.drawn)
    assert found[:3] == ["its right-hand side is another", "its method is tsit5, here it is vern7",
                         "its args of b is 0.5, here it is 3.0"]  # fmt: skip
    assert told(found) == "; ".join(
        [*found[:3], f"and {len(found) - 3} more, in .differences of this error"]
    )
    assert told(found[:3]) == "; ".join(found[:3])


def test_the_error_names_them(tmp_path):
    """Whoever begins another sweep in a store is told in what it differs."""
    store = tmp_path / "runs.zarr"
    asked = BEGUN | {"store": store}

    def begun(**changes):
        given = asked | changes
        return cubie.sweep(given.pop("fun"), given.pop("t_span"), given.pop("y0"), **given)

    begun().run(progress=False)
    with pytest.raises(OtherSweep, match=r"another sweep: its rtol is 0.0001, here") as raised:
        begun(rtol=1e-5)
    assert raised.value.differences == ("its rtol is 0.0001, here it is 1e-05",)


@pytest.mark.parametrize(
    "more",
    [
        {"events": crossing, "max_events": 1},
        {"observables": lambda t, y, a, b=0.5: {"e": y[0]}},
        {"over": cubie.grid(b=[1.0]), "args": {"a": 1.0}},
        {"over": DRAWN},
        {"args": {"b": stats.norm()}},
        {"fun": ["dx = v", "dv = -a*x"], "args": None},
        {"window": (0.0, 0.5), "summaries": {"x": ["max"]}},
        {"breakpoints": [0.5]},
        {"max_shared": 1024},
    ],
)
def test_there_is_a_line_for_whatever_differs(more):
    """No two sweeps that are told apart have nothing told of them."""
    was, now = whole_of(), whole_of(**more)
    assert was.digest != now.digest
    for old, new in ((was, now), (now, was)):
        assert differences(old.content, new.model, new.space, new.drawn)
