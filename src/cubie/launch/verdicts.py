"""What the assembler said of the plan of "auto": found on disk, or settled by compiling.

A verdict is kept under the digest of all that it depends on: the code of the kernel, its buffers
and limits, the packages' sources, the compilers and how many candidates were asked for. What is
read is planned anew from the places that it names, and believed no further than that.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from typing import Any

import attrs
from attrs import frozen

from cubie.backend import package_digest
from cubie.cache.shelf import Shelf, cache_directory
from cubie.errors import NotCompiled, NoToolkit, level_of_caller
from cubie.launch.step_code import step_code
from cubie_planner import Location, PlannerError, Problem, problem_to_dict
from cubie_planner.assembler.disassembly import NoDisassembler, UnreadableCode
from cubie_planner.checked import (
    BLOCK_SIZES,
    Candidate,
    Compile,
    Verdict,
    checked_plan,
    replanned,
)
from cubie_planner.gpu.static_cost import Assembled, StaticCost

# Rounds of a Newton iteration, in a step that is judged before any run: nobody knows better.
ASSUMED_ITERATIONS = 2


class UnverifiedPlan(UserWarning):
    """The plan of "auto" is the cost model's alone; the message says why, and what helps."""


@frozen
class Unverified:
    """Stands where a verdict would: no assembler was asked.

    Attributes
    ----------
    reason : str
    """

    reason: str

    def __str__(self) -> str:
        return f"Unverified: {self.reason} The plan is the cost model's."


@frozen
class Question:
    """What a verdict is wanted of.

    Attributes
    ----------
    problem : Problem
        With the policy "auto" and a compute capability.
    code : str
        Digest of the kernel's code, whatever its plan, and of what compiles it.
    effort : int
        Candidates beside the one with everything local.
    any_block_size : bool
        Whether the block size may be another one than that of the limits.
    """

    problem: Problem
    code: str
    effort: int
    any_block_size: bool

    @property
    def block_sizes(self) -> tuple[int, ...]:
        """Block sizes that are tried, that of the limits first."""
        asked = self.problem.limits.block_size
        others = BLOCK_SIZES if self.any_block_size else ()
        return (asked, *(size for size in others if size != asked))

    @property
    def key(self) -> str:
        """The digest of all that the answer depends on."""
        parts = (self.code, problem_to_dict(self.problem), self.effort, self.block_sizes)
        parts += (package_digest(), package_digest("cubie_planner"))
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def assembled(resources: Callable[[bool], Any], is_counted: bool = False) -> Assembled:
    """Return what became of a kernel, from ``resources(lines) -> KernelResources``.

    What a step executes takes source lines, which change no instruction. It is counted only if it
    is asked for; where that is known before (`is_counted`) the kernel is compiled once.
    """
    found = resources(is_counted)
    return Assembled(
        registers=found.registers,
        stack_bytes=found.stack_bytes,
        spill_bytes=found.spill_store_bytes + found.spill_load_bytes,
        count=lambda: (
            step_code((found if is_counted else resources(True)).cubin, ASSUMED_ITERATIONS).accepted
        ),
    )


def settle(question: Question, compile_kernel: Compile) -> Verdict | Unverified:
    """Return the verdict kept for a question, or compile what it takes and keep it.

    Where no toolkit or disassembler is installed, or machine code is not understood, nothing is
    verified, and a warning says so.
    """
    shelf = Shelf(cache_directory(), "plans", ".json")
    kept = _read(question.problem, shelf.entry(question.key))
    if kept is not None:
        return kept
    try:
        found = checked_plan(
            question.problem,
            compile_kernel,
            effort=question.effort,
            block_sizes=question.block_sizes,
        )
    except (NoToolkit, NotCompiled, NoDisassembler, UnreadableCode) as error:
        told = Unverified(str(error))
        warnings.warn(
            f'The plan of locations="auto" is not verified. {error}',
            UnverifiedPlan,
            stacklevel=level_of_caller(),
        )
        return told
    shelf.enter(question.key, _written(found))
    return found


def _written(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON holds it: the plan follows from the winner's places."""
    candidates = []
    for candidate in verdict.candidates:
        row = attrs.asdict(candidate)
        row["places"] = {name: str(place) for name, place in candidate.places.items()}
        candidates.append(row)
    return {
        "candidates": candidates,
        "winner": verdict.winner,
        "reason": verdict.reason,
        "block_size": verdict.plan.limits.block_size,
    }


def _read(problem: Problem, entry: dict[str, Any] | None) -> Verdict | None:
    """Return a verdict that was kept; None where there is none for the problem."""
    if entry is None:
        return None
    try:
        candidates = tuple(map(_read_candidate, entry["candidates"]))
        winner, block_size = entry["winner"], entry["block_size"]
        plan = replanned(problem, candidates[winner].places, block_size)
        return Verdict(plan, candidates, winner, str(entry["reason"]))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, PlannerError):
        return None


def _read_candidate(row: dict[str, Any]) -> Candidate:
    cost = None if row["cost"] is None else StaticCost(**row["cost"])
    places = {name: Location(place) for name, place in row["places"].items()}
    return Candidate(**{**row, "places": places, "cost": cost})
