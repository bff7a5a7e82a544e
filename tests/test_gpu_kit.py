"""The kit for a GPU without a network: small, whole, and clear about what the machine lacks."""

import ast
import json
import runpy
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from benchmarks.gpu.kit import __main__ as kit
from benchmarks.gpu.kit import run
from benchmarks.gpu.kit.contents import CARRIED, STRIPPED, is_stripped

ROOT = Path(__file__).parents[1]
KIT = {
    "python": "3.12",
    "numba": ">=0.63,<0.70",
    "carried": {"numba": "0.68.1", "numpy": "2.4.6"},
    "from_machine": [
        {"name": "llvmlite", "asked": "", "asked_by": "cubie"},
        {"name": "llvmlite", "asked": "<0.51,>=0.50.0dev0", "asked_by": "numba"},
        {"name": "cuda-bindings", "asked": "<14,>=12.9.1", "asked_by": "numba-cuda"},
    ],
}


def make_wheel(folder, name, version, files=(), asks=()):
    """Write a wheel with some files, and return its path."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    about = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    about += [f"Requires-Dist: {text}" for text in asks]
    record = [*files, f"{info}/METADATA", f"{info}/RECORD"]
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.writestr(file, "content")
        archive.writestr(f"{info}/METADATA", "\n".join(about) + "\n\nRequires-Dist: prose\n")
        archive.writestr(f"{info}/RECORD", "".join(f"{file},sha256=x,7\n" for file in record))
    return path


def packaging_wheel(folder):
    """Return a stand-in for the wheel that `packaging` is imported from."""
    return make_wheel(folder, "packaging", metadata.version("packaging"))


@pytest.fixture
def machine(monkeypatch):
    """Let a machine have distributions: name to version and what it asks for."""

    def with_packages(**packages):
        class Distribution:
            def __init__(self, version, requires=()):
                self.version, self.requires = version, list(requires)

        there = {name.replace("_", "-"): Distribution(*facts) for name, facts in packages.items()}
        monkeypatch.setattr(run, "distribution_here", there.get)

    return with_packages


def test_a_stripped_wheel_lists_what_is_left(tmp_path):
    """Files that are left out are not in the list of files, so that it can be installed."""
    files = ("numpy/a.py", "numpy/tests/test_a.py", "numpy/a.pyi", "numpy/f2py/b.py", "numpy/c.so")
    wheel = make_wheel(tmp_path, "numpy", "2.4", files)
    assert kit.write_stripped(wheel, tmp_path / "small.whl", "numpy") == 3
    with zipfile.ZipFile(tmp_path / "small.whl") as archive:
        names = archive.namelist()
        record = archive.read("numpy-2.4.dist-info/RECORD").decode().splitlines()
    assert names[:2] == ["numpy/a.py", "numpy/c.so"]
    assert [line.split(",")[0] for line in record] == names


def test_only_what_is_carried_is_stripped():
    """A name that is misspelt would strip nothing; other wheels stay whole."""
    assert set(STRIPPED) <= set(CARRIED)
    assert not is_stripped("rich", "rich/tests/test_a.py")
    assert not is_stripped("numba-cuda", "numba_cuda/numba/cuda/include/12/cuda_fp16.h")


def test_what_cubie_asks_for_is_carried_or_the_machines():
    """A new dependency is put into the kit, or stays the machine's on purpose."""
    assert set(kit.bounds()) - set(CARRIED) == {"llvmlite"}


def test_too_large_a_kit_is_refused(tmp_path):
    """The message tells by how much, and where the bytes are."""
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "large.whl").write_bytes(bytes(3 * 2**20))
    (tmp_path / "run.py").write_bytes(b"x")
    kit.check_size(tmp_path, 4 * 2**20)
    with pytest.raises(kit.TooLarge, match=r"has 3\.0 MiB, and may have 2\.0\. .* large\.whl 3\.0"):
        kit.check_size(tmp_path, 2 * 2**20)


def test_what_wheels_need_of_the_machine(tmp_path):
    """What no wheel of the kit is, for the Python of the kit, without extras."""
    asks = (
        "llvmlite<0.51,>=0.50",
        'old; python_version < "3.12"',
        'sphinx; extra == "docs"',
        "Small_Thing>=1",
    )
    wheels = [
        make_wheel(tmp_path, "numba", "0.68", asks=asks),
        make_wheel(tmp_path, "small_thing", "1.5"),
        packaging_wheel(tmp_path),
    ]
    needed, unfit = kit.needed_of_the_machine(wheels, "3.12")
    assert needed == [{"name": "llvmlite", "asked": "<0.51,>=0.50", "asked_by": "numba"}]
    assert unfit == {}
    needed, _ = kit.needed_of_the_machine(wheels, "3.11")
    assert [need["name"] for need in needed] == ["llvmlite", "old"]


def test_wheels_that_do_not_suit_each_other_are_fetched_anew(tmp_path, monkeypatch):
    """The bounds of all that ask count."""
    asked = []

    def download(requirements, python, folder):
        asked.append(requirements)
        version = "6.33" if len(asked) > 1 else "7.0"
        make_wheel(folder, "protobuf", version)
        if len(asked) == 1:
            make_wheel(folder, "ortools", "9.15", asks=("protobuf<6.34,>=6.33",))
            make_wheel(folder, "other", "1.0", asks=("protobuf>=5",))
            packaging_wheel(folder)

    monkeypatch.setattr(kit, "download", download)
    monkeypatch.setattr(kit, "own_wheel", lambda folder: None)
    assert kit.fetch([], [], "3.12", tmp_path) == []
    ((text,),) = asked[1:]
    assert text.startswith("protobuf")
    assert set(text.removeprefix("protobuf").split(",")) == {"<6.34", ">=6.33", ">=5"}
    assert sorted(path.name.split("-")[1] for path in tmp_path.glob("protobuf-*")) == ["6.33"]


def test_what_is_downloaded_can_be_chosen():
    """Bounds are those of cubie; a requirement takes their place, and a name may be left out."""
    texts = kit.requirements(["numba==0.66.0"], ["SymPy"])
    assert "numba==0.66.0" in texts
    assert not any(text.startswith("sympy") for text in texts)
    assert kit.bounds()["numpy"] in texts
    with pytest.raises(SystemExit, match="does not carry scipy; it carries numba-cuda, "):
        kit.requirements([], ["scipy"])
    with pytest.raises(SystemExit, match="needs packaging; it cannot be left out"):
        kit.requirements([], ["packaging"])


def test_the_machines_compiler_decides_which_numba_runs(machine):
    """The kit's where llvmlite suits it, else the machine's, else an error that says what to do."""
    asks = ("llvmlite<0.49,>=0.48.0dev0", "numpy<2.5,>=1.22")
    machine(llvmlite=("0.50.0",), numba=("0.61.0",))
    assert run.choose_numba(KIT)
    machine(llvmlite=("0.48.0",), numba=("0.66.0", asks))
    assert not run.choose_numba(KIT)
    without = KIT | {"carried": {"numpy": "2.4.6"}}
    assert not run.choose_numba(without)
    for packages in (
        {"llvmlite": ("0.44.0",), "numba": ("0.61.0",)},  # too old for cubie
        {"llvmlite": ("0.48.0",), "numba": ("0.66.0", (asks[0], "numpy<2.4"))},
        {"llvmlite": ("0.48.0",)},
        {},
    ):
        machine(**packages)
        with pytest.raises(SystemExit, match=r"No numba can run here.*--require numba==VERSION"):
            run.choose_numba(KIT)
        with pytest.raises(SystemExit, match="the kit carries none"):
            run.choose_numba(without)


def test_what_the_machine_lacks_is_told(machine):
    """A line for each: there and suitable, or not."""
    machine(llvmlite=("0.44.0",))
    assert run.machine_report(KIT) == [
        "ok   llvmlite 0.44.0; cubie asks for any",
        "NOT  llvmlite 0.44.0; numba asks for <0.51,>=0.50.0dev0",
        "NOT  cuda-bindings is missing; numba-cuda asks for <14,>=12.9.1",
    ]


@pytest.fixture
def unpacked(tmp_path, monkeypatch):
    """A tiny kit, unpacked; returns it and the folder."""
    here, folder = tmp_path / "kit", tmp_path / "unpacked"
    (here / "wheels").mkdir(parents=True)
    hook = ("taker.pth", "taker.py", "numba_cuda/__init__.py")
    make_wheel(here / "wheels", "numba_cuda", "0.30", hook)
    make_wheel(here / "wheels", "numba", "0.68", ("numba/__init__.py",))
    with zipfile.ZipFile(here / "sources.zip", "w") as archive:
        archive.writestr("pyproject.toml", "")
    monkeypatch.setattr(run, "HERE", here)
    run.unpack(KIT, folder)
    return here, folder


def test_numba_is_unpacked_apart(unpacked):
    """It can be left out; numba-cuda, whose name begins alike, is with the others."""
    _, folder = unpacked
    assert (folder / "numba" / "numba" / "__init__.py").exists()
    assert (folder / "site" / "numba_cuda" / "__init__.py").exists()
    assert (folder / "sources" / "pyproject.toml").exists()


def test_another_kit_is_unpacked_anew(unpacked):
    """The same one is left as it is."""
    _, folder = unpacked
    changed = folder / "sources" / "pyproject.toml"
    changed.write_text("changed")
    run.unpack(KIT, folder)
    assert changed.read_text() == "changed"
    run.unpack(KIT | {"python": "3.13"}, folder)
    assert changed.read_text() == ""


def test_path_configuration_files_of_the_kit_are_read(unpacked, tmp_path, monkeypatch, capsys):
    """numba-cuda takes numba.cuda's place by one; what the machine does at the start is done."""
    _, folder = unpacked
    site = folder / "site"
    (site / "taker.pth").write_text("import taker\n")
    (site / "taker.py").write_text("print('taken')\n")
    (tmp_path / "sitecustomize.py").write_text("print('the own of the machine')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(site))
    runpy.run_path(str(site / "sitecustomize.py"))
    assert capsys.readouterr().out == "taken\nthe own of the machine\n"


def test_another_python_is_refused(tmp_path, monkeypatch):
    """Wheels are for one version: the message names both."""
    (tmp_path / "kit.json").write_text(json.dumps(KIT | {"python": "3.9"}))
    monkeypatch.setattr(run, "HERE", tmp_path)
    monkeypatch.setattr("sys.argv", ["run.py"])
    with pytest.raises(SystemExit, match=r"wheels are for Python 3\.9, and this is 3\.1"):
        run.main()


def test_a_folder_that_cannot_be_written_is_refused(unpacked, tmp_path, monkeypatch):
    """The message names the option for another one."""
    here, _ = unpacked
    version = ".".join(map(str, sys.version_info[:2]))
    (here / "kit.json").write_text(json.dumps(KIT | {"python": version}))
    taken = tmp_path / "a file"
    taken.write_text("")
    monkeypatch.setattr("sys.argv", ["run.py", "--unpack", str(taken)])
    with pytest.raises(SystemExit, match=r"Nothing can be unpacked into .*a file .* --unpack DIR"):
        run.main()


def test_what_runs_there_needs_nothing_but_python():
    """`run.py` imports the standard library; `packaging` late, when it is unpacked."""
    tree = ast.parse((ROOT / "benchmarks" / "gpu" / "kit" / "run.py").read_text(encoding="utf-8"))
    names = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert names <= {
        *("argparse", "hashlib", "importlib", "json", "os", "pathlib", "subprocess", "sys"),
        "zipfile",
    }


def test_the_sources_of_the_kit_are_whole(tmp_path):
    """What the command and the tests for a GPU need, without results and what peers run."""
    kit.write_sources(tmp_path / "sources.zip")
    with zipfile.ZipFile(tmp_path / "sources.zip") as archive:
        names = set(archive.namelist())
    assert {
        "benchmarks/gpu/__main__.py",
        "benchmarks/specs.py",
        "tests/cubie/test_gpu.py",
        "tests/conftest.py",
        "tests/longer.txt",
        "pyproject.toml",
    } <= names
    assert not any("__pycache__" in name or "/results/" in name for name in names)
