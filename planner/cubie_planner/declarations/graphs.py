"""The problem as graphs: aliasing, and who lives together with whom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.lifetimes import liveness
from cubie_planner.declarations.problem import Problem

if TYPE_CHECKING:
    import networkx as nx


def alias_graph(problem: Problem) -> nx.DiGraph:
    """Return the graph of candidate aliases.

    Nodes are buffers, with their declaration as attribute ``buffer`` and its facts as
    plain attributes; edges lead from child to parent, with attributes ``offset``
    (bytes or None), ``required`` and ``rank`` (order of preference).
    """
    import networkx as nx

    graph = nx.DiGraph()
    for buffer in problem.buffers:
        graph.add_node(buffer.name, buffer=buffer, **_facts(buffer))
    for buffer in problem.buffers:
        for rank, alias in enumerate(buffer.aliases):
            graph.add_edge(
                buffer.name,
                alias.parent,
                offset=alias.offset,
                required=buffer.alias_required,
                rank=rank,
            )
    return graph


def interference_graph(problem: Problem) -> nx.Graph:
    """Return the graph whose edges join buffers that are alive at a common program point.

    An edge's attribute ``may_alias`` tells whether one of the two may lie inside the
    other directly. Buffers that need no bytes have no edges.
    """
    import networkx as nx

    graph = nx.Graph()
    for buffer in problem.buffers:
        graph.add_node(buffer.name, buffer=buffer, **_facts(buffer))
    sized = [b for b in problem.buffers if b.size_bytes]
    masks = liveness(sized).masks
    for i, first in enumerate(sized):
        for second in sized[:i]:
            if masks[first.name] & masks[second.name]:
                graph.add_edge(second.name, first.name, may_alias=_may_alias(first, second))
    return graph


def write_graphml(graph: nx.Graph, path: str | Path) -> None:
    """Write one of the graphs above as GraphML; what has no value there is left out."""
    import networkx as nx

    plain = graph.__class__()
    for name, data in graph.nodes(data=True):
        plain.add_node(name, **_plain(data))
    for first, second, data in graph.edges(data=True):
        plain.add_edge(first, second, **_plain(data))
    nx.write_graphml(plain, path)


def _plain(data: dict) -> dict:
    return {key: v for key, v in data.items() if isinstance(v, str | bool | int | float)}


def _facts(buffer: Buffer) -> dict[str, object]:
    spans = () if buffer.always_alive else buffer.lifetime or ()
    return {
        "size_bytes": buffer.size_bytes,
        "alignment": buffer.alignment,
        "dtype": buffer.dtype.str,
        "lifetime": " ".join(f"{start}-{end}" for start, end in spans) or "always",
        "locations": " ".join(sorted(map(str, buffer.locations))),
        "pin": str(buffer.pin) if buffer.pin else "",
        "access_weight": float(buffer.access_weight),
    }


def _may_alias(first: Buffer, second: Buffer) -> bool:
    return any(a.parent == second.name for a in first.aliases) or any(
        a.parent == first.name for a in second.aliases
    )
