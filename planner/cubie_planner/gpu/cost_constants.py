"""Constants of the cost model: checked, and those that come with the package.

They are data, each with its source: constants of the reference card and measured latencies of
others (`cost.json`), and what data sheets say of each card (`cards.json`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from attrs import field, fields, frozen

from cubie_planner.basics import PlannerError, nearest_hint
from cubie_planner.gpu.cards import Card, known_cards
from cubie_planner.gpu.device import nearest_known

WAVEFRONT_BYTES = 128


class CostError(PlannerError, ValueError):
    """A cost model or a question to it that makes no sense."""


def _positive(instance: Any, attribute: Any, value: float) -> None:
    if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
        raise CostError(f"constant {attribute.name}={value!r} must be a finite number above 0.")


@frozen(kw_only=True)
class Constants:
    """Constants of one card. Cycles are those of one SM; bytes are per SM.

    Attributes
    ----------
    registers_base, registers_per_word : float
        Registers of a thread = base + per_word x words of local arrays alive at once.
    spill_bytes_per_word : float
        Stack bytes per register that is missing.
    frame_demand : float
        Demand in registers above which whole arrays lie in the stack frame.
    frame_factor : float
        Stack frame over the bytes of the arrays in it.
    issue_cycles : float
        Arithmetic that comes with an access, whatever its location, when all
        schedulers are busy.
    busy_warps : float
        Resident warps that keep the schedulers busy.
    shared_cycles, l1_cycles, l2_cycles, dram_cycles : float
        Occupied cycles per wavefront of 128 bytes, for those that get that far.
    shared_latency, l1_latency, l2_latency, dram_latency : float
        Cycles from request to value.
    overlap : float
        Accesses that a warp keeps in flight.
    l2_bytes : float
        The SM's share of the L2 cache.
    """

    registers_base: float = field(validator=_positive)
    registers_per_word: float = field(validator=_positive)
    spill_bytes_per_word: float = field(validator=_positive)
    frame_demand: float = field(validator=_positive)
    frame_factor: float = field(validator=_positive)
    issue_cycles: float = field(validator=_positive)
    busy_warps: float = field(validator=_positive)
    shared_cycles: float = field(validator=_positive)
    l1_cycles: float = field(validator=_positive)
    l2_cycles: float = field(validator=_positive)
    dram_cycles: float = field(validator=_positive)
    shared_latency: float = field(validator=_positive)
    l1_latency: float = field(validator=_positive)
    l2_latency: float = field(validator=_positive)
    dram_latency: float = field(validator=_positive)
    overlap: float = field(validator=_positive)
    l2_bytes: float = field(validator=_positive)

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> Constants:
        """Constants from a mapping that names each of them exactly once."""
        names = [attribute.name for attribute in fields(cls)]
        for name in values:
            if name not in names:
                raise CostError(f"constant `{name}` is unknown{nearest_hint(name, names)}.")
        missing = [name for name in names if name not in values]
        if missing:
            raise CostError(f"constants are missing: {', '.join(missing)}.")
        return cls(**values)


def builtin_constants(
    capability: tuple[int, int], card_name: str | None = None
) -> tuple[Constants, str, str]:
    """Return the constants for a compute capability, the card they are of, and their source.

    The card is the one of that name, or the usual one of the capability.
    """
    table = _builtin_table()
    usual = usual_card(capability)
    card = usual if card_name is None else known_cards().get(card_name)
    if card is None or (card_name is not None and card.capability != capability):
        known = [name for name, other in known_cards().items() if other.capability == capability]
        raise CostError(
            f"{card_name!r} is no card of compute capability {capability[0]}.{capability[1]} that "
            f"is known{nearest_hint(card_name, known)}. Known: {', '.join(known) or 'none'}."
        )
    values = {key: entry["value"] for key, entry in table["constants"].items()}
    # Latencies are those of the architecture: no other card of it was measured.
    latencies = table["latencies"].get(card.name) or table["latencies"].get(usual.name, {})
    values |= {key: value for key, value in latencies.items() if key in values}
    values["l2_bytes"] = card.l2_bytes / card.sm_count
    bytes_per_cycle = card.dram_bytes_per_second / card.clock_hz / card.sm_count
    traffic = WAVEFRONT_BYTES * table["dram_traffic_factor"]["value"]
    values["dram_cycles"] = traffic / bytes_per_cycle
    sources = card.source, latencies.get("source", "latencies of the reference card")
    return Constants.from_dict(values), card.name, "; ".join(sources)


def usual_card(capability: tuple[int, int]) -> Card:
    """Return the card that stands for a compute capability where none is named."""
    major, minor = nearest_known(capability)
    return known_cards()[_builtin_table()["card_of_capability"][f"{major}.{minor}"]]


@cache
def _builtin_table() -> dict[str, Any]:
    text = resources.files("cubie_planner.gpu").joinpath("cost.json").read_text()
    return json.loads(text)
