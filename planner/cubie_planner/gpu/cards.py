"""Cards by name: what their data sheets say, and which of them someone means.

Figures come from `cards.json`, where each row names its source. A capability decides what a
kernel may use (`device`); a card, how fast its parts are.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from attrs import frozen

from cubie_planner.declarations.limits import Limits
from cubie_planner.gpu.device import Capability, Device, DeviceError


@frozen(kw_only=True)
class Card:
    """What is known of a card.

    Attributes
    ----------
    name : str
    capability : tuple of int
    sm_count : int
        Multiprocessors.
    clock_hz : float
        Boost clock.
    dram_bytes_per_second : float
    l2_bytes, memory_bytes : int
    fp32_per_clock, fp64_per_clock : int
        Additions, multiplications or fused ones a clock and multiprocessor.
    source : str
        Where the figures are documented.
    """

    name: str
    capability: Capability
    sm_count: int
    clock_hz: float
    dram_bytes_per_second: float
    l2_bytes: int
    memory_bytes: int
    fp32_per_clock: int
    fp64_per_clock: int
    source: str

    @property
    def fp64_rate(self) -> float:
        """Throughput of double over that of single precision."""
        return self.fp64_per_clock / self.fp32_per_clock


@frozen
class Target:
    """What a kernel is planned and compiled for: a capability, or a card that has it.

    Attributes
    ----------
    device : Device
    card : Card or None
        None where only a capability was named.
    """

    device: Device
    card: Card | None = None

    @property
    def name(self) -> str:
        """The card with its architecture, or that alone."""
        if self.card is None:
            return self.device.name
        return f"{self.card.name} ({self.device.name})"

    @property
    def card_name(self) -> str | None:
        """Name of the card, None where only a capability was named."""
        return None if self.card is None else self.card.name

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of it: that its limits are those of another one."""
        return (self.device.note,) if self.device.note else ()

    def limits(self, **options: Any) -> Limits:
        """Return what a block may use there at most, as limits of a problem.

        Parameters
        ----------
        **options
            Of `Limits`: those given stand in for the device's.

        Raises
        ------
        ProblemError
            When a given one is none.
        """
        own = {
            "max_shared_bytes": self.device.shared_per_block_optin,
            "compute_capability": self.device.capability,
            "card": self.card_name,
        }
        return Limits(**{**own, **options})

    @classmethod
    def find(cls, given: Any) -> Target:
        """The target that is meant by a card, an architecture or a pair of numbers.

        Parameters
        ----------
        given : str, (int, int) or Target
            Such as "H100", "rtx 4090", "sm_90", "9.0", (9, 0).

        Raises
        ------
        DeviceError
            For a name that nothing has; the message names the nearest.
        """
        if isinstance(given, Target):
            return given
        if isinstance(given, Device):
            return cls(given)
        if not isinstance(given, str):
            return cls(Device.for_capability(given))
        card = card_named(given)
        if card is not None:
            return cls(Device.for_capability(card.capability), card)
        if re.match(r"\s*(sm|compute|cc)?_?\d", given.lower()):
            return cls(Device.parse(given))
        names = list(known_cards())
        raise DeviceError(
            f"{given!r} is no card or architecture that is known{_hint(given)}. Name a card "
            f"({', '.join(names)}), or a compute capability like 'sm_90'.",
            given,
            tuple(names),
        )


def card_named(given: str) -> Card | None:
    """Return the card of a name, as people or drivers write it; None where none has it."""
    return _by_plain_name().get(_plain(given))


def _plain(name: str) -> str:
    """Return a name without case, spaces, signs and the words that go without saying."""
    letters = re.sub(r"[^a-z0-9]", "", name.lower())
    for word in _table()["makers_words"]:
        letters = letters.removeprefix(word)
    return letters


def _hint(given: str) -> str:
    """Return the nearest name, compared as they are compared when one is looked up."""
    plain = _by_plain_name()
    near = difflib.get_close_matches(_plain(given), list(plain), n=1, cutoff=0.5)
    return f" (did you mean {plain[near[0]].name!r}?)" if near else ""


@cache
def known_cards() -> Mapping[str, Card]:
    """All cards of the table by name, in its order: from the oldest capability on."""
    table = _table()
    cards = {}
    for row in table["cards"]:
        major, minor = row["capability"]
        fp32, fp64 = table["results_per_clock"][f"{major}.{minor}"]
        cards[row["name"]] = Card(
            name=row["name"],
            capability=(major, minor),
            sm_count=row["sm_count"],
            clock_hz=row["boost_mhz"] * 1e6,
            dram_bytes_per_second=row["dram_gb_per_second"] * 1e9,
            l2_bytes=row["l2_kib"] * 1024,
            memory_bytes=row["memory_gb"] * 10**9,
            fp32_per_clock=fp32,
            fp64_per_clock=fp64,
            source=table["sources"][row["source"]],
        )
    return cards


@cache
def _by_plain_name() -> Mapping[str, Card]:
    cards, found = known_cards(), {}
    for row in _table()["cards"]:
        for name in (row["name"], *row.get("aliases", ())):
            found[_plain(name)] = cards[row["name"]]
    return found


@cache
def _table() -> dict[str, Any]:
    text = resources.files("cubie_planner.gpu").joinpath("cards.json").read_text()
    return json.loads(text)
