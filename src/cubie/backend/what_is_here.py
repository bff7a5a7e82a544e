"""Which targets can solve on this machine, and what a report of a fault tells of them."""

from __future__ import annotations

from collections.abc import Iterator

from cubie.backend.machine import cuda_is_available, cuda_is_simulated, n_threads, register_bytes
from cubie.backend.several import gpus_in_words


def targets_here() -> tuple[str, ...]:
    """Return the targets that can solve on this machine, by name."""
    cuda = ("cuda",) if cuda_is_simulated() or cuda_is_available() else ()
    return ("cpu", *cuda, "python")


def targets_in_words() -> Iterator[tuple[str, str]]:
    """Yield the processors and each GPU: a short head, and what there is."""
    bits = 8 * register_bytes()
    yield "cpu", f"{n_threads()} threads, registers of {bits} bits ({bits // 64} runs in double)"
    if cuda_is_simulated():
        yield "cuda", "numba's simulator, as NUMBA_ENABLE_CUDASIM asks"
    elif not cuda_is_available():
        yield "cuda", "no GPU that a driver sees; kernels can be compiled for one (device=)"
    else:
        try:
            gpus = gpus_in_words()
        except Exception as error:  # a report of faults has to come to its end
            gpus = [f"a GPU is there, but does not answer: {type(error).__name__}: {error}"]
        for number, told in enumerate(gpus):
            yield f"cuda {number}", told
