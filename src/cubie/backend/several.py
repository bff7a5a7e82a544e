"""Several GPUs in one process: which one a thread uses."""

from __future__ import annotations

from cubie.backend.machine import cuda_is_available, cuda_is_simulated
from cubie.errors import InvalidOption, NoDevice


def gpus_there() -> int:
    """Return how many GPUs this process sees."""
    if cuda_is_simulated():
        return 1
    if not cuda_is_available():
        return 0
    from cubie.backend.cuda.driver import device_count

    return device_count()


def gpus_in_words() -> list[str]:
    """Return what each GPU is called and has, in the order of their numbers; none is simulated."""
    from cubie.backend.cuda.driver import facts_of

    facts = [facts_of(number) for number in range(gpus_there())]
    return [
        f"{gpu.name}, compute capability {gpu.capability[0]}.{gpu.capability[1]}, "
        f"{gpu.total_bytes / 2**30:.0f} GiB"
        for gpu in facts
    ]


def checked_gpus(given: object) -> tuple[int, ...]:
    """Return the numbers of GPUs: those given, or with "all" those that there are.

    Raises
    ------
    InvalidOption
        For what is no sequence of different numbers of GPUs that there are.
    NoDevice
        Where there is none.
    """
    n = gpus_there()
    if n == 0:
        raise NoDevice("There is no GPU here: leave `devices` out, and processors compute.")
    if isinstance(given, str) and given == "all":
        return tuple(range(n))
    numbers = tuple(given) if isinstance(given, (list, tuple, range)) else ()
    whole = all(isinstance(one, int) and not isinstance(one, bool) for one in numbers)
    if not numbers or not whole or len(set(numbers)) < len(numbers):
        advice = 'Give numbers of GPUs, each once, as in [0, 1], or "all".'
        raise InvalidOption("devices", given, advice=advice)
    if not all(0 <= one < n for one in numbers):
        raise InvalidOption("devices", given, advice=f"There are {n}, numbered from 0.")
    return numbers


def use_gpu(number: int) -> None:
    """Let the calling thread use a GPU, from now on."""
    if cuda_is_simulated():
        return
    from cubie.backend.cuda.driver import CUDADriver

    CUDADriver(number).enter()


def gpu_in_use() -> int | None:
    """Return the number of the GPU that the calling thread uses; None without one."""
    if cuda_is_simulated() or not cuda_is_available():
        return None
    from cubie.backend.cuda.driver import device_number

    return device_number()
