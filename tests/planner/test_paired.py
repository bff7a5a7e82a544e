"""MiniMalloc beside us, by a stand-in for its executable: what it answers is checked."""

import sys
from pathlib import Path

import pytest
from benchmarks.planner_paired import MOST_SECONDS, paired_part, their_height

INSTANCE = "id,lower,upper,size\nb1,0,3,4\nb2,3,9,4\nb3,0,9,4\nb4,9,21,4\nb5,0,21,4\n"
PACKED = (
    "id,lower,upper,size,offset\nb1,0,3,4,8\nb2,3,9,4,8\nb3,0,9,4,4\nb4,9,21,4,4\nb5,0,21,4,0\n"
)
STAND_IN = """#!{python}
import sys
given = dict(word[2:].split("=", 1) for word in sys.argv[1:])
assert sorted(given) == ["capacity", "input", "output"], given
assert open(given["input"]).read() == {instance!r} and given["capacity"] == "12"
if {packed!r}:
    open(given["output"], "w").write({packed!r})
sys.exit({status})
"""


@pytest.fixture
def instances(tmp_path):
    """A folder with one instance."""
    folder = tmp_path / "instances"
    folder.mkdir()
    (folder / "input.12.csv").write_text(INSTANCE)
    return folder


def stand_in(folder: Path, packed: str, status: int = 0) -> Path:
    """Write an executable that answers with a packing, and return it."""
    program = folder / "minimalloc"
    program.write_text(
        STAND_IN.format(python=sys.executable, instance=INSTANCE, packed=packed, status=status)
    )
    program.chmod(0o755)
    return program


def test_both_pack_an_instance(instances, tmp_path, monkeypatch, capsys):
    """The executable of the path is asked, and its bytes stand beside ours."""
    monkeypatch.setenv("PATH", str(stand_in(tmp_path, PACKED).parent))
    (row,) = paired_part(instances)
    assert (row["name"], row["their_bytes"], row["our_bytes"]) == ("input", 12, 12)
    assert 0 < row["their_seconds"] < MOST_SECONDS
    assert "input" in capsys.readouterr().out


def test_it_may_be_missing(instances, tmp_path, monkeypatch, capsys):
    """Then it is said, and nothing is compared."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert paired_part(instances) == []
    assert "there is no `minimalloc` on the path" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("b2,3,9,4,8", "b2,3,9,4,4"), "packing of input.12.csv is none"),
        (("b2,3,9,4,8", "b2,3,9,4,12"), "packing of input.12.csv is none"),
        (("b2,3,9,4,8\n", ""), "answers another question"),
        (("b2,3,9,4,8", "b2,3,8,4,8"), "answers another question"),
    ],
)
def test_a_wrong_packing_is_noticed(instances, tmp_path, change, said):
    """Overlaps, bytes above the capacity, and buffers that are gone or other ones."""
    program = stand_in(tmp_path, PACKED.replace(*change))
    with pytest.raises(RuntimeError, match=said):
        their_height(str(program), instances / "input.12.csv", 12)


@pytest.mark.parametrize(("packed", "status"), [("", 0), ("", 1)])
def test_no_packing_is_no_answer(instances, tmp_path, packed, status):
    """Where it finds none there is nothing to compare."""
    program = stand_in(tmp_path, packed, status)
    assert their_height(str(program), instances / "input.12.csv", 12) is None
