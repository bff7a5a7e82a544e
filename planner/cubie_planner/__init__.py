"""Exact static memory planning for GPU kernels.

Declare buffers, say when they live and where they may go, and get a plan that is
proven optimal, or that says how far from it it can be::

    from cubie_planner import Buffer, Limits, Problem, plan

    tile = Buffer("tile", 256, "f4", lifetime=((0, 2),))
    sums = Buffer("sums", 32, "f4", lifetime=((2, 3),))
    answer = plan(Problem([tile, sums], Limits(max_shared_bytes=48 * 1024), "shared"))
    answer.placements["sums"].offset

Importing this package loads neither numba nor OR-Tools nor networkx nor matplotlib; what
records kernels comes with the first that is asked for.
"""

from typing import TYPE_CHECKING, Any

from cubie_planner.basics import PlannerError, Status
from cubie_planner.declarations.buffers import Alias, Buffer, BufferError
from cubie_planner.declarations.components import Call, Component, PhasedBuffer, TimelineError
from cubie_planner.declarations.graphs import alias_graph, interference_graph
from cubie_planner.declarations.layouts import LayoutError, Padding, Swizzle
from cubie_planner.declarations.limits import Limits, ProblemError, run_stride
from cubie_planner.declarations.places import Location, Pool, PoolError, Scope
from cubie_planner.declarations.problem import Problem, problem_to_dict
from cubie_planner.declarations.timeline import Timeline, compose
from cubie_planner.engines.infeasible import PlanInfeasible, PlanUnknown
from cubie_planner.plans.answer import Level, Peak, Placement, Prices
from cubie_planner.plans.check import PlanRejected, check
from cubie_planner.plans.files import problem_from_dict
from cubie_planner.plans.minimalloc import problem_from_minimalloc, problem_to_minimalloc
from cubie_planner.plans.plan import Plan
from cubie_planner.plans.plan_csv import plan_to_csv, problem_from_csv
from cubie_planner.reading import FormatError
from cubie_planner.solve import plan

if TYPE_CHECKING:
    from cubie_planner.recording.block import RecordingError
    from cubie_planner.recording.kernels import Recorded, record

__all__ = [
    "Alias",
    "Buffer",
    "BufferError",
    "Call",
    "Component",
    "FormatError",
    "LayoutError",
    "Level",
    "Limits",
    "Location",
    "Padding",
    "Peak",
    "PhasedBuffer",
    "Placement",
    "Plan",
    "PlanInfeasible",
    "PlanRejected",
    "PlanUnknown",
    "PlannerError",
    "Pool",
    "PoolError",
    "Prices",
    "Problem",
    "ProblemError",
    "Recorded",
    "RecordingError",
    "Scope",
    "Status",
    "Swizzle",
    "Timeline",
    "TimelineError",
    "alias_graph",
    "check",
    "compose",
    "interference_graph",
    "plan",
    "plan_to_csv",
    "problem_from_csv",
    "problem_from_dict",
    "problem_from_minimalloc",
    "problem_to_dict",
    "problem_to_minimalloc",
    "record",
    "run_stride",
]

_RECORDING = frozenset({"Recorded", "RecordingError", "record"})


def __getattr__(name: str) -> Any:
    """Load what most kernels are planned without."""
    if name not in _RECORDING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import cubie_planner.recording as of_kernels

    return getattr(of_kernels, name)
