"""The cost model: registers, stack, residency, caches, and published outcomes."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from attrs import asdict, evolve
from cost_cases import ADA, PUBLISHED, explicit, places, predict

from cubie_planner.declarations.buffers import Buffer, Location
from cubie_planner.declarations.problem import Limits, Problem, ProblemError, problem_to_dict
from cubie_planner.gpu.access import bank_conflict
from cubie_planner.gpu.cards import known_cards
from cubie_planner.gpu.cost import Constants, CostError, CostModel
from cubie_planner.gpu.device import Device, known_devices, occupancy
from cubie_planner.gpu.footprint import live_words, own_bytes, shared_load
from cubie_planner.gpu.launch import REGISTER_STEP, register_limit, registers_for_blocks
from cubie_planner.gpu.objective import MIN_GAIN
from cubie_planner.gpu.register_fit import CompiledKernel, fit_registers
from cubie_planner.plans.files import problem_from_dict

MODEL = CostModel.for_capability(ADA)
DEVICE = Device.for_capability(ADA)
TABLE = json.loads(resources.files("cubie_planner.gpu").joinpath("cost.json").read_text())

FITTED_REGISTERS = (
    "registers_base", "registers_per_word", "spill_bytes_per_word", "frame_demand", "frame_factor",
)  # fmt: skip
# Kernels with everything local, as an assembler reported them: what the constants are fitted to.
MEASURED = Path(__file__).parents[2] / "benchmarks" / "results" / "registers.json"


def kernel(n: int, stages: int = 7) -> Problem:
    """The explicit kernel alone in a block of 64."""
    return Problem(explicit(n, stages), Limits(block_size=64, compute_capability=ADA))


def all_local(problem: Problem):
    """Predicted cost with everything local."""
    return MODEL.predict(problem, places(list(problem.buffers), ()))


# ------------------------------------------------------------------------ footprint


def test_live_bytes_and_words_follow_the_lifetimes():
    """Only what is alive at one point counts, in both units, and views count nothing."""
    buffers = [
        Buffer("a", 10, "f8", lifetime=((0, 2),)),
        Buffer("b", 7, "i1", lifetime=((2, 4), (6, 7)), alignment=8),
        Buffer("always", 1, "f4"),
        Buffer("view", 3, "f8", aliases=("a",), alias_required=True),
        Buffer("off", 99, "f8", enabled=False),
    ]
    assert shared_load(buffers) == 80 + 4
    assert live_words(buffers) == 20 + 1
    assert [own_bytes(b) for b in buffers] == [80, 7, 4, 0, 0]


def test_live_bytes_equal_a_count_over_points():
    """The sweep over ends of lifetimes equals adding up every single point."""
    rng = random.Random(5)
    for _ in range(200):
        buffers = []
        for i in range(rng.randint(1, 8)):
            cuts = sorted(rng.sample(range(12), 4))
            spans = [None, ((cuts[0], cuts[1]),), ((cuts[0], cuts[1]), (cuts[2], cuts[3]))]
            buffers.append(Buffer(f"b{i}", rng.randint(0, 9), "f4", lifetime=rng.choice(spans)))
        loads = [
            sum(
                b.size_bytes
                for b in buffers
                if b.lifetime is None or any(s <= point < e for s, e in b.lifetime)
            )
            for point in range(12)
        ]
        assert shared_load(buffers) == max(loads)


# ------------------------------------------------------------- registers and the stack


def measured() -> list[tuple[str, CompiledKernel]]:
    """Return the kernels behind the constants of registers and stack, each with its method."""
    return [
        (
            row["method"],
            CompiledKernel(
                live_words=row["live_words"],
                local_bytes=row["bytes"],
                registers=row["placements"]["local"]["registers"],
                stack_bytes=row["placements"]["local"]["stack"],
            ),
        )
        for row in json.loads(MEASURED.read_text(encoding="utf-8"))["rows"].values()
    ]


def test_the_built_in_constants_are_those_that_fit_the_measured_kernels():
    """They are what the fit gives, to three figures, with the errors that their source tells."""
    found = fit_registers([kernel for _, kernel in measured()], MODEL)
    for name in FITTED_REGISTERS:
        built_in, fitted = getattr(MODEL.constants, name), getattr(found.constants, name)
        assert built_in == pytest.approx(fitted, rel=0.002), name
    assert found.register_error < 0.11
    assert found.worst_register_error < 0.20
    assert found.stack_error < 0.20


def test_no_method_is_needed_to_predict_its_own_kernels():
    """The fit to six methods tells the registers of the seventh within a quarter of them."""
    kernels = measured()
    for method in {name for name, _ in kernels}:
        others = fit_registers([kernel for name, kernel in kernels if name != method], MODEL)
        c = others.constants
        errors = [
            abs(c.registers_base + c.registers_per_word * k.live_words - k.registers) / k.registers
            for name, k in kernels
            if name == method and not k.stack_bytes and k.registers < 255
        ]
        assert errors
        assert sum(errors) / len(errors) < 0.25, method


def test_what_has_no_stack_is_predicted_to_have_little():
    """Kernels that keep everything in registers are told at most half a KiB of stack."""
    for method, compiled in measured():
        demand = MODEL.registers(DEVICE, 64, compiled.live_words)
        stack = MODEL.constants.spill_bytes_per_word * demand.spilled_words
        if not compiled.stack_bytes:
            assert not demand.in_frame, method
            assert stack < 800, (method, compiled, stack)


def test_moving_arrays_relieves_the_stack_in_proportion():
    """What stays local keeps its share of the frame, as measured with two arrays moved."""
    rows = TABLE["moved_measurements"][1:]
    whole = {n: stack for n, moved, _, stack, _ in rows if moved == 0}
    for n, moved, _, stack, _ in rows:
        if moved != 2:
            continue
        problem = kernel(n)
        found = MODEL.predict(problem, places(list(problem.buffers), ("state", "proposed")))
        assert found.registers == 255
        predicted = found.stack_bytes / all_local(problem).stack_bytes
        assert predicted == pytest.approx(stack / whole[n], rel=0.15)


def test_large_blocks_leave_fewer_registers():
    """A thread gets no more registers than let its block be launched; the rest spills."""
    assert [register_limit(DEVICE, size) for size in (32, 256, 257, 512, 1024)] == [
        255, 255, 168, 128, 64,
    ]  # fmt: skip
    problem = Problem(explicit(30), Limits(block_size=1024, compute_capability=ADA))
    found = all_local(problem)
    assert (found.registers, found.resident_runs) == (64, 1024)
    assert found.spilled_words > 0
    assert found.stack_bytes == pytest.approx(1040, rel=0.25)


def test_dynamic_buffers_never_become_registers():
    """A buffer indexed by unknown values lies in the stack however small it is."""
    buffers = [Buffer("a", 4, "f4"), Buffer("ring", 16, "f4")]
    problem = Problem(buffers, Limits(block_size=64, compute_capability=ADA))
    found = MODEL.predict(problem, places(buffers, ()), dynamic=("ring",))
    assert found.stack_bytes == 64
    assert MODEL.predict(problem, places(buffers, ())).stack_bytes == 0


# -------------------------------------------------------------------------- evidence


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: case.row)
def test_published_outcomes(case):
    """Every published placement outcome is predicted: a gain beyond the margin, or none."""
    assert shared_load(b for b in case.buffers if b.name in case.moved) <= case.moved_bytes
    assert sum(b.size_bytes for b in case.buffers if b.name in case.moved) == case.moved_bytes
    local = predict(MODEL, case.buffers, (), case.dynamic)
    moved = predict(MODEL, case.buffers, case.moved, case.dynamic)
    if case.stack_bytes is not None:
        least, most = case.stack_bytes
        assert least <= local.stack_bytes <= most
    assert (local.total / moved.total > MIN_GAIN) is case.won, local.total / moved.total


@pytest.mark.parametrize("capability", list(known_devices()), ids=str)
def test_shared_never_wins_where_everything_fits_in_registers(capability):
    """On every capability, whatever is moved costs more than all registers."""
    model = CostModel.for_capability(capability)
    rng = random.Random(str(capability))
    tried = 0
    while tried < 150:
        buffers = [
            Buffer(
                f"b{i}",
                rng.randint(1, 40),
                rng.choice(["f4", "f8", "i4", "i1"]),
                access_weight=rng.choice([0.5, 1, 10, 200]),
                lifetime=rng.choice([None, ((0, 3),), ((2, 5),), ((5, 9),)]),
            )
            for i in range(rng.randint(1, 8))
        ]
        block = rng.choice([1, 8, 32, 64, 96, 128, 160, 256, 512, 1024])
        problem = Problem(buffers, Limits(block_size=block, compute_capability=capability))
        local = model.predict(problem, places(buffers, ()))
        if local.stack_bytes:
            continue
        tried += 1
        moved = tuple(b.name for b in buffers if rng.random() < 0.5)
        assert local.total <= model.predict(problem, places(buffers, moved)).total


# ------------------------------------------------------------------- parts of the cost


def test_total_is_the_sum_of_its_parts():
    """Compute, shared and stack add up to the total."""
    buffers = explicit(80)
    found = predict(MODEL, buffers, ("state",))
    assert found.total == pytest.approx(found.compute + found.shared + found.stack)
    assert min(found.compute, found.shared, found.stack) > 0


def test_shared_bytes_reduce_residency_and_cache():
    """More shared bytes per run keep fewer runs resident and leave less L1."""
    problem = Problem(explicit(100), Limits(block_size=32, compute_capability=ADA))
    where = places(list(problem.buffers), ("state",))
    found = [MODEL.predict(problem, where, shared_bytes_per_run=n) for n in (404, 1004, 2004, 3004)]
    runs = [cost.resident_runs for cost in found]
    assert runs == sorted(runs, reverse=True)
    assert runs[-1] == 32
    assert [cost.shared_bytes_per_block for cost in found] == [
        404 * 32,
        1004 * 32,
        2004 * 32,
        3004 * 32,
    ]


def test_a_block_that_cannot_be_launched_costs_infinity():
    """Beyond the device's or the problem's limit the cost is infinite, not an error."""
    buffers = [Buffer("a", 2000, "f4")]
    limits = Limits(block_size=32, compute_capability=ADA)
    everything = places(buffers, ("a",))
    assert MODEL.predict(Problem(buffers, limits), everything).total == math.inf
    small = evolve(limits, block_size=1, max_shared_bytes=7999)
    assert MODEL.predict(Problem(buffers, small), everything).total == math.inf
    fits = evolve(small, max_shared_bytes=9000)
    assert MODEL.predict(Problem(buffers, fits), everything).total < math.inf


def test_bank_conflicts_count_wavefronts():
    """An odd stride in words has no conflict; a stride of 32 words serialises the warp."""
    assert [bank_conflict(DEVICE, 4 * words, 32) for words in (33, 34, 36, 32, 64)] == [
        1, 2, 4, 32, 32,
    ]  # fmt: skip
    assert bank_conflict(DEVICE, 128, 8) == 8


def test_unpadded_slices_cost_more():
    """Without padding against bank conflicts shared accesses are dearer."""
    buffers = [Buffer("a", 32, "f4", access_weight=10)]
    padded = Problem(buffers, Limits(block_size=32, compute_capability=ADA))
    plain = evolve(padded, limits=evolve(padded.limits, pad_banks=False))
    where = places(buffers, ("a",))
    assert MODEL.predict(plain, where).shared > 5 * MODEL.predict(padded, where).shared


def test_wide_elements_take_two_wavefronts():
    """A float64 access costs as much bandwidth as two float32 accesses."""
    limits = Limits(block_size=32, compute_capability=ADA)
    wide, narrow = [Buffer("a", 9, "f8")], [Buffer("a", 9, "f4")]
    cost = [
        MODEL.predict(Problem(b, limits), {"a": Location.SHARED}).shared for b in (wide, narrow)
    ]
    assert 1.1 < cost[0] / cost[1] <= 2


def test_a_cost_needs_a_target():
    """Without a compute capability there is nothing to predict."""
    buffers = [Buffer("a", 9, "f8")]
    with pytest.raises(CostError, match=r"set Limits\(compute_capability"):
        MODEL.predict(Problem(buffers), places(buffers, ()))


# --------------------------------------------------------------------------- constants


@pytest.mark.parametrize("capability", list(known_devices()), ids=str)
def test_every_capability_has_a_model(capability):
    """Each known capability gets constants and the card they come from."""
    model = CostModel.for_capability(capability)
    assert known_cards()[model.card].sm_count > 0
    assert model.provenance


def test_constants_have_a_source():
    """No constant and no card is without a source."""
    assert all(entry["source"] for entry in TABLE["constants"].values())
    assert all(card["source"] for card in TABLE["latencies"].values())


def test_saved_models_load_again(tmp_path):
    """A model survives its file."""
    path = tmp_path / "card.json"
    model = evolve(MODEL, card="my card", provenance="measured today")
    model.save(path)
    assert CostModel.load(path) == model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"l2_byte": 1.0}, r"constant `l2_byte` is unknown \(did you mean 'l2_bytes'\?\)"),
        ({"overlap": 0.0}, r"constant overlap=0.0 must be a finite number above 0"),
        ({"overlap": float("nan")}, "must be a finite number above 0"),
        ({"overlap": "4"}, "must be a finite number above 0"),
    ],
)
def test_wrong_constants_are_refused(change, message):
    """Unknown names and values that are no positive numbers are errors."""
    with pytest.raises(CostError, match=message):
        Constants.from_dict({**asdict(MODEL.constants), **change})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "has no object `constants`"),
        ('{"constants": {"overlap": 1}}', "constants are missing: registers_base"),
    ],
)
def test_malformed_files_are_refused(tmp_path, text, message):
    """A file that is no saved model says what is wrong with it."""
    path = tmp_path / "card.json"
    path.write_text(text)
    with pytest.raises(CostError, match=message):
        CostModel.load(path)


def test_the_model_loads_no_heavy_library():
    """Device, cost and auto load neither numba nor OR-Tools nor networkx."""
    code = (
        "import sys, cubie_planner.gpu.objective, cubie_planner.gpu.calibrate\n"
        "print(sorted({'numba', 'ortools', 'networkx', 'matplotlib'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_registers_that_leave_room_for_blocks():
    """They are the most with which so many blocks are resident; none where no number is."""
    for device in map(Device.for_capability, known_devices()):
        for block_size in (32, 64, 256, 1024):
            for n_blocks in (1, 2, 7, 16, 33):
                most = registers_for_blocks(device, block_size, n_blocks)
                if most:
                    assert occupancy(device, block_size, most).blocks_per_sm >= n_blocks
                if most < register_limit(device, block_size):
                    assert most % REGISTER_STEP == 0
                    more = occupancy(device, block_size, most + 1)
                    assert more.blocks_per_sm < n_blocks


def test_a_limit_of_registers_puts_more_on_the_stack():
    """The model knows of it; without one nothing changes, the digest included."""
    buffers = [Buffer(name=f"b{i}", n_elements=20, dtype="float32") for i in range(6)]
    free = Problem(buffers, Limits(block_size=64, compute_capability=ADA))
    tight = evolve(free, limits=evolve(free.limits, max_registers=40))
    assert MODEL.registers_of(DEVICE, tight).used == 40
    assert MODEL.registers_of(DEVICE, tight).stack_share > 0
    assert MODEL.registers_of(DEVICE, free).used > 40
    assert "max_registers" not in problem_to_dict(free)["limits"]
    assert problem_from_dict(problem_to_dict(tight)) == tight
    assert free.digest != tight.digest
    for wrong in (0, -1, 2.5, True):
        with pytest.raises(ProblemError, match="max_registers must be a positive integer"):
            Limits(max_registers=wrong)
