"""The trees of FLIR ADAS: the first release (``train/thermal_8_bit``) and the second (``images_thermal_train``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ntir2dc.data.samples import DataError
from ntir2dc.preparing import sides
from ntir2dc.preparing.boxes import read_coco
from ntir2dc.preparing.plan import Frame, Kind, Plan, find_root, images_in, number_of, subfolders, thinned

Every = tuple[int, int, int]
"""Of trainA, trainB and valB: one frame of so many."""

Watch = Callable[[Sequence[Path]], Iterable[Path]]

VIDEO_MAP = "rgb_to_thermal_vid_map.json"


@dataclass(frozen=True)
class Wanted:
    """What is taken out of a tree.

    Args:
        every: one frame of so many.
        bits: 8, or 16 for the counts of the camera.
        lists: a folder of lists of frames; of the first release only.
        limits: of the brightness of night and day; of the first release only.
        output: where a table of day and night is kept.
    """

    every: Every
    bits: int = 8
    lists: Path | None = None
    limits: tuple[float, float] = (60.0, 100.0)
    output: Path = Path()


# ---- first release ---------------------------------------------------------------------------------------------------


def is_v1(folder: Path) -> bool:
    """Whether a folder is the root of the first release."""
    return any((folder / part / "thermal_8_bit").is_dir() for part in ("train", "val"))


def plan_v1(start: Path, wanted: Wanted, watch: Watch) -> Plan:
    """Return what becomes of the first release: day of train to trainA, night of train to trainB, night of val to valB.

    Day and night come from lists of ids, else from how bright the visible frame of the same name is.

    Raises:
        DataError: no such tree, or lists that cannot be read.
    """
    plan = Plan(find_root(start, is_v1, "FLIR's first release (train/thermal_8_bit, val/thermal_8_bit)"))
    parts = {"train": plan.root / "train", "val": plan.root / "val"}
    plan.skip("not part of training or test", *(p for p in subfolders(plan.root) if p.name not in (*parts, "lists")))
    thermal_name = f"thermal_{wanted.bits}_bit"
    color = {part: images_in(folder / "RGB", plan) for part, folder in parts.items()}
    thermal = {part: images_in(folder / thermal_name, plan) for part, folder in parts.items()}
    if not any(thermal.values()):
        raise DataError(f"{plan.root}: holds no frames in train/{thermal_name} or val/{thermal_name}")
    lists = wanted.lists if wanted.lists is not None else plan.root / "lists"
    if wanted.lists is not None or lists.is_dir():
        _from_lists(plan, lists, color, thermal)
    else:
        _by_brightness(plan, wanted, color, thermal, watch)
    plan.frames = _sampled(plan, wanted.every)
    for part, folder in parts.items():
        path = folder / "thermal_annotations.json"
        if path.is_file():
            plan.mark(read_coco(path), "thermal", folder)
        elif folder.is_dir():
            plan.notes.append(f"no boxes for {part}: {path.name} is missing")
    return plan


def _from_lists(plan: Plan, folder: Path, color: dict[str, list[Path]], thermal: dict[str, list[Path]]) -> None:
    plan.notes.append(f"day and night from the lists in {folder}")
    listed = sides.read_lists(folder)
    for name, ids in listed.items():
        kind: Kind = "color" if name == "trainA" else "thermal"
        there = {number_of(path): path for paths in (color if kind == "color" else thermal).values() for path in paths}
        missing = [number for number in dict.fromkeys(ids) if number not in there]
        if missing:
            shown = ", ".join(f"FLIR_{number:05d}" for number in missing[:3])
            plan.problems.append(f"{folder / name}.txt: {len(missing)} of its frames are not in the tree ({shown})")
        paths = [there[number] for number in dict.fromkeys(ids) if number in there]
        plan.frames += [Frame(path, name, path.stem, kind) for path in paths]
    used = {frame.source for frame in plan.frames}
    rest = (path for paths in (*color.values(), *thermal.values()) for path in paths if path not in used)
    plan.skip("in none of the lists, or of the other time of day", *rest)


def _by_brightness(
    plan: Plan, wanted: Wanted, color: dict[str, list[Path]], thermal: dict[str, list[Path]], watch: Watch
) -> None:
    table = wanted.output / sides.TABLE
    known = sides.read_table(table)
    low, high = wanted.limits
    how = f"brightness of the visible frame: night up to {low:g}, day from {high:g} (of 255)"
    if known:
        how = f"{table} for the {len(known)} frames in it; delete it to decide anew"
    plan.notes.append(f"day and night from {how}")
    visible = [path for paths in color.values() for path in paths]
    judged = sides.judge(visible, known, wanted.limits, plan.problems, watch)
    plan.judged = judged
    side = {(entry.path.parent.parent.name, entry.path.stem): entry.side for entry in judged}
    plan.skip("neither day nor night", *(entry.path for entry in judged if entry.side == "undecided"))
    for entry in judged:
        if entry.side == "day" and entry.path.parent.parent.name == "train":
            plan.frames.append(Frame(entry.path, "trainA", entry.path.stem, "color"))
        elif entry.side != "undecided":
            plan.skip(f"visible, of {entry.side} or of val", entry.path)
    for part, paths in thermal.items():
        for path in paths:
            found = side.get((part, path.stem))
            if found == "night":
                plan.frames.append(Frame(path, "trainB" if part == "train" else "valB", path.stem, "thermal"))
            else:
                plan.skip("thermal, its visible frame is missing" if found is None else f"thermal, {found}", path)


# ---- second release --------------------------------------------------------------------------------------------------


def is_v2(folder: Path) -> bool:
    """Whether a folder is the root of the second release."""
    return (folder / "images_thermal_train").is_dir()


def plan_v2(start: Path, wanted: Wanted) -> Plan:
    """Return what becomes of the second release.

    Day of images_rgb_train becomes trainA, night of images_thermal_train trainB, night of images_thermal_val valB, and
    night of video_thermal_test testB. The time of day is ``hours`` in coco.json; that
    of a thermal frame of a video, where it is missing, that of the visible frame of the same moment.

    Raises:
        DataError: no such tree, or a coco.json that cannot be used.
    """
    plan = Plan(find_root(start, is_v2, "FLIR's second release (images_rgb_train, images_thermal_train)"))
    rooms: tuple[tuple[str, str, Kind, str], ...] = (
        ("images_rgb_train", "trainA", "color", "day"),
        ("images_thermal_train", "trainB", "thermal", "night"),
        ("images_thermal_val", "valB", "thermal", "night"),
        ("video_thermal_test", "testB", "thermal", "night"),
    )
    used = {room for room, *_ in rooms}
    plan.skip("not part of training or test", *(p for p in subfolders(plan.root) if p.name not in used))
    partners = _video_partners(plan)
    for room, folder, kind, time in rooms:
        place = plan.root / room
        if not place.is_dir():
            plan.notes.append(f"no {folder}: {room} is missing")
            continue
        deep = wanted.bits == 16 and kind == "thermal"
        images = images_in(place / ("analyticsData" if deep else "data"), plan)
        if deep and not images and folder != "testB":
            raise DataError(f"{place / 'analyticsData'}: expected the frames of 16 bits, found none")
        hours = _hours(place / "coco.json")
        if room == "video_thermal_test" and partners:
            of_color = _hours(plan.root / "video_rgb_test" / "coco.json", needed=False)
            hours = {**{own: of_color[other] for own, other in partners.items() if other in of_color}, **hours}
        for path in images:
            found = hours.get(path.stem)
            if found == time:
                plan.frames.append(Frame(path, folder, path.stem, kind))
            else:
                plan.skip(f"{room}: {'hours not in coco.json' if found is None else f'hours: {found}'}", path)
    plan.frames = _sampled(plan, wanted.every)
    for room, _, kind, _ in rooms:
        if (plan.root / room / "coco.json").is_file():
            plan.mark(read_coco(plan.root / room / "coco.json"), kind, plan.root / room)
    return plan


def _hours(path: Path, *, needed: bool = True) -> dict[str, str]:
    """Return the time of day of each image by its name without suffix."""
    if not needed and not path.is_file():
        return {}
    try:
        images: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["images"]
        found = {
            PurePosixPath(str(entry["file_name"]).replace("\\", "/")).stem: (entry.get("extra_info") or {}).get("hours")
            for entry in images
        }
    except OSError as error:
        raise DataError(
            f"{path}: says which frames are of day and night, and cannot be read ({error.strerror})"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: expected COCO JSON with images and their extra_info ({error!r})") from None
    return {name: str(hours).strip().lower().removesuffix("time") for name, hours in found.items() if hours}


def _video_partners(plan: Plan) -> dict[str, str]:
    """Return for thermal frames of the videos the visible one of the same moment, names without suffixes."""
    path = plan.root / VIDEO_MAP
    if not path.is_file():
        path = plan.root.parent / VIDEO_MAP
    if not path.is_file():
        return {}
    try:
        pairs = json.loads(path.read_text(encoding="utf-8"))
        return {Path(str(thermal)).stem: Path(str(color)).stem for color, thermal in pairs.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: expected pairs of file names, visible to thermal ({error})") from None


def _sampled(plan: Plan, every: Every) -> list[Frame]:
    """Return the frames that are left, one of so many of each folder and video."""
    by_video: dict[tuple[str, str], list[Frame]] = {}
    for frame in plan.frames:
        # video-ID-frame-NUMBER-HASH of the second release; the first one has no videos
        video, _, _ = frame.source.stem.partition("-frame-")
        key = (frame.folder, video if video != frame.source.stem else "")
        by_video.setdefault(key, []).append(frame)
    kept: list[Frame] = []
    for (folder, _), frames in by_video.items():
        step = every[{"trainA": 0, "trainB": 1}.get(folder, 2)]
        if step == 1:
            kept += frames
            continue
        chosen = set(thinned([frame.source for frame in frames], step, frame_number))
        kept += [frame for frame in frames if frame.source in chosen]
        plan.skip("not sampled (--every)", *(frame.source for frame in frames if frame.source not in chosen))
    return kept


def frame_number(path: Path) -> int:
    """Return a frame's number in its video, or its id in the first release."""
    _, _, rest = path.stem.partition("-frame-")
    return int(rest.split("-")[0]) if rest.split("-")[0].isdigit() else number_of(path)
