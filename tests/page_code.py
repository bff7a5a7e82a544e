"""The code of pages, what they say that it prints, and texts that are alike but for rounding."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+(?:\.\d*)?(?:e[+-]?\d+)?")


def code_and_outputs(path: Path) -> tuple[list[str], list[str]]:
    """Return the Python blocks of a page and the text block that follows each."""
    codes, outputs = [], []
    for language, body in BLOCK.findall(path.read_text(encoding="utf-8")):
        if language == "python":
            assert len(codes) == len(outputs), f"no output between two code blocks of {path.name}"
            codes.append(body)
        elif language == "text" and len(outputs) < len(codes):
            outputs.append(body)
    assert len(codes) == len(outputs), f"the last code block of {path.name} has no output"
    return codes, outputs


def words_and_numbers(text: str) -> tuple[list[str], list[float]]:
    """Split text into what must be the same and what must be close."""
    words = re.split(r"\s+", NUMBER.sub(" # ", text).strip())
    return words, [float(number) for number in NUMBER.findall(text)]
