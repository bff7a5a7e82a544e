"""Lower bounds on the bytes of a place: what no arrangement can do without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cubie_planner.declarations.buffers import Buffer
from cubie_planner.engines.nesting import hosts, reachable


def local_bound(
    buffers: Sequence[Buffer], masks: Mapping[str, int], among: Sequence[Buffer]
) -> int:
    """Return bytes of own arrays that local `buffers` need: what none of `among` can hold."""
    names = {b.name: b for b in among}
    own = 0
    only: dict[str, list[Buffer]] = {}
    for buffer in buffers:
        candidates = hosts(buffer, names, local=True)
        if not candidates:
            own += buffer.size_bytes
        elif len(candidates) == 1:
            only.setdefault(candidates[0][0].name, []).append(buffer)
    return own + sum(_crowded_out(names[name], only[name], masks) for name in only)


def _crowded_out(host: Buffer, children: Sequence[Buffer], masks: Mapping[str, int]) -> int:
    """Return bytes of `children` for which `host`, their only one, has no room at some time."""
    if sum(b.size_bytes for b in children) <= host.size_bytes:
        return 0
    least = 0
    for section in range(max(masks[b.name] for b in children).bit_length()):
        sizes = [b.size_bytes for b in children if masks[b.name] >> section & 1]
        excess = sum(sizes) - host.size_bytes
        if excess > 0:
            least = max(least, excess, min(sizes))
    return least


def load_bound(buffers: Sequence[Buffer], masks: Mapping[str, int], among: Sequence[Buffer]) -> int:
    """Return a lower bound on the height: the bytes that must be alive in some section.

    A buffer that may lie inside another one alive with it is counted only beyond what
    that other one could hold.

    Parameters
    ----------
    buffers : sequence of Buffer
        Those that live in this place for certain.
    among : sequence of Buffer
        Those that may live there, which includes the former.
    """
    top = max((b.offset + b.size_bytes for b in buffers if b.offset is not None), default=0)
    reach = reachable(among)
    every = 0
    for buffer in buffers:
        every |= masks[buffer.name]
    for section in range(every.bit_length()):
        live = [b for b in buffers if masks[b.name] >> section & 1]
        names = {b.name for b in live}
        inside = {b.name for b in live if reach[b.name] & names}
        own = sum(b.size_bytes for b in live if b.name not in inside)
        if not inside:
            top = max(top, own)
            continue
        top = max(top, own, sum(b.size_bytes for b in live) - _most_saved(live, names, reach))
    return top


def _most_saved(live: Sequence[Buffer], names: set[str], reach: Mapping[str, set[str]]) -> int:
    """Return a bound on the bytes that the live buffers can share by lying inside others."""
    saved = 0
    only: dict[str, int] = {}
    for buffer in live:
        around = reach[buffer.name] & names
        if len(around) == 1:
            (host,) = around
            only[host] = only.get(host, 0) + buffer.size_bytes
        elif around:
            saved += buffer.size_bytes
    return saved + sum(min(b.size_bytes, only.get(b.name, 0)) for b in live)
