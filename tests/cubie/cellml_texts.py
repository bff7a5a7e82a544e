"""CellML models written in tests: equations go as text, and become MathML.

``python -m tests.cubie.cellml_texts`` writes those of docs/models anew.
"""

from __future__ import annotations

import ast
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "models"
OPERATORS = {ast.Add: "plus", ast.Sub: "minus", ast.Mult: "times", ast.Div: "divide"} | {
    **{ast.Pow: "power", ast.And: "and", ast.Or: "or"},
    **{ast.Lt: "lt", ast.LtE: "leq", ast.Gt: "gt", ast.GtE: "geq", ast.Eq: "eq"},
}


def _apply(function: str, *inside: str) -> str:
    return f"<apply><{function}/>{''.join(inside)}</apply>"


def _math(node: ast.expr) -> str:
    """Return an expression of Python's as MathML; numbers have no dimension."""
    match node:
        case ast.Name(id=name):
            return f"<ci>{name}</ci>"
        case ast.Constant(value=value):
            mantissa, _, exponent = repr(value).partition("e")
            if exponent:
                number = f"{mantissa}<sep/>{int(exponent)}"
                return f'<cn cellml:units="dimensionless" type="e-notation">{number}</cn>'
            return f'<cn cellml:units="dimensionless">{value}</cn>'
        case ast.BinOp(left=left, op=op, right=right):
            return _apply(OPERATORS[type(op)], _math(left), _math(right))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _apply("not", _math(operand))
        case ast.UnaryOp(operand=operand):
            return _apply("minus", _math(operand))
        case ast.BoolOp(op=op, values=values):
            return _apply(OPERATORS[type(op)], *map(_math, values))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _apply(OPERATORS[type(op)], _math(left), _math(right))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            piece = f"<piece>{_math(body)}{_math(test)}</piece>"
            return f"<piecewise>{piece}<otherwise>{_math(orelse)}</otherwise></piecewise>"
        case ast.Call(func=ast.Name(id="diff"), args=[of, by]):
            return f"<apply><diff/><bvar>{_math(by)}</bvar>{_math(of)}</apply>"
        case ast.Call(func=ast.Name(id=function), args=args):
            return _apply(function, *map(_math, args))
    raise TypeError(ast.dump(node))


def _equation(text: str) -> str:
    left, _, right = text.partition(" = ")
    sides = (_math(ast.parse(side.strip(), mode="eval").body) for side in (left, right))
    return f"      {_apply('eq', *sides)}\n"


def component(name: str, variables: str, equations: str = "") -> str:
    """Return a component.

    Parameters
    ----------
    variables : str
        A line for each, as "V mV = -84.6", without a number for what equations determine.
    equations : str
        A line for each, as "diff(V, t) = -i / C".
    """
    lines = [f'  <component name="{name}">\n']
    for line in filter(None, map(str.strip, variables.splitlines())):
        declared, _, value = line.partition(" = ")
        variable, units = declared.split()
        start = f' initial_value="{value}"' if value else ""
        both = 'interface="public_and_private"'
        lines.append(f'    <variable name="{variable}" units="{units}" {both}{start}/>\n')
    found = [_equation(line) for line in map(str.strip, equations.splitlines()) if line]
    if found:
        math = "".join(found)
        lines.append(f'    <math xmlns="http://www.w3.org/1998/Math/MathML">\n{math}    </math>\n')
    return "".join([*lines, "  </component>\n"])


def connection(first: str, second: str, *variables: str) -> str:
    """Return what joins two components; "a b" joins `a` of the first and `b` of the second."""
    pairs = [(*one.split(), one)[:2] for one in variables]
    maps = "".join(f'    <map_variables variable_1="{a}" variable_2="{b}"/>\n' for a, b in pairs)
    return f'  <connection component_1="{first}" component_2="{second}">\n{maps}  </connection>\n'


def units(**made: str) -> str:
    """Return units; "milli volt, second -1" is millivolts per second."""
    lines = []
    for name, text in made.items():
        lines.append(f'  <units name="{name}">\n')
        for part in text.split(","):
            *prefix, unit, exponent = part.split() if part.split()[-1][-1].isdigit() else [
                *part.split(), "1"
            ]  # fmt: skip
            scale = f' prefix="{prefix[0]}"' if prefix else ""
            lines.append(f'    <unit units="{unit}"{scale} exponent="{exponent}"/>\n')
        lines.append("  </units>\n")
    return "".join(lines)


def cellml(name: str, *parts: str) -> str:
    """Return a model in CellML 2.0."""
    space = "http://www.cellml.org/cellml/2.0#"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<model xmlns="{space}" xmlns:cellml="{space}" '
        f'name="{name}">\n{"".join(parts)}</model>\n'
    )


BIOLOGICAL = units(
    ms="milli second", per_ms="milli second -1", mV="milli volt",
    uF_per_cm2="micro farad, centi metre -2", mS_per_cm2="milli siemens, centi metre -2",
    uA_per_cm2="micro ampere, centi metre -2",
)  # fmt: skip


def gate(name: str, alpha: str, beta: str, start: float, voltage: str = "V") -> str:
    """Return a component with a gate, that opens at the rate alpha and closes at beta."""
    return component(
        name,
        f"t ms\n{voltage} mV\n{name} dimensionless = {start}\nalpha per_ms\nbeta per_ms",
        f"""alpha = {alpha}
        beta = {beta}
        diff({name}, t) = alpha * (1 - {name}) - beta * {name}""",
    )


def hodgkin_huxley() -> str:
    """Return the axon of Hodgkin and Huxley, J Physiol 117, 1952, pages 518 to 519.

    V is what the membrane is depolarised by from rest: the minus of theirs.
    """
    gates = (
        gate("m", "0.1 * (25 - V) / (exp((25 - V) / 10) - 1)", "4 * exp(-V / 18)", 0.0529),
        gate("h", "0.07 * exp(-V / 20)", "1 / (exp((30 - V) / 10) + 1)", 0.5961),
        gate("n", "0.01 * (10 - V) / (exp((10 - V) / 10) - 1)", "0.125 * exp(-V / 80)", 0.3177),
    )
    membrane = component(
        "membrane",
        """t ms
        V mV = 7
        C uF_per_cm2 = 1
        i_Na uA_per_cm2
        i_K uA_per_cm2
        i_l uA_per_cm2""",
        "diff(V, t) = -(i_Na + i_K + i_l) / C",
    )
    currents = (
        component("sodium", "V mV\ng mS_per_cm2 = 120\nV_Na mV = 115\nm dimensionless\n"
                  "h dimensionless\ni uA_per_cm2", "i = g * power(m, 3) * h * (V - V_Na)"),
        component("potassium", "V mV\ng mS_per_cm2 = 36\nV_K mV = -12\nn dimensionless\n"
                  "i uA_per_cm2", "i = g * power(n, 4) * (V - V_K)"),
        component("leak", "V mV\ng mS_per_cm2 = 0.3\nV_l mV = 10.613\ni uA_per_cm2",
                  "i = g * (V - V_l)"),
    )  # fmt: skip
    return cellml(
        "hodgkin_huxley_1952", BIOLOGICAL, membrane, *currents, *gates,
        connection("membrane", "sodium", "V", "i_Na i"),
        connection("membrane", "potassium", "V", "i_K i"),
        connection("membrane", "leak", "V", "i_l i"),
        *(connection("membrane", name, "t", "V") for name in "mhn"),
        connection("sodium", "m", "m"), connection("sodium", "h", "h"),
        connection("potassium", "n", "n"),
    )  # fmt: skip


# Beeler and Reuter, J Physiol 268, 1977, table 1: C1 to C7 of alpha and of beta.
BEELER_REUTER = {
    "x1": ((0.0005, 0.083, 50, 0, 0, 0.057, 1), (0.0013, -0.06, 20, 0, 0, -0.04, 1)),
    "m": ((0, 0, 47, -1, 47, -0.1, -1), (40, -0.056, 72, 0, 0, 0, 0)),
    "h": ((0.126, -0.25, 77, 0, 0, 0, 0), (1.7, 0, 22.5, 0, 0, -0.082, 1)),
    "j": ((0.055, -0.25, 78, 0, 0, -0.2, 1), (0.3, 0, 32, 0, 0, -0.1, 1)),
    "d": ((0.095, -0.01, -5, 0, 0, -0.072, 1), (0.07, -0.017, 44, 0, 0, 0.05, 1)),
    "f": ((0.012, -0.008, 28, 0, 0, 0.15, 1), (0.0065, -0.02, 30, 0, 0, -0.2, 1)),
}
RESTING = {"x1": 0.0057, "m": 0.011, "h": 0.988, "j": 0.975, "d": 0.003, "f": 0.994}


def _rate(constants: tuple[float, ...]) -> str:
    c1, c2, c3, c4, c5, c6, c7 = constants
    terms = [f"{c1} * exp({c2} * (V + {c3}))"] if c1 else []
    terms += [f"{c4} * (V + {c5})"] if c4 else []
    below = f"exp({c6} * (V + {c3}))" if c6 else "1"
    return f"({' + '.join(terms)}) / ({below} + {c7})"


def beeler_reuter() -> str:
    """Return the ventricular cell of Beeler and Reuter; calcium in moles per litre."""
    currents = {
        "i_K1": "0.35 * (4 * (exp(0.04 * (V + 85)) - 1) / (exp(0.08 * (V + 53)) + "
        "exp(0.04 * (V + 53))) + 0.2 * (V + 23) / (1 - exp(-0.04 * (V + 23))))",
        "i_x1": "x1 * 0.8 * (exp(0.04 * (V + 77)) - 1) / exp(0.04 * (V + 35))",
        "i_Na": "(g_Na * power(m, 3) * h * j + g_NaC) * (V - E_Na)",
        "i_s": "g_s * d * f * (V + 82.3 + 13.0287 * ln(Ca))",
    }
    membrane = component(
        "membrane",
        "t ms\nV mV = -84.6\nC uF_per_cm2 = 1\ng_Na mS_per_cm2 = 4\ng_NaC mS_per_cm2 = 0.003\n"
        "E_Na mV = 50\ng_s mS_per_cm2 = 0.09\nCa molar = 2e-7\ni_stim uA_per_cm2\n"
        "amplitude uA_per_cm2 = 50\nduration ms = 1\n"
        + "".join(f"{name} dimensionless\n" for name in BEELER_REUTER)
        + "".join(f"{name} uA_per_cm2\n" for name in currents),
        "".join(f"{name} = {text}\n" for name, text in currents.items())
        + "i_stim = amplitude if t < duration else 0\n"
        "diff(V, t) = -(i_K1 + i_x1 + i_Na + i_s - i_stim) / C\n"
        "diff(Ca, t) = -1e-7 * i_s + 0.07 * (1e-7 - Ca)",
    )
    gates = (
        gate(name, *map(_rate, constants), RESTING[name])
        for name, constants in BEELER_REUTER.items()
    )
    return cellml(
        "beeler_reuter_1977", BIOLOGICAL, units(molar="mole, deci metre -3"), membrane, *gates,
        *(connection("membrane", name, "t", "V", name) for name in BEELER_REUTER),
    )  # fmt: skip


FILES = {"hodgkin-huxley-1952.cellml": hodgkin_huxley, "beeler-reuter-1977.cellml": beeler_reuter}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, made in FILES.items():
        (FOLDER / name).write_text(made(), encoding="utf-8")
