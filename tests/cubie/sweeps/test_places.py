"""What names of axes mean, and where in a run's inputs their values go."""

import numpy as np
import pytest
from scipy.stats import uniform

import cubie
from cubie import Interpolant, InvalidProblem
from cubie.sweeps.places import Words, normalised
from tests.cubie.sweeps.alone import grid_rows, require_same

PLAIN = {"backend": "python", "rtol": 1e-3, "atol": 1e-4}


def done(*args, **options):
    """Return a sweep, all of it computed, in chunks of two runs."""
    return cubie.sweep(*args, **{"chunk": 2, **PLAIN, **options}).run(progress=False)


def decay(t, y, rate, level=0.5):
    return [rate * (level - y[0])]


def test_an_argument_is_called_by_name_or_number():
    """A name and a number of an argument mean the same, and so do those of a state."""
    for name in ("rate", "args[0]"):
        sweep = done(decay, (0, 1), [1.0], over=cubie.grid({name: [1, 2, 3]}))
        runs = [((0, 1), [1.0], (row[name],)) for row in grid_rows(**{name: [1, 2, 3]})]
        require_same(sweep, runs, decay, **PLAIN)
    for name in ("y0", "y0[0]", "y0[-1]"):
        sweep = done(decay, (0, 1), [7.0], over=cubie.grid({name: [1, 2, 3]}), args=(0.5,))
        runs = [((0, 1), [value], (0.5,)) for value in (1.0, 2.0, 3.0)]
        require_same(sweep, runs, decay, **PLAIN)


def test_what_has_a_default_need_not_be_given():
    """An argument that is left out has the value of the signature, before and behind others."""
    sweep = done(decay, (0, 1), [1.0], over=cubie.grid(level=[1, 2, 3]), args={"rate": 2.0})
    runs = [((0, 1), [1.0], (2.0, level)) for level in (1.0, 2.0, 3.0)]
    require_same(sweep, runs, decay, **PLAIN)

    def both(t, y, rate=2.0, level=0.5):
        return [rate * (level - y[0])]

    sweep = done(both, (0, 1), [1.0], over=cubie.grid(level=[1, 2, 3]))
    require_same(sweep, runs, both, **PLAIN)


def epidemic(t, y, beta, sigma=0.2, gamma=0.1):
    return [-beta * y[0], sigma * y[0] - gamma * y[1]]


@pytest.mark.parametrize("name", ["beta", "args[0]"])
def test_some_by_position_beside_what_is_swept_are_refused(name):
    """(0.2, 0.1) may be beta and sigma, or what is left without beta: names tell, or all do."""
    over, y0 = cubie.grid({name: [0.3, 0.5]}), [1.0, 0.0]
    told = r"has by position 2 of 3 arguments, beta, sigma, and beta is swept\. .*: args={'sigma': "
    with pytest.raises(InvalidProblem, match=told):
        cubie.sweep(epidemic, (0, 1), y0, over=over, args=(0.2, 0.1), **PLAIN)
    runs = [((0, 1), y0, (beta, 0.3, 0.4)) for beta in (0.3, 0.5)]
    for args in ((None, 0.3, 0.4), (9.0, 0.3, 0.4), {"sigma": 0.3, "gamma": 0.4},
                 {"beta": 9.0, "sigma": 0.3, "gamma": 0.4}):  # fmt: skip
        require_same(done(epidemic, (0, 1), y0, over=over, args=args), runs, epidemic, **PLAIN)


def test_some_by_position_before_what_is_swept_or_drawn():
    """Those before what is swept are what they are, and so is a distribution among them."""
    y0, over = [1.0, 0.0], cubie.grid(gamma=[0.3, 0.4])
    sweep = done(epidemic, (0, 1), y0, over=over, args=(0.5, 0.6))
    runs = [((0, 1), y0, (0.5, 0.6, gamma)) for gamma in (0.3, 0.4)]
    require_same(sweep, runs, epidemic, **PLAIN)
    drawn = done(epidemic, (0, 1), y0, over=over, args=(uniform(0.5, 1.0),)).to_xarray()
    assert drawn["beta"].dims == ("gamma",)
    assert np.all(drawn["beta"] > 0.5)


def test_further_arguments_are_called_by_number():
    """Of ``*args`` each is called by its number, and those before it must be given."""

    def fun(t, y, *rates):
        return [-rates[0] * y[0], rates[1] * y[0] - rates[2] * y[1]]

    over = cubie.grid({"args[1]": [0.1, 0.2, 0.3], "args[2]": [0.5, 0.6]})
    sweep = done(fun, (0, 1), [1.0, 0.0], over=over, args=(0.3,))
    rows = grid_rows(**{"args[1]": [0.1, 0.2, 0.3], "args[2]": [0.5, 0.6]})
    runs = [((0, 1), [1.0, 0.0], (0.3, row["args[1]"], row["args[2]"])) for row in rows]
    require_same(sweep, runs, fun, **PLAIN)
    with pytest.raises(InvalidProblem, match=r"`args` has no 'args\[0\]', and it is not swept"):
        cubie.sweep(fun, (0, 1), [1.0, 0.0], over=over, **PLAIN)


def test_keyword_only_arguments_keep_their_defaults():
    """The solver calls by position: what can only be given by name is not swept, and says so."""

    def fun(t, y, rate, *, level=0.5):
        return [rate * (level - y[0])]

    sweep = done(fun, (0, 1), [1.0], over=cubie.grid(rate=[1, 2, 3]))
    runs = [((0, 1), [1.0], (rate,)) for rate in (1.0, 2.0, 3.0)]
    require_same(sweep, runs, fun, **PLAIN)
    with pytest.raises(InvalidProblem, match="'level', which can only be given by name"):
        cubie.sweep(fun, (0, 1), [1.0], over=cubie.grid(level=[1, 2]), args=(1.0,), **PLAIN)


def test_states_have_the_names_of_a_mapping():
    """States of a function are called as in a mapping `y0`, by axes, summaries and choices."""

    def spring(t, y, k):
        return [y[1], -k * y[0]]

    options = {"summaries": {"v": ["max"], "x": ["final"]}, "save_states": ["v"]}
    sweep = done(
        spring, (0, 1), {"x": 1.0, "v": 0.5}, over={"v": [1, 2, 3], "k": [4, 5]}, **options
    )
    runs = [((0, 1), [1.0, row["v"]], (row["k"],)) for row in grid_rows(v=[1, 2, 3], k=[4, 5])]
    plain = {"summaries": {1: ["max"], 0: ["final"]}, "save_states": [1]}
    require_same(sweep, runs, spring, names={"y0": "x", "y1": "v"}, **plain, **PLAIN)
    dataset = sweep.to_xarray()
    assert list(dataset.component) == ["v"]
    assert {"max of v", "final of x"} <= set(dataset)


def test_equations_sweep_by_their_own_names():
    """States and parameters of equations go by name; a state that is swept needs no value."""
    lines = ["dx = a*(y - x)", "dy = -b*x + y"]
    options = {"summaries": {"y": ["max"]}, "observables": {"d": "x - y"}}
    over = cubie.grid(x=[1.0, 2.0]) * cubie.zipped(b=[0.5, 1.5], a=[1.0, 2.0])
    sweep = done(lines, (0, 1), {"y": 0.25}, over=over, **options)
    runs = [((0, 1), [x, 0.25], args) for x in (1.0, 2.0) for args in ((1.0, 0.5), (2.0, 1.5))]
    require_same(sweep, runs, lines, **options, **PLAIN)


def test_complex_states_and_arguments_are_swept():
    """A complex axis has two slots a value, of a state, of an argument, of an entry."""

    def turning(t, y, w, c):
        return [1j * w * y[0] + c[1]]

    w, c, y0 = [1 + 0.1j, 2 - 0.2j], [0.1j, 0.2 + 0.3j], [1j, 2.0 + 1j]
    for over, of_run in (
        ({"w": w}, lambda v: (1.0, v, [0.0, 0.1])),
        ({"c[1]": c}, lambda v: (1.0, 0.5, [0.0, v])),
        ({"y0": y0}, lambda v: (v, 0.5, [0.0, 0.1])),
    ):
        (name, values), *_ = over.items()
        start = [1.0 + 0j] if name != "y0" else [0.0]
        args = {"w": 0.5, "c": [0.0, 0.1]}
        if name == "w":
            del args["w"]
        sweep = done(turning, (0, 1), start, over=over, args=args)
        runs = [((0, 1), [complex(y)], rest) for y, *rest in map(of_run, values)]
        require_same(
            sweep, [(s, y, tuple(a)) for s, y, a in runs], turning, together=False, **PLAIN
        )


def test_a_mass_matrix_and_a_jacobian_stay_with_their_runs():
    """What is given beside the equations is that of every run."""

    def robertson(t, y, k):
        return [-k * y[0] + 10.0 * y[1] * y[2], k * y[0] - 10.0 * y[1] * y[2] - 3.0 * y[1] * y[1],
                y[0] + y[1] + y[2] - 1.0]  # fmt: skip

    def jac(t, y, k):
        return [[-k, 10.0 * y[2], 10.0 * y[1]],
                [k, -10.0 * y[2] - 6.0 * y[1], -10.0 * y[1]],
                [1.0, 1.0, 1.0]]  # fmt: skip

    options = {"mass_matrix": np.diag([1.0, 1.0, 0.0]), "jac": jac, "method": "radau"}
    sweep = done(robertson, (0, 1), [1.0, 0.0, 0.0], over=cubie.grid(k=[0.04, 0.4, 1.0]), **options)
    runs = [((0, 1), [1.0, 0.0, 0.0], (k,)) for k in (0.04, 0.4, 1.0)]
    require_same(sweep, runs, robertson, **options, **PLAIN)


def test_drivers_serve_all_runs():
    """An interpolant is one of all runs, among args, in a container, or closed over."""
    push = Interpolant([0.0, 0.4, 1.0], [0.0, 1.0, -1.0])

    def given(t, y, k, f):
        return [f(t) - k * y[0]]

    def nested(t, y, k, f):
        return [f["push"](t) - k * y[0]]

    def closed(t, y, k):
        return [push(t) - k * y[0]]

    for fun, rest in ((given, (push,)), (nested, ({"push": push},)), (closed, ())):
        sweep = done(fun, (0, 1), [0.5], over=cubie.grid(k=[1, 2, 3]), args=(None, *rest))
        runs = [((0, 1), [0.5], (k, *rest)) for k in (1.0, 2.0, 3.0)]
        require_same(sweep, runs, fun, together=False, **PLAIN)


def test_a_driver_of_each_run_is_refused():
    """Samples of several runs are those of a batch, which a sweep is not."""
    several = Interpolant([0.0, 1.0], np.array([[0.0, 1.0], [1.0, 2.0]]))

    def fun(t, y, k, f):
        return [f(t) - k * y[0]]

    with pytest.raises(
        InvalidProblem, match="samples of 2 runs; of a sweep all runs have the same"
    ):
        cubie.sweep(fun, (0, 1), [0.5], over=cubie.grid(k=[1, 2]), args=(None, several), **PLAIN)


def test_negative_numbers_count_from_the_end():
    """Numbers of entries count from the start in a path, of lists and of arrays."""
    value = ([1.0, {"a": np.zeros((2, 3))}], 5.0)
    assert normalised(value, (0, -1, "a", -1, 0)) == (0, 1, "a", 1, 0)
    assert normalised(value, (-1,)) == (1,)
    for nowhere in ((7,), (0, 1, "b"), (0, 1, "a", 1), (1, 0), (True,)):
        assert normalised(value, nowhere) == nowhere


@pytest.mark.parametrize(
    "names",
    [("k[2]", "k[-1]"), ("m[0, 1]", "m[0][-1]"), ("y0[-1]", "y1"), ("rate", "args[0]"),
     ("args[2][0, 0]", "m[0, 0]"), ("k[0]", "args[1][0]")],
)  # fmt: skip
def test_the_same_is_not_swept_twice(names):
    """Two names of one number are refused, however they are written."""

    def fun(t, y, rate, k, m):
        return [k[2] * y[0], rate * m[0, 1] * y[1]]

    space = {names[0]: [1, 2]}
    with pytest.raises(InvalidProblem, match="the same twice, as"):
        cubie.sweep(
            fun, (0, 1), [1.0, 1.0], over=cubie.grid(space) * cubie.grid({names[1]: [3, 4]}),
            args=(1.0, [1.0, 2.0, 3.0], np.ones((2, 2))), **PLAIN,
        )  # fmt: skip


def test_a_word_for_times_is_no_argument_as_well():
    """Where an argument is called t_end, a sweep of that name could be either: it is refused."""

    def fun(t, y, t_end):
        return [-t_end * y[0]]

    for args in (None, {"t_end": 3.0}):
        with pytest.raises(InvalidProblem, match=r"an argument here, too: .* 'args\[0\]'"):
            cubie.sweep(fun, (0.0, 1.0), [1.0], over=cubie.grid(t_end=[1.0, 2.0]), args=args)
    by_number = cubie.sweep(fun, (0.0, 1.0), [1.0], over=cubie.grid({"args[0]": [1.0, 2.0]}))
    assert by_number.run().to_xarray()["t_reached"].values.tolist() == [1.0, 1.0]


def test_states_are_chosen_by_an_array_of_names():
    """As by a list of them, of which an array of one is no truth value."""
    over = cubie.grid(rate=[1.0, 2.0])
    for names in (["b"], ["b", "a"]):
        swept = cubie.sweep(
            lambda t, y, rate: [-rate * y[0], y[0]], (0.0, 1.0), {"a": 1.0, "b": 0.0}, over=over,
            save_states=np.array(names),
        )  # fmt: skip
        assert swept.run().to_xarray()["component"].values.tolist() == names


def test_names_of_a_state_and_an_argument_are_told_apart():
    """What could be either is refused, naming both."""
    words = Words(("x", "v"), ("x", "k"))
    with pytest.raises(InvalidProblem, match=r"'args\[0\]' or 'y0\[0\]'"):
        words.find("x")
    assert words.find("y0[0]").of == "state"
    assert words.find("args[0]").of == "argument"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rhoo", r"sweeps 'rhoo' \(did you mean 'rho'\?\); there are rho, k, y0, y1, t_start"),
        ("k", "'k', which is a vector: name its entries, as in 'k\\[0\\]'"),
        ("k[7]", r"sweeps 'k\[7\]', but there is no such entry in a list of 3"),
        ("k['a']", r"no such entry in a list of 3"),
        ("k[1.5]", r"no such entry in a list of 3"),
        ("rho[0]", r"sweeps 'rho\[0\]', but there is no such entry in what is given for it, 1.0"),
        ("y0[5]", r"sweeps 'y0\[5\]'; there are 2 states, y0\[0\] to y0\[1\]"),
        ("y0[-3]", r"there are 2 states"),
        ("y0[0][1]", r"there are 2 states"),
        ("y0['a']", r"there are 2 states"),
        ("args[9]", r"sweeps 'args\[9\]'; arguments have the numbers 0 to 1"),
        ("args[-1]", r"arguments have the numbers 0 to 1"),
        ("k[0", "there are rho, k"),
        ("k[f(0)]", "there are rho, k"),
        ("__import__('os')", "there are rho, k"),
    ],
)
def test_names_of_nothing_are_refused(name, message):
    """What means nothing is refused with what there is."""

    def fun(t, y, rho, k):
        return [k[2] * y[0], rho * y[1]]

    with pytest.raises(InvalidProblem, match=message):
        cubie.sweep(
            fun, (0, 1), [1.0, 1.0], over=cubie.grid({name: [1, 2]}),
            args=(1.0, [1.0, 2.0, 3.0]), **PLAIN,
        )  # fmt: skip


def test_entries_of_a_vector_stay_apart_from_each_other():
    """Several entries of one list, array and dictionary, nested, each in its place."""

    def fun(t, y, p):
        return [p["k"][0] * y[1] + p["m"][1, 2], -p["k"][1] * y[0] + p["m"][0, 0] * p["d"]["e"]]

    def args(a, b, c, d):
        return ({"k": [a, 2.0], "m": np.array([[b, 0, 0], [0, 0, c]]), "d": {"e": d}},)

    axes = {"p['k'][0]": [1, 2], "p['m'][0, 0]": [3], "p['m'][-1, 2]": [0.1, 0.2],
            "p['d']['e']": [0.5, 0.6]}  # fmt: skip
    sweep = done(fun, (0, 1), [1.0, 0.0], over=cubie.grid(axes), args=args(9.0, 9.0, 9.0, 9.0))
    runs = [((0, 1), [1.0, 0.0], args(*row.values())) for row in grid_rows(**axes)]
    require_same(sweep, runs, fun, **PLAIN)
