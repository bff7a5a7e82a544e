"""Global memory: which buffers may be there, and which of them may share bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import evolve

from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.places import Location


def offering_global(buffers: Iterable[Buffer]) -> tuple[Buffer, ...]:
    """Return the buffers, with global memory among the places of all that may share bytes there.

    Those are buffers of one element size, that of most of the bytes, and such as are always alive
    and in no other.
    """
    buffers = tuple(buffers)
    sharing = _sharing(buffers)
    n_bytes: dict[int, int] = {}
    for buffer in sharing:
        n_bytes[buffer.itemsize] = n_bytes.get(buffer.itemsize, 0) + buffer.size_bytes
    size = max(n_bytes, key=lambda itemsize: n_bytes[itemsize], default=0)
    apart = {b.name for b in sharing if b.itemsize != size}
    return tuple(
        b if b.name in apart else evolve(b, locations=b.locations | {Location.GLOBAL})
        for b in buffers
    )


def may_be_global(buffer: Buffer) -> bool:
    """Return whether a buffer may be there."""
    return Location.GLOBAL in buffer.locations


def _sharing(buffers: Sequence[Buffer]) -> list[Buffer]:
    """Return the buffers that may share bytes with others: by lifetime or alias."""
    parents = {alias.parent for b in buffers if b.size_bytes for alias in b.aliases}
    return [
        b
        for b in buffers
        if b.size_bytes and not (b.always_alive and not b.aliases and b.name not in parents)
    ]


def elements_that_clash(buffers: Sequence[Buffer]) -> tuple[str, list[str]] | None:
    """Return why, and of which buffers, elements of several sizes could meet; or None.

    Elements of neighbouring threads lie side by side there: where one thread reads an element of
    8 bytes, another, which may be in another phase, would have two of 4.
    """
    sizes: dict[int, str] = {}
    for buffer in _sharing(buffers):
        if may_be_global(buffer):
            sizes.setdefault(buffer.itemsize, buffer.name)
    if len(sizes) > 1:
        (one, first), (another, second) = list(sizes.items())[:2]
        return (
            f"`{first}` and `{second}` may share bytes in global memory, where elements of "
            f"neighbouring threads lie side by side, and theirs have {one} and {another} B; let "
            "one of them be always alive and outside others, or nowhere near 'global'",
            [first, second],
        )
    return None
