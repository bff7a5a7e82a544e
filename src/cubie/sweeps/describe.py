"""What a store says of its sweep to people, and in what two sweeps differ."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import numpy as np

from cubie.labelled.packages import version_of_package
from cubie.sweeps.axes import Space
from cubie.sweeps.codec import NotReadable, from_json, to_json
from cubie.sweeps.draws import Draws
from cubie.sweeps.kept import Layout
from cubie.sweeps.model import Model

MOST_TOLD = 6


def attributes_of(model: Model, layout: Layout, lacking: str) -> dict[str, Any]:
    """Return the attributes of the dataset: enough to say where its numbers are from."""
    system = model.systems.states
    plan = model.prepared.kernel.plan
    found = {
        "title": f"Sweep over {', '.join(layout.dims)} by {model.run_settings.method.name}",
        "source": f"cubie {version_of_package()}",
        "method": model.run_settings.method.name,
        "rtol": model.rtol.tolist() if model.rtol.size > 1 else float(model.rtol[0]),
        "atol": model.atol.tolist() if model.atol.size > 1 else float(model.atol[0]),
        "max_steps": model.max_steps,
        "dtype": model.dtype,
        "t_span": list(model.span),
        "model_fingerprint": system.digest,
        "model_kind": system.kind,
        "plan_digest": hashlib.sha256(plan.to_json().encode()).hexdigest(),
        "python": ".".join(map(str, sys.version_info[:3])),
        "numpy": np.__version__,
        "cubie_version": version_of_package(),
        "cubie_chunk": list(layout.chunks.box),
    }
    if lacking:
        found["cubie_lacking"] = lacking
    return {name: _finite(value) for name, value in found.items()}


def _finite(value: Any) -> Any:
    """Return what JSON can hold."""
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return value if not isinstance(value, float) or np.isfinite(value) else repr(value)


def differences(stored: bytes, model: Model, space: Space, drawn: Draws | None) -> list[str]:
    """Return in what a sweep differs from the one in a store, in words."""
    try:
        was, was_space, was_drawn = from_json(stored)
    except (NotReadable, ValueError):
        return ["what it is of cannot be read"]
    found = []
    for name in ("systems", "run_settings", "options", "settings", "dtype", "rtol", "atol",
                 "max_step", "min_step", "first_step", "max_steps", "small", "start", "parameters",
                 "span", "times", "drivers", "constants", "places", "state_names",
                 "summary_names", "window", "breakpoints"):  # fmt: skip
        before, now = getattr(was, name), getattr(model, name)
        if _text(before) != _text(now):
            found.append(_told(name, before, now))
    if _text(was_space) != _text(space):
        found.append(f"its axes are {was_space!r}, here they are {space!r}, or other values")
    if _text(was_drawn) != _text(drawn):
        found.append("what each run draws for itself differs")
    rest = len(found) - MOST_TOLD
    return found[:MOST_TOLD] + ([f"and {rest} more"] if rest > 0 else [])


def _text(value: Any) -> Any:
    try:
        return to_json(value)
    except TypeError:
        return repr(value)


def _told(name: str, before: Any, now: Any) -> str:
    if name == "systems":
        return "the right-hand side, observables or events are others"
    if name == "run_settings":
        changed = [
            field
            for field in ("step_controller", "save_mode", "summaries", "choice", "events")
            if getattr(before, field) != getattr(now, field)
        ]
        if before.method.name != now.method.name:
            return f"its method is {before.method.name}, here it is {now.method.name}"
        return f"other {', '.join(changed) or 'run settings'}"
    called = {"start": "y0", "span": "t_span", "times": "t_eval", "parameters": "args"}
    return f"its {called.get(name, name)} is {_short(before)}, here it is {_short(now)}"


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    text = value if isinstance(value, str) else json.dumps(value, default=repr)
    return text if len(text) < 60 else text[:57] + "..."
