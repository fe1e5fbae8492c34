from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_folder(
    folder: Path, *, n_a: int = 3, n_b: int = 4, size: tuple[int, int] = (40, 48), single: bool = False
) -> Path:
    """Write a small data folder of blocks: sky above, road below, a person and a car on it."""
    rng = np.random.default_rng(0)
    H, W = size

    def labels() -> np.ndarray:
        y = np.full((H, W), 10, np.uint8)
        y[H // 2 :] = 0
        top, left = int(rng.integers(H // 3, H // 2)), int(rng.integers(0, W - 16))
        y[top : top + 16, left : left + 6] = 11
        y[top : top + 10, left + 8 : left + 16] = 13
        return y

    def save(array: np.ndarray, *parts: str) -> None:
        path = folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)

    colors = rng.integers(30, 226, (19, 3))
    for i in range(n_a):
        y = labels()
        save(np.clip(colors[y] + rng.normal(0, 8, (H, W, 3)), 0, 255).astype(np.uint8), "trainA", f"a{i}.png")
        if single:
            save(y, "labelsA", f"a{i}.png")
        else:
            save(y, "labels_pred1", f"a{i}.png")
            save(np.roll(y, 1, axis=1), "labels_pred2", f"a{i}.png")
    heat = np.linspace(60, 200, 19)
    for i in range(n_b + 1):
        image = np.clip(heat[labels()] + rng.normal(0, 5, (H, W)), 0, 255).astype(np.uint8)
        save(image, "valB" if i == n_b else "trainB", f"b{i}.png")
    return folder
