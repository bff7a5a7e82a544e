"""A decision in words: every combination of options, what it reaches, and what was picked."""

from cubie_planner.plans.decision import Decision, in_order
from cubie_planner.report.tables import aligned


def decision_text(decision: Decision) -> str:
    """Return a table of all combinations, and what was proven of the one that was picked."""
    names = [choice.name for choice in decision.alternatives.choices]
    levels = in_order({n for outcome in decision.outcomes for n in outcome.values or ()})
    lines = [(*names, *(level.replace("_", " ") for level in levels), "")]
    for outcome in decision.outcomes:
        reached = outcome.values
        told = [""] * len(levels)
        note = outcome.note if reached is None else ""
        if reached is not None:
            told = [str(reached.get(level, 0)) for level in levels]
        if dict(outcome.picked) == dict(decision.picked):
            note = "picked"
        elif outcome.impossible:
            note = "impossible: " + outcome.note.partition(": ")[0]
        lines.append((*(outcome.picked[name] for name in names), *told, note))
    right = {len(names) + index for index in range(len(levels))}
    proofs = [
        f"{level.name.replace('_', ' ')}: {level.value} "
        + ("(proven)" if level.gap == 0 else f"(bound {level.bound}, gap {100 * level.gap:.1f} %)")
        for level in decision.levels
    ]
    return "\n".join([*aligned(lines, right), "", *proofs])
