"""Explicit methods in 2N storage: the same solution as with vectors of derivatives, in less."""

import re
from fractions import Fraction

import numpy as np
import pytest

from cubie import Interpolant, InvalidOption, Solver, UntracedWarning
from cubie.algorithms import ERKStep, LowStorageStep
from cubie.backend import make_backend
from cubie.integrator import RunSettings, SingleIntegratorRun
from cubie.launch.kernel import BatchSolverKernel
from cubie.launch.planned import BatchSolverConfig
from cubie.launch.step_code import step_code
from cubie.systems import trace
from cubie.systems.adding import added
from cubie.systems.generated import is_arithmetic, load_module
from cubie.tableaus import ERKTableau, all_tableaus, get_tableau
from cubie.tableaus.two_registers import butcher_form, two_registers
from tests.cubie.targets import on_targets
from tests.page_code import ROOT

EXPLICIT = [t for t in all_tableaus().values() if isinstance(t, ERKTableau)]
FORMS = {t.name: t.two_registers for t in EXPLICIT if t.two_registers is not None}
MADE_FOR_IT = ("williamson32", "carpenter_kennedy43")


# ---- the form ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_the_form_is_found_again_in_the_tableau(seed):
    """Of any factors and weights: `a`, `b` and error weights lead back to them, exactly."""
    rng = np.random.default_rng(seed)

    def numbers(n):
        return tuple(Fraction(int(x), 7) for x in rng.choice([-9, -4, 1, 3, 5], n))

    n = int(rng.integers(1, 7))
    factors, weights = (Fraction(0), *numbers(n - 1)), numbers(n)
    a, b = butcher_form(factors, weights)
    fsal = bool(rng.integers(2))
    error, nothing = numbers(n + fsal), (Fraction(0),) * fsal
    rows = tuple(row + nothing for row in (*a, *((b,) * fsal)))
    found = two_registers(rows, b + nothing, error, fsal)
    assert found.factors == tuple(map(float, factors))
    assert found.weights == tuple(map(float, weights))
    # Of derivatives that are all different, by the sums that a step makes of them.
    derivatives, total, estimate = numbers(n + 1), Fraction(0), 0.0
    for i in range(n):
        total = factors[i] * total + derivatives[i]
        estimate += found.error_weights[i] * float(total)
    estimate += found.end_weight * float(derivatives[n])
    expected = sum(e * k for e, k in zip(error, derivatives, strict=False))
    assert estimate == pytest.approx(float(expected), rel=1e-9, abs=1e-9)


def test_which_methods_have_the_form():
    """Two stages always have; of those with more only what was made for it."""
    assert set(FORMS) == {"euler", "heun", "midpoint", "ralston", *MADE_FOR_IT}
    assert FORMS["carpenter_kennedy43"].n_stages == 5  # and the derivative at the end
    assert {name for name, form in FORMS.items() if form.end_weight} == {"carpenter_kennedy43"}


@pytest.mark.parametrize("entry", [(2, 0), (3, 1), (4, 0)])
def test_a_tableau_that_is_changed_has_no_such_form(entry):
    """A single entry of `a` that is another one, far below single precision."""
    tableau = get_tableau("carpenter_kennedy43")
    a = [list(row[:5]) for row in tableau.a_exact[:5]]
    b = tableau.b_exact[:5]
    assert two_registers(a, b, None) is not None
    a[entry[0]][entry[1]] += Fraction(1, 10**12)
    assert two_registers(a, b, None) is None


# ---- what a step computes ----------------------------------------------------------


def oscillator(t, y, rate, push):
    """Two states, pushed at a pace of its own."""
    return [y[1], rate * (1.0 - y[0] * y[0]) * y[1] - y[0] + push * t]


def ring(t, y, rate, push):
    """Many states whose rows repeat a form: loops."""
    return rate * (np.roll(y, 1) - y) * y - np.roll(y, -2) + push


def lorenz96(t, y, forcing):
    """The system of the page."""
    return (np.roll(y, -1) - np.roll(y, 2)) * np.roll(y, 1) - y + forcing


MATRIX = np.random.default_rng(3).normal(size=(60, 60)) / 60


def network(t, y, rate, push):
    """A product with a large matrix, which rows have in common."""
    return MATRIX @ np.tanh(y) - rate * y + push * t


DRIVER = Interpolant([0.0, 0.4, 0.7, 1.5], [0.0, 1.0, -0.5, 0.5], "linear", "hold")


def driven(t, y, rate, push):
    """Asks a driver at the time, and at what it computes."""
    return [y[1] + DRIVER(t), -rate * y[0] + push * DRIVER(0.3 * y[1])]


def halvings(t, y, rate, push):
    """A loop whose length depends on the state: compiled as it stands."""
    x, count = abs(y[0]) + 0.1, 0.0
    while x > 0.01:
        x, count = 0.5 * x, count + 1.0
    return [-rate * y[0] + 0.01 * count + push * t, y[0] - y[1]]


SYSTEMS = {f.__name__: (f, n) for f, n in (
    (oscillator, 2), (ring, 150), (network, 60), (driven, 2), (halvings, 2),
)}  # fmt: skip
CASES = [
    *((name, "oscillator") for name in FORMS),
    *((name, system) for name in MADE_FOR_IT for system in SYSTEMS if system != "oscillator"),
]
COMPILED = [
    ("carpenter_kennedy43", "oscillator"), ("carpenter_kennedy43", "network"),
    ("williamson32", "driven"), ("carpenter_kennedy43", "halvings"),
]  # fmt: skip


def solver_of(method, system, storage, **options):
    """A solver whose runs of sixty states or two are short."""
    options = {"rtol": 1e-5, "atol": 1e-7, "fastmath": False, "backend": "python"} | options
    return Solver(SYSTEMS[system][0], method=method, stage_storage=storage, **options)


def solve(solver, system, **given):
    start = 0.5 + 0.4 * np.cos(np.arange(SYSTEMS[system][1]))
    return solver.solve((0.0, 1.0), start, args=(np.array([0.5, 1.0, 2.0]), 0.2), **given)


@pytest.mark.parametrize(("method", "system", "backend"), on_targets(CASES, COMPILED, also=CASES))
@pytest.mark.filterwarnings("ignore::cubie.UntracedWarning")
def test_both_storages_give_the_same_solution(method, system, backend):
    """To rounding, in as many steps: of fixed sizes, and of sizes that the estimate decides."""
    given = [{"step_controller": "fixed", "first_step": 0.05}]
    given += [{}] if get_tableau(method).has_error_estimate else []
    for options in given:
        summed, kept = (
            solve(solver_of(method, system, storage, backend=backend, **options), system)
            for storage in ("low_storage", "vectors")
        )
        assert summed.success.all()
        np.testing.assert_array_equal(summed.n_steps, kept.n_steps)
        np.testing.assert_array_equal(summed.n_rejected, kept.n_rejected)
        np.testing.assert_allclose(summed.y, kept.y, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("lanes", [1, 4])
def test_places_and_lanes_change_no_bit(lanes):
    """As of every other method, of fixed steps and of those that are chosen."""
    for options in ({}, {"step_controller": "fixed", "first_step": 0.05}):
        expected = solve(
            solver_of("carpenter_kennedy43", "oscillator", "auto", **options), "oscillator"
        )
        for locations in ("local", "shared"):
            solver = solver_of(
                "carpenter_kennedy43", "oscillator", "auto", backend="cpu", lanes=lanes,
                locations=locations, **options,
            )  # fmt: skip
            np.testing.assert_array_equal(solve(solver, "oscillator").y, expected.y)


@pytest.mark.parametrize("method", MADE_FOR_IT)
def test_evaluations_are_counted(method):
    """Five and one for the estimate, three; without an estimate none at the end."""
    form, calls = FORMS[method], []

    def counted(t, y, rate, push):
        calls.append(t)
        return [-rate * y[0] + push, y[0]]

    for fixed in (False, True):
        options = {"step_controller": "fixed", "first_step": 0.25} if fixed else {"rtol": 1e-4}
        solver = Solver(counted, method=method, backend="python", **options)
        found = solver.solve((0.0, 1.0), [1.0, 0.0], args=(1.0, 0.2))
        attempts = found.n_steps + found.n_rejected
        at_start = 0 if fixed else 2  # for the size of the first step
        each = form.n_stages + (bool(form.end_weight) and not fixed)
        assert found.nfev == at_start + attempts * each


# ---- what it takes -----------------------------------------------------------------


def words(method, storage, system="ring", **options):
    """Shared words of a run, beyond those that do not grow with the states, in units of n."""
    solver = solver_of(method, system, storage, locations="shared", dtype="float64", **options)
    solver.prepare(np.ones(SYSTEMS[system][1]), args=(1.0, 0.2))
    return solver.plan.shared_bytes_per_run // 8 // SYSTEMS[system][1]


@pytest.mark.parametrize("method", [name for name in FORMS if name != "euler"])
def test_a_step_takes_two_vectors_beside_the_state(method):
    """And one for the error estimate, where there is one."""
    fixed = {"step_controller": "fixed", "first_step": 0.1}
    assert words(method, "low_storage", **fixed) == 3
    assert words(method, "low_storage") == 4


def test_it_takes_less_than_other_methods():
    """Of order five, and of its own stages; of order four with sums as many as with an estimate."""
    fixed = {"step_controller": "fixed", "first_step": 0.1}
    assert words("rk4", "vectors", **fixed) == 4
    assert words("tsit5", "vectors") >= 7
    assert words("carpenter_kennedy43", "vectors") >= 6


def test_a_step_executes_less_on_a_gpu():
    """Of Lorenz-96 with four states, compiled for sm_90: instructions and registers of a step."""
    found = {}
    for storage in ("low_storage", "vectors"):
        settings = RunSettings(
            get_tableau("carpenter_kennedy43"), step_controller="fixed", stage_storage=storage
        )
        integrator = SingleIntegratorRun(trace(lorenz96, 4, (8.0,)), settings, "float32", {})
        config = BatchSolverConfig("local", block_size=64, compute_capability=(9, 0))
        kernel = BatchSolverKernel(integrator, config, make_backend("cuda", np.float32, True))
        resources = kernel.resources((9, 0), lines=True)
        assert resources.stack_bytes == 0
        found[storage] = step_code(resources.cubin, 0).accepted.total, resources.registers
    (instructions, registers), (of_vectors, more_registers) = found.values()
    assert instructions < 0.8 * of_vectors
    assert registers < more_registers


@pytest.mark.filterwarnings("ignore::cubie.UntracedWarning")
def test_a_function_that_is_compiled_as_it_stands_takes_one_more():
    """Its derivatives come in an array, and are added from a buffer."""
    buffers = {}
    for system in ("oscillator", "halvings"):
        solver = solver_of("williamson32", system, "auto", backend="cpu")
        solver.prepare(np.ones(2), args=(1.0, 0.2))
        buffers[system] = set(solver.plan.placements)
        enabled = solver.plan.placements["loop.algorithm.stage_rhs"].n_elements
        assert enabled == (2 if system == "halvings" else 0)
    assert buffers["oscillator"] == buffers["halvings"]


def test_the_page_tells_bytes_of_plans():
    """Of every row, at three sizes; and of what sums take, always less than vectors."""
    text = (ROOT / "docs" / "low-storage.md").read_text(encoding="utf-8")
    rows = re.findall(r'^\| (fixed|chosen) \| `(\w+)` \| `"(\w+)"` \| ([\d, ]+) \|', text, re.M)
    assert {(steps, method) for steps, method, *_ in rows} >= {
        (steps, method) for steps in ("fixed", "chosen") for method in MADE_FOR_IT
    }
    for steps, method, storage, told in rows:
        options = {"step_controller": "fixed", "first_step": 0.1} if steps == "fixed" else {}
        bytes_of = []
        for n in (4, 20, 40):
            solver = Solver(
                lorenz96, method=method, stage_storage=storage, locations="shared",
                dtype="float32", backend="python", **options,
            )  # fmt: skip
            solver.prepare(np.ones(n), args=(8.0,))
            bytes_of.append(solver.plan.shared_bytes_per_run)
        assert bytes_of == list(map(int, told.split(", "))), (steps, method, storage)


# ---- which storage there is --------------------------------------------------------


def algorithm_of(method, **options):
    """The class that steps are made by."""
    solver = solver_of(method, "oscillator", options.pop("stage_storage", "auto"), **options)
    solver.prepare(np.ones(2), args=(1.0, 0.2))
    return type(solver.kernel.integrator.algorithm)


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("carpenter_kennedy43", {}, LowStorageStep),
        ("carpenter_kennedy43", {"stage_storage": "vectors"}, ERKStep),
        ("williamson32", {}, LowStorageStep),
        ("williamson32", {"dense_output": True}, ERKStep),
        ("williamson32", {"summaries": {0: "max"}}, ERKStep),
        ("williamson32", {"events": lambda t, y, *p: y[0]}, ERKStep),
        ("heun", {}, ERKStep),
        ("heun", {"stage_storage": "low_storage"}, LowStorageStep),
        ("tsit5", {"stage_storage": "vectors"}, ERKStep),
    ],
)
def test_what_is_chosen(method, options, expected):
    """Sums, of methods that were made for them, unless something is read off the stages."""
    assert algorithm_of(method, **options) is expected


def test_times_are_landed_on():
    """There are no stages to read them off; with vectors they change no step."""
    times = np.linspace(0.0, 1.0, 21)
    found = {}
    for storage in ("auto", "vectors"):
        solver = solver_of("carpenter_kennedy43", "oscillator", storage)
        plain, found[storage] = (
            solve(solver, "oscillator"),
            solve(solver, "oscillator", t_eval=times),
        )
        more = found[storage].n_steps - plain.n_steps
        assert (more > 5).all() if storage == "auto" else (more == 0).all()
    exact = solve(solver_of("dop853", "oscillator", "auto", rtol=1e-10), "oscillator", t_eval=times)
    for result in found.values():
        np.testing.assert_allclose(result.y, exact.y, atol=3e-5)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (
            "tsit5", {"stage_storage": "two"},
            "`stage_storage` is 'two', but must be one of 'auto', 'vectors', 'low_storage'",
        ),
        (
            "rodas5p", {"stage_storage": "vectors"},
            "`stage_storage` is 'vectors'. `rodas5p` is no explicit Runge-Kutta method: leave it "
            "out.",
        ),
        (
            "tsit5", {"stage_storage": "low_storage"},
            "`stage_storage` is 'low_storage'. `tsit5` has no form in two vectors; methods that "
            "have are 'euler', 'heun', 'midpoint', 'ralston', 'williamson32', "
            "'carpenter_kennedy43'.",
        ),
        (
            "williamson32", {"stage_storage": "low_storage", "dense_output": True},
            "`stage_storage` is 'low_storage'. `dense_output`, `summaries` and events that are "
            "located are read off the stages of a step, which it does not keep: leave it out.",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(method, options, message):
    """What was given, what is allowed, what to do."""
    with pytest.raises(InvalidOption, match=re.escape(message)):
        algorithm_of(method, **options)


def test_a_place_of_the_other_storage_is_told():
    """A buffer that only the other storage has, by the choice that has it."""
    with pytest.raises(Exception, match="stage_storage='vectors'"):
        algorithm_of("carpenter_kennedy43", stage_accumulator_location="shared")
    with pytest.raises(Exception, match="carpenter_kennedy43"):
        algorithm_of("tsit5", stage_sum_location="shared")


# ---- right-hand sides that are added -----------------------------------------------


@pytest.mark.parametrize("name", ["oscillator", "ring", "network"])
def test_what_is_added_is_the_right_hand_side(name):
    """To a multiple of what is there, of text, of loops and of products; the text is arithmetic."""
    system, n = SYSTEMS[name]
    traced = trace(system, n, (0.7, 0.2))
    assert ("for " in traced.source) == (name != "oscillator")
    assert bool(traced.n_common) == (name == "network")
    source = added(traced.source)
    assert is_arithmetic(source)
    rng = np.random.default_rng(0)
    y, before, p = rng.normal(size=n), rng.normal(size=n + 3), np.array([0.7, 0.2])
    common = (np.empty(traced.n_common),) if traced.n_common else ()
    derivative, sums = np.zeros(n), before.copy()
    traced.module.rhs(0.3, y, p, *common, derivative, 0)
    load_module(source).rhs(0.3, y, p, *common, sums, 2, -1.5)
    np.testing.assert_allclose(sums[2:-1], derivative - 1.5 * before[2:-1], rtol=1e-13, atol=1e-15)
    assert (sums[:2] == before[:2]).all()
    assert sums[-1] == before[-1]


def test_text_that_reads_what_it_stores_is_refused():
    """What was added before would be read as a derivative."""
    source = "def rhs(t, y, p, dy, at):\n    dy[at + 0] = y[0]\n    dy[at + 1] = dy[at + 0]\n"
    with pytest.raises(ValueError, match="`rhs` reads `dy`"):
        added(source)


def test_untraced_functions_say_so():
    """The warning is the same as with other methods."""
    with pytest.warns(UntracedWarning):
        solve(solver_of("williamson32", "halvings", "auto"), "halvings")
