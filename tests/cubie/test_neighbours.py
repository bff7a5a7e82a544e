"""What a run gives must not depend on who is solved next to it, in which lane, or what was before.

Every configuration solves one mixed batch: mild and stiff runs, runs that blow up, turn NaN, or
run out of steps. Each run is then solved alone, in another order, among copies of itself, and
again with the same solver; every bit of what is reported must stay.
"""

import itertools
import random

import numpy as np
import pytest

from cubie import Solver
from cubie.controllers import CONTROLLERS
from cubie.solvers import LINEAR_SOLVERS
from cubie.solvers.preconditioners import PRECONDITIONERS
from cubie.tableaus import all_methods
from cubie.tableaus.kinds import ERKTableau, RosenbrockTableau
from cubie.tableaus.two_methods import SwitchingMethod

SPAN, SPECIAL_TIMES = (0.0, 2.0), (0.3, 0.31, 1.0, 1.7)
# Damping, strength of a quadratic growth, and time^-1 after which the equations give NaN.
MU = np.array([1.0, 4.0, 60.0, 900.0, 2.0, 30.0, 0.5, 1.0, 8.0, 5.0, 300.0, 0.1, 3.0])
GROWTH = np.array([0.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.3, 0.0])
BREAK = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.8, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0])
START = np.array([2.0, 0.1])
REPORTED = (
    "status", "n_steps", "n_rejected", "nfev", "njev", "nlu", "n_newton", "n_linear", "t_reached",
)  # fmt: skip


def mixed(t, y, mu, growth, end):
    """Van der Pol's oscillator, with a quadratic growth and a logarithm that may end it."""
    a, b = y
    return [b + growth * a * a, mu * ((1.0 - a * a) * b - a) + np.log(1.0 - end * t)]


def four_sizes(t, y, mu, growth, end):
    """The same oscillator between a state that follows fast and one that is a million times larger.

    Rates are from 1e-6 to 1e6, and each state asks an iterative solver for another product.
    """
    a, b, c, d = y
    return [
        1e3 * mu * (b * c - a),
        c + growth * b * b - 1e-6 * d,
        mu * ((1.0 - b * b) * c - b) + 0.1 * (a - b * c) + np.log(1.0 - end * t),
        1e6 * b - 1e-6 * d + 10.0 * a,
    ]


STARTS = {mixed: START, four_sizes: np.array([0.2, 2.0, 0.1, 1e3])}


def configurations():
    """Yield all combinations of what a solver may be asked for, as keyword arguments."""
    for name, tableau in all_methods().items():
        explicit = isinstance(tableau, ERKTableau)
        controllers = list(CONTROLLERS) if tableau.has_error_estimate else ["fixed"]
        if tableau.controls_steps:
            controllers = [None]
        linear = [{}]
        if not explicit:
            linear = [{"linear_solver": "lu"}] + [
                {"linear_solver": solver, "preconditioner": preconditioner}
                for solver in LINEAR_SOLVERS
                if solver != "lu"
                for preconditioner in PRECONDITIONERS
            ]
            if not isinstance(tableau, (RosenbrockTableau, SwitchingMethod)):
                linear.append({"linear_solver": "lu", "jacobian_reuse": True})
        axes = itertools.product(
            controllers, linear, ("float64", "float32"), (1, 2, 8, 16, None), (False, True),
            ("final", "times", "exact times", "steps"),
        )  # fmt: skip
        for controller, solver, dtype, lanes, fastmath, save in axes:
            # Groups of other widths are other code, which fast-math may round otherwise.
            if lanes is None and fastmath:
                continue
            yield {
                "method": name, "step_controller": controller, "dtype": dtype, "lanes": lanes,
                "fastmath": fastmath, "save": save, **solver,
            }  # fmt: skip


ALL = list(configurations())
SAMPLE = random.Random(20261128).sample(ALL, 1000)


def met_by(configuration):
    """Return each choice of a configuration, and what its family meets in it.

    That is what the family's code is made for: a dtype, one lane or a group, steps that are given
    or chosen, matrices that are factorised or products with them.
    """
    family = type(all_methods()[configuration["method"]]).__name__
    choices = {(name, value) for name, value in configuration.items() if name != "method"}
    alone, given = configuration["lanes"] == 1, configuration["step_controller"] == "fixed"
    own = {("lanes", alone), ("steps", given), ("chosen in a group", not (alone or given))}
    if "linear_solver" in configuration:
        own.add(("factors", configuration["linear_solver"] == "lu"))
        own.add(("kept", configuration.get("jacobian_reuse", False)))
    return choices | {(family, *each) for each in own | {("dtype", configuration["dtype"])}}


def covering(configurations, meets):
    """Return some of them that meet whatever is met in all of them."""
    left, chosen = set().union(*map(meets, configurations)), []
    while left:
        chosen.append(max(configurations, key=lambda each: len(left & meets(each))))
        left -= meets(chosen[-1])
    return chosen


def scaled_configurations():
    """Yield configurations of methods with matrices, for states of four sizes."""
    solvers = [("lu", None), *itertools.product(("bicgstab", "gmres"), PRECONDITIONERS)]
    methods = ["rodas5p", "rosenbrock23", "kvaerno3", "radau_iia_5", "bdf", "auto"]
    axes = itertools.product(
        methods, solvers, ("float64", "float32"), (2, 8, 16, None), (False, True)
    )
    for name, (solver, preconditioner), dtype, lanes, fastmath in axes:
        if lanes is None and fastmath:
            continue
        chosen = {"preconditioner": preconditioner} if preconditioner else {}
        controller = None if all_methods()[name].controls_steps else "pi"
        yield {
            "method": name, "step_controller": controller, "dtype": dtype, "lanes": lanes,
            "fastmath": fastmath, "save": "times", "linear_solver": solver, **chosen,
        }  # fmt: skip


def met_by_solver(configuration):
    """Return what a linear solver and the method around it meet in a configuration."""
    family = type(all_methods()[configuration["method"]]).__name__
    solver = configuration["linear_solver"]
    # Fast-math regroups long sums of wide groups: where no preconditioner makes bases short.
    is_plain = configuration.get("preconditioner") in (None, "none", "jacobi")
    regrouped = is_plain and configuration["fastmath"] and configuration["lanes"] >= 8
    own = {(solver, configuration["dtype"]), (solver, "regrouped", regrouped)}
    more = {(name, configuration.get(name)) for name in ("preconditioner", "method", "lanes")}
    return own | more | {(family, solver == "lu")}


FEW = covering(SAMPLE, met_by)
SCALED = random.Random(20261130).sample(list(scaled_configurations()), 200)
FEW_SCALED = covering(SCALED, met_by_solver)
REST = [configuration for configuration in SAMPLE if configuration not in FEW]


def solver_of(configuration, fun=mixed):
    """Return a solver and the arguments of its solves."""
    options = dict(configuration)
    save = options.pop("save")
    times = SPECIAL_TIMES if save.endswith("times") else None
    options["t_eval_exact"] = save.startswith("exact")
    if times is None:
        options["save"] = configuration["save"]
    if options["step_controller"] == "fixed":
        options["first_step"] = 0.05
    # Enough for mild runs, too few for the stiffest by explicit methods.
    steps = 600 if all_methods()[options["method"]].order <= 2 else 100
    if options["lanes"] is None:
        del options["lanes"]
    solver = Solver(fun, backend="cpu", rtol=1e-4, atol=1e-6, max_steps=steps, **options)
    return solver, times


def facts_of(result, run):
    """Return all that a result says of one run, as bytes."""
    y = result.y[run]
    facts = {name: np.asarray(getattr(result, name)[run]).tobytes() for name in REPORTED}
    if result.t.ndim == 2:
        kept = np.isfinite(result.t[run])
        facts["t"] = result.t[run][kept].tobytes()
        y = y[:, kept]
    facts["y"] = np.ascontiguousarray(y).tobytes()
    return facts


def differences(configuration, fun=mixed):
    """Return what a run says otherwise in other company: (company, run, names)."""
    solver, times = solver_of(configuration, fun)
    dtype = configuration["dtype"]

    def solve(chosen):
        args = tuple(values[chosen] for values in (MU, GROWTH, BREAK))
        return solver.solve(SPAN, STARTS[fun].astype(dtype), times, args=args)

    everybody = np.arange(MU.size)
    together = [facts_of(solve(everybody), run) for run in everybody]
    shuffled = random.Random(1).sample(list(everybody), MU.size)
    companies = {
        "alone": [np.array([run]) for run in everybody],
        "shuffled": [np.array(shuffled)],
        "many": [np.tile(everybody, 5)],
        "copies": [np.full(11, 3), np.full(7, 7)],
        "again": [everybody],
    }
    found = []
    for company, batches in companies.items():
        for chosen in batches:
            result = solve(chosen)
            for place, run in enumerate(chosen):
                facts = facts_of(result, place)
                names = [name for name, value in facts.items() if value != together[run][name]]
                if names:
                    found.append((company, int(run), names))
    return found


def assert_mixed(configuration, fun=mixed):
    """Runs end in different ways, and take different steps: else nothing is compared."""
    tableau = all_methods()[configuration["method"]]
    solver, times = solver_of(configuration, fun)
    start = STARTS[fun].astype(configuration["dtype"])
    result = solver.solve(SPAN, start, times, args=(MU, GROWTH, BREAK))
    assert {0} < set(result.status)
    # Steps of one size differ in number only where runs end early.
    assert len(set(result.n_steps)) > (1 if configuration["step_controller"] == "fixed" else 3)
    direct = (ERKTableau, RosenbrockTableau, SwitchingMethod)  # no method of Newton's
    implicit = not isinstance(tableau, direct)
    assert (len(set(result.n_newton)) > 3) == implicit


def identity(configuration):
    """Return a short name of a configuration."""
    return "-".join(str(value) for value in configuration.values())


@pytest.mark.parametrize("configuration", FEW, ids=identity)
def test_a_run_does_not_depend_on_its_neighbours(configuration):
    """Each family, controller, solver, dtype, width and output: no bit depends on others.

    What lanes share is the loop's, the family's step and its solvers; the tableau is constants.
    """
    assert_mixed(configuration)
    assert differences(configuration) == []


@pytest.mark.parametrize("configuration", FEW_SCALED, ids=identity)
def test_states_of_four_sizes_do_not_depend_on_neighbours(configuration):
    """Each linear solver and preconditioner with bases and sums longer than two states have."""
    assert_mixed(configuration, four_sizes)
    assert differences(configuration, four_sizes) == []


@pytest.mark.every_config
@pytest.mark.parametrize("configuration", SCALED, ids=identity)
def test_states_of_four_sizes_never_depend_on_neighbours(configuration):
    assert differences(configuration, four_sizes) == []


@pytest.mark.every_config
@pytest.mark.parametrize("configuration", REST, ids=identity)
def test_a_run_never_depends_on_its_neighbours(configuration):
    """A thousand configurations, with the ones above: no bit of a run depends on the others."""
    assert differences(configuration) == []


def other_methods():
    """Yield a configuration of each method that those above leave out."""
    used = {configuration["method"] for configuration in FEW}
    for name, tableau in all_methods().items():
        if name not in used:
            controller = "pi" if tableau.has_error_estimate else "fixed"
            yield {
                "method": name, "step_controller": controller, "dtype": "float64", "lanes": None,
                "fastmath": False, "save": "times",
            }  # fmt: skip


@pytest.mark.every_config
@pytest.mark.parametrize("configuration", list(other_methods()), ids=identity)
def test_the_mixed_batch_is_mixed(configuration):
    """Whatever the method; of those above the comparison itself looks."""
    assert_mixed(configuration)
