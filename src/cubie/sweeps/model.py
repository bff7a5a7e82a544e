"""The model of a sweep: all that a run is computed from, as data, but for its place in the sweep.

It is made once, where the right-hand side is; workers and later processes make kernels of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import evolve, field, frozen

from cubie.factory import BuildCache
from cubie.integrator import RunSettings, SingleIntegratorRun
from cubie.launch.clocks import Span
from cubie.launch.kernel import BatchSolverKernel
from cubie.launch.prepared import PreparedSolve
from cubie.launch.results import Result
from cubie.launch.summaries import Window
from cubie.problem import Systems
from cubie.run.saving import SaveMode
from cubie.settings import SolverSettings
from cubie.sweeps.places import Place
from cubie.systems import Batch
from cubie.systems.drivers.interpolant import Driver
from cubie.tableaus import known_method


@frozen(eq=False)
class Model:
    """Everything but the values of axes.

    Attributes
    ----------
    systems : Systems
        What runs compute.
    run_settings : RunSettings
    options : mapping
        Of components.
    settings : SolverSettings
        Those that say for which target, and how, kernels are compiled, and where buffers live.
    dtype : str
    rtol, atol : ndarray
        See `PreparedSolve`, as those that follow.
    max_step, min_step, first_step : float
    max_steps : int
    small : bool
        There are few runs in all: how they are grouped does not depend on the size of chunks.
    start : ndarray (n_states,)
        Initial state of a run, where no axis changes it.
    parameters : ndarray (n_parameters,)
        The same of parameters.
    span : (float, float)
    times : ndarray or None
        `t_eval`.
    drivers : tuple of (path, Driver)
    constants : tuple of (path, value)
        What of args stands in the code.
    places : tuple of Place
        Where the values of axes go.
    state_names : tuple of str
        As users call the states: those of a mapping `y0`, of equations, or y0, y1, ...
    summary_names : tuple of (name, name)
        What summaries are asked for by, of states with names that the solver does not know.
    """

    systems: Systems
    run_settings: RunSettings
    options: Mapping[str, Any]
    settings: SolverSettings
    dtype: str
    rtol: np.ndarray
    atol: np.ndarray
    max_step: float
    min_step: float
    first_step: float
    max_steps: int
    small: bool
    start: np.ndarray
    parameters: np.ndarray
    span: Span
    times: np.ndarray | None
    drivers: tuple[tuple[tuple, Driver], ...]
    constants: tuple[tuple[tuple, Any], ...]
    places: tuple[Place, ...]
    state_names: tuple[str, ...]
    summary_names: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    window: Window | None = None
    breakpoints: np.ndarray | None = None
    in_pairs: bool = False
    named: bool = False
    events_asked: bool = False
    event_room: int | None = 0
    _prepared: list[PreparedSolve] = field(factory=list, init=False, repr=False)

    @property
    def mode(self) -> SaveMode:
        """Which points are kept."""
        return self.run_settings.save_mode

    @property
    def has_own_spans(self) -> bool:
        """Whether runs differ in when they start or end."""
        return any(place.of in ("t_start", "t_end") for place in self.places)

    @property
    def prepared(self) -> PreparedSolve:
        """The kernel and what it is handed, made on first use."""
        if not self._prepared:
            self._prepared.append(self._make())
        return self._prepared[0]

    def require_whole(self) -> None:
        """Refuse numbers that are not as many as kernels read, of a model that comes from a store.

        Raises
        ------
        ValueError
        """
        systems = self.systems.all()
        states, m = systems[0], max(system.n_parameters for system in systems)
        # Tolerances are of directions beside the states, too.
        n = states.n_states if states.joint is None else states.joint.base.n_states
        of_state = [(1,), (states.n_states,)]
        wrong = {
            "start": self.start.shape != (n,),
            "parameters": self.parameters.shape != (m,),
            "rtol": self.rtol.shape not in of_state,
            "atol": self.atol.shape != self.rtol.shape,
            "state_names": len(self.state_names) != (n // 2 if self.in_pairs else n),
        }
        for name, is_wrong in wrong.items():
            if is_wrong:
                raise ValueError(f"its {name} is of another size, and there are {n} states.")
        for place in self.places:
            size = {"state": n, "parameter": m}.get(place.of, 0)
            if not all(0 <= slot < size for slot in place.slots):
                raise ValueError(f"{place.name!r} goes where there is nothing.")

    def _make(self) -> PreparedSolve:
        settings, systems, dtype = self.settings, self.systems, np.dtype(self.dtype)
        backend = settings.make_backend(dtype, systems.all(), self.run_settings, self.small)
        of_run = (self.run_settings, dtype, self.options, systems.observables, systems.events)
        integrator = SingleIntegratorRun(systems.states, *of_run, backend.form_costs)
        kernel = BatchSolverKernel(integrator, settings.config(backend), backend, BuildCache())
        return PreparedSolve(
            kernel=kernel,
            system=systems.states,
            observables=systems.observables,
            mode=self.mode,
            dtype=dtype,
            rtol=self.rtol,
            atol=self.atol,
            max_step=self.max_step,
            max_steps=self.max_steps,
            notes=self.notes,
            window=self.window,
            breakpoints=self.breakpoints,
            in_pairs=self.in_pairs,
            named=self.named,
            min_step=self.min_step,
            events=systems.events,
            events_asked=self.events_asked,
            event_room=self.event_room,
            warns=False,  # chunk by chunk: a sweep tells of all
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the kernel: whoever gets the model makes, or finds on disk, its own."""
        return {name: getattr(self, name) for name in _FIELDS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        method = known_method(state["settings"].method)
        state["settings"] = evolve(state["settings"], method=method)
        state["run_settings"] = evolve(state["run_settings"], method=method)
        for name, value in state.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_prepared", [])

    def solve(self, values: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> Result:
        """Solve runs.

        Parameters
        ----------
        values : mapping of name to ndarray
            Of each axis, broadcasting to `shape`.
        shape : tuple of int
            Of the runs, in C order.

        """
        n_runs = int(np.prod(shape))
        start, end = self._times(values, shape, 0), self._times(values, shape, 1)
        if self.has_own_spans:
            start, end = (np.broadcast_to(one, n_runs).astype(float) for one in (start, end))
        span = start, end
        of_runs = {"n_runs": n_runs, "args": (), "swept": (), "in_rows": True}
        batch = Batch(
            y0=self._columns(self.start, "state", values, shape),
            parameters=self._columns(self.parameters, "parameter", values, shape),
            drivers=dict(self.drivers),
            constants=dict(self.constants),
            span=span,
            **of_runs,
        )
        return self.prepared.run(batch, span, self.times, self.first_step)

    def _times(self, values: Mapping[str, np.ndarray], shape: tuple[int, ...], i: int) -> Any:
        for place in self.places:
            if place.of == ("t_start", "t_end")[i]:
                return np.broadcast_to(values[place.name], shape).reshape(-1)
        return self.span[i]

    def _columns(
        self, usual: np.ndarray, of: str, values: Mapping[str, np.ndarray], shape: tuple[int, ...]
    ) -> np.ndarray:
        """Return the numbers of all runs, (n, n_runs), or (n, 1) where all have the same."""
        places = [place for place in self.places if place.of == of]
        if not places:
            return usual.reshape(-1, 1)
        columns = np.empty((len(usual), int(np.prod(shape))))
        columns[:] = usual[:, None]
        for place in places:
            given: Any = values[place.name]
            parts = (given.real, given.imag) if len(place.slots) == 2 else (given,)
            for slot, part in zip(place.slots, parts, strict=True):
                columns[slot].reshape(shape)[...] = part
        return columns


_FIELDS = tuple(name for name in Model.__annotations__ if not name.startswith("_"))
