"""Kernels of the kinds that a published sweep of placements measured, with all arrays from a plan.

One of explicit stages and one that iterates on a scratch array, over as many states as are asked
for: plain numba-cuda, so that what is compiled is what a plan makes of such loops and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from attrs import frozen

from cubie_planner import Buffer, Limits, Location, Plan, Problem, plan
from cubie_planner.allocators import allocators

NUMBA_DYNAMIC_LIMIT = 48 * 1024


@frozen
class KernelSize:
    """A kernel's size.

    Attributes
    ----------
    states, stages : int
    parameters : int
        Read by the right-hand side, in an array of their own; none are an argument.
    staged : bool
        All derivatives are in one array, and a table says where each is: no compiler knows.
    work : int
        Elements of a scratch array that each stage iterates on, four vectors of states; 0 for
        explicit stages.
    """

    states: int
    stages: int = 7
    parameters: int = 0
    staged: bool = False
    work: int = 0

    @property
    def slopes(self) -> tuple[str, ...]:
        """Names of the arrays that hold derivatives of stages."""
        return ("slopes",) if self.staged else tuple(f"k{j}" for j in range(self.stages))

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        n = self.states
        one = n * self.stages if self.staged else n
        sizes = dict.fromkeys(("state", "proposed", "stage_state", "error"), n)
        sizes |= dict.fromkeys(self.slopes, one)
        sizes |= {"parameters": self.parameters, "work": self.work}
        return tuple(Buffer(name, count, "f4") for name, count in sizes.items() if count)


def placed(size: KernelSize, moved: tuple[str, ...]) -> Plan:
    """Return the plan with some buffers in shared memory, in blocks as the sweep had them.

    Those are of 256 threads, halved until a block has no more shared memory than numba allows.
    """
    places = {b.name: Location.SHARED if b.name in moved else Location.LOCAL for b in size.buffers}
    block = 256
    while True:
        limits = Limits(compute_capability=(8, 9), block_size=block)
        found = plan(Problem(size.buffers, limits, places))
        if found.run_stride_bytes * block <= NUMBA_DYNAMIC_LIMIT:
            return found
        block //= 2


def source_of(size: KernelSize, needs_arena: tuple[str, ...]) -> str:
    """Return the text of a kernel ``kernel(start, values, weights, slots, h, n_steps, out)``."""
    body = _iterated(size) if size.work else _staged(size) if size.staged else _explicit(size)
    arrays = [
        f"{b.name} = get_{b.name}({'arena' if b.name in needs_arena else ''})" for b in size.buffers
    ]
    loads = [("state", "start", size.states)]
    if size.parameters:
        loads.append(("parameters", "values", size.parameters))
    lines = [
        "run = cuda.grid(1)",
        "if run >= out.shape[1]:",
        "    return",
        *(["arena = make_arena()"] if needs_arena else []),
        *arrays,
        *(
            line
            for name, given, length in loads
            for line in (f"for i in range({length}):", f"    {name}[i] = {given}[i, run]")
        ),
        "step = int32(0)",
        "while step < n_steps:",
        *(f"    {line}" for line in body),
        "    step = int32(step + int32(1))",
        f"for i in range({size.states}):",
        "    out[i, run] = state[i]",
    ]
    head = "def kernel(start, values, weights, slots, h, n_steps, out):"
    return "\n".join([head, *(f"    {line}" for line in lines)])


def right_hand_side(size: KernelSize) -> str:
    """Return the text of ``rhs(y, p, at, out)``: Lorenz-96 written out, as generated code is."""
    n, read = size.states, size.parameters
    lines = ["def rhs(y, p, at, out):"]
    for i in range(n):
        after, before, first = (i + 1) % n, (i - 1) % n, (i - 2) % n
        force = f"p[{i % read}]" if read else "p"
        lines.append(
            f"    out[at + {i}] = (y[{after}] - y[{first}]) * y[{before}] - y[{i}] + {force}"
        )
    return "\n".join(lines)


def _calls(size: KernelSize) -> str:
    """Return what the right-hand side gets as its parameters."""
    return "parameters" if size.parameters else "h"


def _explicit(size: KernelSize) -> list[str]:
    """Stages written out: each adds up the derivatives of all before it."""
    n, p, names = size.states, _calls(size), size.slopes
    lines = [f"rhs(state, {p}, 0, {names[0]})"]
    for stage in range(1, size.stages):
        total = " + ".join(f"w{stage}_{j} * {names[j]}[i]" for j in range(stage))
        lines += [
            f"for i in range({n}):",
            f"    stage_state[i] = state[i] + h * ({total})",
            f"rhs(stage_state, {p}, 0, {names[stage]})",
        ]
    total = " + ".join(f"w0_{j} * {name}[i]" for j, name in enumerate(names))
    error = " + ".join(f"e{j} * {name}[i]" for j, name in enumerate(names))
    return lines + _judged(n, total, error)


def _staged(size: KernelSize) -> list[str]:
    """Stages in a loop, with derivatives where a table says: no compiler knows a place."""
    n, p, stages = size.states, _calls(size), size.stages

    def total(row: str, count: str) -> list[str]:
        return [
            "total = zero",
            f"for j in range({count}):",
            f"    total += weights[{row}, j] * slopes[slots[j] * {n} + i]",
        ]

    return [
        f"rhs(state, {p}, slots[0] * {n}, slopes)",
        f"for stage in range(1, {stages}):",
        f"    for i in range({n}):",
        *(f"        {line}" for line in total("stage", "stage")),
        "        stage_state[i] = state[i] + h * total",
        f"    rhs(stage_state, {p}, slots[stage] * {n}, slopes)",
        f"for i in range({n}):",
        *(f"    {line}" for line in total("0", str(stages))),
        "    proposed[i] = state[i] + h * total",
        f"for i in range({n}):",
        *(f"    {line}" for line in total(str(stages), str(stages))),
        "    error[i] = h * total",
        *_accepted(n),
    ]


def _iterated(size: KernelSize) -> list[str]:
    """Each stage is iterated on three times, with three rounds of least residuals in each.

    The scratch array holds residual, its product with a matrix, solution and start, one after
    the other. Indices are unsigned: numba looks whether others are negative.
    """
    n, p = size.states, _calls(size)
    if size.work != 4 * n:
        raise ValueError(f"work is {size.work}, but four vectors of {n} states are {4 * n}.")
    lines = []
    for stage, slope in enumerate(size.slopes):
        before = ["zero", *(f"w{stage}_{j} * {size.slopes[j]}[i]" for j in range(stage))]
        lines += [
            f"for i in range(u{n}):",
            f"    stage_state[i] = state[i] + h * ({' + '.join(before)})",
            f"    work[u{3 * n} + i] = stage_state[i]",
            f"    work[u{2 * n} + i] = zero",
            "for outer in range(3):",
            f"    rhs(stage_state, {p}, 0, {slope})",
            f"    for i in range(u{n}):",
            f"        work[i] = h * {slope}[i] - work[u{2 * n} + i]",
            "    for inner in range(3):",
            "        last, top, bottom = zero, zero, zero",
            f"        for i in range(u{n}):",
            "            value = work[i]",
            "            product = value - half * last",
            f"            work[u{n} + i] = product",
            "            top += product * value",
            "            bottom += product * product",
            "            last = value",
            "        share = top / (bottom + one)",
            f"        for i in range(u{n}):",
            f"            work[u{2 * n} + i] += share * work[i]",
            f"            work[i] -= share * work[u{n} + i]",
            f"    for i in range(u{n}):",
            f"        stage_state[i] = work[u{3 * n} + i] + work[u{2 * n} + i]",
        ]
    total = " + ".join(f"w0_{j} * {name}[i]" for j, name in enumerate(size.slopes))
    error = " + ".join(f"e{j} * {name}[i]" for j, name in enumerate(size.slopes))
    return [*lines, *_judged(n, total, error)]


def _judged(n: int, total: str, error: str) -> list[str]:
    return [
        f"for i in range({n}):",
        f"    proposed[i] = state[i] + h * ({total})",
        f"for i in range({n}):",
        f"    error[i] = h * ({error})",
        *_accepted(n),
    ]


def _accepted(n: int) -> list[str]:
    """The step is kept where its error is small, and the next one is of another size."""
    return [
        "norm = zero",
        f"for i in range({n}):",
        "    norm = max(norm, abs(error[i]))",
        "kept = norm < one",
        f"for i in range({n}):",
        "    state[i] = proposed[i] if kept else state[i]",
        "h = h * (two if norm < half else half)",
    ]


def compile_kernel(size: KernelSize, wanted: Plan, capability: tuple[int, int]) -> Any:
    """Return the `KernelResources` of a kernel under a plan."""
    from numba import cuda, float32, int32
    from numba.core import types

    from cubie.backend.cuda.pretended import pretended_device
    from cubie.backend.cuda.resources import assemble

    arrays = allocators(wanted)
    rhs = cuda.jit(device=True)(_function(right_hand_side(size), "rhs", {}))
    scope: dict[str, Any] = {f"get_{name}": arrays[name] for name in arrays}
    scope |= {"make_arena": arrays.arena, "rhs": rhs, "cuda": cuda, "int32": np.int32}
    scope |= {
        name: np.float32(value)
        for name, value in (("zero", 0), ("half", 0.5), ("one", 1), ("two", 2))
    }
    scope |= {f"u{k * size.states}": np.uint64(k * size.states) for k in (1, 2, 3)}
    for j in range(size.stages):
        scope[f"e{j}"] = np.float32(0.01 * (j + 1))
        scope |= {f"w{i}_{j}": np.float32(0.1 + 0.03 * i + 0.07 * j) for i in range(size.stages)}
    kernel = _function(source_of(size, arrays.needs_arena), "kernel", scope)
    table, slots = types.Array(float32, 2, "C"), types.Array(int32, 1, "C")
    signature = (table, table, table, slots, float32, int32, table)
    with pretended_device(capability):
        ptx, _ = cuda.compile_ptx(kernel, signature, cc=capability, fastmath=True, abi="numba")
    return assemble(ptx, capability, arrays.shared_bytes)


def _function(text: str, name: str, scope: Mapping[str, Any]) -> Callable:
    names = dict(scope)
    exec(compile(text, f"<{name}>", "exec"), names)
    return names[name]
