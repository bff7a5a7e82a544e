"""What every target offers to the code that builds components.

A :class:`Backend` turns plain component functions into callables of its target,
makes the allocators a plan asks for, and launches the kernel. Nothing outside
this package knows which target it is.
"""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from cubie.backend.arrays import KernelInputs, KernelOutputs, OutputBlock, OutputLayout
from cubie.backend.form_costs import OF_LANES, FormCosts
from cubie.backend.groups import Parts, Rows
from cubie.backend.machine import n_threads
from cubie.backend.portions import Portions, Spent
from cubie.backend.register_limits import NO_LIMITS, RegisterLimits
from cubie.backend.run_memory import RunMemory
from cubie_planner import Placement

SOURCE = "__source__"  # the global under which a generated module holds its own text


def _itself(number):
    return number


def _never(queue):
    return False


def _nothing_spent(queue, attempts):
    return False


class Backend(ABC):
    """One target: how component functions are compiled, allocated for and launched."""

    name: str
    width: int = 1  # runs per group, in lockstep
    watches_phases: bool = False  # whether `phase` does anything
    # Whether single runs, too, take fixed steps without a look at each: `cubie.run.free_steps`.
    runs_go_unjudged: bool = False
    form_costs: FormCosts = OF_LANES  # by which forms of factorisations are chosen
    has_own_memory: bool = False  # whether kernels work in memory that is not the host's
    # Whether of each number that is kept at given times all points of a run lie in a row: `rows`.
    # Not where kernels have memory of their own, whose portions are columns of runs.
    keeps_rows: bool = False
    asks_assembler: bool = False  # whether what a plan becomes can be read, and matters
    sliced: bool = False  # whether a launch may end in the middle of runs: `cubie.backend.slices`

    def __init__(self, dtype, fastmath: bool):
        self.dtype = np.dtype(dtype)
        self.fastmath = fastmath

    @property
    def compilers(self) -> tuple[str, ...]:
        """Versions of what makes machine code of a kernel, where `asks_assembler`."""
        return ()

    @property
    def compute_capability(self) -> tuple[int, int] | None:
        """Of the GPU that kernels are launched on; None where there is none."""
        return None

    @property
    def card(self) -> str | None:
        """Name of that GPU, where its data sheet is known."""
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """What users should know of that GPU."""
        return ()

    @property
    def max_shared_bytes(self) -> int | None:
        """Shared memory a block may use there; None where nothing limits it."""
        return None

    @property
    def most_bytes_in_stack(self) -> int | None:
        """Bytes of a run that a thread's stack may hold where nobody says so; None: any number.

        What has more lies in one piece of memory that the kernel owns: as shared memory does.
        """
        return None

    @property
    def most_local_bytes(self) -> int | None:
        """Bytes of local memory that a run can have at all; None: any number.

        What has more lies in global memory as far as "auto" decides.
        """
        return None

    def require_room(self, memory: RunMemory) -> None:  # noqa: B027  # most targets need not look
        """Raise `OutOfMemory` for what cannot be held, before it is compiled."""

    def require_device(self) -> None:  # noqa: B027  # most targets are where Python is
        """Raise `NoDevice` where the one that runs are solved on is not here."""

    @property
    def runs_at_once(self) -> int:
        """How many runs are worked on together."""
        return self.width * n_threads()

    @property
    def key(self) -> tuple:
        """What distinguishes code compiled for this backend from code for another."""
        return (self.name, self.dtype.name, self.fastmath, self.width)

    def identity(self, system: Any) -> tuple[int, ...]:
        """Return what else distinguishes code for a system from that for one of equal content.

        Nothing where a user's function is taken as it is when the code is made.
        """
        return ()

    def constant(self, value: float) -> np.floating:
        """Return `value` in the run's dtype, for use in closures of device functions."""
        return self.dtype.type(value)

    def in_dtype(self, dtype) -> Self:
        """Return the same target, as many lanes of numbers of another precision."""
        same = copy.copy(self)
        same.dtype = np.dtype(dtype)
        return same

    @abstractmethod
    def device(self, function: Callable, inline: bool = True) -> Callable:
        """Make a component function callable from others; `inline` is a strong hint."""

    def one_copy(
        self, function: Callable, in_memory: bool = False, iterated: bool = False
    ) -> Callable:
        """Make a component function callable that gives the same bits wherever it is called from.

        Inlined, it may be rounded otherwise. `in_memory`: what it works on is in no register;
        `iterated`: see there.
        """
        return self.device(function, inline=False)

    def in_given_order(self, function: Callable) -> Callable:
        """Make a component function callable whose kernel's instructions need no reordering.

        A compiler that reorders a long straight line to need fewer registers puts off what the
        next operation waits for.
        """
        return self.device(function)

    def first_round_apart(self, function: Callable) -> Callable:
        """Make a component function callable whose loop's first round may be code of its own.

        It is known there what values start from, for all that it calls as well.
        """
        return self.device(function, inline=False)

    def iterated(self, function: Callable, inline: bool = True) -> Callable:
        """Make a component function callable whose outermost loop is an iteration.

        A few rounds are usual, and it is known how many there may be at most: a compiler that
        unrolls all of them makes ten times the code.
        """
        return self.device(function, inline=inline)

    def unrolled(self, function: Callable, n_numbers: int, n_terms: int) -> Callable:
        """Make a function callable whose loops may be unrolled.

        It is one of several, whose loops together index `n_numbers` of a run, and add up `n_terms`.
        """
        return self.device(function)

    @abstractmethod
    def straight_line(
        self, function: Callable, inline: bool = True, as_written: bool = False
    ) -> Callable:
        """Make a function of a generated module callable; the same as `device`, but quickly.

        The module holds its text under `SOURCE`. The function may hold assignments of arithmetic
        on lanes, of buffers indexed by an integer argument plus a constant, and at the end a
        `return` of one mask. `as_written`: the arithmetic is the user's; infinities, NaN and
        signs of zero mean something in it, and no sum is taken in another order.
        """

    @abstractmethod
    def allocator(self, placement: Placement) -> Callable:
        """Return ``allocate(memory, parent) -> buffer`` with constants baked in.

        `memory` is the run's `Memory`, `parent` the buffer that a view lies in (ignored, and
        conventionally None, otherwise).
        """

    @abstractmethod
    def weighted_sum(self, terms: Sequence[tuple[int, float]]) -> Callable:
        """Return ``total(buffer, i)`` = sum of weight * buffer[offset + i] over `terms`.

        `terms` are (offset, weight) pairs, added in their order; none gives zero.
        """

    @abstractmethod
    def table(self, values: np.ndarray) -> Callable:
        """Return ``table(i)`` = ``values[i]``, a plain number: the same for all runs.

        `values` are whole numbers >= 0, which are indices of buffers, or numbers of the run's
        dtype, (n,). They lie in memory once, whatever their number.
        """

    def moved_along(self, terms: Sequence[tuple[int, float]], n: int) -> Callable | None:
        """Return ``moved(base, h, buffer, i)``: ``base[i]`` and h times the `weighted_sum`.

        For `n` elements, where products of h with each weight are cheaper than one with each
        sum; else None. The terms are added to ``base[i]`` one by one, which rounds as often: it
        is not for what is carried from step to step.
        """
        return None

    def hardware_log2(self) -> Callable | None:
        """Return ``log2(x)`` of positive normal x by the hardware; None where bits must agree."""
        return None

    def hardware_exp2(self) -> Callable | None:
        """Return ``exp2(x)`` for abs(x) <= 100 by instructions of the hardware; or None."""
        return None

    @abstractmethod
    def phase(self, points: Sequence[int], placements: Mapping[str, Placement]) -> Callable:
        """Return ``enter(memory)``, marking that a program point is reached.

        A phase that runs several times has as many points. On the interpreted
        targets it overwrites every byte that no buffer of `placements` owns at any
        of them; elsewhere it is nothing.
        """

    def called(self, path: str, phases: Sequence[str], functions: Any) -> Any:
        """Return the functions of a component for the one that calls it: as they are.

        Where executions are recorded they are followed from call to return. `path` is the qualified
        name of the component, `phases` are its own.
        """
        return functions

    @abstractmethod
    def keep(self) -> Callable:
        """Return ``keep(value)``: a copy of a buffer, or a buffer of one element that holds lanes.

        It is in the frame of the calling function.
        """

    def parts(self) -> Parts:
        """Return how to go through a group of many lanes part by part."""
        raise NotImplementedError(f"a group of the {self.name} target is a single run")

    def part_backend(self) -> Backend:
        """Return the target of functions that work on one part of a group.

        They take the parts of the run's bases, and only buffers of the run's dtype.
        """
        raise NotImplementedError(f"a group of the {self.name} target is a single run")

    def rows(self) -> Rows:
        """Return how to work on several points of one run together, where it `keeps_rows`."""
        raise NotImplementedError(f"the {self.name} target works on one point of each run")

    @abstractmethod
    def first_runs(self) -> Callable:
        """Return ``first(queue)``: the first run number of each lane."""

    @abstractmethod
    def more_runs(self) -> Callable:
        """Return ``more(queue, free, run, n_runs)``: new run numbers in the lanes of `free`.

        Numbers from `n_runs` on mean that the queue is empty.
        """

    @abstractmethod
    def keep_going(self, together: bool = False) -> Callable:
        """Return ``keep_going(queue, active, beyond)``, as a plain bool: attempt another step?

        False when the batch has been called off, when no lane is active, or when enough
        lanes are free for new runs while there are any (`beyond`: the lane's number is
        beyond the last run).
        With `together`, false as soon as a lane that is not beyond is free.
        """

    def spent(self) -> Callable:
        """Return ``spent(queue, attempts)``: was the launch over? If not, as many are made."""
        return self.device(_nothing_spent)

    def worked_out_here(self) -> Callable:
        """Return ``here(number)``: a run's number, or how many runs there are, as if it were new.

        For what is rarely done in a loop, or behind it: addresses that are made of such a number
        are worked out there, and take no registers in every round.
        """
        return self.device(_itself)

    def interrupted(self) -> Callable:
        """Return ``interrupted(queue)``, as a plain bool: has the batch been called off?"""
        return self.device(_never)

    @abstractmethod
    def foreign_rhs(self, system: Any, fault_slot: int | None = None) -> Callable:
        """Return ``rhs(t, y, p, dy, at)`` around a function that was not traced.

        Where it fails it says so in ``p[fault_slot]``; by default that is the one behind the
        parameters.
        """

    @abstractmethod
    def kernel(
        self,
        make_loop: Callable[[], Callable],
        memory: RunMemory,
        digest: str,
        registers: RegisterLimits = NO_LIMITS,
    ) -> Kernel:
        """Return something that solves a batch with the loop of one run.

        `make_loop` builds the loop's device function; it is not called where code
        compiled for `digest` is found on disk. `registers` are those of a GPU's threads; other
        targets have no such limits.
        """


class Kernel(ABC):
    """A compiled batch solver."""

    @abstractmethod
    def __call__(
        self, n_runs: int, inputs: KernelInputs, outputs: KernelOutputs, block_size: int
    ) -> None:
        """Solve all runs; blocks until the outputs are complete."""

    def solve(
        self, n_runs: int, inputs: KernelInputs, outputs: OutputBlock, block_size: int
    ) -> Spent:
        """Solve all runs into a block of outputs; return the seconds that it took."""
        arrays = outputs.arrays
        start = time.perf_counter()
        self(n_runs, inputs, arrays, block_size)
        seconds = time.perf_counter() - start
        return Spent(seconds, seconds)

    def solve_portions(self, portions: Portions, block_size: int) -> Spent:
        """Solve a batch in as many launches as the target's memory asks for.

        Only a target that has memory of its own is asked: others solve all runs at once.
        """
        return self.solve(portions.n_runs, portions.inputs, portions.outputs, block_size)

    def resident_block(self, layout: OutputLayout) -> OutputBlock:
        """Return outputs that stay in the target's own memory."""
        raise NotImplementedError("the target has no memory of its own")

    def free_bytes(self) -> int | None:
        """Return what is left of the target's own memory; None where it has none."""
        return None

    def await_streams(self, streams: Sequence[tuple[int | None, int | None]]) -> None:
        """Wait for what others do with arrays in the target's own memory.

        `streams` are the device of each array, and a stream of it; None where that is not told.

        Raises
        ------
        InvalidProblem
            If one lies on another device.
        """
        raise NotImplementedError("the target has no memory of its own")

    @property
    def thread_needs(self) -> tuple[int, int] | None:
        """Registers and bytes of local memory that a thread of the latest launch took.

        None where there are no such threads, or nothing tells.
        """
        return None

    def release(self) -> None:  # noqa: B027
        """Give back what is kept of the target's own memory from solve to solve."""

    def expect(self, n_runs: int, block_size: int) -> None:  # noqa: B027
        """Be ready for a batch of so many runs, which follows within microseconds."""
