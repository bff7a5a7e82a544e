"""Locations as ordinary options: every registered buffer, through every entry point (L1-L4)."""

import functools

import numpy as np
import pytest

from cubie import BufferLocation, Event, InvalidOption, Solver, UnknownOption, solve_ivp
from cubie.controllers import CONTROLLERS
from cubie.integrator import ALGORITHMS
from cubie.tableaus import all_methods, get_method

WORDS = tuple(location.value for location in BufferLocation)
START = [1.0, 0.5]
NO_TIME = (0.0, 0.0)  # a span without steps: what matters here is the plan


def decay(t, y, rate):
    """Two decaying components, with a parameter."""
    return [-rate * y[0], y[0] - y[1]]


def representatives():
    """One method with and one without an error estimate of each family, and FSAL both ways."""
    chosen = {}
    for tableau in all_methods().values():
        if type(tableau) in ALGORITHMS:
            fsal = getattr(tableau, "fsal", False)
            chosen.setdefault((type(tableau), tableau.has_error_estimate, fsal), tableau.name)
    return sorted(chosen.values())


def configurations():
    """Settings that together register every buffer there is: methods, then controllers."""
    methods = [{"method": name} for name in representatives()]
    adaptive = [name for name, kind in CONTROLLERS.items() if kind.adaptive]
    controllers = [{"method": "tsit5", "step_controller": name} for name in adaptive]
    given = [{"method": "tsit5", "first_step": 0.1}]
    return [complete(settings) for settings in (*methods, *controllers, *given)]


def complete(settings):
    """Add the first step that methods without error control need."""
    if not get_method(settings["method"]).has_error_estimate:
        settings = settings | {"first_step": 0.1}
    return settings


def named(settings):
    """Label a configuration."""
    return "-".join(str(value) for value in settings.values())


def make(**options):
    """Return a solver on the interpreted target, which compiles nothing."""
    return Solver(decay, backend="python", locations="local", **options)


def run(solver, **changes):
    """Solve over no time at all, and return the plan."""
    return solver.solve(NO_TIME, START, args=(2.0,), **changes).plan


@functools.cache
def plain(settings):
    """Return (solver, plan) of a configuration without pins."""
    solver = make(**dict(settings))
    return solver, run(solver)


def placement_of(plan, buffer):
    """Return the placement of a buffer known by its own name."""
    return next(p for name, p in plan.placements.items() if name.rsplit(".")[-1] == buffer)


def other_location(solver, plan, buffer):
    """Return a location that the buffer does not have without a pin."""
    now = placement_of(plan, buffer).location
    return next(word for word in WORDS if word not in (now.value, "local"))


# The four entry points: each returns the plan made with one option given there.


def through_solve_ivp(settings, option):
    options = {"backend": "python", "locations": "local"} | settings | option
    return solve_ivp(decay, NO_TIME, START, args=(2.0,), **options).plan


def through_constructor(settings, option):
    return run(make(**settings, **option))


def through_solve(settings, option):
    return run(make(**settings), **option)


def through_update(settings, option):
    solver = make(**settings)
    run(solver)
    solver.update(**option)
    return run(solver)


ENTRY_POINTS = [through_solve_ivp, through_constructor, through_solve, through_update]
CONFIGURATIONS = configurations()


@pytest.mark.parametrize("enter", ENTRY_POINTS, ids=lambda enter: enter.__name__)
@pytest.mark.parametrize("settings", CONFIGURATIONS, ids=named)
def test_every_location_option_moves_its_buffer(settings, enter):
    """All options of a solver at once, through one entry point, change every placement."""
    solver, before = plain(tuple(settings.items()))
    wanted = {
        buffer: other_location(solver, before, buffer)
        for buffer, _ in solver.kernel.buffer_registry.walk()
    }
    after = enter(settings, {f"{buffer}_location": word for buffer, word in wanted.items()})
    for buffer, word in wanted.items():
        placed, was = placement_of(after, buffer), placement_of(before, buffer)
        assert placed.location.value == word, buffer
        assert placed.size_bytes == was.size_bytes, buffer
        if not placed.size_bytes:
            assert placed.offset is None, f"{buffer} is empty or disabled: no bytes anywhere"
    assert after.digest != before.digest


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("settings", CONFIGURATIONS, ids=named)
def test_every_location_option_acts_alone(settings, word):
    """One pin at a time: that buffer goes there, and is what it was again after the call."""
    solver, before = plain(tuple(settings.items()))
    for buffer, registry in solver.kernel.buffer_registry.walk():
        plan = solver.prepare(START, args=(2.0,), **{f"{buffer}_location": word})
        kept = registry.buffers[buffer].persistent and word == "local"
        expected = "local_persistent" if kept else word
        assert placement_of(plan, buffer).location.value == expected
    assert solver.prepare(START, args=(2.0,)).placements == before.placements


def pins_of(solver):
    """Return the pins of the buffers of the latest kernel."""
    return {f"{name}_location" for name, _ in solver.kernel.buffer_registry.walk()}


def test_the_configurations_reach_every_option_of_a_solver():
    """Nothing registered escapes the tests above: they enumerate the registries themselves.

    Of points inside steps there are buffers only where points are asked for.
    """
    for settings in CONFIGURATIONS:
        solver = make(**settings)
        solver.prepare(START, args=(2.0,), t_eval=[0.5])
        offered = {name for name in solver.options if name.endswith("_location")}
        assert pins_of(solver) == offered
        assert offered - pins_of(plain(tuple(settings.items()))[0]) <= set(POINTS)


POINTS = ("polynomial_location", "point_state_location")
ASKED = [
    *({"t_eval": [0.5]}, {"t_eval": [0.5], "t_eval_exact": True}, {"save": "steps"}),
    *({"dense_output": True}, {"summaries": {0: ["max"]}, "t_eval": [0.5]}),
    *({"observables": lambda t, y, rate: {"sum": y[0] + y[1]}, "t_eval": [0.5]},),
    *({"events": Event(lambda t, y, rate: y[0] - 0.5), "t_eval": [0.5]}, {"breakpoints": [0.5]}),
]


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: "-".join(asked))
@pytest.mark.parametrize("method", ["tsit5", "kvaerno3", "auto"])
def test_every_buffer_of_what_is_asked_for_has_its_option(method, asked):
    """Whatever is saved, all buffers of the plan can be pinned; else only POINTS are offered."""
    times, options = asked.get("t_eval"), {k: v for k, v in asked.items() if k != "t_eval"}
    solver = make(method=method, **options)
    solver.prepare(START, args=(2.0,), t_eval=times)
    registered = pins_of(solver)
    offered = {name for name in solver.options if name.endswith("_location")}
    assert offered - set(POINTS) <= registered <= offered
    shared = solver.prepare(START, args=(2.0,), t_eval=times, **dict.fromkeys(registered, "shared"))
    assert {p.location for p in shared.placements.values()} == {BufferLocation.SHARED}


def test_pins_survive_updates_of_other_settings():
    """A pin given once holds until it is changed, whatever else is (L3)."""
    solver = make(state_location="shared")
    solver.update(rtol=1e-6, method="dormand_prince54")
    solver.update(stage_rhs_location="shared", safety=0.8)
    solver.update(locations="auto")
    plan = run(solver)
    assert placement_of(plan, "state").location is BufferLocation.SHARED
    assert placement_of(plan, "stage_rhs").location is BufferLocation.SHARED
    solver.update(state_location="local")
    assert placement_of(run(solver), "state").location is BufferLocation.LOCAL


def test_a_pin_of_none_is_no_pin():
    """None takes an earlier pin back."""
    solver = make(state_location="shared")
    solver.update(state_location=None)
    assert placement_of(run(solver), "state").location is BufferLocation.LOCAL


def test_a_pin_wins_over_locations():
    """`locations` decides only for buffers without a pin."""
    for locations in ("auto", "local", "shared", {"state": "local"}):
        plan = run(make(), locations=locations, state_location="local_persistent")
        assert placement_of(plan, "state").location is BufferLocation.LOCAL_PERSISTENT


def test_options_of_one_call_are_gone_after_it():
    """What `solve` is given holds for that call only."""
    solver = make()
    run(solver, state_location="shared")
    assert placement_of(run(solver), "state").location is BufferLocation.LOCAL


def test_a_pin_changes_the_kernel_and_an_equal_one_does_not():
    """A new placement builds a new kernel; one that was there before builds nothing (L3, K9)."""
    solver = make()
    run(solver)
    assert solver.builds["kernel"] == 1
    run(solver, state_location="shared")
    assert solver.builds["kernel"] == 2
    run(solver)
    run(solver, state_location="shared")
    solver.update(state_location="shared", max_steps=50)
    run(solver)
    assert solver.builds["kernel"] == 2


def test_results_do_not_depend_on_locations():
    """Shared, local, kept, planned: the same numbers to the last bit."""
    solver = make(method="dormand_prince54")
    results = [
        solver.solve((0.0, 0.3), START, args=(2.0,), locations=locations).y
        for locations in ("local", "shared", "auto", {"state": "shared", "dt": "local_persistent"})
    ]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


TYPOS = {
    "state_locaton": "state_location",
    "stage_rhs_loc": "stage_rhs_location",
    "proposedstate_location": "proposed_state_location",
    "safty": "safety",
    "max_step_size": "max_steps",
    "rtoll": "rtol",
}


@pytest.mark.parametrize("typo", TYPOS)
@pytest.mark.parametrize("enter", ENTRY_POINTS, ids=lambda enter: enter.__name__)
def test_a_typo_is_answered_with_the_nearest_name(enter, typo):
    """Nothing is ignored silently: an unknown keyword names its neighbour (L4)."""
    with pytest.raises(UnknownOption) as caught:
        enter({"method": "tsit5"}, {typo: "shared"})
    assert caught.value.given == typo
    assert caught.value.nearest == TYPOS[typo]
    assert str(caught.value).startswith(
        f"`{typo}` is not an option of any component of this solver. Did you mean `{TYPOS[typo]}`?"
    )


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("sharred", "shared"), ("Local", "local"), ("local_persistant", "local_persistent")],
)
@pytest.mark.parametrize("enter", ENTRY_POINTS, ids=lambda enter: enter.__name__)
def test_an_unknown_location_is_answered_with_the_nearest_word(enter, word, nearest):
    """The message names the option, what was given, and what is meant (B2)."""
    with pytest.raises(InvalidOption) as caught:
        enter({"method": "tsit5"}, {"state_location": word})
    assert str(caught.value) == (
        f"`state_location` is {word!r}, but must be one of 'shared', 'local', "
        f"'local_persistent', 'global' (did you mean {nearest!r}?)."
    )


def test_a_bad_value_is_refused_where_it_is_given():
    """The solver does not keep what it would only refuse at the next solve."""
    solver = make()
    with pytest.raises(InvalidOption, match="state_location"):
        solver.update(rtol=1e-9, state_location="nowhere")
    assert placement_of(run(solver), "state").location is BufferLocation.LOCAL
    with pytest.raises(InvalidOption, match="state_location"):
        make(state_location="nowhere")


def test_an_option_of_another_method_is_an_error():
    """Options exist where the component that has them does."""
    with pytest.raises(UnknownOption):
        make(method="euler", first_step=0.1, start_rhs_location="shared")
    with pytest.raises(UnknownOption):
        make(step_controller="i", kp=0.2)
    make(step_controller="pi", kp=0.2)


@pytest.mark.parametrize(("name", "nearest"), [("stat", "state"), ("stage_rsh", "stage_rhs")])
def test_a_typo_in_a_mapping_of_locations_is_an_error(name, nearest):
    """Keys of `locations` are checked like keyword arguments."""
    with pytest.raises(UnknownOption) as caught:
        run(make(), locations={name: "shared"})
    assert caught.value.nearest == nearest


def test_an_unknown_policy_or_word_in_locations_names_the_nearest():
    """Values of `locations` are checked too."""
    with pytest.raises(ValueError, match="did you mean 'local'"):
        run(make(), locations="locl")
    with pytest.raises(ValueError, match="did you mean 'shared'"):
        run(make(), locations={"state": "sharde"})
