"""How much memory there is left, as systems tell it."""

import os

import numpy as np
import pytest

from cubie.backend import RunMemory, free_memory
from cubie.backend.cpu import target
from cubie.backend.cpu.target import CPUBackend, CPUKernel
from cubie.errors import OutOfMemory

GIB = 2**30
MEMINFO = f"MemTotal: {32 * GIB // 1024} kB\nMemAvailable: {8 * GIB // 1024} kB\nSwapFree: 0 kB\n"


def lay_out(monkeypatch, folder, meminfo, own, files):
    """Let the system tell this, in files below `folder`."""
    for name, text in {"meminfo": meminfo, "own": own, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(free_memory, "_MEMINFO", folder / "meminfo")
    monkeypatch.setattr(free_memory, "_OWN_GROUP", folder / "own")
    monkeypatch.setattr(free_memory, "_GROUPS", folder / "groups")


def group(most, used, stat="inactive_file 0\n", old=False):
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    names = names if old else ("memory.max", "memory.current")
    return dict(zip((*names, "memory.stat"), (f"{most}\n", f"{used}\n", stat), strict=True))


def below(place, files):
    return {f"groups/{place}/{name}": text for name, text in files.items()}


def test_the_machine_tells_what_is_left(monkeypatch, tmp_path):
    """Without groups it is what the machine has, with swap."""
    text = MEMINFO.replace("SwapFree: 0", f"SwapFree: {GIB // 1024}")
    lay_out(monkeypatch, tmp_path, text, "0::/\n", {})
    assert free_memory.free_bytes() == 9 * GIB


def test_the_closest_limit_counts(monkeypatch, tmp_path):
    """Of the group, and those that it lies in; caches of files can be taken back."""
    stat = f"anon 5\ninactive_file {GIB // 2}\nactive_file {GIB // 2}\n"
    files = below("job/step", group("max", GIB)) | below("job", group(4 * GIB, 3 * GIB, stat))
    lay_out(monkeypatch, tmp_path, MEMINFO, "0::/job/step\n", files)
    assert free_memory.free_bytes() == 2 * GIB


def test_groups_of_the_first_kind(monkeypatch, tmp_path):
    """They are mounted by controller, and have an enormous number where there is no limit."""
    files = below("memory/job", group(3 * GIB, GIB, old=True))
    files |= below("memory", group(2**63 - 4096, GIB, old=True))
    own = "3:cpu:/elsewhere\n4:memory:/job\n0::/\n"
    lay_out(monkeypatch, tmp_path, MEMINFO, own, files)
    assert free_memory.free_bytes() == 2 * GIB


def test_a_group_that_is_full_leaves_nothing(monkeypatch, tmp_path):
    """Never less than nothing."""
    lay_out(monkeypatch, tmp_path, MEMINFO, "0::/\n", below("", group(GIB, 2 * GIB)))
    assert free_memory.free_bytes() == 0


def test_a_system_that_tells_little(monkeypatch, tmp_path):
    """Its physical memory is the most there can be; and where it tells nothing, all is tried."""
    lay_out(monkeypatch, tmp_path, "nonsense\n", "", {})
    monkeypatch.setattr(free_memory, "_OWN_GROUP", tmp_path / "missing")
    monkeypatch.setattr(os, "sysconf", lambda name: 4096, raising=False)
    assert free_memory.free_bytes() == 4096**2

    def unknown(name):
        raise ValueError(name)

    monkeypatch.setattr(os, "sysconf", unknown, raising=False)
    assert free_memory.free_bytes() is None


def test_a_group_that_cannot_be_held_is_refused_before_it_is_compiled(monkeypatch):
    """What it takes is said, what there is, and what takes less; one thread may still fit."""
    backend = CPUBackend(np.float64, True, 8)
    monkeypatch.setattr(target, "free_bytes", lambda: 10**9)
    backend.require_room(RunMemory(10**8, 0))
    with pytest.raises(OutOfMemory, match="8 runs take 1,280,000,000 bytes, and 1,000,000,000 "):
        backend.require_room(RunMemory(160_000_000, 0))
    kernel = CPUKernel.__new__(CPUKernel)
    kernel._width, kernel._owned_bytes = 8, 4 * 10**8
    made = []
    monkeypatch.setattr(target, "_Job", lambda workers, n_bytes: made.append(workers))
    kernel._make_job(16)
    assert made == [2]
