"""What is known by its name, because installed code defines it that does not change."""

import functools
import importlib.metadata
import importlib.util
import sys
import sysconfig
import types
from pathlib import Path

import numpy as np

LIBRARIES = frozenset(
    {"numpy", "scipy", "math", "builtins", "cubie", "cubie_planner", "numba", "sympy"}
)

_STANDARD_LIBRARY = sysconfig.get_path("stdlib")

# Functions and classes of these read files, clocks, other programs or chance.
_OUTSIDE = frozenset(
    {"io", "_io", "os", "posix", "nt", "pathlib", "time", "random", "_random", "secrets", "socket"}
) | {"subprocess", "importlib", "urllib", "sqlite3", "shelve", "uuid", "tempfile", "glob"}
_READERS = frozenset({"load", "loadtxt", "genfromtxt", "fromfile", "memmap"})  # of NumPy


def is_library(name) -> bool:
    """Tell whether a module of this name is installed code."""
    root = (name if isinstance(name, str) else "").partition(".")[0]
    return root in LIBRARIES or (root in sys.stdlib_module_names and _is_pythons_own(root))


@functools.cache
def _is_pythons_own(root: str) -> bool:
    """Tell whether a module of this name is that of the standard library: users have a test.py."""
    module = sys.modules.get(root)
    try:
        spec = (
            importlib.util.find_spec(root) if module is None else getattr(module, "__spec__", None)
        )
    except (ImportError, ValueError):
        return False
    if spec is None or spec.origin in (None, "built-in", "frozen"):
        return spec is not None
    return Path(spec.origin).is_relative_to(_STANDARD_LIBRARY)


def library_name(value) -> str | None:
    """Return "module.name" of a function or class that a library's module holds, else None.

    What only says that it comes from there (`functools.wraps` says so) is not held there.
    """
    # Others are instances, and may compute anything when asked for an attribute.
    if not is_library(type(value).__module__):
        return None
    qualified = getattr(value, "__qualname__", None)
    if not isinstance(qualified, str):
        return None
    modules = [getattr(value, "__module__", None)]
    if isinstance(value, types.FunctionType):
        modules.insert(0, value.__globals__.get("__name__"))
    for module in modules:
        if is_library(module) and _find(sys.modules.get(str(module)), qualified) is value:
            return f"{module}.{qualified}"
    return None


def ufunc_name(value: np.ufunc) -> str | None:
    """Return "module.name" of NumPy's and SciPy's own ufuncs; others call functions unseen."""
    for module in ("numpy", "scipy.special"):
        if getattr(sys.modules.get(module), value.__name__, None) is value:
            return f"{module}.{value.__name__}"
    return None


def looks_outside(name: str) -> bool:
    """Tell whether a library's function or class reads more than its arguments."""
    root, _, rest = name.partition(".")
    return root in _OUTSIDE or (root == "numpy" and rest.rpartition(".")[2] in _READERS)


@functools.cache
def library_version(root: str) -> str:
    """Return the version of an installed package; those of Python's own are Python's."""
    if root in sys.stdlib_module_names or root == "cubie":
        return ""
    try:
        return importlib.metadata.version(root)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _find(found, qualified: str):
    for part in qualified.split("."):
        found = getattr(found, part, None)
    return found
