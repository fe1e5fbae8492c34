"""Bring a data set to the folders and the geometry of the paper: cover 500 x 400, cut to that, cut to 360 x 288.

python examples/prepare_data.py --dataset kaist --input KAIST --output data/kaist --dry_run true
python examples/prepare_data.py --dataset flir_v2 --input FLIR_ADAS_v2 --output data/flir
python examples/prepare_data.py --input night --output data/mine/trainB --thermal true
python examples/prepare_data.py --input day_labels --output data/mine/labelsA --labels true
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("prepare_data.py needs: pip install 'morn-losses[train]'")

from ntir2dc.console import call, counted, escape_what_cannot_be_shown
from ntir2dc.data.arrays import SUFFIX, open_array
from ntir2dc.data.images import SUFFIXES, DataError
from ntir2dc.data.partners import partners_of
from ntir2dc.data.samples import count_pages
from ntir2dc.files import check_writable
from ntir2dc.preparing.boxes import read_coco, write_boxes
from ntir2dc.preparing.flir import Every, Wanted, plan_v1, plan_v2
from ntir2dc.preparing.geometry import Geometry, Size, fit, parse_size
from ntir2dc.preparing.kaist import plan_kaist
from ntir2dc.preparing.plan import Frame, Kind, Plan, images_in, unique_names
from ntir2dc.preparing.sides import TABLE, write_review
from ntir2dc.preparing.writing import Options, Outcome, write_frames

__all__ = ["fit", "main"]

Dataset = Literal["folder", "flir_v1", "flir_v2", "kaist"]

EVERY: dict[Dataset, Every] = {"folder": (1, 1, 1), "flir_v1": (1, 1, 1), "flir_v2": (1, 1, 1), "kaist": (20, 10, 20)}
"""One frame of so many, of trainA, trainB and valB."""


def plan_folder(folder: Path, kind: Kind, images: Path | None, recursive: bool) -> Plan:
    """Return what becomes of a folder: every image, under its own name, with the folders before it if recursive."""
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder with images, found none")
    plan = Plan(folder)
    suffixes = (*SUFFIXES, SUFFIX) if kind == "thermal" else SUFFIXES
    paths = images_in(folder, plan, recursive=recursive, suffixes=suffixes)
    if not paths:
        more = "; those of its subfolders are taken with --recursive true" if plan.skipped and not recursive else ""
        raise DataError(f"{folder}: expected a folder with images ({', '.join(SUFFIXES)}), found none{more}")
    owners = [None] * len(paths) if images is None else partners_of(paths, images, complete=True, kind="image")
    names = unique_names(paths, folder)
    for path, owner in zip(paths, owners, strict=True):
        frame = Frame(path, "", names[path], kind, owner=owner)
        plan.frames += pages_of(frame, plan) if kind == "thermal" else [frame]
    return plan


def pages_of(frame: Frame, plan: Plan) -> list[Frame]:
    """Return a frame for each page of a stack, as night_p0000; what cannot be opened is a problem of the plan."""
    suffix = frame.source.suffix.lower()
    try:
        if suffix == SUFFIX:
            count = len(open_array(frame.source))
        else:
            count = count_pages(frame.source) if suffix in (".tif", ".tiff") else 1
    except DataError as error:
        plan.problems.append(str(error))
        return []
    if count == 1:
        return [frame]
    return [replace(frame, name=f"{frame.name}_p{page:04d}", page=page) for page in range(count)]


def tell_plan(plan: Plan, output: Path, named: bool) -> None:
    """Print what is left out and why, and for a data set what was found."""
    if named:
        print(f"found {plan.root}")
    for note in plan.notes:
        print(f"  {note}" if named else note)
    for reason, paths in plan.skipped.items():
        shown = ", ".join(str(path.relative_to(plan.root)) for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
        print(f"left out {len(paths)}: {reason} ({shown})")
    for folder in dict.fromkeys(frame.folder for frame in plan.frames):
        names = {frame.name for frame in plan.frames if frame.folder == folder}
        place = output / folder
        others = sum(p.suffix == ".png" and p.stem not in names for p in place.iterdir()) if place.is_dir() else 0
        if named and others:
            print(f"{place}: holds {others} other images, which are left as they are")


def tell_outcome(outcome: Outcome, output: Path, named: bool) -> None:
    """Print what was written where."""
    for folder in dict.fromkeys((*outcome.written, *outcome.kept)):
        kept = f"{outcome.kept[folder]} were there already" if outcome.kept[folder] else ""
        wrote = f"{outcome.written[folder]} images written to {output / folder}"
        if outcome.written[folder]:
            print(f"{wrote}, {kept}" if kept else wrote)
        elif kept:
            print(f"{output / folder}: all {kept}")
        if named and outcome.same[folder]:
            print(f"  {outcome.same[folder]} of them hold the same bytes as an earlier one")
    for folder, tally in outcome.tallies.items():
        print(f"boxes of {output / folder}: {tally}")
    if outcome.fourths:
        print(f"of {outcome.fourths} the fourth channel was taken for the thermal one (--fourth false drops it)")


def main(
    input: Path,
    output: Path,
    dataset: Dataset = "folder",
    thermal: bool = False,
    labels: bool = False,
    cover: Size | str | None = (500, 400),
    crop: Size | str | None = (360, 288),
    images: Path | None = None,
    fourth: bool = True,
    recursive: bool = False,
    every: Every | None = None,
    bits: Literal[8, 16] = 8,
    lists: Path | None = None,
    brightness: tuple[float, float] = (60, 100),
    boxes: Path | None = None,
    visible: float = 0.25,
    overwrite: bool = False,
    dry_run: bool = False,
) -> int:
    """Prepare a data set, or every image of a folder; the results are PNG files.

    A stopped run goes on when it is called again: what is there is not made anew. A file made from another source is
    never replaced unless asked.

    Args:
        input: folder of frames; of a data set the folder that holds its tree, at most four folders up.
        output: another folder, made where there is none; of a data set the one that training reads.
        dataset: whose tree the input is. "folder" takes every image of one folder.
        thermal: of a folder: single-channel frames; gray values are neither stretched nor inverted, 16 bits stay 16. A
            TIFF of several pages and an .npy file become a frame each page.
        labels: of a folder: label maps of class ids; resized to the nearest pixel.
        cover: width and height that a frame is resized to cover and cut to, as "[500, 400]" or 500x400; null leaves its
            size.
        crop: width and height cut out of the middle of that; null leaves all.
        images: with labels, the folder of the images they belong to: sizes are compared, and a map of the size in which
            a turned photograph is stored is turned with it.
        fourth: with thermal, take a fourth channel that varies beside three of color, as MFNet stores its frames; false
            drops it as transparency.
        recursive: of a folder: take the images of its subfolders too, named after them, as set03_V000_I00000.
        every: one frame of so many, by frame number, of trainA, trainB and what is tested on, as "[20, 10, 20]", which
            is what is taken of KAIST; of FLIR all are.
        bits: of FLIR's thermal frames: 16 takes the counts of the camera.
        lists: of flir_v1: a folder with trainA.txt, trainB.txt and valB.txt, an id a line. Without it, and without a
            folder "lists" in the tree, brightness decides.
        brightness: of flir_v1: a visible frame's mean gray value up to which it is night, and from which on it is day.
        boxes: COCO JSON with the boxes of the thermal frames; FLIR's and KAIST's own are found.
        visible: the share of a box's area that has to lie inside the crop for it to stay.
        overwrite: replace files made from other sources.
        dry_run: say what would be done, and write nothing.

    Returns:
        0, or 1 where a file could not be used or written; the others are written all the same.
    """
    escape_what_cannot_be_shown()
    problems: list[str] = []
    outcome = Outcome()
    named = dataset != "folder"
    try:
        geometry = Geometry(*(parse_size(size) if isinstance(size, str) else size for size in (cover, crop)))
        options = Options(geometry, fourth, visible, overwrite)
        wanted = Wanted(every or EVERY[dataset], bits, lists, brightness, output)
        check_options(dataset, thermal, labels, images, recursive, wanted, every, visible)
        if input.resolve() == output.resolve():
            raise DataError(f"{output}: is the input; choose another folder")
        if recursive and input.resolve() in output.resolve().parents:
            raise DataError(f"{output}: lies in the input, all of which is read; choose another folder")
        check_writable(output)
        if dataset == "flir_v1":
            plan = plan_v1(input, wanted, lambda paths: counted(paths, "day or night"))
        elif dataset == "flir_v2":
            plan = plan_v2(input, wanted)
        elif dataset == "kaist":
            plan = plan_kaist(input, wanted.every)
        else:
            plan = plan_folder(input, "thermal" if thermal else "labels" if labels else "color", images, recursive)
        if boxes is not None:
            plan.categories = {}
            plan.frames = [replace(frame, truth=None) for frame in plan.frames]
            plan.mark(read_coco(boxes), "thermal" if named else None)
        plan.refuse_doubles()
        problems += plan.problems
        tell_plan(plan, output, named)
        if plan.judged and not dry_run:
            write_review(output, plan.judged, brightness)
            print(f"look at {output / TABLE} and the picture beside it; what you correct there counts next time")
        if not plan.frames:
            raise DataError(f"{plan.root}: no frame is left to write")
        if dry_run:
            for folder in dict.fromkeys(frame.folder for frame in plan.frames):
                frames = [frame for frame in plan.frames if frame.folder == folder]
                print(f"{len(frames)} images would go to {output / folder}, as {frames[0].name}.png")
        else:
            write_all(plan, output, options, outcome, problems, named)
    except KeyboardInterrupt:
        problems.append("stopped; the same command goes on from here")
    except (DataError, OSError) as error:
        problems.append(str(error))
    for problem in problems:
        print(f"prepare_data: {problem}", file=sys.stderr)
    tell_outcome(outcome, output, named)
    return 1 if problems else 0


def check_options(
    dataset: Dataset,
    thermal: bool,
    labels: bool,
    images: Path | None,
    recursive: bool,
    wanted: Wanted,
    every: Every | None,
    visible: float,
) -> None:
    """Raise a :class:`DataError` for options that do not go together."""
    if thermal and labels:
        raise DataError("options: choose one of thermal and labels")
    if images is not None and not labels:
        raise DataError("options: images goes with labels")
    if dataset != "folder" and (thermal or labels or recursive):
        raise DataError(f"options: thermal, labels and recursive are those of a folder, not of {dataset}")
    if dataset == "folder" and every is not None:
        raise DataError("options: every goes with a data set")
    if dataset not in ("flir_v1", "flir_v2") and wanted.bits != 8:
        raise DataError("options: bits goes with flir_v1 and flir_v2; elsewhere frames keep the bits they have")
    if dataset != "flir_v1" and wanted.lists is not None:
        raise DataError("options: lists goes with flir_v1")
    if min(wanted.every) < 1:
        raise DataError(f"options: expected every of at least 1, got {wanted.every}")
    if wanted.limits[0] >= wanted.limits[1]:
        raise DataError(f"options: expected the brightness of night below that of day, got {wanted.limits}")
    if not 0 <= visible <= 1:
        raise DataError(f"options: expected visible in [0, 1], got {visible:g}")


def write_all(plan: Plan, output: Path, options: Options, outcome: Outcome, problems: list[str], named: bool) -> None:
    """Write frames, then their boxes into a folder beside theirs."""
    write_frames(plan.frames, output, options, outcome, problems, lambda frames: counted(frames, "frames"))
    for folder, boxes in outcome.boxes.items():
        place, name = (output / "boxes", folder) if named else (output.parent / "boxes", output.name)
        write_boxes(place, name, outcome.sizes[folder], boxes, plan.categories)


if __name__ == "__main__":
    sys.exit(call(main))
