"""What implicit methods need of a system beside its right-hand side.

Modules like that of the right-hand side are generated from it, and stored next to it: sparse
Jacobian and derivative by time; product of Jacobian and vector, and diagonal. A system that could
not be traced is differentiated by the user's `jac` where that can be traced, else by differences.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from functools import partial

from attrs import evolve, field, frozen

from cubie.backend import package_digest
from cubie.errors import InvalidOption
from cubie.systems.derivatives.given_jacobian import ConstantJacobian, checked_size, dense
from cubie.systems.derivatives.sparsity import Sparsity, column_groups
from cubie.systems.errors import RightHandSideError
from cubie.systems.from_function import trace
from cubie.systems.generated import load_module
from cubie.systems.store import Store, digest_of_text, is_digest
from cubie.systems.system import System
from cubie.systems.uncollected import uncollected

PRODUCTS = "jvp", "diagonal"  # functions of the module of products
# Modules of a system: its matrix, products with it, and what couples sensitivities with states.
MATRIX, OF_PRODUCTS, COUPLING = "derivatives", "products", "coupling"
# To what right-hand sides of sensitivities are exact that are differences themselves.
EXACT_TO = 1e-10
COMMON_SUFFIX = "_COMMON"  # of facts of a module: how many values a function keeps

_EXACT = "The Jacobian is exact: it was derived from the traced right-hand side."
_NOT_NEEDED = (
    "`jac` is not used: the right-hand side was traced, and its exact Jacobian derived from that."
)
_GIVEN = "The Jacobian is the given `jac`; derivatives by time are found by differences."


@frozen
class Derivatives:
    """The derivatives of one system.

    Attributes
    ----------
    kind : {"exact", "given", "differences"}
        Derived from the traced right-hand side, the user's Jacobian, or neither.
    pattern : tuple of (int, int)
        Row and column of every entry of the Jacobian that may differ from zero, in the order in
        which `jacobian` stores them: column after column.
    autonomous : bool
        The right-hand side does not depend on the time.
    constant : bool
        The Jacobian is the same all along a run.
    digest : str
        Hash of all that the functions compute.
    note : str
        How the derivatives are found.
    common : mapping of str to int
        How many values functions of the module compute for several outputs, by their names. These
        get a buffer for them before the last vectors: ``jvp(t, y, p, _common, vec, ...)``.
    path : Path or None
        Where the generated module is kept; None for differences.
    """

    kind: str
    pattern: tuple[tuple[int, int], ...] = field(repr=False)
    autonomous: bool
    constant: bool
    digest: str
    note: str
    path: object = None
    common: Mapping[str, int] = field(factory=dict)
    _source: Callable[[], str] = field(default=str, eq=False, repr=False, alias="source")

    @property
    def module(self):
        """The generated module, read or written on first use.

        ``jacobian(t, y, p, jac, at)`` stores entry k of the pattern in ``jac[at + k]``;
        ``time_derivative(t, y, p, out, at)`` stores the partial derivatives by t. That of
        products has others:
        ``jvp(t, y, p, vec, vec_at, out, at)`` stores J v, with v_j in ``vec[vec_at + j]``;
        ``diagonal(t, y, p, out, at)`` stores df_i/dy_i.
        """
        if self.path is None:
            raise TypeError(f"There is no module of these derivatives: {self.note}")
        return load_module(self.text, self.path)

    @property
    def text(self) -> str:
        """The text of the module."""
        return self._source()


def derivatives_of(system: System, products: bool = False) -> Derivatives:
    """Return the derivatives of a system, from the cache where they were generated before.

    Those of the matrix and those of `products` with it are modules of their own: few methods need
    both.
    """
    if system.kind != "traced" and not system.jacobian_rows:
        return _differences(system)
    return _generated(system, OF_PRODUCTS if products else MATRIX)


def coupling_of(system: System) -> Derivatives:
    """Return what couples the sensitivities of a joint system with its states.

    The module has ``coupling(t, y, p, vec, vec_at, out, at)`` and `time_derivative`. It is
    `constant` where nothing couples them: the coupling is zero. Of equations that cannot be traced
    it is found by differences.
    """
    if system.kind != "traced":
        return _differences(system)
    return _generated(system, COUPLING)


def _generated(system: System, what: str) -> Derivatives:
    store = Store.beside(system.path)
    parts = [
        what,
        package_digest(),
        system.digest,
        *(r.digest for r in system.jacobian_rows),
    ]
    key = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:32]
    written = partial(_written, system, what)
    known = _known(store, key, system.n_states) or _found(store, key, written)
    exact = system.kind == "traced"
    digest, pattern, autonomous, constant, common = known
    return Derivatives(
        kind="exact" if exact else "given",
        pattern=pattern,
        autonomous=autonomous,
        constant=constant,
        digest=digest if exact else f"{digest} {system.digest}",
        note=_EXACT if exact else system.jacobian_note,
        path=store.module_path(digest),
        common=common,
        source=partial(_text, store, digest, written),
    )


# Digest of the module, pattern, autonomous, constant, common values of functions.
Known = tuple[str, tuple[tuple[int, int], ...], bool, bool, dict[str, int]]


def _known(store: Store, key: str, n: int) -> Known | None:
    """Return what was found out before, None where that is not kept."""
    entry = store.read_entry(key) or {}
    names = ("digest", "columns", "autonomous", "constant", "common")
    digest, columns, autonomous, constant, common = map(entry.get, names)
    if not is_digest(digest) or type(columns) is not list:
        return None
    if type(autonomous) is not bool or type(constant) is not bool:
        return None
    if type(common) is not dict or any(type(size) is not int for size in common.values()):
        return None
    if len(columns) != n or any(type(rows) is not list for rows in columns):
        return None
    pattern = tuple((row, column) for column, rows in enumerate(columns) for row in rows)
    if any(type(row) is not int or not 0 <= row < n for row, _ in pattern):
        return None
    return digest, pattern, autonomous, constant, common


def _found(store: Store, key: str, written: Callable[[], str]) -> Known:
    """Write the module, and keep what is asked of it first."""
    source = written()
    path, digest = store.write_module(source)
    module = load_module(source, path)
    columns = [[int(row) for row in rows.split()] for rows in module.PATTERN.splitlines()]
    pattern = tuple((row, column) for column, rows in enumerate(columns) for row in rows)
    common = {
        name.removesuffix(COMMON_SUFFIX).lower(): size
        for name, size in vars(module).items()
        if name.endswith(COMMON_SUFFIX)
    }
    facts = {"autonomous": module.AUTONOMOUS, "constant": module.CONSTANT, "common": common}
    store.write_entry(key, {"digest": digest, "columns": columns, **facts})
    return digest, pattern, module.AUTONOMOUS, module.CONSTANT, common


def _text(store: Store, digest: str, written: Callable[[], str]) -> str:
    """Return the module's text, which need not have been kept."""
    return store.read_module(digest) or written()


def _written(system: System, what: str) -> str:
    # Imported late: derivatives that are known need no expressions.
    from cubie.systems.derivatives.source import write_coupling, write_derivatives

    with uncollected():
        if what == COUPLING:
            return write_coupling(system)
        return write_derivatives(system, products=what == OF_PRODUCTS)


def with_jacobian(
    system: System,
    jac: Callable | None,
    args: tuple = (),
    constants: Collection = (),
    sparsity: Sparsity | None = None,
    n_given: int | None = None,
) -> System:
    """Return the system with the user's Jacobian, where the system needs it.

    Parameters
    ----------
    system : System
        Of a traced one the derivatives are exact: it gets a note that `jac` is not used.
    jac : callable, optional
        ``jac(t, y, *args)`` in SciPy's form, n rows of n numbers, or a sparse matrix; see
        `cubie.systems.derivatives.given_jacobian.read_jacobian` for constant ones.
    args : tuple
        What the system was traced with.
    sparsity : Sparsity, optional
        Of bands: `jac` returns them packed, entry (i, j) in row ``i - j + upper`` of column j.
    n_given : int, optional
        Number of states as the user counts them, where it is another than the system's.

    Raises
    ------
    InvalidOption
        For a `jac` that raises, or returns something else.
    """
    if jac is None:
        return system
    checked_size(jac, n_given or system.n_states)
    system = evolve(system, jacobian_is_given=isinstance(jac, ConstantJacobian))
    if system.kind == "traced":
        return evolve(system, jacobian_note=_NOT_NEEDED)
    directory = system.path.parents[1] if system.path.is_absolute() else None
    numbers = range(system.n_states)
    n = system.n_states
    # Not a closure: to the cache, a function of this package is like any other of its name.
    row = partial(_row, jac)
    if sparsity is not None and sparsity.pattern is None and not isinstance(jac, ConstantJacobian):
        row = partial(_packed_row, jac, sparsity.lower, sparsity.upper)
    try:
        rows = tuple(
            trace(partial(row, i), n, args, cache_dir=directory, constants=constants)
            for i in numbers
        )
    except RightHandSideError as error:
        name = getattr(jac, "__name__", type(jac).__name__)
        told = str(error).replace("fun raises", "it raises")
        if told.startswith("fun returned"):
            told = told.replace("fun returned", "a row is").partition(";")[0].rstrip(".") + "."
        advice = f"It must return {n} rows of {n} numbers: {told}"
        raise InvalidOption("jac", name, advice=advice) from error
    untraced = next((row for row in rows if row.kind != "traced"), None)
    if untraced is not None:
        note = f"`jac` is not used, because it cannot be traced: {untraced.note}"
        return evolve(system, jacobian_note=note)
    if any(row.drivers for row in rows):
        note = "`jac` is not used, because it calls an interpolant, which only a traced `fun` can."
        return evolve(system, jacobian_note=note)
    return evolve(system, jacobian_rows=rows, jacobian_note=_GIVEN)


def _row(jac: Callable, number: int, t, y, *args):
    return dense(jac(t, y, *args))[number]


def _packed_row(jac: Callable, lower: int, upper: int, number: int, t, y, *args):
    bands = dense(jac(t, y, *args))
    columns = range(len(y))
    first, end = max(0, number - lower), min(len(y), number + upper + 1)
    return [bands[number - j + upper][j] if first <= j < end else 0.0 for j in columns]


def _differences(system: System) -> Derivatives:
    n, digest, evaluations = system.n_states, f"differences {system.digest}", "n + 1"
    pattern = system.sparsity
    if system.joint is not None:  # only its base has a matrix
        pattern = ()
    elif pattern is None:
        pattern = tuple((row, column) for column in range(n) for row in range(n))
    else:
        digest = f"{digest} {digest_of_text(repr(pattern))}"
        evaluations = str(len(column_groups(pattern, n)) + 1)
    return Derivatives(
        kind="differences",
        pattern=pattern,
        autonomous=False,
        constant=False,
        digest=digest,
        note=(
            f"The Jacobian is found by differences, {evaluations} evaluations of the right-hand "
            "side, because the right-hand side has no expressions to differentiate. "
            f"{system.jacobian_note or system.note}"
        ).rstrip(),
    )
