"""What is said of models that cannot be read, or hold what is not here."""

from __future__ import annotations

from cubie.errors import CubieError


class ModelError(CubieError, ValueError):
    """A model that cannot be read, or that needs what is not here.

    Attributes
    ----------
    feature : str
        The feature that is not here; empty where the model itself is at fault.
    """

    def __init__(self, message: str, feature: str = ""):
        super().__init__(message)
        self.feature = feature
