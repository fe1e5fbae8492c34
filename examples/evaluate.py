"""Evaluate a run: mIoU, edges, PSNR and SSIM of its translations, beside rows that cost nothing.

python examples/evaluate.py --run runs/demo
python examples/evaluate.py --run runs/mini --data DIR
python examples/evaluate.py --run runs/mini --limit 20 --device cpu
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("evaluate.py needs: pip install 'morn-losses[train]'")

from morn_losses import CITYSCAPES
from ntir2dc.console import call, escape_what_cannot_be_shown
from ntir2dc.data.images import DataError
from ntir2dc.evaluation import evaluate_run, format_cells, format_classes
from ntir2dc.evaluation.showing import check_options, show, tell_written, wide_console
from ntir2dc.judge import STEPS, Choice
from ntir2dc.run.device import choose_device
from ntir2dc.run.weights import WeightsError


def main(
    run: Path,
    data: Path | None = None,
    judge: Choice = "auto",
    judge_steps: int = STEPS,
    judge_seed: int = 0,
    limit: int = 0,
    device: str = "auto",
) -> int:
    """Evaluate a run; writes metrics.json, metrics.md and panels/evaluation.png into its folder.

    Args:
        run: folder of the run.
        data: folder with valB and, where known, valB_day, valB_labels, judgeA and judgeA_labels; the run's own data
            if it is not given.
        judge: which segmentation network reads the translations: shipped (two of them, trained on procedural scenes),
            trained (on judgeA, kept in the run's folder), or auto: shipped for procedural scenes, else trained.
        judge_steps: training steps of a judge that is trained.
        judge_seed: seed of such a judge.
        limit: evaluate only the first images; 0 is all of them.
        device: auto, cpu, cuda, cuda:1, mps.

    Returns:
        0, or 1 where the run cannot be evaluated.
    """
    escape_what_cannot_be_shown()
    problems: list[str] = []
    try:
        check_options(judge_steps, judge_seed, limit)
        result = evaluate_run(
            run, CITYSCAPES, data=data, choice=judge, judge_steps=judge_steps, judge_seed=judge_seed, limit=limit,
            device=choose_device(device), say=print, problems=problems,
        )  # fmt: skip
    except (DataError, WeightsError, OSError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    console = wide_console()
    show(*format_cells(result), console)
    head, rows = format_classes(result)
    if rows:
        show(head, rows, console)
    for note in result["notes"]:
        console.print(note, highlight=False)
    return tell_written([run / name for name in ("metrics.json", "metrics.md", "panels/evaluation.png")], problems)


if __name__ == "__main__":
    sys.exit(call(main))
