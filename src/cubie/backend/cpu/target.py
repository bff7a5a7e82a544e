"""Target ``cpu``: runs on SIMD lanes, dealt to lanes and threads as they come free.

This module imports no compiler: where a kernel's machine code is found on
disk, it is loaded and run without numba. Compilation is in `cpu_compiler`.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cubie.backend.arrays import OutputBlock
from cubie.backend.base import (
    NO_LIMITS,
    Backend,
    Kernel,
    KernelInputs,
    KernelOutputs,
    RegisterLimits,
    RunMemory,
)
from cubie.backend.cpu.object_code import ENTRY, FRAME_BYTES, ObjectCode
from cubie.backend.cpu.threads import shared_team
from cubie.backend.free_memory import free_bytes
from cubie.backend.groups import Parts, Rows
from cubie.backend.interruption import NOBODY, Handling, Interrupted, handling, run_apart
from cubie.backend.machine import n_threads, register_bytes
from cubie.backend.portions import Spent
from cubie.backend.run_queue import RunQueue
from cubie.errors import OutOfMemory

MAX_ALIGNMENT = 64  # bytes: one cache line, and the widest vector register
# Of a group of runs whose buffers the stack may hold. Beyond the first cache buffers are as fast or
# faster in memory of the kernel's own: packed, they take less of the next one.
GROUP_BYTES_IN_STACK = 64 * 1024
# Points of a run that are worked on together, at most: few steps have more of them. Of 10,000 runs
# of Lorenz in float64 1000 points took 33.3 ms by four, and 27.5 by eight; 200 the same.
ROW_POINTS = 8


class CPUBackend(Backend):
    """Compile to machine code; `width` runs go through every instruction together.

    They may be a part of a group of `group_width` runs, whose buffers they then work on.
    """

    name = "cpu"
    keeps_rows = True

    def __init__(self, dtype, fastmath: bool, width: int, group_width: int | None = None):
        super().__init__(dtype, fastmath)
        self.width = width
        self.group_width = width if group_width is None else group_width

    @property
    def key(self) -> tuple:
        return (*super().key, self.group_width, self.keeps_rows)

    @property
    def most_bytes_in_stack(self) -> int:
        return GROUP_BYTES_IN_STACK // self.group_width

    @property
    def _compiler(self):
        from cubie.backend.cpu.compiler import CPUCompiler

        return CPUCompiler(self.dtype, self.fastmath, self.width, self.group_width)

    @property
    def _part_width(self) -> int:
        return min(self.width, register_bytes() // self.dtype.itemsize)

    def parts(self) -> Parts:
        from cubie.backend.cpu.parts import make_parts

        return make_parts(self.dtype.itemsize, self.width, self._part_width)

    def rows(self) -> Rows:
        from cubie.backend.cpu.rows import make_rows

        return make_rows(min(ROW_POINTS, register_bytes() // self.dtype.itemsize))

    def part_backend(self) -> CPUBackend:
        return CPUBackend(self.dtype, self.fastmath, self._part_width, self.width)

    def device(self, function: Callable, inline: bool = True) -> Callable:
        return self._compiler.device(function, inline)

    def one_copy(
        self, function: Callable, in_memory: bool = False, iterated: bool = False
    ) -> Callable:
        return self._compiler.one_copy(function)

    def in_given_order(self, function: Callable) -> Callable:
        return self._compiler.in_given_order(function)

    def first_round_apart(self, function: Callable) -> Callable:
        return self._compiler.first_round_apart(function)

    def straight_line(
        self, function: Callable, inline: bool = True, as_written: bool = False
    ) -> Callable:
        return self._compiler.straight_line(function, inline, as_written)

    def allocator(self, placement) -> Callable:
        return self._compiler.allocator(placement)

    def weighted_sum(self, terms: Sequence[tuple[int, float]]) -> Callable:
        return self._compiler.weighted_sum(terms)

    def table(self, values: np.ndarray) -> Callable:
        return self._compiler.table(values)

    def keep(self) -> Callable:
        return self._compiler.keep()

    def phase(self, points, placements) -> Callable:
        return self._compiler.phase(points, placements)

    def first_runs(self) -> Callable:
        return self._compiler.first_runs()

    def more_runs(self) -> Callable:
        return self._compiler.more_runs()

    def keep_going(self, together: bool = False) -> Callable:
        return self._compiler.keep_going(together)

    def interrupted(self) -> Callable:
        return self._compiler.interrupted()

    def foreign_rhs(self, system, fault_slot: int | None = None) -> Callable:
        return self._compiler.foreign_rhs(system, fault_slot)

    def require_room(self, memory: RunMemory) -> None:
        n_bytes = memory.shared_stride + memory.persistent_bytes + memory.local_bytes
        n_bytes += memory.global_bytes
        require_room(self.group_width, self.group_width * n_bytes)

    def kernel(
        self,
        make_loop: Callable[[], Callable],
        memory: RunMemory,
        digest: str,
        registers: RegisterLimits = NO_LIMITS,
    ) -> CPUKernel:
        def compile_object() -> bytes:
            return self._compiler.compile_kernel(make_loop(), memory)

        return CPUKernel(self.width, memory, ObjectCode.find_or_make(digest, compile_object))


class CPUKernel(Kernel):
    """A compiled loop over a queue of runs, worked on by as many threads as there is work for."""

    # A thread that sleeps joins late: a share of so much work is worth calling it.
    SECONDS_WORTH_A_THREAD = 20e-6
    # What a group of runs is taken to need before the first batch is solved.
    FIRST_GUESS_SECONDS = 20e-6

    # Larger frames lie on stacks made for them: a thread may have 512 KiB.
    USUAL_STACK_BYTES = 256 * 1024
    # Beside arrays: registers that are spilled, and who calls.
    OTHER_STACK_BYTES = 64 * 1024
    # Memory of a launch that is kept for the next one; larger pieces are given back.
    KEPT_BYTES = 64 * 2**20

    def __init__(self, width: int, memory: RunMemory, code: ObjectCode):
        self._width = width
        self._owned_bytes = memory.shared_stride * width
        if memory.global_bytes:
            self._owned_bytes = -(-self._owned_bytes // MAX_ALIGNMENT) * MAX_ALIGNMENT
            self._owned_bytes += memory.global_bytes * width
        self._code = code
        self._stack_bytes = code.number(FRAME_BYTES) + self.OTHER_STACK_BYTES
        self._entry = code.address(ENTRY)
        self._group_seconds = self.FIRST_GUESS_SECONDS
        self._jobs: dict[int, _Job] = {}

    @property
    def compiled_from_cache(self) -> bool:
        """Whether the machine code came from disk instead of the compiler."""
        return self._code.from_cache

    def assembly(self) -> str:
        """Return the machine code as text."""
        return self._code.disassemble()

    def expect(self, n_runs: int, block_size: int) -> None:
        workers = self._workers(n_runs)
        if workers > 1:
            shared_team().wake(workers)

    def solve(self, n_runs, inputs: KernelInputs, outputs: OutputBlock, block_size: int):
        start = _address(outputs.memory)
        offsets = outputs.layout.offsets
        return self._run(n_runs, inputs, [start + offset for offset in offsets], outputs)

    def __call__(self, n_runs, inputs: KernelInputs, outputs: KernelOutputs, block_size: int):
        self._run(n_runs, inputs, [_address(array) for array in outputs], outputs)

    def _run(self, n_runs: int, inputs: KernelInputs, outputs: list[int], owner: Any) -> Spent:
        """Solve all runs into arrays at the given addresses; return the seconds that it took."""
        workers = self._workers(n_runs)
        # One that no other caller has, or a new one.
        job = self._jobs.pop(workers, None) or self._make_job(workers)
        job.give(n_runs, inputs, outputs)
        start = time.perf_counter()
        try:
            self._work(job, (inputs, owner))
            if job.queue.called_off:
                # What Python's handler raised was lost: in a callback of the garbage collector, or
                # a finaliser, where exceptions are only printed.
                raise KeyboardInterrupt
        except BaseException as error:
            if job.queue.called_off:
                raise Interrupted(error, min(job.queue.n_taken, n_runs)) from error
            raise
        seconds, workers_now = time.perf_counter() - start, len(job.arguments)
        if job.n_bytes <= self.KEPT_BYTES:
            self._jobs[workers] = job
        self._group_seconds = seconds * workers_now / max(1.0, n_runs / self._width)
        return Spent(seconds, seconds)

    def _make_job(self, workers: int) -> _Job:
        """Return a job with memory for so many workers, or for as many as there is memory for.

        Raises
        ------
        OutOfMemory
            If there is none for one.
        """
        n_bytes, free = self._owned_bytes, None
        if workers * n_bytes > self.KEPT_BYTES:
            require_room(self._width, n_bytes)
            free = free_bytes()
        if free is not None:
            workers = max(1, min(workers, free // n_bytes))
        try:
            return _Job(workers, n_bytes)
        except MemoryError:
            raise _no_room(self._width, n_bytes, None) from None

    def _work(self, job: _Job, arrays: Any) -> None:
        """Let all workers of a job work; a signal may end it."""
        may_end = handling()
        if self._stack_bytes > self.USUAL_STACK_BYTES:
            apart = self._stack_bytes
        elif may_end is Handling.HANDLERS:
            apart = 0
        else:
            ended_by = None if may_end is NOBODY else job.queue
            shared_team().run(self._entry, job.arguments, ended_by)
            return
        # The code too must last as long as a thread that is in it.
        memory = (self._code, job, arrays)
        run_apart(self._entry, job.arguments, job.queue, apart, memory)

    def _workers(self, n_runs: int) -> int:
        """Return how many threads a batch is worth, judged by what the latest one took."""
        n_groups, most = -(-n_runs // self._width), n_threads()
        if n_groups < most:
            most = n_groups
        if most == 1:  # asked twice a solve, of which some take microseconds
            return 1
        worth = int(n_groups * self._group_seconds / self.SECONDS_WORTH_A_THREAD)
        return max(1, min(most, worth))


class _Job:
    """What the workers of a launch are handed: the queue they share, memory of their own.

    Attributes
    ----------
    n_bytes : int
        Of its memory.
    arguments : ctypes array
        For each worker the address of what the kernel's entry takes.
    queue : RunQueue
    """

    # Elements of inputs whose addresses are remembered: larger ones would be kept alive.
    SMALL = 10_000

    def __init__(self, workers: int, shared_bytes: int):
        stride = -(-max(1, shared_bytes) // MAX_ALIGNMENT) * MAX_ALIGNMENT
        self.n_bytes = workers * stride
        self._memory = np.empty(workers * stride + MAX_ALIGNMENT, np.uint8)
        first = -(-_address(self._memory) // MAX_ALIGNMENT) * MAX_ALIGNMENT
        self.queue = RunQueue()
        n_arrays = len(KernelInputs._fields) + len(KernelOutputs._fields)
        make = ctypes.c_int64 * (3 + n_arrays)
        self._rows = [
            make(self.queue.address, first + worker * stride) for worker in range(workers)
        ]
        self.arguments = (ctypes.c_int64 * workers)(*map(ctypes.addressof, self._rows))
        self._known: tuple[int, KernelInputs] | None = None

    def give(self, n_runs: int, inputs: KernelInputs, outputs: list[int]) -> None:
        """Set what the next launch works on: numbers, arrays, and addresses of arrays."""
        self.queue.begin()
        known = self._known
        if known is None or known[0] != n_runs or known[1] is not inputs:
            numbers = [n_runs, *(_address(array) for array in inputs)]
            for row in self._rows:
                row[2 : 2 + len(numbers)] = numbers
            read = inputs.initial_state.size + inputs.parameters.size + inputs.driver_samples.size
            small = read <= self.SMALL
            self._known = (n_runs, inputs) if small else None
        for row in self._rows:
            row[-len(outputs) :] = outputs


def require_room(n_runs: int, n_bytes: int) -> None:
    """Refuse a group of runs whose buffers take more bytes than can be had.

    Raises
    ------
    OutOfMemory
    """
    free = free_bytes() if n_bytes > CPUKernel.KEPT_BYTES else None
    if free is not None and n_bytes > free:
        raise _no_room(n_runs, n_bytes, free)


def _no_room(n_runs: int, n_bytes: int, free: int | None) -> OutOfMemory:
    """Return the exception that says so; the system gives no more than `free`, or does not tell."""
    what = "1 run" if n_runs == 1 else f"a group of {n_runs} runs"
    there = "which the system does not give" if free is None else f"and {free:,} can be had"
    ways = [f"fewer lanes (lanes={n_runs // 2 or 1})"] if n_runs > 1 else []
    ways += ["numbers of half the size (dtype='float32')", "an explicit method"]
    return OutOfMemory(
        f"The buffers of {what} take {n_bytes:,} bytes, {there}. Use {', '.join(ways)}, or one "
        "without a matrix (linear_solver='bicgstab')."
    )


def _address(array: Any) -> int:
    """Return where a NumPy array keeps its data; several times faster than `ctypes.data`."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    except (TypeError, ValueError):  # read-only, or empty
        return array.ctypes.data
