"""`trace`: from a SciPy right-hand side to a `System`, by way of the cache.

The expressions are the tracer's own and not SymPy's: SymPy takes longer to import than a cached
sweep may take in all, reorders sums and products (so results would differ from the user's code by
rounding), and its elimination of common subexpressions grows faster than the system. SymPy
expressions are made on demand from the generated module, see `cubie.systems.symbolic.from_trace`.
"""

import hashlib
import re
import uuid
from typing import Any

from cubie.backend import package_digest, tracing
from cubie.systems.adapter import plain_function, write_adapter
from cubie.systems.batch import checked_args
from cubie.systems.complex_pairs import is_of_pairs
from cubie.systems.drivers.interpolant import calls_seen
from cubie.systems.errors import ObservableError, RightHandSideError, Untraceable
from cubie.systems.forms import containers_of, form_of
from cubie.systems.parameters import (
    check_signature,
    checked_names,
    leaves_of,
    parameter_names,
    slots_of,
)
from cubie.systems.references.fingerprint import Unseen
from cubie.systems.references.originals import original
from cubie.systems.references.watched import Watched, fingerprint
from cubie.systems.store import Store, digest_of_text
from cubie.systems.system import System
from cubie.systems.wrapped import asked, takes_columns


def trace(
    fun, n_states, args=(), *, names=None, cache_dir=None, watched=None, constants=(), swept=None,
    near=(),
):  # fmt: skip
    """Turn `fun(t, y, *args)` into straight-line code over one run's states.

    Parameters
    ----------
    fun : callable
        Ordinary SciPy right-hand side; must depend on `t`, `y` and `args` only, and must not
        have side effects (it is called several times here, and never again afterwards).
    n_states : int
    args : tuple
        One run's arguments. Numbers and arrays become parameters; their values do not matter
        here, except that an int used as a count or an index becomes a constant.
    names : sequence of str, optional
        Names of the states; `y0`, `y1`, ... by default.
    cache_dir : path, optional
        Where generated modules are kept, if they can be; by default $CUBIE_CACHE_DIR or the user's
        cache directory.
    watched : Watched, optional
        Of `fun` alone, where its content was looked at before.
    constants : collection of path
        Numbers in `args` that become constants and no parameters: samples of tables.
    swept : collection of path, optional
        Entries of `args` that differ between runs. None, as where they are not known: nothing is
        said of what must become constant.
    near : sequence of (t, y), optional
        Where to try `fun` that raises elsewhere.

    Returns
    -------
    System
        Of kind "compiled", with the reason in its note, when `fun` does what has no
        straight-line form (a loop that depends on the states, an unknown function).

    Raises
    ------
    TypeError
        `fun` is not callable, `args` is no tuple or does not fit the signature of `fun`.
    RightHandSideError
        `fun` raises for plain numbers too, or returns no sequence of `n_states` real numbers.
    NeedsConstants
        Samples of a table are parameters that do not differ between runs: they must be among the
        `constants`.
    """
    content = (Watched(fun) if watched is None else watched).current
    of_args = frozenset(constants), swept, near
    return Request.of(fun, n_states, args, names, cache_dir, content, of_args).system()


def trace_observables(
    fun, n_states, args=(), *, names=None, cache_dir=None, constants=(), swept=None, near=()
):
    """Turn `fun(t, y, *args)`, which returns observables, into straight-line code like `trace`.

    Returns
    -------
    System
        Traced, with an output for each observable (`output_names`).

    Raises
    ------
    ObservableError
        `fun` raises, returns something else than numbers with names, or cannot be traced.
    """
    content = Watched(fun).current
    of_args = frozenset(constants), swept, near
    try:
        request = ObservableRequest.of(fun, n_states, args, names, cache_dir, content, of_args)
        return request.system()
    except ObservableError:
        raise
    except RightHandSideError as error:  # of what any traced function may do wrong
        told = re.sub(r"\bfun\b", "observables", str(error))
        raise ObservableError(told, error.of_shape) from error.__cause__


class Request:
    """One call of `trace`, and the steps that answer it."""

    kind = "right-hand side"

    def __init__(self, fun, n_states, args, state_names, store, content, of_args):
        self.fun = fun
        self.n_states = n_states
        self.args = args
        self.state_names = state_names
        self.store = store
        self.constants, self.swept, self.near = of_args
        self.leaves, self.baked = leaves_of(args, self.constants), ()
        self.parameter_names = parameter_names(asked(fun), self.leaves)
        try:
            self.key = None if content is None else self._key(content)
        except Unseen:
            self.key = None

    def _key(self, content):
        form = [form_of(leaf) for leaf in self.leaves]
        parts = (
            *(self.kind, content, self.n_states, self.state_names, form),
            containers_of(self.args),
        )
        # A new version of the package never meets what an old one made of the function.
        return hashlib.sha256(f"{package_digest()} {parts!r}".encode()).hexdigest()

    @classmethod
    def of(cls, fun, n_states, args, names, cache_dir, content, of_args):
        """Return the request, with everything that was given checked."""
        if not callable(fun):
            raise TypeError(f"fun must be callable, fun(t, y, *args); got {fun!r:.80}.")
        if isinstance(n_states, bool) or not hasattr(n_states, "__index__") or n_states < 1:
            raise ValueError(f"n_states must be an int of at least 1; got {n_states!r}.")
        args = tuple(checked_args(args))
        check_signature(asked(fun), args)
        state_names = checked_names(names, int(n_states))
        store = Store(cache_dir)
        return cls(fun, int(n_states), args, state_names, store, content(), of_args)

    def system(self):
        """Return the cached system, or trace now."""
        found = self._cached()
        if found is not None:
            return found
        with tracing():  # another thread may have traced the same
            return self._cached() or self._fresh()

    def _cached(self):
        entry = self.store.read_entry(self.key) if self.key else None
        if entry and "baked" in entry:
            self.baked = baked = self._baked(entry)
            entry = self.store.read_entry(self._key_with(baked)) if baked else None
        note = entry.get("note") if entry else None
        if not entry or type(note) is not str:
            return None
        if entry.get("kind") == "compiled":
            return self._compiled(note)
        source = self.store.read_module(entry.get("digest"))
        if source is None or entry.get("kind") != "traced":
            return None
        path = self.store.module_path(entry["digest"])
        return self._cached_system(entry, source, (path, entry["digest"]), note)

    def _cached_system(self, entry, source, kept, note) -> System | None:
        return self._system(source, kept, "traced", note=note)

    def _baked(self, entry):
        """Return the numbers of the leaves that became constants, as an entry tells them."""
        baked = entry.get("baked", [])
        fits = type(baked) is list and all(
            type(i) is int and 0 <= i < len(self.leaves) and self.leaves[i].integer for i in baked
        )
        return sorted(set(baked)) if fits else []

    def _integers(self):
        return [i for i, leaf in enumerate(self.leaves) if leaf.numeric and leaf.integer]

    def _key_with(self, baked):
        """Return the key that also holds the values of ints that became constants."""
        return fingerprint(self.key, [(i, self.leaves[i].value) for i in baked])

    def _remember(self, baked, **entry):
        if self.key is None:
            return
        if baked:
            self.store.write_entry(self.key, {"baked": sorted(baked)})
            self.store.write_entry(self._key_with(sorted(baked)), entry)
        else:
            self.store.write_entry(self.key, entry)

    def _fresh(self):
        # Imported late: a cached system needs none of the tracer.
        from cubie.systems.drivers.calls import drivers_in
        from cubie.systems.references.kept_state import Watch
        from cubie.systems.references.stateless import check_stateless, writes_to_states
        from cubie.systems.source import write_module
        from cubie.systems.tracing.checking import (
            check_against_original,
            plain_results,
            written_states,
        )
        from cubie.systems.tracing.tracer import trace_outputs

        returned = self._returned()
        watch, changed = Watch(self.fun), []
        plain = original(self.fun)
        for fun in (self.fun, plain):
            watch.add(fun, getattr(fun, "__name__", "fun"))
        watch.add(self.args, "args")
        plain = watch.watched(plain, changed)
        with calls_seen() as called:
            results = plain_results(
                plain, self.n_states, self.args, asked(self.fun), returned, self.near
            )
        known = (self.store.read_entry(self.key) or {}) if self.key else {}
        baked = frozenset(self._baked(known))
        try:
            outputs, baked, note = trace_outputs(
                self.fun, self.n_states, self.args, self.leaves, baked, returned, changed,
                self.swept,
            )  # fmt: skip
            self.baked, drivers = sorted(baked), drivers_in(outputs)
            source = self._written(write_module, outputs, drivers)
            check_against_original(
                source, plain, self.args, results, returned, [*drivers.values()], self.constants
            )
        except Untraceable as reason:
            if called:
                self._refuse_call(called[0], reason)
            check_stateless(self.fun, changed)
            note = writes_to_states(written_states(plain, self.args, results))
            why = f"{reason}. {note.rstrip('.')}" if note else str(reason)
            return self._untraced(why)
        finally:
            watch.restore()
        more, kept = self._about_outputs(returned), self.store.write_module(source)
        if drivers or self._chooses(outputs):
            # Where samples are is not written: found out anew by each process.
            where = {id(leaf.value): leaf.path for leaf in self.leaves}
            more["drivers"] = tuple(where.get(id(d), d) for d in drivers.values())
            return self._system(source, kept, "traced", note=note, **more)
        system = self._system(source, kept, "traced", note=note, **more)
        self._remember(baked, kind="traced", digest=system.digest, note=note, **self._told(system))
        return system

    def _chooses(self, outputs):
        """Tell whether there is a table that is none only because of what sweeps here."""
        graphs = (output.graph for output in outputs if hasattr(output, "graph"))
        return any(graph.most_choices for graph in graphs)

    def _returned(self) -> Any:
        from cubie.systems.tracing.returned import OfStates

        return OfStates(self.n_states)

    def _written(self, write_module, outputs, drivers, in_place=True):
        names = self.state_names, self.parameter_names
        structures = {number: driver.pieces.structure for number, driver in drivers.items()}
        return write_module(outputs, self._title(), *names, in_place, structures)

    def _about_outputs(self, returned):
        """Return what the outputs are, where they are no derivatives."""
        return {}

    def _told(self, system):
        """Return what an entry says of them."""
        return {}

    def _refuse_call(self, called, reason):
        """Refuse what calls a driver and cannot be traced."""
        raise RightHandSideError(
            f"fun calls {called}, which takes a function that can be traced, but this one cannot: "
            f"{reason}."
        ) from None

    def _untraced(self, why):
        self._remember(self._integers(), kind="compiled", note=why)
        return self._compiled(why)

    def _title(self):
        fun = asked(self.fun)
        name = getattr(fun, "__qualname__", type(fun).__qualname__)
        return (
            f"Right-hand side of `{name}`: {self.n_states} states, "
            f"{len(self.parameter_names)} parameters."
        )

    def _system(self, source, kept, kind, **more):
        path, digest = kept
        return System(
            n_states=self.n_states,
            n_parameters=len(self.parameter_names),
            kind=kind,
            source=source,
            path=path,
            digest=more.pop("digest", digest),
            state_names=self.state_names,
            parameter_names=self.parameter_names,
            baked=slots_of(self.leaves, self.baked),
            **more,
        )

    def _compiled(self, reason):
        from cubie.systems.tracing.checking import sample_points

        if is_of_pairs(self.fun):
            raise RightHandSideError(
                f"fun gets complex numbers and cannot be traced: {reason}. Compiled as it stands "
                "it would get real ones only. Write it so that it can be traced, or with real and "
                "imaginary parts as two states."
            )
        in_columns = takes_columns(self.fun)
        function, before, keywords = plain_function(
            original(asked(self.fun) if in_columns else self.fun), reason
        )
        samples = sample_points(self.n_states, self.args, self.constants, self.near)
        source, constants = write_adapter(
            self._title(), self.n_states, self.args, self.leaves, before, keywords, in_columns,
            self._entries(samples),
        )  # fmt: skip
        self.baked = integers = self._integers()
        # What the function computes is not in the adapter's text, so it is hashed along; without
        # a fingerprint nothing may be taken from a cache.
        identity = self._key_with(integers) if self.key else uuid.uuid4().hex
        return self._system(
            source,
            self.store.write_module(source),
            "compiled",
            digest=digest_of_text(f"{identity}\n{source}"),
            note=(
                f"`{function.__name__}` is compiled as it stands, one run at a time, because it "
                f"cannot be traced: {reason}."
            ),
            function=function,
            constants=constants,
            samples=samples,
            **self._about_compiled(),
        )

    def _entries(self, samples) -> Any:
        """Return what the adapter of a compiled function takes of its result; see there."""
        return None

    def _about_compiled(self) -> dict[str, Any]:
        """Return what the outputs of a compiled function are, where they are no derivatives."""
        return {}


class ObservableRequest(Request):
    """One call of `trace_observables`."""

    kind = "observables"

    def _returned(self) -> Any:
        from cubie.systems.tracing.returned import Observed

        return Observed(self.state_names)

    def _written(self, write_module, outputs, drivers, in_place=False):
        return super()._written(write_module, outputs, drivers, in_place)

    def _about_outputs(self, returned):
        return {"n_outputs": len(returned.names), "output_names": returned.names}

    def _told(self, system):
        return {"outputs": list(system.output_names)}

    def _cached_system(self, entry, source, kept, note):
        names = entry.get("outputs")
        if type(names) is not list or not names or any(type(name) is not str for name in names):
            return None
        of_outputs = {"n_outputs": len(names), "output_names": tuple(names)}
        return self._system(source, kept, "traced", note=note, **of_outputs)

    def _untraced(self, why) -> System:
        raise ObservableError(
            f"observables cannot be traced to straight-line code: {why}. Write them without what "
            "is named there (np.where in place of loops that depend on the states, functions of "
            "math and NumPy), or save the states and compute them from `result.y`."
        )

    def _title(self):
        return f"Observables of {self.n_states} states, {len(self.parameter_names)} parameters."
