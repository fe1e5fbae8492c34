"""Make the pictures of the page on failures, from those of the report card and from two losses on a blurred image.

python docs/make_failures.py

Columns of the report card's pictures are cut out and enlarged, always of its first two scenes, which nobody has chosen.
It has no card for bleeding colors, so that these are made here, of two other scenes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]

from morn_losses.edges import canny_edges  # noqa: E402
from morn_losses.functional import sga_loss, total_variation_loss  # noqa: E402
from ntir2dc.data.images import to_image  # noqa: E402
from ntir2dc.run.contact_sheet import contact_sheet  # noqa: E402
from scenes import render_scene  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
CELL, GAP, HEAD = (128, 96), 4, 16
ROWS = 2
STEPS = 200


def cells(card: str, columns: Sequence[int], rows_below: int) -> list[list[Image.Image]]:
    """Cut columns out of the sheet at the bottom of a card's picture, which has so many rows; the first two rows."""
    picture = Image.open(PICTURES / "report_card" / f"{card}.png").convert("RGB")
    width, height = CELL
    top = picture.height - rows_below * (height + GAP)
    found = []
    for row in range(ROWS):
        corners = [(GAP + column * (width + GAP), top + row * (height + GAP)) for column in columns]
        found.append([picture.crop((x, y, x + width, y + height)) for x, y in corners])
    return found


def sheet(rows: list[list[Image.Image]], titles: Sequence[str]) -> Image.Image:
    """Enlarge the pictures and put titles above them."""
    twice = [[p.resize((2 * p.width, 2 * p.height), Image.Resampling.NEAREST) for p in row] for row in rows]
    return contact_sheet(twice, titles).quantize(128, dither=Image.Dither.NONE)


def colors(scene: Tensor, edges: Tensor, *, sga: float, tv: float) -> Tensor:
    """Return an image that has the coarse colors of a scene and what the two losses make of the rest."""
    coarse = F.avg_pool2d(scene, 16)
    pixels = F.interpolate(coarse, scene.shape[2:], mode="bilinear").requires_grad_()
    optimizer = torch.optim.Adam([pixels], lr=0.02)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = 10 * (F.avg_pool2d(pixels, 16) - coarse).abs().mean()
        loss = loss + tv * total_variation_loss(pixels).mean() + sga * sga_loss(pixels, edges).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return pixels.detach().clamp(-1, 1)


def bleeding() -> list[list[Image.Image]]:
    """Coarse colors alone; with edges asked for; and with calm in between."""
    rows = []
    for index in range(ROWS):
        scene = render_scene(0, 1_000_000 + index, CELL[::-1])
        day = torch.from_numpy(scene.color.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        night = (torch.from_numpy(scene.thermal.copy())[None, None].float() / 127.5 - 1).repeat(1, 3, 1, 1)
        edges = canny_edges(night).float()
        made = [colors(day, edges, sga=sga, tv=tv) for sga, tv in ((0, 5), (0.5, 0), (0.5, 5))]
        rows.append([to_image(x[0]) for x in (night, *made)])
    return rows


def cut() -> dict[str, Image.Image]:
    """Return the pictures that the report card has, by name."""
    chosen = {
        "edges": (cells("cgr", (0, 4, 5), 4), ("night image", "before: total variation alone", "after: with CGR")),
        "classes": (cells("labels", (0, 2, 5), 4), ("day image", "before: one prediction", "after: fused, denoised")),
        "small": (
            cells("memory", (0, 1, 5, 3), 4),
            ("day image", "its small classes", "before: a random partner's", "after: that of the memory, k = 10"),
        ),
        "sizes": (
            cells("sr", (2, 4, 5, 7), 3),
            ("before: scale 0.5", "before: scale 1.5", "after, with SR: scale 0.5", "after, with SR: scale 1.5"),
        ),
    }
    return {name: sheet(rows, titles) for name, (rows, titles) in chosen.items()}


def main() -> None:
    """Write all pictures to docs/pictures/failures."""
    folder = PICTURES / "failures"
    folder.mkdir(exist_ok=True)
    titles = ("night image", "before: TV alone", "SGA alone", "after: TV and SGA")
    for name, picture in {**cut(), "colors": sheet(bleeding(), titles)}.items():
        picture.save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
