"""The systems of the suite "large" for diffrax: all runs in one call of ``jit(vmap(...))``."""

from __future__ import annotations

import math

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.large_systems import Made, reactions, weights

jax.config.update("jax_enable_x64", True)


def _heat(n: int):
    def fun(t, y, args):
        left, right = jnp.roll(y, 1).at[0].set(0.0), jnp.roll(y, -1).at[-1].set(1.0)
        return float((n + 1) ** 2) * (left - 2.0 * y + right)

    return fun


def _brusselator(n: int):
    rate = 0.02 * (n // 2 + 1) ** 2

    def spread(species, edge):
        left, right = jnp.roll(species, 1).at[0].set(edge), jnp.roll(species, -1).at[-1].set(edge)
        return rate * (left - 2.0 * species + right)

    def fun(t, y, args):
        u, v = y[0::2], y[1::2]
        made = u * u * v
        du = 1.0 + made - 4.0 * u + spread(u, 1.0)
        return jnp.stack([du, 3.0 * u - made + spread(v, 3.0)], axis=1).ravel()

    return fun


def _brusselator_in_the_plane(n: int):
    side = math.isqrt(n // 2)
    rate = 0.002 * side**2

    def spread(species):
        neighbours = jnp.roll(species, 1, 0) + jnp.roll(species, -1, 0)
        neighbours = neighbours + jnp.roll(species, 1, 1) + jnp.roll(species, -1, 1)
        return rate * (neighbours - 4.0 * species)

    def fun(t, y, args):
        u, v = y[0::2].reshape(side, side), y[1::2].reshape(side, side)
        made = u * u * v
        du = 1.0 + made - 4.4 * u + spread(u)
        dv = 3.4 * u - made + spread(v)
        return jnp.stack([du.ravel(), dv.ravel()], axis=1).ravel()

    return fun


def _lorenz_96(n: int):
    def fun(t, y, args):
        return (jnp.roll(y, -1) - jnp.roll(y, 2)) * jnp.roll(y, 1) - y + 8.0

    return fun


def _sparse_network(n: int):
    """Speeds of all reactions at once, then one sum of what each takes and makes."""
    drawn = reactions(n)
    rates = jnp.array([rate for _, _, rate in drawn])
    # The place after the last state holds a one, for reactions of one species.
    taken = jnp.array([(*taken, n)[:2] for taken, _, _ in drawn])
    places, sources, shares = [], [], []
    for reaction, (lost, gained, _) in enumerate(drawn):
        places += [*lost, *gained]
        sources += [reaction] * (len(lost) + len(gained))
        shares += [-1.0] * len(lost) + [len(lost) / len(gained)] * len(gained)
    where, source, share = jnp.array(places), jnp.array(sources), jnp.array(shares)

    def fun(t, y, args):
        values = jnp.append(y, 1.0)
        speeds = rates * values[taken[:, 0]] * values[taken[:, 1]]
        return jnp.zeros(n).at[where].add(share * speeds[source])

    return fun


def _dense_network(n: int):
    matrix = jnp.asarray(weights(n))

    def fun(t, y, args):
        return matrix @ jnp.tanh(y) - y

    return fun


FUNCTIONS = {
    "heat 1-D": _heat,
    "Brusselator 1-D": _brusselator,
    "Brusselator 2-D": _brusselator_in_the_plane,
    "Lorenz-96": _lorenz_96,
    "sparse network": _sparse_network,
    "dense network": _dense_network,
}


def batch(name: str, made: Made, t_end: float, rtol: float, atol: float):
    """Return ``solve(starts) -> (final states, steps)``; ``starts`` is (n_runs, n_states)."""
    fun = FUNCTIONS[name](made.start.size)
    expected = np.asarray(made.fun(0.0, made.start), float)
    given = np.asarray(fun(0.0, jnp.asarray(made.start), None))
    np.testing.assert_allclose(given, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    control = diffrax.PIDController(rtol=rtol, atol=atol, pcoeff=0.3, icoeff=0.4)

    def one(y0):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(fun),
            diffrax.Kvaerno5(),
            t0=0.0,
            t1=t_end,
            dt0=None,
            y0=y0,
            stepsize_controller=control,
            saveat=diffrax.SaveAt(t1=True),
            max_steps=1_000_000,
            throw=False,
        )
        return solution.ys[-1], solution.stats["num_steps"]

    compiled = jax.jit(jax.vmap(one))

    def solve(starts):
        final, steps = compiled(jnp.asarray(starts))
        return np.asarray(final), np.asarray(steps)

    return solve
