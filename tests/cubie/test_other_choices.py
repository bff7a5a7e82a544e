"""What another choice has, or what is not installed, is named in the message that refuses it."""

import sys
import types

import pytest

from cubie import Solver, UnknownOption
from cubie.backend.cuda.resources import needing_the_toolkit
from cubie.errors import NoToolkit


def decay(t, y):
    """One state."""
    return [-y[0]]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"method": "kvaerno5", "neumann_order": 3},
            "It is one with linear_solver='minimal_residual', 'steepest_descent', 'bicgstab' or "
            "'gmres'.",
        ),
        (
            {"method": "kvaerno5", "neumann_ordr": 3},
            "Did you mean `neumann_order`, which is one with linear_solver='minimal_residual', "
            "'steepest_descent', 'bicgstab' or 'gmres'?",
        ),
        ({"kp": 0.1}, "It is one with step_controller='pi' or 'pid'."),
        (
            {"method": "rodas5p", "max_newton_iterations": 3},
            "It is one with methods such as 'kvaerno5' (diagonally implicit), 'radau_iia_5' "
            "(fully implicit) or 'bdf' (of several steps).",
        ),
        (
            {"preconditioner": "jacobi"},
            "It is one with implicit methods and linear_solver='minimal_residual', "
            "'steepest_descent', 'bicgstab' or 'gmres'.",
        ),
        (
            {"method": "kvaerno5", "linear_solver": "gmres", "jacobian_entries_location": "local"},
            "It is one with preconditioner='ilu0', 'block_jacobi' or 'banded'.",
        ),
        (
            {"method": "bdf", "linear_solver": "bicgstab", "gmres_restart": 5},
            "It is one with linear_solver='gmres'.",
        ),
        (
            {"method": "kvaerno5", "linear_solver": "gmres", "factor_dtype": "float32"},
            "It is one with linear_solver='lu'.",
        ),
        (  # Rosenbrock methods have it only to refuse it.
            {"method": "tsit5", "factor_dtype": "float32"},
            "It is one with methods such as 'kvaerno5' (diagonally implicit), 'radau_iia_5' "
            "(fully implicit) or 'bdf' (of several steps).",
        ),
        (
            {"method": "tsit5", "newton_tolerance": -1.0},
            "It is one with methods such as 'kvaerno5' (diagonally implicit), 'radau_iia_5' "
            "(fully implicit) or 'bdf' (of several steps).",
        ),
        ({"stage_rsh_location": "local"}, "Did you mean `stage_rhs_location`?"),
        (
            {"teval": [1.0]},
            "Did you mean `t_eval`, which is one that `solve_ivp` and `Solver.solve` take?",
        ),
        ({"t_span": (0.0, 1.0)}, "It is one that `solve_ivp` and `Solver.solve` take."),
    ],
)
def test_an_option_of_another_choice_is_told_with_that_choice(given, told):
    """The nearest choice is named: linear solver, controller, then method."""
    with pytest.raises(UnknownOption) as raised:
        Solver(decay, **given)
    assert f" of this solver. {told} Known options, the nearest of " in str(raised.value)


def test_a_missing_toolkit_is_told_with_what_installs_it(monkeypatch):
    """A library that cannot be found becomes an import error with the extra to install."""

    class DynamicLibNotFoundError(RuntimeError):
        pass

    finder = types.ModuleType("cuda.pathfinder")
    finder.__dict__["DynamicLibNotFoundError"] = DynamicLibNotFoundError
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", finder)
    with pytest.raises(NoToolkit, match=r'pip install "cubie-ode\[cu13\]".*libnvrtc'):  # noqa: SIM117
        with needing_the_toolkit():
            raise DynamicLibNotFoundError("no libnvrtc.so.13")
    assert issubclass(NoToolkit, ImportError)
