"""Simplified Newton iteration with convergence-rate control (Hairer & Wanner II, IV.8).

The matrix is that of the step's start; the linear systems may be solved inexactly. Every lane
stops by itself, and what a lane that stopped holds no longer changes.
"""

from __future__ import annotations

from collections.abc import Callable

from cubie.backend import any_lane, maximum, select
from cubie.factory import BuildContext
from cubie.numerics.power import build_exp2, build_log2
from cubie.solvers import (
    residual_test,
    restoring,
    reuse,
    second_look,
    stage_jacobians,
    stage_matrix,
)
from cubie.solvers.convergence import build_judge
from cubie.solvers.newton_contract import NewtonFunctions
from cubie.solvers.newton_parts import NewtonParts

# Exponent by which an old rate of convergence loses its weight (H&W II, IV.8, eq. 8.10).
FADING = 0.8
# Of so many the first iteration is code of its own where a target makes it: on the CPU runs of
# three states take 8 to 12 % less time. Of more the code would grow, and gains less.
FEW_UNKNOWNS = 12


class NewtonSolver(NewtonParts):
    """Solve the equations of a stage by changes that solve linear systems; see `NewtonParts`."""

    def _register_buffers(self, in_place: bool) -> None:
        super()._register_buffers(in_place)
        second_look.register_buffers(self)
        residual_test.register_buffers(self)
        stage_jacobians.register_buffers(self, self.has_stage_jacobians)
        restoring.register_buffers(self, self.restores, "evaluate")
        stage_matrix.register_buffers(self, self.has_stage_matrix)
        reuse.register_buffers(self)

    def build(self, context: BuildContext) -> NewtonFunctions:
        device = context.backend.device
        few = self.blocks.n_unknowns <= FEW_UNKNOWNS
        solve = self._build_solve(context)
        return NewtonFunctions(
            begin=reuse.build_begin(self, context),
            prepare=device(self._build_prepare(context)),
            first_eta=reuse.build_first_eta(self, context),
            solve=context.backend.first_round_apart(solve)
            if few
            else context.backend.iterated(solve, inline=False),
            again=self._build_again(context),
            settle=reuse.build_settle(self, context),
            commit=reuse.build_commit(self, context),
            retries=reuse.build_retries(self, context),
            filter=device(self._build_filter(context)) if self.filters else None,
            restore=restoring.build_restore(self, context, self.iterative)
            if self.restores
            else None,
        )

    def _build_prepare(self, context: BuildContext) -> Callable:
        if self.keeps:
            return reuse.build_renewing(self, context)
        enter = context.phase("prepare")
        prepare_solver = self.build_matrix(context)

        def prepare(memory, launch, matrix, h):
            enter(memory)
            return prepare_solver(memory, launch, matrix)

        return prepare

    def _build_filter(self, context: BuildContext) -> Callable:
        enter = context.phase("filter")
        filter_linear = self.child_functions(context, "linear_solver").filter
        assert filter_linear is not None  # the blocks name it
        rescale = reuse.build_rescale(self, context)

        def apply_filter(memory, launch, matrix, rhs, x):
            enter(memory)
            solved, _ = filter_linear(memory, launch, matrix, rhs, 0, x, 0)
            rescale(memory, matrix, x)
            return solved

        return apply_filter

    def _build_solve(self, context: BuildContext) -> Callable:
        backend, size = context.backend, self.blocks.n_unknowns
        change = self.build_change(context, reuse.build_relax(self, context))
        judge = build_judge(self, context)
        clear, taken = self.build_counting(context)
        alloc_residual, alloc_delta, alloc_count = self.allocators(context)
        exp2, log2 = build_exp2(backend), build_log2(backend)
        fading, tiny = backend.constant(FADING), backend.constant(1e-16)
        zero, begin = backend.constant(0.0), context.phase("look")

        def solve(memory, launch, matrix, stage, eta, fit):
            begin(memory)
            residual = alloc_residual(memory, None)
            delta = alloc_delta(memory, residual)
            count = alloc_count(memory, None)
            increment, h = stage.increment, stage.h
            clear(h, count)
            eta = exp2(fading * log2(maximum(eta, tiny)))
            previous = h * zero
            active, solved = fit, h != h
            iterations = select(solved, 0, 0)
            while any_lane(active):
                usable = change(memory, launch, stage, matrix, residual, delta, count, active)
                previous, eta, converged, goes_on = judge(
                    launch, stage, delta, previous, eta, iterations, active & usable
                )
                for i in range(size):
                    increment[i] = select(
                        converged | goes_on, increment[i] + delta[i], increment[i]
                    )
                iterations = select(active, iterations + 1, iterations)
                solved = solved | converged
                active = goes_on
            return solved, eta, iterations, taken(h, count)

        return solve

    def _build_again(self, context: BuildContext) -> Callable:
        """Return what is done in lanes where the equations are not solved."""

        def nothing(memory, launch, matrix, stage, solved, iterations, linear):
            return solved, iterations, linear

        if self.persists:
            look = second_look.build_second_look(self, context)
            return reuse.build_again(self, context, look) if self.keeps else look
        return context.backend.device(nothing)
