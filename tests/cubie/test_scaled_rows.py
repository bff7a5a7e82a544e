"""A row that is a number times something costs no multiplication of its own, and loses nothing."""

import ast
import inspect

import numpy as np
import pytest
from llvmlite import ir
from numba.core import types

from cubie import Solver
from cubie.backend import compiled
from cubie.backend.lanes.straight_line import LARGEST_SCALE, emitter
from cubie.backend.lanes.types import Buf, Lanes, lane_type

FREE = ("contract", "reassoc")


def products(row, flags=FREE, dtype=types.float64):
    """Return the flags of each product in the instructions of one row."""
    text = f"def rhs(y, dy, at):\n    x = y[0]\n    z = y[1]\n    dy[at + 0] = {row}\n"
    kinds = (Buf(dtype, 2, 4), Buf(dtype, 1, 4), types.int64)
    pointer = lane_type(dtype, 4).as_pointer()
    signature = ir.FunctionType(ir.VoidType(), [pointer, pointer, ir.IntType(64)])
    function = ir.Function(ir.Module(), signature, "rhs")
    builder = ir.IRBuilder(function.append_basic_block())
    generate = emitter(ast.parse(text).body[0], Lanes(dtype, 4), None, of_scaled_rows=flags)
    signature, lower = generate(None, *kinds)
    lower(_Context(), builder, signature, function.args)
    instructions = [line for block in function.blocks for line in block.instructions]
    return [tuple(line.flags) for line in instructions if line.opname == "fmul"]


class _Context:
    """What the emitter asks of numba's."""

    def get_dummy_value(self):
        return None


@pytest.mark.parametrize("dtype", [types.float64, types.float32])
def test_only_the_number_of_a_whole_row_may_be_multiplied_sooner(dtype):
    """It is of ordinary size, and the product is the last that is done; no other one is freed."""
    limit = LARGEST_SCALE[dtype.bitwidth]
    for scale in (10.0, -10.0, limit, 1.0 / limit):
        assert products(f"{scale!r} * (x - z)", dtype=dtype) == [FREE]
        assert products(f"(x - z) * {scale!r}", dtype=dtype) == [FREE]
    for scale in (0.0, 2.0 * limit, 0.5 / limit, -2.0 * limit):
        assert products(f"{scale!r} * (x - z)", dtype=dtype) == [()]
    for row in ("x * z", "10.0 * x - z", "1.0 - 10.0 * x", "-(10.0 * x)", "x * z - z"):
        assert set(products(row, dtype=dtype)) == {()}
    assert products("10.0 * (x * z)", dtype=dtype) == [(), FREE]


def test_nothing_is_freed_where_nothing_may_be():
    """Without fast-math numbers are computed as written."""
    assert products("10.0 * (x - z)", flags=()) == [()]


@pytest.mark.parametrize("fastmath", [True, False])
def test_kernels_free_them_with_fast_math_alone(fastmath, monkeypatch, tmp_path):
    """The emitter is told by the target."""
    asked = []

    def seen(*arguments, **named):
        bound = inspect.signature(emitter).bind(*arguments, **named)
        asked.append(bound.arguments["of_scaled_rows"])
        return emitter(*arguments, **named)

    monkeypatch.setattr(compiled, "emitter", seen)
    monkeypatch.setenv("CUBIE_CACHE_DIR", str(tmp_path))
    solver = Solver(lambda t, y: [-7.25 * y[0]], method="rk4", backend="cpu", fastmath=fastmath)
    solver.solve((0.0, 1.0), [1.0], first_step=0.1)
    assert (FREE in asked) == fastmath


@pytest.mark.parametrize("scale", [1e-300, 1e-15, 1e15, 1e300])
def test_steps_of_any_size_leave_no_range(scale):
    """The product of step size and number may be none that the dtype holds: the rows are."""
    inverse = 1.0 / scale

    def fun(t, y, p):
        return [scale * (inverse * p), p]

    solver = Solver(fun, method="rk4", backend="cpu", save="final")
    for step in (1e-20, 1e20):
        end = solver.solve((0.0, 8 * step), [0.0, 0.0], args=(0.5,), first_step=step).y[:, -1]
        np.testing.assert_allclose(end, 4 * step, rtol=1e-14)


def test_what_is_no_number_stays_none():
    """A state that is NaN, or infinite times zero, is seen by the run that has it."""

    def fun(t, y, p):
        return [3.0 * (p - y[0]), 3.0 * (y[0] * p)]

    solver = Solver(fun, method="rk4", backend="cpu", save="final")
    runs = solver.solve(
        (0.0, 1.0), [0.0, 0.0], args=(np.array([1.0, np.inf, np.nan]),), first_step=0.1
    )
    assert runs.success.tolist() == [True, False, False]
