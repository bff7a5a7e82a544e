"""What was measured, as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.gpu.rows import rows_of

Row = Mapping[str, Any]
OUTCOMES = ("passed", "failed", "skipped")


def report(data: Row) -> str:
    """Return everything as tables."""
    parts = [_heading(data), _steps(data), _packages(data), _tests(data), _comparison(data)]
    parts += [_sweep(data), _calibration(data)]
    return "\n\n".join(part for part in parts if part)


def _heading(data: Row) -> str:
    if data["simulated"]:
        return f"SIMULATED, nothing here was measured on a GPU: {data['why_simulated']}."
    device = data["device"]
    if device is None:
        return "No device yet."
    capability = ".".join(map(str, device["capability"]))
    return (
        f"{device['name']}: capability {capability}, {device['sm_count']} multiprocessors at "
        f"{device['clock_khz'] / 1e3:.0f} MHz, {device['memory_bytes'] / 2**30:.0f} GiB; "
        f"driver {device['smi'].get('driver_version', '?')} (CUDA {device['driver_cuda']})."
    )


def _steps(data: Row) -> str:
    lines = []
    for step in data["steps"]:
        if step["status"] != "done":
            tail = (step["output_tail"] or "").strip().splitlines()
            lines.append(f"{step['name']}: {step['status']}. {tail[-1] if tail else ''}".rstrip())
    return "Not done:\n" + "\n".join(lines) if lines else "All steps are done."


def _packages(data: Row) -> str:
    lines = [
        f"{row['distribution']} {row['found'] or 'is missing'}: {row['asked_by']} asks for "
        f"{row['asked'] or 'any'}"
        for row in rows_of(data, "package")
        if not row["suits"]
    ]
    lines += [
        f"{row['module']} does not import: {row['error']}"
        for row in rows_of(data, "import")
        if row["error"]
    ]
    lines += [
        f"the toolkit's {row['library']} was not found: {row['error']}"
        for row in rows_of(data, "library")
        if row["error"]
    ]
    lines += [
        f"no kernel compiles for sm_{''.join(map(str, row['capability']))}: {row['error']}"
        for row in rows_of(data, "compiler")
        if row["error"]
    ]
    return "Packages:\n" + "\n".join(lines) if lines else ""


def _tests(data: Row) -> str:
    tests = rows_of(data, "test")
    if not tests:
        return ""
    count = {name: sum(row["outcome"] == name for row in tests) for name in OUTCOMES}
    failed = [f"  {row['test']}" for row in tests if row["outcome"] == "failed"]
    summary = ", ".join(f"{number} {name}" for name, number in count.items() if number)
    return "\n".join([f"Tests that need a GPU: {summary}", *failed])


def _comparison(data: Row) -> str:
    rows = rows_of(data, "comparison")
    if not rows:
        return ""
    title = (
        "Lorenz' system, Tsit5, float32. Slots: FP32 instructions the card could have issued, "
        "per run and step; the limit is the card's for the fewest instructions of a fixed step."
    )
    head = ("who", "steps", "card", "runs", "steps a run", "kernel", "slots", "fewest", "limit")
    cells = [
        (
            row["who"],
            row["case"],
            row["card"],
            f"{row['runs']:,}",
            _number(row["steps"], ".1f"),
            _milliseconds(row["seconds"]),
            _number(row["slots_per_step"], ".0f"),
            _number(row["fewest_instructions"], "d"),
            _milliseconds(row["limit_seconds"]),
        )
        for row in rows
    ]
    return f"{title}\n\n{table(head, cells)}"


def _sweep(data: Row) -> str:
    rows = rows_of(data, "sweep")
    if not rows:
        return ""
    head = ("kernel", "block", "placement", "shared/run", "regs", "local B", "kernel time", "gain")
    local = {
        (row["sweep"], row["block_size"]): _median(row)
        for row in rows
        if row["placement"] == "local" and row["refused"] is None
    }
    cells = []
    for row in rows:
        start = (row["sweep"], str(row["block_size"]), row["placement"])
        if row["refused"] is not None:
            cells.append((*start, "does not fit", "", "", "", ""))
            continue
        own, base = _median(row), local.get((row["sweep"], row["block_size"]))
        gain = None if own is None or base is None else base / own
        cells.append(
            (
                *start,
                str(row["shared_bytes_per_run"]),
                _number(row["registers"], "d"),
                _number(row["local_bytes"], "d"),
                _milliseconds(own),
                _number(gain, ".2f"),
            )
        )
    return (
        f"Placements; gain over all buffers local in blocks of that size:\n\n{table(head, cells)}"
    )


def _calibration(data: Row) -> str:
    lines = []
    for row in rows_of(data, "calibration"):
        lines.append(
            f"Calibration: {row['measurements']} kernels, cycles from {row['cycles_from']}; error "
            f"{row['rms_error']:.1%} (rms), {row['worst_error']:.1%} at most; order of pairs right "
            f"in {_number(row['agreeing_pairs_before'], '.0%')} before and "
            f"{_number(row['agreeing_pairs_after'], '.0%')} after; informed: "
            f"{', '.join(row['informed']) or 'nothing'}."
        )
    return "\n".join(lines)


def _median(row: Row) -> float | None:
    times = sorted(row["kernel_seconds"] or ())
    return times[len(times) // 2] if times else None


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.4g} ms"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return columns of text, each as wide as its widest cell."""
    lines = [tuple(head), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
