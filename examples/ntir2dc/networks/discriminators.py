"""The discriminator of a domain, three patch discriminators, and the pool of earlier fakes that it sees."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from morn_losses.image import central_differences, to_gray
from ntir2dc.networks.blocks import check_images

Norm = Literal["spectral", "instance", "none"]


def scale_weights(n: int) -> tuple[float, ...]:
    """Weights of a discriminator's ``n`` maps as published: 1, 2, ..., n, the last raised by one.

    Example:
        >>> scale_weights(4)
        (1.0, 2.0, 3.0, 5.0)
    """
    if n < 1:
        raise ValueError(f"n: expected at least 1, got {n}")
    return (*(float(i) for i in range(1, n)), float(n + 1))


def flat_kernel() -> Tensor:
    """Return the blur's kernel ``(5, 5)``: what scipy's Gaussian of sigma 3, which mirrors, makes of a single point."""
    point = np.zeros((5, 5))
    point[2, 2] = 1
    return torch.from_numpy(ndimage.gaussian_filter(point, 3.0)).float()


class ScaleDiscriminator(nn.Module):
    """Convolutions of stride 2 with a prediction at each scale, and two of stride 1 for a last one.

    Every stride-2 layer after the first has one channel more than its width: after the activation this last channel is
    the prediction of its scale, and the others go on. With the last convolution's there are as many maps, from fine to
    coarse, as stride-2 layers. All convolutions are 4x4, padded with two zeros: no image is too small for them.
    """

    def __init__(self, in_channels: int, width: int, n_layers: int, norm: Norm) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int, stride: int) -> nn.Module:
            layer = nn.Conv2d(inputs, outputs, 4, stride=stride, padding=2)
            return parametrizations.spectral_norm(layer) if norm == "spectral" else layer

        def block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
            norms = [nn.InstanceNorm2d(outputs)] if norm == "instance" else []
            return nn.Sequential(conv(inputs, outputs, stride), *norms, nn.PReLU())

        widths = [width * min(2**i, 8) for i in range(n_layers + 1)]
        self.first = nn.Sequential(conv(in_channels, width, stride=2), nn.PReLU())
        self.scales = nn.ModuleList(block(widths[i - 1], widths[i] + 1, stride=2) for i in range(1, n_layers))
        self.last = nn.Sequential(block(widths[-2], widths[-1], stride=1), conv(widths[-1], 1, stride=1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps ``(B, 1, h, w)``, fine to coarse."""
        maps: list[Tensor] = []
        x = self.first(x)
        for scale in self.scales:
            x, prediction = scale(x).tensor_split([-1], 1)
            maps.append(prediction)
        maps.append(self.last(x))
        return maps


class Discriminator(nn.Module):
    """Three patch discriminators, for :class:`morn_losses.RelativisticLSGANLoss`: those of ToDayGAN and its kin.

    They look at the image after a nearly flat 5x5 blur with zeros around it, at its gray version, and at the two
    central differences, without a border, of the gray image's every second pixel. Images are at least 8 x 8.

    Args:
        width: channels of the first layer, doubled by each layer up to eight times.
        n_layers: stride-2 layers, and thereby maps, of the three.
        views: ``three``, or ``color``: a single patch discriminator (the first) on the image as it is.
        norm: ``spectral``, of every convolution: a forward pass in training mode moves its power iteration on by a
            step, and the buffers are part of the state dict. ``instance`` (ToDayGAN), after every convolution but the
            first and the last, predictions included: at all scales but the coarsest they compare places, as each map
            has mean 0 before its activation. Or ``none``.
    """

    kernel: Tensor

    def __init__(
        self,
        width: int = 64,
        n_layers: tuple[int, int, int] = (4, 4, 3),
        *,
        views: Literal["three", "color"] = "three",
        norm: Norm = "spectral",
    ) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width: expected at least 1, got {width}")
        if len(n_layers) != 3 or min(n_layers) < 1:
            raise ValueError(f"n_layers: expected three numbers of at least 1, got {n_layers}")
        if norm not in get_args(Norm):
            raise ValueError(f"norm: expected one of {', '.join(get_args(Norm))}, got {norm!r}")
        self.views = views
        self.color = ScaleDiscriminator(3, width, n_layers[0], norm)
        if views == "color":
            return
        self.gray = ScaleDiscriminator(1, width, n_layers[1], norm)
        self.gradient = ScaleDiscriminator(2, width, n_layers[2], norm)
        self.register_buffer("kernel", flat_kernel().expand(3, 1, 5, 5).clone(), persistent=False)

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Return the maps of the three discriminators (or the one), each ``(B, 1, h, w)`` from fine to coarse.

        Args:
            x: ``(B, 3, H, W)``, H and W at least 8.
        """
        check_images(x, 3, multiple=1)
        # under autocast too: spectral norm iterates on its weights, and relativistic scores are small differences
        with torch.autocast(x.device.type, enabled=False):
            if self.views == "color":
                return [self.color(x)]
            blurred = F.conv2d(x, self.kernel, padding=2, groups=3)
            gray = to_gray(x).to(x.dtype)
            differences = torch.cat(central_differences(gray[..., ::2, ::2], "replicate"), 1)[..., 1:-1, 1:-1]
            return [self.color(blurred), self.gray(gray), self.gradient(differences)]


class ImagePool:
    """History of generated images, which keeps a discriminator from forgetting (Shrivastava et al., CVPR 2017).

    While it fills, an image is stored and returned. Once full, an image is returned as it is or, with probability 1/2,
    takes the place of a random stored one, which is returned instead.

    Args:
        capacity: number of images; 0 passes everything through.
    """

    def __init__(self, capacity: int = 50) -> None:
        if capacity < 0:
            raise ValueError(f"capacity: expected at least 0, got {capacity}")
        self.capacity = capacity
        self.images: list[Tensor] = []

    def __len__(self) -> int:
        return len(self.images)

    def query(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return ``(B, C, H, W)`` detached images, each a new or a stored one.

        Args:
            images: ``(B, C, H, W)``, of the size of the stored ones.
            generator: source of the draws, None is torch's global one.
        """
        if images.ndim != 4:
            raise ValueError(f"images: expected (B, C, H, W), got {tuple(images.shape)}")
        if self.images and self.images[0].shape != images.shape[1:]:
            expected = (images.shape[0], *self.images[0].shape)
            raise ValueError(f"images: expected the stored size {expected}, got {tuple(images.shape)}")
        images = images.detach()
        if self.capacity == 0:
            return images.clone()
        device = generator.device if generator is not None else "cpu"
        chosen: list[Tensor] = []
        for image in images:
            if len(self.images) < self.capacity:
                self.images.append(image.clone())
                chosen.append(image)
            elif torch.rand((), generator=generator, device=device) < 0.5:
                place = int(torch.randint(self.capacity, (), generator=generator, device=device))
                chosen.append(self.images[place].to(image))
                self.images[place] = image.clone()
            else:
                chosen.append(image)
        return torch.stack(chosen)

    def state_dict(self) -> dict[str, Any]:
        """Return the capacity and the stored images."""
        return {"capacity": self.capacity, "images": [image.clone() for image in self.images]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, for a pool of the same capacity."""
        if state["capacity"] != self.capacity:
            raise ValueError(f"state: expected a pool of capacity {self.capacity}, got {state['capacity']}")
        self.images = [image.clone() for image in state["images"]]
