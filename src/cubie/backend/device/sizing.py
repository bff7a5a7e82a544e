"""How many runs are solved together: what fits, what fills the device, what its display allows."""

from __future__ import annotations

from cubie.backend.device.driver import Driver
from cubie.backend.device.workspace import Workspace
from cubie.backend.portions import Portions

# Of the memory that can be had: the stacks of a kernel's threads lie there as well.
USABLE_SHARE = 0.9
# A smaller batch is copied before there would be anything to do meanwhile.
WORTH_DIVIDING = 64 * 2**20
# So many portions hide all copies but the first up and the last down.
PORTIONS = 8
# A portion of fewer runs, in multiples of those that a device works on at once, leaves much of it
# idle towards its end.
ENOUGH_DEPTH = 4
# Displays freeze while a launch goes on, and end it after two to five seconds.
LAUNCH_SECONDS = 0.25
FASTEST_GROWTH = 4
# A warp for each scheduler of a multiprocessor.
RUNS_OF_SCHEDULERS = 4 * 32


class Sizing:
    """The number of runs in each portion of a batch.

    Parameters
    ----------
    driver : Driver
    workspace : Workspace
        Its memory counts as free.
    portions : Portions
    unit : int
        Runs of a block: portions are made of whole ones.
    kept_bytes : int, optional
        What is kept of each run between launches that end in the middle of runs, and are short.
    global_bytes : int
        Of global memory for each run of a launch.
    """

    def __init__(
        self,
        driver: Driver,
        workspace: Workspace,
        portions: Portions,
        unit: int,
        kept_bytes: int | None = None,
        global_bytes: int = 0,
    ):
        facts = driver.facts
        self._watched = facts.has_watchdog and kept_bytes is None
        n_runs, self._unit = portions.n_runs, unit
        self._own = (kept_bytes or 0) + global_bytes
        self._at_once = facts.multiprocessors * facts.threads_per_multiprocessor
        total = portions.total_bytes + n_runs * self._own
        self._least = max(1, facts.multiprocessors * RUNS_OF_SCHEDULERS)
        self._most = n_runs
        self._in_time = min(n_runs, self._at_once)
        held = workspace.held_bytes
        if total <= min(held, WORTH_DIVIDING) or not portions.divisible:
            return
        usable = USABLE_SHARE * (driver.free_bytes() + held)
        if total <= usable and total <= WORTH_DIVIDING:
            return
        slots = len(workspace.slots)
        best = self._runs_in(max(total / PORTIONS, WORTH_DIVIDING / slots), portions)
        best = max(best, ENOUGH_DEPTH * self._at_once)
        self._most = max(1, min(n_runs, best, self._runs_in(usable / slots, portions)))

    def _runs_in(self, n_bytes: float, portions: Portions) -> int:
        runs = int((n_bytes - portions.fixed_bytes) / max(portions.run_bytes + self._own, 1))
        return max(0, runs // self._unit * self._unit) or max(1, runs)

    def n_runs(self) -> int:
        """Return how many runs the next portion has."""
        if not self._watched:
            return self._most
        return min(self._most, self._in_time)

    def at_most(self, n_runs: int) -> None:
        """Make no larger portions from now on: the device had no memory for one."""
        self._most = max(1, n_runs)

    def took(self, n_runs: int, seconds: float) -> None:
        """Learn how long a launch of so many runs took."""
        growth = min(FASTEST_GROWTH, LAUNCH_SECONDS / seconds) if seconds > 0 else FASTEST_GROWTH
        # Fewer runs than there are schedulers take no less time: only more launches.
        self._in_time = max(min(n_runs, self._least), int(n_runs * growth))
