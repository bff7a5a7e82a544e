"""Declared lifetimes are those of the code: read off solves with every access logged."""

import itertools
import re
from pathlib import Path

import attrs
import numpy as np
import pytest
from benchmarks.implicit_memory import STATES, need

import cubie
from cubie import Solver
from cubie.algorithms.erk import ERKStep
from cubie.buffers import BufferRegistry
from cubie.errors import InvalidOption
from cubie.factory import CUDAFactory
from cubie.lifetimes import faults, lives, record
from cubie.solvers import LINEAR_SOLVERS
from cubie.solvers.preconditioners import PRECONDITIONERS
from cubie.tableaus import all_methods
from cubie_planner import Alias
from cubie_planner.recording import OutOfPhase
from tests.cubie.recorded import CONTROLLERS, FEATURES, SPAN, START, Case, plain, recorded

CODE = Path(cubie.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "lifetimes.md"
FAMILIES = ("tsit5", "rk4", "rodas5p", "kvaerno5", "sdirk2", "radau_iia_5", "bdf", "auto")
ITERATED = ("kvaerno3", "rodas4", "radau_iia_3", "bdf")
# Where steps of two kinds are read, both polynomials are made and one is taken: of the other kind
# there may be nothing, or something of an earlier step.
OF_THE_OTHER_KIND = ("stage_store", "nonstiff_stage_rhs", "nonstiff_stage_cache")


def cases_of_solvers():
    """Yield every linear solver with a method of each family, and every preconditioner."""
    for solver, method in itertools.product(LINEAR_SOLVERS, ITERATED):
        if solver != "lu":
            yield Case(method, "plain", (("linear_solver", solver),))
    for method in ("kvaerno5", "radau_iia_5", "bdf", "backwards_euler"):
        yield Case(method, "plain", (("factor_dtype", "float32"),))
        yield Case(method, "plain", (("factor_dtype", "float32"), ("jacobian_reuse", True)))
    for preconditioner in PRECONDITIONERS:
        options = (("linear_solver", "gmres"), ("preconditioner", preconditioner))
        yield Case("kvaerno5", "plain", options)


def require_none(case, costs):
    """Solve recorded; the result is that of the interpreter, and nothing is found."""
    expected, result, found = recorded(case, costs)
    if hasattr(expected.y, "shape"):
        assert np.array_equal(expected.y, result.y, equal_nan=True)
    assert np.array_equal(expected.n_steps, result.n_steps)
    if case.method == "auto":
        found = [f for f in found if not f.buffer.endswith(OF_THE_OTHER_KIND)]
    assert [str(fault) for fault in found] == []


@pytest.mark.parametrize("method", all_methods())
def test_what_is_declared_is_what_the_code_does(method):
    """Of every method: no lifetime too short, none that costs a byte too much, no alias amiss."""
    require_none(Case(method, "plain"), costs=True)


@pytest.mark.parametrize("case", list(cases_of_solvers()), ids=str)
def test_linear_solvers_keep_to_their_declarations(case):
    """Of every linear solver and preconditioner."""
    require_none(case, costs=True)


@pytest.mark.parametrize("kind", CONTROLLERS)
def test_controllers_keep_to_their_declarations(kind):
    """Of every step controller."""
    sizes = (("first_step", 0.02),) if kind == "fixed" else ()
    require_none(Case("tsit5", "plain", (("step_controller", kind), *sizes)), costs=True)


@pytest.mark.parametrize(
    "case",
    [Case(method, feature) for feature in FEATURES for method in FAMILIES if feature != "plain"],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::cubie.UntracedWarning")
def test_features_keep_to_their_declarations(case):
    """Of everything a solve can be asked for, with a method of each family."""
    require_none(case, costs=False)


def test_the_page_tells_what_is_planned():
    """Bytes of a run with everything shared, now and always less than before; tsit5 by name."""
    rows = re.findall(r"^\| (\w+) \| ([\d| ]+) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    told = {method: list(map(int, cells.split(" | "))) for method, cells in rows}
    assert {"tsit5", "dop853", "rodas5p", "auto"} <= set(told)
    for method, cells in told.items():
        assert cells[1::2] == [need(method, states, {}).planned for states in STATES], method
        assert all(now < before for before, now in zip(cells[::2], cells[1::2], strict=True)), (
            method
        )
    before, now = told["tsit5"][2:4]
    assert now <= 0.75 * before


# ---- hand-made errors of every kind ------------------------------------------------


def declared_as(monkeypatch, buffer, **changes):
    """Have a buffer declared otherwise than the code needs it."""
    register = BufferRegistry.register

    def registered(registry, declared):
        if declared.name == buffer:
            declared = attrs.evolve(declared, **changes)
        register(registry, declared)

    monkeypatch.setattr(BufferRegistry, "register", registered)


def found_of(kind, method="tsit5"):
    """Return the faults of a kind."""
    return [fault for fault in recorded(Case(method, "plain"))[2] if fault.kind == kind]


def test_a_lifetime_that_ends_too_soon_is_named(monkeypatch):
    """With the buffer, the lines that write and read it, and the phases that it misses."""
    declared_as(monkeypatch, "stage_accumulator", phases=("first_stage",))
    (fault,) = found_of("too short")
    assert fault.buffer == "loop.algorithm.stage_accumulator"
    assert "cubie/algorithms/erk.py:" in fault.text
    assert "`loop.algorithm:stages`" in fault.text


def test_a_lifetime_that_begins_too_late_is_named(monkeypatch):
    """A read in the phase before the declared one is as wrong as one behind it."""
    declared_as(monkeypatch, "error", phases=("judge",))
    (fault,) = found_of("too short")
    assert fault.buffer == "loop.error"
    assert "`loop.algorithm:error_estimate`" in fault.text


def test_a_gap_in_what_is_carried_from_step_to_step_is_named(monkeypatch):
    """While one lane starts a run, others keep theirs: no single run shows that."""
    declared_as(monkeypatch, "stage_cache", phases=("start", "first_stage", "commit"))
    (fault,) = found_of("too short")
    assert fault.buffer == "loop.algorithm.stage_cache"
    assert "`loop:load`" in fault.text
    assert "`loop:finish`" in fault.text


def test_a_lifetime_that_is_too_long_costs_bytes(monkeypatch):
    """The phases without use are named, and what they cost a run."""
    declared_as(monkeypatch, "start_state", phases=None)
    (fault,) = found_of("too long")
    assert fault.buffer == "loop.initial_step.start_state"
    assert fault.size_bytes == 32  # four states in float64, which lay where stages lie
    assert "`loop:judge`" in fault.text


def test_what_outlives_its_function_has_to_be_persistent(monkeypatch):
    """A local array is gone when the function that allocates it returns."""
    declared_as(monkeypatch, "stage_step", persistent=False)
    fault = found_of("lost", "radau_iia_5")[0]
    assert fault.buffer == "loop.algorithm.stage_step"
    assert "cubie/algorithms/firk.py:" in fault.text


def test_a_read_before_any_write_is_named(monkeypatch):
    """It is told apart from a value that a choice leaves aside."""
    build = ERKStep._build_error

    def reading(step, backend):
        estimate = build(step, backend)

        def early(h, stage_rhs, error):
            error[1] = error[0] + error[0]
            estimate(h, stage_rhs, error)

        return backend.device(early)

    monkeypatch.setattr(ERKStep, "_build_error", reading)
    (fault,) = found_of("unwritten")
    assert fault.buffer == "loop.error"
    assert "element 0" in fault.text
    assert "test_lifetimes.py:" in fault.text


def test_an_alias_on_bytes_in_use_is_named(monkeypatch):
    """With the line that overwrites, and the one that still reads."""
    declared_as(monkeypatch, "stage_accumulator", aliases=(Alias("stage_rhs", 0),))
    (fault,) = found_of("clash")
    assert fault.buffer == "loop.algorithm.stage_accumulator"
    assert fault.text.startswith("inside `loop.algorithm.stage_rhs` at byte 0 ")


def test_a_call_in_another_phase_than_declared_is_named(monkeypatch):
    """What a component says of its children is followed as well."""
    add_child = CUDAFactory.add_child

    def added(parent, child, during):
        if parent.name == "loop" and child.name == "controller":
            during = {**during, "control": "judge"}
        add_child(parent, child, during)

    monkeypatch.setattr(CUDAFactory, "add_child", added)
    with pytest.raises(OutOfPhase, match=r"`loop\.controller` enters its phase 'control' during"):
        recorded(Case("tsit5", "plain"))


def test_one_solve_does_not_show_all_that_is_needed():
    """Without a rejected step nobody goes back to the state: no plan is made of a recording."""
    solver = Solver(plain, method="tsit5", backend="python", rtol=1e-3, atol=1e-5)
    solver.prepare(START[0], args=(1.0,))
    recording = record(solver.kernel)
    control = solver.kernel.layout.timeline.points.index("loop:control")
    assert solver.solve((0.0, 0.05), START[0], args=(1.0,)).n_rejected == 0
    assert control not in lives(recording).points["loop.state"]
    assert solver.solve(SPAN, START[0], args=(40.0,)).n_rejected > 0
    assert control in lives(recording).points["loop.state"]


@pytest.mark.parametrize("method", ["tsit5", "kvaerno3", "bdf"])
def test_an_explanation_names_the_lines_of_the_peak(method):
    """They are lines of components that write or call, also where generated code does it."""
    solver = Solver(plain, method=method, backend="python", locations="shared", rtol=1e-3)
    solver.prepare(START[0], args=(1.0,))
    recording = record(solver.kernel)
    solver.solve(SPAN, START[0], args=(1.0,))
    told = solver.explain(recording)
    assert list(told.slices.origins) == [n for n in told.peak_bytes if n in told.slices.origins]
    assert set(told.peak_bytes) - set(told.slices.origins) <= told.slices.hosts
    places = {
        p for lines in told.slices.origins.values() for p in (*lines.written_at, *lines.read_at)
    }
    assert all(Path(place.file).is_relative_to(CODE) for place in places)
    for place in places:
        line = Path(place.file).read_text(encoding="utf-8").splitlines()[place.line - 1]
        assert "[" in line or "(" in line, place
    assert "cubie/run/loop.py:" in str(told)
    assert "cubie/run/loop.py:" not in str(solver.explain())


def test_what_was_not_recorded_is_told_so():
    """A peak to which no recorded step came has no lines, and the text says what it is."""
    solver = Solver(plain, method="tsit5", backend="python", locations="shared", rtol=1e-3)
    solver.prepare(START[0], args=(1.0,))
    recording = record(solver.kernel)
    solver.solve((0.0, 0.0), START[0], args=(1.0,))
    assert "declared alive there; what was recorded has nothing in it" in str(
        solver.explain(recording)
    )


def test_only_interpreted_code_is_recorded():
    """A compiled kernel logs nothing."""
    solver = Solver(lambda t, y: [-y[0]], backend="cpu")
    solver.prepare([[1.0]])
    with pytest.raises(InvalidOption, match='backend="python"'):
        record(solver.kernel)


def test_solves_add_up():
    """What several solves do is one recording: a path that one of them takes is known of all."""
    solver = Solver(lambda t, y: [-100.0 * y[0]], backend="python", rtol=1e-3)
    solver.prepare([[1.0]])
    kernel = solver.kernel
    recording = record(kernel)
    solver.solve((0.0, 1e-9), [[1.0]])
    before = lives(recording).points["loop.algorithm.stage_cache"]
    solver.solve((0.0, 1.0), [[1.0]])
    assert before < lives(recording).points["loop.algorithm.stage_cache"]
    assert faults(kernel.layout, recording) == []
