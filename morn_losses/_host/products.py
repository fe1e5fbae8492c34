"""Products with few rows or columns, on the host, by numpy.

OpenBLAS, which numpy's wheels bring, has kernels for small matrices: on AVX-512 they take less than half the time of
MKL's, which torch calls. They need points as they lie in memory, contiguous centers, and blocks of limited size, which
it also keeps in one thread.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

BLAS: str = getattr(np.__config__, "CONFIG", {}).get("Build Dependencies", {}).get("blas", {}).get("name", "")
OPENBLAS = "openblas" in BLAS
SMALL = 2**18  # multiplications of a block: OpenBLAS shares larger ones among threads
FEWEST = 32  # rows of a block, below which the calls cost more than the kernels gain
MOST = 256  # rows summed up at once: sums of sums lose less to rounding than one long sum
HUGE = 2**24  # multiplications that several threads are worth


def products(points: Array, targets: Array, bias: Array | None) -> Array:
    """Return ``bias + targets @ points.T``, ``(K, n)``, of points ``(n, D)`` and targets ``(K, D)``."""
    n, D = points.shape
    K = len(targets)
    block = SMALL // targets.size
    product = np.empty((K, n), points.dtype)
    if not OPENBLAS or block < FEWEST or (n * targets.size > HUGE and torch.get_num_threads() > 1):
        torch.mm(torch.from_numpy(targets), torch.from_numpy(points).mT, out=torch.from_numpy(product))
        return product if bias is None else np.add(product, bias[:, None], out=product)
    rows = np.empty((n, K), points.dtype)
    columns = np.ascontiguousarray(targets.T)
    whole = n - n % block
    if whole > 0:
        np.matmul(points[:whole].reshape(-1, block, D), columns, out=rows[:whole].reshape(-1, block, K))
    if whole < n:
        np.matmul(points[whole:], columns, out=rows[whole:])
    # clusters first: all that follows then goes along the points
    return np.add(rows.T, 0 if bias is None else bias[:, None], out=product)


def weighted_sums(weights: Array, points: Array) -> Array:
    """Return ``weights @ points``, ``(K, D)``, of weights ``(K, n)`` and points ``(n, D)``."""
    n, D = points.shape
    K = len(weights)
    block = min(max(SMALL // (K * D), FEWEST), MOST)
    if n <= block:
        return weights @ points
    whole = n - n % block
    by_block = weights[:, :whole].reshape(K, -1, block).swapaxes(0, 1) @ points[:whole].reshape(-1, block, D)
    sums: Array = np.add.reduce(by_block)
    return sums if whole == n else sums + weights[:, whole:] @ points[whole:]


def squared_lengths(x: Array) -> Array:
    """Return the squared lengths of the rows, ``(n,)``."""
    lengths: Array = np.matmul(x[:, None], x[:, :, None])[:, 0, 0]
    return lengths
