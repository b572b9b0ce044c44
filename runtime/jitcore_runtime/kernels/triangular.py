"""LU factors and triangular systems of batches of matrices, which `numpy.linalg` keeps to itself.

Both halve the matrices until a loop over rows is short, so that nearly all of the work is in matrix products.
"""

from __future__ import annotations

import numpy as np

_ROWS = 32
"""Below this many columns the loop runs."""


def lu(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """L (below the diagonal, which counts as ones) and U in one array [m, n], and the row each step exchanged with its
    own, from 1 [min(m, n)]. The pivot is the first largest of a column; complex sizes are |re| + |im|, as LAPACK's."""
    factors = np.array(x, order="C")
    m, n = x.shape[-2:]
    pivots = np.empty((*x.shape[:-2], min(m, n)), np.int32)
    stack = factors.reshape(int(np.prod(x.shape[:-2])), m, n)
    exchanged = pivots.reshape(len(stack), min(m, n))
    for begin in range(0, min(m, n), _ROWS):
        end = min(begin + _ROWS, m, n)
        _panel(stack, exchanged, begin, end)
        if end < n:
            rest = solve_triangular(stack[:, begin:end, begin:end], stack[:, begin:end, end:], upper=False, unit=True)
            stack[:, begin:end, end:] = rest
            stack[:, end:, end:] -= stack[:, end:, begin:end] @ rest
    return factors, pivots


def _panel(stack: np.ndarray, exchanged: np.ndarray, begin: int, end: int) -> None:
    """Columns begin..end, rows exchanged in all columns."""
    batch = np.arange(len(stack))
    for k in range(begin, end):
        column = stack[:, k:, k]
        size = np.abs(column.real) + np.abs(column.imag) if stack.dtype.kind == "c" else np.abs(column)
        pivot = k + size.argmax(-1)
        exchanged[:, k] = pivot + 1
        stack[batch, k], stack[batch, pivot] = stack[batch, pivot], stack[batch, k]
        diagonal = stack[:, k, k][:, None]
        stack[:, k + 1 :, k] = np.where(diagonal == 0, stack[:, k + 1 :, k], stack[:, k + 1 :, k] / diagonal)
        stack[:, k + 1 :, k + 1 : end] -= stack[:, k + 1 :, k, None] * stack[:, k, None, k + 1 : end]


def pivot_order(pivots: np.ndarray, rows: int) -> np.ndarray:
    """Which row of the matrix each row of its factors' product is."""
    order = np.empty((*pivots.shape[:-1], rows), np.int32)
    order[...] = np.arange(rows)
    if not order.size:
        return order
    stack = order.reshape(-1, rows)
    exchanged = pivots.reshape(len(stack), pivots.shape[-1])
    batch = np.arange(len(stack))
    for k in range(pivots.shape[-1]):
        other = exchanged[:, k] - 1
        stack[batch, k], stack[batch, other] = stack[batch, other], stack[batch, k]
    return order


def solve_triangular(a: np.ndarray, b: np.ndarray, upper: bool, unit: bool) -> np.ndarray:
    """x with a x = b, a's other triangle (and, for `unit`, its diagonal) unread. A zero on the diagonal divides."""
    x = np.array(b, order="C")
    _substitute(a, x, upper, unit)
    return x


def _substitute(a: np.ndarray, x: np.ndarray, upper: bool, unit: bool) -> None:
    n = a.shape[-1]
    if n > _ROWS:
        half = n // 2
        first, second = (slice(half, n), slice(0, half)) if upper else (slice(0, half), slice(half, n))
        _substitute(a[..., first, first], x[..., first, :], upper, unit)
        x[..., second, :] -= a[..., second, first] @ x[..., first, :]
        _substitute(a[..., second, second], x[..., second, :], upper, unit)
        return
    for row in reversed(range(n)) if upper else range(n):
        known = slice(row + 1, n) if upper else slice(0, row)
        if known.stop > known.start:
            x[..., row, :] -= (a[..., row, None, known] @ x[..., known, :])[..., 0, :]
        if not unit:
            x[..., row, :] /= a[..., row, row, None]
