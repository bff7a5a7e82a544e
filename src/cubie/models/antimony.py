"""Antimony, reactions as people write them, made into SBML: the only place that knows its library.

Smith, Bergmann, Chandran, Sauro: Antimony: a modular model definition language. Bioinformatics
25(18), 2009.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from cubie.models.errors import ModelError
from cubie.models.libraries import library as imported

WORKING = Lock()  # the library keeps what it has read in variables of its own
FAILED = -1


def sbml_of(text: str, source: str, folder: Path | None = None) -> str:
    """Return an Antimony text as SBML; of several models the main one, with those that it holds.

    Parameters
    ----------
    source : str
        What messages call it.
    folder : Path, optional
        Where files lie that it imports.

    Raises
    ------
    ModelError
        For what is no Antimony, by its line.
    """
    library = imported("Antimony", "antimony", "antimony", "antimony")
    with WORKING:
        library.clearPreviousLoads()
        library.clearDirectories()
        if folder is not None:
            library.addDirectory(str(folder))
        if library.loadAntimonyString(text) == FAILED:
            told = " ".join(library.getLastError().split())
            where, _, what = told.removeprefix("Error in model string, ").partition(":")
            raise ModelError(
                f"{source} is no Antimony, {where}: {what.strip()}.".replace("..", ".")
            )
        found = library.getSBMLString(None)
        if not found:
            raise ModelError(f"{source} is Antimony that cannot be SBML: {library.getLastError()}")
        return found
