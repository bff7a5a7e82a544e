"""What stands between the tracer and the user's function, where that has another form.

A wrapper is a `functools.partial` of a function of this package, not a closure: to the cache it is
like any other of its name. Its first argument is what it wraps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np


def in_columns(fun: Callable) -> Callable:
    """Return ``fun(t, y, *args)`` of a function that takes states as columns.

    That is what SciPy's ``vectorized=True`` says of it: for `y` of shape (n, k) it returns (n, k).
    """
    return partial(_one_column, fun)


def _one_column(fun: Callable, t: Any, y: Any, *args: Any) -> Any:
    result = fun(t, y[:, None], *args)
    # Entries of a list may be numbers or columns of one: None, and what has other shapes, is told.
    return result if result is None else np.asarray(result).ravel()


def takes_columns(fun: Any) -> bool:
    """Tell whether a function is one of `in_columns`."""
    return type(fun) is partial and fun.func is _one_column


def asked(fun: Any) -> Any:
    """Return the user's own function behind the wrappers of this package."""
    while type(fun) is partial and _is_wrapper(fun):
        fun = fun.args[0]
    return fun


def _is_wrapper(fun: partial) -> bool:
    module = getattr(fun.func, "__module__", None) or ""
    return module.startswith("cubie.systems.") and bool(fun.args) and callable(fun.args[0])
