"""The steps of a day with a GPU, in order, and the one JSON that they leave.

Imports neither numba nor NumPy: whatever is wrong with those is what the steps are to tell.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.environment import source_commit
from benchmarks.gpu.step import Record, pending, run_step

FORMAT = 1
SIMULATOR = {"NUMBA_ENABLE_CUDASIM": "1"}
RESERVE = 20.0  # seconds that are kept for what evaluates the measurements
LEAST = 1.0  # seconds; no step is started with less
BEFORE_SIMULATION = ("imports", "device", "compiler")
EVALUATIONS = ("calibration", "comparison")
# The most of the whole time that a step may take.
SHARES = {
    "imports": 0.15,
    "device": 0.1,
    "compiler": 0.15,
    "tests": 0.4,
    "lorenz": 0.15,
    "sweep": 0.12,
}
MODULES = {"tests": "suite"}
LORENZ_PARTS = ("fixed", "adaptive")
# Method, states of Lorenz' ring and dtype. What tells most comes first: time may be up before
# the last.
SWEEP_PARTS = (
    "tsit5-40-float32",
    "tsit5-100-float32",
    "rodas5p-20-float32",
    "kvaerno5-20-float32",
    "tsit5-10-float32",
    "tsit5-60-float32",
    "dop853-40-float32",
    "tsit5-40-float64",
    "radau_iia_5-20-float32",
    "rodas5p-40-float32",
    "tsit5-80-float32",
    "kvaerno5-40-float32",
    "rodas5p-3-float64",
)
# One method of each family.
SIMULATED_SWEEP_PARTS = (
    "tsit5-4-float32",
    "rodas5p-4-float32",
    "kvaerno5-4-float32",
    "radau_iia_5-4-float64",
)


def as_text(data: Mapping[str, Any]) -> str:
    """Return JSON with every row on a line of its own."""
    steps = []
    for step in data["steps"]:
        facts = json.dumps({**step, "rows": []}, indent=1)
        rows = ",\n".join(json.dumps(row) for row in step["rows"])
        steps.append(facts.replace('"rows": []', f'"rows": [\n{rows}\n]'))
    text = json.dumps({**data, "steps": []}, indent=1)
    return text.replace('"steps": []', '"steps": [\n' + ",\n".join(steps) + "\n]") + "\n"


def measured_steps(simulated: bool) -> list[str]:
    """Return the steps after the first three, as "step" or "step part"."""
    parts = SIMULATED_SWEEP_PARTS if simulated else SWEEP_PARTS
    return [
        "tests",
        *(f"lorenz {part}" for part in LORENZ_PARTS),
        *(f"sweep {part}" for part in parts),
    ]


class Day:
    """Runs the steps, and writes what there is whenever there is more.

    Parameters
    ----------
    folder : Path
        Where the JSON goes, and a calibrated model.
    minutes : float
        For everything together.
    simulate : bool
        Do so even if there is a GPU.
    only : tuple of str
        Steps, by their first word; those after the first three that are not among them are left
        out. All, if empty.

    Attributes
    ----------
    data : dict
        What the JSON holds; see docs/gpu-day.md.
    """

    def __init__(
        self, folder: Path, minutes: float, simulate: bool = False, only: tuple[str, ...] = ()
    ):
        self._folder, self._simulate, self._only = folder, simulate, only
        self._end = time.monotonic() + 60.0 * minutes
        self._seconds = 60.0 * minutes
        self._written: Path | None = None
        self._named = ""  # what that was called after
        self.data: dict[str, Any] = {
            "format": FORMAT,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": os.environ.get("CUBIE_COMMIT") or source_commit(),
            "minutes": minutes,
            "complete": False,
            "simulated": None,
            "why_simulated": None,
            "device": None,
            "steps": [],
        }

    @property
    def name(self) -> str:
        """What the files are called: after the device."""
        if self.data["simulated"]:
            return "gpu-simulated"
        device = self.data["device"]
        words = re.findall(r"[a-z0-9]+", device["name"].lower()) if device else ["unknown"]
        return "-".join(["gpu", *words])

    @property
    def path(self) -> Path:
        """Where the JSON is: results of an earlier day with that device are left alone."""
        if self._written is not None and self._named == self.name:
            return self._written
        path, number = self._folder / f"{self.name}.json", 1
        while path.exists() and not self.data["simulated"]:
            number += 1
            path = self._folder / f"{self.name}-{number}.json"
        return path

    def run(self) -> None:
        """Run everything; what is done stays done when this is interrupted."""
        self._write()
        for name in BEFORE_SIMULATION:
            self._run(name, SHARES[name], {})
        self._decide()
        names = [name for name in measured_steps(self.data["simulated"]) if self._wanted(name)]
        evaluations = [name for name in EVALUATIONS if self._wanted(name)]
        self.data["steps"] += map(pending, [*names, *evaluations])
        self._write()
        environment = SIMULATOR if self.data["simulated"] else {}
        for name in [*names, *evaluations]:
            self._run(name, SHARES.get(name.split()[0], 1.0), environment)
        self.data["complete"] = all(step["status"] == "done" for step in self.data["steps"])
        self._write()

    def _wanted(self, name: str) -> bool:
        return not self._only or name.split()[0] in self._only

    def _decide(self) -> None:
        """Take the device that was found, or simulate one."""
        rows = self._record("device")["rows"]
        found = [row for row in rows if row["kind"] == "device"]
        absent = [row["reason"] for row in rows if row["kind"] == "no device"]
        if found:
            self.data["device"] = {k: v for k, v in found[0].items() if k != "kind"}
        if self._simulate:
            reason = "asked for by --simulate"
        elif found:
            reason = None
        else:
            reason = absent[0] if absent else "the step that looks for a GPU came to no answer"
        self.data |= {"simulated": reason is not None, "why_simulated": reason}

    def _record(self, name: str) -> Record:
        for record in self.data["steps"]:
            if record["name"] == name:
                return record
        self.data["steps"].append(pending(name))
        return self.data["steps"][-1]

    def _run(self, name: str, share: float, environment: dict[str, str]) -> None:
        """Run a step as long as it may take, and as there is time."""
        record = self._record(name)
        step, *parts = name.split()
        left = self._end - time.monotonic() - (0.0 if step in EVALUATIONS else self._reserve)
        if left < LEAST and step not in EVALUATIONS:
            return
        limit = max(LEAST, left if step in EVALUATIONS else min(left, share * self._seconds))
        command = ["-m", f"benchmarks.gpu.{MODULES.get(step, step)}", *parts]
        if step in EVALUATIONS:
            command += ["--data", str(self.path)]
            command += ["--save", str(self.path.with_name(f"{self.path.stem}-calibration.json"))]
        if self.data["simulated"]:
            command.append("--simulated")
        print(f"{name}: ", end="", flush=True)
        try:
            run_step(record, command, limit, self._write, environment)
        finally:
            self._write()
        print(f"{record['status']}, {record['seconds']:.1f} s, {len(record['rows'])} rows")

    @property
    def _reserve(self) -> float:
        return min(RESERVE, 0.2 * self._seconds)

    def _write(self) -> None:
        """Put the data on disk, whole or not at all; under its name as it is known by now."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self.path
        new = path.with_suffix(".new")
        new.write_text(as_text(self.data), encoding="utf-8")
        new.replace(path)
        if self._written not in (None, path):
            self._written.unlink(missing_ok=True)
        self._written, self._named = path, self.name
