"""Problems in PEtab: their likelihood by hand, and its slopes by differences."""

import math

import numpy as np
import pytest
from scipy.optimize import least_squares, minimize
from scipy.stats import laplace, norm

import cubie
from tests.cubie.petab_problems import MEASURED, version_1, version_2

pytest.importorskip("petab")

TIGHT = {"rtol": 1e-10, "atol": 1e-12, "backend": "python", "method": "dop853"}
NOMINAL = {"k1": 0.5, "k2": 0.25, "B0": 0.3, "offset": 0.2, "sd_b": 0.15, "high_a": 3.0}


def by_hand(p, decadic):
    """Return simulations and the logarithm of the likelihood, from the solution in closed form."""
    values, likelihood = [], 0.0
    for observable, condition, time, measured, factor, noise in MEASURED:
        a0 = 1.0 if condition == "low" else p["high_a"]
        a = a0 * math.exp(-p["k1"] * time)
        made = math.exp(-p["k1"] * time) - math.exp(-p["k2"] * time)
        b = 2.0 * p["B0"] * math.exp(-p["k2"] * time) + a0 * p["k1"] / (p["k2"] - p["k1"]) * made
        if observable == "obs_b":
            values.append(b + p["offset"])
            sigma = p["sd_b"] if noise == "sd_b" else float(noise)
            likelihood += norm.logpdf(measured, values[-1], sigma)
        elif observable == "obs_a":
            values.append(a)
            log, slope = (math.log10, math.log(10.0)) if decadic else (math.log, 1.0)
            likelihood += norm.logpdf(log(measured), log(a), 0.2) - math.log(measured * slope)
        else:
            values.append(float(factor) * (a + b))
            likelihood += laplace.logpdf(measured, values[-1], 0.1 + 0.05 * (a + b))
    return values, likelihood


@pytest.mark.parametrize("write", [version_1, version_2])
def test_likelihood_and_gradient_are_those_by_hand(write, tmp_path):
    """Of both versions, at nominal and at other values, each parameter on its scale."""
    problem = cubie.load_petab(write(tmp_path), **TIGHT)
    assert problem.names == ("k1", "k2", "B0", "offset", "sd_b")
    assert sorted(problem.experiments) == ["high", "low"]
    assert problem.measurements.tolist() == [row[3] for row in MEASURED]
    decadic = write is version_1
    nominal = [math.log10(0.5), math.log(0.25), 0.3, 0.2, math.log10(0.15)]
    assert problem.x0 == pytest.approx(nominal if decadic else [*NOMINAL.values()][:5])
    assert problem.bounds[0] == pytest.approx((-2.0, math.log10(2)) if decadic else (0.01, 2.0))
    for x in (problem.x0, problem.x0 * [1.1, 0.9, 2.0, -1.0, 0.8]):
        values, likelihood = by_hand(problem.parameters(x), decadic)
        assert problem.simulations(x) == pytest.approx(values, rel=1e-8)
        assert problem.log_likelihood(x) == pytest.approx(likelihood, rel=1e-8)
        steps = 1e-5 * np.eye(5)
        up, down = (
            [by_hand(problem.parameters(x + sign * step), decadic)[1] for step in steps]
            for sign in (1, -1)
        )
        differences = (np.array(up) - down) / 2e-5
        assert problem.gradient(x) == pytest.approx(differences, rel=1e-5, abs=1e-5)
        assert problem.objective(x)[0] == -problem.log_likelihood(x)
    assert problem.parameters(problem.x0) == pytest.approx(NOMINAL)
    assert problem.simulate(problem.x0).y.shape == (2, 2, 4)


def without(path, *starts):
    """Leave lines with these beginnings out of a file."""
    lines = path.read_text().splitlines(True)
    path.write_text("".join(line for line in lines if not line.startswith(starts)))


def test_a_problem_is_fitted_by_scipy(tmp_path):
    """With noise that is normal and known, squares and the likelihood end in the same place."""
    path = version_1(tmp_path)
    with pytest.raises(cubie.ModelError, match="`obs_b` depends on what is estimated"):
        cubie.load_petab(path, **TIGHT).fun(np.zeros(5))
    measurements = tmp_path / "measurements.tsv"
    measurements.write_text(measurements.read_text().replace("sd_b\n", "0.1\n"))
    without(measurements, "obs_t")
    without(tmp_path / "observables.tsv", "obs_t")
    without(tmp_path / "parameters.tsv", "sd_b", "offset")
    observables = tmp_path / "observables.tsv"
    observables.write_text(observables.read_text().replace("B + offset", "B"))
    problem = cubie.load_petab(path, **TIGHT)
    assert problem.names == ("k1", "k2", "B0")
    fit = least_squares(problem.fun, problem.x0, problem.jac, ftol=1e-14, xtol=1e-12, gtol=1e-10)
    assert problem.gradient(fit.x) == pytest.approx(0.0, abs=1e-4)
    assert problem.log_likelihood(fit.x) > problem.log_likelihood(problem.x0) + 1.0
    found = minimize(problem.objective, problem.x0, jac=True, bounds=problem.bounds)
    assert -found.fun == pytest.approx(problem.log_likelihood(fit.x), abs=1e-4)


@pytest.mark.parametrize(
    ("file", "was", "becomes", "said"),
    [
        ("measurements.tsv", "\t2.0\t0.4", "\tinf\t0.4", "in a steady state, which is not here"),
        ("conditions.tsv", "\tA\n", "\ttotal\n", "which the model computes of others"),
        ("problem.yaml", "parameters.tsv", "none.tsv", "problem.yaml is no PEtab problem"),
        ("parameters.tsv", "\t3.0\t0", "\t\t0", "`high_a` of problem.yaml has no value"),
        ("measurements.tsv", "1.5", "", "gives no value to `observableParameter1_obs_t`"),
        ("observables.tsv", "B + offset", "B + ofset", "uses `ofset`, which neither problem nor"),
    ],
)
def test_what_is_wrong_is_said(file, was, becomes, said, tmp_path):
    """Errors name the problem, and what of it."""
    path = version_1(tmp_path)
    text = (tmp_path / file).read_text()
    assert was in text
    (tmp_path / file).write_text(text.replace(was, becomes))
    with pytest.raises(cubie.ModelError) as raised:
        cubie.load_petab(path, **TIGHT)
    assert said in str(raised.value)


def test_what_is_not_here_is_refused_or_told(tmp_path):
    """Preequilibration, files that are not there, priors."""
    path = version_1(tmp_path)
    with pytest.raises(cubie.ModelError, match="there is no such file"):
        cubie.load_petab(tmp_path / "none.yaml")
    measured = (tmp_path / "measurements.tsv").read_text().splitlines()
    more = ["preequilibrationConditionId", *["low"] * len(MEASURED)]
    with_more = "".join(f"{a}\t{b}\n" for a, b in zip(measured, more, strict=True))
    (tmp_path / "measurements.tsv").write_text(with_more)
    with pytest.raises(cubie.ModelError, match="has preequilibration, which is not here"):
        cubie.load_petab(path)
    path = version_2(tmp_path)
    table = (tmp_path / "parameters.tsv").read_text().splitlines()
    more = ["priorDistribution\tpriorParameters", "log-normal\t0;1", *["\t"] * (len(table) - 2)]
    (tmp_path / "parameters.tsv").write_text(
        "".join(f"{a}\t{b}\n" for a, b in zip(table, more, strict=True))
    )
    with pytest.warns(UserWarning, match="priors of `k1`"):
        cubie.load_petab(path, **TIGHT)
