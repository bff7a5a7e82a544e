"""Sweeps beside the same runs solved by `solve_ivp`: each by itself, and all as one batch.

What a run of a sweep is, tests say by hand: nothing here knows what names of axes mean.
"""

import numpy as np

from cubie import solve_ivp

WORK = ("n_steps", "n_rejected", "nfev", "njev", "nlu", "n_newton", "n_linear", "n_stiff")
OF_RUNS = (*WORK, "t_reached", "status")


def grid_rows(**axes):
    """Return the values of each run of a grid, in C order."""
    found = [{}]
    for name, values in axes.items():
        found = [{**row, name: float(value)} for row in found for value in values]
    return found


def require_same(sweep, runs, fun, *, t_eval=None, together=True, names=None, **options):
    """Compare all that is kept of a sweep, to the last bit, with what `solve_ivp` returns.

    Parameters
    ----------
    sweep : Sweep
        All done.
    runs : list of (t_span, y0, args)
        Of each run, as `solve_ivp` takes them.
    fun, t_eval, **options
        Of `solve_ivp`.
    together : bool
        Compare with one batch of all runs, too.
    names : mapping of str to str, optional
        What the sweep calls a state in the names of its summaries.
    """
    kept = kept_by_run(sweep)
    assert sweep.n_runs == len(runs)
    if t_eval is None:
        options["save"] = "final"
    named = names or {}
    for run, (span, y0, args) in enumerate(runs):
        alone = solve_ivp(fun, span, y0, t_eval=t_eval, args=args, **options)
        wanted = dict(_of_result(alone, t_eval is None, named))
        _require_equal({name: values[run] for name, values in kept.items()}, wanted, f"run {run}")
    if together:
        span, y0, args = batch_of(runs)
        batch = solve_ivp(fun, span, y0, t_eval=t_eval, args=args, **options)
        _require_equal(kept, dict(_of_result(batch, t_eval is None, named)), "all together")


def kept_by_run(sweep):
    """Return all variables of a sweep, with its runs along the first axis."""
    dataset, n, width = sweep.to_xarray(), sweep.n_runs, len(sweep.shape)
    found = {}
    for name, array in dataset.data_vars.items():
        if name not in sweep._layout.drawn:
            assert array.dims[:width] == sweep.dims
            found[name] = array.values.reshape(n, *array.shape[width:])
    return found


def _of_result(result, final, names):
    """Yield what a sweep calls something, and what `solve_ivp` returned of it."""
    last = (lambda array: array[..., -1]) if final else (lambda array: array)
    yield "y", last(result.y)
    for name, values in (result.observables or {}).items():
        yield name, last(values)
    for key, labels in (result.summaries or {}).items():
        key = f"y{key}" if isinstance(key, int) else key
        for label, value in labels.items():
            told = f"{label} of {names.get(key, key)}"
            parts = value._asdict() if hasattr(value, "_asdict") else {"": value}
            yield from ((f"{told}: {part}" if part else told, one) for part, one in parts.items())
    if result.t_events is not None:
        yield "n_events", np.stack(result.n_events, axis=-1)
        yield "t_events", result.t_events
        yield "y_events", result.y_events
    for name in OF_RUNS:
        yield name, getattr(result, name)


def _require_equal(kept, wanted, which):
    for name, value in wanted.items():
        if name in ("t_events", "y_events"):
            _require_events(kept.get(name), value, name == "y_events", f"{name} of {which}")
        elif name in kept:
            found, value = kept[name], np.asarray(value)
            assert found.shape == value.shape, f"{name} of {which}"
            np.testing.assert_array_equal(found, value, err_msg=f"{name} of {which}")
        else:  # what there is nothing of is not kept
            assert not np.any(value), f"{name} of {which}"
    assert set(kept) <= set(wanted)


def _require_events(kept, events, of_states, which):
    """Compare events, of which a sweep has room for a given number and NaN where there are less."""
    if kept is None:
        assert not any(np.size(of_one) for of_one in events), which
        return
    axis = kept.ndim - (3 if of_states else 2)  # of the events
    for k, of_one in enumerate(events):
        found, of_one = np.take(kept, k, axis=axis), np.asarray(of_one)
        n = of_one.shape[axis] if of_one.size else 0
        there, rest = np.split(found, [n], axis=axis)
        if n:
            np.testing.assert_array_equal(there, of_one, err_msg=which)
        assert np.isnan(rest).all(), which


def batch_of(runs):
    """Return the span, states and args of all runs as `solve_ivp` takes a batch of them."""
    starts, ends = (np.array([span[i] for span, _, _ in runs], dtype=float) for i in (0, 1))
    own = len(set(starts)) > 1 or len(set(ends)) > 1
    span = (starts, ends) if own else runs[0][0]
    args = tuple(_stacked(values) for values in zip(*(args for _, _, args in runs), strict=True))
    return span, np.array([y0 for _, y0, _ in runs]), args


def _stacked(values):
    """Return an entry of args of many runs: what differs between them as an array."""
    first = values[0]
    if isinstance(first, dict):
        return {key: _stacked([value[key] for value in values]) for key in first}
    if isinstance(first, (list, tuple)):
        return type(first)(_stacked(list(entries)) for entries in zip(*values, strict=True))
    if isinstance(first, np.ndarray):
        same = all(np.array_equal(first, value) for value in values)
        return first if same else np.stack(values)
    same = all(value is first or value == first for value in values)
    return first if same else np.array(values)
