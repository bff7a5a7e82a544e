"""A CP-SAT model as data: variables are numbers, rows are text the solver reads.

Rows are written in the solver's own text format (`cp_model.proto`), which it reads
several times faster than Python can build the same model object by object. The solver
is reached through the compiled module below `cp_model`, where there is one: `cp_model`
itself imports pandas, which takes longer than planning a kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import frozen

from cubie_planner.basics import Status
from cubie_planner.engines.cpsat.stoppable import stoppable

SEED = 1

Literal = int
"""A variable that is 0 or 1, or its negation: `negated(x)`."""

Terms = list[tuple[int, int]]
"""A linear expression: coefficients with variables or literals."""

_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


def negated(literal: Literal) -> Literal:
    """Return the literal that is true when `literal` is false."""
    return -literal - 1


@frozen
class SatAnswer:
    """What the solver says.

    Attributes
    ----------
    status : Status
    bound : int
        Proven bound of the objective; 0 without one.
    value : int
        Value of the objective in the solution; 0 without one.
    values : sequence of int
        Value of every variable; empty without a solution.
    core : frozenset of int
        Assumed literals that cannot hold together, when infeasible.
    """

    status: Status
    bound: int
    value: int
    values: Sequence[int]
    core: frozenset[Literal]

    def holds(self, literal: Literal) -> bool:
        """Return whether a literal is true in the solution."""
        return bool(self.values[literal]) if literal >= 0 else not self.values[negated(literal)]


class SatModel:
    """Variables and rows; grows, and can be solved again and again."""

    def __init__(self) -> None:
        self._rows: list[str] = []
        self._n_variables = 0
        self._n_rows = 0
        self._hint: dict[int, int] = {}
        self._engine: _Engine | None = None
        self.true: Literal = self.integer(1, 1)

    def boolean(self) -> Literal:
        """Return a new literal."""
        return self.integer(0, 1)

    def integer(self, lowest: int, highest: int) -> int:
        """Return a new variable with its bounds."""
        self._rows.append(f"variables{{domain:[{lowest},{highest}]}}")
        self._n_variables += 1
        return self._n_variables - 1

    def _row(self, kind: str, content: str, when: Iterable[Literal] = ()) -> int:
        enforced = [literal for literal in when if literal != self.true]
        condition = f"enforcement_literal:{enforced}" if enforced else ""
        self._rows.append(f"constraints{{{condition} {kind}{{{content}}}}}")
        self._n_rows += 1
        return self._n_rows - 1

    def any_of(self, literals: Iterable[Literal], when: Iterable[Literal] = ()) -> None:
        """Require one literal at least, where all of `when` hold."""
        self._row("bool_or", f"literals:{list(literals)}", when)

    def implies(self, first: Literal, second: Literal) -> None:
        """Require `second` where `first` holds."""
        self.any_of([second], [first])

    def at_most_one(self, literals: Iterable[Literal]) -> None:
        """Require that not two of the literals hold."""
        self._row("at_most_one", f"literals:{list(literals)}")

    def exactly_one(self, literals: Iterable[Literal]) -> None:
        """Require that one literal holds and no other."""
        self._row("exactly_one", f"literals:{list(literals)}")

    def linear(
        self,
        terms: Terms,
        lowest: int | None = None,
        highest: int | None = None,
        when: Iterable[Literal] = (),
    ) -> None:
        """Require ``lowest <= sum(coefficient * variable) <= highest``."""
        terms, constant = _plain(terms)
        low = _LOWEST if lowest is None else lowest - constant
        high = _HIGHEST if highest is None else highest - constant
        self._row("linear", f"{_sum(terms)} domain:[{low},{high}]", when)

    def interval(self, unit: int, start: int, size: int, present: Literal) -> int:
        """Return an interval that begins at ``unit * start`` and counts where `present`."""
        begin = f"vars:{start} coeffs:{unit}"
        ends = f"start{{{begin}}} size{{offset:{size}}} end{{{begin} offset:{size}}}"
        return self._row("interval", ends, [present])

    def no_overlap(self, intervals: Iterable[int]) -> None:
        """Keep intervals apart."""
        self._row("no_overlap", f"intervals:{list(intervals)}")

    def hint(self, literal: Literal, value: int) -> None:
        """Give the next solve a value to start from; the literal may be the constant true."""
        self._hint[literal] = int(value)

    def clear_hints(self) -> None:
        """Forget every hint."""
        self._hint.clear()

    def solve(
        self, effort: float, objective: Terms | None = None, assumed: Sequence[Literal] = ()
    ) -> SatAnswer:
        """Minimise `objective`, or find any solution, within a deterministic effort.

        The answer depends on the model alone, never on a clock.
        """
        goal, constant = _plain(objective or [])
        question = [*self._rows]
        if objective is not None:
            question.append(f"objective{{{_sum(goal)}}}")
        if self._hint:
            question.append(
                f"solution_hint{{vars:{[*self._hint]} values:{[*self._hint.values()]}}}"
            )
        if assumed:
            question.append(f"assumptions:{list(assumed)}")
        if self._engine is None:
            self._engine = _Compiled() if _Compiled.available() else _Public()
        self._rows.clear()
        response = self._engine.ask("\n".join(question), effort)
        found = response.status.name in ("OPTIMAL", "FEASIBLE")
        optimised = objective is not None
        return SatAnswer(
            Status[response.status.name],
            round(response.best_objective_bound) + constant if optimised else 0,
            round(response.objective_value) + constant if optimised and found else 0,
            list(response.solution) if found else (),
            frozenset(response.sufficient_assumptions_for_infeasibility),
        )


def _plain(terms: Terms) -> tuple[Terms, int]:
    """Return terms without negations, each variable once, and the constant they leave."""
    found: dict[int, int] = {}
    constant = 0
    for coefficient, literal in terms:
        if literal < 0:
            constant += coefficient
            coefficient, literal = -coefficient, negated(literal)
        found[literal] = found.get(literal, 0) + coefficient
    return [(coefficient, variable) for variable, coefficient in found.items()], constant


def _sum(terms: Terms) -> str:
    variables = ",".join(str(variable) for _, variable in terms)
    coefficients = ",".join(str(coefficient) for coefficient, _ in terms)
    return f"vars:[{variables}] coeffs:[{coefficients}]"


class _Engine:
    """The solver with the rows it has read so far."""

    proto: Any

    def ask(self, question: str, effort: float) -> Any:
        """Read further rows and a question; return the solver's response."""
        self.proto.clear_objective()
        self.proto.clear_solution_hint()
        self.proto.assumptions.clear()
        if not self.proto.merge_text_format(question):
            raise RuntimeError("OR-Tools does not read the planner's model; report this as a bug")
        response = self._solve(effort)
        if response.status.name == "MODEL_INVALID":
            raise RuntimeError("OR-Tools refuses the planner's model; report this as a bug")
        return response

    def _solve(self, effort: float) -> Any:
        raise NotImplementedError


class _Compiled(_Engine):
    """OR-Tools by its compiled module alone."""

    def __init__(self) -> None:
        from ortools.sat.python import cp_model_helper

        self.helper: Any = cp_model_helper
        self.proto = self.helper.CpModelProto()

    @staticmethod
    def available() -> bool:
        """Return whether this version of OR-Tools has the module as it is used here."""
        try:
            from ortools.sat.python import cp_model_helper
        except ImportError:
            return False
        return all(
            hasattr(cp_model_helper, name)
            for name in ("CpModelProto", "SatParameters", "SolveWrapper")
        )

    def _solve(self, effort: float) -> Any:
        solver = self.helper.SolveWrapper()
        solver.set_parameters(_set(self.helper.SatParameters(), effort))
        return stoppable(lambda: solver.solve(self.proto), solver.stop_search)


class _Public(_Engine):
    """OR-Tools by its public interface, which takes longer to import."""

    def __init__(self) -> None:
        from ortools.sat.python import cp_model

        self.cp_model: Any = cp_model
        self.model: Any = cp_model.CpModel()
        self.proto = self.model.proto

    def _solve(self, effort: float) -> Any:
        solver = self.cp_model.CpSolver()
        _set(solver.parameters, effort)
        stoppable(lambda: solver.solve(self.model), solver.stop_search)
        return solver.response_proto


def _set(parameters: Any, effort: float) -> Any:
    """One worker, a fixed seed and a deterministic limit: the same answer everywhere."""
    parameters.num_workers = 1
    parameters.random_seed = SEED
    parameters.max_deterministic_time = effort
    parameters.catch_sigint_signal = False
    return parameters
