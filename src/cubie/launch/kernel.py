"""From an integrator of one run to a compiled solver of a batch: plan, build, launch."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

from attrs import evolve

from cubie.backend import (
    Backend,
    Kernel,
    KernelInputs,
    OutputBlock,
    Portions,
    RunMemory,
    Spent,
    assembled_backend,
    building,
)
from cubie.buffers import BufferRegistry, Layout
from cubie.errors import InvalidOption
from cubie.factory import BuildCache
from cubie.integrator import SingleIntegratorRun
from cubie.launch.inputs import sample_arguments
from cubie.launch.planned import BatchSolverConfig, plan_layout
from cubie.launch.some_runs import inputs_of_range
from cubie.launch.verdicts import Question, Unverified, assembled, settle
from cubie.run.slices import kept_per_run
from cubie_planner import (
    Plan,
    Problem,
)
from cubie_planner.checked import EFFORT, Verdict
from cubie_planner.gpu.static_cost import Assembled


class BatchSolverKernel:
    """Plan the buffers of an integrator, build its kernel for a target, and launch it.

    Parameters
    ----------
    integrator : SingleIntegratorRun
    config : BatchSolverConfig
    backend : Backend
    built : BuildCache, optional
        Device functions and kernels made before; shared by the kernels of one
        solver so that what did not change is not built again.

    Raises
    ------
    cubie_planner.PlanInfeasible
        If the pins and limits cannot hold together.
    """

    def __init__(
        self,
        integrator: SingleIntegratorRun,
        config: BatchSolverConfig,
        backend: Backend,
        built: BuildCache | None = None,
    ):
        self.integrator = integrator
        self.config = config
        self.backend = backend
        self._built = BuildCache() if built is None else built
        self.layout = self._laid_out()
        self.verdict = self._settled() if config.is_proposed else None

    def _laid_out(self) -> Layout:
        """Plan the buffers: in memory that the kernel owns where a stack cannot hold them.

        On a GPU what local memory cannot hold is in global memory, as far as "auto" decides.
        """
        registry, config = self.integrator.buffer_registry, self.config
        layout = plan_layout(registry, config)
        memory = _memory_of(layout.plan)
        private, most = memory.local_bytes + memory.persistent_bytes, config.max_local_bytes
        if most is not None and private > most and config.decides_on_some:
            return plan_layout(registry, config, most)
        most = self.backend.most_bytes_in_stack
        if most is None or not config.leaves_places_open or private <= most:
            return layout
        return plan_layout(registry, evolve(config, locations="shared"))

    def _settled(self) -> Verdict | Unverified:
        """Ask the assembler about the plan, and take the one that it agrees with."""
        config = self.config
        if not config.verify:
            return Unverified("verify=False was given, or is the default here.")
        if not self.backend.asks_assembler:
            return Unverified(f"the {self.backend.name} target assembles no GPU code.")
        found = self.verdict_on(self.plan.problem, config.effort, config.any_block_size)
        if isinstance(found, Verdict):
            self.layout = Layout(found.plan, self.layout.timeline)
            self.config = evolve(config, block_size=found.plan.limits.block_size)
        return found

    def verdict_on(
        self, problem: Problem, effort: int = EFFORT, any_block_size: bool = False
    ) -> Verdict | Unverified:
        """Ask the assembler how the buffers of this kernel are placed best for a device.

        Parameters
        ----------
        problem : Problem
            Of the kernel's buffers, pinned or not, with the policy "auto" and a compute
            capability.
        effort : int
            Plans that are compiled at most, beside the one with everything local.
        any_block_size : bool
            Whether the block size may be another one than that of the limits.
        """
        backend, timeline = assembled_backend(self.backend), self.layout.timeline
        local = self.buffer_registry.lay_out("local")
        code = f"{self.integrator.build_key(backend, local)} {backend.compilers}"

        def compiled(plan: Plan) -> Assembled:
            layout, capability = Layout(plan, timeline), problem.limits.compute_capability

            def resources(lines: bool) -> Any:
                return self._resources(assembled_backend(backend, lines), layout, capability)

            # Everything local comes first, and is not counted where it takes no stack.
            return assembled(resources, is_counted=plan.shared_bytes_per_run > 0)

        return settle(Question(problem, code, effort, any_block_size), compiled)

    @property
    def buffer_registry(self) -> BufferRegistry:
        return self.integrator.buffer_registry

    @property
    def plan(self) -> Plan:
        return self.layout.plan

    @property
    def choices(self) -> tuple[str, ...]:
        """What was chosen by itself, and why: the form of LU factors, global memory."""
        told = [component.told() for component in self.integrator.loop.walk()]
        plan, most = self.plan, self.plan.limits.max_local_bytes
        if most is not None and plan.global_bytes:
            told.append(
                f"Global memory: {plan.global_bytes:,} B of a run, which has at most {most:,} B of "
                "local memory."
            )
        return tuple(filter(None, told))

    @property
    def shared_memory_elements(self) -> int:
        """Elements of shared memory one run needs, before padding."""
        return self.buffer_registry.elements(self.plan.shared_bytes_per_run)

    @property
    def shared_memory_bytes(self) -> int:
        """Dynamic shared memory of a block: stride between runs times runs per block."""
        return self.plan.shared_bytes_per_block

    @property
    def local_memory_elements(self) -> int:
        """Elements in local arrays of the device functions."""
        return self.buffer_registry.elements(self.plan.local_bytes)

    @property
    def persistent_local_elements(self) -> int:
        """Elements of `local_scratch`, the arena that holds what is kept across steps."""
        return self.buffer_registry.elements(self.plan.persistent_bytes)

    @property
    def memory(self) -> RunMemory:
        return _memory_of(self.plan)

    @cached_property
    def compiled(self) -> Kernel:
        """The kernel for the target, built once."""
        self.backend.require_room(self.memory)
        with building():
            return self._compiled_for(self.backend, self.layout)

    def run_by(self, backend: Backend, built: BuildCache) -> None:
        """Have later launches made by a target other than the kernel's, of equal plans."""
        layout = self.layout
        vars(self)["compiled"] = backend.kernel(
            lambda: self.integrator.device_function(backend, layout, built), self.memory, ""
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is compiled: a copy compiles anew, or finds it on disk."""
        kept = {name: value for name, value in vars(self).items() if name != "compiled"}
        return kept | {"_built": BuildCache()}

    def _compiled_for(self, backend: Backend, layout: Layout) -> Kernel:
        kept = None
        if backend.sliced:
            kept = kept_per_run(self.integrator.loop, layout)
        memory = evolve(_memory_of(layout.plan), kept=kept)
        digest = self.integrator.build_key(backend, layout)
        key = f"kernel {digest} {memory}"

        def make_loop():
            return self.integrator.device_function(backend, layout, self._built)

        # The same code for two devices is launched on one of them.
        registers = self.config.registers
        place = f"{key} {registers} on {backend.compute_capability} {backend.card}"
        return self._built.get_or_make(
            place, "kernel", lambda: backend.kernel(make_loop, memory, key, registers)
        )

    def launch(self, n_runs: int, inputs: KernelInputs, outputs: OutputBlock) -> Spent:
        """Solve a batch; blocks until `outputs` is complete, and returns the seconds it took."""
        compiled, block_size = self.compiled, self.config.block_size
        if not self.backend.has_own_memory:
            return compiled.solve(n_runs, inputs, outputs, block_size)
        # What stays on a device lies there in one piece.
        inputs_of = None if outputs.stays else partial(inputs_of_range, inputs, n_runs)
        return compiled.solve_portions(Portions(n_runs, inputs, outputs, inputs_of), block_size)

    def release(self) -> None:
        """Give back what the target keeps of a device's memory from solve to solve."""
        if "compiled" in vars(self):
            self.compiled.release()

    def resources(self, cc: Any = None, lines: bool = False):
        """Compile for a device, GPU or not, and return `KernelResources`.

        Parameters
        ----------
        cc : (int, int) or str, optional
            A compute capability, or the name of an architecture or a card: (9, 0), "sm_90",
            "H100". By default the device that the kernel was planned for.
        lines : bool
            Whether the machine code tells which source line each instruction came from.

        Raises
        ------
        InvalidOption
            For none that the toolkit compiles for, or none at all where the kernel was planned
            for no device.
        """
        if cc is None:
            cc = self.config.compute_capability
            if cc is None:
                advice = (
                    "The kernel was planned for no device: name one, such as 'H100' or (9, 0), "
                    "here or as `device=` of the solver."
                )
                raise InvalidOption("cc", None, advice=advice)
        return self._resources(assembled_backend(self.backend, lines), self.layout, cc)

    def _resources(self, backend: Backend, layout: Layout, cc: Any) -> Any:
        inputs, outputs = sample_arguments(backend.dtype)
        with building():
            kernel: Any = self._compiled_for(backend, layout)
            return kernel.resources(cc, inputs, outputs, layout.plan.limits.block_size)


def _memory_of(plan: Plan) -> RunMemory:
    of_run = plan.run_stride_bytes, plan.persistent_bytes, plan.local_bytes, plan.global_bytes
    return RunMemory(*of_run)
