"""What the traced function meets in place of builtins, `math`, NumPy's modules and functions."""

import cmath
import functools
import math

import numpy as np

from cubie.systems.drivers.recognised import driver_of
from cubie.systems.errors import RightHandSideError, Untraceable
from cubie.systems.tracing.arithmetic import number
from cubie.systems.tracing.arrays import TracedArray, elementwise, traced
from cubie.systems.tracing.complex_numbers import COMPLEX, angle, joined
from cubie.systems.tracing.exceptions import mark_either, mark_plain, raise_as_math
from cubie.systems.tracing.expression import Expr
from cubie.systems.tracing.nodes import Complex, is_complex, is_mask
from cubie.systems.tracing.operations import FUNCTIONS, greatest, hypot, least


def for_scalars(name, native):
    function = FUNCTIONS.get(name)

    def traced_function(*operands):
        if not any(isinstance(a, (Expr, np.ndarray)) for a in operands):
            return native(*operands)
        if function is None:
            raise Untraceable(f"math.{name} is applied to an expression")
        raise_as_math(name, operands)
        result = mark_plain(elementwise(function, *operands))
        return result.item() if isinstance(result, np.generic) else result

    return traced_function


def _extremum(native, function):
    def traced_function(*values, **options):
        entries = list(values[0] if len(values) == 1 else values)
        if options or not any(isinstance(entry, Expr) for entry in entries):
            return native(entries, **options)
        return mark_either(function(*entries), entries)

    return traced_function


def _isinstance(value, kinds):
    """Answer for an expression as for the float that it stands for."""
    if isinstance(value, Expr):
        value = np.bool_(True) if is_mask(value) else np.float64(1.0)
    elif isinstance(value, Complex):
        value = np.complex128(1.0)
    return isinstance(value, kinds)


class _FloatKind(type):
    def __instancecheck__(cls, value):
        return isinstance(value, (float, Expr))

    def __getattr__(cls, name):
        return getattr(float, name)


class TracedFloat(metaclass=_FloatKind):
    """`float` for code under trace: leaves expressions alone, and is a dtype like `float`."""

    dtype = np.dtype(float)

    def __new__(cls, *value):
        if value and isinstance(value[0], Expr):
            return mark_plain(number(value[0]))
        return float(*value)


class TracedFloat64(TracedFloat):
    """`np.float64` for code under trace: leaves expressions and arrays of them alone."""

    def __new__(cls, *value):
        if value and isinstance(value[0], TracedArray):
            return value[0].astype(float)
        if value and isinstance(value[0], Expr):
            return number(value[0])
        return np.float64(*value)


class _ComplexKind(type):
    def __instancecheck__(cls, value):
        return is_complex(value)

    def __getattr__(cls, name):
        return getattr(complex, name)


class TracedComplex(metaclass=_ComplexKind):
    """`complex` and `np.complex128` for code under trace: they leave expressions alone."""

    dtype = np.dtype(complex)

    def __new__(cls, re=0.0, im=0.0):
        if isinstance(re, TracedArray):
            return re.astype(complex)
        if not any(isinstance(part, (Expr, Complex)) for part in (re, im)):
            return complex(re) if type(re) is str else complex(re, im)
        return re + im * 1j if isinstance(re, Complex) or is_complex(im) else joined(re, im)


TYPES = {
    float: TracedFloat,
    np.float64: TracedFloat64,
    complex: TracedComplex,
    np.complex128: TracedComplex,
}


def _fsum(values):
    return sum(values)


def _prod(values, *, start=1):
    return functools.reduce(lambda a, b: a * b, values, start)


def _dist(p, q):
    return hypot(*(a - b for a, b in zip(p, q, strict=True)))


BUILTINS = {
    "min": _extremum(min, least),
    "max": _extremum(max, greatest),
    "float": TracedFloat,
    "complex": TracedComplex,
    "isinstance": _isinstance,
}


MATH = {
    name: for_scalars(name, function)
    for name, function in vars(math).items()
    if callable(function) and not name.startswith("_")
} | {"fsum": _fsum, "prod": _prod, "dist": _dist}


def _of_complex(name, native):
    function = COMPLEX[name]

    def traced_function(z):
        return function(z) if isinstance(z, (Expr, Complex)) else native(z)

    return traced_function


CMATH = {
    name: _of_complex(name, getattr(cmath, name))
    for name in ("exp", "log", "log10", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh")
}
BY_FUNCTION = {getattr(math, name): function for name, function in MATH.items()}
BY_FUNCTION |= {getattr(cmath, name): function for name, function in CMATH.items()}
BY_FUNCTION[cmath.phase] = lambda z: angle(z) if is_complex(z) else cmath.phase(z)


class Advancing:
    """Stands for an iterator or a generator, which every use moves on."""

    def __init__(self, name):
        self._name = name

    def __iter__(self):
        return self

    def __next__(self):
        raise RightHandSideError(
            f"fun takes the next entry of `{self._name}`, which moves on with every call. A "
            "right-hand side must depend on t, y and args only; give it a list, and choose the "
            "entry by t or y."
        )

    send = __next__


class Recognised:
    """An interpolator that is looked up where it is called with expressions."""

    def __init__(self, original, driver):
        self._original = original
        self._driver = driver

    def __call__(self, x, *more, **options):
        x = listed(x)
        if not isinstance(x, (Expr, TracedArray)):
            return self._original(x, *more, **options)
        return self._driver(x, *more, **options)

    def derivative(self, nu=1):
        """Return the derivative of order `nu`, an interpolator too."""
        derivative = self._original.derivative(nu)
        driver = driver_of(derivative)
        return derivative if driver is None else Recognised(derivative, driver)

    def __getattr__(self, name):
        return getattr(self._original, name)


class TracedModule:
    """A module whose attributes are rewired when they are asked for."""

    def __init__(self, module, rewire):
        self._module = module
        self._rewire = rewire

    def __getattr__(self, name):
        return self._rewire(getattr(self._module, name))


class TracedUfunc:
    """A ufunc that takes lists of expressions too."""

    def __init__(self, ufunc):
        self._ufunc = ufunc

    def __call__(self, *inputs, **options):
        return self._ufunc(*map(listed, inputs), **options)

    def __getattr__(self, name):
        return getattr(self._ufunc, name)


def listed(value):
    """Return a list, or list of lists, that holds expressions as a traced array."""
    if type(value) not in (list, tuple):
        return value
    entries = list(_entries(value))
    if not any(isinstance(entry, (Expr, Complex)) for entry in entries):
        return value
    numbers = (Expr, Complex, float, int, complex, np.number, np.bool_)
    if all(isinstance(entry, numbers) for entry in entries):
        return traced(np.array(value, dtype=object))
    return value


def _entries(value):
    for entry in value:
        if type(entry) in (list, tuple):
            yield from _entries(entry)
        else:
            yield entry
