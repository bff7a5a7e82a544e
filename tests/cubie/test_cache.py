"""The cache is a convenience, never a condition; and nobody else's."""

import json
import marshal
import os
import shutil
import stat
import subprocess
import sys
import textwrap
import threading
import warnings
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path

import numpy as np
import pytest

from cubie import CacheWarning, Solver
from cubie.backend.cpu.object_code import ENTRY
from cubie.cache import Shelf, private_files, shelf
from cubie.systems import trace
from cubie.systems.derivatives.scaled import write_scaled
from cubie.systems.derivatives.source import write_derivatives
from cubie.systems.generated import is_arithmetic
from cubie.systems.mass import mass_entries
from tests.cubie.stiff_systems import SYSTEMS

ROOT = Path(__file__).resolve().parents[2]
POSIX = pytest.mark.skipif(not private_files.GUARDED, reason="owners and modes are POSIX's")
IS_ROOT = private_files.GUARDED and os.geteuid() == 0
NOBODY = 65534
WITHOUT_A_NAME = 4_000_123  # a user that no system knows


def decay(t, y, rate):
    return [-rate * y[0]]


def growth(t, y, rate):
    return [rate * y[0]]


BACKENDS = ("python", "cpu")
RATES = np.array([0.5, 1.0])


# The kernel that is compiled soonest: many tests compile one.
CHEAP = {"method": "euler", "first_step": 2**-10, "lanes": 1}


def ends(fun, backend="cpu", **options):
    """Return final states of a solver that is new."""
    options = options or (CHEAP if backend == "cpu" else {})
    solver = Solver(fun, backend=backend, save="final", **options)
    return solver.solve((0.0, 1.0), [1.0], args=(RATES,)).y[:, 0, -1].tolist()


def implicit(fun):
    """The same by a method that needs a Jacobian."""
    return ends(fun, "python", method="rodas5p")


EXPECTED = [pytest.approx(np.exp(-rate), rel=1e-3) for rate in RATES]


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A cache in which kernels of both functions are."""
    directory = tmp_path_factory.mktemp("warm") / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUBIE_CACHE_DIR", str(directory))
        for fun in (decay, growth):
            for backend in BACKENDS:
                ends(fun, backend)
            implicit(fun)
    return directory


@pytest.fixture
def cache(warm, tmp_path, monkeypatch):
    """A copy of it, in use; what is said once is said anew."""
    directory = tmp_path / "cache"
    shutil.copytree(warm, directory)
    use(monkeypatch, directory)
    return directory


def use(monkeypatch, directory):
    monkeypatch.setenv("CUBIE_CACHE_DIR", str(directory))
    monkeypatch.setattr(shelf, "_said", {})


def is_found(fun=decay):
    """Tell whether a kernel of the function comes from the cache."""
    solver = Solver(fun, backend="cpu", save="final", **CHEAP)
    solver.solve((0.0, 1.0), [1.0], args=(RATES,))
    return solver.kernel.compiled.compiled_from_cache


def forge(directory):
    """Have the cache answer for one function with the other: by one who can write all of it.

    Returns where the entry is.
    """
    systems = Shelf(directory, "systems", ".py")
    keys = [path.stem for path in (directory / "systems" / "index").glob("*.json")]
    entries = {key: systems.entry(key) for key in keys}
    right = trace(decay, 1, (1.0,)).digest
    wrong = trace(growth, 1, (1.0,)).digest
    (key,) = [key for key, entry in entries.items() if entry.get("digest") == right]
    systems.enter(key, {**entries[key], "digest": wrong})
    return directory / "systems" / "index" / f"{key}.json"


# ---- ten and more ways to plant something -----------------------------------

PLANTED = []  # what planted code adds to
PLANT = "from tests.cubie import test_cache; test_cache.PLANTED.append(__name__)\n"


def compiled_beside_the_modules(directory):
    for path in directory.rglob("*.py"):
        beside = Path(cache_from_source(str(path)))
        beside.parent.mkdir(exist_ok=True)
        code = marshal.dumps(compile(PLANT + path.read_text(), str(path), "exec"))
        status = path.stat()
        facts = (0, int(status.st_mtime), status.st_size)
        beside.write_bytes(MAGIC_NUMBER + b"".join(n.to_bytes(4, "little") for n in facts) + code)


def code_in_the_modules(directory):
    for path in directory.rglob("*.py"):
        path.write_text(PLANT + path.read_text())


def code_in_modules_of_their_own_digest(directory):
    systems = Shelf(directory, "systems", ".py")
    for path in (directory / "systems" / "index").glob("*.json"):
        entry = systems.entry(path.stem)
        text = systems.find(entry["digest"]).decode()
        systems.enter(path.stem, {**entry, "digest": systems.keep((PLANT + text).encode())})


def another_function_in_a_module(directory):
    texts = sorted(directory.glob("systems/*.py"))
    for path, other in zip(texts, texts[1:] + texts[:1], strict=True):
        path.write_text(other.read_text() + "\n# another\n")


def another_functions_machine_code(directory):
    kernels = sorted(directory.glob("kernels/*.o"))
    codes = [path.read_bytes() for path in kernels]
    for path, code in zip(kernels, codes[1:] + codes[:1], strict=True):
        path.write_bytes(code)


def machine_code_that_vouches_for_itself(directory):
    import hashlib

    for path in directory.glob("kernels/*.o"):
        code = path.read_bytes()[::-1]
        path.write_bytes(hashlib.sha256(code).digest() + code)


def another_functions_entries(directory):
    for index in directory.glob("*/index"):
        paths = sorted(index.iterdir())
        texts = [path.read_text() for path in paths]
        for path, text in zip(paths, texts[1:] + texts[:1], strict=True):
            path.write_text(text)


def entries_that_name_another_function(directory):
    for index in directory.glob("*/index"):
        paths = sorted(index.iterdir())
        entries = [json.loads(path.read_text()) for path in paths]
        for name in ("digest", "code"):
            named = [entry[name] for entry in entries if name in entry]
            turned = iter(named[1:] + named[:1])
            for path, entry in zip(paths, entries, strict=True):
                if name in entry:
                    path.write_text(json.dumps({**entry, name: next(turned)}))


def entries_that_lead_elsewhere(directory):
    (directory.parent / "evil.py").write_text(PLANT)
    (directory.parent / "evil.o").write_bytes(b"\x7fELF")
    for path in directory.glob("*/index/*.json"):
        kind = Shelf(directory, path.parts[-3], "")
        kind.enter(path.stem, {"kind": "traced", "note": "", "digest": "../../evil"})


def modules_with_names_that_python_looks_for(directory):
    for place in (directory, *filter(Path.is_dir, directory.rglob("*"))):
        for name in ("sitecustomize", "__init__", "math", "cubie", "numpy", "llvmlite"):
            (place / f"{name}.py").write_text(PLANT)
            (place / f"{name}.so").write_bytes(b"\x7fELF")
        for path in list(place.glob("*.py")):
            (place / f"{path.stem}.nbi").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
            (place / f"{path.stem}.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")


def others_can_write(directory):
    forge(directory)
    for place in (directory, *directory.rglob("*")):
        place.chmod(place.stat().st_mode | stat.S_IWOTH)


def the_group_can_write_one_directory(directory):
    forge(directory)
    (directory / "systems" / "index").chmod(0o775)


def others_can_write_one_file(directory):
    forge(directory).chmod(0o666)


def all_can_exchange_the_directory(directory):
    forge(directory)
    directory.parent.chmod(0o777)


def a_link_to_a_directory_elsewhere(directory):
    forge(directory)
    (directory / "systems").rename(directory.parent / "elsewhere")
    (directory / "systems").symlink_to(directory.parent / "elsewhere")


def links_to_files_elsewhere(directory):
    path = forge(directory)
    path.rename(directory.parent / path.name)
    path.symlink_to(directory.parent / path.name)


def it_belongs_to_another_user(directory):
    forge(directory)
    give_away(directory)


def one_directory_belongs_to_another_user(directory):
    forge(directory)
    give_away(directory / "systems")


def one_file_belongs_to_another_user(directory):
    give_away(forge(directory))


def the_way_to_it_belongs_to_another_user(directory):
    forge(directory)
    give_away(directory.parent)


def give_away(path):
    if not IS_ROOT:
        pytest.skip("only the superuser can give a file away")
    os.chown(path, NOBODY, NOBODY)


WAYS = [
    compiled_beside_the_modules,
    code_in_the_modules,
    code_in_modules_of_their_own_digest,
    another_function_in_a_module,
    another_functions_machine_code,
    machine_code_that_vouches_for_itself,
    another_functions_entries,
    entries_that_name_another_function,
    entries_that_lead_elsewhere,
    modules_with_names_that_python_looks_for,
    *(
        pytest.param(way, marks=POSIX)
        for way in (
            others_can_write,
            the_group_can_write_one_directory,
            others_can_write_one_file,
            all_can_exchange_the_directory,
            a_link_to_a_directory_elsewhere,
            links_to_files_elsewhere,
            it_belongs_to_another_user,
            one_directory_belongs_to_another_user,
            one_file_belongs_to_another_user,
            the_way_to_it_belongs_to_another_user,
        )
    ),
]


@pytest.mark.filterwarnings("ignore::cubie.CacheWarning")
@pytest.mark.parametrize("kernels", ["kernels kept", "kernels deleted"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: getattr(way, "__name__", None))
def test_what_is_planted_in_the_cache_neither_runs_nor_answers(way, kernels, cache):
    """With the kernel in the cache, and where the module must be compiled anew."""
    way(cache)
    PLANTED.clear()
    if kernels == "kernels deleted":
        shutil.rmtree(cache / "kernels")
    for backend in BACKENDS:
        assert ends(decay, backend) == EXPECTED
    assert implicit(decay) == EXPECTED
    assert PLANTED == []


def test_who_can_write_as_this_user_is_believed(cache):
    """The limit of all this, and the proof that the forgery above is one."""
    forge(cache)
    assert ends(decay, "python") == [pytest.approx(np.exp(rate), rel=1e-3) for rate in RATES]


@POSIX
@pytest.mark.parametrize(
    ("way", "reason"),
    [
        (others_can_write, "other users can write to {cache}: if nobody did, `chmod -R go-w`"),
        (the_group_can_write_one_directory, "other users can write to {cache}/systems/index"),
        (all_can_exchange_the_directory, "all users can write to {cache.parent}, and exchange"),
        (it_belongs_to_another_user, "{cache} belongs to another user"),
        (the_way_to_it_belongs_to_another_user, "{cache.parent} belongs to another user"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_directory_that_is_not_believed_is_named_once(way, reason, cache):
    """With the reason and what to do, however much is solved."""
    way(cache)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for fun in (decay, growth):
            ends(fun, "python")
    (warning,) = caught
    assert warning.category is CacheWarning
    assert reason.format(cache=cache) in str(warning.message)
    assert warning.filename == __file__


@POSIX
@pytest.mark.parametrize("mode", [0o1777, 0o770, 0o755])
def test_directories_above_may_be_shared_if_entries_are_kept_apart(mode, cache):
    """Sticky like /tmp, or a group's: nobody can put a directory of their own in this place."""
    cache.parent.chmod(mode)
    assert is_found()


@POSIX
def test_the_cache_may_be_reached_by_links_of_this_user(cache, monkeypatch):
    """A link to a larger disk is no attack."""
    (cache.parent / "link").symlink_to("cache/../cache")
    (cache.parent / "links").symlink_to(cache.parent / "link")
    use(monkeypatch, cache.parent / "links")
    assert is_found()


@POSIX
def test_what_is_made_is_this_users_alone(tmp_path, monkeypatch):
    """Whatever the umask allows others."""
    use(monkeypatch, tmp_path / "new" / "cache")
    before = os.umask(0)
    try:
        ends(decay)
    finally:
        os.umask(before)
    made = list((tmp_path / "new").rglob("*"))
    assert len(made) > 8
    assert not any(path.stat().st_mode & private_files.OTHERS_WRITE for path in made)
    assert is_found()


# ---- damage -----------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "empty", "bit", "zeros", "pipe", "directory"])
def test_a_damaged_cache_is_made_anew(damage, cache):
    """Any file of it, in any way; and is whole afterwards."""
    files = [path for path in cache.rglob("*") if path.is_file()]
    for path in files:
        content = path.read_bytes()
        if damage in ("pipe", "directory"):
            path.unlink()
            os.mkfifo(path) if damage == "pipe" else path.mkdir()
            continue
        half = len(content) // 2
        path.write_bytes(
            {
                "cut": content[:half],
                "empty": b"",
                "bit": content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :],
                "zeros": bytes(len(content)),
            }[damage]
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if damage == "directory" else "error", CacheWarning)
        assert ends(decay) == EXPECTED
        assert implicit(decay) == EXPECTED
        assert is_found() is (damage != "directory")


OTHER_SHAPES = [
    {"kind": 5},
    {"kind": "traced"},
    {"kind": "traced", "digest": [], "note": ""},
    {"kind": "traced", "digest": "0" * 32, "note": ""},
    {"kind": "traced", "digest": "A" * 32, "note": ""},
    {"kind": "compiled", "note": None},
    {"baked": "0"},
    {"baked": [0]},
    {"baked": [99]},
    {"baked": [-1]},
    {"baked": [[]]},
    {"baked": [True]},
    {"baked": {}},
    {"baked": []},
    {"code": None},
    {"code": "../" * 10 + "etc/passwd"},
    {"code": ["0" * 32]},
    {"code": "\0"},
    {"digest": "0" * 32, "columns": 3, "autonomous": True},
    {"digest": "0" * 32, "columns": [[1]], "autonomous": True},
    {"digest": "0" * 32, "columns": [[0], [0]], "autonomous": True},
    {"digest": "0" * 32, "columns": [[0.0]], "autonomous": True},
    {"digest": "0" * 32, "columns": [None], "autonomous": True},
    {"digest": "0" * 32, "columns": [[0]], "autonomous": "no"},
]


def test_entries_of_another_shape_count_as_not_there(cache):
    """Though they are what was written for the key."""
    index = sorted(cache.glob("*/index/*.json"))
    for entry in OTHER_SHAPES:
        for path in index:
            Shelf(cache, path.parts[-3], "").enter(path.stem, entry)
        assert ends(decay, "python") == EXPECTED, entry
    for path in index:
        Shelf(cache, path.parts[-3], "").enter(path.stem, OTHER_SHAPES[0])
    assert implicit(decay) == EXPECTED


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "5", "{", "[" * 100_000, '{"a": ' * 50_000, "9" * 10_000, "\0"]
)
def test_what_is_no_entry_counts_as_not_there(text, tmp_path):
    """Even with a check that is right."""
    kind = Shelf(tmp_path, "systems", ".py")
    kind.enter("key", {"a": 1})
    assert kind.entry("key").pop("a") == 1
    (path,) = tmp_path.rglob("*.json")
    for content in (text, f'{{"check": "{"0" * 64}", {text}'):
        path.write_text(content)
        assert kind.entry("key") is None
    rest = b'", ' + text.encode()
    path.write_bytes(b'{"check": "' + shelf._check_of("key", rest) + rest)
    assert kind.entry("key") is None


def test_generated_modules_are_arithmetic(cache, monkeypatch):
    """All that the tests of stiff systems, and this one, keep is recognised."""
    use(monkeypatch, cache.parent / "more")
    for fun, n, args, _ in SYSTEMS.values():
        system = trace(fun, n, args)
        assert is_arithmetic(system.source)
        assert is_arithmetic(write_derivatives(system))
        assert is_arithmetic(write_derivatives(system, products=True))
        assert is_arithmetic(write_scaled(system, mass_entries(n), pairs=True))
    texts = [path.read_text() for path in cache.parent.rglob("*.py")]
    assert len(texts) > 10
    assert [text for text in texts if not is_arithmetic(text)] == []


NO_ARITHMETIC = [
    "import os",
    "from os import system",
    "from cubie.backend import package_digest",
    "from math import exp",
    "import math as m",
    "print(1)",
    "x = 1",
    "PATTERN = print(1)",
    "PATTERN = ((0, 'a'),)",
    "PATTERN = '0 1 a'",
    "CONSTANT = 'True'",
    "_a = table(1, 2)",
    "_a = table('1 2', '3')",
    "_a = table('print(1)')",
    "a = table('1 2')",
    "class A: pass",
    "@print\ndef f(y): pass",
    "def f(y=print(1)): pass",
    "def f(y: print(1)): pass",
    "def f(y) -> print(1): pass",
    "def f(*y): pass",
    "def f(y, *, z=print(1)): pass",
    "def f(y):\n    print(y)",
    "def f(y):\n    y.real = 1.0",
    "def f(y):\n    x = y.real",
    "def f(y):\n    x = math.__loader__",
    "def f(y):\n    x = math.exp.__self__",
    "def f(y):\n    x = math.exp(y, z=1)",
    "def f(y):\n    x = math.exp(*y)",
    "def f(y):\n    x = math.fsum(y)",
    "def f(y):\n    x = y[0](1)",
    "def f(y):\n    x = y[0][1]",
    "def f(y):\n    x = math['exp']",
    "def f(y):\n    x = 'text'",
    "def f(y):\n    x = f'{y}'",
    "def f(y):\n    x = 9**9**9**9",
    "def f(y):\n    x = 1 << 10**9",
    "def f(y):\n    x = [y for _ in y]",
    "def f(y):\n    x = lambda: y",
    "def f(y):\n    x = y if y else y",
    "def f(y):\n    x = y in y",
    "def f(y):\n    x = y and y",
    "def f(y):\n    x = (z := y)",
    "def f(y):\n    x, z = y",
    "def f(y):\n    x = z = y",
    "def f(y):\n    x += y",
    "def f(y):\n    x: print(1) = y",
    "def f(y):\n    import os",
    "def f(y):\n    global y",
    "def f(y):\n    while y: pass",
    "def f(y):\n    raise y",
    "def f(y):\n    def g(): pass",
    "def f(y):\n    return",
    "async def f(y): pass",
    "def f(y):\n    x = " + "(" * 5000 + "y" + ")" * 5000,
    "def f(y):\n    x = y" + " + y" * 50_000,
    "def f(:",
    "\0",
]


@pytest.mark.parametrize("text", NO_ARITHMETIC, ids=range(len(NO_ARITHMETIC)))
def test_what_is_not_arithmetic_is_recognised(text):
    """Anything that could call, import, loop or reach beyond the numbers given."""
    assert is_arithmetic("def f(y):\n    x = math.exp(y[0])\n    y[at + 0] = -x / 2.0\n")
    allowed = text.endswith("+ y")  # long, and nothing else
    assert is_arithmetic(text) is allowed or allowed


# ---- no condition -----------------------------------------------------------

PROGRAM = """
import sys, warnings
warnings.simplefilter("always")
from cubie import solve_ivp, Solver
def decay(t, y): return [-y[0]]
def growth(t, y): return [y[0]]
solver = Solver(decay, backend="cpu", save="final", method="euler", first_step=2**-12, lanes=1)
print(round(float(solver.solve((0, 1), [1.0]).y[0, -1]), 3))
print(solver.kernel.compiled.compiled_from_cache)
print(solve_ivp(growth, (0, 1), [1.0], "rodas5p", backend="python").status)
"""
SOLVED = "0.368 {0} 0".format
COMPILED_BEFORE = """
from pathlib import Path
from cubie.backend.cpu.object_code import ObjectCode
find = ObjectCode.find_or_make
def find_or_read(digest, compile):
    return find(digest, Path({path!r}).read_bytes if digest.startswith("kernel") else compile)
ObjectCode.find_or_make = find_or_read
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """What a program begins with to have the kernel's code without compiling it itself.

    Compiling takes most of a program's time, and the cache is asked and told all the same.
    """
    directory = tmp_path_factory.mktemp("compiled") / "cache"
    assert solved(user=os.geteuid(), CUBIE_CACHE_DIR=str(directory)) == (SOLVED(False), [])
    codes = directory.glob("kernels/*.o")
    (path,) = [path for path in codes if ENTRY.encode() in path.read_bytes()]
    return COMPILED_BEFORE.format(path=str(path))


def as_user(user):
    """Return how a command is run as an ordinary user, whoever runs the tests."""
    if not IS_ROOT:
        return []
    # It may read, wherever Python is installed; what it may write is that user's.
    command = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups"]
    command += ["--inh-caps", "-all,+dac_read_search", "--ambient-caps", "+dac_read_search"]
    command += ["--bounding-set", "-all,+dac_read_search"]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the superuser can write anywhere, and `setpriv` cannot make it another user")
    return command


def solved(program=PROGRAM, user=NOBODY, before="", **environment):
    """Run a program as an ordinary user; return its words, and the warnings of the cache."""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "planner")])
    keep = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    done = subprocess.run(
        [*as_user(user), sys.executable, "-B", "-c", before + textwrap.dedent(program)],
        env={"PYTHONPATH": path, **keep, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "CacheWarning" in line]
    return " ".join(done.stdout.split()), said


@pytest.fixture
def place(tmp_path):
    """A directory of the user's that programs run as, in one that it can reach."""
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(path.stat().st_mode | 0o055)
    inside = tmp_path / "place"
    inside.mkdir()
    if IS_ROOT:
        os.chown(inside, NOBODY, NOBODY)
    return inside


@POSIX
def test_a_directory_that_cannot_be_written_is_no_condition(place):
    """Read-only, and empty: solved all the same, and said once."""
    place.chmod(0o555)
    words, said = solved(CUBIE_CACHE_DIR=str(place))
    assert words == SOLVED(False)
    assert len(said) == 1
    assert said[0].startswith("<string>:")
    assert f"Nothing is kept in the cache {place}: Permission denied." in said[0]


@POSIX
@pytest.mark.parametrize("owner", ["superuser", "user"])
def test_a_warmed_directory_is_used_though_it_cannot_be_written(owner, place, compiled):
    """As in the image of a container: kernels are found, nothing is written or said."""
    cache = place / "cache"
    solved(before=compiled, CUBIE_CACHE_DIR=str(cache))
    for path in (*cache.rglob("*"), cache):
        if owner == "superuser" and IS_ROOT:
            os.chown(path, 0, 0)
        path.chmod(path.stat().st_mode & ~0o222)
    before = {path: path.stat().st_mtime_ns for path in (*cache.rglob("*"), cache)}
    program = PROGRAM + "print('numba' in sys.modules)"
    assert solved(program, CUBIE_CACHE_DIR=str(cache)) == (SOLVED(True) + " False", [])
    assert {path: path.stat().st_mtime_ns for path in (*cache.rglob("*"), cache)} == before


@POSIX
@pytest.mark.parametrize("most", [0, 300])
def test_a_full_disk_is_no_condition(most, place, compiled):
    """Nothing fits, or small files only: solved, said once, and nothing is left half written."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))\n"
    words, said = solved(before=limit + compiled, CUBIE_CACHE_DIR=str(place / "cache"))
    assert words == SOLVED(False)
    assert len(said) == 1
    assert said[0].startswith("<string>:")
    assert "File too large" in said[0]
    left = [path for path in place.rglob("*") if path.is_file()]
    assert all(path.suffix != ".tmp" and 0 < path.stat().st_size <= most for path in left)
    given = {"before": compiled, "CUBIE_CACHE_DIR": str(place / "cache")}
    assert solved(**given) == (SOLVED(False), [])
    assert solved(**given) == (SOLVED(True), [])


@POSIX
@pytest.mark.parametrize("name", ["file", "file/below", "link", "a/../../file"])
def test_a_path_that_can_be_no_directory_is_no_condition(name, place, compiled):
    """A file in its place or on the way, a link to nowhere."""
    (place / "file").write_text("")
    (place / "link").symlink_to(place / "nowhere" / "at all")
    words, said = solved(before=compiled, CUBIE_CACHE_DIR=str(place / name))
    assert words == SOLVED(False)
    assert len(said) == 1


@POSIX
def test_a_user_without_a_home_is_no_condition():
    """Neither $HOME nor an entry in the system's list of users: nothing is written anywhere."""
    if not IS_ROOT:
        pytest.skip("only the superuser can become a user that nobody knows")
    words, said = solved(user=WITHOUT_A_NAME)
    assert words == SOLVED(False)
    assert len(said) == 1
    assert "there is no home directory" in said[0]
    assert not Path("~").exists()


@POSIX
@pytest.mark.parametrize("variable", ["HOME", "XDG_CACHE_HOME"])
def test_a_home_that_cannot_be_written_is_no_condition(variable, place, compiled):
    """Nor one that does not exist."""
    place.chmod(0o555)
    for path in (place, place / "missing"):
        given = {"before": compiled, "HOME": str(place)}
        words, said = solved(**given | ({variable: str(path)} if variable != "HOME" else {}))
        assert words == SOLVED(False)
        assert len(said) == 1


@POSIX
def test_names_with_spaces_and_more_are_names(place):
    """Of the cache, and of the directory that the package lies in."""
    odd = place / "with spaces, 'quotes' & ünïcode %s {}"
    odd.mkdir()
    for part in ("src", "planner"):
        shutil.copytree(ROOT / part, odd / part, ignore=shutil.ignore_patterns("__pycache__"))
    if IS_ROOT:
        os.chown(odd, NOBODY, NOBODY)
    path = os.pathsep.join([str(odd / "src"), str(odd / "planner")])
    given = {"CUBIE_CACHE_DIR": str(odd / "the cache"), "PYTHONPATH": path}
    program = PROGRAM + f"import cubie; print(cubie.__file__.startswith({str(odd)!r}))"
    assert solved(program, **given) == (SOLVED(False) + " True", [])
    assert solved(program, **given) == (SOLVED(True) + " True", [])


@POSIX
def test_a_tilde_means_home_for_all_that_is_kept(place, compiled):
    """Modules and machine code lie side by side."""
    environment = {"before": compiled, "CUBIE_CACHE_DIR": "~/kept", "HOME": str(place)}
    assert solved(**environment) == (SOLVED(False), [])
    assert solved(**environment) == (SOLVED(True), [])
    assert {path.name for path in (place / "kept").iterdir()} == {"systems", "kernels"}


def test_a_cache_may_vanish_at_any_time(tmp_path, monkeypatch):
    """While solvers look, read and write, in threads."""
    use(monkeypatch, tmp_path / "cache")
    over = threading.Event()

    def vanish():
        while not over.wait(0.001):
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)

    vanishing = threading.Thread(target=vanish)
    vanishing.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CacheWarning)
            for backend in ("python",) * 20 + ("cpu",) * 2:
                assert ends(decay, backend) == EXPECTED
    finally:
        over.set()
        vanishing.join()


def test_processes_may_share_a_cache(place):
    """Begun at once, on an empty one: all solve, and what they leave is used."""
    environment = {"CUBIE_CACHE_DIR": str(place / "cache")}
    done = []
    threads = [
        threading.Thread(target=lambda: done.append(solved(**environment))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 3
    assert all(said == [] for _, said in done)
    assert solved(**environment) == (SOLVED(True), [])
    assert not list(place.rglob("*.tmp"))
