"""From a plan to device functions that hand out its buffers inside a kernel."""

from cubie_planner.allocators.make import Allocators, allocators
from cubie_planner.allocators.recipes import AllocatorError, Recipe, Source

__all__ = ["AllocatorError", "Allocators", "Recipe", "Source", "allocators"]
