"""Online semantic distillation (section 3.3.3): label mining, then semantic denoising."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from morn_losses._checks import check_image, check_shape
from morn_losses.pseudo_labels.denoise import SemanticDenoiser
from morn_losses.pseudo_labels.mine import LabelMiner


class OnlineSemanticDistillation(nn.Module):
    """Online semantic distillation: what both segmenters are sure of, denoised by the temperatures of the classes.

    Args:
        miner: turns the two logits into coarse labels, `morn_losses.LabelMiner`.
        denoiser: refines them by the image, `morn_losses.SemanticDenoiser`.

    Raises:
        ValueError: the two do not have one ``ignore_index``.
        TypeError: one of them is no such module.

    Example:
        >>> distill = OnlineSemanticDistillation(LabelMiner((0.9, 0.9)), SemanticDenoiser([(0, (1,))]))
        >>> logits = torch.tensor([5.0, 5.0, 5.0, 5.0, -5.0, -5.0, 0.0]).view(1, 1, 1, 7)
        >>> logits = torch.cat((logits, -logits), 1)
        >>> distill(logits, logits, torch.tensor([0.0, 0.0, 0.1, 0.9, 1.0, 1.0, 0.0]).view(1, 1, 1, 7))
        tensor([[[  0,   0,   0, 255,   1,   1, 255]]])

    Source: section 3.3.3.
    """

    def __init__(self, miner: LabelMiner, denoiser: SemanticDenoiser) -> None:
        super().__init__()
        for part, name, kind in ((miner, "miner", "LabelMiner"), (denoiser, "denoiser", "SemanticDenoiser")):
            # by what it holds: a compiled module is of another class
            if not isinstance(part, nn.Module) or not hasattr(part, "ignore_index"):
                raise TypeError(f"{name}: expected a {kind}, got {type(part).__name__}")
        if miner.ignore_index != denoiser.ignore_index:
            raise ValueError(
                f"denoiser: expected the miner's ignore_index = {miner.ignore_index}, got {denoiser.ignore_index}"
            )
        self.miner = miner
        self.denoiser = denoiser

    @torch.no_grad()
    def forward(self, logits_real: Tensor, logits_translated: Tensor, image: Tensor) -> Tensor:
        """Return labels int64 ``(B, H, W)``.

        Args:
            logits_real: of the thermal segmenter on ``image``, ``(B, K, H, W)`` of its size.
            logits_translated: of the daytime segmenter on the translation of ``image``, same shape.
            image: thermal image ``(B, C, H, W)``, C = 1 or 3.
        """
        check_image(image, "image")
        check_image(logits_real, "logits_real", channels=None)
        B, K, H, W = (len(image), logits_real.shape[1], *image.shape[2:])
        check_shape(logits_real, "logits_real", "(B, K, H, W) of the image's size", (B, K, H, W))
        labels: Tensor = self.denoiser(self.miner(logits_real, logits_translated), image)
        return labels
