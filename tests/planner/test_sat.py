"""The solver's model as text: rows mean what they say, by both ways into the solver."""

import itertools
import os
import subprocess
import sys

import pytest

from cubie_planner.basics import Status
from cubie_planner.engines.cpsat import solver as sat
from cubie_planner.engines.cpsat.solver import SatModel, negated


@pytest.fixture(params=[sat._Compiled, sat._Public], ids=["compiled", "public"])
def model(request, monkeypatch):
    """An empty model that is solved by one of the two ways."""
    monkeypatch.setattr(sat._Compiled, "available", lambda: request.param is sat._Compiled)
    made = SatModel()
    yield made
    assert isinstance(made._engine, request.param)


def solutions(model, literals):
    """Return all values of `literals` that the model allows, by excluding each found."""
    found = set()
    while (answer := model.solve(1.0)).status is not Status.INFEASIBLE:
        values = tuple(answer.holds(literal) for literal in literals)
        assert values not in found
        found.add(values)
        model.any_of(negated(x) if value else x for x, value in zip(literals, values, strict=True))
    return found


@pytest.mark.parametrize(
    ("row", "holds"),
    [
        (lambda m, a, b, c: m.any_of([a, negated(b)], [c]), lambda a, b, c: not c or a or not b),
        (lambda m, a, b, c: m.any_of([a], [m.true]), lambda a, b, c: a),
        (lambda m, a, b, c: m.implies(a, b), lambda a, b, c: not a or b),
        (lambda m, a, b, c: m.at_most_one([a, b, c]), lambda a, b, c: a + b + c <= 1),
        (lambda m, a, b, c: m.exactly_one([a, b, c]), lambda a, b, c: a + b + c == 1),
        (
            lambda m, a, b, c: m.linear([(2, a), (-3, negated(b)), (1, a)], -1, 2, [negated(c)]),
            lambda a, b, c: c or -1 <= 3 * a - 3 * (not b) <= 2,
        ),
    ],
    ids=["any_of", "unit", "implies", "at_most_one", "exactly_one", "linear"],
)
def test_rows_allow_exactly_what_they_say(model, row, holds):
    """Of all values of three literals those remain for which the row holds."""
    literals = [model.boolean() for _ in range(3)]
    row(model, *literals)
    expected = {v for v in itertools.product([False, True], repeat=3) if holds(*v)}
    assert solutions(model, literals) == expected


def test_intervals_stay_apart_where_they_are_present(model):
    """Three intervals of 8, in units of 4: packed to 24, or to 16 without one."""
    present = model.boolean()
    starts = [model.integer(0, 10) for _ in range(3)]
    presence = [model.true, model.true, present]
    top = model.integer(0, 100)
    model.no_overlap(model.interval(4, s, 8, p) for s, p in zip(starts, presence, strict=True))
    for start in starts:
        model.linear([(1, top), (-4, start)], 8)
    assert model.solve(1.0, [(1, top)]).value == 16
    answer = model.solve(1.0, [(1, top), (100, negated(present))])
    assert (answer.status, answer.value, answer.bound) == (Status.OPTIMAL, 24, 24)
    assert sorted(answer.values[start] for start in starts) == [0, 2, 4]


def test_assumptions_that_clash_are_named(model):
    """Two of three assumed literals cannot hold together; without them all is well."""
    a, b, c = (model.boolean() for _ in range(3))
    model.at_most_one([a, b])
    answer = model.solve(1.0, assumed=[a, b, c])
    assert answer.status is Status.INFEASIBLE
    assert answer.core == {a, b}
    assert model.solve(1.0, assumed=[a, c]).status is Status.OPTIMAL
    assert model.solve(1.0).status is Status.OPTIMAL


def test_a_row_the_solver_cannot_take_is_a_bug_and_says_so(model):
    """A coefficient beyond 64 bits is never dropped silently."""
    model.linear([(2**64, model.boolean())], 0, 1)
    with pytest.raises(RuntimeError, match="report this as a bug"):
        model.solve(1.0)


def test_planning_does_not_import_pandas():
    """The exact engines load the compiled part of OR-Tools only."""
    script = (
        "import sys\n"
        "from cubie_planner.engines.cpsat.solver import SatModel\n"
        "SatModel().solve(1.0)\n"
        "assert 'ortools.sat.python.cp_model_helper' in sys.modules\n"
        "assert 'pandas' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


SEARCH = """
import ctypes, os, random, signal, sys, threading, time
from cubie_planner.engines.cpsat import solver as sat

if sys.argv[1] == "public":
    sat._Compiled.available = staticmethod(lambda: False)
signal.signal(signal.SIGINT, signal.default_int_handler)
libc, room = ctypes.CDLL(None), ctypes.create_string_buffer(256)


def handler():
    libc.sigaction(int(signal.SIGINT), None, room)
    return room.raw[:8]


pythons, random = handler(), random.Random(1)
model = sat.SatModel()
literals = [model.boolean() for _ in range(120)]
for _ in range(30):
    model.linear([(random.randint(1, 1000), x) for x in literals], 0, 20000)
gain = [(-random.randint(1, 1000), x) for x in literals]
model.solve(0.01, gain)
assert handler() == pythons, "another action of SIGINT than before"
sent = []


def send():
    time.sleep(0.3)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)


for _ in range(2):
    threading.Thread(target=send).start()
    try:
        model.solve(1000.0, gain)
    except KeyboardInterrupt:
        print(time.perf_counter() - sent[-1])
assert handler() == pythons
assert threading.active_count() == 1
model.solve(0.01, gain)
"""


@pytest.mark.skipif(os.name != "posix", reason="actions of signals are POSIX's")
@pytest.mark.parametrize("way", ["compiled", "public"])
def test_ctrl_c_ends_a_search_and_stays_pythons(way):
    """OR-Tools' own handler swallows it, and leaves the next one to end the interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", SEARCH, way], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-500:]
    took = [float(line) for line in done.stdout.split()]
    assert len(took) == 2
    assert max(took) < 0.5
