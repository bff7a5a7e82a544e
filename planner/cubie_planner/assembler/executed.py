"""What a kernel executes on its usual way, counted from its machine code.

>>> code = MachineCode.of(cubin)            # doctest: +SKIP
>>> code.executed().total                   # doctest: +SKIP
153
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Set
from functools import cached_property

from attrs import field, frozen

from cubie_planner.assembler.blocks import Block, Flow, flow_of
from cubie_planner.assembler.cells import kinds_written
from cubie_planner.assembler.classes import (
    Kind,
    bytes_moved,
    is_arithmetic,
    is_off_the_path,
    is_store,
    kind_of,
)
from cubie_planner.assembler.disassembly import UnreadableCode, disassemble
from cubie_planner.assembler.instructions import Code, Instruction, read_code
from cubie_planner.assembler.loops import Loop, loops_of
from cubie_planner.assembler.registers import written
from cubie_planner.assembler.routes import Repeated, Route, Weight, route
from cubie_planner.assembler.slow_cases import slow_blocks
from cubie_planner.assembler.sources import Marks
from cubie_planner.assembler.trips import Trips, counters_of, trips_of


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


@frozen(eq=False)
class MachineCode:
    """The machine code of a kernel and of the functions that it calls.

    Attributes
    ----------
    codes : mapping of str to Code
        By name.
    kernel : Code
    """

    codes: Mapping[str, Code] = field(repr=False)
    kernel: Code = field(repr=False)

    @classmethod
    def of(cls, cubin: bytes, kernel: str | None = None) -> MachineCode:
        """Read a cubin.

        Parameters
        ----------
        cubin : bytes
        kernel : str, optional
            Name of the kernel, or a part of it; the longest function where none is given.

        Raises
        ------
        NoDisassembler
            Where `nvdisasm` is not installed; the message says how to get it.
        UnreadableCode
        """
        codes = read_code(disassemble(cubin))
        named = {name: code for name, code in codes.items() if kernel is None or kernel in name}
        if not named:
            raise UnreadableCode(
                f"There is no function {kernel!r} in the code; there are {', '.join(codes)}.",
                str(kernel),
            )
        return cls(codes, max(named.values(), key=lambda code: len(code.instructions)))

    @cached_property
    def flow(self) -> Flow:
        return flow_of(self.kernel)

    @cached_property
    def loops(self) -> dict[int, Loop]:
        """Loops of the kernel by the block that they begin with, inner ones first."""
        return loops_of(self.flow)

    @cached_property
    def trips(self) -> dict[int, Trips]:
        return trips_of(self.flow, self.loops, self._overwritten)

    @cached_property
    def called(self) -> dict[str, Flow]:
        """Functions that the kernel calls, and those that they call, by the label called."""
        found: dict[str, Flow] = {}
        waiting = [(self.kernel, self.flow)]
        while waiting:
            code, flow = waiting.pop()
            for label in {label for labels in flow.calls.values() for label in labels}:
                place = next((c for c in (code, *self.codes.values()) if label in c.labels), None)
                if place is not None and label not in found:
                    found[label] = flow_of(place, place.labels[label])
                    waiting.append((place, found[label]))
        return found

    @cached_property
    def _overwritten(self) -> dict[str, frozenset[str]]:
        every = {
            label: {
                register
                for block in flow.blocks.values()
                for instruction in block.instructions
                for register in (*written(instruction), *kinds_written(instruction))
            }
            for label, flow in self.called.items()
        }
        grown = True
        while grown:
            before = sum(map(len, every.values()))
            for label, flow in self.called.items():
                for others in flow.calls.values():
                    every[label].update(*(every.get(other, set()) for other in others))
            grown = sum(map(len, every.values())) > before
        return {label: frozenset(registers) for label, registers in every.items()}

    def main_loop(self, marks: Marks | None = None) -> int | None:
        """Return the head of the loop that does the work; None where there is no loop.

        With `marks` it is the smallest loop that holds most of the instructions that came from
        there (and not from what was inlined there, unless nothing else is left). Without them it is
        the outermost loop with the most arithmetic whose trips depend on data; and where every
        round of that stores to global memory, the one in it, since it is then a loop over results.
        """
        if marks is not None:
            held = self._held(marks)
            most = max(held.values(), default=0)
            enough = [head for head, count in held.items() if count and 2 * count > most]
            if enough:
                return min(enough, key=lambda head: len(self.loops[head].blocks))
        return self._heaviest(None)

    def holds(self, marks: Marks) -> bool:
        """Tell whether a loop holds instructions that came from marked source code."""
        return any(self._held(marks).values())

    def counted_loop(self, marks: Marks) -> tuple[int, int] | None:
        """Return the loop whose rounds marked source code counts, and how many it counts in one.

        That is how often the work of the source is unrolled into a round. Of several loops (what
        an unrolled one leaves over is done in another) the one that does most in a round. None
        where no counter is marked, or how far it goes in a round is not the same on all ways.
        """
        found = []
        for head, loop in self.loops.items():
            if self._count(loop, marks.hold_innermost):
                steps = self._counted_in_a_round(loop, marks.hold_innermost)
                if steps is not None:
                    found.append((steps, self._arithmetic(head), head))
        if not found:
            return None
        steps, _, head = max(found)
        return head, steps

    def counted_in_a_round(self, head: int) -> int | None:
        """Return how far the one counter goes on, in a round, that a loop's exits depend on.

        Where the source counts by one, that is how often its work was unrolled. None where there
        is no such counter, or more than one.
        """
        return self._counted_in_a_round(self.loops[head], lambda instruction: True)

    def _counted_in_a_round(self, loop: Loop, counts: Callable[[Instruction], bool]) -> int | None:
        for in_memory in (False, True):
            found = counters_of(self.flow, loop, self.loops, self._overwritten, in_memory)
            gains = {abs(gain) for instruction, gain in found.items() if counts(instruction)}
            if gains:
                return gains.pop() if len(gains) == 1 else None
        return None

    def _held(self, marks: Marks) -> dict[int, int]:
        """Return how many marked instructions each loop holds."""
        for is_held in (marks.hold_innermost, marks.hold):
            held = {head: self._count(loop, is_held) for head, loop in self.loops.items()}
            if any(held.values()):
                return held
        return {}

    def _count(self, loop: Loop, is_held: Callable[[Instruction], bool]) -> int:
        blocks = (self.flow.blocks[number] for number in loop.blocks)
        return sum(is_held(instruction) for block in blocks for instruction in block.instructions)

    def _heaviest(self, around: int | None) -> int | None:
        """Return the loop with the most arithmetic directly inside another one."""
        inside = [head for head, loop in self.loops.items() if loop.outer == around]
        open_ended = [head for head in inside if self.trips[head].count is None] or inside
        if not open_ended:
            return None
        head = max(open_ended, key=self._arithmetic)
        inner = self._heaviest(head)
        if inner is None or self.trips[inner].count is not None:
            return head
        return inner if self._stores_every_round(head, inner) else head

    def _arithmetic(self, head: int) -> int:
        blocks = (self.flow.blocks[number] for number in self.loops[head].blocks)
        return sum(is_arithmetic(i) for block in blocks for i in block.instructions)

    def _stores_every_round(self, head: int, inner: int) -> bool:
        """Tell whether the way of the fewest stores round a loop stores to global memory."""

        def weight(number: int) -> Weight:
            block = self.flow.blocks[number]
            return sum(map(_always_stores, block.instructions)), 0, 0

        found = route(self.flow, self.loops, self.trips, weight, head, 1)
        inside = self.loops[inner].blocks
        return any(
            _always_stores(instruction)
            for block in found.blocks
            if block.first not in inside
            for instruction in block.instructions
        )

    def executed(
        self,
        through: Marks | None = None,
        aside: Marks | None = None,
        *,
        loop: Marks | int | None = None,
        assumed_trips: int = 1,
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
        loop : Marks or int, optional
            Source code that the main loop holds, see `main_loop`; or the head of that loop.
        assumed_trips : int
            How often the head of a loop is passed whose trips depend on data.

        Returns
        -------
        Executed
            Of the whole kernel, where it has no loop.
        """
        if through is None:
            wanted = is_arithmetic
        else:
            wanted = lambda i: through.hold(i) and not (aside and aside.hold(i))  # noqa: E731
        avoided = is_off_the_path if aside is None else aside.hold
        head = loop if isinstance(loop, int) else self.main_loop(loop)

        def find(flow, loops, trips, around) -> Route:
            weight = _weights(flow, slow_blocks(flow, loops), wanted, avoided)
            return route(flow, loops, trips, weight, around, assumed_trips)

        found = find(self.flow, self.loops, self.trips, head)
        blocks = Counter(found.blocks)
        for label, times in self._calls(found.blocks).items():
            callee = self.called.get(label)
            if callee is None:
                raise UnreadableCode(
                    f"The usual way calls {label!r}, which the code does not hold.", label
                )
            loops = loops_of(callee)
            trips = trips_of(callee, loops, self._overwritten)
            for block, count in find(callee, loops, trips, None).blocks.items():
                blocks[block] += count * times
        return Executed(blocks, found.repeated, found.may_end_sooner)

    def _calls(self, blocks: Mapping[Block, int]) -> Counter[str]:
        found: Counter[str] = Counter()
        for block, times in blocks.items():
            for label in self.flow.calls[block.first]:
                found[label] += times
        return found


def _always_stores(instruction: Instruction) -> bool:
    to_memory = is_store(instruction) and kind_of(instruction) is Kind.GLOBAL
    return to_memory and instruction.predicate is None


def _weights(
    flow: Flow,
    slow: Set[int],
    wanted: Callable[[Instruction], bool],
    avoided: Callable[[Instruction], bool],
) -> Callable[[int], Weight]:
    found: dict[int, Weight] = {}

    def weight(number: int) -> Weight:
        if number not in found:
            block = flow.blocks[number]
            size = len(block.instructions)
            if number in slow:
                found[number] = (0, size, size)
            else:
                through = sum(map(wanted, block.instructions))
                found[number] = (-through, sum(map(avoided, block.instructions)), size)
        return found[number]

    return weight
