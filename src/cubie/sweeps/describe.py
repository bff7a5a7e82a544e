"""What a store says of its sweep to people."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from cubie.distribution import VERSION
from cubie.status import RunStatus
from cubie.sweeps.job import Round
from cubie.sweeps.kept import Layout
from cubie.sweeps.model import Model


def told_rounds(rounds: Sequence[Round]) -> dict[str, Any]:
    """Return the attribute that says what was computed once more; nothing where nothing was."""
    told = []
    for one in rounds:
        names = ", ".join(RunStatus(code).name for code in one.status)
        changes = ", ".join(f"{name}={_shown(value)}" for name, value in one.changes)
        told.append(f"runs that ended with {names}: again with {changes or 'nothing changed'}")
    return {"retries": told} if told else {}


def _shown(value: Any) -> str:
    """Return a number, or of numbers that are all alike one."""
    values = np.unique(value)
    return f"{values[0]:g}" if values.size == 1 else str(np.asarray(value).tolist())


def attributes_of(model: Model, layout: Layout, lacking: str) -> dict[str, Any]:
    """Return the attributes of the dataset: enough to say where its numbers are from."""
    system = model.systems.states
    plan = model.prepared.kernel.plan
    found = {
        "title": f"Sweep over {', '.join(layout.dims)} by {model.run_settings.method.name}",
        "source": f"cubie {VERSION}",
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
        "cubie_version": VERSION,
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
