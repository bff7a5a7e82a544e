"""Tables whose samples stand in `args`: looked up as those of closures, wherever they come from."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.integrate import solve_ivp as scipy_solve_ivp

from cubie import Interpolant, Solver, solve_ivp
from cubie.systems import RightHandSideError, trace

N = 41
TIMES = np.linspace(0.0, 5.0, N).tolist()
VALUES = np.random.default_rng(20240317).normal(size=N).tolist()
PAIRS = [list(pair) for pair in zip(TIMES, VALUES, strict=True)]


class Weather:
    """A table with a method."""

    def __init__(self, values):
        self.times, self.values = TIMES, values

    def at(self, t):
        """Look it up."""
        return np.interp(t, self.times, self.values)


def apart(t, y, k, xs, ys):
    """Follow a table of two arguments."""
    return [np.interp(t, xs, ys) - k * y[0]]


def together(t, y, k, table):
    """Follow a table of one argument."""
    return [np.interp(t, table[0], table[1]) - k * y[0]]


def named(t, y, k, table):
    """Follow a table with names."""
    return [np.interp(t, table["t"], table["v"]) - k * y[0]]


def pairs(t, y, k, table):
    """Follow rows of time and value."""
    table = np.array(table)
    return [np.interp(t, table[:, 0], table[:, 1]) - k * y[0]]


def values_alone(t, y, k, ys):
    """Follow values at times of a closure."""
    return [np.interp(t, TIMES, ys) - k * y[0]]


def made(t, y, k, ys):
    """Follow what is computed of values."""
    return [np.interp(t, TIMES, 2.0 * np.asarray(ys) / 2.0) - k * y[0]]


def attributes(t, y, k, table):
    """Follow attributes."""
    return [np.interp(t, table.times, table.values) - k * y[0]]


def method(t, y, k, table):
    """Follow a method."""
    return [table.at(t) - k * y[0]]


def closure(t, y, k):
    """Follow a table that is global."""
    return [np.interp(t, TIMES, VALUES) - k * y[0]]


# What goes into args, of values that may be others.
FORMS = {
    "lists": (apart, lambda v: (TIMES, v)),
    "tuples": (apart, lambda v: (tuple(TIMES), tuple(v))),
    "tuple of lists": (together, lambda v: ((TIMES, v),)),
    "list of tuples": (together, lambda v: ([tuple(TIMES), tuple(v)],)),
    "deep": (lambda t, y, k, d: apart(t, y, k, *d[0][1]), lambda v: ((["a", (TIMES, v)],),)),
    "mapping": (named, lambda v: ({"t": TIMES, "v": v},)),
    "pairs": (pairs, lambda v: ([list(p) for p in zip(TIMES, v, strict=True)],)),
    "array of pairs": (pairs, lambda v: (np.array([TIMES, v]).T,)),
    "values": (values_alone, lambda v: (v,)),
    "ints among them": (values_alone, lambda v: ([0, *v[1:]],)),
    "computed": (made, lambda v: (v,)),
    "attributes": (attributes, lambda v: (SimpleNamespace(times=TIMES, values=v),)),
    "arrays in attributes": (
        attributes, lambda v: (SimpleNamespace(times=np.array(TIMES), values=np.array(v)),),
    ),
    "object": (method, lambda v: (Weather(v),)),
}  # fmt: skip


def end(result):
    """Return the final state of the first run."""
    return float(np.asarray(result.y)[..., -1].ravel()[0])


OPTIONS = {"backend": "python", "rtol": 1e-6}


def system_of(solver):
    """Return what was traced for the latest solve."""
    return solver.kernel.integrator.loop.system.system


@pytest.mark.parametrize("form", FORMS)
def test_a_table_in_args_is_one_of_a_closure(form):
    """One driver, no parameter a sample, and the same bits; other samples compile nothing."""
    fun, table = FORMS[form]
    solver = Solver(fun, **OPTIONS)
    values = VALUES if form != "ints among them" else [0.0, *VALUES[1:]]
    found = solver.solve((0.0, 4.0), [0.5], args=(0.8, *table(VALUES)))
    system = system_of(solver)
    assert (len(system.drivers), system.n_parameters) == (1, 1)
    assert not found.notes
    u = Interpolant(TIMES, values, extend="hold")
    wanted = solve_ivp(lambda t, y, k, u: [u(t) - k * y[0]], (0.0, 4.0), [0.5], args=(0.8, u),
                       **OPTIONS)  # fmt: skip
    assert end(found) == end(wanted)
    twice = solver.solve((0.0, 4.0), [0.0], args=(0.8, *table([2.0 * v for v in VALUES])))
    again = solver.solve((0.0, 4.0), [0.0], args=(0.8, *table(VALUES)))
    assert end(twice) == pytest.approx(2.0 * end(again), rel=1e-3)
    assert solver.builds["kernel"] == 1


def test_tables_in_args_are_those_of_scipy():
    """The same function in plain Python."""
    theirs = scipy_solve_ivp(apart, (0.0, 4.0), [0.5], "DOP853", rtol=1e-12, atol=1e-13,
                             max_step=0.02, args=(0.8, TIMES, VALUES))  # fmt: skip
    ours = solve_ivp(
        apart, (0.0, 4.0), [0.5], args=(0.8, TIMES, VALUES), **{**OPTIONS, "rtol": 1e-8}
    )
    assert end(ours) == pytest.approx(theirs.y[0, -1], rel=1e-7)


def test_what_stands_beside_a_table_sweeps():
    """Parameters keep their slots, and a batch its runs."""
    k = np.array([0.4, 0.8, 1.6])
    every = solve_ivp(apart, (0.0, 4.0), [0.5], args=(k, TIMES, VALUES), **OPTIONS)
    alone = [
        end(solve_ivp(closure, (0.0, 4.0), [0.5], args=(each,), save="final", **OPTIONS))
        for each in k
    ]
    np.testing.assert_array_equal(np.ravel(every.y), alone)


def test_vectors_of_all_runs_are_tables_too():
    """Arrays that do not sweep, as `y0` says how many runs there are; never stale ones."""
    solver = Solver(apart, **OPTIONS, save="final")
    y0 = np.full((3, 1), 0.5)
    ends = []
    for factor in (1.0, 2.0, 1.0):
        args = (0.8, np.array(TIMES), factor * np.array(VALUES))
        ends.append(end(solver.solve((0.0, 4.0), y0, args=args)))
    assert len(system_of(solver).drivers) == 1
    wanted = solve_ivp(closure, (0.0, 4.0), [0.5], args=(0.8,), **OPTIONS)
    assert ends[0] == ends[2] == end(wanted) != ends[1]


@pytest.mark.parametrize("rule", ["rodas5p", "radau_iia_5"])
def test_implicit_methods_have_tables_in_args(rule):
    """With their derivatives by time, and the Jacobian of a table of a state."""

    def fun(t, y, xs, ys):
        return [np.interp(t, xs, ys) - np.interp(y[0], xs, ys) * y[0]]

    theirs = scipy_solve_ivp(fun, (0.0, 2.0), [1.5], "DOP853", rtol=1e-11, atol=1e-12,
                             max_step=0.02, args=(TIMES, VALUES))  # fmt: skip
    ours = solve_ivp(fun, (0.0, 2.0), [1.5], rule, args=(TIMES, VALUES), backend="python",
                     rtol=1e-6, atol=1e-8)  # fmt: skip
    assert end(ours) == pytest.approx(theirs.y[0, -1], rel=1e-4)


def test_observables_look_up_tables_in_args():
    """Of lists that the right-hand side does not touch, and of those that it looks up itself."""

    def fun(t, y, k, xs, ys):
        return [-k * y[0]]

    def observed(t, y, k, xs, ys):
        return {"late": np.interp(t - 0.5, xs, ys) * y[0]}

    times = np.array([0.25, 1.0, 3.0])
    for rhs in (fun, apart):
        solver = Solver(rhs, observables=observed, **OPTIONS)
        result = solver.solve((0.0, 4.0), [1.0], times, args=(0.8, TIMES, VALUES))
        wanted = np.interp(times - 0.5, TIMES, VALUES) * np.ravel(result.y)
        np.testing.assert_allclose(np.ravel(result.observables["late"]), wanted, rtol=1e-12)
        assert system_of(solver).n_parameters == 1


def test_prepare_sees_tables_too():
    """A plan has no slot a sample."""
    solver = Solver(apart, **OPTIONS)
    plan = solver.prepare([0.5], args=(0.8, TIMES, VALUES))
    sizes = {b.name: b.n_elements for b in plan.problem.buffers}
    assert (sizes["loop.parameters"], sizes["loop.drivers"]) == (1, 2)


def test_few_samples_and_other_vectors_stay_parameters():
    """Lists that are no large table: their values are read from memory, and traced once."""
    solver = Solver(apart, **OPTIONS)
    for factor in (1.0, 2.0):
        values = [factor * v for v in VALUES[:5]]
        solver.solve((0.0, 0.5), [0.5], args=(0.8, TIMES[:5], values))
    assert system_of(solver).n_parameters == 11
    assert solver.builds["kernel"] == 1
    # Although a longer one was a table.
    solver.solve((0.0, 4.0), [0.5], args=(0.8, TIMES, VALUES))
    assert system_of(solver).n_parameters == 1
    solver.solve((0.0, 0.5), [0.5], args=(0.8, TIMES[:5], VALUES[:5]))
    assert system_of(solver).n_parameters == 11


def test_a_function_that_catches_is_traced_with_tables():
    """What is asked of samples that are parameters counts as no exception of the function's."""

    def fun(t, y, xs, ys):
        try:
            found = np.interp(t, xs, ys)
        except ZeroDivisionError:
            found = 0.0
        return [found - y[0]]

    solver = Solver(fun, **OPTIONS)
    assert end(solver.solve((0.0, 4.0), [0.5], args=(TIMES, VALUES))) == end(
        solve_ivp(closure, (0.0, 4.0), [0.5], args=(1.0,), **OPTIONS)
    )
    assert len(system_of(solver).drivers) == 1


def test_samples_of_each_run_say_what_to_do_instead():
    """Rows of an array sweep: they cost a choice a sample, and the note names the remedy."""
    rows = np.stack([VALUES, 2.0 * np.array(VALUES)])
    result = solve_ivp(values_alone, (0.0, 4.0), np.full((2, 1), 0.5), args=(0.8, rows), **OPTIONS)
    (note,) = result.notes
    assert "np.interp takes 41 samples" in note
    assert "Interpolant(times, values) with a row of values for each" in note
    each = Interpolant(TIMES, rows, extend="hold", stops="none")
    driven = solve_ivp(lambda t, y, k, u: [u(t) - k * y[0]], (0.0, 4.0), np.full((2, 1), 0.5),
                       args=(0.8, each), **OPTIONS)  # fmt: skip
    np.testing.assert_allclose(result.y, driven.y, rtol=1e-4)


@pytest.mark.parametrize("fun", [apart, together])
def test_arrays_that_sweep_are_no_table(fun):
    """One number of each is what a run gets: the error says so, and what to give."""
    arrays = (np.array(TIMES), np.array(VALUES))
    args = arrays if fun is apart else (arrays,)
    with pytest.raises(RightHandSideError) as caught:
        solve_ivp(fun, (0.0, 4.0), [0.5], args=(0.8, *args), **OPTIONS)
    assert "a 1-D array sweeps" in str(caught.value)
    assert "for samples of a table lists or an `Interpolant`" in str(caught.value)


def test_traced_alone_args_keep_their_parameters():
    """Whoever knows no batch is not told what must be constant."""
    system = trace(apart, 1, (0.8, TIMES, VALUES))
    assert (system.kind, system.n_parameters, len(system.drivers)) == ("traced", 1 + 2 * N, 0)
    system = trace(
        apart, 1, (0.8, TIMES, VALUES), constants=[(i, j) for i in (1, 2) for j in range(N)]
    )
    assert (system.n_parameters, len(system.drivers)) == (1, 1)


@pytest.mark.filterwarnings("ignore::cubie.UntracedWarning")
def test_a_function_that_cannot_be_traced_is_never_stale():
    """Its table became constants before what cannot be traced was met: they count as content."""

    def halved(t, y, xs, ys):
        found, x = np.interp(t, np.array(xs), np.array(ys)), y[0]
        while x > 0.5:
            x = 0.5 * x
        return [found - x]

    solver = Solver(halved, **OPTIONS)
    ends = [
        end(solver.solve((0.0, 0.5), [1.0], args=(TIMES, [factor * v for v in VALUES])))
        for factor in (1.0, 3.0, 1.0)
    ]
    assert system_of(solver).kind == "compiled"
    assert ends[0] == ends[2] != ends[1]
