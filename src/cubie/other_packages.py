"""What stands in for keyword arguments that other packages have, and this one has not.

Names are those that the packages document: SciPy's `odeint` and `ode`, diffrax, torchdiffeq, and
the CuBIE of the Python package index. Those of SciPy's `solve_ivp` are all here.
"""

from __future__ import annotations

from collections.abc import Mapping

_SAVE = "Give the times as t_eval=; without it a batch keeps final states, save='steps' every step."
_STEP = "Give first_step=; a method without an error estimate, such as 'rk4', keeps it throughout."
_TOLERANCES = "Give rtol= and atol=, a number or one for each state."
_CONTROLLER = (
    "Give step_controller= ('i', 'pi', 'pid', 'gustafsson', 'fixed'), with rtol=, atol=, safety=, "
    "min_factor=, max_factor=."
)
_METHOD = "Give method=, a name such as 'tsit5', 'dop853', 'kvaerno5' or 'rodas5p'."
_ARGS = "Give args=, a tuple; NumPy arrays in it sweep over the runs."
_EVENTS = (
    "Give events=, functions (t, y, *args) whose roots are found; one with the attribute "
    "`terminal = True` ends the run."
)
_FAILED = "A failed run raises nothing: see result.status, result.success and result.message."
_JACOBIAN = "The Jacobian of a traced fun is derived; for others give jac= or jac_sparsity=."
_STIFF = (
    "Choose the family of methods by method=: 'tsit5' or 'dop853', for stiff systems 'rodas5p' or "
    "'kvaerno5'."
)
_ORDER = "The order is that of the method: 'bogacki_shampine32', 'tsit5', 'vern7', 'dop853'."
_LAYOUT = (
    "fun(t, y, *args) gets t first, and y is (n, n_points) in results, of a batch (n_runs, ...)."
)
_SUMMARIES = "Give summaries={'y0': ['max', 'mean']}, by states and observables."
_PLACES = "Give locations='auto', 'local' or 'shared', or {buffer}_location= for one buffer."
_DERIVATIVES = (
    "Give sensitivities='parameters', or names: result.dy has exact derivatives, and "
    "result.gradient(loss) those of a loss."
)
_DRIVERS = "Give cubie.Interpolant(times, values) in args, and call it in fun as u(t)."
_PRINT = "Nothing is printed as runs are solved: print the result to see what happened."

_ODEINT_AND_ODE: Mapping[str, str] = {
    "Dfun": "Give jac=, as jac(t, y, *args).",
    "col_deriv": "Give jac= with derivatives of a component along a row.",
    "full_output": "Every result has nfev, njev, nlu, n_steps, n_rejected, status and message.",
    "ml": "Give lband=.",
    "mu": "Give uband=.",
    "tcrit": "Give breakpoints=: times that no step crosses.",
    "h0": _STEP,
    "hmax": "Give max_step=.",
    "hmin": "Give min_step=.",
    "ixpr": _PRINT,
    "printmessg": _PRINT,
    "verbosity": _PRINT,
    "mxstep": "Give max_steps=: attempted steps of a run in all.",
    "nsteps": "Give max_steps=: attempted steps of a run in all.",
    "mxhnil": _PRINT,
    "mxordn": _ORDER,
    "mxords": _ORDER,
    "max_order_ns": _ORDER,
    "max_order_s": _ORDER,
    "order": _ORDER,
    "tfirst": _LAYOUT,
    "with_jacobian": _JACOBIAN,
    "ifactor": "Give max_factor=.",
    "dfactor": "Give min_factor=.",
    "beta": _CONTROLLER,
    "t": "Give t_span=(start, end), and the times to save at as t_eval=.",
    "func": "The right-hand side is the first argument, fun(t, y, *args).",
    "f": "The right-hand side is the first argument, fun(t, y, *args).",
}
_DIFFRAX: Mapping[str, str] = {
    "saveat": _SAVE,
    "stepsize_controller": _CONTROLLER,
    "solver": _METHOD,
    "dt0": _STEP,
    "t0": "Give t_span=(t0, t1).",
    "t1": "Give t_span=(t0, t1).",
    "terms": "The right-hand side is the first argument, fun(t, y, *args).",
    "adjoint": _DERIVATIVES,
    "event": _EVENTS,
    "discrete_terminating_event": (
        "Give events=, a condition (t, y, *args) with the attributes `terminal = True` and "
        "`on = 'accept'`: it is looked at at the end of each step."
    ),
    "throw": _FAILED,
    "progress_meter": _PRINT,
    "solver_state": "Start from result.y[..., -1] as y0.",
    "controller_state": "Give first_step=, the size that the last solve ended with.",
    "made_jump": "Give breakpoints=: times that no step crosses.",
    "jump_ts": "Give breakpoints=: times that no step crosses.",
    "step_ts": "Give breakpoints=, or t_eval= with t_eval_exact=True: steps land on these times.",
    "pcoeff": "Give kp=, of step_controller='pid'.",
    "icoeff": "Give ki=, of step_controller='pid'.",
    "dcoeff": "Give kd=, of step_controller='pid'.",
    "dtmin": "Give min_step=.",
    "dtmax": "Give max_step=.",
    "force_dtmin": "A run that needs steps below min_step ends, with status STEP_TOO_SMALL.",
    "factormin": "Give min_factor=.",
    "factormax": "Give max_factor=.",
    "root_finder": (
        "Give newton_tolerance=, max_newton_iterations= and linear_solver=, of implicit methods."
    ),
    "root_find_max_steps": "Give max_newton_iterations=.",
}
_TORCHDIFFEQ: Mapping[str, str] = {
    "options": "Give each option as a keyword argument of its own, as first_step=.",
    "event_fn": _EVENTS,
    "reverse_time": "Give t_span with the end before the start.",
    "adjoint_params": _DERIVATIVES,
    "adjoint_rtol": _DERIVATIVES,
    "adjoint_atol": _DERIVATIVES,
    "adjoint_method": _DERIVATIVES,
    "adjoint_options": _DERIVATIVES,
    "step_size": _STEP,
    "max_num_steps": "Give max_steps=: attempted steps of a run in all.",
    "grid_points": "Give t_eval= with t_eval_exact=True: steps land on these times.",
    "interp": _SAVE,
    "perturb": "Give breakpoints= for times at which fun jumps.",
    "norm": "It is the root mean square of error / (atol + rtol*abs(y)): give atol of each state.",
}
_PYPI_CUBIE: Mapping[str, str] = {
    "algorithm": _METHOD,
    "duration": "Give t_span=(start, start + duration).",
    "settling_time": "Give after=, of summaries, and t_eval= for points.",
    "warmup": "Give after=, of summaries, and t_eval= for points.",
    "dt": _STEP,
    "dt_min": "Give min_step=.",
    "dt_max": "Give max_step=.",
    "dt_save": _SAVE,
    "save_every": _SAVE,
    "dt_summarise": "Give window=(start, end), of all summaries.",
    "summarise_every": "Give window=(start, end), of all summaries.",
    "output_types": "Give t_eval=, save_states=, observables= and summaries=.",
    "saved_states": "Give save_states=, indices or names.",
    "saved_state_indices": "Give save_states=, indices or names.",
    "saved_observables": "Give save_observables=, indices or names.",
    "saved_observable_indices": "Give save_observables=, indices or names.",
    "save_variables": "Give save_states= and save_observables=, indices or names.",
    "summarised_states": _SUMMARIES,
    "summarised_state_indices": _SUMMARIES,
    "summarised_observables": _SUMMARIES,
    "summarised_observable_indices": _SUMMARIES,
    "initial_values": "Give y0=, (n,) or (n_runs, n).",
    "parameters": _ARGS,
    "drivers": _DRIVERS,
    "grid_type": "Make a grid with np.meshgrid(...), and give each axis after .ravel() in args.",
    "blocksize": "Give block_size=.",
    "precision": "Give dtype='float32' or 'float64'.",
    "memory_settings": _PLACES,
    "loop_settings": "Give each setting as a keyword argument of its own.",
    "step_control_settings": _CONTROLLER,
    "algorithm_settings": "Give each setting as a keyword argument of its own.",
    "time_logging_level": _PRINT,
    "krylov_max_iters": "Give max_linear_iterations=.",
    "newton_max_iters": "Give max_newton_iterations=.",
    "max_newton_iters": "Give max_newton_iterations=.",
    "max_linear_iters": "Give max_linear_iterations=.",
    "linear_correction_type": "Give linear_solver='minimal_residual' or 'steepest_descent'.",
    "preconditioner_type": "Give preconditioner=.",
}
_OTHERS: Mapping[str, str] = {
    "tol": _TOLERANCES,
    "abstol": "Give atol=.",
    "reltol": "Give rtol=.",
    "saveat_times": _SAVE,
    "tspan": "Give t_span=(start, end).",
    "n_steps": "Give first_step=(end - start)/n_steps, of a method without an error estimate.",
    "maxiters": "Give max_steps=: attempted steps of a run in all.",
    "params": _ARGS,
    "p": _ARGS,
    "stiff": _STIFF,
    "workers": "Runs are shared among all cores: y0 of shape (n_runs, n), or arrays in args.",
    "n_jobs": "Runs are shared among all cores: y0 of shape (n_runs, n), or arrays in args.",
    "callback": "No Python runs while runs are solved: give observables= or summaries=.",
}
_WHERE: Mapping[str, Mapping[str, str]] = {
    "SciPy's odeint and ode": _ODEINT_AND_ODE,
    "diffrax": _DIFFRAX,
    "torchdiffeq": _TORCHDIFFEQ,
    "the CuBIE of the Python package index": _PYPI_CUBIE,
    "other packages": _OTHERS,
}


def instead_of(name: str) -> str:
    """Return what to use in place of an option of another package; "" where it is none's."""
    for known in _WHERE.values():
        if name in known:
            return known[name]
    return ""


def names_elsewhere() -> Mapping[str, tuple[str, ...]]:
    """Return the names that are known, by whose they are."""
    return {package: tuple(known) for package, known in _WHERE.items()}
