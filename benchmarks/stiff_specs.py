"""The stiff work that is timed, and the contenders: the same for us and the peers."""

from __future__ import annotations

import numpy as np
from attrs import frozen

from benchmarks.contender import Contender, peer
from benchmarks.registry import by_name
from benchmarks.specs import Problem, Work


def robertson(t, y, k1):
    """Robertson's reactions; the slow rate is swept."""
    slow, fast, back = k1 * y[0], 3e7 * y[1] * y[1], 1e4 * y[1] * y[2]
    return [-slow + back, slow - back - fast, fast]


def van_der_pol(t, y, mu):
    """Van der Pol's relaxation oscillator, unscaled."""
    return [y[1], mu * (1.0 - y[0] * y[0]) * y[1] - y[0]]


@frozen
class StiffWork(Work):
    """A stiff batch.

    Attributes
    ----------
    logarithmic : bool
        The runs divide the sweep evenly on a logarithmic scale.
    """

    logarithmic: bool = False

    @property
    def parameters(self) -> np.ndarray:
        """The swept parameter (n_runs,), in the dtype of the work."""
        divide = np.geomspace if self.logarithmic else np.linspace
        return divide(*self.problem.sweep, self.n_runs).astype(self.dtype)


ROBERTSON = Problem("robertson", robertson, (1.0, 0.0, 0.0), (1e-2, 1e-1))
VAN_DER_POL = Problem("van_der_pol", van_der_pol, (2.0, 0.0), (100.0, 1000.0))

STIFF_WORKS = by_name(
    StiffWork("W3", ROBERTSON, 2000, t_end=1e4, method="rodas5p", logarithmic=True),
    StiffWork("W4", VAN_DER_POL, 2000, t_end=1000.0, method="rodas5p"),
)

OUR_METHODS = ("rodas5p", "rodas4", "rosenbrock23", "radau_iia_5", "kvaerno5")

STIFF_CONTENDERS = by_name(
    *(Contender(f"cubie {name}", "benchmarks.stiff_ours", name) for name in OUR_METHODS),
    peer("numbalsoda LSODA", "numbalsoda", "lsoda"),
    peer("diffrax Kvaerno5", "diffrax", "Kvaerno5"),
    peer("SciPy LSODA", "scipy", "LSODA"),
    peer("SciPy Radau", "scipy", "Radau"),
)
