"""What the sources themselves must look like: who imports whom, who allocates, who knows a target.

All scans read syntax trees, so that a word in a comment or docstring is no finding and a
renamed import is one.
"""

import ast
import re
import tokenize
from functools import cache
from pathlib import Path

import networkx as nx
import pytest

from cubie_planner import check

ROOT = Path(__file__).resolve().parents[2]
CUBIE = ROOT / "src" / "cubie"
PLANNER = ROOT / "planner" / "cubie_planner"
MODULES = sorted(CUBIE.rglob("*.py"))
PLANNER_MODULES = sorted(PLANNER.rglob("*.py"))
BACKEND = CUBIE / "backend"
OUTSIDE_BACKEND = [path for path in MODULES if BACKEND not in path.parents]


@cache
def tree_of(path):
    """Parse a file once."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def is_type_checking(node):
    """Tell whether a node is the `if TYPE_CHECKING:` that hides imports from the interpreter."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def nodes_of(tree, but=lambda node: False):
    """Walk a tree, leaving out what lies below nodes that `but` names."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        stack += [child for child in ast.iter_child_nodes(node) if not but(child)]


@cache
def imports_of(tree):
    """Return the dotted names that a module imports when it runs, from functions too."""
    return tuple(_imports_of(tree))


def _imports_of(tree):
    for node in nodes_of(tree, but=is_type_checking):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def docstrings_of(tree):
    """Return the ids of all string nodes that only document."""
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def findings(path, found):
    """Report findings as file:line."""
    return [f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}" for node in found]


# ---- who imports whom (design.md: nothing flows back) ----------------------


def test_the_planner_imports_nothing_of_the_kernel_builder():
    """The planner is usable alone."""
    for path in PLANNER_MODULES:
        roots = {name.partition(".")[0] for name in imports_of(tree_of(path))}
        assert "cubie" not in roots, path.name


ODE_WORDS = re.compile(
    r"\b(odes?|runge|kutta|newton|krylov|rosenbrock|jacobians?|tableaus?|butcher|"
    r"integrat(e|or|ors|ion)|derivatives?|stiff|right-hand|rhs|solve_ivp|differential|"
    r"step_?sizes?|cubie)\b",
    re.IGNORECASE,
)


def test_the_planner_contains_no_word_of_differential_equations():
    """Neither names nor prose: it plans memory, whatever for (comments and docstrings count)."""
    found = []
    for path in PLANNER_MODULES:
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                words = token.string.replace("cubie_planner", "").replace("cubie-plan", "")
                if ODE_WORDS.search(words.replace("_", " ")) or ODE_WORDS.search(words):
                    found.append(f"{path.name}:{token.start[0]}: {token.string[:80]!r}")
    assert not found, "\n".join(found)


# What the checker may know, directly or through others: what it compares, and itself.
KNOWN_TO_THE_CHECKER = re.compile(
    r"cubie_planner\.(basics|declarations\.\w+|plans\.(answer|check\w*))(\.[A-Za-z_]+)?"
)


def planner_module(name):
    """Return the file of a module of the planner, or None for anything else."""
    path = PLANNER.parent.joinpath(*name.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file in PLANNER_MODULES), None)


def test_the_checker_shares_nothing_with_the_engines():
    """What the checker reaches, through however many modules, makes no plans."""
    waiting, seen = [check.__module__], set()
    while waiting:
        name = waiting.pop()
        path = planner_module(name)
        if name in seen or path is None:
            continue
        seen.add(name)
        imported = [n for n in imports_of(tree_of(path)) if n.startswith("cubie_planner")]
        if path.name != "__init__.py":
            waiting += imported
        modules = [n for n in imported if planner_module(n) is not None]
        assert all(KNOWN_TO_THE_CHECKER.fullmatch(n) for n in modules), (name, modules)
        assert not any(n.startswith("ortools") for n in imports_of(tree_of(path)))
    assert {"cubie_planner.plans.answer", "cubie_planner.declarations.buffers"} <= seen


def component_of(path):
    """Return the top-level module or package of cubie that a file belongs to."""
    return path.relative_to(CUBIE).parts[0].removesuffix(".py")


@cache
def import_graph():
    """Return which parts of cubie import which, without its public `__init__`."""
    parts = {component_of(path) for path in MODULES} - {"__init__"}
    graph = nx.DiGraph()
    graph.add_nodes_from(parts)
    for path in MODULES:
        for name in imports_of(tree_of(path)):
            pieces = name.split(".")
            if pieces[0] == "cubie" and len(pieces) > 1 and pieces[1] in parts:
                graph.add_edge(component_of(path), pieces[1])
    graph.remove_edges_from(nx.selfloop_edges(graph))
    graph.remove_nodes_from(set(graph) - parts)
    return graph


def test_no_part_imports_what_is_built_on_it():
    """The arrows between parts of the kernel builder have no cycle."""
    assert list(nx.simple_cycles(import_graph())) == []


# What a part may build on, directly or through others.
FOUNDATIONS = {
    "errors": set(),
    "status": set(),
    "tableaus": {"errors"},
    "reals": {"errors"},
    "cache": {"errors"},
    "backend": {"cache", "errors", "reals", "recent"},
    "numerics": {"backend", "cache", "errors", "reals", "recent"},
    "buffers": {"errors"},
    "recent": set(),
    "other_packages": set(),
    "factory": {"backend", "buffers", "cache", "errors", "other_packages", "reals", "recent"},
}


@pytest.mark.parametrize("part", FOUNDATIONS)
def test_a_foundation_builds_on_foundations_only(part):
    """The lowest parts know nothing of algorithms, systems or solvers."""
    assert nx.descendants(import_graph(), part) <= FOUNDATIONS[part]


def test_algorithms_and_controllers_do_not_know_the_loop():
    """What is called does not know its caller."""
    graph = import_graph()
    callers = {"run", "integrator", "launch", "solver"}
    for part in ("algorithms", "controllers", "solvers", "systems", "numerics"):
        assert not nx.descendants(graph, part) & callers, part


# ---- who knows a target (A3) ----------------------------------------------

TARGET_LIBRARIES = {"numba", "numba_cuda", "llvmlite", "cuda", "cupy"}
NEUTRAL_BACKEND = {"cubie.backend", "cubie.numerics.power"}
TARGET_NAME = re.compile(r"cuda_?sim|simulat|is_available|numba|njit|ENABLE_CUDA", re.IGNORECASE)
TARGET_WORD = re.compile(r"^(cuda|cpu|simulator|gpu)$|cudasim|numba", re.IGNORECASE)
# Neither chooses a target: names of libraries in a fingerprint of the user's code.
ALLOWED = {
    ("systems/references/libraries.py", "numba"),
    ("versions.py", "numba"),  # distributions whose versions are told
    ("versions.py", "numba-cuda"),
}


@pytest.mark.parametrize("path", OUTSIDE_BACKEND, ids=lambda path: path.stem)
def test_only_the_backend_imports_a_target(path):
    """Neither a compiler nor one target's module is imported elsewhere."""
    for name in imports_of(tree_of(path)):
        assert name.partition(".")[0] not in TARGET_LIBRARIES, name
        inside = name.removeprefix("cubie.backend.").partition(".")[0]
        if inside != name:  # what `cubie.backend` itself hands on, and no module of it
            assert not (BACKEND / inside).is_dir(), name
            assert not (BACKEND / f"{inside}.py").exists(), name


@pytest.mark.parametrize("path", OUTSIDE_BACKEND, ids=lambda path: path.stem)
def test_only_the_backend_mentions_a_target(path):
    """No name and no string asks which target is in use (docstrings may speak of them)."""
    tree = tree_of(path)
    documentation = docstrings_of(tree)

    def mentions(node):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return id(node) not in documentation and TARGET_WORD.search(node.value)
        name = {ast.Name: "id", ast.Attribute: "attr", ast.arg: "arg"}.get(type(node))
        return name is not None and TARGET_NAME.search(getattr(node, name))

    found = [
        node
        for node in ast.walk(tree)
        if mentions(node)
        and (path.relative_to(CUBIE).as_posix(), getattr(node, "value", None)) not in ALLOWED
    ]
    assert not found, findings(path, found)


# ---- who allocates (B10) ----------------------------------------------------

# Where allocators are made, and the shells that hand out a run's bytes.
ALLOCATING = {
    "backend/compiled.py": "allocators of the compiled targets, the persistent arena",
    "backend/interpreted/python.py": "allocators of the interpreted targets",
    "backend/interpreted/simulator.py": "shared memory and arena of a simulated block",
    "backend/foreign.py": "arrays that a user's own function gets as arguments",
    "backend/lanes/pieces.py": "what one piece of a long function hands to another, no buffer",
    "backend/cpu/refill.py": "a number of a group, no array",
    "backend/cuda/loops.py": "the counter of a loop, no array",
    "backend/cuda/slices.py": "a number of a thread's queue, no array",
    "backend/cuda/warps.py": "two numbers of a thread's queue, no array",
}
ALLOCATION = re.compile(r"(^|\.)(alloca|alloca_once|alloca_once_value)$|(local|shared)\.array$")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_arrays_of_a_run_are_allocated_by_allocators_only(path):
    """No local array, no shared array, no stack allocation outside the allocators' modules."""
    if path.relative_to(CUBIE).as_posix() in ALLOCATING:
        return
    tree = tree_of(path)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found = [node for node in calls if ALLOCATION.search(ast.unparse(node.func))]
    assert not found, findings(path, found)


def device_functions(tree):
    """Yield functions that are made inside others: component code is written as closures."""
    for outer in ast.walk(tree):
        if isinstance(outer, ast.FunctionDef):
            for inner in ast.walk(outer):
                if isinstance(inner, ast.FunctionDef) and inner is not outer:
                    yield inner


def is_component(path):
    """Tell whether a module declares buffers or builds device functions."""
    hosts = {"kernel", "integrator", "factory", "solver"}
    if BACKEND in path.parents or path.stem in hosts:
        return False
    builds = {"cubie.factory.BuildContext", "cubie.factory.CUDAFactory", "cubie.backend.Backend"}
    # Asked of all modules, each time that tests are collected: only where it may be so, a tree.
    words, text = {name.rpartition(".")[2] for name in builds}, path.read_text(encoding="utf-8")
    if not any(word in text for word in words):
        return False
    return bool(builds & set(imports_of(tree_of(path))))


COMPONENTS = [path for path in MODULES if is_component(path)]


def test_the_components_are_found():
    """The scans below look at the loop, the algorithms and the controllers at least."""
    assert {"loop", "erk", "adaptive", "initial_step"} <= {path.stem for path in COMPONENTS}


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.stem)
def test_device_code_cuts_no_slices_and_makes_no_arrays(path):
    """A sub-array is a buffer of its own, so that the planner sees it."""
    tree = tree_of(path)
    makers = re.compile(r"\.(empty|zeros|ones|full|array|view|reshape|copy|empty_like|zeros_like)$")
    found = [
        node
        for function in device_functions(tree)
        for node in ast.walk(function)
        if (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice))
        or (isinstance(node, ast.Call) and makers.search(ast.unparse(node.func)))
    ]
    assert not found, findings(path, found)


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.stem)
def test_a_runs_memory_is_only_handed_on(path):
    """A `Memory` is an argument of calls: nobody computes with the bases in it."""
    tree = tree_of(path)
    functions = list(device_functions(tree))
    bases = [
        node
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and node.id == "memory"
    ]
    handed_on = {
        id(argument.value if isinstance(argument, ast.Attribute) else argument)
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        for argument in node.args
    }
    assert not [node for node in bases if id(node) not in handed_on]


def calls_of(tree, method):
    """Yield the calls of a method, whatever object it is a method of."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(f".{method}"):
            yield node


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.stem)
def test_every_allocator_is_of_a_buffer_registered_next_to_it(path):
    """A name asked of `context.allocator` is registered in the same file (B12)."""
    registered = {
        constant.value
        for function in ast.walk(tree_of(path))
        if isinstance(function, ast.FunctionDef) and any(calls_of(function, "register_buffer"))
        for constant in ast.walk(function)
        if isinstance(constant, ast.Constant)
    }
    asked = [call.args[0] for call in calls_of(tree_of(path), "allocator")]
    named = {name.value for name in asked if isinstance(name, ast.Constant)}
    assert named <= registered


# ---- the scans themselves ---------------------------------------------------


def test_a_scan_finds_what_it_looks_for():
    """Each rule fires on a line that breaks it."""
    assert ALLOCATION.search("cuda.local.array")
    assert ALLOCATION.search("cgutils.alloca_once")
    assert not ALLOCATION.search("np.array")
    assert TARGET_WORD.search("cuda")
    assert TARGET_NAME.search("cuda_is_available")
    assert not TARGET_NAME.search("CUDAFactory")
    assert ODE_WORDS.search("the jacobian of")
    hidden = ast.parse("if TYPE_CHECKING:\n    import cubie.run.loop\nimport math")
    assert list(imports_of(hidden)) == ["math"]
    closure = ast.parse("def build():\n    def device(b):\n        return b[1:2]")
    assert [function.name for function in device_functions(closure)] == ["device"]
