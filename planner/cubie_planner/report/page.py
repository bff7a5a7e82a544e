"""The plan as a page of its own, and as what a notebook shows.

The page is one file that asks for nothing else: its policy forbids every request and
every script but its own, so that names in a plan stay text whatever they contain.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from cubie_planner.declarations.buffers import Interval
from cubie_planner.declarations.places import TILE
from cubie_planner.plans.answer import Level
from cubie_planner.plans.cells import COLUMNS, row
from cubie_planner.plans.plan import Plan
from cubie_planner.recording.code_lines import told
from cubie_planner.report.device_use import DeviceUse, device_use
from cubie_planner.report.explanation import MOST_PINS, Explanation, PeakShare, unpriced
from cubie_planner.report.memory_map import component, unit_of
from cubie_planner.report.svg import looks, maps, patterns, swatch
from cubie_planner.report.tables import NUMBERS, Savings, savings, totals


def html(
    plan: Plan,
    path: str | Path | None = None,
    *,
    name: str = "plan",
    phases: Mapping[str, Interval] | None = None,
    explanation: Explanation | None = None,
) -> str:
    """Return a report of the plan as one HTML page, and write it.

    Parameters
    ----------
    plan : Plan
    path : path-like, optional
        Where to write the page.
    name : str
        Of what was planned; its title.
    phases : mapping of str to (start, end), optional
        Names for ranges of program points, written below the map.
    explanation : Explanation, optional
        From `cubie_planner.explain.explain`, which plans again once for each pin; without
        it the page does not say what pins cost.
    """
    scope = f"p{plan.digest[:8]}"
    style, script = _asset("map.css") + _asset("page.css"), _asset("page.js")
    drawn = patterns(scope) + maps(plan, scope, phases)
    parts = _components(plan)
    text = Template(_asset("page.html")).substitute(
        name=escape(name),
        subtitle=_subtitle(plan),
        cards=_cards(plan),
        parts="".join(f"<option>{escape(part)}</option>" for part in parts),
        maps=drawn,
        table=_buffer_table(plan, scope),
        unlisted=_unlisted(plan),
        why=_why(plan, explanation or unpriced(plan)),
        device=_device(plan),
        style=style,
        script=script,
        style_digest=_digest(style),
        script_digest=_digest(script),
        digest=escape(plan.digest),
    )
    if path is not None:
        Path(path).write_text(text, encoding="utf-8", newline="\n")
    return text


def fragment(plan: Plan) -> str:
    """Return the map, the totals and the table for a notebook: no script, any theme."""
    scope = f"n{plan.digest[:8]}"
    lines = "<br>".join(escape(line) for line in totals(plan))
    return (
        f'<div class="cubie-plan"><style>{_asset("map.css")}</style>{patterns(scope)}'
        f"<p><b>Memory plan</b> ({plan.told_status})<br>{lines}</p>{maps(plan, scope)}"
        f'<details><summary>Buffers</summary><div class="wide">{_buffer_table(plan, scope)}</div>'
        f"{_unlisted(plan)}</details></div>"
    )


@cache
def _asset(name: str) -> str:
    place = resources.files("cubie_planner.report").joinpath("assets", name)
    return place.read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Return the digest by which a content security policy knows an inline text."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _components(plan: Plan) -> list[str]:
    """Return the paths of components with buffers, and of what these lie in."""
    paths = {component(p.name) for p in plan.placements.values() if p.size_bytes}
    whole = {path[:i] for path in paths for i, c in enumerate(path) if c == "."} | paths
    return sorted(whole - {""})


# --- totals ---------------------------------------------------------------------------


def _subtitle(plan: Plan) -> str:
    limits, policy = plan.limits, plan.problem.policy
    words = [plan.told_status, f"locations: {policy if isinstance(policy, str) else 'given'}"]
    words += [f"blocks of {limits.block_size}"] if plan.problem.has_runs else []
    if limits.max_shared_bytes is not None:
        words.append(f"at most {limits.max_shared_bytes} B of shared memory per block")
    if limits.compute_capability is not None:
        card = f"{limits.card}, " if limits.card else ""
        words.append("for {}sm_{}{}".format(card, *limits.compute_capability))
    return escape(" · ".join(words))


def _cards(plan: Plan) -> str:
    limits, saved = plan.limits, savings(plan)
    limit, bar = "no limit", ""
    if limits.max_shared_bytes is not None:
        share = 100 * plan.shared_bytes_per_block / max(1, limits.max_shared_bytes)
        limit = f"{share:.0f} % of the limit of {limits.max_shared_bytes} B"
        bar = _bar(share)
    cards = [_card("Shared per block", f"{plan.shared_bytes_per_block} B", limit, bar)]
    if plan.problem.has_runs:
        run, stride = f"{plan.shared_bytes_per_run} B", f"stride {plan.run_stride_bytes} B"
        cards = [
            _card("Shared per run", run, stride),
            *cards,
            _card("Local per run", f"{plan.local_bytes} B", "registers or stack"),
            _card("Persistent per run", f"{plan.persistent_bytes} B", "kept across calls"),
        ]
    if plan.tile_bytes:
        cards.append(_card("Tiles per block", f"{plan.tile_bytes} B", "its threads share them"))
    if plan.global_bytes:
        cards.append(_card("Global per run", f"{plan.global_bytes} B", "a launch brings it"))
    for name, used in plan.pool_bytes.items():
        pool = plan.problem.pools[name]
        room = "no limit" if pool.capacity_bytes is None else f"of {pool.capacity_bytes} B"
        cards.append(_card(f"Pool {name} per {unit_of(pool)}", f"{used} B", room))
    tiles = savings(plan, TILE)
    for title, found in (("Saved by reuse", saved), ("Saved by reuse in tiles", tiles)):
        if found.without_reuse:
            cards.append(_saved(title, found))
    return f'<dl class="cards">{"".join(cards)}</dl>'


def _saved(title: str, saved: Savings) -> str:
    gain = saved.by_lifetimes + saved.by_aliases
    holes = f", holes {saved.holes} B" if saved.holes else ""
    told = f"lifetimes {saved.by_lifetimes} B, aliases {saved.by_aliases} B{holes}"
    return _card(title, f"{gain} B", f"{told}, of {saved.without_reuse} B")


def _card(title: str, value: str, note: str, extra: str = "") -> str:
    return f"<div><dt>{title}</dt><dd>{value}<small>{note}</small>{extra}</dd></div>"


def _bar(percent: float) -> str:
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{min(100.0, percent):.1f}" height="10"/></svg>'
    )


# --- tables ---------------------------------------------------------------------------


def _cell(value: object, number: bool, kind: str = "td") -> str:
    """Return one cell of plain text; numbers go to the right."""
    opening = kind + (' scope="col"' if kind == "th" else "") + (' class="n"' if number else "")
    return f"<{opening}>{escape(str(value))}</{kind}>"


def _table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[str] = ()
) -> str:
    right = [column in numbers for column in columns]

    def cells(values: Sequence[object], kind: str) -> str:
        return "".join(_cell(v, n, kind) for v, n in zip(values, right, strict=True))

    body = "".join(f"<tr>{cells(values, 'td')}</tr>" for values in rows)
    return f"<table><thead><tr>{cells(columns, 'th')}</tr></thead><tbody>{body}</tbody></table>"


def _buffer_table(plan: Plan, scope: str) -> str:
    """Return the table of buffers, whose rows can have the focus and know their component."""
    lines = []
    for name, look in looks(plan).items():
        cells = zip(COLUMNS[1:], row(plan, plan.placements[name])[1:], strict=True)
        rest = "".join(_cell(cell, column in NUMBERS) for column, cell in cells)
        label = escape(name)
        lines.append(
            f'<tr tabindex="0" data-name="{label}" data-part="{escape(component(name))}">'
            f'<td class="n">{look.number}</td>'
            f'<td class="path">{swatch(look, scope)} {label}</td>{rest}</tr>'
        )
    head = "".join(_cell(c, c in ("#", *NUMBERS), "th") for c in ("#", *COLUMNS))
    body = "".join(lines)
    return f'<table id="buffers"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _unlisted(plan: Plan) -> str:
    empty = [p.name for p in plan.placements.values() if not p.size_bytes]
    if not empty:
        return ""
    names = ", ".join(f"<code>{escape(name)}</code>" for name in empty)
    return f"<p>Switched off or empty, and without any bytes: {names}.</p>"


# --- reasons --------------------------------------------------------------------------


def _why(plan: Plan, explanation: Explanation) -> str:
    parts = []
    if plan.note:
        parts.append(f"<p>{escape(plan.note[:1].upper() + plan.note[1:])}</p>")
    if plan.levels:
        rows = [_proof(plan, level) for level in plan.levels]
        numbers = ("value", "bound", "gap")
        parts.append("<h3>What was minimised, in this order</h3>")
        parts.append(_table(("objective", "value", "bound", "gap", "status"), rows, numbers))
        if plan.prices.mean_anything:
            parts.append(f"<p>The cost counts {escape(plan.prices.unit)}.</p>")
    return "".join([*parts, _peak(explanation), _pins(explanation)])


def _proof(plan: Plan, level: Level) -> tuple[object, ...]:
    gap = f"{100 * level.gap:.1f} %"
    claimed = level.name in plan.unverified
    status = f"{level.status}, as its file claims" if claimed else level.status
    return level.name.replace("_", " "), level.value, level.bound, gap, status


def _peak(explanation: Explanation) -> str:
    tiles = explanation.tiles
    if not explanation.peak_bytes and tiles is None:
        return "<p>Nothing is shared, so shared memory has no peak.</p>"
    parts = []
    if explanation.peak_bytes:
        parts.append(_peak_table("The peak", "run", explanation.slices))
    if tiles is not None:
        parts.append(_peak_table("The peak of tiles", "block", tiles))
    return "".join(parts)


def _peak_table(title: str, unit: str, share: PeakShare) -> str:
    span = share.peak.interval
    when = f"program points {span[0]} to {span[1]}" if span else "all program points"
    rows: list[tuple[object, ...]] = [
        (name, size or "inside another") for name, size in share.sizes.items()
    ]
    if share.holes:
        rows.append(("holes between buffers", share.holes))
    columns = ("alive at the peak", "bytes")
    if share.origins is not None:
        columns = (*columns, "written at", "read last at")
        rows = [(*row, *_lines(share, str(row[0]))) for row in rows]
    table = _table(columns, rows, ("bytes",))
    return f"<h3>{title}: {share.peak.live_bytes} B per {unit}, at {when}</h3>{table}"


def _lines(share: PeakShare, name: str) -> tuple[str, str]:
    origin = (share.origins or {}).get(name)
    if origin is None:
        return share.unseen(name) if name in share.sizes else "", ""
    return told(origin.written_at), told(origin.read_at)


def _pins(explanation: Explanation) -> str:
    count = explanation.n_pins
    if count > MOST_PINS:
        return f"<p>{count} buffers are pinned: too many to price each pin.</p>"
    if not explanation.pins:
        told = "1 buffer is pinned" if count == 1 else f"{count} buffers are pinned"
        return f"<p>{told}; what that costs was not asked.</p>" if count else ""
    names = list(dict.fromkeys(level for pin in explanation.pins for level in pin.levels))
    rows = [
        (
            pin.name,
            *(f"{pin.levels.get(name, 0):+d}" if name in pin.levels else "" for name in names),
        )
        for pin in explanation.pins
    ]
    titles = [name.replace("_", " ") for name in names]
    return "<h3>What each pin costs</h3>" + _table(("pinned", *titles), rows, titles)


def _device(plan: Plan) -> str:
    use = device_use(plan)
    if use is None:
        return ""
    heading = f"Device: {use.device.name}, modelled"
    return (
        f'<section aria-labelledby="device-heading"><h2 id="device-heading">{heading}</h2>'
        f'<dl class="cards">{_device_cards(plan, use)}</dl></section>'
    )


def _device_cards(plan: Plan, use: DeviceUse) -> str:
    device, found, cost = use.device, use.occupancy, use.cost
    share = 100 * found.fraction
    return "".join(
        [
            _card(
                "Resident per multiprocessor",
                f"{found.blocks_per_sm} blocks",
                f"of {plan.limits.block_size} runs each" if plan.problem.has_runs else "",
            ),
            _card(
                "Warps",
                f"{found.warps} of {device.warps_per_sm}",
                f"occupancy {share:.0f} %",
                _bar(share),
            ),
            _card("Limited by", " and ".join(found.limited_by), "what stops the next block"),
            _card(
                "Registers per thread",
                str(cost.registers),
                f"of {device.registers_per_thread}",
                _bar(100 * cost.registers / device.registers_per_thread),
            ),
            _card("Stack per thread", f"{cost.stack_bytes} B", "what registers cannot hold"),
        ]
    )
