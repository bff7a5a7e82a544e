"""Scripts as scientists write them for SciPy: the import is the only change.

Each lies in `everyday/`, imports `solve_ivp` from SciPy, and leaves what it found in `answers`. It
is run as it stands and with the import changed; the answers agree within its `tolerance`. A line
`# needs: ...` says what is not here yet: such a script must fail, until the line is taken out.
"""

import inspect
import re
import sys
import types
import warnings
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp as by_scipy

import cubie

SCRIPTS = sorted(Path(__file__).with_name("everyday").glob("*.py"))
IMPORT = "from scipy.integrate import solve_ivp\n"
NEEDS = re.compile(r"^# needs: (.*)$", re.MULTILINE)
FIELDS = (
    "t", "y", "sol", "t_events", "y_events", "nfev", "njev", "nlu", "status", "message", "success",
)  # fmt: skip
TOLERANCE = 1e-2  # SciPy's own default for a step is 1e-3

each_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)


def answers_of(script, text):
    """Run a script, and return what it found."""
    module = types.ModuleType(f"everyday_{script.stem}")
    module.__file__ = str(script)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cubie.UntracedWarning)
        warnings.filterwarnings("ignore", "The following arguments have no effect", UserWarning)
        exec(compile(text, str(script), "exec"), module.__dict__)
    return module.answers, getattr(module, "tolerance", TOLERANCE)


@cache
def expected(script):
    """Return what a script finds with SciPy."""
    return answers_of(script, script.read_text(encoding="utf-8"))


def check(script, monkeypatch, **options):
    """Compare the answers with SciPy's, or see that the script cannot run yet."""
    text = script.read_text(encoding="utf-8")
    assert text.count(IMPORT) == 1
    shim = types.ModuleType("everyday_cubie")
    shim.solve_ivp = partial(cubie.solve_ivp, **options)
    monkeypatch.setitem(sys.modules, "everyday_cubie", shim)
    changed = text.replace(IMPORT, IMPORT.replace("scipy.integrate", "everyday_cubie"))
    missing = NEEDS.search(text)
    if missing:
        with pytest.raises(cubie.CubieError) as caught:
            answers_of(script, changed)
        pytest.xfail(f"not yet: {missing[1]} ({type(caught.value).__name__})")
    found, _ = answers_of(script, changed)
    theirs, tolerance = expected(script)
    assert found.keys() == theirs.keys()
    for name, value in theirs.items():
        scale = np.abs(np.asarray(value)).max(initial=0.0) * tolerance
        np.testing.assert_allclose(
            found[name], value, rtol=tolerance, atol=scale * tolerance, err_msg=name
        )


@each_script
def test_the_import_is_the_only_change(script, monkeypatch):
    """The same answers, on the target that compiles nothing."""
    check(script, monkeypatch, backend="python")


@each_script
def test_compiled_scripts(script, monkeypatch):
    """The same answers, compiled for the processor."""
    check(script, monkeypatch, backend="cpu")


def test_the_scripts_use_every_keyword():
    """Every argument of SciPy's `solve_ivp`, and every option of its documentation, is in one."""
    documented = re.findall(r"^([a-z_0-9, ]+) : ", inspect.getdoc(by_scipy), re.MULTILINE)
    names = {name for line in documented for name in line.split(", ")}
    fields = set(FIELDS)
    assert fields < names
    text = "\n".join(script.read_text(encoding="utf-8") for script in SCRIPTS)
    assert len(SCRIPTS) >= 30
    by_position = {"fun", "t_span", "y0"}
    unused = [n for n in names - fields - by_position if f"{n}=" not in text]
    unused += [n for n in fields if f".{n}" not in text and f'["{n}"]' not in text]
    assert unused == ["options"] or unused == []
