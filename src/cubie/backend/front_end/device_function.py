"""What compiled component code calls: functions compiled into the kernel, and code for LLVM."""

from __future__ import annotations

import enum
from collections.abc import Callable


class Unrolled(enum.Enum):
    """Whether loops of a function are unrolled in full, where it is known how far they go."""

    NEVER = enum.auto()
    IN_OWN_MEMORY = enum.auto()  # where all that they index is of the run alone, and not shared
    ALWAYS = enum.auto()


class DeviceFunction:
    """A plain function that compiled code may call.

    Attributes
    ----------
    faithful : frozenset of str or None
        The fast-math flags it is compiled with, where fast-math is on at all; None: the kernel's.
    apart : bool
        It is inlined nowhere.
    in_given_order : bool
        Instructions of the kernel that calls it are assembled in the order that they come in.
    first_round : bool
        The first round of its largest loop is code of its own.
    unrolled : Unrolled
    iterated : bool
        Its outermost loops are iterations, of which a few rounds are usual and many may be: they
        are not unrolled.
    """

    def __init__(
        self,
        function: Callable,
        inline: bool,
        faithful: frozenset | None = None,
        apart: bool = False,
        in_given_order: bool = False,
        first_round: bool = False,
        unrolled: Unrolled = Unrolled.NEVER,
        iterated: bool = False,
    ):
        self.function = function
        self.inline = inline
        self.faithful = faithful
        self.apart = apart
        self.in_given_order = in_given_order
        self.first_round = first_round
        self.unrolled = unrolled
        self.iterated = iterated

    @property
    def identity(self) -> tuple:
        """What it is: equal for those that are one function in compiled code."""
        how = self.inline, self.faithful, self.apart, self.in_given_order, self.first_round
        return self.function, *how, self.unrolled, self.iterated

    def __call__(self, *args):
        raise TypeError(f"{self.function.__name__} can only be called from compiled code")


class Intrinsic:
    """Code for LLVM that compiled code may call.

    Attributes
    ----------
    definition : callable
        ``definition(typing context, *argument types)`` returns numba's signature and
        ``emit(context, builder, signature, values)``, or None for types that it is not for.
    """

    def __init__(self, definition: Callable):
        self.definition = definition
        self.__name__ = definition.__name__

    def __call__(self, *args):
        raise TypeError(f"{self.__name__} can only be called from compiled code")
