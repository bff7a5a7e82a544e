"""The user's function with `math`, NumPy's array makers and a few builtins sent to the tracer.

`math.exp` and `float` insist on plain floats, and `np.zeros` makes an array that cannot hold
expressions. The function, and every Python function it reaches through globals, closures,
modules, partials and methods, is therefore copied with those names bound to functions that can
be traced. The code itself is not touched: line numbers in tracebacks are the user's. Nothing
outside the copies changes, so tracing is safe beside other threads.
"""

import builtins
import functools
import math
import types

import numpy as np

from cubie.systems.arrays import adopt, elementwise, traced
from cubie.systems.errors import Untraceable
from cubie.systems.exceptions import catches, mark_plain, raise_as_math
from cubie.systems.expression import Expr, call, is_mask
from cubie.systems.fingerprint import LIBRARIES, names_of
from cubie.systems.numpy_functions import CREATORS, REPLACED
from cubie.systems.operations import FUNCTIONS, greatest, hypot, least


def _for_scalars(name, native):
    function = FUNCTIONS.get(name)

    def traced_function(*operands):
        if not any(isinstance(a, (Expr, np.ndarray)) for a in operands):
            return native(*operands)
        if function is None:
            raise Untraceable(f"math.{name} is applied to an expression")
        raise_as_math(name, operands)
        return mark_plain(elementwise(function, *operands))

    return traced_function


def _extremum(native, function):
    def traced_function(*values, **options):
        entries = list(values[0] if len(values) == 1 else values)
        if options or not any(isinstance(entry, Expr) for entry in entries):
            return native(entries, **options)
        return function(*entries)

    return traced_function


def _isinstance(value, kinds):
    """Answer for an expression as for the float that it stands for."""
    if isinstance(value, Expr):
        value = np.bool_(True) if is_mask(value) else np.float64(1.0)
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
        return mark_plain(value[0]) if value and isinstance(value[0], Expr) else float(*value)


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
    "isinstance": _isinstance,
}
MATH = {
    name: _for_scalars(name, function)
    for name, function in vars(math).items()
    if callable(function) and not name.startswith("_")
} | {"fsum": _fsum, "prod": _prod, "dist": _dist}
MATH["pow"] = _for_scalars("pow", math.pow)
# Rounded to the nearest, unlike NumPy's function of this name.
MATH["remainder"] = _for_scalars("IEEE remainder", math.remainder)
MATH["fabs"] = lambda x: call("fabs", x) if isinstance(x, Expr) else math.fabs(x)
BY_FUNCTION = {getattr(math, name): function for name, function in MATH.items()}


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
        return self._ufunc(*map(_listed, inputs), **options)

    def __getattr__(self, name):
        return getattr(self._ufunc, name)


class Rewiring:
    """Copies of the functions that one trace reaches, each made once.

    Attributes
    ----------
    catches : bool
        Whether one of them catches exceptions.
    """

    def __init__(self):
        self.catches = False
        self._copies = {}
        self._globals = {}

    def __call__(self, value):
        """Return the value as code under trace should see it."""
        copy = self._copies.get(id(value))
        if copy is None:
            copy = self._copy(value)
            # The value is kept with its copy, so that its id stays taken.
            self._copies[id(value)] = copy = (copy, value)
        return copy[0]

    def _copy(self, value):
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.ModuleType):
            return TracedModule(value, self)
        if isinstance(value, functools.partial):
            keywords = {name: self(entry) for name, entry in value.keywords.items()}
            return functools.partial(self(value.func), *map(self, value.args), **keywords)
        if isinstance(value, types.MethodType):
            return types.MethodType(self(value.__func__), self(value.__self__))
        if type(value) in (list, tuple) and any(callable(entry) for entry in value):
            return type(value)(map(self, value))
        if type(value) is dict and any(callable(entry) for entry in value.values()):
            return {key: self(entry) for key, entry in value.items()}
        if isinstance(value, type):
            return value
        inner = getattr(value, "py_func", None) or (
            value.__wrapped__ if isinstance(value, functools._lru_cache_wrapper) else None
        )
        if inner is not None:
            return self(inner)
        try:
            known = BY_FUNCTION.get(value) or CREATORS.get(value) or REPLACED.get(value)
        except TypeError:
            known = None
        if known is not None:
            return known
        if isinstance(value, np.ufunc):
            return TracedUfunc(value)
        if _library(value) == "numpy" and callable(value):
            return _adopting(value)
        return self._instance(value)

    def _function(self, function):
        # Functions of libraries work on traced arrays as they are.
        if _library(function) in LIBRARIES:
            return function
        code = function.__code__
        self.catches = self.catches or catches(code)
        namespace = self._globals.setdefault(id(function.__globals__), dict(function.__globals__))
        cells = tuple(types.CellType() for _ in code.co_freevars) or None
        copy = types.FunctionType(code, namespace, function.__name__, None, cells)
        # Known before its surroundings are looked at: functions may refer to one another.
        self._copies[id(function)] = (copy, function)
        copy.__defaults__ = tuple(map(self, function.__defaults__ or ())) or None
        if function.__kwdefaults__:
            copy.__kwdefaults__ = {k: self(v) for k, v in function.__kwdefaults__.items()}
        for name in sorted(names_of(code)):
            if name in function.__globals__:
                namespace[name] = self(function.__globals__[name])
            elif name in BUILTINS and hasattr(builtins, name):
                namespace[name] = BUILTINS[name]
        for cell, original in zip(cells or (), function.__closure__ or (), strict=True):
            if _is_filled(original):
                cell.cell_contents = self(original.cell_contents)
        return copy

    def _instance(self, value):
        """Return a stand-in for an object with Python methods: same state, rewired methods."""
        kind = type(value)
        if _library(kind) in LIBRARIES or kind.__module__ == "builtins":
            return value
        methods = {}
        for base in reversed(kind.__mro__):
            for name, entry in vars(base).items():
                if isinstance(entry, (types.FunctionType, staticmethod, classmethod, property)):
                    methods[name] = entry
        if not any(isinstance(entry, types.FunctionType) for entry in methods.values()):
            return value
        try:
            return self._stand_in(value, kind, methods)
        except (TypeError, AttributeError):
            return value

    def _stand_in(self, value, kind, methods):
        members = {
            name: self(entry)
            for name, entry in methods.items()
            if isinstance(entry, types.FunctionType) and name not in ("__new__", "__init__")
        }
        members |= {
            name: property(self(entry.fget))
            for name, entry in methods.items()
            if isinstance(entry, property) and isinstance(entry.fget, types.FunctionType)
        }
        members |= {
            name: staticmethod(self(entry.__func__))
            for name, entry in methods.items()
            if isinstance(entry, staticmethod)
        }
        stand_in = object.__new__(type(kind.__name__, (kind,), members))
        for base in kind.__mro__:
            for name in _slots(base):
                if hasattr(value, name):
                    object.__setattr__(stand_in, name, getattr(value, name))
        state = getattr(value, "__dict__", {})
        stand_in.__dict__.update({name: self(entry) for name, entry in state.items()})
        return stand_in


def _slots(kind):
    slots = vars(kind).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else slots
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def _is_filled(cell):
    try:
        return cell.cell_contents is not None or True
    except ValueError:
        return False


def _library(value):
    return (getattr(value, "__module__", None) or "").partition(".")[0]


def _adopting(function):
    """Wrap a NumPy function so that object arrays it makes are traced arrays."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        if _counts(function):
            args = [a.__index__() if isinstance(a, Expr) else a for a in args]
        return adopt(function(*map(_listed, args), **kwargs))

    return wrapped


def _listed(value):
    """Return a flat list that holds expressions as a traced array."""
    if type(value) not in (list, tuple) or not any(isinstance(entry, Expr) for entry in value):
        return value
    if all(isinstance(entry, (Expr, float, int, np.number)) for entry in value):
        return traced(np.array(value, dtype=object))
    return value


def _counts(function):
    """Whether the function's scalar arguments are sizes."""
    return function.__name__ in ("arange", "eye", "identity", "tri", "indices")
