"""What of args tracing depends on: all but the values of numbers and samples."""

import numpy as np

from cubie.systems.drivers.interpolant import Driver
from cubie.systems.parameters import CONTAINERS
from cubie.systems.references.fingerprint import Unseen
from cubie.systems.references.watched import fingerprint

# Numbers of these are alike to a function that gets a symbol in their place.
_USUAL = (int, float, np.ndarray, np.float64, np.float32, np.int64, np.int32)


def form_of(leaf):
    """Return what of a leaf tracing depends on: of a number all but its value."""
    path = tuple(map(_written, leaf.path))
    if isinstance(leaf.value, Driver):
        return path, "driver", leaf.value.pieces.structure
    if not leaf.numeric:
        return path, _written(leaf.value)
    kind = type(leaf.value)
    # Python's own numbers raise, and count conditions, where NumPy's do not.
    what = (kind is np.ndarray, issubclass(kind, np.generic)) if kind in _USUAL else _written(kind)
    return path, leaf.integer, leaf.shape, what


def _written(value):
    """Return something whose `repr` tells all of a value.

    Raises
    ------
    Unseen
        Where its content cannot be seen.
    """
    if type(value) is str or (type(value) is int and abs(value) < 2**63):
        return value
    if type(value) is float:
        return "float", value.hex()
    content = fingerprint(value)
    if content is None:
        raise Unseen(type(value).__name__)
    return type(value).__name__, content


def containers_of(value):
    """Return the nesting of lists, tuples and dictionaries, which the leaves do not show."""
    if type(value) is dict:
        return [(_written(key), containers_of(entry)) for key, entry in value.items()]
    if type(value) in CONTAINERS:
        return [type(value).__name__, *map(containers_of, value)]
    return None
