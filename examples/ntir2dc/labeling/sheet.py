"""What was predicted, to be looked at: images beside their maps, over a legend of the classes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from morn_losses import LabelSpace
from ntir2dc.data.images import read_color, to_image
from ntir2dc.data.maps import read_labels
from ntir2dc.files import write_atomically
from ntir2dc.run.contact_sheet import colorize_labels, contact_sheet

ROWS = 8
_SIDE, _ENTRY, _LINE = 320, 150, 18


def save_label_sheet(path: Path, images: Sequence[Path], folders: Sequence[Path], space: LabelSpace) -> None:
    """Write up to eight images, evenly placed, beside the map of their name in each folder, and the legend."""
    whole = [image for image in images if all((folder / f"{image.stem}.png").is_file() for folder in folders)]
    places = np.linspace(0, len(whole) - 1, min(len(whole), ROWS)).astype(int)
    rows = []
    for image in (whole[place] for place in places):
        maps = [read_labels(folder / f"{image.stem}.png") for folder in folders]
        rows.append([_fitted(to_image(read_color(image))), *(_fitted(colorize_labels(one, space)) for one in maps)])
    if not rows:
        return
    sheet = contact_sheet(rows, ["image", *(folder.name for folder in folders)])
    buffer = io.BytesIO()
    with_legend(sheet, space).save(buffer, format="PNG")
    write_atomically(path, buffer.getvalue())


def with_legend(sheet: Image.Image, space: LabelSpace) -> Image.Image:
    """Return a picture with the color and the name of every class below it."""
    names = [*space.names, "unlabeled"]
    ids = torch.tensor([*range(len(space)), space.ignore_index])
    colors = np.array(colorize_labels(ids[None], space))[0]
    columns = max(1, sheet.width // _ENTRY)
    lines = -(-len(names) // columns)
    whole = Image.new("RGB", (max(sheet.width, _ENTRY), sheet.height + _LINE * lines + 4), "white")
    whole.paste(sheet, (0, 0))
    draw = ImageDraw.Draw(whole)
    for place, (name, color) in enumerate(zip(names, colors.tolist(), strict=True)):
        left, top = 4 + place % columns * _ENTRY, sheet.height + place // columns * _LINE
        draw.rectangle((left, top, left + 12, top + 12), fill=tuple(color))
        # the small built-in font knows Latin letters only
        draw.text((left + 17, top), name.encode("ascii", "replace").decode(), fill="black")
    return whole


def _fitted(picture: Image.Image) -> Image.Image:
    """Return a picture that fills a place of the sheet, each pixel one or several."""
    enlarged = max(1, _SIDE // max(picture.size))
    picture = picture.resize((picture.width * enlarged, picture.height * enlarged), Image.Resampling.NEAREST)
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.NEAREST)
    return picture
