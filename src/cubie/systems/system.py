"""A system of equations, ready for a backend to compile."""

import re
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from attrs import Factory, field, frozen

from cubie.systems.batch import parameter_columns
from cubie.systems.drivers.interpolant import Driver
from cubie.systems.generated import load_module, names_in

_N_COMMON = re.compile(r"^RHS_COMMON = (\d+)$", re.MULTILINE)
# Python writes numbers so from 1e16 on and below 1e-4: all others are numbers in any dtype.
_WITH_EXPONENT = re.compile(r"(?<![\w.])[\d.]+e[+-]\d\d+")


@frozen
class Input:
    """One number that a solution is differentiated by.

    Attributes
    ----------
    name : str
    is_initial : bool
        It is an initial state, and no parameter.
    number : int
        Of the state, or of the parameter.
    """

    name: str
    is_initial: bool
    number: int


@frozen
class Joint:
    """Which of the states of a system are sensitivities: those behind the states of its base.

    State ``n (1 + k) + i`` is the derivative of state i by input k, times the size of that input.

    Attributes
    ----------
    base : System
        Of the n states alone.
    inputs : tuple of Input
    jumps : bool
        The equations may jump where states or inputs decide.
    of_directions : bool
        They are no derivatives by inputs, but directions that Lyapunov exponents are found with:
        as derivatives by initial states are, but from other values on.
    rates : System, optional
        Of a base that cannot be traced: what is added to the right-hand sides of sensitivities, of
        derivatives that the user gave.
    """

    base: "System"
    inputs: tuple[Input, ...]
    jumps: bool = False
    of_directions: bool = False
    rates: "System | None" = None

    @property
    def n_blocks(self) -> int:
        """How often there are n states: themselves, and once for each input."""
        return 1 + len(self.inputs)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the inputs."""
        return tuple(one.name for one in self.inputs)


@frozen
class System:
    """The right-hand side of one system, as a generated module.

    Attributes
    ----------
    n_states, n_parameters : int
        Sizes of the buffers `y` and `p`.
    kind : {"traced", "compiled"}
        "traced": `rhs` is straight-line code over the states. "compiled": the function could not
        be traced; it is called as it stands, and `note` says why.
    source, path, digest : str, Path, str
        The generated module, where it is kept if it can be, and a hash of all that it computes.
    state_names, parameter_names : tuple of str
        One a slot.
    n_outputs : int
        How many numbers `rhs` writes: those of states have one each, observables any number.
    output_names : tuple of str
        One an output; the states' own of derivatives.
    note : str
        A sentence about the way taken; of a traced system, about what runs leave undone.
    function : callable
        For a compiled system: what a backend must compile and hand to `adapt`.
    constants : tuple
        For a compiled system: the entries of `args` that are no numbers.
    samples : tuple of (t, y, p)
        For a compiled system: where to compare what was compiled with `function`.
    mass : tuple of rows, optional
        The constant matrix M of M y' = f(t, y); None is the identity.
    jacobian_rows : tuple of System
        For a compiled system: the rows of the user's Jacobian, where that could be traced.
    jacobian_note : str
        What became of the user's Jacobian.
    parameter_columns : tuple of (int, System)
        For a compiled system: the user's derivatives by parameters, and of which, where those
        could be traced.
    parameter_note : str
        What became of them.
    jacobian_is_given : bool
        It is a matrix of numbers, which nothing has to evaluate.
    sparsity : tuple of (int, int), optional
        For a compiled system without a Jacobian: row and column of what may differ from zero in
        it, column after column; None is everything.
    output : str
        How messages call output ``{}`` of a compiled system.
    joint : Joint, optional
        Where there are sensitivities among the states: which ones, and of what system.
    baked : tuple of int
        Slots of parameters that were given as ints and stand in the code as numbers: `fun` counts
        with them, indexes by them, or asks how large they are.
    drivers : tuple
        Of each driver that a traced system calls where it is: the driver, or where it stands in
        `args`, a path of keys.
    """

    n_states: int
    n_parameters: int
    kind: str
    source: str = field(repr=False)
    path: Path
    digest: str
    state_names: tuple[str, ...] = field(repr=False)
    parameter_names: tuple[str, ...] = field(repr=False)
    note: str = ""
    function: Callable[..., Any] | None = field(default=None, eq=False, repr=False)
    constants: tuple = field(default=(), eq=False, repr=False)
    samples: tuple = field(default=(), repr=False, eq=False)
    mass: tuple[tuple[float, ...], ...] | None = field(default=None, repr=False)
    jacobian_rows: "tuple[System, ...]" = field(default=(), repr=False)
    jacobian_note: str = field(default="", repr=False)
    jacobian_is_given: bool = field(default=False, repr=False)
    parameter_columns: "tuple[tuple[int, System], ...]" = field(default=(), repr=False)
    parameter_note: str = field(default="", repr=False)
    sparsity: tuple[tuple[int, int], ...] | None = field(default=None, repr=False)
    output: str = field(default="the derivative of state {}", repr=False)
    drivers: tuple = field(default=(), eq=False, repr=False)
    baked: tuple[int, ...] = field(default=(), repr=False)
    joint: "Joint | None" = field(default=None, repr=False)
    n_outputs: int = field(default=Factory(lambda self: self.n_states, takes_self=True))
    output_names: tuple[str, ...] = field(
        default=Factory(lambda self: self.state_names, takes_self=True), repr=False
    )

    @property
    def module(self):
        """The generated module, made of its text on first use."""
        return load_module(self.source, self.path)

    @cached_property
    def reads_time(self) -> bool:
        """Whether the derivative depends on t; True where that cannot be seen."""
        if self.kind == "compiled":
            return True
        names = names_in(self.source)
        return names is None or "t" in names or bool(self.driven)

    @property
    def driven(self) -> tuple[int, ...]:
        """The numbers of the drivers that are called with the time itself."""
        return self.module.RHS_DRIVEN if self.drivers else ()

    @cached_property
    def n_common(self) -> int:
        """How many values `rhs` computes for several rows, and keeps until it returns."""
        if self.kind == "compiled":
            rates = None if self.joint is None else self.joint.rates
            return 0 if rates is None else rates.n_common
        found = _N_COMMON.search(self.source)
        return int(found[1]) if found else 0

    @property
    def structures(self) -> tuple[tuple[int, bool, bool], ...]:
        """What code depends on of each driver; see `Pieces.structure`."""
        return self.module.DRIVERS if self.drivers else ()

    def has_breaks(self, given: Mapping[tuple, Driver] | None) -> bool:
        """Tell whether a driver that is called with the time itself jumps, or has a kink."""
        drivers = self.drivers_of(given)
        return any(len(drivers[number].breaks) for number in self.driven)

    def drivers_of(self, given: Mapping[tuple, Driver] | None) -> tuple[Driver, ...]:
        """Return the drivers of a solve; `given` are those in its args, by where they stand."""
        return tuple(
            (given or {})[source] if isinstance(source, tuple) else source
            for source in self.drivers
        )

    @cached_property
    def far_constants(self) -> np.ndarray:
        """The very large and very small numbers that stand in the traced equations.

        Without the largest of all, which bounds what it is compared with as infinity does.
        """
        if self.kind == "compiled":  # calculates in double precision
            return np.zeros(0)
        values = set(map(float, _WITH_EXPONENT.findall(self.source)))
        return np.array(sorted(values - {sys.float_info.max}))

    @property
    def rhs(self):
        """`rhs(t, y, p, dy, at)`: writes the derivative of state i to `dy[at + i]`.

        Where drivers are called it is `rhs(t, y, p, d, dy, at)`, see `cubie.systems.drivers.calls`.
        Where rows have values in common, `_common` comes before `dy`: `n_common` numbers, written
        before they are read.

        `y` and `p` are read by int index only; nothing is returned.
        """
        if self.kind == "compiled":
            return self.adapt(self.function, np.array, _read_only)
        return self.module.rhs

    def adapt(self, function, pack, keep):
        """Return `rhs(t, y, p, dy, at)` around a compiled form of `function`.

        Parameters
        ----------
        function : callable
            `self.function`, compiled by the backend.
        pack : callable
            Makes, from a tuple of numbers, what `function` gets for the state: `np.array`.
        keep : callable
            The same for each vector parameter, which must not be written to.
        """
        if self.kind != "compiled":
            raise TypeError("a traced system has its own `rhs`; there is nothing to adapt")
        return self.module.build(function, pack, keep, self.constants)

    def parameters(self, args, n_runs=None):
        """Return the parameters of all runs, (n_parameters, n_runs), or (n_parameters, 1).

        Parameters
        ----------
        args : tuple
            Like the `args` that were traced; arrays may have a leading axis of `n_runs` runs.
        n_runs : int, optional
            Number of runs; None when no entry is swept.
        """
        columns = parameter_columns(args, n_runs)
        if len(columns) != self.n_parameters:
            raise ValueError(
                f"args hold {len(columns)} numbers a run, but this system was traced with "
                f"{self.n_parameters} ({', '.join(self.parameter_names)})."
            )
        return columns


def _read_only(numbers):
    array = np.array(numbers)
    array.flags.writeable = False
    return array
