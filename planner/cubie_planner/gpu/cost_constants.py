"""Constants of the cost model: checked, and those that come with the package.

They are data (`cost.json`), each with its source: constants of the reference card, and
what the data sheets of other cards say instead.
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


def builtin_constants(capability: tuple[int, int]) -> tuple[Constants, str, str]:
    """Return the constants for a compute capability, the card they are of, and their source."""
    table = _builtin_table()
    name = table["card_of_capability"].get(
        f"{capability[0]}.{capability[1]}", table["reference_card"]
    )
    card = table["cards"][name]
    values = {key: entry["value"] for key, entry in table["constants"].items()}
    values |= {key: value for key, value in card.items() if key in values}
    values["l2_bytes"] = card["l2_bytes"] / card["sm_count"]
    bytes_per_cycle = card["dram_bytes_per_second"] / card["clock_hz"] / card["sm_count"]
    traffic = WAVEFRONT_BYTES * table["dram_traffic_factor"]["value"]
    values["dram_cycles"] = traffic / bytes_per_cycle
    return Constants.from_dict(values), name, card["source"]


@cache
def _builtin_table() -> dict[str, Any]:
    text = resources.files("cubie_planner.gpu").joinpath("cost.json").read_text()
    return json.loads(text)
