"""The plan that users hold: an answer that can be written, read and looked at.

The only module that reaches forward: the views below call `report` when they are asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from cubie_planner.declarations.buffers import Interval
from cubie_planner.plans.answer import Answer
from cubie_planner.plans.files import plan_from_json, plan_to_json
from cubie_planner.reading import read_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

    from cubie_planner.report.explanation import Explanation


@frozen
class Plan(Answer):
    """A placement for every buffer of a problem.

    Attributes
    ----------
    problem : Problem
        What was asked; a plan carries it so that it can be verified on its own.
    placements : mapping of str to Placement
        In the order in which the buffers were declared.
    levels : tuple of Level
        The objectives in order, each with what was proven.
    digest : str
        Digest of the problem this plan answers.
    note : str
        What the cost rule of "auto" expects, in words.
    prices : Prices
        What the level ``cost`` adds up.
    from_file : bool
        True for a plan that was read: its bounds are what the file claims, and were not
        proven by this process. Nothing that plans are compared by.
    """

    def to_json(self) -> str:
        """Return the plan, its problem, its bounds and the checker's verdict as JSON text."""
        return plan_to_json(self)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read a plan and verify it again from the text alone."""
        return plan_from_json(text, cls)

    def save(self, path: str | Path) -> None:
        """Write the plan to `path` as JSON."""
        Path(path).write_text(self.to_json(), encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read a plan from `path` and verify it again from the file alone.

        Raises
        ------
        FormatError
            When the file is no plan file, or was damaged.
        PlanRejected
            When its plan is not a valid answer to the problem in it.
        """
        return cls.from_json(read_text(path))

    @cached_property
    def unverified(self) -> frozenset[str]:
        """Names of the levels of which only a file claims that no plan does better.

        Empty for a plan that was made by this process, see `cubie_planner.report.recheck`.
        """
        if not self.from_file:
            return frozenset()
        from cubie_planner.report.recheck import recheck

        return recheck(self).unverified

    @property
    def told_status(self) -> str:
        """The status in words, with who says so."""
        return f"{self.status}, as its file claims" if self.unverified else str(self.status)

    def table(self) -> Table:
        """Return the plan as a rich table: every buffer, totals, savings and proofs."""
        from cubie_planner.report.tables import table

        return table(self)

    def plot(
        self,
        path: str | Path | None = None,
        *,
        theme: str = "light",
        phases: Mapping[str, Interval] | None = None,
    ) -> Figure:
        """Draw the memory map, and write it where a path is given; needs matplotlib.

        See `cubie_planner.report.plot`.
        """
        from cubie_planner.report.picture import plot

        return plot(self, path, theme=theme, phases=phases)

    def report(
        self,
        path: str | Path | None = None,
        *,
        name: str = "plan",
        phases: Mapping[str, Interval] | None = None,
        explanation: Explanation | None = None,
    ) -> str:
        """Return one self-contained HTML page about the plan, and write it where a path is given.

        With an `explanation`, from `cubie_planner.explain.explain`, it says what each pin
        costs. See `cubie_planner.report.page.html`.
        """
        from cubie_planner.report.page import html

        return html(self, path, name=name, phases=phases, explanation=explanation)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: map, totals and table."""
        from cubie_planner.report.page import fragment

        return fragment(self)
