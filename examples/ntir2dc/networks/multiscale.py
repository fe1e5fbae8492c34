"""The discriminator of UNIT and DRIT++: the same patch discriminator three times, on ever smaller images."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ntir2dc.networks.blocks import ReflectionPad, check_images


class PlainPatches(nn.Sequential):
    """Four reflecting 4x4 convolutions of stride 2 without norms, and a 1x1 one; 2,757,057 parameters at width 64.

    Args:
        width: channels of the first layer, doubled by each of the next three.
        slope: of the leaky ReLUs.
    """

    def __init__(self, width: int, slope: float) -> None:
        widths = [3, *(width * 2**i for i in range(4))]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [ReflectionPad(1), nn.Conv2d(inputs, outputs, 4, stride=2), nn.LeakyReLU(slope)]
        super().__init__(*layers, nn.Conv2d(widths[-1], 1, 1))


class MultiScaleDiscriminator(nn.Module):
    """Patch discriminators on the image, on half of it and on a quarter; 8,271,171 parameters at width 64.

    Args:
        width: channels of the first layer of each.
        slope: of the leaky ReLUs: 0.2 in UNIT, 0.01 in DRIT++.
    """

    # reflection by one needs two pixels after three halvings of the quarter
    minimum_size = 64

    def __init__(self, width: int = 64, slope: float = 0.2) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width: expected at least 1, got {width}")
        self.scales = nn.ModuleList(PlainPatches(width, slope) for _ in range(3))

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Return the one map of each of the three, ``(B, 1, H / 16, W / 16)`` for the finest.

        Args:
            x: ``(B, 3, H, W)``, H and W at least 64.
        """
        check_images(x, 3, minimum=self.minimum_size, multiple=1)
        maps: list[list[Tensor]] = []
        # under autocast too, as every discriminator: scores stay in full precision
        with torch.autocast(x.device.type, enabled=False):
            for scale in self.scales:
                maps.append([scale(x)])
                x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        return maps
