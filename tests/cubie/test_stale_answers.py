"""Whatever a problem refers to: changing it changes the answer, and not changing it builds nothing.

The places are in `changeable`: each is y' = -k y with k taken from somewhere else.
"""

import dis
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cubie import Solver, solve_ivp
from cubie.systems import Watched, fingerprint
from cubie.systems.bytecode import _GLOBALS, _IMPORT, _operations, nested
from cubie.systems.system import System
from tests.cubie.changeable import PLACES

ROOT = Path(__file__).parents[2]
OPTIONS = {"backend": "python", "rtol": 1e-6, "atol": 1e-8, "save": "final"}
BEFORE, AFTER = 1.0, 2.0

pytestmark = pytest.mark.filterwarnings("ignore::cubie.solver.UntracedWarning")


def rate_of(result):
    """Return the k that a result was computed with, to three digits."""
    return round(-float(np.log(result.y[0, -1])), 3)


@pytest.fixture
def traced(monkeypatch):
    """Count how often a function was traced, whatever the cache on disk holds."""
    from cubie.systems.trace import _Request

    calls, system = [], _Request.system
    monkeypatch.setattr(_Request, "system", lambda self: (calls.append(1), system(self))[1])
    return calls


@pytest.mark.parametrize("name", PLACES)
def test_a_change_is_noticed(name, traced):
    """By a solver that is used again, and by `solve_ivp`; and what is as before builds nothing."""
    place = PLACES[name](BEFORE)
    solver = Solver(place.fun, **OPTIONS)

    def both():
        again = solver.solve((0.0, 1.0), [1.0], args=place.args())
        alone = solve_ivp(place.fun, (0.0, 1.0), [1.0], args=place.args(), **OPTIONS)
        return rate_of(again), rate_of(alone)

    assert both() == (BEFORE, BEFORE)
    place.change(AFTER)
    assert both() == (AFTER, AFTER)
    made, n_traced = dict(solver.builds), len(traced)
    assert rate_of(solver.solve((0.0, 1.0), [1.0], args=place.args())) == AFTER
    assert dict(solver.builds) == made
    # Where nothing can be seen, it is traced each time instead.
    assert (len(traced) == n_traced) == place.seen


IN_ANOTHER_PROCESS = """
import json, sys, warnings
from cubie.systems.trace import _Request
from cubie import solve_ivp
from tests.cubie.changeable import PLACES
from tests.cubie.test_stale_answers import OPTIONS, rate_of
warnings.simplefilter("ignore")
k, found = float(sys.argv[1]), {}
for name, make in PLACES.items():
    place = make(k)
    fresh = []
    original = _Request._fresh
    _Request._fresh = lambda self: (fresh.append(1), original(self))[1]
    result = solve_ivp(place.fun, (0.0, 1.0), [1.0], args=place.args(), **OPTIONS)
    _Request._fresh = original
    found[name] = rate_of(result), len(fresh)
print(json.dumps(found))
"""


def test_a_change_between_processes_is_noticed(tmp_path):
    """Three processes share one cache on disk: another text is traced anew, the same is not."""
    environment = os.environ | {
        "CUBIE_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }

    def found(k):
        command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(k)]
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])

    first, other, same = found(BEFORE), found(AFTER), found(BEFORE)
    assert {name: rate for name, (rate, _) in first.items()} == dict.fromkeys(PLACES, BEFORE)
    assert {name: rate for name, (rate, _) in other.items()} == dict.fromkeys(PLACES, AFTER)
    assert {name: rate for name, (rate, _) in same.items()} == dict.fromkeys(PLACES, BEFORE)
    again = {name for name, (_, fresh) in same.items() if fresh}
    assert again == {name for name, make in PLACES.items() if not make(BEFORE).seen}
