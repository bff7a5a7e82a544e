"""Conditions on the states and the time, followed both ways."""

import linecache
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cubie.systems import trace
from cubie.systems.tracing import nodes, paths
from cubie.systems.tracing.branchless import branchless
from cubie.systems.tracing.nodes import COMPARISONS
from cubie.systems.tracing.paths import Range

DOSES = [24.0 * i for i in range(80)]


def infusions(t, y, rate, length):
    """Add up the infusions that run."""
    total = 0.0
    for start in DOSES:
        if t >= start and t < start + 2.0:
            total += rate
    return [total - y[0] / length]


def decaying(t, y, rate, length):
    """Add up what is left of all doses so far."""
    total = 0.0
    for start in DOSES:
        if t < start:
            break
        total += rate * math.exp((start - t) / length)
    return [total - y[0]]


def next_dose(t, y, rate, length):
    """Return early, with the time to the next dose."""
    for start in DOSES:
        if start > t:
            return [rate * (start - t) - y[0] / length]
    return [-y[0]]


@pytest.mark.parametrize("function", [infusions, decaying, next_dose])
def test_a_loop_over_dose_times_is_traced(function, tmp_path):
    """As many paths as there are intervals, and Python's value in each and on its edges."""
    system = trace(function, 1, (50.0, 10.0), cache_dir=tmp_path)
    assert system.kind == "traced"
    got = np.zeros(1)
    for t in (-1.0, 0.0, 1.999, 2.0, 23.9, 24.0, 25.0, 26.0, 47.0, 1000.0, 1896.0, 1897.9, 1e4):
        system.rhs(np.float64(t), [3.0], [50.0, 10.0], got, 0)
        assert got[0] == pytest.approx(function(t, [3.0], 50.0, 10.0)[0], rel=1e-14)


class Schedule:
    """Doses: objects in a list in a dictionary of the object whose method is traced."""

    class Dose:
        """One dose."""

        def __init__(self, start, amount):
            self.start, self.amount = start, amount

        def rate(self, t):
            """Return a bell over the dose's two hours."""
            if t < self.start or t >= self.start + 2.0:
                return 0.0
            return self.amount * math.sin(math.pi * (t - self.start) / 2.0)

    def __init__(self):
        self.doses = {"oral": [self.Dose(24.0 * i, 10.0 + i) for i in range(6)]}

    def rhs(self, t, y, k):
        """Add up the doses."""
        return [sum(dose.rate(t) for dose in self.doses["oral"]) - k * y[0]]


def test_what_conditions_depend_on_is_found_once_a_node(monkeypatch):
    """A loop that never ends asks at every turn about a chain that has grown by a node."""
    questions = ((paths, "_is_of_state"), (paths, "_is_moved_time"), (nodes, "_integers"))
    asked = []

    def counted(question):
        def answer(node, known):
            asked.append((question, node))
            return question(node, known)

        return answer

    for module, name in questions:
        monkeypatch.setattr(module, name, counted(getattr(module, name)))

    def without_end(t, y):
        x = t
        while x > 1.0:
            x = x - 1.0
        return [x * y[0]]

    assert "conditions" in trace(without_end, 1).note
    assert len(asked) >= len(questions) * paths.MOST_CONDITIONS
    assert len(set(asked)) == len(asked)


def test_methods_of_objects_in_containers_are_traced(tmp_path):
    """Python's own value, `math` included."""
    schedule = Schedule()
    system = trace(schedule.rhs, 1, (0.5,), cache_dir=tmp_path)
    assert system.kind == "traced"
    got = np.zeros(1)
    for t in (-1.0, 0.5, 2.0, 24.3, 121.0, 122.0):
        system.rhs(np.float64(t), [3.0], [0.5], got, 0)
        assert got[0] == pytest.approx(schedule.rhs(t, [3.0], 0.5)[0], rel=1e-13)


def mixed(t, y):
    """Ask the same number again and again, in different words."""
    x = y[0]
    if x > 2.0:
        kind = 1.0
    elif not x >= 1.0:
        kind = 2.0 if x < 0.0 else 3.0
    else:
        kind = 4.0
    if np.logical_and(x >= 0.0, x <= 1.5):
        kind += 10.0
    if (x < -1.0) | (x == 2.0):
        kind += 100.0
    if x != x:
        kind += 1000.0
    return [kind]


@pytest.mark.parametrize("x", [-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.2, 1.5, 1.7, 2.0, 2.5, math.nan])
def test_what_follows_from_a_condition_is_right(x, tmp_path):
    """Python's value everywhere, and at NaN, of which every comparison but one is false."""
    system = trace(mixed, 1, cache_dir=tmp_path)
    got = np.zeros(1)
    system.rhs(0.0, [np.float64(x)], [], got, 0)
    assert got[0] == mixed(0.0, [np.float64(x)])[0]


VALUES = st.sampled_from([-1.0, 0.0, 1.0, 2.0, 3.0])
FACT = st.tuples(st.sampled_from(sorted(COMPARISONS)), VALUES)


@given(
    st.lists(FACT, max_size=4),
    FACT,
    st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 9.0, math.nan]),
)
@settings(max_examples=400, deadline=None)
def test_no_conclusion_is_wrong(facts, question, x):
    """Whatever the answers to earlier comparisons of x were, what they settle is x's answer."""
    known = Range(is_number=not math.isnan(x))
    for op, bound in facts:
        known.narrow(op, bound, COMPARISONS[op](x, bound))
    answer = known.answer(*question)
    assert answer in (None, COMPARISONS[question[0]](x, question[1]))


def test_conclusions_are_drawn():
    """A number between two bounds is on the right side of all others."""
    known = Range(is_number=False)
    known.narrow(">=", 24.0, True)
    known.narrow("<", 26.0, True)
    assert [known.answer("<", bound) for bound in (2.0, 24.0, 25.0, 26.0)] == [
        False, False, None, True,
    ]  # fmt: skip
    assert known.answer(">=", 24.0) is True
    assert known.answer("==", 26.0) is False
    assert known.answer("!=", 27.0) is True


# ---- too many paths: branches that only assign become choices


def held_above_zero(t, y, k):
    """Hold each of many states, with every form of condition."""
    slopes = np.zeros(len(y))
    states = list(y)
    for i in range(len(y)):
        if states[i] < 0.0:
            states[i] = 0.0
        rate = k if 0.0 < states[i] < 2.0 else 0.5 * k
        if t > 1.0 and not states[i] > 3.0:
            factor = 2.0
        elif states[i] > 5.0 or t < 0.5:
            factor = states[i]
        else:
            factor = 1.0
        slopes[i] = -rate * factor * states[i]
        if y[i] < -1.0:
            slopes[i] += 0.5
    return slopes


def appended(t, y, k):
    """Append one of two values."""
    slopes = []
    for value in y:
        if value > k:
            slopes.append(-value)
        else:
            slopes.append(value * value)
    return slopes


def returns_early(t, y, k):
    """Mix returns, which are followed, with assignments, which are chosen."""
    total = 0.0
    if t > 1.0:
        return list(-y)
    for value in y:
        if value > k:
            total += value
    return [total] * len(y)


@pytest.mark.parametrize("function", [held_above_zero, appended, returns_early])
def test_many_branches_are_choices(function, tmp_path):
    """A function with 2**20 paths is traced, to Python's values."""
    system = trace(function, 20, (0.3,), cache_dir=tmp_path)
    assert system.kind == "traced"
    random, got = np.random.default_rng(7), np.zeros(20)
    for _ in range(100):
        t, y = random.uniform(0.0, 2.0), random.normal(0.0, 3.0, 20)
        system.rhs(np.float64(t), y, [0.3], got, 0)
        np.testing.assert_allclose(got, function(t, y, 0.3), rtol=1e-13)


def changes_in_place(t, y, k):
    """Change an array that has two names."""
    slopes = -k * y
    same = slopes
    for value in y:
        if value > 0.0:
            slopes += 1.0
    return same


def changes_a_list(t, y, k):
    """Append under some conditions only."""
    slopes = []
    for value in y:
        if value > 0.0:
            slopes.append(value)
    return [sum(slopes)] * len(y)


@pytest.mark.parametrize("function", [changes_in_place, changes_a_list])
def test_what_is_no_choice_is_not_made_one(function, tmp_path):
    """Where a branch changes a thing in place, it is compiled as it stands."""
    system = trace(function, 20, (0.3,), cache_dir=tmp_path)
    assert system.kind == "compiled"
    assert "paths" in system.note or "conditions" in system.note


def test_a_text_that_has_changed_is_not_believed(tmp_path):
    """Where the file no longer holds the function that runs, its text is not used."""
    path = tmp_path / "model.py"
    text = """
def rhs(t, y):
    total = 0.0
    for value in y:
        if value > 0.0:
            total += 1.0
    return [total] * len(y)
"""
    path.write_text(text)
    namespace = {}
    exec(compile(text, str(path), "exec"), namespace)
    path.write_text(text.replace("1.0", "2.0"))
    assert branchless(namespace["rhs"]) is namespace["rhs"].__code__
    path.write_text(text)
    linecache.checkcache(str(path))
    assert branchless(namespace["rhs"]) is not namespace["rhs"].__code__
