"""Where a run says success the equations of its stages are solved: no rate is taken for it.

Newton's iteration with one matrix ends by the rate at which its changes shrink. That rate is one
of the whole: a part that is linear converges at once, and may hide another that does not.

Bounds are three tolerances of a step, a tolerance being a hundred times what Newton's iteration is
asked to leave, beside rounding: so many units of it, of what an equation's largest terms are.
"""

import numpy as np
import pytest
from attrs import evolve

import cubie
from cubie.solvers.newton import NewtonSolver
from cubie.tableaus import DIRKTableau, FIRKTableau, all_tableaus

METHODS = sorted(
    name for name, t in all_tableaus().items() if isinstance(t, DIRKTableau | FIRKTableau)
)
# One unknown stage, which the step's end tells: the part of the end in it.
ONE_STAGE = {
    "backwards_euler": 1.0, "implicit_midpoint": 0.5, "gauss_legendre_2": 0.5, "crank_nicolson": 1.0
}  # fmt: skip
TOLERANCES = {"float64": 1e-6, "float32": 1e-4}
LARGEST, UNITS = 3.0, 30.0
# One lane and many; all combinations take a minute, most of which is compiled code.
WIDTHS = [("float64", 8), ("float32", 1)]
OTHER_WIDTHS = [("float64", 1), ("float32", 8)]
KINDS = [*WIDTHS, *(pytest.param(*kind, marks=pytest.mark.every_config) for kind in OTHER_WIDTHS)]
# Of all solves of the interpreted target; one list, since equal components are made once.
KEPT = []


def hidden(t, y, rate, k):
    """What the second state follows moves with the first, as fast as that is large."""
    return [rate, -k * y[0] * (y[1] - 1.0)]


def distance_after_a_step(tableau, rate, k, distance):
    """Return how far y[1] is from one after a step of size one: its equations are linear."""
    a, b = np.array(tableau.a, dtype=float), np.array(tableau.b, dtype=float)
    decay = -k * (1.0 + a.sum(axis=1) * rate)
    derivatives = np.linalg.solve(np.eye(len(b)) - decay[:, None] * a, decay * distance)
    return distance + b @ derivatives


@pytest.mark.parametrize(("dtype", "lanes"), KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_large_change_that_is_linear_hides_no_slow_one(method, dtype, lanes):
    """One step of every method, one lane and many, against a linear system solved in NumPy."""
    random, n, rtol = np.random.default_rng(3), 64, TOLERANCES[dtype]
    rate, k = 10.0 ** random.uniform(-2.0, 1.0, n), 10.0 ** random.uniform(0.0, 4.0, n)
    start = 1.0 + rtol * 10.0 ** random.uniform(0.0, 4.0, n) * random.choice([-1.0, 1.0], n)
    rate, k, start = (values.astype(dtype) for values in (rate, k, start))
    runs = zip(rate.tolist(), k.tolist(), start.tolist(), strict=True)
    tableau = all_tableaus()[method]
    wanted = [distance_after_a_step(tableau, r, each, y - 1.0) for r, each, y in runs]
    result = cubie.solve_ivp(
        hidden, (0.0, 1.0), np.stack([np.ones_like(start), start], axis=1), args=(rate, k),
        method=method, step_controller="fixed", first_step=1.0, rtol=rtol, atol=rtol * 1e-3,
        dtype=dtype, backend="cpu", lanes=lanes, save="final",
    )  # fmt: skip
    assert (result.status == 0).all()
    error = np.abs(result.y[:, 1, -1].astype(float) - 1.0 - wanted)
    assert error.max() < LARGEST * rtol + UNITS * np.finfo(dtype).eps, error.argmax()


def quadratic(t, y, a, b, c, d, e, g):
    return [
        a * y[0] * y[0] + b * y[1] + c * y[0] * y[2],
        d * y[1] * y[1] - e * y[0] * y[2] + g,
        a * y[2] * y[1] - d * y[0] * y[0] + b * y[2],
    ]


def random_quadratic(n, dtype):
    """Return coefficients and states of which terms span three orders of magnitude."""
    random = np.random.default_rng(1)
    coefficients = random.normal(size=(6, n)) * 10.0 ** random.uniform(-1.0, 1.5, (6, n))
    starts = np.abs(random.normal(size=(n, 3))) * 10.0 ** random.uniform(-1.0, 1.0, (n, 1))
    return coefficients.astype(dtype), starts.astype(dtype)


def derivatives(y, args):
    """Return the right-hand side, its Jacobian, and the size of its terms."""
    a, b, c, d, e, _ = args
    jacobian = np.array([
        [2 * a * y[0] + c * y[2], b, c * y[0]],
        [-e * y[2], 2 * d * y[1], -e * y[0]],
        [-2 * d * y[0], a * y[2], a * y[1] + b],
    ])  # fmt: skip
    terms = np.array(quadratic(0.0, np.abs(y), *np.abs(args))) + 2.0 * np.abs(args[4] * y[0] * y[2])
    return np.array(quadratic(0.0, y, *args)), jacobian, terms + np.abs(jacobian) @ np.abs(y)


def one_more_change(a, state, increments, h, args, unsure):
    """Return what Newton's own change of increments z, with all Jacobians, would be.

    The equations are ``z - h a f(state + z) = 0``. And what of it may be rounding, per eps.
    """
    stages = len(a)
    found = [derivatives(state + z, args) for z in increments]
    slopes, terms = np.array([f for f, _, _ in found]), np.array([size for _, _, size in found])
    left = increments - h * a @ slopes
    matrix = np.eye(3 * stages)
    for i in range(stages):
        for j in range(stages):
            matrix[3 * i : 3 * i + 3, 3 * j : 3 * j + 3] -= h * a[i, j] * found[j][1]
    inverse = np.linalg.inv(matrix)
    sizes = np.abs(increments) + np.abs(state) + unsure + np.abs(h * a) @ terms
    change = inverse @ left.ravel()
    rounding = np.abs(inverse) @ sizes.ravel()
    return change.reshape(-1, 3), rounding.reshape(-1, 3)


def is_solved(a, state, increments, h, args, rtol, dtype, unsure=0.0):
    """Tell whether one more change is small, or rounding; the base is `unsure` by so much eps."""
    change, rounding = one_more_change(a, state, increments, h, args, unsure)
    largest = np.maximum(np.abs(state), np.abs(state + increments).max(axis=0))
    allowed = LARGEST * rtol * (1e-3 + largest) + UNITS * np.finfo(dtype).eps * rounding
    weighed = np.sqrt(np.mean((change / allowed) ** 2))
    return weighed < 1.0


def methods_and_kinds():
    """Yield every method with one kind, in turn; with the others if asked for."""
    for number, method in enumerate(ONE_STAGE):
        for kind in WIDTHS + OTHER_WIDTHS:
            marks = [] if kind == WIDTHS[number % 2] else [pytest.mark.every_config]
            yield pytest.param(method, *kind, marks=marks)


@pytest.mark.parametrize(("method", "dtype", "lanes"), list(methods_and_kinds()))
def test_a_step_that_is_called_solved_solves_its_equations(method, dtype, lanes):
    """Steps of absurd size, one lane and many: what a step ends with tells its only stage."""
    coefficients, starts = random_quadratic(256, dtype)
    part, rtol, solved = ONE_STAGE[method], TOLERANCES[dtype], 0
    trapezoidal = method == "crank_nicolson"
    for h in (0.125, 32.0):
        result = cubie.solve_ivp(
            quadratic, (0.0, h), starts, args=tuple(coefficients), method=method, first_step=h,
            step_controller="fixed", rtol=rtol, atol=rtol * 1e-3, backend="cpu", dtype=dtype,
            lanes=lanes,
        )  # fmt: skip
        ends = result.y[..., -1].astype(float)
        for run in np.flatnonzero((result.status == 0) & (np.abs(ends).max(axis=1) < 1e6)):
            start, args = starts[run].astype(float), coefficients[:, run].astype(float)
            base, size, unsure = start, h, 0.0
            if trapezoidal:
                slope, _, terms = derivatives(start, args)
                base, size, unsure = start + h / 2 * slope, h / 2, h / 2 * terms
            increment = part * (ends[run] - base)
            coefficient = np.array([[1.0 if trapezoidal else part]])
            good = is_solved(coefficient, base, increment[None], size, args, rtol, dtype, unsure)
            assert good, (h, run)
            solved += 1
    assert solved > 200


@pytest.fixture
def solves(monkeypatch):
    """All stages that the interpreted target calls solved: (base, increments, step, matrix)."""
    build = NewtonSolver.build
    KEPT.clear()

    def recording(self, context):
        functions, equations, n = build(self, context), self.equations, self.n_states
        place = equations.build_place(context)

        def keep(stage):
            h, args = float(stage.h), np.array(stage.parameters[:], dtype=float)
            increments = np.array(stage.increment[:], dtype=float).reshape(-1, n)
            if equations.couples_stages:
                transformation = equations.transformation
                to_stages, to_blocks = (
                    np.array(rows) for rows in (transformation.to_stages, transformation.to_blocks)
                )
                base, increments = np.array(stage.state[:], dtype=float), to_stages @ increments
                matrix = np.linalg.inv(to_stages @ block_diagonal(transformation) @ to_blocks)
            else:
                point = np.zeros(n)
                place(stage, point)
                base, matrix = point - increments[0], np.array([[1.0 / (h * float(stage.shift))]])
            KEPT.append((matrix, base, increments, h, args))

        def again(memory, launch, matrix, stage, solved, iterations, linear):
            found = functions.again(memory, launch, matrix, stage, solved, iterations, linear)
            if found[0] and stage.h != 0:
                keep(stage)
            return found

        return evolve(functions, again=again)

    monkeypatch.setattr(NewtonSolver, "build", recording)
    return KEPT


def block_diagonal(transformation):
    """Return the matrix that has a block for each eigenvalue."""
    matrix, at = np.zeros(np.shape(transformation.to_stages)), 0
    for value in transformation.eigenvalues:
        matrix[at, at] = value.real
        if value.imag:
            matrix[at : at + 2, at : at + 2] = (
                [value.real, -value.imag], [value.imag, value.real],
            )  # fmt: skip
        at += 2 if value.imag else 1
    return matrix


def methods_in_both_precisions():
    """Yield names and dtypes; half of them only when asked for."""
    for method in METHODS:
        coupled = isinstance(all_tableaus()[method], FIRKTableau)
        for dtype in TOLERANCES:
            marks = [] if coupled == (dtype == "float32") else [pytest.mark.every_config]
            yield pytest.param(method, dtype, marks=marks)


@pytest.mark.parametrize(("method", "dtype"), list(methods_in_both_precisions()))
def test_all_stages_that_are_called_solved_solve_their_equations(solves, method, dtype):
    """Of every method, where steps are fixed and where they are chosen, looked at as it runs."""
    coefficients, starts = random_quadratic(12, dtype)
    rtol, adaptive = TOLERANCES[dtype], all_tableaus()[method].has_error_estimate
    for h, controller in ((2.0**-7, "fixed"), (0.5, "fixed"), (0.5, "pi")):
        if controller != "fixed" and not adaptive:
            continue
        cubie.solve_ivp(
            quadratic, (0.0, h), starts, args=tuple(coefficients), method=method, first_step=h,
            rtol=rtol, atol=rtol * 1e-3, backend="python", dtype=dtype, max_steps=5,
            save="final", step_controller=controller,
        )  # fmt: skip
    assert len(solves) > 12
    wrong = [
        number
        for number, (matrix, base, increments, size, args) in enumerate(solves)
        if not is_solved(matrix, base, increments, size, args, rtol, dtype)
    ]
    assert not wrong, (len(wrong), len(solves))
