"""Classes of a network brought to those of a label space by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from morn_losses import LabelSpace
from ntir2dc.data.samples import DataError

ALIASES: dict[str, tuple[str, ...]] = {
    "road": ("lane marking general", "lane marking crosswalk", "crosswalk plain"),
    "sidewalk": ("pavement",),
    "building": ("building other", "house", "roof", "skyscraper", "hovel"),
    "pole": ("streetlight", "street light", "street lamp", "utility pole"),
    "traffic sign": ("stop sign", "traffic sign (front)"),
    "vegetation": ("tree", "plant", "palm"),
    "terrain": ("grass", "earth", "field", "sand", "land", "dirt"),
    "sky": ("sky other",),
    "person": ("pedestrian",),
    "rider": ("bicyclist", "motorcyclist", "other rider"),
    "car": ("van",),
    "train": ("on rails",),
    "motorcycle": ("minibike", "motorbike"),
    "bicycle": ("bike",),
}
"""What COCO panoptic, ADE20K and Mapillary Vistas call the classes of Cityscapes: the choices of ``label_spaces``."""

_NAMELESS = re.compile(r"label[ _]?\d+")


@dataclass(frozen=True)
class Matching:
    """Which class of a space each class of a network is.

    Args:
        ids: from ids of the network to ids of the space.
        unmapped: names of the network's classes without a counterpart; their pixels stay unlabeled.
        absent: names of the space's classes that the network does not know.
    """

    ids: Mapping[int, int]
    unmapped: tuple[str, ...]
    absent: tuple[str, ...]

    def told(self, of: str, unmapped: str) -> str:
        """Return it in lines for a person.

        Args:
            of: what the network is called.
            unmapped: what becomes of its classes without a counterpart.
        """
        lines = [f"{of}: {len(self.ids)} of its {len(self.ids) + len(self.unmapped)} classes are known here"]
        lines += [f"  {unmapped}: {', '.join(self.unmapped)}"] if self.unmapped else []
        lines += [f"  it does not know: {', '.join(self.absent)}"] if self.absent else []
        return "\n".join(lines)


def match_names(
    names: Mapping[int, str], space: LabelSpace, also: Mapping[str, str | None] | None = None, of: str = "network"
) -> Matching:
    """Return which class of the space each class of a network is.

    Capitals, "-" and "_" count for nothing, "-merged" is dropped, and of several names with commas between, as ADE20K
    has them, one is enough.

    Args:
        names: the network's classes by their ids, its ``id2label``.
        space: the label space.
        also: what some names mean; None leaves their pixels unlabeled. Names that the network does not have count for
            nothing. None where the command has no option for it, which messages then do not name.
        of: what the network is called in messages.

    Raises:
        DataError: ids that are not 0, 1, 2 and so on, classes without names, none that is known, or in ``also`` a class
            that the space does not have.

    Example:
        >>> from morn_losses import CITYSCAPES
        >>> match_names({0: "road, route", 1: "tree-merged", 2: "tv"}, CITYSCAPES).ids
        {0: 0, 1: 8}
    """
    if sorted(names) != list(range(len(names))) or not names:
        wrong = [i for i in names if i not in range(len(names))] or "none"
        raise DataError(f"{of}: expected ids from 0 to {len(names) - 1} in its id2label, got {wrong}")
    given = {name: _index(target, space) for name, target in (also or {}).items() if name in names.values()}
    if all(_NAMELESS.fullmatch(plain(name)) for name in names.values()) and not given:
        here = "" if also is None else f", or give them as --names '{{{names[0]}: road}}'"
        raise DataError(
            f"{of}: its {len(names)} classes have no names ({names[0]} and so on); write them into id2label in its "
            f"config.json{here}"
        )
    known = {plain(name): i for i, name in enumerate(space.names)}
    for name, others in ALIASES.items():
        if name in known:
            known |= {other: known[name] for other in others if other not in known}
    found: dict[int, int | None] = {}
    for i, name in names.items():
        parts = (known.get(plain(part)) for part in re.split("[,;]", name))
        found[i] = given[name] if name in given else next((part for part in parts if part is not None), None)
    ids = {i: target for i, target in found.items() if target is not None}
    if not ids:
        shown = ", ".join(list(names.values())[:6])
        how = "in id2label of its config.json" if also is None else f"as --names '{{{names[0]}: {space.names[0]}}}'"
        raise DataError(f"{of}: none of its {len(names)} classes ({shown}) is known here; say what they are, {how}")
    return Matching(
        ids,
        tuple(name for i, name in names.items() if i not in ids),
        tuple(name for i, name in enumerate(space.names) if i not in ids.values()),
    )


def _index(name: str | None, space: LabelSpace) -> int | None:
    try:
        return None if name is None else space.index(name)
    except KeyError as error:
        raise DataError(f"options: names: {error.args[0]}") from None


def plain(name: str) -> str:
    """Return a name without capitals, "-" and "_", and without "-merged"."""
    words = re.split(r"[\s_-]+", name.strip().lower())
    return " ".join(word for word in words if word and word != "merged")
