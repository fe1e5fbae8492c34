"""Render procedural street scenes: night thermal and day color frames of other streets, and the truth of some.

python examples/render_scenes.py --out runs/scenes
python examples/render_scenes.py --out runs/large --train 400 --val 60 --height 192 --width 256 --seed 3
python examples/render_scenes.py --out runs/world_b --world b --judge 0
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import get_args

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("render_scenes.py needs: pip install 'morn-losses[train]'")

from ntir2dc.config import DataOptions, make_config
from ntir2dc.console import call
from scenes import write_scenes
from scenes.worlds import WorldName

DEMO: DataOptions = make_config("demo").dataset


def main(
    out: Path,
    train: int = DEMO.scenes_a,
    val: int = DEMO.scenes_val,
    judge: int = DEMO.scenes_judge,
    height: int = DEMO.scene_height,
    width: int = DEMO.scene_width,
    seed: int = DEMO.scene_seed,
    world: WorldName = "a",
) -> int:
    """Render scenes into a folder that the other commands take; by default those of the demo.

    Args:
        out: a new folder; one that holds the same scenes is left as it is.
        train: frames of each domain to train on.
        val: thermal frames with true labels, boxes and day images.
        judge: further day frames with true labels.
        height: of the frames.
        width: of the frames.
        seed: scenes of one seed share nothing with those of another.
        world: a, or b: another city with other cameras.

    Returns:
        0, or 1 where the folder cannot be written, holds something else, or an option is wrong.
    """
    try:
        if world not in get_args(WorldName):
            raise ValueError(f"world: expected one of {', '.join(get_args(WorldName))}, got {world!r}")
        write_scenes(
            out,
            seed=seed,
            n_train_a=train,
            n_train_b=train,
            n_val=val,
            n_judge=judge,
            size=(height, width),
            world=world,
        )
    except (ValueError, OSError) as error:
        print(f"render_scenes: {error}", file=sys.stderr)
        return 1
    print(f"written: {out}, {train} frames of each domain and {val} with their truth")
    return 0


if __name__ == "__main__":
    sys.exit(call(main))
