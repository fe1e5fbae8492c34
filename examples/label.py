"""Predict label maps of color images with one or two pretrained segmentation networks.

python examples/label.py --input data/flir/trainA --teacher CITYSCAPES_NETWORK --second COCO_NETWORK
python examples/label.py --input data/flir/trainA --teacher models/segformer --offline --batch_size 4 --device cuda
python examples/label.py --input data/mine/trainA --teacher models/segformer --names "{van: truck}"
"""

from __future__ import annotations

import difflib
import importlib.util
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("label.py needs: pip install 'morn-losses[train]'")

from morn_losses import CITYSCAPES, LabelSpace
from ntir2dc.console import call, counted, escape_what_cannot_be_shown
from ntir2dc.data.images import SUFFIXES, DataError, list_images
from ntir2dc.data.partners import by_name
from ntir2dc.data.thermal import look_at_color
from ntir2dc.files import check_writable
from ntir2dc.labeling.predicting import Options, Outcome, label_images
from ntir2dc.labeling.sheet import save_label_sheet
from ntir2dc.pretrained.names import match_names
from ntir2dc.pretrained.teacher import Teacher, load_teacher
from ntir2dc.run.device import choose_device

SHEET = "labels.png"


def folders_of(images: Path, output: Path, teachers: int) -> list[Path]:
    """Return where the maps go: two predictions of trainA as the trainer fuses them, one as it takes it."""
    name = images.resolve().name
    if teachers == 1:
        return [output / ("labelsA" if name == "trainA" else f"{name}_labels")]
    start = "labels" if name == "trainA" else f"{name}_labels"
    return [output / f"{start}_pred{number}" for number in range(1, teachers + 1)]


def check_names(names: Iterable[str], teachers: Iterable[Teacher]) -> None:
    """Raise a :class:`DataError` for a name that no network has."""
    known = {name for teacher in teachers for name in teacher.names.values()}
    unknown = [name for name in names if name not in known]
    if unknown:
        close = difflib.get_close_matches(unknown[0], known, cutoff=0.5) or sorted(known)
        raise DataError(f"options: names: no network has a class {unknown[0]!r}; there are {', '.join(close)}")


def tell_outcome(outcome: Outcome, folder: Path, space: LabelSpace) -> None:
    """Print how many maps are there, and what is in them."""
    kept = f", {outcome.kept} were there already" if outcome.kept else ""
    print(f"{outcome.written} maps written to {folder}{kept}")
    total = int(outcome.pixels.sum())
    if total:
        shares = {name: outcome.pixels[i] / total for i, name in enumerate(space.names) if outcome.pixels[i]}
        listed = ", ".join(f"{name} {share:.1%}" for name, share in sorted(shares.items(), key=lambda one: -one[1]))
        print(f"  {sum(shares.values()):.0%} of the pixels are labeled{': ' if listed else ''}{listed}")


def main(
    input: Path,
    teacher: str,
    second: str | None = None,
    output: Path | None = None,
    confidence: float = 0.5,
    names: dict[str, str | None] | None = None,
    device: str = "auto",
    batch_size: int = 1,
    offline: bool = False,
    overwrite: bool = False,
) -> int:
    """Predict a label map of Cityscapes' train ids for every image of a folder.

    Two networks write labels_pred1 and labels_pred2, which the trainer fuses; one alone writes labelsA. A stopped run
    goes on when it is called again. Look at labels.png beside them.

    Args:
        input: folder of color images, as data/flir/trainA.
        teacher: a semantic or panoptic network of transformers, such as SegFormer, Mask2Former or OneFormer: a local
            folder, or a name on the hub. Of two networks the one that was trained on traffic scenes.
        second: another one, trained on everything.
        output: folder in which those of the maps are made; that of the input if it is not given.
        confidence: pixels of less certainty stay unlabeled (255).
        names: what further class names of the networks mean, as "{van: truck, billboard: null}"; null is unlabeled.
        device: auto, cpu, cuda, cuda:1, mps.
        batch_size: images of one size that are predicted together.
        offline: take networks from local folders and the hub's cache alone.
        overwrite: replace maps that were not made by this command.

    Returns:
        0, or 1 where an image could not be labeled; the others are labeled all the same.
    """
    escape_what_cannot_be_shown()
    problems: list[str] = []
    space = CITYSCAPES
    try:
        options = Options(confidence, batch_size, overwrite)
        images = list_images(input)
        if not images:
            raise DataError(f"{input}: expected a folder with images ({', '.join(SUFFIXES)}), found none")
        by_name(images)
        output = input.resolve().parent if output is None else output
        check_writable(output)
        wanted = [teacher] if second is None else [teacher, second]
        # both before any work: the second may be missing
        networks = [load_teacher(name, choose_device(device), offline=offline) for name in wanted]
        matchings = [match_names(network.names, space, names or {}, network.name) for network in networks]
        check_names(names or {}, networks)
        for text in look_at_color(images, input):
            print(f"label: warning: {text}", file=sys.stderr)
        folders = folders_of(input, output, len(wanted))
        for network, matching, folder in zip(networks, matchings, folders, strict=True):
            print(matching.told(network.name, "left unlabeled"))
            outcome, watch = Outcome(), partial(counted, what=folder.name)
            try:
                label_images(images, folder, network, matching, space, options, outcome, problems, watch)
            finally:
                tell_outcome(outcome, folder, space)
        save_label_sheet(output / SHEET, images, folders, space)
        print(f"look at {output / SHEET}")
        if second is not None and (output / "labelsA").is_dir() and folders[0].name == "labels_pred1":
            problems.append(f"{output / 'labelsA'}: is taken by the trainer instead of these two; move it away")
    except KeyboardInterrupt:
        problems.append("stopped; the same command goes on from here")
    except (DataError, OSError) as error:
        problems.append(str(error))
    for problem in problems:
        print(f"label: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(call(main))
