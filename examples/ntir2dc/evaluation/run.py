"""The evaluation of a run: its generator and the rows to compare with, written as table and pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from morn_losses import LabelSpace
from ntir2dc.data.images import DataError, list_images
from ntir2dc.data.thermal import look_at_thermal, tell_tones, tones_of
from ntir2dc.evaluation.cases import Case, find_cases, list_cases, read_case
from ntir2dc.evaluation.features import FeatureDistances, load_features
from ntir2dc.evaluation.figures import evaluate
from ntir2dc.evaluation.objects import ObjectsAsked, find_objects
from ntir2dc.evaluation.result import describe, notes_on
from ntir2dc.evaluation.subject import Subject
from ntir2dc.evaluation.tables import to_markdown
from ntir2dc.evaluation.teacher import pretrained_judge
from ntir2dc.evaluation.watching import Panel, Watcher
from ntir2dc.files import attempt, check_writable, write_text
from ntir2dc.judge import Choice, find_judges


@dataclass(frozen=True)
class FeaturesAsked:
    """In which features translations are compared with true day images.

    Args:
        name: as :func:`ntir2dc.evaluation.features.load_features` takes it.
        real: folder of true day images; None is ``trainA`` of the data.
    """

    name: str
    real: Path | None = None


def evaluate_run(
    subject: Subject,
    space: LabelSpace,
    *,
    choice: Choice = "auto",
    judge_steps: int,
    judge_seed: int = 0,
    limit: int = 0,
    objects: ObjectsAsked | None = None,
    features: FeaturesAsked | None = None,
    teacher: str | None = None,
    offline: bool = False,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = lambda _: None,
    problems: list[str] | None = None,
) -> dict[str, Any]:
    """Evaluate translations and write ``metrics.json``, ``metrics.md`` and ``panels/evaluation.png``.

    Args:
        subject: what is evaluated, and on what; a judge that is trained is kept where the rest is written, as
            ``judge.safetensors``.
        space: the label space of the data.
        choice: of the judge, see :func:`ntir2dc.judge.find_judges`.
        judge_steps: training steps of a judge that is trained.
        judge_seed: of such a judge.
        limit: evaluate only the first images; 0 is all of them.
        objects: what is known of objects, and who looks for them; None is nothing.
        features: of KID and FD; None leaves them out.
        teacher: a pretrained network that judges in the place of all others, see
            :func:`ntir2dc.evaluation.teacher.pretrained_judge`.
        offline: of that network.
        device: where networks run.
        say: is told what is being done.
        problems: is told what could not be used or written while the rest was; None raises it.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        DataError: data or options that cannot be used.
        WeightsError: weights that cannot be used.
    """
    troubles: list[str] = []
    folder, target = subject.folder, subject.target
    check_writable(target)
    # of all frames, whatever the limit
    nights = [files["night"] for files in list_cases(folder)]
    tones = tones_of(nights, subject.thermal)
    warnings = (f"warning: {text}" for text in look_at_thermal(nights, tones, folder / "valB"))
    for line in (tell_tones(tones, folder / "valB"), *warnings):
        if line is not None:
            say(line)
    files = find_cases(folder, space, limit, tones)
    nights, has_day = nights[: len(files)], "day" in files[0]
    translators = subject.ways(space, nights, has_day=has_day, device=device)
    asked = objects or ObjectsAsked()
    search = find_objects(asked, folder, nights, list(translators), device, troubles)
    distances = FeatureDistances(load_features(features.name, device), list(translators), device) if features else None
    labeled = "labels" in files[0]
    judges = None
    if teacher is not None:
        if not labeled:
            raise DataError(f"teacher: expected label maps to compare with in {folder / 'valB_labels'}, found none")
        judges = pretrained_judge(teacher, space, device, offline=offline)
    elif labeled:
        judges = find_judges(
            folder, target / "judge.safetensors", space,
            choice=choice, steps=judge_steps, seed=judge_seed, device=device, say=say,
        )  # fmt: skip
    needed = {"judgeA": bool(list_images(folder / "judgeA")), "valB_labels": labeled}
    missing = [] if judges else [name for name, there in needed.items() if not there]
    judge, second = (judges.first, judges.second) if judges else (None, None)

    panel = Panel(len(files), space, judge, subject.judged)
    watchers: list[Watcher] = [
        panel,
        *([search.finder] if search and search.finder else []),
        *([distances] if distances else []),
    ]

    def look(index: int, case: Case, images: dict[str, Tensor]) -> None:
        for watcher in watchers:
            watcher.look(index, case, images)

    say(f"evaluating {len(files)} night images of {folder / 'valB'}")
    table = evaluate((read_case(f, tones=tones) for f in files), translators, judge, space, look, second)
    config = subject.trained.config if subject.trained else None
    result = describe(config, folder, files, table, judges, [*notes_on(missing, has_day, judges), *subject.notes])
    if search:
        result["objects"] = search.describe(asked)
    if features and distances:
        result["distances"] = distances.describe(features.name, features.real or folder / "trainA")
    outputs: dict[str, Callable[[Path], None]] = {
        "metrics.json": partial(write_text, text=json.dumps(result, indent=2, allow_nan=False) + "\n"),
        "metrics.md": partial(write_text, text=to_markdown(result)),
        "panels/evaluation.png": panel.save,
    }
    for name, write in outputs.items():
        attempt(partial(write, target / name), target / name, troubles)
    if problems is None and troubles:
        raise DataError("; ".join(troubles))
    if problems is not None:
        problems += troubles
    return result
