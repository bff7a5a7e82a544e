"""Target ``cuda``: one thread a run, through numba-cuda."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numba.core import types

from cubie.backend.base import RunMemory
from cubie.backend.compiled import CompiledBackend, emit_moved, typed_pointer
from cubie.backend.cuda import approximations, slices, warps
from cubie.backend.cuda.foreign import CUDAForeignTarget
from cubie.backend.cuda.kernel import CUDAKernel
from cubie.backend.cuda.loops import register_range
from cubie.backend.cuda.resources import compiler_versions
from cubie.backend.cuda.types import register_types
from cubie.backend.device.driver import DeviceFacts
from cubie.backend.device.global_memory import MOST_PLANNED_BYTES, WARP, require_global_memory
from cubie.backend.device.workspace import Workspaces, shared_workspaces
from cubie.backend.foreign import ForeignTarget
from cubie.backend.form_costs import OF_THREADS
from cubie.backend.front_end.device_function import DeviceFunction, Intrinsic, Unrolled
from cubie.backend.lanes import instructions as codegen
from cubie.backend.lanes.types import GLOBAL, SHARED, Buf, Lanes
from cubie.backend.machine import cuda_is_available
from cubie.backend.register_limits import NO_LIMITS, RegisterLimits
from cubie.errors import NoDevice
from cubie_planner.gpu.cards import Target, card_named
from cubie_planner.gpu.device import Device

# Products of the step with weights that are kept for all elements of a sum. With more of them
# there are fewer instructions, and registers run out: Tsit5 of 20, 40 states and fixed steps takes
# 803, 1819 instructions and 212, 255 registers with up to six; 843, 1683 and 168, 255 with three;
# 903, 1803 and 167, 255 with none. Of more elements than these the stack grows for any: from 1000
# to 1352 bytes with 60 states.
MOST_PRODUCTS, MOST_ELEMENTS = 3, 40

# What loops over stages index that are unrolled in full: derivatives, sums, state and argument.
# NVVM leaves the longest of them a loop from 60 states on, and with one all that it indexes lies
# in the stack. Unrolled, Tsit5 with 60, 80, 100 states has 1048, 1696, 2616 bytes of stack instead
# of 1760, 3248, 4016, and executes 4, 9, 16 % more instructions.
# Of what loops add up there must not be too much, either: DOP853 with 50 states (13,400 bytes)
# costs 529 cycles instead of 899, with 60 (16,080) 2237 instead of 1356.
MOST_UNROLLED_BYTES, MOST_ADDED_BYTES = 2800, 14_000

# The same where some of it is shared: what a loop has written the next ones need not load where the
# registers of a thread (1020 bytes) hold all of it. With 20 states in shared memory Tsit5 executes
# 1355 instructions instead of 1731. With 960 bytes RK4 begins to spill, as Tsit5 does with 1120.
MOST_HELD_BYTES = 900


def _first_argument(context, builder, signature, args):
    return args[0]


def _second_argument(context, builder, signature, args):
    return args[1]


class CUDABackend(CompiledBackend):
    """Compile with numba-cuda; every thread is one run.

    With `lines` the machine code tells the source line of each instruction. Compiling then
    takes about a third longer; the instructions are the same.
    """

    name = "cuda"
    has_own_memory = True
    shared_addrspace = SHARED
    # Not that of constants, which ends at 64 KiB: threads of a warp read the same element.
    table_addrspace = GLOBAL
    global_addrspace = GLOBAL
    runs_go_unjudged = True
    asks_assembler = True
    form_costs = OF_THREADS

    def __init__(
        self,
        dtype,
        fastmath: bool,
        device: Target | None = None,
        refill: bool = False,
        lines: bool = False,
        sliced: bool | None = None,
    ):
        super().__init__(dtype, fastmath)
        self._named, self.refill, self.lines = device, refill, lines
        register_types()
        register_range()
        if sliced is None:
            facts = self.device_facts if self.is_there and not refill else None
            sliced = facts is not None and facts.has_watchdog
        self.sliced = sliced

    @property
    def key(self) -> tuple:
        more = [name for name in ("refill", "lines", "sliced") if getattr(self, name)]
        return (*super().key, *more)

    def with_lines(self, lines: bool) -> CUDABackend:
        """Return the same target, whose machine code tells source lines, or does not."""
        given = self.dtype, self.fastmath, self._named, self.refill
        return CUDABackend(*given, lines, self.sliced)

    @property
    def compilers(self) -> tuple[str, ...]:
        return compiler_versions()

    @property
    def device_facts(self) -> DeviceFacts | None:
        """What the GPU is that is there; None without one."""
        if not cuda_is_available():
            return None
        from cubie.backend.cuda.driver import device_number, facts_of

        return facts_of(device_number())

    @property
    def _target(self) -> Target | None:
        """The GPU that is planned for: the one named, or the one that is there."""
        if self._named is not None:
            return self._named
        facts = self.device_facts
        if facts is None:
            return None
        card = card_named(facts.name)
        known = card if card is not None and card.capability == facts.capability else None
        return Target(Device.for_capability(facts.capability), known)

    @property
    def compute_capability(self) -> tuple[int, int] | None:
        """Of the device named, or the one that is there; None where there is neither."""
        target = self._target
        return None if target is None else target.device.capability

    @property
    def card(self) -> str | None:
        return None if self._target is None else self._target.card_name

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self._target is None else self._target.notes

    @property
    def max_shared_bytes(self) -> int | None:
        """Shared memory a block may ask for there; None without a device."""
        if self._named is not None:
            return self._named.device.shared_per_block_optin
        facts = self.device_facts
        return None if facts is None else facts.max_shared_bytes

    @property
    def lanes_of_global(self) -> int:
        return WARP

    @property
    def most_local_bytes(self) -> int:
        return MOST_PLANNED_BYTES

    def require_room(self, memory: RunMemory) -> None:
        facts = self.device_facts if self.is_there else None
        if facts is not None:
            require_global_memory(memory, facts)

    @staticmethod
    def _in_global(builder, where, offset_bytes: int, buf: Buf):
        warp, lane = builder.extract_value(where, 0), builder.extract_value(where, 1)
        return builder.gep(typed_pointer(builder, warp, offset_bytes, buf), [lane], inbounds=True)

    @property
    def runs_at_once(self) -> int:
        facts = self.device_facts
        return facts.multiprocessors * facts.threads_per_multiprocessor if facts else 1

    @property
    def is_there(self) -> bool:
        """Whether the device that kernels are planned for can be launched on."""
        facts = self.device_facts
        if facts is None or self._named is None:
            return facts is not None
        return facts.capability == self._named.device.capability

    def workspaces(self) -> Workspaces:
        """Return the workspaces of the device that kernels are launched on.

        Raises
        ------
        NoDevice
            If it is not there.
        """
        self.require_device()
        from cubie.backend.cuda.driver import CUDADriver, device_number

        number = device_number()
        return shared_workspaces(("cuda", number), lambda: CUDADriver(number))

    def require_device(self) -> None:
        """Refuse to solve where there is no GPU, or not the one that was named.

        Raises
        ------
        NoDevice
        """
        if not self.is_there:
            raise NoDevice(self._what_is_there())

    def _what_is_there(self) -> str:
        facts = self.device_facts
        looked_at = (
            "Planned and compiled for it can be here: `Solver(..., device=...)`, then `prepare`, "
            "`plan`, `explain` and `resources`."
        )
        if facts is None:
            told = "needs an NVIDIA GPU and its driver, and none was found"
            if self._named is not None:
                return (
                    f"A solve on device={self._named.name!r} {told}. {looked_at} To solve, leave "
                    "`device` out, or use NUMBA_ENABLE_CUDASIM=1 to simulate it."
                )
            return (
                f"backend='cuda' {told}. Use backend='cpu' (or 'auto'), or NUMBA_ENABLE_CUDASIM=1 "
                "to simulate one; `kernel.resources(cc)` compiles without a GPU."
            )
        assert self._named is not None
        there = "{} (sm_{}{})".format(facts.name, *facts.capability)
        return (
            f"A solve on device={self._named.name!r} needs that GPU, and here is {there}. "
            f"{looked_at} To solve, leave `device` out."
        )

    @property
    def _intrinsic(self) -> Callable:
        return Intrinsic

    def device(self, function: Callable, inline: bool = True) -> Callable:
        return DeviceFunction(function, inline=False)  # NVVM decides what is inlined

    def one_copy(
        self, function: Callable, in_memory: bool = False, iterated: bool = False
    ) -> Callable:
        # A call has addresses as arguments: what registers could hold would lie in memory for it.
        return DeviceFunction(function, inline=False, apart=in_memory, iterated=iterated)

    def iterated(self, function: Callable, inline: bool = True) -> Callable:
        return DeviceFunction(function, inline=False, iterated=True)

    def first_round_apart(self, function: Callable) -> Callable:
        return self.iterated(function)

    def unrolled(self, function: Callable, n_numbers: int, n_terms: int) -> Callable:
        size, added = (count * self.dtype.itemsize for count in (n_numbers, n_terms))
        few = size <= MOST_UNROLLED_BYTES and added <= MOST_ADDED_BYTES
        unrolled = Unrolled.IN_OWN_MEMORY if few else Unrolled.NEVER
        if size <= MOST_HELD_BYTES:
            unrolled = Unrolled.ALWAYS
        return DeviceFunction(function, inline=False, unrolled=unrolled)

    def moved_along(self, terms: Sequence[tuple[int, float]], n: int) -> Callable | None:
        terms = tuple(terms)
        few = 0 < len(terms) <= MOST_PRODUCTS and len(terms) < n <= MOST_ELEMENTS
        # A sum that begins with what has no weight is no product more than its terms.
        spared = len(terms) > 1 and any(weight == 1.0 for _, weight in terms)
        if not (self.fastmath and few) or spared:
            return None

        def moved(typingctx, base, h, buf, i):
            def lower(context, builder, signature, args):
                start = codegen.load(builder, base, args[0], args[3])
                return emit_moved(builder, buf, args[2], args[3], args[1], terms, start)

            return buf.element(base, buf.element, buf, types.intp), lower

        return Intrinsic(moved)

    def hardware_log2(self) -> Callable | None:
        return approximations.log2_intrinsic() if self.fastmath else None

    def hardware_exp2(self) -> Callable | None:
        return approximations.exp2_intrinsic() if self.fastmath else None

    def worked_out_here(self) -> Callable:
        if self.refill:
            return Intrinsic(warps.worked_out_here)
        return Intrinsic(warps.run_worked_out_here)

    def queue_of(self) -> Callable:
        """Return ``queue_of(run)``: what a thread is handed as its queue, beginning with a run."""
        if self.refill:
            return Intrinsic(warps.queue_of)

        def itself(typingctx, run):
            return types.int64(types.int64), _first_argument

        return Intrinsic(itself)

    def first_runs(self) -> Callable:
        if self.refill:
            return Intrinsic(warps.first_run)
        if self.sliced:
            return self._of_slice()

        def first(typingctx, queue):
            return Lanes(types.int64, 1)(types.int64), _first_argument

        return Intrinsic(first)

    def more_runs(self) -> Callable:
        if self.refill:
            return Intrinsic(warps.one_grid_further)

        def more(typingctx, queue, free, run, n_runs):
            lanes = Lanes(types.int64, 1)

            def lower(context, builder, signature, args):
                return args[3]  # a thread has one run: its queue is empty

            return lanes(queue, free, run, types.int64), lower

        return Intrinsic(more)

    def keep_going(self, together: bool = False) -> Callable:
        if self.refill:
            enough = 1 if together else warps.WORTH_REFILLING
            return Intrinsic(warps.keep_going_until(enough))
        if self.sliced:
            both: Any = Intrinsic(slices.both)

            def while_there_is_time(queue, active, beyond):
                return both(active, queue.left)

            return self.device(while_there_is_time)

        def going(typingctx, queue, active, beyond):
            return types.boolean(queue, active, beyond), _second_argument

        return Intrinsic(going)

    def spent(self) -> Callable:
        if not self.sliced:
            return super().spent()
        spend: Any = Intrinsic(slices.spend)

        def spent(queue, attempts):
            return spend(queue.left, attempts)

        return self.device(spent)

    def _of_slice(self) -> Callable:
        """Return `first_runs` of a launch that ends in the middle of runs."""
        as_run: Any = Intrinsic(slices.as_run)

        def the_run(queue):
            return as_run(queue.run)

        return self.device(the_run)

    @property
    def _foreign_target(self) -> ForeignTarget:
        return CUDAForeignTarget(self.fastmath)

    def kernel(
        self,
        make_loop: Callable[[], Callable],
        memory: RunMemory,
        digest: str,
        registers: RegisterLimits = NO_LIMITS,
    ) -> CUDAKernel:
        return CUDAKernel(self, make_loop, memory, digest, registers)
