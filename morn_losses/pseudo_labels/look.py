"""Color images in a random thermal look: what a night segmenter can learn from without translations.

Beyond the paper, and so not among the flat names of the package.

A class keeps its place, its outline and its texture, and loses its brightness, which is what differs most between the
domains. What is known of the night is kept: the sky is cold, people are warm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from morn_losses._checks import check_class_ids, check_image, check_integer, check_labels, check_unit_interval
from morn_losses._options import show_options, takes_options_of
from morn_losses._precision import promote
from morn_losses.label_spaces import LabelSpace

Ranges = Sequence[tuple[float, float]] | Tensor

ANY = (0.25, 0.85)
KNOWN: Mapping[str, tuple[float, float]] = {
    "sky": (0.05, 0.35),
    "person": (0.75, 1.0),
    "rider": (0.75, 1.0),
    "traffic light": (0.6, 0.95),
    "motorcycle": (0.55, 0.95),
}
"""Ranges of the gray values of classes, of 0 (black, cold) to 1 (white, warm)."""


def _check_ranges(ranges: Ranges) -> tuple[tuple[float, float], ...]:
    table = torch.as_tensor(ranges, dtype=torch.float64)
    if table.ndim != 2 or table.shape[1] != 2 or len(table) < 1:
        raise ValueError(f"ranges: expected a pair (low, high) for each class, got {tuple(table.shape)}")
    check_unit_interval(table, "ranges")
    wrong = ~(table[:, 0] <= table[:, 1])  # a NaN, too
    if bool(wrong.any()):
        raise ValueError(f"ranges: expected low <= high, got {tuple(table[wrong][0].tolist())}")
    return tuple((float(low), float(high)) for low, high in table)


def _mean_around(x: Tensor, radius: int) -> Tensor:
    """Return the mean of the square around each pixel of ``(B, H, W)``; borders repeat."""
    padded = F.pad(x[:, None], [radius] * 4, mode="replicate")
    return F.avg_pool2d(padded, 2 * radius + 1, 1)[:, 0]


@torch.no_grad()
def random_thermal_look(
    images: Tensor,
    labels: Tensor,
    ranges: Ranges,
    *,
    ignore_index: int = 255,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Color images as a thermal camera might have seen the same scene; each call draws another look.

    .. math:: t_u = v_{c(u)} + s_{c(u)} \, (g_u - \bar g_u)

    for each image anew: ``g`` is gray by a random mixture of the channels, and its mean over 17 x 17 pixels is taken
    off. The gray value ``v`` of a class lies at random in its range; its texture has a strength ``|s|`` in [0.3, 1] and
    in 2 of 5 cases the other sign. Then blur, contrast, brightness and noise, each of random strength.

    Args:
        images: color, ``(B, 3, H, W)`` in [-1, 1].
        labels: class ids of the images, integers ``(B, H, W)``; unlabeled pixels share one look in [0.25, 0.85].
        ranges: of the gray values, ``(low, high)`` in [0, 1] for each of the K classes, cold is 0.
        ignore_index: label of unlabeled pixels, none of the K.
        generator: of the draws, on the CPU, so that they do not depend on the device; None is torch's global one.

    Returns:
        ``(B, 3, H, W)`` in [-1, 1], three equal channels, of the dtype of ``images``; it carries no gradient.

    Raises:
        ValueError: shapes that differ, ranges outside [0, 1] or upside down, ``ignore_index`` of a class, an id that is
            none (eager CPU tensors only; elsewhere it counts as unlabeled).
        TypeError: images that are not floating-point, labels that are not integers.

    Example:
        >>> images, labels = torch.zeros(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long)
        >>> labels[:, 4:] = 1
        >>> draws = torch.Generator().manual_seed(0)
        >>> look = random_thermal_look(images, labels, [(0.0, 0.1), (0.9, 1.0)], generator=draws)
        >>> look.shape, bool(look[:, :, :3].max() < look[:, :, 5:].min())
        (torch.Size([1, 3, 8, 8]), True)

    Source: none; what it is worth is measured in docs/concepts/mining.md.
    """
    check_image(images, "images", channels=(3,))
    B, _, H, W = images.shape
    labels = check_labels(labels, "labels", (B, H, W))
    levels = (*_check_ranges(ranges), ANY)
    K, ignore_index = len(levels) - 1, check_integer(ignore_index, "ignore_index")
    if 0 <= ignore_index < K:
        raise ValueError(f"ignore_index: expected an id that none of the K = {K} classes has, got {ignore_index}")
    check_class_ids(labels, "labels", K, ignore_index)
    x = promote(images)
    classes = torch.where((labels >= 0) & (labels < K), labels, K).flatten(1)

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator).to(x)

    def of_class(values: Tensor) -> Tensor:
        return values.gather(1, classes).view(B, H, W)

    mixture = rand(B, 3, 1, 1)
    gray = ((x + 1) / 2 * mixture / mixture.sum(1, keepdim=True)).sum(1)
    low, high = torch.tensor(levels).to(x).unbind(1)
    value = low + (high - low) * rand(B, K + 1)
    strength = (0.3 + 0.7 * rand(B, K + 1)) * torch.where(rand(B, K + 1) < 0.4, -1.0, 1.0)
    look = of_class(value) + of_class(strength) * (gray - _mean_around(gray, 8))

    look = torch.lerp(look, _mean_around(look, 1), rand(B, 1, 1))
    noise = torch.randn(look.shape, generator=generator).to(x)
    look = look * (0.8 + 0.4 * rand(B, 1, 1)) + 0.2 * (rand(B, 1, 1) - 0.5) + 0.03 * rand(B, 1, 1) * noise
    return (2 * look.clamp(0, 1) - 1)[:, None].expand(-1, 3, -1, -1).to(images.dtype).contiguous()


@takes_options_of(random_thermal_look)
class RandomThermalLook(nn.Module):
    """Module of `random_thermal_look`; ``forward(images, labels, generator=None)``.

    Example:
        >>> from morn_losses import CITYSCAPES
        >>> look = RandomThermalLook.from_label_space(CITYSCAPES)
        >>> look(torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long)).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(self, ranges: Ranges, *, ignore_index: int = 255) -> None:
        super().__init__()
        self.ranges = _check_ranges(ranges)
        self.ignore_index = check_integer(ignore_index, "ignore_index")

    @classmethod
    def from_label_space(cls, space: LabelSpace, known: Mapping[str, tuple[float, float]] = KNOWN) -> RandomThermalLook:
        """Return the look for the classes of a space: ``known`` has ranges by name, of all others nothing is known."""
        return cls([known.get(name, ANY) for name in space.names], ignore_index=space.ignore_index)

    def forward(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the images in a thermal look; see `random_thermal_look`."""
        return random_thermal_look(images, labels, self.ranges, ignore_index=self.ignore_index, generator=generator)

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)
