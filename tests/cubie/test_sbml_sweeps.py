"""Sweeps of models in SBML: what follows from what differs follows in each run."""

import re

import numpy as np
import pytest

import cubie
from tests.cubie.cli_running import run
from tests.cubie.sbml_texts import event, listed, parameter, sbml, with_events
from tests.cubie.test_sbml import DECAY

pytest.importorskip("libsbml")
pytest.importorskip("xarray")

OPTIONS = {"rtol": 1e-8, "atol": 1e-10, "backend": "python"}
TIMES = np.array([0.0, 1.0, 2.0])


def test_initial_values_follow_from_what_is_swept():
    """Concentrations follow from the size, and constants from initial assignments, in each run."""
    model = cubie.load_model(sbml(DECAY))
    space = cubie.grid(k=[0.1, 0.5], C=[1.0, 2.0])
    swept = cubie.sweep(
        model, (0.0, 2.0), over=space, t_eval=TIMES, observables=["R", "twice"], **OPTIONS
    ).run()
    data = swept.to_xarray()
    k, size = data.k.values[:, None, None], data.C.values[None, :, None]
    left = 3.0 / size * np.exp(-k * TIMES)
    assert data.y.sel(component="A").values == pytest.approx(left, rel=1e-6)
    assert data.R.values == pytest.approx(k * left * size, rel=1e-6)
    assert data.twice.values[:, :, 0] == pytest.approx(np.broadcast_to(2.0 * k[..., 0], (2, 2)))
    assert data.component.values.tolist() == ["A", "B"]
    given = {"over": {"k": [0.1, 0.2]}, "args": {"C": 1.0}, "y0": {"B": 7.0}, "t_eval": TIMES}
    data = cubie.sweep(model, (0.0, 2.0), **given, **OPTIONS).run().to_xarray()
    assert data.y.sel(component="B").values[:, 0].tolist() == [7.0, 7.0]
    assert data.y.sel(component="A").values[:, 0].tolist() == [3.0, 3.0]


def test_events_of_models_in_sweeps():
    """They happen in each run at its own times, and their states are not kept."""
    text = with_events(event("E", "x >= high", {"x": "0", "n": "n + 1"}), n=0.0, high=1.0)
    text = re.sub("(id='high' .*?)constant='false'", r"\1constant='true'", text)
    model = cubie.load_model(text)
    swept = cubie.sweep(model, (0.0, 2.0), over={"high": [0.3, 0.7]}, t_eval=TIMES, **OPTIONS)
    data = swept.run().to_xarray()
    assert data.component.values.tolist() == ["x", "n"]
    assert data.y.sel(component="n").values.round(9).tolist() == [[0, 3, 6], [0, 1, 2]]


def test_what_sweeps_of_models_cannot_do_is_said():
    """Constants that follow from states, what is computed of others, names that are not there."""
    body = listed(
        Parameters=parameter("x", 1.0, False) + parameter("p") + parameter("q", None, False),
        InitialAssignments="<initialAssignment symbol='p'>[[2 * x]]</initialAssignment>",
        Rules="<rateRule variable='x'>[[p]]</rateRule>"
        "<assignmentRule variable='q'>[[x]]</assignmentRule>",
    )
    model = cubie.load_model(sbml(body))
    for over, told in (
        ({"x": [1.0, 2.0]}, "`p` of m is constant, and follows from what `x`"),
        ({"q": [1.0]}, "computes of others"),
    ):
        with pytest.raises(cubie.ModelError, match=told):
            cubie.sweep(model, (0.0, 1.0), over=over, **OPTIONS)
    with pytest.raises(cubie.InvalidProblem, match="sweeps 'z'; there are x"):
        cubie.sweep(model, (0.0, 1.0), over={"z": [1.0]}, **OPTIONS)
    rule = "<rateRule variable='x'>[[lambda]]</rateRule>"
    given = parameter("x", 1.0, False) + parameter("lambda", 2.0)
    named = cubie.load_model(sbml(listed(Parameters=given, Rules=rule)))
    with pytest.raises(cubie.ModelError, match="it is `lambda_` "):
        cubie.sweep(named, (0.0, 1.0), over={"lambda": [1.0]}, **OPTIONS)
    swept = cubie.sweep(named, (0.0, 1.0), over={"lambda_": [1.0, 2.0]}, **OPTIONS).run()
    assert swept.to_xarray().y.values.ravel() == pytest.approx([2.0, 3.0])
    with pytest.raises(TypeError, match="lacks `y0`"):
        cubie.sweep("dx = k", (0.0, 1.0), over={"k": [1.0]})


def test_the_command_plans_models(tmp_path):
    """A file is enough; what only functions have is refused, and errors of models are told."""
    path = tmp_path / "decay.xml"
    path.write_text(sbml(DECAY))
    assert "loop.state" in run(path, "--observables", "R").stdout
    assert "--states cannot be used" in run(path, "--states", 2, status=2).stderr
    assert "cannot be read" in run(tmp_path / "no.xml", status=2).stderr
