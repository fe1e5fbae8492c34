"""The memory's look-up and the edge metric."""

from __future__ import annotations

import numpy as np
import torch

from morn_losses import MemoryBank, MemorySampler
from morn_losses.metrics import apce
from tests.benchmarks.harness import Row, Run, Settings, compare
from tests.benchmarks.kmeans_peers import optional

TITLE = "Memory and metrics"


def bank(entries: int, n_classes: int = 6, payload_size: int = 0) -> MemoryBank:
    """Return a full memory, whose payload is 0."""
    memory = MemoryBank(entries, n_classes, payload_size)
    generator = torch.Generator().manual_seed(0)
    payload = torch.zeros(entries, payload_size, dtype=torch.long) if payload_size else None
    memory.write(torch.arange(entries), torch.randn(entries, n_classes, generator=generator), payload)
    return memory


def scene(size: int, seed: int) -> np.ndarray:
    """Return a gray image with shapes and some noise, ``(size, size)``."""
    random = np.random.default_rng(seed)
    image = np.zeros((size, size))
    for _ in range(40):
        top, left = random.integers(0, size, 2)
        height, width = random.integers(4, max(size // 3, 5), 2)
        image[top : top + height, left : left + width] = random.random()
    return image + 0.02 * random.standard_normal((size, size))


def by_skimage(source: np.ndarray, translated: np.ndarray, thresholds: int) -> Run | None:
    """Run scikit-image's Canny anew for every threshold and image."""
    feature = optional("skimage.feature")
    if feature is None:
        return None

    def run() -> float:
        kept = []
        for j in range(1, thresholds + 1):
            high = j / (thresholds + 1)
            low_high = {"low_threshold": high / 2, "high_threshold": high}
            a, b = (feature.canny(x, sigma=2**0.5, **low_high) for x in (source, translated))
            if a.any():
                kept.append((a & b).sum() / a.sum())
        return float(np.mean(kept)) if kept else 0.0

    return run


def rows(settings: Settings) -> list[Row]:
    """Measure the look-up of one image at 100,000 entries, and APCE of a pair over 99 thresholds."""
    entries, size = (500, 32) if settings.tiny else (100_000, 256)
    memory = bank(entries).to(settings.device)
    sampler, query = MemorySampler(memory), torch.randn(1, 6).to(settings.device)

    def plain() -> int:
        similarity = torch.nn.functional.cosine_similarity(query, memory.descriptors)
        return int(similarity.topk(10).indices[torch.randint(10, ())])

    look_up = compare(
        f"look-up of one image among {entries:,} entries",
        {"morn_losses": lambda: sampler(query), "cosine_similarity + topk": plain},
        settings,
    )
    if settings.on_gpu:  # the metric runs on the CPU
        return [look_up]
    source, translated = scene(size, 0), scene(size, 1)
    thresholds = 9 if settings.tiny else 99
    once = Settings(min(settings.repeats, 3), settings.tiny)
    return [
        look_up,
        compare(
            f"APCE of a pair, {size} x {size}, {thresholds} thresholds",
            {
                "morn_losses": lambda: apce(source, translated, thresholds),
                f"{2 * thresholds} Canny calls of scikit-image": by_skimage(source, translated, thresholds),
            },
            once,
        ),
    ]
