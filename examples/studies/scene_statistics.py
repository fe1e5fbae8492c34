"""How like real frames procedural scenes are: gray levels, gradients, noise, warm blobs, colors and classes of both.

python examples/studies/scene_statistics.py --real DIR --scenes runs/demo/scenes
python examples/studies/scene_statistics.py --real DIR --scenes runs/ablation/scenes --out runs/scene_statistics
python examples/studies/scene_statistics.py --real runs/demo/scenes --scenes runs/ablation/scenes --out runs/worlds
"""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("scene_statistics.py needs: pip install 'morn-losses[train]'")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


from morn_losses import CITYSCAPES
from ntir2dc.console import call
from ntir2dc.data.images import DataError, list_images, save_image
from ntir2dc.evaluation.showing import tell_written
from ntir2dc.files import attempt, check_writable
from studies.cards.card import save_tables
from studies.frames.scene_statistics import (
    THERMAL,
    class_shares,
    class_table,
    color_statistics,
    compare,
    draw_curves,
    furthest,
    make_groups,
    read_pictures,
)


def main(real: Path, scenes: Path, out: Path = Path("runs/scene_statistics")) -> int:
    """Write scene_statistics.md, scene_statistics.json and scene_statistics.png, which show no image.

    Args:
        real: data folder of real frames, with trainB and, for colors and classes, trainA and its labels.
        scenes: folder of procedural scenes, all of one size, such as a run's or a study's.
        out: where to write.

    Returns:
        0, or 1 where a folder cannot be used.
    """
    try:
        check_writable(out)
        thermal = make_groups(*(read_pictures(folder / "trainB", thermal=True) for folder in (real, scenes)))
        tables = [compare(title, measure, thermal) for title, measure in THERMAL.items()]
        counts = {"trainB": [len(group.pictures) for group in thermal[1:]]}
        if all(list_images(folder / "trainA") for folder in (real, scenes)):
            color = make_groups(*(read_pictures(folder / "trainA", thermal=False) for folder in (real, scenes)))
            tables.append(compare("color images", color_statistics, color))
            counts["trainA"] = [len(group.pictures) for group in color[1:]]
            shares = [class_shares(folder, CITYSCAPES) for folder in (real, scenes)]
            if all(shares):
                tables.append(class_table(*shares))
        curves, path = draw_curves(thermal), out / "scene_statistics.png"
        problems: list[str] = []
        attempt(partial(save_image, curves, path), path, problems)
    except (DataError, OSError) as error:
        print(f"scene_statistics: {error}", file=sys.stderr)
        return 1
    facts = {"real": str(real), "scenes": str(scenes), "images": counts, "furthest apart": furthest(tables)}
    print(save_tables(out, "scene_statistics", tables, facts, problems))
    print("mean ±standard deviation over the images; furthest apart, in standard deviations:")
    for name, apart in facts["furthest apart"]:
        print(f"  {apart:+.1f}  {name}")
    return tell_written([out / f"scene_statistics.{kind}" for kind in ("md", "json", "png")], problems)


if __name__ == "__main__":
    sys.exit(call(main))
