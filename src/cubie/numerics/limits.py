"""What a launch tells runs of time and of steps: one number for all of them, or one for each."""

from __future__ import annotations

from collections.abc import Callable

from cubie.backend import Backend, load_run, shared_function

# Rows of a launch's `time_span`,
START, DIRECTION, WINDOW_FIRST, WINDOW_LAST = range(4)
# and of its `step_limits`.
FIRST_STEP, LARGEST_STEP, LEAST_STEP = range(3)


@shared_function
def build_time(backend: Backend, own: bool) -> Callable:
    """Return ``time(launch, direction, elapsed)``: the time as right-hand sides read it.

    With `own` runs start at times of their own.
    """

    def from_shared_start(launch, direction, elapsed):
        return launch.inputs.time_span[0] + direction * elapsed

    def from_own_start(launch, direction, elapsed):
        inputs, run, n_runs = launch
        return load_run(inputs.time_span, 0, 1, run, n_runs) + direction * elapsed

    return backend.device(from_own_start if own else from_shared_start)


@shared_function
def build_of_span(backend: Backend, row: int, own: bool) -> Callable:
    """Return ``of_span(launch)``: a row of `time_span`; of lanes where runs have their own."""

    def of_all(launch):
        return launch.inputs.time_span[row]

    def of_run(launch):
        inputs, run, n_runs = launch
        return load_run(inputs.time_span, row * n_runs, 1, run, n_runs)

    return backend.device(of_run if own else of_all)


@shared_function
def build_of_steps(backend: Backend, row: int, own: bool) -> Callable:
    """Return ``of_steps(launch)``: a row of `step_limits`; of lanes where runs have their own."""

    def of_all(launch):
        return launch.inputs.step_limits[row]

    def of_run(launch):
        inputs, run, n_runs = launch
        return load_run(inputs.step_limits, row * n_runs, 1, run, n_runs)

    return backend.device(of_run if own else of_all)


@shared_function
def build_step_limit(backend: Backend, row: int, own: bool) -> Callable:
    """Return ``limit(launch)``: a row of `step_limits`, of lanes."""

    def of_all(launch):
        inputs, run, n_runs = launch
        return load_run(inputs.step_limits, row, 0, run, n_runs)

    def of_run(launch):
        inputs, run, n_runs = launch
        return load_run(inputs.step_limits, row * n_runs, 1, run, n_runs)

    return backend.device(of_run if own else of_all)
