"""What README.md and docs/ say of options, defaults, outcomes, exit codes and figures is so."""

import ast
import inspect
import json
import math
import re
import runpy
import tomllib
from contextlib import nullcontext
from pathlib import Path

import attrs
import pytest
from benchmarks import three_figures
from benchmarks.documents import RESULTS, read_section

import cubie
import cubie_planner
from cubie import (
    CUDABuffer,
    Event,
    InvalidOption,
    LeastSquares,
    Result,
    RunStatus,
    Solver,
    Sweep,
    UnknownOption,
    sampled,
    solve_ivp,
    sweep,
    table,
    zipped,
)
from cubie.algorithms import MultistepStep, SwitchingStep
from cubie.algorithms.implicit import ImplicitSettings
from cubie.cli.command import main
from cubie.controllers import CONTROLLERS, OwnController
from cubie.labelled.words import about_status
from cubie.launch.kernel import BatchSolverKernel
from cubie.run.loop import IVPLoop
from cubie.settings import SolverSettings
from cubie.solvers import LINEAR_SOLVERS
from cubie.solvers.krylov_settings import OPTIONS_OF
from cubie.solvers.preconditioners import PRECONDITIONERS
from cubie.tableaus import all_methods, all_tableaus
from cubie_planner import Alias, Buffer, Limits, Pool, Problem, plan
from cubie_planner.allocators import allocators

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OPTIONS = ROOT / "docs" / "options.md"
# Algorithms with options about steps, by the names of their methods.
CHOOSING = {"bdf": MultistepStep, "auto": SwitchingStep}
# What else takes keywords that pages name: calls, and what is declared to the planner.
CALLS = (
    *(allocators, plan, solve_ivp, Event, Solver.solve, BatchSolverKernel.resources),
    *(sweep, zipped, table, sampled, Sweep.run, Sweep.retry, Sweep.plot),
    *(Result.to_xarray, Result.plot, LeastSquares, LeastSquares.multistart),
)
DECLARATIONS = (CUDABuffer, Event, Alias, Buffer, Limits, Pool, Problem)
OTHER_KEYWORDS = {
    *(name for call in CALLS for name in inspect.signature(call).parameters),
    *(f.name for kind in DECLARATIONS for f in attrs.fields(kind)),
}


def text_of(page: Path) -> str:
    """Read a page."""
    return page.read_text(encoding="utf-8")


def rows(section: str, page: Path = OPTIONS) -> list[list[str]]:
    """Return the cells of a table between two comments, without its head."""
    text = text_of(page).split(f"<!-- {section}: begin -->")[1].split(f"<!-- {section}: end -->")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def kinds_of(cell: str) -> list[str]:
    """Return the controllers that a cell names."""
    if cell == "all but fixed":
        return [kind for kind in CONTROLLERS if kind != "fixed"]
    return cell.split(", ")


@pytest.fixture(scope="module")
def choices():
    """What tables of the pages are written from."""
    return runpy.run_path(str(ROOT / "docs" / "_extensions" / "choices.py"))


@pytest.fixture(scope="module")
def components(choices):
    """Every component that there is, by class."""
    return choices["components"]()


def settings_of(parts) -> dict[str, object]:
    """Return the settings of components with their defaults."""
    return {f.name: f.default for part in parts for f in attrs.fields(part.Settings)}


def written(default: object) -> str:
    """Write a default as the page does."""
    return f'`"{default}"`' if isinstance(default, str) else f"`{default!r}`"


def test_options_of_every_solve_are_on_the_page_with_their_defaults(components):
    """Those of `SolverSettings` and of the loop, all of them and no others."""
    made = SolverSettings()
    expected = {f.name: getattr(made, f.name) for f in attrs.fields(SolverSettings)}
    expected |= settings_of([components[IVPLoop]])
    expected["method"] = made.method.name
    shown = {name.strip("`"): default for name, default, *_ in rows("solve")}
    assert shown == {name: written(default) for name, default in expected.items()}


def test_options_of_controllers_are_on_the_page_with_their_defaults():
    """Each option stands beside every controller that has it, with that one's default."""
    expected = {
        (f.name, kind): written(f.default)
        for kind, controller in CONTROLLERS.items()
        for f in attrs.fields(controller.Settings)
    }
    shown = {
        (name.strip("`"), kind): default
        for name, kinds, default, *_ in rows("controllers")
        for kind in kinds_of(kinds)
    }
    assert shown == expected


def test_options_of_implicit_methods_are_on_the_page_with_their_defaults(components):
    """Those of steps, of Newton's method and of linear solvers; closed sets with every value."""
    elsewhere = (IVPLoop, OwnController, MultistepStep, SwitchingStep, *CONTROLLERS.values())
    others = [part for kind, part in components.items() if kind not in elsewhere]
    shown = {name.strip("`"): (default, values) for name, _, default, values, _ in rows("implicit")}
    assert {name: default for name, (default, _) in shown.items()} == {
        name: written(default) for name, default in settings_of(others).items()
    }
    for name, values in (("linear_solver", LINEAR_SOLVERS), ("preconditioner", PRECONDITIONERS)):
        assert shown[name][1] == ", ".join(f'`"{value}"`' for value in values)


def test_options_of_methods_that_choose_are_on_the_page_with_their_defaults():
    """Of each method those that implicit ones have not, with their defaults."""
    common = {f.name for f in attrs.fields(ImplicitSettings)}
    expected = {
        (f.name, method): written(f.default)
        for method, step in CHOOSING.items()
        for f in attrs.fields(step.Settings)
        if f.name not in common
    }
    found = rows("choosing")
    assert {(name.strip("`"), method): default for name, method, default, *_ in found} == expected


def limits_of(values: str) -> list[tuple[float, bool]]:
    """Read numbers at and beyond the limits that a page gives, and whether they are allowed."""
    found = re.fullmatch(r"an int from (\d+) to (\d+)(?:, or `None`)?", values)
    if found:
        low, high = map(int, found.groups())
        return [(low - 1, False), (low, True), (high, True), (high + 1, False)]
    found = re.fullmatch(r"above (\S+), (below|at most) (\S+)", values)
    if not found:
        return []
    low, high, included = float(found[1]), float(found[3]), found[2] == "at most"
    near = 1e-9 * (high - low)
    return [
        (low, False),
        (low + near, True),
        (high - near, True),
        (high, included),
        (high + near, False),
    ]


def test_limits_of_options_are_those_of_the_page(components):
    """What the page allows is taken to its limits, and refused beyond them."""
    checked = 0
    kinds = {type(part).Settings for part in components.values()}
    cases = [
        (cells[0], cells[-2], CONTROLLERS[kind].Settings)
        for cells in rows("controllers")
        for kind in kinds_of(cells[1])
    ]
    cases += [
        (cells[0], cells[-2], kind)
        for cells in rows("implicit")
        for kind in kinds
        if cells[0].strip("`") in attrs.fields_dict(kind)
    ]
    cases += [(name, values, CHOOSING[of].Settings) for name, of, _, values, _ in rows("choosing")]
    for name, values, kind in cases:
        option = name.strip("`")
        assert limits_of(values) or "`" in values, f"{option}: what does `{values}` allow?"
        others = {"preconditioner": OPTIONS_OF[option]} if option in OPTIONS_OF else {}
        for number, allowed in limits_of(values):
            checked += 1
            with nullcontext() if allowed else pytest.raises(InvalidOption, match=option):
                kind(**{option: number}, **others)
    assert checked > 60


def test_places_of_all_buffers_are_on_the_page(choices):
    """The table is written from components, and has every buffer that sources register by name."""
    registered = set()
    for path in (ROOT / "src" / "cubie").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        registered |= set(re.findall(r'register_buffer\(\s*"(\w+)"', source))
    shown = {option for own in choices["places_of_buffers"]().values() for option in own}
    assert len(registered) > 30
    assert {f"{name}_location" for name in registered} <= shown
    assert "```{buffer-table}" in text_of(OPTIONS)


def test_controllers_of_the_page_are_those_that_there_are(choices):
    """The table is written from `CONTROLLERS`; each row says what the controller does."""
    told = choices["controllers"]()
    assert [name for name, _, _ in told] == list(CONTROLLERS)
    assert all(sentence.endswith(".") for _, sentence, _ in told)
    assert "```{controller-table}" in text_of(ROOT / "docs" / "guide.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_an_option_that_a_page_names_is_one(page):
    """Each ``name=`` in code font is taken by a solver, a call or a declaration."""
    prose = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"`([a-z_]+)=[^`]*`", prose)) - OTHER_KEYWORDS
    unknown = {name for name in named if not is_option(name)}
    assert not unknown


def is_option(name: str) -> bool:
    """Tell whether some choice of method, controller and linear solver has an option."""
    solver = Solver(lambda t, y: [-y[0]])
    if name in solver.options:
        return True
    with pytest.raises(UnknownOption) as raised:
        solver.update(**{name: None})
    return name in raised.value.elsewhere


def test_statuses_of_the_page_are_those_that_runs_can_end_with():
    """The table is written from `RunStatus`; each member of that is used by the sources."""
    used = set()
    for path in (ROOT / "src" / "cubie").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "RunStatus":
                used.add(node.attr)
    assert used - {"message"} == {status.name for status in RunStatus}
    assert "```{status-table}" in text_of(ROOT / "docs" / "guide.md")
    named = {
        name
        for page in PAGES
        for name in re.findall(r"`(?:RunStatus\.)?([A-Z]+(?:_[A-Z]+)+)`", text_of(page))
    }
    variables = {name for name in named if name.startswith(("CUBIE_", "NUMBA_"))}
    statuses = about_status(not_done=True)["flag_meanings"].split()  # of sweeps one more
    assert named - variables <= set(statuses)


@pytest.fixture(scope="module")
def method_pictures():
    """What pictures of methods are drawn by."""
    return runpy.run_path(str(ROOT / "docs" / "_extensions" / "method_pictures.py"))


@pytest.mark.parametrize("method", all_tableaus().values(), ids=lambda method: method.name)
def test_the_picture_of_a_method_shows_its_order(method, method_pictures):
    """The slope of the errors drawn is the order, and no error is drawn where there is rounding."""
    assert abs(method_pictures["observed_order"](method) - method.order) < 0.45


def test_regions_of_stability_are_those_of_the_books(method_pictures):
    """A disc for Euler's method; -2.785 on the real axis for order four (Hairer & Wanner II, IV.2).

    Of an A-stable method the left half plane, and of the midpoint rule nothing else.
    """
    runs_of, tableaus = method_pictures["stable_runs"], all_tableaus()
    for y, start, end in runs_of(tableaus["euler"]):
        half = math.sqrt(1 - y * y)
        assert (start, end) == pytest.approx((-1 - half, -1 + half), abs=0.01)
    assert next(runs_of(tableaus["rk4"]))[1] == pytest.approx(-2.785, abs=0.01)
    left, right = method_pictures["LEFT"], method_pictures["RIGHT"]
    midpoint = list(runs_of(tableaus["implicit_midpoint"]))
    assert len(midpoint) == method_pictures["N_ROWS"]
    assert {run[1] for run in midpoint} == {left}
    assert [run[2] for run in midpoint] == pytest.approx([0.0] * len(midpoint), abs=1e-6)
    assert max(run[2] for run in runs_of(tableaus["backwards_euler"])) == right
    assert "```{method-pictures}" in text_of(ROOT / "docs" / "methods.md")


@pytest.mark.parametrize("package", [cubie, cubie_planner], ids=lambda package: package.__name__)
def test_the_reference_has_every_public_name(package):
    """Each once, with a docstring that says what it is."""
    page = text_of(ROOT / "docs" / "reference.md")
    named = re.findall(r"\.\. auto(?:class|function|exception):: ([\w.]+)", page)
    shown = [name.rpartition(".")[2] for name in named]
    assert sorted(set(package.__all__) - set(shown)) == []
    assert sorted(name for name in named if named.count(name) > 1) == []
    assert [name for name in package.__all__ if not getattr(package, name).__doc__] == []


def test_every_page_is_in_the_sidebar_once():
    """A page that no toctree of docs/index.md or docs/measurements.md names is not found."""
    trees = "".join(text_of(ROOT / "docs" / f"{name}.md") for name in ("index", "measurements"))
    blocks = re.findall(r"```\{toctree\}\n(.*?)```", trees, re.DOTALL)
    named = [line for block in blocks for line in block.split("\n") if line[:1] not in ("", ":")]
    pages = [page.stem for page in PAGES if page.parent.name == "docs" and page.stem != "index"]
    assert sorted(named) == sorted([*pages, "examples/index"])


def test_the_three_figures_are_what_the_kept_results_say():
    """Pictures and tables of docs/measurements.md; plans are proven, and are made so now."""
    for name, text in three_figures.outcome().items():
        if name.endswith(".svg"):
            assert text_of(three_figures.PICTURES / name) == text, name
        else:
            assert read_section(three_figures.PAGE, name) == text.strip(), name
    rows = json.loads(text_of(three_figures.BYTES))["rows"]
    assert {row["status"] for row in rows.values()} == {"optimal"}
    assert {method: three_figures.planned_bytes(method) for method in rows} == rows


def test_equivalents_that_pages_give_are_options_and_methods():
    """Of the tables of docs/coming-from.md: what stands on our side exists here."""
    page = text_of(ROOT / "docs" / "coming-from.md")
    ours = [line.rsplit("|", 2)[1] for line in page.splitlines() if line.startswith("| ")]
    words = " ".join(ours)
    methods = {name for method in all_methods().values() for name in (method.name, *method.aliases)}
    others = {"cuda", "cpu", "steps", "pid", "fixed", "linear", "cubic", "accept", "float32"}
    assert set(re.findall(r'"(\w+)"', words)) <= methods | others
    named = set(re.findall(r"`([a-z_]+)=", words)) - OTHER_KEYWORDS
    assert not {name for name in named if not is_option(name)}


def test_exit_codes_of_the_page_are_those_of_the_command():
    """`--help` and the page name 0, 1 and 2, and the sources return no others."""
    codes = {
        node.value.value
        for name in ("command", "base")
        for node in ast.walk(ast.parse(text_of(ROOT / "src" / "cubie" / "cli" / f"{name}.py")))
        if isinstance(node, ast.Return | ast.Assign)
        and isinstance(node.value, ast.Constant)
        and type(node.value.value) is int
    }
    page = text_of(ROOT / "docs" / "cubie-plan.md")
    told = re.search(r"Exit status: (.*?)\.", main.help or "", re.DOTALL)
    assert told is not None
    assert {int(code) for code in re.findall(r"\b(\d) ", told[1])} == codes - {130}
    assert "Status 130 means interrupted" in page
    assert 130 in codes
    assert "The exit status is 1" in page
    assert "Status 2 means" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_files_of_a_page_exist(page):
    """Relative links and paths in code font lead to files that are there."""
    text = text_of(page)
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", re.sub(r"`[^`\n]*`", "", text))
    files = re.findall(r"`((?:docs|tests|src|benchmarks|planner)/[\w./-]+)`", text)
    # Pages of the gallery are written where they are built.
    links = [link for link in links if not link.startswith("examples/")]
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing + [file for file in files if not (ROOT / file).exists()] == []


def test_the_price_of_a_call_is_what_was_measured():
    """The guide's microseconds beyond the kernel are those of the kept benchmark."""
    (path,) = RESULTS.glob("cpu-*.json")
    works = json.loads(path.read_text(encoding="utf-8"))["works"]

    def beyond(work: str) -> float:
        turns = works[work]["contenders"]["cubie"]["turns"]
        wall, kernel = (min(min(turn[of]) for turn in turns) for of in ("wall", "kernel"))
        return 1e6 * (wall - kernel)

    guide = " ".join(text_of(ROOT / "docs" / "guide.md").split())
    found = re.search(r"some (\d+) microseconds on top of the kernel with 100 runs", guide)
    assert found is not None
    for work in ("W1-100", "W1-f32-100"):
        assert abs(beyond(work) - int(found[1])) < 5
    assert "some 0.1 to 0.3 ms with 10,000" in guide
    for work in ("W1", "W1-f32"):
        assert 0.05e3 < beyond(work) < 0.35e3


def test_versions_that_pages_name_are_those_of_the_package():
    """The oldest NumPy and matplotlib, and the Pythons, are what pyproject.toml asks for."""
    asked = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    needs = " ".join([*asked["dependencies"], *asked["optional-dependencies"]["plot"]])
    page = " ".join(text_of(ROOT / "docs" / "quickstart.md").split())
    for package, word in (("numpy", "NumPy"), ("numba", "numba"), ("matplotlib", "matplotlib")):
        oldest = re.search(rf"\b{package}>=([\d.]+)", needs)
        assert oldest is not None
        assert re.search(rf"{word} {re.escape(oldest[1])}(?!\d)", page), package
    assert asked["requires-python"] == ">=3.11,<3.15"
    assert "Python of 3.11 to 3.14" in page
