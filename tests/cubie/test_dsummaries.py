"""Derivatives of summaries, against differences of summaries of runs that were solved tightly."""

import numpy as np
import pytest

from cubie import Event, LeastSquares, Solver, peaks, solve_ivp

VALUES = ["mean", "integral", "final", "max", "min", "extrema", "max_magnitude", "std", "rms"]
ARGS = np.array([[1.3, 0.2, 0.7], [0.9, 0.5, 1.5], [2.0, 0.1, 0.2], [1.0, 0.3, 0.0]])
STARTS = np.array([[1.0, 0.2], [-0.5, 1.0], [0.3, -2.0], [2.0, 0.5]])
ASKED = {"y0": VALUES, "power": ["mean", "max", "min", "std", "rms"]}


def oscillating(t, y, frequency, damping, force):
    return [y[1], -frequency * frequency * y[0] - damping * y[1] + force * np.cos(t)]


def power(t, y, frequency, damping, force):
    return {"power": force * np.cos(t) * y[1] + y[0]}


INPUTS = ["damping", "y0[0]"]  # of the parameters and initial states numbers 1 and 3
# How far extremes may be off: where they lie is known as well as their cubics bend.
NEAR = dict.fromkeys(VALUES, 1e-5) | dict.fromkeys(["max", "min", "extrema", "max_magnitude"], 5e-4)

USUAL = {"observables": power, "summaries": ASKED, "save_observables": False}


def solved(method="tsit5", args=ARGS, starts=STARTS, span=(0.0, 9.0), **options):
    usual = USUAL | {"rtol": 1e-9, "atol": 1e-11}
    return solve_ivp(
        oscillating, span, starts, method, args=tuple(np.transpose(args)), **(usual | options)
    )


def by_differences(**options):
    """Return derivatives of all summaries by `INPUTS`, as `dsummaries` are."""
    step, columns = 1e-5, []
    for k in (1, 3):
        moved = []
        for sign in (1.0, -1.0):
            inputs = np.hstack([ARGS, STARTS])
            inputs[:, k] += sign * step
            moved.append(solved(args=inputs[:, :3], starts=inputs[:, 3:], **options).summaries)
        columns.append(moved)
    return {
        key: {
            label: np.stack([(up[key][label] - down[key][label]) / (2 * step)
                             for up, down in columns], axis=-1)
            for label in labels
        }
        for key, labels in ASKED.items()
    }  # fmt: skip


@pytest.fixture(scope="module")
def exact():
    """What all methods are held to."""
    return by_differences(method="dop853", rtol=1e-11, atol=1e-13, max_step=0.25)


@pytest.mark.parametrize("method", ["tsit5", "dop853", "rodas5p", "radau_iia_5", "bdf"])
def test_derivatives_are_those_of_the_summaries(method, exact):
    found = solved(method, sensitivities=INPUTS, max_step=0.25)
    assert found.success.all()
    for key, labels in ASKED.items():
        assert list(found.dsummaries[key]) == labels
        for label in labels:
            error = np.abs(found.dsummaries[key][label] - exact[key][label]).max()
            assert error < NEAR[label], (key, label, error)
    assert found.dsummaries["y0"]["max"].shape == (4, 2)
    assert found.dsummaries["y0"]["extrema"].shape == (4, 2, 2)


def test_shapes_of_one_run_and_of_some_inputs(exact):
    one = solve_ivp(
        oscillating, (0.0, 9.0), STARTS[1], "dop853", args=tuple(ARGS[1]), rtol=1e-9, atol=1e-11,
        max_step=0.25, sensitivities=INPUTS, **USUAL,
    )  # fmt: skip
    assert one.dsummaries["y0"]["mean"].shape == (2,)
    assert one.dsummaries["y0"]["extrema"].shape == (2, 2)
    for label in VALUES:
        expected = exact["y0"][label][1]
        np.testing.assert_allclose(one.dsummaries["y0"][label], expected, atol=NEAR[label])
    assert solved(span=(0.0, 0.5), backend="python").dsummaries == {}


def test_windows_and_time_that_runs_backwards():
    for options in ({"window": (2.3, 6.1)}, {"span": (9.0, 0.0)}):
        tight = {"method": "dop853", "rtol": 1e-11, "atol": 1e-13, "max_step": 0.2} | options
        found, expected = solved(sensitivities=INPUTS, **tight), by_differences(**tight)
        for label in VALUES:
            exact = expected["y0"][label]
            error = np.abs(found.dsummaries["y0"][label] - exact).max()
            assert error < NEAR[label] * max(1.0, np.abs(exact).max()), label


def test_neighbours_and_places_change_no_bit():
    options = {"fastmath": False, "dtype": "float32", "rtol": 1e-4, "atol": 1e-6, **USUAL}
    solver = Solver(oscillating, lanes=4, sensitivities=INPUTS, **options)
    together = solver.solve((0.0, 9.0), STARTS, args=tuple(ARGS.T)).dsummaries
    alone = solver.solve((0.0, 9.0), STARTS[[2]], args=tuple(ARGS[[2]].T)).dsummaries
    solver.update(locations="shared")
    shared = solver.solve((0.0, 9.0), STARTS, args=tuple(ARGS.T)).dsummaries
    for key, labels in ASKED.items():
        for label in labels:
            assert np.array_equal(together[key][label][2], alone[key][label][0])
            assert np.array_equal(together[key][label], shared[key][label])


def test_very_small_and_large_quantities_keep_their_digits():
    """The scale of a linear problem changes derivatives by it, not those by what is linear."""

    def decaying(t, y, rate):
        return [-rate * y[0]]

    def found(size, dtype):
        return solve_ivp(
            decaying, (0.0, 2.0), [size], args=(0.7,), dtype=dtype, rtol=1e-5, atol=1e-6 * size,
            summaries={"y0": ["std", "rms"]}, sensitivities="all", backend="python",
            max_step=0.1,
        ).dsummaries["y0"]  # fmt: skip

    usual = found(1.0, "float32")
    for size in (1e-30, 1e30):
        scaled = found(size, "float32")
        for label in ("std", "rms"):
            expected = usual[label] * [size, 1.0]
            np.testing.assert_allclose(scaled[label], expected, rtol=1e-3)


def test_a_quantity_at_rest_has_no_derivative_of_its_deviation():
    found = solve_ivp(
        lambda t, y, rate: [0.0 * rate * y[0]], (0.0, 1.0), [2.0], args=(1.0,),
        summaries={"y0": ["std", "rms", "mean"]}, sensitivities="y0", backend="python",
    ).dsummaries["y0"]  # fmt: skip
    assert np.isnan(found["std"]).all()
    np.testing.assert_allclose(found["rms"], 1.0, rtol=1e-12)
    np.testing.assert_allclose(found["mean"], 1.0, rtol=1e-12)


def test_cuda_kernels_of_them_compile():
    solver = Solver(oscillating, device="sm_90", sensitivities=["force"], dtype="float32", **USUAL)
    solver.prepare(STARTS, tuple(ARGS.T))
    assert solver.resources().registers > 0


def test_those_without_derivatives_are_told():
    some = {"y0": ["argmax", peaks(k=2), "mean"]}
    short = {"backend": "python", "span": (0.0, 0.5)}
    found = solved(sensitivities="y0", summaries=some, **short)
    assert list(found.dsummaries["y0"]) == ["mean"]
    assert any("argmax of y0, peaks of y0: those that have some" in note for note in found.notes)
    assert not any("dsummaries" in note for note in solved(sensitivities=INPUTS).notes)
    ended = Event(lambda t, y, *args: y[0] - 0.5, terminal=True)
    cut = solved(sensitivities="y0", events=ended, backend="python", span=(0.0, 0.5))
    assert cut.dsummaries == {}
    assert any("at times that depend on the inputs" in note for note in cut.notes)
    # Those that are only noted cut no step.
    event = Event(lambda t, y, *args: y[0] - 0.5)
    noted = solved(sensitivities="y0", events=event, backend="python", span=(0.0, 0.5))
    assert list(noted.dsummaries["y0"]) == VALUES


def test_summaries_are_differentiated_and_fitted():
    found = solved(sensitivities=INPUTS)

    def loss(run):
        return run.summaries["y0"]["mean"] ** 2 + run.summaries["y0"]["extrema"][1] + run.y[0, 0]

    of = found.dsummaries["y0"]
    expected = 2.0 * found.summaries["y0"]["mean"][:, None] * of["mean"] + of["extrema"][:, 1]
    np.testing.assert_allclose(found.gradient(loss), expected + found.dy[:, 0, :, 0], rtol=1e-12)
    data = [0.4620, 1.5]
    fit = LeastSquares(
        lambda run, data: [run.summaries["y0"]["rms"] - data[0], run.y[1, 0] - data[1]],
        oscillating, (0.0, 9.0), STARTS[0], args=tuple(ARGS[0]), data=data, rtol=1e-9, atol=1e-11,
        sensitivities=["damping", "force"], summaries={"y0": ["rms"]},
    )  # fmt: skip
    step = 1e-5 * np.eye(2)
    differences = [(fit.fun(fit.x0 + h) - fit.fun(fit.x0 - h)) / 2e-5 for h in step]
    np.testing.assert_allclose(fit.jac(fit.x0), np.transpose(differences), atol=1e-6)
