"""Translate night thermal images and videos to daytime color.

python examples/colorize.py --input night.png --output day.png --checkpoint runs/mini
python examples/colorize.py --input night/ --output day/ --checkpoint runs/mini --recursive --skip_existing
python examples/colorize.py --input 'night/*_ir.png' --output day/ --checkpoint weights.safetensors --batch_size 4
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("colorize.py needs: pip install 'morn-losses[train]'")

from ntir2dc.colorizing.pictures import batches, picture
from ntir2dc.colorizing.progress import FrameProgress
from ntir2dc.colorizing.sources import Pair, is_video, plan, without_doubles
from ntir2dc.colorizing.translating import Precision, Translating
from ntir2dc.console import call, escape_what_cannot_be_shown
from ntir2dc.data.images import DataError, save_image
from ntir2dc.data.thermal import ThermalOptions, look_at_thermal, tell_tones, tones_of
from ntir2dc.files import attempt, check_writable
from ntir2dc.run.device import choose_device
from ntir2dc.run.weights import WeightsError, load_translator, thermal_of

INTERRUPTED = 130
"""The exit status of a program that Ctrl-C ended, as shells have it."""


@dataclass(frozen=True)
class ThermalAsked:
    """How thermal frames are read, where it is not as in training.

    Args:
        range: what becomes black and white: sequence, percentiles, full, frame, or two counts, as "7000,7600".
        polarity: what is bright: white, the warm; black, the cold.
    """

    range: str | None = None
    polarity: Literal["white", "black"] | None = None


def reading(checkpoint: Path, asked: ThermalAsked) -> ThermalOptions:
    """Return how frames are read: as asked, else as the weights say.

    Raises:
        DataError: a range that is none.
    """
    try:
        return replace(
            thermal_of(checkpoint), **{key: value for key, value in asdict(asked).items() if value is not None}
        )
    except WeightsError:
        raise
    except ValueError as error:
        raise DataError(f"options: {error}") from None


@dataclass(frozen=True)
class Written:
    """What is written of each translation.

    Args:
        stretch: from its own minimum to its own maximum.
        side_by_side: the input to its left.
    """

    stretch: bool
    side_by_side: bool


@dataclass
class Outcome:
    """What was done: images and videos written, files that were there already, and what went wrong."""

    images: int = 0
    kept: int = 0
    problems: list[str] = field(default_factory=list)


def say(text: str | None) -> None:
    """Print a line on standard error, if there is one."""
    if text is not None:
        print(f"colorize: {text}", file=sys.stderr)


def colorize_images(
    pairs: Sequence[Pair],
    translating: Translating,
    thermal: ThermalOptions,
    written: Written,
    batch_size: int,
    outcome: Outcome,
    *,
    skip_existing: bool,
    folder: Path,
) -> None:
    """Translate images, which share what becomes black and white."""
    sources = [source for source, _ in pairs]
    # those that are skipped belong to the sequence all the same
    tones = tones_of(sources, thermal)
    say(tell_tones(tones, folder))
    for warning in look_at_thermal(sources, tones, folder):
        say(f"warning: {warning}")
    wanted = [pair for pair in pairs if not (skip_existing and pair[1].is_file())]
    outcome.kept += len(pairs) - len(wanted)
    with FrameProgress(len(wanted)) as progress:
        for nights, targets in batches(wanted, batch_size, outcome.problems, tones):
            for night, day, target in zip(nights, translating(nights), targets, strict=True):
                shown = picture(night, day, stretch=written.stretch, side_by_side=written.side_by_side)
                save = partial(save_image, shown, target)
                outcome.images += attempt(save, target, outcome.problems, one_of_many=True)
            progress.advance(len(targets))


def tell(outcome: Outcome, output: Path, *, interrupted: bool) -> int:
    """Say what was done and return the exit status."""
    for problem in outcome.problems:
        say(problem)
    if interrupted:
        say("stopped; what is written stays, and --skip_existing goes on")
    if outcome.kept:
        say(f"{outcome.kept} of the results were there already")
    if outcome.images:
        print(f"{outcome.images} image{'s' if outcome.images > 1 else ''} written to {output}")
    if interrupted:
        return INTERRUPTED
    return 1 if outcome.problems else 0


def main(
    input: Path,
    output: Path,
    checkpoint: Path,
    recursive: bool = False,
    skip_existing: bool = False,
    side_by_side: bool = False,
    scale: float = 1.0,
    device: str = "auto",
    batch_size: int = 1,
    precision: Precision = "float32",
    compile: bool = False,
    stretch: bool = False,
    thermal: ThermalAsked = ThermalAsked(),
) -> int:
    """Translate a night thermal image, or each one of a folder or a pattern, to daytime color.

    Ctrl-C leaves what is written, and --skip_existing goes on from there.

    Args:
        input: an image (any size), a folder of them, or a pattern in quotes, as 'night/*_ir.png', "**" for any folders;
            all images share what becomes black and white.
        output: a folder, made where there is none, or a file name for a single file. Results lie in it as the inputs
            lie in their folder.
        checkpoint: the folder of a run, or a weights file.
        recursive: take what lies in subfolders of the input, too.
        skip_existing: leave results that are there as they are.
        side_by_side: write the input to the left of its translation.
        scale: resize frames by this before they are translated, and the translation back. Training as in the paper saw
            frames of 640 x 512 at 0.78 of their size, so that 0.78 shows a network things as large as it has learned
            them, and takes 0.6 of the time.
        device: auto, cpu, cuda, cuda:1, mps.
        batch_size: images of equal size that are translated together.
        precision: of the convolutions; float16 on CUDA devices only.
        compile: pass the network through ``torch.compile``: minutes at first, for each size and number of images, then
            about a fifth faster on a CPU; for hundreds of images.
        stretch: write each picture from its own minimum to its own maximum, as the published code does, and not from -1
            to 1; frames of a sequence then differ in brightness and contrast.
        thermal: how thermal frames are read; as in training where nothing is said.

    Returns:
        0; 1 where something could not be translated or written, the others are all the same; 130 after Ctrl-C.
    """
    escape_what_cannot_be_shown()
    outcome = Outcome()
    interrupted = False
    try:
        if batch_size < 1:
            raise DataError(f"batch_size: expected at least 1, got {batch_size}")
        pairs = without_doubles(plan(input, output, recursive=recursive), outcome.problems)
        check_writable(pairs[0][1].parent)
        target_device = choose_device(device)
        translator = load_translator(checkpoint).to(target_device)
        if compile:
            translator.compile()
        translating = Translating(translator, target_device, precision, scale)
        options, written = reading(checkpoint, thermal), Written(stretch, side_by_side)
        images = [pair for pair in pairs if not is_video(pair[0])]
        colorize_images(
            images, translating, options, written, batch_size, outcome, skip_existing=skip_existing, folder=input
        )
    except KeyboardInterrupt:
        interrupted = True
    except (DataError, WeightsError, OSError) as error:
        outcome.problems.append(str(error))
    return tell(outcome, output, interrupted=interrupted)


if __name__ == "__main__":
    sys.exit(call(main))
