"""What a sweep shows: of itself, and of its results."""

from __future__ import annotations

from typing import Any

import numpy as np

from cubie.status import RunStatus
from cubie.sweeps.dataset import dataset_of
from cubie.sweeps.describe import attributes_of
from cubie.sweeps.job import Round, counted
from cubie.sweeps.kept import Layout
from cubie.sweeps.outputs import STATUS
from cubie.sweeps.plots import plot
from cubie.sweeps.store import path_of
from cubie.sweeps.whole import Whole


class Looking:
    """The part of a `Sweep` that computes nothing."""

    _whole: Whole
    _layout: Layout
    _store: Any
    _keeper: Any
    _rounds: list[Round]

    def _begin(self) -> None:
        """Make what keeps the results."""
        raise NotImplementedError

    @property
    def n_runs(self) -> int:
        """How many runs there are."""
        return self._layout.chunks.n_runs

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions of runs."""
        return self._layout.dims

    @property
    def shape(self) -> tuple[int, ...]:
        """How long these are."""
        return self._layout.chunks.shape

    @property
    def notes(self) -> tuple[str, ...]:
        """What the solver wants you to know."""
        return self._whole.model.notes

    def __repr__(self) -> str:
        done = self._done()
        runs = " x ".join(f"{d} {n:,}" for d, n in zip(self.dims, self.shape, strict=True))
        where = "memory" if self._store is None else str(path_of(self._store) or self._store)
        n = int(np.count_nonzero(done))
        return f"<Sweep over {runs}: {n:,} of {len(done):,} chunks done, in {where}>"

    def _done(self) -> np.ndarray:
        if self._keeper is None:
            return np.zeros(len(self._layout.chunks), np.uint8)
        return self._keeper.done()

    def counts(self) -> dict[Any, int]:
        """Return how many runs ended how, of those that are done."""
        found: dict[Any, int] = {}
        for number in np.flatnonzero(self._done()):
            status = self._keeper.read(int(number), [STATUS])[STATUS]
            for code, n in counted(status).items():
                found[RunStatus(code)] = found.get(RunStatus(code), 0) + n
        return found

    def to_xarray(self) -> Any:
        """Return the results as an `xarray.Dataset`, read from disk as it is used.

        Raises
        ------
        RuntimeError
            Before all is done; `peek` returns what there is.
        """
        done = self._done()
        left = int(np.count_nonzero(done < 1 + len(self._rounds)))
        if left:
            raise RuntimeError(
                f"{left:,} of {len(done):,} chunks are not done: call run(), or look at what there "
                "is with peek()."
            )
        return dataset_of(self._layout, self._keeper, self._attributes())

    def peek(self) -> Any:
        """Return the results so far as `to_xarray` does; NaN, and NOT_DONE, where there are none.

        Of a sweep that another process runs, `Sweep.resume(store).peek()`.
        """
        self._begin()
        return dataset_of(self._layout, self._keeper, self._attributes())

    def _attributes(self) -> dict[str, Any]:
        whole = self._whole
        found = attributes_of(whole.model, self._layout, whole.lacking)
        return found | {"cubie_digest": whole.digest}

    def plot(self, what: str, *, x: str | None = None, y: str | None = None, **how: Any) -> Any:
        """Draw a variable of the results; see `cubie.sweeps.plots.plot`."""
        return plot(self.peek(), what, x=x, y=y, **how)
