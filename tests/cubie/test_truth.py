"""Conditions in arithmetic and as bits, of NumPy's and of Python's own truth values."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cubie.systems import trace
from tests.cubie.evaluate import TARGETS, backend_of, evaluate_rhs
from tests.cubie.test_formulas import traced_module

# p and q are Python's floats here, y is NumPy's.
CONDITIONS = (
    *("(y[0] > 0)", "(y[1] < q)", "np.greater(p, 0.25)", "(np.exp(q) > 2)"),
    *("(p > 0)", "(q > p)", "(math.exp(p) > 1)", "(math.exp(y[1]) > 2)"),
    *("True", "np.isnan(math.nan)"),
)
ONE = (
    *("~{a}", "np.invert({a})", "{a} & 1", "{a} | 4", "{a} ^ 3", "{a} + 0.5", "not {a}"),
    *("float({a}) + float({a})", "np.float64({a}) + np.float64({a})", "abs({a}) * 2.0"),
    "np.array([{a}, {a}]).astype(float)[0] + np.array([{a}, 1.0])[0]",
)
TWO = (
    *("{a} + {b}", "{a} * {b}", "{a} & {b}", "{a} | {b}", "{a} ^ {b}", "{a} * {b} + {b}"),
    *("np.add({a}, {b})", "np.multiply({a}, {b}) + {b}", "sum([{a}, {b}])", "np.sum([{a}, {b}])"),
    *("np.array([{a}, {b}])[0] + np.array([{b}, {a}])[0]", "np.dot([{a}, {b}], [{b}, {a}])"),
    *("np.inner([{a}, {b}], [{b}, {a}])", "np.vdot([{a}, {b}], [{b}, {a}])"),
    "np.array([{a}, {b}]) @ np.array([{b}, {a}])",
    *("np.sum([[{a}, {b}], [{b}, {a}]])", "np.cumsum([{a}, {b}])[1]", "np.mean([{a}, {b}])"),
)


@pytest.mark.parametrize("target", TARGETS)
def test_conditions_are_added_and_inverted_as_python_does(tmp_path, monkeypatch, target):
    """NumPy's sums of conditions are "or", Python's count; on every target, for all pairs."""
    # The comparison with Python at two points would hide some of what is wrong.
    monkeypatch.setattr("cubie.systems.tracing.checking.check_against_original", lambda *_: None)
    texts = [form.format(a=a) for form in ONE for a in CONDITIONS]
    # A sum of Python's own True and a NumPy's has no expression.
    pairs = [pair for pair in itertools.permutations(CONDITIONS, 2) if "isnan" not in str(pair)]
    texts += [form.format(a=a, b=b) for form in TWO for a, b in pairs]
    module, kept, counts = traced_module(texts, tmp_path, (0.7, -1.3))
    assert counts["compiled as it stands"] == 0
    columns = np.array(
        list(itertools.product((-1.0, 2.0), (-2.0, 1.0), (-1.3, 0.7), (-0.2, 1.1)))
    ).T
    backend = backend_of(target, "float64", False)
    got = evaluate_rhs(backend, module.rhs, 0.75, columns[:2], columns[2:], len(kept))
    for i, (text, function) in enumerate(kept):
        values = [function(0.75, c[:2], *map(float, c[2:]))[0] for c in columns.T]
        assert got[i].tolist() == np.array(values, float).tolist(), text


@pytest.mark.parametrize("number", [2, 3])
def test_bits_of_an_int_in_args_are_those_of_its_value(tmp_path, number):
    """`n & 1` is no condition on n."""

    def fun(t, y, n):
        return [y[0] * (n & 1), y[0] * (n | 4), y[0] * (n ^ 1), y[0] * ~n]

    system = trace(fun, 4, (number,), cache_dir=tmp_path)
    assert system.kind == "traced"
    backend = backend_of(("python", None), "float64", False)
    namespace: dict = {}
    exec(compile(system.source, str(system.path), "exec"), namespace)
    got = evaluate_rhs(backend, namespace["rhs"], 0.0, np.ones((4, 1)), [[number]], 4)
    assert got[:, 0].tolist() == fun(0.0, [1.0], number)


def test_bits_of_a_number_are_refused(tmp_path):
    """The bits of a state have no straight-line form, as they have none in Python."""

    def fun(t, y):
        return [np.where(y[0] > 50.0, np.where(y[0] > 60.0, 5, 6) & 3, 1.0)]

    assert "no conditions" in trace(fun, 1, cache_dir=tmp_path).note


def test_a_trace_for_pythons_numbers_is_not_one_for_numpys(tmp_path):
    """Whether arithmetic raises and conditions count is part of what a trace is kept by."""

    def fun(t, y, p):
        return [y[0] * ((p > 0.0) + (p > 0.5))]

    plain, numpys = (
        trace(fun, 1, (kind(0.7),), cache_dir=tmp_path).source for kind in (float, np.float64)
    )
    assert plain != numpys


def test_and_and_or_return_one_of_their_operands(tmp_path):
    """Also where conditions are so many that they become choices."""

    def fun(t, y):
        total = 0.0
        for i in range(8):
            total = total + (y[i] and y[i - 1]) + 2.0 * (y[i] or y[i - 1])
            if y[i] > 3.0:
                total = total + 1.0
        return [total] * 8

    system = trace(fun, 8, cache_dir=tmp_path)
    assert system.kind == "traced"
    namespace: dict = {}
    exec(compile(system.source, str(system.path), "exec"), namespace)
    backend = backend_of(("python", None), "float64", False)
    states = np.array([[0.0, 2.0, 5.0, -1.0, 0.0, 0.0, 4.0, 0.5]]).T
    got = evaluate_rhs(backend, namespace["rhs"], 0.0, states, np.zeros((1, 1)), 8)
    assert got[0, 0] == fun(0.0, states[:, 0])[0]


@pytest.mark.parametrize(
    "text", ["~(max(y[0], 1e-30) > 0)", "(min(p, y[0]) > 0) + (max(p, 1) > 0)"]
)
def test_a_condition_on_either_kind_is_not_traced(text, tmp_path):
    """`max` of a NumPy number and one of Python's gives the one or the other: so does `~`."""
    fun = eval(f"lambda t, y, p: [1.0 * ({text})]")
    system = trace(fun, 1, (0.5,), cache_dir=tmp_path)
    assert system.kind == "compiled"
    assert "depends on which" in system.note
    known = trace(
        lambda t, y, p: [1.0 * ~(np.maximum(y[0], 1e-30) > 0)], 1, (0.5,), cache_dir=tmp_path
    )
    assert known.kind == "traced"
