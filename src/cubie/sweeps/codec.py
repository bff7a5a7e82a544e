"""Models and axes as JSON: plain data, that nothing is run from when it is read.

Objects of this package are written with the name of their class and their fields. What is read can
only be such objects, and numbers, text, arrays and containers of them. Whoever can write to a
store, or sends one, can so make a model compute something else, but nothing else happen: code of a
model is believed where it is arithmetic alone, and kept under the hash that it has here.
"""

from __future__ import annotations

import base64
import importlib
import json
import math
import re
import types
from collections.abc import Mapping
from enum import Enum
from fractions import Fraction
from typing import Any

import attrs
import numpy as np

from cubie.systems import System, system_of_text
from cubie.systems.drivers.interpolant import Driver
from cubie.tableaus import Method, get_method, known_method
from cubie_planner import Plan

KIND, CONTENT = "is", "of"
# Where models, and what they are made of, are: making one of these does nothing else.
ROOMS = (
    "cubie.integrator", "cubie.launch.summaries", "cubie.numerics.error_norm", "cubie.problem",
    "cubie.run", "cubie.settings", "cubie.sweeps.axes", "cubie.sweeps.draws", "cubie.sweeps.job",
    "cubie.sweeps.model", "cubie.sweeps.places", "cubie.systems", "cubie.tableaus",
    "cubie_planner.gpu",
)  # fmt: skip
FRACTION = re.compile(r"-?\d{1,1000}(/[1-9]\d{0,1000})?")
PATH = "path"  # of a system: where its text is kept here, which is another place elsewhere


class NotData(TypeError):
    """Something cannot be written as data.

    Attributes
    ----------
    what : str
        Where it is.
    """

    def __init__(self, what: str, value: Any):
        self.what = what
        super().__init__(f"{what} is {type(value).__qualname__}, which is no data: {value!r:.80}")


class NotReadable(ValueError):
    """What was read is no model of this version of the package."""


def to_json(value: Any) -> bytes:
    """Return an object as JSON.

    Raises
    ------
    NotData
        Naming the first part that is a function, or an object of another package.
    """
    return json.dumps(_plain(value, "the model"), separators=(",", ":"), allow_nan=False).encode()


def from_json(content: bytes) -> Any:
    """Return what `to_json` was given.

    Raises
    ------
    NotReadable
    """
    try:
        return _object(json.loads(content))
    except NotReadable:
        raise
    except Exception as error:  # of whatever fields that are not what they are here
        raise NotReadable(f"it holds what this version of cubie does not know: {error}") from error


def _tagged(kind: str, content: Any) -> dict[str, Any]:
    return {KIND: kind, CONTENT: content}


def _plain(value: Any, where: str) -> Any:
    """Return what JSON can hold."""
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else _tagged("float", repr(value))
    if isinstance(value, Enum):
        # Flags that are no name of their own, such as those with a number above, are numbers.
        name = value.value if value.name is None else value.name
        return _tagged(_name_of(type(value), where, value), name)
    if isinstance(value, Method):
        if _is_listed(value):
            return _tagged("method", value.name)
        return _fields(value, where)
    if isinstance(value, Plan):
        return _tagged("plan", value.to_json())
    if isinstance(value, Driver):  # whatever it was made of
        return _fields(value, where, Driver)
    if attrs.has(type(value)):
        return _fields(value, where)
    return _plain_builtin(value, where)


def _is_listed(method: Method) -> bool:
    """Tell whether a method is one that every process knows by its name."""
    try:
        return known_method(method) is get_method(method.name)
    except ValueError:
        return False


def _plain_builtin(value: Any, where: str) -> Any:
    if isinstance(value, tuple):
        entries = [_plain(entry, f"{where}[{i}]") for i, entry in enumerate(value)]
        if type(value) is tuple:
            return _tagged("tuple", entries)
        return _tagged(_name_of(type(value), where, value), entries)  # with names
    if type(value) is list:
        return [_plain(entry, f"{where}[{i}]") for i, entry in enumerate(value)]
    if isinstance(value, Mapping):
        return _tagged("dict", [
            [_plain(k, f"a key of {where}"), _plain(v, f"{where}[{k!r}]")]
            for k, v in value.items()
        ])  # fmt: skip
    if isinstance(value, (set, frozenset)):
        entries = sorted(value, key=repr)
        return _tagged("frozenset", [_plain(entry, where) for entry in entries])
    if isinstance(value, complex):
        return _tagged("complex", [_plain(value.real, where), _plain(value.imag, where)])
    if isinstance(value, Fraction):
        return _tagged("fraction", str(value))
    if isinstance(value, np.dtype):
        return _tagged("dtype", value.str)
    if isinstance(value, (np.ndarray, np.generic)) and not np.asarray(value).dtype.hasobject:
        return _array(value)
    frozen: Any = value
    if hasattr(value, "dist") and hasattr(value, "kwds"):  # a distribution of SciPy's
        content = {"name": frozen.dist.name, "args": [*frozen.args], "kwds": {**frozen.kwds}}
        return _tagged("distribution", _plain(content, where))
    if (named := _parameters_of(value)) is not None:
        content = {"name": named[0], "kwds": named[1]}
        return _tagged("distribution", _plain(content, where))
    raise NotData(where, value)


def _parameters_of(value: Any) -> tuple[str, dict[str, Any]] | None:
    """Return name and parameters of a distribution of SciPy's that is of the new kind.

    Such is `stats.Normal(mu=1)`. None of anything else, and of one that is made of another.
    """
    found = getattr(value, "_original_parameters", None)
    # One without parameters may be of a hidden class, which the one of the name makes.
    kind = next((of for of in type(value).__mro__ if _new_kind(of.__name__) is of), None)
    if not isinstance(found, Mapping) or kind is None:
        return None
    parameters = {str(name): number for name, number in found.items()}
    try:
        same = repr(kind(**parameters)) == repr(value)
    except Exception:  # of a version in which they are called otherwise
        return None
    return (kind.__name__, parameters) if same else None


def _new_kind(name: str) -> Any:
    """Return a class of distributions of SciPy's by its name; None where it has none."""
    from scipy import stats

    kind = getattr(stats, name, None)
    return kind if isinstance(kind, type) and hasattr(kind, "icdf") else None


def _array(value: Any) -> Any:
    array = np.ascontiguousarray(value)
    text = base64.b64encode(array.tobytes()).decode()
    kind = "array" if isinstance(value, np.ndarray) else "scalar"
    return _tagged(kind, [array.dtype.str, list(np.shape(value)), text])


def _fields(value: Any, where: str, of: type | None = None) -> Any:
    of = of or type(value)
    kind = _name_of(of, where, value)
    content = {}
    for part in attrs.fields(of):
        if part.init and not (of is System and part.name == PATH):
            name = part.alias or part.name
            content[name] = _plain(getattr(value, part.name), f"{where}.{part.name}")
    return _tagged(kind, content)


def _name_of(kind: type, where: str, value: Any) -> str:
    if not _is_of_rooms(kind.__module__) or "<" in kind.__qualname__:
        raise NotData(where, value)
    return f"{kind.__module__}:{kind.__qualname__}"


def is_of_models(kind: type) -> bool:
    """Tell whether models may be made of objects of a class."""
    return _is_of_rooms(kind.__module__)


def _is_of_rooms(module: str) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in ROOMS)


def _object(value: Any) -> Any:
    if isinstance(value, list):
        return [_object(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    kind, content = value[KIND], value[CONTENT]
    made = _MAKERS.get(kind)
    if made is not None:
        return made(content)
    return _of_class(kind, content)


def _of_class(kind: str, content: Any) -> Any:
    module, _, name = kind.partition(":")
    hidden = any(part.startswith("_") for part in (name, *module.split(".")))
    if not _is_of_rooms(module) or "." in name or hidden:
        raise NotReadable(f"it names {kind!r}, which is no class of models.")
    found: Any = getattr(importlib.import_module(module), name, None)
    if not isinstance(found, type) or found.__module__ != module:
        raise NotReadable(f"it names {kind!r}, which this version of cubie has not.")
    if issubclass(found, Enum):
        return found(content) if type(content) is int else found[content]
    make = getattr(found, "_make", None)
    if issubclass(found, tuple) and make is not None:
        return make(_object(entry) for entry in content)
    if not attrs.has(found):
        raise NotReadable(f"it names {kind!r}, which is no data.")
    fields = {name: _object(part) for name, part in content.items()}
    return _system(fields) if found is System else found(**fields)


def _system(fields: dict[str, Any]) -> System:
    """Return a system, whose text was looked at, and is kept here under its own hash."""
    try:
        return system_of_text(**fields)
    except ValueError as error:
        raise NotReadable(f"it holds a system that cannot be believed: {error}") from error


def _fraction(text: Any) -> Fraction:
    if not isinstance(text, str) or not FRACTION.fullmatch(text):
        raise NotReadable("it holds a fraction that is none.")
    return Fraction(text)


def _dict(pairs: Any) -> dict:
    return {_object(key): _object(entry) for key, entry in pairs}


def _read_array(content: Any) -> np.ndarray:
    dtype, shape, text = content
    dtype = np.dtype(dtype)
    if dtype.hasobject:
        raise NotReadable("it holds an array of objects.")
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape).copy()


def _distribution(content: Any) -> Any:
    from scipy import stats

    found = _object(content)
    kind = _new_kind(found["name"])
    if kind is not None and "args" not in found:
        return kind(**found["kwds"])
    dist = getattr(stats, found["name"], None)
    if not isinstance(dist, (stats.rv_continuous, stats.rv_discrete)):
        raise NotReadable(f"it draws from {found['name']!r}, which SciPy has not.")
    return dist(*found["args"], **found["kwds"])


_MAKERS: Mapping[str, Any] = types.MappingProxyType({
    "tuple": lambda content: tuple(map(_object, content)),
    "dict": _dict,
    "frozenset": lambda content: frozenset(map(_object, content)),
    "float": float,
    "complex": lambda content: complex(*map(_object, content)),
    "fraction": _fraction,
    "dtype": np.dtype,
    "array": _read_array,
    "scalar": lambda content: _read_array(content).reshape(())[()],
    "distribution": _distribution,
    "method": get_method,
    "plan": Plan.from_json,
})  # fmt: skip
