"""The first round of a loop as code of its own: what it starts from is known there."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from numba.core import analysis, ir


def first_round_apart(blocks: dict[int, Any]) -> dict[int, Any]:
    """Return numba's blocks with those of the largest loop twice: once for the first round.

    Blocks are numbered anew; those of the first round come before the others of the loop.
    """
    loops = analysis.compute_cfg_from_blocks(blocks).loops().values()
    loop = max(loops, key=lambda each: len(each.body))
    names: list[tuple[int, bool]] = []  # of old blocks, and whether it is that of the first round
    for label in sorted(blocks):
        if label == loop.header:
            names += [(each, True) for each in sorted(loop.body)]
        names.append((label, False))
    numbers = {name: number for number, name in enumerate(names)}

    def behind(label: int, first: bool) -> Callable[[int], int]:
        def number(target: int) -> int:
            enters = label not in loop.body and target == loop.header
            stays = first and target in loop.body and target != loop.header
            return numbers[target, enters or stays]

        return number

    return {
        numbers[label, first]: _copied(blocks[label], behind(label, first))
        for label, first in names
    }


def _copied(block, number: Callable[[int], int]):
    """Return a block of statements of its own, which goes on to blocks of other numbers."""
    made = ir.Block(block.scope, block.loc)
    made.body = [_statement(statement) for statement in block.body[:-1]]
    end = copy.copy(block.body[-1])
    if isinstance(end, ir.Jump):
        end.target = number(end.target)
    elif isinstance(end, ir.Branch):
        end.truebr, end.falsebr = number(end.truebr), number(end.falsebr)
    made.body.append(end)
    return made


def _statement(statement):
    made = copy.copy(statement)
    if isinstance(made, ir.Assign) and isinstance(made.value, ir.Expr):
        value = made.value
        made.value = ir.Expr(op=value.op, loc=value.loc, **value._kws)
    return made
