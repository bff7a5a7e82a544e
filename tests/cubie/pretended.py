"""A device for the tests of launches: the host's memory, work done as late as it may be.

A kernel of the cpu or python target stands for the code that runs on it. All that the driver is
asked is counted, and may be made to fail.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np

from cubie.backend.arrays import KernelInputs, KernelOutputs
from cubie.backend.bundles import Memory
from cubie.backend.cpu.target import CPUBackend
from cubie.backend.device.driver import DriverFault
from cubie.backend.device.host import HostDriver, Reaching
from cubie.backend.device.kernel import DeviceKernel
from cubie.backend.device.slices import Slices
from cubie.backend.device.workspace import Workspaces
from cubie.backend.interpreted.python import PythonBackend, Space
from cubie.backend.interpreted.slices import slice_of
from cubie.backend.slices import ATTEMPTS, KeptState

MIB = 2**20


class Stream(list):
    """Work that was asked for and is not done, oldest first."""

    __hash__ = object.__hash__

    def __eq__(self, other):
        return self is other


class Mark:
    """A place in a stream; 0 until work is asked for that it stands behind."""

    reached, stream = None, None


class PretendedDriver(HostDriver):
    """Does what is asked of a stream only when somebody waits for it.

    Attributes
    ----------
    moved : Counter
        Bytes copied "up" and "down", bytes "filled", and calls by name.
    launched : list of int
        Runs of each launch.
    attempts : list of int
        That each run made at most in each launch that ends in the middle of runs.
    """

    def __init__(self, **facts):
        super().__init__()
        self.pretend(name="pretended", total_bytes=8 * 2**30, **facts)
        self.moved, self.launched, self.attempts = Counter(), [], []
        self._streams, self._failing, self._clock = [], {}, 0.0
        self.others_bytes = 0  # of other programs
        self.seconds_of_launch = None  # what a launch of so many runs takes

    def fail(self, name, fault, after=0, times=1):
        """Let calls of a method fail, so many in a row after so many that work."""
        self._failing[name] = [fault, after, times]

    def _called(self, name):
        self.moved[name] += 1
        failing = self._failing.get(name)
        if failing is not None:
            if failing[1] == 0:
                failing[2] -= 1
                if not failing[2]:
                    del self._failing[name]
                raise DriverFault(failing[0], f"PRETENDED_{failing[0].name}")
            failing[1] -= 1

    def free_bytes(self):
        return super().free_bytes() - self.others_bytes

    def allocate(self, n_bytes):
        self._called("allocate")
        return super().allocate(n_bytes)

    def free(self, address):
        self._called("free")
        for stream in self._streams:  # as the driver does
            self.finish(stream)
        super().free(address)

    def allocate_staging(self, n_bytes):
        self._called("allocate_staging")
        return super().allocate_staging(n_bytes)

    def new_stream(self):
        stream = Stream()
        self._streams.append(stream)
        return stream

    def new_event(self):
        return Mark()

    def destroy(self, handle):
        if isinstance(handle, Stream):
            self.finish(handle)
            self._streams.remove(handle)

    def finish(self, stream):
        while isinstance(stream, Stream) and stream:
            stream.pop(0)()

    def copy_up(self, to, staging, stream):
        self._called("copy_up")
        self.moved["up"] += staging.nbytes
        stream.append(partial(super().copy_up, to, staging, None))

    def copy_down(self, staging, source, stream):
        self._called("copy_down")
        self.moved["down"] += staging.nbytes
        stream.append(partial(super().copy_down, staging, source, None))

    def fill(self, address, byte, n_bytes, stream):
        self._called("fill")
        self.moved["filled"] += n_bytes
        stream.append(partial(super().fill, address, byte, n_bytes, None))

    def launch(self, function, grid, n_runs, arguments, stream):
        self._called("launch")
        self.launched.append(n_runs)
        self.grid = grid

        def work():
            self._clock += 0.0 if self.seconds_of_launch is None else self.seconds_of_launch(n_runs)
            super(PretendedDriver, self).launch(function, grid, n_runs, arguments, None)

        stream.append(work)

    def record(self, event, stream):
        event.reached = None
        event.stream = stream

        def reach():
            event.reached = self._clock

        stream.append(reach)

    def wait(self, event):
        self._called("wait")
        while event.stream is not None and event.reached is None:
            event.stream.pop(0)()

    def seconds_between(self, first, last):
        assert first.reached is not None
        assert last.reached is not None
        return last.reached - first.reached


class PretendedKernel(DeviceKernel):
    """A kernel of another target, launched as one of a device."""

    compiled_from_cache = False

    def __init__(self, kernel, workspaces, reaching, refill=False):
        super().__init__(0, refill)
        self._kernel, self._workspaces, self._reaching = kernel, workspaces, reaching

    def workspaces(self):
        return self._workspaces

    def function(self, driver, grid):
        def launch(grid, n_runs, arrays):
            n_inputs = len(KernelInputs._fields)
            inputs = KernelInputs(*arrays[:n_inputs])
            if self._reaching:
                inputs = inputs._replace(
                    parameters=Reaching(inputs.parameters),
                    initial_state=Reaching(inputs.initial_state),
                )
            self._kernel(n_runs, inputs, KernelOutputs(*arrays[n_inputs:]), grid.threads)

        return launch


class _Pretending:
    """Launches kernels of a target on a pretended device."""

    has_own_memory = True
    keeps_rows = False  # portions are columns of runs
    workspaces = None

    @property
    def runs_at_once(self):
        facts = self.workspaces.driver.facts
        return facts.multiprocessors * facts.threads_per_multiprocessor

    def kernel(self, make_loop, memory, digest, *registers):
        kernel = super().kernel(make_loop, memory, digest, *registers)
        return PretendedKernel(kernel, self.workspaces, isinstance(self, PythonBackend))


class SlicedKernel(PretendedKernel):
    """Threads that forget all at the end of each launch, but what they leave for the next."""

    def __init__(self, loop, memory, workspaces, dtype):
        super().__init__(None, workspaces, True)
        self._loop, self._memory = loop, memory
        self._slices = Slices(memory.kept, dtype)

    def function(self, driver, grid):
        def launch(grid, n_runs, arrays):
            n_inputs, n_outputs = len(KernelInputs._fields), len(KernelOutputs._fields)
            inputs = KernelInputs(*arrays[:n_inputs])
            inputs = inputs._replace(
                parameters=Reaching(inputs.parameters),
                initial_state=Reaching(inputs.initial_state),
            )
            outputs = KernelOutputs(*arrays[n_inputs : n_inputs + n_outputs])
            kept = KeptState(*arrays[n_inputs + n_outputs :])
            driver.attempts.append(int(kept.whole[ATTEMPTS]))
            for run in range(n_runs):
                own = self._memory
                spaces = own.shared_stride, own.persistent_bytes, own.global_bytes
                memory = Memory(*map(Space.poisoned, spaces))
                with np.errstate(all="ignore"):
                    self._loop(memory, slice_of(run, kept), n_runs, inputs, outputs)

        return launch


class PretendedCPU(_Pretending, CPUBackend):
    """Fast, and takes states of consecutive runs only as the host lays them out."""


class PretendedPython(_Pretending, PythonBackend):
    """Slow, and takes all that a device does."""


class PretendedSlices(_Pretending, PythonBackend):
    """As PretendedPython, and launches end in the middle of runs."""

    sliced, runs_go_unjudged = True, True

    def kernel(self, make_loop, memory, digest, *registers):
        return SlicedKernel(make_loop(), memory, self.workspaces, self.dtype)


def pretend(monkeypatch, kind=PretendedCPU, **facts):
    """Let all solvers made from now on solve on a pretended device; return its driver."""
    driver = PretendedDriver(**facts)
    workspaces = Workspaces(driver)

    def make_backend(name, dtype, fastmath, *args, **options):
        lanes = (8,) if kind is PretendedCPU else ()
        backend = kind(np.dtype(dtype), fastmath, *lanes)
        backend.workspaces = workspaces
        return backend

    monkeypatch.setattr("cubie.settings.make_backend", make_backend)
    driver.workspaces = workspaces
    return driver


class OnPretended:
    """An array that a library for devices would give."""

    def __init__(self, array, stream=None):
        self.array, self._stream = array, stream

    @property
    def __cuda_array_interface__(self):
        return {
            "shape": self.array.shape,
            "typestr": self.array.dtype.str,
            "data": (self.array.ctypes.data, False),
            "strides": self.array.strides,
            "version": 3,
            "stream": self._stream,
        }
