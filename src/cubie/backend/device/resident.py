"""Results that stay in a device's memory."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from cubie.backend.arrays import KernelOutputs, OutputBlock, OutputLayout
from cubie.backend.device.exchange import DeviceArray
from cubie.backend.device.transfers import Segment, fetch
from cubie.backend.device.workspace import OwnedMemory

# Solutions as functions of time are not left there.
STAYING = ("states", "observables", "dense")


class ResidentBlock(OutputBlock):
    """The outputs of a launch, on the device that wrote them.

    What is kept of points stays there; the rest is copied when it is asked for first.
    """

    stays = True

    def __init__(self, layout: OutputLayout):
        super().__init__(layout, np.empty(0, np.uint8))
        self._owned: OwnedMemory | None = None

    def own(self, memory: OwnedMemory) -> None:
        """Take the memory that a launch wrote to."""
        self._owned = memory

    @property
    def owned(self) -> OwnedMemory:
        """The device's memory."""
        assert self._owned is not None, "the launch is over"
        return self._owned

    @cached_property
    def arrays(self) -> KernelOutputs:
        """The arrays on the host; of what stays on the device there is none."""
        layout, views, segments = self.layout, {}, []
        parts = zip(
            KernelOutputs._fields, layout.counts, layout.dtypes, layout.offsets, strict=True
        )
        for name, count, dtype, at in parts:
            views[name] = np.empty(0 if name in STAYING else count, dtype)
            segments.append(Segment(at, views[name]))
        self._copy(sorted(segments, key=lambda segment: segment.offset))
        return KernelOutputs(**views)

    def _copy(self, segments: list[Segment]) -> None:
        driver, address = self.owned.driver, self.owned.address
        with driver.entered():
            fetch(driver, address, segments)

    def on_device(self, name: str, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
        """Return one of the arrays that stay, as others take it; strides in elements."""
        dtype = getattr(self.layout.dtypes, name)
        address = self.owned.address + getattr(self.layout.offsets, name)
        in_bytes = tuple(stride * dtype.itemsize for stride in strides)
        return DeviceArray(self.owned.driver, address, shape, dtype, in_bytes, self.owned)

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError(
            "A result that stays on a device cannot be pickled or copied; solve without "
            "`on_device`, or copy its arrays to the host (`result.y.to_host()`)."
        )
