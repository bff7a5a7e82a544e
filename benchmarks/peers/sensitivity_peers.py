"""Forward sensitivities by diffrax and heyoka, one core: ``... NAME SYSTEM P FILE``.

Writes the derivatives to FILE, and prints seconds of the first call, and of the fastest after it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import metadata

import numpy as np

from benchmarks.sensitivity_systems import STIFF, SYSTEMS, Case, case, rates, reactions


def _in_arrays(asked: Case) -> Callable:
    """Return the right-hand side in operations on whole arrays, which XLA compiles soon."""
    import jax.numpy as jnp

    n, n_inputs = len(asked.y0), asked.parameters.shape[1]
    if asked.name == "forced ring":
        harmonic, place = np.arange(n_inputs) // n, np.arange(n_inputs) % n

        def ring(t, y, p):
            own = (jnp.roll(y, -1) - jnp.roll(y, 2)) * jnp.roll(y, 1) - y + 8.0
            return own.at[place].add(p * jnp.cos(harmonic * t))

        return ring
    who, known = reactions(), jnp.asarray(rates()[n_inputs:])
    change = np.zeros((n, len(who)))
    for k, (a, b, c, d) in enumerate(who):
        change[[a, b], k] -= 1.0
        change[[c, d], k] += 1.0

    def network(t, y, p):
        return jnp.asarray(change) @ (jnp.concatenate([p, known]) * y[who[:, 0]] * y[who[:, 1]])

    return network


def diffrax_runner(asked: Case) -> Callable[[], np.ndarray]:
    """Return a call of ``jit(vmap(...))`` whose derivatives are taken forwards, by all inputs."""
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    fun = _in_arrays(asked)
    stiff = asked.name in STIFF
    method = diffrax.Kvaerno5() if stiff else diffrax.Tsit5()
    gains = {"pcoeff": 0.3, "icoeff": 0.4} if stiff else {}
    control = diffrax.PIDController(rtol=asked.rtol, atol=asked.atol, **gains)

    def solve(p):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(fun), method, t0=0.0,
            t1=asked.t_end, dt0=1e-6, y0=jnp.asarray(asked.y0), args=p, max_steps=100_000,
            stepsize_controller=control, saveat=diffrax.SaveAt(t1=True),
            adjoint=diffrax.ForwardMode(),
        )  # fmt: skip
        return solution.ys[-1]

    call = jax.jit(jax.vmap(jax.jacfwd(solve)))
    given = jnp.asarray(asked.parameters)
    return lambda: np.asarray(call(given).block_until_ready())


def heyoka_runner(asked: Case) -> Callable[[], np.ndarray]:
    """Return a call that integrates the variational equations, batches of runs one by one."""
    import heyoka

    n, n_inputs = len(asked.y0), asked.parameters.shape[1]
    y = heyoka.make_vars(*[f"y{i}" for i in range(n)])
    inputs = [heyoka.par[k] for k in range(n_inputs)]
    rows = SYSTEMS[asked.name](heyoka, n_inputs)(heyoka.time, y, inputs)
    system = heyoka.var_ode_sys(list(zip(y, rows, strict=True)), inputs, order=1)
    width = heyoka.recommended_simd_size()
    start = np.repeat(asked.y0[:, None], width, axis=1)
    integrator = heyoka.taylor_adaptive_batch(
        system, start, tol=asked.rtol, compact_mode=True, pars=np.zeros((n_inputs, width))
    )
    initial = integrator.state.copy()
    n_runs = len(asked.parameters)

    def run() -> np.ndarray:
        found = np.empty((n_runs, n, n_inputs))
        for first in range(0, n_runs, width):
            those = np.minimum(np.arange(first, first + width), n_runs - 1)
            integrator.set_time(np.zeros(width))
            integrator.state[:] = initial
            integrator.pars[:] = asked.parameters[those].T
            integrator.propagate_until(np.full(width, asked.t_end))
            values = integrator.state[n:].reshape(n, n_inputs, width)
            found[those] = values.transpose(2, 0, 1)
        return found

    return run


RUNNERS = {"diffrax": diffrax_runner, "heyoka": heyoka_runner}


def main() -> None:
    """Measure one of them."""
    name, system, n_inputs, path = sys.argv[1:]
    asked = case(system, int(n_inputs))
    begin = time.process_time()
    run = RUNNERS[name](asked)
    found = run()
    first = time.process_time() - begin
    times = []
    while sum(times) < 2.0 and len(times) < 50:
        begin = time.process_time()
        run()
        times.append(time.process_time() - begin)
    np.save(path, found)
    print(json.dumps({"first": first, "seconds": min(times), "version": metadata.version(name)}))


if __name__ == "__main__":
    main()
