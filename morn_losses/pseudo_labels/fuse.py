"""Fusion of two models' predictions into one label map (section 3.3.2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from morn_losses._checks import check_bool, check_integer, check_labels, check_same_shape
from morn_losses._options import show_options, takes_options_of
from morn_losses.label_spaces import LabelSpace


def _check_options(
    agree: Collection[int],
    aliases: Mapping[int, int] | None,
    overrides: Mapping[tuple[int, int], int] | None,
    alias_secondary: bool,
    ignore_index: int,
) -> tuple[tuple[int, ...], dict[int, int], dict[tuple[int, int], int], int]:
    """Check the options; return them with Python's numbers."""
    ignore_index = check_integer(ignore_index, "ignore_index")
    check_bool(alias_secondary, "alias_secondary")
    lowest = min(0, ignore_index)
    if not isinstance(agree, Collection) or isinstance(agree, str):
        raise TypeError(f"agree: expected a collection of class ids, got {type(agree).__name__}")
    ids = tuple(check_integer(class_id, "agree", minimum=0) for class_id in agree)
    for name, mapping in (("aliases", aliases), ("overrides", overrides)):
        if mapping is not None and not isinstance(mapping, Mapping):
            raise TypeError(f"{name}: expected a mapping or None, got {type(mapping).__name__}")
    renamed, chosen = {}, {}
    for old, new in (aliases or {}).items():
        renamed[check_integer(old, "aliases", minimum=lowest)] = check_integer(new, "aliases", minimum=lowest)
    for pair, new in (overrides or {}).items():
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"overrides: expected pairs (primary, secondary) as keys, got {pair!r}")
        p, s, result = (check_integer(class_id, "overrides", minimum=lowest) for class_id in (*pair, new))
        chosen[p, s] = result
    return ids, renamed, chosen, ignore_index


@torch.no_grad()
def fuse_labels(
    primary: Tensor,
    secondary: Tensor,
    agree: Collection[int],
    *,
    aliases: Mapping[int, int] | None = None,
    overrides: Mapping[tuple[int, int], int] | None = None,
    alias_secondary: bool = True,
    ignore_index: int = 255,
) -> Tensor:
    r"""Fusion of two label maps (section 3.3.2): the intersection for some classes, the primary map for the others.

    .. math::
        M_u = \begin{cases}
            overrides(p_u, s_u) & \text{if given,} \\
            p_u & \text{if } p_u \notin agree \text{ or } s_u = p_u, \\
            unlabeled & \text{otherwise}
        \end{cases}

    with the primary label ``p`` and the secondary label ``s`` after ``aliases``.

    Args:
        primary: the map to follow, integers ``(B, H, W)``; the paper's is HMSANet's, trained on Cityscapes.
        secondary: the map it has to agree with, same shape and label space; the paper's is Detectron2's, on MS COCO.
        agree: ids of the classes that both maps have to name.
        aliases: ``{id: id it counts as}``, for both maps and so for the result; applied once, not one after another.
        overrides: ``{(primary, secondary): result}``, of ids after ``aliases``; goes before ``agree``.
        alias_secondary: whether ``aliases`` hold for the secondary map too; False (published code) leaves it as it is.
        ignore_index: id of unlabeled pixels; those of ``primary`` stay unlabeled.

    Returns:
        int64 labels of the input's shape.

    Raises:
        ValueError: shapes that differ, an empty axis, a negative id.
        TypeError: labels that are not integers, ids that are no integers, options of another form.

    Example:
        >>> primary = torch.tensor([[[0, 11, 11, 12]]])
        >>> secondary = torch.tensor([[[1, 11, 0, 11]]])
        >>> fuse_labels(primary, secondary, agree=(11,))
        tensor([[[  0,  11, 255,  12]]])
        >>> fuse_labels(primary, secondary, agree=(11,), aliases={12: 11}, overrides={(0, 1): 1})
        tensor([[[  1,  11, 255,  11]]])

    Source: section 3.3.2.
    """
    primary, secondary = check_labels(primary, "primary"), check_labels(secondary, "secondary")
    check_same_shape(secondary, "secondary", primary, "primary")
    agree, aliases, overrides, ignore_index = _check_options(agree, aliases, overrides, alias_secondary, ignore_index)

    p, s = primary, secondary
    for old, new in aliases.items():
        p = torch.where(primary == old, new, p)
        s = torch.where(secondary == old, new, s) if alias_secondary else s
    fused = p.clone()
    for class_id in agree:
        fused = torch.where((p == class_id) & (s != class_id), ignore_index, fused)
    for (of_primary, of_secondary), new in overrides.items():
        fused = torch.where((p == of_primary) & (s == of_secondary), new, fused)
    return fused


@takes_options_of(fuse_labels)
class LabelFusion(nn.Module):
    """Module of `morn_losses.functional.fuse_labels`; ``forward(primary, secondary)``.

    Example:
        >>> from morn_losses.label_spaces import CITYSCAPES
        >>> LabelFusion.visible(CITYSCAPES)
        LabelFusion(agree=(11, 13, 2), aliases={}, overrides={}, alias_secondary=True, ignore_index=255)
    """

    def __init__(
        self,
        agree: Collection[int],
        *,
        aliases: Mapping[int, int] | None = None,
        overrides: Mapping[tuple[int, int], int] | None = None,
        alias_secondary: bool = True,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        options = _check_options(agree, aliases, overrides, alias_secondary, ignore_index)
        self.agree, self.aliases, self.overrides, self.ignore_index = options
        self.alias_secondary = alias_secondary

    @classmethod
    def visible(cls, space: LabelSpace, published: bool = False, *, alias_secondary: bool = True) -> LabelFusion:
        """Return the fusion for daytime color images: person, car and building have to agree.

        With ``published`` a rider counts as a person, and a car that the second map calls a truck becomes a truck. The
        published code leaves riders of the second map as they are, which ``alias_secondary=False`` does.
        """
        person, car, building = space.ids("person", "car", "building")
        aliases, overrides = {}, {}
        if published:
            rider, truck = space.ids("rider", "truck")
            aliases[rider] = person
            overrides[car, truck] = truck
        return cls(
            (person, car, building),
            aliases=aliases,
            overrides=overrides,
            alias_secondary=alias_secondary,
            ignore_index=space.ignore_index,
        )

    def forward(self, primary: Tensor, secondary: Tensor) -> Tensor:
        """Return the fused labels; see `morn_losses.functional.fuse_labels`."""
        return fuse_labels(
            primary,
            secondary,
            self.agree,
            aliases=self.aliases,
            overrides=self.overrides,
            alias_secondary=self.alias_secondary,
            ignore_index=self.ignore_index,
        )

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)
