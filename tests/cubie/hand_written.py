"""One Runge-Kutta integration written three times: with allocators, with offsets, in plain numba.

The classical method of order four with a fixed step on Lorenz-96 (or, at three states,
a cyclic system of the same form). What differs is only how buffers are reached.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from attrs import frozen
from llvmlite import ir
from numba.core import types

from cubie.backend import RunMemory, load_run, store_run
from cubie.backend.lanes.types import Base, Buf, lane_alignment, lane_type
from cubie.buffers import Layout
from cubie.factory import BuildCache, BuildContext, CUDAFactory
from cubie_planner import Limits
from tests.cubie.alias_pair import for_all_runs

DTYPE = np.dtype("float32")
BUFFERS = {"state": 1, "slopes": 4, "argument": 1}  # sizes in numbers of states
BLOCK_SIZE = 32


class Integration(CUDAFactory):
    """The integration with cubie's allocators."""

    name = "run"
    phases = ("all",)

    def __init__(self, n: int, location: str):
        super().__init__(DTYPE, {f"{name}_location": location for name in BUFFERS})
        self.n = n
        for name, times in BUFFERS.items():
            self.register_buffer(name, times * n, phases=("all",))

    def facts(self) -> tuple:
        return (self.n,)

    def build(self, context: BuildContext) -> Callable:
        return integration(context.backend, self.n, *map(context.allocator, BUFFERS))


def integration(backend, n: int, reach_state, reach_slopes, reach_argument) -> Callable:
    """Return the integration, given what returns each buffer."""
    device = backend.device
    half, sixth = backend.constant(0.5), backend.constant(1 / 6)

    def rhs(y, forcing, dy, at):
        for i in range(n):
            ahead, behind, two_behind = y[(i + 1) % n], y[(i + n - 1) % n], y[(i + n - 2) % n]
            dy[at + i] = (ahead - two_behind) * behind - y[i] + forcing

    rhs = device(rhs)

    def integrate(memory, run, n_runs, inputs, outputs):
        state = reach_state(memory, None)
        k = reach_slopes(memory, None)
        argument = reach_argument(memory, None)
        h = load_run(inputs.step_limits, 0, 0, run, n_runs)
        forcing = load_run(inputs.parameters, 0, 0, run, n_runs)
        for i in range(n):
            state[i] = load_run(inputs.initial_state, i * n_runs, 1, run, n_runs)
        for _ in range(inputs.limits[0]):
            rhs(state, forcing, k, 0)
            for i in range(n):
                argument[i] = state[i] + half * h * k[i]
            rhs(argument, forcing, k, n)
            for i in range(n):
                argument[i] = state[i] + half * h * k[n + i]
            rhs(argument, forcing, k, 2 * n)
            for i in range(n):
                argument[i] = state[i] + h * k[2 * n + i]
            rhs(argument, forcing, k, 3 * n)
            for i in range(n):
                slope = k[i] + k[n + i] + k[n + i] + k[2 * n + i] + k[2 * n + i] + k[3 * n + i]
                state[i] = state[i] + sixth * h * slope
        for i in range(n):
            store_run(outputs.states, i * n_runs, run, run < n_runs, state[i])

    return for_all_runs(backend, device(integrate))


@frozen
class Offsets:
    """Where the hand-written version keeps its buffers: elements from one pointer."""

    state: int
    slopes: int
    argument: int


def with_pointers(backend, n: int, base: str, at: Offsets) -> Callable:
    """Return the integration with a pointer a buffer, cut by hand; local: an array a buffer."""
    cut = [
        _pointer(backend, base, times * n, 0 if base == "local" else offset)
        for times, offset in zip(BUFFERS.values(), (at.state, at.slopes, at.argument), strict=True)
    ]
    return integration(backend, n, *cut)


def with_offsets(backend, n: int, base: str, at: Offsets) -> Callable:
    """Return the integration with constant offsets in every index into one array.

    `base` is "shared" or "persistent" (the run's own pointers), or "local": an array
    reserved on the stack.
    """
    device = backend.device
    half, sixth = backend.constant(0.5), backend.constant(1 / 6)
    pointer = _pointer(backend, base, sum(BUFFERS.values()) * n, 0)
    state, k, argument = at.state, at.slopes, at.argument
    k2, k3, k4 = k + n, k + 2 * n, k + 3 * n

    def rhs(a, y, forcing, dy):
        for i in range(n):
            ahead, behind = a[y + (i + 1) % n], a[y + (i + n - 1) % n]
            two_behind = a[y + (i + n - 2) % n]
            a[dy + i] = (ahead - two_behind) * behind - a[y + i] + forcing

    rhs = device(rhs)

    def integrate(memory, run, n_runs, inputs, outputs):
        a = pointer(memory, None)
        h = load_run(inputs.step_limits, 0, 0, run, n_runs)
        forcing = load_run(inputs.parameters, 0, 0, run, n_runs)
        for i in range(n):
            a[state + i] = load_run(inputs.initial_state, i * n_runs, 1, run, n_runs)
        for _ in range(inputs.limits[0]):
            rhs(a, state, forcing, k)
            for i in range(n):
                a[argument + i] = a[state + i] + half * h * a[k + i]
            rhs(a, argument, forcing, k2)
            for i in range(n):
                a[argument + i] = a[state + i] + half * h * a[k2 + i]
            rhs(a, argument, forcing, k3)
            for i in range(n):
                a[argument + i] = a[state + i] + h * a[k3 + i]
            rhs(a, argument, forcing, k4)
            for i in range(n):
                slope = a[k + i] + a[k2 + i] + a[k2 + i] + a[k3 + i] + a[k3 + i] + a[k4 + i]
                a[state + i] = a[state + i] + sixth * h * slope
        for i in range(n):
            store_run(outputs.states, i * n_runs, run, run < n_runs, a[state + i])

    return for_all_runs(backend, device(integrate))


def _pointer(backend, base: str, n_elements: int, start: int) -> Callable:
    """Return ``pointer(memory, parent)``: an array from element `start` of a space."""
    compiler = getattr(backend, "_compiler", backend)
    dtype = types.float32
    element = lane_type(dtype, backend.width)

    def pointer(typingctx, memory, parent):
        spaces = dict(zip(memory.fields, memory.types, strict=True))
        place = spaces.get(base, Base())
        buf = Buf(dtype, n_elements, backend.width, place.addrspace)

        def lower(context, builder, signature, args):
            target = ir.PointerType(element, place.addrspace)
            if base == "local":
                with builder.goto_entry_block():
                    array = builder.alloca(ir.ArrayType(element, n_elements))
                array.align = lane_alignment(dtype, backend.width)
                return builder.bitcast(array, target)
            start_of_space = builder.extract_value(args[0], memory.fields.index(base))
            whole = builder.bitcast(start_of_space, target)
            return builder.gep(whole, [ir.Constant(ir.IntType(32), start)], inbounds=True)

        return buf(memory, parent), lower

    return compiler._intrinsic(pointer)


def in_plain_numba(n: int, base: str, at: Offsets) -> Callable:
    """Return the whole kernel as a numba-cuda user writes it, with the same offsets."""
    from numba import cuda

    n_elements = sum(BUFFERS.values()) * n
    # One 32-bit word more against bank conflicts where the number of words is even,
    # as the plan's run stride has; unsigned, so that no index can mean "from the end".
    stride = np.uint64(n_elements | 1)
    state, k, argument = at.state, at.slopes, at.argument
    k2, k3, k4 = k + n, k + 2 * n, k + 3 * n
    half, sixth, n_all = np.float32(0.5), np.float32(1 / 6), n_elements

    @cuda.jit(device=True, inline="always")
    def reserve_shared():
        return cuda.shared.array(0, types.float32)

    @cuda.jit(device=True, inline="always")
    def reserve_local():
        return cuda.local.array(n_all, types.float32)

    reserve = reserve_shared if base == "shared" else reserve_local

    @cuda.jit(device=True, fastmath=True)
    def rhs(a, first, y, forcing, dy):
        for i in range(n):
            ahead = a[first + np.uint64(y + (i + 1) % n)]
            behind = a[first + np.uint64(y + (i + n - 1) % n)]
            two_behind = a[first + np.uint64(y + (i + n - 2) % n)]
            own = a[first + np.uint64(y + i)]
            a[first + np.uint64(dy + i)] = (ahead - two_behind) * behind - own + forcing

    def kernel(n_runs, inputs, outputs):
        run = cuda.grid(1)
        if run < n_runs:
            a = reserve()
            first = np.uint64(0)
            if base == "shared":
                first = np.uint64(cuda.threadIdx.x) * stride
            h, forcing = inputs.step_limits[0], inputs.parameters[0]
            for i in range(n):
                a[first + np.uint64(state + i)] = inputs.initial_state[i * n_runs + run]
            for _ in range(inputs.limits[0]):
                rhs(a, first, state, forcing, k)
                for i in range(n):
                    a[first + np.uint64(argument + i)] = (
                        a[first + np.uint64(state + i)] + half * h * a[first + np.uint64(k + i)]
                    )
                rhs(a, first, argument, forcing, k2)
                for i in range(n):
                    a[first + np.uint64(argument + i)] = (
                        a[first + np.uint64(state + i)] + half * h * a[first + np.uint64(k2 + i)]
                    )
                rhs(a, first, argument, forcing, k3)
                for i in range(n):
                    a[first + np.uint64(argument + i)] = (
                        a[first + np.uint64(state + i)] + h * a[first + np.uint64(k3 + i)]
                    )
                rhs(a, first, argument, forcing, k4)
                for i in range(n):
                    two, three = a[first + np.uint64(k2 + i)], a[first + np.uint64(k3 + i)]
                    slope = a[first + np.uint64(k + i)] + two + two + three + three
                    slope = slope + a[first + np.uint64(k4 + i)]
                    a[first + np.uint64(state + i)] = (
                        a[first + np.uint64(state + i)] + sixth * h * slope
                    )
            for i in range(n):
                outputs.states[i * n_runs + run] = a[first + np.uint64(state + i)]

    return kernel


def lay_out(n: int, location: str) -> tuple[Layout, Offsets]:
    """Plan the buffers, and return the offsets that a person would have written down."""
    layout = Integration(n, location).buffer_registry.lay_out(
        "local", Limits(block_size=BLOCK_SIZE)
    )
    placed = [layout.plan.placements[f"run.{name}"].offset for name in BUFFERS]
    if None in placed:  # local arrays have no offsets: lay them one after the other
        return layout, Offsets(0, n, 5 * n)
    return layout, Offsets(*(offset // DTYPE.itemsize for offset in placed))


def kernels(backend, n: int, location: str, ways=("allocators", "pointers", "offsets")) -> dict:
    """Return the kernels by how they reach their buffers."""
    layout, offsets = lay_out(n, location)
    plan = layout.plan
    memory = RunMemory(plan.run_stride_bytes, plan.persistent_bytes)
    factory = Integration(n, location)
    context = BuildContext(backend, layout, factory.name, BuildCache())
    base = "persistent" if location == "local_persistent" else location
    make = {
        "allocators": lambda: factory.device_functions(context),
        "pointers": lambda: with_pointers(backend, n, base, offsets),
        "offsets": lambda: with_offsets(backend, n, base, offsets),
    }
    key = f"{factory.build_key(context)} {memory} "
    return {way: backend.kernel(make[way], memory, key + way) for way in ways}
