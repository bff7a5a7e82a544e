"""Files of a store that are gone, or cut short: what is told done is not there any more.

Whoever reads such a store by Zarr alone gets fill values of files that are gone, and of some that
are cut short numbers that nobody wrote: a block that Blosc did not squeeze is believed to be whole.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from cubie.sweeps.creating import GROUP, keep_bytes
from cubie.sweeps.errors import StoreError
from cubie.sweeps.kept import Layout

# Of Blosc: the header has, at its end, how long the whole is.
HEADER, LENGTH = 16, slice(12, 16)
# How long the files of an array are, where that is no number.
AS_BLOSC_SAYS, UNKNOWN = -1, 0
MOST_TOLD = 3


@frozen(eq=False)
class Files:
    """The files of results, of which each chunk has its own.

    Attributes
    ----------
    layout : Layout
    root : zarr.Group
    path : Path or None
        Where that is, if it is a folder of this machine: elsewhere it is only seen what is gone.
    """

    layout: Layout
    root: Any
    path: Path | None

    def lost(self, numbers: Sequence[int]) -> dict[int, str]:
        """Return which of these chunks are not whole, and a file of each that is not.

        Takes some 10 us a file.

        Raises
        ------
        StoreError
            Where there is no such array any more.
        """
        if not len(numbers):
            return {}
        arrays = self._arrays()
        there = self._there if self.path is not None else self._listed()
        found: dict[int, str] = {}
        for number in numbers:
            for name, file in self._of(int(number)):
                if not there(file, arrays[name]):
                    found[int(number)] = file
                    break
        return found

    def _of(self, number: int) -> Iterator[tuple[str, str]]:
        """Yield the arrays that a chunk is in, each with the name of its file."""
        layout, box = self.layout, self.layout.chunks.at(number)
        at = [part.start // width for part, width in zip(box, layout.chunks.box, strict=True)]
        runs = "/".join(map(str, at))
        for variable in layout.variables:
            yield variable.name, "/".join([variable.name, "c", runs, *("0" for _ in variable.dims)])
        for name in layout.drawn:
            yield name, f"{name}/c/{runs}"
        for i, names in layout.along:
            if all(k == i or not place for k, place in enumerate(at)):  # who writes them
                yield from ((name, f"{name}/c/{at[i]}") for name in names)

    def _arrays(self) -> dict[str, Any]:
        """Return the length of the files of each array, or how that is found."""
        layout = self.layout
        along = (name for _, names in layout.along for name in names)
        found = {}
        for name in (*(v.name for v in layout.variables), *layout.drawn, *along):
            try:
                array = self.root[name]
            except KeyError:
                raise StoreError(
                    f"The store {self.path or self.root.store} lacks {name}/zarr.json, which says "
                    "what the files of an array are: get it back, or begin anew."
                ) from None
            squeezed = [type(codec).__name__ for codec in array.compressors]
            found[name] = UNKNOWN
            if array.shards is None and not squeezed:
                found[name] = math.prod(array.chunks) * array.dtype.itemsize
            elif array.shards is None and squeezed == ["BloscCodec"]:
                found[name] = AS_BLOSC_SAYS
        return found

    def _there(self, file: str, length: int) -> bool:
        """Tell whether a file is as long as it was written."""
        try:
            with open(f"{self.path}/{file}", "rb", buffering=0) as stream:
                size = os.fstat(stream.fileno()).st_size
                header = stream.read(HEADER) if length == AS_BLOSC_SAYS else b""
        except (FileNotFoundError, NotADirectoryError):
            return False
        if length == AS_BLOSC_SAYS:
            return len(header) == HEADER and int.from_bytes(header[LENGTH], "little") == size
        return size > 0 if length == UNKNOWN else size == length

    def _listed(self) -> Any:
        """Return what tells whether there is something of a name, in a store that is no folder."""
        from zarr.core.sync import sync

        store = self.root.store
        prefix = self.root.path

        async def names() -> set[str]:
            return {name async for name in store.list_prefix(prefix)}

        known = sync(names())
        before = f"{prefix}/" if prefix else ""
        return lambda file, length: before + file in known


def restore(layout: Layout, model: bytes, root: Any) -> None:
    """Write again what is known of a sweep before any run, where the store has lost it.

    Parameters
    ----------
    model : bytes
        As JSON; empty where a part of it is no data.
    """
    if model and root[f"{GROUP}/model"].nchunks_initialized == 0:
        keep_bytes(root[GROUP], "model", model)
    for name, (_, values) in layout.coordinates.items():
        array = root[name]
        try:
            kept = np.array_equal(np.asarray(array[...]).astype(values.dtype), values)
        except Exception:  # whatever codecs say of files that are cut short
            kept = False
        if not kept:
            array[...] = values


def told_lost(lost: Mapping[int, str]) -> str:
    """Return in words which files are lost."""
    n, files = len(lost), list(lost.values())
    told = ", ".join(files[:MOST_TOLD]) + (", ..." if n > MOST_TOLD else "")
    chunks = "a chunk that was done" if n == 1 else f"{n:,} chunks that were done"
    return f"of {chunks} files are lost or cut short, {told}"
