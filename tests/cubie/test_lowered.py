"""Device functions that are linked again instead of lowered anew: the code is that of lowering."""

import re

import llvmlite.binding as llvm
import numpy as np
import pytest
from numba.core import compiler_lock, types

from cubie import Event, Solver
from cubie.backend.cpu import compilation, compiler
from cubie.backend.cpu.compilation import CPUCompilation
from cubie.backend.cpu.contexts import contexts
from cubie.backend.cpu.target import CPUBackend
from cubie.backend.front_end import known
from cubie.backend.front_end.device_function import DeviceFunction
from cubie.backend.front_end.known import Remembered
from cubie.backend.front_end.looks import Looks
from cubie.solvers.preconditioners import PRECONDITIONERS
from cubie.tableaus import all_methods
from cubie_planner import Location, Placement

X = types.float64
SCALE = 2.0


@pytest.fixture
def nothing_known(monkeypatch):
    """Nothing was lowered before."""
    remembered = Remembered()
    monkeypatch.setattr(compilation, "KNOWN", remembered)
    return remembered


def text_of(function, arguments=(X,)):
    """Lower a function and those it calls; return all of it as LLVM's text, names numbered."""
    typing_context, target_context = contexts()
    library = compiler._new_library(target_context)
    with compiler_lock.global_compiler_lock:
        made = CPUCompilation(typing_context, target_context, library, set())
        made.compile(DeviceFunction(function, inline=True), arguments)
    numbers = {}
    text = "\n".join(str(function) for function in library._final_module.functions)
    return re.sub(
        r'@("[^"]*"|[\w.$]+)', lambda m: str(numbers.setdefault(m[1], len(numbers))), text
    )


def looks(function, *arguments):
    """Return what a function is known by."""
    device = DeviceFunction(function, inline=True)
    return Looks.of(device, arguments or (X,), None)


def closure(constant, callee=None):
    def function(x):
        return constant

    return function


def calling(first, second):
    def function(x):
        return first(second(x)) - second(x)

    return function


def plus(constant, callee):
    def function(x):
        return callee(x) + constant

    return function


def scaled(x):
    return SCALE * x


DOUBLE = DeviceFunction(lambda x: x * 2.0, inline=True)
NEXT = DeviceFunction(lambda x: x + 1.0, inline=True)
OTHER = DeviceFunction(lambda x: x - 1.0, inline=True)
WHOLE = DeviceFunction(lambda x: 3, inline=True)


@pytest.mark.parametrize(
    "pair",
    [(1, 1.0), (1, True), (0.0, -0.0), ((1, 2), (2, 1)), ((1,), [1]), (np.float32(1), 1.0),
     (np.zeros(2), np.zeros(3)), (np.zeros(2), np.zeros(2, int)), (types.int32, types.int64),
     ("a", b"a"), (DOUBLE, 1), (float("nan"), 1.0)],
    ids=range(12),
)  # fmt: skip
def test_functions_of_different_constants_are_different(pair):
    """However alike these are for Python; equal ones are the same."""
    keys = [looks(closure(constant)).key for constant in pair]
    assert keys[0] != keys[1]
    assert keys[0] == looks(closure(pair[0])).key


def test_what_a_global_name_stands_for_counts(monkeypatch):
    """A module's number may be another one when the next kernel is compiled."""
    before = looks(scaled).key
    assert looks(scaled).key == before
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert looks(scaled).key != before


def test_types_and_flags_count():
    """Of arguments, of inlining, of fast-math."""
    device = DeviceFunction(scaled, inline=True)
    apart = DeviceFunction(scaled, inline=False)
    ways = [(device, (X,), None), (device, (types.float32,), None), (apart, (X,), None)]
    ways.append((device, (X,), frozenset({"contract"})))
    keys = {Looks.of(*way).key for way in ways}
    assert len(keys) == 4


@pytest.mark.parametrize("constant", [object(), {1}, [object()], iter(())], ids=range(4))
def test_what_cannot_be_looked_at_is_lowered_anew(constant):
    """Nothing is taken for the same that may differ."""
    assert looks(closure(constant)) is None


PLACES = {
    "empty": {"location": Location.LOCAL, "size_bytes": 0, "n_elements": 0},
    "shared": {"location": Location.SHARED, "offset": 8},
    "persistent": {"location": Location.LOCAL_PERSISTENT, "offset": 8},
    "global": {"location": Location.GLOBAL, "offset": 8},
    "view": {"location": Location.LOCAL, "parent": "whole", "parent_offset": 8},
    "local": {"location": Location.LOCAL},
}


@pytest.mark.parametrize("place", PLACES)
def test_an_allocator_is_told_by_where_it_takes_its_bytes(place):
    """Not by the backend that made it, nor by what else a plan says of the buffer."""

    def key(**said):
        usual = {"name": "buffer", "offset": None, "size_bytes": 16, "n_elements": 2}
        placement = Placement(dtype=np.dtype(float), **{**usual, **PLACES[place], **said})
        return looks(closure(CPUBackend(np.float64, False, 2).allocator(placement))).key

    assert key() == key(reason="there is room", lifetime=((0, 3),))
    changes = [{"n_elements": 1}]
    changes += [{where: 16} for where in ("offset", "parent_offset") if where in PLACES[place]]
    assert all(key(**change) != key() for change in changes)


def test_callees_are_those_of_the_function_at_hand(nothing_known):
    """A function that calls others than its like did calls them, in its own order."""
    pairs = [(DOUBLE, NEXT), (NEXT, DOUBLE), (OTHER, OTHER), (WHOLE, NEXT), (NEXT, WHOLE)]
    anew = []
    for pair in pairs:
        nothing_known.clear()
        anew.append(text_of(calling(*pair)))
    assert len(set(anew)) == len(pairs)
    nothing_known.clear()
    for _ in range(2):
        assert [text_of(calling(*pair)) for pair in pairs] == anew


@pytest.mark.parametrize("order", [1, -1])
def test_one_function_made_twice_is_one_callee(nothing_known, order):
    """It has one name in compiled code: where a like caller calls two, each is called.

    Optional parts do nothing by one function, in several places.
    """
    again = DeviceFunction(NEXT.function, inline=True)
    as_written = DeviceFunction(NEXT.function, inline=True, faithful=frozenset())
    pairs = [(NEXT, again), (NEXT, OTHER), (OTHER, NEXT), (NEXT, as_written)][::order]
    anew = []
    for pair in pairs:
        nothing_known.clear()
        anew.append(text_of(calling(*pair)))
    nothing_known.clear()
    for _ in range(2):
        assert [text_of(calling(*pair)) for pair in pairs] == anew
    assert looks(calling(NEXT, again)).key == looks(calling(OTHER, OTHER)).key


def test_functions_alike_in_one_kernel_stay_apart(nothing_known):
    """Two that share code and constants, and call each other's callees the other way round."""
    one = DeviceFunction(calling(DOUBLE, NEXT), inline=True)
    two = DeviceFunction(calling(NEXT, DOUBLE), inline=True)
    alike = calling(one, two)
    assert text_of(alike) == text_of(alike)
    nothing_known.clear()
    linked = text_of(alike)
    assert len(nothing_known) > 0
    assert len(set(re.findall(r"^define .*? (\d+)\(", linked, re.M))) == 5


def test_a_caller_is_remembered_whether_its_callees_were_known_or_not(nothing_known):
    """What a function that is linked again calls is no callee of the one that calls it."""
    shared = DeviceFunction(calling(DOUBLE, NEXT), inline=True)
    for constant in (1.0, 2.0):  # `shared` is lowered for the first, and linked again for the other
        caller = plus(constant, shared)
        text_of(caller)
        assert nothing_known.of(looks(caller).key)


def test_what_is_used_is_not_forgotten(nothing_known, monkeypatch):
    """The function that was not used for longest makes room."""
    monkeypatch.setattr(known, "MOST_FUNCTIONS", 2)
    for constant in (1.0, 2.0, 1.0, 3.0):
        text_of(closure(constant))
    found = [bool(nothing_known.of(looks(closure(each)).key)) for each in (1.0, 2.0, 3.0)]
    assert found == [True, False, True]


def decay(t, y, k):
    return [-k * y[0], k * y[0] - y[1]]


def oscillator(t, y, k):
    return [y[1], -k * y[0] + 0.1 * np.sin(t)]


def sections(code):
    """Return the instructions and constants of an object file."""
    named = [
        (str(part.name()), part.data()) for part in llvm.ObjectFileRef.from_data(code).sections()
    ]
    return [(name, data) for name, data in named if ".text" in name or ".rodata" in name]


@pytest.mark.parametrize(
    ("method", "options"),
    [("bogacki_shampine32", {"save": "final"}), ("sdirk2", {"dtype": "float32", "lanes": 8})],
)
def test_a_kernel_of_functions_linked_again_is_the_same_to_the_bit(
    method, options, monkeypatch, nothing_known, tmp_path
):
    """Compiled after that of another system, and with nothing known."""
    codes = []
    compile_kernel = compiler.CPUCompiler.compile_kernel

    def kept(self, loop, memory):
        codes.append(compile_kernel(self, loop, memory))
        return codes[-1]

    monkeypatch.setattr(compiler.CPUCompiler, "compile_kernel", kept)
    for number, system in enumerate((decay, oscillator, oscillator)):
        if number == 2:
            nothing_known.clear()
        monkeypatch.setenv("CUBIE_CACHE_DIR", str(tmp_path / str(number)))
        n_known = len(nothing_known)
        solver = Solver(system, method=method, backend="cpu", **options)
        solver.solve((0.0, 1.0), [1.0, 0.0], args=(np.array([1.0, 2.0]),))
        if number == 1:
            assert len(nothing_known) - n_known < n_known // 5
    assert sections(codes[1]) == sections(codes[2])
    assert len(sections(codes[0])) > 0


def falls(t, y, k):
    return y[0] - 0.5


def is_due(t, y, k):
    return t - 0.5 * k


BREAKS = {"breakpoints": np.array([[0.3], [0.6]])}
TELLS, ENDS = Event(falls), Event(falls, terminal=True)
CHANGES = Event(is_due, apply=lambda t, y, k: [y[0] + 1.0, y[1]])
# What is optional in a run does nothing by functions that other optional parts do nothing by.
FEATURES = {
    "final": {},
    "times": {"t_eval": [0.2, 0.7]},
    "steps": {"save": "steps"},
    "exact": {"t_eval": [0.2, 0.7], "t_eval_exact": True},
    "breaks": BREAKS,
    "tells": {"events": TELLS},
    "ends": {"events": ENDS},
    "ends, breaks": {"events": ENDS, **BREAKS},
    "changes": {"events": [CHANGES, ENDS]},
    "changes, breaks": {"events": [CHANGES, ENDS], **BREAKS},
    "condition": {"events": Event(falls, on="accept")},
    "summaries": {"summaries": {"y0": ["max", "mean"]}},
    "dense": {"dense_output": True},
    "spans": {"span": (np.zeros(2), np.array([1.0, 2.0]))},
    "tolerances": {"rtol": np.array([[1e-3], [1e-4]])},
}


def code_of(features, monkeypatch, tmp_path):
    """Return the object code of the kernels of features, compiled in this order."""
    codes = {}
    compile_kernel = compiler.CPUCompiler.compile_kernel
    for number, name in enumerate(features):
        kept = []

        def compiled(self, loop, memory, kept=kept):
            kept.append(compile_kernel(self, loop, memory))
            return kept[-1]

        monkeypatch.setattr(compiler.CPUCompiler, "compile_kernel", compiled)
        monkeypatch.setenv("CUBIE_CACHE_DIR", str(tmp_path / str(number)))
        options = dict(FEATURES[name])
        span, times = options.pop("span", (0.0, 1.0)), options.pop("t_eval", None)
        solver = Solver(decay, backend="cpu", lanes=2, **options)
        solver.solve(span, [1.0, 0.0], times, args=(np.array([1.0, 2.0]),))
        codes[name] = [sections(code) for code in kept]
    monkeypatch.setattr(compiler.CPUCompiler, "compile_kernel", compile_kernel)
    return codes


def test_a_kernel_is_the_same_whatever_was_compiled_before(monkeypatch, nothing_known, tmp_path):
    """Of every optional part of a run, after those of all the others, in either order."""
    anew = {}
    for name in FEATURES:
        nothing_known.clear()
        anew |= code_of([name], monkeypatch, tmp_path / "anew" / name)
        assert len(anew[name]) == 1
    for way, names in (("forth", [*FEATURES]), ("back", [*FEATURES][::-1])):
        nothing_known.clear()
        after = code_of(names, monkeypatch, tmp_path / way)
        assert [name for name in names if after[name] != anew[name]] == []


def untold(loop):
    """Return names of the functions that a kernel calls and that are lowered anew each time."""
    found, open_ones = {}, [loop]
    while open_ones:
        called = open_ones.pop()
        if called.identity not in found:
            told = Looks.of(called, (), None)
            found[called.identity] = told
            open_ones += told.callees if told else []
    assert len(found) > 30
    return [identity[0].__qualname__ for identity, told in found.items() if told is None]


class NotCompiled(Exception):
    """Instead of a kernel: its loop is all that is wanted."""


def look_at(monkeypatch, tmp_path, options):
    """Return the names of what is lowered anew each time in the kernel of such a solver."""

    def kept(self, loop, memory):
        raise NotCompiled(loop)

    monkeypatch.setattr(compiler.CPUCompiler, "compile_kernel", kept)
    monkeypatch.setenv("CUBIE_CACHE_DIR", str(tmp_path))
    options = {"lanes": 2, "first_step": 0.1, **options}
    span, times = options.pop("span", (0.0, 1.0)), options.pop("t_eval", None)
    solver = Solver(decay, backend="cpu", **options)
    with pytest.raises(NotCompiled) as caught:
        solver.solve(span, [1.0, 0.0], times, args=(np.array([1.0, 2.0]),))
    return untold(caught.value.args[0])


OF_ALL_KINDS = {
    **{name: {"method": name, "lanes": 1 + n % 2} for n, name in enumerate(all_methods())},
    **FEATURES,
    **{
        f"{solver}, {preconditioner}": {
            "method": method, "linear_solver": solver, "preconditioner": preconditioner
        }
        for method, solver in (("kvaerno5", "bicgstab"), ("rodas5p", "gmres"))
        for preconditioner in PRECONDITIONERS
    },
    "shared": {"method": "radau_iia_5", "locations": "shared", "dtype": "float32"},
    "global": {"method": "kvaerno5", "locations": "global", "fastmath": True},
    "reuse": {"method": "kvaerno5", "jacobian_reuse": True},
}  # fmt: skip


@pytest.mark.parametrize("kind", OF_ALL_KINDS)
def test_every_function_of_a_kernel_is_found_again(kind, monkeypatch, tmp_path):
    """One that holds what cannot be looked at would be lowered anew for every kernel."""
    assert look_at(monkeypatch, tmp_path, OF_ALL_KINDS[kind]) == []
