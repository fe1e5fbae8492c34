"""The tree of KAIST's multispectral benchmark: ``set00/V000/visible/I00000.jpg``, ``set00/V000/lwir/I00000.jpg``."""

from __future__ import annotations

import re
from pathlib import Path

from ntir2dc.data.samples import DataError
from ntir2dc.preparing.boxes import KAIST_CATEGORIES, read_kaist
from ntir2dc.preparing.flir import Every
from ntir2dc.preparing.plan import Frame, Kind, Plan, find_root, images_in, subfolders, thinned

DAY, NIGHT, NIGHT_TEST = range(3), range(3, 6), range(9, 12)
"""Numbers of the sets: day and night of training, and night of the test (6 to 8 are its day)."""

_SET, _VIDEO = re.compile(r"set(\d\d)"), re.compile(r"V\d\d\d")


def is_kaist(folder: Path) -> bool:
    """Whether a folder is the root of KAIST's images."""
    sets = [path for path in subfolders(folder) if _SET.fullmatch(path.name)]
    return any(
        (video / spectrum).is_dir()
        for path in sets
        for video in subfolders(path)
        if _VIDEO.fullmatch(video.name)
        for spectrum in ("visible", "lwir")
    )


def plan_kaist(start: Path, every: Every) -> Plan:
    """Return what becomes of KAIST: visible frames of the day to trainA, thermal ones of the night to trainB and valB.

    Raises:
        DataError: no such tree.
    """
    plan = Plan(find_root(start, is_kaist, "KAIST's folders (set00/V000/visible, set00/V000/lwir)"))
    texts = _texts(plan.root)
    for path in subfolders(plan.root):
        match = _SET.fullmatch(path.name)
        if match is None or int(match[1]) > NIGHT_TEST.stop - 1:
            plan.skip("no set of KAIST", *([path] if path != texts else []))
            continue
        number = int(match[1])
        if number in DAY:
            _add(plan, path, "visible", "trainA", "color", every[0], None)
        elif number in NIGHT:
            _add(plan, path, "lwir", "trainB", "thermal", every[1], texts)
        elif number in NIGHT_TEST:
            _add(plan, path, "lwir", "valB", "thermal", every[2], texts)
        else:
            plan.skip("day of the test", path)
    plan.notes.append("day: sets 00 to 02; night: sets 03 to 05, of the test 09 to 11")
    if texts is None:
        plan.notes.append("no boxes: annotations/set03/V000/I00000.txt and so on are missing")
    else:
        plan.categories = dict(KAIST_CATEGORIES)
    return plan


def _texts(root: Path) -> Path | None:
    """Return the folder of the annotations, beside the images or among them."""
    places = [place / "annotations" for place in (root, root.parent)]
    return next((place for place in places if place.is_dir()), None)


def _add(plan: Plan, path: Path, spectrum: str, folder: str, kind: Kind, every: int, texts: Path | None) -> None:
    for video in subfolders(path):
        if not _VIDEO.fullmatch(video.name) or not (video / spectrum).is_dir():
            plan.skip(f"holds no {spectrum}", video)
            continue
        plan.skip("the other spectrum of its time of day", *(p for p in subfolders(video) if p.name != spectrum))
        images = images_in(video / spectrum, plan)
        chosen = thinned(images, every)
        plan.skip("not sampled (--every)", *sorted(set(images) - set(chosen)))
        for image in chosen:
            # the spectrum is that of the folder
            name = f"{path.name}_{video.name}_{image.stem}"
            truth = None
            text = None if texts is None else texts / path.name / video.name / f"{image.stem}.txt"
            if text is not None and text.is_file():
                try:
                    truth = read_kaist(text)
                except DataError as error:
                    plan.problems.append(str(error))
            plan.frames.append(Frame(image, folder, name, kind, truth))
