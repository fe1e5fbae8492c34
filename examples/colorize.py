"""Translate night thermal images and videos to daytime color.

python examples/colorize.py --input night.png --output day.png
python examples/colorize.py --input night/ --output day/ --checkpoint runs/mini --recursive --skip_existing
python examples/colorize.py --input 'night/*_ir.png' --output day/ --checkpoint weights.safetensors --batch_size 4
python examples/colorize.py --input night.mp4 --output day.mp4 --checkpoint runs/mini --side_by_side
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("colorize.py needs: pip install 'morn-losses[train]'")

from ntir2dc.colorizing.pictures import batches, picture
from ntir2dc.colorizing.progress import FrameProgress
from ntir2dc.colorizing.sources import Pair, is_video, plan, without_doubles
from ntir2dc.colorizing.translating import Precision, Shifts, Translating
from ntir2dc.colorizing.video import Compose, VideoSource, translate_video
from ntir2dc.console import call, escape_what_cannot_be_shown
from ntir2dc.data.images import DataError, save_image
from ntir2dc.data.thermal import (
    ThermalAsked,
    ThermalOptions,
    Tones,
    look_at_frames,
    look_at_thermal,
    tell_tones,
    tones_of,
    tones_of_frames,
)
from ntir2dc.files import attempt, check_writable
from ntir2dc.run.device import choose_device
from ntir2dc.run.shipped import TRANSLATOR
from ntir2dc.run.weights import WeightsError, load_translator, thermal_of

AS_TRAINED = ThermalAsked()
INTERRUPTED = 130
"""The exit status of a program that Ctrl-C ended, as shells have it."""


def reading(weights: Path, asked: ThermalAsked) -> ThermalOptions:
    """Return how frames are read: as asked, else as the weights say.

    Raises:
        DataError: a range that is none.
    """
    try:
        return replace(thermal_of(weights), **{key: value for key, value in asdict(asked).items() if value is not None})
    except WeightsError:
        raise
    except ValueError as error:
        raise DataError(f"options: {error}") from None


@dataclass
class Outcome:
    """What was done.

    Args:
        images: images written.
        videos: what was written of each video.
        kept: results that were there already.
        problems: what went wrong.
    """

    images: int = 0
    videos: list[str] = field(default_factory=list)
    kept: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Colorizing:
    """How files become others.

    Args:
        translating: the network.
        thermal: how frames are read.
        compose: makes what is written of a frame and its translation.
        batch_size: frames that are translated together.
        skip_existing: whether results that are there stay.
    """

    translating: Translating
    thermal: ThermalOptions
    compose: Compose
    batch_size: int
    skip_existing: bool

    def wanted(self, pairs: Sequence[Pair], outcome: Outcome) -> list[Pair]:
        """Return the pairs whose result is not there, or may be replaced."""
        left = [pair for pair in pairs if not (self.skip_existing and pair[1].is_file())]
        outcome.kept += len(pairs) - len(left)
        return left


def say(text: str | None) -> None:
    """Print a line on standard error, if there is one."""
    if text is not None:
        print(f"colorize: {text}", file=sys.stderr)


def tell_thermal(tones: Tones, warnings: Sequence[str], name: Path) -> None:
    """Say what becomes black and white, and what looks wrong."""
    say(tell_tones(tones, name))
    for warning in warnings:
        say(f"warning: {warning}")


def colorize_images(pairs: Sequence[Pair], how: Colorizing, outcome: Outcome, folder: Path) -> None:
    """Translate images, which share what becomes black and white."""
    wanted = how.wanted(pairs, outcome)
    if not wanted:
        return
    # those that are skipped belong to the sequence all the same
    sources = [source for source, _ in pairs]
    tones = tones_of(sources, how.thermal)
    tell_thermal(tones, look_at_thermal(sources, tones, folder), folder)
    with FrameProgress(len(wanted)) as progress:
        for nights, targets in batches(wanted, how.batch_size, outcome.problems, tones):
            for night, day, target in zip(nights, how.translating(nights), targets, strict=True):
                save = partial(save_image, how.compose(night, day), target)
                outcome.images += attempt(save, target, outcome.problems, one_of_many=True)
            progress.advance(len(targets))


def colorize_videos(pairs: Sequence[Pair], how: Colorizing, outcome: Outcome) -> None:
    """Translate videos, each with what becomes black and white in all of it."""
    for path, target in how.wanted(pairs, outcome):
        try:
            with VideoSource(path) as source:
                sample = list(source.sample())
            tones = tones_of_frames((frame for frame, _ in sample), how.thermal)
            tell_thermal(tones, look_at_frames(sample, tones, path), path)
            with VideoSource(path) as source, FrameProgress(source.declared) as progress:
                try:
                    written = translate_video(
                        source, target, tones, how.translating, how.compose, how.batch_size, progress.advance
                    )
                finally:
                    outcome.problems += [source.problem] if source.problem else []
                if written is None:
                    outcome.problems.append(f"{path}: holds no frame that can be read")
                    continue
                outcome.videos.append(f"{written.frames} frames written to {target}, {progress.rate:.1f} a second")
                say(written.left_out)
        except DataError as error:
            outcome.problems.append(str(error))


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
    for line in outcome.videos:
        print(line)
    if interrupted:
        return INTERRUPTED
    return 1 if outcome.problems else 0


def main(
    input: Path,
    output: Path,
    checkpoint: Path | None = None,
    recursive: bool = False,
    skip_existing: bool = False,
    side_by_side: bool = False,
    scale: float = 1.0,
    tile: int = 0,
    shifts: Shifts = 1,
    device: str = "auto",
    batch_size: int = 1,
    precision: Precision = "float32",
    compile: bool = False,
    stretch: bool = False,
    thermal: ThermalAsked = AS_TRAINED,
) -> int:
    """Translate night thermal images and videos, of a file, a folder or a pattern, to daytime color.

    A video is read and written frame by frame; its rate and its sound stay, and all of it shares what becomes black and
    white, which some of its frames are looked at for first.

    Ctrl-C leaves what is written, and --skip_existing goes on from there.

    Args:
        input: an image or a video (any size), a folder of them, or a pattern in quotes, as 'night/*_ir.png', "**" for
            any folders; all images share what becomes black and white.
        output: a folder, made where there is none, or a file name for a single file. Results lie in it as the inputs
            lie in their folder.
        checkpoint: the folder of a run, or a weights file; by default the translator that is shipped, which was trained
            on procedural scenes and has never seen a real frame.
        recursive: take what lies in subfolders of the input, too.
        skip_existing: leave results that are there as they are.
        side_by_side: write the input to the left of its translation.
        scale: resize frames by this before they are translated, and the translation back. Training as in the paper saw
            frames of 640 x 512 at 0.78 of their size, so that 0.78 shows a network things as large as it has learned
            them, and takes 0.6 of the time.
        tile: translate frames in tiles of this side, for frames that take more memory than there is; 0: whole. Tiles
            overlap and share the statistics of the network's norms, taken once from the reduced frame.
        shifts: translate so many copies of a frame, each moved by other pixels, and write their mean: steadier videos
            for so many times the time.
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
        if checkpoint is None:
            say(f"by {TRANSLATOR.name}, which was trained on procedural scenes; --checkpoint takes a run of yours")
        weights = checkpoint or TRANSLATOR
        translator = load_translator(weights).to(target_device)
        if compile and tile:
            raise DataError("compile: does not go with tile, which changes the network's norms while it runs")
        if compile:
            translator.compile()
        translating = Translating(translator, target_device, precision, scale, tile, shifts)
        compose = partial(picture, stretch=stretch, side_by_side=side_by_side)
        how = Colorizing(translating, reading(weights, thermal), compose, batch_size, skip_existing)
        colorize_images([pair for pair in pairs if not is_video(pair[0])], how, outcome, input)
        colorize_videos([pair for pair in pairs if is_video(pair[0])], how, outcome)
    except KeyboardInterrupt:
        interrupted = True
    except (DataError, WeightsError, OSError) as error:
        outcome.problems.append(str(error))
    return tell(outcome, output, interrupted=interrupted)


if __name__ == "__main__":
    sys.exit(call(main))
