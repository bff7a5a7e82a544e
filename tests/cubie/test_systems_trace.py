"""What `trace` promises: readable modules, a cache that is right, and clear refusals."""

import functools
import linecache
import math
import subprocess
import sys
import traceback
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cubie import CacheWarning
from cubie.systems import RightHandSideError, trace
from cubie.systems.symbolic.from_trace import to_sympy
from cubie.systems.tracing.checking import evaluate_source

LORENZ_BODY = '''
def rhs(t, y, p, dy, at):
    """dy[at + i] = f_i(t, y, p)."""
    y0 = y[0]
    y1 = y[1]
    sigma = p[0]
    dy[at + 0] = sigma * (y1 - y0)
    y2 = y[2]
    rho = p[1]
    dy[at + 1] = y0 * (rho - y2) - y1
    beta = p[2]
    dy[at + 2] = y0 * y1 - beta * y2
'''


def lorenz(t, y, sigma, rho, beta):
    return [sigma * (y[1] - y[0]), y[0] * (rho - y[2]) - y[1], y[0] * y[1] - beta * y[2]]


@pytest.fixture
def traced(tmp_path):
    """`trace` with a cache of its own."""
    return functools.partial(trace, cache_dir=tmp_path)


def body(system):
    """Return the generated function's statements."""
    return system.source.partition('."""\n')[2].replace("    ", "").splitlines()


def test_lorenz_source(traced):
    """The module reads as one would write it, with the names of the user's signature."""
    system = traced(lorenz, 3, (10, 28.0, 8 / 3))
    assert system.source.endswith(LORENZ_BODY)
    assert system.path.read_text() == system.source
    assert system.kind == "traced"
    assert system.note == ""
    assert (system.n_states, system.n_parameters) == (3, 3)
    assert system.parameter_names == ("sigma", "rho", "beta")
    assert system.state_names == ("y0", "y1", "y2")
    assert system.path.stem == system.digest


def test_rhs_is_loaded_from_the_module(traced):
    """`rhs` writes to the buffer it is given, and its traceback shows generated source."""
    system = traced(lorenz, 3, (10.0, 28.0, 8 / 3))
    dy = [0.0] * 5
    assert system.rhs(0.0, [1.0, 2.0, 3.0], [10.0, 28.0, 2.0], dy, 1) is None
    assert dy == [0.0, 10.0, 23.0, -4.0, 0.0]
    with pytest.raises(IndexError) as caught:
        system.rhs(0.0, [1.0, 2.0], [1.0] * 3, dy, 0)
    assert "y2 = y[2]" in "".join(traceback.format_exception(caught.value))
    assert linecache.getline(str(system.path), 1).startswith('"""Right-hand side of `lorenz`')


def test_names(traced):
    """Given names are used where they are variables of Python's, and made so where not."""
    system = traced(
        lambda t, y, p: [y[0] * p, y[1], y[2], t], 4, (2.0,), names=["p", "x'", "if", "x"]
    )
    assert system.state_names == ("p", "x'", "if", "x")
    assert body(system)[:3] == ["p_2 = y[0]", "p_3 = p[0]", "dy[at + 0] = p_2 * p_3"]
    assert "x = y[1]" in body(system)
    assert "v_if = y[2]" in body(system)


def test_parameter_names_of_containers(traced):
    """Slots inside vectors and dictionaries are named after where they are."""
    system = traced(
        lambda t, y, a, k, **_: [k["v"][1] * y[0] + a[1, 0]], 1, (np.eye(2), {"v": [1.0, 2.0]})
    )
    assert system.parameter_names[2] == "a[1, 0]"
    assert system.parameter_names[4:] == ("k['v'][0]", "k['v'][1]")


def test_shared_subexpressions_and_constants(traced):
    """What is used twice is computed once; numbers are folded to floats."""
    system = traced(
        lambda t, y: [math.exp(y[0] * 2) * y[0] ** 2, math.exp(2 * y[0]) + y[0] ** 4 * (2 / 3)], 2
    )
    assert body(system) == [
        "y0 = y[0]",
        "x0 = math.exp(y0 * 2.0)",
        "x1 = y0 * y0",
        "dy[at + 0] = x0 * x1",
        "dy[at + 1] = x0 + x1 * x1 * 0.6666666666666666",
    ]


@pytest.mark.parametrize(
    ("fun", "expected"),
    [
        (lambda t, y: [y[0] * 0 + 1 * y[0] - 0], "y0"),
        (lambda t, y: [np.negative(-y[0]) / 1], "y0"),
        (lambda t, y: [y[0] + -y[0] * 2.0], "y0 - y0 * 2.0"),
        (lambda t, y: [y[0] ** -2], "1.0 / (y0 * y0)"),
        (lambda t, y: [y[0] ** 0.5], "math.sqrt(y0)"),
        (lambda t, y: [math.sqrt(2) * np.pi + y[0]], f"{math.sqrt(2) * np.pi!r} + y0"),
        (lambda t, y: [y[0] - (y[0] - 1)], "y0 - (y0 - 1.0)"),
        (lambda t, y: [(y[0] > 0) * t], "select(y0 > 0.0, t, 0.0)"),
        (lambda t, y: [np.where(y[0] > 0, 1, 1.0)], "1.0"),
        (lambda t, y: [min(y[0], np.inf)], "minimum(math.inf, y0)"),
        (lambda t, y: [np.where((y[0] > 0) & ~(y[0] > t), 1, 2)],
         "select((y0 > 0.0) & ~(y0 > t), 1.0, 2.0)"),
    ],
)  # fmt: skip
def test_simplified(traced, fun, expected):
    """Neutral operations disappear; brackets stay where they decide rounding."""
    assert body(traced(fun, 1))[-1] == f"dy[at + 0] = {expected}"


@st.composite
def formulas(draw, depth=4):
    """A function of (t, y, k) put together at random, as text."""
    if depth == 0 or draw(st.integers(0, 5)) == 0:
        leaves = ["t", "y[0]", "y[1]", "k", "-1.5", "2", "0.25", "-y[1]"]
        return draw(st.sampled_from(leaves))
    a = draw(formulas(depth=depth - 1))
    b = draw(formulas(depth=depth - 1))
    shape = draw(
        st.sampled_from(
            [
                "({a} + {b})",
                "({a} - {b})",
                "({a} * {b})",
                "({a} / (2 + ({b}) ** 2))",
                "-({a})",
                "({a}) ** 3",
                "math.sin({a})",
                "abs({a})",
                "max({a}, {b})",
                "np.where({a} < {b}, {b}, 1)",
                "(({a} > {b}) | ({b} >= t)) * {a}",
                "({a} if {b} > k else {b})",
            ]
        )
    )  # fmt: skip
    return shape.format(a=a, b=b)


@settings(max_examples=150, deadline=None)
@given(formulas(), formulas())
def test_random_formulas(tmp_path_factory, first, second):
    """The text of any formula gives what the formula gives."""
    namespace = {"math": math, "np": np}
    exec(f"def fun(t, y, k):\n    return [{first}, {second}]", namespace)
    fun = namespace["fun"]
    system = trace(fun, 2, (0.7,), cache_dir=tmp_path_factory.getbasetemp())
    if system.kind == "compiled":
        assert "paths" in system.note
        return
    rhs = evaluate_source(system.source)
    for y in ([0.3, -1.2], [-0.9, 0.4]):
        dy = [0.0, 0.0]
        rhs(0.5, y, [0.7], dy, 0)
        np.testing.assert_allclose(dy, fun(0.5, np.array(y), 0.7), rtol=1e-13, atol=1e-300)


class TestIntegers:
    """Ints are parameters, and constants only where Python needs an int."""

    def test_int_in_arithmetic_is_a_parameter(self, traced):
        """Another value needs no other module."""
        fun = lorenz
        assert traced(fun, 3, (10, 28, 3)).digest == traced(fun, 3, (11, 30, 5)).digest

    def test_count_is_a_constant(self, traced):
        """Another count is another module; coming back finds the first again."""

        def fun(t, y, n, k):
            return [sum(k * y[0] for _ in range(n))]

        two, three = (traced(fun, 1, (n, 2.0)) for n in (2, 3))
        assert two.digest != three.digest
        assert traced(fun, 1, (2, 5.0)).digest == two.digest
        assert body(three)[-1] == "dy[at + 0] = x0 + x0 + x0"
        assert two.n_parameters == 2

    def test_index_of_a_plain_list_is_a_constant(self, traced):
        """Indexing what cannot tell us about it works too."""
        table = np.array([1.0, 2.0, 3.0])

        def fun(t, y, i, rows):
            return [table[i] * y[0], table[rows].sum() + y[rows[0]]]

        system = traced(fun, 2, (2, np.array([0, 1])))
        assert system.kind == "traced"
        assert body(system)[-1] == "dy[at + 1] = 3.0 + y0"

    def test_float_count_is_refused(self, traced):
        """A float where Python needs an int is the user's error."""
        with pytest.raises(RightHandSideError, match="'float' object cannot be interpreted"):
            traced(lambda t, y, n: [sum(y[0] for _ in range(n))], 1, (2.0,))


class TestCache:
    """A function is traced once, and again whenever anything it depends on changed."""

    @pytest.fixture
    def count(self, monkeypatch):
        """How often something was really traced."""
        import cubie.systems.tracing.tracer as tracing

        calls = []
        original = tracing.trace_outputs
        monkeypatch.setattr(
            tracing, "trace_outputs", lambda *args: (calls.append(1), original(*args))[1]
        )
        return lambda: len(calls)

    def test_values_of_parameters_do_not_matter(self, traced, count):
        """Only the structure of args is part of the key."""
        first = traced(lorenz, 3, (10.0, 28.0, 8 / 3))
        assert traced(lorenz, 3, (1.0, 2.0, 3.0)) == first
        assert count() == 1

    @pytest.mark.parametrize(
        "change",
        [
            {"n_states": 3},
            {"args": (1.0, "b", 2.0)},
            {"args": (1.0, "a", [2.0])},
            {"args": (1.0, "a", np.array([2.0, 3.0]))},
            {"args": (1.0, None, 2.0)},
            {"names": ["u", "v"]},
        ],
    )
    def test_structure_matters(self, traced, count, change):
        """Sizes, constants and names are part of the key."""

        def fun(t, y, a, mode, k):
            return list(y)

        given = {"n_states": 2, "args": (1.0, "a", 2.0)}
        traced(fun, **given)
        traced(fun, **(given | change))
        assert count() == 2

    @pytest.mark.parametrize(
        "before_and_after",
        [
            ("K = 2.0\ndef fun(t, y): return [K * y[0]]", ("2.0", "3.0")),
            ("def h(x): return x * 2\ndef fun(t, y): return [h(y[0])]", ("x * 2", "x * 3")),
            ("import numpy as np\nA = np.ones(1)\ndef fun(t, y): return A * y", ("ones", "zeros")),
            ("def fun(t, y, *, k=2.0): return [k * y[0]]", ("2.0", "3.0")),
            ("class M:\n    def f(self, x): return 2 * x\nm = M()\n"
             "def fun(t, y): return [m.f(y[0])]", ("2 *", "3 *")),
            ("class M:\n    def __init__(self): self.k = 2.0\nm = M()\n"
             "def fun(t, y): return [m.k * y[0]]", ("2.0", "3.0")),
            ("R = {'k': 2.0}\ndef fun(t, y): return [sum(R[c] * y[0] for c in 'k')]",
             ("2.0", "3.0")),
            ("def make(k):\n    return lambda t, y: [k * y[0]]\nfun = make(2.0)", ("2.0", "3.0")),
            ("def make():\n    def h(x): return 2 * x\n    return lambda t, y: [h(y[0])]\n"
             "fun = make()", ("2 *", "3 *")),
        ],
    )  # fmt: skip
    def test_surroundings_matter(self, traced, before_and_after):
        """A changed global, helper, default, method, attribute or closure is seen."""
        text, (old, new) = before_and_after
        sources = []
        for program in (text, text.replace(old, new)):
            namespace = {"__name__": "model"}
            exec(program, namespace)
            sources.append(traced(namespace["fun"], 1).source)
        assert sources[0] != sources[1]

    def test_module_of_the_users(self, traced):
        """Functions reached through a module of the user's own are part of the key."""
        model = types.ModuleType("model")
        digests = set()
        for factor in (2, 3):
            exec(f"import math\ndef rate(x): return {factor} * math.sin(x)", model.__dict__)
            digests.add(traced(lambda t, y: [model.rate(y[0])], 1).digest)
        assert len(digests) == 2

    @pytest.mark.parametrize("damage", ["", "def rhs(): nonsense", "\0\0"])
    def test_damaged_files_are_rebuilt(self, traced, tmp_path, damage):
        """A cut or changed module, or index, is written anew."""
        system = traced(lorenz, 3, (1.0, 2.0, 3.0))
        index = next(tmp_path.rglob("*.json"))
        for path in (system.path, index):
            path.write_text(damage)
            assert traced(lorenz, 3, (1.0, 2.0, 3.0)) == system
            assert system.path.read_text() == system.source

    def test_nothing_but_results_is_left(self, traced, tmp_path):
        """No temporary file stays in the cache."""
        traced(lorenz, 3, (1.0, 2.0, 3.0))
        assert sorted(p.suffix for p in tmp_path.rglob("*") if p.is_file()) == [".json", ".py"]

    def test_a_hit_needs_no_tracer(self, tmp_path):
        """In a second process neither SymPy nor the tracer is imported."""
        program = tmp_path / "model.py"
        program.write_text(
            "import sys\nfrom cubie.systems import trace\n"
            "system = trace(lambda t, y, k: [-k * y[0]], 1, (2.0,))\n"
            "tracer = 'cubie.systems.tracing.tracer'\n"
            "print(sum(name in sys.modules for name in ('sympy', tracer)))\n"
        )
        outputs = [
            subprocess.run(
                [sys.executable, program],
                env={"CUBIE_CACHE_DIR": str(tmp_path / "cache"), "PATH": ""},
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for _ in range(2)
        ]
        assert outputs == ["1", "0"]

    def test_processes_share_a_cache(self, tmp_path):
        """Processes that trace the same function at once all get the right module."""
        program = (
            "from cubie.systems import trace\n"
            "for n in range(1, 30):\n"
            "    s = trace(lambda t, y: [-v for v in y], n)\n"
            "    assert s.path.read_text() == s.source\n"
        )
        environment = {"CUBIE_CACHE_DIR": str(tmp_path), "PATH": ""}
        processes = [
            subprocess.Popen([sys.executable, "-c", program], env=environment) for _ in range(3)
        ]
        assert [process.wait(60) for process in processes] == [0, 0, 0]

    def test_unwritable_directory(self, tmp_path):
        """Where nothing can be written the system is the same, and the warning says what to set."""
        (tmp_path / "file").write_text("")
        with pytest.warns(CacheWarning, match="CUBIE_CACHE_DIR"):
            system = trace(lorenz, 3, (1.0, 2.0, 3.0), cache_dir=tmp_path / "file")
        assert system.source == trace(lorenz, 3, (1.0, 2.0, 3.0)).source
        dy = [0.0] * 3
        system.rhs(0.0, [1.0, 2.0, 3.0], [10.0, 28.0, 2.0], dy, 0)
        assert dy == [10.0, 23.0, -4.0]


def iterate(t, y, limit):
    size = y[0] * y[0]
    while size > limit:
        size = size / 2
    return [size, -y[1]]


def many_branches(t, y):
    positive = []
    for v in y:
        if v > 0:
            positive.append(v)
    return [sum(positive)] * len(y)


def masked_store(t, y):
    d = -y
    d[y < 0] *= 2.0
    return d


def asks_for_types(t, y):
    return [y[0] if type(y[0]) is np.float64 else -y[0]]


class TestCompiled:
    """What cannot be traced is compiled as it stands, and the note says why."""

    @pytest.mark.parametrize(
        ("fun", "n_states", "args", "reason"),
        [
            (iterate, 2, (0.5,), "conditions on the states follow one another"),
            (iterate, 2, (0.5,), "line"),
            (iterate, 2, (0.5,), "`while size > limit:`"),
            (many_branches, 11, (), "more than 1000 paths"),
            (masked_store, 2, (), "use np.where"),
            (asks_for_types, 1, (), "differs from fun itself (state 0"),
            (lambda t, y: [math.ulp(y[0])], 1, (), "math.ulp is applied to an expression"),
            (lambda t, y: np.linalg.solve(np.eye(2) + y[0], y), 2, (), "numpy.linalg.solve"),
            (lambda t, y: [y[int(t)], y[0]], 2, (), "the time is used as an index"),
        ],
    )
    def test_note(self, traced, fun, n_states, args, reason):
        """The note names the reason and the line, also when it comes from the cache."""
        first = traced(fun, n_states, args)
        assert first.kind == "compiled"
        assert reason in first.note
        assert traced(fun, n_states, args) == first
        assert first.note.endswith(".")

    def test_adapter(self, traced):
        """`rhs` calls the function with one run's plain numbers; ints and objects are constants."""

        def fun(t, y, k, n, mode, vector, pair):
            size = y[0]
            while size > 1:
                size /= 2
            return [size + vector[1] * n, k * y[1] + pair[1] + len(mode)]

        args = (2.0, 3, "ab", np.array([5.0, 6.0]), (1.0, 7))
        system = traced(fun, 2, args)
        assert "fun(t, pack((y[0], y[1])), p[0], 3, c0, keep((p[2], p[3])), (p[4], 7))" in (
            system.source
        )
        dy = [0.0] * 3
        system.rhs(0.0, [4.0, 2.0], system.parameters(args)[:, 0], dy, 1)
        assert dy[1:] == fun(0.0, [4.0, 2.0], *args)

    def test_partial(self, traced):
        """Arguments of a partial become constants of the adapter."""

        def fun(first, t, y, *, last):
            while y[0] > 4:
                y[0] /= 2
            return [first * y[0] + last]

        system = traced(functools.partial(fun, 2.0, last=3.0), 1)
        assert system.constants == (2.0, 3.0)
        dy = [0.0]
        system.rhs(0.0, [1.0], [], dy, 0)
        assert dy == [5.0]

    def test_digest_follows_the_function(self, traced):
        """Two functions with the same adapter have different digests."""
        halves, thirds = (
            traced(lambda t, y, d=divisor: [math.ldexp(y[0], 1) / d], 1) for divisor in (2, 3)
        )
        assert halves.source == thirds.source
        assert halves.digest != thirds.digest

    def test_numba_compiles_the_adapter(self, traced):
        """A backend can compile function and adapter, with an array made from the states."""
        import numba

        system = traced(iterate, 2, (0.5,))
        pack = numba.njit(lambda values: np.array(values))
        rhs = numba.njit(system.adapt(numba.njit(system.function), pack, pack))
        dy = np.zeros(3)
        rhs(0.0, np.array([3.0, 4.0]), np.array([0.5]), dy, 1)
        np.testing.assert_array_equal(dy[1:], iterate(0.0, [3.0, 4.0], 0.5))

    def test_methods_cannot_be_compiled(self, traced):
        """An object's method that cannot be traced is refused, with the reason and a remedy."""

        class Model:
            def rhs(self, t, y):
                return [math.ldexp(y[0], 1)]

        with pytest.raises(RightHandSideError, match=r"math\.ldexp.*a plain function.*method"):
            traced(Model().rhs, 1)

    def test_numba_functions_are_traced(self, traced):
        """A function that is already numba's is traced through the Python it was made from."""
        import numba

        helper = numba.njit(lambda x: 2 * x)
        system = traced(numba.njit(lambda t, y: [helper(y[0])]), 1)
        assert body(system)[-1] == "dy[at + 0] = 2.0 * y0"


class TestRefusals:
    """What is no right-hand side is refused in words that say what was wrong."""

    @pytest.mark.parametrize(
        ("fun", "words"),
        [
            (lambda t, y: [y[0], y[1]], "fun returned 2 values for 3 states."),
            (lambda t, y: None, "fun returned None; .*return"),
            (lambda t, y: 1.0, "fun returned one number for 3 states"),
            (lambda t, y: {1, 2, 3}, r"fun returned a set \(\{1, 2, 3\}\)"),
            (lambda t, y: y.reshape(3, 1), r"array of shape \(3, 1\); it must have shape \(3,\)"),
            (lambda t, y: (v for v in y), "fun returned a generator"),
            (lambda t, y: [y, y, y], r"fun returned an array of shape \(3,\) for state 0"),
            (lambda t, y: ["a", 1.0, 2.0], r"fun returned a str \('a'\) for state 0"),
            (lambda t, y: [1j, 1.0, 2.0], "fun returned a complex number for state 0"),
            (lambda t, y: y[0] * 1j * y, "complex number for state 0"),
            (lambda t, y: [y[5], 1.0, 2.0], "fun raises for 3 states.*IndexError.*line"),
        ],
    )
    def test_results(self, traced, fun, words):
        """The message says what was returned, and for how many states."""
        with pytest.raises(RightHandSideError, match=words):
            traced(fun, 3)

    def test_own_exception_is_the_cause(self, traced):
        """An exception of the function's own is chained and named with its line."""

        def fun(t, y, k):
            raise KeyError("no such rate")

        with pytest.raises(RightHandSideError, match="KeyError: 'no such rate'") as caught:
            traced(fun, 2, (1.0,))
        assert isinstance(caught.value.__cause__, KeyError)

    def test_unassigned_entry(self, traced):
        """An entry of np.empty that is never assigned is found, where SciPy would go on."""

        def fun(t, y):
            d = np.empty(2)
            d[0] = y[0]
            return d

        with pytest.raises(RightHandSideError):
            traced(fun, 2)

    def test_random_numbers(self, traced):
        """A function that gives two results for one input is refused."""
        with pytest.raises(RightHandSideError, match="two results"):
            traced(lambda t, y: y + np.random.default_rng().normal(), 2)

    def test_signature(self, traced):
        """A mismatch of arguments says what was called and what the signature is."""
        with pytest.raises(TypeError) as caught:
            traced(lorenz, 3, (10.0, 28.0))
        assert str(caught.value) == (
            "fun is called as lorenz(t, y, args[0], args[1]), but its signature is "
            "lorenz(t, y, sigma, rho, beta): missing a required argument: 'beta'."
        )

    @pytest.mark.parametrize(
        ("given", "error", "words"),
        [
            (("not callable", 1), TypeError, "fun must be callable"),
            ((lorenz, 0), ValueError, "n_states"),
            ((lorenz, 2.0), ValueError, "n_states"),
            ((lorenz, 3, 10.0), TypeError, r"args=\(value,\)"),
            ((lorenz, 3, (1j, 2.0, 3.0)), TypeError, r"args\[0\] is complex"),
        ],
    )
    def test_arguments(self, traced, given, error, words):
        """Arguments that make no sense are refused before anything runs."""
        with pytest.raises(error, match=words):
            traced(*given)

    @pytest.mark.parametrize(
        ("names", "error"),
        [(["a", "b"], ValueError), (["a", "b", "b"], ValueError), ([1, 2, 3], TypeError)],
    )
    def test_names(self, traced, names, error):
        """State names must be as many as states, different, and strings."""
        with pytest.raises(error, match="names must be"):
            traced(lorenz, 3, (1.0, 2.0, 3.0), names=names)

    def test_parameters_of_another_structure(self, traced):
        """Flattening other args than were traced says how many numbers are expected."""
        system = traced(lorenz, 3, (1.0, 2.0, 3.0))
        assert system.parameters((1.0, np.arange(4.0), 2.0), 4).shape == (3, 4)
        with pytest.raises(ValueError, match=r"hold 2 numbers.*with 3 \(sigma, rho, beta\)"):
            system.parameters((1.0, 2.0))


def test_tracing_leaves_modules_alone(traced):
    """Names are replaced in copies only."""
    before = (math.exp, np.zeros, lorenz.__globals__["math"])
    traced(lambda t, y: [math.exp(y[0]), np.zeros(2)[0]], 2)
    assert before == (math.exp, np.zeros, math)


class TestSymPy:
    """A traced system gives SymPy expressions on demand."""

    def test_jacobian(self, traced):
        """Derivatives of the expressions are those of the equations."""
        import sympy

        symbolic = to_sympy(traced(lorenz, 3, (10.0, 28.0, 8 / 3), names=list("xyz")))
        x, y, z = symbolic.states
        sigma, rho, beta = symbolic.parameters
        jacobian = sympy.Matrix(symbolic.derivatives).jacobian(symbolic.states)
        assert jacobian == sympy.Matrix([[-sigma, sigma, 0], [rho - z, -1, -x], [y, x, -beta]])

    def test_conditions_and_functions(self, traced):
        """Conditions become Piecewise, functions their SymPy namesakes."""

        def fun(t, y):
            return [np.where((y[0] > 1) & (t != 2), math.log1p(y[1]), abs(y[0])), max(y[0], y[1])]

        symbolic = to_sympy(traced(fun, 2))
        values = {symbolic.time: 0.5, symbolic.states[0]: 1.5, symbolic.states[1]: 0.25}
        got = [float(d.subs(values)) for d in symbolic.derivatives]
        assert got == pytest.approx([math.log1p(0.25), 1.5])

    def test_compiled_systems_have_none(self, traced):
        """Where there are no expressions the error repeats why."""
        with pytest.raises(ValueError, match="ldexp"):
            to_sympy(traced(lambda t, y: [math.ldexp(y[0], 1)], 1))
