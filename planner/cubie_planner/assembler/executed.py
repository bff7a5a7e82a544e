"""What is executed on a way: its instructions, by class, and the bytes that they move."""

from __future__ import annotations

from collections import Counter
from functools import cached_property

from attrs import field, frozen

from cubie_planner.assembler.blocks import Block
from cubie_planner.assembler.classes import Kind, bytes_moved, is_arithmetic, kind_of
from cubie_planner.assembler.instructions import Instruction
from cubie_planner.assembler.routes import Repeated


@frozen
class Executed:
    """What one thread executes on a route.

    Attributes
    ----------
    blocks : Counter of Block
        Blocks, with how often each is executed; those of called functions among them.
    repeated : tuple of Repeated
        Loops on the route whose trips are not known: they were assumed.
    may_end_sooner : bool
        Whether a counted loop on the route can also be left by a condition on data: the counts
        are then those of all its rounds.
    shares : int
        How many parts of the work, of which one is wanted, the route does: iterations that were
        unrolled into a round. Instructions are those of one; blocks are those of the route.
    """

    blocks: Counter[Block] = field(repr=False)
    repeated: tuple[Repeated, ...] = ()
    may_end_sooner: bool = False
    shares: int = 1

    @cached_property
    def instructions(self) -> dict[Instruction, float]:
        """Each instruction with how often it is executed; predicated ones always count."""
        found: Counter[Instruction] = Counter()
        for block, times in self.blocks.items():
            for instruction in block.instructions:
                if instruction.opcode != "NOP":
                    found[instruction] += times
        return {instruction: self._share(times) for instruction, times in found.items()}

    def _share(self, times: int) -> float:
        """Return a number of the route as one of a part; whole where it can be."""
        return times / self.shares if times % self.shares else times // self.shares

    @property
    def total(self) -> float:
        return _whole(sum(self.instructions.values()))

    @cached_property
    def kinds(self) -> dict[Kind, float]:
        """Executed instructions by class; classes without any are left out."""
        found: dict[Kind, float] = dict.fromkeys(Kind, 0)
        for instruction, times in self.instructions.items():
            found[kind_of(instruction)] += times
        return {kind: _whole(count) for kind, count in found.items() if count}

    @cached_property
    def arithmetic(self) -> float:
        """Executed additions, products and functions of floating-point numbers."""
        instructions = self.instructions.items()
        return _whole(sum(times for one, times in instructions if is_arithmetic(one)))

    def bytes_of(self, kind: Kind) -> float:
        """Return the bytes that are loaded and stored by instructions of a class."""
        return _whole(
            sum(
                bytes_moved(instruction) * times
                for instruction, times in self.instructions.items()
                if kind_of(instruction) is kind
            )
        )


def _whole(number: float) -> float:
    """Return a number as an integer where it is one."""
    return int(number) if number == int(number) else number
