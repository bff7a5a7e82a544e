"""Machine code written as the disassembler does."""

from cubie_planner.assembler.instructions import read_code
from cubie_planner.assembler.machine_code import MachineCode


def listing(*functions: tuple[str, str]) -> str:
    """Write functions as the disassembler does; labels and ``##`` lines stand alone."""
    lines = []
    for name, text in functions:
        lines += [f"{name}:", f".text.{name}:"]
        address = 0
        for line in filter(None, map(str.strip, text.splitlines())):
            if line.endswith(":"):
                lines.append(line)
            elif line.startswith("##"):
                lines.append(f"\t//{line}")
            else:
                lines.append(f"        /*{address:04x}*/                   {line} ;")
                address += 16
    return "\n".join(lines)


def machine_code(text: str, *others: tuple[str, str]) -> MachineCode:
    """Return the code of a kernel and of functions that it calls."""
    codes = read_code(listing(("kernel", text), *others))
    return MachineCode(codes, codes["kernel"])
