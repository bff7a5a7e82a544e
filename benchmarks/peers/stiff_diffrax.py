"""diffrax: a stiff solver under ``jit(vmap(...))``."""

from __future__ import annotations

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.specs import Work
from benchmarks.stiff_specs import ROBERTSON

jax.config.update("jax_enable_x64", True)


def _robertson(t, y, k1):
    slow, fast, back = k1 * y[0], 3e7 * y[1] * y[1], 1e4 * y[1] * y[2]
    return jnp.stack([-slow + back, slow - back - fast, fast])


def _van_der_pol(t, y, mu):
    return jnp.stack([y[1], mu * (1.0 - y[0] * y[0]) * y[1] - y[0]])


class DiffraxRunner:
    """All runs in one call, which steps them together until the last is done."""

    def __init__(self, work: Work, solver: str):
        term = diffrax.ODETerm(_robertson if work.problem == ROBERTSON else _van_der_pol)
        y0, method = jnp.asarray(work.y0), getattr(diffrax, solver)()
        # As diffrax advises for stiff problems.
        control = diffrax.PIDController(pcoeff=0.3, icoeff=0.4, rtol=work.rtol, atol=work.atol)

        def one(parameter):
            solution = diffrax.diffeqsolve(
                term,
                method,
                t0=0.0,
                t1=work.t_end,
                dt0=None,
                y0=y0,
                args=parameter,
                saveat=diffrax.SaveAt(t1=True),
                stepsize_controller=control,
                max_steps=100_000,
                throw=False,
            )
            return solution.ys[-1]

        self._solve = jax.jit(jax.vmap(one))
        self._parameters = jnp.asarray(work.parameters)
        self._final = None

    def __call__(self) -> None:
        self._final = self._solve(self._parameters).block_until_ready()

    def final_states(self) -> np.ndarray:
        return np.asarray(self._final)


def make(work: Work, option: str) -> DiffraxRunner:
    return DiffraxRunner(work, option)
