"""Initial weights, independent of the global random state and of the device."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from ntir2dc.networks.blocks import LayerNorm


def init_weights(module: nn.Module, gain: float | Literal["he"] = 0.02, *, generator: torch.Generator) -> None:
    """Draw the weights of all (transposed) convolutions from N(0, gain) and set their biases to 0, in place.

    Spectral norm: the weight under the parametrization is drawn, and the vectors of its power iteration as well, moved
    on by 15 iterations as when torch makes them. The gains of UNIT's layer norm are drawn from [0, 1). Slopes, other
    norms and everything else keep their constant starting values.

    Args:
        module: any module.
        gain: standard deviation; ``"he"`` is the root of 2 over the number of inputs (He et al., 2015).
        generator: source of all draws; one on the CPU gives the same weights on every device.
    """

    def normal(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, device=generator.device).to(like)

    def weights(like: Tensor) -> Tensor:
        return (math.sqrt(2 / like[0].numel()) if gain == "he" else gain) * normal(like)

    if any(parameter.is_meta for parameter in module.parameters()):
        return  # which holds no numbers
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, LayerNorm):
                layer.gain.copy_(torch.rand(layer.gain.shape, generator=generator, device=generator.device))
            if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                continue
            if layer.bias is not None:
                layer.bias.zero_()
            if not parametrize.is_parametrized(layer, "weight"):
                layer.weight.copy_(weights(layer.weight))
                continue
            parametrization = layer.get_submodule("parametrizations.weight")
            weight = parametrization.get_parameter("original")
            weight.copy_(weights(weight))
            u, v = parametrization.get_buffer("0._u"), parametrization.get_buffer("0._v")
            u.copy_(normal(u))
            for _ in range(15):
                v.copy_(F.normalize(weight.flatten(1).T @ u, dim=0))
                u.copy_(F.normalize(weight.flatten(1) @ v, dim=0))
