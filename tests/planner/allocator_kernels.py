"""Kernels that take all their arrays from a plan, compiled or simulated by the tests."""

import numpy as np
from numba import cuda

from cubie_planner import Buffer, Limits, Problem, plan
from cubie_planner.allocators import allocators

THREADS = 6


def every_place(block_size):
    """A plan with a buffer of every kind of place, and overlapping lifetimes in shared memory."""
    buffers = [
        Buffer("first", 5, "f4", lifetime=((0, 2),), pin="shared"),
        Buffer("second", 3, "f8", lifetime=((2, 4),), pin="shared"),
        Buffer("table", 6, "i4", pin="shared"),
        Buffer("own", 4, "f8", pin="local"),
        Buffer("host", 8, "f4", pin="local"),
        Buffer("guest", 2, "f4", pin="local", aliases=["host"], alias_required=True),
        Buffer("kept", 3, "f8", pin="local_persistent"),
        Buffer("nothing", 0, "f4", pin="shared"),
        Buffer("far", 4, "f8", locations=("global",), lifetime=((0, 2),)),
        Buffer("later", 3, "f8", locations=("global",), lifetime=((2, 4),)),
        Buffer("beside", 5, "f4", locations=("global",)),
    ]
    return plan(Problem(buffers, Limits(48 * 1024, block_size)))


def every_place_kernel(arrays):
    """A kernel that writes and reads every array of `every_place`, one thread like the next."""
    first, second, table = arrays["first"], arrays["second"], arrays["table"]
    own, host, guest, kept = arrays["own"], arrays["host"], arrays["guest"], arrays["kept"]
    nothing, arena = arrays["nothing"], arrays.arena
    far, later, beside = arrays["far"], arrays["later"], arrays["beside"]

    @cuda.jit
    def kernel(out, memory):
        thread = cuda.threadIdx.x
        bytes_of_thread = arena()
        away, next_to, after = far(memory), beside(memory), later(memory)
        a, integers, mine = first(), table(), own()
        parent, view, state = host(bytes_of_thread), guest(bytes_of_thread), kept(bytes_of_thread)
        for i in range(6):
            integers[i, 0] = 10 * thread + i
        for i in range(5):
            a[i] = thread + i
        total = 0.0
        for i in range(4):
            mine[i] = a[i + 1]
        for i in range(4):
            away[i] = 1000 * thread + i
        for i in range(5):
            next_to[i] = i
        for i in range(8):
            parent[i] = 0
        for i in range(2):
            view[i] = i + 1
        for i in range(3):
            state[i] = 100 * thread
        cuda.syncthreads()
        for i in range(4):
            total += away[i] - 1000 * thread
        for i in range(3):
            after[i, 0] = 7 * thread
        for i in range(5):
            total += next_to[i]
        for i in range(3):
            total += after[i, 0] - 7 * thread
        b = second()
        for i in range(3):
            b[i] = mine[i]
        cuda.syncthreads()
        for i in range(8):
            total += parent[i]
        for i in range(3):
            total += b[i] + state[i]
        out[thread, 0] = total
        out[thread, 1] = integers[5, 0]
        out[thread, 2] = len(a) + len(b) + len(nothing())

    return kernel


def expected(threads):
    """What the kernel writes."""
    thread = np.arange(threads, dtype="f8")
    totals = 16 + 3 + (3 * thread + 6) + 300 * thread
    return np.stack([totals, 10 * thread + 5, np.full(threads, 8.0)], axis=1)


def whole_block_kernel(arrays):
    """Each thread writes one element of an array that belongs to the block, and reads another."""
    tile = arrays["tile"]

    @cuda.jit
    def kernel(out):
        row, column = cuda.threadIdx.y, cuda.threadIdx.x
        matrix = tile()
        matrix[row, column] = 10 * row + column
        cuda.syncthreads()
        out[row, column] = matrix[column, row]

    return kernel


def whole_block():
    """A plan for the shared memory of a whole block."""
    return plan(Problem([Buffer("tile", 9, "f4")], Limits(), "shared"))


def run_simulated():
    """Run all kernels in the simulator and compare; what the test's process does."""
    made = every_place(THREADS)
    arrays = allocators(made, {"table": (6, 1), "later": (3, 1)})
    out = np.zeros((THREADS, 3))
    memory = np.zeros(arrays.global_memory_bytes(THREADS), np.uint8)
    every_place_kernel(arrays)[1, THREADS, 0, arrays.shared_bytes](out, memory)
    np.testing.assert_array_equal(out, expected(THREADS))

    out = np.zeros((2, 3))  # threads of a two-dimensional block have slices of their own too
    table = allocators(made)["table"]

    @cuda.jit
    def ranks(out):
        mine = table()
        mine[0] = 3 * cuda.threadIdx.y + cuda.threadIdx.x
        cuda.syncthreads()
        out[cuda.threadIdx.y, cuda.threadIdx.x] = mine[0]

    ranks[1, (3, 2), 0, arrays.shared_bytes](out)
    np.testing.assert_array_equal(out, [[0, 1, 2], [3, 4, 5]])

    arrays = allocators(made)
    get, get_kept, arena = arrays["own"], arrays["kept"], arrays.arena

    @cuda.jit
    def unwritten(out):
        kept = get_kept(arena())
        for i in range(2):  # asked for again, it holds nothing of the first time
            values = get()
            out[i, 0] = values[0]
            values[0] = kept[0]
        out[2, 0] = kept[0]

    out = np.zeros((THREADS, 1))
    unwritten[1, 1, 0, arrays.shared_bytes](out)
    assert np.isnan(out[:3]).all()

    arrays = allocators(whole_block(), {"tile": (3, 3)})
    grid = np.zeros((3, 3), dtype="f4")
    whole_block_kernel(arrays)[1, (3, 3), 0, arrays.shared_bytes](grid)
    np.testing.assert_array_equal(grid, [[0, 10, 20], [1, 11, 21], [2, 12, 22]])
    try:
        whole_block_kernel(arrays)[1, (3, 3), 0, 8](grid)
    except Exception as error:
        print(error)
    else:
        raise AssertionError("a launch with too little shared memory went through")
