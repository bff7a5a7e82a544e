"""Models in the formats that scientists keep them in, made into equations of cubie's.

A format's room (`sbml`) reads a file into a `Description`, which knows no format: states with
rates, quantities with formulas, constants, initial values, events. All else is made of that.
"""

from cubie.models.errors import ModelError
from cubie.models.loading import load_model
from cubie.models.model import Model

__all__ = ["Model", "ModelError", "load_model"]
