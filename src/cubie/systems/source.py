"""From expressions to the text of a Python function."""

import keyword
import math
import re
from collections.abc import Mapping
from types import MappingProxyType

from cubie.systems.drivers.calls import NONE, Calls, calls_of, drivers_called
from cubie.systems.rolling.common import COMMON
from cubie.systems.rolling.loops import RESERVED as OF_LOOPS
from cubie.systems.rolling.loops import Tables, write_loops
from cubie.systems.rolling.products import with_products_written, write_product
from cubie.systems.rolling.rolled import MOST_COMMON, rolled
from cubie.systems.tracing.expression import Expr
from cubie.systems.tracing.nodes import MASK_OPERATORS, reachable
from cubie.systems.tracing.operations import FROM_BACKEND, PRIMITIVES
from cubie.systems.tracing.products import expanded

# How tightly an operator binds in Python.
BINDING = {"|": 1, "^": 2, "&": 3, "+": 4, "-": 4, "*": 5, "/": 5, "~": 6, "neg": 6}
COMPARISON_BINDING = 0
ATOM = 9
LONGEST_EXPRESSION = 76
RESERVED = frozenset({"t", "y", "p", "dy", "at", "math", "rhs", *FROM_BACKEND, *OF_LOOPS})


class _Elements:
    """The text of each element of an array."""

    def __init__(self, array):
        self.array = array

    def __getitem__(self, index):
        return f"{self.array}[{index}]"


class Writer:
    """Writes the statements of one function.

    Parameters
    ----------
    state_names, parameter_names : sequences of str
        Local variables are called like these, as far as they can be.
    target : str
        Argument of the function that the outputs are stored in.
    arguments : mapping of str to sequence of str, optional
        Further vectors the function reads, with the text of each entry: `{"v": ["v[0]", ...]}`.
    reserved : collection of str
        Names of the function's other arguments.
    calls : Calls, optional
        Calls of drivers, whose values it reads in the array `d`.
    """

    def __init__(
        self, state_names, parameter_names, target="dy", arguments=None, reserved=(), calls=NONE
    ):
        self.lines = []
        self.modules = set()
        self.slots = calls.slots
        self.common: Mapping[int, int] = {}
        self.n_common = 0
        self.beside_products = False  # of large matrices: there text gains nothing
        self.taken = {*RESERVED, target, *reserved, *(("d",) if calls.slots else ())}
        self.target, self.begin = target, f"{target}[at + "
        self.text = {}
        self.names = {
            "y": [self._variable(name) for name in state_names],
            "p": [self._variable(name) for name in parameter_names],
        }
        self.entries = dict(arguments or {})
        self._temporaries = 0

    def _variable(self, name):
        base = re.sub(r"\W+", "_", name).strip("_")
        if not base or base[0].isdigit() or keyword.iskeyword(base):
            base = f"v_{base}"
        candidate, suffix = base, 1
        while candidate in self.taken:
            suffix += 1
            candidate = f"{base}_{suffix}"
        self.taken.add(candidate)
        return candidate

    def _temporary(self):
        while True:
            name = f"x{self._temporaries}"
            self._temporaries += 1
            if name not in self.taken:
                return name

    def write(self, outputs, replaced=(), places=None):
        """Write `target[at + i] = outputs[i]`, each as soon as what it needs is there.

        Parameters
        ----------
        outputs : sequence of Expr or float
        replaced : sequence of Expr, optional
            Leaf i is read before output i is stored, if at all: `target` may be the vector of
            these leaves.
        places : sequence of str, optional
            Where each output goes instead.
        """
        uses = self._count_uses(outputs)
        done = set()
        for i, output in enumerate(outputs):
            overwritten = [leaf for leaf in replaced[i : i + 1] if leaf.serial in uses]
            place = f"{self.begin}{i}]" if places is None else places[i]
            self._store(place, output, overwritten, uses, done)

    def write_rolled(
        self,
        outputs,
        tables,
        before: Mapping[str, str] = MappingProxyType({}),
        keeps_common: bool = False,
    ):
        """Write outputs in loops, if they repeat a form often enough; tell whether they do.

        Parameters
        ----------
        outputs : sequence of Expr or float
        tables : Tables
            Of the module.
        before : mapping of str to str
            What is added to the indices of a further vector: `{"v": "v_at + "}`.
        keeps_common : bool
            There is an array for what outputs have in common, of `n_common` elements.
        """
        most_common = MOST_COMMON * len(self.names["y"]) if keeps_common else 0
        found = rolled(outputs, self.as_leaf, most_common, self.n_common, self.beside_products)
        if found is not None:
            self.common = found.kept
            self.reserve(len(found.kept))
            write_loops(self, found, tables, before)
        return found is not None

    def write_values(self, values, tables, before):
        """Write values, in loops or as text; return where what they have in common is kept."""
        if not self.write_rolled(values, tables, before, keeps_common=True):
            self.write(values)
        kept, self.common = self.common, {}
        return kept

    def write_products(self, outputs, tables, before: Mapping[str, str] = MappingProxyType({})):
        """Write products that outputs need, in loops; return outputs that read what they give."""
        self.entries[COMMON] = _Elements(COMMON)
        return with_products_written(self, outputs, tables, before)

    def reserve(self, n):
        """Return the first of `n` further elements of the array of common values."""
        first, self.n_common = self.n_common, self.n_common + n
        return first

    def as_leaf(self, node):
        """Return of which array a node is an element, and which; None for what is computed."""
        if node.serial in self.slots:
            return "d", self.slots[node.serial]
        if node.op in ("t", "y", "p") or node.op in self.entries:
            return node.op, node.operands[0]
        return None

    def write_arguments(self, calls):
        """Write `d[slot] = argument` for each (call, argument)."""
        uses, done = self._count_uses([argument for _, argument in calls]), set()
        for (slot, _, _), argument in calls:
            self._store(f"d[{slot}]", argument, (), uses, done)

    def _store(self, target, output, before, uses, done):
        for node in self._pending([*before, output], done):
            self._statement(node, uses[node.serial])
        self.lines.append(f"{target} = {self.operand(output, COMPARISON_BINDING)}")

    def _statement(self, node, uses):
        if node.op == "t":
            self.text[node.serial] = ("t", ATOM)
            return
        if node.op in self.entries:
            name = entry = self.entries[node.op][node.operands[0]]
            if not entry.isidentifier():
                name = self._temporary()
                self.lines.append(f"{name} = {entry}")
            self.text[node.serial] = (name, ATOM)
            return
        if node.op in ("y", "p"):
            name = self.names[node.op][node.operands[0]]
            self.lines.append(f"{name} = {node.op}[{node.operands[0]}]")
            self.text[node.serial] = (name, ATOM)
            return
        text, binding = self._expression(node)
        shared = uses > 1 and not (node.op == "neg" and text[1:].isidentifier())
        if shared or len(text) > LONGEST_EXPRESSION:
            name = self._temporary()
            self.lines.append(f"{name} = {text}")
            text, binding = name, ATOM
        self.text[node.serial] = (text, binding)

    def _expression(self, node):
        op, operands = node.op, node.operands
        if node.serial in self.slots:
            return f"d[{self.slots[node.serial]}]", ATOM
        if node.serial in self.common:
            return f"{COMMON}[{self.common[node.serial]}]", ATOM
        if op in PRIMITIVES:
            inside = ", ".join(self.operand(a, COMPARISON_BINDING) for a in operands)
            if op in FROM_BACKEND:
                self.modules.add(op)
                return f"{op}({inside})", ATOM
            self.modules.add("math")
            return f"math.{op}({inside})", ATOM
        if op == "neg":
            return f"-{self.operand(operands[0], BINDING[op])}", BINDING[op]
        if op == "~":
            return f"~{self.operand(operands[0], ATOM)}", BINDING[op]
        if op in MASK_OPERATORS and op not in BINDING:
            left, right = (self.operand(a, COMPARISON_BINDING + 1) for a in operands)
            return f"{left} {op} {right}", COMPARISON_BINDING
        binding = BINDING[op]
        left = self.operand(operands[0], binding)
        # The right operand keeps its brackets: the user's order of rounding is kept.
        return f"{left} {op} {self.operand(operands[1], binding + 1)}", binding

    def _operands(self, node):
        """Return the expressions that a node is written in terms of."""
        if node.serial in self.slots or node.serial in self.common:
            return ()
        return [a for a in node.operands if type(a) is Expr]

    def _count_uses(self, outputs):
        """Return how often each node is an operand, or an output, of something reached."""
        uses, seen = {}, set()
        stack = [output for output in outputs if type(output) is Expr]
        for output in stack:
            uses[output.serial] = uses.get(output.serial, 0) + 1
        while stack:
            node = stack.pop()
            if node.serial in seen:
                continue
            seen.add(node.serial)
            for a in self._operands(node):
                uses[a.serial] = uses.get(a.serial, 0) + 1
                stack.append(a)
        return uses

    def _pending(self, needed, done):
        """Return what these need and is not written yet; operands come before their users."""
        found = []
        stack = list(needed)
        while stack:
            node = stack.pop()
            if type(node) is not Expr or node.serial in done:
                continue
            done.add(node.serial)
            found.append(node)
            stack.extend(self._operands(node))
        return sorted(found, key=lambda node: node.serial)

    def operand(self, value, binding):
        """Return the text of an operand, in brackets where Python would read it otherwise."""
        if type(value) is not Expr:
            text, own = self._constant(value)
        else:
            text, own = self.text[value.serial]
        return text if own >= binding else f"({text})"

    def _constant(self, value):
        if math.isfinite(value):
            return repr(float(value)), (BINDING["neg"] if value < 0.0 else ATOM)
        self.modules.add("math")
        if math.isnan(value):
            return "math.nan", ATOM
        return ("math.inf", ATOM) if value > 0.0 else ("-math.inf", BINDING["neg"])


def write_module(
    outputs, title, state_names, parameter_names, in_place=True, structures=MappingProxyType({}),
    write=None,
):  # fmt: skip
    """Return the source of the module that holds `rhs(t, y, p, dy, at)`.

    With `at` zero, `dy` may be `y`: no state is read after its derivative is stored. Unless
    `in_place` is False, as for outputs that are no derivatives, or the module says so itself.
    Where drivers are called, `rhs(t, y, p, d, dy, at)` reads what is looked up before. Where rows
    have values in common, an array of `RHS_COMMON` elements for them comes before `dy`.

    Parameters
    ----------
    outputs : sequence of Expr or float
        Derivative of each state, or other outputs.
    title : str
        First line of the module's docstring.
    structures : mapping of int to tuple
        Of each driver that is called, what code depends on.
    write : callable, optional
        ``write(writer)`` writes the outputs otherwise, with common values.
    """
    graph = next((output.graph for output in outputs if type(output) is Expr), None)
    replaced = [graph.leaf("y", i) for i in range(len(outputs))] if graph and in_place else ()
    numbers = {number: k for k, number in enumerate(drivers_called(reachable(outputs)))}
    if numbers or not in_place:
        # Arguments of drivers are text, and other outputs have no array for common values.
        outputs = expanded(outputs)
    calls = calls_of(reachable(outputs), numbers)
    writer, tables = Writer(state_names, parameter_names, calls=calls), Tables()
    in_loops = write is not None
    if write is not None:
        write(writer)
    else:
        outputs = writer.write_products(outputs, tables)
        in_loops = writer.write_rolled(outputs, tables, keeps_common=in_place)
    if not in_loops:
        writer.write(outputs, replaced)
    facts, before, modules = "", "", writer.modules | tables.modules
    if numbers:
        facts = f"\nDRIVERS = {tuple(structures[number] for number in numbers)!r}\n"
        given, before, more = argument_functions("rhs", calls, state_names, parameter_names)
        facts, modules = facts + given, modules | more
    if in_loops or tables.products:
        facts += "\nIN_PLACE = False\n" + common_fact("rhs", writer) + lines_of(tables)
        before = f"{functions_of(tables)}{before}"
    vectors = f"{'d, ' if numbers else ''}{f'{COMMON}, ' if writer.n_common else ''}"
    body = "\n".join(f"    {line}" for line in writer.lines)
    return (
        f'"""{title}\n\n'
        f"Written by cubie: changes are overwritten.\n"
        f'"""\n{import_lines(modules)}{facts}\n{before}\n'
        f"def rhs(t, y, p, {vectors}dy, at):\n"
        f'    """dy[at + i] = f_i(t, y, p)."""\n{body}\n'
    )


def argument_functions(name, calls: Calls, state_names, parameter_names):
    """Return the facts about a function's calls, the functions that store arguments, modules."""
    facts = f"{name.upper()}_DRIVEN = {calls.driven!r}\n{name.upper()}_CALLS = {calls.facts!r}\n"
    functions, modules = [], set()
    for number, each in enumerate(calls.rounds):
        writer = Writer(state_names, parameter_names, calls=calls)
        writer.write_arguments(each)
        modules |= writer.modules
        body = "\n".join(f"    {line}" for line in writer.lines)
        functions.append(
            f"\ndef {name}_arguments_{number}(t, y, p, d):\n"
            f'    """d[slot] = the argument of the call that it is for."""\n{body}\n\n'
        )
    return facts, "".join(functions), modules


def common_fact(name, writer):
    """Return the statement that says how many values a function keeps; nothing for none."""
    return f"{name.upper()}_COMMON = {writer.n_common}\n" if writer.n_common else ""


def lines_of(tables):
    """Return the statements that define tables, and what products are of which."""
    lines = "".join(f"{line}\n" for line in tables.lines)
    return f"{lines}PRODUCTS = {tables.facts!r}\n" if tables.products else lines


def functions_of(tables):
    """Return the functions that multiply matrices by vectors."""
    texts = (write_product(name, *facts) for name, facts in tables.products.items())
    return "".join(f"\n{text}\n\n" for text in texts)


def import_lines(modules):
    """Return the import statements of a generated module, each after an empty line."""
    imports = ["import math\n"] if "math" in modules else []
    from_backend = sorted(modules & {*FROM_BACKEND, "table"})
    if from_backend:
        imports.append(f"from cubie.backend import {', '.join(from_backend)}\n")
    return "".join(f"\n{line}" for line in imports)
