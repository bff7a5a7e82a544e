"""The same component code under numba's CUDA simulator, in a process of its own.

The simulator is switched on by an environment variable that numba reads when it is
imported, so it cannot share a process with the compiled targets.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cubie import CubieError, Event, Solver
from tests.oracle.problems import lorenz

ROOT = Path(__file__).resolve().parents[2]
BLOCK_SIZE = 4
RHO = np.linspace(15.0, 35.0, 6)  # a full block and a half


def observed(t, y, sigma, rho, beta):
    """Return quantities of the Lorenz system."""
    return {"a": rho * y[0] - t, "b": y[1] * y[2]}


def to_20(t, y, sigma, rho, beta):
    """Be zero where a state is 20, after a loop that no trace can follow."""
    distance = y[2] - 20.0
    while abs(distance) > 1e3:
        distance *= 0.5
    return distance


CASES = {
    "tsit5_local": {"method": "tsit5", "locations": "local"},
    "tsit5_shared": {"method": "tsit5", "locations": "shared"},
    "tsit5_auto": {"method": "tsit5", "locations": "auto"},
    "tsit5_pinned": {
        "method": "tsit5",
        "state_location": "shared",
        "stage_rhs_location": "shared",
        "dt_location": "local_persistent",
    },
    "rk4_shared": {"method": "rk4", "locations": "shared", "first_step": 0.01},
    "dop853_shared": {"method": "dop853", "locations": "shared"},
    "pid_shared": {
        "method": "bogacki_shampine32",
        "locations": "shared",
        "step_controller": "pid",
        "rtol": 1e-3,
    },
    "rosenbrock": {"method": "rodas4", "locations": "shared"},
    "diagonally_implicit": {"method": "kvaerno3", "locations": "shared"},
    "fully_implicit": {"method": "radau_iia_5", "locations": "shared"},
    "backward_differentiation": {"method": "bdf", "locations": "shared", "t_eval": [0.1, 0.25]},
    "single_factors": {
        "method": "radau_iia_5",
        "locations": "shared",
        "factor_dtype": "float32",
        "jacobian_reuse": True,
    },
    "switching": {"method": "auto", "locations": "shared", "t_eval": [0.1, 0.25]},
    "krylov": {"method": "rodas4", "locations": "shared", "linear_solver": "bicgstab"},
    "gmres": {
        "method": "radau_iia_5",
        "locations": "shared",
        "linear_solver": "gmres",
        "preconditioner": "ilu0",
    },
    "gmres_float32": {"method": "rodas4", "linear_solver": "gmres", "dtype": "float32"},
    "jacobi": {"method": "rodas4", "linear_solver": "bicgstab", "preconditioner": "jacobi"},
    "neumann": {"method": "kvaerno3", "linear_solver": "gmres", "preconditioner": "neumann"},
    "block_jacobi": {
        "method": "radau_iia_3",
        "locations": "shared",
        "linear_solver": "bicgstab",
        "preconditioner": "block_jacobi",
    },
    "banded": {"method": "bdf", "linear_solver": "gmres", "preconditioner": "banded"},
    "every_step": {"method": "tsit5", "save": "steps"},
    "t_eval": {"method": "tsit5", "locations": "shared", "t_eval": [0.0, 0.1, 0.25]},
    "float32": {"method": "tsit5", "locations": "shared", "dtype": "float32"},
    "dense_output": {"method": "dop853", "locations": "shared", "dense_output": True},
    "dense_output_of_bdf": {
        "method": "bdf",
        "locations": "shared",
        "t_eval": [0.1, 0.25],
        "dense_output": True,
    },
    "observables": {
        "method": "tsit5",
        "save": "steps",
        "observables": observed,
        "save_states": [2],
    },
    "observables_shared": {
        "method": "rodas4",
        "locations": "shared",
        "t_eval": [0.0, 0.1, 0.25],
        "observables": observed,
        "save_states": ["y2", 0],
        "save_observables": ["b"],
    },
    "refilled": {"method": "tsit5", "locations": "shared", "refill": True},
    "in_slices": {"method": "tsit5", "locations": "shared", "time_slices": True},
    "observables_alone": {"method": "tsit5", "observables": observed, "save_states": False},
    "events": {
        "method": "tsit5",
        "locations": "shared",
        "max_events": 200,
        "events": Event(
            lambda t, y, sigma, rho, beta: y[2] - 20.0,
            apply=lambda t, y, sigma, rho, beta: [y[0], y[1], y[2] - 5.0],
        ),
    },
    "untraced_events": {
        "method": "tsit5",
        "locations": "shared",
        "max_events": 200,
        "events": [to_20, lambda t, y, sigma, rho, beta: y[0]],
    },
    "global": {"method": "bdf", "locations": "global", "t_eval": [0.1, 0.25]},
    "beyond_local": {"method": "bdf", "max_local": 200, "refill": True},
    "beyond_local_in_slices": {"method": "tsit5", "max_local": 200, "time_slices": True},
    "own_spans": {
        "method": "tsit5",
        "locations": "shared",
        "t_span": (np.linspace(-0.5, 0.5, 6), np.full(6, 0.3)),
        "t_eval": [[0.3, np.nan], [0.0, 0.3], [0.1, 0.2], [0.2, np.nan], [0.3, np.nan], [0.4, 0.3]],
        "rtol": np.logspace(-2, -6, 6)[:, None],
        "refill": True,
    },
    "own_steps": {
        "method": "rk4",
        "t_span": (0.0, np.array([0.1, -0.1, 0.0, 0.2, 0.3, -0.05])),
        "first_step": np.linspace(0.01, 0.03, 6),
    },
}
OUTPUTS = ("y", "n_steps", "n_rejected", "nfev", "status")
# States, what is observed, when events happened, and the solution in between.
POINTS = ("y", "a", "b", "events", "sol")
LOOKED_AT = np.linspace(0.0, 0.5, 9)


def solve(backend, case, **more):
    """Solve a small sweep of the Lorenz system as one of `CASES` says."""
    options = {"rtol": 1e-4, "atol": 1e-4, "block_size": BLOCK_SIZE, **CASES[case], **more}
    if backend == "python":
        options.pop("time_slices", None)  # nobody ends what it does
    solver, span = Solver(lorenz, backend=backend), options.pop("t_span", (0.0, 0.5))
    return solver.solve(span, [1.0, 0.0, 0.0], args=(10.0, RHO, 8.0 / 3.0), **options)


def outputs_of(result):
    """Return what there is of a result, observables among it."""
    outputs = {name: getattr(result, name) for name in OUTPUTS} | dict(result.observables)
    outputs["sol"] = None if result.sol is None else result.sol(LOOKED_AT)
    outputs["events"] = None if result.t_events is None else result.t_events[0]
    return {name: np.asarray(value) for name, value in outputs.items() if value is not None}


def write_results(path):
    """Solve all cases under the simulator and store them; what the process started below does."""
    from cubie.backend.device.host import HostDriver
    from cubie.backend.device.workspace import shared_workspaces

    workspaces = shared_workspaces("simulator", HostDriver)
    arrays, driver = {}, workspaces.driver
    driver.pretend(threads_per_multiprocessor=BLOCK_SIZE)  # fewer than there are runs
    for case in CASES:
        result = solve("cuda", case)
        arrays |= {f"{case}.{name}": value for name, value in outputs_of(result).items()}
    workspaces.close()
    driver.pretend(total_bytes=2000)  # of which two runs at a time are solved
    for name, value in outputs_of(solve("cuda", "tsit5_shared")).items():
        arrays[f"in_portions.{name}"] = value
    workspaces.close()
    driver.pretend(total_bytes=20_000)  # of which a warp takes 32 times what a run has in it
    for name, value in outputs_of(solve("cuda", "tsit5_shared", locations="global")).items():
        arrays[f"global_in_portions.{name}"] = value
    driver.pretend(total_bytes=6000)
    try:
        solve("cuda", "tsit5_shared", locations="global")
    except CubieError as error:
        arrays["too_much"] = np.array([type(error).__name__, str(error)])
    driver.pretend(total_bytes=2**30)
    arrays["on_device.y"] = solve("cuda", "tsit5_shared", on_device=True).y.to_host()
    solver = Solver(lorenz, backend="cuda")
    solver.prepare([1.0, 0.0, 0.0], args=(10.0, 28.0, 8.0 / 3.0))
    try:
        solver.kernel.resources((9, 0))
    except CubieError as error:
        arrays["resources"] = np.array([type(error).__name__, str(error)])
    np.savez(path, **arrays)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Results of all cases, by name, from a process with the simulator switched on."""
    path = tmp_path_factory.mktemp("simulator") / "results.npz"
    script = "import sys; from tests.cubie.test_simulator import write_results as w; w(sys.argv[1])"
    command = [sys.executable, "-c", script, str(path)]
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.mark.filterwarnings("ignore::cubie.UntracedWarning")
@pytest.mark.parametrize("case", CASES)
def test_the_simulator_agrees_with_the_interpreter(simulated, case):
    """Grid, blocks, shared memory and poison of the simulator give the interpreter's numbers."""
    reference = solve("python", case)
    np.testing.assert_array_equal(simulated[f"{case}.status"], 0)
    for name in ("n_steps", "n_rejected", "nfev"):
        np.testing.assert_array_equal(simulated[f"{case}.{name}"], getattr(reference, name))
    expected = {k: v for k, v in outputs_of(reference).items() if k in POINTS}
    assert expected.keys() == {name for name in POINTS if f"{case}.{name}" in simulated}
    for name, values in expected.items():
        found = simulated[f"{case}.{name}"]
        assert found.dtype == values.dtype
        rounding = 100 * np.finfo(found.dtype).eps
        np.testing.assert_allclose(found, values, rtol=rounding, atol=rounding)


def test_placements_agree_under_the_simulator(simulated):
    """Local, shared, planned and pinned: the same bits."""
    for case in ("tsit5_shared", "tsit5_auto", "tsit5_pinned", "global_in_portions"):
        for name in OUTPUTS:
            np.testing.assert_array_equal(
                simulated[f"{case}.{name}"], simulated[f"tsit5_local.{name}"]
            )


def test_portions_and_further_runs_agree_under_the_simulator(simulated):
    """One launch, several, fewer threads than runs, and left on the device: the same bits."""
    for name in OUTPUTS:
        for case in ("in_portions", "refilled"):
            np.testing.assert_array_equal(
                simulated[f"{case}.{name}"], simulated[f"tsit5_shared.{name}"]
            )
    np.testing.assert_array_equal(simulated["on_device.y"], simulated["tsit5_shared.y"])


def test_under_the_simulator_resources_say_why_there_are_none(simulated):
    """Nothing is compiled in such a process: the error says so, and what to do."""
    assert simulated["resources"].tolist() == [
        "NotCompiled",
        "kernel.resources() compiles, and NUMBA_ENABLE_CUDASIM=1 replaced numba's compiler for "
        "this process by the simulator. Ask for them in a process without it; no GPU is needed.",
    ]


def test_global_memory_that_a_device_has_not_is_refused_in_words(simulated):
    """Before anything is compiled: what a run has there, what a warp takes, what there is."""
    kind, message = simulated["too_much"]
    assert kind == "DeviceOutOfMemory"
    assert message.startswith("A run keeps 208 B in global memory, 32 runs at once take 6,656 B, ")
    assert "simulated has 6,000 B. Use dtype='float32'," in message
