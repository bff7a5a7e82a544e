"""Launching a kernel with the shared memory of its plan, above 48 KiB, too.

A block has 48 KiB of dynamic shared memory unless the kernel's limit was raised. numba-cuda
raises none, so that a launch with more fails: here it is raised before the launch.
"""

import re
import warnings
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from attrs import frozen

from cubie_planner.allocators.phases import Phases
from cubie_planner.allocators.recipes import SHARED_NAME, AllocatorError, two_plans

WITHOUT_ASKING = 48 * 1024
"""Bytes of dynamic shared memory that every kernel may have."""

_CHECKED: WeakSet[Any] = WeakSet()
"""Compiled kernels that have the allocators of one plan."""

SetLimit = Callable[[Any, int], None]
"""Raises the limit of a compiled kernel; tests give one that needs no driver."""


@frozen
class Launch:
    """A kernel with blocks, threads and the shared memory of a plan: call it with its arguments.

    Attributes
    ----------
    kernel : callable
        As ``cuda.jit`` made it.
    blocks, threads : int or tuple of int
    dynamic_shared_bytes : int
        Of a block.
    stream : object
    set_limit : callable
        ``set_limit(compiled, n_bytes)``.
    phases : Phases, optional
        Of the plan: a simulated run with poison warns when it began no phase.
    """

    kernel: Any
    blocks: int | tuple[int, ...]
    threads: int | tuple[int, ...]
    dynamic_shared_bytes: int
    stream: Any = 0
    set_limit: SetLimit | None = None
    phases: Phases | None = None

    def __call__(self, *args: Any) -> None:
        """Run the kernel."""
        shape = self.blocks, self.threads, self.stream, self.dynamic_shared_bytes
        configured = self.kernel[shape]
        if not hasattr(self.kernel, "compile"):  # the simulator, which has no limits
            self._simulate(configured, args)
            return
        callbacks = getattr(configured, "pre_launch_callbacks", None)
        if callbacks is None:
            raise AllocatorError("a launch needs numba-cuda 0.30: it tells what is launched")
        if self._before not in callbacks:  # numba keeps what was configured before
            callbacks.append(self._before)
        configured(*args)

    def _simulate(self, configured: Any, args: tuple[Any, ...]) -> None:
        phases = self.phases
        if phases is None or not phases.poison or not phases.end:
            configured(*args)
            return
        phases.begun.clear()
        configured(*args)
        if not phases.begun:
            warnings.warn(
                "poison=True, but the kernel began no phase: no byte was overwritten between "
                "phases, so that a lifetime declared too short does not show; call the functions "
                "that `begin` returns where phases begin",
                stacklevel=3,
            )

    def _before(self, compiled: Any, configured: Any) -> None:
        if compiled not in _CHECKED:  # to look through a kernel takes longer than to launch it
            check_one_plan(compiled)
            _CHECKED.add(compiled)
        if self.dynamic_shared_bytes > WITHOUT_ASKING:
            (self.set_limit or set_dynamic_shared_limit)(compiled, self.dynamic_shared_bytes)


def check_one_plan(compiled: Any) -> None:
    """Refuse a kernel with the allocators of two plans, in whatever functions they are.

    Raises
    ------
    AllocatorError
    """
    owners = set(re.findall(rf"{SHARED_NAME}_([0-9a-f]+)", compiled.inspect_llvm()))
    if len(owners) > 1:
        raise AllocatorError(two_plans("a buffer"))


def set_dynamic_shared_limit(compiled: Any, n_bytes: int) -> None:
    """Let a compiled kernel have so many bytes of dynamic shared memory, on its device."""
    from cuda.bindings import driver as bindings  # pyright: ignore[reportAttributeAccessIssue]
    from numba.cuda.cudadrv.driver import driver  # pyright: ignore[reportAttributeAccessIssue]

    function = compiled._codelibrary.get_cufunc()
    attribute = bindings.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    driver.cuKernelSetAttribute(attribute, n_bytes, function.handle, function.device.id)
