"""What no row may change: the scenes (or a folder of real frames) and the judge, known by their hashes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from morn_losses import LabelSpace
from ntir2dc.data.folders import check_training_data
from ntir2dc.data.images import list_images
from ntir2dc.evaluation import INPUT, TINTED, TRUTH, Translate, find_cases, score, tint, true_day
from ntir2dc.files import write_atomically
from ntir2dc.judge import Choice, find_judges, hash_files
from scenes import write_scenes
from studies.ablations.design import Base
from studies.ablations.scoring import save_scores

FOLDERS = (
    *("trainA", "trainB", "labelsA", "labels_pred1", "labels_pred2", "edgesA", "edgesB"),
    *("valB", "valB_day", "valB_labels", "judgeA", "judgeA_labels"),
)
REFERENCES: dict[str, Translate] = {
    INPUT: lambda case: case.night,
    TINTED: lambda case: tint(case.night),
    TRUTH: true_day,
}
"""Rows that cost no training, to read the others by."""


@dataclass(frozen=True)
class Frozen:
    """The scenes and the judge of a study.

    Args:
        data: folder of the scenes.
        scenes_sha256: of all their files.
        judge: which one it is, as ``find_judges`` takes it.
        judge_file: where one that is trained is kept.
        judge_steps: those of one that is trained.
        judge_sha256: of its weights; None where the data has no labels to judge by.
        second_sha256: of the second judge's weights; None without one.
    """

    data: Path
    scenes_sha256: str
    judge: Choice
    judge_file: Path
    judge_steps: int
    judge_sha256: str | None
    second_sha256: str | None

    def hashes(self) -> dict[str, str | None]:
        """Return what identifies scenes and judges."""
        return {
            "scenes_sha256": self.scenes_sha256,
            "judge_sha256": self.judge_sha256,
            "second_judge_sha256": self.second_sha256,
        }


def render(folder: Path, base: Base, say: Callable[[str], None]) -> None:
    """Render the scenes unless they are there; scenes of other parameters are replaced."""
    say(f"scenes: rendered into {folder} unless they are there")
    scenes = base.config.dataset.scenes()
    try:
        write_scenes(folder, **scenes)
    except ValueError as error:
        say(f"scenes: rendered anew ({error})")
        shutil.rmtree(folder)
        write_scenes(folder, **scenes)


def freeze(
    out: Path,
    base: Base,
    space: LabelSpace,
    *,
    data: Path | None = None,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = lambda _: None,
) -> Frozen:
    """Make, or find made, the scenes, the judge and the scores of the reference rows.

    Args:
        out: folder of the study: ``scenes``, ``judge.safetensors``, ``frozen.json`` and ``references`` are in it.
        base: sizes of the scenes, and the judge.
        space: the label space.
        data: a folder of real frames instead of scenes.
        device: where judges run.
        say: is told what is being done.

    Raises:
        DataError: frames that cannot be used.
    """
    folder = data or out / "scenes"
    if data is None:
        render(folder, base, say)
    else:
        labeled = any(list_images(data / name) for name in ("labelsA", "labels_pred1"))
        check_training_data(data, space, crop=base.config.dataset.crop, need_labels=labeled)
    files = [path for name in FOLDERS for path in list_images(folder / name)]
    cases = find_cases(folder, space)
    kept, judges = out / "judge.safetensors", None
    if "labels" in cases[0]:
        judges = find_judges(folder, kept, space, choice=base.judge, steps=base.judge_steps, device=device, say=say)
    first, second = (judges.first, judges.second) if judges else (None, None)
    hashes = judges.facts if judges else {}
    names = ("weights_sha256", "second_weights_sha256")
    known = (str(hashes[name]) if name in hashes else None for name in names)
    frozen = Frozen(folder, hash_files(files), base.judge, kept, base.judge_steps, *known)

    record = out / "frozen.json"
    text = json.dumps(frozen.hashes(), indent=2) + "\n"
    if not record.is_file() or record.read_text() != text:
        for name, translate in REFERENCES.items():
            path = reference_path(out, name)
            path.unlink(missing_ok=True)
            if name != TRUTH or "day" in cases[0]:
                save_scores(path, score(cases, translate, first, space, second))
        write_atomically(record, text.encode())
    return frozen


def reference_path(out: Path, name: str) -> Path:
    """Return where the scores of a reference row are kept."""
    return out / "references" / f"{name.replace(' ', '_')}.npz"
