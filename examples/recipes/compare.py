"""What ACA and CGR change in the plain CycleGAN: several seeds without and with them, at the same number of steps.

python examples/recipes/compare.py --out runs/compare
python examples/recipes/compare.py --out runs/compare --rows base,aca,cgr,both

The runs of a seed start from the same weights and see the same crops. The translations of unseen scenes are measured as
``examples/evaluate.py`` measures them; no recipe sees the labels or the images that this uses.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

import cyclegan
from crops import start
from morn_losses import CITYSCAPES
from ntir2dc.evaluation import (
    COLUMNS,
    INPUT,
    TRUTH,
    Case,
    Row,
    Translate,
    evaluate,
    list_cases,
    read_case,
    run_network,
    true_day,
)
from ntir2dc.files import write_text
from ntir2dc.judge import load_shipped
from ntir2dc.run.contact_sheet import save_sheet
from scenes import write_scenes

# a loss of weight 0 is computed all the same, so that random draws are those of the other rows
ROWS = {
    "base": ("CycleGAN", []),
    "aca": ("CycleGAN + ACA", ["--morn", "--cgr", "0"]),
    "cgr": ("CycleGAN + CGR", ["--morn", "--aca", "0"]),
    "both": ("CycleGAN + ACA + CGR", ["--morn"]),
}
"""By their names on the command line: how tables call them, and what they give cyclegan.py."""

PICTURES = 4


def spread(values: Sequence[float], scale: float, digits: int) -> str:
    """Return mean and standard deviation as text."""
    if not all(math.isfinite(v) for v in values):
        return "-"
    text = f"{scale * statistics.fmean(values):.{digits}f}"
    return text + (f" ±{scale * statistics.stdev(values):.{digits}f}" if len(values) > 1 else "")


def table(rows: Sequence[Row], n_seeds: int, kinds: Sequence[str]) -> str:
    """Return the figures as Markdown: each kind of run over the seeds, paired differences to the first, both ends."""
    by_name = {row.name: {key: figure.value for key, figure in row.figures.items()} for row in rows}
    values = {kind: [by_name[f"{kind}, seed {s}"] for s in range(n_seeds)] for kind in kinds}
    lines = {INPUT: [by_name[INPUT]], **values}
    first, *others = kinds
    for kind in others:
        name = "difference" if len(others) == 1 else f"difference, {kind}"
        lines[name] = [{k: m[k] - p[k] for k in m} for p, m in zip(values[first], values[kind], strict=True)]
    lines[TRUTH] = [by_name[TRUTH]]
    cells = [["", *(c.title for c in COLUMNS)], ["---", *["---:"] * len(COLUMNS)]]
    for name, figures in lines.items():
        cells.append([name, *(spread([f[c.key] for f in figures], c.scale, c.digits) for c in COLUMNS)])
    return "\n".join("| " + " | ".join(line) + " |" for line in cells) + "\n"


def choose(text: str) -> list[str]:
    """Return the names of rows between commas.

    Raises:
        argparse.ArgumentTypeError: an unknown name, or the same one twice.
    """
    names = text.split(",")
    if not set(names) <= set(ROWS) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"expected different ones of {', '.join(ROWS)}, got {text!r}")
    return names


def main(arguments: list[str] | None = None) -> None:
    """Train, measure, and write ``compare.md``, ``compare.json`` and ``compare.png``."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog="All other options (--steps, --crop, --lr, ...) go to cyclegan.py, whose --help lists them.",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/compare"))
    parser.add_argument(
        "--rows", type=choose, default="base,both", help=f"of {', '.join(ROWS)}; the first is what others differ from"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n_train", type=int, default=160, help="training images of each domain")
    parser.add_argument("--images", type=int, default=24, help="unseen night images that are measured")
    options, training = parser.parse_known_args(arguments)

    def say(text: str) -> None:
        print(text, flush=True)

    scenes = options.out / "scenes"
    write_scenes(
        scenes,
        seed=0,
        n_train_a=options.n_train,
        n_train_b=options.n_train,
        n_val=options.images,
        n_judge=0,
        size=(96, 128),
    )
    translators: dict[str, Translate] = {INPUT: lambda case: case.night}
    seconds: dict[str, float] = {}
    for seed in range(options.seeds):
        # one for all rows; not one of an earlier call, whose options may have been others
        segmenter = options.out / f"segmenter_{seed}.pt"
        segmenter.unlink(missing_ok=True)
        for row in options.rows:
            kind, flags = ROWS[row]
            name = f"{kind}, seed {seed}"
            say(name)
            out = options.out / f"{row}_{seed}"
            common = ["--data", str(scenes), "--out", str(out), "--seed", str(seed), "--segmenter", str(segmenter)]
            started = time.perf_counter()
            generator = cyclegan.main([*common, *flags, *training])
            seconds[name] = time.perf_counter() - started
            translators[name] = run_network(generator.eval(), next(generator.parameters()).device)
    translators[TRUTH] = true_day

    columns: list[list[Tensor]] = []
    files = list_cases(scenes)
    shown = {round(i * len(files) / PICTURES) for i in range(PICTURES)}

    def look(index: int, case: Case, images: dict[str, Tensor]) -> None:
        if index in shown:
            columns.append(list(images.values()))

    rows = evaluate((read_case(f) for f in files), translators, load_shipped("a"), CITYSCAPES, look, load_shipped("b"))
    kinds = [ROWS[row][0] for row in options.rows]
    text = table(rows, options.seeds, kinds)
    write_text(options.out / "compare.md", text)
    figures = {
        row.name: {k: f.value if math.isfinite(f.value) else None for k, f in row.figures.items()} for row in rows
    }
    iou = {row.name: {k: v if math.isfinite(v) else None for k, v in row.iou.items()} for row in rows}
    result = {"figures": figures, "iou": iou, "seconds": seconds, "training": training, "torch": torch.__version__}
    write_text(options.out / "compare.json", json.dumps(result, indent=2, allow_nan=False) + "\n")
    text_above = f"rows: night; {', '.join(kinds)}, for each seed; true day"
    titles = (text_above, *[""] * (len(columns) - 1))
    save_sheet(options.out / "compare.png", list(zip(*columns, strict=True)), titles)
    say(text)


if __name__ == "__main__":
    start(main)
