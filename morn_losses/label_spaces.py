"""Label spaces: the names of the classes and the groups that the losses speak of."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from morn_losses._checks import as_ids, check_class_ids, check_integer

__all__ = [
    "ADE20K_TO_CITYSCAPES",
    "CITYSCAPES",
    "COCO_TO_CITYSCAPES",
    "LABEL_IDS_TO_CITYSCAPES",
    "LabelSpace",
    "MFNET",
    "PERSONS",
]


@dataclass(frozen=True)
class LabelSpace:
    """Class names in the order of their ids, and the groups of ids the paper distinguishes.

    Args:
        names: class names; a class's id is its position.
        small_sample: ids of the small-sample classes ``C_ss`` (section 3.4), which the memory and ACA look at.
        foreground: ids of ``C_fg`` (Eq. 9), mined with the lower threshold.
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

    @classmethod
    def from_names(
        cls,
        names: Sequence[str],
        *,
        small_sample: Sequence[str],
        foreground: Sequence[str] | None = None,
        stuff: Sequence[str] | None = None,
        palette: Sequence[tuple[int, int, int]] | None = None,
        ignore_index: int = 255,
    ) -> LabelSpace:
        """Return a space whose groups are given by the names of their classes.

        Args:
            names: class names in the order of their ids.
            small_sample: names of the small-sample classes.
            foreground: names of the foreground classes; None is the small-sample classes.
            stuff: names of the background classes; None is all that are not foreground.
            palette: as above.
            ignore_index: as above.

        Raises:
            KeyError: a name that is not among ``names``; close matches are shown.

        Example:
            >>> space = LabelSpace.from_names(("road", "sky", "person"), small_sample=["person"])
            >>> space.small_sample, space.foreground, space.stuff
            ((2,), (2,), (0, 1))
        """
        if isinstance(names, str):
            raise TypeError("names: expected a sequence of class names, got a str")
        space = cls(tuple(names), (), (), (), tuple(palette) if palette is not None else None, ignore_index)
        foreground = small_sample if foreground is None else foreground
        if stuff is None:
            stuff = [name for name in space.names if name not in foreground]
        groups = {"small_sample": small_sample, "foreground": foreground, "stuff": stuff}
        for group, members in groups.items():
            if isinstance(members, str):
                raise TypeError(f"{group}: expected a sequence of class names, got a str")
        small, front, back = (space.ids(*members) for members in groups.values())
        return replace(space, small_sample=small, foreground=front, stuff=back)

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
        """Return a bool tensor like ``labels``: True where the label is one of ``ids``.

        Raises:
            TypeError: labels that are no tensor of an integer dtype, ids that are no integers.
        """
        labels = as_ids(labels, "labels")
        mask = torch.zeros_like(labels, dtype=torch.bool)
        for i in ids:
            mask = mask | (labels == check_integer(i, "ids"))
        return mask

    def background(self, labels: Tensor) -> Tensor:
        """Return the region that CGR looks at, a bool tensor like ``labels``: ``stuff`` and the unlabeled pixels.

        Raises:
            ValueError: an id that is neither that of a class nor ``ignore_index`` (eager CPU tensors only; elsewhere
                such a pixel counts as unlabeled).
            TypeError: labels that are no tensor of an integer dtype.

        Example:
            >>> CITYSCAPES.background(torch.tensor([CITYSCAPES.index("road"), CITYSCAPES.index("person"), 255]))
            tensor([ True, False,  True])
        """
        labels = as_ids(labels, "labels")
        check_class_ids(labels, "labels", len(self), self.ignore_index)
        return self.mask(labels, self.stuff) | (labels < 0) | (labels >= len(self))

    def remap(self, labels: Tensor, ids: Mapping[int, int]) -> Tensor:
        """Bring a map of another data set's ids into this space, such as a COCO network's prediction.

        Args:
            labels: any shape, any integer dtype.
            ids: from the other ids to those of this space, such as `COCO_TO_CITYSCAPES`.

        Returns:
            int64 like ``labels``; ``ignore_index`` where the id is not in ``ids``.

        Raises:
            ValueError: an id of the other data set below 0, or one that this space does not have.
            TypeError: labels that are not integers.

        Example:
            >>> predicted = torch.tensor([[0, 100, 119, 62]], dtype=torch.uint8)  # COCO: person, road, sky, tv
            >>> CITYSCAPES.remap(predicted, COCO_TO_CITYSCAPES)
            tensor([[ 11,   0,  10, 255]])
        """
        labels = as_ids(labels, "labels")
        sources, targets = _integers(ids.keys(), "ids"), _integers(ids.values(), "ids")
        below = [i for i in sources if i < 0]
        unknown = [i for i in targets if not 0 <= i < len(self) and i != self.ignore_index]
        if below or unknown:
            expected = f"expected ids from 0 on to ids in [0, {len(self)}) or {self.ignore_index}"
            raise ValueError(f"ids: {expected}, got {(below or unknown)[:5]}")
        table = [self.ignore_index] * (max(sources, default=-1) + 2)
        for source, target in zip(sources, targets, strict=True):
            table[source] = target
        # the last place is that of ids beyond the table
        places = torch.where((labels < 0) | (labels >= len(table)), len(table) - 1, labels)
        return torch.tensor(table, device=labels.device)[places]


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
"""The 19 train ids of Cityscapes; ``small_sample`` as in section 4.2, ``foreground`` as ``C_fg`` of Eq. 9."""

PERSONS = LabelSpace(("background", "person"), (1,), (1,), (0,), ((0, 0, 0), (220, 20, 60)))
"""Persons and everything else, for ACA of persons where nothing more is labeled."""

MFNET = LabelSpace(
    names=(
        "background", "car", "person", "bike", "curve", "car stop", "guardrail", "color cone", "bump",
    ),
    small_sample=(2, 3, 5, 7, 8),
    foreground=(1, 2, 3, 5, 7, 8),
    stuff=(0, 4, 6),
    palette=(
        (0, 0, 0), (64, 0, 128), (64, 64, 0), (0, 128, 192), (0, 0, 192), (128, 128, 0), (64, 64, 128),
        (192, 128, 128), (192, 64, 0),
    ),
)  # fmt: skip
"""The 9 ids of MFNet, which MSRS shares. The data sets know no road, sky or building: all that is "background".

Choice: the groups, as the paper does not use these data sets. Small things are ``small_sample`` and, with the car,
``foreground``; curves and guardrails, which stay where they are, are ``stuff``.
"""


def _to_cityscapes(ids: Mapping[str, tuple[int, ...]]) -> dict[int, int]:
    return {i: CITYSCAPES.index(name) for name, others in ids.items() for i in others}


LABEL_IDS_TO_CITYSCAPES = _to_cityscapes({
    "road": (7,),
    "sidewalk": (8,),
    "building": (11,),
    "wall": (12,),
    "fence": (13,),
    "pole": (17,),
    "traffic light": (19,),
    "traffic sign": (20,),
    "vegetation": (21,),
    "terrain": (22,),
    "sky": (23,),
    "person": (24,),
    "rider": (25,),
    "car": (26,),
    "truck": (27,),
    "bus": (28,),
    "train": (31,),
    "motorcycle": (32,),
    "bicycle": (33,),
})  # fmt: skip
"""For `LabelSpace.remap`: Cityscapes' own labelIds, -1..33, to its trainIds, which the 19 classes here are.

The files ``*_labelIds.png`` hold labelIds. Those that are not evaluated, such as the ego vehicle, become unlabeled.
"""

COCO_TO_CITYSCAPES = _to_cityscapes({
    "road": (100,),
    "sidewalk": (123,),  # pavement-merged
    "building": (91, 101, 129),  # house, roof, building-other-merged
    "fence": (117,),
    "traffic light": (9,),
    "traffic sign": (11,),  # stop sign
    "vegetation": (116,),  # tree-merged
    "terrain": (102, 125, 126),  # sand, grass-merged, dirt-merged
    "sky": (119,),
    "person": (0,),
    "car": (2,),
    "truck": (7,),
    "bus": (5,),
    "train": (6,),
    "motorcycle": (3,),
    "bicycle": (1,),
})  # fmt: skip
"""For `LabelSpace.remap`: the ids 0..132 that COCO panoptic networks predict (80 things, then 53 kinds of stuff).

COCO knows no pole and no rider, who is a person there. Choice: its walls are left out, as they are facades as often as
they stand alone, which is what "wall" means in Cityscapes.
"""

ADE20K_TO_CITYSCAPES = _to_cityscapes({
    "road": (6,),
    "sidewalk": (11,),
    "building": (1, 25, 48, 79),  # building, house, skyscraper, hovel
    "wall": (0,),
    "fence": (32,),
    "pole": (87, 93),  # streetlight, pole
    "traffic light": (136,),
    "vegetation": (4, 17, 72),  # tree, plant, palm
    "terrain": (9, 13, 29, 46, 94),  # grass, earth, field, sand, land
    "sky": (2,),
    "person": (12,),
    "car": (20, 102),  # car, van
    "truck": (83,),
    "bus": (80,),
    "motorcycle": (116,),  # minibike
    "bicycle": (127,),
})  # fmt: skip
"""For `LabelSpace.remap`: the ids 0..149 that ADE20K networks predict; its annotation files hold these plus one.

ADE20K knows no train and no rider. Choice: its signboards are left out, most of which are those of shops.
"""
