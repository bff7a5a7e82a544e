"""What is in a store: a whole sweep, or the same one as somebody asks for."""

from __future__ import annotations

from typing import Any

from cubie.errors import InvalidOption
from cubie.sweeps.chunks import Chunks
from cubie.sweeps.codec import NotReadable, from_json
from cubie.sweeps.describe import differences
from cubie.sweeps.errors import NeedsFunction, OtherSweep
from cubie.sweeps.planned import cut
from cubie.sweeps.store import model_in, open_group
from cubie.sweeps.whole import Whole


def whole_in(store: Any) -> tuple[Whole, Chunks]:
    """Return the sweep that a store holds.

    Raises
    ------
    StoreError
    """
    group = open_group(store, "r")
    content, found = model_in(group), dict(group.attrs)
    if not content.strip(b"\0"):
        raise NeedsFunction(
            f"The model in {store} is no data ({found.get('cubie_lacking')}): call "
            "cubie.sweep(...) as it was begun, with this store; it goes on."
        )
    try:
        model, space, drawn = from_json(content)
    except NotReadable as error:
        raise OtherSweep(
            f"{store} was written by cubie {found.get('cubie_version')}, and cannot be gone on "
            f"with: {error} Call cubie.sweep(...) with another store; xarray opens this one."
        ) from error
    whole = Whole(model, space, drawn)
    return whole, Chunks(space.shape, tuple(found["cubie_chunk"]))


def chunks_of_same(store: Any, whole: Whole, chunk: int | None) -> Chunks:
    """Return how the same sweep was cut that a store holds.

    Raises
    ------
    OtherSweep
        Naming in what they differ, where it is another one.
    InvalidOption
        Where `chunk` is another.
    """
    group = open_group(store, "r")
    found = dict(group.attrs)
    if found.get("cubie_digest") != whole.digest:
        told = differences(model_in(group), whole.model, whole.space, whole.drawn)
        raise OtherSweep(
            f"{store} holds another sweep: {'; '.join(told)}. Give another store, or go on "
            "with that one by cubie.Sweep.resume(store).",
            tuple(told),
        )
    chunks = Chunks(whole.space.shape, tuple(found["cubie_chunk"]))
    if chunk is not None and cut(whole.space.shape, chunk, 1) != chunks:
        raise InvalidOption(
            "chunk", chunk, advice=f"The store was begun with {chunks.largest} runs a chunk."
        )
    return chunks
