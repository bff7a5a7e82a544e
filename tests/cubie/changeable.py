"""Right-hand sides y' = -k y that take k from somewhere else, each from another kind of place.

A `Place` is made with a value of k, and can be made to hold another one by `change`, in place
where that can be done: what a user does between two solves, or edits between two processes.
"""

import os
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from attrs import define, field

PLACES: dict[str, Callable[[float], "Place"]] = {}


@define
class Place:
    """A right-hand side, what is passed along, and how to make it another one."""

    fun: Callable
    change: Callable[[float], Any]
    args: Callable[[], tuple] = field(default=tuple)
    seen: bool = True  # its content can be seen, so that the second solve finds it again


def place(make: Callable[[float], Place]) -> Callable[[float], Place]:
    """Register a place under the name of the function that makes it."""
    PLACES[make.__name__] = make
    return make


def in_text(name: str, text: str, change: str, seen: bool = True) -> None:
    """Register a place whose code is run in a namespace of its own, as in a notebook.

    Both texts know `k`; the first defines `f`.
    """

    def make(k: float) -> Place:
        namespace: dict[str, Any] = {"__name__": f"notebook_{name}", "k": k, "np": np}
        exec(text, namespace)
        del namespace["k"]

        def turn(k: float) -> None:
            exec(change, namespace, {"k": k})

        return Place(namespace["f"], turn, seen=seen)

    PLACES[name] = make


F_OF = "def f(t, y): return [-({}) * y[0]]\n"

# name: (what defines the place, the expression that reads it, what changes it)
_SIMPLE = {
    "global_number": ("K = k", "K", "globals()['K'] = k"),
    "global_list": ("K = [0.0, k]", "K[1]", "K[1] = k"),
    "nested_list": ("K = {'a': [[k]]}", "K['a'][0][0]", "K['a'][0][0] = k"),
    "tuple_of_list": ("K = ([k],)", "K[0][0]", "K[0][0] = k"),
    "dictionary": ("K = {'a': k}", "K['a']", "K['a'] = k"),
    "dictionary_order": (
        "K = {'a': 1.0, 'b': 2.0} if k == 1.0 else {'b': 2.0, 'a': 1.0}",
        "list(K.values())[0]",
        "K['a'] = K.pop('a')",
    ),
    "array": ("K = np.array([0.0, k])", "K[1]", "K[1] = k"),
    "view_of_array": ("B = np.array([0.0, k]); K = B[1:]", "K[0]", "B[1] = k"),
    "long_array": ("K = np.zeros(5000); K[2500] = k", "K[2500]", "K[2500] = k"),
    "large_array": ("K = np.zeros(300_000); K[150_000] = k", "K[150_000]", "K[150_000] = k"),
    "object_array": ("K = np.array([None, k], object)", "K[1]", "K[1] = k"),
    "structured_array": (
        "K = np.array([(1.0, 2.0)], [('a', float), ('b', float)]).copy()\n"
        "if k == 2.0: K.dtype = [('b', float), ('a', float)]",
        "float(K['a'][0])",
        "K.dtype = [('b', float), ('a', float)]",
    ),
    "masked_array": (
        "K = np.ma.array([1.0, 2.0], mask=[k != 1.0, False])",
        "float(K.compressed()[0])",
        "K.mask = [True, False]",
    ),
    "set": ("K = {k}", "max(K)", "K.clear(); K.add(k)"),
    "frozenset": ("K = frozenset([k])", "max(K)", "globals()['K'] = frozenset([k])"),
    "deque": ("import collections\nK = collections.deque([k])", "K[0]", "K[0] = k"),
    "ordered_dictionary": (
        "import collections\nK = collections.OrderedDict(a=k)",
        "K['a']",
        "K['a'] = k",
    ),
    "default_dictionary": (
        "import collections\nK = collections.defaultdict(lambda: 0.0 + M[0])\nM = [k]",
        "K.default_factory()",
        "M[0] = k",
    ),
    "array_of_bytes": ("K = bytearray([int(k)])", "float(K[0])", "K[0] = int(k)"),
    "array_module": ("import array\nK = array.array('d', [k])", "K[0]", "K[0] = k"),
    "namespace": ("import types\nK = types.SimpleNamespace(k=k)", "K.k", "K.k = k"),
    "mapping_proxy": (
        "import types\nD = {'a': k}; K = types.MappingProxyType(D)",
        "K['a']",
        "D['a'] = k",
    ),
    "named_tuple": (
        "import collections\nP = collections.namedtuple('P', 'k'); K = P(k)",
        "K.k",
        "globals()['K'] = P(k)",
    ),
    "fraction": (
        "import fractions\nK = fractions.Fraction(int(k))",
        "float(K)",
        "globals()['K'] = fractions.Fraction(int(k))",
    ),
    "decimal": (
        "import decimal\nK = decimal.Decimal(int(k))",
        "float(K)",
        "globals()['K'] = decimal.Decimal(int(k))",
    ),
    "string": ("K = 'a' * int(k)", "float(len(K))", "globals()['K'] = 'a' * int(k)"),
    "large_integer": (
        "K = 10**5000 + int(k)",
        "float(K % 10)",
        "globals()['K'] = 10**5000 + int(k)",
    ),
    "sign_of_zero": (
        "K = -0.0 if k == 2.0 else 0.0",
        "1.5 - 0.5 * float(np.copysign(1.0, K))",
        "globals()['K'] = -0.0",
    ),
    "sign_of_zero_in_tuple": (
        "K = (-0.0,) if k == 2.0 else (0.0,)",
        "1.5 - 0.5 * float(np.copysign(1.0, K[0]))",
        "globals()['K'] = (-0.0,)",
    ),
    "not_a_number": (
        "K = float('nan') if k == 2.0 else 0.0",
        "1.0 if K == K else 2.0",
        "globals()['K'] = float('nan')",
    ),
    "true_and_one": ("K = k == 2.0 or 1", "2.0 if K is True else 1.0", "globals()['K'] = True"),
    "one_and_float": (
        "K = 1.0 if k == 2.0 else 1",
        "2.0 if type(K) is float else 1.0",
        "globals()['K'] = 1.0",
    ),
    "integer_enumeration": (
        "import enum\nK = enum.IntEnum('E', {'A': int(k)}).A",
        "float(K)",
        "globals()['K'] = enum.IntEnum('E', {'A': int(k)}).A",
    ),
    "derived_float": (
        "class F(float):\n  factor = k\n  def get(self): return self * self.factor\nK = F(1.0)",
        "K.get()",
        "F.factor = k",
    ),
    "class_attribute": ("class C: value = k", "C.value", "C.value = k"),
    "inherited_attribute": (
        "class B: value = k\nclass C(B): pass\nK = C()",
        "K.value",
        "B.value = k",
    ),
    "attribute": (
        "class C: pass\nK = C(); K.inner = C(); K.inner.value = k",
        "K.inner.value",
        "K.inner.value = k",
    ),
    "replaced_dictionary": (
        "class C: pass\nK = C(); K.value = k",
        "K.value",
        "K.__dict__ = {'value': k}",
    ),
    "other_class": (
        "class C: value = 1.0\nclass D: value = 2.0\nK = C() if k == 1.0 else D()",
        "K.value",
        "K.__class__ = D",
    ),
    "slot": (
        "class C: __slots__ = ('value', 'other')\nK = C(); K.value = k",
        "K.value",
        "K.value = k",
    ),
    "property": (
        "class C:\n  @property\n  def value(self): return self._value\nK = C(); K._value = k",
        "K.value",
        "K._value = k",
    ),
    "code_of_property": (
        "class C: value = property(lambda self, k=k: k)\nK = C()",
        "K.value",
        "C.value = property(lambda self, k=k: k)",
    ),
    "dunder_method": (
        "class C:\n  def __neg__(self, k=k): return k\nK = C()",
        "-K",
        "C.__neg__ = lambda self, k=k: k",
    ),
    "call_method": (
        "class C:\n  def __call__(self, k=k): return k\nK = C()",
        "K()",
        "C.__call__ = lambda self, k=k: k",
    ),
    "attribute_hook": (
        "class C:\n  def __getattr__(self, name): return M[name]\nM = {'a': k}\nK = C()",
        "K.a",
        "M['a'] = k",
    ),
    "metaclass": (
        "class M(type):\n  def get(cls, k=k): return k\nclass C(metaclass=M): pass",
        "C.get()",
        "M.get = lambda cls, k=k: k",
    ),
    "data_class": (
        "import dataclasses\n@dataclasses.dataclass\nclass C:\n  value: float = k\nK = C(k)",
        "K.value",
        "K.value = k",
    ),
    "dictionary_with_methods": (
        "class D(dict):\n  factor = k\n  def get_it(self): return self['a'] * self.factor\n"
        "K = D(a=1.0)",
        "K.get_it()",
        "D.factor = k",
    ),
    "helper_function": (
        "def g(k=k): return k",
        "g()",
        "exec('def g(k=k): return k', {'k': k}, globals())",
    ),
    "helper_of_helper": (
        "K = k\ndef h(): return K\ndef g(): return h()",
        "g()",
        "globals()['K'] = k",
    ),
    "code_of_helper": (
        "def one(): return 1.0\ndef two(): return 2.0\ndef g(): return 0.0\n"
        "g.__code__ = (one if k == 1.0 else two).__code__",
        "g()",
        "g.__code__ = two.__code__",
    ),
    "default": ("def g(k=[k]): return k[0]", "g()", "g.__defaults__[0][0] = k"),
    "replaced_default": ("def g(k=k): return k", "g()", "g.__defaults__ = (k,)"),
    "keyword_default": ("def g(*, k=k): return k", "g()", "g.__kwdefaults__['k'] = k"),
    "attribute_of_function": ("def g(): return g.k\ng.k = k", "g()", "g.k = k"),
    "handled_exception": (
        "def one():\n  try: raise KeyError\n  except KeyError: return 1.0\n"
        "def two():\n  try: raise KeyError\n  except KeyError: return 2.0\n"
        "g = one if k == 1.0 else two",
        "g()",
        "globals()['g'] = two",
    ),
    "lambdas_of_one_line": (
        "a, b = (lambda: 1.0), (lambda: 2.0); g = a if k == 1.0 else b",
        "g()",
        "globals()['g'] = b",
    ),
    "method": (
        "class C:\n  def __init__(self, k): self.k = k\n  def get(self): return self.k\n"
        "K = C(k); g = K.get",
        "g()",
        "K.k = k",
    ),
    "partial": (
        "import functools\ndef h(a, b): return a[0] * b\ng = functools.partial(h, [k], b=1.0)",
        "g()",
        "g.args[0][0] = k",
    ),
    "keyword_of_partial": (
        "import functools\ndef h(b): return b\ng = functools.partial(h, b=k)",
        "g()",
        "g.keywords['b'] = k",
    ),
    "cached_function": (
        "import functools\nK = [k]\n@functools.lru_cache(0)\ndef g(): return K[0]",
        "g()",
        "K[0] = k",
    ),
    "wrapped_as_a_library_function": (
        "import functools, math\n@functools.wraps(math.exp)\ndef g(): return K[0]\nK = [k]",
        "g()",
        "K[0] = k",
    ),
    "bound_builtin": ("D = {'a': k}; g = D.get", "g('a')", "D['a'] = k"),
    "bound_dunder": ("D = {'a': k}; g = D.__getitem__", "g('a')", "D['a'] = k"),
    "item_getter": (
        "import operator\nK = [1.0, 2.0]; g = operator.itemgetter(int(k) - 1)",
        "g(K)",
        "globals()['g'] = operator.itemgetter(int(k) - 1)",
    ),
    "vectorized": ("K = [k]\ng = np.vectorize(lambda u: u * K[0])", "float(g(1.0))", "K[0] = k"),
    "module_attribute": (
        "import types\nm = types.ModuleType('users'); m.K = k",
        "m.K",
        "m.K = k",
    ),
    "module_of_module": (
        "import types\nm = types.ModuleType('users'); m.n = types.ModuleType('inner'); m.n.K = k",
        "m.n.K",
        "m.n.K = k",
    ),
    "module_in_attribute": (
        "import types\nclass C: pass\nc = C(); c.m = types.ModuleType('users'); c.m.K = k",
        "c.m.K",
        "c.m.K = k",
    ),
    "module_by_name": (
        "import types\nm = types.ModuleType('users'); m.K = k",
        "getattr(m, 'kK'[1:])",
        "m.K = k",
    ),
    "environment": (
        "import os\nos.environ['CUBIE_TEST_K'] = str(k)",
        "float(os.environ['CUBIE_TEST_K'])",
        "os.environ['CUBIE_TEST_K'] = str(k)",
    ),
    "name_in_text": ("K = k", "eval('K')", "globals()['K'] = k", False),
    "name_of_global": ("K = k", "globals()['K']", "globals()['K'] = k", False),
    "weak_reference": (
        "import weakref\nclass C: pass\nc = C(); c.k = k; K = weakref.ref(c)",
        "K().k",
        "c.k = k",
        False,
    ),
    "thread_local": (
        "import threading\nK = threading.local(); K.k = k",
        "K.k",
        "K.k = k",
        False,
    ),
    "ctypes_number": ("import ctypes\nK = ctypes.c_double(k)", "K.value", "K.value = k"),
    "user_ufunc": (
        "M = [k]\nK = np.frompyfunc(lambda u: u * M[0], 1, 1)",
        "float(K(1.0))",
        "M[0] = k",
        False,
    ),
    "shadowed_builtin": (
        "if k == 2.0: abs = lambda u: 2.0",
        "abs(1.0)",
        "globals()['abs'] = lambda u: 2.0",
    ),
}
for _name, (_text, _reads, _change, *_seen) in _SIMPLE.items():
    in_text(_name, f"{_text}\n{F_OF.format(_reads)}", _change, *_seen)


@place
def closure(k):
    """A variable of the enclosing function."""

    def change(new):
        nonlocal k
        k = new

    return Place(lambda t, y: [-k * y[0]], change)


@place
def closure_list(k):
    """A list of the enclosing function."""
    values = [k]
    return Place(lambda t, y: [-values[0] * y[0]], lambda new: values.__setitem__(0, new))


@place
def own_method(k):
    """The right-hand side is a method."""

    class Model:
        def __init__(self):
            self.k = k

        def rhs(self, t, y):
            return [-self.k * y[0]]

    model = Model()
    return Place(model.rhs, lambda new: setattr(model, "k", new))


@place
def own_call(k):
    """The right-hand side is an object that can be called."""

    class Model:
        def __init__(self):
            self.k = k

        def __call__(self, t, y):
            return [-self.k * y[0]]

    model = Model()
    return Place(model, lambda new: setattr(model, "k", new))


@place
def own_code(k):
    """The function's own code is replaced, as by an editor that reloads."""

    def one(t, y):
        return [-1.0 * y[0]]

    def two(t, y):
        return [-2.0 * y[0]]

    def f(t, y):
        return [0.0]

    def change(new):
        f.__code__ = (one if new == 1.0 else two).__code__

    change(k)
    return Place(f, change)


@place
def spline(k):
    """Coefficients of a SciPy interpolant."""
    from scipy.interpolate import CubicSpline

    table = CubicSpline(np.arange(4.0), np.full(4, k))

    def f(t, y):
        return [-table.c[-1, 0] * y[0]]

    def change(new):
        table.c[...] = CubicSpline(np.arange(4.0), np.full(4, new)).c

    return Place(f, change)


@place
def imported_inside(k):
    """A module that the function imports when it is called, edited and reloaded."""
    directory = Path(tempfile.mkdtemp())
    file = directory / "cubie_test_constants.py"
    file.write_text(f"K = {k}\n")
    sys.path.insert(0, str(directory))
    sys.modules.pop(file.stem, None)

    def f(t, y):
        from cubie_test_constants import K  # pyright: ignore[reportMissingImports]

        return [-K * y[0]]

    def change(new):
        # Without the file of bytecode: its times are too coarse for such quick edits.
        exec(f"K = {new}\n", vars(sys.modules[file.stem]))

    return Place(f, change)


@place
def imported_submodule(k):
    """A module of a package, imported inside the function under another name."""
    package, module = types.ModuleType("cubie_test_pack"), types.ModuleType("cubie_test_pack.sub")
    package.__path__ = []
    package.sub = module
    module.K = k
    sys.modules |= {package.__name__: package, module.__name__: module}

    def f(t, y):
        import cubie_test_pack.sub as s  # pyright: ignore[reportMissingImports]

        return [-s.K * y[0]]

    return Place(f, lambda new: setattr(module, "K", new))


@place
def file_read(k):
    """A file, opened at each call."""
    handle, path = tempfile.mkstemp()
    os.close(handle)
    Path(path).write_text(str(k))

    def f(t, y):
        with open(path) as file:
            return [-float(file.read()) * y[0]]

    return Place(f, lambda new: Path(path).write_text(str(new)), seen=False)


@place
def file_read_by_library(k):
    """A file, read by a function of a library."""
    handle, path = tempfile.mkstemp()
    os.close(handle)
    Path(path).write_text(str(k))

    def f(t, y):
        return [-float(np.loadtxt(path)) * y[0]]

    return Place(f, lambda new: Path(path).write_text(str(new)), seen=False)


def in_args(name: str, value: Callable[[float], Any], read: Callable[[Any], Any]) -> None:
    """Register a place that is an argument, made anew for each value."""

    def make(k: float) -> Place:
        held = [value(k)]
        reads = read

        def f(t, y, given):
            return [-reads(given) * y[0]]

        def change(new: float) -> None:
            held[0] = value(new)

        return Place(f, change, lambda: (held[0],))

    PLACES[f"args_{name}"] = make


class Parameters:
    """Something of a user's own in `args`."""

    def __init__(self, k):
        self.k = k


in_args("integer", int, lambda given: [0.0, 1.0, 2.0][given])
in_args("boolean", lambda k: k == 2.0, lambda given: 2.0 if given else 1.0)
in_args("string", lambda k: "a" * int(k), len)
in_args("none", lambda k: None if k == 1.0 else "two", lambda given: 2.0 if given else 1.0)
in_args("callable", lambda k: lambda: k, lambda given: given())
in_args("callables", lambda k: [lambda: k], lambda given: given[0]())
in_args("object", Parameters, lambda given: given.k)
in_args("integers", lambda k: [int(k)], lambda given: [0.0, 1.0, 2.0][given[0]])
in_args(
    "tuple_or_list",
    lambda k: [1.0] if k == 1.0 else (1.0,),
    lambda given: 1.0 + (type(given) is tuple),
)
in_args("key", lambda k: {k: 1.0}, lambda given: next(iter(given)))
in_args("set", lambda k: {k}, max)


@place
def args_changed_in_place(k):
    """An object in `args` changes, and is passed again."""
    given = Parameters(k)
    change = lambda new: setattr(given, "k", new)  # noqa: E731
    return Place(lambda t, y, p: [-p.k * y[0]], change, lambda: (given,))


@place
def args_list_changed_in_place(k):
    """A list of ints in `args` changes, and is passed again."""
    given = [int(k)]
    change = lambda new: given.__setitem__(0, int(new))  # noqa: E731
    return Place(lambda t, y, p: [-[0.0, 1.0, 2.0][p[0]] * y[0]], change, lambda: (given,))
