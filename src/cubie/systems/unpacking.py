"""Reads from a function's code which of its local names hold which of its states.

    v, w = y                        u = np.asarray(y)        a, b = y[:2]
    v, w = y[0], y[1]               v = float(u[0])          *rest, w = y

Code is followed in the order in which it is written, with what each instruction leaves on the stack
as far as that is the states: all of them, a slice, one. Whatever else is done to them, and whatever
two branches meet in, is unknown, so that a name is found only where its state is certain.
"""

import dis
import functools
import re
from collections.abc import Iterator, Sequence
from types import CodeType
from typing import Any, NamedTuple

# What returns the states as they are, of functions and of methods.
COPIES = ("list", "tuple", "array", "asarray", "asanyarray", "ascontiguousarray", "atleast_1d",
          "copy", "deepcopy", "ravel")  # fmt: skip
OWN_COPIES = ("copy", "tolist", "ravel", "flatten", "astype", "view")
SAME_NUMBER = ("float", "float64", "complex", "complex128")  # of one state


class Parts(NamedTuple):
    """What was found.

    Attributes
    ----------
    whole : tuple of tuple of str
        Names that all states are taken apart into at once, as often as that is done.
    places : tuple of (str, int)
        Names that hold one state, and its number; negative ones count from the end.
    """

    whole: tuple[tuple[str, ...], ...]
    places: tuple[tuple[str, int], ...]


class _Several(NamedTuple):
    """The states, or those that slices one after another leave of them."""

    cuts: tuple[slice, ...] = ()

    @property
    def are_all(self) -> bool:
        return all(cut in (slice(None), slice(None, None, 1), slice(0, None)) for cut in self.cuts)

    def places(self, n: int | None) -> Sequence[int] | None:
        """Return their numbers among so many, where that is known."""
        if n is None:
            return None
        left = range(n)
        for cut in self.cuts:
            left = left[cut]
        return left


class _Entry(NamedTuple):
    """One state."""

    place: int


class _Constant(NamedTuple):
    value: Any


class _Called(NamedTuple):
    """A global name, an attribute of one, or a method of the states."""

    name: str
    of: Any = None


class _Items(NamedTuple):
    """A tuple or a list of values."""

    values: tuple[Any, ...]


_UNKNOWN, _NULL = object(), object()


class _Step(NamedTuple):
    """One instruction; what a version of Python joins two in is two, of which one begins it."""

    name: str
    value: Any
    one: dis.Instruction
    begins: bool = True


@functools.cache
def taken_apart(code: CodeType, y: str, n: int | None = None) -> Parts:
    """Return what a function takes its states, `y`, apart into.

    Parameters
    ----------
    n : int, optional
        How many states there are; where that is not known, slices of them are left out.
    """
    reader = _Reader(y, n)
    steps = list(_steps(code))
    for i, step in enumerate(steps):
        reader.read(step, steps[i + 1 :])
    return Parts(tuple(reader.whole), tuple(dict.fromkeys(reader.found)))


def _steps(code: CodeType) -> Iterator[_Step]:
    for one in dis.get_instructions(code):
        kinds = re.findall("(LOAD|STORE)_(?:FAST|DEREF)", one.opname)
        if kinds and "CLEAR" not in one.opname:
            values = one.argval if isinstance(one.argval, tuple) else (one.argval,)
            for i, (kind, value) in enumerate(zip(kinds, values, strict=True)):
                yield _Step(kind, value, one, i == 0)
        else:
            yield _Step(one.opname, one.argval, one)


class _Reader:
    """What is known while code is read."""

    def __init__(self, y: str, n: int | None):
        self.n = n
        self.held: dict[str, Any] = {y: _Several()}
        self.stack: list[Any] = []
        self.by_name = 0  # arguments of the next call that are given so
        self.whole: list[tuple[str, ...]] = []
        self.found: list[tuple[str, int]] = []

    def read(self, step: _Step, after: Sequence[_Step]) -> None:
        """Follow one instruction."""
        if step.one.is_jump_target and step.begins:
            self._forget(len(self.stack))
        follow = getattr(self, f"_{step.name.lower()}", None)
        if step.name == "UNPACK_SEQUENCE":
            self._unpack(step.value, after)
        elif follow is not None:
            follow(step)
        else:
            effect = dis.stack_effect(step.one.opcode, step.one.arg, jump=False)
            self._forget(max(0, len(self.stack) + effect))

    def _forget(self, size: int) -> None:
        self.stack[:] = [_UNKNOWN] * size

    def _pop(self) -> Any:
        return self.stack.pop() if self.stack else _UNKNOWN

    def _popped(self, n: int) -> list[Any]:
        return [self._pop() for _ in range(n)][::-1]

    # ---- names, and the stack itself ---------------------------------------------------

    def _load(self, step: _Step) -> None:
        self.stack.append(self.held.get(step.value, _UNKNOWN))

    def _store(self, step: _Step) -> None:
        value = self.held[step.value] = self._pop()
        if isinstance(value, _Entry):
            self.found.append((step.value, value.place))

    def _load_const(self, step: _Step) -> None:
        self.stack.append(_Constant(step.value))

    _load_small_int = _load_const

    def _load_global(self, step: _Step) -> None:
        called = _Called(step.value)
        if not (step.one.arg or 0) & 1:
            self.stack.append(called)
        else:
            self.stack.extend([_NULL, called])

    def _load_name(self, step: _Step) -> None:
        self.stack.append(_Called(step.value))

    def _push_null(self, step: _Step) -> None:
        self.stack.append(_NULL)

    def _pop_top(self, step: _Step) -> None:
        self._pop()

    def _copy(self, step: _Step) -> None:
        i = step.one.arg or 1
        self.stack.append(self.stack[-i] if i <= len(self.stack) else _UNKNOWN)

    def _swap(self, step: _Step) -> None:
        i = step.one.arg or 1
        if i <= len(self.stack):
            self.stack[-1], self.stack[-i] = self.stack[-i], self.stack[-1]
        else:
            self._forget(len(self.stack))

    def _nothing(self, step: _Step) -> None:
        pass

    _resume = _nop = _cache = _extended_arg = _precall = _not_taken = _nothing
    _make_cell = _copy_free_vars = _nothing

    # ---- what states are put into, and taken out of ----------------------------------------

    def _build_tuple(self, step: _Step) -> None:
        self.stack.append(_Items(tuple(self._popped(step.one.arg or 0))))

    _build_list = _build_tuple

    def _list_extend(self, step: _Step) -> None:
        more, to = self._pop(), self._pop()
        empty = to == _Items(()) and step.one.arg == 1
        self.stack.append(more if empty and isinstance(more, (_Several, _Items)) else _UNKNOWN)

    def _call_intrinsic_1(self, step: _Step) -> None:
        known = self.stack and isinstance(self.stack[-1], (_Several, _Items))
        if not (known and "LIST_TO_TUPLE" in step.one.argrepr):
            self._pop()
            self.stack.append(_UNKNOWN)

    def _list_to_tuple(self, step: _Step) -> None:  # before Python 3.12
        pass

    def _build_slice(self, step: _Step) -> None:
        self.stack.append(_slice(self._popped(step.one.arg or 2)))

    def _binary_slice(self, step: _Step) -> None:
        bounds = _slice(self._popped(2))
        self.stack.append(self._entry_of(self._pop(), bounds))

    def _binary_subscr(self, step: _Step) -> None:
        key = self._pop()
        self.stack.append(self._entry_of(self._pop(), key))

    def _binary_op(self, step: _Step) -> None:
        if step.one.argrepr == "[]":
            self._binary_subscr(step)
        else:
            self._popped(2)
            self.stack.append(_UNKNOWN)

    def _entry_of(self, of: Any, key: Any) -> Any:
        if not isinstance(of, _Several) or not isinstance(key, _Constant):
            return _UNKNOWN
        if isinstance(key.value, slice):
            return _Several((*of.cuts, key.value))
        if type(key.value) is not int:
            return _UNKNOWN
        if of.are_all:
            return _Entry(key.value)
        places = of.places(self.n)
        there = places is not None and -len(places) <= key.value < len(places)
        return _Entry(places[key.value]) if places is not None and there else _UNKNOWN

    def _unpack(self, n: int, after: Sequence[_Step]) -> None:
        of = self._pop()
        parts: Sequence[Any] = [_UNKNOWN] * n
        if isinstance(of, _Items) and len(of.values) == n:
            parts = of.values
        elif isinstance(of, _Several) and of.are_all:
            parts = [_Entry(i) for i in range(n)]
            stored = after[:n]
            if len(stored) == n and all(step.name == "STORE" for step in stored):
                self.whole.append(tuple(step.value for step in stored))
        elif isinstance(of, _Several) and (places := of.places(self.n)) and len(places) == n:
            parts = [_Entry(i) for i in places]
        self.stack.extend(reversed(parts))

    def _unpack_ex(self, step: _Step) -> None:
        of, arg = self._pop(), step.one.arg or 0
        before, behind = arg & 0xFF, arg >> 8
        parts: list[Any] = [_UNKNOWN] * (before + 1 + behind)
        places = of.places(self.n) if isinstance(of, _Several) else None
        if places is not None and len(places) >= before + behind:
            last = len(places) - behind
            parts[:before] = [_Entry(i) for i in places[:before]]
            parts[before] = _Several((*of.cuts, slice(before, last)))
            parts[before + 1 :] = [_Entry(i) for i in places[last:]]
        self.stack.extend(reversed(parts))

    # ---- calls -----------------------------------------------------------------------------

    def _load_attr(self, step: _Step) -> None:
        of = self._pop()
        if isinstance(of, _Several):
            attribute = of if step.value == "T" else _Called(step.value, of)
        else:
            attribute = _Called(step.value) if isinstance(of, _Called) else _UNKNOWN
        method = step.name == "LOAD_METHOD" or "NULL|self" in step.one.argrepr
        self.stack.extend([_NULL, attribute] if method else [attribute])

    _load_method = _load_attr

    def _kw_names(self, step: _Step) -> None:
        self.by_name = len(step.value) if isinstance(step.value, tuple) else 1

    def _call_kw(self, step: _Step) -> None:
        names = self._pop()
        value = names.value if isinstance(names, _Constant) else ()
        self.by_name = len(value) if isinstance(value, tuple) else 0
        self._call(step)

    def _call(self, step: _Step) -> None:
        n = step.one.arg or 0
        given = self._popped(n)[: n - self.by_name]
        self.by_name = 0
        called = next((one for one in self._popped(2) if isinstance(one, _Called)), None)
        self.stack.append(_UNKNOWN if called is None else _result(called, given))


def _result(called: _Called, given: Sequence[Any]) -> Any:
    """Return what a call returns, where that is states."""
    states = [one for one in given if isinstance(one, (_Several, _Entry))]
    if called.of is not None:
        return called.of if called.name in OWN_COPIES and not states else _UNKNOWN
    if len(states) != 1:
        return _UNKNOWN
    (only,) = states
    if isinstance(only, _Entry):
        return only if called.name in SAME_NUMBER and len(given) == 1 else _UNKNOWN
    if called.name == "map":
        first = given[0]
        same = isinstance(first, _Called) and first.name in SAME_NUMBER
        return only if same and len(given) == 2 else _UNKNOWN
    return only if called.name in COPIES and given[0] is only else _UNKNOWN


def _slice(bounds: Sequence[Any]) -> Any:
    values = [one.value for one in bounds if isinstance(one, _Constant)]
    whole = all(value is None or type(value) is int for value in values)
    return _Constant(slice(*values)) if whole and len(values) == len(bounds) else _UNKNOWN
