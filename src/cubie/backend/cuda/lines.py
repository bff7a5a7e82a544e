"""Source lines of a device function's instructions, as LLVM writes them beside the code.

No more than that: which variables there are, and of what types, nobody asks of such code.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from llvmlite import ir
from numba.cuda import cgutils

DWARF_VERSION = 4
DEBUG_INFO_VERSION = 3
_TAKE_THE_LATER = 2  # of modules that are linked: a warning where they disagree


class Lines:
    """Lines of one function, which is the only one of its module.

    Parameters
    ----------
    module : llvmlite.ir.Module
    function : callable
        The Python function.
    """

    def __init__(self, module, function: Callable):
        self._module, self._marks = module, {}
        code = function.__code__
        path = Path(code.co_filename).absolute()
        self._first = code.co_firstlineno
        self._file = module.add_debug_info(
            "DIFile", {"directory": str(path.parent), "filename": path.name}
        )
        self._unit = module.add_debug_info(
            "DICompileUnit",
            {
                "language": ir.DIToken("DW_LANG_C_plus_plus"),
                "file": self._file,
                "producer": "cubie",
                "runtimeVersion": 0,
                "isOptimized": True,
                "emissionKind": ir.DIToken("DebugDirectivesOnly"),
            },
            is_distinct=True,
        )
        cgutils.get_or_insert_named_metadata(module, "llvm.dbg.cu").add(self._unit)
        flags = cgutils.get_or_insert_named_metadata(module, "llvm.module.flags")
        word = ir.IntType(32)
        for name, version in (
            ("Dwarf Version", DWARF_VERSION),
            ("Debug Info Version", DEBUG_INFO_VERSION),
        ):
            flags.add(module.add_metadata([word(_TAKE_THE_LATER), name, word(version)]))
        kind = module.add_debug_info("DISubroutineType", {"types": module.add_metadata([])})
        self._scope = module.add_debug_info(
            "DISubprogram",
            {
                "name": function.__qualname__,
                "scope": self._file,
                "file": self._file,
                "line": self._first,
                "type": kind,
                "isLocal": False,
                "isDefinition": True,
                "scopeLine": self._first,
                "isOptimized": True,
                "unit": self._unit,
            },
            is_distinct=True,
        )

    def mark(self, builder, line: int) -> None:
        """Mark instructions that are built from now on by a line."""
        if "dbg" not in builder.function.metadata:
            builder.function.set_metadata("dbg", self._scope)
        if line not in self._marks:
            self._marks[line] = self._module.add_debug_info(
                "DILocation", {"line": line, "column": 1, "scope": self._scope}
            )
        builder.debug_metadata = self._marks[line]
