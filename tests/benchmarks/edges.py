"""The edge metric against OpenCV."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from morn_losses.functional import to_gray
from morn_losses.metrics import apce
from scenes import render_scene
from tests.benchmarks.harness import Row, Run, Settings, compare
from tests.benchmarks.kmeans_peers import optional

TITLE = "Edge metric"


def scene(size: int, seed: int) -> NDArray[np.float64]:
    """Return a gray image with shapes and some noise, ``(size, size)``."""
    random = np.random.default_rng(seed)
    image = np.zeros((size, size))
    for _ in range(40):
        top, left = random.integers(0, size, 2)
        height, width = random.integers(4, max(size // 3, 5), 2)
        image[top : top + height, left : left + width] = random.random()
    return image + 0.02 * random.standard_normal((size, size))


def by_opencv(
    source: NDArray[np.float64], translated: NDArray[np.float64], thresholds: int
) -> Callable[[], float] | None:
    """Run OpenCV's Canny for every threshold and image, on derivatives that are made once for each image.

    They are those of the library: of the image smoothed by the same Gaussian, in 16 bits, which is what it takes.
    """
    cv2 = optional("cv2")
    if cv2 is None:
        return None
    cv2.setNumThreads(torch.get_num_threads())

    def derivatives(image: NDArray[np.float64]) -> tuple[Any, Any, float]:
        smooth = cv2.GaussianBlur(image, (13, 13), 2**0.5, borderType=cv2.BORDER_REPLICATE)
        dx, dy = (cv2.Sobel(smooth, cv2.CV_64F, *d, ksize=1, borderType=cv2.BORDER_REPLICATE) for d in ((1, 0), (0, 1)))
        peak = cv2.magnitude(dx, dy).max()
        dx, dy = (cv2.multiply(d, 10_000 / peak, dtype=cv2.CV_16S) for d in (dx, dy))
        return dx, dy, 10_000.0

    def run() -> float:
        one, other = derivatives(source), derivatives(translated)
        kept = []
        for j in range(1, thresholds + 1):
            high = j / (thresholds + 1)
            a, b = (cv2.Canny(dx, dy, high / 2 * peak, high * peak, L2gradient=True) for dx, dy, peak in (one, other))
            if edges := cv2.countNonZero(a):
                kept.append(cv2.countNonZero(cv2.bitwise_and(a, b)) / edges)
        return float(np.mean(kept)) if kept else 0.0

    return run


def street(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a procedural street by night and by day, gray, ``(size, size)``."""
    scene_pair = render_scene(0, 5, (size, size))
    color = torch.from_numpy(scene_pair.color.copy()).permute(2, 0, 1)[None].double()
    return scene_pair.thermal.astype(np.float64), to_gray(color)[0, 0].numpy()


def rows(settings: Settings) -> list[Row]:
    """Measure APCE of a pair of noisy shapes and of a street, and on a GPU of a batch there."""
    size, thresholds = (48, 9) if settings.tiny else (256, 99)
    what = f"{size} x {size}, {thresholds} thresholds"
    measured = []
    for name, (source, translated) in {
        "noisy shapes": (scene(size, 0), scene(size, 1)),
        "a street by night and day": street(size),
    }.items():
        peer = by_opencv(source, translated, thresholds)
        ours = partial(apce, source, translated, thresholds)
        value = f"value {ours().value:.4f}" + ("" if peer is None else f", OpenCV's {peer():.4f}")
        runs: dict[str, Run | None] = {"morn_losses": ours, f"{2 * thresholds} Canny calls of OpenCV": peer}
        measured.append(compare(f"APCE of a pair, {what}: {name}", runs, settings, value))
    if settings.on_gpu:
        batch = 4 if settings.tiny else 32
        images = np.stack([scene(size, i) for i in range(2 * batch)])[:, None]
        a, b = torch.from_numpy(images).chunk(2)
        there_a, there_b = a.to(settings.device), b.to(settings.device)
        runs = {
            "morn_losses, on the device": partial(apce, there_a, there_b, thresholds),
            "morn_losses, on the CPU": partial(apce, a, b, thresholds),
        }
        measured.append(compare(f"APCE of {batch} pairs, {what}", runs, settings))
    return measured
