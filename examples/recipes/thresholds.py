"""Which thresholds the night labels of a recipe need: precision and recall by class, on scenes that no table uses.

python examples/recipes/thresholds.py --out runs/thresholds --steps 500 --crop 64 --lr 5e-4

Trains cyclegan.py without its two losses, but with the labeler beside it, on scenes of a seed of their own. Then labels
48 thermal scenes, whose truth no training sees, by the student as looks alone have taught it and as it is in the end.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

import cyclegan
from crops import parse, start
from morn_losses import CITYSCAPES, LabelMiner, SemanticDenoiser
from ntir2dc.evaluation import list_cases, read_case
from ntir2dc.files import write_text
from scenes import write_scenes
from segmenters import night_segmenter

GRID = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
SHOWN = (0.1, 0.3, 0.5, 0.7, 0.9)
STAGES = ("before the GAN", "after it")
SCENES_SEED = 1
"""compare.py draws its scenes from seed 0."""

Counts = dict[tuple[str, float], Tensor]
"""For a stage and a threshold of all classes: pixels labeled right, labeled, and true, each ``(K,)``."""


def tally(labels: Tensor, true: Tensor) -> Tensor:
    """Return the pixels of each class that are labeled right, labeled so, and truly so, ``(3, K)``."""
    K, known = len(CITYSCAPES), true != CITYSCAPES.ignore_index
    pairs = ((labels == true) & known, (labels != CITYSCAPES.ignore_index) & known, known)
    return torch.stack([torch.bincount(x[m], minlength=K) for x, m in zip((labels, labels, true), pairs, strict=True)])


def share(part: Tensor, whole: Tensor) -> float | None:
    """Return a share, None of nothing."""
    return part.item() / whole.item() if whole.item() else None


def choose(counts: Counts, stage: str, label: int, precision: float) -> float | None:
    """Return the lowest threshold at which labels of a class are so precise, None where none is."""
    for threshold in GRID:
        right, labeled, _ = counts[stage, threshold][:, label]
        reached = share(right, labeled)
        if reached is not None and reached >= precision:
            return threshold
    return None


def table(counts: Counts, stage: str, precision: float) -> list[list[str]]:
    """Return lines of precision / recall in % by class and threshold, of the classes that occur, and the choice."""
    lines = [[stage, *(f"{t:g}" for t in SHOWN), "chosen"], ["---", *["---:"] * (len(SHOWN) + 1)]]
    for label, name in enumerate(CITYSCAPES.names):
        cells = [counts[stage, t][:, label] for t in SHOWN]
        if cells[0][2]:
            pairs = ((share(right, labeled), share(right, true)) for right, labeled, true in cells)
            numbers = ["-" if p is None else f"{100 * p:.0f} / {100 * (r or 0):.0f}" for p, r in pairs]
            chosen = choose(counts, stage, label, precision)
            lines.append([name, *numbers, "-" if chosen is None else f"{chosen:g}"])
    return lines


@torch.no_grad()
def count(students: Sequence[torch.nn.Module], scenes: Path) -> Counts:
    """Label the ``valB`` of a folder of scenes by a student of each stage at every threshold, denoised, and compare."""
    denoise = SemanticDenoiser.thermal(CITYSCAPES)
    counts: Counts = {(stage, t): torch.zeros(3, len(CITYSCAPES), dtype=torch.long) for stage in STAGES for t in GRID}
    for files in list_cases(scenes):
        case = read_case(files)
        assert case.labels is not None
        thermal = case.night[None]
        for stage, student in zip(STAGES, students, strict=True):
            logits = student(thermal)
            for threshold in GRID:
                labels = denoise(LabelMiner(threshold)(logits, logits), thermal)[0]
                counts[stage, threshold] += tally(labels, case.labels)
    return counts


def main(arguments: list[str] | None = None) -> None:
    """Train, label, and write ``thresholds.md`` and ``thresholds.json``."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog="All other options (--steps, --crop, --lr, ...) go to cyclegan.py, whose --help lists them.",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/thresholds"))
    parser.add_argument("--precision", type=float, default=0.6, help="that a class's threshold has to reach")
    parser.add_argument("--n_train", type=int, default=160, help="training images of each domain")
    parser.add_argument("--images", type=int, default=48, help="thermal scenes that are labeled")
    own, training = parser.parse_known_args(arguments)

    scenes = own.out / "scenes"
    n = {"n_train_a": own.n_train, "n_train_b": own.n_train, "n_val": own.images, "n_judge": 0}
    write_scenes(scenes, seed=SCENES_SEED, size=(96, 128), **n)
    training = [f"--data={scenes}", f"--out={own.out}", "--morn", "--aca=0", "--cgr=0", *training]
    # not one of an earlier call, whose options may have been others
    (own.out / "segmenter.pt").unlink(missing_ok=True)
    cyclegan.main(training)
    before = night_segmenter(parse(__doc__, training)).cpu().eval()
    after = copy.deepcopy(before)
    after.load_state_dict(torch.load(own.out / "night_segmenter.pt", map_location="cpu", weights_only=True))
    counts = count((before, after), scenes)

    tables = [table(counts, stage, own.precision) for stage in STAGES]
    text = "\n\n".join("\n".join("| " + " | ".join(line) + " |" for line in lines) for lines in tables) + "\n"
    chosen = {
        stage: {name: choose(counts, stage, i, own.precision) for i, name in enumerate(CITYSCAPES.names)}
        for stage in STAGES
    }
    pixels = {f"{stage}, {t:g}": x.tolist() for (stage, t), x in counts.items()}
    result = {"chosen": chosen, "precision": own.precision, "pixels": pixels, "training": training}
    write_text(own.out / "thresholds.json", json.dumps(result, indent=1) + "\n")
    write_text(own.out / "thresholds.md", text)
    print(text)


if __name__ == "__main__":
    start(main)
