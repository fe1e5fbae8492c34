"""How the cost grows as the work doubles."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from PIL import Image

from morn_losses import MemorySampler
from morn_losses.functional import aca_loss, kmeans
from morn_losses.metrics import apce
from studies.cards.plots import Line, beside, line_plot
from tests.benchmarks.edges import scene
from tests.benchmarks.harness import Run, Settings, compare, number
from tests.benchmarks.lookups import bank
from tests.benchmarks.losses import aca_inputs, backward

TITLE = "Scaling"


def _kmeans(device: str, problems: int, n: int, k: int) -> Run:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(problems, n, 64, generator=generator).to(device)
    # a fixed number of iterations, so that the work is what grows
    return lambda: kmeans(points, k, init=points[:, :k], max_iter=5, tol=0)


def _aca(device: str, batch: int, size: int) -> Run:
    share = size * size // 64
    real, fake, a, b = aca_inputs(batch, size, (share, 4 * share, 16 * share), device)
    start = torch.randn(batch, 3, 4, 256).to(device)

    def loss() -> torch.Tensor:
        value = aca_loss(real, fake, a, b, (1, 2, 3), init=start, max_iter=5, tol=0)
        assert isinstance(value, torch.Tensor)
        return value

    return backward(loss, fake)


def _lookup(device: str, entries: int) -> Run:
    sampler, query = MemorySampler(bank(entries).to(device)), torch.randn(1, 6).to(device)
    return lambda: sampler(query)


def _apce(size: int, thresholds: int) -> Run:
    a, b = scene(size, 0), scene(size, 1)
    return lambda: apce(a, b, thresholds)


def curves(settings: Settings) -> dict[str, list[tuple[int, float]]]:
    """Return, for each axis, the size and the median milliseconds at it."""
    device = settings.device
    axes: dict[str, tuple[Callable[[int], Run], list[int]]] = {
        "k-means: problems B (N 1000, K 4)": (lambda b: _kmeans(device, b, 1000, 4), [1, 2, 4, 8, 16, 32]),
        "k-means: points N (B 4, K 4)": (lambda n: _kmeans(device, 4, n, 4), [250, 500, 1000, 2000, 4000, 8000]),
        "k-means: clusters K (B 4, N 1000)": (lambda k: _kmeans(device, 4, 1000, k), [2, 4, 8, 16, 32, 64]),
        "ACA: batch B (256 x 32 x 32)": (lambda b: _aca(device, b, 32), [1, 2, 4, 8]),
        "ACA: positions h x w (batch 1)": (lambda p: _aca(device, 1, round(p**0.5)), [256, 1024, 4096]),
        "memory: entries": (lambda n: _lookup(device, n), [12_500, 25_000, 50_000, 100_000, 200_000]),
        "APCE: pixels (99 thresholds)": (lambda p: _apce(round(p**0.5), 99), [4096, 16384, 65536]),
        "APCE: thresholds (128 x 128)": (lambda t: _apce(128, t), [12, 25, 50, 99, 198]),
    }
    fewer = Settings(min(settings.repeats, 5), settings.tiny, device=device)
    points = {}
    for name, (make, sizes) in axes.items():
        if settings.on_gpu and name.startswith("APCE"):  # runs on the CPU
            continue
        if settings.tiny:
            sizes = sizes[:1]
        points[name] = [(n, compare(name, {"morn_losses": make(n)}, fewer).timings[0].median) for n in sizes]
    return points


def picture(seconds: dict[str, list[tuple[int, float]]]) -> Image.Image:
    """Draw how the cost of a unit of work changes as the work grows; a line that never rises is at most linear."""
    lines: dict[str, Line] = {}
    for name, points in seconds.items():
        n0, t0 = points[0]
        # where a size is not exactly twice the one before, it is drawn as if it were
        doublings = [2.0 ** round(math.log2(n / n0)) for n, _ in points]
        lines[name] = doublings, [t / t0 / (n / n0) for n, t in points]
    groups = [
        [name for name in lines if name.startswith(starts)] for starts in (("k-means", "ACA"), ("memory", "APCE"))
    ]
    return beside(
        [
            line_plot(
                {name: lines[name] for name in group}, "size, times the smallest", "time by size, smallest size: 1",
                size=(440, 300), log_x=True,
            )
            for group in groups
        ]
    )  # fmt: skip


def table(seconds: dict[str, list[tuple[int, float]]], title: str = TITLE) -> str:
    """Return a Markdown table: sizes, milliseconds, and the exponent of the growth over the last half of the sizes."""
    lines = [f"### {title}", "", "| axis | size: ms | grows as size^ |", "|---|---|---:|"]
    for name, points in seconds.items():
        (n0, t0), (n1, t1) = points[len(points) // 2 - 1] if len(points) > 1 else points[0], points[-1]
        power = f"{torch.tensor(t1 / t0).log() / torch.tensor(n1 / n0).log():.2f}" if n1 > n0 else "-"
        lines.append(f"| {name} | {', '.join(f'{n}: {number(t)}' for n, t in points)} | {power} |")
    return "\n".join([*lines, ""])
