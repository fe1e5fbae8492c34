"""Labels of night images for which there are none: a day segmenter, a night one trained beside the GAN, and mining."""

from __future__ import annotations

import argparse
import copy

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from crops import Crops
from morn_losses import (
    CITYSCAPES,
    LabelMiner,
    LabelSpace,
    OnlineSemanticDistillation,
    SegmentationLoss,
    SemanticDenoiser,
)
from ntir2dc.data.images import DataError
from ntir2dc.seeds import seeded

ACA_CLASSES: tuple[int | tuple[int, ...], ...] = (
    *CITYSCAPES.ids("traffic light", "traffic sign", "person", "motorcycle"),
    CITYSCAPES.ids("car", "truck", "bus", "train"),
)
"""What ACA looks at: the small-sample classes, with all vehicles as one class, as small segmenters mix them up."""


def _block(channels_in: int, channels: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1)
    return nn.Sequential(convolution, nn.GroupNorm(4, channels), nn.ReLU())


class Segmenter(nn.Module):
    """A small U-Net; any segmentation network of your own can take its place.

    The row is its fourth channel: sky is above and road below, which a small network cannot see from a crop alone.
    """

    def __init__(self, n_classes: int, width: int = 16) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(4)]
        self.down = nn.ModuleList(
            nn.Sequential(_block(before, after, stride), _block(after, after))
            for before, after, stride in zip([4, *widths], widths, (1, 2, 2, 2), strict=False)
        )
        self.up = nn.ModuleList(
            _block(deep + skip, skip) for deep, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(width, n_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)``, H and W multiples of 8, to logits ``(B, n_classes, H, W)``."""
        rows = torch.linspace(-1, 1, x.shape[2], device=x.device)[:, None].expand_as(x[:, :1])
        x = torch.cat((x, rows), 1)
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        skips.pop()
        for block in self.up:
            x = block(torch.cat((nn.functional.interpolate(x, scale_factor=2.0), skips.pop()), 1))
        logits: Tensor = self.head(x)
        return logits


def day_segmenter(options: argparse.Namespace) -> Segmenter:
    """Return the segmenter of day images, from the file ``options.segmenter`` or trained and kept there.

    It learns from the day images and their predicted labels, before the GAN and independently of it.
    """
    # apart from the global generator, so that a run is the same whether this trains or loads
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        segmenter = Segmenter(len(CITYSCAPES)).to(options.device)
    if options.segmenter.is_file():
        try:
            segmenter.load_state_dict(torch.load(options.segmenter, map_location=options.device, weights_only=True))
        except Exception as error:  # a file of anything else makes torch raise nearly anything
            raise DataError(f"{options.segmenter}: holds no weights of the day segmenter") from error
        return segmenter
    steps, batch = options.segmenter_steps, 4
    crops = Crops(options.data, steps * batch, crop=options.crop, seed=options.seed, labels=True)
    optimizer = torch.optim.AdamW(segmenter.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps + 1, pct_start=0.2)
    criterion = SegmentationLoss()
    for step, (real_a, labels_a, _) in enumerate(DataLoader(crops, batch, generator=seeded(options.seed)), start=1):
        loss = criterion(segmenter(real_a.to(options.device)), labels_a.to(options.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps:
            print(f"day segmenter: step {step}/{steps}, loss {loss.item():.3f}")
    options.segmenter.parent.mkdir(parents=True, exist_ok=True)
    torch.save(segmenter.state_dict(), options.segmenter)
    return segmenter


class MinedLabels(nn.Module):
    """Trains a night segmenter by one step and mines the labels of night images (section 3.3.3).

    It starts as a copy of the day segmenter and learns from translated day images ``fake_b`` with the labels of their
    source. A model that translates one way only has none: there it learns from what the day segmenter is sure of in
    ``fake_a``. Where both segmenters are sure of a class, it is the label. No gradient reaches the generators.

    Args:
        space: the label space.
        day: the day segmenter, any network that gives logits ``(B, K, H, W)``; it is left as it is.
        lr: learning rate of the night segmenter.
        foreground: mining threshold of foreground classes. The paper's 0.95 (0.99 for the others) needs segmenters
            that are trained for longer than a short run takes.
        background: mining threshold of the other classes.
    """

    def __init__(
        self, space: LabelSpace, day: nn.Module, *, lr: float = 5e-4, foreground: float = 0.5, background: float = 0.6
    ) -> None:
        super().__init__()
        self.day = copy.deepcopy(day).requires_grad_(False).eval()
        self.night = copy.deepcopy(day)
        self.optimizer = torch.optim.Adam(self.night.parameters(), lr=lr)
        self.criterion = SegmentationLoss()
        self.distill = OnlineSemanticDistillation(
            LabelMiner.from_label_space(space, foreground=foreground, background=background),
            SemanticDenoiser.thermal(space),
        )

    def forward(self, labels_a: Tensor, real_b: Tensor, fake_a: Tensor, fake_b: Tensor | None = None) -> Tensor:
        """Return labels of ``real_b``, and so of its translation ``fake_a``: int64 ``(B, h, w)``, 255 where unsure."""
        logits_a, logits_b = self.day(fake_a.detach()), self.night(real_b)
        labels_b: Tensor = self.distill(logits_b, logits_a, real_b)
        if fake_b is not None:
            loss = self.criterion(self.night(fake_b.detach()), labels_a)
        else:
            loss = self.criterion(logits_b, self.distill.miner(logits_a, logits_a))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return labels_b
