"""The generated module of a system's derivatives."""

from cubie.systems.derivatives_rules import by_columns, sparse_jacobian, tangents
from cubie.systems.expression import Expr, Graph, add, mul
from cubie.systems.source import Writer, import_lines
from cubie.systems.symbolic import expressions

_JACOBIAN = "jacobian(t, y, p, jac, at)", "jac[at + k] = entry k of PATTERN of df/dy."
_JVP = "jvp(t, y, p, vec, vec_at, out, at)", "out[at + i] = sum of (df_i/dy_j) * vec[vec_at + j]."
_DIAGONAL = "diagonal(t, y, p, out, at)", "out[at + i] = df_i/dy_i."
_TIME = "time_derivative(t, y, p, out, at)", "out[at + i] = partial derivative of f_i by t."


Head = tuple[str, str]  # signature and docstring


def write_derivatives(system):
    """Return the source of the module with all functions of `Derivatives.module`."""
    entries, autonomous, functions = (_given if system.jacobian_rows else _derive)(system)
    body = "\n\n\n".join(_function_text(head, writer) for head, writer in functions)
    modules = set().union(*(writer.modules for _, writer in functions))
    pattern = "".join(f"    {position},\n" for position in entries)
    return (
        f'"""Derivatives of the right-hand side {system.digest}: {len(entries)} entries.\n\n'
        f'Written by cubie: changes are overwritten.\n"""\n{import_lines(modules)}\n'
        f"PATTERN = (\n{pattern})\n"
        f"AUTONOMOUS = {autonomous}\n\n\n{body}\n"
    )


def _given(system):
    """Return what the user's Jacobian says: no derivative by time."""
    graph = Graph()
    rows = [expressions(row, graph)[1] for row in system.jacobian_rows]
    jacobian = {
        (i, j): entry
        for i, row in enumerate(rows)
        for j, entry in enumerate(row)
        if type(entry) is Expr or entry != 0.0
    }
    jacobian = by_columns(jacobian)
    product = [0.0] * system.n_states
    for (i, j), entry in jacobian.items():
        product[i] = add(product[i], mul(entry, graph.leaf("vec", j)))
    return tuple(jacobian), False, _functions(system, jacobian, product, None)


def _derive(system):
    graph, outputs = expressions(system)
    n = system.n_states
    states = [graph.leaf("y", i) for i in range(n)]
    jacobian = sparse_jacobian(outputs, states)
    direction = {state: graph.leaf("vec", i) for i, state in enumerate(states)}
    by_time = tangents(outputs, {graph.leaf("t"): 1.0})
    autonomous = not any(type(d) is Expr or d != 0.0 for d in by_time)
    functions = _functions(system, jacobian, tangents(outputs, direction), by_time)
    return tuple(jacobian), autonomous, functions


def _functions(system, jacobian, product, by_time):
    """Return (head, writer) of each function of the module."""
    n = system.n_states

    def written(values, target, arguments=None, reserved=()):
        names = system.state_names, system.parameter_names
        writer = Writer(*names, target=target, arguments=arguments, reserved=reserved)
        writer.write(values)
        return writer

    vector = {"vec": [f"vec[vec_at + {i}]" for i in range(n)]}
    functions = [
        (_JACOBIAN, written(list(jacobian.values()), "jac")),
        (_JVP, written(product, "out", vector, ("vec", "vec_at"))),
        (_DIAGONAL, written([jacobian.get((i, i), 0.0) for i in range(n)], "out")),
    ]
    if by_time is not None:
        functions.append((_TIME, written(by_time, "out")))
    return functions


def _function_text(head: Head, writer):
    signature, docstring = head
    lines = "\n".join(f"    {line}" for line in writer.lines) or "    pass"
    return f'def {signature}:\n    """{docstring}"""\n{lines}'
