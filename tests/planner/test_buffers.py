"""Declarations: what is accepted, and what a mistake is answered with."""

import numpy as np
import pytest

from cubie_planner import Alias, Buffer, BufferError, Location


def test_location_typo_names_nearest_word():
    """A misspelt location is answered with the nearest valid word."""
    with pytest.raises(ValueError, match=r"'sharde' is unknown \(did you mean 'shared'\?\)"):
        Location.parse("sharde")


def test_size_counts_elements_of_the_dtype():
    """The bytes of a buffer follow from its elements, dtype and whether it is enabled."""
    assert Buffer("a", 3, np.float64).size_bytes == 24
    assert Buffer("a", np.int64(3), "i4").size_bytes == 12
    assert Buffer("a", 0, "f4").size_bytes == 0
    assert Buffer("a", 3, "f4", enabled=False).size_bytes == 0


def test_alignment_defaults_to_item_size():
    """Without an alignment a buffer is aligned to its items."""
    assert Buffer("a", 1, "c16").alignment == 16
    assert Buffer("a", 1, "f4", alignment=64).alignment == 64


def test_local_means_persistent_where_plain_local_is_not_allowed():
    """Asking for local resolves to local_persistent for a buffer that must survive calls."""
    cache = Buffer("cache", 4, "f4", locations=("shared", "local_persistent"))
    assert cache.resolve("local") is Location.LOCAL_PERSISTENT
    with pytest.raises(BufferError, match="may not be shared; allowed: local"):
        Buffer("x", 4, "f4", locations="local").resolve("shared")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_elements": -1}, "n_elements must be an integer >= 0, got -1"),
        ({"n_elements": 2.5}, "n_elements must be an integer >= 0, got 2.5"),
        ({"n_elements": True}, "n_elements must be an integer"),
        ({"n_elements": 2**62}, "exceed the largest buffer"),
        ({"dtype": "flaot32"}, "dtype flaot32 is not a number"),
        ({"dtype": object}, "is not a number or bool of fixed size"),
        ({"dtype": np.longdouble}, "is known to no GPU; give float64"),
        ({"dtype": "G"}, "is known to no GPU; give complex128"),
        ({"dtype": np.dtype("f4").newbyteorder()}, "byte order of other machines; give "),
        ({"alignment": 12}, "alignment must be a power of two"),
        ({"alignment": 0}, "alignment must be a power of two"),
        ({"alignment": 8192}, "alignment must be a power of two"),
        ({"lifetime": ()}, "lifetime must be a non-empty sequence"),
        ({"lifetime": 3}, "lifetime must be a non-empty sequence"),
        ({"lifetime": ((3, 3),)}, r"lifetime \(3, 3\) is empty"),
        ({"lifetime": ((5, 2),)}, r"lifetime \(5, 2\) is empty"),
        ({"lifetime": ((0, 4), (3, 6))}, "overlaps or precedes the range before it"),
        ({"lifetime": ((4, 6), (0, 2))}, "overlaps or precedes the range before it"),
        ({"lifetime": ((0, 2**40),)}, r"must be integers within 2\*\*31"),
        ({"lifetime": ((0.5, 2),)}, r"must be integers within 2\*\*31"),
        ({"lifetime": ((0, 1),), "persistent": True}, "is persistent"),
        ({"enabled": "no"}, "enabled must be True or False, got 'no'"),
        ({"persistent": 1}, "persistent must be True or False, got 1"),
        ({"alias_required": None}, "alias_required must be True or False, got None"),
        ({"locations": ()}, "locations is empty"),
        ({"locations": "local", "pin": "shared"}, "is pinned to shared, but may only be local"),
        ({"offset": 8}, "offset 8 needs a pin to shared, local_persistent or global"),
        ({"offset": 8, "pin": "local"}, "a local array has no offset"),
        ({"offset": 6, "pin": "shared"}, "offset 6 is not a multiple of its alignment 4"),
        ({"offset": -4, "pin": "shared"}, "offset must be a byte count >= 0"),
        ({"aliases": "x"}, "cannot be an alias of itself"),
        ({"aliases": ["p", "p"]}, "names the alias parent `p` more than once"),
        ({"alias_required": True}, "alias_required needs at least one candidate"),
        ({"access_weight": float("nan")}, "access_weight must be a finite number >= 0"),
        ({"access_weight": -1}, "access_weight must be a finite number >= 0"),
    ],
)
def test_bad_declaration_is_refused(options, message):
    """Every impossible declaration raises an error that names the buffer and the reason."""
    fields = {"n_elements": 4, "dtype": "f4", **options}
    with pytest.raises(BufferError, match=message) as error:
        Buffer("x", **fields)
    assert error.value.buffer == "x"
    assert "buffer `x`" in str(error.value)


def test_bad_alias_is_refused():
    """An alias needs a parent's name and a sub-offset that is a byte count."""
    with pytest.raises(ValueError, match="alias parent must be a buffer's name"):
        Alias("")
    with pytest.raises(ValueError, match=r"alias offset inside `p` must be a byte count >= 0"):
        Alias("p", -4)
    with pytest.raises(ValueError, match="across_frames must be True or False"):
        Alias("p", 0, "yes")
    with pytest.raises(BufferError, match="what another function allocates is out of reach"):
        Buffer("v", 1, "f4", aliases=[Alias("p", 0, across_frames=True)], alias_required=True)


def test_buffers_are_values():
    """Equal declarations are equal and hash alike; nothing can be changed afterwards."""
    first, second = Buffer("a", 3, "f4", aliases="p"), Buffer("a", 3, np.float32, aliases=["p"])
    assert first == second
    assert hash(first) == hash(second)
    with pytest.raises(AttributeError):
        first.n_elements = 5
