"""A small sweep that all tests of robustness share, and programs that run it and are killed.

    python -m tests.cubie.sweeps.decays STORE WORKERS

forks, for each line of standard input, a process in a session of its own that goes on with the
sweep in STORE, and prints its number; it prints "begun", "first" when a chunk is done, then how it
ended.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from attrs import frozen

import cubie
from cubie.sweeps.store import ZarrStore

N, CHUNK = 40, 64  # chunks, and runs of each
OPTIONS = {"method": "rk4", "first_step": 1e-3, "summaries": {0: ["max"]}}


def decay(t, y, k):
    return [-k * y[0], y[0] - y[1]]


def decays(store=None, chunks=N, **options):
    """Return a sweep of that many chunks."""
    over = cubie.grid(k=np.linspace(0.1, 2.0, chunks * CHUNK))
    options = {"chunk": CHUNK} | OPTIONS | options
    return cubie.sweep(decay, (0, 1), [1.0, 0.0], over=over, store=store, **options)


def slow(store):
    """Return one of which each chunk takes long on any machine."""
    return decays(store, 4, first_step=4e-9, max_steps=10**9)


def refused(store=None, chunks=N):
    """Return one whose runs fail all, for the number of steps they may take."""
    return decays(store, chunks, max_steps=500)


def written(store):
    """Return of each file of results when it was written, and which file it is."""
    return {
        one.relative_to(store): (one.stat().st_mtime_ns, one.stat().st_ino)
        for one in Path(store).rglob("c/*")
        if one.is_file() and not one.name.endswith(".partial")
    }


def done_in(store):
    """Return which chunks are done."""
    folder = Path(store, "cubie/done/c")
    return {int(one.name) for one in folder.glob("*") if one.name.isdigit()}


def bytes_of(sweep):
    """Return all that is kept of a sweep, as bytes."""
    dataset = sweep.to_xarray()
    numbers = {
        name: array.values for name, array in dataset.variables.items() if name != "component"
    }
    return {name: np.ascontiguousarray(values).tobytes() for name, values in numbers.items()}


def environment():
    """Return that of a process that finds this checkout."""
    root = str(Path(__file__).parents[3])
    return os.environ | {"PYTHONPATH": os.pathsep.join([root, *sys.path])}


@frozen(eq=False)
class Harmful(ZarrStore):
    """A store that does harm to whoever writes a chunk of a number.

    Attributes
    ----------
    harm : tuple of (str, int, str)
        What is done, the number, and a file that tells it was done; "": it is always done.
    """

    harm: tuple = ("", -1, "")

    @classmethod
    def of(cls, sweep, harm, number, told):
        """Put one in the place of a sweep's own."""
        keeper = sweep._keeper
        sweep._keeper = cls(keeper.layout, keeper.root, keeper.identity, (harm, number, str(told)))
        return sweep

    def __reduce__(self):
        return Harmful, (*super().__reduce__()[1], self.harm)

    def write(self, number, values, times):
        """Do harm, or keep a chunk."""
        harm, at, told = self.harm
        if number == at and not (told and Path(told).exists()):
            if told:
                Path(told).touch()
            HARMS[harm]()
        super().write(number, values, times)


def _raise(error):
    raise error


HARMS = {
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exits": lambda: os._exit(3),
    "raises": lambda: _raise(ArithmeticError("no such number")),
    "leaves": lambda: sys.exit("enough"),
    "interrupted": lambda: _raise(KeyboardInterrupt),
    "never": lambda: None,
}


def children():
    """Return the processes that this one has started, but for the one that watches semaphores."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        for number in (task / "children").read_text().split():
            command = Path("/proc", number, "cmdline").read_bytes()
            if b"resource_tracker" not in command:
                found.append(int(number))
    return found


class Runner:
    """A process that forks others, which run a sweep, and ends with the test."""

    def __init__(self, store, workers=0):
        arguments = [sys.executable, "-m", "tests.cubie.sweeps.decays", str(store), str(workers)]
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
        )

    def begin(self):
        """Let a process begin; return its number."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.told())

    def _line(self):
        line = self.process.stdout.readline()
        assert line, "the process that forks others is gone"
        return line.strip()

    def begun(self):
        """Wait until a process has opened its sweep."""
        assert self._line() == "begun"

    def told(self):
        """Return what is told next of a sweep."""
        while (line := self._line()) == "begun":
            pass
        return line

    def kill(self, number):
        """Kill a process, and all that it has started; return whether it had ended before."""
        for kill in (os.killpg, os.kill):  # it may have no group of its own yet
            try:
                kill(number, signal.SIGKILL)
                break
            except ProcessLookupError:  # or have ended
                continue
        return self.end() == "end"

    def end(self):
        """Return how a process ended."""
        while (told := self.told()) not in ("killed", "end"):
            pass
        return told

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(60)


def _go_on(store, workers):
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    said = []

    def tell(progress):
        if not said:
            print("first", flush=True)
            said.append(True)

    sweep = cubie.Sweep.resume(store)
    print("begun", flush=True)
    try:
        sweep.run(workers=workers or None, progress=tell)
    except KeyboardInterrupt as error:
        print("interrupted", children(), *error.__notes__, flush=True)
        sweep.run(workers=workers or None, progress=False)


def main(store, workers):
    """Fork a process for each line."""
    for _ in sys.stdin:
        number = os.fork()
        if not number:
            sys.stdin.close()
            try:
                _go_on(store, workers)
            finally:
                os._exit(0)
        print(number, flush=True)
        _, status = os.waitpid(number, 0)
        print("killed" if os.WIFSIGNALED(status) else "end", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
