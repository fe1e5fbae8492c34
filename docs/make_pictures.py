"""Make the pictures of README and docs: procedural scenes, and what a demo run makes of unseen night frames.

python docs/make_pictures.py --run runs/demo
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]

from morn_losses import CITYSCAPES  # noqa: E402
from ntir2dc.data.images import read_color, read_thermal, to_image  # noqa: E402
from ntir2dc.run.contact_sheet import colorize_labels, contact_sheet  # noqa: E402
from ntir2dc.run.shipped import TRANSLATOR  # noqa: E402
from ntir2dc.run.weights import load_translator  # noqa: E402
from scenes import predict_labels, render_scene  # noqa: E402
from scenes.folder import FIRST_INDEX  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"


def enlarged(picture: Image.Image, factor: int = 2) -> Image.Image:
    """Return the picture with every pixel repeated."""
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def scenes() -> None:
    """Scenes 0 to 3 of seed 0: day, night thermal, true labels and the two imperfect predictions."""
    rows = []
    for index in range(4):
        scene = render_scene(0, index, (96, 128))
        maps = [scene.labels, *predict_labels(scene, 0, index)]
        labels = [colorize_labels(torch.from_numpy(m.astype("int64")), CITYSCAPES) for m in maps]
        night = Image.fromarray(scene.thermal).convert("RGB")
        rows.append([enlarged(p) for p in (Image.fromarray(scene.color), night, *labels)])
    titles = ("day", "night thermal", "true labels", "first prediction", "second prediction")
    contact_sheet(rows, titles).save(PICTURES / "scenes.png", optimize=True)


@torch.inference_mode()
def translator() -> None:
    """Every sixth of the demo's unseen scenes: night input, what the shipped translator makes of it, true day."""
    translate = load_translator(TRANSLATOR)
    rows = []
    for index in range(0, 24, 6):
        scene = render_scene(0, FIRST_INDEX["valB"] + index, (96, 128))
        night = to_tensor(scene.thermal)
        pictures = to_image(night), to_image(translate(night[None])[0]), Image.fromarray(scene.color)
        rows.append([enlarged(picture, 3) for picture in pictures])
    contact_sheet(rows, ("", "", "")).save(PICTURES / "translator.png", optimize=True)


def to_tensor(gray: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Return ``(3, H, W)`` in [-1, 1], as an 8-bit thermal frame is read."""
    return torch.from_numpy(gray)[None].expand(3, -1, -1) / 127.5 - 1


@torch.inference_mode()
def demo(run: Path) -> None:
    """Every sixth validation scene of a demo run: night input, translation, true day image. None is left out."""
    translator = load_translator(run)
    columns = []
    for path in sorted((run / "scenes" / "valB").glob("*.png"))[::6]:
        night = read_thermal(path)
        day = read_color(run / "scenes" / "valB_day" / path.name)
        columns.append([enlarged(to_image(x)) for x in (night, translator(night[None])[0], day)])
    rows = list(zip(*columns, strict=True))
    titles = ("night thermal input, its translation, and the true day image", *[""] * (len(columns) - 1))
    contact_sheet(rows, titles).save(PICTURES / "demo.png", optimize=True)


def main() -> None:
    """Write all pictures to docs/pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "demo", help="folder of a finished demo run")
    arguments = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    scenes()
    translator()
    demo(arguments.run)


if __name__ == "__main__":
    main()
