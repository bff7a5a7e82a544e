"""What a kernel executes on its usual way, counted from its machine code.

>>> code = MachineCode.of(cubin)            # doctest: +SKIP
>>> code.executed().total                   # doctest: +SKIP
153
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from attrs import field, frozen

from cubie_planner.assembler.blocks import Block, Flow
from cubie_planner.assembler.calls import Functions, Place
from cubie_planner.assembler.classes import (
    Kind,
    is_arithmetic,
    is_off_the_path,
    is_store,
    kind_of,
)
from cubie_planner.assembler.disassembly import UnreadableCode, disassemble
from cubie_planner.assembler.executed import Executed
from cubie_planner.assembler.instructions import Code, Instruction, read_code
from cubie_planner.assembler.loops import Loop
from cubie_planner.assembler.routes import AssumedTrips, Weight
from cubie_planner.assembler.sources import Marks
from cubie_planner.assembler.tables import NO_TABLES, Tables
from cubie_planner.assembler.trips import Trips, counters_of
from cubie_planner.assembler.ways import Ways, weigher


@frozen(eq=False)
class MachineCode:
    """The machine code of a kernel and of the functions that it calls.

    Attributes
    ----------
    codes : mapping of str to Code
        By name.
    kernel : Code
    tables : Tables
        Data that stand beside the code.
    """

    codes: Mapping[str, Code] = field(repr=False)
    kernel: Code = field(repr=False)
    tables: Tables = field(default=NO_TABLES, repr=False)

    @classmethod
    def of(cls, cubin: bytes, kernel: str | None = None) -> MachineCode:
        """Read a cubin.

        Parameters
        ----------
        cubin : bytes
        kernel : str, optional
            Name of the kernel, or a part of it; the longest kernel where none is given. What is
            called, and not launched, is none, however long it is.

        Raises
        ------
        NoDisassembler
            Where `nvdisasm` is not installed; the message says how to get it.
        UnreadableCode
        """
        return cls.of_text(disassemble(cubin), kernel)

    @classmethod
    def of_text(cls, text: str, kernel: str | None = None) -> MachineCode:
        """Read what the disassembler wrote; see `of`."""
        codes = read_code(text)
        kernels = {name: code for name, code in codes.items() if code.is_entry}
        named = [code for name, code in kernels.items() if kernel is None or kernel in name]
        if not named:
            asked = "" if kernel is None else f" {kernel!r}"
            raise UnreadableCode(
                f"There is no kernel{asked} in the code; there are "
                f"{', '.join(kernels) or 'none, but ' + ', '.join(codes)}.",
                str(kernel),
            )
        longest = max(named, key=lambda code: len(code.instructions))
        return cls(codes, longest, Tables.of_text(text))

    @cached_property
    def functions(self) -> Functions:
        return Functions.of(self.codes, self.kernel, self.tables)

    @property
    def flow(self) -> Flow:
        """Blocks of the kernel itself."""
        return self.functions[self.kernel.name].flow

    @property
    def loops(self) -> dict[int, Loop]:
        """Loops of the kernel itself by the block that they begin with, inner ones first."""
        return self.functions[self.kernel.name].loops

    @property
    def trips(self) -> dict[int, Trips]:
        return self.functions[self.kernel.name].trips

    def main_loop(self, marks: Marks | None = None) -> Place | None:
        """Return the loop that does the work; None where there is no loop.

        With `marks` it is the smallest loop that holds most of the instructions that came from
        there (and not from what was inlined there, unless nothing else is left); of several one
        whose rounds depend on data, since those that count to a number that is known are inner
        loops of the work, however much of it was unrolled into a round. Without them it is
        the outermost loop with the most arithmetic whose trips depend on data; and where every
        round of that stores to global memory, the one in it, since it is then a loop over results.
        A loop holds what is done in the functions that it calls, and may lie in one of them.

        Raises
        ------
        UnreadableCode
            Where no loop holds anything that came from there.
        """
        if marks is None:
            return self._heaviest(None)
        held = self._held(marks)
        most = max(held.values(), default=0)
        enough = [place for place, count in held.items() if count and 2 * count > most]
        enough = [place for place in enough if self._is_open_ended(place)] or enough
        if not enough:
            raise UnreadableCode(
                f"No loop of {self.kernel.name!r} holds instructions from "
                f"{' or '.join(marks.patterns)}: its work cannot be told from the rest.",
                self.kernel.name,
            )
        return min(enough, key=lambda place: len(self.functions.blocks(place)))

    def holds(self, marks: Marks) -> bool:
        """Tell whether a loop holds instructions that came from marked source code."""
        return any(self._held(marks).values())

    def counted_loop(self, marks: Marks) -> tuple[Place, int] | None:
        """Return the loop whose rounds marked source code counts, and how many it counts in one.

        That is how often the work of the source is unrolled into a round. Of several loops (what
        an unrolled one leaves over is done in another) the one that does most in a round. None
        where no counter is marked, or how far it goes in a round is not the same on all ways.
        """
        found = []
        for number, place in enumerate(self.functions.places):
            steps = self._counted_in_a_round(place, marks.hold_innermost)
            if steps is not None:
                found.append((steps, self._arithmetic(place), -number, place))
        if not found:
            return None
        steps, _, _, place = max(found)
        return place, steps

    def counted_in_a_round(self, place: Place) -> int | None:
        """Return how far the one counter goes on, in a round, that a loop's exits depend on.

        Where the source counts by one, that is how often its work was unrolled. None where there
        is no such counter, or more than one.
        """
        return self._counted_in_a_round(place, lambda instruction: True)

    def _counted_in_a_round(
        self, place: Place, counts: Callable[[Instruction], bool]
    ) -> int | None:
        function = self.functions[place.function]
        loop = function.loops[place.head]
        if not any(map(counts, _instructions(function.flow.blocks[n] for n in loop.blocks))):
            return None
        for in_memory in (False, True):
            found = counters_of(
                function.flow, loop, function.loops, function.overwritten, in_memory
            )
            gains = {abs(gain) for instruction, gain in found.items() if counts(instruction)}
            if gains:
                return gains.pop() if len(gains) == 1 else None
        return None

    def _held(self, marks: Marks) -> dict[Place, int]:
        """Return how many marked instructions each loop holds."""
        for is_held in (marks.hold_innermost, marks.hold):
            held = {place: self._count(place, is_held) for place in self.functions.places}
            if any(held.values()):
                return held
        return {}

    def _count(self, place: Place, is_held: Callable[[Instruction], bool]) -> int:
        return sum(map(is_held, _instructions(self.functions.blocks(place))))

    def _arithmetic(self, place: Place) -> int:
        return self._count(place, is_arithmetic)

    def _heaviest(self, around: Place | None) -> Place | None:
        """Return the loop with the most arithmetic directly inside another one."""
        inside = self.functions.inside(around)
        open_ended = [place for place in inside if self._is_open_ended(place)] or inside
        if not open_ended:
            return None
        place = max(open_ended, key=self._arithmetic)
        inner = self._heaviest(place)
        if inner is None or not self._is_open_ended(inner):
            return place
        return inner if self._stores_every_round(place, inner) else place

    def _is_open_ended(self, place: Place) -> bool:
        return self.functions.is_open_ended(place)

    def _stores_every_round(self, place: Place, inner: Place) -> bool:
        """Tell whether the way of the fewest stores round a loop stores to global memory."""
        own = {id(block) for block in self.functions.blocks(inner)}

        def weight(label: str, number: int) -> Weight:
            block = self.functions[label].flow.blocks[number]
            stores = 0 if id(block) in own else sum(map(_always_stores, block.instructions))
            return stores, 0, 0

        return Ways(self.functions, weight, 1).around(place).weight[0] > 0

    def executed(
        self,
        through: Marks | None = None,
        aside: Marks | None = None,
        *,
        loop: Marks | Place | None = None,
        assumed_trips: AssumedTrips = 1,
    ) -> Executed:
        """Count what one round of the main loop executes on the usual way.

        Parameters
        ----------
        through : Marks, optional
            Source code that the way leads through, where it has the choice. Without it: through
            as much arithmetic as there is.
        aside : Marks, optional
            Source code that the way avoids, also inside of `through`. Without it: stores to
            global memory. Calls of the compiler's own functions for slow cases (a denominator
            that is subnormal, say) are avoided always.
        loop : Marks or Place, optional
            Source code that the main loop holds, see `main_loop`; or that loop.
        assumed_trips : int, or callable
            How often the head of a loop is passed whose trips depend on data; or
            ``assumed_trips(flow, head)``, which tells it of each loop of the function with that
            control flow.

        Returns
        -------
        Executed
            Of the whole kernel, where it has no loop.

        Raises
        ------
        UnreadableCode
            Where no loop holds the source code, or the way cannot be told.
        """
        if through is None:
            wanted = is_arithmetic
        else:
            wanted = lambda i: through.hold(i) and not (aside and aside.hold(i))  # noqa: E731
        avoided = is_off_the_path if aside is None else aside.hold
        place = loop if isinstance(loop, Place) else self.main_loop(loop)
        weight_of = weigher(self.functions, wanted, avoided)
        found = Ways(self.functions, weight_of, assumed_trips).around(place)
        return Executed(found.blocks, found.repeated, found.may_end_sooner)


def _instructions(blocks: Iterable[Block]) -> Iterable[Instruction]:
    return (instruction for block in blocks for instruction in block.instructions)


def _always_stores(instruction: Instruction) -> bool:
    to_memory = is_store(instruction) and kind_of(instruction) in (Kind.GLOBAL, Kind.GENERIC)
    return to_memory and instruction.predicate is None
