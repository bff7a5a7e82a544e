"""What the compiler makes of a plan, beside what was predicted: without a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from attrs import evolve, frozen
from rich.table import Table

from cubie.cli.errors import InputError, one_line
from cubie.cli.inputs import Source
from cubie.cli.objectives import Planner
from cubie.cli.views import table
from cubie.errors import NotCompiled
from cubie.launch.kernel import BatchSolverKernel
from cubie.launch.planned import BatchSolverConfig
from cubie.launch.verdicts import Unverified
from cubie_planner import Plan, PlanInfeasible, PlanUnknown, Problem
from cubie_planner.checked import Candidate, Verdict
from cubie_planner.gpu.device import Device, occupancy
from cubie_planner.gpu.launch import Cost
from cubie_planner.report.device_use import modelled_cost

NO_PLAN = "no plan"

COLUMNS = (
    *("placement", "shared/run", "shared/block", "local", "registers", "modelled"),
    *("stack", "modelled", "spill stores", "spill loads", "blocks/SM"),
)


@frozen
class Compiled:
    """A plan, what its kernel takes by the assembler's report, and what was modelled.

    Attributes
    ----------
    registers, stack_bytes, spill_store_bytes, spill_load_bytes : int
        Of a thread.
    shared_bytes_per_block : int
        What a launch asks for.
    modelled : Cost
    blocks_per_sm : int
        Resident with the compiled registers.
    """

    plan: Plan
    registers: int
    stack_bytes: int
    spill_store_bytes: int
    spill_load_bytes: int
    shared_bytes_per_block: int
    modelled: Cost
    blocks_per_sm: int

    def cells(self) -> tuple[object, ...]:
        """Return the cells after the name, in the order of `COLUMNS`."""
        return (
            self.plan.shared_bytes_per_run,
            self.shared_bytes_per_block,
            self.plan.local_bytes + self.plan.persistent_bytes,
            self.registers,
            self.modelled.registers,
            self.stack_bytes,
            self.modelled.stack_bytes,
            self.spill_store_bytes,
            self.spill_load_bytes,
            self.blocks_per_sm,
        )


def verify(source: Source, plan: Plan, planner: Planner) -> Table:
    """Compile a model all local, all shared and as planned; show what the assembler says.

    Raises
    ------
    InputError
        Where the compiler fails; where the CUDA toolkit is not installed, naming what
        brings it.
    """
    kernel, capability = source.kernel, plan.limits.compute_capability
    assert kernel is not None, "a problem has nothing to compile"
    assert capability is not None, "models are planned for a device"
    device = Device.for_capability(capability)
    rows: list[tuple] = []
    figures: dict[object, tuple] = {}  # by layout: equal plans are one kernel, compiled once
    for name, found in _placements(plan, planner):
        layout = None if found is None else _layout(found)
        if found is None:
            figures[layout] = (NO_PLAN, *[""] * (len(COLUMNS) - 2))
        elif layout not in figures:
            figures[layout] = compiled(kernel, found).cells()
        rows.append((name, *figures[layout]))
    title = f"compiled for {device.name}, blocks of {plan.limits.block_size}, bytes"
    return table(title, COLUMNS, rows, COLUMNS[1:])


def settled(model: BatchSolverKernel, problem: Problem, any_block_size: bool) -> Verdict:
    """Compile candidates for the policy "auto", and return which the assembler agrees with.

    Raises
    ------
    InputError
        Where the compiler fails, or what it takes is not installed, naming what brings it.
    """
    with _compiling():
        found = model.verdict_on(problem, any_block_size=any_block_size)
    if isinstance(found, Unverified):
        raise InputError(f"--verify: {one_line(found.reason)}")
    return found


CANDIDATE_COLUMNS = (
    *("candidate", "shared/run", "registers", "stack", "spills", "instructions", "local"),
    *("shared", "warps/SM", "cycles", ""),
)


def candidates_table(verdict: Verdict) -> Table:
    """Show what was compiled, what each became, and which was kept."""
    rows = [
        (*_cells(candidate), "kept" if number == verdict.winner else candidate.refused)
        for number, candidate in enumerate(verdict.candidates)
    ]
    title = "candidates of auto: instructions and accesses of a run and step, SM cycles"
    return table(title, CANDIDATE_COLUMNS, rows, CANDIDATE_COLUMNS[1:-1])


def _cells(candidate: Candidate) -> tuple[object, ...]:
    taken = (candidate.registers, candidate.stack_bytes, candidate.spill_bytes)
    cost = candidate.cost
    counted: tuple[object, ...] = ("", "", "", "", "")
    if cost is not None:
        accesses = (cost.local_accesses, cost.shared_accesses)
        counted = (cost.instructions, *accesses, cost.resident_warps, f"{cost.total:.4g}")
    return candidate.name, candidate.shared_bytes_per_run, *taken, *counted


@contextmanager
def _compiling() -> Iterator[None]:
    """Tell in one line what a compiler raises: it is foreign code, with errors of any type."""
    try:
        yield
    except (InputError, PlanInfeasible, PlanUnknown):
        raise
    except (ImportError, NotCompiled) as error:
        raise InputError(f"--verify: {one_line(error)}") from error
    except Exception as error:
        told = one_line(error) or "it says nothing more"
        raise InputError(
            f"--verify: the compiler failed: {type(error).__name__}: {told}"
        ) from error


def _placements(plan: Plan, planner: Planner) -> Iterator[tuple[str, Plan | None]]:
    """Yield all-local, all-shared (as far as pins allow) and the plan; None where none exists."""
    for policy in ("local", "shared"):
        yield f"all {policy}", planned(evolve(plan.problem, policy=policy, previous=None), planner)
    yield "this plan", plan


def planned(problem: Problem, planner: Planner) -> Plan | None:
    """Return a plan; None where there is none, or none was found."""
    try:
        return planner(problem)
    except (PlanInfeasible, PlanUnknown):
        return None


def _layout(plan: Plan) -> tuple:
    """Return everything of a plan that a kernel is built from."""
    return tuple(
        (p.name, p.location, p.offset, p.parent, p.parent_offset) for p in plan.placements.values()
    )


def compiled(model: BatchSolverKernel, plan: Plan) -> Compiled:
    """Compile the kernel of a model under a plan for the plan's device.

    Raises
    ------
    InputError
        Whatever the compiler raises, in one line: it is foreign code, and its errors
        are of any type.
    """
    size, capability = plan.limits.block_size, plan.limits.compute_capability
    assert capability is not None, "models are planned for a device"
    most = plan.limits.max_registers
    config = BatchSolverConfig(plan, block_size=size, max_registers=most)
    with _compiling():
        kernel = BatchSolverKernel(model.integrator, config, model.backend)
        found = kernel.resources(capability)
    device = Device.for_capability(capability)
    shared = found.shared_bytes_per_block
    return Compiled(
        plan,
        found.registers,
        found.stack_bytes,
        found.spill_store_bytes,
        found.spill_load_bytes,
        shared,
        modelled_cost(plan),
        occupancy(device, size, found.registers, shared).blocks_per_sm,
    )
