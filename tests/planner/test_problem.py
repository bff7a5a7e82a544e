"""Problems: what must fit together before anything is planned."""

import importlib
import pkgutil

import numpy as np
import pytest

import cubie_planner
from cubie_planner import (
    Buffer,
    BufferError,
    FormatError,
    Limits,
    Location,
    PlanInfeasible,
    PlannerError,
    Pool,
    Problem,
    ProblemError,
    check,
    plan,
    problem_from_csv,
    problem_from_dict,
    problem_from_minimalloc,
    problem_to_dict,
    run_stride,
)
from cubie_planner.declarations.choices import Option
from cubie_planner.plans.decision import alternatives_from_dict


def buffers(*names, **options):
    return [Buffer(name, 4, "f4", **options) for name in names]


def test_missing_parent_names_nearest_buffer():
    """An alias to a buffer that does not exist is answered with the nearest name."""
    child = Buffer("child", 1, "f4", aliases="stage_rsh")
    with pytest.raises(ProblemError, match=r"not a buffer \(did you mean 'stage_rhs'\?\)"):
        Problem([*buffers("stage_rhs"), child])


def test_alias_cycle_is_shown():
    """Aliases that lead back to where they started are refused, the cycle spelt out."""
    ring = [Buffer(n, 4, "f4", aliases=p) for n, p in (("a", "b"), ("b", "c"), ("c", "a"))]
    with pytest.raises(ProblemError, match=r"form a cycle: a -> b -> c -> a") as error:
        Problem(ring)
    assert error.value.buffers == ("a", "b", "c")


def test_diamond_of_aliases_is_no_cycle():
    """Two ways to the same ancestor are allowed."""
    Problem(
        [
            Buffer("g", 4, "f4"),
            Buffer("p", 4, "f4", aliases="g"),
            Buffer("q", 4, "f4", aliases="g"),
            Buffer("c", 4, "f4", aliases=["p", "q"]),
        ]
    )


def test_long_alias_chain_needs_no_recursion():
    """A chain of ten thousand aliases is checked without exhausting the stack."""
    chain = [Buffer("b0", 1, "f4")]
    chain += [Buffer(f"b{i}", 1, "f4", aliases=f"b{i - 1}") for i in range(1, 10_000)]
    assert len(Problem(list(reversed(chain))).buffers) == 10_000


@pytest.mark.parametrize(
    ("given", "size"), [("48k", 49152), (" 48 KiB ", 49152), ("49152", 49152), ("2GB", 2**31)]
)
def test_byte_counts_are_read_as_people_write_them(given, size):
    """Limits, and the capacity of a pool, take units; written down they are numbers."""
    limits = Limits(given, max_local_bytes=given)
    assert (limits.max_shared_bytes, limits.max_local_bytes) == (size, size)
    assert problem_to_dict(Problem([], limits))["limits"]["max_shared_bytes"] == size
    assert Pool("p", given).capacity_bytes == size
    assert Option("o", limits={"max_shared_bytes": given}).limits == {"max_shared_bytes": size}


@pytest.mark.parametrize("value", ["48k", "49152"])
def test_files_hold_byte_counts_as_numbers(value):
    """A file says one thing in one way: no units in it, of limits, pools and options."""
    data = problem_to_dict(Problem([Buffer("a", 1, "f4", locations=Pool("p", 64))]))
    with pytest.raises(
        FormatError, match=r"limits.max_shared_bytes must be a byte count, a number"
    ):
        problem_from_dict({**data, "limits": {"max_shared_bytes": value}})
    with pytest.raises(FormatError, match=r"pools\[0\].capacity_bytes must be a byte count"):
        problem_from_dict({**data, "pools": [{"name": "p", "capacity_bytes": value}]})
    options = [{"name": "o", "limits": {"max_local_bytes": value}}]
    with pytest.raises(FormatError, match=r"options\[0\].limits.max_local_bytes must be a byte"):
        alternatives_from_dict({"problem": data, "choices": [{"name": "c", "options": options}]})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Problem(buffers("a", "a")), "two buffers are named `a`"),
        (lambda: Problem([1]), "buffers must be Buffer objects, got 1"),
        (lambda: Problem([], Limits(), "locl"), r"policy 'locl' is unknown \(did you mean 'local'"),
        (lambda: Problem(buffers("a"), Limits(), {"b": "local"}), "the policy names `b`"),
        (
            lambda: Problem(buffers("a", locations="local"), Limits(), {"a": "shared"}),
            "the policy cannot hold: buffer `a`: may not be shared",
        ),
        (lambda: Limits(-1), "max_shared_bytes must be a byte count"),
        (lambda: Limits(4.5), "max_shared_bytes must be a byte count"),
        (lambda: Limits("48q"), "got '48q': text is a number with a unit, such as '48k'"),
        (lambda: Limits("sm_90"), r"Target.find\('sm_90'\).limits\(\)"),
        (lambda: Limits("9" * 5000), "max_shared_bytes must be a byte count"),
        (lambda: Limits(max_local_bytes="-1"), "max_local_bytes must be a byte count"),
        (lambda: Limits(block_size=0), "block_size must be an integer from 1 to 1048576, got 0"),
        (lambda: Limits(block_size=2**21), "block_size must be an integer from 1 to 1048576"),
        (lambda: Limits(pad_banks="no"), "pad_banks must be True or False, got 'no'"),
        (lambda: Limits(compute_capability=9), r"must be \(major, minor\) such as \(9, 0\), got 9"),
        (
            lambda: Problem(buffers("a"), previous={"a": ("shared",)}),
            r"previous place of `a` must be \('local', None\), or .*; got \('shared',\)",
        ),
        (
            lambda: Problem(buffers("a"), previous={"a": ("shared", -4)}),
            "previous place of `a` must be",
        ),
        (
            lambda: Problem(buffers("a"), previous={"a": ("shared", None)}),
            "previous place of `a` must be",
        ),
        (
            lambda: Problem(buffers("a"), previous={"a": ("local", 4)}),
            "previous place of `a` must be",
        ),
        (
            lambda: Problem(buffers("a"), previous={"a": ("shared", 2**70)}),
            "previous place of `a` must be",
        ),
        (lambda: Limits(compute_capability=(9,)), "compute_capability must be"),
        (
            lambda: Problem([Buffer(f"b{i}", 2**40, "u1") for i in range(1025)]),
            "more than the .* B for which offsets are exact",
        ),
        (
            lambda: Problem([Buffer(f"b{i}", 1, "u1") for i in range(100_001)]),
            "100001 buffers are more than",
        ),
    ],
)
def test_bad_problem_is_refused(make, message):
    """Every mismatch raises an error that says what is wrong."""
    with pytest.raises(ProblemError, match=message):
        make()


def test_run_stride_is_odd_in_units():
    """Padded strides are an odd number of words, so that runs fall into different banks."""
    assert run_stride(0, 4) == 0
    assert run_stride(12, 4) == 12
    assert run_stride(16, 4) == 20
    assert run_stride(16, 4, pad_banks=False) == 16
    assert run_stride(13, 8) == 24
    assert run_stride(1, 1) == 4


@pytest.mark.parametrize("pad", [True, False])
def test_run_capacity_is_the_largest_that_fits(pad):
    """A run at its capacity fits under the limit; one more byte does not."""
    for alignment in (1, 4, 8, 16):
        for limit in range(0, 400, 7):
            limits = Limits(limit, 3, None, pad)
            capacity = limits.run_capacity(alignment)
            assert limits.stride(capacity, alignment) * 3 <= limit
            assert limits.stride(capacity + 1, alignment) * 3 > limit


@pytest.mark.parametrize("pad", [True, False])
def test_a_block_of_one_run_needs_its_slice_and_no_more(pad):
    """One run has no neighbours: its capacity is the limit itself, whatever the alignment."""
    for alignment in (1, 4, 64, 4096):
        for limit in (0, 1, 10, 99, 100):
            limits = Limits(limit, 1, None, pad)
            assert limits.run_capacity(alignment) == limit
            assert limits.block_bytes(limit, alignment) == limit
            assert 0 <= limits.stride(limit, alignment) - limit < max(4, alignment)


def test_digest_sees_every_field():
    """Problems that differ anywhere have different digests; equal ones have the same."""
    base = Problem(buffers("a", "b"))
    variants = [
        Problem(buffers("a", "c")),
        Problem(buffers("a", "b", access_weight=2.0)),
        Problem(buffers("a", "b", pin="shared")),
        Problem(buffers("a", "b"), Limits(64)),
        Problem(buffers("a", "b"), Limits(), "local"),
        Problem(buffers("a", "b"), previous={"a": (Location.SHARED, 0)}),
    ]
    digests = {problem.digest for problem in [base, *variants]}
    assert len(digests) == 1 + len(variants)
    assert Problem(buffers("a", "b")).digest == base.digest


def test_every_error_of_the_planner_has_one_base():
    """Whoever catches PlannerError catches every error that the planner has of its own."""
    errors = set()
    for module in pkgutil.walk_packages(cubie_planner.__path__, "cubie_planner."):
        if module.name.startswith("cubie_planner.allocators."):
            continue  # those of the targets load numba
        for found in vars(importlib.import_module(module.name)).values():
            if isinstance(found, type) and issubclass(found, Exception):
                errors.add(found)
    assert {PlanInfeasible, BufferError, FormatError} < errors
    assert all(issubclass(error, PlannerError) for error in errors)


NO_DECLARATION = (0, -1, True, 1.5, float("nan"), "3", b"3", np.array(5), object())


@pytest.mark.parametrize("given", NO_DECLARATION, ids=lambda given: type(given).__name__)
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (lambda given: Problem(given), "buffers must be"),
        (lambda given: Problem([], previous=given), "previous must be"),
        (lambda given: Problem([Buffer("a", 3, "f4", aliases=given)]), "aliases must be|`3`"),
        (lambda given: Buffer("a", 3, "f4", locations=given), "locations must be|location"),
        (lambda given: plan(given), "plan takes a Problem"),
        (lambda given: check(Problem([]), given), "check takes a Problem and the Plan"),
        (lambda given: problem_from_csv(given), "given as text|column|header"),
        (lambda given: problem_from_minimalloc(given), "given as text|column|header"),
    ],
)
def test_what_is_of_another_kind_is_told_apart(asked, words, given):
    """Whatever is given in place of buffers, problems and texts: what it must be is said."""
    with pytest.raises((TypeError, ValueError), match=words):
        asked(given)


@pytest.mark.parametrize("effort", [-1, float("nan"), "3", None, True, [], np.array([5])])
def test_an_effort_is_a_number(effort):
    """No search runs under a limit that is none."""
    with pytest.raises(ValueError, match="effort must be a number"):
        plan(Problem([Buffer("a", 3, "f4", lifetime=((0, 1),))]), effort=effort)
