"""`sweep`: the door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cubie.errors import Described, InvalidOption
from cubie.sweeps.asked import Asked
from cubie.sweeps.axes import Space, grid
from cubie.sweeps.of_models import as_equations
from cubie.sweeps.prepare import model_of
from cubie.sweeps.running import Sweep
from cubie.sweeps.store import checked_store, is_there
from cubie.sweeps.whole import Whole


def sweep(
    fun: Any,
    t_span: Sequence[Any],
    y0: Any = None,
    *,
    over: Any,
    args: Any = None,
    t_eval: Any = None,
    store: Any = None,
    chunk: int | None = None,
    memory: int | str | None = "80%",
    seed: int = 0,
    **options: Any,
) -> Sweep:
    """Begin a sweep: many runs of one system, whose parameters, states or times vary along axes.

    Nothing is computed before `Sweep.run`. Where `store` holds a part of the same sweep, that goes
    on with what is left.

    Parameters
    ----------
    fun : callable, equations as text or in SymPy, or Model
        See `solve_ivp`. Of a model `y0` and `args` name what has other values than there.
    t_span : (float, float)
        Of all runs, but for 't_start' and 't_end' that are swept.
    y0 : array_like (n_states,) or mapping, optional of a model
        Initial state where it is not swept. A mapping names the states of a function, too: they
        are swept, summarised and shown by these names, and each value goes to the state of its
        name where `fun` takes its states apart into names.
    over : Space, or mapping of names to values
        What varies: `grid`, `zipped`, `table`, `sampled` and products of these; a mapping is a
        grid. Names are arguments of `fun` ('rho'), entries of those ('k[3]'), states ('x',
        'y0[1]'), 't_start' and 't_end'.
    args : tuple or mapping, optional
        Arguments that do not vary, by name, or all in order; what is swept may be among them, and
        its axis counts. A frozen distribution of `scipy.stats` is drawn from for each run anew:
        one value along a dimension is drawn by `sampled` in `over`.
    t_eval : array_like (n_points,), optional
        Times to keep; by default a run's final state.
    store : path, address, or store of Zarr's, optional
        Where results are kept; by default in memory.
    chunk : int, optional
        Runs that are computed, stored and repeated as one; by default what suits memory and store.
    memory : int or str
        What chunks in flight may take, and results in memory: bytes, "8G", or a share of what is
        free.
    seed : int
        Of what each run draws for itself.
    **options
        Those of `solve_ivp` from `method` on: summaries, observables, rtol, ...

    Returns
    -------
    Sweep

    Raises
    ------
    UnknownOption, InvalidOption, InvalidProblem
        Naming what was given and what is allowed.
    StoreError
        Where `store` holds something else; `OtherSweep` where it is another sweep, and says in
        what they differ.

    Warns
    -----
    UserWarning
        Where `fun` does not tell which state is which, and the order of a mapping `y0` decides.
    """
    space, store = _space(over), checked_store(store)
    asked = as_equations(Asked(fun, t_span, y0, args, t_eval, options), space)
    if asked.y0 is None:
        raise TypeError("sweep() lacks `y0`: only models have initial values of their own.")
    model, drawn = model_of(asked, space, seed)
    whole = Whole(model, space, drawn)
    if store is not None and is_there(store):
        return Sweep._gone_on_with(store, whole, memory, chunk)
    return Sweep._new(whole, store, memory, chunk)


def _space(over: Any) -> Space:
    if isinstance(over, Mapping):
        return grid(over)
    if not isinstance(over, Space):
        allowed = (Described("grid(...)"), Described("zipped(...)"), Described("table(...)"),
                   Described("sampled(...)"), Described("a product of them"))  # fmt: skip
        raise InvalidOption("over", over, allowed)
    return over
