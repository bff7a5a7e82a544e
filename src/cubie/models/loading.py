"""`load_model`: the door."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from cubie.models.description import Description
from cubie.models.errors import ModelError
from cubie.models.model import Model

SHOWN = 40  # characters of a text that messages show
MARKS_OF_TEXT = "<;\n"  # of a text, and of no path
NAMESPACE_OF_CELLML = "http://www.cellml.org/cellml/"
ROOT_OF_SBML = re.compile(r"<([\w.-]+:)?sbml\b")


def load_model(source: Any) -> Model:
    """Read a model from a file, or from its text.

    Parameters
    ----------
    source : path or str
        A file, or its text: SBML of level 2 or 3 (extra ``cubie-ode[sbml]``), CellML 1.0 to
        2.0 (extra ``cubie-ode[cellml]``) or Antimony (extra ``cubie-ode[antimony]``). What has
        several lines, a ``<`` or a ``;`` is a text.

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
    text, name, folder = _text_of(source)
    return Model(_description(text, name, folder))


def _description(text: str, name: str, folder: Path | None) -> Description:
    """Return what a text says, in whatever format it is; libraries are asked for when needed."""
    from cubie.models.antimony import sbml_of
    from cubie.models.cellml import meaning as cellml_meaning
    from cubie.models.cellml import reading as cellml_reading
    from cubie.models.sbml.meaning import description_of
    from cubie.models.sbml.reading import read_document

    if not _is_xml(text):
        text = sbml_of(text, name, folder)
    elif NAMESPACE_OF_CELLML in text:
        document = cellml_reading.read_document(text, name, folder)
        return cellml_meaning.description_of(document)
    elif ROOT_OF_SBML.search(text) is None:
        shown = " ".join(text[:SHOWN].split())
        raise ModelError(
            f"{name} is no SBML and no CellML: it begins with {shown!r}, and has no <sbml>."
        )
    return description_of(read_document(text, name))


def _is_xml(text: str) -> bool:
    return text.lstrip("\ufeff \t\r\n").startswith("<")


def _text_of(source: Any) -> tuple[str, str, Path | None]:
    """Return the text of a model, what messages call it, and the folder that it lies in."""
    if isinstance(source, str) and any(mark in source for mark in MARKS_OF_TEXT):
        text, name, folder = source, "the model", None
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source)
        try:
            text, name, folder = path.read_text(encoding="utf-8"), path.name, path.parent
        except OSError as error:
            raise ModelError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise ModelError(f"{str(path)!r} is no text: {error}.") from error
    else:
        raise ModelError(
            f"A model is a path or a text, and this is a {type(source).__name__}: {source!r:.60}."
        )
    if not text.strip():
        raise ModelError(f"{name} is empty.")
    return text, name, folder
