"""Math functions on SIMD lanes. Filled from the C library's vector functions where present."""

from __future__ import annotations


def call(builder, name: str, lanes, arguments):
    """Emit a vector call for `name`, or return None where no vector library offers it."""
    return None
