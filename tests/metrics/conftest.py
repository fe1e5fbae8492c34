from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture
def pairs() -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Sources and translations of several sizes, one of either flat."""
    rng = np.random.default_rng(0)
    square = np.zeros((24, 18))
    square[5:14, 4:13] = 1
    sources = [rng.random((20, 23)), square, rng.random((20, 23))]
    made = [(source, source + 0.3 * rng.random(source.shape)) for source in sources]
    made.append((np.full((16, 16), 0.5), rng.random((16, 16))))
    made.append((rng.random((16, 16)), np.full((16, 16), 0.5)))
    return made
