"""Matrices that are padded or swizzled: where elements lie, and what a warp's access takes."""

import itertools

import pytest
from attrs import evolve, frozen

from cubie_planner import (
    Buffer,
    BufferError,
    FormatError,
    LayoutError,
    Limits,
    Padding,
    PhasedBuffer,
    Plan,
    PlanRejected,
    Problem,
    Swizzle,
    plan,
    plan_to_csv,
    problem_from_csv,
    problem_from_dict,
    problem_to_dict,
)
from cubie_planner.declarations.layouts import Layout, positions
from cubie_planner.gpu.bank_conflicts import along_column, along_row, bank_conflicts, wavefronts

MATRICES = [
    Buffer("plain", (32, 32), "f4", locations="tile"),
    Buffer("padded", (32, 32), "f4", locations="tile", layout=Padding(1)),
    Buffer("swizzled", (32, 32), "f4", locations="tile", layout=Swizzle(32)),
    Buffer("vectors", (8, 64), "f4", locations="tile", layout=Swizzle(8, unit=4), alignment=16),
    Buffer("cube", (2, 3, 4), "f8", locations="tile"),
]


def test_a_shape_says_how_many_elements_are_stored():
    """A shape is as many elements as its product, and what padding adds; the last row is bare."""
    by_name = {b.name: b for b in MATRICES}
    assert [b.n_elements for b in MATRICES] == [1024, 31 * 33 + 32, 1024, 512, 24]
    assert by_name["padded"].shape == (32, 32)
    assert evolve(by_name["padded"], name="other").n_elements == 31 * 33 + 32
    assert PhasedBuffer("p", (4, 8), "f4").buffer.shape == (4, 8)
    assert Buffer("none", (0, 8), "f4", layout=Padding(2)).size_bytes == 0
    assert Buffer("list", [2, 2], "f4").n_elements == 4


@pytest.mark.parametrize("span", [1, 2, 4, 8, 32])
@pytest.mark.parametrize(("unit", "rows"), [(1, 1), (4, 1), (1, 2), (2, 4)])
def test_a_swizzle_is_a_bijection_within_each_row(span, unit, rows):
    """Every element has a place of its own in its own row, and vectors stay together."""
    layout, shape = Swizzle(span, unit, rows), (16, 2 * span * unit)
    found = list(positions(layout, shape))
    assert sorted(found) == list(range(16 * shape[1]))
    for row, column in itertools.product(range(16), range(shape[1])):
        at = layout.column(row, column)
        assert at - at % unit == layout.column(row, column - column % unit)


def hand_counted(addresses):
    """The wavefronts of one-word accesses, in the plainest way."""
    banks = [[] for _ in range(32)]
    for address in set(addresses):
        banks[address // 4 % 32].append(address // 4)
    return max(len(set(words)) for words in banks)


@pytest.mark.parametrize("shape", [(32, 32), (16, 16), (8, 64), (32, 8), (4, 4)])
@pytest.mark.parametrize("layout", [None, Padding(1), Padding(3), Swizzle(4), Swizzle(4, rows=2)])
def test_conflicts_are_those_that_the_banks_have(shape, layout):
    """What is counted by enumeration is what every lane's bank says."""
    buffer = Buffer("m", shape, "f4", layout=layout)
    for access in (along_row(buffer), along_column(buffer)):
        spots = [spot for spot in map(access, range(32)) if spot is not None]
        laid = layout or Layout()
        addresses = [4 * laid.position(shape, *spot) for spot in spots]
        assert bank_conflicts(buffer, access).taken == hand_counted(addresses)


def test_padding_and_swizzles_free_columns_of_conflicts():
    """A column of 32 rows of 32 words takes 32 wavefronts, and one where the layout helps."""
    columns = {b.name: bank_conflicts(b, along_column(b)).taken for b in MATRICES[:3]}
    assert columns == {"plain": 32, "padded": 1, "swizzled": 1}
    rows = {b.name: bank_conflicts(b, along_row(b)).taken for b in MATRICES[:3]}
    assert rows == dict.fromkeys(columns, 1)
    wide = Buffer("wide", (32, 16), "f8")
    assert bank_conflicts(wide, along_row(wide)).degree == 1
    assert bank_conflicts(wide, along_column(wide)).degree == 16
    assert bank_conflicts(wide, along_column(wide), Padding(1)).degree == 1
    assert wavefronts([0] * 32, 4).degree == 1  # one word for all
    assert wavefronts([16 * lane for lane in range(32)], 16).degree == 1
    assert wavefronts([16 * lane for lane in range(32)], 4).degree == 4


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Buffer("m", 16, "f4", layout=Padding(1)), "a layout needs a shape"),
        (lambda: Buffer("m", (2, 3, 4), "f4", layout=Padding(1)), "for rows and columns"),
        (lambda: Buffer("m", (4, 6), "f4", layout=Swizzle(4)), "a multiple of 4 elements, got 6"),
        (lambda: Buffer("m", 12, "f4", shape=(4, 4)), "stores 16 elements, not 12"),
        (lambda: Buffer("m", (4, -1), "f4"), "integers >= 0"),
        (lambda: Buffer("m", (), "f4"), "integers >= 0"),
        (lambda: Buffer("m", (4, 4), "f4", layout="padded"), "must be a Padding or a Swizzle"),
        (lambda: Padding(-1), "from 0 to 4096"),
        (lambda: Swizzle(3), "power of two"),
        (lambda: Swizzle(4, unit=0), "power of two"),
    ],
)
def test_layouts_that_do_not_suit_are_refused(make, said):
    """With what was given and what is allowed."""
    with pytest.raises((BufferError, LayoutError), match=said):
        make()


def test_conflicts_outside_a_matrix_are_refused():
    """Of what has no rows and columns, and of lanes beyond them, there is nothing to count."""
    with pytest.raises(BufferError, match="rows and columns"):
        bank_conflicts(MATRICES[-1], lambda lane: (0, lane))
    with pytest.raises(BufferError, match=r"lane 8 is at \(0, 8\)"):
        bank_conflicts(Buffer("m", (8, 8), "f4"), lambda lane: (0, lane))


@frozen
class _Folded(Layout):
    """A layout with a fault: two columns of the second row lie in one place."""

    def column(self, row, column):
        return 0 if row == 1 else column


@frozen
class _Shifted(Layout):
    """A layout with a fault: the last element lies behind what is stored."""

    def column(self, row, column):
        return column + 1


@pytest.mark.parametrize(("layout", "said"), [(_Folded(), "two elements"), (_Shifted(), "outside")])
def test_the_checker_refuses_a_layout_that_is_no_bijection(layout, said):
    """Whoever made it: every element has a place of its own, within what is stored."""
    with pytest.raises(PlanRejected, match=said) as refused:
        plan(Problem([Buffer("m", (4, 4), "f4", layout=layout)]))
    assert refused.value.rule == "layout"


def test_shapes_and_layouts_are_read_as_they_were_written():
    """JSON gives the same problem and plan, and CSV the same answer with its shapes."""
    problem = Problem(MATRICES, Limits(64 * 1024))
    made = plan(problem)
    assert problem_from_dict(problem_to_dict(problem)) == problem
    assert Plan.from_json(made.to_json()) == made
    again = problem_from_csv(plan_to_csv(made))
    for before, after in zip(MATRICES, again.buffers, strict=True):
        assert (after.shape, after.layout) == (before.shape, before.layout)
    assert {n: p.offset for n, p in plan(again).placements.items()} == {
        n: p.offset for n, p in made.placements.items()
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layout": 3}, "layout must be an object"),
        ({"layout": {"kind": "tiled"}}, "the kind of a layout"),
        ({"layout": {"kind": "padding", "columns": 1}}, "odd fields"),
        ({"layout": {"kind": "swizzle", "span": 3}}, "power of two"),
        ({"shape": 3}, "shape"),
        ({"shape": [4, "x"]}, "integers >= 0"),
    ],
)
def test_files_with_odd_layouts_are_refused(change, said):
    """A layout of a file that is none is a fault of the file, and its place is named."""
    buffer = {"name": "m", "n_elements": 16, "dtype": "<f4", "shape": [4, 4], **change}
    with pytest.raises((FormatError, BufferError), match=said):
        problem_from_dict({"buffers": [buffer]})
