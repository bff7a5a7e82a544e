"""Run device functions of single components on any target, without a solver around them."""

import uuid

import numpy as np

from cubie.backend import Launch, any_lane, load_run, make_backend, store_run
from cubie.backend.base import RunMemory
from cubie.factory import BuildCache, BuildContext, CUDAFactory
from cubie.launch.capacity import Kept
from cubie.launch.inputs import make_inputs
from cubie.launch.outputs import make_outputs
from cubie.run.saving import SaveMode


class Bench(CUDAFactory):
    """A root component that feeds a body with numbers of each run and keeps what it writes.

    Parameters
    ----------
    children : mapping of component to (phase, or mapping of entry to phase)
    n_in, n_out : int
        Numbers a run gets and gives.
    make_body : callable
        ``make_body(bench, context) -> body(memory, launch, given, kept)``.
    """

    name = "bench"
    phases = ("load", "first", "second", "third", "store")

    def __init__(self, children, n_in, n_out, make_body, dtype="float64"):
        super().__init__(dtype, {})
        self.n_in, self.n_out, self.make_body = n_in, n_out, make_body
        self.register_buffer("given", n_in)
        self.register_buffer("kept", n_out)
        for child, during in children:
            self.add_child(child, during=during)

    def build(self, context):
        backend, n_in, n_out = context.backend, self.n_in, self.n_out
        body = backend.device(self.make_body(self, context))
        first, more = backend.first_runs(), backend.more_runs()
        alloc_given, alloc_kept = context.allocator("given"), context.allocator("kept")

        def loop(memory, queue, n_runs, inputs, outputs):
            given = alloc_given(memory, None)
            kept = alloc_kept(memory, None)
            run = first(queue)
            valid = run < n_runs
            while any_lane(valid):
                for i in range(n_in):
                    given[i] = load_run(inputs.initial_state, i * n_runs, 1, run, n_runs)
                body(memory, Launch(inputs, run, n_runs), given, kept)
                for i in range(n_out):
                    store_run(outputs.states, i * n_runs, run, valid, kept[i])
                run = more(queue, valid | ~valid, run, n_runs)
                valid = run < n_runs

        return backend.device(loop)


def run_bench(
    bench, given, target, lanes=None, policy="local", dtype="float64", fastmath=False, **tolerances
):
    """Return what each run kept, shape (n_runs, n_out).

    Parameters
    ----------
    given : array (n_runs, n_in)
    """
    given = np.atleast_2d(np.asarray(given, dtype=dtype))
    n_runs = len(given)
    backend = make_backend(target, dtype, fastmath, lanes)
    layout = bench.buffer_registry.lay_out(policy)
    context = BuildContext(backend, layout, bench.name, BuildCache())
    memory = RunMemory(layout.plan.run_stride_bytes, layout.plan.persistent_bytes)
    kernel = backend.kernel(lambda: bench.device_functions(context), memory, uuid.uuid4().hex)
    inputs = make_inputs(given.T, np.zeros((0, 1)), (0.0, 1.0), dtype, **tolerances)
    outputs = make_outputs(
        Kept(SaveMode.FINAL, n_runs, (("states", bench.n_out),), np.dtype(dtype)), 1
    )
    kernel.solve(n_runs, inputs, outputs, 64)
    return outputs.arrays.states.reshape(bench.n_out, n_runs).T
