"""What the bytecode of a function says about where it looks: names, imports, and blind spots."""

import builtins
import dis
import functools
import types
from collections.abc import Iterator

# With these a function reads what no walk over its surroundings can find.
_UNSEEN = frozenset({"__import__", "compile", "eval", "exec", "globals", "input", "open"})
# With these it may read any attribute, under a name made while it runs.
_ANY_ATTRIBUTE = frozenset({"dir", "getattr", "hasattr", "vars"})

_EXTENDED = dis.opmap["EXTENDED_ARG"]
_IMPORT = dis.opmap["IMPORT_NAME"]
# Operation: how far its argument is shifted from the number of a name.
_GLOBALS = {dis.opmap["LOAD_GLOBAL"]: 1} | {
    dis.opmap[name]: 0
    for name in ("LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS")
    if name in dis.opmap
}


@functools.cache
def names_of(code: types.CodeType) -> frozenset[str]:
    """Return all names that a code object, or one nested in it, may look up outside itself."""
    return frozenset().union(*(part.co_names for part in nested(code)))


@functools.cache
def globals_of(code: types.CodeType) -> frozenset[str]:
    """Return the names that it, or code nested in it, looks up as globals, not as attributes."""
    return frozenset(
        part.co_names[argument >> _GLOBALS[operation]]
        for part in nested(code)
        for operation, argument in _operations(part)
        if operation in _GLOBALS
    )


@functools.cache
def imports_of(code: types.CodeType) -> tuple[tuple[int, str, tuple[str, ...]], ...]:
    """Return (level, module, names taken from it) of every import inside a function."""
    found = []
    for part in nested(code):
        if _IMPORT not in (operation for operation, _ in _operations(part)):
            continue
        instructions = list(dis.get_instructions(part))
        for i, instruction in enumerate(instructions):
            if instruction.opname == "IMPORT_NAME":
                level, taken = instructions[i - 2].argval, instructions[i - 1].argval
                found.append((level, instruction.argval, tuple(taken or ())))
    return tuple(found)


def reads_unseen(code: types.CodeType, namespace: dict) -> bool:
    """Tell whether a function may read what no walk finds: files, or other code's names."""
    return any(_is_builtin(name, namespace) for name in globals_of(code) & _UNSEEN)


def reads_any_attribute(code: types.CodeType, namespace: dict) -> bool:
    """Tell whether a function may read attributes whose names are not in its code."""
    return any(_is_builtin(name, namespace) for name in globals_of(code) & _ANY_ATTRIBUTE)


def nested(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield a code object and all that are written inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from nested(constant)


def _operations(code: types.CodeType) -> Iterator[tuple[int, int]]:
    """Yield operations and arguments; many times faster than `dis`, which a test compares with."""
    high, text = 0, code.co_code
    for operation, low in zip(text[::2], text[1::2], strict=True):
        argument = high | low
        if operation == _EXTENDED:
            high = argument << 8
        else:
            yield operation, argument
            high = 0


def _is_builtin(name: str, namespace: dict) -> bool:
    return namespace.get(name, getattr(builtins, name)) is getattr(builtins, name)
