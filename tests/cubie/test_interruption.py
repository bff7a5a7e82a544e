"""A signal ends a solve soon, what had ended can be had, and the next solve is sound."""

import contextlib
import ctypes
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback

import numpy as np
import pytest

from cubie import RunStatus, Solver
from cubie.backend import interruption
from cubie.backend.cpu.native_team import NativeTeam
from cubie.launch import points, steps

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are sent to the process itself")

N = 400
STIFFNESS = np.linspace(1.0, 2.0, N)
SHORT, LONG = (0.0, 0.05), (0.0, 1e4)
# A solve of LONG takes hours. Half a second is what is promised where nothing else keeps the
# processors busy; where much does, a signal still ends it.
SOON, LOADED = 0.5, 20.0
METHODS = {
    "rk4": {"first_step": 1e-5},
    "tsit5": {"max_step": 1e-4},
    "kvaerno3": {"max_step": 1e-4},
    "radau_iia_3": {"max_step": 1e-4},
    "rosenbrock23": {"max_step": 1e-4},
}


def oscillator(t, y, k):
    return y[1], -k * y[0]


def solver_of(method, **options):
    options = {"save": "final", **METHODS[method], **options}
    return Solver(oscillator, method=method, backend="cpu", max_steps=10**9, **options)


def solve(solver, span, **changes):
    return solver.solve(span, np.ones((N, 2)), args=(STIFFNESS,), **changes)


class After:
    """Sends a signal to this process after some time."""

    def __init__(self, seconds, number=signal.SIGINT):
        self.seconds, self.number, self.handler = seconds, number, None
        self.sent = threading.Event()
        self.thread = threading.Thread(target=self._send)

    def _send(self):
        time.sleep(self.seconds)
        self.at = time.perf_counter()
        os.kill(os.getpid(), self.number)

    def __enter__(self):
        # Shells start what runs in the background with SIGINT ignored.
        self.handler = signal.getsignal(self.number)
        if self.handler is signal.SIG_IGN:
            signal.signal(self.number, signal.default_int_handler)
        self.thread.start()
        return self

    def __exit__(self, _, raised, __):
        try:
            self.thread.join()
        except (KeyboardInterrupt, TimeoutError):
            if raised is None:
                raise
            self.thread.join()  # what was raised before the signal came is what is seen
        finally:
            if self.handler is signal.SIG_IGN:
                signal.signal(self.number, self.handler)


def ended_by(call, seconds, number=signal.SIGINT):
    """Return what a call raises that a signal ends after some time, and how long that took.

    The signal may come before the call begins: nothing but this function may see the exception.
    """
    sender = After(seconds, number)
    try:
        with sender:
            call()
    except (KeyboardInterrupt, TimeoutError) as error:
        took = time.perf_counter() - sender.at
        sender.thread.join()
        return error, took
    raise AssertionError("the call was not ended")


@pytest.fixture(autouse=True)
def ctrl_c():
    """Python's own handler: a process that is started in the background ignores SIGINT.

    Without the callbacks of the garbage collector that Hypothesis has: what a handler raises while
    one of them runs is printed, and lost.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    callbacks = gc.callbacks[:]
    gc.callbacks.clear()
    yield
    gc.callbacks[:] = callbacks
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def handler():
    """Set a handler of a signal for one test."""
    before = {}

    def install(number, function):
        before[number] = signal.signal(number, function)

    yield install
    for number, function in before.items():
        signal.signal(number, function)


@pytest.mark.parametrize("method", list(METHODS))
def test_ctrl_c_stops_a_solve_and_the_next_one_is_right(method):
    """At random moments: back within half a second, with partial results; then as before."""
    solver = solver_of(method)
    expected = solve(solver, SHORT)
    moments, begun, taken = random.Random(method), [], []
    for _ in range(10):
        caught, took = ended_by(lambda: solve(solver, LONG), moments.uniform(0.0, 0.1))
        assert type(caught) is KeyboardInterrupt
        taken.append(took)
        if hasattr(caught, "result"):  # else it was not yet launched
            partial = caught.result
            assert set(partial.status) == {RunStatus.INTERRUPTED}
            assert np.all(partial.t_reached < LONG[1])
            begun.append(partial.n_steps > 0)
            assert np.isfinite(partial.y[begun[-1]]).all()
        again = solve(solver, SHORT)
        assert np.array_equal(again.y, expected.y)
        assert np.array_equal(again.status, expected.status)
    assert np.any(begun)
    assert min(taken) < SOON
    assert max(taken) < LOADED


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("save", ["final", "times", "steps"])
def test_what_had_ended_is_kept(save, dense):
    """Short runs come first: their results are those of a solve that was not interrupted."""
    y0 = np.random.default_rng(1).uniform(0.5, 1.5, (3000, 2))
    # The later ones take so many steps that none ends: of some that had, the room for all would be
    # reckoned, and be refused.
    rate = np.where(np.arange(3000) < 1000, 1.0, 1e16)
    times = [0.2, 0.7, 1.0] if save == "times" else None
    solver = Solver(oscillator, backend="cpu", max_steps=10**9)
    options = {"t_eval": times, "dense_output": dense, **({} if times else {"save": save})}
    expected = solver.solve((0.0, 1.0), y0[:1000], args=(rate[:1000],), **options)
    for delay in (0.3, 1.5, 6.0):  # on a busy machine one may come before the kernel starts
        with pytest.raises(KeyboardInterrupt) as caught, After(delay):
            solver.solve((0.0, 1.0), y0, args=(rate,), **options)
        if hasattr(caught.value, "result"):
            break
    else:
        where = "".join(traceback.format_exception(caught.value))
        pytest.fail(f"three signals, and no result of any:\n{where}")
    partial = caught.value.result
    ended = partial.status == RunStatus.SUCCESS
    assert 0 < ended.sum() <= 1000
    # After millions of steps, where a machine is quick, the errors of an oscillator are infinite.
    possible = {RunStatus.SUCCESS, RunStatus.INTERRUPTED, RunStatus.NON_FINITE}
    assert {RunStatus.INTERRUPTED} <= set(partial.status) <= possible
    over = np.count_nonzero(partial.status != RunStatus.INTERRUPTED)
    assert f"{over} of 3000 runs had ended" in caught.value.__notes__[0]
    alike = np.flatnonzero(ended[:1000])
    for name in ("y", "n_steps", "t_reached", "nfev"):
        found, wanted = getattr(partial, name)[alike], getattr(expected, name)[alike]
        if save == "steps" and name == "y":
            found, wanted = found.padded(), wanted.padded()
        assert np.array_equal(found, wanted, equal_nan=True)
    if dense:
        looked_at = np.linspace(0.0, 1.0, 9)
        assert np.array_equal(partial.sol[alike](looked_at), expected.sol[alike](looked_at))
        lost = partial.sol[np.flatnonzero(partial.n_steps == 0)]
        assert np.isnan(lost(looked_at[1:])).all()


def test_a_signal_whose_exception_is_lost_still_ends_the_solve(monkeypatch):
    """Python only prints what is raised in callbacks of its collector, and goes on."""
    solver = solver_of("tsit5")
    expected = solve(solver, SHORT)
    run = NativeTeam.run

    def losing(*arguments):
        with contextlib.suppress(KeyboardInterrupt):
            run(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(NativeTeam, "run", losing)
        caught, took = ended_by(lambda: solve(solver, LONG), 0.2)
    assert took < LOADED
    assert RunStatus.INTERRUPTED in caught.result.status
    assert np.array_equal(solve(solver, SHORT).y, expected.y)


class AtLine:
    """Raises what a handler of signals would, at a line of what gathers the points of launches."""

    def __init__(self, line):
        self.line, self.reached = line, 0

    def __enter__(self):
        sys.settrace(self._called)

    def __exit__(self, *_):
        sys.settrace(None)

    def _called(self, frame, event, _):
        within = frame.f_code.co_filename in (steps.__file__, points.__file__)
        # A signal before the first line of a solve, or within what is made of an interrupted one:
        # the first has nothing to show, the second comes twice.
        return self._looked if within and frame.f_code.co_name not in APART else None

    def _looked(self, frame, event, _):
        if event == "line":
            self.reached += 1
            if self.reached == self.line:
                raise KeyboardInterrupt
        return self._looked


APART = {"__init__", "known", "points_of_steps", "most_points"}


@pytest.mark.parametrize(("save", "n_runs"), [("steps", 40), ("final", 1)])
def test_between_two_launches_nothing_that_had_ended_is_lost(save, n_runs, monkeypatch):
    """The signal comes at each line in turn, of many launches and of runs solved again."""
    monkeypatch.setattr(steps, "LAUNCH_BYTES", 1 << 14)
    monkeypatch.setattr(steps, "DEEP_QUEUE", 1)
    monkeypatch.setattr(steps, "FIRST_ROOM", 12)
    monkeypatch.setattr(steps, "LEAST_FIRST_ROOM", 8)
    y0 = np.random.default_rng(1).uniform(0.5, 1.5, (n_runs, 2))
    rate = np.linspace(1.0, 2e3, n_runs)[np.random.default_rng(2).permutation(n_runs)]
    options = {"save": save, "dense_output": True, "args": (rate,)}

    def solver():
        """Return one that has not learnt yet how many points there will be."""
        return Solver(oscillator, backend="cpu")

    expected = solver().solve((0.0, 1.0), y0, **options)
    looked_at, kept_some, line = np.linspace(0.0, 1.0, 9), 0, 0
    while True:
        line += 1
        try:
            with AtLine(line):
                solver().solve((0.0, 1.0), y0, **options)
        except KeyboardInterrupt as caught:
            partial = caught.result
        else:
            break
        assert set(partial.status) <= {RunStatus.SUCCESS, RunStatus.INTERRUPTED}
        ended = np.flatnonzero(partial.status == RunStatus.SUCCESS)
        kept_some += len(ended) > 0
        for name in ("y", "n_steps", "t_reached", "nfev"):
            found, wanted = getattr(partial, name)[ended], getattr(expected, name)[ended]
            if save == "steps" and name == "y":
                found, wanted = found.padded(), wanted.padded()
            assert np.array_equal(found, wanted, equal_nan=True)
        assert np.array_equal(partial.sol[ended](looked_at), expected.sol[ended](looked_at))
    assert line > 20
    assert kept_some > line // 3


def test_a_handler_that_raises_ends_a_solve(handler):
    """A timer's handler, say: its exception arrives, and carries what was solved."""

    def late(number, frame):
        raise TimeoutError("late")

    handler(signal.SIGALRM, late)
    solver = solver_of("tsit5")
    expected = solve(solver, SHORT)
    caught, took = ended_by(lambda: solve(solver, LONG), 0.1, signal.SIGALRM)
    assert str(caught) == "late"
    assert took < LOADED
    assert RunStatus.INTERRUPTED in caught.result.status
    assert np.array_equal(solve(solver, SHORT).y, expected.y)


def test_a_handler_that_returns_ends_nothing(handler):
    """It runs while the solve goes on, which ends as if nothing had been."""
    calls = []
    solver = solver_of("rk4")
    expected = solve(solver, (0.0, 20.0))
    handler(signal.SIGINT, lambda number, frame: calls.append(time.perf_counter()))
    with After(0.05):
        result = solve(solver, (0.0, 20.0))
        end = time.perf_counter()
    assert len(calls) == 1
    assert calls[0] < end
    assert np.array_equal(result.y, expected.y)
    assert np.all(result.success)


def test_python_s_handler_is_there_after_a_solve():
    """The action of SIGINT is left as it was found."""
    solver = solver_of("tsit5")
    solve(solver, SHORT)
    with pytest.raises(KeyboardInterrupt), After(0.01):
        time.sleep(5.0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_thread_s_solve_goes_on():
    """Signals are the main thread's: a solve of another one is not harmed."""
    solver = solver_of("rk4")
    expected, found = solve(solver, (0.0, 20.0)), []
    ended = threading.Event()

    def solve_there():
        found.append(solve(solver, (0.0, 20.0)))
        ended.set()

    threading.Thread(target=solve_there).start()
    with pytest.raises(KeyboardInterrupt), After(0.05):
        time.sleep(5.0)
    assert ended.wait(60.0)
    assert np.array_equal(found[0].y, expected.y)


def test_the_python_target_is_interrupted_too():
    """Between two runs and within one; runs that had ended are kept."""
    solver = Solver(oscillator, backend="python", save="final", max_steps=10**6)
    solve(solver, (0.0, 0.01))
    caught, took = ended_by(lambda: solve(solver, (0.0, 50.0)), 1.0)
    assert took < LOADED
    assert caught.result.status[0] == RunStatus.SUCCESS
    assert caught.result.status[-1] == RunStatus.INTERRUPTED
    assert np.isnan(caught.result.y[-1]).all()


LARGE = """
import threading
threading.stack_size(256 * 1024)
import numpy as np, cubie
n = 300
def ring(t, y, f):
    return [(y[(i + 1) % n] - y[i - 2]) * y[i - 1] - y[i] + f for i in range(n)]
def solve():
    found, on_stack = [], []
    for locations in ("auto", "local"):
        run = cubie.Solver(
            ring, method="rosenbrock23", backend="cpu", lanes=16, rtol=1e-4, fastmath=False,
            locations=locations,
        )
        result = run.solve((0, 0.05), 8 + 2 * np.sin(np.arange(n)), args=(np.linspace(7, 9, 64),))
        code = run.kernel.compiled
        on_stack.append(code._stack_bytes > code.USUAL_STACK_BYTES)
        found.append(result.y)
        print(bool(result.success.all()))
    print(np.array_equal(*found), *on_stack)
thread = threading.Thread(target=solve)
threading.stack_size(1024 * 1024)
thread.start()
thread.join()
"""


def test_a_group_larger_than_a_stack_is_solved():
    """Its buffers lie in memory of the kernel's own, or asked for as local ones on stacks made
    for them; the process does not end."""
    done = subprocess.run(
        [sys.executable, "-c", LARGE], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.split() == ["True", "True", "True", "False", "True"]


ACTIONS = """
import ctypes, os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np, cubie
solver = cubie.Solver(lambda t, y, k: [y[1], -k * y[0]], rtol=1e-9, max_steps=10**8, save="final")
y0, k = np.ones((3000, 2)), np.linspace(1.0, 2.0, 3000)
solver.solve((0.0, 1.0), y0, args=(k,))
libc = ctypes.CDLL(None)
libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
for action in map(int, sys.argv[1:]):
    libc.signal(int(signal.SIGINT), action)
    solver.solve((0.0, 1.0), y0, args=(k,))
threading.Thread(target=lambda: (time.sleep(0.1), os.kill(os.getpid(), signal.SIGINT))).start()
result = solver.solve((0.0, 2000.0), y0, args=(k,))
print("ended", bool(result.success.all()))
"""


@pytest.mark.skipif(os.name != "posix", reason="actions of signals are POSIX's")
@pytest.mark.parametrize(
    ("first", "action"),
    [
        ([], signal.SIG_IGN),
        ([], signal.SIG_DFL),
        ([signal.SIG_IGN], signal.SIG_DFL),
        ([signal.SIG_DFL], signal.SIG_IGN),
    ],
)
def test_an_action_that_calls_nothing_is_taken_as_it_is(first, action):
    """Where a library gave SIGINT the system's action, or none, and Python does not know.

    OR-Tools does: the handler in machine code then called what is no function.
    """
    asked = [str(int(each)) for each in (*first, action)]
    done = subprocess.run(
        [sys.executable, "-c", ACTIONS, *asked], capture_output=True, text=True, timeout=300
    )
    if action == signal.SIG_IGN:
        assert (done.returncode, done.stdout.split()) == (0, ["ended", "True"]), done.stderr
    else:
        assert done.returncode == -signal.SIGINT, done.stderr


@pytest.mark.skipif(os.name != "posix", reason="actions of signals are POSIX's")
def test_the_action_of_a_signal_is_put_back_as_it_was_found():
    """Also where another one than at the solve before is found."""
    libc = ctypes.CDLL(None)

    def action() -> bytes:
        room = ctypes.create_string_buffer(256)
        assert libc.sigaction(int(signal.SIGINT), None, room) == 0
        # Handler, mask and flags, as C libraries lay them out; glibc leaves what it does not use.
        return room.raw[:16] + room.raw[136:140]

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    solver = solver_of("tsit5")
    try:
        seen = set()
        for restarts in (False, True, False, False):
            signal.siginterrupt(signal.SIGINT, not restarts)  # a flag of the action
            found = action()
            solve(solver, SHORT)
            assert action() == found
            seen.add(found)
        assert len(seen) == 2
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_thread_started_beside_a_small_stack_has_the_usual_one():
    """The size is the process's while the workers start: those of the program get it as well."""
    sizes, usual = [], 512 << 10

    class Worker:
        def start(self):
            sizes.append(threading.stack_size())  # asked, it is the system's from then on
            threading.stack_size(sizes[-1])

    before = threading.stack_size(usual)
    try:
        for size in (300_000, 64 << 20, 0):
            interruption._start([Worker()], [], size)  # pyright: ignore[reportArgumentType]
            Worker().start()
    finally:
        threading.stack_size(before)
    assert sizes == [8 << 20, usual, 64 << 20, usual, usual, usual]
