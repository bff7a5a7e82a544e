"""What a right-hand side refers to, watched for changes that outlive a call.

A function that remembers something (a relay in an attribute, a counter in a global, a list that it
appends to) is no function of its arguments: a solver calls it for steps that it rejects, for many
runs, in any order. So all that can be changed and is reached from the function is noted down
before it is called, compared with that afterwards, and put back.
"""

import sys
import types

import numpy as np

from cubie.systems.references import records
from cubie.systems.references.bytecode import names_of
from cubie.systems.references.libraries import LIBRARIES
from cubie.systems.references.records import ATOMS, CONTAINERS, OWN, Record


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
        state = records.random_state(value)
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
            record = Record(f"`{name}[{{}}]`", *records.container(value))
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
        slots = records.slots_of(type(value))
        if type(state) is dict:
            self.attributes(value, name)
            found += [(entry, f"{name}.{key}", names) for key, entry in state.items()]
        if slots:
            self.record(Record(f"`{name}.{{}}`", *records.attributes(value, slots)))
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
        self.record(Record(f"`{name}.{{}}`", *records.container(vars(value))))

    def namespace(self, namespace, names):
        """Watch the global variables of these names; return what they refer to."""
        names = [name for name in names if not name.startswith("__")]
        self.record(Record("the global `{}`", *records.some_of(namespace, names)))
        return [(namespace[n], n, frozenset(names)) for n in names if n in namespace]

    def cell(self, cell, name):
        """Watch a variable of an enclosing function; return what it refers to."""
        self.record(Record(f"the variable `{name}`", *records.cell(cell)))
        return [(value, name, frozenset()) for value in self._records[-1].saved.values()]

    def _module(self, module, name, names):
        if self._is_library(module):
            return []
        state = vars(module)
        self.record(Record(f"`{name}.{{}}`", *records.some_of(state, names)))
        return [(state[key], f"{name}.{key}", names) for key in names if key in state]

    def _class(self, kind):
        if self._is_library(kind):
            return []
        self.record(Record(f"`{kind.__name__}.{{}}`", *records.namespace_of(kind)))
        found = [
            (entry, f"{kind.__name__}.{key}", frozenset())
            for key, entry in vars(kind).items()
            if key not in OWN
        ]
        return [*found, *((base, base.__name__, frozenset()) for base in kind.__bases__)]

    def _array(self, array, name):
        if array.dtype.hasobject:
            self.record(Record(f"`{name}[{{}}]`", *records.object_array(array), grows=True))
        elif array.flags.writeable:
            self.record(
                Record(f"`{name}`", *records.number_array(array), opaque=True, target=array)
            )
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


# ---- how each kind of thing is read and written: pairs of functions
