"""Pictures of sweeps, by matplotlib through xarray."""

from __future__ import annotations

from typing import Any


def plot(dataset: Any, what: str, *, x: str | None = None, y: str | None = None, **how: Any) -> Any:
    """Draw a variable of a dataset."""
    raise NotImplementedError
