"""Cards by name: the table, the names that people and drivers use, and what a card changes."""

import json
from importlib import resources

import pytest
from attrs import evolve

from cubie_planner import Limits, Problem, ProblemError
from cubie_planner.declarations.problem import problem_to_dict
from cubie_planner.gpu.cards import Target, card_named, known_cards
from cubie_planner.gpu.cost import CostError, CostModel
from cubie_planner.gpu.cost_constants import usual_card
from cubie_planner.gpu.device import DeviceError, known_devices
from cubie_planner.plans.files import problem_from_dict

TABLE = json.loads(resources.files("cubie_planner.gpu").joinpath("cards.json").read_text())


@pytest.mark.parametrize("card", known_cards().values(), ids=lambda card: card.name)
def test_a_card_is_of_a_known_capability_and_its_figures_are_possible(card):
    """Each has a source, and figures within what any card of these generations has."""
    assert card.capability in known_devices()
    assert 16 <= card.sm_count <= 192
    assert 1.2e9 < card.clock_hz < 2.8e9
    assert 2e11 < card.dram_bytes_per_second <= 8e12
    assert 3 * 2**20 <= card.l2_bytes < 2**28 < card.memory_bytes
    assert card.fp64_rate in (1 / 2, 1 / 32, 1 / 64)
    assert card.source


def test_names_are_not_ambiguous():
    """No two cards go by the same name, however it is written."""
    names = [name for row in TABLE["cards"] for name in (row["name"], *row.get("aliases", ()))]
    assert len({id(card_named(name)) for name in names}) == len(TABLE["cards"])
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("H100", "H100 SXM5"),
        ("h100 pcie", "H100 PCIe"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM5"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM4 80GB"),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe 80GB"),
        ("Tesla V100-SXM2-16GB", "V100 SXM2"),
        ("nvidia geforce rtx 4070 super", "RTX 4070 SUPER"),
        ("rtx4090", "RTX 4090"),
        ("RTX_3090", "RTX 3090"),
        ("Tesla T4", "T4"),
    ],
)
def test_a_card_goes_by_the_names_of_people_and_drivers(given, name):
    """Case, spaces, signs and the maker's words make no difference."""
    found = Target.find(given)
    assert found.card is known_cards()[name]
    assert found.device.capability == found.card.capability
    assert found.name == f"{name} ({found.device.name})"


@pytest.mark.parametrize("given", ["sm_90", "9.0", (9, 0), [9, 0]])
def test_an_architecture_is_a_target_without_a_card(given):
    """It is asked for as before."""
    found = Target.find(given)
    assert (found.name, found.card) == ("sm_90", None)
    assert Target.find(found) is found


@pytest.mark.parametrize(
    ("given", "nearest"), [("H1000", "H100 SXM5"), ("rtx 4091", "RTX 4090"), ("L40 S", None)]
)
def test_an_unknown_card_is_told_with_the_nearest(given, nearest):
    """The message names it, and what else there is."""
    if nearest is None:
        assert Target.find(given).card.name == "L40S"
        return
    with pytest.raises(DeviceError, match=f"did you mean '{nearest}'") as caught:
        Target.find(given)
    assert caught.value.given == given
    assert caught.value.allowed == tuple(known_cards())


@pytest.mark.parametrize("given", ["quantum", "", None, 90, 9.0])
def test_what_is_no_target_is_refused(given):
    """With the forms that are known."""
    with pytest.raises(DeviceError):
        Target.find(given)


@pytest.mark.parametrize("capability", list(known_devices()), ids=str)
def test_every_capability_has_a_usual_card(capability):
    """One of it where there is one in the table, else of a near generation."""
    card = usual_card(capability)
    if any(other.capability == capability for other in known_cards().values()):
        assert card.capability == capability
    assert CostModel.for_capability(capability).card == card.name


def test_a_card_decides_on_bandwidth_and_cache():
    """Two cards of one capability differ in what the model takes from their data sheets."""
    usual, large = (CostModel.for_capability((9, 0), name).constants for name in (None, "H200"))
    assert large.dram_cycles == pytest.approx(usual.dram_cycles * 3350 / 4800)
    assert large.dram_latency == usual.dram_latency
    small = CostModel.for_capability((8, 6)).constants
    assert small.l2_bytes * 82 == 6 * 2**20
    with pytest.raises(CostError, match=r"'L4' is no card of compute capability 9\.0"):
        CostModel.for_capability((9, 0), "L4")


@pytest.mark.parametrize(("given", "most"), [("H100", 232448), ("sm_75", 65536)])
def test_a_target_has_the_limits_of_a_block(given, most):
    """With its capability and its card; what is given stands in for the device's."""
    target = Target.find(given)
    limits = target.limits(block_size=64)
    assert (limits.max_shared_bytes, limits.block_size) == (most, 64)
    assert limits.compute_capability == target.device.capability
    assert limits.card == target.card_name
    assert target.limits(max_shared_bytes="48k").max_shared_bytes == 49152


def test_a_card_is_part_of_a_problem():
    """It is written and read; problems without one are written as before."""
    limits = Limits(compute_capability=(9, 0))
    without = Problem([], limits)
    named = Problem([], evolve(limits, card="H200"))
    assert "card" not in problem_to_dict(without)["limits"]
    assert problem_from_dict(problem_to_dict(named)).limits == named.limits
    assert named.digest != without.digest
    for given in ({"card": "H200"}, {"card": 3, "compute_capability": (9, 0)}):
        with pytest.raises(ProblemError, match="card must be the name"):
            Limits(**given)
