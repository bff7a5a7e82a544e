"""What is asked of a sweep wrongly is refused before it runs: what was given, what to do."""

import warnings

import numpy as np
import pytest

import cubie
from cubie import CubieError, grid, zipped


def two(t, y, a, b=1.0):
    return [-a * y[0], b * y[1]]


def crossing(t, y, a, b=1.0):
    return y[0] - 0.5


LINES = ["dx = -a*x", "dy = y"]
NAMED = {"x": 1.0, "v": 2.0}

WRONG = [
    # options
    ({"rotl": 1}, "`rotl` is not an option.*Did you mean `rtol`"),
    ({"method": "tsit6"}, "no method is called 'tsit6'; did you mean 'tsit5'"),
    ({"events": crossing}, "`max_events` is None. Give how many of each event are kept"),
    ({"save": "steps"}, "`save` is 'steps'. Runs of a sweep are saved at their end, or"),
    ({"save": "final", "t_eval": [0.5]}, "Give either t_eval or save"),
    ({"dense_output": True}, "Runs of a sweep have no `sol`: give `t_eval`"),
    ({"on_device": True}, "`on_device` is True. Results of a sweep are stored"),
    ({"rtol": np.array([[1e-3], [1e-4]])}, "`rtol` is .*Of a sweep all runs have the same"),
    ({"max_step": np.array([0.1, 0.2])}, "`max_step` is .*Of a sweep all runs have the same"),
    ({"first_step": np.array([0.1, 0.2])}, "`first_step` is .*Of a sweep all runs have the same"),
    ({"breakpoints": np.array([[0.1], [0.2]])}, "`breakpoints` is .*Of a sweep all runs have"),
    ({"summaries": {"z": ["max"]}}, "`summaries` is 'z'.*There are: y0, y1"),
    ({"summaries": {"z": ["max"]}, "y0": NAMED}, "`summaries` is 'z'. The states are x, v"),
    ({"save_states": ["z"], "y0": NAMED}, "`save_states` is .*The states are x, v"),
    # how it runs
    ({"chunk": 0}, "`chunk` is 0. How many runs: an int of at least 1"),
    ({"chunk": 1.5}, "`chunk` is 1.5"),
    ({"chunk": True}, "`chunk` is True"),
    ({"memory": "0%"}, "`memory` is '0%'. A share is from '1%' to '100%'"),
    ({"memory": "120%"}, "`memory` is '120%'"),
    ({"memory": 0}, "`memory` is 0. Give bytes"),
    ({"memory": "much"}, "`memory` is 'much'. Give bytes"),
    ({"seed": -1}, r"`seed` is -1. Give an int from 0 to 2\*\*63 - 1"),
    ({"seed": "x"}, "`seed` is 'x'"),
    ({"store": 3}, "`store` is 3, but must be one of a path, an address, a store of zarr's"),
    # states
    ({"y0": {"x": 1.0}}, "IndexError.*y0 names 1 states: x"),
    ({"y0": [[1.0, 2.0], [1.0, 2.0]]}, r"`y0` has shape \(2, 2\); of a sweep it is one state"),
    ({"y0": 1.0}, r"`y0` has shape \(\)"),
    ({"y0": []}, r"`y0` has shape \(0,\)"),
    ({"y0": ["a", "b"]}, "`y0` must hold numbers, but contains the text 'a'"),
    ({"y0": [np.nan, 1.0]}, "`y0` has no number for 'y0', and it is not swept"),
    ({"y0": [np.inf, 1.0]}, "`y0` has inf for 'y0'"),
    ({"fun": LINES, "y0": {"y": 1.0}}, "`y0` has no number for 'x', and it is not swept"),
    ({"fun": LINES, "y0": {"y": 1.0, "z": 1}}, "`y0` has 'z'; the states are x, y"),
    ({"fun": LINES, "y0": [1.0]}, "`y0` has 1 numbers, and the states are 2: x, y"),
    # arguments
    ({"over": grid(b=[1, 2])}, "`args` has no 'a', and it is not swept. Give its value"),
    ({"over": grid(x=[1, 2]), "fun": LINES}, "`args` has no 'a', and it is not swept"),
    ({"over": grid(b=[1, 2]), "args": {"aa": 1}}, "has 'aa' .did you mean 'a'.*arguments are a, b"),
    ({"over": grid(b=[1, 2]), "args": (1, 2, 3)}, "signature is two.*too many positional"),
    ({"over": grid(b=[1, 2]), "args": 1}, "args must be a tuple"),
    ({"over": grid(b=[1, 2]), "args": ("x",)}, "bad operand type"),
    ({"fun": None}, "fun must be callable.*got None"),
    ({"fun": "x"}, "`x` is no equation"),
    # times
    ({"t_span": 1}, "`t_span` is 1, but must be two numbers"),
    ({"t_span": (np.array([0, 1]), 2)}, "has one for each run; sweep 't_start' or 't_end'"),
    ({"t_eval": [2.0]}, "`t_eval` contains 2.0, which is not within t_span"),
    ({"t_eval": [[0.2], [0.3]]}, "`t_eval` has a row for each run"),
    ({"t_eval": []}, "at least one time"),
    ({"over": grid(t_end=[1j]), "args": (1.0,)}, "sweeps 't_end' over complex numbers"),
    # names of results
    ({"over": zipped(a=[1, 2], dim="y")}, "dimension 'y', and results have something of that name"),
    ({"over": zipped(a=[1, 2], dim="component")}, "dimension 'component'"),
    ({"over": zipped(a=[1, 2], dim="event"), "events": crossing, "max_events": 1}, "'event'"),
    ({"over": zipped(a=[1, 2], dim="a/b")}, "names 'a/b', and no store has a variable"),
    ({"over": zipped(a=[1, 2], dim="__a")}, "names '__a', and no store"),
    ({"fun": lambda t, y, time: [-time * y[0], 0], "over": grid(time=[1])}, "sweeps 'time', and"),
    ({"fun": lambda t, y, status: [-status * y[0], 0], "over": grid(status=[1])}, "args.0.*y0.0."),
    ({"fun": lambda t, y, cubie: [-cubie * y[0], 0], "over": grid(cubie=[1])}, "sweeps 'cubie'"),
    ({"observables": lambda t, y, a, b=1.0: {"y": a}}, "`observables` names 'y'"),
    ({"observables": lambda t, y, a, b=1.0: {"time": a}}, "`observables` names 'time'"),
    ({"observables": lambda t, y, a, b=1.0: {"n_steps": a}}, "'n_steps'"),
    ({"observables": lambda t, y, a, b=1.0: {"a": a}}, "sweeps 'a', and results have something"),
    ({"observables": lambda t, y, a, b=1.0: {"c/d": a}}, "`observables` names 'c/d'"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "message"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_named(wrong, message, tmp_path):
    """Each wrong argument is refused before anything is computed or stored."""
    asked = {"fun": two, "t_span": (0, 1), "y0": [1.0, 2.0], "over": grid(a=[1, 2]),
             "backend": "python", "store": tmp_path / "runs.zarr"} | wrong  # fmt: skip
    with pytest.raises((CubieError, TypeError), match=message):
        cubie.sweep(asked.pop("fun"), asked.pop("t_span"), asked.pop("y0"), **asked)
    assert not any(tmp_path.iterdir())


def test_an_int_that_python_needs_is_not_swept():
    """An index and a count are ints of Python's: swept, they are refused with what to do."""

    def looked_up(t, y, n, k):
        return [-k[n] * y[0]]

    def counted(t, y, n):
        return [-sum(y[0] for _ in range(n))]

    wanted = r"What is swept, here 'n', is a float that differs between runs.*write k\[int\(n\)\]"
    for fun, args in ((looked_up, (None, [1.0, 2.0])), (counted, None)):
        with pytest.raises(CubieError, match=wanted):
            cubie.sweep(fun, (0, 1), [1.0], over=grid(n=[0, 1]), args=args, backend="python")


def test_options_that_may_be_given_again():
    """Tolerances of states, and save="final", are of all runs, and say what a sweep does anyway."""
    sweep = cubie.sweep(
        two, (0, 1), [1.0, 2.0], over=grid(a=[1, 2]), rtol=[1e-3, 1e-4], save="final",
        backend="python",
    ).run(progress=False)  # fmt: skip
    assert sweep.to_xarray().y.shape == (2, 2)


@pytest.mark.parametrize(
    ("status", "changes", "message"),
    [
        ("failed", {"method": "vern7"}, "`method` is 'vern7'.*max_steps, rtol, atol, max_step may"),
        ("failed", {"first_step": 0.1}, "`first_step` is 0.1"),
        ("failed", {"max_steps": 0}, "`max_steps` is 0"),
        ("failed", {"rtol": -1}, "`rtol` is -1"),
        ("failed", {"atol": [1e-3, 1e-4]}, "The sweep has one for all states: give one number"),
        ("fialed", {}, "`status` is 'fialed', but must be one of 'failed'.*did you mean 'failed'"),
        (77, {}, "`status` is 77"),
        (
            "failed",
            {},
            r"`retry` changes nothing: .* Give max_steps, rtol, atol, max_step, such as ",
        ),
        ("failed", {"max_steps": 60}, r"changes nothing \(max_steps=60 is what they had\)"),
        ("failed", {"max_steps": 60, "rtol": 1e-3}, "changes nothing"),
    ],
)
def test_wrong_retries_are_refused(status, changes, message):
    """What cannot be changed of runs that are computed once more is named, and nothing is noted."""
    sweep = cubie.sweep(
        two, (0, 1), [1.0, 2.0], over=grid(a=[1, 2]), backend="python", max_steps=60
    )
    with pytest.raises(CubieError, match=message):
        sweep.retry(status, **changes)
    assert sweep._rounds == []


@pytest.mark.parametrize("kept", ["memory", "store"])
def test_a_retry_that_was_done_is_not_done_again(tmp_path, kept):
    """The same changes give the same ends; after others, those of before may be asked for."""
    store = tmp_path / "runs.zarr" if kept == "store" else None
    sweep = cubie.sweep(
        two, (0, 1), [1.0, 2.0], over=grid(a=[1.0, 900.0]), backend="python", max_steps=60,
        store=store,
    )  # fmt: skip
    with pytest.warns(cubie.RunsFailed):
        sweep.run(progress=False).retry(max_steps=70, progress=False)
    with pytest.raises(CubieError, match="`retry` was done with the same changes"):
        sweep.retry(max_steps=70, progress=False)
    assert len(sweep._rounds) == 1
    with pytest.warns(cubie.RunsFailed):
        sweep.retry(max_steps=60, progress=False)
    sweep.retry(max_steps=10**5, progress=False)
    assert sweep.counts() == {cubie.RunStatus.SUCCESS: 2}


@pytest.mark.parametrize("n_runs", [0, -1, "x", 1.5, True])
def test_a_pilot_is_of_some_runs(n_runs):
    """A pilot of no runs, and of what is no number of them, is refused."""
    sweep = cubie.sweep(two, (0, 1), [1.0, 2.0], over=grid(a=[1, 2]), backend="python")
    with pytest.raises(CubieError, match=r"`n_runs` is .*an integer of at least 1"):
        sweep.pilot(n_runs)


def test_runs_that_fail_are_warned_of():
    """Once a call, of those that it computed, where it stands; a call that mends them is silent."""
    sweep = cubie.sweep(
        two, (0, 1), [1.0, 2.0], over=grid(a=[1.0, 2.0, 900.0]), backend="python", max_steps=60
    )
    with pytest.warns(cubie.RunsFailed) as told:
        sweep.run(progress=False)
    (one,) = told
    assert str(one.message).startswith("1 of 3 runs failed: 1 TOO_MANY_STEPS (")
    assert "s.retry(...)" in str(one.message)
    assert one.filename == __file__
    with pytest.warns(cubie.RunsFailed, match="1 of 3 runs failed") as told:
        sweep.retry(max_steps=70, progress=False)
    assert [one.filename for one in told] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sweep.run(progress=False)  # computes none
        sweep.retry(max_steps=10**5, progress=False)
    assert sweep.counts() == {cubie.RunStatus.SUCCESS: 3}


@pytest.mark.parametrize("times", [None, [0.0, 0.5, 1.0]])
def test_runs_that_failed_before_are_warned_of(tmp_path, times):
    """Whoever opens a store is told once, by what they call first, and every row has a status."""
    store = tmp_path / "runs.zarr"
    sweep = cubie.sweep(
        two, (0, 1), [1.0, 2.0], over=grid(a=[1.0, 2.0, 900.0]), backend="python", max_steps=60,
        store=store, chunk=1, t_eval=times,
    )  # fmt: skip
    with pytest.warns(cubie.RunsFailed):
        sweep.run(progress=False)
    told = r"1 of 3 runs failed: .*ds\.where\(ds\.status >= 0\) leaves them out"
    for look in (
        lambda sweep: sweep.run(progress=False), lambda sweep: sweep.to_pandas(),
        lambda sweep: sweep.to_xarray(), lambda sweep: sweep.to_pandas("runs"),
    ):  # fmt: skip
        sweep = cubie.Sweep.resume(store)
        with pytest.warns(cubie.RunsFailed, match=told) as caught:
            look(sweep)
        assert [one.filename for one in caught] == [__file__]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            table, found = sweep.to_pandas(), sweep.to_xarray()
    good = table[table.status >= 0]
    assert len(good) == len(table) // 3 * 2
    assert set(table.status[900.0:]) == {cubie.RunStatus.TOO_MANY_STEPS}
    assert not np.isnan(good.drop(columns="status")).any(axis=None)
    kept = found.where(found.status >= 0)
    assert np.isnan(kept.y.sel(a=900.0)).all()
    assert not np.isnan(kept.y.sel(a=[1.0, 2.0])).any()


def test_events_of_runs_have_their_status():
    """A row of an event says how its run ended, too."""
    sweep = cubie.sweep(
        two, (0, 1), [1.0, 2.0], over=grid(a=[1.0, 900.0]), backend="python", max_steps=60,
        events=crossing, max_events=3,
    )  # fmt: skip
    with pytest.warns(cubie.RunsFailed):
        sweep.run(progress=False)
    table = sweep.to_pandas("events")
    assert table.status[1.0].tolist() == [0]
    assert (table.status[900.0] < 0).all()


def test_a_plan_says_what_decides_how_long_steps_are():
    """Tolerances, those that nobody gave, too, and of several states; or the size."""
    begun = {"over": grid(a=[1.0]), "backend": "python"}
    for options, told in (
        ({}, "by rtol=0.001, atol=1e-06"),
        ({"rtol": 1e-8, "atol": [1e-9, 1e-12]}, "by rtol=1e-08, atol=1e-12 to 1e-09"),
        ({"method": "rk4", "first_step": 0.01}, "of 0.01 each"),
        ({"method": "rk4", "first_step": 0.5, "max_step": 0.25}, "of 0.25 each"),
    ):
        plan = cubie.sweep(two, (0, 1), [1.0, 2.0], **begun, **options).plan
        assert plan.steps == told
        assert f"\nsteps   {told}\n" in str(plan)
