"""A function of numbers, or a generated module, evaluated for many values on any target."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import numpy as np

from cubie.backend import RunMemory, load_run, make_backend, store_run
from cubie.backend.arrays import KernelInputs, KernelOutputs
from cubie_planner import Location, Placement
from tests.cubie.alias_pair import for_all_runs

# Without and with SIMD lanes, and the interpreter; (name of the target, lanes).
TARGETS = (("python", None), ("cpu", 1), ("cpu", 8))


def backend_of(target: tuple[str, int | None], dtype, fastmath: bool):
    """Return the backend of a target in the list above."""
    name, lanes = target
    return make_backend(name, np.dtype(dtype), fastmath, lanes)


def evaluate_component(backend, build: Callable, x) -> np.ndarray:
    """Return ``build(backend)(x)`` for all entries of `x`, as the target computes it."""
    x = np.asarray(x, backend.dtype)
    function = build(backend)

    def work(memory, run, n_runs, inputs, outputs):
        value = function(load_run(inputs.initial_state, 0, 1, run, n_runs))
        store_run(outputs.states, 0, run, run < n_runs, value)

    return _launch(backend, work, x.reshape(1, -1), np.zeros((0, x.size)), 1)[0]


def evaluate_rhs(backend, rhs: Callable, t: float, y, p, n_outputs: int) -> np.ndarray:
    """Return what ``rhs(t, y, p, dy, 0)`` of a generated module writes, (n_outputs, runs).

    Parameters
    ----------
    t : float
    y : array_like (n, runs)
    p : array_like (m, runs)
    """
    y, p = np.asarray(y, backend.dtype), np.asarray(p, backend.dtype)
    n, m = len(y), len(p)
    straight = backend.straight_line(rhs, as_written=True)
    sizes = {"y": n, "p": m, "dy": n_outputs}
    buffers = [_local(backend, name, size) for name, size in sizes.items()]
    reach_y, reach_p, reach_dy = map(backend.allocator, buffers)
    time = backend.constant(t)

    def work(memory, run, n_runs, inputs, outputs):
        states = reach_y(memory, None)
        parameters = reach_p(memory, None)
        derivative = reach_dy(memory, None)
        now = load_run(inputs.time_span, 0, 0, run, n_runs) + time
        for i in range(n):
            states[i] = load_run(inputs.initial_state, i * n_runs, 1, run, n_runs)
        for i in range(m):
            parameters[i] = load_run(inputs.parameters, i * n_runs, 1, run, n_runs)
        straight(now, states, parameters, derivative, 0)
        for i in range(n_outputs):
            store_run(outputs.states, i * n_runs, run, run < n_runs, derivative[i])

    return _launch(backend, work, y, p, n_outputs)


def evaluate_rates(backend, rates: Callable, t: float, y, dy, p, n_outputs: int) -> np.ndarray:
    """Return what ``rates(t, y, dy, p, out, rate)`` writes, values above rates; see above."""
    y, dy, p = (np.asarray(given, backend.dtype) for given in (y, dy, p))
    n, m = len(y), len(p)
    straight = backend.straight_line(rates, as_written=True)
    sizes = {"y": n, "dy": n, "p": m, "out": n_outputs, "rate": n_outputs}
    buffers = [_local(backend, name, size) for name, size in sizes.items()]
    reach_y, reach_dy, reach_p, reach_out, reach_rate = map(backend.allocator, buffers)
    time = backend.constant(t)

    def work(memory, run, n_runs, inputs, outputs):
        states, slopes = reach_y(memory, None), reach_dy(memory, None)
        parameters = reach_p(memory, None)
        out, rate = reach_out(memory, None), reach_rate(memory, None)
        now = load_run(inputs.time_span, 0, 0, run, n_runs) + time
        for i in range(n):
            states[i] = load_run(inputs.initial_state, i * n_runs, 1, run, n_runs)
            slopes[i] = load_run(inputs.initial_state, (n + i) * n_runs, 1, run, n_runs)
        for i in range(m):
            parameters[i] = load_run(inputs.parameters, i * n_runs, 1, run, n_runs)
        straight(now, states, slopes, parameters, out, rate)
        for i in range(n_outputs):
            store_run(outputs.states, i * n_runs, run, run < n_runs, out[i])
            store_run(outputs.states, (n_outputs + i) * n_runs, run, run < n_runs, rate[i])

    return _launch(backend, work, np.concatenate([y, dy]), p, 2 * n_outputs)


def _local(backend, name: str, size: int) -> Placement:
    return Placement(
        name=name,
        location=Location.LOCAL,
        offset=None,
        size_bytes=size * backend.dtype.itemsize,
        n_elements=size,
        dtype=backend.dtype,
        lifetime=None,
    )


def _launch(backend, work: Callable, y, p, n_outputs: int) -> np.ndarray:
    dtype, n_runs = backend.dtype, y.shape[1]
    # What no function here reads or writes: enough of anything.
    spare = np.zeros(8 * max(1, n_runs))
    used = {
        "initial_state": np.ascontiguousarray(y).ravel(),
        "parameters": np.append(np.ascontiguousarray(p).ravel(), dtype.type(0.0)),
        "time_span": np.zeros(2, dtype),
        "states": np.full(n_outputs * n_runs, -77.0, dtype),
    }
    inputs = KernelInputs(*(used.get(name, spare) for name in KernelInputs._fields))
    outputs = KernelOutputs(*(used.get(name, spare) for name in KernelOutputs._fields))
    device = backend.device(work)
    kernel = backend.kernel(
        lambda: for_all_runs(backend, device), RunMemory(0, 0), f"evaluate-{uuid.uuid4().hex}"
    )
    kernel(n_runs, inputs, outputs, 32)
    return outputs.states.reshape(n_outputs, n_runs)


def special_values(dtype) -> Sequence[float]:
    """Return numbers at which functions have edges."""
    info = np.finfo(dtype)
    sizes = [0.0, info.tiny, 1.0, 2.0, info.max, np.inf]
    return [*sizes, *(-size for size in sizes), np.nan]
