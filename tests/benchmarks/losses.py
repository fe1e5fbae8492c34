"""Losses, forward and backward, against loops in the manner of the published code; and the memory they take."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from pytorch_msssim import SSIM
from torch import Tensor

from morn_losses import CITYSCAPES, LabelMiner, OnlineSemanticDistillation, SemanticDenoiser
from morn_losses import functional as L
from studies.comparing.measuring import peak_memory
from tests.benchmarks import published
from tests.benchmarks.harness import Row, Run, Settings, compare

TITLE = "Losses, forward and backward"


def backward(loss: Callable[[], Tensor], *inputs: Tensor) -> Callable[[], None]:
    """Return a function that computes the loss and its gradients."""

    def run() -> None:
        loss().backward()  # type: ignore[no-untyped-call]
        # freed where it was made, so that the profiler counts both or neither
        for x in inputs:
            x.grad = None

    return run


def aca_inputs(
    batch: int, size: int, counts: tuple[int, ...], device: str = "cpu"
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return rectified noise as features and label maps that hold so many positions of classes 1, 2, ..."""
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(batch, 256, size, size, generator=generator).relu() for _ in range(2))
    maps = []
    for _ in range(2):
        labels = torch.zeros(batch, size * size, dtype=torch.int64)
        for row in labels:
            order = torch.randperm(size * size, generator=generator)
            row[order[: sum(counts)]] = torch.repeat_interleave(torch.arange(1, len(counts) + 1), torch.tensor(counts))
        maps.append(labels.view(batch, size, size).to(device))
    return real.to(device), fake.to(device).requires_grad_(), maps[0], maps[1]


def aca_rows(settings: Settings) -> list[Row]:
    """Measure ACA at batch 1 and 8; the published manner knows batch 1 alone."""
    size, counts = (8, (5, 12)) if settings.tiny else (64, (20, 80, 200, 400, 800))
    classes = tuple(range(1, len(counts) + 1))
    measured = []
    for batch in (1, 2) if settings.tiny else (1, 8):
        real, fake, labels_real, labels_fake = aca_inputs(batch, size, counts, settings.device)

        def ours(real: Tensor = real, fake: Tensor = fake, a: Tensor = labels_real, b: Tensor = labels_fake) -> Tensor:
            value = L.aca_loss(real, fake, a, b, classes, metric="cosine", init="random", average="present")
            assert isinstance(value, Tensor)
            return value

        def loop(real: Tensor = real, fake: Tensor = fake, a: Tensor = labels_real, b: Tensor = labels_fake) -> Tensor:
            return torch.stack(
                [published.aca(real[i : i + 1], fake[i : i + 1], a[i : i + 1], b[i : i + 1], classes)
                 for i in range(len(real))]
            ).mean()  # fmt: skip

        measured.append(
            compare(
                f"ACA, batch {batch}, 256 x {size} x {size}, {len(counts)} classes of {counts[0]} to {counts[-1]}",
                {"morn_losses": backward(ours, fake), "published manner": backward(loop, fake)},
                settings,
                f"peak memory {peak_memory(backward(ours, fake), settings.device) / real.nbytes / 2:.1f} "
                "of both feature maps",
            )
        )
    return measured


def blocks(classes: tuple[int, ...], size: int, generator: torch.Generator) -> Tensor:
    """Return a label map of blocks, ``(1, size, size)``."""
    ids = torch.tensor(classes)[torch.randint(len(classes), (1, 1, 8, 8), generator=generator)]
    return F.interpolate(ids.float(), size=size, mode="nearest")[:, 0].long()


def rows(settings: Settings) -> list[Row]:
    """Measure every loss at 256 x 256, batch 1."""
    measured = aca_rows(settings)
    size = 32 if settings.tiny else 256
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.rand(1, 3, size, size, generator=generator) * 2 - 1 for _ in range(2))
    real, fake = real.to(settings.device), fake.to(settings.device).requires_grad_()
    edges = (torch.rand(1, size, size, generator=generator) > 0.9).float().to(settings.device)
    labels = blocks((*range(19), 255), size, generator).to(settings.device)
    logits = torch.randn(1, 19, size, size, generator=generator).to(settings.device).requires_grad_()
    sure = [
        (12.0 * F.one_hot(blocks((0, 2, 5, 8, 10, 11, 13), size, generator), 19).movedim(3, 1)
         + torch.randn(1, 19, size, size, generator=generator)) for _ in range(2)
    ]  # fmt: skip
    distill = OnlineSemanticDistillation(LabelMiner.from_label_space(CITYSCAPES), SemanticDenoiser.thermal(CITYSCAPES))
    sure = [logits_sure.to(settings.device).contiguous() for logits_sure in sure]
    ssim = SSIM(data_range=1, win_size=3, channel=3).to(settings.device)

    def background() -> Tensor:
        return CITYSCAPES.mask(labels, CITYSCAPES.stuff) | (labels == 255)

    def reconstruction_by_hand() -> Tensor:
        similarity: Tensor = ssim((fake + 1) / 2, (real + 1) / 2)
        return 10 * F.smooth_l1_loss(fake, real) + 1 - similarity

    cases: list[tuple[str, Callable[[], Tensor], Callable[[], Tensor], Tensor, str]] = [
        ("CGR", lambda: L.cgr_loss(real, fake, background(), padding_mode="zeros"),
         lambda: published.cgr(real, fake, labels), fake, "published manner"),
        ("SGA, all patches", lambda: L.sga_loss(fake, edges, padding_mode="zeros"),
         lambda: published.sga(fake, edges), fake, "published manner"),
        ("boundary loss, 19 classes", lambda: L.boundary_loss(logits, labels),
         lambda: published.boundary(logits, labels), logits, "published manner"),
        ("class-balanced cross-entropy", lambda: L.class_balanced_cross_entropy(logits, labels),
         lambda: published.cross_entropy(logits, labels), logits, "published manner"),
        ("smooth L1 + SSIM", lambda: L.reconstruction_loss(fake, real), reconstruction_by_hand, fake,
         "pytorch-msssim + smooth_l1_loss"),
    ]  # fmt: skip
    for name, ours, theirs, x, peer in cases:
        memory = peak_memory(backward(ours, x), settings.device) / x.nbytes
        runs: dict[str, Run | None] = {"morn_losses": backward(ours, x), peer: backward(theirs, x)}
        if settings.on_gpu and settings.compiled:
            runs["morn_losses, compiled"] = backward(torch.compile(ours), x)
        measured.append(compare(f"{name}, {size} x {size}", runs, settings, f"peak memory {memory:.1f} of the input"))
    measured.append(
        compare(
            f"label mining and denoising, {size} x {size}",
            {
                "morn_losses": lambda: distill(sure[0], sure[1], real),
                "published manner": lambda: published.mine_and_denoise(sure[0], sure[1], real),
            },
            settings,
            "forward alone: it has no gradient",
        )
    )
    return measured
