"""Byte sizes as people write them."""

from __future__ import annotations

from cubie.errors import InvalidOption
from cubie.reals import as_int
from cubie_planner.declarations.byte_counts import bytes_of_text


def parse_size(option: str, given: int | str | None) -> int | None:
    """Return bytes from ``49152``, ``"48k"``, ``"99KiB"``, or the limit of ``"sm_90"``, ``"H100"``.

    Raises
    ------
    InvalidOption
        For anything else, naming the option.
    """
    if given is None:
        return None
    given = as_int(given)
    if isinstance(given, bool) or not isinstance(given, (int, str)):
        raise InvalidOption(option, given, advice=_ADVICE)
    if isinstance(given, int):
        size = given
    elif given.lower().startswith("sm_"):
        from cubie_planner.gpu.device import Device

        return Device.parse(given).shared_per_block_optin
    elif (limit := _limit_of_card(given)) is not None:
        return limit
    else:
        size = bytes_of_text(given)
        if size is None:
            raise InvalidOption(option, given, advice=_ADVICE)
    if size < 0:
        raise InvalidOption(option, given, advice="It must not be negative.")
    return size


def _limit_of_card(name: str) -> int | None:
    """Return what a block may use on a card; None where none has that name."""
    from cubie_planner.gpu.cards import Target, card_named

    card = card_named(name)
    return None if card is None else Target.find(card.name).device.shared_per_block_optin


_ADVICE = 'Give bytes (49152), a size with a unit ("48k", "99KiB"), or a device ("sm_90", "H100").'
