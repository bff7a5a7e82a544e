"""What compiled component code may do, and what it computes: what Python computes."""

import gc
import math
import operator
import types as python
import weakref

import numba
import numpy as np
import pytest
from numba.core import types

from cubie.backend import any_lane, maximum, select
from cubie.backend.cpu.contexts import contexts
from cubie.backend.front_end.device_function import DeviceFunction
from cubie.backend.front_end.inference import UncompilableStatement
from cubie.backend.front_end.operations import Operations
from cubie.backend.front_end.statements import Statements
from tests.cubie.bench import Bench, run_bench

GIVEN = np.array([[0.25, -1.5], [3.0, 2.0], [-0.75, 0.5], [1.0, 1.0], [7.5, -2.0]])
WEIGHTS = (0.5, 0.25, 2.0)
PLACES = (2, 0, 1)
ARRAY = np.array(WEIGHTS)


def carried(given, kept):
    total = 0.0  # a plain number, until the loop makes it one of each run
    for i in range(3):
        total = total + given[0] * i
    kept[0] = total


def chosen_once(given, kept):
    n = 4
    if n > 3:
        kept[0] = given[0]
    elif n == 3:
        kept[0] = given[1]
    else:
        kept[0] = 1.0


def steps_of_ranges(given, kept):
    for i in range(5, 0, -2):
        kept[0] = kept[0] * 2.0 + i
    for i in range(1, 7, 3):
        kept[1] = kept[1] + given[1] * i
    for _ in range(0):
        kept[0] = -1.0


def nested(given, kept):
    for i in range(2):
        for j in range(i, 4):
            if j == 2:
                continue
            if j > 2 * i + 1:
                break
            kept[i] = kept[i] + given[0] * (i + 1) + j


def loops_on_lanes(given, kept):
    value, count = given[0], given[0] * 0.0
    active = value > 1.0
    while any_lane(active):
        value = select(active, value * 0.5, value)
        count = select(active, count + 1.0, count)
        active = active & (value > 1.0)
    kept[0], kept[1] = value, count


def tuples(given, kept):
    pair = given[0], (given[1], 2.0)
    first, (second, third) = pair
    both = (second, first)
    kept[0] = both[0] * third + pair[1][-1]
    for i in range(3):
        kept[1] = kept[1] + WEIGHTS[i] * (PLACES[i] + 1)


def swapped(given, kept):
    a, b = given[0], given[1]
    for _ in range(3):
        a, b = b, a + b
    kept[0], kept[1] = a, b


def whole_numbers(given, kept):
    largest, smallest, halves = 0, 10, 0
    for i in range(1, 6):
        largest, smallest = max(largest, i % 4), min(smallest, i, 3)
        halves += i // 2
    both = largest == 3 and smallest == 1
    either = halves < 2 or not both
    kept[0] = given[0] * (largest - smallest) + halves * halves
    kept[1] = 1.0 if both and not either else 0.0


def compared(given, kept):
    at_least = (given[0] >= 0.0) & (given[1] >= 0.0)
    outside = (given[0] < -1.0) | ~at_least
    kept[0] = select(at_least ^ outside, maximum(given[0], given[1]), -given[0])
    kept[1] = select(outside, 1, 2)


def functions(given, kept):
    kept[0] = math.exp(-abs(given[0])) + math.hypot(given[0], 3.0) + given[0] ** 2
    kept[1] = math.sqrt(abs(given[1])) * math.sin(given[0]) + max(given[0], 0.5)


BODIES = [
    carried, chosen_once, steps_of_ranges, nested, loops_on_lanes, tuples, swapped, whole_numbers,
    compared, functions,
]  # fmt: skip


def bench_of(body, way="device"):
    def make(bench, context):
        inner = getattr(context.backend, way)(body)

        def outer(memory, launch, given, kept):
            for i in range(2):
                kept[i] = given[0] * 0.0
            inner(given, kept)

        return outer

    return Bench((), 2, 2, make)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_compiled_functions_compute_what_python_computes(body, lanes):
    """Loops, branches, tuples, whole numbers and lanes."""
    expected = run_bench(bench_of(body), GIVEN, "python")
    np.testing.assert_allclose(
        run_bench(bench_of(body), GIVEN, "cpu", lanes), expected, rtol=1e-14, atol=1e-300
    )


def never(given, kept):
    active = given[0] > 100.0
    while any_lane(active):
        kept[0] = 1.0
        active = active & (given[0] < 0.0)


def told_apart(given, kept):
    value, rounds = given[0], 0
    while any_lane(value < 20.0):
        if rounds == 0:
            kept[1] = value
        for i in range(rounds):
            value = value + i
        value = value + 3.0
        rounds += 1
        if rounds > 6:
            break
    kept[0] = value * rounds


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize(
    "body", [loops_on_lanes, steps_of_ranges, nested, never, told_apart], ids=lambda b: b.__name__
)
def test_a_first_round_that_is_code_of_its_own_computes_the_same(body, lanes):
    """Of loops with no round, one, and more; with loops, branches and breaks inside."""
    given = GIVEN if lanes == 1 or body is not told_apart else np.tile(GIVEN[:1], (4, 1))
    expected = run_bench(bench_of(body), given, "python")
    found = run_bench(bench_of(body, "first_round_apart"), given, "cpu", lanes)
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-300)


def lists(given, kept):
    values = [given[0]]
    kept[0] = values[0]


def raises(given, kept):
    if len(WEIGHTS) > 2:
        raise ValueError("too many")


def many(given, kept):
    kept[0] = math.hypot(*(given[0], given[1]))


def of_runs(given, kept):
    if given[0] > 0.0:
        kept[0] = 1.0


def attributes(given, kept):
    kept[0] = given.size


def arrays(given, kept):
    kept[0] = given[0] * ARRAY[1]


def several_kinds(given, kept):
    value = given[0]
    if len(WEIGHTS) > 2:
        value = WEIGHTS
    kept[0] = value[0]


def plus(a, b):
    return a + b


PLUS = DeviceFunction(plus, inline=True)


def too_many(given, kept):
    kept[0] = PLUS(given[0], given[1], given[2])


def too_few(given, kept):
    kept[0] = PLUS(given[0])


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (too_many, "`plus` with 3 arguments"),
        (too_few, "`plus` with 1 arguments"),
        (lists, "build_list"),
        (raises, "too many"),
        (many, "a call with `*arguments`"),
        (of_runs, "bool"),
        (attributes, "`.size` of Buf"),
        (arrays, "`getitem` of (array(float64, 1d, C), "),
        (several_kinds, "`value"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_what_component_code_may_not_do_is_refused_by_line(body, what):
    """The error says where, what it was, and what may be done."""
    with pytest.raises(UncompilableStatement) as caught:
        run_bench(bench_of(body), GIVEN, "cpu", 2)
    text = str(caught.value)
    assert text.startswith(f"`{body.__qualname__}`, line ")
    assert what in text
    assert "index buffers and tuples, call device functions" in text
    assert caught.value.function is body


def test_what_compiles_depends_on_no_function_compiled_before():
    """numba learns of arrays when a user's own function has some; device functions still do not."""
    assert numba.njit(lambda values: values[0])(ARRAY) == ARRAY[0]
    typing_context, _ = contexts.__wrapped__()  # as made after that
    found = Operations(typing_context, call=None).find
    array = types.Array(types.float64, 1, "C")
    assert found(operator.getitem, (array, types.int64)) is None
    assert found(operator.add, (array, array)) is None
    assert found(operator.add, (types.float64, types.float64)) is not None


def summed(times, added):
    def body(given, kept):
        for i in range(times):
            kept[0] = kept[0] + given[0] * i + added + OFFSET
        kept[1] = kept[1] + math.sqrt(added)

    return body


OFFSET = 0.125


@pytest.mark.parametrize("way", ["device", "first_round_apart"])
def test_functions_of_one_code_have_values_of_their_own(way):
    """What they close over, and the globals that they read: code is read once for all."""
    bodies = [summed(3, 4.0), summed(5, 9.0)]
    elsewhere = bodies[0].__globals__ | {"OFFSET": 64.0}
    code, closure = bodies[0].__code__, bodies[0].__closure__
    bodies.append(python.FunctionType(code, elsewhere, "elsewhere", None, closure))
    for body in bodies:
        expected = run_bench(bench_of(body), GIVEN, "python")
        found = run_bench(bench_of(body, way), GIVEN, "cpu", 1)
        np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert all(body.__code__ is code for body in bodies)


def test_code_that_is_read_keeps_nothing_of_the_function_alive():
    """A component, and what the user gave it, ends with its solver."""
    component = python.ModuleType("component")
    body = summed(component, 1.0)
    statements, held = Statements.of(body, False), weakref.ref(component)
    assert component in statements.values(body).values()
    del body, component
    gc.collect()
    assert held() is None
    assert Statements.of(summed(1, 1.0), False) is statements


@pytest.mark.parametrize(("file", "lines"), [("another.py", 1), ("one.py", 3)])
def test_lines_are_those_of_the_function(file, lines):
    """Code that is equal may stand in another file, or at other lines of it."""

    def made(file, lines):
        namespace = {}
        empty = "\n" * lines
        exec(
            compile(f"def body(a):{empty}    b = a + 1{empty}    return b\n", file, "exec"),
            namespace,
        )
        return Statements.of(namespace["body"], False)

    def where(statements):
        ends = (block.body[-1].loc for _, block in statements.blocks)
        return [(loc.filename, loc.line) for loc in ends]

    assert made("one.py", 1) is made("one.py", 1)
    assert where(made("one.py", 1)) == [("one.py", 3)]
    assert where(made(file, lines)) == [(file, 1 + 2 * lines)]
