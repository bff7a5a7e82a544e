"""Where results of a sweep go: a Zarr store, that xarray opens as a Dataset.

    <store>/<variable>       as in the Dataset; a chunk there is a chunk of the sweep
    <store>/cubie/model      all that a run is computed from, and the axes, as JSON
    <store>/cubie/done       of each chunk how often it was written
    <store>/cubie/round1     what was computed once more, and how, as JSON; then round2, ...

Of a chunk the data are written first, then the status of its runs, then that it is done: whatever
ends a process, what `done` tells of is there. A chunk that is written twice gets the same bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from cubie.sweeps.errors import OtherSweep, StoreError
from cubie.sweeps.kept import Layout, places_of

GROUP = "cubie"
FORMAT = 1  # of what is in the group
CREATING = "cubie_creating"
NEEDED = "A store needs zarr and xarray: pip install 'cubie[sweep]'."


def _zarr() -> Any:
    try:
        import zarr
    except ImportError as error:
        raise StoreError(NEEDED) from error
    return zarr


def path_of(store: Any) -> Path | None:
    """Return where a store is, if that is a folder of this machine."""
    if isinstance(store, Path):
        return store
    if isinstance(store, str) and "://" not in store:
        return Path(store)
    root = getattr(store, "root", None)
    return root if isinstance(root, Path) else None


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
        if path is not None and path.exists() and any(path.iterdir()):
            raise StoreError(
                f"{path} is a folder with other files in it, and no store: give another name."
            ) from None
        return False
    if GROUP not in group and CREATING not in group.attrs:
        raise StoreError(
            f"{store} holds something else than a sweep ({', '.join(sorted(group)) or 'nothing'}): "
            "give another name."
        )
    return CREATING not in group.attrs


@frozen(eq=False)
class ZarrStore:
    """An open store.

    Attributes
    ----------
    layout : Layout
    root : zarr.Group
    """

    layout: Layout
    root: Any

    @classmethod
    def create(
        cls, store: Any, layout: Layout, model: bytes, attributes: Mapping[str, Any]
    ) -> ZarrStore:
        """Make a store with everything but results."""
        zarr = _zarr()
        with warnings.catch_warnings():
            # That zarr 3 keeps all metadata in one place too is no standard yet.
            warnings.filterwarnings("ignore", "Consolidated metadata")
            root = zarr.create_group(
                opened(store), zarr_format=3, overwrite=True, attributes={CREATING: True}
            )
            _create_arrays(root, layout)
            group = root.create_group(GROUP, attributes={"format": FORMAT})
            _keep_bytes(group, "model", model)
            n = len(layout.chunks)
            group.create_array("done", shape=(n,), chunks=(1,), dtype="u1", fill_value=0,
                               compressors=None, dimension_names=("chunk",))  # fmt: skip
            root.attrs.put(dict(attributes))
            zarr.consolidate_metadata(root.store)
        return cls(layout, zarr.open_group(opened(store), mode="r+", use_consolidated=False))

    @classmethod
    def open(cls, store: Any, layout: Layout) -> ZarrStore:
        """Open a store that is there."""
        return cls(layout, open_group(store, "r+"))

    def __reduce__(self) -> Any:
        return ZarrStore, (self.layout.without_coordinates(), self.root)

    def done(self) -> np.ndarray:
        """Return of each chunk how often it was written."""
        return np.asarray(self._of_group("done")[:])

    def write(self, number: int, values: Mapping[str, np.ndarray], times: int) -> None:
        """Keep a chunk.

        Raises
        ------
        StoreError
            Where the store is gone. What the system says, of a full disk, goes through.
        """
        self._require_there()
        for name, part, array in places_of(self.layout, number, values):
            self.root[name][part] = array
        self._require_there()
        self._of_group("done")[number] = times

    def _require_there(self) -> None:
        """Refuse to write into what was deleted: files without a store would be made anew."""
        path = path_of(self.root.store)
        if path is not None and not (path / GROUP / "done" / "zarr.json").exists():
            raise StoreError(
                f"The store {path} is gone, or was emptied, while a sweep wrote to it."
            )

    def _of_group(self, name: str) -> Any:
        return self.root[f"{GROUP}/{name}"]

    def read(self, number: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return what was kept of a chunk."""
        box = tuple(self.layout.chunks.at(number))
        return {name: np.asarray(self.root[name][box]) for name in names}

    def whole(self, name: str) -> Any:
        """Return an array of zarr's."""
        return self.root[name]

    def rounds(self) -> list[bytes]:
        """Return what was computed once more, in order."""
        return rounds_of(self.root)

    def add_round(self, content: bytes) -> None:
        """Note that something is to be computed once more."""
        _keep_bytes(self.root[GROUP], f"round{len(self.rounds()) + 1}", content)


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


def _keep_bytes(group: Any, name: str, content: bytes) -> None:
    data = np.frombuffer(content, np.uint8)
    dims = (f"{name}_byte",)  # xarray opens the group, too
    group.create_array(name, data=data, chunks=data.shape, dimension_names=dims, overwrite=True)


def _create_arrays(root: Any, layout: Layout) -> None:
    chunks = layout.chunks
    for variable in layout.variables:
        shape, box = (*chunks.shape, *variable.sizes), (*chunks.box, *variable.sizes)
        dims = (*layout.dims, *variable.dims)
        told = {**variable.about, **layout.coordinates_of(dims)}
        _array(root, variable.name, shape, box, dims, variable.dtype, variable.fill, told)
    nan = float("nan")
    for name in layout.drawn:
        told = {**layout.about(name), **layout.coordinates_of(layout.dims)}
        _array(root, name, chunks.shape, chunks.box, layout.dims, np.dtype(float), nan, told)
    for i, names in layout.along:
        of = (chunks.shape[i],), (chunks.box[i],), (layout.dims[i],)
        for name in names:
            _array(root, name, *of, np.dtype(float), nan, layout.about(name))
    for name, (dims, values) in layout.coordinates.items():
        _coordinate(root, name, dims, values, layout.about(name))


def _array(
    root: Any,
    name: str,
    shape: tuple[int, ...],
    box: tuple[int, ...],
    dims: tuple[str, ...],
    dtype: np.dtype,
    fill: Any,
    about: Mapping[str, Any],
) -> None:
    # Whole numbers are small, and mostly alike; the last bits of others are anything.
    how = {"compressors": None} if dtype.kind in "fc" else {}
    box = tuple(max(1, min(b, n)) for b, n in zip(box, shape, strict=True))
    root.create_array(
        name, shape=shape, chunks=box, dtype=dtype, fill_value=fill, dimension_names=dims,
        attributes=dict(about), **how,
    )  # fmt: skip


def _coordinate(
    root: Any, name: str, dims: tuple[str, ...], values: np.ndarray, about: Mapping[str, Any]
) -> None:
    dtype: Any = str if values.dtype.kind in "UT" else values.dtype
    array = root.create_array(
        name, shape=values.shape, chunks=values.shape, dtype=dtype, dimension_names=dims,
        attributes=dict(about),
    )  # fmt: skip
    array[...] = values
