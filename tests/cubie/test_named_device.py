"""A GPU that is named and need not be there: planned and compiled for, in Python and the shell."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from cubie import InvalidOption, LaunchTooLarge, NoDevice, Solver, solve_ivp
from cubie.backend import KernelInputs, KernelOutputs
from cubie.backend.cuda.driver import WORDS_OF_ARRAY, packed
from cubie.backend.device.driver import Argument
from cubie.cli.command import main
from cubie_planner import Plan

FORCE = np.linspace(7.0, 9.0, 4)


def lorenz96(t, y, force):
    n = len(y)
    return [(y[(i + 1) % n] - y[i - 2]) * y[i - 1] - y[i] + force for i in range(n)]


def decay(t, y, rate):
    return [-rate * y[0]]


def solver_for(device, **options):
    # Of the model's plan, without asking the assembler about it.
    options = {"method": "euler", "first_step": 0.25, "verify": False, **options}
    return Solver(decay, device=device, **options)


SOURCE = """
def lorenz96(t, y, force):
    n = len(y)
    return [(y[(i + 1) % n] - y[i - 2]) * y[i - 1] - y[i] + force for i in range(n)]
"""


@pytest.mark.parametrize("option", ["--arch", "--device"])
@pytest.mark.parametrize("device", ["sm_90", "H200", "rtx 4090", "sm_88"])
def test_the_plan_is_that_of_the_command(tmp_path, device, option):
    """`device=` and `cubie-plan --arch` plan alike, to the byte."""
    source = tmp_path / "ring.py"
    source.write_text(SOURCE)
    shell = ("--states", "60", "--method", "tsit5", "--dtype", "float32", "--format", "json")
    told = CliRunner().invoke(main, [f"{source}:lorenz96", option, device, *shell])
    assert told.exit_code == 0, told.stderr
    solver = Solver(lorenz96, method="tsit5", dtype="float32", device=device, verify=False)
    plan = solver.prepare(np.ones((4, 60)), (1.0,))
    assert plan.to_json() == told.stdout
    assert plan.limits.compute_capability == Plan.from_json(told.stdout).limits.compute_capability
    assert ("are not listed" in told.stderr) == (device == "sm_88")


def test_a_named_device_is_there_to_look_at_and_solves_nothing():
    """Plan, reasons and resources; a solve says that it is not there, and leaves these."""
    solver = solver_for("H100")
    with pytest.raises(NoDevice, match=r"device='H100 SXM5 \(sm_90\)'.*`resources`"):
        solver.solve((0.0, 1.0), [1.0], args=(FORCE,))
    assert solver.plan.limits.compute_capability == (9, 0)
    assert solver.plan.limits.card == "H100 SXM5"
    assert solver.plan.limits.max_shared_bytes == 232448
    assert str(solver.explain()) == "Nothing is shared."
    found = solver.resources()
    assert found.capability == (9, 0)
    assert found.registers == solver.resources("sm_90").registers > 0
    assert solver.kernel.resources((8, 9)).capability == (8, 9)
    with pytest.raises(NoDevice, match="H100"):
        solve_ivp(decay, (0, 1), [1.0], "euler", args=(FORCE,), first_step=0.25, device="H100")
    solver.close()  # there is nothing to give back


def test_a_wrong_device_is_told_where_it_is_given():
    """With the nearest; and that other targets have none."""
    with pytest.raises(InvalidOption, match=r"`device` is 'H1000'.*did you mean 'H100 SXM5'"):
        solver_for("H1000")
    with pytest.raises(InvalidOption, match=r"`device` is 9\.0.*not a pair"):
        solver_for(9.0)
    with pytest.raises(InvalidOption, match="backend='cpu' uses none"):
        solver_for("H100", backend="cpu").prepare([1.0], (1.0,))
    on_cpu = Solver(decay, method="euler", first_step=0.25, backend="cpu")
    on_cpu.prepare([1.0], (1.0,))
    with pytest.raises(InvalidOption, match=r"`cc` is None.*such as 'H100' or \(9, 0\)"):
        on_cpu.resources()


def test_limits_of_an_unlisted_device_come_with_a_note():
    """It is planned for as the nearest; the results of solves there say so."""
    solver = solver_for((8, 8))
    solver.prepare(np.ones((4, 1)), (1.0,))
    assert solver.plan.limits.compute_capability == (8, 8)
    assert solver.plan.limits.max_shared_bytes == 163 * 1024
    (note,) = solver.kernel.backend.notes
    assert "8.8 are not listed: those of 8.7 are taken" in note


def test_a_model_file_may_name_its_device(tmp_path):
    """As one of its options; the command line wins."""
    model = tmp_path / "model.toml"
    model.write_text("equations = 'dx = -x'\n[options]\nmethod = 'euler'\nfirst_step = 1.0\n"
                     "device = 'A100 80GB'\n")  # fmt: skip

    def limits(*arguments):
        told = CliRunner().invoke(main, [str(model), *arguments, "--format", "json"])
        assert told.exit_code == 0, told.stderr
        found = json.loads(told.stdout)["problem"]["limits"]
        return found["compute_capability"], found.get("card"), found["max_shared_bytes"]

    assert limits() == ([8, 0], "A100 SXM4 80GB", 163 * 1024)
    assert limits("--device", "T4") == ([7, 5], "T4", 64 * 1024)
    assert limits("--max-shared", "T4") == ([8, 0], "A100 SXM4 80GB", 64 * 1024)


def test_code_is_found_on_disk_without_being_built():
    """Under the digest of all that made it; for each capability by itself."""
    first = solver_for("H100")
    first.prepare(np.ones((4, 1)), (1.0,))
    code = first.kernel.compiled._code_for((9, 0), 64)
    assert not code.from_cache

    second = solver_for("H200")
    second.prepare(np.ones((4, 1)), (1.0,))
    kernel = second.kernel.compiled
    kernel._make_loop = None  # nothing is traced, lowered or compiled
    again = kernel._code_for((9, 0), 64)
    assert again.from_cache
    assert (again.image, again.name) == (code.image, code.name)
    with pytest.raises(TypeError):
        kernel._code_for((8, 0), 64)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_kernel_takes_what_the_driver_hands_it(dtype):
    """So many words of eight bytes, in the order of the records."""
    solver = solver_for("sm_90", dtype=dtype)
    solver.prepare(np.ones((4, 1)), (1.0,))
    code = solver.resources().ptx
    header = code[code.index(".visible .entry") : code.index("{")]
    n_arrays = len(KernelInputs._fields) + len(KernelOutputs._fields)
    assert header.count(".param .u64") == header.count(".param") == 1 + WORDS_OF_ARRAY * n_arrays
    words = packed(5, [Argument(2**63 + 64, 7, np.dtype(dtype))])
    itemsize = np.dtype(dtype).itemsize
    assert list(words) == [5, 0, 0, 7, itemsize, 64 - 2**63, 7, itemsize]


def test_more_local_memory_than_any_thread_has_is_refused_before_it_is_compiled():
    """Fully implicit, 200 states, dense factors in double precision: a mebibyte a thread.

    Where the plan may choose, the factors are in global memory.
    """
    options = {"dtype": "float64", "lu_form": "dense", "verify": False, "locations": "local"}
    solver = Solver(lorenz96, method="radau_iia_5", device="H100", **options)
    solver.prepare(np.ones((4, 200)), (1.0,))
    with pytest.raises(LaunchTooLarge, match=r"at most 524,288 B.*dtype='float32'"):
        solver.resources()


def test_threads_that_take_further_runs_look_at_their_warp_once_a_step():
    """What refilling costs: a look at who is there, and the way to the next run; else nothing."""
    plain, refilled = solver_for("sm_90"), solver_for("sm_90", refill=True)
    for solver in (plain, refilled):
        solver.prepare(np.ones((4, 1)), (1.0,))
    codes = [solver.resources().ptx for solver in (plain, refilled)]
    assert ["activemask" in code for code in codes] == [False, True]
    assert ["%nctaid.x" in code for code in codes] == [False, True]
    assert codes[1].count("activemask") in (1, 2)  # a loop may be copied once
