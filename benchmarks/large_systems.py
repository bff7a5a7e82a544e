"""Systems with as many states as one likes, for the suite "large"."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Function = Callable[..., Any]


class Made(NamedTuple):
    """A system of a size.

    Attributes
    ----------
    fun : callable
        ``fun(t, y)``, for the tracer as for NumPy.
    start : ndarray (n_states,)
    pattern : ndarray of bool (n_states, n_states)
        Where the Jacobian may differ from zero.
    bandwidth : int
        Below and above the diagonal; 0 where it has no bands.
    """

    fun: Function
    start: np.ndarray
    pattern: np.ndarray
    bandwidth: int


class LargeSystem(NamedTuple):
    """A family of systems."""

    meaning: str
    make: Callable[[int], Made]
    t_end: float
    sizes: tuple[int, ...]


def _bands(n: int, *offsets: int, around: bool = False) -> np.ndarray:
    pattern = np.eye(n, dtype=bool)
    for offset in offsets:
        for i in range(n):
            if around or 0 <= i + offset < n:
                pattern[i, (i + offset) % n] = True
    return pattern


def heat(n: int) -> Made:
    """Diffusion along a rod whose ends are kept at zero and one."""
    rate = float((n + 1) ** 2)

    def fun(t, y):
        left, right = np.roll(y, 1), np.roll(y, -1)
        left[0], right[-1] = 0.0, 1.0
        return rate * (left - 2.0 * y + right)

    return Made(fun, np.sin(np.pi * np.arange(1, n + 1) / (n + 1)), _bands(n, -1, 1), 1)


def brusselator(n: int) -> Made:
    """The Brusselator along a line; the two species of a place lie together."""
    rate = 0.02 * (n // 2 + 1) ** 2

    def fun(t, y):
        u, v = y[0::2], y[1::2]
        changes = []
        for species, edge in ((u, 1.0), (v, 3.0)):
            left, right = np.roll(species, 1), np.roll(species, -1)
            left[0] = right[-1] = edge
            changes.append(rate * (left - 2.0 * species + right))
        made = u * u * v
        dy = np.empty_like(y)
        dy[0::2] = 1.0 + made - 4.0 * u + changes[0]
        dy[1::2] = 3.0 * u - made + changes[1]
        return dy

    places = np.arange(1, n // 2 + 1) / (n // 2 + 1)
    start = np.empty(n)
    start[0::2], start[1::2] = 1.0 + np.sin(2.0 * np.pi * places), 3.0
    return Made(fun, start, _bands(n, -2, -1, 1, 2), 2)


def brusselator_in_the_plane(n: int, diffusion: float = 0.002) -> Made:
    """The Brusselator on a square that has no edges: each side continues at the other."""
    side = math.isqrt(n // 2)
    rate = diffusion * side**2

    def spread(species):
        neighbours = np.roll(species, 1, 0) + np.roll(species, -1, 0)
        neighbours = neighbours + np.roll(species, 1, 1) + np.roll(species, -1, 1)
        return rate * (neighbours - 4.0 * species)

    def fun(t, y):
        u, v = y[0::2].reshape(side, side), y[1::2].reshape(side, side)
        made = u * u * v
        dy = np.empty_like(y)
        dy[0::2] = (1.0 + made - 4.4 * u + spread(u)).ravel()
        dy[1::2] = (3.4 * u - made + spread(v)).ravel()
        return dy

    x = np.arange(side) / side
    start = np.empty(n)
    start[0::2] = (0.5 + x[:, None] + 0.0 * x).ravel()
    start[1::2] = (1.0 + 5.0 * x + 0.0 * x[:, None]).ravel()
    pattern = np.eye(n, dtype=bool)
    for place in range(side * side):
        i, j = divmod(place, side)
        around = ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1))
        pattern[2 * place, 2 * place + 1] = pattern[2 * place + 1, 2 * place] = True
        for a, b in around:
            other = (a % side) * side + b % side
            for species in (0, 1):
                pattern[2 * place + species, 2 * other + species] = True
    return Made(fun, start, pattern, 0)


def lorenz_96(n: int) -> Made:
    """Lorenz's model of the weather along a circle of latitude, with a forcing of 8."""

    def fun(t, y):
        return (np.roll(y, -1) - np.roll(y, 2)) * np.roll(y, 1) - y + 8.0

    start = np.full(n, 8.0)
    start[n // 2] += 0.01
    return Made(fun, start, _bands(n, -2, -1, 1, around=True), 0)


def reactions(n: int) -> list[tuple[list[int], list[int], float]]:
    """Return what each of ``3 * n`` reactions takes and makes, and its rate."""
    draw = random.Random(n)
    return [
        (
            draw.choices(range(n), k=draw.choice((1, 2))),
            draw.choices(range(n), k=draw.choice((1, 2))),
            10.0 ** draw.uniform(-2.0, 1.0),
        )
        for _ in range(3 * n)
    ]


def sparse_network(n: int) -> Made:
    """Reactions of mass action between species that meet at random, three for each."""
    drawn = reactions(n)
    pattern = np.eye(n, dtype=bool)
    for taken, made, _ in drawn:
        pattern[np.ix_([*taken, *made], taken)] = True

    def fun(t, y):
        dy = [0.0] * n
        for taken, made, rate in drawn:
            speed = rate
            for i in taken:
                speed = speed * y[i]
            for i in taken:
                dy[i] = dy[i] - speed
            for i in made:
                # As many are made as are taken.
                dy[i] = dy[i] + len(taken) / len(made) * speed
        return dy

    return Made(fun, np.random.default_rng(n).uniform(0.1, 1.0, n), pattern, 0)


def weights(n: int) -> np.ndarray:
    """Return how strongly neurons hear each other, (n, n)."""
    return np.random.default_rng(n).normal(size=(n, n)) * 1.5 / math.sqrt(n)


def dense_network(n: int) -> Made:
    """Neurons that all hear each other: rates that saturate, and leak."""
    matrix = weights(n)

    def fun(t, y):
        return matrix @ np.tanh(y) - y

    return Made(fun, np.linspace(-1.0, 1.0, n), np.ones((n, n), bool), 0)


SYSTEMS = {
    name: LargeSystem(make.__doc__ or "", make, t_end, sizes)
    for name, make, t_end, sizes in (
        ("heat 1-D", heat, 0.2, (16, 64, 256, 512, 1024, 2048)),
        ("Brusselator 1-D", brusselator, 2.0, (16, 64, 256, 512, 1024, 2048)),
        ("Brusselator 2-D", brusselator_in_the_plane, 1.0, (32, 128, 512, 1152)),
        ("Lorenz-96", lorenz_96, 1.0, (16, 64, 160, 192, 256, 512, 1024, 2048)),
        ("sparse network", sparse_network, 1.0, (64, 250, 500)),
        ("dense network", dense_network, 2.0, (16, 50, 100, 200)),
    )
}
