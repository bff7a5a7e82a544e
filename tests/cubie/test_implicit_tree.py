"""Loop, step, Newton's method, linear solver: what a change rebuilds, and what the plan reserves.

The kernels are compiled for sm_90, without a GPU.
"""

import functools

import numpy as np
import pytest

from cubie import Solver
from cubie.backend import make_backend
from cubie.factory import BuildCache
from cubie.integrator import RunSettings, SingleIntegratorRun
from cubie.launch.kernel import BatchSolverKernel
from cubie.launch.planned import BatchSolverConfig
from cubie.systems import trace
from cubie.tableaus import get_tableau
from tests.cubie import ptx
from tests.oracle.problems import lorenz

METHODS = ("rodas4", "kvaerno3", "radau_iia_5")  # one of each family
CHAIN = ("linear_solver", "newton", "algorithm", "loop", "kernel")
BLOCK_SIZE = 32

# Option, its new value, and the components whose functions depend on it.
CHANGES = [
    ({"krylov_tolerance": 1e-8}, CHAIN),
    ({"neumann_order": 3}, CHAIN),
    ({"max_linear_iterations": 55}, CHAIN),
    ({"newton_tolerance": 1e-3}, CHAIN),
    ({"max_newton_iterations": 7}, CHAIN[1:]),
    ({"safety": 0.8}, ("controller", "loop", "kernel")),
    ({"rtol": 1e-5}, ()),
]


def solve(solver, **changes):
    """Solve a short run."""
    return solver.solve((0.0, 0.1), [1.0, 0.0, 0.0], args=(10.0, 28.0, 8.0 / 3.0), **changes)


@pytest.mark.parametrize(("changes", "rebuilt"), CHANGES, ids=lambda c: next(iter(c), "nothing"))
def test_a_change_rebuilds_what_depends_on_it(changes, rebuilt):
    """From the component that has the option up to the kernel, and nothing beside."""
    solver = Solver(
        lorenz, backend="python", method="kvaerno3", linear_solver="bicgstab",
        preconditioner="neumann",
    )  # fmt: skip
    solve(solver)
    before = solver.builds
    solver.update(**changes)
    solve(solver)
    made = {name: count - before.get(name, 0) for name, count in solver.builds.items()}
    assert {name: count for name, count in made.items() if count} == dict.fromkeys(rebuilt, 1)


@functools.cache
def compiled(method, locations, linear_solver="lu"):
    """Return a kernel of five states in single precision, and the assembler's report."""
    n, dtype = 5, np.dtype("float32")

    def lorenz96(t, y, forcing):
        return [(y[(i + 1) % n] - y[i - 2]) * y[i - 1] - y[i] + forcing for i in range(n)]

    system = trace(lorenz96, n, (8.0,))
    settings = RunSettings(method=get_tableau(method))
    options = {"linear_solver": linear_solver}
    run = SingleIntegratorRun(system, settings, dtype, options)
    config = BatchSolverConfig(
        locations=locations, block_size=BLOCK_SIZE, compute_capability=(9, 0)
    )
    kernel = BatchSolverKernel(run, config, make_backend("cuda", dtype, True), BuildCache())
    return kernel, kernel.resources((9, 0))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_compiled_kernels_allocate_the_totals_of_the_registry(method):
    """All shared: a block has the planned bytes, and code addresses those and no stack frame."""
    kernel, found = compiled(method, "shared")
    plan, registry = kernel.plan, kernel.buffer_registry
    assert found.shared_bytes_per_block == BLOCK_SIZE * plan.run_stride_bytes
    assert kernel.shared_memory_elements == registry.elements(plan.shared_bytes_per_run)
    assert (kernel.local_memory_elements, kernel.persistent_local_elements) == (0, 0)
    assert ptx.frame_bytes(found.ptx) == 0
    offsets = [access.offset for access in ptx.accesses(found.ptx) if access.space == "shared"]
    assert min(offsets) >= 0
    assert max(offsets) < plan.shared_bytes_per_run
