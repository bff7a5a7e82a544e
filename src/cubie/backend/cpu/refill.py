"""New runs in lanes whose runs are over: when a group takes them, and how."""

from __future__ import annotations

from llvmlite import ir

from cubie.backend.lanes import instructions as codegen

I64 = ir.IntType(64)
# What it costs to load new runs into a group's free lanes, in attempts of the whole group.
REFILL_ATTEMPTS = 3


def while_waiting_pays(builder, width: int, goes, active, beyond):
    """Emit whether a group goes on, or loads new runs into its free lanes first.

    Free lanes are waited for: with more of them a refill, which the whole group pays, is of more
    runs. The attempts that they miss are counted since the last one, and when they are as many as
    a refill costs it is time: whatever the order of runs, at most twice of what is least is then
    lost (as in renting skis), and least where lanes become free at random. Lanes that are free
    together, as those of neighbours in a sweep, are refilled together.
    """
    with builder.goto_entry_block():
        place = builder.alloca(I64)
        builder.store(I64(0), place)
    free = codegen.count_true(builder, builder.not_(active), width)
    missed = builder.add(builder.load(place), builder.zext(free, I64))
    few = builder.icmp_unsigned("<", missed, I64(REFILL_ATTEMPTS * width))
    # What stands beyond the last run stays free: there is nothing to load.
    empty = codegen.any_true(builder, beyond, width)
    goes = builder.and_(goes, builder.or_(few, empty))
    builder.store(builder.select(goes, missed, I64(0)), place)
    return goes


def take(builder, queue, n):
    """Take `n` consecutive numbers from a counter that several threads share."""
    pointer = builder.inttoptr(queue, I64.as_pointer())
    return builder.atomic_rmw("add", pointer, n, "monotonic")


def refill(builder, width: int, queue, free, run):
    """Give the free lanes the next run numbers, in the order of the lanes."""
    count = builder.zext(codegen.count_true(builder, free, width), I64)
    following = take(builder, queue, count)

    def scalar_of(lane):
        nonlocal following
        is_free = codegen.lane_of(builder, free, width, lane)
        number = builder.select(is_free, following, codegen.lane_of(builder, run, width, lane))
        following = builder.add(following, builder.zext(is_free, I64))
        return number

    return codegen.for_each_lane(builder, width, I64, scalar_of)
