"""The packing against CP-SAT, with one Boolean per pair: larger than brute force can go."""

import pytest
from packing_oracle import fault, random_kernel, rivals

from cubie_planner.basics import Status
from cubie_planner.packing import pack


def lowest_by_cp_sat(problem, top):
    """Return the proven lowest height up to `top`, None if there is none."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    height = model.new_int_var(0, top, "height")
    starts = []
    for i, size in enumerate(problem.sizes):
        unit = problem.alignments[i]
        start = unit * model.new_int_var(0, top // unit, f"units[{i}]")
        model.add(start + size <= height)
        if problem.fixed_offsets[i] >= 0:
            model.add(start == problem.fixed_offsets[i])
        starts.append(start)
    for i, parent in enumerate(problem.parents):
        if parent >= 0:
            inside = starts[i] - starts[parent]
            room = problem.sizes[parent] - problem.sizes[i]
            sub = problem.parent_offsets[i]
            model.add_linear_constraint(inside, max(sub, 0), sub if sub >= 0 else room)
    for i, others in enumerate(rivals(problem)):
        for j in others:
            if i < j:
                below = model.new_bool_var(f"below[{i},{j}]")
                model.add(starts[i] + problem.sizes[i] <= starts[j]).only_enforce_if(below)
                model.add(starts[j] + problem.sizes[j] <= starts[i]).only_enforce_if(~below)
    model.minimize(height)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    # OR-Tools would leave the system's handler of SIGINT in the place of Python's.
    solver.parameters.catch_sigint_signal = False
    solver.parameters.max_deterministic_time = 20
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        return None
    if status != cp_model.OPTIMAL:
        pytest.skip("CP-SAT did not prove it either")
    return int(solver.objective_value)


@pytest.mark.parametrize("features", [{}, {"nested": True}, {"pinned": True, "nested": True}])
@pytest.mark.parametrize("seed", range(8))
def test_height_and_infeasibility_are_those_of_cp_sat(features, seed):
    """What the search proves for 16 items, another solver proves too."""
    problem = random_kernel(seed, 16, **features)
    found = pack(problem)
    lowest = lowest_by_cp_sat(problem, 4000)
    if lowest is None:
        assert found.status is Status.INFEASIBLE
        return
    assert fault(problem, found.offsets, found.height) is None
    assert found.lower_bound <= lowest <= found.height
    if found.status is Status.OPTIMAL:
        assert found.height == lowest
