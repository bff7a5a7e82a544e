"""A contender in a process of its own, spoken to in lines of JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


class Process:
    """A running module of this package; `facts` is the first thing it says."""

    def __init__(self, module: str, *arguments: str):
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.facts = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            return {"unavailable": f"ended with exit code {self._process.wait()}"}
        return json.loads(line)

    def ask(self, word: str) -> dict[str, Any]:
        """Send a word and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
