"""Translate night thermal images to daytime color.

python examples/colorize.py --input night.png --output day.png --checkpoint runs/mini
python examples/colorize.py --input night/ --output day/ --checkpoint weights.safetensors --batch_size 4
python examples/colorize.py --input night/ --output day/ --checkpoint runs/mini --compile
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("colorize.py needs: pip install 'morn-losses[train]'")

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ntir2dc.console import call, escape_what_cannot_be_shown
from ntir2dc.data.images import OWN_TONES, SUFFIXES, DataError, list_images, read_thermal, save_image, to_image
from ntir2dc.data.partners import name_of
from ntir2dc.data.thermal import ThermalOptions, Tones, look_at_thermal, tell_tones, tones_of
from ntir2dc.files import attempt, check_writable
from ntir2dc.run.device import choose_device
from ntir2dc.run.weights import WeightsError, load_translator, thermal_of


def pad(x: Tensor) -> Tensor:
    """Extend ``(B, C, H, W)`` right and down to multiples of 4, at least 8, by reflection where it fits."""
    H, W = x.shape[-2:]
    bottom, right = max(8, -(-H // 4) * 4) - H, max(8, -(-W // 4) * 4) - W
    mode = "reflect" if bottom < H and right < W else "replicate"
    return F.pad(x, (0, right, 0, bottom), mode=mode)


@torch.inference_mode()
def translate(translator: nn.Module, x: Tensor) -> Tensor:
    """Return the translation of ``(B, 3, H, W)`` of any size."""
    translated: Tensor = translator(pad(x))
    return translated[..., : x.shape[-2], : x.shape[-1]]


def stretched(x: Tensor) -> Image.Image:
    """Return ``(3, H, W)`` as the authors write it: its own extremes over all channels to 0 and 255, truncated."""
    low, high = x.aminmax()
    # a picture of one value is black
    pixels = (x - low) / (high - low).clamp_min(1e-12) * 255
    return Image.fromarray(pixels.to(torch.uint8).permute(1, 2, 0).cpu().numpy())


def plan(source: Path, output: Path) -> list[tuple[Path, Path]]:
    """Return pairs of an image to read and the one to write.

    JPEG stays JPEG and everything else becomes PNG, unless ``output`` names a file.

    Raises:
        DataError: nothing to translate, or an output that would replace an input.
    """
    if source.is_dir():
        images = list_images(source)
        if not images:
            raise DataError(f"{source}: holds no image ({', '.join(SUFFIXES)})")
    elif source.is_file():
        images = [source]
    else:
        raise DataError(f"{source}: no such file or folder")
    if not source.is_dir() and not output.is_dir() and output.suffix.lower() in SUFFIXES:
        pairs = [(source, output)]
    elif output.exists() and not output.is_dir():
        raise DataError(f"{output}: is a file, expected a folder")
    elif source.is_file() and output.suffix and not output.is_dir():
        raise DataError(f"{output}: expected a folder, or a file with one of the suffixes {', '.join(SUFFIXES)}")
    else:
        pairs = [(p, output / (p.name if p.suffix.lower() in (".jpg", ".jpeg") else f"{p.stem}.png")) for p in images]
    inputs = {p.resolve() for p in images}
    for _, target in pairs:
        if target.resolve() in inputs:
            raise DataError(f"{target}: would replace an input; choose another output")
    return pairs


def batches(
    pairs: Iterable[tuple[Path, Path]], batch_size: int, problems: list[str], tones: Tones = OWN_TONES
) -> Iterator[tuple[Tensor, list[Path]]]:
    """Read the images and join neighbors of equal size; what cannot be used is added to ``problems``."""
    images: list[Tensor] = []
    targets: list[Path] = []
    taken: dict[str, Path] = {}
    for source, target in pairs:
        # JPEG beside PNG are two files, accents composed in two ways are one on some systems
        name = f"{name_of(target)}{target.suffix}"
        if name in taken:
            problems.append(f"{source}: its result would replace that of {taken[name]}")
            continue
        try:
            image = read_thermal(source, tones)
        except DataError as error:
            problems.append(str(error))
            continue
        taken[name] = source
        if images and (len(images) == batch_size or image.shape != images[0].shape):
            yield torch.stack(images), targets
            images, targets = [], []
        images.append(image)
        targets.append(target)
    if images:
        yield torch.stack(images), targets


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


def main(
    input: Path,
    output: Path,
    checkpoint: Path,
    device: str = "auto",
    batch_size: int = 1,
    compile: bool = False,
    stretch: bool = False,
    thermal: ThermalAsked = ThermalAsked(),
) -> int:
    """Translate a night thermal image, or each one in a folder, to daytime color.

    Args:
        input: an image (any size), or a folder of them, which share what becomes black and white.
        output: a folder, made where there is none, or a file name for a single image.
        checkpoint: the folder of a run, or a weights file.
        device: auto, cpu, cuda, cuda:1, mps.
        batch_size: images of equal size that are translated together.
        compile: pass the network through ``torch.compile``: minutes at first, for each size and number of images, then
            about a fifth faster on a CPU; for hundreds of images.
        stretch: write each picture from its own minimum to its own maximum, as the published code does, and not from -1
            to 1; frames of a sequence then differ in brightness and contrast.
        thermal: how thermal frames are read; as in training where nothing is said.

    Returns:
        0, or 1 where an image could not be translated or written; the others are all the same.
    """
    escape_what_cannot_be_shown()
    problems: list[str] = []
    written = 0
    try:
        if batch_size < 1:
            raise DataError(f"batch_size: expected at least 1, got {batch_size}")
        pairs = plan(input, output)
        check_writable(pairs[0][1].parent)
        target_device = choose_device(device)
        translator = load_translator(checkpoint).to(target_device)
        if compile:
            translator.compile()
        sources = [source for source, _ in pairs]
        tones = tones_of(sources, reading(checkpoint, thermal))
        warnings = (f"warning: {text}" for text in look_at_thermal(sources, tones, input))
        for line in (tell_tones(tones, input), *warnings):
            if line is not None:
                print(f"colorize: {line}", file=sys.stderr)
        for images, targets in batches(pairs, batch_size, problems, tones):
            for image, target in zip(translate(translator, images.to(target_device)), targets, strict=True):
                save = partial(save_image, stretched(image) if stretch else to_image(image), target)
                written += attempt(save, target, problems, one_of_many=True)
    except (DataError, WeightsError, OSError) as error:
        problems.append(str(error))
    for problem in problems:
        print(f"colorize: {problem}", file=sys.stderr)
    if written:
        print(f"{written} image{'s' if written > 1 else ''} written to {output}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(call(main))
