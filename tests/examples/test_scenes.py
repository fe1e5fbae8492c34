from __future__ import annotations

import numpy as np
from morngan.data.scenes import render_scene


def test_a_scene_depends_on_its_seed_and_index_only() -> None:
    first = render_scene(3, 5, (64, 80))
    render_scene(3, 6, (64, 80))
    again = render_scene(3, 5, (64, 80))
    assert np.array_equal(first.color, again.color)
    assert np.array_equal(first.thermal, again.thermal)
    assert np.array_equal(first.labels, again.labels)
    assert first.boxes == again.boxes
