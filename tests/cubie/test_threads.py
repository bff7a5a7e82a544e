"""The threads that work through a batch: each runs its share, none outlives or misses a job."""

import ctypes
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from cubie import Solver
from cubie.backend import machine
from cubie.backend.cpu.native_team import SPINS, NativeTeam
from cubie.backend.cpu.threads import PooledTeam
from tests.oracle.problems import LORENZ

SIZE = 3


@pytest.fixture(params=[NativeTeam, PooledTeam])
def team(request):
    """A team of three, of both kinds."""
    made = request.param(SIZE)
    yield made
    if isinstance(made, NativeTeam):
        made.close()


class Recorder:
    """A C function that notes with what, and in which thread, it was called."""

    def __init__(self, seconds=0.0):
        self.calls = []
        self._callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._note)
        self._seconds = seconds
        self.address = ctypes.cast(self._callback, ctypes.c_void_p).value

    def _note(self, argument):
        time.sleep(self._seconds)
        self.calls.append((argument, threading.get_ident()))

    @property
    def arguments(self):
        return sorted(argument for argument, _ in self.calls)


def arguments(*values):
    return (ctypes.c_int64 * len(values))(*values)


def test_every_worker_does_its_part_in_a_thread_of_its_own(team):
    """Each argument is used once, the first by the caller, before `run` returns."""
    recorder = Recorder(seconds=0.05)
    team.run(recorder.address, arguments(7, 8, 9))
    assert recorder.arguments == [7, 8, 9]
    assert len({thread for _, thread in recorder.calls}) == SIZE
    assert dict(recorder.calls)[7] == threading.get_ident()


def test_jobs_follow_each_other_whether_threads_spin_or_sleep(team):
    """At once, after pauses, after being woken in vain: none of hundreds is lost or doubled."""
    for pause in (0.0, 0.0, 0.001, 0.02):
        for workers in (1, 2, 3) * 10:
            recorder = Recorder()
            team.wake(workers)
            time.sleep(pause)
            team.run(recorder.address, arguments(*range(1, workers + 1)))
            assert recorder.arguments == list(range(1, workers + 1))


def test_a_caller_who_finds_the_others_busy_works_alone():
    """Two callers at once: neither waits for the other's threads."""
    team, slow, quick = NativeTeam(SIZE), Recorder(seconds=0.5), Recorder()
    first = threading.Thread(target=team.run, args=(slow.address, arguments(1, 2)))
    first.start()
    time.sleep(0.1)
    team.run(quick.address, arguments(3, 4))
    assert quick.arguments == [3]
    first.join()
    assert slow.arguments == [1, 2]
    team.run(quick.address, arguments(5, 6))
    assert quick.arguments == [3, 5, 6]
    team.close()


def test_a_signal_within_a_job_leaves_the_threads_to_the_next():
    """Raised before any instruction of `run`: the team works afterwards, and ends."""
    team, here = NativeTeam(SIZE), NativeTeam.run.__code__

    def interrupted_at(wanted):
        seen = 0

        def on_instruction(frame, event, _argument):
            nonlocal seen
            seen += event == "opcode"
            if seen > wanted:
                raise KeyboardInterrupt
            return on_instruction

        def on_call(frame, _event, _argument):
            frame.f_trace_opcodes = frame.f_code is here
            return on_instruction if frame.f_code is here else None

        before = sys.gettrace()
        sys.settrace(on_call)
        try:
            team.run(Recorder().address, arguments(1, 2, 3))
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False

    instructions = 0
    while interrupted_at(instructions):
        instructions += 1
        recorder = Recorder()
        team.run(recorder.address, arguments(1, 2, 3))
        assert recorder.arguments == [1, 2, 3], instructions
    assert instructions > 20
    team.close()


def test_more_workers_than_threads_are_refused():
    """The error tells how many there are."""
    team = NativeTeam(2)
    with pytest.raises(ValueError, match="2 other threads asked of a team of 1"):
        team.run(Recorder().address, arguments(1, 2, 3))
    team.close()


def test_an_idle_team_sleeps():
    """Spinning ends: a second of waiting takes next to no processor time."""
    assert SPINS < 1_000_000
    team = NativeTeam(SIZE)
    team.run(Recorder().address, arguments(1, 2, 3))
    time.sleep(0.2)
    before = time.process_time()
    time.sleep(1.0)
    assert time.process_time() - before < 0.2
    team.close()


FORKED = """
import os, sys
import numpy as np
from cubie import Solver
from tests.oracle.problems import LORENZ

solver = Solver(LORENZ.fun, backend="cpu", rtol=1e-6, atol=1e-8)
args = (10.0, np.linspace(1.0, 20.0, 3000), 8.0 / 3.0)
solve = lambda: solver.solve((0.0, 5.0), [1.0, 0.0, 0.0], args=args).y
before = solve()
solver.kernel.compiled._group_seconds = 1.0
assert (solve() == before).all()
child = os.fork()
if child == 0:
    solver.kernel.compiled._group_seconds = 1.0
    os._exit(0 if (solve() == before).all() else 3)
assert os.waitpid(child, 0)[1] == 0
assert (solve() == before).all()
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_solves_with_threads_of_its_own():
    """What `multiprocessing` does by default on Linux; the process then ends without a hitch."""
    environment = os.environ | {machine.THREADS_VARIABLE: "3"}
    done = subprocess.run(
        [sys.executable, "-c", FORKED],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "done"), done.stderr


def test_solves_in_several_python_threads_at_once_agree():
    """One solver, used by four threads: every result is that of a solve alone."""
    solver = Solver(LORENZ.fun, backend="cpu", rtol=1e-6, atol=1e-8, fastmath=False)
    batches = [(10.0, np.linspace(1.0, 5.0 + k, 50), 8.0 / 3.0) for k in range(4)]
    alone = [solver.solve((0.0, 5.0), [1.0, 0.0, 0.0], args=batch).y for batch in batches]
    wrong = []

    def work(k):
        for _ in range(30):
            y = solver.solve((0.0, 5.0), [1.0, 0.0, 0.0], args=batches[k]).y
            if not np.array_equal(y, alone[k]):
                wrong.append(k)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
