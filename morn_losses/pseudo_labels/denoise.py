"""Semantic denoising (section 3.3.1): drop labels whose pixels look like another class they are taken for."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from morn_losses._checks import check_image, check_integer, check_labels, check_shape
from morn_losses._options import show_options, takes_options_of
from morn_losses._precision import promote
from morn_losses.label_spaces import LabelSpace

Rules = Sequence[tuple[int, Collection[int]]]


def _check_options(rules: Rules, ignore_index: int) -> tuple[tuple[tuple[int, tuple[int, ...]], ...], int]:
    """Check the options; return them with Python's numbers."""
    ignore_index = check_integer(ignore_index, "ignore_index")
    expected = "rules: expected pairs of a class and its confusion classes, such as (8, (10, 11))"
    if not isinstance(rules, Sequence) or isinstance(rules, str):
        raise TypeError(f"{expected}, got {type(rules).__name__}")
    checked = []
    for rule in rules:
        if not isinstance(rule, Sequence) or len(rule) != 2 or not isinstance(rule[1], Collection):
            raise TypeError(f"{expected}, got {rule!r}")
        label, *confusions = (check_integer(class_id, "rules", minimum=0) for class_id in (rule[0], *rule[1]))
        if ignore_index in (label, *confusions):
            raise ValueError(f"rules: expected class ids other than ignore_index, got {rule!r}")
        if not confusions or label in confusions:
            raise ValueError(f"rules: expected one or more confusion classes other than {label}, got {rule!r}")
        checked.append((label, tuple(confusions)))
    return tuple(checked), ignore_index


def _mean_color(image: Tensor, mask: Tensor) -> Tensor:
    """Mean over ``mask`` ``(B, H, W)`` for each channel, ``(B, C, 1, 1)``; NaN where the mask is empty."""
    total = torch.where(mask[:, None], image, 0).sum((2, 3), keepdim=True)
    return total / mask.sum((1, 2))[:, None, None, None]


@torch.no_grad()
def denoise_labels(labels: Tensor, image: Tensor, rules: Rules, *, ignore_index: int = 255) -> Tensor:
    r"""Semantic denoising, Eq. 5-7: pixels nearer to a confusion class's mean than to their own become unlabeled.

    .. math::
        (Q_{y_1 y_k})_u = (M_{y_1})_u \sum_c (I_{c,u} - f_{c,y_k})^2, \qquad
        (\hat M_{y_1})_u = \max\left((M_{y_1})_u -
            \sum_k \mathbb{I}\{(Q_{y_1 y_1} - Q_{y_1 y_{1k}})_u > 0\}, 0\right)

    with the mean ``f_yk`` of the image over the pixels of class ``y_k``, per sample. The rules are applied
    in order. Means are taken from the input labels; once a class is denoised its mean is retaken from what is left of
    it, and the rules after it use that one. If nothing is left, the mean is kept.

    Choice: a confusion class that the sample's input labels do not hold is skipped, as it has no mean.

    Args:
        labels: coarse labels, integers ``(B, H, W)``.
        image: what they describe, ``(B, C, H, W)``, C = 1 or 3, in any range.
        rules: ordered pairs ``(class, (confusion classes...))``.
        ignore_index: id of unlabeled pixels.

    Returns:
        int64 labels of the input's shape, without graph; half-precision images are compared in float32.

    Raises:
        ValueError: shapes that differ, an empty axis, a rule without confusion classes or with its own class or
            ``ignore_index`` among them.
        TypeError: labels that are not integers, an image that is not floating-point, rules of another form.

    Example:
        >>> image = torch.tensor([[[[0.0, 0.1, 0.2, 0.9, 1.0, 1.0]]]])
        >>> labels = torch.tensor([[[8, 8, 8, 8, 10, 10]]])
        >>> denoise_labels(labels, image, [(8, (10,))])
        tensor([[[  8,   8,   8, 255,  10,  10]]])

    Source: Eq. 5-7, section 3.3.1.
    """
    labels = check_labels(labels, "labels")
    B, H, W = labels.shape
    check_image(image, "image")
    check_shape(image, "image", "(B, C, H, W)", (B, image.shape[1], H, W))
    rules, ignore_index = _check_options(rules, ignore_index)

    image = promote(image)
    classes = sorted({class_id for label, confusions in rules for class_id in (label, *confusions)})
    masks = {class_id: labels == class_id for class_id in classes}
    # an absent class has no mean, and nothing is nearer to NaN
    means = {class_id: _mean_color(image, mask) for class_id, mask in masks.items()}
    distances: dict[int, Tensor] = {}  # to the means as they are

    dropped = torch.zeros_like(labels, dtype=torch.bool)
    for i, (label, confusions) in enumerate(rules):
        for class_id in (label, *confusions):
            if class_id not in distances:
                distances[class_id] = (image - means[class_id]).square_().sum(1)
        noise = torch.zeros_like(dropped)
        for other in confusions:
            noise |= distances[label] > distances[other]
        noise &= masks[label]
        dropped |= noise
        if any(label in (later, *others) for later, others in rules[i + 1 :]):
            masks[label] = masks[label] & ~noise
            retaken = _mean_color(image, masks[label])
            means[label] = torch.where(retaken.isnan(), means[label], retaken)
            del distances[label]
    return torch.where(dropped, ignore_index, labels)


@takes_options_of(denoise_labels)
class SemanticDenoiser(nn.Module):
    """Module of `morn_losses.functional.denoise_labels`; ``forward(labels, image)``.

    Example:
        >>> from morn_losses.label_spaces import CITYSCAPES
        >>> SemanticDenoiser.visible(CITYSCAPES)
        SemanticDenoiser(rules=((8, (10,)), (5, (10,)), (10, (8, 5))), ignore_index=255)
    """

    def __init__(self, rules: Rules, *, ignore_index: int = 255) -> None:
        super().__init__()
        self.rules, self.ignore_index = _check_options(rules, ignore_index)

    @classmethod
    def visible(cls, space: LabelSpace) -> SemanticDenoiser:
        """Return the rules for daytime color images (section 3.3.2): tree, pole, then sky.

        Trees ("vegetation" in the label space) and poles spread into the sky.
        """
        tree, pole, sky = space.ids("vegetation", "pole", "sky")
        return cls(((tree, (sky,)), (pole, (sky,)), (sky, (tree, pole))), ignore_index=space.ignore_index)

    @classmethod
    def thermal(cls, space: LabelSpace) -> SemanticDenoiser:
        """Return the rules for nighttime thermal images (section 3.3.3): sky, pole, person, then tree.

        People are warmer than trees ("vegetation" in the label space).
        """
        tree, pole, sky, person = space.ids("vegetation", "pole", "sky", "person")
        rules = ((sky, (tree, pole)), (pole, (sky,)), (person, (tree,)), (tree, (sky, person)))
        return cls(rules, ignore_index=space.ignore_index)

    def forward(self, labels: Tensor, image: Tensor) -> Tensor:
        """Return the denoised labels; see `morn_losses.functional.denoise_labels`."""
        return denoise_labels(labels, image, self.rules, ignore_index=self.ignore_index)

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)
