"""What is written down of one place before a function is called, and put back afterwards."""

import collections
import random
from typing import Any

import numpy as np
from attrs import define, field

ATOMS = (bool, int, float, complex, str, bytes, type(None), np.generic)


CONTAINERS = (list, dict, set, bytearray, collections.deque)


GONE = object()  # the value of what is there no more
# Attributes of classes and modules that Python itself writes.
OWN = ("__dict__", "__weakref__", "__doc__", "__module__", "__builtins__", "__warningregistry__")


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


def slots_of(kind):
    names = []
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        names += (slots,) if isinstance(slots, str) else slots
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def container(value):
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


def attributes(value, names):
    def write(saved):
        for name in names:
            if name in saved:
                object.__setattr__(value, name, saved[name])
            elif hasattr(value, name):
                object.__delattr__(value, name)

    return lambda: {n: getattr(value, n) for n in names if hasattr(value, n)}, write


def some_of(namespace, names):
    def write(saved):
        for name in names:
            if name in saved:
                namespace[name] = saved[name]
            else:
                namespace.pop(name, None)

    return lambda: {name: namespace[name] for name in names if name in namespace}, write


def namespace_of(kind):
    def read():
        return {name: entry for name, entry in vars(kind).items() if name not in OWN}

    def write(saved):
        for name in read().keys() - saved.keys():
            type.__delattr__(kind, name)
        for name, entry in saved.items():
            if vars(kind).get(name) is not entry:
                type.__setattr__(kind, name, entry)

    return read, write


def cell(cell):
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


def object_array(array):
    def write(saved):
        for index, value in zip(np.ndindex(array.shape), saved.values(), strict=True):
            array[index] = value

    return lambda: dict(enumerate(array.ravel().tolist())), write


def number_array(array):
    def write(saved):
        array[...] = np.frombuffer(saved[0], array.dtype).reshape(array.shape)

    return lambda: {0: array.tobytes()}, write


def random_state(value):
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
