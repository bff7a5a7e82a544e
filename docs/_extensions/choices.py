"""Every component that some choice of method, controller and linear solver has.

It knows nothing of Sphinx: the tests of the pages walk the same components.
"""

from collections.abc import Iterator

from cubie.controllers import CONTROLLERS
from cubie.factory import CUDAFactory
from cubie.integrator import RunSettings, Shape, SingleIntegratorRun, algorithm_for
from cubie.other_choices import FAMILIES
from cubie.run.saving import SaveMode
from cubie.run.summaries.request import read_summaries
from cubie.solvers import LINEAR_SOLVERS
from cubie.systems.events.given import Rule, Rules
from cubie.tableaus import ERKTableau, get_method


def _integrators() -> Iterator[SingleIntegratorRun]:
    """Yield one integrator of each family with each linear solver, and with each controller."""
    for kind, (_, method) in FAMILIES.items():
        for solver in (None,) if kind is ERKTableau else LINEAR_SOLVERS:
            chosen = {} if solver is None else {"linear_solver": solver}
            if solver not in (None, "lu"):
                chosen["preconditioner"] = "ilu0"
            chosen_method = get_method(method)
            controller = None if chosen_method.controls_steps else "pid"
            settings = RunSettings(chosen_method, controller)
            yield SingleIntegratorRun(Shape(), settings, "float64", chosen)
    low_storage = RunSettings(get_method("carpenter_kennedy43"))
    yield SingleIntegratorRun(Shape(), low_storage, "float64", {})
    for name in CONTROLLERS:
        yield SingleIntegratorRun(Shape(), RunSettings(get_method("tsit5"), name), "float64", {})
    differentiated = RunSettings(get_method("rodas5p"), "pid", differentiates=True)
    yield SingleIntegratorRun(Shape.of(differentiated), differentiated, "float64", {})
    # Last: of each class of components one is looked at, and these have all buffers.
    bdf, single = RunSettings(get_method("bdf")), {"factor_dtype": "float32"}
    yield SingleIntegratorRun(Shape(), bdf, "float64", single)
    complete = RunSettings(
        get_method("tsit5"), save_mode=SaveMode.TIMES, observes=True,
        summaries=read_summaries({0: "max", "y": "lyapunov"}),
        events=Rules((Rule(1, 0, False, True),)),
    )  # fmt: skip
    yield SingleIntegratorRun(Shape(), complete, "float64", {})


def components() -> dict[type[CUDAFactory], CUDAFactory]:
    """Return one of every component, by class."""
    return {type(part): part for run in _integrators() for part in run.loop.walk()}


def places_of_buffers() -> dict[str, list[str]]:
    """Return the `{buffer}_location` options by the name of the component."""
    found: dict[str, list[str]] = {}
    for part in components().values():
        own = found.setdefault(part.name, [])
        options = (buffer.option for buffer in part.buffer_registry.buffers.values())
        own += [option for option in options if option not in own]
    return {name: own for name, own in found.items() if own}


def controllers() -> list[tuple[str, str, str]]:
    """Return each controller: its name, what it does, and the families whose default it is."""
    defaults: dict[str, list[str]] = {}
    for family, method in FAMILIES.values():
        if get_method(method).controls_steps:
            continue
        chosen = algorithm_for(get_method(method)).default_controller
        defaults.setdefault(chosen, []).append(family)
    return [
        (name, (controller.__doc__ or "").splitlines()[0], ", ".join(defaults.get(name, ())))
        for name, controller in CONTROLLERS.items()
    ]
