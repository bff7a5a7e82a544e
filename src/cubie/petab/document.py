"""What a PEtab problem says, of version 1 or 2, as values; formulas are SymPy's."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from attrs import frozen


class Scale(Enum):
    """On which scale a parameter is estimated, or noise is added."""

    LIN = "lin"
    LOG = "log"
    LOG10 = "log10"


class Noise(Enum):
    """How measurements are distributed around what is simulated."""

    NORMAL = "normal"
    LAPLACE = "laplace"


@frozen
class Parameter:
    """A parameter of the problem, with bounds and value as they are, not on its scale."""

    id: str
    scale: Scale
    lower: float
    upper: float
    nominal: float
    estimated: bool


@frozen
class Experiment:
    """What a run is: which constants and initial values are others than those of the model."""

    id: str
    start: float
    changes: Mapping[str, Any]


@frozen
class Observable:
    """What is measured, with placeholders for what differs between measurements."""

    id: str
    formula: Any
    noise_formula: Any
    noise: Noise
    scale: Scale
    placeholders: tuple[str, ...]


@frozen
class Measurement:
    """A number, with what its placeholders are."""

    observable: str
    experiment: str
    time: float
    value: float
    placeholders: Mapping[str, Any]


@frozen
class Document:
    """A problem.

    Attributes
    ----------
    model : str
        As SBML.
    priors : tuple of str
        Parameters with priors, which are no part of the likelihood.
    """

    name: str
    model: str
    parameters: tuple[Parameter, ...]
    experiments: tuple[Experiment, ...]
    observables: tuple[Observable, ...]
    measurements: tuple[Measurement, ...]
    priors: tuple[str, ...] = ()
