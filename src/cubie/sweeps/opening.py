"""What is in a store: a whole sweep, or the same one as somebody asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cubie.errors import InvalidOption
from cubie.sweeps.axes import Space
from cubie.sweeps.chunks import Chunks
from cubie.sweeps.codec import NotReadable, from_json
from cubie.sweeps.differing import differences, told
from cubie.sweeps.draws import Draws
from cubie.sweeps.errors import NeedsFunction, OtherSweep, StoreError
from cubie.sweeps.job import Round
from cubie.sweeps.model import Model
from cubie.sweeps.planned import cut
from cubie.sweeps.retries import ALLOWED
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
        lacking = found.get("cubie_lacking")
        why = f"cannot be kept in it ({lacking})" if lacking else "is lost (cubie/model/c/0)"
        raise NeedsFunction(
            f"The model of the sweep in {store} {why}: call cubie.sweep(...) as it was begun, with "
            "this store; it goes on."
        )
    try:
        whole = _whole(content)
        return whole, _chunks_of(whole, found.get("cubie_chunk"))
    except NotReadable as error:
        raise OtherSweep(
            f"{store} was written by cubie {found.get('cubie_version')}, and cannot be gone on "
            f"with: {error} Call cubie.sweep(...) with another store; xarray opens this one."
        ) from error


def _whole(content: bytes) -> Whole:
    """Return the sweep that was written so.

    Raises
    ------
    NotReadable
    """
    match from_json(content):
        case (Model() as model, Space() as space, (Draws() | None) as drawn):
            pass
        case _:
            raise NotReadable("it holds no sweep.")
    try:
        model.require_whole()
        return Whole(model, space, drawn)
    except Exception as error:
        raise NotReadable(f"what it holds does not fit together: {error}") from error


def _chunks_of(whole: Whole, box: Any) -> Chunks:
    shape = whole.space.shape
    fits = isinstance(box, list) and len(box) == len(shape)
    if not fits or not all(type(b) is int and 1 <= b <= n for b, n in zip(box, shape, strict=True)):
        raise NotReadable(f"its chunks are {box!r:.80}, of runs of shape {shape}.")
    return Chunks(shape, tuple(box))


def rounds_in(contents: Sequence[bytes]) -> list[Round]:
    """Return what was computed once more, as it was noted.

    Raises
    ------
    StoreError
    """
    found = []
    for content in contents:
        try:
            which = from_json(content)
        except NotReadable as error:
            raise StoreError(f"What is computed once more cannot be read: {error}") from error
        if not isinstance(which, Round) or not {name for name, _ in which.changes} <= set(ALLOWED):
            raise StoreError(f"What is computed once more cannot be read: {which!r:.80}")
        found.append(which)
    return found


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
        found_out = differences(model_in(group), whole.model, whole.space, whole.drawn)
        raise OtherSweep(
            f"{store} holds another sweep: {told(found_out)}. Give another store, or go on with "
            "that one by cubie.Sweep.resume(store).",
            tuple(found_out),
        )
    try:
        chunks = _chunks_of(whole, found.get("cubie_chunk"))
    except NotReadable as error:
        raise StoreError(f"{store} cannot be gone on with: {error}") from error
    if chunk is not None and cut(whole.space.shape, chunk, 1) != chunks:
        raise InvalidOption(
            "chunk", chunk, advice=f"The store was begun with {chunks.largest} runs a chunk."
        )
    return chunks
