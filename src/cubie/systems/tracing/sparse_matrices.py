"""SciPy's sparse matrices in code that is traced: products with expressions, entry by entry."""

from __future__ import annotations

from typing import Any

import numpy as np

from cubie.systems.errors import Untraceable
from cubie.systems.tracing.arrays import TracedArray, traced
from cubie.systems.tracing.expression import Expr


def is_sparse(value: Any) -> bool:
    """Tell whether a value is a sparse matrix or array of SciPy."""
    module = getattr(type(value), "__module__", None) or ""
    return module.startswith("scipy.sparse") and hasattr(value, "tocsr")


class TracedSparse:
    """Stands for a sparse matrix of numbers; what has no expressions in it SciPy calculates.

    Parameters
    ----------
    matrix : sparse matrix or array
    """

    __array_ufunc__ = None  # arrays ask this class what their product with it is

    def __init__(self, matrix: Any):
        self._matrix = matrix

    def __matmul__(self, other: Any) -> Any:
        if not isinstance(other, TracedArray):
            return self._matrix @ other
        rows = self._matrix.tocsr()
        rows.sort_indices()
        if other.shape[0] != rows.shape[1]:
            raise ValueError(f"matmul: shapes {rows.shape} and {other.shape} do not fit")
        result = np.zeros((rows.shape[0], *other.shape[1:]), dtype=object)
        for i in range(rows.shape[0]):
            for k in range(rows.indptr[i], rows.indptr[i + 1]):
                result[i] = result[i] + other[rows.indices[k]] * rows.data[k].item()
        return traced(result)

    def __rmatmul__(self, other: Any) -> Any:
        return (self.T @ other.T).T if isinstance(other, TracedArray) else other @ self._matrix

    def __mul__(self, other: Any) -> Any:
        # Of matrices, not of arrays, `*` is the product of matrices.
        if isinstance(other, TracedArray) and not _is_array(self._matrix):
            return self @ other
        return self._scaled(other)

    def __rmul__(self, other: Any) -> Any:
        if isinstance(other, TracedArray) and not _is_array(self._matrix):
            return other @ self
        return self._scaled(other)

    def dot(self, other: Any) -> Any:
        """Return the product with a vector or a matrix."""
        return self @ other

    @property
    def T(self) -> TracedSparse:
        """The transpose."""
        return TracedSparse(self._matrix.T)

    def transpose(self) -> TracedSparse:
        """Return the transpose."""
        return self.T

    def _scaled(self, other: Any) -> Any:
        if isinstance(other, (Expr, TracedArray)):
            raise Untraceable(
                "the entries of a sparse matrix are multiplied with expressions; multiply its "
                "product with a vector"
            )
        scaled = self._matrix * other
        return TracedSparse(scaled) if is_sparse(scaled) else scaled

    def __getattr__(self, name: str) -> Any:
        return getattr(self._matrix, name)


def _is_array(matrix: Any) -> bool:
    return type(matrix).__name__.endswith("_array")
