"""How well S_B reads thermal images before any is translated: trained on color images in gray, or in a thermal look.

python examples/studies/looks.py --out runs/looks
python examples/studies/looks.py --images 320 --tested 96
python examples/studies/looks.py --seeds 1 --steps 100 --score_every 20
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("looks.py needs: pip install 'morn-losses[train]'")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from morn_losses import CITYSCAPES
from ntir2dc.config import make_config
from ntir2dc.console import call
from ntir2dc.data.folders import prepare_training_data
from ntir2dc.data.images import DataError
from ntir2dc.evaluation.showing import tell_written
from ntir2dc.files import check_writable
from scenes import write_scenes
from studies.cards.card import save_tables
from studies.teaching.looks import study
from studies.teaching.segmenters import Options

SCENES_SEED = 1
"""Every table of the documentation draws its scenes from seed 0."""


def main(
    out: Path = Path("runs/looks"),
    seeds: int = 3,
    steps: int = 500,
    score_every: int = 50,
    images: int = 160,
    tested: int = 48,
    crop: int = 96,
    rows: tuple[str, ...] = (),
) -> int:
    """Write looks.md and looks.json into a folder.

    Args:
        out: the folder.
        seeds: trainings of every row.
        steps: of each training.
        score_every: steps between two scores; the table shows the mean of the last three.
        images: color scenes that are trained on.
        tested: thermal scenes that are scored.
        crop: side of the crops.
        rows: only these rows; all of them if empty.

    Returns:
        0, or 1 where the folder or an option is wrong.
    """
    torch.set_num_threads(1)  # sums differ with the number of threads
    options = Options(seeds=seeds, steps=steps, score_every=score_every, rows=tuple(rows))
    config = make_config("mini")
    networks = dataclasses.replace(config.networks, segmenter_coordinates="frame")
    config = dataclasses.replace(
        config, out=str(out), device="cpu", networks=networks, dataset=dataclasses.replace(config.dataset, crop=crop)
    )
    try:
        check_writable(out)
        folder = out / "scenes"
        write_scenes(folder, seed=SCENES_SEED, n_train_a=images, n_train_b=1, n_val=tested, n_judge=0, size=(96, 128))
        frames = prepare_training_data(folder, out / "cache", CITYSCAPES, crop=crop, report=print)
        table = study(config, frames, folder, options)
    except (DataError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    problems: list[str] = []
    facts = {"options": dataclasses.asdict(options), "crop": crop, "torch": torch.__version__}
    page = save_tables(out, "looks", [table], facts, problems)
    print(f"\n{page}\n± is the standard deviation over {seeds} seeds")
    return tell_written([out / "looks.md", out / "looks.json"], problems)


if __name__ == "__main__":
    sys.exit(call(main))
