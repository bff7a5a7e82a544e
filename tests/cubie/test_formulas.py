"""Traced right-hand sides give what Python gives: random formulas on special values, all targets.

`make test` tries a seeded sample; ``pytest -m every_formula`` tries twenty thousand formulas.
"""

from __future__ import annotations

import collections
import contextlib
import math
import os
from functools import partial

import numpy as np
import pytest
import scipy.special
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from cubie.systems import RightHandSideError, trace
from cubie.systems.generated import is_arithmetic, load_module
from cubie.systems.tracing import arithmetic as ex
from cubie.systems.tracing.operations import FUNCTIONS, propagating
from tests.cubie.evaluate import TARGETS, backend_of, evaluate_rhs
from tests.cubie.formulas import formulas, points
from tests.cubie.spread import Raised, Spread, python_value

FORMULAS_A_MODULE = 40
MANY = 150
ARGS = (np.float64(0.7), np.float64(-1.3))
N_POINTS = 24
N_SAMPLES = 60
BRANCHING = (" if ", " and ", " or ")
NEAR = {"float64": 1e-13, "float32": 2e-5}


def traced_module(texts, directory, args=ARGS):
    """Return (module with one output per formula that is traced, those formulas, counts)."""
    kept, lines, counts = [], [], collections.Counter()
    for text in texts:
        function = _function(text)
        try:
            with np.errstate(all="ignore"):
                system = trace(function, 2, args, cache_dir=directory)
        except RightHandSideError:
            counts["raises always"] += 1
            continue
        if system.kind != "traced":
            counts["compiled as it stands"] += 1
            counts[f"  {text}: {system.note[90:]}"] += 1
            continue
        body = system.source.partition("dy, at):\n")[2].splitlines()[1:]
        body = [line for line in body if not line.startswith("    dy[at + 1]")]
        lines += [line.replace("dy[at + 0]", f"dy[at + {len(kept)}]") for line in body]
        kept.append((text, function))
    header = "import math\nfrom cubie.backend import maximum, minimum, select\n\n\n"
    source = header + "def rhs(t, y, p, dy, at):\n" + "\n".join(lines or ["    pass"]) + "\n"
    assert is_arithmetic(source)  # or a process that finds it on disk would not believe it
    return load_module(source), kept, counts


def _function(text):
    namespace = {"np": np, "math": math, "special": scipy.special}
    exec(f"def fun(t, y, p, q):\n    return [{text}, 0.0]", namespace)
    return namespace["fun"]


def _value_of(function):
    return lambda t, y, p, q: function(t, y, p, q)[0]


def check(texts, directory, number: int) -> tuple[collections.Counter, list[str]]:
    """Compare formulas on all targets; return counts, and what differs silently."""
    module, kept, counts = traced_module(texts, directory)
    differences = []
    counts["formulas"] += len(texts)
    if not kept:
        return counts, differences
    for dtype in ("float64", "float32"):
        columns = _columns(dtype, number)
        expected = _expected(kept, columns, dtype)
        for target in TARGETS:
            for fastmath in (False, True):
                if target[0] == "python" and fastmath:
                    continue
                backend = backend_of(target, dtype, fastmath)
                with np.errstate(all="ignore"):
                    got = evaluate_rhs(
                        backend, module.rhs, 0.75, columns[1:3], columns[3:], len(kept)
                    )
                exact = dtype == "float64" and not fastmath
                label = (*target, dtype, "fast" if fastmath else "exact")
                counts += _compare(kept, columns, expected, got, dtype, exact, label, differences)
    return counts, differences


def _columns(dtype, number):
    columns = points(N_POINTS, number)
    with np.errstate(over="ignore"):
        columns = columns.astype(dtype)
    # Finite states stay finite in single precision.
    largest = np.finfo(dtype).max
    columns[1:3] = np.clip(columns[1:3], -largest, largest)
    return columns


def _expected(kept, columns, dtype):
    values = np.full((len(kept), columns.shape[1]), np.nan)
    raised = np.zeros(values.shape, bool)
    plain = Spread(dtype, 0.0, 0.0)
    for i, (text, function) in enumerate(kept):
        for j, column in enumerate(columns.T):
            try:
                with np.errstate(all="ignore"):
                    if dtype == "float64":
                        values[i, j] = python_value(_value_of(function), column)
                    else:
                        values[i, j] = plain.value(text, column)
            except (Raised, ValueError, ArithmeticError):
                raised[i, j] = True
    return values, raised


def _compare(kept, columns, expected, got, dtype, exact, label, differences):
    counts = collections.Counter()
    values, raised = expected
    with np.errstate(all="ignore"):
        near = np.abs(got - values) <= NEAR[dtype] * np.abs(values)
    same = near | (got == values) | (np.isnan(got) & np.isnan(values))
    counts["values"] += int((~raised).sum())
    counts["values where Python raises"] += int(raised.sum())
    for i, j in np.argwhere(~same & ~raised):
        text = kept[i][0]
        if _is_excused(text, columns[:, j], float(got[i, j]), dtype, exact):
            counts["values within rounding"] += 1
        else:
            differences.append(
                f"{text}\nat (t, y0, y1, p, q) = {columns[:, j].tolist()}\n"
                f"gives {got[i, j]!r} on {label}, Python {values[i, j]!r}"
            )
    return counts


def _is_excused(text, column, got, dtype, exact):
    """Whether rounding of what is not exact reaches this value."""
    spread = Spread(dtype, 0.0 if exact else 1.0, 1.0, seed=1)
    try:
        samples = [spread.value(text, column) for _ in range(N_SAMPLES)]
        # Constants are folded in double precision, or rounded first where a run chooses them.
        rounded = (spread.value(text, column, True) for _ in range(N_SAMPLES))
        samples += [] if dtype == "float64" else list(rounded)
    except (Raised, ValueError, ArithmeticError):
        return True
    with contextlib.suppress(Raised, ValueError, ArithmeticError):
        if dtype != "float64" and any(word in text for word in BRANCHING):
            samples += [spread.value(text, column, folds_branches=True) for _ in range(N_SAMPLES)]
    samples = np.array(samples)
    if np.isnan(got):
        return bool(np.isnan(samples).any())
    samples = samples[~np.isnan(samples)]
    if not len(samples):
        return False
    if np.isinf(got):
        return (
            bool((samples == got).any()) or float(np.abs(samples).max()) > np.finfo(dtype).max / 8
        )
    low, high = samples.min(), samples.max()
    with np.errstate(all="ignore"):
        slack = 0.5 * (high - low) + 8.0 * np.finfo(dtype).eps * abs(got) + np.finfo(dtype).tiny
        return bool(low - slack <= got <= high + slack)


HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture,
          HealthCheck.large_base_example]  # fmt: skip
SETTINGS = {"deadline": None, "database": None, "suppress_health_check": HEALTH}


def _lists_of_formulas(size):
    return st.lists(formulas(), min_size=size, max_size=size)


# What went wrong once, one formula each.
KNOWN = (
    *("p % -0.7", "p % 0.1", "y[0] // 0.3", "np.fmod(p, 0.7)", "p % q", "p // q", "p % math.inf"),
    *("max(0.0, p)", "max(p, 0.0)", "min(p, q)", "max(p, q, 0.0)", "max(p, math.nan)"),
    *("np.maximum(p, 0.0)", "np.maximum(0.0, p)", "np.maximum(p, q)", "np.minimum(p, math.nan)"),
    *("np.fmax(np.log(y[0]), 0.0)", "np.fmin(p, q)", "np.clip(p, -1.0, 1.0)", "np.clip(p, q, 1.0)"),
    *("np.nan_to_num(np.log(y[0]))", "np.nan_to_num(p, nan=1.0, posinf=2.0, neginf=3.0)"),
    *("np.sign(p)", "np.heaviside(p, 0.5)", "np.interp(p, [0.0, 1.0], [1.0, 2.0])"),
    *("0.0 * p", "0.0 / p", "(y[0] > 0) * p", "(y[0] > 0) * np.log(y[0])", "(p > 0) * math.nan"),
    "1 / ((p > 0) * -1.5)",
    *("(p + 1.0) - p", "1.0 / np.sqrt(abs(p))", "1.0 / (1.0 + np.exp(-p))", "p / (1.0 / q)"),
    *("np.copysign(1.0, p)", "np.logaddexp(p, p)", "np.floor(np.log2(abs(p)))"),
    *("np.floor(np.log10(abs(p)))", "np.arccosh(abs(p))", "np.arcsinh(p)", "np.signbit(y[0]) * p"),
    *("np.fmin(1.0, min(p, 1.0))", "min(1.0, np.maximum(p, -3.0))", "np.where(p < 1.0, p, 1.0)"),
    *("np.where(min(p, 1.0) < 1.0, min(p, 1.0), 1.0)", "np.where(np.isnan(p), 5.0, p)"),
    *("2.0 if np.isfinite(p) else 3.0", "np.log1p(np.where(np.not_equal(1e-30, p), 2, 1e8)) % q"),
    *("p * (~np.isnan(math.nan)) + q * (1 - (~np.isnan(math.nan)))", "np.hypot(p, q)"),
    *("math.inf if not (~np.isnan(math.nan)) else q", "(~(np.logical_or(1.0, p) > 0)) * q"),
    "(np.power(t, 1e-30) if math.isinf(p) else 1e8) % -0.7",
    *("(y[0] > 0) + (p > 0)", "(y[0] > 0) * (p > 0) + (y[0] > 1) * (p < 1)"),
)


def test_known_formulas_give_what_python_gives(tmp_path):
    """NaN, infinities, signs of zero and ranges, for every operation that once lost them."""
    for number in range(3):
        counts, differences = check(KNOWN, tmp_path, number)
        assert not differences
        assert counts["compiled as it stands"] == 0


@seed(20240229)
@settings(max_examples=3, **SETTINGS)
@given(_lists_of_formulas(FORMULAS_A_MODULE), st.integers(0, 10**6))
def test_random_formulas_give_what_python_gives(tmp_path_factory, texts, number):
    """A seeded sample of formulas, on every target, with and without fast-math."""
    counts, differences = check(texts, tmp_path_factory.mktemp("formulas"), number)
    assert not differences
    assert counts["compiled as it stands"] <= FORMULAS_A_MODULE // 2


def _constant_factor(name):
    return lambda *operands: ex.mul(1.0 + 1e-7, ex.call(name, *operands))


def _two_branches(x):
    return ex.select(ex.compare("<", x, 0.0), -1.0, 1.0)


# A formula with the function, and a wrong translation that a right one is easily taken for.
PLANTED = {
    "log1p": ("np.log1p(abs(p)) + 1.0", _constant_factor("log1p")),
    "tanh": ("(y[0] > 0) * np.tanh(p) % 0.7", _constant_factor("tanh")),
    "remainder": ("np.remainder(-np.log1p(abs(p) + 2), 1e-30)", partial(ex.call, "fmod")),
    "floor_divide": ("np.floor_divide(p, q)", lambda a, b: ex.call("floor", ex.div(a, b))),
    "fmax": ("np.fmax(p, q)", partial(propagating, "maximum")),
    "maximum": ("np.maximum(p, q)", partial(ex.call, "maximum")),
    "sign": ("np.sign(p)", _two_branches),
    "trunc": ("np.trunc(p)", partial(ex.call, "floor")),
    "cbrt": ("np.cbrt(p)", lambda x: ex.call("pow", x, 1.0 / 3.0)),
    "signbit": ("np.signbit(p) * q", lambda x: ex.compare("<", x, 0.0)),
    "hypot": ("np.hypot(p, q)", lambda a, b: ex.call("sqrt", ex.add(ex.mul(a, a), ex.mul(b, b)))),
    "isfinite": ("np.where(np.isfinite(p), 1.0, 2.0)", lambda x: ex.compare("==", x, x)),
    "add": ("np.add(p > 0, q > 0)", ex.add),
    "invert": ("1.0 * np.invert(p > 0)", lambda a: ex.sub(-1.0, ex.number(a))),
    "logical_xor": ("1.0 * np.logical_xor(p > 0, q > 0)", ex.logical_or),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_wrong_translation_is_found(tmp_path, monkeypatch, name):
    """What the comparison excuses as rounding leaves nothing out that is no rounding."""
    text, wrong = PLANTED[name]
    monkeypatch.setitem(globals(), "TARGETS", TARGETS[:1])
    monkeypatch.setattr("cubie.systems.tracing.checking.check_against_original", lambda *_: None)
    assert not check([text], tmp_path / "right", 0)[1]
    monkeypatch.setitem(FUNCTIONS, name, wrong)
    assert check([text], tmp_path / "wrong", 0)[1]


@pytest.mark.every_formula
@pytest.mark.slow
def test_twenty_thousand_formulas_give_what_python_gives(tmp_path_factory):
    """As the sample above; $CUBIE_FORMULAS sets another number, $CUBIE_SEED another beginning."""
    total, differences = collections.Counter(), []
    n_modules = -(-int(os.environ.get("CUBIE_FORMULAS", 20_000)) // MANY)

    @seed(int(os.environ.get("CUBIE_SEED", 1)))
    @settings(max_examples=n_modules, phases=(Phase.generate,), **SETTINGS)
    @given(_lists_of_formulas(MANY), st.integers(0, 10**6))
    def run(texts, number):
        counts, found = check(texts, tmp_path_factory.mktemp("formulas"), number)
        total.update(counts)
        differences.extend(found)

    run()
    for name, count in sorted(total.items()):
        print(f"{count:9d} {name}")
    assert not differences, "\n".join(differences)
    assert total["formulas"] >= n_modules * MANY
