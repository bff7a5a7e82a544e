"""Models in SBML, against solutions that are known; one small text for each of its features."""

import copy
import pickle
from typing import Any, cast

import numpy as np
import pytest

import cubie
from tests.cubie.sbml_texts import (
    compartment,
    listed,
    math,
    parameter,
    reaction,
    sbml,
    species,
)

pytest.importorskip("libsbml")

TIMES = np.linspace(0.0, 2.0, 5)
TIGHT = {"rtol": 1e-10, "atol": 1e-12, "backend": "python", "method": "dop853"}
DECAY = listed(
    Compartments=compartment(size=2.0),
    Species=species("A", "initialAmount='3'") + species("B", "initialConcentration='0'"),
    Parameters=parameter("k", 0.5) + parameter("twice"),
    InitialAssignments="<initialAssignment symbol='twice'>[[2 * k]]</initialAssignment>",
    Reactions=reaction("R", "k * A * C", "A", "2 B"),
)


def solved(model, **more):
    """Solve by a method and tolerances that leave nothing to see."""
    return cubie.solve_ivp(model, (0.0, 2.0), t_eval=TIMES, **{**TIGHT, **more})


def test_species_are_amounts_and_concentrations():
    """In a compartment of size two a concentration is half of the amount, whatever was given."""
    model = cubie.load_model(sbml(DECAY))
    result, left = solved(model), 1.5 * np.exp(-0.5 * TIMES)
    assert model.values(result, "A") == pytest.approx(left)
    assert model.values(result, "A", "amount") == pytest.approx(2.0 * left)
    assert model.values(result, "B", "concentration") == pytest.approx(2.0 * (1.5 - left))
    assert model.values(result, "R") == pytest.approx(0.5 * left * 2.0)
    assert model.values(result, "C").tolist() == [2.0] * 5
    assert result.state_names == model.states == ("A", "B")
    assert (model.species, model.compartments, model.reactions) == (("A", "B"), ("C",), ("R",))


def test_a_model_is_solved_well_as_it_is():
    """Stiff, and of small amounts: without an option a relative error of 1e-4 is not reached."""
    stiff = listed(
        Compartments=compartment(size=1.0),
        Species=species("A", "initialAmount='3e-6'") + species("B", "initialAmount='0'"),
        Parameters=parameter("slow", 0.5) + parameter("fast", 1e5),
        Reactions=reaction("R", "slow * A * C", "A", "B") + reaction("S", "fast * B * C", "B", ""),
    )
    model = cubie.load_model(sbml(stiff))
    result = cubie.solve_ivp(model, (0.0, 2.0), t_eval=TIMES)
    a = 3e-6 * np.exp(-0.5 * TIMES)
    np.testing.assert_allclose(model.values(result, "A"), a, rtol=1e-5)
    np.testing.assert_allclose(
        model.values(result, "B")[1:], (0.5 * a / (1e5 - 0.5))[1:], rtol=1e-4, atol=1e-12
    )
    assert result.n_steps < 1000
    swept = cubie.sweep(model, (0.0, 2.0), over=cubie.grid(slow=[0.5, 0.6]), save="final").run()
    final = swept.to_xarray()["y"].sel(component="A").values
    np.testing.assert_allclose(final, 3e-6 * np.exp([-1.0, -1.2]), rtol=1e-5)


def test_arguments_sweep_and_what_follows_from_them_follows():
    """Rates, sizes and initial values differ between runs; initial assignments come anew."""
    model = cubie.load_model(sbml(DECAY))
    ks, sizes = np.array([0.1, 0.2, 0.4]), np.array([1.0, 2.0, 3.0])
    result = solved(model, args={"k": ks, "C": sizes}, y0={"B": [5.0, 6.0, 7.0]})
    left = (3.0 / sizes)[:, None] * np.exp(-ks[:, None] * TIMES)
    assert model.values(result, "A") == pytest.approx(left)
    assert model.values(result, "twice") == pytest.approx(np.tile(2.0 * ks[:, None], 5))
    assert model.values(result, "B")[:, 0].tolist() == [5.0, 6.0, 7.0]
    final = cubie.solve_ivp(model, (0.0, 2.0), args={"k": ks}, **TIGHT)
    assert model.values(final, "A") == pytest.approx(1.5 * np.exp(-2.0 * ks[:, None]))
    assert final.parameters["twice"].tolist() == (2.0 * ks).tolist()
    changed = solved(model, args={"k": 0.1, "twice": 7.0})
    assert model.values(changed, "twice").tolist() == [7.0] * 5


def test_equations_are_readable_and_can_be_solved():
    """They are text that `equations` reads, with every constant by its name."""
    model = cubie.load_model(sbml(DECAY))
    assert str(model.equations).splitlines() == [
        "dA/dt = -R / C",
        "dB/dt = 2 * R / C",
        "R = k * A * C",
    ]
    result = solved(str(model.equations), y0=[1.5, 0.0], args={"k": 0.5, "C": 2.0})
    assert result.y == pytest.approx(solved(model).y, rel=1e-9)
    assert "k" not in str(model.equations_of().definitions)
    assert [repr(pickle.loads(pickle.dumps(model))), repr(copy.deepcopy(model))] == [
        repr(model)
    ] * 2


GROWING = listed(
    Compartments=compartment(size=1.0, constant=False),
    Species=species("A", "initialAmount='3'") + species("N", "initialAmount='3'", True)
    + species("F", "initialConcentration='2'") + species("Q", ""),
    Rules="<rateRule variable='C'>[[1]]</rateRule><rateRule variable='F'>[[1]]</rateRule>"
    "<assignmentRule variable='Q'>[[A + C]]</assignmentRule>",
    Reactions=reaction("R", "0.5 * N", "A") + reaction("S", "0.5 * N", "N"),
)  # fmt: skip


def test_amounts_stay_where_compartments_grow():
    """Reactions change amounts; a rate rule is of the concentration; a rule always holds."""
    model = cubie.load_model(sbml(GROWING))
    result, size, left = solved(model), 1.0 + TIMES, 3.0 * np.exp(-0.5 * TIMES)
    assert model.values(result, "A", "amount") == pytest.approx(left)
    assert model.values(result, "A") == pytest.approx(left / size)
    assert model.values(result, "N") == pytest.approx(left)
    assert model.values(result, "N", "concentration") == pytest.approx(left / size)
    assert model.values(result, "F", "amount") == pytest.approx((2.0 + TIMES) * size)
    assert model.values(result, "Q") == pytest.approx(left / size + size)
    given = solved(model, y0={"A": 10.0, "C": 2.0})
    assert model.values(given, "A", "amount")[0] == pytest.approx(20.0)


FORMULAS = {
    "piecewise(1, time < 1, 2, time < 1.5, 3)": lambda t: np.select([t < 1, t < 1.5], [1, 2], 3),
    "f(time, 2)": lambda t: 2.0 * np.exp(-t),
    "x^3 + root(2, x) + log10(x) + log(2, x) + ln(x)": lambda t: (
        (t + 1) ** 3 + np.sqrt(t + 1) + np.log10(t + 1) + np.log2(t + 1) + np.log(t + 1)
    ),
    "factorial(ceil(time)) + floor(-x / 4) + abs(-x)": lambda t: (
        np.array([1.0, 1.0, 1.0, 2.0, 2.0]) + np.floor(-(t + 1) / 4) + t + 1
    ),
    "arccot(x) + sec(time) + csch(x) + arcsinh(x)": lambda t: (
        np.arctan(1 / (t + 1)) + 1 / np.cos(t) + 1 / np.sinh(t + 1) + np.arcsinh(t + 1)
    ),
    "max(time, 1, 0.5) + min(time, 1)": lambda t: np.maximum(t, 1) + np.minimum(t, 1),
    "quotient(-x, 2) + rem(-x, 2)": lambda t: np.trunc(-(t + 1) / 2) + np.fmod(-(t + 1), 2),
    "piecewise(1, (time > 0.4 && !(time > 1.2)) || time >= 2, 0)": lambda t: np.where(
        ((t > 0.4) & ~(t > 1.2)) | (t >= 2), 1.0, 0.0
    ),
    "piecewise(1, xor(time < 1, time < 1.5), implies(time > 1, time < 1.9), 2, 4)": None,
    "rateOf(x) + rateOf(k)": lambda t: 1.0 + 0.0 * t,
    "avogadro / 6.02214179e23 + exponentiale - pi": lambda t: 1.0 + np.e - np.pi + 0.0 * t,
    "(time < 1) + (time < 1.5) + k": lambda t: (t < 1) * 1.0 + (t < 1.5) + 4.0,
}


def test_formulas_are_what_sbml_says():
    """Functions, choices, truth values as numbers, functions of the model, rates, constants."""
    formulas = {text: known for text, known in FORMULAS.items() if known is not None}
    rules = "<rateRule variable='x'>[[1]]</rateRule>"
    for i, text in enumerate(formulas):
        rules += f"<assignmentRule variable='q{i}'>[[{text.replace('&', '&&')}]]</assignmentRule>"
    rules = rules.replace("&&&&", "&&")
    body = listed(
        FunctionDefinitions="<functionDefinition id='f'>[[lambda(a, b, g(b) * exp(-a))]]"
        "</functionDefinition><functionDefinition id='g'>[[lambda(b, b)]]</functionDefinition>",
        Parameters=parameter("x", 1.0, False) + parameter("k", 4.0)
        + "".join(parameter(f"q{i}", None, False) for i in range(len(formulas))),
        Rules=rules,
    )  # fmt: skip
    model = cubie.load_model(sbml(body))
    result = solved(model)
    for i, (text, known) in enumerate(formulas.items()):
        assert model.values(result, f"q{i}") == pytest.approx(known(TIMES)), text
    compiled = solved(model, backend="cpu", observables=["q1", "q2", "q4"])
    for name in ("q1", "q2", "q4"):
        assert compiled.observables[name] == pytest.approx(model.values(result, name)), name


def test_stoichiometries_factors_and_local_parameters():
    """Those of a model's own, that a rule changes; a factor of amounts; names of one law alone."""
    local = "<listOfLocalParameters><localParameter id='k' value='2'/></listOfLocalParameters>"
    body = listed(
        Compartments=compartment(size=1.0),
        Species=species("A", "initialAmount='0'") + species("B", "initialAmount='0'")
        + species("E", "initialAmount='0'", boundary=True),
        Parameters=parameter("k", 1.0) + parameter("cf", 10.0),
        Rules="<assignmentRule variable='n'>[[time]]</assignmentRule>",
        Reactions=reaction("R", "k", "E", "A", local).replace(
            "</listOfProducts>", "<speciesReference id='n' species='B' constant='false'/>"
            "</listOfProducts>"),
    )  # fmt: skip
    model = cubie.load_model(sbml(body, attributes="conversionFactor='cf'"))
    result = solved(model, args={"R_k": np.array([2.0, 3.0])})
    for values, k in zip(model.values(result, "A"), (2.0, 3.0), strict=True):
        assert values == pytest.approx(10.0 * k * TIMES)
    assert model.values(result, "B")[0] == pytest.approx(10.0 * TIMES**2)
    assert model.values(result, "E")[0].tolist() == [0.0] * 5


def test_level_two_and_models_without_states():
    """Stoichiometry as a formula, and an older form of parameters; time alone changes nothing."""
    body = listed(
        Compartments="<compartment id='C' size='2'/>",
        Species="<species id='A' compartment='C' initialAmount='0'/>",
        Parameters="<parameter id='p' value='3'/>",
        Reactions="<reaction id='R' reversible='false'><listOfProducts><speciesReference "
        "species='A'><stoichiometryMath>[[p]]</stoichiometryMath></speciesReference>"
        "</listOfProducts><kineticLaw>[[k]]<listOfParameters><parameter id='k' value='2'/>"
        "</listOfParameters></kineticLaw></reaction>",
    )
    model = cubie.load_model(sbml(body, 2, 4))
    assert model.values(solved(model), "A", "amount") == pytest.approx(6.0 * TIMES)
    rule = "<assignmentRule variable='x'>[[2 * time]]</assignmentRule>"
    model = cubie.load_model(sbml(listed(Parameters=parameter("x", None, False), Rules=rule)))
    assert model.values(solved(model), "x") == pytest.approx(2.0 * TIMES)
    assert model.states == ()


def test_names_that_equations_cannot_have():
    """A parameter `t`, words of Python and underscores are named otherwise inside alone."""
    names = ("t", "lambda", "_k", "k")
    rules = "<rateRule variable='lambda'>[[t + k + _k]]</rateRule>"
    given = "".join(parameter(name, i + 1.0, name == "t") for i, name in enumerate(names))
    model = cubie.load_model(sbml(listed(Parameters=given, Rules=rules)))
    assert str(model.equations) == "dlambda_/dt = t_ + k + k_"
    result = solved(model, args={"t": np.array([1.0, 2.0]), "_k": 0.0})
    assert model.values(result, "lambda")[:, -1] == pytest.approx([12.0, 14.0])


REFUSED = {
    "algebraic": (listed(Rules="<algebraicRule>[[1]]</algebraicRule>"), "algebraic rule"),
    "delay": (
        listed(
            Parameters=parameter("x", 1.0, False),
            Rules="<rateRule variable='x'>[[delay(x, 1)]]</rateRule>",
        ),
        "values of the past",
    ),
    "fast": (DECAY.replace("reversible", "fast='true' reversible"), "Reaction `R` of .* is fast"),
    "no name": (listed(Rules="<rateRule variable='x'>[[q]]</rateRule>"), "`q`, which there is not"),
    "circle": (
        listed(
            Parameters=parameter("x", None, False) + parameter("y", None, False),
            Rules="<assignmentRule variable='x'>[[y]]</assignmentRule>"
            "<assignmentRule variable='y'>[[x + 1]]</assignmentRule>",
        ),
        "x -> y -> x",
    ),
}


@pytest.mark.parametrize("feature", REFUSED)
def test_what_is_not_here_is_refused_in_words(feature):
    """The message names the feature, and the error carries it."""
    body, told = REFUSED[feature]
    version = 1 if feature == "fast" else 2
    with pytest.raises(cubie.ModelError, match=told):
        cubie.load_model(sbml(body, 3, version))


def test_what_has_no_number_is_told():
    """Of a state that begins with none the message names what the model leaves open, and where."""
    body = listed(
        Compartments=compartment(size=None),
        Species=species("A", "initialAmount='3'") + species("B", ""),
        Reactions=reaction("R", "1", "A"),
    )
    model = cubie.load_model(sbml(body))
    with pytest.raises(cubie.ModelError, match=r"`A` of m .* for `C`. Give it in args="):
        solved(model)
    result = solved(model, args={"C": 2.0})
    assert model.values(result, "A", "amount") == pytest.approx(3.0 - TIMES)
    model = cubie.load_model(sbml(body.replace("'A' stoich", "'B' stoich")))
    with pytest.raises(cubie.ModelError, match=r"for `B`. Give it in y0="):
        solved(model, args={"C": 2.0})


def test_bad_input_gets_an_answer(tmp_path):
    """Names that are not there, states among args, files that are none, kinds that are none."""
    model = cubie.load_model(sbml(DECAY))
    for given, told in (
        ({"args": {"kk": 1.0}}, "`kk`, which m has not; did you mean `k`"),
        ({"args": {"A": 1.0}}, r"y0=\{'A': ...\}"),
        ({"args": {"R": 1.0}}, "computes of others"),
        ({"args": (1.0,)}, "goes by name"),
        ({"y0": {"k": 1.0}}, "it goes in args"),
        ({"y0": [1.0]}, "2 states: A, B"),
    ):
        with pytest.raises(cubie.ModelError, match=told):
            solved(model, **given)
    for source, told in (
        (tmp_path / "no.xml", "cannot be read: No such file"),
        ("<html/>", "no SBML"),
        (7, "a path or a text"),
        ("<sbml", "no SBML, line"),
    ):
        with pytest.raises(cubie.ModelError, match=told):
            cubie.load_model(source)
    with pytest.raises(cubie.ModelError, match="'amount' or 'concentration'"):
        model.values(solved(model), "A", "mass")
    with pytest.raises(cubie.ModelError, match="none of `solve_ivp` with this model"):
        model.values(cubie.solve_ivp("dx = 0", (0.0, 1.0), [1.0], backend="python"), "A")
    with pytest.raises(TypeError, match="lacks `y0`"):
        cubie.solve_ivp("dx = 0", (0.0, 1.0))
    path = tmp_path / "decay.xml"
    path.write_text(sbml(DECAY))
    assert repr(cubie.load_model(str(path))) == repr(model)


def test_totals_that_reactions_keep_take_states_away():
    """An enzyme is free or bound: two of four states follow, from what is given of the others."""
    body = listed(
        Compartments=compartment(size=2.0),
        Species="".join(
            species(name, f"initialAmount='{amount}'")
            for name, amount in (("E", 1), ("S", 8), ("ES", 0), ("P", 0))
        ),
        Parameters=parameter("kf", 2.0) + parameter("kr", 0.5) + parameter("kc", 1.5),
        Reactions=reaction("bind", "C * (kf * E * S - kr * ES)", "E, S", "ES")
        + reaction("make", "C * kc * ES", "ES", "E, P"),
    )
    model = cubie.load_model(sbml(body))
    fewer = model.without_totals()
    assert (len(model.states), fewer.states) == (4, ("E", "S"))
    given = {"args": {"kc": np.array([0.5, 2.0]), "C": 1.0}, "y0": {"E": [0.5, 1.0]}}
    whole, part = solved(model, **given), solved(fewer, **given)
    for name in ("E", "S", "ES", "P", "make"):
        expected = model.values(whole, name)
        assert fewer.values(part, name) == pytest.approx(expected, rel=1e-8, abs=1e-9), name
    assert fewer.values(part, "total_ES")[:, 0] == pytest.approx([0.5, 1.0])
    assert fewer.values(part, "total_P")[0] == pytest.approx([8.0] * 5)


def test_sensitivities_of_models():
    """What follows from a constant is differentiated too; what a state begins with is refused."""
    body = DECAY.partition("<listOfReactions>")[0] + listed(
        Reactions=reaction("R", "twice * A * C", "A", "B")
    )
    model = cubie.load_model(sbml(body))
    for by in (["k"], "parameters"):
        result = solved(model, args={"k": 0.25}, sensitivities=by)
        assert result.dy[0, 0] == pytest.approx(-3.0 * TIMES * np.exp(-0.5 * TIMES)), by
    with pytest.raises(cubie.ModelError, match="What `A` of m begins with follows from `C`"):
        solved(model, args={"C": 2.0}, sensitivities=["C"])
    given = {"args": {"C": 2.0}, "y0": {"A": 1.5}}
    assert solved(model, **given, sensitivities=["C", "y0[A]"]).dy.shape == (2, 2, 5)
    with pytest.raises(TypeError, match="equations_of"):
        cubie.Solver(cast(Any, model))


def test_no_step_crosses_what_depends_on_the_time_alone():
    """A dose of a thousandth is not missed by steps of a thousand, at a time of each run's own."""
    rule = (
        "<rateRule variable='x'>[[piecewise(1000, time > at && time < at + 0.001, 0)]]</rateRule>"
    )
    given = parameter("x", 0.0, False) + parameter("at", 500.0)
    model = cubie.load_model(sbml(listed(Parameters=given, Rules=rule)))
    for method in ("tsit5", "rodas5p", "rk4"):
        more: dict[str, Any] = {"method": method, "backend": "python", "rtol": 1e-6, "atol": 1e-9}
        more |= {"first_step": 100.0} if method == "rk4" else {}
        result = cubie.solve_ivp(model, (0.0, 1000.0), **more, args={"at": [250.0, 700.0]})
        near = 0.5 if method == "rk4" else 1e-3
        assert model.values(result, "x")[:, -1] == pytest.approx([1.0, 1.0], rel=near), method
        result = cubie.solve_ivp(model, (0.0, 1000.0), **more, breakpoints=[10.0])
        assert model.values(result, "x")[-1] == pytest.approx(1.0, rel=near), method


COMPOSED = """<sbml xmlns='http://www.sbml.org/sbml/level3/version1/core' level='3' version='1'
xmlns:comp='http://www.sbml.org/sbml/level3/version1/comp/version1' comp:required='true'>
<model id='whole'><comp:listOfSubmodels><comp:submodel comp:id='one' comp:modelRef='{}'/>
<comp:submodel comp:id='two' comp:modelRef='{}'/></comp:listOfSubmodels></model>
<comp:listOfModelDefinitions><comp:modelDefinition id='part'>{}</comp:modelDefinition>
</comp:listOfModelDefinitions></sbml>"""


def test_models_that_are_composed_of_others():
    """They become one, with a part of each name that tells whose it is, or are refused."""
    rule = f"<rateRule variable='x'>{math('-k * x')}</rateRule>"
    part = listed(Parameters=parameter("x", 1.0, False) + parameter("k", 0.5), Rules=rule)
    model = cubie.load_model(COMPOSED.format("part", "part", part))
    result = solved(model, args={"two__k": 2.0})
    assert model.values(result, "one__x") == pytest.approx(np.exp(-0.5 * TIMES))
    assert model.values(result, "two__x") == pytest.approx(np.exp(-2.0 * TIMES))
    with pytest.raises(cubie.ModelError, match="composed of models, by the SBML package `comp`"):
        cubie.load_model(COMPOSED.format("part", "another", part))


def test_constants_that_are_named_are_inputs():
    """Of their own values, by either name that they have; words mean those that args names."""
    parts = listed(
        Compartments=compartment(),
        Species=species("A", "initialConcentration='1'"),
        Parameters=parameter("lambda", 0.5) + parameter("twice"),
        InitialAssignments="<initialAssignment symbol='twice'>[[2 * lambda]]</initialAssignment>",
        Reactions=reaction("R", "twice * A * C", "A", ""),
    )
    model = cubie.load_model(sbml(parts))
    slope = -2.0 * TIMES * np.exp(-TIMES)
    for name in ("lambda", model._called["lambda"]):
        result = solved(model, sensitivities=[name])
        assert result.dy[0, 0] == pytest.approx(slope, abs=1e-8)
    by_rate = solved(model, sensitivities=["twice"], args={"lambda": [0.25, 0.5]})
    rates = np.array([[0.5], [1.0]])
    assert by_rate.dy[:, 0, 0] == pytest.approx(-TIMES * np.exp(-rates * TIMES), abs=1e-8)
    for word in ("parameters", "all"):
        with pytest.raises(
            cubie.ModelError, match="the constants that args names, and it names no"
        ):
            solved(model, sensitivities=word)
    assert solved(model, sensitivities="all", args={"twice": 1.0}).inputs == ("twice", "y0[A]")
    swept = cubie.sweep(
        model, (0.0, 2.0), over=cubie.grid(**{model._called["lambda"]: [0.25, 0.5]}),
        sensitivities=["lambda"], save="final", rtol=1e-9, atol=1e-12,
    ).run().to_xarray()  # fmt: skip
    assert swept["dy"].values.ravel() == pytest.approx(-4.0 * np.exp([-1.0, -2.0]), abs=1e-7)
    one = cubie.sweep(
        model, (0.0, 2.0), over=cubie.grid(C=[1.0, 2.0]), y0={"A": 1.0},
        sensitivities=["lambda"], save="final", rtol=1e-9, atol=1e-12,
    ).run().to_xarray()  # fmt: skip
    assert one["dy"].values[0].ravel() == pytest.approx(-4.0 * np.exp(-2.0), abs=1e-7)
    with pytest.raises(cubie.ModelError, match="has `twice`, which follows from what differs"):
        cubie.sweep(
            model, (0.0, 2.0), over=cubie.grid(**{model._called["lambda"]: [0.25, 0.5]}),
            sensitivities=["twice"], save="final",
        )  # fmt: skip
