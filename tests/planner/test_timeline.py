"""Lifetimes composed from components."""

import pytest

from cubie_planner import Alias, Call, Component, PhasedBuffer, TimelineError, compose


def lifetimes(root):
    return {b.name: b.lifetime for b in compose(root).buffers}


def meets(first, second):
    if first is None or second is None:
        return True
    return any(a < d and c < b for a, b in first for c, d in second)


def leaf(name, *phases):
    return Component(
        name, phases or ("run",), (PhasedBuffer("x", 1, "f4", phases=phases or "run"),)
    )


def test_child_lives_inside_its_callers_phase():
    """A caller's buffer alive in the calling phase lives with everything inside the child."""
    root = Component(
        "loop",
        ("start", "step", "end"),
        (
            PhasedBuffer("during", 1, "f4", phases="step"),
            PhasedBuffer("before", 1, "f4", phases="start"),
            PhasedBuffer("always", 1, "f4"),
        ),
        (Call(leaf("child"), "step"),),
    )
    found = lifetimes(root)
    assert meets(found["loop.during"], found["loop.child.x"])
    assert not meets(found["loop.before"], found["loop.child.x"])
    assert found["loop.always"] is None
    assert compose(root).points == (
        "loop:start",
        "loop:step",
        "loop.child:run",
        "loop:step (after)",
        "loop:end",
    )
    assert compose(root).point("loop", "step") == (1, 4)


def test_children_of_different_phases_never_live_together():
    """Two children called in different phases have disjoint lifetimes."""
    root = Component("r", ("p", "q"), (), (Call(leaf("a"), "p"), Call(leaf("b"), "q")))
    found = lifetimes(root)
    assert not meets(found["r.a.x"], found["r.b.x"])


def test_children_of_one_phase_follow_each_other_unless_concurrent():
    """Children of the same phase are laid out in turn; concurrent ones live together."""
    in_turn = Component("r", ("p",), (), (Call(leaf("a"), "p"), Call(leaf("b"), "p")))
    found = lifetimes(in_turn)
    assert not meets(found["r.a.x"], found["r.b.x"])
    both = (Call(leaf("a"), "p", concurrent=True), Call(leaf("b"), "p", concurrent=True))
    found = lifetimes(Component("r", ("p",), (), both))
    assert meets(found["r.a.x"], found["r.b.x"])


def test_entries_in_different_phases_of_the_caller():
    """What a child keeps from one entry to another lives through what runs between them."""
    child = Component(
        "alg",
        ("stages", "finish", "commit"),
        (
            PhasedBuffer("kept", 1, "f4", phases=[("finish", "commit")]),
            PhasedBuffer("apart", 1, "f4", phases=("stages", "commit")),
        ),
        entries={"step": ("stages", "finish"), "commit": ("commit",)},
    )
    root = Component(
        "loop",
        ("step", "control", "commit"),
        (),
        (Call(child, {"step": "step", "commit": "commit"}), Call(leaf("controller"), "control")),
    )
    found = lifetimes(root)
    assert meets(found["loop.alg.kept"], found["loop.controller.x"])
    assert not meets(found["loop.alg.apart"], found["loop.controller.x"])
    assert len(found["loop.alg.apart"]) == 2


def test_child_called_twice_lives_twice():
    """A child called in two phases has one interval for each."""
    root = Component("r", ("p", "gap", "q"), (), (Call(leaf("a"), ("p", "q")),))
    timeline = compose(root)
    assert len(timeline.intervals("r.a", "run")) == 2
    assert lifetimes(root)["r.a.x"] == timeline.intervals("r.a", "run")
    with pytest.raises(TimelineError, match="runs 2 times"):
        timeline.point("r.a", "run")


def test_a_buffer_may_live_wherever_a_component_is_called():
    """At whatever depth, and then only: what is between has its bytes."""
    solver = Component(
        "solver",
        ("form", "solve"),
        (PhasedBuffer("matrix", 1, "f4", phases="solve"),),
        (Call(leaf("rhs"), "form"),),
    )
    root = Component(
        "root",
        ("first", "second"),
        (PhasedBuffer("room", 1, "f4", phases=["*.rhs.run"]),),
        (Call(leaf("rhs"), "first"), Call(solver, "second")),
    )
    found, timeline = lifetimes(root), compose(root)
    calls = timeline.intervals("root.rhs", "run") + timeline.intervals("root.solver.rhs", "run")
    assert found["root.room"] == calls
    assert len(calls) == 2
    assert not meets(found["root.room"], found["root.solver.matrix"])


def test_alias_parents_resolve_by_sibling_or_qualified_name():
    """A parent may be named as a sibling, from the root, or with the root's name."""
    inner = Component(
        "inner",
        ("run",),
        (
            PhasedBuffer("own", 4, "f4"),
            PhasedBuffer("a", 1, "f4", aliases="own"),
            PhasedBuffer("b", 1, "f4", aliases="root.big"),
            PhasedBuffer("c", 1, "f4", aliases=[Alias("big", 4)]),
        ),
    )
    root = Component("root", ("p",), (PhasedBuffer("big", 4, "f4"),), (Call(inner, "p"),))
    parents = {b.name: b.aliases for b in compose(root).buffers}
    assert parents["root.inner.a"] == (Alias("root.inner.own"),)
    assert parents["root.inner.b"] == (Alias("root.big"),)
    assert parents["root.inner.c"] == (Alias("root.big", 4),)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PhasedBuffer("x", 1, "f4", lifetime=((0, 1),)), "give phases, not a lifetime"),
        (lambda: PhasedBuffer("x", 1, "f4", phases=()), "lives in no phase"),
        (lambda: Component("a.b", ("p",)), "without dots"),
        (lambda: Component("a", ()), "needs distinct phases"),
        (lambda: Component("a", ("p", "p")), "needs distinct phases"),
        (
            lambda: Component("a", ("stage",), (PhasedBuffer("x", 1, "f4", phases="stag"),)),
            r"phase 'stag' does not exist \(did you mean 'stage'\?\)",
        ),
        (
            lambda: Component("a", ("p",), (PhasedBuffer("x", 1, "f4", phases="*.rhs.run"),)),
            r"buffer `x` of `a`: phase '\*.rhs.run' does not exist",
        ),
        (
            lambda: Component("a", ("p", "q", "r"), entries={"e": ("p", "r")}),
            "must be consecutive phases",
        ),
        (
            lambda: Component("a", ("p",), (), (Call(leaf("c"), {"go": "p"}),)),
            "calls the entry `go` of `c`, which has",
        ),
        (
            lambda: Component(
                "a", ("p",), (PhasedBuffer("x", 1, "f4"), PhasedBuffer("x", 1, "f4"))
            ),
            "two buffers of `a` have the same name",
        ),
        (
            lambda: compose(
                Component("a", ("p", "q"), (PhasedBuffer("x", 1, "f4", phases=[("q", "p")]),))
            ),
            "a value carried round a loop lives through the whole loop",
        ),
        (
            lambda: compose(Component("a", ("p",), (PhasedBuffer("x", 1, "f4", aliases="y"),))),
            "neither a buffer of `a` nor a qualified name",
        ),
    ],
)
def test_bad_component_is_refused(make, message):
    """Every mismatch raises an error that names the component and the remedy."""
    with pytest.raises(TimelineError, match=message):
        make()


def test_phase_that_nothing_calls_is_refused():
    """A buffer cannot live in an entry that the tree never calls."""
    child = Component(
        "c",
        ("p", "q"),
        (PhasedBuffer("x", 1, "f4", phases="q"),),
        entries={"first": ("p",), "second": ("q",)},
    )
    with pytest.raises(TimelineError, match="lives in phase 'q', which nothing calls"):
        compose(Component("r", ("run",), (), (Call(child, {"first": "run"}),)))
