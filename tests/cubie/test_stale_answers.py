"""Whatever a problem refers to: changing it changes the answer, and not changing it builds nothing.

The places are in `changeable`: each is y' = -k y with k taken from somewhere else.
"""

import dis
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cubie import Solver, solve_ivp
from cubie.memory import MAX_REMEMBERED
from cubie.systems import Watched, fingerprint
from cubie.systems.references.bytecode import _GLOBALS, _IMPORT, _operations, nested
from cubie.systems.references.watch import Watch
from cubie.systems.system import System
from tests.cubie.changeable import PLACES

ROOT = Path(__file__).parents[2]
OPTIONS = {"backend": "python", "rtol": 1e-6, "atol": 1e-8, "save": "final"}
BEFORE, AFTER = 1.0, 2.0

pytestmark = pytest.mark.filterwarnings("ignore::cubie.UntracedWarning")


def rate_of(result):
    """Return the k that a result was computed with, to three digits."""
    return round(-float(np.log(result.y[0, -1])), 3)


@pytest.fixture
def traced(monkeypatch):
    """Count how often a function was traced, whatever the cache on disk holds."""
    from cubie.systems.from_function import Request

    calls, system = [], Request.system
    monkeypatch.setattr(Request, "system", lambda self: (calls.append(1), system(self))[1])
    return calls


@pytest.mark.parametrize("name", PLACES)
def test_a_change_is_noticed(name, traced):
    """By a solver that is used again, and by `solve_ivp`; and what is as before builds nothing."""
    place = PLACES[name](BEFORE)
    solver = Solver(place.fun, **OPTIONS)

    def both():
        again = solver.solve((0.0, 1.0), [1.0], args=place.args())
        alone = solve_ivp(place.fun, (0.0, 1.0), [1.0], args=place.args(), **OPTIONS)
        return rate_of(again), rate_of(alone)

    assert both() == (BEFORE, BEFORE)
    place.change(AFTER)
    assert both() == (AFTER, AFTER)
    made, n_traced = dict(solver.builds), len(traced)
    result = solver.solve((0.0, 1.0), [1.0], args=place.args())
    assert rate_of(result) == AFTER
    assert dict(solver.builds) == made
    assert any("Nothing is remembered" in note for note in result.notes) != place.seen
    # Where nothing can be seen, it is traced each time instead.
    assert (len(traced) == n_traced) == place.seen


IN_ANOTHER_PROCESS = """
import json, sys, warnings
from cubie.systems.from_function import Request
from cubie import solve_ivp
from tests.cubie.changeable import PLACES
from tests.cubie.test_stale_answers import OPTIONS, rate_of
warnings.simplefilter("ignore")
k, found = float(sys.argv[1]), {}
for name, make in PLACES.items():
    place = make(k)
    fresh = []
    original = Request._fresh
    Request._fresh = lambda self: (fresh.append(1), original(self))[1]
    result = solve_ivp(place.fun, (0.0, 1.0), [1.0], args=place.args(), **OPTIONS)
    Request._fresh = original
    found[name] = rate_of(result), len(fresh)
print(json.dumps(found))
"""


def test_a_change_between_processes_is_noticed(tmp_path):
    """Three processes share one cache on disk: another text is traced anew, the same is not."""
    environment = os.environ | {
        "CUBIE_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }

    def found(k):
        command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(k)]
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])

    first, other, same = found(BEFORE), found(AFTER), found(BEFORE)
    assert {name: rate for name, (rate, _) in first.items()} == dict.fromkeys(PLACES, BEFORE)
    assert {name: rate for name, (rate, _) in other.items()} == dict.fromkeys(PLACES, AFTER)
    assert {name: rate for name, (rate, _) in same.items()} == dict.fromkeys(PLACES, BEFORE)
    again = {name for name, (_, fresh) in same.items() if fresh}
    assert again == {name for name, make in PLACES.items() if not make(BEFORE).seen}


def untraceable(read):
    """Return y' = -read() y as a function with a loop that cannot be traced."""

    def f(t, y):
        s = y[0]
        while s > 1e300:
            s = 0.5 * s
        return (-read() * y[0],)

    return f


def reading(namespace, text):
    """Return a function that reads something in a namespace of its own."""
    exec(f"def read(): return {text}", namespace)
    return namespace["read"]


TEXTS = {"number": "K", "array": "A[0]", "helper": "helper()", "all": "K * A[0] * helper() / K**2"}


@pytest.mark.parametrize(
    ("backend", "kind"), [*(("python", kind) for kind in TEXTS), ("cpu", "all")]
)
def test_a_change_is_noticed_by_a_function_that_cannot_be_traced(backend, kind):
    """It is compiled as it stands: numbers, arrays and helpers are taken as they are now."""
    namespace = {"K": 1.0, "A": np.array([1.0]), "helper": reading({"K": 1.0}, "K")}
    f = untraceable(reading(namespace, TEXTS[kind]))
    # A method that compiles soon.
    options = OPTIONS | {"backend": backend, "method": "bogacki_shampine32"}
    solver = Solver(f, **options)

    def both():
        again = solver.solve((0.0, 1.0), [1.0])
        return rate_of(again), rate_of(solve_ivp(f, (0.0, 1.0), [1.0], **options))

    assert both() == (1.0, 1.0)
    namespace["A"][0] = 2.0
    namespace |= {"K": 2.0, "helper": reading({"K": 2.0}, "K")}
    assert both() == (2.0, 2.0)
    made = dict(solver.builds)
    assert both() == (2.0, 2.0)
    assert dict(solver.builds) == made
    namespace["A"][0] = 1.0
    namespace |= {"K": 1.0, "helper": reading({"K": 1.0}, "K")}
    assert both() == (1.0, 1.0)


@pytest.mark.parametrize(
    ("backend", "traced"), [("python", True), ("python", False), ("cpu", False)]
)
def test_a_compiled_helper_is_taken_with_the_globals_it_has_now(backend, traced):
    """numba keeps those of its first compilation; the helper's Python original is used."""
    from numba import njit

    namespace = {"K": 1.0}
    helper = njit(reading(namespace, "K"))
    f = (lambda t, y: [-helper() * y[0]]) if traced else untraceable(helper)
    solver = Solver(f, **OPTIONS | {"backend": backend, "method": "bogacki_shampine32"})
    assert helper() == 1.0
    for k in (1.0, 2.0):
        namespace["K"] = k
        result = solver.solve((0.0, 1.0), [1.0])
        assert rate_of(result) == k
        assert bool(result.notes) != traced


def test_a_function_that_is_interpreted_is_not_another_one_of_equal_content():
    """Two of equal content share a digest; when one changes later, the other has not."""
    lists = [[1.0], [1.0]]
    first, second = (untraceable(lambda held=held: held[0]) for held in lists)
    assert fingerprint(first) == fingerprint(second)
    assert rate_of(solve_ivp(first, (0.0, 1.0), [1.0], **OPTIONS)) == 1.0
    lists[0][0] = 2.0
    assert rate_of(solve_ivp(second, (0.0, 1.0), [1.0], **OPTIONS)) == 1.0
    assert rate_of(solve_ivp(first, (0.0, 1.0), [1.0], **OPTIONS)) == 2.0


def stiff(t, y):
    """A stiff system whose steps tell how good its Jacobian is; it cannot be traced."""
    s = y[0]
    while s > 1e300:
        s = 0.5 * s
    return (-1000.0 * y[0] + y[1], -y[1])


@pytest.mark.parametrize("how", ["another", "list", "array", "closure"])
def test_another_jacobian_is_used(how):
    """Given anew, or changed in place, it takes the steps that a new solver takes with it."""
    right, wrong = [[-1000.0, 1.0], [0.0, -1.0]], [[0.0, 0.0], [0.0, 0.0]]
    held = np.array(wrong) if how == "array" else [list(row) for row in wrong]

    def given(t, y):
        return held

    def new(rows):
        return lambda t, y: [list(row) for row in rows]

    options = {"method": "rodas5p", "backend": "python", "save": "final", "jac": given}
    if how == "another":
        options["jac"] = new(wrong)
    solver = Solver(stiff, **options)
    problem = (0.0, 0.05), [1.0, 1.0]
    with_wrong = solver.solve(*problem).n_steps
    held[0][:], held[1][:] = right
    if how == "closure":
        held = [list(row) for row in right]
    if how == "another":
        options["jac"] = new(right)
        solver.update(jac=options["jac"])
    fresh = solve_ivp(stiff, *problem, **options | {"jac": new(right)}).n_steps
    assert solver.solve(*problem).n_steps == fresh < with_wrong
    assert solve_ivp(stiff, *problem, **options).n_steps == fresh
    made = dict(solver.builds)
    assert solver.solve(*problem).n_steps == fresh
    assert dict(solver.builds) == made


@pytest.mark.parametrize("kind", ["array", "list", "sparse"])
def test_a_constant_jacobian_is_taken_as_it_is_at_each_solve(kind):
    """A matrix that was changed in place gives the steps that a new solver takes with it."""
    right, wrong = np.array([[-1000.0, 1.0], [0.0, -1.0]]), np.full((2, 2), 1e-3)
    sparse = pytest.importorskip("scipy.sparse")
    held = {"array": np.array, "list": np.ndarray.tolist, "sparse": sparse.csr_array}[kind](wrong)
    options = {"method": "rodas5p", "backend": "python", "save": "final"}
    solver, problem = Solver(stiff, jac=held, **options), ((0.0, 0.05), [1.0, 1.0])
    with_wrong = solver.solve(*problem).n_steps
    if kind == "sparse":
        held.data[:] = right.ravel()
    else:
        held[0][:], held[1][:] = right.tolist()
    fresh = solve_ivp(stiff, *problem, jac=right, **options).n_steps
    assert solver.solve(*problem).n_steps == fresh < with_wrong


def decay(t, y):
    """n equations of the same decay."""
    return -y


@pytest.mark.parametrize("n", [2, 33], ids=("small", "abbreviated by NumPy"))
@pytest.mark.parametrize("make", [np.eye, lambda n: np.eye(n).tolist(), np.ones])
@pytest.mark.parametrize("how", ["another", "in place"])
def test_another_mass_matrix_is_used(n, make, how):
    """Of any form, whatever NumPy shows of it, given anew or changed in place."""
    middle = n // 2
    options = {"method": "backwards_euler", "first_step": 0.01, "backend": "python"}
    mass = make(n)
    solver = Solver(decay, mass_matrix=mass, save="final", **options)
    expected = {1.0: (1 / 1.01) ** 10, 2.0: (1 / 1.005) ** 10}

    def end(result):
        return result.y[middle, -1]

    assert end(solver.solve((0.0, 0.1), np.ones(n))) == pytest.approx(expected[1.0], rel=1e-9)
    if how == "another":
        mass = make(n)
    row = mass if np.ndim(mass) == 1 else mass[middle]
    row[middle] = 2.0
    if how == "another":
        solver.update(mass_matrix=mass)
    for _ in range(2):
        assert end(solver.solve((0.0, 0.1), np.ones(n))) == pytest.approx(expected[2.0], rel=1e-9)
    alone = solve_ivp(decay, (0.0, 0.1), np.ones(n), mass_matrix=mass, save="final", **options)
    assert end(alone) == pytest.approx(expected[2.0], rel=1e-9)


@pytest.mark.parametrize("name", ["rtol", "atol"])
def test_tolerances_changed_in_place_hold(name):
    """An array of tolerances is looked at again, like everything else that was given."""
    tolerance = np.full(2, 1e-3)
    solver = Solver(
        decay, backend="python", save="final", **{"rtol": 1e-9, "atol": 1e-9} | {name: tolerance}
    )
    coarse = solver.solve((0.0, 5.0), [1.0, 2.0]).n_steps
    tolerance[:] = 1e-9
    assert solver.solve((0.0, 5.0), [1.0, 2.0]).n_steps > coarse


def test_a_location_changed_in_place_holds():
    """A mapping of buffers to places too."""
    places = {"stage_rhs": "local"}
    solver = Solver(decay, backend="python", save="final", locations=places)
    solver.solve((0.0, 0.1), [1.0, 2.0])
    places["stage_rhs"] = "shared"
    solver.solve((0.0, 0.1), [1.0, 2.0])
    assert solver.plan.placements["loop.algorithm.stage_rhs"].location.value == "shared"


def test_a_plan_given_is_the_one_that_is_used():
    """Plans are told apart by what they hold, and one that is the same builds nothing."""
    plans = []
    for place in ("local", "shared"):
        solver = Solver(decay, backend="python", locations={"stage_rhs": place})
        plans.append(solver.prepare([1.0, 2.0]))
    solver = Solver(decay, backend="python", save="final")
    for plan in (*plans, *plans):
        solver.solve((0.0, 0.1), [1.0, 2.0], locations=plan)
        assert solver.plan.placements == plan.placements
    assert solver.builds["kernel"] == 2


def test_tableaus_are_told_apart_by_their_coefficients():
    """Two of the same name and order, and two that are equal as doubles only."""
    from fractions import Fraction

    from attrs import evolve

    from cubie.tableaus import get_method

    def slow(t, y):
        return [-y[0]]

    made = get_method("bogacki_shampine32")
    a = [list(row) for row in made.a_exact]
    tiny = Fraction(1, 10**40)
    a[-1][0], a[-1][1] = a[-1][0] + tiny, a[-1][1] - tiny
    nearly = evolve(made, a=a)  # the last stage is no longer exactly the solution
    assert nearly.a == made.a
    assert made.fsal
    assert not nearly.fsal
    options = {"backend": "python", "save": "final", "fastmath": False}
    solver = Solver(slow, **options)
    for method in (made, nearly, made):
        again = solver.solve((0.0, 1.0), [1.0], method=method)
        fresh = Solver(slow, method=method, **options).solve((0.0, 1.0), [1.0])
        np.testing.assert_array_equal(again.y, fresh.y)
        assert (again.nfev, again.n_steps) == (fresh.nfev, fresh.n_steps)


def test_what_is_remembered_of_a_system_that_keeps_changing_is_bounded():
    """However often it changes, a few of its forms are kept, and builds are counted on."""
    held = [0.0]
    solver = Solver(lambda t, y: [-held[0] * y[0]], method="euler", first_step=0.1, **OPTIONS)
    for i in range(MAX_REMEMBERED + 10):
        held[0] = float(i)
        solver.solve((0.0, 0.1), [1.0])
    memories = (solver._setup.prepared, solver._problem._systems, solver._memory.kernels)
    assert all(len(memory) <= MAX_REMEMBERED for memory in memories)
    assert solver.builds["kernel"] == MAX_REMEMBERED + 10


ALL_DIFFERENT = [
    *(0, 0.0, -0.0, False, None, "0", b"0", 0j, -0j, np.float64(0.0), np.float32(0.0), np.int8(0)),
    *(1, True, 1.0, float("nan"), float("inf"), 2**64, 10**5000, 10**5000 + 1, np.bool_(True)),
    *([], (), {}, set(), frozenset(), bytearray(), range(0), slice(0), "", b"", [1], (1,), {1}),
    *(
        {1: 2},
        {1.0: 2},
        {True: 2},
        {"1": 2},
        {2: 1},
        {1: 2, 3: 4},
        {3: 4, 1: 2},
        [[1], 2],
        [1, [2]],
    ),
    *(np.zeros(0), np.zeros(1), np.zeros((1, 1)), np.zeros(1, "f4"), np.zeros(1, int), np.zeros(2)),
    *(np.array([0], object), np.array([0.0], object), np.array([-0.0]), np.array([np.nan])),
    *(np.zeros(1, [("a", float)]), np.zeros(1, [("b", float)]), np.ma.array([0.0]), [None]),
    *(np.sin, np.cos, len, max, [].append, {}.get, {1: 2}.get, {1: 2}.pop, int, float, np.float64),
    *(lambda: 0, lambda: 0.0, lambda: -0.0, lambda: False, lambda x=0: x, lambda x=0.0: x),
    *(lambda x: x.a, lambda x: x.b, lambda a: np, lambda a: len, lambda *a: 0, lambda *, a=0: a),
]


def test_different_content_has_different_digests():
    """What Python tells apart in any way is told apart, and looking again gives the same."""
    digests = [fingerprint(value) for value in ALL_DIFFERENT]
    assert None not in digests
    assert digests == [fingerprint(value) for value in ALL_DIFFERENT]
    for i, digest in enumerate(digests):
        same = [ALL_DIFFERENT[j] for j, other in enumerate(digests) if other == digest and j != i]
        assert not same, (ALL_DIFFERENT[i], same)


def test_nothing_is_looked_at_again_where_nothing_changed(monkeypatch):
    """A function of numbers only, and one with lists, arrays and objects, are looked at once."""
    walks, begin = [], Watch.begin
    monkeypatch.setattr(Watch, "begin", lambda self: (walks.append(1), begin(self))[1])
    held = {"a": [1.0, np.arange(3.0)], "b": {1.0}}
    for value in (decay, lambda: held, PLACES["own_method"](1.0).fun, np.full(3, 1.0)):
        watched, before = Watched(value), len(walks)
        assert len({watched.current() for _ in range(3)}) == 1
        assert len(walks) == before + 1


def test_bytecode_is_read_as_the_standard_library_reads_it():
    """Operations, and the names of globals and imports, over all functions of some modules."""
    import argparse
    import subprocess as process

    codes = [
        part
        for module in (dis, argparse, process, np.linalg._linalg)
        for value in vars(module).values()
        if hasattr(value, "__code__")
        for part in nested(value.__code__)
    ]
    assert len(codes) > 50
    for code in codes:
        listed = [
            i for i in dis.get_instructions(code) if i.opname not in ("CACHE", "EXTENDED_ARG")
        ]
        found = list(_operations(code))
        wanted = _GLOBALS.keys() | {_IMPORT}
        expected = [i.argval for i in listed if i.opcode in wanted]
        names = [
            code.co_names[argument >> _GLOBALS.get(operation, 0)]
            for operation, argument in found
            if operation in wanted
        ]
        assert names == expected


def test_systems_that_differ_in_any_field_are_different_kernels():
    """The key of a kernel is the system: what is added to systems later is compared too."""
    import attrs

    left_out = {field.name for field in attrs.fields(System) if not field.eq}
    # All are part of the digest, or made from what is; but samples of drivers, which are data.
    assert left_out == {"function", "constants", "samples", "drivers"}
