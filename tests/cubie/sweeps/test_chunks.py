"""Boxes of runs: every run is in one chunk, and chunks are as large as was asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cubie.sweeps.chunks import Chunks

SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


@settings(max_examples=200, deadline=None)
@given(SHAPES, st.integers(1, 200), st.sampled_from([1, 2, 4, 64]))
def test_every_run_is_in_one_chunk(shape, n_runs, group):
    """Chunks tile the runs, each of them runs that follow each other, in the order of numbers."""
    chunks = Chunks.of(shape, n_runs, group)
    numbers = np.arange(np.prod(shape)).reshape(shape)
    found = [numbers[chunks.at(number)] for number in chunks]
    for number, there in enumerate(found):
        assert there.shape == chunks.shape_of(number)
        assert there.ravel().tolist() == list(chunks.runs_of(number))
    assert np.concatenate([there.ravel() for there in found]).tolist() == numbers.ravel().tolist()
    assert chunks.largest == max(map(np.size, found)) <= n_runs
    assert len(chunks) == len(found)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 10**9), st.integers(1, 10**6))
def test_chunks_are_about_as_large_as_asked_for(n, n_runs):
    """Of one dimension no more chunks are made than must be, to within what whole groups take."""
    chunks = Chunks.of((n,), n_runs, 64)
    assert chunks.largest <= n_runs
    if n_runs >= 128:
        assert len(chunks) <= 2 * -(-n // n_runs)
        assert chunks.largest % 64 == 0 or len(chunks) == 1


def test_a_chunk_that_there_is_not_is_refused():
    """Numbers beyond the last chunk, and below the first, mean nothing."""
    chunks = Chunks.of((3, 4), 4)
    for number in (-1, 3):
        with pytest.raises(IndexError, match="of 3"):
            chunks.at(number)
