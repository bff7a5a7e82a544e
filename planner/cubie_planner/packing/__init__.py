"""Offsets alone, with proof: integers only; nothing here knows a buffer."""

from cubie_planner.packing.packer import pack
from cubie_planner.packing.problem import PackingError, PackingProblem, PackingResult

__all__ = ["PackingError", "PackingProblem", "PackingResult", "pack"]
