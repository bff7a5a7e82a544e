"""diffrax: a solver named in the contender, under ``jit(vmap(...))``."""

from __future__ import annotations

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.specs import Work

jax.config.update("jax_enable_x64", True)


def _lorenz(t, y, rho):
    x, y, z = y
    return jnp.array([10.0 * (y - x), x * (rho - z) - y, x * y - 8.0 / 3.0 * z])


def _lorenz96(t, y, forcing):
    return (jnp.roll(y, -1) - jnp.roll(y, 2)) * jnp.roll(y, 1) - y + forcing


def _robertson(t, y, k1):
    slow, fast, back = k1 * y[0], 3e7 * y[1] * y[1], 1e4 * y[1] * y[2]
    return jnp.stack([-slow + back, slow - back - fast, fast])


def _van_der_pol(t, y, mu):
    return jnp.stack([y[1], mu * (1.0 - y[0] * y[0]) * y[1] - y[0]])


SYSTEMS = {
    "lorenz": _lorenz,
    "lorenz96": _lorenz96,
    "robertson": _robertson,
    "van_der_pol": _van_der_pol,
}


class DiffraxRunner:
    """All runs in one call, which steps them together until the last is done."""

    def __init__(self, work: Work, solver: str):
        term = diffrax.ODETerm(SYSTEMS[work.problem.name])
        method = getattr(diffrax, solver)()
        y0 = jnp.asarray(work.y0)
        t_end = work.y0.dtype.type(work.t_end)
        if work.fixed_steps:
            control = {"stepsize_controller": diffrax.ConstantStepSize(), "dt0": work.step_size}
        else:
            # As diffrax advises for stiff problems; else its defaults.
            implicit = isinstance(method, diffrax.AbstractImplicitSolver)
            gains = {"pcoeff": 0.3, "icoeff": 0.4} if implicit else {}
            pid = diffrax.PIDController(rtol=work.rtol, atol=work.atol, **gains)
            control = {"stepsize_controller": pid, "dt0": None}

        def one(parameter):
            solution = diffrax.diffeqsolve(
                term,
                method,
                t0=t_end * 0,
                t1=t_end,
                y0=y0,
                args=parameter,
                saveat=diffrax.SaveAt(t1=True),
                max_steps=100_000,
                throw=False,
                **control,
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
