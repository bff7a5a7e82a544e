"""Right-hand sides that are added to what is there, made of generated modules' text."""

import ast
import functools

# No variable of a generated function begins with an underscore but those of loops.
FACTOR = "_factor"
_NAME, _OUTPUT = "rhs", "dy"


@functools.lru_cache(maxsize=64)
def added(source: str) -> str:
    """Return a module whose `rhs(..., dy, at, _factor)` adds to `_factor` times what `dy` holds.

    Each element of `dy` is stored once, which generated right-hand sides do, and not read.

    Parameters
    ----------
    source : str
        Text of a generated module, with `rhs(..., dy, at)`.

    Raises
    ------
    ValueError
        If the function reads what it stores.
    """
    tree = ast.parse(source)
    function = next(
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == _NAME
    )
    body = ast.Module(function.body, [])
    if any(_is_output(node, ast.Load) for node in ast.walk(body)):
        raise ValueError(f"`{_NAME}` reads `{_OUTPUT}`, so that nothing can be added to it")
    for node in ast.walk(body):
        if isinstance(node, ast.Assign) and _is_output(node.targets[0], ast.Store):
            node.value = _sum_with(node.targets[0], node.value)
    function.args.args.append(ast.arg(FACTOR))
    return f"{ast.unparse(ast.fix_missing_locations(tree))}\n"


def _is_output(node: ast.AST, context: type[ast.expr_context]) -> bool:
    return (
        isinstance(node, ast.Subscript)
        and isinstance(node.ctx, context)
        and isinstance(node.value, ast.Name)
        and node.value.id == _OUTPUT
    )


def _sum_with(target: ast.expr, value: ast.expr) -> ast.BinOp:
    assert isinstance(target, ast.Subscript)
    before = ast.Subscript(target.value, target.slice, ast.Load())
    return ast.BinOp(ast.BinOp(ast.Name(FACTOR, ast.Load()), ast.Mult(), before), ast.Add(), value)
