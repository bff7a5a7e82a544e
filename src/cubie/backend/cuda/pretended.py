"""Compiling for a device that is not there: which the toolkit knows, and what numba asks of one."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from numba.cuda import dispatcher as cuda_dispatcher

from cubie.backend.cuda.resources import needing_the_toolkit
from cubie.errors import InvalidOption
from cubie.reals import as_int
from cubie_planner.gpu.cards import Target
from cubie_planner.gpu.device import DeviceError

_pretending = threading.RLock()


def supported(given: Any) -> tuple[int, int]:
    """Return a compute capability that the toolkit compiles for, named or as a pair."""
    from numba.cuda.cudadrv.nvrtc import get_supported_ccs

    if isinstance(given, (str, Target)):
        try:
            given = Target.find(given).device.capability
        except DeviceError as error:
            raise InvalidOption("cc", given, advice=str(error)) from error
    pair = tuple(map(as_int, given)) if isinstance(given, tuple | list) else ()
    if len(pair) != 2 or not all(type(part) is int for part in pair):
        advice = "Give (major, minor), such as (9, 0), or a name, such as 'sm_90' or 'H100'."
        raise InvalidOption("cc", given, advice=advice)
    with needing_the_toolkit():
        known = tuple(map(tuple, get_supported_ccs()))
    if pair not in known:
        advice = "Those are what the installed CUDA toolkit compiles for."
        raise InvalidOption("cc", given, known, advice)
    return pair


@contextmanager
def pretended_device(capability: tuple[int, int]):
    """Let numba-cuda compile where there is no GPU.

    A device function that is not inlined asks for the current device only to
    learn its compute capability; this answers in its place, to the calling thread alone:
    others may compile for a device that is there.
    """
    own = threading.get_ident()
    with _pretending:  # one at a time, so that each finds and puts back numba's own
        original = cuda_dispatcher.get_current_device

        def device():
            if threading.get_ident() == own:
                return SimpleNamespace(compute_capability=capability)
            return original()

        cuda_dispatcher.get_current_device = device
        try:
            yield
        finally:
            cuda_dispatcher.get_current_device = original
