"""A parent and a child component with a buffer each: where does an alias put the child?

The parent fills its buffer, calls the child, which fills its own, and then reads back
what its own buffer holds. Where the child lies inside the parent, the parent sees the
child's values there; everywhere else it sees its own.

Run as a module it prints the outcome of every case given as JSON on standard input, on
the ``cuda`` target; with NUMBA_ENABLE_CUDASIM=1 that is numba's CUDA simulator.
"""

from __future__ import annotations

import json
import sys

import attrs
import numpy as np
from attrs import frozen

from cubie.backend import (
    KernelInputs,
    KernelOutputs,
    RunMemory,
    any_lane,
    load_run,
    make_backend,
    store_run,
)
from cubie.buffers import Layout
from cubie.factory import BuildCache, BuildContext, CUDAFactory
from cubie.launch.inputs import make_inputs
from cubie_planner import Alias, Limits

PARENT_ELEMENTS = 8
N_RUNS = 3
PROBE = 2  # element read through an index known only at run time


@frozen
class Case:
    """One pair of buffers.

    Attributes
    ----------
    parent, child : str or None
        Pinned locations; None leaves the buffer to the plan.
    elements : int
        Size of the child.
    view : bool
        The child must lie inside the parent.
    offset : int or None
        Byte offset inside the parent; None: anywhere.
    parent_dtype : str
    policy : str
        What decides where there is no pin.
    """

    parent: str | None
    child: str | None
    elements: int
    view: bool = False
    offset: int | None = None
    parent_dtype: str = "float32"
    policy: str = "local"


class Child(CUDAFactory):
    """Fill a buffer that may lie inside the caller's, and write it out."""

    name = "inner"
    phases = ("work",)

    def __init__(self, case: Case, dtype):
        options = {"child_location": case.child} if case.child else {}
        super().__init__(dtype, options)
        self.n = case.elements
        self.register_buffer(
            "child",
            self.n,
            phases=("work",),
            aliases=(Alias("outer.parent", case.offset),),
            view=case.view,
        )

    def facts(self) -> tuple:
        return (self.n,)

    def build(self, context: BuildContext):
        n, enter, allocate = self.n, context.phase("work"), context.allocator("child")

        def work(memory, parent, x, run, n_runs, at, inputs, outputs):
            enter(memory)
            child = allocate(memory, parent)
            for j in range(n):
                child[j] = x * 100 - j
            for j in range(n):
                store_run(outputs.states, (at + j) * n_runs, run, run < n_runs, child[j])
            store_run(outputs.times, 0, run, run < n_runs, child[inputs.limits[0]])

        return context.backend.device(work)


class Parent(CUDAFactory):
    """Fill a buffer, let the child work, and write the buffer out."""

    name = "outer"
    phases = ("fill", "call", "read")

    def __init__(self, case: Case):
        options = {"parent_location": case.parent} if case.parent else {}
        dtype = np.dtype("float32")
        super().__init__(dtype, options)
        self.register_buffer(
            "parent", PARENT_ELEMENTS, dtype=case.parent_dtype, phases=(("fill", "read"),)
        )
        self.add_child(Child(case, dtype), during="call")

    def build(self, context: BuildContext):
        n, allocate = PARENT_ELEMENTS, context.allocator("parent")
        work = self.child_functions(context, "inner")
        fill, call, read = (context.phase(name) for name in self.phases)

        def pair(memory, run, n_runs, inputs, outputs):
            fill(memory)
            parent = allocate(memory, None)
            x = load_run(inputs.initial_state, 0, 1, run, n_runs)
            for i in range(n):
                parent[i] = x + i
            call(memory)
            work(memory, parent, x, run, n_runs, n, inputs, outputs)
            read(memory)
            for i in range(n):
                store_run(outputs.states, i * n_runs, run, run < n_runs, parent[i])
            store_run(outputs.times, n_runs, run, run < n_runs, parent[inputs.limits[0]])

        return for_all_runs(context.backend, context.backend.device(pair))


def for_all_runs(backend, work):
    """Return the kernel's loop: ``work(memory, run, n_runs, inputs, outputs)``."""
    first_runs, more_runs = backend.first_runs(), backend.more_runs()

    def loop(memory, queue, n_runs, inputs, outputs):
        run = first_runs(queue)
        while any_lane(run < n_runs):
            work(memory, run, n_runs, inputs, outputs)
            run = more_runs(queue, run == run, run, n_runs)

    return backend.device(loop)


def lay_out(case: Case) -> Layout:
    """Plan the pair."""
    return Parent(case).buffer_registry.lay_out(case.policy, Limits(block_size=32))


def compile_pair(case: Case, layout: Layout, backend):
    """Return the pair's kernel for a target."""
    factory = Parent(case)
    context = BuildContext(backend, layout, factory.name, BuildCache())
    memory = RunMemory(layout.plan.run_stride_bytes, layout.plan.persistent_bytes)
    return backend.kernel(
        lambda: factory.device_functions(context), memory, factory.build_key(context)
    )


def arrays(case: Case) -> tuple[KernelInputs, KernelOutputs]:
    """Return what the pair reads and writes, for three runs with x = 1, 2, 3."""
    x = np.arange(1.0, N_RUNS + 1).reshape(1, -1)
    inputs = make_inputs(x, np.zeros((0, 1)), (0.0, 1.0), "float32", max_steps=PROBE)
    rows = PARENT_ELEMENTS + case.elements
    used = {
        "states": np.full(rows * N_RUNS, np.nan, dtype=np.float32),
        "times": np.full(2 * N_RUNS, np.nan, dtype=np.float32),
    }
    spare = np.zeros(N_RUNS, dtype=np.int64)
    outputs = KernelOutputs(*(used.get(name, spare) for name in KernelOutputs._fields))
    return inputs, outputs


def run_pair(case: Case, target: str) -> np.ndarray:
    """Return rows of (parent elements, child elements, child's and parent's probe), one a run."""
    kernel = compile_pair(case, lay_out(case), make_backend(target, np.float32, False))
    inputs, outputs = arrays(case)
    kernel(N_RUNS, inputs, outputs, 32)
    return np.concatenate([outputs.states, outputs.times]).reshape(-1, N_RUNS).T


def expected(case: Case, start: int | None) -> np.ndarray:
    """Return what `run_pair` must, for a child at element `start` of the parent, or apart."""
    x = np.arange(1.0, N_RUNS + 1, dtype=np.float32)[:, None]
    parent = x + np.arange(PARENT_ELEMENTS, dtype=np.float32)
    child = 100 * x - np.arange(case.elements, dtype=np.float32)
    if start is not None:
        parent[:, start : start + case.elements] = child
    probes = (child[:, PROBE : PROBE + 1], parent[:, PROBE : PROBE + 1])
    return np.concatenate([parent, child, *probes], axis=1)


def main() -> None:
    """Run the cases on standard input and print their results as JSON."""
    cases = [Case(**case) for case in json.load(sys.stdin)]
    json.dump([run_pair(case, "cuda").tolist() for case in cases], sys.stdout)


def to_json(cases) -> str:
    return json.dumps([attrs.asdict(case) for case in cases])


if __name__ == "__main__":
    main()
