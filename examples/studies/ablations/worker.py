"""Train a run, or go on training it, and score it: the process that a study starts for each row and seed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from morn_losses import CITYSCAPES
from ntir2dc.evaluation import list_cases, run_network, score
from ntir2dc.judge import find_judges
from ntir2dc.run.checkpoint import list_checkpoints
from ntir2dc.run.weights import load_translator
from studies.ablations.scoring import save_scores
from studies.ablations.stems import save_stem
from train_morngan import main as train


def steps_done(run: Path) -> int:
    """Return the steps of a run's newest checkpoint, 0 without one."""
    saved = list_checkpoints(run / "checkpoints")
    return int(saved[-1].stem.removeprefix("step_")) if saved else 0


def main(text: str) -> int:
    """Complete a run.

    Args:
        text: JSON with ``run``, a folder that holds ``options.json``; its ``steps``; ``stems``, the steps after which
            its state is kept; ``data``; the ``judge`` (null without labels), as ``find_judges`` takes it, with its
            ``judge_file`` and ``judge_steps``; ``device``.

    Returns:
        0, or 1 where training failed or was stopped.
    """
    given = json.loads(text)
    run, data, device = Path(given["run"]), Path(given["data"]), given["device"]
    for stop in (*given["stems"], given["steps"]):
        done = steps_done(run)
        if done < stop:
            command = ["--config", str(run / "options.json"), "--max_steps", str(stop)]
            if train(command + (["--resume"] if done else [])) or steps_done(run) != stop:
                return 1
        if stop != given["steps"]:
            save_stem(run, stop)
    judges = None
    if given["judge"] is not None:
        judges = find_judges(
            data, Path(given["judge_file"]), CITYSCAPES,
            choice=given["judge"], steps=given["judge_steps"], device=device,
        )  # fmt: skip
    first, second = (judges.first, judges.second) if judges else (None, None)
    translate = run_network(load_translator(run).to(device), device)
    save_scores(run / "scores.npz", score(list_cases(data), translate, first, CITYSCAPES, second))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
