"""Contender: this package's implicit methods on its CPU target."""

from __future__ import annotations

from attrs import evolve

from benchmarks.ours import OurRunner
from benchmarks.specs import Work


def make(work: Work, method: str) -> OurRunner:
    """Return a runner that solves with a method of ours."""
    return OurRunner(evolve(work, method=method), "solver")
