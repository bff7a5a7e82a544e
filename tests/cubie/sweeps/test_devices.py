"""Several GPUs in one process: a thread for each, which has kernels of its own."""

import threading

import numpy as np
import pytest

import cubie
from cubie.backend import several
from cubie.errors import InvalidOption, NoDevice
from cubie.sweeps import crews, engines, job


def decay(t, y, rate):
    return [-rate * y[0]]


def swept(chunk=None):
    over = cubie.grid(rate=np.linspace(0.5, 2.0, 40))
    return cubie.sweep(decay, (0.0, 1.0), [1.0], over=over, chunk=chunk)


@pytest.fixture
def two_gpus(monkeypatch):
    """Let threads believe that they use one of two; return which ones solved for each."""
    own, solved = threading.local(), {0: set(), 1: set()}
    make = job.Model._make

    def make_for_gpu(model):
        solved[own.number].add(threading.get_ident())
        return make(model)

    monkeypatch.setattr(several, "gpus_there", lambda: 2)
    monkeypatch.setattr(crews, "use_gpu", lambda number: setattr(own, "number", number))
    monkeypatch.setattr(job, "gpu_in_use", lambda: getattr(own, "number", None))
    monkeypatch.setattr(job.Model, "_make", make_for_gpu)
    own.number = 0  # that of this thread
    both = threading.Barrier(2, timeout=60)
    wait_once = {0: True, 1: True}

    def compute(*given):  # the first chunk of one waits for that of the other
        if wait_once.pop(own.number, False):
            both.wait()
        return job.compute_chunk(*given)

    monkeypatch.setattr(engines, "compute_chunk", compute)
    return solved


def test_each_gpu_has_a_thread_with_a_kernel_of_its_own(two_gpus):
    """All chunks are done, with the same numbers, and no kernel is shared by two GPUs."""
    alone = swept().run().to_xarray()
    two_gpus[0].clear()
    together = swept(chunk=5).run(devices="all").to_xarray()
    np.testing.assert_array_equal(together["y"], alone["y"])
    threads = two_gpus[0] | two_gpus[1]
    assert threading.get_ident() in two_gpus[0]
    assert not (two_gpus[0] & two_gpus[1])
    assert two_gpus[1]
    assert len(threads) <= 3


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([0, 2], "There are 2, numbered from 0"),
        ([0, 0], "each once"),
        ([], "each once"),
        ("first", "each once"),
        ([True], "each once"),
        (1, "each once"),
    ],
)
def test_gpus_that_cannot_be_are_refused(monkeypatch, given, told):
    """The message says which there are."""
    monkeypatch.setattr(several, "gpus_there", lambda: 2)
    with pytest.raises(InvalidOption, match=told):
        several.checked_gpus(given)


def test_gpus_are_numbered_from_zero(monkeypatch):
    """ "all" are those that there are; others stay in the order given."""
    monkeypatch.setattr(several, "gpus_there", lambda: 3)
    assert several.checked_gpus("all") == (0, 1, 2)
    assert several.checked_gpus([2, 0]) == (2, 0)


def test_without_a_gpu_devices_are_refused(monkeypatch):
    """Nothing is computed by processors instead."""
    monkeypatch.setattr(several, "gpus_there", lambda: 0)
    with pytest.raises(NoDevice, match="leave `devices` out"):
        swept().run(devices="all")


def test_devices_go_with_no_other_workers(monkeypatch):
    """Workers of another kind have devices of their own."""
    with pytest.raises(InvalidOption, match="`devices`, or an executor"):
        swept().run(workers=2, devices=[0])
