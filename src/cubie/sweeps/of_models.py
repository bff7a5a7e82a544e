"""Sweeps of models that `cubie.load_model` read from files."""

from __future__ import annotations

from typing import Any

import numpy as np

from cubie.models.model import USUAL, Model
from cubie.sweeps.asked import Asked
from cubie.sweeps.axes import Space
from cubie.systems.events.given import read_events
from cubie.systems.sensitivities.inputs import check_sensitivities, has_sensitivities


def as_equations(asked: Asked, space: Space) -> Asked:
    """Return a problem that asks for a model as one of its equations; others as they are.

    Of what is swept, and of args, constants are parameters; all others are numbers in the
    equations. States that the model's events need are not kept, and their times are not either.
    """
    model, options = asked.fun, dict(asked.options)
    if not isinstance(model, Model):
        return asked
    options, args = {**USUAL, **options}, asked.args
    by: Any = options.get("sensitivities")
    if has_sensitivities(by):
        check_sensitivities(by)
        options["sensitivities"], args = model.differentiable_sweep(by, space.names, args)
    posed = model.pose_sweep(space.names, asked.y0, args)
    if posed.events:
        own = read_events(options.get("events"))
        options["events"] = (*own, *posed.events)
        if not own:
            options.setdefault("max_events", 0)
        options.setdefault("save_states", list(posed.visible))
    if posed.breaks is not None:
        given = options.get("breakpoints")
        own = () if given is None else np.ravel(given)
        options["breakpoints"] = np.concatenate([posed.breaks, own])
    return asked._replace(fun=posed.equations, y0=posed.y0, args=posed.args, options=options)
