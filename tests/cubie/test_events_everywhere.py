"""Events of a run do not depend on lanes, neighbours, placements, portions or the target."""

import re
from pathlib import Path

import numpy as np
import pytest

from cubie import Event, Interpolant, Solver, solve_ivp
from cubie.tableaus.catalogue import all_methods
from tests.cubie.pretended import PretendedPython, pretend

RATES = np.array([0.3, 1.0, 2.0, 0.1, 1.5, 0.7, 2.5, 0.0, 1.1, 0.9, 3.0])
START = np.stack([1.0 + 0.1 * np.arange(11.0), 0.05 * np.arange(11.0)], axis=1)


def oscillate(t, y, rate):
    """Van der Pol's oscillator, of several strengths."""
    return [y[1], rate * (1.0 - y[0] ** 2) * y[1] - y[0]]


def events():
    """Return one that tells, one that changes the state, one that ends runs, and a condition."""
    return [
        Event(lambda t, y, rate: y[0], direction=1),
        Event(lambda t, y, rate: y[1] + 1.5, apply=lambda t, y, rate: [y[0], y[1] + 0.5]),
        Event(lambda t, y, rate: y[0] - 0.5 - 0.1 * rate, terminal=4),
        Event(lambda t, y, rate: y[0] > 1.9, on="accept"),
    ]


def options_of(method):
    """Return the options of a solve; steps of a given size are small enough for all."""
    kind = all_methods()[method]
    sizes = {} if kind.has_error_estimate else {"first_step": 0.04}
    rtol = 1e-3 if kind.order <= 2 else 1e-5
    return {"method": method, "events": events(), "rtol": rtol, "atol": 1e-2 * rtol, **sizes}


def facts_of(result, run=slice(None)):
    """Return all that a result tells of events, and of what they do to runs."""
    facts = {name: getattr(result, name)[run] for name in ("status", "t_reached", "n_steps", "y")}
    for k, (times, states, counts) in enumerate(
        zip(result.t_events, result.y_events, result.n_events, strict=True)
    ):
        # As wide as the run with most needs: in other company that may be less.
        most = int(np.max(counts[run], initial=0))
        facts[f"t_events {k}"] = times[run][..., :most]
        facts[f"y_events {k}"] = states[run][..., :most, :]
        facts[f"n_events {k}"] = counts[run]
    return facts


def require_same(found, expected):
    """Compare facts, to the last bit."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def solve(chosen=slice(None), **options):
    """Solve some of the runs."""
    options = {"fastmath": False, "max_events": 300, **options}
    return solve_ivp(oscillate, (0, 12), START[chosen], args=(RATES[chosen],), **options)


@pytest.mark.filterwarnings("ignore::cubie.EventsLost")  # of the condition, of many steps
@pytest.mark.parametrize("method", all_methods())
def test_events_of_a_run_do_not_depend_on_its_neighbours(method):
    """One by one, one lane, eight lanes, and some of them: the same bits."""
    options = options_of(method)
    expected = solve(backend="python", **options)
    assert set(expected.status) == {0, 1}
    for name in ("n_events 0", "n_events 1", "n_events 2", "n_events 3"):
        assert np.any(facts_of(expected)[name])
    for lanes in (1, 8):
        require_same(facts_of(solve(backend="cpu", lanes=lanes, **options)), facts_of(expected))
    some = np.array([9, 2, 4])
    found = solve(some, backend="cpu", lanes=8, **options)
    require_same(facts_of(found), facts_of(expected, some))


@pytest.mark.parametrize("method", ["tsit5", "rodas5p", "rk4"])
def test_placements_agree(method):
    """Local, shared and planned: the same bits, and no byte is read that nobody wrote."""
    expected = facts_of(solve(backend="python", locations="local", **options_of(method)))
    for locations in ("shared", "auto", {"event_values": "shared", "event_roots": "shared"}):
        found = solve(backend="python", locations=locations, **options_of(method))
        require_same(facts_of(found), expected)


@pytest.mark.parametrize("method", ["tsit5", "rk4"])
def test_summaries_of_runs_that_end_at_events(method):
    """And of those that they change, in lanes beside others: the same bits as one by one."""
    options = options_of(method) | {"events": events()[1:3], "summaries": {"y0": ["max", "mean"]}}
    expected = solve(backend="python", **options)
    assert set(expected.status) == {0, 1}
    for lanes in (1, 8):
        found = solve(backend="cpu", lanes=lanes, **options)
        require_same(facts_of(found), facts_of(expected))
        np.testing.assert_equal(found.summaries, expected.summaries)


def test_points_that_are_saved_do_not_depend_on_events_that_only_tell():
    """Steps, and the solution at the end, are those without events, to the last bit."""
    tells = [Event(lambda t, y, rate: y[0]), Event(lambda t, y, rate: y[1])]
    for save in ({"save": "steps"}, {"save": "final"}):
        plain = solve(backend="python", method="tsit5", **(save | {"max_events": None}))
        found = solve(backend="python", method="tsit5", events=tells, **save)
        assert np.all(found.n_events)
        np.testing.assert_array_equal(np.asarray(found.y), np.asarray(plain.y))
        np.testing.assert_array_equal(found.n_steps, plain.n_steps)


@pytest.mark.parametrize("save", [{}, {"save": "steps"}, {"t_eval": np.linspace(0, 12, 25)}])
def test_portions_of_a_batch(save, monkeypatch):
    """Solved a few runs at a time, on a device, they are what they are together."""
    given = {"fastmath": False, "max_events": 40, **options_of("tsit5")}
    times = save.get("t_eval")
    more = {"save": save["save"]} if "save" in save else {}
    expected = solve_ivp(
        oscillate, (0, 12), START, t_eval=times, args=(RATES,), backend="python", **given, **more
    )
    driver = pretend(monkeypatch, PretendedPython)
    driver.pretend(total_bytes=45_000)
    found = Solver(oscillate, **given, **more).solve((0, 12), START, times, args=(RATES,))
    assert len(driver.launched) > 1
    for k in range(4):
        np.testing.assert_array_equal(found.t_events[k], expected.t_events[k])
        np.testing.assert_array_equal(found.y_events[k], expected.y_events[k])
    np.testing.assert_array_equal(np.asarray(found.y), np.asarray(expected.y))


def test_events_of_results_that_stay_on_a_device(monkeypatch):
    """States stay there; what is told of events comes to the host."""
    expected = solve(backend="python", **options_of("tsit5"))
    pretend(monkeypatch, PretendedPython)
    given = {"fastmath": False, "max_events": 300, "on_device": True, **options_of("tsit5")}
    found = Solver(oscillate, **given).solve((0, 12), START, args=(RATES,))
    np.testing.assert_array_equal(found.y.to_host(), expected.y)
    for k in range(4):
        np.testing.assert_array_equal(found.t_events[k], expected.t_events[k])
        np.testing.assert_array_equal(found.n_events[k], expected.n_events[k])


def test_ten_thousand_runs_with_different_numbers_of_events():
    """Each crosses zero as often, and when, the formula says."""
    frequency = np.linspace(0.2, 9.0, 10_000)
    event = Event(lambda t, y, w: y[0])
    found = solve_ivp(
        lambda t, y, w: [w * y[1], -w * y[0]], (0, 10), [0.0, 1.0], "dop853", args=(frequency,),
        events=event, rtol=1e-12, atol=1e-12, max_step=0.3, backend="cpu", max_events=64,
    )  # fmt: skip
    counts = 1 + np.floor(frequency * 10 / np.pi).astype(int)
    np.testing.assert_array_equal(found.n_events[0], counts)
    expected = np.pi * np.arange(64) / frequency[:, None]
    there = np.arange(64) < counts[:, None]
    np.testing.assert_allclose(found.t_events[0][there], expected[there], rtol=0, atol=1e-9)
    assert np.isnan(found.t_events[0][~there]).all()


def test_float32_finds_events_as_finely_as_it_tells_time():
    """Late in a run, where its numbers lie far apart, too."""
    event = Event(lambda t, y: y[0], direction=1)
    found = solve_ivp(
        lambda t, y: [y[1], -y[0]], (0, 200), [0.0, 1.0], "dop853", events=event, rtol=1e-5,
        atol=1e-5, dtype="float32", backend="python",
    )  # fmt: skip
    times = found.t_events[0]
    assert len(times) == 32
    np.testing.assert_allclose(times, 2 * np.pi * np.arange(32), rtol=0, atol=2e-3)


PAGE = Path(__file__).resolve().parents[2] / "docs" / "events.md"


@pytest.mark.parametrize("asked", [0, 1, 4])
@pytest.mark.parametrize("method", ["tsit5", "rodas5p"])
def test_registers_of_the_page(method, asked):
    """For a GPU everything stays in as many registers as the page says, without a stack."""
    table = PAGE.read_text().split("<!-- registers: begin -->")[1].split("<!-- registers: end")[0]
    (row,) = (line for line in table.splitlines() if line.startswith(f"| `{method}` |"))
    expected = dict(zip((0, 1, 4), map(int, re.findall(r" (\d+) ", row)), strict=True))
    options = options_of(method) | {"events": events()[:asked]}
    solver = Solver(
        oscillate, backend="cuda", device="sm_90", locations="local", verify=False, **options
    )
    solver.prepare(START, args=(RATES,))
    found = solver.resources()
    assert found.registers == expected[asked]
    assert found.stack_bytes == found.spill_store_bytes == found.spill_load_bytes == 0
    names = {buffer.name for buffer in solver.plan.problem.buffers}
    assert ("loop.event_values" in names) == (asked > 0)


LEVELS = np.linspace(1.0, 3.0, 20)
INPUT = Interpolant(np.arange(50.0), 1.0 + 0.2 * np.sin(np.arange(50.0)), kind="cubic")


def over_input(t, y, u, level):
    return y[0] - level * u(t)


def over_level(t, y, u, level):
    return y[0] - level


def to_input(t, y, u, level):
    return [0.1 * u(t)]


def to_nothing(t, y, u, level):
    return [0.0 * y[0]]


@pytest.mark.parametrize(
    "events",
    [
        Event(over_input, apply=to_nothing),
        Event(over_level, apply=to_input),
        [over_input, Event(over_level, apply=to_nothing)],
    ],
    ids=["event", "apply", "other"],
)
def test_some_of_the_functions_may_read_inputs(events):
    """An event, what it makes of the state, or another event: those beside it read none."""

    def fun(t, y, u, level):
        return [1.0 - 0.2 * y[0]]

    given = {"args": (INPUT, LEVELS), "events": events, "rtol": 1e-9, "atol": 1e-9}
    expected, found = (
        solve_ivp(fun, (0.0, 40.0), [0.0], backend=backend, **given)
        for backend in ("python", "cpu")
    )
    for counted, wanted in zip(found.n_events, expected.n_events, strict=True):
        assert np.array_equal(counted, wanted)
        assert counted.min() > 2
    for times, wanted in zip(found.t_events, expected.t_events, strict=True):
        np.testing.assert_allclose(times, wanted, atol=1e-7)
