"""A detector of persons and cars: for each pixel, whether an object's middle lies there and how far its sides are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ntir2dc.detector.average_precision import FrameBoxes, frame_boxes, overlaps
from ntir2dc.networks.segmenters import add_coordinates
from ntir2dc.networks.unet import ResidualUNet

CLASSES = ("person", "car")
WIDTHS = (20, 32, 60, 72)
REACH = 8.0
"""How far away a side is where the network says 0, in pixels."""

LOWEST, MOST, DOUBLES = 0.05, 100, 0.6


class Detector(nn.Module):
    """Middles and sides (as CenterNet and FCOS have them) on the trunk of a judge, at full size.

    Choice: full size, since persons on small pictures are a few pixels wide.

    Args:
        widths: of the trunk, see :class:`ntir2dc.networks.unet.ResidualUNet`.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.trunk = ResidualUNet(len(CLASSES) + 4, widths)

    def forward(self, x: Tensor, window: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map ``(B, 3, H, W)`` in [-1, 1], any H and W, to middles and sides.

        Args:
            x: images.
            window: where each was cut out of its frame, see :func:`ntir2dc.networks.segmenters.add_coordinates`.

        Returns:
            Logits of a middle ``(B, 2, H, W)``, and how far left, top, right and bottom side are from the center of the
            pixel, ``(B, 4, H, W)``, in pixels.
        """
        H, W = x.shape[-2:]
        out = self.trunk.classify(add_coordinates(x, window)).float()[..., :H, :W]
        middles, sides = out[:, : len(CLASSES)], out[:, len(CLASSES) :]
        return middles, REACH * sides.clamp(-5, 5).exp()


def corners_of(sides: Tensor) -> Tensor:
    """Return the corners that distances ``(..., 4, H, W)`` from every pixel give: left, top, right, bottom."""
    H, W = sides.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(H, device=sides.device) + 0.5, torch.arange(W, device=sides.device) + 0.5, indexing="ij"
    )
    left, top, right, bottom = sides.unbind(-3)
    return torch.stack((x - left, y - top, x + right, y + bottom), -3)


@torch.inference_mode()
def detect(detector: nn.Module, image: Tensor) -> FrameBoxes:
    """Return the persons (0) and cars (1) of an image ``(3, H, W)`` in [-1, 1].

    An object is a pixel whose score is the highest of its 3 x 3; of two of a class that overlap by 0.6 the surer stays.
    """
    device = next(detector.parameters()).device
    middles, sides = detector(image[None].to(device))
    scores = middles[0].sigmoid()
    peaks = torch.where(F.max_pool2d(scores, 3, 1, 1) == scores, scores, 0).flatten()
    best = peaks.topk(min(MOST, len(peaks)))
    kept = best.values > LOWEST
    H, W = scores.shape[-2:]
    places = best.indices[kept]
    corners = corners_of(sides[0]).flatten(1)[:, places % (H * W)].T
    limit = corners.new_tensor((W, H, W, H))
    found = frame_boxes(
        corners.clamp_min(0).minimum(limit).cpu().double().numpy(),
        (places // (H * W)).cpu().numpy(),
        best.values[kept].cpu().double().numpy(),
    )
    return _without_doubles(found)


def _without_doubles(found: FrameBoxes) -> FrameBoxes:
    """Leave out what overlaps a surer object of its class; the surest come first."""
    doubles = (overlaps(found.corners, found.corners, found.passed) > DOUBLES) & (
        found.classes[:, None] == found.classes[None]
    )
    kept: list[int] = []
    for index in range(len(found.scores)):
        if not doubles[index, kept].any():
            kept.append(index)
    return frame_boxes(found.corners[kept], found.classes[kept], found.scores[kept])
