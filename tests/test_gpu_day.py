"""``python -m benchmarks gpu``: runs to the end without a GPU, loses nothing, claims nothing."""

import ctypes
import json
import re
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from attrs import evolve
from benchmarks.documents import DOCS, read_section
from benchmarks.gpu import (
    calibration,
    comparison,
    device,
    limits,
    lorenz,
    suite,
    sweep,
    timing,
)
from benchmarks.gpu.cases import (
    BLOCK_SIZES,
    LORENZ_TIMINGS,
    PLACEMENTS,
    solver_options,
    sweep_case,
)
from benchmarks.gpu.day import SIMULATED_SWEEP_PARTS, SWEEP_PARTS, Day, as_text
from benchmarks.gpu.report import report
from benchmarks.gpu.rows import Rows, read_rows, rows_of
from benchmarks.gpu.step import pending, run_step

from cubie import Solver
from cubie.tableaus import get_tableau
from cubie_planner.gpu.cost import CostModel

ROOT = Path(__file__).parents[1]
PAGE = DOCS / "gpu-day.md"
H200 = {
    "name": "NVIDIA H200",
    "capability": [9, 0],
    "sm_count": 132,
    "clock_khz": 1_980_000,
    "memory_bytes": 150 * 2**30,
    "driver_cuda": "13.0",
    "smi": {},
}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """What the command leaves where there is no GPU, and what it prints."""
    folder = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "benchmarks", "gpu", "--simulate", "--minutes", "8"]
    done = subprocess.run(
        [*command, "--results", str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in folder.iterdir()] == ["gpu-simulated.json"]
    data = json.loads((folder / "gpu-simulated.json").read_text(encoding="utf-8"))
    return data, done.stdout


# ---- without a GPU ------------------------------------------------------------


def test_everything_runs_to_the_end_on_the_simulator(simulated):
    """Every step is done, for every part, placement, block size and family of methods."""
    data, _ = simulated
    assert {step["name"]: step["status"] for step in data["steps"]} == dict.fromkeys(
        [
            *("imports", "device", "compiler", "tests", "lorenz fixed", "lorenz adaptive"),
            *(f"sweep {part}" for part in SIMULATED_SWEEP_PARTS),
            *("calibration", "comparison"),
        ],
        "done",
    )
    assert data["complete"]
    swept = {(r["sweep"], r["placement"], r["block_size"]) for r in rows_of(data, "sweep")}
    assert len(swept) == len(SIMULATED_SWEEP_PARTS) * 3 * 2
    assert all(row["succeeded"] == row["runs"] for row in rows_of(data, "sweep"))
    assert all(row["succeeded"] == row["runs"] for row in rows_of(data, "lorenz"))
    assert max(row["error"] for row in rows_of(data, "lorenz")) < 1e-3


def test_nothing_simulated_is_passed_off_as_measured(simulated):
    """Times of kernels, cycles and constants are null, each row says so, and so does the table."""
    data, printed = simulated
    assert data["simulated"] is True
    assert data["why_simulated"] == "asked for by --simulate"
    assert "SIMULATED, nothing here was measured on a GPU" in printed
    for row in rows_of(data, "lorenz") + rows_of(data, "sweep"):
        assert row["simulated"] is True
        assert row["kernel_seconds"] is row["kernel_seconds_by"] is None
        assert row.get("cycles") is None
    (fit,) = rows_of(data, "calibration")
    assert (fit["cycles_from"], fit["constants_after"], fit["saved"]) == (
        "the built-in model",
        None,
        None,
    )
    own = [row for row in rows_of(data, "comparison") if row["who"] == "cubie"]
    assert own
    assert all(row["seconds"] is row["limit_seconds"] is None for row in own)
    assert {row["outcome"] for row in rows_of(data, "test")} == {"skipped"}


def test_the_fit_gives_a_known_model_back(simulated):
    """Buffers and placements survive the JSON: the model's own cycles are fitted without error."""
    (fit,) = rows_of(simulated[0], "calibration")
    assert fit["measurements"] == len(rows_of(simulated[0], "sweep"))
    assert fit["not_launchable_by_the_model"] == 0
    assert fit["worst_error"] < 1e-9
    assert fit["agreeing_pairs_before"] == 1.0


def named(section):
    """Return the names in backticks in the first column of a table that names fields."""
    rows = [line.split("|")[1:-1] for line in read_section(PAGE, section).splitlines()[2:]]
    return [[re.findall(r"`([^`]+)`", cell) for cell in row[:-1]] for row in rows]


def test_the_page_names_every_field_and_no_other(simulated):
    """The JSON has what the page says it has, at the top, in steps, and in rows of every kind."""
    data, _ = simulated
    assert [name for (names,) in named("top") for name in names] == list(data)
    for step in data["steps"]:
        assert [name for (names,) in named("step") for name in names] == list(step)
    on_page = {}
    for (kind,), fields in named("rows"):
        on_page.setdefault(kind, set()).update(fields)
    found = {"device": FIELDS_OF_A_DEVICE, "no device": {"reason"}}
    for step in data["steps"]:
        for row in step["rows"]:
            found.setdefault(row["kind"], set()).update(row.keys() - {"kind", "simulated"})
    assert on_page == found


def test_the_page_names_the_steps(simulated):
    """The table of steps holds them in the order in which they are run."""
    lines = re.findall(r"^\| `([a-z]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    steps = dict.fromkeys(step["name"].split()[0] for step in simulated[0]["steps"])
    assert lines[: len(steps)] == list(steps)


# ---- on a card: what needs none ------------------------------------------------


class PretendedDriver:
    """The few functions of the driver API that are asked."""

    def __init__(self, count=1):
        self._count = count

    def cuInit(self, flags):
        return 0

    def cuDeviceGetCount(self, number):
        number._obj.value = self._count
        return 0

    def cuDeviceGet(self, device, ordinal):
        return 0

    def cuDeviceGetName(self, text, length, device):
        text.value = b"NVIDIA H200"
        return 0

    def cuDeviceTotalMem_v2(self, size, device):
        size._obj.value = 150 * 2**30
        return 0

    def cuDriverGetVersion(self, number):
        number._obj.value = 13010
        return 0

    def cuDeviceGetAttribute(self, number, attribute, device):
        number._obj.value = {75: 9, 76: 0, 16: 132, 13: 1_980_000}.get(attribute, attribute)
        return 0


def facts_of(driver):
    """Ask a driver for its device."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ctypes, "CDLL", lambda name: driver)
        return device.driver_facts()


FIELDS_OF_A_DEVICE = facts_of(PretendedDriver()).keys() | {"smi"}


def test_a_device_is_what_its_driver_tells():
    """Name, capability, CUDA version, sizes and clocks come from the driver."""
    facts = facts_of(PretendedDriver())
    assert facts["name"] == "NVIDIA H200"
    assert (facts["capability"], facts["driver_cuda"]) == ([9, 0], "13.1")
    assert limits.Card.of(facts).slots_per_second == 132 * 128 * 1.98e9


def test_a_driver_without_a_device_is_no_gpu(tmp_path, monkeypatch):
    """The row says why, and the day is simulated with that reason."""
    monkeypatch.setattr(ctypes, "CDLL", lambda name: PretendedDriver(count=0))
    device.main(Rows(tmp_path / "rows"), SimpleNamespace())
    rows = read_rows(tmp_path / "rows")
    assert [row["reason"] for row in rows] == ["the driver has no device"]
    day = Day(tmp_path, 1.0)
    day.data["steps"] = [pending("device") | {"rows": rows}]
    day._decide()
    assert day.data["simulated"]
    assert day.data["why_simulated"] == "the driver has no device"
    assert day.path.name == "gpu-simulated.json"


def test_files_bear_the_name_of_the_device(tmp_path):
    """What was written before the device was known moves to its name."""
    day = Day(tmp_path, 1.0)
    day._write()
    assert [path.name for path in tmp_path.iterdir()] == ["gpu-unknown.json"]
    day.data["steps"] = [pending("device") | {"rows": [{"kind": "device", **H200}]}]
    day._decide()
    day._write()
    assert [path.name for path in tmp_path.iterdir()] == ["gpu-nvidia-h200.json"]
    assert not day.data["simulated"]


def test_an_earlier_day_is_left_alone(tmp_path):
    """Results of the same device stay; the new ones have a number, all the time the same."""
    earlier = tmp_path / "gpu-nvidia-h200.json"
    earlier.write_text("earlier")
    day = Day(tmp_path, 1.0)
    day._write()
    day.data["steps"] = [pending("device") | {"rows": [{"kind": "device", **H200}]}]
    day._decide()
    day._write()
    day._write()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"gpu-nvidia-h200.json", "gpu-nvidia-h200-2.json"}
    assert earlier.read_text() == "earlier"


@pytest.mark.parametrize("name", SWEEP_PARTS)
def test_every_case_of_the_sweep_is_a_work(name):
    """Its name gives method, states and dtype; steps are fixed and of one size."""
    case = sweep_case(name, simulated=False)
    work = case.work(3)
    assert case.name == name
    assert get_tableau(case.method)
    assert len(work.y0) == case.states
    assert work.step_size == pytest.approx(1e-3)


@pytest.fixture
def pretended_card(monkeypatch):
    """A card of one thread, whose kernels take 2 ms, played by the interpreter."""
    facts = H200 | {"sm_count": 1, "threads_per_sm": 1}
    monkeypatch.setattr(sweep, "driver_facts", lambda: facts)
    own = timing.time_solves

    def timed(solve, repeats):
        found = own(solve, 1)
        found.kernel_seconds, found.kernel_seconds_by = [0.002] * repeats, "events"
        return found

    for module in (lorenz, sweep):
        monkeypatch.setattr(module, "time_solves", timed)
        monkeypatch.setattr(
            module, "solver_options", lambda work: solver_options(work) | {"backend": "python"}
        )


def test_a_card_is_filled_four_times_over(pretended_card, tmp_path):
    """All placements in all blocks are timed; cycles are the card's, a run and step."""
    sweep.main(Rows(tmp_path / "rows"), SimpleNamespace(part="rodas5p-3-float64"))
    declared, *rows = read_rows(tmp_path / "rows")
    assert (declared["kind"], declared["method"]) == ("buffers", "rodas5p")
    assert {(row["placement"], row["block_size"]) for row in rows} == {
        (placement, size) for placement in PLACEMENTS for size in BLOCK_SIZES
    }
    for row in rows:
        assert (row["runs"], row["steps"], row["succeeded"]) == (4, 20, 4)
        assert row["cycles"] == pytest.approx(0.002 * 1.98e9 / (4 * 20))
        assert row["simulated"] is False


def test_a_placement_without_a_plan_is_told(pretended_card):
    """The row holds the reason and what was asked for, and nothing else."""
    work = sweep_case("tsit5-10-float32", simulated=False).work(4)
    solver = Solver(work.problem.fun, **sweep.solver_options(work))
    chosen = {"locations": "shared", "block_size": 64, "max_shared": 64}
    row, plan = sweep.measure(solver, work, chosen, None, 1)
    assert plan is None
    assert row.keys() == {"placement", "block_size", "refused"}
    assert "does not fit under max_shared = 64 B" in row["refused"]
    data = {"steps": [pending("sweep") | {"rows": [{"kind": "sweep", "sweep": "a", **row}]}]}
    assert calibration.placements_of(data, (9, 0)) == []


@pytest.mark.parametrize("case", ["fixed", "adaptive"])
def test_every_size_of_a_case_is_timed(case, pretended_card, monkeypatch, tmp_path):
    """A thousand steps in fixed ones; errors are within what float32 and the tolerance allow."""
    tiny = evolve(LORENZ_TIMINGS[case], sizes=(2, 3))
    monkeypatch.setattr(lorenz, "LORENZ_TIMINGS", {case: tiny})
    lorenz.main(Rows(tmp_path / "rows"), SimpleNamespace(part=case))
    rows = read_rows(tmp_path / "rows")
    assert [row["runs"] for row in rows] == [2, 3]
    for row in rows:
        assert row["kernel_seconds"] == [0.002] * 5
        assert row["attempts"] == 1000.0 or case == "adaptive"
        assert row["error"] < 1e-3


def as_measured(data, model):
    """Return simulated data as if a card with the constants of `model` had been there."""
    data = json.loads(json.dumps(data)) | {"simulated": False, "device": H200}
    placements = calibration.placements_of(data, (9, 0))
    for number, (row, problem, places) in enumerate(placements):
        item = calibration.Measurement(
            problem=problem,
            locations=places,
            cycles=1.0,
            shared_bytes_per_run=row["shared_bytes_per_run"],
        )
        row["cycles"] = calibration.predicted(model, item)
        row["kernel_seconds"], row["kernel_seconds_by"] = [1e-3 * row["cycles"]] * 3, "events"
        row["registers"], row["local_bytes"] = 40 + number, 0
    for row in rows_of(data, "lorenz"):
        row |= {"kernel_seconds": [0.030, 0.025, 0.026], "runs": 8_388_608, "attempts": 1000.0}
    data["steps"] = [s for s in data["steps"] if s["name"] not in ("calibration", "comparison")]
    return data


@pytest.fixture(scope="module")
def measured(simulated, tmp_path_factory):
    """A day with a pretended card, evaluated: shared memory costs four times what was thought."""
    start = CostModel.for_capability((9, 0))
    cycles = 4.0 * start.constants.shared_cycles
    model = evolve(start, constants=evolve(start.constants, shared_cycles=cycles))
    folder = tmp_path_factory.mktemp("measured")
    data = as_measured(simulated[0], model)
    (folder / "data.json").write_text(as_text(data), encoding="utf-8")
    options = SimpleNamespace(data=folder / "data.json", save=folder / "model.json")
    for step in (calibration, comparison):
        step.main(Rows(folder / "rows"), options)
    data["steps"].append(pending("evaluations") | {"rows": read_rows(folder / "rows")})
    return data, folder / "model.json"


def test_a_measured_sweep_calibrates_the_model(measured):
    """The fitted constants explain the times, are saved, and order what the built-in ones do."""
    data, saved = measured
    (fit,) = rows_of(data, "calibration")
    assert fit["rms_error"] < 0.01
    assert fit["agreeing_pairs_after"] >= fit["agreeing_pairs_before"]
    assert fit["agreeing_pairs_after"] > 0.95
    model = CostModel.load(saved)
    assert model.card == "NVIDIA H200"
    assert "events" in fit["cycles_from"]
    assert fit["constants_after"]["shared_cycles"] == model.constants.shared_cycles > 1.5


def test_times_stand_beside_the_limit_of_the_card(measured):
    """8.39 million runs of 1000 steps in 26 ms are 104 slots a step; 117 is what Tsit5 needs."""
    data, _ = measured
    ours, *_ = rows_of(data, "comparison")
    assert ours["slots_per_step"] == pytest.approx(103.7, abs=0.1)
    assert ours["fewest_instructions"] == 117
    assert ours["limit_seconds"] == pytest.approx(0.0293, abs=1e-4)
    printed = report(data)
    assert "NVIDIA H200: capability 9.0, 132 multiprocessors at 1980 MHz, 150 GiB" in printed
    assert "SIMULATED" not in printed
    assert re.search(r"cubie +fixed +NVIDIA H200 +8,388,608 +1000.0 +26 ms +104 +117", printed)
    assert re.search(r"tsit5-4-float32 +32 +local +0 +40 +0 +[\d.]+ ms +1.00", printed)


@pytest.mark.parametrize(("method", "fewest"), [("tsit5", 117), ("rk4", 57), ("euler", 12)])
def test_the_fewest_instructions_of_a_step(method, fewest):
    """Right-hand sides and stage sums, with the last stage of Tsit5 for nothing."""
    tableau = get_tableau(method)
    a, b = np.array(tableau.a), np.array(tableau.b)
    assert limits.fewest_instructions(a, b, 3, limits.LORENZ_RIGHT_HAND_SIDE) == fewest


def test_published_times_keep_below_what_their_cards_can_issue():
    """Slots a step are no fewer than the fewest instructions of the method."""
    for entry in limits.PUBLISHED:
        if entry.steps is None:
            assert entry.slots_per_step is None
            continue
        fewest = 57 if "RK4" in entry.who else 117
        assert fewest <= entry.slots_per_step < 4 * fewest, entry


class PretendedEvent:
    """A clock that a launch moves on."""

    now = 0.0

    def record(self, stream):
        self.at = PretendedEvent.now

    def synchronize(self):
        pass


def test_kernels_are_timed_between_events(monkeypatch):
    """Every launch of numba-cuda counts, transfers do not; afterwards nothing is wrapped."""
    from numba import cuda
    from numba.cuda import dispatcher

    class Kernel:
        regs_per_thread, local_mem_per_thread = 40, 16

        def launch(self, args, griddim, blockdim, stream=0, sharedmem=0):
            PretendedEvent.now += 2.0  # milliseconds

    def solve():
        kernel = dispatcher._Kernel()
        kernel.launch((), 1, 32, 0, 0)
        PretendedEvent.now += 100.0  # a transfer
        kernel.launch((), 1, 32)
        return SimpleNamespace()

    own = Kernel.launch
    monkeypatch.setattr(dispatcher, "_Kernel", Kernel)
    monkeypatch.setattr(cuda, "event", PretendedEvent)
    monkeypatch.setattr(cuda, "event_elapsed_time", lambda before, after: after.at - before.at)
    timed = timing.time_solves(solve, 3)
    assert timed.kernel_seconds == pytest.approx([4e-3] * 3)
    assert timed.kernel_seconds_by == "events"
    assert (timed.registers, timed.local_bytes) == (40, 16)
    assert Kernel.launch is own


def test_what_is_wrapped_is_there_in_numba_cuda():
    """The launch has the parameters that are passed on, and the kernel tells its facts."""
    import inspect

    from numba.cuda.dispatcher import _Kernel

    parameters = ["self", "args", "griddim", "blockdim", "stream", "sharedmem"]
    assert list(inspect.signature(_Kernel.launch).parameters) == parameters
    assert isinstance(_Kernel.regs_per_thread, property)
    assert isinstance(_Kernel.local_mem_per_thread, property)


def test_a_solver_that_tells_its_kernels_time_is_believed():
    """Where results carry it, no events are needed."""
    timed = timing.time_solves(lambda: SimpleNamespace(kernel_seconds=0.25), 2)
    assert (timed.kernel_seconds, timed.kernel_seconds_by) == ([0.25, 0.25], "solver")
    silent = timing.time_solves(lambda: SimpleNamespace(kernel_seconds=0.0), 2)
    assert (silent.kernel_seconds, silent.kernel_seconds_by) == (None, None)


# ---- steps that go wrong --------------------------------------------------------

WRITES = """
    import json, os, signal, subprocess, sys, time
    rows = sys.argv[sys.argv.index("--rows") + 1]
    with open(rows, "a") as file:
        file.write(json.dumps({"kind": "test", "number": 1}) + "\\n")
    print("what it said", flush=True)
"""


@contextmanager
def counted():
    """Yield what to call when there are changes, and how often that was."""
    calls = []
    yield (lambda: calls.append(1)), calls


def outcome_of(code, limit=30.0):
    """Run a step of some code."""
    record = pending("some")
    with counted() as (changed, calls):
        run_step(record, ["-c", textwrap.dedent(WRITES) + textwrap.dedent(code)], limit, changed)
    assert calls
    assert [row["number"] for row in record["rows"]] == [1]
    return record


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("sys.exit(3)", 3),
        ("os.kill(os.getpid(), signal.SIGSEGV)", -11),
        ("open(rows, 'a').write('{\"kind\": \"te'); sys.exit(1)", 1),
    ],
    ids=["an exception", "a crash", "in the middle of a row"],
)
def test_a_step_that_fails_keeps_its_rows(code, exit_code):
    """Whole rows stay, and the end of what it printed tells why."""
    record = outcome_of(code)
    assert (record["status"], record["exit_code"]) == ("failed", exit_code)
    assert "what it said" in record["output_tail"]


def test_a_step_that_hangs_is_ended_with_what_it_started(tmp_path):
    """Its time is up, its rows stay, and no process of it is left."""
    pid = tmp_path / "pid"
    record = outcome_of(
        f"""
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        open({str(pid)!r}, "w").write(str(child.pid))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
        """,
        limit=1.0,
    )
    assert record["status"] == "timed out"
    status = Path("/proc") / pid.read_text() / "status"
    for _ in range(50):  # a killed process is gone, or a zombie nobody waits for
        if not status.exists() or "\nState:\tZ" in status.read_text():
            break
        time.sleep(0.1)
    else:
        pytest.fail("a process that the step started goes on")


def test_a_step_that_is_done_needs_no_output():
    """What it printed is left out."""
    record = outcome_of("")
    assert (record["status"], record["exit_code"], record["output_tail"]) == ("done", 0, None)


def test_what_there_is_no_time_for_is_told(tmp_path, monkeypatch):
    """Steps that were not run say so, the JSON is not complete, and evaluations have time left."""
    ran = []

    def pretend(record, command, limit, changed, environment):
        ran.append(record["name"])
        if record["name"] == "device":
            record["rows"] = [{"kind": "device", **H200}]
        record |= {"status": "done", "exit_code": 0}
        if record["name"] == "tests":
            day._end = time.monotonic() + 0.5 * day._reserve

    monkeypatch.setattr("benchmarks.gpu.day.run_step", pretend)
    day = Day(tmp_path, 1.0)
    day.run()
    assert ran == ["imports", "device", "compiler", "tests", "calibration", "comparison"]
    data = json.loads((tmp_path / "gpu-nvidia-h200.json").read_text(encoding="utf-8"))
    status = {step["name"]: step["status"] for step in data["steps"]}
    assert status["lorenz fixed"] == status[f"sweep {SWEEP_PARTS[0]}"] == "not run"
    assert not data["complete"]
    assert "lorenz fixed: not run." in report(data)


def test_every_outcome_of_a_test_is_a_row(tmp_path):
    """Passed, failed and skipped; what is set up and taken down only where it decides."""
    recorder = suite.Recorder(Rows(tmp_path / "rows"))

    def told(when, outcome, longrepr=None):
        recorder.pytest_runtest_logreport(
            SimpleNamespace(
                when=when,
                nodeid=f"{when} {outcome}",
                outcome=outcome,
                passed=outcome == "passed",
                failed=outcome == "failed",
                skipped=outcome == "skipped",
                duration=0.1,
                longrepr=longrepr,
                longreprtext="why",
            )
        )

    told("setup", "passed")
    told("call", "passed")
    told("teardown", "passed")
    told("setup", "skipped", ("file", 3, "Skipped: because"))
    told("call", "failed")
    told("teardown", "failed")
    rows = read_rows(tmp_path / "rows")
    assert [row["test"] for row in rows] == [
        *("call passed", "setup skipped", "call failed", "teardown failed")
    ]
    assert rows[1]["message"] == "Skipped: because"


def test_numpy_is_not_needed_to_start():
    """Where it does not import the command still tells so: what starts the steps loads neither."""
    script = (
        "import sys, benchmarks.__main__, benchmarks.gpu.__main__; "
        "print(sorted({'numpy', 'numba', 'attrs', 'cubie'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes", "0"], "--minutes must be a number above 0, got 0.0"),
        (["--minutes", "nan"], "--minutes must be a number above 0, got nan"),
        (["--only", "lorenz,swep"], "there is no step swep; there are tests, lorenz, sweep"),
    ],
)
def test_bad_requests_are_answered(arguments, message, monkeypatch, capsys):
    """The message says what was given and what there is."""
    from benchmarks.gpu.__main__ import main

    monkeypatch.setattr(sys, "argv", ["gpu", *arguments])
    with pytest.raises(SystemExit):
        main()
    assert message in capsys.readouterr().err
