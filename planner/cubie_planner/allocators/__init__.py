"""From a plan to device functions that hand out its buffers inside a kernel."""

from cubie_planner.allocators.make import (
    AllocatorError,
    Allocators,
    Recipe,
    Source,
    allocators,
)

__all__ = ["AllocatorError", "Allocators", "Recipe", "Source", "allocators"]
