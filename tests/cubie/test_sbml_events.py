"""Events of models in SBML: what happens at one time, in which order, and later."""

import re

import numpy as np
import pytest

import cubie
from tests.cubie.sbml_texts import compartment, event, listed, sbml, species, with_events

pytest.importorskip("libsbml")

TIMES = np.linspace(0.0, 4.0, 17)
OPTIONS = {"rtol": 1e-9, "atol": 1e-9, "backend": "python"}


def courses(text, *names, **more):
    """Return the courses of names of a model."""
    model = cubie.load_model(text)
    result = cubie.solve_ivp(model, (0.0, 4.0), t_eval=TIMES, **{**OPTIONS, **more})
    assert np.all(result.success), result.message
    return [model.values(result, name) for name in names]


def steps(*pairs):
    """Return a number over the times that becomes another one at times: (0, a), (1, b), ..."""
    found = np.zeros(len(TIMES))
    for when, value in pairs:
        found[when <= TIMES] = value
    return found


# A model, and what each of its numbers is over time.
SCENES = {
    "an event happens when its trigger comes true, and again": (
        with_events(event("E", "x >= 1.1", {"x": "0", "n": "n + 1"}), n=0.0),
        {"n": np.floor(TIMES / 1.1), "x": TIMES % 1.1},
    ),
    "a trigger that is true at the start counts as true before, or not": (
        with_events(
            event("E", "time >= 0", {"a": "1"}),
            event("F", "time >= 0", {"b": "1"}, initial=False),
            event("G", "time < 0", {"c": "1"}),
            a=0.0, b=0.0, c=0.0,
        ),
        {"a": steps(), "b": steps((0, 1)), "c": steps()},
    ),
    "what an event sets may trigger another one, at the same time": (
        with_events(
            event("E", "time >= 1.1", {"a": "5"}),
            event("F", "a > 3", {"b": "a + 1", "a": "1"}),
            event("G", "b > 5 && a < 2", {"c": "b"}),
            a=0.0, b=0.0, c=0.0,
        ),
        {"a": steps((1.1, 1)), "b": steps((1.1, 6)), "c": steps((1.1, 6))},
    ),
    "the highest priority goes first": (
        with_events(
            event("E", "time >= 1.1", {"a": "2 * a"}, priority="1", at_trigger=False),
            event("F", "time >= 1.1", {"a": "a + 1"}, priority="x", at_trigger=False),
            a=1.0,
        ),
        {"a": steps((0, 1), (1.1, 4))},
    ),
    "values are those at the time of the trigger": (
        with_events(
            event("E", "time >= 1.1", {"a": "b"}),
            event("F", "time >= 1.1", {"b": "a"}),
            a=1.0, b=2.0,
        ),
        {"a": steps((0, 1), (1.1, 2)), "b": steps((0, 2), (1.1, 1))},
    ),
    "one that is not persistent waits in vain where another makes its trigger false": (
        with_events(
            event("E", "time >= 1.1", {"a": "1"}, priority="2"),
            event("F", "time >= 1.1 && a < 1", {"b": "1"}, priority="1", persistent=False),
            event("G", "time >= 1.1 && a < 1", {"c": "1"}, priority="1"),
            a=0.0, b=0.0, c=0.0,
        ),
        {"a": steps((1.1, 1)), "b": steps(), "c": steps((1.1, 1))},
    ),
    "delayed, with values of then and of now": (
        with_events(
            event("E", "time >= 1.1", {"a": "x"}, delay="1.5"),
            event("F", "time >= 1.1", {"b": "x"}, delay="1.5", at_trigger=False),
            a=0.0, b=0.0,
        ),
        {"a": steps((2.6, 1.1)), "b": steps((2.6, 2.6))},
    ),
    "delayed, and triggered again meanwhile": (
        with_events(
            event("E", "x >= 0.36", {"x": "0", "n": "n + 1"}),
            event("F", "x >= 0.36", {"m": "m + 1"}, delay="1.1", at_trigger=False),
            n=0.0, m=0.0,
        ),
        {
            "n": np.floor(TIMES / 0.36),
            "m": np.floor(np.maximum(TIMES - 1.1, 0.0) / 0.36),
        },
    ),
    "delayed, and called off": (
        with_events(
            event("E", "x > 1.1 && x < 1.6", {"a": "1"}, delay="1", persistent=False),
            event("F", "x > 1.1 && x < 1.6", {"b": "1"}, delay="1"),
            a=0.0, b=0.0,
        ),
        {"a": steps(), "b": steps((2.1, 1))},
    ),
    "choices and truth values in a trigger": (
        with_events(
            event("E", "piecewise(x > 1.1, x < 2, x > 3.1) == true", {"a": "a + 1"}),
            event("F", "xor(x > 1.1, x > 2.1)", {"b": "b + 1"}),
            a=0.0, b=0.0,
        ),
        {"a": steps((1.1, 1), (3.1, 2)), "b": steps((1.1, 1))},
    ),
}  # fmt: skip


@pytest.mark.parametrize("scene", SCENES)
def test_events_happen_as_sbml_says(scene):
    """Each against what follows from the text of the specification, 4.11 of level 3 version 2."""
    text, known = SCENES[scene]
    for found, (name, values) in zip(courses(text, *known), known.items(), strict=True):
        assert found == pytest.approx(values, abs=1e-7), name


def test_amounts_are_set_in_compartments_that_change():
    """A concentration that is set is one in the size before; who is not set keeps its amount."""
    body = listed(
        Compartments=compartment(size=1.0, constant=False),
        Species=species("A", "initialAmount='4'") + species("B", "initialAmount='4'")
        + species("F", "initialConcentration='4'"),
        Rules="<rateRule variable='F'>[[0]]</rateRule>",
        Events=event("E", "time >= 1.1", {"C": "2", "A": "3"}),
    )  # fmt: skip
    model = cubie.load_model(sbml(body))
    result = cubie.solve_ivp(model, (0.0, 4.0), t_eval=TIMES, **OPTIONS)
    for name, before, behind in (("A", 4.0, 3.0), ("B", 4.0, 4.0), ("F", 4.0, 4.0)):
        known = steps((0, before), (1.1, behind))
        assert model.values(result, name, "amount") == pytest.approx(known), name
        size = steps((0, 1.0), (1.1, 2.0))
        assert model.values(result, name) == pytest.approx(known / size), name


def test_runs_have_events_at_times_of_their_own():
    """Compiled, in lanes, and by an implicit method: thresholds and delays are swept."""
    text = with_events(
        event("E", "x >= high", {"x": "x - high", "n": "n + 1"}),
        event("F", "n >= 2", {"m": "1"}, delay="wait"),
        n=0.0, m=0.0, high=1.0, wait=0.5,
    )  # fmt: skip
    for name in ("high", "wait"):
        text = re.sub(f"(id='{name}' .*?)constant='false'", r"\1constant='true'", text)
    model = cubie.load_model(text)
    highs, waits = np.linspace(0.51, 1.52, 9), np.linspace(0.1, 1.0, 9)
    for method, backend in (("tsit5", "cpu"), ("rodas5p", "python")):
        given = {"args": {"high": highs, "wait": waits}, "t_eval": TIMES, "method": method}
        result = cubie.solve_ivp(model, (0.0, 4.0), **given, **{**OPTIONS, "backend": backend})
        count = np.floor(TIMES / highs[:, None])
        assert np.array_equal(model.values(result, "n").round(9), count), method
        late = (2.0 * highs + waits)[:, None] <= TIMES
        assert model.values(result, "m") == pytest.approx(late * 1.0), method
        assert np.all(np.array(result.n_events)[-1] >= count[:, -1])


def test_more_than_there_is_room_for_is_no_number():
    """Five executions of a delayed event that wait at once are one too many: the run fails."""
    model = cubie.load_model(
        with_events(
            event("E", "x >= 0.1", {"x": "0"}),
            event("F", "x >= 0.1", {"n": "n + 1"}, delay="3"),
            n=0.0,
        )
    )
    result = cubie.solve_ivp(model, (0.0, 1.0), **OPTIONS)
    assert not result.success
    assert result.t_reached == pytest.approx(0.5)


def test_states_of_events_are_not_shown():
    """They are solved for and not kept, unless they are asked for; other events come first."""
    model = cubie.load_model(with_events(event("E", "x >= 1.1", {"x": "0", "n": "n + 1"}), n=0.0))
    result = cubie.solve_ivp(model, (0.0, 2.0), **OPTIONS, events=lambda t, y: y[0] - 0.5)
    assert result.state_names == model.states == ("x", "n")
    assert result.t_events is not None
    assert result.t_events[0] == pytest.approx([0.5, 1.1 + 0.5], abs=1e-6)
    only = cubie.solve_ivp(model, (0.0, 2.0), **OPTIONS, save_states=["n", "E_status"])
    assert model.values(only, "n")[-1] == 1.0
    with pytest.raises(cubie.ModelError, match="state `x`, which this needs"):
        model.values(only, "x")
