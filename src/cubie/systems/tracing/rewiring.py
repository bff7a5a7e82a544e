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
from typing import Any

import numpy as np

from cubie.systems.drivers.recognised import driver_of
from cubie.systems.references.bytecode import names_of
from cubie.systems.references.kept_state import Watch
from cubie.systems.references.libraries import LIBRARIES
from cubie.systems.references.records import ATOMS
from cubie.systems.tracing.arithmetic import call
from cubie.systems.tracing.arrays import adopt, traced
from cubie.systems.tracing.branchless import HELPERS, branchless
from cubie.systems.tracing.exceptions import catches
from cubie.systems.tracing.expression import Expr
from cubie.systems.tracing.numpy_functions import CREATORS, REPLACED
from cubie.systems.tracing.sparse_matrices import TracedSparse, is_sparse
from cubie.systems.tracing.stand_ins import (
    BUILTINS,
    BY_FUNCTION,
    MATH,
    TYPES,
    Advancing,
    Recognised,
    TracedModule,
    TracedUfunc,
    for_scalars,
    listed,
)

MATH["pow"] = for_scalars("pow", math.pow)
# Rounded to the nearest, unlike NumPy's function of this name.
MATH["remainder"] = for_scalars("IEEE remainder", math.remainder)
MATH["fabs"] = lambda x: call("fabs", x) if isinstance(x, Expr) else math.fabs(x)


class Rewiring:
    """Copies of the functions that one trace reaches, each made once.

    Parameters
    ----------
    watch : Watch
        Is told of all that the traced code can change: copies, and what is no copy.
    written : frozenset of int
        Ids of arrays of numbers that must be able to hold expressions.
    choosing : bool
        Branches that only assign are choices (`cubie.systems.tracing.branchless`).

    Attributes
    ----------
    catches : bool
        Whether one of them catches exceptions.
    printed : bool
        Whether one of them wanted to print: as often as there are paths, and no numbers.
    """

    def __init__(self, watch: Watch, written=frozenset(), choosing=False):
        self._choosing = choosing
        self._watch = watch
        self._written = written
        self.catches = self.printed = False
        self._copies = {}
        self._globals = {}

    def __call__(self, value, name="an object", names=frozenset()) -> Any:
        """Return the value as code under trace should see it.

        Parameters
        ----------
        name : str, optional
            How a message calls the value.
        names : frozenset of str, optional
            Names that the code it was found by looks up.
        """
        if isinstance(value, ATOMS):
            return value
        copy = self._copies.get(id(value))
        if copy is None:
            # The value is kept with its copy, so that its id stays taken.
            copy = (self._copy(value, name), value)
            self._copies[id(value)] = copy
            if not isinstance(value, (types.FunctionType, types.ModuleType)):
                self._watch.add(value, name, names)
        return copy[0]

    def _copy(self, value, name):
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.ModuleType):
            module = TracedModule(value, self)
            self._watch.attributes(module, name)
            return module
        if isinstance(value, functools.partial):
            keywords = {name: self(entry, name) for name, entry in value.keywords.items()}
            return functools.partial(self(value.func), *map(self, value.args), **keywords)
        if isinstance(value, types.MethodType):
            return types.MethodType(self(value.__func__), self(value.__self__, "self"))
        if type(value) in (list, tuple, dict):
            return self._container(value, name)
        if isinstance(value, type):
            return TYPES.get(value, value)
        if id(value) in self._written:
            copy = traced(value)
            self._watch.add_alone(copy, name)
            return copy
        if hasattr(type(value), "__next__"):
            return Advancing(name)
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
        driver = driver_of(value)
        if driver is not None:
            return Recognised(value, driver)
        if is_sparse(value):
            return TracedSparse(value)
        if _library(value) == "numpy" and callable(value):
            return _adopting(value)
        return self._instance(value, name)

    def _container(self, value, name):
        """Return the container itself where its entries stay what they are, else a copy."""
        entries = dict(value) if type(value) is dict else dict(enumerate(value))
        # A container that is inside itself is left alone.
        self._copies[id(value)] = (value, value)
        seen = {
            key: entry if isinstance(entry, ATOMS) else self(entry, f"{name}[{key!r}]")
            for key, entry in entries.items()
        }
        if all(seen[key] is entry for key, entry in entries.items()):
            return value
        entries = list(seen.values())
        copy = seen if type(value) is dict else tuple(entries) if type(value) is tuple else entries
        self._watch.add_alone(copy, name)
        return copy

    def _function(self, function):
        # Functions of libraries work on traced arrays as they are.
        if _library(function) in LIBRARIES:
            return function
        code = branchless(function) if self._choosing else function.__code__
        self.catches = self.catches or catches(code)
        namespace = self._globals.setdefault(id(function.__globals__), dict(function.__globals__))
        cells = tuple(types.CellType() for _ in code.co_freevars) or None
        copy = types.FunctionType(code, namespace, function.__name__, None, cells)
        # Known before its surroundings are looked at: functions may refer to one another.
        self._copies[id(function)] = (copy, function)
        copy.__defaults__ = tuple(map(self, function.__defaults__ or ())) or None
        if function.__kwdefaults__:
            copy.__kwdefaults__ = {k: self(v, k) for k, v in function.__kwdefaults__.items()}
        if self._choosing:
            namespace.update(HELPERS)
        names = names_of(code)
        for name in sorted(names):
            if name in function.__globals__:
                namespace[name] = self(function.__globals__[name], name, names)
            elif name == "print":
                namespace[name] = self._print
            elif name in BUILTINS and hasattr(builtins, name):
                namespace[name] = BUILTINS[name]
        closure = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        for name, cell in zip(code.co_freevars, cells or (), strict=True):
            original = closure[name]
            if _is_filled(original):
                cell.cell_contents = self(original.cell_contents, name)
            self._watch.cell(cell, name)
        for name, value in function.__dict__.items():
            copy.__dict__[name] = self(value, f"{function.__name__}.{name}")
        self._watch.namespace(namespace, names)
        self._watch.attributes(copy, function.__name__)
        return copy

    def _print(self, *values, **options):
        if options.get("file") is not None:
            print(*values, **options)
        self.printed = True

    def _instance(self, value, label):
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
            return self._stand_in(value, kind, methods, label)
        except (TypeError, AttributeError):
            return value

    def _stand_in(self, value, kind, methods, label):
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
        if id(value) in self._copies:
            return self._copies[id(value)][0]  # a method refers to the object itself
        members["__module__"] = kind.__module__
        stand_in = object.__new__(type(kind.__name__, (kind,), members))
        # Known before its attributes are looked at: objects may refer to one another.
        self._copies[id(value)] = (stand_in, value)
        for base in kind.__mro__:
            for name in _slots(base):
                if hasattr(value, name):
                    entry = self(getattr(value, name), f"{label}.{name}")
                    object.__setattr__(stand_in, name, entry)
        state = getattr(value, "__dict__", {})
        stand_in.__dict__.update({n: self(entry, f"{label}.{n}") for n, entry in state.items()})
        self._watch.add_alone(stand_in, label)
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
        return adopt(function(*map(listed, args), **kwargs))

    return wrapped


def _counts(function):
    """Whether the function's scalar arguments are sizes."""
    return function.__name__ in ("arange", "eye", "identity", "tri", "indices")
