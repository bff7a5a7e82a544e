"""Where results of a sweep go: a Zarr store, that xarray opens as a Dataset.

    <store>/<variable>       as in the Dataset; a chunk there is a chunk of the sweep
    <store>/cubie            the format, and what tells this store from one that is made later
    <store>/cubie/model      all that a run is computed from, and the axes, as JSON
    <store>/cubie/done       of each chunk how often it was written
    <store>/cubie/round1     what was computed once more, and how, as JSON; then round2, ...

Of a chunk the data are written first, then the status of its runs, then that it is done: whatever
ends a process, what `done` tells of is there. A chunk that is written twice gets the same bytes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any
from urllib.request import url2pathname

import numpy as np
from attrs import frozen

from cubie.errors import Described, InvalidOption
from cubie.sweeps.creating import (
    CREATING,
    FORMAT,
    GROUP,
    IDENTITY,
    MARKED,
    create,
    keep_bytes,
    tell,
)
from cubie.sweeps.errors import OtherSweep, StoreError
from cubie.sweeps.kept import Layout, places_of
from cubie.sweeps.lost import Files

NEEDED = "A store needs zarr and xarray: pip install 'cubie-ode[sweep]'."
PARTIAL = ".partial"  # how zarr ends the names of files that it is writing
BEGIN_ANEW = "Begin anew by cubie.sweep(..., store=)."


def _zarr() -> Any:
    try:
        import zarr
    except ImportError as error:
        raise StoreError(NEEDED) from error
    return zarr


def checked_store(store: Any) -> Any:
    """Return where results are to be kept, if that may be: a path, or what zarr knows.

    A path is whole, wherever the process goes later.

    Raises
    ------
    InvalidOption
    """
    if isinstance(store, os.PathLike) and isinstance(os.fspath(store), str):
        store = os.fspath(store)
    if isinstance(store, str) and store.startswith("file://"):
        store = url2pathname(store.removeprefix("file://"))
    if isinstance(store, str) and store and "://" not in store:
        return Path(store).expanduser().absolute()
    if store is None or (isinstance(store, str) and store):
        return store
    if not isinstance(store, MutableMapping) and not hasattr(store, "supports_writes"):
        allowed = (Described("a path"), Described("an address"), Described("a store of zarr's"))
        raise InvalidOption("store", store, allowed)
    return store


def path_of(store: Any) -> Path | None:
    """Return where a store is, if that is a folder of this machine."""
    if isinstance(store, Path):
        return store
    if isinstance(store, str) and "://" not in store:
        return Path(store)
    root = getattr(store, "root", None)
    return root if isinstance(root, Path) else None


def shown_store(store: Any) -> str:
    """Return how messages call a store: a path below the current folder from there."""
    path = path_of(store)
    if path is None:
        return str(store)
    with contextlib.suppress(ValueError, OSError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def opened(store: Any) -> Any:
    """Return what zarr opens: a path from anywhere, an address, or a store of zarr's."""
    path = path_of(store)
    return str(path.absolute()) if path is not None else store


def is_there(store: Any) -> bool:
    """Tell whether a sweep, begun or whole, is in a store.

    Raises
    ------
    StoreError
        For something else that is there.
    """
    zarr = _zarr()
    path = path_of(store)
    if path is not None and path.is_file():
        raise StoreError(f"{path} is a file; a store is a folder: give another name.")
    try:
        group = zarr.open_group(opened(store), mode="r", use_consolidated=False)
    except FileNotFoundError:
        # What a process left that was killed while it wrote the first of all files is nobody's.
        if path is not None and path.exists() and any(_but_partial(path)):
            if (path / GROUP / MARKED).exists():
                raise StoreError(
                    f"{path} is a store that lacks its {MARKED}: get that back."
                ) from None
            raise StoreError(
                f"{path} is a folder with other files in it, and no store: give another name."
            ) from None
        return False
    if path is not None and GROUP not in group and (path / GROUP / "done").exists():
        raise StoreError(f"{path} is a store that lacks its {GROUP}/{MARKED}: get that back.")
    if GROUP not in group and CREATING not in group.attrs:
        raise StoreError(
            f"{store} holds something else than a sweep ({', '.join(sorted(group)) or 'nothing'}): "
            "give another name."
        )
    return CREATING not in group.attrs


def _but_partial(path: Path) -> Iterator[Path]:
    return (one for one in path.iterdir() if not one.name.endswith(PARTIAL))


@frozen(eq=False)
class ZarrStore:
    """An open store.

    Attributes
    ----------
    layout : Layout
    root : zarr.Group
    identity : str
        Of the store that was opened.
    """

    layout: Layout
    root: Any
    identity: str

    @classmethod
    def create(
        cls, store: Any, layout: Layout, model: bytes, attributes: Mapping[str, Any]
    ) -> ZarrStore:
        """Make a store with everything but results.

        Raises
        ------
        Taken
            Where another process was faster.
        StoreError
        """
        _zarr()
        path = path_of(store)
        create(store if path is None else path.absolute(), layout, model, attributes)
        return cls.open(store, layout)

    @classmethod
    def open(cls, store: Any, layout: Layout) -> ZarrStore:
        """Open a store that is there."""
        root = open_group(store, "r+")
        return cls(layout, root, root[GROUP].attrs[IDENTITY])

    def __reduce__(self) -> Any:
        return ZarrStore, (self.layout.without_coordinates(), self.root, self.identity)

    @property
    def is_shared(self) -> bool:
        """Whether other processes can write to it: not where it is in this one's memory."""
        from zarr.storage import MemoryStore

        return not isinstance(self.root.store, MemoryStore)

    def done(self) -> np.ndarray:
        """Return of each chunk how often it was written.

        Raises
        ------
        StoreError
            Where the store is gone.
        """
        self._require_same()
        path = path_of(self.root.store)
        if path is None:
            return np.asarray(self._of_group("done")[:])
        return _done_in(path / GROUP / "done", len(self.layout.chunks))

    def times(self, number: int) -> int:
        """Return how often a chunk was written; 0 where something of it is lost since."""
        with self._there():
            try:
                times = int(self._of_group("done")[number])
            except ValueError:  # of a file that is cut short
                return 0
        return 0 if times and self.lost([number]) else times

    def lost(self, numbers: Sequence[int]) -> dict[int, str]:
        """Return which of these chunks, that are told done, are not whole, with a file of each."""
        return Files(self.layout, self.root, path_of(self.root.store)).lost(numbers)

    def write(self, number: int, values: Mapping[str, np.ndarray], times: int) -> None:
        """Keep a chunk.

        Raises
        ------
        StoreError
            Where the store is gone. What the system says, of a full disk, goes through.
        """
        self._require_same()
        # Whoever was given up, and is late, must not undo what was computed once more since.
        if self.times(number) >= times:
            return
        with self._there():
            for name, part, array in places_of(self.layout, number, values):
                self._array(name)[part] = np.ascontiguousarray(
                    array
                )  # zarr takes ten times as long
            self._require_same()
            self._of_group("done")[number] = times

    @contextlib.contextmanager
    def _there(self) -> Iterator[None]:
        """Say of what cannot be found that the store is gone, where it is."""
        try:
            yield
        except (KeyError, FileNotFoundError) as error:
            self._require_same()
            raise StoreError(
                f"The store {path_of(self.root.store) or self.root.store} is damaged: it lacks "
                f"{error}. Get it back, or begin anew."
            ) from error

    def _require_same(self) -> None:
        """Refuse to write into what was deleted: files without a store would be made anew."""
        try:
            found = self.root[GROUP].attrs.get(IDENTITY)
        except KeyError:
            found = None
        if found == self.identity:
            return
        where = path_of(self.root.store) or self.root.store
        if found is not None:
            raise StoreError(
                f"The store {where} was replaced by another while a sweep used it. Give each "
                "sweep a store of its own."
            )
        raise StoreError(
            f"The store {where} is gone, or was emptied, while a sweep used it; or a worker on "
            f"another machine does not see it: all need the same folder. {BEGIN_ANEW}"
        )

    def _array(self, name: str) -> Any:
        # Whether a chunk is nothing but fill values is not worth a look at each.
        return self.root[name].with_config({"write_empty_chunks": True})

    def _of_group(self, name: str) -> Any:
        return self.root[f"{GROUP}/{name}"]

    def read(self, number: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return what was kept of a chunk."""
        box = tuple(self.layout.chunks.at(number))
        with self._there():
            return {name: np.asarray(self.root[name][box]) for name in names}

    def whole(self, name: str) -> Any:
        """Return an array of zarr's."""
        return self.root[name]

    def rounds(self) -> list[bytes]:
        """Return what was computed once more, in order."""
        return rounds_of(self.root)

    def add_round(self, content: bytes) -> None:
        """Note that something is to be computed once more."""
        self._require_same()
        keep_bytes(self.root[GROUP], f"round{len(self.rounds()) + 1}", content)

    def tell(self, attributes: Mapping[str, Any]) -> None:
        """Change attributes of the dataset."""
        tell(self.root, attributes)

    def unfinished(self) -> dict[Path, tuple[int, int]]:
        """Return files that somebody began to write, with their sizes and times.

        They count as nothing; but who was killed leaves them.
        """
        path = path_of(self.root.store)
        if path is None:
            return {}
        found = {}
        for one in path.rglob(f"*{PARTIAL}"):
            try:
                about = one.stat()
            except FileNotFoundError:  # just finished
                continue
            found[one] = about.st_size, about.st_mtime_ns
        return found

    def remove(self, unfinished: Mapping[Path, tuple[int, int]]) -> None:
        """Remove those of them that are as they were: nobody writes to them any more."""
        now = self.unfinished()
        for one, about in unfinished.items():
            if now.get(one) == about:
                one.unlink(missing_ok=True)


def _done_in(folder: Path, n: int) -> np.ndarray:
    """Return what `done` holds, a file of two bytes for each chunk: zarr takes 0.2 ms for each."""
    found = np.zeros(n, np.uint16)
    if not (folder / "c").exists():
        return found
    for one in (folder / "c").iterdir():
        if one.name.isdigit() and len(content := one.read_bytes()) == 2:
            found[int(one.name)] = int.from_bytes(content, "little")
    return found


def open_group(store: Any, mode: str) -> Any:
    """Open the group of a sweep.

    Raises
    ------
    StoreError
    """
    zarr = _zarr()
    if not is_there(store):
        raise StoreError(f"There is no sweep in {store}: begin one with cubie.sweep(..., store=).")
    group = zarr.open_group(opened(store), mode=mode, use_consolidated=False)
    found = group[GROUP].attrs.get("format")
    if found != FORMAT:
        raise OtherSweep(
            f"{store} was written in format {found}, and this version of cubie reads {FORMAT}. "
            "xarray opens its results; to go on use the version that is in its attributes."
        )
    return group


def model_in(group: Any) -> bytes:
    """Return the model and the axes that a store was made with, as JSON."""
    return bytes(np.asarray(group[f"{GROUP}/model"][:]))


def rounds_of(group: Any) -> list[bytes]:
    """Return what was computed once more, in order."""
    found: list[bytes] = []
    while f"round{len(found) + 1}" in group[GROUP]:
        content = bytes(np.asarray(group[f"{GROUP}/round{len(found) + 1}"][:]))
        if not content.strip(b"\0"):  # its writer was killed between the name and the content
            break
        found.append(content)
    return found
