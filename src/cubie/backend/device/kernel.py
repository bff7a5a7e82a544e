"""A kernel that works in a device's memory: copies, launches and faults, portion by portion."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cubie.backend.arrays import KernelInputs, KernelOutputs, OutputBlock, OutputLayout
from cubie.backend.base import Kernel
from cubie.backend.device.driver import Argument, Driver, DriverFault, Fault, Grid, ThreadNeeds
from cubie.backend.device.faults import Asked, told
from cubie.backend.device.global_memory import bytes_of_threads
from cubie.backend.device.inputs import arguments_of, segments_of
from cubie.backend.device.resident import ResidentBlock
from cubie.backend.device.sizing import USABLE_SHARE, Sizing
from cubie.backend.device.slices import SlicedLaunch, Slices
from cubie.backend.device.transfers import Download, Segment, upload
from cubie.backend.device.workspace import Slot, Workspace, Workspaces
from cubie.backend.interruption import Interrupted
from cubie.backend.portions import Portion, Portions, Spent
from cubie.errors import InvalidProblem


class DeviceKernel(Kernel):
    """What the kernels of all devices share; each tells where its function comes from.

    Parameters
    ----------
    shared_stride : int
        Bytes of shared memory for each run of a block.
    refill : bool
        Whether a thread takes further runs: then no more are launched than work at once.
    slices : Slices, optional
        Of launches that end in the middle of runs.
    global_bytes : int
        Of global memory for each thread of a launch.
    """

    def __init__(
        self,
        shared_stride: int,
        refill: bool = False,
        slices: Slices | None = None,
        global_bytes: int = 0,
    ):
        self._shared_stride, self._refill, self._slices = shared_stride, refill, slices
        self._global_bytes = global_bytes
        self._launched: tuple[Driver, Any] | None = None
        self._held: Workspaces | None = None  # keeps memory from solve to solve

    @abstractmethod
    def workspaces(self) -> Workspaces:
        """Return the workspaces of the device that the kernel is launched on.

        Raises
        ------
        NoDevice
            If that is not there.
        """

    @abstractmethod
    def function(self, driver: Driver, grid: Grid) -> Any:
        """Return what a driver launches; made, and loaded, when it is asked for first."""

    def solve_portions(self, portions: Portions, block_size: int) -> Spent:
        workspaces = self._held = self.workspaces()
        driver = workspaces.driver
        grid = Grid(0, block_size, self._shared_stride * block_size)
        try:
            with driver.entered():
                return self._solve_portions(workspaces, portions, grid)
        except DriverFault as fault:
            asked = Asked(portions, grid, self._slices is not None, self._global_bytes)
            raise told(fault, driver, asked) from fault

    def _solve_portions(self, workspaces: Workspaces, portions: Portions, grid: Grid) -> Spent:
        driver = workspaces.driver
        function = self.function(driver, grid)
        self._launched = driver, function
        workspace = workspaces.take()
        threads = _Threads(self._refill, self._global_bytes)
        work = _Work(driver, workspace, function, grid, threads, self._slices)
        try:
            spent = work.run(portions)
        except BaseException as error:
            work.give_up()
            if isinstance(error, Exception):
                raise
            raise Interrupted(error, work.n_done) from error
        workspaces.put_back(workspace)
        return spent

    def solve(
        self, n_runs: int, inputs: KernelInputs, outputs: OutputBlock, block_size: int
    ) -> Spent:
        return self.solve_portions(Portions(n_runs, inputs, outputs), block_size)

    def __call__(
        self, n_runs: int, inputs: KernelInputs, outputs: KernelOutputs, block_size: int
    ) -> None:
        counts = KernelOutputs(*(array.size for array in outputs))
        block = OutputBlock(OutputLayout.of(counts, outputs.times.dtype))
        for own, given in zip(block.arrays, outputs, strict=True):
            own[...] = given
        self.solve(n_runs, inputs, block, block_size)
        for own, given in zip(block.arrays, outputs, strict=True):
            given[...] = own

    def free_bytes(self) -> int | None:
        driver = self.workspaces().driver
        with driver.entered():
            return driver.free_bytes()

    @property
    def thread_needs(self) -> ThreadNeeds | None:
        """What a thread of the latest launch took; None before, and where nothing tells."""
        if self._launched is None:
            return None
        driver, function = self._launched
        with driver.entered():
            return driver.thread_needs(function)

    def resident_block(self, layout: OutputLayout) -> OutputBlock:
        return ResidentBlock(layout)

    def await_streams(self, streams: Sequence[tuple[int | None, int | None]]) -> None:
        driver = self.workspaces().driver
        facts = driver.facts
        for number, _ in streams:
            if number not in (None, facts.number):
                raise InvalidProblem(
                    "args",
                    f"or y0 lies on device {number}, and the solve is done on device "
                    f"{facts.number}, {facts.name}: copy it there.",
                )
        with driver.entered():
            for _, stream in streams:
                if stream is not None:
                    driver.finish(stream)

    def release(self) -> None:
        self.workspaces().close()


class _Threads(NamedTuple):
    """What the threads of a launch do and have."""

    refill: bool  # take further runs
    global_bytes: int  # of each


class _Begun(NamedTuple):
    """A portion that a slot works on."""

    portion: Portion
    slot: Slot
    download: Download | None  # None where the outputs stay on the device
    seconds: float | None  # of its launches, where they are over


class _Work:
    """One solve: portions go through two slots in turn."""

    def __init__(
        self,
        driver: Driver,
        workspace: Workspace,
        function: Any,
        grid: Grid,
        threads: _Threads,
        slices: Slices | None,
    ):
        self._driver, self._workspace = driver, workspace
        self._function, self._grid, self._threads = function, grid, threads
        self._slices, self._sliced = slices, None
        if slices is not None:
            self._sliced = SlicedLaunch(driver, slices)
        self._begun: deque[_Begun] = deque()
        self._together = len(workspace.slots)  # portions that are worked on
        self.n_done = 0  # runs whose outputs are where they belong, from the first on
        self._kernel_seconds = 0.0

    def run(self, portions: Portions) -> Spent:
        """Solve all portions; blocks until their outputs are where they belong."""
        start = time.perf_counter()
        kept_bytes = None if self._slices is None else self._slices.run_bytes
        # A thread that takes further runs has its memory for all of them.
        own_bytes = 0 if self._threads.refill else self._threads.global_bytes
        unit = self._grid.threads
        self._sizing = Sizing(self._driver, self._workspace, portions, unit, kept_bytes, own_bytes)
        slots, number = self._workspace.slots, 0
        while portions.left or self._begun:
            if portions.left and len(self._begun) < self._together:
                number += self._begin(slots[number % self._together], portions)
            else:
                self._finish(portions)
        return Spent(time.perf_counter() - start, self._kernel_seconds)

    def _begin(self, slot: Slot, portions: Portions) -> bool:
        """Begin with the next portion, in a slot that is free; tell whether there was memory."""
        portion = portions.take(self._sizing.n_runs())
        try:
            self._begun.append(self._started(slot, portion, portions.outputs))
        except DriverFault as fault:
            portions.put_back(portion)
            if fault.fault is not Fault.OUT_OF_MEMORY:
                raise
            self._make_room(portions, portion)
            return False
        return True

    def _make_room(self, portions: Portions, refused: Portion) -> None:
        """Give memory back after there was too little: by the other portion's, or by smaller ones.

        Raises
        ------
        DriverFault
            The one that is being handled, where neither can be.
        """
        while self._begun:
            self._finish(portions)
        self._workspace.settle()
        self._workspace.shrink(0)
        if self._together > 1:
            self._together = 1
        elif portions.divisible and refused.n_runs > 1:
            self._sizing.at_most(refused.n_runs // 2)
        else:
            raise

    def _started(self, slot: Slot, portion: Portion, outputs: OutputBlock) -> _Begun:
        """Copy a portion's inputs up, launch, and begin to copy its outputs down."""
        driver, layout, stream = self._driver, portion.layout, slot.stream
        placed = portion.placed
        source = slot.inputs.reserve(placed.size)
        target = slot.outputs.reserve(layout.size)
        upload(driver, slot.up, source, segments_of(portion.inputs, placed, source), stream)
        self._clear(slot, portion)
        arguments = arguments_of(portion.inputs, placed, source)
        parts = zip(layout.counts, layout.dtypes, layout.offsets, strict=True)
        arguments += [Argument(target + at, count, dtype) for count, dtype, at in parts]
        seconds = self._launch(slot, portion, arguments)
        if isinstance(outputs, ResidentBlock):
            return _Begun(portion, slot, None, seconds)
        head = _segments(portion, outputs)
        download = Download(driver, slot.down, target, head, stream)
        return _Begun(portion, slot, download, seconds)

    def _launch(self, slot: Slot, portion: Portion, arguments: list[Argument]) -> float | None:
        """Launch; return how long it took where that is known, because it is over."""
        driver, n_runs, shape = self._driver, portion.n_runs, self._shape(slot, portion)
        in_global = self._in_global(slot, shape)

        def launch(more: list[Argument]) -> None:
            given = arguments + more + in_global
            driver.launch(self._function, shape, n_runs, given, slot.stream)

        if self._sliced is not None:
            return self._sliced.run(slot, n_runs, launch)
        driver.record(slot.begun, slot.stream)
        launch([])
        driver.record(slot.ended, slot.stream)
        return None

    def _clear(self, slot: Slot, portion: Portion) -> None:
        """Write what a kernel finds in its outputs: counts begin at zero."""
        driver, layout, address = self._driver, portion.layout, slot.outputs.address
        driver.fill(address, 0, layout.head_bytes, slot.stream)
        if portion.begins is not None:
            begins = [Segment(layout.offsets.first, np.ascontiguousarray(portion.begins))]
            upload(driver, slot.up, address, begins, slot.stream)

    def _in_global(self, slot: Slot, shape: Grid) -> list[Argument]:
        """Return the global memory of a launch's threads: neither copied up nor down."""
        n_bytes = bytes_of_threads(shape.blocks * shape.threads, self._threads.global_bytes)
        if not n_bytes:
            return []
        return [Argument(slot.in_global.reserve(n_bytes), n_bytes, np.dtype(np.uint8))]

    def _shape(self, slot: Slot, portion: Portion) -> Grid:
        grid, driver = self._grid, self._driver
        blocks = -(-portion.n_runs // grid.threads)
        if not self._threads.refill:
            return grid._replace(blocks=blocks)
        at_once = driver.blocks_at_once(self._function, grid.threads, grid.shared_bytes)
        blocks = min(blocks, max(1, at_once) * driver.facts.multiprocessors)
        of_block = bytes_of_threads(grid.threads, self._threads.global_bytes)
        if of_block:  # fewer threads work where there is no memory for more
            there = USABLE_SHARE * (driver.free_bytes() + slot.in_global.size) / self._together
            blocks = max(1, min(blocks, int(there / of_block)))
        return grid._replace(blocks=blocks)

    def _finish(self, portions: Portions) -> None:
        """Wait for the portion that was begun first, and put its outputs where they belong."""
        portion, slot, download, seconds = self._begun[0]
        driver = self._driver
        if download is None:
            driver.wait(slot.ended)
            assert isinstance(portions.outputs, ResidentBlock)
            portions.outputs.own(slot.outputs.hand_over())
        else:
            download.finish()
            if portion.begins is not None:
                points = _written_points(portion)
                address = slot.outputs.address
                Download(driver, slot.down, address, points, slot.stream).finish()
        self._begun.popleft()
        if seconds is None:
            seconds = driver.seconds_between(slot.begun, slot.ended)
        self._kernel_seconds += seconds
        self._sizing.took(portion.n_runs, seconds)
        self.n_done = portion.last

    def give_up(self) -> None:
        """Let nothing go on with memory that others will use; the workspace is not used again."""
        try:
            self._workspace.settle()
            self._workspace.close()
        except DriverFault:  # the context is lost, and all of this with it
            pass


def _segments(portion: Portion, outputs: OutputBlock) -> list[Segment]:
    """Return where the bytes of a portion's outputs belong, but for what is ragged."""
    layout = portion.layout
    if layout is outputs.layout:  # of all runs: as they lie there
        return [Segment(0, outputs.memory[: layout.even_bytes])]
    assert portion.places is not None
    named = zip(layout.offsets, portion.places, strict=True)
    segments = [Segment(at, place) for at, place in named if at < layout.even_bytes]
    return sorted(segments, key=lambda segment: segment.offset)


def _written_points(portion: Portion) -> list[Segment]:
    """Return where what is ragged of a portion belongs: points at every step, or steps.

    Of a single run, those that were written: there may be room for many more.
    """
    layout, begins, places = portion.layout, portion.begins, portion.places
    assert begins is not None
    assert places is not None
    share = 1.0
    room = int(begins[-1])
    if portion.n_runs == 1 and room:
        by_point = "states" in layout.ragged
        # Where the run ends stands behind its steps.
        written = places.saved[0, 0] if by_point else places.counters[0, 0] + 1
        share = min(room, int(written)) / room
    segments = []
    for at, place in zip(layout.offsets, places, strict=True):
        if at >= layout.even_bytes:
            segments.append(Segment(at, place[:, : round(place.shape[1] * share)]))
    return sorted(segments, key=lambda segment: segment.offset)
