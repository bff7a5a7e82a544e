"""Backward differences of a solution at equal steps, and what becomes of them.

Row m of a difference array holds ``D[m]``, the difference of order m = 1, 2, ... of the solution
at its latest point, n elements each; rows beyond the order of the method are zero. With the
state they are a polynomial. What differs between runs, its degree and the size of the step,
is data: the same sums are formed in all lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cubie.backend import Backend, select


def build_lookup(backend: Backend, values: Sequence[float]) -> Callable:
    """Return ``lookup(k)``: the value of number k = 1, 2, ..., a whole floating value of lanes."""
    chain = backend.device(_always(backend.constant(values[0])))
    for number, value in enumerate(values[1:], start=2):
        least = backend.constant(number - 0.5)
        chain = backend.device(_or_from(chain, least, backend.constant(value)))
    return chain


def _always(value) -> Callable:
    def lookup(k):
        return select(k == k, value, value)

    return lookup


def _or_from(before: Callable, least, value) -> Callable:
    def lookup(k):
        return select(k > least, value, before(k))

    return lookup


def build_shift(backend: Backend, n: int, order: int) -> Callable:
    """Return ``shift(sigma, differences, value, weights)``: to the polynomial at another point.

    The point lies `sigma` steps ahead. `value` (n,) turns from the polynomial at the old point into
    that at the new one; `weights` is scratch of `order` elements. With the shift operator
    ``E**sigma = (1 - nabla)**-sigma``, row m becomes the sum of c[j] D[m + j], where
    ``c[j] = sigma (sigma + 1) ... (sigma + j - 1) / j!``. Where `sigma` is zero nothing changes.
    """
    last = order - 1

    def shift(sigma, differences, value, weights):
        for j in range(order):
            weights[j] = (sigma + j) / (j + 1)
        for i in range(n):
            total = differences[last * n + i]
            for j in range(last):
                row = last - 1 - j
                total = differences[row * n + i] + weights[row + 1] * total
            value[i] = value[i] + weights[0] * total
            for m in range(last):
                total = differences[last * n + i]
                for j in range(last - m):
                    row = last - 1 - j
                    total = differences[row * n + i] + weights[row - m] * total
                differences[m * n + i] = total

    return backend.device(shift)


def build_rescale(backend: Backend, n: int, order: int) -> Callable:
    """Return ``rescale(factor, differences, weights)``: to steps that are `factor` times as long.

    The difference over them is ``1 - (1 - nabla)**factor``, a series in nabla without a constant
    term; row m becomes the sum of D[j] times the coefficients of its power m. `weights` is scratch
    of ``2 * order`` elements. Where `factor` is one nothing changes.
    """

    none = backend.constant(0.0)

    def rescale(factor, differences, weights):
        zero = factor * none
        weights[0], weights[order] = factor, factor
        for j in range(1, order):
            following = weights[j - 1] * (j - factor) / (j + 1)
            weights[j] = following
            weights[order + j] = following
        for m in range(order):
            for i in range(n):
                total = zero
                for j in range(m, order):
                    total = total + weights[order + j] * differences[j * n + i]
                differences[m * n + i] = total
            # The next power: what is left of a place is of the power before.
            for back in range(order - m - 1):
                j = order - 1 - back
                total = zero
                for k in range(m, j):
                    total = total + weights[order + k] * weights[j - 1 - k]
                weights[order + j] = total

    return backend.device(rescale)


def build_extend(backend: Backend, n: int, order: int) -> Callable:
    """Return ``extend(accept, following, correction, differences)``: after one more step.

    In the lanes of `accept` the differences are those at the new point, up to order `following`:
    one more than before, as many, or fewer. `correction` (n,) is the difference of the solution
    from the predicted one, which is the first difference that was taken to be zero.
    """

    zero = backend.constant(0.0)

    def extend(accept, following, correction, differences):
        for i in range(n):
            total = correction[i]
            for back in range(order):
                row = order - 1 - back
                before = differences[row * n + i]
                total = total + before
                after = select(row < following, total, total * zero)
                differences[row * n + i] = select(accept, after, before)

    return backend.device(extend)


def build_last(backend: Backend, n: int, order: int) -> Callable:
    """Return ``last(k, differences, i)``: row k of component i."""
    chain = backend.device(_row(0))
    for m in range(1, order):
        chain = backend.device(_or_row(chain, backend.constant(m + 0.5), m * n))
    return chain


def _row(at: int) -> Callable:
    def last(k, differences, i):
        return differences[at + i]

    return last


def _or_row(before: Callable, least, at: int) -> Callable:
    def last(k, differences, i):
        return select(k > least, differences[at + i], before(k, differences, i))

    return last
