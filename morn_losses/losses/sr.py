"""Scale robustness (section 3.6): the translation of a resized image is the resized translation."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morn_losses._checks import check_bool, check_generator, check_image, check_number, check_shape
from morn_losses._options import show_options
from morn_losses._precision import promote
from morn_losses._reduction import Reduction, check_reduction, reduce
from morn_losses.losses.reconstruction import check_distance_options, image_distance


def _check_options(
    weight_l1: float,
    weight_ssim: float,
    window_size: int,
    value_range: tuple[float, float],
    detach_target: bool,
    reduction: str,
) -> tuple[float, float, int, tuple[float, float]]:
    """Check the options; return the numbers."""
    numbers = check_distance_options(weight_l1, weight_ssim, window_size, value_range)
    check_bool(detach_target, "detach_target")
    check_reduction(reduction)
    return numbers


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def sr_loss(
    output: Tensor,
    scaled_output: Tensor,
    *,
    weight_l1: float = 10.0,
    weight_ssim: float = 1.0,
    window_size: int = 3,
    value_range: tuple[float, float] = (-1.0, 1.0),
    detach_target: bool = True,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Scale robustness, Eq. 20-21: the distance between a translation and that of the resized input.

    .. math::
        \mathcal{L}_{sr}^{\alpha} &= \lambda_{sl1} \mathcal{L}_{sl1}(O^{\alpha}, O \downarrow_{\alpha})
            + \mathcal{L}_{ssim}(O^{\alpha}, O \downarrow_{\alpha}) \\
        \mathcal{L}_{sr}^{\beta} &= \lambda_{sl1} \mathcal{L}_{sl1}(O^{\beta} \downarrow_{1/\beta}, O)
            + \mathcal{L}_{ssim}(O^{\beta} \downarrow_{1/\beta}, O)

    where ``O`` is ``output``, ``O^alpha`` or ``O^beta`` is ``scaled_output``, the smooth L1 distance
    is taken on the values as given and ``L_ssim = 1 - SSIM`` on the images mapped to [0, 1].
    The sizes tell which equation it is: the larger image is resized (bilinear, without antialiasing) to the smaller.

    The window of the SSIM is float32's, also for float64 images: their SSIM is accurate to about 1e-7.

    Choice: the weights, the window and the detached target are the published code's, since the paper gives none.

    Args:
        output: the translation of the image ``(B, C, H, W)``, C = 1 or 3, in ``value_range``; the target.
        scaled_output: the translation of the resized image ``(B, C, h, w)``.
        weight_l1: weight of the smooth L1 distance, at least 0; a term of weight 0 is not computed.
        weight_ssim: weight of ``1 - SSIM``, at least 0.
        window_size: side of the SSIM window, odd, at least 3.
        value_range: ``(low, high)`` of both images.
        detach_target: whether ``output`` carries no grad.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A value of at least 0 per sample; ``(B,)`` for ``reduction="none"``.

    Raises:
        ValueError: B or C that differ, sizes of which one is taller and the other wider, images smaller than the
            window where SSIM is computed, options out of range.
        TypeError: an image that is not floating-point.

    Example:
        >>> large, small = torch.ones(1, 1, 8, 8), torch.ones(1, 1, 4, 4)
        >>> sr_loss(large, small)
        tensor(0.)
        >>> sr_loss(large, -small).round(decimals=4)  # 10 * (2 - 1 / 2) + 1 - 0.01^2 / (1 + 0.01^2)
        tensor(15.9999)

    Source: Eq. 20-21, section 3.6.
    """
    check_image(output, "output")
    check_image(scaled_output, "scaled_output")
    B, C, H, W = output.shape
    h, w = scaled_output.shape[-2:]
    check_shape(scaled_output, "scaled_output", "(B, C, h, w)", (B, C, h, w))
    weight_l1, weight_ssim, window_size, value_range = _check_options(
        weight_l1, weight_ssim, window_size, value_range, detach_target, reduction
    )
    if (h < H and w > W) or (h > H and w < W):
        raise ValueError(f"scaled_output: expected (h, w) within or around (H, W) = ({H}, {W}), got ({h}, {w})")
    target = promote(output.detach() if detach_target else output)
    scaled = promote(scaled_output)
    if h < H or w < W:
        target = _resize(target, (h, w))
    elif h > H or w > W:
        scaled = _resize(scaled, (H, W))
    per_sample = image_distance(
        scaled,
        target,
        distance="smooth_l1",
        weight_l1=weight_l1,
        weight_ssim=weight_ssim,
        window_size=window_size,
        value_range=value_range,
        name="the smaller of output and scaled_output",
    )
    return reduce(per_sample, reduction)


class SRLoss(nn.Module):
    r"""Scale robustness with its draw of the scale, Eq. 22; around `morn_losses.functional.sr_loss`.

    .. math:: \mathcal{L}_{sr} = \mathbb{I}\{\psi < 0.5\} \mathcal{L}_{sr}^{\alpha}
                               + \mathbb{I}\{\psi \ge 0.5\} \mathcal{L}_{sr}^{\beta}, \qquad \psi \sim U[0, 1)

    Unlike the other modules it runs the translation itself: ``forward(translate, x, output=None, scale=None,
    generator=None)``. A new psi is drawn each call; to vary it with the epoch only, as the paper says, draw once an
    epoch and pass ``scale``.

    Only with ``scale`` given does ``forward`` compile with ``torch.compile(fullgraph=True)``: psi is drawn on the
    host, which has to read it to know the size.

    Args:
        alpha: the factor below 1, in (0, 1].
        beta: the factor above 1, at least 1.
        weight_l1: weight of the smooth L1 distance, at least 0.
        weight_ssim: weight of ``1 - SSIM``, at least 0.
        window_size: side of the SSIM window, odd, at least 3.
        value_range: ``(low, high)`` of the translations.
        detach_target: whether the translation at the original size carries no grad.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> criterion = SRLoss()
        >>> criterion(torch.tanh, torch.full((1, 3, 16, 16), 0.5), scale=0.5)  # a translation that ignores scale
        tensor(0.)

    Source: Eq. 22, section 3.6.
    """

    def __init__(
        self,
        *,
        alpha: float = 0.5,
        beta: float = 1.5,
        weight_l1: float = 10.0,
        weight_ssim: float = 1.0,
        window_size: int = 3,
        value_range: tuple[float, float] = (-1.0, 1.0),
        detach_target: bool = True,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.alpha = check_number(alpha, "alpha", minimum=0, maximum=1, exclusive=True)
        self.beta = check_number(beta, "beta", minimum=1)
        numbers = _check_options(weight_l1, weight_ssim, window_size, value_range, detach_target, reduction)
        self.weight_l1, self.weight_ssim, self.window_size, self.value_range = numbers
        self.detach_target = detach_target
        self.reduction: Reduction = reduction

    def forward(
        self,
        translate: Callable[[Tensor], Tensor],
        x: Tensor,
        output: Tensor | None = None,
        scale: float | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the loss of ``translate`` on ``x`` at one other scale.

        Args:
            translate: the translation, for example the generator; takes and returns ``(B, C, H, W)``.
            x: its input ``(B, C, H, W)``; resized (bilinear) by the scale, to sides that are multiples of 4.
            output: ``translate(x)`` where it is at hand; None runs it.
            scale: the factor; None draws psi and takes alpha below 0.5, else beta.
            generator: for psi; None is torch's global RNG. One on a device makes the host wait for the draw.
        """
        check_image(x, "x", channels=None)
        check_generator(generator)
        if not callable(translate):
            raise TypeError(f"translate: expected a callable, got {type(translate).__name__}")
        if scale is None:
            psi = torch.rand((), generator=generator, device=generator.device if generator is not None else "cpu")
            scale = self.alpha if psi.item() < 0.5 else self.beta
        scale = check_number(scale, "scale", minimum=0, exclusive=True)
        H, W = x.shape[-2:]
        size = max(round(H * scale / 4), 1) * 4, max(round(W * scale / 4), 1) * 4
        # with grad even where the target is detached: under autocast a pass without grad caches weights without grad
        target = translate(x) if output is None else output
        return sr_loss(
            target,
            translate(_resize(x, size)),
            weight_l1=self.weight_l1,
            weight_ssim=self.weight_ssim,
            window_size=self.window_size,
            value_range=self.value_range,
            detach_target=self.detach_target,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)
