"""Label spaces: the names of the classes and the groups that the losses speak of."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["CITYSCAPES", "LabelSpace"]


@dataclass(frozen=True)
class LabelSpace:
    """Class names in the order of their ids, and the groups of ids the paper distinguishes.

    Args:
        names: class names; a class's id is its position.
        small_sample: ids of the small-sample classes :math:`C_{ss}` (section 3.4), which the memory and ACA look at.
        foreground: ids of :math:`C_{fg}` (Eq. 9), mined with the lower threshold.
        stuff: ids of the background region that CGR (Eq. 18) keeps the edges of.
        palette: one RGB triple of 0..255 per class, for pictures only.
        ignore_index: the id of unlabeled pixels; not an id of a class.

    Raises:
        ValueError: repeated names, an id of a group that is repeated or outside ``[0, len(names))``, a palette of
            another length or with other values, or an ``ignore_index`` that is the id of a class.
        TypeError: names that are no strings, ids or colors that are no integers.

    Example:
        >>> space = LabelSpace(("road", "sky", "person"), small_sample=(2,), foreground=(2,), stuff=(0, 1))
        >>> space.index("sky"), space.ids("person", "road"), len(space)
        (1, (2, 0), 3)
    """

    names: tuple[str, ...]
    small_sample: tuple[int, ...]
    foreground: tuple[int, ...]
    stuff: tuple[int, ...]
    palette: tuple[tuple[int, int, int], ...] | None = None
    ignore_index: int = 255

    def __post_init__(self) -> None:
        if isinstance(self.names, str):
            raise TypeError("names: expected a sequence of class names, got a str")
        object.__setattr__(self, "names", tuple(self.names))
        strange = [name for name in self.names if not isinstance(name, str)]
        if strange:
            raise TypeError(f"names: expected class names, got {strange}")
        if len(set(self.names)) != len(self.names) or not self.names:
            raise ValueError(f"names: expected at least one name and no repeats, got {self.names}")
        for group in ("small_sample", "foreground", "stuff"):
            ids = _integers(getattr(self, group), group)
            if len(set(ids)) != len(ids):
                raise ValueError(f"{group}: expected every id once, got {ids}")
            outside = [i for i in ids if not 0 <= i < len(self.names)]
            if outside:
                raise ValueError(f"{group}: expected ids in [0, {len(self.names)}), got {outside}")
            object.__setattr__(self, group, ids)
        if self.palette is not None:
            palette = tuple(_integers(color, "palette") for color in self.palette)
            if len(palette) != len(self.names):
                raise ValueError(f"palette: expected {len(self.names)} colors, got {len(palette)}")
            wrong = [color for color in palette if len(color) != 3 or not all(0 <= value <= 255 for value in color)]
            if wrong:
                raise ValueError(f"palette: expected triples of 0..255, got {wrong[0]}")
            object.__setattr__(self, "palette", palette)
        object.__setattr__(self, "ignore_index", _integers((self.ignore_index,), "ignore_index")[0])
        if 0 <= self.ignore_index < len(self.names):
            raise ValueError(f"ignore_index: expected an id that no class has, got {self.ignore_index}")

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Return the id of a class; ``KeyError`` with close matches for an unknown name."""
        try:
            return self.names.index(name)
        except ValueError:
            close = difflib.get_close_matches(name, self.names, n=3, cutoff=0.5)
            hint = f"; did you mean {', '.join(map(repr, close))}?" if close else f"; known: {', '.join(self.names)}"
            raise KeyError(f"no class named {name!r}{hint}") from None

    def ids(self, *names: str) -> tuple[int, ...]:
        """Return the ids of several classes, in the order asked for."""
        return tuple(self.index(name) for name in names)

    def mask(self, labels: Tensor, ids: Iterable[int]) -> Tensor:
        """Return a bool tensor like ``labels``: True where the label is one of ``ids``."""
        mask = torch.zeros_like(labels, dtype=torch.bool)
        for i in ids:
            mask = mask | (labels == i)
        return mask

    def background(self, labels: Tensor) -> Tensor:
        """Return the region that CGR looks at, a bool tensor like ``labels``: ``stuff`` and the unlabeled pixels."""
        return self.mask(labels, (*self.stuff, self.ignore_index))


def _integers(values: Iterable[int], name: str) -> tuple[int, ...]:
    """Return ``values`` as ints; unlike ``int()``, nothing is cut off."""
    try:
        return tuple(operator.index(value) for value in values)
    except TypeError:
        raise TypeError(f"{name}: expected integers, got {values!r}") from None


CITYSCAPES = LabelSpace(
    names=(
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ),
    small_sample=(6, 7, 11, 14, 15, 17),
    foreground=(2, 6, 7, 11, 12, 13, 14, 15, 16, 17, 18),
    stuff=tuple(range(11)),
    palette=(
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
        (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60),
        (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ),
)  # fmt: skip
"""The 19 train ids of Cityscapes; ``small_sample`` as in section 4.2, ``foreground`` as :math:`C_{fg}` of Eq. 9."""
