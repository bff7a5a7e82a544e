"""Models written in Antimony, against solutions that are known and against the same in SBML."""

import numpy as np
import pytest

import cubie

pytest.importorskip("antimony")

TIMES = np.linspace(0.0, 2.0, 5)
TIGHT = {"rtol": 1e-10, "atol": 1e-12, "backend": "python", "method": "dop853"}
CHAIN = """
// Two reactions in a compartment of size two.
model chain()
  compartment C = 2
  species A in C, B in C
  A = 3
  J1: A -> 2 B; k * A * C
  k = 0.5
  total := A + B / 2
  at (time > 1): B = 0
end
"""


def test_a_text_is_a_model():
    """Reactions, rules, sizes and events are those that the text says."""
    model = cubie.load_model(CHAIN.replace("A = 3", "A = 3; B = 0"))
    assert (model.name, model.states[:2], model.species) == ("chain", ("A", "B"), ("A", "B"))
    ks = np.array([0.2, 0.5])
    result = cubie.solve_ivp(model, (0.0, 2.0), t_eval=TIMES, args={"k": ks}, **TIGHT)
    left = 3.0 * np.exp(-ks[:, None] * TIMES)
    made = 2.0 * (np.where(TIMES > 1.0, 3.0 * np.exp(-ks)[:, None], 3.0) - left)
    assert model.values(result, "A") == pytest.approx(left)
    assert model.values(result, "B") == pytest.approx(made, abs=1e-8)
    assert model.values(result, "total") == pytest.approx(left + made / 2.0)


def test_files_may_hold_several_models_and_import_others(tmp_path):
    """What a file imports lies beside it; the main model is read with the parts that it has."""
    (tmp_path / "part.ant").write_text("model decay()\n  A -> ; k * A\n  A = 1; k = 1\nend\n")
    whole = 'import "part.ant"\nmodel *two()\n  x: decay(); y: decay()\n  y.k = 3\nend\n'
    (tmp_path / "two.ant").write_text(whole)
    model = cubie.load_model(tmp_path / "two.ant")
    assert model.name == "two"
    result = cubie.solve_ivp(model, (0.0, 2.0), t_eval=TIMES, **TIGHT)
    assert model.values(result, "x_A") == pytest.approx(np.exp(-TIMES))
    assert model.values(result, "y_A") == pytest.approx(np.exp(-3.0 * TIMES), abs=1e-9)
    with pytest.raises(cubie.ModelError, match="line 1: Could not open 'part"):
        cubie.load_model(whole)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A -> B; k * A\nA = 1\nB -> -> C; 1;", "the model is no Antimony, line 3: syntax error"),
        ("A -> B; k * (A\n", "the model is no Antimony, line 1: syntax error"),
        (" \n ", "the model is empty."),
        ("hello\n", "the model is no Antimony, line 1: syntax error, unexpected"),
        ("A -> B; delay(A, 1); A = 1", "delay in a formula"),
    ],
)
def test_what_is_wrong_is_said(text, said):
    """Errors name the line, and what SBML has and cubie has not."""
    with pytest.raises(cubie.ModelError) as raised:
        cubie.load_model(text)
    assert said in str(raised.value)
