"""How right the labels are that trained segmenters give thermal images, class by class, on scenes with ground truth.

python examples/studies/pseudo_labels.py --runs '[runs/demo]' --data runs/demo/scenes
python examples/studies/pseudo_labels.py --runs '[runs/a, runs/b]' --data runs/a/scenes --out runs/pseudo_labels
python examples/studies/pseudo_labels.py --runs '[runs/mini/checkpoints]' --data DIR --precision 0.8
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("pseudo_labels.py needs: pip install 'morn-losses[train]'")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from ntir2dc.console import call
from ntir2dc.data.images import DataError
from ntir2dc.evaluation.showing import tell_written
from ntir2dc.files import check_writable
from ntir2dc.run.checkpoint import CheckpointError
from studies.cards.card import save_tables
from studies.teaching.pseudo_labels import (
    RULES,
    acting,
    as_option,
    choose,
    chosen,
    count,
    load_method,
    positions,
    tables,
)


def main(runs: list[Path], data: Path, out: Path = Path("runs/pseudo_labels"), precision: float = 0.7) -> int:
    """Write pseudo_labels.md and pseudo_labels.json into a folder, and print thresholds for the trainer.

    Args:
        runs: folders of runs (or of checkpoints, or stems of the ablation study), of which the spread is shown.
        data: folder with valB, valB_labels and valB_day; to choose thresholds, scenes that no table uses.
        out: where to write.
        precision: of the labels of a class, which its threshold has to reach.

    Returns:
        0, or 1 where a run or the data cannot be used.
    """
    torch.set_num_threads(1)
    try:
        check_writable(out)
        folders = [run / "checkpoints" if (run / "checkpoints").is_dir() else run for run in runs]
        counts = [count(load_method(folder, data), data) for folder in folders]
    except (CheckpointError, DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    problems: list[str] = []
    options = {rule: as_option(choose(counts, rule, precision)) for rule in RULES}
    acts = acting(runs)
    by_threshold = [chosen(counts, rule, precision) for rule in RULES]
    measured = (*tables(counts), *by_threshold, positions(data), *([acts] if acts else []))
    facts = {"runs": [str(run) for run in runs], "precision": precision, "theta": options}
    page = save_tables(out, "pseudo_labels", measured, facts, problems)
    print(f"{page}\n± is the standard deviation over {len(runs)} runs")
    for rule, option in options.items():
        print(f'\n{rule}: --losses.theta "{option}"')
    return tell_written([out / "pseudo_labels.md", out / "pseudo_labels.json"], problems)


if __name__ == "__main__":
    sys.exit(call(main))
