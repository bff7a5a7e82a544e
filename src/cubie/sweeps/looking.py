"""What a sweep shows: of itself, and of its results."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cubie.errors import level_of_caller
from cubie.labelled.pictures import BANDS, plot
from cubie.labelled.tables import table_of
from cubie.launch.event_results import EventsLost
from cubie.status import RunStatus
from cubie.sweeps.dataset import dataset_of, outline_of, without
from cubie.sweeps.describe import attributes_of, told_rounds
from cubie.sweeps.errors import ChunksLost, RunsFailed
from cubie.sweeps.job import Round, counted
from cubie.sweeps.kept import Layout
from cubie.sweeps.lost import told_lost
from cubie.sweeps.outputs import STATUS, components_of
from cubie.sweeps.progress import Progress, told_of_failures, told_of_lost
from cubie.sweeps.store import shown_store
from cubie.sweeps.whole import Whole

COMPUTED_ANEW = "run() computes them anew; what is shown of their runs is no result."


class Looking:
    """The part of a `Sweep` that computes nothing."""

    _whole: Whole
    _layout: Layout
    _store: Any
    _keeper: Any
    _rounds: list[Round]
    # Chunks that were done and are not whole, each with a file that is lost; None: not looked yet.
    _lost: dict[int, str] | None = None
    # How runs ended when failures were last warned of.
    _told_of: Mapping[RunStatus, int] | None = None

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
    def n_chunks(self) -> int:
        """How many chunks the runs are in."""
        return len(self._layout.chunks)

    @property
    def n_chunks_done(self) -> int:
        """How many of them are done, of every retry, too."""
        return int(np.count_nonzero(self._done() > len(self._rounds)))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the solver wants you to know."""
        return self._whole.model.notes

    @property
    def needs_function(self) -> bool:
        """Whether the function is no data, so that the store alone is not enough to go on."""
        return not self._whole.content

    def __repr__(self) -> str:
        done = self._done()
        runs = " x ".join(f"{d} {n:,}" for d, n in zip(self.dims, self.shape, strict=True))
        where = "memory" if self._store is None else shown_store(self._store)
        n = int(np.count_nonzero(done))
        return f"<Sweep over {runs}: {n:,} of {len(done):,} chunks done, in {where}>"

    def _done(self, look: bool = False) -> np.ndarray:
        """Return of each chunk how often it was written; 0 where something of it is lost.

        Parameters
        ----------
        look : bool
            At the files of all; else only at those of which something was lost before.
        """
        if self._keeper is None:
            return np.zeros(len(self._layout.chunks), np.uint16)
        done = self._keeper.done()
        numbers = np.flatnonzero(done) if look or self._lost is None else sorted(self._lost)
        lost: dict[int, str] = self._keeper.lost(numbers)
        done[list(lost)] = 0
        self._lost = lost
        return done

    def _warn_of_lost(self, what_then: str) -> None:
        if self._lost:
            told = told_lost(self._lost)
            told = f"{told[0].upper()}{told[1:]}: {what_then}"
            warnings.warn(told, ChunksLost, stacklevel=level_of_caller())

    def _warn_of_failed(self, counts: Mapping[RunStatus, int], anew: bool = False) -> None:
        """Warn of runs that failed: once, but for those that were computed anew."""
        if anew or counts != self._told_of:
            self._told_of = dict(counts)
            if told := told_of_failures(counts):
                warnings.warn(told, RunsFailed, stacklevel=level_of_caller())

    def _warn_after(self, computed: Progress) -> None:
        """Warn of what became of runs once some, or none, of them were computed."""
        self._warn_of_failed(self.counts(), anew=bool(computed.status))
        if told := told_of_lost(computed, self.dims, self.shape):
            warnings.warn(told, EventsLost, stacklevel=level_of_caller())

    def counts(self) -> dict[Any, int]:
        """Return how many runs ended how, of those that are done."""
        found: dict[Any, int] = {}
        for number in np.flatnonzero(self._done(look=True)):
            status = self._keeper.read(int(number), [STATUS])[STATUS]
            for code, n in counted(status).items():
                found[RunStatus(code)] = found.get(RunStatus(code), 0) + n
        return found

    def chunks_done(self) -> list[int]:
        """Return the numbers of chunks that are done, and whole; of others that were, it warns."""
        done = self._done(look=True)
        self._warn_of_lost(COMPUTED_ANEW)
        return np.flatnonzero(done).tolist()

    def kept_of(self, number: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return variables of a chunk that is done, each with the dimensions of its runs first."""
        return self._keeper.read(number, names)

    @property
    def dims_kept(self) -> dict[str, tuple[str, ...]]:
        """Variables, each with its dimensions beside those of the runs."""
        layout = self._layout
        return {v.name: v.dims for v in layout.variables} | dict.fromkeys(layout.drawn, ())

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Names of what is known of runs beside them: values of axes, labels."""
        layout = self._layout
        return (*layout.coordinates, *(name for _, names in layout.along for name in names))

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the states that are kept."""
        return components_of(self._whole.model)

    def to_xarray(self) -> Any:
        """Return the results as an `xarray.Dataset`, read from disk as it is used.

        Of a sweep in memory it shows the results themselves, which cannot be written to, and
        changes where `retry` computes runs once more: ``.copy(deep=True)`` is one of your own.

        Values of runs that failed are among them: ``ds.where(ds.status >= 0)`` leaves them out.

        Raises
        ------
        RuntimeError
            Before all is done; `peek` returns what there is.

        Warns
        -----
        RunsFailed
            Where runs failed, and that was not told before.
        """
        done = self._done(look=True)
        left = int(np.count_nonzero(done < 1 + len(self._rounds)))
        if left:
            lost = f" ({told_lost(self._lost)})" if self._lost else ""
            raise RuntimeError(
                f"{left:,} of {len(done):,} chunks are not done{lost}: call run(), or look at what "
                "there is with peek()."
            )
        self._warn_of_failed(self.counts())
        return dataset_of(self._layout, self._keeper, self._attributes())

    def peek(self) -> Any:
        """Return the results so far as `to_xarray` does; NaN, and NOT_DONE, where there are none.

        Of a sweep that another process runs, `Sweep.resume(store).peek()`.

        Warns
        -----
        ChunksLost
            Where files of chunks that were done are gone; their runs are NOT_DONE, too.
        """
        self._begin()
        self._done(look=True)
        self._warn_of_lost(COMPUTED_ANEW)
        found = dataset_of(self._layout, self._keeper, self._attributes())
        return without(found, self._layout.chunks, self._lost) if self._lost else found

    def outline(self) -> Any:
        """Return a dataset as `peek` does, with zeros in place of results: nothing is computed.

        It has the names, dimensions, dtypes and coordinates of the results; coordinates that are
        drawn are zero, too, where they are known only with the first chunk.
        """
        return outline_of(self._layout, self._whole.space, self._attributes())

    def to_pandas(self, rows: str | None = None) -> Any:
        """Return the results as a `pandas.DataFrame`, all of it in memory.

        Parameters
        ----------
        rows : {"runs", "points", "events"}, optional
            What a row is of; all are found by what was swept, and have what was drawn and the
            `status` of their run: ``table[table.status >= 0]`` leaves out those that failed. By
            default a point where there is t_eval, else a run, with its work and summaries.

        Warns
        -----
        RunsFailed
            See `to_xarray`.
        """
        return table_of(self.to_xarray(), rows)

    def _attributes(self) -> dict[str, Any]:
        whole = self._whole
        found = attributes_of(whole.model, self._layout, whole.lacking)
        return found | {"cubie_digest": whole.digest} | told_rounds(self._rounds)

    def plot(
        self,
        what: str,
        *,
        x: str | None = None,
        y: str | None = None,
        over: str | Sequence[str] | None = None,
        sel: Mapping[str, Any] | None = None,
        bands: float | Sequence[float] = BANDS,
        ax: Any = None,
        **how: Any,
    ) -> Any:
        """Draw a quantity of the results so far: heat map, lines, fan of trajectories, status map.

        Parameters
        ----------
        what : str
            A variable ("max of x"), a component ("x"), of complex ones "abs of psi", or "status".
        x, y : str, optional
            What goes along the axes: names of what is swept, or other quantities. By default the
            time, or the first two axes.
        over : str or sequence of str, optional
            Axes whose runs are drawn together, as a median with bands; of trajectories by default
            those of samples and tables, else all. ``over=()`` draws each run.
        sel : mapping, optional
            Where to look along other axes: a value (the nearest), several, or a slice.
        bands : float or sequence of float
            Which shares of the runs lie within the bands.
        ax : matplotlib.axes.Axes, optional
            What to draw into; by default a new figure.
        **how
            What matplotlib takes: `cmap`, `norm`, `color`, `xscale`, ...

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        InvalidOption
            Where there is no such thing, or where more axes are left than a picture has.
        """
        return plot(self.peek(), what, x=x, y=y, over=over, sel=sel, bands=bands, ax=ax, **how)
