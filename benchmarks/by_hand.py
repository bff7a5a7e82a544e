"""Explicit Runge-Kutta kernels as one would write them by hand for numba-cuda, from a tableau.

All of a run's values are scalars, the stages are written out, and nothing is optional: the bar
for what the solver's kernels execute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy
from sympy.printing.pycode import PythonCodePrinter

from cubie.tableaus import get_tableau


class _Printer(PythonCodePrinter):
    """Print formulas whose numbers are names: a plain number would be one of double precision."""

    def __init__(self, constants: dict[str, float]):
        super().__init__()
        self._constants = constants

    def _print_number(self, value) -> str:
        return named(self._constants, float(value))

    _print_Float = _print_Rational = _print_number

    def _print_Integer(self, expr) -> str:
        return self._print_number(expr)

    def _print_Mul(self, expr) -> str:
        if expr.args[0] == -1:
            return f"(-{self._print(sympy.Mul(*expr.args[1:]))})"
        return "(" + " * ".join(map(self._print, expr.args)) + ")"

    def _print_Add(self, expr, order=None) -> str:
        return "(" + " + ".join(map(self._print, expr.args)) + ")"


def named(constants: dict[str, float], value: float) -> str:
    """Return the name of a constant, a new one where it has none."""
    for name, known in constants.items():
        if known == value:
            return name
    name = f"c{len(constants)}"
    constants[name] = value
    return name


def formulas_of(fun: Callable, n: int) -> tuple[list, list]:
    """Return the formulas of ``fun(t, y, parameter)``, and the symbols of y."""
    states = list(sympy.symbols(f"y:{n}"))
    values = fun(sympy.Symbol("t"), states, sympy.Symbol("p0"))
    return [sympy.sympify(value) for value in values], states


def least_operations(formula: Any) -> int:
    """Return the floating-point instructions of a formula, products fused into sums."""
    if not formula.args:
        return 0
    inner = sum(map(least_operations, formula.args))
    if formula.is_Mul:
        factors = len(formula.args) - (formula.args[0] == -1)
        return inner + factors - 1
    if formula.is_Add:
        products = sum(_is_product(term) for term in formula.args)
        sums = len(formula.args) - 1
        return inner + sums - min(products, sums)
    if formula.is_Pow and formula.exp == 2:
        return inner + 1
    raise ValueError(f"there is no count for {formula}")


def _is_product(term: Any) -> bool:
    return term.is_Mul and len(term.args) - (term.args[0] == -1) > 1


def least_instructions(method: str, fun: Callable, n: int, adaptive: bool) -> int:
    """Return the floating-point instructions of a step that no kernel can do without.

    Right-hand sides; sums over stages, with h times their coefficients worked out before the
    loop for fixed steps and per step or per component for adaptive ones, whichever is less; and
    for adaptive ones the error estimate and five instructions a component for its norm: the
    larger of two absolute values, its tolerance, a reciprocal, a product and the sum of squares.
    """
    tableau = get_tableau(method)
    formulas, _ = formulas_of(fun, n)
    rows = [[w for w in row if w] for row in (*tableau.a[1:], tableau.b)]
    if tableau.fsal:
        rows.pop()  # the last stage's argument is the new state
    weights = sum(map(len, rows))
    evaluations = len(tableau.b) - tableau.fsal
    total = evaluations * sum(map(least_operations, formulas)) + n * weights
    if adaptive:
        estimate = [w for w in tableau.error_weights if w]
        total += min(n * (len(rows) + 1), weights + len(estimate)) + n * (len(estimate) + 5)
    return total


def make_kernel(method: str, fun: Callable, n: int, dtype: str, adaptive: bool) -> Any:
    """Return a kernel function for ``cuda.jit``.

    ``kernel(start, p, h, n_steps, out)`` for fixed steps, where `start` and `out` are (n, runs)
    and p (runs,); ``kernel(start, p, h, t_end, out, rtol, atol)`` for adaptive ones.
    """
    constants: dict[str, float] = {}
    lines = _adaptive(method, fun, n, constants) if adaptive else _fixed(method, fun, n, constants)
    source = "\n".join(lines)
    real = np.dtype(dtype).type
    from numba import cuda

    scope = {name: real(value) for name, value in constants.items()}
    scope |= {"cuda": cuda, "math": __import__("math"), "real": real, "int32": np.int32}
    exec(compile(source, "<by hand>", "exec"), scope)
    return scope["kernel"]


def _sum_of(terms: list[str]) -> str:
    return " + ".join(terms)


def _stages(method: str, fun: Callable, n: int, constants: dict[str, float], hoisted: bool):
    """Yield the lines of a step: stages from k0 on, then the new state in z."""
    tableau = get_tableau(method)
    formulas, states = formulas_of(fun, n)
    printer = _Printer(constants)

    def combination(row, i: int) -> str:
        terms = [(j, w) for j, w in enumerate(row) if w]
        if hoisted:
            return _sum_of([f"y{i}"] + [f"h{named(constants, w)} * k{j}_{i}" for j, w in terms])
        return (
            f"y{i} + h * (" + _sum_of([f"{named(constants, w)} * k{j}_{i}" for j, w in terms]) + ")"
        )

    rows = [*tableau.a[1:]]
    last = len(rows) - 1
    for stage, row in enumerate(rows, start=1):
        is_new_state = tableau.fsal and stage - 1 == last
        name = "z" if is_new_state else "u"
        for i in range(n):
            yield f"{name}{i} = {combination(row, i)}"
        at = {state: sympy.Symbol(f"{name}{i}") for i, state in enumerate(states)}
        for i, formula in enumerate(formulas):
            yield f"k{stage}_{i} = {printer.doprint(formula.subs(at, simultaneous=True))}"
    if not tableau.fsal:
        for i in range(n):
            yield f"z{i} = {combination(tableau.b, i)}"


def _first_stage(fun: Callable, n: int, constants: dict[str, float]):
    formulas, _ = formulas_of(fun, n)
    printer = _Printer(constants)
    return [f"k0_{i} = {printer.doprint(formula)}" for i, formula in enumerate(formulas)]


def _begin(n: int, arguments: str) -> list[str]:
    return [
        f"def kernel(start, p, h, {arguments}):",
        "    run = cuda.grid(1)",
        "    if run >= p.size:",
        "        return",
        "    p0 = p[run]",
        *(f"    y{i} = start[{i}, run]" for i in range(n)),
    ]


def _end(n: int) -> list[str]:
    return [f"    out[{i}, run] = y{i}" for i in range(n)]


def _fixed(method: str, fun: Callable, n: int, constants: dict[str, float]) -> list[str]:
    tableau = get_tableau(method)
    body = list(_stages(method, fun, n, constants, hoisted=True))
    weights = {w for row in (*tableau.a[1:], tableau.b) for w in row if w}
    products = [f"    h{named(constants, w)} = h * {named(constants, w)}" for w in sorted(weights)]
    last = len(tableau.b) - 1
    first = _first_stage(fun, n, constants)
    carried = [f"k0_{i} = k{last}_{i}" for i in range(n)] if tableau.fsal else []
    at_start = [] if tableau.fsal else first
    return [
        *_begin(n, "n_steps, out"),
        *products,
        *(f"    {line}" for line in (first if tableau.fsal else [])),
        "    step = int32(0)",
        "    while step < n_steps:",
        *(f"        {line}" for line in at_start + body),
        *(f"        y{i} = z{i}" for i in range(n)),
        *(f"        {line}" for line in carried),
        "        step = int32(step + int32(1))",
        *_end(n),
    ]


def _adaptive(method: str, fun: Callable, n: int, constants: dict[str, float]) -> list[str]:
    tableau = get_tableau(method)
    body = list(_stages(method, fun, n, constants, hoisted=False))
    estimate = [(j, w) for j, w in enumerate(tableau.error_weights) if w]
    first = _first_stage(fun, n, constants)
    last = len(tableau.b) - 1

    def c(value: float) -> str:
        return named(constants, value)

    norm = ["s = " + c(0.0)]
    for i in range(n):
        error = _sum_of([f"{c(w)} * k{j}_{i}" for j, w in estimate])
        norm.append(f"e = h * ({error}) / (atol + rtol * max(abs(y{i}), abs(z{i})))")
        norm.append("s += e * e")
    order = tableau.error_order
    control = [
        f"s = max(s * {c(1.0 / n)}, {c(1e-10)})",
        f"factor = {c(0.9)} * math.exp2({c(-0.5 / (order + 1))} * math.log2(s))",
        f"factor = min(max(factor, {c(0.2)}), {c(5.0)})",
        f"if s <= {c(1.0)}:",
        "    t += h",
        *(f"    y{i} = z{i}" for i in range(n)),
        *(f"    k0_{i} = k{last}_{i}" for i in range(n) if tableau.fsal),
        "h *= factor",
    ]
    at_start = [] if tableau.fsal else first
    return [
        *_begin(n, "t_end, out, rtol, atol"),
        f"    t = {c(0.0)}",
        *(f"    {line}" for line in (first if tableau.fsal else [])),
        "    while t < t_end:",
        "        h = min(h, t_end - t)",
        *(f"        {line}" for line in at_start + body + norm + control),
        *_end(n),
    ]


def compile_by_hand(
    method: str, fun: Callable, n: int, dtype: str, adaptive: bool, capability: tuple[int, int]
) -> Any:
    """Return `KernelResources` of a kernel by hand."""
    from numba import cuda, from_dtype

    from cubie.backend.cuda.resources import assemble

    kernel = make_kernel(method, fun, n, dtype, adaptive)
    real = from_dtype(np.dtype(dtype))
    from numba.core import types

    states, values = types.Array(real, 2, "C"), types.Array(real, 1, "C")
    if adaptive:
        signature = (states, values, real, real, states, real, real)
    else:
        signature = (states, values, real, types.int32, states)
    ptx, _ = cuda.compile_ptx(kernel, signature, cc=capability, fastmath=True, abi="numba")
    return assemble(ptx, capability, 0)
