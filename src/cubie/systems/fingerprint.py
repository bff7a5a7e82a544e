"""A hash of everything a right-hand side can depend on, so that it is traced only once.

What enters: bytecode, constants, names, defaults, closure values, the globals that the code
names (functions in turn, arrays by their bytes, objects by their state), and the interpreter and
library versions. What cannot be seen: attributes looked up with `getattr`, files, the network,
and code reached only through `eval`.
"""

import functools
import hashlib
import sys
import types

import numpy as np

LIBRARIES = frozenset({"numpy", "scipy", "math", "builtins", "cubie", "numba", "sympy"})


class Unhashable(Exception):
    """Something with hidden state: the function is traced anew in each process."""


def fingerprint(*values):
    """Return a hexadecimal digest of the values, or None when one has hidden state."""
    digest = _Digest()
    digest.put("python", sys.version, np.__version__)
    try:
        for value in values:
            digest.value(value)
    except (Unhashable, RecursionError):
        return None
    return digest.hexdigest()


class _Digest:
    def __init__(self):
        self._hash = hashlib.sha256()
        self._seen = {}

    def hexdigest(self):
        return self._hash.hexdigest()

    def put(self, *parts):
        for part in parts:
            data = part if isinstance(part, bytes) else str(part).encode()
            # The length keeps ("ab", "c") and ("a", "bc") apart.
            self._hash.update(f"{len(data)}:".encode())
            self._hash.update(data)

    def value(self, value):
        """Add one value of any kind."""
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
            self.put(type(value).__name__, repr(value))
            return
        if isinstance(value, np.generic):
            self.put("scalar", value.dtype.str, value.tobytes())
            return
        if id(value) in self._seen:
            self.put("again", self._seen[id(value)][0])
            return
        # The value is kept, so that its id stays taken.
        self._seen[id(value)] = (len(self._seen), value)
        self._compound(value)

    def _compound(self, value):
        if isinstance(value, (tuple, list)):
            self.put(type(value).__qualname__, len(value))
            for entry in value:
                self.value(entry)
        elif isinstance(value, dict):
            self.put("dict", len(value))
            for key, entry in value.items():
                self.value(key)
                self.value(entry)
        elif isinstance(value, (set, frozenset)):
            self.put("set", *sorted(map(repr, value)))
        elif isinstance(value, np.ndarray):
            self.put("array", value.dtype.str, value.shape)
            if value.dtype.hasobject:
                self.value(value.tolist())
            else:
                self.put(value.tobytes())
        elif isinstance(value, types.CodeType):
            self._code(value)
        elif isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, functools.partial):
            self.put("partial")
            self.value([value.func, value.args, value.keywords])
        elif isinstance(value, types.MethodType):
            self.put("method")
            self.value([value.__func__, value.__self__])
        elif isinstance(value, types.ModuleType):
            self.put("module", value.__name__, getattr(value, "__version__", ""))
        elif isinstance(value, type):
            self._class(value)
        elif getattr(value, "py_func", None) is not None:
            self.value(value.py_func)
        elif isinstance(value, functools._lru_cache_wrapper):
            self.value(value.__wrapped__)
        elif callable(value) and _is_library(value):
            self.put("library", value.__module__, getattr(value, "__qualname__", repr(value)))
        elif isinstance(value, (np.ufunc, types.BuiltinFunctionType, np.dtype, range, slice)):
            self.put(type(value).__name__, repr(value))
        else:
            self._object(value)

    def _code(self, code):
        self.put("code", code.co_code, code.co_argcount, code.co_kwonlyargcount, code.co_flags)
        self.put(*code.co_names, *code.co_varnames, *code.co_freevars, *code.co_cellvars)
        for constant in code.co_consts:
            self.value(constant)

    def _function(self, function):
        if _is_library(function):
            self.put("library", function.__module__, function.__qualname__)
            return
        self.put("function", function.__qualname__)
        self.value([function.__code__, function.__defaults__, function.__kwdefaults__])
        names = names_of(function.__code__)
        for name, entry in _surroundings(function, names):
            self.put(name)
            self.value(entry)
            if isinstance(entry, types.ModuleType) and not _is_library(entry):
                self._attributes(entry, names)

    def _attributes(self, module, names):
        """Add what the code may take from a module of the user's own."""
        for name in sorted(names & vars(module).keys()):
            self.put(name)
            entry = vars(module)[name]
            self.value(entry)
            if isinstance(entry, types.ModuleType) and not _is_library(entry):
                self._attributes(entry, names - {name})

    def _class(self, kind):
        self.put("class", kind.__module__, kind.__qualname__)
        if _is_library(kind) or kind.__module__ == "builtins":
            return
        for base in kind.__mro__[1:-1]:
            self.value(base)
        for name, entry in sorted(vars(kind).items()):
            if name.startswith("__") and name not in ("__call__", "__getattr__"):
                continue
            self.put(name)
            if isinstance(entry, (staticmethod, classmethod)):
                entry = entry.__func__
            elif isinstance(entry, property):
                entry = entry.fget
            elif isinstance(entry, types.MemberDescriptorType):
                continue
            self.value(entry)

    def _object(self, value):
        kind = type(value)
        state = dict(getattr(value, "__dict__", {}))
        for base in kind.__mro__:
            slots = vars(base).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                    state[name] = getattr(value, name)
        if not state and (_is_library(kind) or kind.__module__ == "builtins"):
            raise Unhashable(kind)
        self.put("object")
        self.value(kind)
        self.value(state)


def _surroundings(function, names):
    """Yield (name, value) of what the function takes from closures and globals."""
    cells = function.__closure__ or ()
    for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:
            yield name, "an empty cell"
    for name in sorted(names & function.__globals__.keys()):
        yield name, function.__globals__[name]


def _is_library(value):
    if isinstance(value, types.ModuleType):
        name = value.__name__
    else:
        name = getattr(value, "__module__", None)
    root = (name if isinstance(name, str) else "").partition(".")[0]
    return root in LIBRARIES or (root in sys.stdlib_module_names and root != "__main__")


@functools.cache
def names_of(code):
    """Return all names that a code object, or one nested in it, may look up outside itself."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= names_of(constant)
    return frozenset(names)
