"""CellML files without what is not of the model: metadata, documentation, other prefixes.

Files of the Physiome Model Repository carry RDF and `cmeta:id` at every element; libCellML takes
formulas out of the file as text, and there knows no prefixes but its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from cubie.models.errors import ModelError

CELLML = {f"http://www.cellml.org/cellml/{version}#": version for version in ("1.0", "1.1", "2.0")}
MATHML = "http://www.w3.org/1998/Math/MathML"
DOCUMENTATION = "documentation"
XLINK = "http://www.w3.org/1999/xlink"


def plain_text(text: str, source: str) -> str:
    """Return a CellML file as libCellML reads it.

    Parameters
    ----------
    source : str
        What messages call it.

    Raises
    ------
    ModelError
        For what is no CellML, and for features that are not here.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ModelError(f"{source} is no XML: {error}.") from error
    space, tag = _parted(root.tag)
    if space not in CELLML or tag != "model":
        known = ", ".join(CELLML.values())
        raise ModelError(
            f"{source} is no CellML: its root is <{tag}> of {space or 'no namespace'!r}, and it is "
            f"<model> of a CellML namespace ({known})."
        )
    _require_known(root, source)
    return f"<?xml version='1.0' encoding='UTF-8'?>\n{''.join(_written(root, space))}"


def _parted(name: str) -> tuple[str, str]:
    """Return the namespace of a name, and the rest."""
    space, brace, tag = name.removeprefix("{").partition("}")
    return (space, tag) if brace else ("", name)


def _require_known(root: ElementTree.Element, source: str) -> None:
    for element in root.iter():
        space, tag = _parted(element.tag)
        if space not in CELLML:
            continue
        if tag == "reaction":
            raise ModelError(
                f"{source} has <reaction>, which CellML 2.0 has no more: write the equations that "
                "it stands for.",
                "reactions of CellML 1",
            )
        if tag == "unit" and float(element.get("offset", "0")) != 0.0:
            raise ModelError(
                f"{source} has units with offset={element.get('offset')!r}, which CellML 2.0 has "
                "no more: add it in an equation.",
                "units with an offset",
            )


def _written(element: ElementTree.Element, cellml: str) -> Iterator[str]:
    """Yield the text of an element without what is neither CellML nor MathML."""
    space, tag = _parted(element.tag)
    yield f"<{tag}"
    if tag in ("model", "math"):
        yield f" xmlns={quoteattr(space)} xmlns:cellml={quoteattr(cellml)}"
    if tag == "model":
        yield f" xmlns:xlink={quoteattr(XLINK)}"
    for name, value in element.attrib.items():
        of, plain = _parted(name)
        prefix = {"": "", XLINK: "xlink:"}.get(of, "cellml:" if of in CELLML else None)
        if prefix is not None:
            yield f" {prefix}{plain}={quoteattr(value)}"
    text = (element.text or "").strip()
    mantissa, e, exponent = text.lower().partition("e")
    if tag == "cn" and e and "type" not in element.attrib:
        # Some programs write 1e-5 as a plain number, which CellML is strict about.
        yield f" type='e-notation'>{mantissa}<sep/>{exponent}"
    else:
        yield f">{escape(text) if space == MATHML else ''}"
    for child in element:
        space_of_child, tag_of_child = _parted(child.tag)
        if space_of_child == MATHML or (space_of_child in CELLML and tag_of_child != DOCUMENTATION):
            yield from _written(child, cellml)
        if space == MATHML:
            yield escape((child.tail or "").strip())  # behind <sep/>
    yield f"</{tag}>"
