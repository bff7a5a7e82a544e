"""Files that are wrong in one way each, by name, with a part of what must be said of each.

Every one of them is nearly right: what is wrong is one thing, and it must not be read as
something else. `tests/cubie/test_cli_malformed.py` gives them to `cubie-plan`.
"""

from __future__ import annotations

import json
from typing import Any

Case = tuple[str | bytes, str]

HEAD = "id,lower,upper,size"
LINE = "a,0,5,4"


def csv(*lines: str, head: str = HEAD) -> str:
    """Return a CSV of some lines below a header."""
    return "\n".join([head, *lines, ""])


def gap(text: str) -> str:
    """Return a CSV with a buffer of 64 bytes that lives from 0 to 9, with gaps."""
    return csv(f"a,0,9,64,{text}", head=f"{HEAD},gaps")


CSV: dict[str, Case] = {
    "empty": ("", "the CSV header lacks 'id'"),
    "only a mark": ("\ufeff", "the CSV header lacks 'id'"),
    "no size": ("id,lower,upper\na,0,5\n", "lacks 'size'"),
    "no id": ("lower,upper,size\n0,5,4\n", "lacks 'id'"),
    "no upper": ("id,lower,size\na,0,4\n", "lacks 'upper'"),
    "semicolons": ("id;lower;upper;size\na;0;5;4\n", "lacks 'id'"),
    "tabs": ("id\tlower\tupper\tsize\na\t0\t5\t4\n", "lacks 'id'"),
    "capitals": ("ID,LOWER,UPPER,SIZE\na,0,5,4\n", "lacks 'id'"),
    "column twice": (csv("a,0,5,4,8", head=f"{HEAD},size"), "the column 'size' twice"),
    "column twice by another name": (csv("a,0,5,4,0", head=f"{HEAD},start"), "'lower' twice"),
    "both ends": (csv("a,0,5,4,5", head=f"{HEAD},end"), "the column 'upper' twice"),
    "both names": (csv("a,0,5,4,a", head=f"{HEAD},buffer_id"), "the column 'id' twice"),
    "unknown column": (csv("a,0,5,4,1", head=f"{HEAD},weight"), "an unknown column 'weight'"),
    "misspelt column": (csv("a,0,5,4,8", head=f"{HEAD},allignment"), "unknown column 'allignment'"),
    "nameless column": (csv("a,0,5,4,", head=f"{HEAD},"), "an unknown column ''"),
    "extra cell": (csv("a,0,5,4,9"), "line 2: has 5 cells under 4 columns; the first beyond"),
    "empty extra cell": (csv("a,0,5,4,"), "line 2: has 5 cells under 4 columns"),
    "extra cell later": (csv(LINE, "b,0,5,4,x"), "line 3: has 5 cells"),
    "short line": (csv("a,0,5"), "line 2: '' is not an integer"),
    "only a name": (csv("a"), "line 2: '' is not an integer"),
    "no name": (csv(",0,5,4"), "the name must be a non-empty string"),
    "blank name": (csv("  ,0,5,4"), "the name must be a non-empty string"),
    "underscore": (csv("a,0,5,1_000"), "line 2: '1_000' is not an integer"),
    "underscore in time": (csv("a,0,1_0,4"), "line 2: '1_0' is not an integer"),
    "arabic digits": (csv("a,0,5,\u0664"), "is not an integer"),
    "fullwidth digits": (csv("a,0,5,\uff14"), "is not an integer"),
    "devanagari digits": (csv("a,\u0966,5,4"), "is not an integer"),
    "superscript": (csv("a,0,5,4²"), "is not an integer"),
    "float": (csv("a,0,5,4.0"), "'4.0' is not an integer"),
    "exponent": (csv("a,0,5,1e3"), "'1e3' is not an integer"),
    "hexadecimal": (csv("a,0,5,0x10"), "'0x10' is not an integer"),
    "unit": (csv("a,0,5,4k"), "'4k' is not an integer"),
    "not a number": (csv("a,0,5,nan"), "'nan' is not an integer"),
    "true": (csv("a,0,5,True"), "'True' is not an integer"),
    "blank within": (csv("a,0,5,1 000"), "'1 000' is not an integer"),
    "two signs": (csv("a,0,5,--4"), "'--4' is not an integer"),
    "very many digits": (csv(f"a,0,5,{'9' * 5000}"), "is not an integer"),
    "negative size": (csv("a,0,5,-4"), "buffer `a`: n_elements"),
    "huge size": (csv(f"a,0,5,{2**50}"), "exceed the largest buffer"),
    "late point": (csv(f"a,0,{2**40},4"), "must be integers within 2**31"),
    "backwards": (csv("a,5,0,4"), "buffer `a`: lifetime"),
    "never alive": (csv("a,5,5,4"), "buffer `a`: lifetime"),
    "name twice": (csv(LINE, LINE), "two buffers are named `a`"),
    "tab in the name": (csv('"a\tb",0,5,4'), "cannot be printed"),
    "escape in the name": (csv("a\x1b[31m,0,5,4"), "cannot be printed"),
    "line break in the name": (csv('"a\nb",0,5,4'), "cannot be printed"),
    "null in the name": (csv("a\0b,0,5,4"), ""),
    "right to left": (csv("a\u202eb,0,5,4"), "cannot be printed"),
    "zero width": (csv("a\u200bb,0,5,4"), "cannot be printed"),
    "open quote": (csv('"a,0,5,4'), "line"),
    "text behind a quote": (csv('"a"b,0,5,4'), "line 2"),
    "large cell": (csv(f"{'a' * 200_000},0,5,4"), "line 2: field larger than field limit"),
    "not utf-8": (b"id,lower,upper,size\n\xe9,0,5,4\n", "is not UTF-8 text (byte 20)"),
    "utf-16": (csv(LINE).encode("utf-16"), "is not UTF-8 text (byte 0)"),
    "alignment of three": (csv("a,0,5,4,3", head=f"{HEAD},alignment"), "power of two"),
    "alignment of none": (csv("a,0,5,4,0", head=f"{HEAD},alignment"), "power of two"),
    "alignment below": (csv("a,0,5,4,-8", head=f"{HEAD},alignment"), "power of two"),
    "alignment too wide": (csv("a,0,5,4,8192", head=f"{HEAD},alignment"), "power of two"),
    "alignment in words": (csv("a,0,5,4,x", head=f"{HEAD},alignment"), "'x' is not an integer"),
    "negative offset": (csv("a,0,5,4,-1", head=f"{HEAD},offset"), "offset must be a byte count"),
    "offset in words": (csv("a,0,5,4,x", head=f"{HEAD},offset"), "'x' is not an integer"),
    "offset unaligned": (csv("a,0,5,4,8,3", head=f"{HEAD},alignment,offset"), "not a multiple"),
    "hint in words": (csv("a,0,5,4,x", head=f"{HEAD},hint"), "'x' is not an integer"),
    "gap without end": (gap("7"), "line 2: the gap '7' is not of the form"),
    "gap in words": (gap("x-y"), "line 2: the gap 'x-y'"),
    "gap before the life": (csv("a,3,9,64,1-2", head=f"{HEAD},gaps"), "outside the life, 3 to 9"),
    "gap across the start": (csv("a,3,9,64,1-5", head=f"{HEAD},gaps"), "outside the life, 3 to 9"),
    "gap across the end": (gap("7-12"), "outside the life, 0 to 9"),
    "gap behind the life": (gap("12-14"), "outside the life, 0 to 9"),
    "empty gap": (gap("4-4"), "is empty or outside"),
    "gap backwards": (gap("6-4"), "is empty or outside"),
    "gaps overlap": (gap("2-5 4-7"), "begins before the one ahead of it ends"),
    "gaps unsorted": (gap("6-7 2-3"), "begins before the one ahead of it ends"),
    "gap is the life": (gap("0-9"), "leave no point"),
    "gaps are the life": (gap("0-4 4-9"), "leave no point"),
    "gap with two ends": (gap("1-2-3"), "is not of the form"),
    "gap with an underscore": (gap("1-1_0"), "is not of the form"),
    "gap of other digits": (gap("\u0661-\u0663"), "is not of the form"),
    "window in the old way": (gap("3-5:0-64"), "is not of the form"),
    "window without end": (gap("3-5@0"), "is not of the form"),
    "empty window": (gap("3-5@8:8"), "the window 8:8 is not within the 64 B"),
    "window backwards": (gap("3-5@32:8"), "the window 32:8 is not within the 64 B"),
    "window beyond the buffer": (gap("3-5@0:65"), "the window 0:65 is not within the 64 B"),
    "window of everything": (gap("3-5@0:64"), "leaves all bytes alive"),
    "gap beyond an end": (
        csv("a,0,8,64,7-9", head="id,start,end,size,gaps"),
        "outside the life, 0 to 9",
    ),
    "name of a part": (
        csv("a,0,9,64,3-5@0:8", "a@3-5,0,2,4,", head=f"{HEAD},gaps"),
        "two buffers are named `a@3-5`",
    ),
}

PLACED = "buffer,elements,dtype,bytes,location,offset,lifetime,alias,pin,why,alignment"


def placed(line: str, head: str = PLACED) -> Case:
    """Return a plan's CSV of one good buffer and another."""
    return f"{head}\nhost,8,float64,64,shared,0,always,,,,8\n{line}\n", ""


def told(case: Case, message: str) -> Case:
    """Return a case with what must be said of it."""
    return case[0], message


PLAN_CSV: dict[str, Case] = {
    "lacks a column": told(placed("", PLACED.removesuffix(",alignment")), "lacks 'alignment'"),
    "column twice": told(placed("", f"{PLACED},why"), "the column 'why' twice"),
    "unknown column": told(placed("", f"{PLACED},note"), "an unknown column 'note'"),
    "other bytes": told(placed("v,2,int32,9,local,,0-2,,,,4"), "line 3: has 9 bytes, not 8"),
    "far place": told(placed("v,2,int32,8,far,,0-2,,,,4"), "line 3: location 'far' is unknown"),
    "no place": told(placed("v,2,int32,8,,,0-2,,,,4"), "line 3: location '' is unknown"),
    "no dtype": told(placed("v,2,,8,local,,0-2,,,,4"), "line 3: data type ''"),
    "odd dtype": told(placed("v,2,zz,8,local,,0-2,,,,4"), "line 3: data type 'zz'"),
    "offset of a local": told(placed("v,2,int32,8,local,8,0-2,,,,4"), "a local array has"),
    "other pin": told(placed("v,2,int32,8,shared,64,0-2,,local,,4"), "the pin 'local' is not"),
    "lifetime in words": told(placed("v,2,int32,8,local,,never,,,,4"), "the lifetime 'never'"),
    "no lifetime": told(placed("v,2,int32,8,local,,,,,,4"), "the lifetime ''"),
    "alias without offset": told(placed("v,2,int32,8,shared,8,0-2,host,,,4"), "the alias 'host'"),
    "unknown alias": told(placed("v,2,int32,8,shared,8,0-2,hots +8,,,4"), "which is not a buffer"),
    "no alignment": told(placed("v,2,int32,8,local,,0-2,,,,"), "'' is not an integer"),
}


def problem(**changes: Any) -> str:
    """Return a problem file with changes to its top level."""
    return json.dumps({"buffers": [{"name": "a", "n_elements": 4, "dtype": "<f4"}]} | changes)


def buffer(**changes: Any) -> str:
    """Return a problem file with changes to its only buffer."""
    return problem(buffers=[{"name": "a", "n_elements": 4, "dtype": "<f4"} | changes])


def limits(**given: Any) -> str:
    """Return a problem file with limits."""
    return problem(limits=given)


PROBLEM: dict[str, Case] = {
    "empty": ("", "Expecting value"),
    "cut short": (problem()[:-5], "Unterminated string"),
    "two objects": (problem() + problem(), "Extra data"),
    "comment": ("// a\n" + problem(), "Expecting value"),
    "trailing comma": ('{"buffers": [],}', ""),
    "list": ("[]", "must hold an object, not a list"),
    "text": ('"buffers"', "must hold an object, not a str"),
    "null": ("null", "must hold an object"),
    "deep": ("[" * 100_000, "nested too deeply"),
    "deep object": ('{"buffers":' * 50_000, "nested too deeply"),
    "key twice": ('{"buffers": [], "buffers": []}', "the key 'buffers' stands twice"),
    "key twice within": (
        '{"buffers": [{"name": "a", "n_elements": 1, "n_elements": 2, "dtype": "f4"}]}',
        "the key 'n_elements' stands twice",
    ),
    "limit twice": (
        '{"buffers": [], "limits": {"block_size": 1, "block_size": 2}}',
        "the key 'block_size' stands twice",
    ),
    "no buffers": ('{"limits": {}}', "has none of the keys"),
    "unknown key": (problem(polcy="auto"), "unknown field 'polcy'"),
    "buffers are an object": (problem(buffers={}), "buffers must be a list, got dict"),
    "buffers are null": (problem(buffers=None), "buffers must be a list, got NoneType"),
    "a buffer is a number": (problem(buffers=[3]), "buffers[0] must be an object, got int"),
    "no name": (problem(buffers=[{"n_elements": 4, "dtype": "f4"}]), "lacks 'name'"),
    "empty name": (buffer(name=""), "the name must be a non-empty string"),
    "null name": (buffer(name=None), "the name must be a non-empty string"),
    "control in the name": (buffer(name="a\x07"), "cannot be printed"),
    "delete in the name": (buffer(name="a\x7f"), "cannot be printed"),
    "separator in the name": (buffer(name="a\u2028b"), "cannot be printed"),
    "lone surrogate": (
        '{"buffers": [{"name": "\\ud800", "n_elements": 1, "dtype": "f4"}]}',
        "'\\ud800'",
    ),
    "surrogate elsewhere": (buffer(dtype="\udcff"), "cannot be printed"),
    "surrogate as a key": ('{"buffers": [], "\\udfff": 1}', "unknown field"),
    "name twice": (
        problem(buffers=[{"name": "a", "n_elements": n, "dtype": "f4"} for n in (1, 2)]),
        "two buffers are named `a`",
    ),
    "null dtype": (buffer(dtype=None), "buffers[0].dtype must be text, got None"),
    "numeric dtype": (buffer(dtype=4), "dtype must be text, got 4"),
    "list dtype": (buffer(dtype=["f4", "f4"]), "dtype must be text"),
    "unknown dtype": (buffer(dtype="zz"), "'zz' is not a NumPy dtype"),
    "empty dtype": (buffer(dtype=""), "dtype"),
    "big-endian": (buffer(dtype=">f4"), "byte order of other machines; give <f4"),
    "big-endian integers": (buffer(dtype=">i8"), "byte order of other machines; give <i8"),
    "objects": (buffer(dtype="O"), "is not a number or bool"),
    "strings": (buffer(dtype="U4"), "is not a number or bool"),
    "dates": (buffer(dtype="M8[s]"), "is not a number or bool"),
    "records": (buffer(dtype="f4,f4"), "is not a number or bool"),
    "elements as text": (buffer(n_elements="4"), "n_elements must be an integer"),
    "elements as a float": (buffer(n_elements=4.0), "n_elements must be an integer"),
    "elements as a bool": (buffer(n_elements=True), "n_elements must be an integer"),
    "negative elements": (buffer(n_elements=-1), "n_elements must be an integer >= 0"),
    "too many elements": (buffer(n_elements=2**60), "exceed the largest buffer"),
    "digits without end": ('{"buffers": ' + "9" * 5000 + "}", "Exceeds the limit"),
    "not a number": ('{"buffers": NaN}', "NaN is not JSON"),
    "infinite": ('{"buffers": -Infinity}', "-Infinity is not JSON"),
    "weight beyond floats": (
        problem().replace('"<f4"', '"<f4", "access_weight": 1e999'),
        "access_weight must be a finite number",
    ),
    "weight of many digits": (buffer(access_weight=10**400), "access_weight must be a finite"),
    "weight as a bool": (buffer(access_weight=True), "access_weight must be a finite"),
    "negative weight": (buffer(access_weight=-1), "access_weight must be a finite"),
    "lifetime of one number": (buffer(lifetime=3), "lifetime must be a list"),
    "lifetime of one range": (buffer(lifetime=[0, 3]), "lifetime must be a list, got int"),
    "no ranges": (buffer(lifetime=[]), "lifetime must be a non-empty sequence"),
    "range of three": (buffer(lifetime=[[0, 1, 2]]), "lifetime must be"),
    "range backwards": (buffer(lifetime=[[3, 1]]), "is empty: end must be later"),
    "ranges overlap": (buffer(lifetime=[[0, 3], [2, 5]]), "overlaps or precedes"),
    "range of floats": (buffer(lifetime=[[0.0, 3.0]]), "must be integers within"),
    "persistent with a lifetime": (buffer(persistent=True, lifetime=[[0, 1]]), "is persistent"),
    "persistent as text": (buffer(persistent="no"), "persistent must be True or False"),
    "nowhere": (buffer(locations=[]), "locations is empty"),
    "null places": (buffer(locations=None), "locations must be words"),
    "far place": (buffer(locations=["far"]), "location 'far' is unknown"),
    "pin elsewhere": (buffer(locations=["local"], pin="shared"), "but may only be local"),
    "misspelt pin": (buffer(pin="sharde"), "did you mean 'shared'?"),
    "offset without pin": (buffer(offset=8), "offset 8 needs a pin"),
    "offset as a bool": (buffer(pin="shared", offset=True), "offset must be a byte count"),
    "offset unaligned": (buffer(pin="shared", offset=3), "not a multiple of its alignment"),
    "alias as text": (buffer(aliases="b"), "aliases must be a list"),
    "alias of itself": (buffer(aliases=[{"parent": "a"}]), "cannot be an alias of itself"),
    "alias of nobody": (buffer(aliases=[{"parent": "b"}]), "which is not a buffer"),
    "alias below": (buffer(aliases=[{"parent": "b", "offset": -1}]), "alias offset inside `b`"),
    "view of nothing": (buffer(alias_required=True), "needs at least one candidate parent"),
    "circle": (
        problem(
            buffers=[
                {"name": one, "n_elements": 1, "dtype": "f4", "aliases": [{"parent": other}]}
                for one, other in ("ab", "bc", "ca")
            ]
        ),
        "the aliases form a cycle",
    ),
    "alignment of three": (buffer(alignment=3), "alignment must be a power of two"),
    "enabled as a number": (buffer(enabled=1), "enabled must be True or False"),
    "limits are null": (problem(limits=None), "limits must be an object"),
    "unknown limit": (limits(block=3), "limits has an unknown field 'block'"),
    "limit as text": (limits(max_shared_bytes="48k"), "max_shared_bytes must be a byte count"),
    "negative limit": (limits(max_shared_bytes=-1), "max_shared_bytes must be a byte count"),
    "no threads": (limits(block_size=0), "block_size must be an integer from 1"),
    "half a thread": (limits(block_size=1.5), "block_size must be an integer from 1"),
    "padding as text": (limits(pad_banks="yes"), "pad_banks must be True or False"),
    "half a capability": (limits(compute_capability=[9]), "must be (major, minor)"),
    "unknown policy": (problem(policy="atuo"), "did you mean 'auto'?"),
    "null policy": (problem(policy=None), "policy None is unknown"),
    "policy for nobody": (problem(policy={"b": "local"}), "the policy names `b`"),
    "policy to nowhere": (problem(policy={"a": "far"}), "location 'far' is unknown"),
    "previous is null": (problem(previous=None), "previous must be an object, got None"),
    "previous is a list": (problem(previous=[]), "previous must be an object, got []"),
    "previous is false": (problem(previous=False), "previous must be an object, got False"),
    "previous of one": (problem(previous={"a": ["shared"]}), "previous place of `a`"),
    "previous local offset": (problem(previous={"a": ["local", 4]}), "previous place of `a`"),
    "previous without offset": (problem(previous={"a": ["shared", None]}), "previous place of"),
    "previous too far": (problem(previous={"a": ["shared", 2**62]}), "previous place of `a`"),
    "placements too": (problem(placements=[]), "unknown field 'placements'"),
    "utf-16": (problem().encode("utf-16"), "is not UTF-8 text"),
    "half a character": (problem().encode() + b"\xc3", "is not UTF-8 text"),
}

RIGHT = 'equations = ["dx = -k*x + y", "dy = x"]\n'

DRIVEN = "equations = 'dx = u(t) - x'\n"
SAMPLES = "[drivers.u]\ntimes = [0, 1]\nvalues = [1, 2]\n"


def driver(more="", name="u", samples="times = [0, 1]\nvalues = [1, 2]"):
    """Return a model with a driver's table."""
    return f"{DRIVEN}[drivers.{name}]\n{samples}\n{more}\n"


MODEL: dict[str, Case] = {
    "empty": ("", "has none of the keys"),
    "unclosed": ("equations = [", ""),
    "key twice": (RIGHT + RIGHT, "Cannot overwrite a value"),
    "table twice": (RIGHT + "[options]\n[options]\n", "twice"),
    "unknown key": (RIGHT + "methd = 'tsit5'\n", "unknown key `methd` (did you mean `method`?)"),
    "buffers too": (RIGHT + "buffers = []\n", "unknown key `buffers`"),
    "equations are a number": ("equations = 3\n", "must be text or a list of texts"),
    "equations are numbers": ("equations = [1, 2]\n", "must be text or a list of texts"),
    "equations are a table": ("[equations]\nx = '-x'\n", "must be text or a list of texts"),
    "no equations": ("equations = []\n", "`equations`"),
    "blank equation": ("equations = ''\n", "`equations`"),
    "no derivative": ("equations = 'x = 1'\n", "no equation for a derivative"),
    "no right side": ("equations = 'dx = '\n", "`equations`"),
    "no left side": ("equations = ' = -x'\n", "`equations`"),
    "code": ("equations = \"dx = __import__('os').getcwd()\"\n", "`equations`"),
    "lambda": ("equations = 'dx = (lambda: 1)()'\n", "`equations`"),
    "attribute": ("equations = 'dx = x.real'\n", "`equations`"),
    "unknown function": ("equations = 'dx = sine(x)'\n", "there is no function `sine`"),
    "no driver": (DRIVEN, "there is no function `u`"),
    "drivers are a list": (DRIVEN + "drivers = ['u']\n", "`drivers` must be a table"),
    "a driver is a number": (DRIVEN + "[drivers]\nu = 3\n", "`drivers.u` must be a table of times"),
    "driver misspelt": (
        driver(name="uu"),
        "there is no function or driver `u`; did you mean `uu`?",
    ),
    "driver nobody calls": (RIGHT + SAMPLES, "the driver `u` is called by neither"),
    "driver in sums": ("equations = 'dx = -u*x'\n" + SAMPLES, "write `u(t)`"),
    "driver is a state": ("equations = 'du = u(t)'\n" + SAMPLES, "`u` is listed twice"),
    "driver is a function": (driver(name="sin"), "`sin` cannot be a driver"),
    "unknown key of a driver": (
        driver("knid = 'pchip'"),
        "unknown key `knid` (did you mean `kind`?)",
    ),
    "unknown kind": (driver("kind = 'pchop'"), "'pchop'"),
    "kind is a number": (driver("kind = 3"), "`kind` is 3"),
    "no values": (driver(samples="times = [0, 1]"), "needs `times` and `values`, or a `file`"),
    "no samples": (driver(samples=""), "needs `times` and `values`, or a `file`"),
    "samples and a file": (driver("file = 'a.csv'"), "has both `file` and `times`"),
    "columns of no file": (driver("columns = [0, 1]"), "`columns`, which are of a `file`"),
    "text for samples": (driver(samples="times = 'ab'\nvalues = [1, 2]"), "array of numbers"),
    "backwards": (driver(samples="times = [1, 0]\nvalues = [1, 2]"), "must increase"),
    "not finite": (driver(samples="times = [0, inf]\nvalues = [1, 2]"), "times[1] is inf"),
    "too few values": (driver(samples="times = [0, 1]\nvalues = [1]"), "one value for each time"),
    "file is a number": (driver(samples="file = 3"), "`file` must be the name of a file"),
    "file of another kind": (driver(samples="file = 'a.xlsx'"), "a file in .csv or .npy"),
    "no such file": (driver(samples="file = 'no.csv'"), "`drivers.u`: no.csv: No such file"),
    "folder of samples": (driver(samples="file = '../.csv'"), "must be the name of a file"),
    "syntax": ("equations = 'dx = -k * * x'\n", "The equation for `x`"),
    "equation twice": ("equations = ['dx = -x', 'dx = x']\n", "two equations for `x`"),
    "a state left out": (RIGHT + "states = ['x']\n", "`y` is not among the states"),
    "an unused state left out": (
        "equations = ['dx = -x', 'dy = 1']\nstates = ['x']\n",
        "`y` is not among the states",
    ),
    "a state in the other notation left out": (
        "equations = ['dx/dt = -x', 'dy/dt = -y']\nstates = ['x']\n",
        "do not match: y",
    ),
    "no states": (RIGHT + "states = []\n", "is not among the states"),
    "a state too many": (RIGHT + "states = ['x', 'y', 'z']\n", "do not match: z"),
    "a state misspelt": (RIGHT + "states = ['x', 'Y']\n", "`y` is not among the states"),
    "a state twice": (RIGHT + "states = ['x', 'y', 'x']\n", "`x` is listed twice"),
    "states are a number": (RIGHT + "states = 2\n", "`states` must be a list of names"),
    "states are numbers": (RIGHT + "states = [1, 2]\n", "`states` must be a list of names"),
    "states are text": (RIGHT + "states = 'xy'\n", "`states` must be a list of names"),
    "parameter left out": (RIGHT + "parameters = []\n", "`k` is not defined"),
    "parameter twice": (RIGHT + "parameters = ['k', 'k']\n", "`k` is listed twice"),
    "parameter is a state": (RIGHT + "parameters = ['k', 'x']\n", "`x` is listed twice"),
    "parameter has an equation": (
        "equations = ['k = 2', 'dx = -k*x']\nparameters = ['k']\n",
        "`k` has an equation",
    ),
    "hidden name": ("equations = 'dx = -_k*x'\n", "`_k` cannot be the name"),
    "unknown method": (RIGHT + "method = 'tsit6'\n", "did you mean 'tsit5'?"),
    "method is a number": (RIGHT + "method = 5\n", "method"),
    "options are a list": (RIGHT + "options = []\n", "`options` must be a table"),
    "unknown option": (RIGHT + "[options]\nrtoll = 1e-3\n", "Did you mean `rtol`?"),
    "odd dtype": (RIGHT + "[options]\ndtype = 'f2'\n", "float16"),
    "odd limit": (RIGHT + "[options]\nmax_shared = '9q'\n", "`max_shared` is '9q'"),
    "negative limit": (RIGHT + "[options]\nmax_shared = -1\n", "max_shared"),
    "odd block": (RIGHT + "[options]\nblock_size = 'x'\n", "block_size must be"),
    "odd places": (RIGHT + "[options]\nlocations = 'far'\n", "'far' is unknown"),
    "infinite tolerance": (RIGHT + "[options]\nrtol = nan\n", "rtol"),
    "date": (RIGHT + "method = 1979-05-27\n", "method"),
    "control character": ("equations = 'dx = -x\x01'\n", ""),
    "deep": (RIGHT + "options = " + "[" * 20_000, ""),
    "not utf-8": (b"equations = 'dx = -\xe9'\n", "is not UTF-8 text"),
    "json in toml": (json.dumps({"equations": "dx = -x"}), ""),
}
