"""Making a store for a sweep: whole, or not at all.

A folder is made beside its place, and put there when everything but results is in it; of two
processes that begin the same sweep at once one is the first, and the other goes on with its store.
Where that cannot be done, at addresses and in folders that are there, a mark stands in the store
until all is written: whoever finds it begins anew.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cubie.sweeps.errors import StoreError
from cubie.sweeps.kept import Layout

GROUP = "cubie"
FORMAT = 1  # of what is in the group
IDENTITY = "identity"  # of this store: one that was deleted and made anew has another
CREATING = "cubie_creating"
MARKED = "zarr.json"  # the file of a group that has its attributes
UNFINISHED = ".unfinished"
FORGOTTEN_SECONDS = 3600.0  # a store is made in less: what is older was left by a killed process


class Taken(StoreError):
    """Another process has made a store there meanwhile."""


def create(place: Any, layout: Layout, model: bytes, attributes: Mapping[str, Any]) -> None:
    """Make a store with everything but results.

    Parameters
    ----------
    place : Path, or an address or store of zarr's

    Raises
    ------
    Taken
    StoreError
        Where the system refuses: a full disk, a folder that cannot be written.
    """
    try:
        if isinstance(place, Path) and not os.path.lexists(place):
            _create_beside(place, layout, model, attributes)
        else:
            _fill(place, layout, model, attributes)
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"A store cannot be made in {place}: {error}.") from error


def _create_beside(
    place: Path, layout: Layout, model: bytes, attributes: Mapping[str, Any]
) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    for left in place.parent.glob(f".{place.name}.*{UNFINISHED}"):
        if time.time() - left.stat().st_mtime > FORGOTTEN_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    beside = place.parent / f".{place.name}.{uuid.uuid4().hex}{UNFINISHED}"
    try:
        _fill(beside, layout, model, attributes)
        try:
            os.rename(beside, place)
        except OSError as error:
            if not place.exists():
                raise
            raise Taken(f"There is a store in {place} meanwhile.") from error
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _fill(place: Any, layout: Layout, model: bytes, attributes: Mapping[str, Any]) -> None:
    import zarr

    opened = str(place) if isinstance(place, Path) else place
    with warnings.catch_warnings():
        # That zarr 3 keeps all metadata in one place too is no standard yet.
        warnings.filterwarnings("ignore", "Consolidated metadata")
        try:
            root = zarr.open_group(opened, mode="r+", use_consolidated=False)
            if CREATING not in root.attrs:
                raise Taken(f"There is a store in {place} meanwhile.")
            _empty(place, root)
        except FileNotFoundError:
            root = zarr.create_group(opened, zarr_format=3, attributes={CREATING: True})
        _create_arrays(root, layout)
        about = {"format": FORMAT, IDENTITY: uuid.uuid4().hex}
        group = root.create_group(GROUP, attributes=about)
        keep_bytes(group, "model", model)
        n = len(layout.chunks)
        group.create_array("done", shape=(n,), chunks=(1,), dtype="u2", fill_value=0,
                           compressors=None, dimension_names=("chunk",))  # fmt: skip
        # The mark goes, and what stands for it comes, in one write.
        zarr.consolidate_metadata(root.store).attrs.put(dict(attributes))


def tell(root: Any, attributes: Mapping[str, Any]) -> None:
    """Change attributes of a store, and what is kept of all metadata in one place."""
    import zarr

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata")
        zarr.consolidate_metadata(root.store).attrs.put({**dict(root.attrs), **attributes})


def _empty(place: Any, root: Any) -> None:
    """Remove what a process has left that was killed before it was done, but for the mark."""
    if not isinstance(place, Path):
        for name in list(root):
            del root[name]
        return
    for one in place.iterdir():
        if one.is_dir():
            shutil.rmtree(one)
        elif one.name != MARKED:
            one.unlink()


def keep_bytes(group: Any, name: str, content: bytes) -> None:
    """Keep bytes as an array."""
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
    from zarr.codecs import BloscCodec

    # The fastest there is: some GB/s. Counts become a quarter of what they are, and smooth results
    # half; of others the exponents are alike.
    squeezed = BloscCodec(cname="lz4", clevel=1, shuffle="shuffle")
    box = tuple(max(1, min(b, n)) for b, n in zip(box, shape, strict=True))
    root.create_array(
        name, shape=shape, chunks=box, dtype=dtype, fill_value=fill, dimension_names=dims,
        attributes=dict(about), compressors=squeezed,
    )  # fmt: skip


def _coordinate(
    root: Any, name: str, dims: tuple[str, ...], values: np.ndarray, about: Mapping[str, Any]
) -> None:
    dtype: Any = str if values.dtype.kind in "UT" else values.dtype
    # Whoever reads a file by other means that is lost gets no zeros.
    fill: dict[str, Any] = {"fill_value": float("nan")} if values.dtype.kind in "fc" else {}
    array = root.create_array(
        name, shape=values.shape, chunks=values.shape, dtype=dtype, dimension_names=dims,
        attributes=dict(about), **fill,
    )  # fmt: skip
    array[...] = values
