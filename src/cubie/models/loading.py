"""`load_model`: the door."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cubie.models.errors import ModelError
from cubie.models.model import Model

SHOWN = 40  # characters of a text that messages show


def load_model(source: Any) -> Model:
    """Read a model from a file, or from its text.

    Parameters
    ----------
    source : path or str
        An SBML file of level 2 or 3 (extra ``cubie[sbml]``), or its text.

    Returns
    -------
    Model
        For `solve_ivp` and `sweep`.

    Raises
    ------
    ModelError
        For what cannot be read, and for features that are not here, by name.

    Examples
    --------
    >>> model = cubie.load_model("repressilator.xml")
    >>> result = cubie.solve_ivp(model, (0, 100), args={"k1": np.linspace(0, 1, 1000)})
    >>> model.values(result, "X")
    """
    from cubie.models.sbml.meaning import description_of
    from cubie.models.sbml.reading import read_document

    text, name = _text_of(source)
    return Model(description_of(read_document(text, name)))


def _text_of(source: Any) -> tuple[str, str]:
    """Return the text of a model, and what messages call it."""
    if isinstance(source, str) and "<" in source:
        text, name = source, "the model"
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source)
        try:
            text, name = path.read_text(encoding="utf-8"), path.name
        except OSError as error:
            raise ModelError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise ModelError(f"{str(path)!r} is no text: {error}.") from error
    else:
        raise ModelError(
            f"A model is a path or a text, and this is a {type(source).__name__}: {source!r:.60}."
        )
    if "<sbml" not in text:
        shown = " ".join(text[:SHOWN].split())
        raise ModelError(f"{name} is no SBML: it begins with {shown!r}, and has no <sbml>.")
    return text, name
