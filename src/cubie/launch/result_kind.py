"""What the results of alike solves have in common."""

from __future__ import annotations

from attrs import field, frozen

from cubie.launch.event_results import EventsKept
from cubie.launch.labelled import StateNames
from cubie.launch.summaries import Window
from cubie.launch.work import Work
from cubie.run.dense import StepRecord
from cubie.run.saving import SaveMode, Sizes
from cubie.run.summaries.request import Tracking
from cubie.systems.system import Joint, System
from cubie_planner import Plan


@frozen
class ResultKind:
    """What the results of alike solves have in common.

    Attributes
    ----------
    mode : SaveMode
    sizes : tuple of (str, int)
        What is kept of each point, and how many numbers that is.
    observables : tuple of str
        Names of those that are kept.
    work : Work
    plan : cubie_planner.Plan
    notes : tuple of str
    tracking : Tracking or None
        What is summarised of runs.
    counters : tuple of str
        What is counted of each run.
    in_pairs : bool
        States are complex: their parts were kept side by side.
    states : StateNames
        What they are called.
    record : StepRecord or None
        What is kept of each step, where the solution is a function of time.
    events : EventsKept or None
    window : Window or None
        The part of time that summaries are of.
    joint : Joint or None
        What the solution is differentiated by.
    timings : tuple of (System or None)
        Of each event then derivatives of its time.
    """

    mode: SaveMode
    sizes: Sizes
    observables: tuple[str, ...]
    work: Work
    plan: Plan
    notes: tuple[str, ...]
    tracking: Tracking | None = None
    counters: tuple[str, ...] = ()
    in_pairs: bool = False
    states: StateNames = field(factory=StateNames)
    record: StepRecord | None = None
    events: EventsKept | None = None
    window: Window | None = None
    joint: Joint | None = None
    timings: tuple[System | None, ...] = ()

    @property
    def n_blocks(self) -> int:
        """How often there are states: themselves, and once for each input."""
        return 1 if self.joint is None else self.joint.n_blocks

    @property
    def n_blocks_kept(self) -> int:
        """How often of points there are: directions are not kept."""
        return self.n_blocks if self.differentiates else 1

    @property
    def differentiates(self) -> bool:
        """Whether there are derivatives by inputs."""
        return self.joint is not None and not self.joint.of_directions
