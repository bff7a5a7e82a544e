"""Kernels with tiles beside slices, pools, layouts and phases, compiled or simulated by tests."""

import warnings

import numpy as np
from numba import cuda

from cubie_planner import Buffer, Limits, Padding, Pool, Problem, Swizzle, plan
from cubie_planner.allocators import allocators
from cubie_planner.declarations.timeline import PhaseInterval

THREADS = 8
MANY = 40  # threads that end before others begin, so that numbers of threads are given again
NEAR = Pool("near", 64, cost=0.5)
SCRATCH = Pool("scratch", 256, "block")


def mixed():
    """A plan with tiles, slices, and both kinds of pools."""
    buffers = [
        Buffer("tile", THREADS, "f4", locations="tile", lifetime=((0, 2),)),
        Buffer("sums", THREADS, "f8", locations="tile", lifetime=((2, 3),)),
        Buffer("mine", 3, "f8", locations="shared", lifetime=((0, 3),)),
        Buffer("close", (2, 2), "f4", locations=NEAR, pin="near", lifetime=((0, 3),)),
        Buffer("far", THREADS, "f8", locations=SCRATCH, lifetime=((0, 3),)),
    ]
    return plan(Problem(buffers, Limits(4096, THREADS)))


def mixed_kernel(arrays):
    """Every thread writes its element of each array of the block, and reads its neighbour's."""
    get_tile, get_sums, get_mine = arrays["tile"], arrays["sums"], arrays["mine"]
    get_close, get_far = arrays["close"], arrays["far"]
    load, add = arrays.begin(0), arrays.begin(2)
    room = max(1, arrays.pool_bytes["near"])

    @cuda.jit
    def kernel(out, scratch):
        i = cuda.threadIdx.x
        tile, sums, mine = get_tile(), get_sums(), get_mine()
        close = get_close(cuda.local.array(room, np.uint8))
        far = get_far(scratch[cuda.blockIdx.x])
        load()
        tile[i] = i
        far[i] = 10 * i
        for k in range(3):
            mine[k] = 100 * i + k
        close[1, 0] = 5
        cuda.syncthreads()
        nearby = tile[(i + 1) % THREADS] + far[(i + 1) % THREADS]
        add()
        sums[i] = nearby + mine[2] + close[1, 0]
        cuda.syncthreads()
        out[cuda.blockIdx.x, i] = sums[(i + 1) % THREADS]

    return kernel


def mixed_expected():
    """What a block of the kernel writes."""
    i = (np.arange(THREADS) + 1) % THREADS
    return 11.0 * ((i + 1) % THREADS) + 100 * i + 2 + 5


def transposing(layout):
    """A plan for a matrix that is written by rows and read by columns."""
    matrix = Buffer("matrix", (4, 8), "f4", locations="tile", layout=layout)
    return plan(Problem([matrix]))


def transposing_kernel(arrays):
    """Write a matrix by rows and read it by columns; elements lie where `columns` says."""
    get, column_of = arrays["matrix"], arrays.columns["matrix"]

    @cuda.jit
    def kernel(out):
        row, column = cuda.threadIdx.y, cuda.threadIdx.x
        matrix = get()
        matrix[row, column_of(row, column)] = 8 * row + column
        cuda.syncthreads()
        out[column, row] = matrix[row, column_of(row, column)]

    return kernel


def rows_of_matrices():
    """A plan with a padded matrix of the block, and one of each thread in global memory."""
    buffers = [
        Buffer("padded", (4, 4), "f4", locations="tile", layout=Padding(1)),
        Buffer("away", (4, 4), "f4", locations=("global",)),
    ]
    return plan(Problem(buffers))


def rows_kernel(arrays):
    """Use matrices by elements, from the end, by rows, and in a function that takes them."""
    get_padded, get_away = arrays["padded"], arrays["away"]

    @cuda.jit(device=True, inline="always")
    def fill(matrix, scale):
        for i in range(4):
            row = matrix[i]
            for j in range(4):
                row[j] = scale * (4 * i + j)
        matrix[-1, -1] += 1
        matrix[np.uint32(1), 2] -= 1

    @cuda.jit
    def kernel(out, memory):
        padded, away = get_padded(), get_away(memory)
        fill(padded, 1)
        fill(away, 10)
        for i in range(4):
            for j in range(4):
                out[4 * i + j] = padded[i][j] + away[i, j]

    return kernel


def viewing_kernel(arrays):
    """What else is done to a matrix: slices, iteration, atomics, and functions that take it."""
    get_padded = arrays["padded"]

    @cuda.jit(device=True, inline="never")
    def last_of(row):
        return row[-1]

    @cuda.jit(device=True, inline="never")
    def corner(matrix):
        return matrix[3, 3] + last_of(matrix[2])

    @cuda.jit
    def kernel(out):
        padded = get_padded()
        padded[:, :] = 1
        padded[0] = 2
        padded[:, 3] = 3
        padded[1:3, 1] = 5
        cuda.atomic.add(padded, (1, 1), 10)
        for row in padded:
            out[0] += row[0] + last_of(row)
        for value in padded.flat:
            out[1] += value
        out[2] = corner(padded) + padded.shape[1] + len(padded[1])
        out[3] = padded[1, 1] + padded[:, 1][2] + padded[-1][-2]

    return kernel


def begins_nothing(calls_begin):
    """A launch with poison of a kernel that calls no function of `begin`, or does."""
    buffers = [Buffer("a", 4, "f4", locations="tile", lifetime=((0, 1),))]
    arrays = allocators(plan(Problem(buffers)), poison=True)
    get, begin = arrays["a"], arrays.begin(0)

    @cuda.jit
    def kernel(out):
        if calls_begin:
            begin()
        get()[0] = 1

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        arrays.launch(kernel, 1, 1)(np.zeros(1))
    return [str(one.message) for one in caught if "poison=True" in str(one.message)]


def handed_over(name, size, start=0):
    """What is said of `size` bytes from byte `start` of an array, handed over for a pool."""
    pool = Pool("p", scope="block")
    buffers = [Buffer("d", 2, "f8", locations=pool), Buffer("f", 3, "f4", locations=pool)]
    kept = Buffer("kept", 2, "f8", pin="local_persistent")
    get = allocators(plan(Problem([*buffers, kept])))[name]

    @cuda.jit
    def kernel(memory):
        get(memory[start : start + size])

    try:
        kernel[1, 1](np.zeros(64, np.uint8))
    except Exception as error:
        return str(error)
    return ""


def carried(lifetime, poison):
    """What a kernel reads of a tile in its third phase, where it is declared with a lifetime."""
    buffers = [
        Buffer("kept", 4, "f4", locations="tile", lifetime=lifetime),
        Buffer("other", 4, "f4", locations="tile", lifetime=((1, 2),)),
    ]
    arrays = allocators(plan(Problem(buffers)), poison=poison)
    get_kept, get_other = arrays["kept"], arrays["other"]
    first, second, third = (arrays.begin(point) for point in (0, (1, 2), PhaseInterval(2, 3)))

    @cuda.jit
    def kernel(out):
        i = cuda.threadIdx.x
        kept, other = get_kept(), get_other()
        first()
        kept[i] = i
        second()
        if i < 1:
            other[i] = 7
        third()
        out[i] = kept[i]

    out = np.zeros(4)
    arrays.launch(kernel, 1, 4)(out)
    return out


def looping(poison):
    """A loop over two phases: what lives in both is carried from one turn to the next."""
    buffers = [
        Buffer("total", 1, "f8", locations="tile", lifetime=((0, 2),)),
        Buffer("step", 4, "f8", locations="tile", lifetime=((1, 2),)),
        Buffer("own", 1, "f8", locations="shared", lifetime=((0, 2),)),
    ]
    arrays = allocators(plan(Problem(buffers, Limits(None, 4))), poison=poison)
    get_total, get_step, get_own = arrays["total"], arrays["step"], arrays["own"]
    first, second = arrays.begin(0), arrays.begin(1)

    @cuda.jit
    def kernel(out):
        i = cuda.threadIdx.x
        total, step, own = get_total(), get_step(), get_own()
        for turn in range(3):
            first()
            if turn == 0:
                own[0] = 0
                if i == 0:
                    total[0] = 0
            second()
            step[i] = i + 1
            own[0] += i
            cuda.syncthreads()
            if i == 0:
                total[0] += step[0] + step[1] + step[2] + step[3]
        first()
        out[i] = total[0] + own[0]

    out = np.zeros(4)
    arrays.launch(kernel, 1, 4)(out)
    return out


def unwritten():
    """What is read of everything that was never written, with poison."""
    arrays = allocators(mixed(), poison=True)
    names = [name for name in arrays if name not in arrays.needs_pool]
    getters = [arrays[name] for name in names]
    begin = arrays.begin(0)

    @cuda.jit
    def kernel(out):
        begin()
        for k in range(len(getters)):
            out[cuda.threadIdx.x, k] = getters[k]()[0]

    out = np.zeros((THREADS, len(names)))
    arrays.launch(kernel, 1, THREADS)(out)
    return out


def survives(poison):
    """Persistent, global and pooled arrays of a thread through phases that they live in, or not."""
    near = Pool("near")
    buffers = [
        Buffer("state", 2, "f8", pin="local_persistent"),
        Buffer("work", 2, "f8", pin="local_persistent", lifetime=((0, 1),)),
        Buffer("away", 2, "f8", locations=("global",), lifetime=((0, 3),)),
        Buffer("gone", 2, "f8", locations=("global",), lifetime=((1, 2),)),
        Buffer("held", 2, "f8", locations=near, lifetime=((0, 1), (2, 3))),
    ]
    arrays = allocators(plan(Problem(buffers, Limits(None, MANY))), poison=poison)
    state, work, away = arrays["state"], arrays["work"], arrays["away"]
    gone, held = arrays["gone"], arrays["held"]
    make, room = arrays.arena, arrays.pool_bytes["near"]
    begin = [arrays.begin(point) for point in range(3)]

    @cuda.jit
    def kernel(out, memory):
        i = cuda.threadIdx.x
        arena = make()
        pool = cuda.local.array(room, np.uint8)
        mine, scratch, outside = state(arena), work(arena), away(memory)
        short, gap = gone(memory), held(pool)
        begin[0]()
        mine[0], scratch[0], outside[0], gap[0] = i, i + 10, i + 20, i + 30
        begin[1]()
        short[0] = i + 40
        begin[2]()
        out[i, 0], out[i, 1], out[i, 2] = mine[0], scratch[0], outside[0]
        out[i, 3], out[i, 4] = short[0], gap[0]

    out = np.zeros((MANY, 5))
    memory = np.zeros(arrays.global_memory_bytes(MANY), np.uint8)
    arrays.launch(kernel, 1, MANY)(out, memory)
    return out


def two_plans():
    """A kernel with the allocators of two plans."""
    first = allocators(plan(Problem([Buffer("a", 4, "f4", locations="tile")])))["a"]
    second = allocators(plan(Problem([Buffer("b", 8, "f4", locations="tile")])))["b"]

    @cuda.jit
    def kernel(out):
        one, other = first(), second()
        one[0] = 1
        other[0] = 2
        out[0] = one[0]

    return kernel


def run_simulated():
    """Run all kernels in the simulator and compare; what the test's process does."""
    for poison in (False, True):
        arrays = allocators(mixed(), poison=poison)
        out = np.zeros((3, THREADS))
        scratch = np.zeros((3, arrays.pool_bytes["scratch"]), np.uint8)
        arrays.launch(mixed_kernel(arrays), 3, THREADS)(out, scratch)
        np.testing.assert_array_equal(out, np.tile(mixed_expected(), (3, 1)))
        np.testing.assert_array_equal(looping(poison), [30.0, 33.0, 36.0, 39.0])
        assert not np.isnan(carried(((0, 3),), poison)).any()

    for layout in (None, Padding(1), Swizzle(4), Swizzle(2, unit=4), Swizzle(4, rows=2)):
        arrays = allocators(transposing(layout))
        out = np.zeros((8, 4))
        transposing_kernel(arrays)[1, (8, 4), 0, arrays.shared_bytes](out)
        np.testing.assert_array_equal(out, np.arange(32.0).reshape(4, 8).T)

    made = rows_of_matrices()
    arrays = allocators(made)
    out, memory = np.zeros(16), np.zeros(arrays.global_memory_bytes(1), np.uint8)
    arrays.launch(rows_kernel(arrays), 1, 1)(out, memory)
    expected = 11.0 * np.arange(16)
    expected[[15, 6]] += 2, -2
    np.testing.assert_array_equal(out, expected)

    out = np.zeros(4)
    arrays.launch(viewing_kernel(arrays), 1, 1)(out)
    np.testing.assert_array_equal(out, [17, 45, 14, 21])

    assert not begins_nothing(True)
    assert len(begins_nothing(False)) == 1

    short = ((0, 1),)  # but it is read at point 2
    np.testing.assert_array_equal(carried(short, False), [7.0, 1.0, 2.0, 3.0])
    assert np.isnan(carried(short, True)).all()
    assert np.isnan(carried(((0, 1), (2, 3)), True)).all()  # dead in between
    assert np.isnan(unwritten()).all()
    each = np.arange(MANY)
    np.testing.assert_array_equal(survives(False)[:, 0], each)
    found = survives(True)
    np.testing.assert_array_equal(found[:, [0, 2]], np.stack([each, each + 20], axis=1))
    assert np.isnan(found[:, [1, 3, 4]]).all()

    try:
        two_plans()[1, 1, 0, 64](np.zeros(1))
    except Exception as error:
        print(error)
    arrays = allocators(mixed())
    try:
        arrays.launch(mixed_kernel(arrays), 1, (3, 3))
    except Exception as error:
        print(error)
    assert not handed_over("d", 32)
    assert not handed_over("d", 32, 32)
    for given in (("d", 32, 28), ("f", 24), ("kept", 8)):
        print(handed_over(*given).splitlines()[-1])
