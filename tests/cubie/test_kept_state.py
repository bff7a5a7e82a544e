"""Right-hand sides that remember something from call to call: refused, or compiled right."""

import collections
import functools
import random
import types

import numpy as np
import pytest

from cubie import solve_ivp
from cubie.systems import RightHandSideError, trace

SETTINGS = {"method": "euler", "first_step": 0.125, "backend": "python"}


def relay(read, write):
    """Return a right-hand side with hysteresis between 18 and 22, its mode kept elsewhere.

    Neither condition holds at the points where a function is tried on plain numbers.
    """

    def rhs(t, y, k):
        if y[0] > 22.0:
            write(0.0)
        elif y[0] < -18.0:
            write(1.0)
        return [5.0 * read() - k * (y[0] - 10.0)]

    return rhs


def in_dict():
    """A global or closed-over dictionary."""
    mode = {"on": 1.0}
    return relay(lambda: mode["on"], lambda value: mode.update(on=value)), lambda: mode["on"]


def in_list():
    """An entry of a list."""
    mode = [1.0]
    return relay(lambda: mode[0], lambda value: mode.__setitem__(0, value)), lambda: mode[0]


def in_grown_list():
    """The last entry of a list that grows."""
    mode = [1.0]
    return relay(lambda: mode[-1], mode.append), lambda: len(mode)


def in_deque():
    """The last entry of a queue."""
    mode = collections.deque([1.0], maxlen=3)
    return relay(lambda: mode[-1], mode.append), lambda: len(mode)


def in_set():
    """Membership of a set."""
    mode = {1.0}

    def rhs(t, y, k):
        if y[0] > 22.0:
            mode.discard(1.0)
        elif y[0] < -18.0:
            mode.add(1.0)
        return [(5.0 if 1.0 in mode else 0.0) - k * y[0]]

    return rhs, lambda: len(mode)


def in_array():
    """An array of numbers."""
    mode = np.array([1.0])

    def rhs(t, y, k):
        if y[0] > 22.0:
            mode[0] = 0.0
        elif y[0] < -18.0:
            mode[0] = 1.0
        return [5.0 * mode[0] - k * y[0]]

    return rhs, lambda: mode[0]


def in_namespace():
    """An attribute of an object without methods."""
    mode = types.SimpleNamespace(on=1.0)
    return relay(lambda: mode.on, lambda value: setattr(mode, "on", value)), lambda: mode.on


def in_nonlocal():
    """A variable of the enclosing function."""
    on = 1.0

    def rhs(t, y, k):
        nonlocal on
        if y[0] > 22.0:
            on = 0.0
        elif y[0] < -18.0:
            on = 1.0
        return [5.0 * on - k * y[0]]

    return rhs, lambda: on


GLOBAL_MODE = 1.0


def with_global(t, y, k):
    """Keep a global variable."""
    global GLOBAL_MODE
    if y[0] > 22.0:
        GLOBAL_MODE = 0.0
    elif y[0] < -18.0:
        GLOBAL_MODE = 1.0
    return [5.0 * GLOBAL_MODE - k * y[0]]


def in_global():
    """A global variable."""
    return with_global, lambda: GLOBAL_MODE


class Relay:
    """Keeps its mode in an attribute, a class attribute, or an attribute of another object."""

    shared = 1.0

    def __init__(self):
        self.on = 1.0
        self.parts = [types.SimpleNamespace(flags={"on": 1.0})]

    def attribute(self, t, y, k):
        """Keep an attribute."""
        if y[0] > 22.0:
            self.on = 0.0
        elif y[0] < -18.0:
            self.on = 1.0
        return [5.0 * self.on - k * y[0]]

    def of_class(self, t, y, k):
        """Keep a class attribute, of which each way to write it is one."""
        if y[0] > 22.0:
            type(self).shared = 0.0
        elif y[0] < -18.0:
            Relay.shared = 1.0
        return [5.0 * self.shared - k * y[0]]

    def nested(self, t, y, k):
        """Keep an entry deep inside."""
        if y[0] > 22.0:
            self.parts[0].flags["on"] = 0.0
        elif y[0] < -18.0:
            self.parts[0].flags["on"] = 1.0
        return [5.0 * self.parts[0].flags["on"] - k * y[0]]

    def started(self, t, y, k):
        """Remember when it was first called for a high state."""
        if y[0] > 22.0 and not hasattr(self, "start"):
            self.start = t
        return [getattr(self, "start", 0.0) - k * y[0]]


def in_attribute():
    """An attribute of the method's object."""
    kept = Relay()
    return kept.attribute, lambda: kept.on


def in_class():
    """A class attribute."""
    return Relay().of_class, lambda: Relay.shared


def in_nested():
    """A dictionary in an object in a list in an attribute."""
    kept = Relay()
    return kept.nested, lambda: kept.parts[0].flags["on"]


def in_new_attribute():
    """An attribute that the first call makes."""
    kept = Relay()
    return kept.started, lambda: hasattr(kept, "start")


def in_function():
    """An attribute of the function itself."""

    def rhs(t, y, k):
        if y[0] > 22.0:
            rhs.on = 0.0
        elif y[0] < -18.0:
            rhs.on = 1.0
        return [5.0 * rhs.on - k * y[0]]

    rhs.on = 1.0
    return rhs, lambda: rhs.on


def in_default():
    """A default argument."""
    mode = {"on": 1.0}

    def rhs(t, y, k, mode=mode):
        if y[0] > 22.0:
            mode["on"] = 0.0
        elif y[0] < -18.0:
            mode["on"] = 1.0
        return [5.0 * mode["on"] - k * y[0]]

    return rhs, lambda: mode["on"]


def in_time():
    """The time of the latest call."""
    last = {"t": 0.0}

    def rhs(t, y, k):
        step, last["t"] = t - last["t"], t
        return [-k * y[0] * step]

    return rhs, lambda: last["t"]


def in_generator():
    """Random numbers of one's own, on one branch only."""
    numbers = np.random.default_rng(1)

    def rhs(t, y, k):
        return [(numbers.random() if y[0] > 22.0 else 0.0) - k * y[0]]

    return rhs, lambda: str(numbers.bit_generator.state)


def in_random():
    """Random numbers of Python's, on one branch only."""
    return (
        lambda t, y, k: [(random.random() if y[0] > 22.0 else 0.0) - k * y[0]],
        lambda: hash(random.getstate()),
    )


def in_iterator():
    """The next entry of an iterator, on one branch only."""
    entries = iter([1.0] * 100)
    return (
        lambda t, y, k: [(next(entries) if y[0] > 22.0 else 0.0) - k * y[0]],
        lambda: entries.__length_hint__(),
    )


KEPT = (
    *(in_dict, in_list, in_grown_list, in_deque, in_set, in_array, in_namespace, in_nonlocal),
    *(in_global, in_attribute, in_class, in_nested, in_new_attribute, in_function, in_default),
    *(in_time, in_generator, in_random, in_iterator),
)


@pytest.mark.parametrize("make", KEPT)
def test_a_state_of_its_own_is_refused_and_left_alone(make, tmp_path):
    """Wherever it is kept, though it changes on one branch only; the error says what to do."""
    rhs, look = make()
    before = look()
    with pytest.raises(RightHandSideError, match="must depend on t, y and args only"):
        trace(rhs, 1, (0.3,), cache_dir=tmp_path)
    assert look() == before


@pytest.mark.parametrize("memory", [[1.0], {"on": 1.0}, np.array([1.0])], ids=["list", "dict", "a"])
def test_arguments_are_no_memory(memory, tmp_path):
    """What a function writes into its arguments is gone with the next call: refused."""
    key = "on" if isinstance(memory, dict) else 0

    def rhs(t, y, memory):
        if y[0] > 22.0:
            memory[key] = 0.0
        return [5.0 * memory[key] - y[0]]

    with pytest.raises(RightHandSideError, match=r"`args\[0\]"):
        trace(rhs, 1, (memory,), cache_dir=tmp_path)
    assert memory[key] == 1.0


def test_the_error_names_the_place_and_what_to_use_instead(tmp_path):
    """The variable by its name, and what the user may have wanted it for."""
    with pytest.raises(RightHandSideError) as caught:
        trace(Relay().attribute, 1, (0.3,), cache_dir=tmp_path)
    message = str(caught.value)
    assert "changes `self.on`" in message
    assert "a state of the system" in message
    assert "piece by piece" in message


# ---- what is no state: places to work in, logs, what is computed once


class Worker:
    """Writes attributes before it reads them."""

    def __init__(self):
        self.flow, self.rates = 0.0, np.zeros(2)

    def rhs(self, t, y, k):
        """Pass a number and an array from method to method."""
        self.flow = k * y[0]
        self.update(y)
        return self.rates

    def update(self, y):
        """Fill the array."""
        self.rates[0] = -self.flow
        self.rates[1] = self.flow - y[1]

    @functools.cached_property
    def factor(self):
        """A constant, computed when first asked for."""
        return 2.0 * 3.0

    def with_cache(self, t, y, k):
        """Use it."""
        return [-k * self.factor * y[0], 0.0]


def test_a_place_to_work_in_is_no_state(tmp_path):
    """Attributes and arrays that are written before they are read do not hinder tracing."""
    worker = Worker()
    system = trace(worker.rhs, 2, (0.5,), cache_dir=tmp_path)
    dy = np.zeros(2)
    system.rhs(0.0, [3.0, 2.0], [0.5], dy, 0)
    assert dy.tolist() == [-1.5, -0.5]
    assert (system.kind, worker.flow, worker.rates.tolist()) == ("traced", 0.0, [0.0, 0.0])
    assert "`self.flow`" in system.note


def test_what_is_computed_once_is_no_state(tmp_path):
    """A cached property is a constant; nothing is said about it."""
    worker = Worker()
    system = trace(worker.with_cache, 2, (0.5,), cache_dir=tmp_path)
    assert (system.kind, system.note) == ("traced", "")
    assert "factor" not in vars(worker)


def test_a_log_is_left_as_it_was_and_the_result_says_so():
    """The numbers do not depend on it; a note says that nothing is written to it."""
    log, calls = ["start"], [0]

    def rhs(t, y):
        log.append(t)
        calls[0] += 1
        return [-y[0]]

    for _ in range(2):  # the second comes from the cache
        result = solve_ivp(rhs, (0.0, 1.0), [1.0], **SETTINGS)
        assert (log, calls) == (["start"], [0])
        assert result.success
        assert any("`log[1]`" in note and "`calls[0]`" in note for note in result.notes)


def test_a_function_compiled_as_it_stands_has_no_state_either(tmp_path):
    """What cannot be traced is refused for a change in a call, or one that its text shows."""
    total = np.zeros(1)

    def adds(t, y):
        total[0] += t
        x = y[0]
        while x > 1e-3:
            x *= 0.5
        return [x + total[0]]

    with pytest.raises(RightHandSideError, match="`total"):
        trace(adds, 1, cache_dir=tmp_path)
    with pytest.raises(RightHandSideError, match="`GLOBAL_MODE`"):
        trace(assigns_late, 1, cache_dir=tmp_path)
    assert total[0] == 0.0


def assigns_late(t, y):
    """Change a global where no sample point comes, and loop as no trace can."""
    global GLOBAL_MODE
    x = y[0]
    while x > 1e-3:
        x *= 0.5
    if y[0] > 1e9:
        GLOBAL_MODE = 0.0
    return [x * GLOBAL_MODE]


def prints(t, y):
    print("CALLED", y[0])
    return [-y[0], y[1]]


def prints_on_many_paths(t, y):
    print("CALLED")
    total = 0.0
    for i in range(12):
        total = np.sin(total) + y[1] * i if y[0] * total > i else total * 2 - y[1]
    return [-y[0], total]


def prints_and_loops(t, y):
    print("CALLED")
    total = 0.0
    while total < y[0]:
        total += y[0] / 3
    return [-y[0], total]


def prints_within(t, y):
    return [prints(t, y)[0] if y[1] > 0.5 else prints(t, y)[1], max(y)]


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (prints, "traced"),
        (prints_on_many_paths, "traced"),
        (prints_within, "traced"),
        (prints_and_loops, "compiled"),
    ],
)
def test_a_function_prints_a_few_times_whatever_its_paths(tmp_path, capsys, function, kind):
    """Its text is followed once for each path, in silence; it is tried with a few numbers aloud."""
    system = trace(function, 2, cache_dir=tmp_path)
    assert system.kind == kind
    assert 1 <= capsys.readouterr().out.count("CALLED") <= 5
    assert ("nothing is printed while runs are solved" in system.note) == (kind == "traced")
    assert trace(function, 2, cache_dir=tmp_path).note == system.note
    assert not capsys.readouterr().out


def test_a_function_that_raises_is_called_a_few_times(capsys):
    """A refusal is told after as many calls as it takes to be sure."""

    def raises(t, y):
        print("CALLED")
        raise ValueError("out of range")

    with pytest.raises(RightHandSideError, match="out of range"):
        trace(raises, 2)
    assert capsys.readouterr().out.count("CALLED") == 2
