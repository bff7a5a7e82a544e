"""Numbers that are drawn are those of their place, whoever asks, and of the right distribution."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import qmc

import cubie
from cubie import InvalidOption, InvalidProblem
from cubie.sweeps.chunks import Chunks
from cubie.sweeps.draws import BLOCK, Draws
from cubie.sweeps.job import Part

MANY = 3 * BLOCK + 17
RANGES = {"a": (1.0, 2.0), "b": stats.norm(3.0, 0.5), "c": stats.poisson(4.0)}
WHOLE = {
    by: Draws.of(MANY, RANGES, by, 7).at(np.arange(MANY)) for by in ("random", "sobol", "halton")
}


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.integers(0, MANY - 1), st.integers(1, 50)), min_size=1, max_size=5),
)
def test_values_are_those_of_their_place(by, parts):
    """Parts that are asked for in any order, and again, are those of the whole."""
    draws = Draws.of(MANY, RANGES, by, 7)
    for first, n in parts:
        index = np.arange(first, min(first + n, MANY))[::-1]
        for name, values in draws.at(index).items():
            np.testing.assert_array_equal(values, WHOLE[by][name][index])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=2, max_size=2),
    st.integers(1, 40),
    st.sampled_from(["random", "sobol", "halton", "latin"]),
)
def test_a_chunk_has_the_values_of_its_runs(shape, n_runs, by):
    """However runs are cut, those of a chunk have the values that the whole space gives them."""
    space = (
        cubie.grid(a=np.arange(shape[0]))
        * cubie.sampled(shape[1], b=(0, 1), c=stats.norm(), by=by, seed=1)
        * cubie.zipped(d=[1, 2], e=[3, 4])
    )
    of_runs = Draws.of(None, {"f": (2, 3)}, "random", 5)
    chunks = Chunks.of(space.shape, n_runs)
    runs = np.arange(space.n_runs)
    wanted = space.of_runs(runs) | of_runs.at(runs)
    for number in chunks:
        part = Part.of(space, chunks, number, of_runs)
        shape_of = chunks.shape_of(number)
        found = part.values(shape_of)
        assert set(found) == set(wanted)
        for name, values in found.items():
            there = np.broadcast_to(values, shape_of).ravel()
            np.testing.assert_array_equal(there, wanted[name][list(chunks.runs_of(number))])


@pytest.mark.parametrize("by", ["random", "sobol", "halton", "latin"])
def test_distributions_are_the_right_ones(by):
    """A sample has the distribution that was asked for, by the test of Kolmogorov and Smirnov."""
    space = cubie.sampled(2000, a=(1.0, 3.0), b=stats.expon(scale=2.0), by=by, seed=11)
    found = space.of_runs(np.arange(2000))
    assert stats.kstest(found["a"], stats.uniform(1.0, 2.0).cdf).pvalue > 1e-3
    assert stats.kstest(found["b"], stats.expon(scale=2.0).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(found["a"], found["b"])[0, 1]) < 0.1


def test_quasi_random_numbers_are_those_of_scipy():
    """Sobol's and Halton's points are SciPy's, in its order; so are those of an engine."""
    for by, kind in (("sobol", qmc.Sobol), ("halton", qmc.Halton)):
        draws = Draws.of(64, {"a": (0, 1), "b": (0, 1)}, by, 5)
        points = kind(2, rng=np.random.default_rng(draws._seeds)).random(64)
        found = draws.at(np.arange(64))
        np.testing.assert_array_equal(np.stack([found["a"], found["b"]], axis=1), points)
    engine = qmc.Sobol(2, rng=np.random.default_rng(6))
    space = cubie.sampled(32, a=(0, 1), b=(0, 1), by=engine)
    np.testing.assert_array_equal(space.of_runs(np.arange(32))["a"], engine.random(32)[:, 0])


def test_seeds_differ_and_repeat():
    """The same seed gives the same numbers, another one others; names have numbers of their own."""
    one, same, other = (
        cubie.sampled(50, a=(0, 1), b=(0, 1), seed=seed).of_runs(np.arange(50))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one["a"], same["a"])
    assert np.all(one["a"] != other["a"])
    assert np.all(one["a"] != one["b"])


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"n": 0}, "`n` is 0.*at least 1"),
        ({"n": 2.5}, "`n` is 2.5"),
        ({"n": True}, "`n` is True"),
        ({"seed": -1}, "`seed` is -1.*from 0"),
        ({"seed": 1.5}, "`seed` is 1.5"),
        ({"by": "sobolev"}, "`by` is 'sobolev'.*'sobol'"),
        ({"by": 3}, "`by` is 3.*engine of scipy.stats.qmc"),
        ({"by": qmc.Sobol(3)}, "draws 3 numbers for each run, and 1 are named"),
        ({"a": (2, 1)}, r"draws 'a' from \(2, 1\); give \(low, high\)"),
        ({"a": (1, np.inf)}, "two finite numbers in that order"),
        ({"a": 3}, "draws 'a' from 3"),
        ({"a": "high"}, "draws 'a' from 'high'"),
        ({"a": stats.gamma}, r"without its numbers: .*gamma\(a, loc=..., scale=...\)\.$"),
        ({"a": stats.poisson}, r"without its numbers: .*poisson\(mu, loc=...\)\.$"),
        ({"a": stats.norm}, r"norm\(loc=..., scale=...\); norm\(\) is the standard one"),
    ],
)
def test_what_cannot_be_drawn_is_refused(given_, message):
    """Each wrong argument of `sampled` is named, with what it may be."""
    wanted = {"n": 4, "a": (0, 1)} | given_
    n = wanted.pop("n")
    with pytest.raises((InvalidOption, InvalidProblem), match=message):
        cubie.sampled(n, **wanted)


def test_what_is_whole_without_numbers_is_drawn_from():
    """A standard distribution that is frozen so, and those that somebody made, lack nothing."""

    class Rising(stats.rv_continuous):
        def _cdf(self, x):
            return np.square(x)

    made = stats.rv_histogram(np.histogram([1.0, 2.0, 2.5], bins=2))
    for one in (stats.norm(), made, Rising(0, 1, name="rising")):
        drawn = cubie.sampled(3, a=one).of_runs(np.arange(3))["a"]
        assert np.isfinite(drawn).all()


def test_arguments_draw_from_whole_distributions_too():
    """A family among args is refused as one among axes is."""
    with pytest.raises(InvalidProblem, match=r"draws 'k' from scipy\.stats\.norm without"):
        cubie.sweep(
            lambda t, y, k: [-k * y[0]], (0, 1), [1.0], over={"y0": [1.0]}, args={"k": stats.norm},
            backend="python",
        )  # fmt: skip


def test_what_is_drawn_must_be_a_number():
    """A distribution that gives no number is refused, naming the place."""

    class Broken:
        def ppf(self, q):
            return np.where(q < 0.5, np.nan, q)

    with pytest.raises(InvalidProblem, match="draws nan for 'a' at place"):
        cubie.sampled(100, a=Broken()).of_runs(np.arange(100))
