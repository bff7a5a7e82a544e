"""From a plan to device functions that hand out its buffers inside a kernel."""

from cubie_planner.allocators.launch import Launch
from cubie_planner.allocators.make import Allocators, allocators
from cubie_planner.allocators.recipes import AllocatorError, Recipe, Source

__all__ = ["AllocatorError", "Allocators", "Launch", "Recipe", "Source", "allocators"]
