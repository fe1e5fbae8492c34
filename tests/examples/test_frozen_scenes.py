"""How procedural scenes look is frozen: numbers in tables and the shipped judges hold for these looks alone.

Pictures are pinned by means and spreads with a tolerance, not by their bits: exponentials differ in the last place
between processors, and a rounded gray level with them. `python tests/examples/test_frozen_scenes.py` writes what is
pinned anew, after `LOOKS` was raised.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenes import render_scene
from scenes.folder import LOOKS
from scenes.worlds import WorldName

FILE = Path(__file__).with_name("frozen_scenes.json")
SCENES: tuple[tuple[WorldName, int, tuple[int, int]], ...] = tuple(
    (world, index, size) for world, index in (("a", 1), ("a", 2), ("b", 1)) for size in ((96, 128), (144, 192))
)
SEED = 9001
GRAYS, SHARE = 0.1, 0.0003
"""Tolerances: of means in gray levels, and of a class's share of the pixels."""


def look(world: WorldName, index: int, size: tuple[int, int]) -> dict[str, Any]:
    """Return how a scene looks: means of its tiles, its sharpness, its classes and its boxes."""
    scene = render_scene(SEED, index, size, world)
    found: dict[str, Any] = {}
    for name, picture in (("color", scene.color), ("thermal", scene.thermal[..., None])):
        pixels = picture.astype(float)
        rows, columns, channels = size[0] // 3, size[1] // 4, pixels.shape[2]
        tiles = pixels.reshape(3, rows, 4, columns, channels).mean((1, 3))
        steps = [np.abs(np.diff(pixels, axis=axis)).mean() for axis in (0, 1)]
        found[name] = [round(float(value), 2) for value in (*tiles.ravel(), pixels.std(), *steps)]
    counts = np.bincount(scene.labels.ravel(), minlength=19)
    found["classes"] = [round(float(share), 5) for share in counts / scene.labels.size]
    found["boxes"] = len(scene.boxes)
    return found


def key(world: WorldName, index: int, size: tuple[int, int]) -> str:
    return f"world {world}, scene {index}, {size[0]}x{size[1]}"


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: key(*scene))
def test_scenes_look_as_when_they_were_frozen(scene: tuple[WorldName, int, tuple[int, int]]) -> None:
    pinned = json.loads(FILE.read_text())
    told = "raise LOOKS in scenes/folder.py: tables and judges must be made anew"
    assert pinned["looks"] == LOOKS, f"run this file, then train the judges: scenes now have looks {LOOKS}"
    now, then = look(*scene), pinned["scenes"][key(*scene)]
    for name in ("color", "thermal"):
        assert np.abs(np.subtract(now[name], then[name])).max() < GRAYS, told
    assert np.abs(np.subtract(now["classes"], then["classes"])).max() < SHARE, told
    assert now["boxes"] == then["boxes"], told


if __name__ == "__main__":
    rows = ",\n".join(f"{json.dumps(key(*scene))}: {json.dumps(look(*scene))}" for scene in SCENES)
    FILE.write_text(f'{{"looks": {LOOKS}, "scenes": {{\n{rows}\n}}}}\n')
