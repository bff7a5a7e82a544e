"""What a right-hand side refers to, watched for changes that outlive a call.

A function that remembers something (a relay in an attribute, a counter in a global, a list that it
appends to) is no function of its arguments: a solver calls it for steps that it rejects, for many
runs, in any order. So all that can be changed and is reached from the function is noted down
before it is called, compared with that afterwards, and put back.
"""

import collections
import random
import sys
import types
from typing import Any

import numpy as np
from attrs import define, field

from cubie.systems.references.bytecode import names_of
from cubie.systems.references.libraries import LIBRARIES

ATOMS = (bool, int, float, complex, str, bytes, type(None), np.generic)
CONTAINERS = (list, dict, set, bytearray, collections.deque)
# Attributes of classes and modules that Python itself writes.
_OWN = ("__dict__", "__weakref__", "__doc__", "__module__", "__builtins__", "__warningregistry__")


GONE = object()  # the value of what is there no more


@define(eq=False)
class Record:
    """One thing that can be changed, and what it held.

    Attributes
    ----------
    label : str
        Format of how a message calls an entry: "`limits[{}]`".
    read : callable
        Returns {key: value} of what is held now.
    write : callable
        Takes such a mapping, and holds it.
    grows : bool
        Keys are positions: one more of them is no variable of its own.
    opaque : bool
        Values are no values of Python's, but descriptions.
    target : ndarray, optional
        The array of numbers that it is about.
    """

    label: str
    read: Any
    write: Any
    grows: bool = False
    opaque: bool = False
    target: Any = None
    saved: dict = field(init=False)

    def __attrs_post_init__(self):
        self.saved = self.read()

    def changes(self):
        """Return the keys whose value is another now."""
        now, before = self.read(), self.saved
        if len(now) == len(before) and all(
            key in now and is_same(now[key], value) for key, value in before.items()
        ):
            return {}
        keys = [key for key in {**before, **now} if not _is_kept(key, before, now)]
        return {key: now.get(key, GONE) for key in keys}

    def name(self, key):
        """Return how a message calls an entry."""
        return self.label.format(repr(key) if "[" in self.label else key)


def _is_kept(key, before, now):
    return key in before and key in now and is_same(before[key], now[key])


def is_same(a, b):
    """Whether two values are one: the same object, or equal numbers or strings."""
    if a is b:
        return True
    if type(a) is not type(b) or not isinstance(a, ATOMS):
        return False
    return a == b or (a != a and b != b)


class Watch:
    """All that is reached from some values and can be changed.

    Parameters
    ----------
    fun : callable
        Packages are left alone (they may keep caches), but for the one that this is part of.
    """

    def __init__(self, fun):
        own = _root(getattr(fun, "func", fun))
        self._own = None if own in LIBRARIES else own
        self._records = []
        self._seen = {}

    def add(self, value, name, names=frozenset()):
        """Watch a value and all it refers to.

        Parameters
        ----------
        name : str
            How a message calls the value.
        names : frozenset of str
            Names that the code it was found by looks up: of a module, only those are watched.
        """
        pending = [(value, name, names)]
        while pending:
            value, name, names = pending.pop()
            if isinstance(value, ATOMS) or id(value) in self._seen:
                continue
            # The value is kept, so that its id stays taken.
            self._seen[id(value)] = value
            pending.extend(self._look_at(value, name, names))

    def add_alone(self, value, name):
        """Watch a container or an object, and its class, but nothing that they refer to."""
        if id(value) not in self._seen:
            self._seen[id(value)] = value
            self._look_at(value, name, frozenset())
            if not isinstance(value, CONTAINERS):
                self._class(type(value))

    def _look_at(self, value, name, names):
        """Note a value down; return what it refers to."""
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.ModuleType):
            return self._module(value, name, names)
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, np.ndarray):
            return self._array(value, name)
        state = _random_state(value)
        if state is not None:
            self.record(Record(f"the random numbers of `{name}`", *state, opaque=True))
            return []
        if isinstance(value, (tuple, frozenset)):
            inner = (entry for entry in value if not isinstance(entry, ATOMS))
            return [(entry, f"{name}[{i}]", names) for i, entry in enumerate(inner)]
        return [*self._wrapped(value, name, names), *self._contents(value, name, names)]

    def _wrapped(self, value, name, names):
        owner = getattr(value, "__self__", None) if callable(value) else None
        if owner is not None:
            return [(owner, "self", names), (getattr(value, "__func__", None), name, names)]
        parts = ("func", "args", "keywords", "py_func", "__wrapped__", "fget", "__func__")
        known = {part: getattr(value, part, None) for part in parts} if _wraps(value) else {}
        return [(part, name, names) for part in known.values() if part is not None]

    def _contents(self, value, name, names):
        """Note down a container, or an object with attributes."""
        found = []
        if isinstance(value, CONTAINERS):
            record = Record(f"`{name}[{{}}]`", *_container(value))
            record.grows, record.opaque = not isinstance(value, dict), isinstance(value, set)
            self.record(record)
            entries = value.items() if isinstance(value, dict) else enumerate(value)
            found = [
                (entry, f"{name}[{key!r}]", names)
                for key, entry in entries
                if not isinstance(entry, ATOMS)
            ]
        if self._is_library(type(value)) and not isinstance(value, types.SimpleNamespace):
            return found
        state = getattr(value, "__dict__", None)
        slots = _slots_of(type(value))
        if type(state) is dict:
            self.attributes(value, name)
            found += [(entry, f"{name}.{key}", names) for key, entry in state.items()]
        if slots:
            self.record(Record(f"`{name}.{{}}`", *_attributes(value, slots)))
            found += [(getattr(value, key, None), f"{name}.{key}", names) for key in slots]
        if state is not None or slots:
            found.append((type(value), type(value).__name__, names))
        return found

    def _function(self, function):
        if self._is_library(function):
            return []
        code, name = function.__code__, function.__name__
        names = names_of(code)
        found = self.namespace(function.__globals__, names)
        for word, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            found += self.cell(cell, word)
        self.attributes(function, name)
        found += [(v, f"{name}.{k}", names) for k, v in function.__dict__.items()]
        defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
        return [*found, *((value, f"a default of {name}", names) for value in defaults)]

    def attributes(self, value, name):
        """Watch the attributes in an object's dictionary, not what they refer to."""
        self.record(Record(f"`{name}.{{}}`", *_container(vars(value))))

    def namespace(self, namespace, names):
        """Watch the global variables of these names; return what they refer to."""
        names = [name for name in names if not name.startswith("__")]
        self.record(Record("the global `{}`", *_some_of(namespace, names)))
        return [(namespace[n], n, frozenset(names)) for n in names if n in namespace]

    def cell(self, cell, name):
        """Watch a variable of an enclosing function; return what it refers to."""
        self.record(Record(f"the variable `{name}`", *_cell(cell)))
        return [(value, name, frozenset()) for value in self._records[-1].saved.values()]

    def _module(self, module, name, names):
        if self._is_library(module):
            return []
        state = vars(module)
        self.record(Record(f"`{name}.{{}}`", *_some_of(state, names)))
        return [(state[key], f"{name}.{key}", names) for key in names if key in state]

    def _class(self, kind):
        if self._is_library(kind):
            return []
        self.record(Record(f"`{kind.__name__}.{{}}`", *_namespace_of(kind)))
        found = [
            (entry, f"{kind.__name__}.{key}", frozenset())
            for key, entry in vars(kind).items()
            if key not in _OWN
        ]
        return [*found, *((base, base.__name__, frozenset()) for base in kind.__bases__)]

    def _array(self, array, name):
        if array.dtype.hasobject:
            self.record(Record(f"`{name}[{{}}]`", *_object_array(array), grows=True))
        elif array.flags.writeable:
            self.record(Record(f"`{name}`", *_number_array(array), opaque=True, target=array))
        return []

    def _is_library(self, value):
        root = _root(value)
        if root == self._own:
            return False
        if root in LIBRARIES or root in sys.stdlib_module_names:
            return root != "__main__"
        path = getattr(sys.modules.get(root), "__file__", None) or ""
        return "site-packages" in path or "dist-packages" in path

    def record(self, record):
        """Watch one more thing."""
        self._records.append(record)

    def changes(self):
        """Return [(record, key, value now)] of all that was changed."""
        return [(r, key, value) for r in self._records for key, value in r.changes().items()]

    def restore(self):
        """Put back what was changed, and return it."""
        changed = self.changes()
        for record in {id(record): record for record, *_ in changed}.values():
            record.write(record.saved)
        return changed

    def watched(self, fun, changed):
        """Return `fun` that leaves everything as it was, and adds what it changed to a list."""
        fun = getattr(fun, "py_func", None) or fun

        def call(*args):
            try:
                return _taken_out(fun(*args))
            finally:
                changed.extend(self.restore())

        return call


def _taken_out(result):
    """Return what a function returned, in memory of its own."""
    if isinstance(result, (list, tuple)):
        return [_taken_out(entry) for entry in result]
    return result.copy() if isinstance(result, np.ndarray) else result


def _wraps(value):
    """Whether a value is a callable, or descriptor, around another one."""
    return callable(value) or isinstance(value, (property, staticmethod, classmethod))


def _root(value):
    """Return the name of the package that a function, class or module is part of."""
    name = value.__name__ if isinstance(value, types.ModuleType) else None
    name = name or getattr(value, "__module__", None)
    return (name if isinstance(name, str) else "").partition(".")[0]


def _slots_of(kind):
    names = []
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        names += (slots,) if isinstance(slots, str) else slots
    return [name for name in names if name not in ("__dict__", "__weakref__")]


# ---- how each kind of thing is read and written: pairs of functions


def _container(value):
    if isinstance(value, dict):

        def write(saved):
            dict.clear(value)
            dict.update(value, saved)

        return lambda: dict(value), write
    if isinstance(value, set):

        def write(saved):
            value.clear()
            value.update(saved)

        return lambda: dict.fromkeys(value, True), write
    if isinstance(value, collections.deque):

        def write(saved):
            value.clear()
            value.extend(saved.values())

        return lambda: dict(enumerate(value)), write

    def write(saved):
        value[:] = saved.values()

    return lambda: dict(enumerate(value)), write


def _attributes(value, names):
    def write(saved):
        for name in names:
            if name in saved:
                object.__setattr__(value, name, saved[name])
            elif hasattr(value, name):
                object.__delattr__(value, name)

    return lambda: {n: getattr(value, n) for n in names if hasattr(value, n)}, write


def _some_of(namespace, names):
    def write(saved):
        for name in names:
            if name in saved:
                namespace[name] = saved[name]
            else:
                namespace.pop(name, None)

    return lambda: {name: namespace[name] for name in names if name in namespace}, write


def _namespace_of(kind):
    def read():
        return {name: entry for name, entry in vars(kind).items() if name not in _OWN}

    def write(saved):
        for name in read().keys() - saved.keys():
            type.__delattr__(kind, name)
        for name, entry in saved.items():
            if vars(kind).get(name) is not entry:
                type.__setattr__(kind, name, entry)

    return read, write


def _cell(cell):
    def read():
        try:
            return {0: cell.cell_contents}
        except ValueError:
            return {}

    def write(saved):
        if saved:
            cell.cell_contents = saved[0]
        else:
            del cell.cell_contents

    return read, write


def _object_array(array):
    def write(saved):
        for index, value in zip(np.ndindex(array.shape), saved.values(), strict=True):
            array[index] = value

    return lambda: dict(enumerate(array.ravel().tolist())), write


def _number_array(array):
    def write(saved):
        array[...] = np.frombuffer(saved[0], array.dtype).reshape(array.shape)

    return lambda: {0: array.tobytes()}, write


def _random_state(value):
    """Return how the state of a source of random numbers is read and written, or None."""
    if isinstance(value, np.random.Generator):
        value = value.bit_generator
    if isinstance(value, np.random.BitGenerator):
        return _described(lambda: value.state, lambda state: setattr(value, "state", state))
    if isinstance(value, np.random.RandomState):
        return _described(value.get_state, value.set_state)
    if isinstance(value, random.Random):
        return _described(value.getstate, value.setstate)
    return None


def _described(get, put):
    # States of equal content are not equal to Python: their text is.
    kept = {}

    def read():
        state = get()
        with np.printoptions(threshold=10**6):
            text = repr(state)
        kept[text] = state
        return {0: text}

    return read, lambda saved: put(kept[saved[0]])
