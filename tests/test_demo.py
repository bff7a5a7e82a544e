"""The demo runs, says what it should, and draws."""

import numpy as np
import pytest

from cubie import demo
from cubie_planner import Location

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Run a small demo once; return the exit status, what it printed and its folder."""
    import contextlib
    import io

    folder = tmp_path_factory.mktemp("demo")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = demo.main(["--runs", "40", "--output", str(folder)])
    return status, printed.getvalue(), folder


def test_demo_succeeds_and_counts_the_outcomes(shown):
    """All runs succeed, and the printed counts say so."""
    status, printed, _ = shown
    assert status == 0
    assert "status: 40 x SUCCESS" in printed
    assert "steps: " in printed
    assert "time: plan and build" in printed


def test_demo_prints_both_plans_with_totals_and_savings(shown):
    """Each table names every used buffer; the shared one says what lifetimes saved."""
    _, printed, _ = shown
    used = [p.name for p in demo.shared_layout().plan.shared]
    assert len(used) > 8
    assert all(printed.count(f" {name} ") >= 2 for name in used)
    assert "saved per run: lifetimes" in printed
    assert all(heading in printed for heading in ("location", "offset", "bytes", "lifetime"))


def test_demo_writes_two_pictures(shown):
    """The memory plan and the sweep are there, as PNG."""
    _, printed, folder = shown
    for name in ("memory-plan.png", "lorenz-sweep.png"):
        assert (folder / name).read_bytes()[:4] == PNG
        assert name in printed


def test_shared_layout_shares_everything_within_the_limit():
    """The second plan is what it says: all buffers shared, lifetimes used, proven."""
    plan = demo.shared_layout().plan
    used = [p for p in plan.placements.values() if p.size_bytes]
    assert {p.location for p in used} == {Location.SHARED}
    assert plan.status == "optimal"
    assert plan.shared_bytes_per_run < plan.shared_bytes_without_reuse
    assert plan.shared_bytes_per_block <= 48 * 1024


def test_demo_rejects_no_runs(capsys):
    """Fewer than one run is an error of usage that says so."""
    with pytest.raises(SystemExit):
        demo.main(["--runs", "0"])
    assert "--runs must be at least 1, got 0" in capsys.readouterr().err


def test_lorenz_is_at_rest_on_its_fixed_point():
    """The right-hand side vanishes where the printed check expects the runs to end."""
    rho = 7.0
    xy = np.sqrt(demo.BETA * (rho - 1.0))
    assert np.allclose(demo.lorenz(0.0, (xy, xy, rho - 1.0), demo.SIGMA, rho, demo.BETA), 0.0)
