"""The rooms: which exist, which may build on which, no circles, nothing that outgrew its place.

Rooms are read from the folders, so that moving a file cannot silence a scan: whatever lies in
no room that is named here fails. All imports count, late ones inside functions and those for
type checkers only as well: they tell as much about who knows whom.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import networkx as nx
import pytest

from tests.rooms import (
    MOST_DEVICE_LINES,
    MOST_FUNCTION_LINES,
    MOST_LINES,
    MOST_PARAMETERS,
    PACKAGES,
    PICTURE,
    ROOT,
    Package,
    picture,
)

each_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)


# ---- what is read from the sources -------------------------------------------


@cache
def modules_of(package: Package) -> dict[str, Path]:
    """Return every module by its dotted name below the package; "" is the package itself."""
    found = {}
    for path in sorted(package.folder.rglob("*.py")):
        parts = path.relative_to(package.folder).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree_of(path: Path) -> ast.Module:
    """Parse a file once."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def room_of(module: str) -> str:
    """Return the room of a module: its first folder, or itself at the top."""
    return module.partition(".")[0]


def imports_of(package: Package, path: Path) -> Iterator[str]:
    """Yield the modules of the package that a file imports anywhere in it."""
    modules = modules_of(package)
    for node in ast.walk(tree_of(path)):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            # What is imported from a package may be a module in it, or something it shows.
            of_a_module = [f"{node.module}.{alias.name}" for alias in node.names]
            below = [name.removeprefix(f"{package.name}.") in modules for name in of_a_module]
            names = [n for n, known in zip(of_a_module, below, strict=True) if known]
            names += [] if all(below) else [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name == package.name or name.startswith(f"{package.name}."):
                yield name.removeprefix(package.name).removeprefix(".")


@cache
def arrows_of(package: Package) -> frozenset[tuple[str, str]]:
    """Return (importing module, imported module), but for those of the package's own init."""
    return frozenset(
        (module, imported)
        for module, path in modules_of(package).items()
        for imported in imports_of(package, path)
        if module
    )


def is_left_on_purpose(package: Package, module: str, imported: str) -> bool:
    """Tell whether an arrow back is one of those with a reason."""
    return (module, room_of(imported)) in package.arrows_back


def forbidden_arrows(package: Package) -> list[str]:
    """Return imports of rooms that the importing room may not know."""
    return sorted(
        f"{module} imports {imported or package.name}"
        for module, imported in arrows_of(package)
        if room_of(imported) not in (room_of(module), *package.rooms.get(room_of(module), ()))
        and not is_left_on_purpose(package, module, imported)
    )


def circles(package: Package) -> list[list[str]]:
    """Return groups of modules that import each other, directly or through others."""
    graph = nx.DiGraph(
        arrow for arrow in arrows_of(package) if not is_left_on_purpose(package, *arrow)
    )
    groups = nx.strongly_connected_components(graph)
    return sorted(sorted(group) for group in groups if len(group) > 1)


def names_shown_by(path: Path) -> set[str]:
    """Return the names that a package's init imports."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@cache
def functions_of(path: Path) -> tuple[tuple[ast.FunctionDef, bool, int], ...]:
    """Return every function of a file, whether it is made in another one, and its own lines.

    Its docstring, and functions that are made in it, do not count.
    """
    return tuple(_functions_of(path))


def _functions_of(path: Path) -> Iterator[tuple[ast.FunctionDef, bool, int]]:
    made_in_others = {
        id(inner)
        for outer in ast.walk(tree_of(path))
        if isinstance(outer, ast.FunctionDef)
        for inner in ast.walk(outer)
        if isinstance(inner, ast.FunctionDef) and inner is not outer
    }
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef):
            inside = [n for n in ast.walk(node) if isinstance(n, ast.FunctionDef) and n is not node]
            documented = node.body[:1] if ast.get_docstring(node) else []
            lines = set(range(node.lineno, (node.end_lineno or 0) + 1))
            for part in (*inside, *documented):
                lines -= set(range(part.lineno, (part.end_lineno or 0) + 1))
            yield node, id(node) in made_in_others, len(lines)


def rooms_as_text(package: Package) -> str:
    """Return the rooms, highest first, each with those it is built on."""
    width = max(map(len, package.rooms))
    lines = [
        f"{room:{width}}  on  {'  '.join(below)}" if below else room
        for room, below in package.rooms.items()
    ]
    return "\n".join(reversed(lines))


# ---- what must hold ------------------------------------------------------------


@each_package
def test_every_module_lies_in_a_known_room(package):
    """A folder or a module at the top that is not named here fails, and so does an empty name."""
    rooms = {room_of(module) for module in modules_of(package) if module}
    assert rooms == set(package.rooms)


@each_package
def test_rooms_are_named_from_the_bottom_up(package):
    """A room is built on rooms before it, so that no chain of them can close."""
    names = list(package.rooms)
    for position, room in enumerate(names):
        assert set(package.rooms[room]) <= set(names[:position]), room


@each_package
def test_no_room_imports_what_is_built_on_it(package):
    """Every import, wherever it stands, leads to a room that the importing one is built on."""
    assert forbidden_arrows(package) == []


@each_package
def test_no_modules_import_each_other(package):
    """There is no circle among the modules but those with a reason, late imports included."""
    assert circles(package) == sorted(map(list, package.circles))


@each_package
def test_arrows_back_are_still_needed(package):
    """An exception that nothing uses any more is taken off the list."""
    used = {(module, room_of(imported)) for module, imported in arrows_of(package)}
    assert set(package.arrows_back) <= used


@each_package
def test_no_module_bears_a_name_that_its_package_shows(package):
    """`package.name` is one thing, whatever was imported before it."""
    modules = modules_of(package)
    for module, path in modules.items():
        if path.name == "__init__.py":
            below = f"{module}." if module else ""
            taken = {name for name in names_shown_by(path) if f"{below}{name}" in modules}
            assert not taken, f"{module or package.name} shows and contains {taken}"


@each_package
def test_the_architecture_page_shows_the_rooms(package):
    """The page holds the rooms as they are checked here, and names every module of each."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert f"```text\n{rooms_as_text(package)}\n```" in page
    inside = [module for module in modules_of(package) if module.count(".") == 1]
    named = {module.rpartition(".")[2] for module in inside} - {"__main__"}
    assert sorted(name for name in named if f"`{name}" not in page) == []


@each_package
def test_modules_are_short(package):
    """A module above the limit is two things in one place, or is named with its reason."""
    long = {
        module
        for module, path in modules_of(package).items()
        if len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES
    }
    assert long == set(package.long_modules)


@each_package
def test_functions_are_short(package):
    """A function above the limit does two things, or is named with its reason."""
    limit = {True: MOST_DEVICE_LINES, False: MOST_FUNCTION_LINES}
    long = {
        f"{module}:{node.name}"
        for module, path in modules_of(package).items()
        for node, is_made_in_another, lines in functions_of(path)
        if lines > limit[is_made_in_another]
    }
    assert long == set(package.long_functions)


@each_package
def test_device_functions_have_few_parameters(package):
    """What goes together travels in a bundle, by name."""
    many = {
        f"{module}:{node.name}"
        for module, path in modules_of(package).items()
        for node, is_made_in_another, _ in functions_of(path)
        if is_made_in_another and len(node.args.args) > MOST_PARAMETERS
    }
    assert many == set()


def test_the_picture_shows_the_rooms():
    """It is drawn anew by `python -m tests.rooms`."""
    assert PICTURE.read_text(encoding="utf-8") == picture()


# ---- the scans themselves ------------------------------------------------------


def made(folder: Path, rooms: Mapping[str, tuple[str, ...]], files: Mapping[str, str]) -> Package:
    """Write a package to look at."""
    for name, text in files.items():
        path = folder / "sample" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Package("sample", folder / "sample", rooms)


@pytest.mark.parametrize(
    "late",
    [
        "from sample.upper.door import open",
        "def enter():\n    from sample.upper import door",
        "if TYPE_CHECKING:\n    import sample.upper.door",
    ],
)
def test_a_circle_is_found_however_it_is_hidden(tmp_path, late):
    """A circle through a late import, or one for type checkers, is a circle."""
    rooms = {"lower": (), "upper": ("lower",)}
    files = {"upper/door.py": "from sample.lower import wall", "lower/wall.py": late}
    package = made(tmp_path, rooms, files)
    assert circles(package) == [["lower.wall", "upper.door"]]
    assert forbidden_arrows(package) == ["lower.wall imports upper.door"]


def test_the_package_itself_is_imported_by_nobody_in_it(tmp_path):
    """The package's own init knows everything; to import it is to know everything, too."""
    files = {"__init__.py": "from sample.lower import wall", "lower.py": "from sample import wall"}
    package = made(tmp_path, {"lower": ()}, files)
    assert forbidden_arrows(package) == ["lower imports sample"]
