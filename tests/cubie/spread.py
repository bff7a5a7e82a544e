"""What Python makes of a formula, and which other values rounding excuses.

`python_value` is Python's own answer in double precision. `Spread` evaluates a formula in another
precision, or with the result of each inexact operation moved at random by as much as it may be off.
"""

from __future__ import annotations

import ast
import functools
import math
import operator
import random

import numpy as np
import scipy.special


class Raised(Exception):
    """Python raises where compiled code has NaN or an infinity."""


def python_value(function, column) -> float:
    """Return what ``function(t, y, p, q)`` gives for NumPy's double precision numbers."""
    t, y0, y1, p, q = map(np.float64, column)
    try:
        return float(function(t, np.array([y0, y1]), p, q))
    except (ValueError, ArithmeticError, TypeError, AttributeError) as error:  # of huge ints
        raise Raised from error


# How far off the results of functions may be, in units of the last place.
OFF = {
    "power": 64.0, "exp2": 1500.0, "cbrt": 300.0, "sinc": 16.0, "logaddexp": 64.0,
    "float_power": 64.0, "gamma": 64.0, "erfc": 32.0, "ndtr": 32.0,
}  # fmt: skip
SMALL_ERROR = 8.0
EXACT = frozenset(
    {"fabs", "absolute", "sqrt", "floor", "ceil", "trunc", "fix", "sign", "heaviside", "copysign",
     "fmod", "remainder", "floor_divide", "minimum", "maximum", "fmin", "fmax", "nan_to_num",
     "clip", "positive", "isnan", "isfinite", "isinf", "greater", "not_equal", "logical_and",
     "logical_not", "negative", "logical_or", "logical_xor", "bitwise_and", "bitwise_or",
     "bitwise_xor", "invert", "less", "less_equal", "greater_equal", "equal", "signbit",
     "conjugate", "real", "float64"}
)  # fmt: skip
# Sums inside: errors are as large as those of their terms.
SUMS = frozenset(
    {"interp", "sinc", "logaddexp", "gammaln", "digamma", "betaln", "hypot", "norm", "dot"}
)
OF_MATH = {
    "fabs": np.fabs, "pow": np.power, "asinh": np.arcsinh, "atan": np.arctan, "asin": np.arcsin,
    "acos": np.arccos, "acosh": np.arccosh, "atanh": np.arctanh, "atan2": np.arctan2,
    "erf": scipy.special.erf, "erfc": scipy.special.erfc, "gamma": scipy.special.gamma,
    "lgamma": lambda x: scipy.special.gammaln(np.abs(x) if np.isinf(x) else x),
    "log": lambda x, base=np.e: np.log(x) / np.log(base),
}  # fmt: skip
ROUNDED = frozenset(
    {"add", "subtract", "multiply", "divide", "true_divide", "square", "reciprocal"}
)


class Spread:
    """Evaluates formulas with errors put in.

    Parameters
    ----------
    dtype : float32 or float64
    rounding : float
        How far off sums and products may be, in units of the last place.
    functions : float
        Factor on the errors of functions; 0 for none.
    """

    def __init__(self, dtype, rounding: float, functions: float, seed: int = 0):
        self.dtype = np.dtype(dtype).type
        self.rounding, self.functions = rounding, functions
        self.random = random.Random(seed)
        self._folds = False
        self.namespace = {
            "np": _Module(self, np),
            "math": _Module(self, math),
            "special": _Module(self, scipy.special),
            "float": self.float,
            "min": lambda *values: self.of_run(min(values), values),
            "max": lambda *values: self.of_run(max(values), values),
            "choose": self._branch,
            "both": lambda a, b: self._branch(a, b, a),
            "one_of": lambda a, b: self._branch(a, a, b),
            "of_run": lambda constant: Number(self, self.dtype(constant)),
        }

    def value(
        self, text: str, column, rounds_constants: bool = False, folds_branches: bool = False
    ) -> float:
        """Return one possible value of a formula.

        Parameters
        ----------
        rounds_constants : bool, optional
            Constants are rounded to the dtype.
        folds_branches : bool, optional
            A constant that an ``if`` chose stays one: each branch is followed on its own, and what
            is made of constants alone there is calculated in double precision.
        """
        self._folds = folds_branches
        t, y0, y1, p, q = (Number(self, self.dtype(v)) for v in column)
        names = self.namespace | {"t": t, "y": (y0, y1), "p": p, "q": q}
        with np.errstate(all="ignore"):
            try:
                result = eval(_prepared(text, rounds_constants), names)
            except TypeError as error:
                # NumPy has no -x of conditions.
                if "numpy boolean" in str(error):
                    raise Raised from error
                raise
        if isinstance(result, complex):
            raise Raised
        return float(result.value if type(result) is Number else self.dtype(result))

    def wrap(self, name: str, result):
        if isinstance(result, (bool, np.bool_)):
            return Number(self, np.bool_(result))
        with np.errstate(all="ignore"):
            result = self.dtype(result)
            off = self.rounding if name in ROUNDED else 0.0
            if name not in ROUNDED and name not in EXACT:
                off = self.functions * OFF.get(name, SMALL_ERROR)
            if self.rounding and np.isinf(result) and name in ("multiply", "square", "power"):
                # Fused with a sum, a product does not overflow.
                largest = np.copysign(np.finfo(self.dtype).max, result)
                result = self.random.choice((result, self.dtype(largest)))
            if off and np.isfinite(result):
                spacing = np.finfo(self.dtype).eps * off
                result = self.dtype(result * self.dtype(1.0 + self.random.uniform(-1, 1) * spacing))
                if name == "power" and abs(result) < np.finfo(self.dtype).tiny:
                    # One over a power that overflows.
                    result = self.random.choice((result, self.dtype(0.0)))
        return Number(self, result)

    def of_run(self, result, operands):
        """Return a constant that was chosen by a run's number as one of the run's numbers."""
        chosen = any(type(a) is Number for a in operands) and type(result) in (float, int)
        return Number(self, self.dtype(result), True) if chosen else result

    def summed(self, name: str, result, terms):
        """Return a number that is the sum of such terms."""
        sizes = (abs(float(a)) for a in terms if np.isscalar(a) and np.isfinite(a))
        shift = self.functions * 8.0 * np.finfo(self.dtype).eps * max([1.0, *sizes])
        return self.wrap(name, result + (self.random.uniform(-1, 1) * shift if shift else 0.0))

    def choose(self, condition, a, b):
        """Return ``a if condition else b``."""
        return self.of_run(a if condition else b, (condition,))

    def _branch(self, condition, a, b):
        return (a if condition else b) if self._folds else self.choose(condition, a, b)

    def float(self, value):
        """Return Python's ``float(value)``."""
        if type(value) is not Number:
            return float(value)
        return Number(self, self.dtype(value.value), True)

    def zero(self, result):
        """Return the result with a sign of zero that is anyone's guess."""
        if result.value == 0.0 and not result.is_condition:
            result.value = self.dtype(self.random.choice((0.0, -0.0)))
        return result


class _Prepare(ast.NodeTransformer):
    def __init__(self, rounds_constants: bool):
        self.rounds_constants = rounds_constants

    def visit_Constant(self, node):
        return self._of_run(node) if type(node.value) is float else node

    def visit_Attribute(self, node):
        return self._of_run(node) if node.attr in ("pi", "inf") else node

    def visit_List(self, node):
        return node  # knots

    def visit_keyword(self, node):
        return node

    def _of_run(self, node):
        if not self.rounds_constants:
            return node
        return ast.Call(ast.Name("of_run", ast.Load()), [node], [])

    def visit_IfExp(self, node):
        self.generic_visit(node)
        name = ast.Name("choose", ast.Load())
        return ast.Call(name, [node.test, node.body, node.orelse], [])

    def visit_BoolOp(self, node):
        self.generic_visit(node)
        name = ast.Name("both" if isinstance(node.op, ast.And) else "one_of", ast.Load())
        return ast.Call(name, node.values, [])


@functools.cache
def _prepared(text: str, rounds_constants: bool):
    """Return code that calls `choose` for each conditional expression, `and` and `or`."""
    tree = _Prepare(rounds_constants).visit(ast.parse(text, mode="eval"))
    return compile(ast.fix_missing_locations(tree), "<formula>", "eval")


class Number:
    """A number or condition of a run, in formulas: of the dtype of a `Spread`, or a `np.bool_`.

    Those that are `plain` are Python's own, whose conditions count.
    """

    def __init__(self, spread: Spread, value, plain: bool = False):
        self.spread, self.value, self.plain = spread, value, plain

    @property
    def is_condition(self) -> bool:
        """Whether it is true or false, and no number."""
        return isinstance(self.value, np.bool_)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        result = self.spread.wrap(ufunc.__name__, _apply(self.spread, ufunc, inputs))
        return self.spread.zero(result) if _may_lose_sign(ufunc, inputs) else result

    def __bool__(self):
        return bool(self.value)

    def __invert__(self):
        if self.plain and self.is_condition:
            return Number(self.spread, self.spread.dtype(~int(self.value)), True)
        return Number(self.spread, ~self.value)

    def __neg__(self):
        return Number(self.spread, -self._counted(), self.plain)

    def _counted(self):
        """Return the value, of Python's own conditions 0 or 1."""
        return self.spread.dtype(self.value) if self.plain else self.value

    def __pos__(self):
        return self

    def __abs__(self):
        return Number(self.spread, abs(self._counted()), self.plain)

    def __float__(self):
        return float(self.value)


def _plain(spread, value):
    if type(value) is Number:
        return value.value
    return value if isinstance(value, (bool, np.bool_)) else spread.dtype(value)


def _apply(spread, function, inputs):
    with np.errstate(all="ignore"):
        return function(*(_plain(spread, a) for a in inputs))


def _check_root(base, exponent) -> None:
    """Half powers are square roots, which are NaN for -inf and keep the sign of zero.

    NumPy's own powers of -inf depend on the processor.
    """
    if not float(exponent).is_integer() and (base == -np.inf or (base == 0.0 and np.signbit(base))):
        raise Raised


def _bits(value):
    """Return a condition or a whole constant; no others have bits."""
    value = value.value if type(value) is Number else value
    if not isinstance(value, (bool, np.bool_, int)):
        raise Raised
    return value


def _may_lose_sign(ufunc, operands) -> bool:
    """Whether the tracer may have undone a sum or a product: with a constant, or a condition."""
    known = any(type(a) is not Number or a.is_condition for a in operands)
    return ufunc is np.multiply or (ufunc in (np.add, np.subtract) and known)


def _is_plain(value) -> bool:
    return value.plain if type(value) is Number else not isinstance(value, np.generic)


def _binary(name: str, ufunc, neutral_zero: bool):
    def apply(self, operands):
        plain = all(map(_is_plain, operands))
        if name.startswith("bitwise"):
            operands = tuple(map(_bits, operands))
        elif plain:
            operands = tuple(self.spread.dtype(_plain(self.spread, a)) for a in operands)
        if not name.startswith("bitwise"):
            operands = tuple(_plain(self.spread, a) for a in operands)
        with np.errstate(all="ignore"):
            result = self.spread.wrap(name, ufunc(*operands))
        result.plain = plain
        return result

    def forward(self, other):
        if ufunc is np.power:
            _check_root(self.value, float(_plain(self.spread, other)))
        result = apply(self, (self, other))
        touched = type(other) is not Number or other.is_condition or self.is_condition
        return self.spread.zero(result) if neutral_zero and touched else result

    def backward(self, other):
        result = apply(self, (other, self))
        return self.spread.zero(result) if neutral_zero else result

    return forward, backward


# Adding zero, and dropping what a condition multiplies, are undone by the tracer: zeros may lose
# their sign there.
for _name, _ufunc, _zero in (
    ("add", np.add, True), ("sub", np.subtract, True), ("mul", np.multiply, True),
    ("truediv", np.true_divide, False), ("mod", np.remainder, False),
    ("floordiv", np.floor_divide, False), ("pow", np.power, False),
):  # fmt: skip
    _pair = _binary(_ufunc.__name__, _ufunc, _zero)
    setattr(Number, f"__{_name}__", _pair[0])
    setattr(Number, f"__r{_name}__", _pair[1])
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    _compare = getattr(operator, _name)
    setattr(
        Number,
        f"__{_name}__",
        lambda self, other, c=_compare: Number(
            self.spread,
            np.bool_(c(self.value, _plain(self.spread, other))),
            self.plain and _is_plain(other),
        ),
    )
for _name in ("and", "or", "xor"):
    _pair = _binary(f"bitwise_{_name}", getattr(np, f"bitwise_{_name}"), False)
    setattr(Number, f"__{_name}__", _pair[0])
    setattr(Number, f"__r{_name}__", _pair[1])


def _counted(value):
    """Return a condition as 0 or 1."""
    return 0 + value


# NumPy sums conditions up as numbers.
OF_LISTS = {
    "sum": lambda np, a: sum(a),
    "fsum": lambda np, a: sum(a),
    "prod": lambda np, a: functools.reduce(operator.mul, map(_counted, a)),
    "mean": lambda np, a: sum(a) / float(len(a)),
    "max": lambda np, a: functools.reduce(np.maximum, a),
    "min": lambda np, a: functools.reduce(np.minimum, a),
    "any": lambda np, a: functools.reduce(np.logical_or, a),
    "all": lambda np, a: functools.reduce(np.logical_and, a),
    "count_nonzero": lambda np, a: sum(np.not_equal(x, 0) for x in a),
    "dot": lambda np, a, b: sum(_counted(x) * y for x, y in zip(a, b, strict=True)),
    "norm": lambda np, a: np.sqrt(sum(_counted(x) * x for x in a)),
}


class _Module:
    """`np` or `math` for numbers of a `Spread`."""

    def __init__(self, spread: Spread, module):
        self._spread, self._module = spread, module

    def __getattr__(self, name):
        entry = getattr(self._module, name)
        if not callable(entry):
            return entry
        return lambda *arguments, **options: self._known(
            name, self._call(name, entry, arguments, options)
        )

    def _known(self, name, result):
        """Return a result as a value of Python's own, or of NumPy's."""
        if type(result) is not Number or name in ("fsum", "prod"):
            return result
        return Number(self._spread, result.value, self._module is math)

    @property
    def linalg(self):
        """`np.linalg`."""
        return _Module(self._spread, np.linalg) if self._module is np else self._module.linalg

    def _select(self, conditions, choices, default):
        for condition, choice in reversed(list(zip(conditions, choices, strict=True))):
            default = self._spread.choose(condition, choice, default)
        return default

    def _call(self, name, entry, arguments, options):
        spread = self._spread
        if name == "where":
            return spread.choose(*arguments)
        if name == "select":
            return self._select(*arguments)
        if name in OF_LISTS:
            return OF_LISTS[name](_Module(spread, np), *arguments)
        if not any(type(a) is Number for a in arguments):
            # Constants are folded in double precision.
            return entry(*arguments, **options)
        plain = [a if a is None or isinstance(a, list) else _plain(spread, a) for a in arguments]
        if name in ("power", "pow", "float_power"):
            _check_root(*plain)
        if name in ("fmin", "fmax", "minimum", "maximum") and plain[0] == plain[1] == 0.0:
            return spread.zero(spread.wrap(name, plain[0]))
        if name in ("copysign", "signbit") and np.isnan(plain[-1]):
            raise Raised  # the sign of a NaN is no one's business
        with np.errstate(all="ignore"):
            if self._module is math:
                # NaN and infinities where Python raises.
                entry = OF_MATH.get(name) or getattr(np, name)
                name = entry.__name__
            if name in SUMS:
                return spread.summed(name, entry(*plain, **options), plain)
            if name == "nan_to_num":
                return spread.wrap(name, entry(np.float64(plain[0]), **options))
            result = spread.wrap(name, entry(*plain, **options))
            return spread.zero(result) if _may_lose_sign(entry, arguments) else result
