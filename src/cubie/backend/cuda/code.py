"""Assembled kernels: made for one capability, kept on disk under their digest.

As with machine code of the CPU (`cubie.backend.cpu.object_code`), the digest stands for all that
made the code, so that a kernel is found again in any process and a stale one never is. What is
found is loaded as it is: nothing is traced, compiled or assembled.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from attrs import frozen

from cubie.backend.cuda.resources import KernelResources
from cubie.backend.package import package_digest
from cubie.cache import Shelf, cache_directory, is_digest

# The compilers on the way, of either generation of the toolkit where they have one.
COMPILERS = ("numba", "numba-cuda", "llvmlite", "nvidia-nvvm", "nvidia-nvjitlink")
OF_GENERATION_12 = ("nvidia-cuda-nvcc-cu12", "nvidia-nvjitlink-cu12")
_ENTRY = re.compile(r"\.visible\s+\.entry\s+([\w$.]+)\s*\(")


@frozen
class KernelCode:
    """A kernel assembled for one capability.

    Attributes
    ----------
    image : bytes
    name : str
        Of the function in it.
    from_cache : bool
        Whether it came from disk.
    """

    image: bytes
    name: str
    from_cache: bool


def entry_of(ptx: str) -> str:
    """Return the name of the only kernel in a text of PTX."""
    (name,) = _ENTRY.findall(ptx)
    return name


def find_or_make(
    digest: str, capability: tuple[int, int], compile_kernel: Callable[[], KernelResources]
) -> KernelCode:
    """Return a kernel from disk, or compile it and keep it there."""
    shelf = Shelf(cache_directory(), "kernels", ".cubin")
    key = _key_of(digest, capability)
    kept = _kept(shelf, key)
    if kept is not None:
        return kept
    made = compile_kernel()
    name = entry_of(made.ptx)
    shelf.enter(key, {"code": shelf.keep(made.cubin), "name": name})
    return KernelCode(made.cubin, name, from_cache=False)


def _kept(shelf: Shelf, key: str) -> KernelCode | None:
    entry = shelf.entry(key) or {}
    named, name = entry.get("code"), entry.get("name")
    image = shelf.find(named) if is_digest(named) else None
    if image is None or not isinstance(name, str) or name.encode() not in image:
        return None
    return KernelCode(image, name, from_cache=True)


@functools.cache
def _versions() -> tuple[str, ...]:
    return tuple(f"{name} {_version(name)}" for name in (*COMPILERS, *OF_GENERATION_12))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"  # of the other generation, or in a toolkit of the system's


def _key_of(digest: str, capability: tuple[int, int]) -> str:
    parts = (digest, package_digest(), *_versions(), "sm_{}{}".format(*capability))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
