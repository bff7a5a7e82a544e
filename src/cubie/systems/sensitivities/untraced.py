"""Sensitivities of equations that cannot be traced: by the user's derivatives, or by differences.

The function is called at states, and parameters, that are moved along a sensitivity, forth and
back, in double precision: half the difference of both is the right-hand side of that sensitivity,
to the square of the step, and to rounding over the step. Where it bends more than a central
difference takes for straight, measured in what it changes by where all it is given changes a little
for itself, the step is made shorter; where it jumps or has a kink, the side is
taken that changes less: that of the branch at which it is.

What a user's `jac` and `jac_p` say, where these can be traced, is taken from there.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence

from attrs import evolve

from cubie.backend import package_digest
from cubie.systems.mass import digest_with_mass
from cubie.systems.sensitivities.given import given_rates
from cubie.systems.store import Store, digest_of_text
from cubie.systems.system import Input, Joint, System

# Of a parameter, or a state: for central differences of double precision (Dennis & Schnabel,
# Numerical Methods for Unconstrained Optimization, 5.4: the cube root of the unit of rounding).
STEP = (2.0**-52) ** (1 / 3)
# Of the largest state: what a state that is smaller may at least be moved by, times STEP. One that
# goes through zero tells nothing of its size there.
LEAST_SIZE = 0.01
# Second differences over first ones: with more, the step is made so much shorter that they are
# TARGET. The error of the first is the square of that.
MOST_BENT, TARGET, ATTEMPTS = 5e-4, 1e-4, 3
STEEP = 0.1  # with more than so much left, it is a jump or a kink
NOISE = 64 * 2.0**-52  # of second differences that are nothing but rounding

_CALL = re.compile(r"^        result = (fun\(.*\))$", re.MULTILINE)
_ENTRY = re.compile(r"^        dy\[at \+ \d+\] = result(.*)$", re.MULTILINE)
_CONSTANTS = re.compile(r"^    .* = constants$", re.MULTILINE)


def joint_untraced(system: System, inputs: Sequence[Input], mass, names) -> System:
    """Return the system of states and sensitivities of one that is compiled as it stands.

    Parameters
    ----------
    system : System
        Of kind "compiled", with what the user gave of its derivatives.
    inputs : sequence of Input
    mass : tuple of rows, optional
        Of the joint system.
    names : sequence of str
        Of all its states.

    Raises
    ------
    InvalidOption
        For a parameter that is an int, and so a constant of the compiled function.
    """
    by_states, by_parameters = bool(system.jacobian_rows), dict(system.parameter_columns)
    moved = [
        k
        for k, one in enumerate(inputs)
        if not by_states or not (one.is_initial or one.number in by_parameters)
    ]
    rates = given_rates(system, inputs) if by_states or by_parameters else None
    source = _written(system, inputs, moved, not by_states, by_parameters.keys())
    store = Store.beside(system.path)
    parts = [package_digest(), system.digest, source, "" if rates is None else rates.digest]
    digest = digest_of_text("\n".join(parts))
    return evolve(
        system,
        n_states=system.n_states * (1 + len(inputs)),
        source=source,
        path=store.write_module(source)[0],
        digest=digest_with_mass(digest, mass),
        state_names=tuple(names),
        note=f"{system.note} {_told(system, inputs, moved)}",
        mass=mass,
        samples=(),
        sparsity=None,
        jacobian_rows=(),
        joint=Joint(system, tuple(inputs), rates=rates),
        n_outputs=system.n_states * (1 + len(inputs)),
        output_names=tuple(names),
    )


def _told(system: System, inputs: Sequence[Input], moved: Sequence[int]) -> str:
    """Return what users are told of where their sensitivities come from."""
    if not moved:
        given = "`jac`" if all(one.is_initial for one in inputs) else "`jac` and `jac_p`"
        return f"Its sensitivities are of the given {given}."
    by_states = bool(system.jacobian_rows)
    by_parameters = bool(system.parameter_columns) or all(one.is_initial for one in inputs)
    given = " beside the given `jac`" if by_states else ""
    given = " beside the given `jac_p`" if system.parameter_columns else given
    missing = [name for name, there in (("jac", by_states), ("jac_p", by_parameters)) if not there]
    notes = [
        f"Its sensitivities are found by central differences{given}, {2 + 2 * len(moved)} calls "
        "more of each right-hand side: nine to ten digits where it is smooth, and where it jumps "
        "what the time of the jump contributes is missing.",
        f"With {' and '.join(f'`{name}`' for name in missing)} they are exact.",
    ]
    return " ".join(notes)


def _written(
    system: System,
    inputs: Sequence[Input],
    moved: Sequence[int],
    along_states: bool,
    known: Collection[int],
) -> str:
    """Return the text of the adapter.

    Parameters
    ----------
    moved : sequence of int
        Which of the inputs need differences; the rows of others are zero.
    along_states : bool
        States are moved; else their part is known.
    known : collection of int
        Parameters whose part is known.
    """
    n, n_inputs = system.n_states, len(inputs)
    call, entries = _CALL.findall(system.source)[0], _ENTRY.findall(system.source)
    constants = _CONSTANTS.findall(system.source)
    by_parameter = [inputs[k] for k in moved if not inputs[k].is_initial]
    slots = {one.number for one in by_parameter} - set(known)
    numbers = [
        -1 if inputs[k].is_initial or inputs[k].number in known else inputs[k].number for k in moved
    ]

    def at(sign: str) -> str:
        def state(found: re.Match) -> str:
            i = int(found[1])
            moves = along_states and sign
            return f"(y[{i}] {sign} step * y[s + {i}])" if moves else f"(y[{i}] * 1.0)"

        def parameter(found: re.Match) -> str:
            i = int(found[1])
            if sign and i in slots:
                return f"(p[{i}] {sign} (move if number == {i} else 0.0))"
            return f"(p[{i}] * 1.0)"

        text = re.sub(r"\by\[(\d+)\]", state, call)
        return re.sub(r"\bp\[(\d+)\]", parameter, text)

    def packed(values: str) -> str:
        return f"pack(({', '.join(f'{values}{entry} * 1.0' for entry in entries)},))"

    def near() -> str:
        numbers = itertools.count(1)

        def moved_alone(found: re.Match) -> str:
            # All in different proportions, the same on every machine: nothing is to cancel.
            part = STEP * (2.0 * (0.6180339887 * next(numbers) % 1.0) - 1.0)
            return f"({found[0]} * {1.0 + part!r})"

        return re.sub(r"\b[yp]\[\d+\]", moved_alone, call)

    stores = [f"dy[at + {i}] = result{entry}" for i, entry in enumerate(entries)]
    body = [f"result = {call}", *stores]
    if len(moved) < n_inputs:
        body += [f"for i in range({n}, {n * (1 + n_inputs)}):", "    dy[at + i] = 0.0"]
    if moved:
        blocks = [n * (1 + k) for k in moved]
        body += _DIFFERENCES.format(
            n=n, m=len(moved), here=at(""), near=near(), above=at("+"), below=at("-"),
            packed_here=packed("values"), packed_near=packed("others"),
            packed_above=packed("ahead"), packed_below=packed("behind"),
            size_of_state="abs(y[s + i])" if along_states else "0.0 * abs(y[s + i])",
            step=repr(STEP), least=LEAST_SIZE, attempts=ATTEMPTS, most_bent=MOST_BENT,
            target=TARGET, steep=STEEP, noise=repr(NOISE),
        ).splitlines()  # fmt: skip
        constants += [f"    numbers = {tuple(numbers)}", f"    blocks = {tuple(blocks)}"]
    lines = "\n".join(f"        {line}".rstrip() for line in body)
    title = f"States of {system.digest} and sensitivities to {n_inputs} inputs."
    return (
        f'"""{title}\n\nWritten by cubie: changes are overwritten.\n"""\n\n\n'
        f"def build(fun, pack, keep, constants):\n"
        f'    """Return rhs(t, y, p, dy, at) around `fun`."""\n'
        + "".join(f"{line}\n" for line in constants)
        + f"\n    def rhs(t, y, p, dy, at):\n{lines}\n\n    return rhs\n"
    )


_DIFFERENCES = """\
values = {here}
here = {packed_here}
others = {near}
sizes = {packed_near}
for i in range({n}):
    # Of its terms, which may cancel: of a state that is steady nothing else tells.
    sizes[i] = abs(here[i]) + abs(sizes[i] - here[i]) / {step}
largest = 0.0
for i in range({n}):
    largest = max(largest, abs(y[i]) * 1.0)
for k in range({m}):
    number = numbers[k]
    s = blocks[k]
    size, reach = 1.0, 1e-200
    if number >= 0:
        reach = 1.0
        if p[number] != 0.0:
            size = abs(p[number]) * 1.0
    for i in range({n}):
        weight = max(abs(y[i]) * 1.0, {least} * largest)
        if weight == 0.0:
            weight = 1.0
        reach = max(reach, {size_of_state} / weight)
    step = {step} / reach
    for attempt in range({attempts}):
        move = step * size
        ahead = {above}
        above = {packed_above}
        behind = {below}
        below = {packed_below}
        worst = 0.0
        for i in range({n}):
            up, down = above[i] - here[i], here[i] - below[i]
            bend, change = abs(up - down), above[i] - below[i]
            noise = {noise} * (abs(above[i]) + sizes[i] + abs(below[i]))
            scale = abs(change) + 2.0 * step * reach * sizes[i]
            if bend != bend:
                worst = max(worst, 1.0)
            elif bend > noise and scale > 0.0:
                worst = max(worst, bend / scale)
            if not bend <= {steep} * scale + noise:
                if up != up:
                    change = 2.0 * down
                elif down != down or abs(up) < abs(down):
                    change = 2.0 * up
                else:
                    change = 2.0 * down
            dy[at + s + i] = change / (2.0 * step)
        if worst <= {most_bent}:
            break
        # At a jump it is 1 with any step, and no reason for one that is all rounding.
        step = step * max({target} / worst, 0.01 if worst < 3.0 else 1e-8)
"""
