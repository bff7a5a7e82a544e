"""Models in CellML, against solutions that are known and the equations of the papers in NumPy."""

import math
import pickle

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import cubie
from cubie.models.cellml.mathematics import OF_RECIPROCAL, RECIPROCAL
from tests.cubie.cellml_texts import (
    BEELER_REUTER,
    FILES,
    FOLDER,
    RESTING,
    cellml,
    component,
    connection,
    units,
)

pytest.importorskip("libcellml")

TIGHT = {"rtol": 1e-9, "atol": 1e-11, "backend": "python", "method": "dop853"}
MILLI = units(ms="milli second", mV="milli volt", per_s="second -1", degree="kelvin")
HERE = component(
    "a",
    "t second\nx volt = x0\nx0 volt = 2\nk per_s = 0.5\nhalf per_s",
    "diff(x, t) = -k * x\nhalf = k / 2",
)
THERE = component(
    "b",
    "time ms\nx mV\ny mV = 3\nz mV\nw mV\nrate per_s\nfar dimensionless",
    """diff(y, time) = rate * x
    x + y = z
    w = diff(y, time)
    far = 1 if x > 735.8 and time < 3000 else 2 if x > 100 else 3.5e-2""",
)
JOINED = cellml("m", MILLI, HERE, THERE, connection("a", "b", "t time", "x", "k rate"))


def test_connected_variables_are_one_in_the_units_of_each():
    """Volts are a thousand millivolts, seconds a thousand milliseconds, in rates as well."""
    model = cubie.load_model(JOINED)
    assert model.states == ("a_x", "b_y")
    assert dict(model.parameters) == {"a_x0": 2.0, "a_k": 0.5, "a_half": 0.25}
    assert (model.units["a_x"], model.units["b_y"]) == ("volt", "mV")
    times, ks = np.linspace(0.0, 4.0, 9), np.array([0.5, 1.0])
    result = cubie.solve_ivp(model, (0.0, 4.0), t_eval=times, args={"a_k": ks}, **TIGHT)
    x = 2.0 * np.exp(-ks[:, None] * times)
    # With rate and x as they are there, y gains rate * x millivolts in each millisecond.
    y = 3.0 + 1e6 * (2.0 - x)
    assert model.values(result, "a_x") == pytest.approx(x)
    assert model.values(result, "b_y") == pytest.approx(y)
    assert model.values(result, "b_z") == pytest.approx(1e3 * x + y)
    assert model.values(result, "b_w") == pytest.approx(ks[:, None] * 1e3 * x)
    assert model.values(result, "a_half") == pytest.approx(np.tile(ks[:, None] / 2, 9))
    far = np.where((x > 0.7358) & (times < 3.0), 1.0, np.where(x > 0.1, 2.0, 0.035))
    assert model.values(result, "b_far").tolist() == far.tolist()
    assert model.values(result, "a_t").tolist() == [times.tolist()] * 2
    # What begins as another variable follows it.
    begun = cubie.solve_ivp(model, (0.0, 4.0), t_eval=times, args={"a_x0": 1.0}, **TIGHT)
    assert model.values(begun, "a_x")[0] == 1.0
    assert repr(pickle.loads(pickle.dumps(model))) == repr(model)


def test_variables_have_one_name_everywhere():
    """In arguments, sensitivities, sweeps, results and equations; no two have the same."""
    twin = component("a_half", "x dimensionless = 1"), component("a", "half_x dimensionless = 2")
    model = cubie.load_model(cellml("m", *twin))
    assert dict(model.parameters) == {"a_half_x": 1.0, "a_half_x_": 2.0}
    model = cubie.load_model(JOINED)
    # The half of k is no constant where k is varied: x does not know it, and k's slope is whole.
    result = cubie.solve_ivp(
        model, (0.0, 1.0), args={"a_k": 0.5}, y0={"a_x": 2.0}, sensitivities=["a_k"], **TIGHT
    )
    assert result.inputs == ("a_k",)
    assert result.dy[0, 0, -1] == pytest.approx(-2.0 * np.exp(-0.5), rel=1e-6)
    assert result.state_names == model.states
    sweep = cubie.sweep(model, (0.0, 1.0), over={"a_k": [0.5, 1.0]}, **TIGHT)
    assert sweep.run().to_xarray()["a_k"].values.tolist() == [0.5, 1.0]


def test_initial_values_have_the_units_of_their_component():
    """A number given to a variable in millivolts is one of these in a component with volts."""
    parts = (
        HERE.replace(' initial_value="x0"', ""),
        THERE.replace('"x" units="mV"', '"x" units="mV" initial_value="2500"'),
    )
    model = cubie.load_model(
        cellml("m", MILLI, *parts, connection("a", "b", "t time", "x", "k rate"))
    )
    start = model.start
    assert start.get("b_x", 1e3 * start.get("a_x", 0.0)) == pytest.approx(2500.0)
    result = cubie.solve_ivp(model, (0.0, 1.0), t_eval=[0.0, 1.0], **TIGHT)
    assert model.values(result, "b_z")[0] == pytest.approx(2503.0)
    assert model.values(result, "b_w") == pytest.approx(1250.0 * np.exp([0.0, -0.5]))


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        *((f"{name}(x)", 1.0 / getattr(math, of)(0.6)) for name, of in RECIPROCAL.items()),
        *(
            (f"arc{name[1:]}(1 / x)", getattr(math, of)(0.6))
            for name, of in OF_RECIPROCAL.items()
            if of != "acosh"
        ),
        ("arcsech(x)", math.acosh(1 / 0.6)),
        ("arcsinh(x) + ceiling(x) + floor(-x) + abs(-x)", math.asinh(0.6) + 0.6),
        ("root(x) + log(x) + ln(x)", math.sqrt(0.6) + math.log10(0.6) + math.log(0.6)),
        ("rem(-7, 3) + max(1, x, 3) - min(x, 2)", -1.0 + 3.0 - 0.6),
        ("1 if not(x > 1) or x == 1 else 0", 1.0),
        ("1 if xor(x > 1, x < 1) else 0", 1.0),
    ],
)
def test_functions_are_those_of_mathml(formula, value):
    """Each function of CellML 2.0, table 2.1, at 0.6."""
    part = component("c", "x dimensionless = 0.6\ny dimensionless", f"y = {formula}")
    model = cubie.load_model(cellml("m", part))
    assert model.start["c_y"] == pytest.approx(value, rel=1e-14)


def rates_of_1952(t, state):
    """Return the derivatives of Hodgkin and Huxley's V, m, h and n, per millisecond."""
    v, m, h, n = state
    opens = 0.1 * (25 - v) / np.expm1((25 - v) / 10), 0.07 * np.exp(-v / 20)
    opens = (*opens, 0.01 * (10 - v) / np.expm1((10 - v) / 10))
    closes = 4 * np.exp(-v / 18), 1 / (np.exp((30 - v) / 10) + 1), 0.125 * np.exp(-v / 80)
    gates = [a * (1 - x) - b * x for a, b, x in zip(opens, closes, (m, h, n), strict=True)]
    currents = 120 * m**3 * h * (v - 115), 36 * n**4 * (v + 12), 0.3 * (v - 10.613)
    return [-sum(currents), *gates]


def rates_of_1977(t, state):
    """Return the derivatives of Beeler and Reuter's V, calcium and gates, per millisecond."""
    v, ca, *gates = state
    rates = []
    for gate, constants in zip(gates, BEELER_REUTER.values(), strict=True):
        opens, closes = (
            (c1 * np.exp(c2 * (v + c3)) + c4 * (v + c5)) / (np.exp(c6 * (v + c3)) + c7)
            for c1, c2, c3, c4, c5, c6, c7 in constants
        )
        rates.append(opens * (1 - gate) - closes * gate)
    x1, m, h, j, d, f = gates
    rise = 4 * np.expm1(0.04 * (v + 85)) / (np.exp(0.08 * (v + 53)) + np.exp(0.04 * (v + 53)))
    k1 = 0.35 * (rise - 0.2 * (v + 23) / np.expm1(-0.04 * (v + 23)))
    outward = 0.8 * x1 * np.expm1(0.04 * (v + 77)) / np.exp(0.04 * (v + 35))
    sodium = (4 * m**3 * h * j + 0.003) * (v - 50)
    slow = 0.09 * d * f * (v + 82.3 + 13.0287 * np.log(ca))
    given = 50.0 if t < 1 else 0.0
    return [given - k1 - outward - sodium - slow, -1e-7 * slow + 0.07 * (1e-7 - ca), *rates]


def test_the_axon_of_1952_fires_from_seven_millivolts_on():
    """Their figure 12: depolarised by 6 mV it does not fire, by 7 mV it does, as SciPy has it."""
    model = cubie.load_model(FOLDER / "hodgkin-huxley-1952.cellml")
    times, begun = np.linspace(0.0, 12.0, 49), np.array([6.0, 7.0, 15.0, 90.0])
    result = cubie.solve_ivp(model, (0.0, 12.0), t_eval=times, y0={"membrane_V": begun}, **TIGHT)
    voltages = model.values(result, "membrane_V")
    for v0, course in zip(begun, voltages, strict=True):
        known = solve_ivp(
            rates_of_1952, (0.0, 12.0), [v0, 0.0529, 0.5961, 0.3177], "DOP853", times,
            rtol=1e-10, atol=1e-12,
        )  # fmt: skip
        assert course == pytest.approx(known.y[0], abs=1e-4)
    after = voltages[:, times > 0.5].max(axis=1)
    assert after[0] < 10.0
    assert (after[1:3] > 85.0).all()


def test_the_cell_of_1977_reaches_its_plateau():
    """Its action potential is that of the equations in NumPy: over 30 mV, and then at 17."""
    model = cubie.load_model(FOLDER / "beeler-reuter-1977.cellml")
    times = np.array([0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0])
    result = cubie.solve_ivp(model, (0.0, 40.0), t_eval=times, **TIGHT)
    # The stimulus ends at 1 ms.
    start = [-84.6, 2e-7, *RESTING.values()]
    known = solve_ivp(rates_of_1977, (0.0, 1.0 - 1e-15), start, "DOP853", rtol=1e-9, atol=1e-12)
    later = solve_ivp(
        rates_of_1977, (1.0, 40.0), known.y[:, -1], "DOP853", times[1:], rtol=1e-9, atol=1e-12
    )
    voltage = model.values(result, "membrane_V")
    assert voltage[1:] == pytest.approx(later.y[0], abs=1e-3)
    assert 30.0 < voltage.max() < 35.0
    assert voltage[-1] == pytest.approx(17.2, abs=0.5)


def test_models_of_docs_are_those_written_here():
    """``python -m tests.cubie.cellml_texts`` writes them anew."""
    for name, made in FILES.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == made()


OLD = """<?xml version="1.0"?>
<model xmlns="http://www.cellml.org/cellml/1.{minor}#" xmlns:m="http://www.w3.org/1998/Math/MathML"
  xmlns:c="http://www.cellml.org/cellml/1.{minor}#" xmlns:xlink="http://www.w3.org/1999/xlink"
  xmlns:cmeta="http://www.cellml.org/metadata/1.0#" name="old" cmeta:id="old">
  <documentation xmlns="http://cellml.org/tmp-documentation"><p>a = b</p></documentation>
  {body}
</model>"""
DECAY = """<units name="mV"><unit units="volt" prefix="milli"/></units>
  <component name="clock"><variable name="t" units="second" public_interface="out"/></component>
  <component name="cell" cmeta:id="cell">
    <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:li>text</rdf:li></rdf:RDF>
    <variable name="t" units="second" public_interface="in" cmeta:id="t"/>
    <variable name="V" units="mV" initial_value="20" public_interface="out"/>
    <m:math><m:apply cmeta:id="rate"><m:eq/><m:apply><m:diff/><m:bvar><m:ci>t</m:ci></m:bvar>
      <m:ci> V </m:ci></m:apply><m:apply><m:times/><m:cn c:units="dimensionless">-2e-1</m:cn>
      <m:ci>V</m:ci></m:apply></m:apply></m:math>
  </component>
  <connection><map_components component_1="clock" component_2="cell"/>
    <map_variables variable_1="t" variable_2="t"/></connection>"""
IMPORTING = """<import xlink:href="parts/decay.cellml"><component name="one" component_ref="cell"/>
    <component name="two" component_ref="cell"/></import>
  <component name="clock"><variable name="t" units="second" public_interface="out"/></component>
  <connection><map_components component_1="clock" component_2="one"/>
    <map_variables variable_1="t" variable_2="t"/></connection>
  <connection><map_components component_1="clock" component_2="two"/>
    <map_variables variable_1="t" variable_2="t"/></connection>"""


@pytest.mark.parametrize("minor", [0, 1])
def test_files_of_1_x_are_read(minor, tmp_path):
    """With metadata, prefixes and numbers as programs wrote them; 1.1 imports other files."""
    model = cubie.load_model(OLD.format(minor=minor, body=DECAY))
    assert model.states == ("cell_V",)
    times = np.linspace(0.0, 3.0, 4)
    result = cubie.solve_ivp(model, (0.0, 3.0), t_eval=times, **TIGHT)
    assert model.values(result, "cell_V") == pytest.approx(20.0 * np.exp(-0.2 * times))
    if minor == 0:
        return
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "decay.cellml").write_text(OLD.format(minor=1, body=DECAY))
    (tmp_path / "whole.cellml").write_text(OLD.format(minor=1, body=IMPORTING))
    whole = cubie.load_model(tmp_path / "whole.cellml")
    both = cubie.solve_ivp(whole, (0.0, 3.0), t_eval=times, y0={"two_V": 5.0}, **TIGHT)
    assert whole.values(both, "one_V") == pytest.approx(20.0 * np.exp(-0.2 * times))
    assert whole.values(both, "two_V") == pytest.approx(5.0 * np.exp(-0.2 * times))
    (tmp_path / "parts" / "both.cellml").write_text(
        OLD.format(minor=1, body=IMPORTING.replace("parts/", ""))
    )
    nested = IMPORTING.replace("parts/decay", "parts/both").replace('_ref="cell"', '_ref="one"')
    (tmp_path / "nested.cellml").write_text(OLD.format(minor=1, body=nested))
    assert set(cubie.load_model(tmp_path / "nested.cellml").states) == {"one_V", "two_V"}
    with pytest.raises(cubie.ModelError, match=r"imports 'parts/decay\.cellml', which cannot be"):
        cubie.load_model(OLD.format(minor=1, body=IMPORTING))


def of_equations(text):
    """Return a model in one component."""
    return cellml("m", component("c", "x dimensionless = 1\ny dimensionless", text))


@pytest.mark.parametrize(
    ("text", "said", "feature"),
    [
        (of_equations("y * y = x"), "not solved for what they determine", "implicit equations"),
        (of_equations("y = x\ny = 2 * x"), "determine it twice: `c.x`", "implicit equations"),
        (of_equations("y = z"), "the child text 'z' which does not correspond", ""),
        (of_equations(""), "`c.y`, and gives no initial value", ""),
        (of_equations("")[:-9], "the model is no XML: no element found: line 7", ""),
        ("<a xmlns='http://www.cellml.org/cellml/1.0#'/>", "its root is <a>", ""),
        (
            cellml("m", HERE, MILLI, component("b", "k mV"), connection("a", "b", "k")),
            "", ""
        ),
        (
            OLD.format(minor=0, body=DECAY.replace('prefix="milli"', 'offset="273.15"')),
            "offset='273.15'", "units with an offset",
        ),
        (
            OLD.format(minor=0, body=f"{DECAY}<component name='r'><reaction/></component>"),
            "<reaction>", "reactions of CellML 1",
        ),
        (
            of_equations("y = x").replace("<math", '<reset variable="x" test_variable="y" '
            'order="1"><test_value><math xmlns="http://www.w3.org/1998/Math/MathML"><ci>y</ci></math>'
            '</test_value><reset_value><math xmlns="http://www.w3.org/1998/Math/MathML"><ci>y</ci>'
            "</math></reset_value></reset><math", 1),
            "has resets", "resets",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(text, said, feature):
    """Errors name what is at fault, and what is not here."""
    with pytest.raises(cubie.ModelError) as raised:
        cubie.load_model(text)
    assert said in str(raised.value)
    assert raised.value.feature == feature
