"""Numbers that are drawn by their place alone: no neighbour, chunk or machine changes them."""

from __future__ import annotations

import copy
import hashlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import field, frozen

from cubie.errors import Described, InvalidOption, InvalidProblem

# Drawn at once: a part of the stream of numbers that any place in it can be found from.
BLOCK = 4096
BY_PLACE = ("random", "sobol", "halton")
WAYS = (*BY_PLACE, "latin")
MOST = 2**63
SOBOL_BITS = 30  # of SciPy's own: so many points there are, but for those that ask for more


@frozen(eq=False)
class Draws:
    """Values of some names at any place.

    Attributes
    ----------
    n : int or None
        How many places there are; None: as many as there are runs.
    names : tuple of str
    marginals : tuple
        Of each name (low, high), or a distribution.
    by : str or QMCEngine
    seed : int
    """

    n: int | None
    names: tuple[str, ...]
    marginals: tuple[Any, ...] = field(repr=False)
    by: Any = "random"
    seed: int = 0
    _engine: list[Any] = field(factory=list, init=False, repr=False)  # where the last one is

    @classmethod
    def of(cls, n: Any, ranges: Mapping[str, Any], by: Any = "random", seed: Any = 0) -> Draws:
        """Return draws of what users asked for, checked.

        Raises
        ------
        InvalidOption, InvalidProblem
        """
        if n is not None and (isinstance(n, bool) or not hasattr(n, "__index__") or n < 1):
            raise InvalidOption("n", n, advice="How many are drawn: an int of at least 1.")
        checked_seed(seed)
        if isinstance(by, str) and by not in WAYS:
            raise InvalidOption("by", by, WAYS)
        if not isinstance(by, str):
            _require_engine(by, len(ranges))
        marginals = tuple(_marginal(name, given) for name, given in ranges.items())
        return cls(None if n is None else int(n), tuple(ranges), marginals, by, int(seed))

    @property
    def by_place(self) -> bool:
        """Whether a part can be drawn without the rest."""
        return isinstance(self.by, str) and self.by in BY_PLACE

    def at(self, index: np.ndarray) -> dict[str, np.ndarray]:
        """Return the values at places, which need not be in order."""
        index = np.asarray(index)
        cube = self._of_blocks(index) if self.by_place else self._whole()[index]
        found = {}
        for i, (name, marginal) in enumerate(zip(self.names, self.marginals, strict=True)):
            values = np.asarray(_quantiles(marginal, cube[:, i]), dtype=float)
            finite = np.isfinite(values)
            if not finite.all():
                where = int(np.argmin(finite))
                raise InvalidProblem(
                    "over", f"draws {values[where]} for {name!r} at place {int(index[where])}."
                )
            found[name] = values
        return found

    def median(self, name: str) -> float:
        """Return the value that half of those of a name are below."""
        return float(
            np.ravel(_quantiles(self.marginals[self.names.index(name)], np.array([0.5])))[0]
        )

    def _of_blocks(self, index: np.ndarray) -> np.ndarray:
        cube = np.empty((len(index), len(self.names)))
        blocks = index // BLOCK
        for block in np.unique(blocks):
            there = blocks == block
            cube[there] = self._block(int(block))[index[there] - block * BLOCK]
        return cube

    def _block(self, block: int) -> np.ndarray:
        d = len(self.names)
        if self.by == "random":
            return np.stack([self._random(name, block) for name in self.names], axis=1)
        # An engine goes forwards only: the one of the last block is mostly just before this one.
        engine = self._engine.pop() if self._engine else _engine(self.by, d, self._seeds, self.n)
        if engine.num_generated > block * BLOCK:
            engine.reset()
        ahead = block * BLOCK - engine.num_generated
        if ahead:  # SciPy's Sobol points refuse to stay where they begin
            engine.fast_forward(ahead)
        found = engine.random(BLOCK)
        self._engine[:] = [engine]
        return found

    def _random(self, name: str, block: int) -> np.ndarray:
        """Return numbers of a name, which depend on no other: those of one seed are independent."""
        key = self.seed + (_stream(name) << 64)
        bits = np.random.Philox(key=key, counter=[0, 0, block, 0])
        return np.random.Generator(bits).random(BLOCK)

    @property
    def _seeds(self) -> list[int]:
        return [self.seed, _stream("\0".join(self.names))]

    def _whole(self) -> np.ndarray:
        if self.by == "latin":
            engine = _engine(self.by, len(self.names), self._seeds, self.n)
        else:
            engine = copy.deepcopy(self.by)
        return engine.random(self.n)


def _stream(name: str) -> int:
    """Return what tells draws of one name, or of several, from those of others."""
    digest = hashlib.blake2b(name.encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


def checked_seed(seed: Any) -> int:
    """Return where generators begin.

    Raises
    ------
    InvalidOption
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= seed < MOST:
        raise InvalidOption("seed", seed, advice="Give an int from 0 to 2**63 - 1.")
    return int(seed)


def _engine(by: str, d: int, seed: Sequence[int], n: int | None) -> Any:
    from scipy.stats import qmc

    kind = {"sobol": qmc.Sobol, "halton": qmc.Halton, "latin": qmc.LatinHypercube}[by]
    how: dict[str, Any] = {}
    if by == "sobol" and n is not None and n > 2**SOBOL_BITS:
        how["bits"] = (n - 1).bit_length()
    try:
        return kind(d, rng=np.random.default_rng(seed), **how)
    except TypeError:  # before SciPy 1.15
        return kind(d, seed=np.random.default_rng(seed), **how)


def _require_engine(by: Any, d: int) -> None:
    if not hasattr(by, "random") or not hasattr(by, "d"):
        allowed = (*WAYS, Described("an engine of scipy.stats.qmc"))
        raise InvalidOption("by", by, allowed)
    if by.d != d:
        advice = f"It draws {by.d} numbers for each run, and {d} are named."
        raise InvalidOption("by", by, advice=advice)


def is_distribution(given: Any) -> bool:
    """Tell whether values can be drawn from something."""
    return not isinstance(given, type) and any(
        callable(getattr(given, name, None)) for name in ("ppf", "icdf")
    )


def has_distribution(given: Any) -> bool:
    """Tell whether something, or an entry of it, is a distribution."""
    if isinstance(given, np.ndarray) and given.dtype != object:
        return False
    entries = given if isinstance(given, (list, tuple)) else np.ravel(np.asarray(given, object))
    return is_distribution(given) or any(map(is_distribution, entries))


def _marginal(name: str, given: Any) -> Any:
    if is_distribution(given):
        return _frozen(name, given)
    try:
        low, high = (float(bound) for bound in given)
    except (TypeError, ValueError):
        low = high = np.nan
    if not np.isfinite([low, high]).all() or low >= high:
        raise InvalidProblem(
            "over",
            f"draws {name!r} from {given!r}; give (low, high), two finite numbers in that order, "
            "or a frozen distribution such as scipy.stats.norm(10, 1).",
        )
    return low, high


def _frozen(name: str, given: Any) -> Any:
    """Return a distribution with its numbers, which a family of SciPy's has not yet.

    What such a one draws without them, norm the standard normal, is rarely what is meant. One that
    somebody made, of a histogram or a density, is whole as it is.
    """
    if not hasattr(given, "freeze"):
        return given
    shapes = given.shapes.split(", ") if given.shapes else []
    if is_family(given):
        numbers = [*shapes, "loc=...", *(["scale=..."] if hasattr(given, "pdf") else [])]
        standard = "" if shapes else f"; {given.name}() is the standard one"
        raise InvalidProblem(
            "over",
            f"draws {name!r} from scipy.stats.{given.name} without its numbers: give them, as in "
            f"scipy.stats.{given.name}({', '.join(numbers)}){standard}.",
        )
    try:
        return given()
    except TypeError as error:
        raise InvalidProblem(
            "over", f"draws {name!r} from {given.name}, which needs {given.shapes}: freeze it."
        ) from error


def is_family(given: Any) -> bool:
    """Tell whether something is a distribution of `scipy.stats` by its name alone."""
    return getattr(sys.modules.get("scipy.stats"), str(given.name), None) is given


def _quantiles(marginal: Any, q: np.ndarray) -> Any:
    if isinstance(marginal, tuple):
        low, high = marginal
        return low + q * (high - low)
    # A quantile of 0 or 1 may be infinite; generators leave out 1 only.
    q = np.maximum(q, np.finfo(float).tiny)
    return marginal.ppf(q) if hasattr(marginal, "ppf") else marginal.icdf(q)
