"""`cubie-plan` with files that are wrong in one way: refused, in one line, at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import evolve

from cubie_planner import Buffer, Plan, PlanInfeasible, Problem, plan, problem_from_csv
from cubie_planner.gpu.cost import CostModel
from tests.cubie.cli_running import run, write_page_files
from tests.cubie.malformed import CSV, LINE, MODEL, PLAN_CSV, PROBLEM, csv, problem

KINDS = {
    **{f"csv: {name}": (".csv", case) for name, case in CSV.items()},
    **{f"plan csv: {name}": (".csv", case) for name, case in PLAN_CSV.items()},
    **{f"json: {name}": (".json", case) for name, case in PROBLEM.items()},
    **{f"model: {name}": (".toml", case) for name, case in MODEL.items()},
}
SECONDS = 120


@contextmanager
def limited(seconds: int = SECONDS):
    """Fail what takes so long that somebody would call it a hang."""

    def expired(*_):
        raise AssertionError(f"not done within {seconds} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def refused(*words: str) -> str:
    """Run the command, which must refuse what it is given, and return its one line."""
    with limited():
        result = run(*words, status=2)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.isprintable()
    assert len(line) < 1000
    return line


def test_there_are_enough_malformed_files():
    """The tables hold what they are meant to hold."""
    assert len(KINDS) >= 157


@pytest.mark.parametrize("case", KINDS)
def test_malformed_file_is_refused_in_one_line(tmp_path, monkeypatch, case):
    """Status 2, one printable line that says what is wrong, nothing on standard output."""
    suffix, (content, message) = KINDS[case]
    monkeypatch.chdir(tmp_path)
    name = f"given{suffix}"
    Path(name).write_bytes(
        content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    )
    line = refused(name)
    assert line.startswith(f"cubie-plan: {name}: ")
    assert message in line


# ---- what is no file, or never ends ----------------------------------------------------


@pytest.mark.parametrize("option", ["", "model.toml --previous "])
@pytest.mark.parametrize("suffix", [".json", ".toml", ".csv"])
def test_pipe_is_refused_without_reading_it(tmp_path, monkeypatch, suffix, option):
    """A pipe would be waited for until somebody writes; it is refused instead."""
    monkeypatch.chdir(tmp_path)
    write_page_files(tmp_path)
    os.mkfifo(f"pipe{suffix}")
    line = refused(*f"{option}pipe{suffix}".split())
    assert "is not a regular file but a pipe or a device" in line


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/tty", "/dev/full"])
def test_device_is_refused_without_reading_it(tmp_path, monkeypatch, device):
    """Some devices never end, others wait: none is a file."""
    monkeypatch.chdir(tmp_path)
    for suffix in (".json", ".toml", ".csv"):
        Path(f"device{suffix}").symlink_to(device)
        assert "is not a regular file" in refused(f"device{suffix}")
    write_page_files(tmp_path)
    assert "is not a regular file" in refused("model.toml", "--previous", device)


def test_file_beyond_any_plan_is_refused(tmp_path, monkeypatch):
    """A file that is too large is not read to its end: here it is a hole of a gigabyte."""
    monkeypatch.chdir(tmp_path)
    with open("large.csv", "wb") as file:
        file.truncate(2**30)
    assert "is larger than" in refused("large.csv")


def test_pipes_are_refused_from_python_too(tmp_path):
    """`Plan.load` and `CostModel.load` refuse what the command refuses."""
    pipe = tmp_path / "plan.json"
    os.mkfifo(pipe)
    for load in (Plan.load, CostModel.load):
        with limited(), pytest.raises(OSError, match="is not a regular file"):
            load(pipe)


def test_name_that_is_no_text_is_told_without_a_traceback(tmp_path, monkeypatch):
    """Bytes that are no UTF-8 in a file's name, or in a pin's, are shown escaped."""
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"odd\xff.csv")
    Path(name).write_text(csv(LINE), encoding="utf-8")
    environment = {**os.environ, "PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8:strict"}
    for words, status in (([name], 0), ([name, "--html", "p.html"], 0), ([name, "--check"], 2)):
        done = subprocess.run(
            [sys.executable, "-m", "cubie.cli", *words],
            env=environment,
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == status, done.stderr
        assert b"Traceback" not in done.stderr
        assert b"odd" in (done.stdout if status == 0 else done.stderr)


# ---- what looks odd and is right -------------------------------------------------------

ODD = {
    "mark": "\ufeffid,lower,upper,size\na,0,5,4\n",
    "mark and dos": "\ufeffid,lower,upper,size\r\na,0,5,4\r\n",
    "mac": "id,lower,upper,size\ra,0,5,4\r",
    "blanks": " id , lower,upper ,size\n a , 0, 5 ,4\n\n",
    "start and end": "buffer_id,start,end,size\na,0,4,4\n",
    "begin": "buffer,begin,upper,size\na,0,5,4\n",
    "other order": "size,upper,lower,id\n4,5,0,a\n",
    "hint of nothing": "id,lower,upper,size,hint\na,0,5,4,-1\n",
    "signs": "id,lower,upper,size\na,-0,+5,+4\n",
}


@pytest.mark.parametrize("case", ODD)
def test_the_same_buffer_in_other_words_is_the_same(case):
    """A mark, line ends, other names and orders of columns change nothing."""
    assert problem_from_csv(ODD[case]) == problem_from_csv(csv(LINE))


@pytest.mark.parametrize("suffix", [".json", ".toml", ".csv"])
def test_byte_order_mark_is_read_over(tmp_path, monkeypatch, suffix):
    """Files of editors that begin with a byte order mark are files like others."""
    monkeypatch.chdir(tmp_path)
    texts = {".json": problem(), ".toml": "equations = 'dx = -x'\n", ".csv": ODD["mac"]}
    Path(f"marked{suffix}").write_text(f"\ufeff{texts[suffix]}", encoding="utf-8", newline="")
    with limited():
        run(f"marked{suffix}", "--quiet")


def test_hint_is_where_a_buffer_stays_if_nothing_speaks_against_it():
    """MiniMalloc's hint is a place to stay close to, not a pin."""
    hinted = csv("a,0,5,4,8", "b,0,5,4,0", "c,0,5,4,-1", head="id,lower,upper,size,hint")
    asked = problem_from_csv(hinted, 12)
    assert asked.previous == {"a": ("shared", 8), "b": ("shared", 0)}
    assert {n: p.offset for n, p in plan(asked).placements.items()} == {"a": 8, "b": 0, "c": 4}


def test_three_thousand_chained_views_are_planned(tmp_path, monkeypatch):
    """A chain of views as long as files may make it is planned, shown, saved and checked."""
    monkeypatch.chdir(tmp_path)
    buffers = [{"name": "v0", "n_elements": 4000, "dtype": "u1"}]
    for i in range(1, 3000):
        view = {"name": f"v{i}", "n_elements": 4000 - i, "dtype": "u1", "alias_required": True}
        buffers.append(view | {"aliases": [{"parent": f"v{i - 1}", "offset": i % 2}]})
    text = problem(buffers=buffers, policy="shared")
    Path("chain.json").write_text(text, encoding="utf-8")
    with limited(300):
        shown = run("chain.json", "--format", "csv", "--output", "plan.json", "--explain").stdout
        assert len(shown.splitlines()) == 3001
        assert "accepted" in run("plan.json", "--check").stdout


def test_pins_at_the_ends_of_a_chain_clash_at_once():
    """Views in a chain whose ends are pinned apart are refused without a long search."""
    buffers = [Buffer("v0", 400, "u1", pin="local")]
    for i in range(1, 300):
        buffers.append(Buffer(f"v{i}", 400 - i, "u1", aliases=f"v{i - 1}", alias_required=True))
    buffers[-1] = evolve(buffers[-1], pin="shared")
    with limited(), pytest.raises(PlanInfeasible) as refusal:
        plan(Problem(buffers))
    assert {"v0", "v299"} <= set(refusal.value.core)
