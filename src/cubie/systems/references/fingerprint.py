"""A hash of the content of everything that a right-hand side can depend on.

What enters: bytecode, constants, names, defaults, attributes of functions, closure values, the
globals that the code names, modules that it imports (functions in turn, arrays by their bytes,
objects by their state and the code of their class), and the versions of the interpreter and of
libraries. Where the content of something cannot be seen (files, clocks, code made from text,
objects of compiled code that do not tell their state) there is no fingerprint, and nothing may
be remembered.
"""

import functools
import hashlib
import importlib
import importlib.util
import struct
import sys
import types
from typing import Any

import numpy as np

from cubie.systems.references.bytecode import (
    globals_of,
    imports_of,
    names_of,
    reads_any_attribute,
    reads_unseen,
)
from cubie.systems.references.libraries import (
    is_library,
    library_name,
    library_version,
    looks_outside,
    ufunc_name,
)
from cubie.systems.references.objects import (
    DERIVED_NAMES,
    IMMUTABLE,
    plain_content,
    reduced,
    slots_of,
    state_is_hidden,
)
from cubie.systems.references.originals import is_compiled
from cubie.systems.references.watch import Watch


class Unseen(Exception):
    """Something has content that cannot be seen: nothing that depends on it is remembered.

    The message says what, and why not.
    """


_HEADER = f"python {sys.version} numpy {np.__version__}\n".encode()


class Walk:
    """One look at values and all that they refer to."""

    def __init__(self) -> None:
        self.watch = Watch()
        self._parts: list[bytes] = []
        # Values are kept, so that their ids stay taken.
        self._seen: dict[int, tuple[int, Any]] = {}
        self._modules: dict[int, types.ModuleType] = {}
        self._names: set[str] = set()
        self._any_attribute = False
        self._parts.append(_HEADER)

    def hexdigest(self) -> str:
        return hashlib.sha256(b"".join(self._parts)).hexdigest()

    def put(self, *parts: str | bytes) -> None:
        for part in parts:
            data = part if type(part) is bytes else str(part).encode("utf-8", "surrogatepass")
            # The length keeps ("ab", "c") and ("a", "bc") apart.
            self._parts += (b"%d:" % len(data), data)

    def value(self, value: Any) -> None:
        """Add one value of any kind."""
        kind = type(value)
        write = _SCALARS.get(id(kind))
        if write is not None:
            self.put(kind.__name__, write(value))
        elif issubclass(kind, np.generic) and kind.__module__ == "numpy":
            self.put("scalar", repr(value.dtype), value.tobytes())
        elif id(value) in self._seen:
            self.put("again", str(self._seen[id(value)][0]))
        else:
            self._seen[id(value)] = (len(self._seen), value)
            walk = _KINDS.get(id(kind))
            if walk is not None:
                walk(self, value)
            elif issubclass(kind, type):
                self._class(value)
            else:
                self._other(value)

    def finish(self) -> None:
        """Add what the code may take from modules, by any name that was met anywhere."""
        done: set[tuple[int, str]] = set()
        while True:
            # Names and modules found on the way may lead to more.
            found = [
                (module, name)
                for module in list(self._modules.values())
                for name in self._taken_from(module)
                if (id(module), name) not in done
            ]
            if not found:
                break
            for module, name in found:
                done.add((id(module), name))
                self.put("attribute", module.__name__, name)
                self.value(vars(module)[name])
        for module in self._modules.values():
            if not is_library(module.__name__):
                self.watch.names(vars(module), self._names)
        self.watch.begin()

    def _taken_from(self, module: types.ModuleType) -> list[str]:
        held = vars(module).keys()
        if is_library(module.__name__):
            return sorted(held & self._names)
        if self._any_attribute:
            self.watch.hidden()
            return sorted(name for name in held if not name.startswith("__"))
        return sorted(held & (self._names | {"__getattr__"}))

    def _sequence(self, value) -> None:
        self.put(type(value).__name__, str(len(value)))
        if type(value) is list:
            self.watch.contents(value)
        for entry in value:
            self.value(entry)

    def _dict(self, value) -> None:
        self.put("dict", str(len(value)))
        self.watch.mapping(value)
        for key, entry in value.items():
            self.value(key)
            self.value(entry)

    def _set(self, value) -> None:
        self.put(type(value).__name__, str(len(value)))
        if type(value) is set:
            self.watch.contents(value)
        # The order depends on the process, and the answer hardly ever on the order.
        try:
            entries = sorted(value, key=lambda entry: (type(entry).__qualname__, repr(entry)))
        except Exception as error:
            raise Unseen("a set has entries that cannot be ordered") from error
        for entry in entries:
            self.value(entry)

    def _array(self, value: np.ndarray) -> None:
        self.put("array", repr(value.dtype), str(value.shape))
        self.watch.array(value)
        if value.dtype.hasobject:
            self.value(value.tolist())
        else:
            self.put(value.tobytes())

    def _code(self, code: types.CodeType) -> None:
        self.put("code", code.co_code, code.co_exceptiontable)
        self.put(str((code.co_argcount, code.co_kwonlyargcount, code.co_flags)))
        self.put(*code.co_names, *code.co_varnames, *code.co_freevars, *code.co_cellvars)
        for constant in code.co_consts:
            self.value(constant)

    def _function(self, function: types.FunctionType) -> None:
        if self._is_named(function):
            return
        code, namespace = function.__code__, function.__globals__
        if reads_unseen(code, namespace):
            raise Unseen(f"`{function.__name__}` opens files or runs text (open, eval, globals)")
        self._any_attribute |= reads_any_attribute(code, namespace)
        self._names |= names_of(code)
        names = globals_of(code)
        self.watch.function(function)
        self.watch.mapping(vars(function))
        self.watch.names(namespace, names)
        self.put("function", function.__qualname__)
        self.value(code)
        self.value(function.__defaults__)
        self.value(function.__kwdefaults__)
        if vars(function):
            self.value(vars(function))
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self.put("closure", name)
            self.value(cell)
        for name in sorted(names & namespace.keys()):
            self.put("global", name)
            self.value(namespace[name])
        for level, module, taken in imports_of(code):
            self._import(level, module, taken, namespace)

    def _cell(self, cell: types.CellType) -> None:
        self.watch.cell(cell)
        try:
            self.value(cell.cell_contents)
        except ValueError:
            self.put("an empty cell")

    def _import(self, level: int, name: str, taken: tuple[str, ...], namespace: dict) -> None:
        """Add what an import inside a function gives it; the function would import it next."""
        try:
            package = namespace.get("__package__") or ""
            name = importlib.util.resolve_name("." * level + name, package)
            parts = name.split(".")
            wanted = [".".join(parts[: i + 1]) for i in range(len(parts))]
            if is_library(name):
                self.put("import", name, library_version(parts[0]))
                return
            module = importlib.import_module(name)
            for part in taken:
                if not hasattr(module, part) and hasattr(module, "__path__"):
                    importlib.import_module(f"{name}.{part}")
        except Exception as error:
            raise Unseen(f"`{name}` cannot be imported") from error
        self.watch.names(sys.modules, wanted)
        for full_name in wanted:
            self.value(sys.modules[full_name])

    def _module(self, module: types.ModuleType) -> None:
        name = module.__name__
        self.put("module", name)
        if is_library(name):
            self.put(library_version(name.partition(".")[0]))
        self._modules[id(module)] = module

    def _class(self, kind: type) -> None:
        if self._is_named(kind):
            return
        self.put("class", kind.__module__, kind.__qualname__)
        if type(kind) is not type:
            self.value(type(kind))
        for base in kind.__mro__[1:-1]:
            self.value(base)
        self.watch.mapping(vars(kind))
        for name in sorted(vars(kind).keys() - DERIVED_NAMES):
            self.put(name)
            self.value(vars(kind)[name])

    def _is_named(self, value: Any) -> bool:
        """Add a library's function or class by its name; tell whether it is one."""
        name = library_name(value)
        if name is None:
            return False
        if looks_outside(name):
            raise Unseen(f"`{name}` reads files, clocks or chance")
        self.put("library", name, library_version(name.partition(".")[0]))
        return True

    def _descriptor(self, value: Any) -> None:
        self.put(type(value).__name__, value.__name__)
        self.value(value.__objclass__)

    def _builtin(self, value: Any) -> None:
        """Add a function of compiled code: by its name, with what it is bound to."""
        owner = value.__self__
        if owner is None or isinstance(owner, types.ModuleType):
            if not self._is_named(value):
                raise Unseen(f"`{value.__name__}` is compiled code of no known library")
            return
        self.put(type(value).__name__, value.__name__)
        self.value(owner)

    def _ufunc(self, value: np.ufunc) -> None:
        name = ufunc_name(value)
        if name is None:
            raise Unseen(f"`{value.__name__}` is a ufunc of no known library")
        self.put("ufunc", name, library_version(name.partition(".")[0]))

    def _parts_of(self, value: Any) -> None:
        """Add a value that is made of others and has no further state."""
        self.put(type(value).__name__)
        for name in _PARTS[type(value)]:
            self.value(getattr(value, name))

    def _other(self, value: Any) -> None:
        kind = type(value)
        if issubclass(kind, np.ufunc):
            self._ufunc(value)
        elif is_compiled(value):
            # A compiled function: what it is made of, and how.
            self.put("compiled", kind.__qualname__)
            self.value([value.py_func, getattr(value, "targetoptions", None)])
        elif issubclass(kind, np.dtype):
            self.put("dtype", repr(value))
        elif not self._is_named(value):
            self._object(value)

    def _object(self, value: Any) -> None:
        kind = type(value)
        name = library_name(kind)
        if name is None:
            self.value(kind)
        self.put("object", name or "")
        content, root = plain_content(value)
        self.value(content)
        if not any(root is other for other in IMMUTABLE):
            self.watch.hidden()
        if state_is_hidden(kind, root):
            if not any(kind is other for other in IMMUTABLE):
                self.watch.hidden()
            try:
                parts = reduced(value)
            except Exception as error:
                what = f"{kind.__module__}.{kind.__qualname__}"
                raise Unseen(f"objects of `{what}` do not tell their state") from error
            self.value(parts)
            return
        self._state(value, kind)

    def _state(self, value: Any, kind: type) -> None:
        """Add the attributes of an object."""
        self.watch.attribute(value, "__class__")
        if is_library(kind.__module__) and "__attrs_attrs__" in vars(kind):
            # Not what such a frozen object has computed since from its fields.
            names = [field.name for field in vars(kind)["__attrs_attrs__"]]
            self.value({name: getattr(value, name) for name in names})
            return
        if kind.__dictoffset__:
            self.watch.attribute(value, "__dict__")
            self.value(object.__getattribute__(value, "__dict__"))
        for name, descriptor in slots_of(kind):
            self.watch.slot(value, descriptor)
            self.put("slot", name)
            try:
                self.value(descriptor.__get__(value))
            except AttributeError:
                self.put("an empty slot")


def _by_id(table: dict[type, Any]) -> dict[int, Any]:
    """Return a table for `id(type(value))`: a user's metaclass may make a type without a hash."""
    return {id(kind): entry for kind, entry in table.items()}


_SCALARS = _by_id(
    {
        type(None): repr,
        type(...): repr,
        type(NotImplemented): repr,
        bool: repr,
        int: hex,  # of any length, unlike repr
        float: functools.partial(struct.pack, "<d"),
        complex: lambda value: struct.pack("<dd", value.real, value.imag),
        str: str,
        bytes: bytes,
    }
)
_PARTS: dict[type, tuple[str, ...]] = {
    types.MethodType: ("__func__", "__self__"),
    functools.partial: ("func", "args", "keywords", "__dict__"),
    functools._lru_cache_wrapper: ("__wrapped__",),
    functools.cached_property: ("func",),
    property: ("fget", "fset", "fdel"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    types.MethodWrapperType: ("__name__", "__self__"),
}
_KINDS = _by_id(
    {
        tuple: Walk._sequence,
        list: Walk._sequence,
        dict: Walk._dict,
        types.MappingProxyType: Walk._dict,
        set: Walk._set,
        frozenset: Walk._set,
        np.ndarray: Walk._array,
        np.memmap: Walk._array,
        types.CodeType: Walk._code,
        types.FunctionType: Walk._function,
        types.CellType: Walk._cell,
        types.ModuleType: Walk._module,
        types.BuiltinFunctionType: Walk._builtin,
        types.MemberDescriptorType: Walk._descriptor,
        types.GetSetDescriptorType: Walk._descriptor,
        types.WrapperDescriptorType: Walk._descriptor,
        types.MethodDescriptorType: Walk._descriptor,
        types.ClassMethodDescriptorType: Walk._descriptor,
        **dict.fromkeys(_PARTS, Walk._parts_of),
    }
)
