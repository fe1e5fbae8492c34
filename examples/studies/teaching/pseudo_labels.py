"""How right the labels are that a run gives its thermal images, and where on the way to them the classes get lost.

On scenes with true labels and true day images of the thermal frames: S_A on the true day image (what it has learned),
S_A on the translation (what the generator keeps of that), S_A on the day image after the cycle, S_B on the translated
day image (what it learns from) and on the thermal image (what it meets), and what is mined and denoised. Then what the
rules of mining would give at which threshold: S_B alone, or where both segmenters agree (Eq. 8-9), and the thresholds
to take for a precision. At last how often ACA found something to work with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from morn_losses import CITYSCAPES, LabelSpace
from morn_losses.functional import mine_labels
from ntir2dc.config import TrainConfig, from_stored
from ntir2dc.data.folders import Frame, TrainingData
from ntir2dc.data.images import DataError
from ntir2dc.evaluation import find_cases, list_cases, read_case
from ntir2dc.methods.morngan import MornGAN
from ntir2dc.methods.morngan.schedule import Phase
from ntir2dc.parallel.microbatches import Microbatches
from ntir2dc.parallel.world import World
from ntir2dc.report.curves import PRESENT
from ntir2dc.run.checkpoint import load_newest
from ntir2dc.run.log import read_log
from studies.cards.card import Table, Values, share

STAGES = (
    "S_A, true day image",
    "S_A, translation",
    "S_A, day image after the cycle",
    "S_B, translated day image",
    "S_B, thermal image",
    "mined",
)
THRESHOLDS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9, 0.95)
RULES = ("S_B", "both")
SHOWN = (0.3, 0.5, 0.7, 0.9, 0.95)
STRIDES = (1, 2, 4, 8)


def by_rule(thresholds: Sequence[float]) -> tuple[str, ...]:
    """Return what each rule of mining at each threshold is called."""
    return tuple(f"{rule} above {t}" for rule in RULES for t in thresholds)


SWAPPED = 0.2
"""Share of a class's pixels from which on being read as another one is told."""

Counts = dict[str, NDArray[np.int64]]
"""For each stage and each rule, pixels by true (row) and given (column) class; the last column: without a label."""


def load_method(folder: Path, data: Path, space: LabelSpace = CITYSCAPES) -> MornGAN:
    """Return MornGAN with the networks of the newest checkpoint in a folder, to look at the ``valB`` of ``data``.

    Raises:
        CheckpointError: there is none that can be read.
        DataError: the run has no segmenters, or the folder no images.
    """
    state = load_newest(folder)
    config: TrainConfig = from_stored(state["config"])
    if not config.modules.sc:
        raise DataError(f"{folder}: the run has no segmenters (modules.sc is off)")
    frames = tuple(Frame(files["night"]) for files in find_cases(data, space))
    microbatches = Microbatches(World(), 1, config.batch_size, config.seed)
    method = MornGAN(config, TrainingData((), frames, ()), space, microbatches, say=lambda _: None)
    method.networks.load_state_dict(state["model"])
    method.networks.eval()
    return method


@torch.no_grad()
def count(method: MornGAN, data: Path) -> Counts:
    """Compare the labels of every stage and rule with the truth, over the ``valB`` of a folder of scenes.

    Raises:
        DataError: the folder lacks true labels or true day images.
    """
    K, ignored = len(method.space), method.space.ignore_index
    counts = {name: np.zeros((K, K + 1), np.int64) for name in (*STAGES, *by_rule(THRESHOLDS))}
    networks, denoise = method.networks, method.labels.distill.denoiser
    for files in list_cases(data):
        case = read_case(files)
        if case.labels is None or case.day is None:
            raise DataError(f"{files['night']}: has no true labels or no true day image to compare with")
        true, thermal, day = case.labels, case.night[None], case.day[None]
        fake_b = networks.translate_ab(day)
        logits_a, logits_b = networks.segmenter_a(networks.translate_ba(thermal)), networks.segmenter_b(thermal)
        ruled = (
            denoise(mine_labels(logits_b, other, t, ignore_index=ignored), thermal)
            for other in (logits_b, logits_a)
            for t in THRESHOLDS
        )
        maps: tuple[Tensor, ...] = (
            networks.segmenter_a(day).argmax(1),
            logits_a.argmax(1),
            networks.segmenter_a(networks.translate_ba(fake_b)).argmax(1),
            networks.segmenter_b(fake_b).argmax(1),
            logits_b.argmax(1),
            method.labels.mine(logits_b, logits_a, thermal, frozen=True),
            *ruled,
        )
        known = true != ignored
        for name, labels in zip(counts, maps, strict=True):
            column = torch.where(labels[0] == ignored, K, labels[0])
            pairs = true[known] * (K + 1) + column[known]
            counts[name] += torch.bincount(pairs, minlength=K * (K + 1)).view(K, K + 1).numpy()
    return counts


def tables(runs: Sequence[Counts], space: LabelSpace = CITYSCAPES) -> tuple[Table, ...]:
    """Return what :func:`count` counted, with its spread over runs.

    Precision and recall of each class at each stage, what classes are taken for instead, and precision and recall of
    the rules of mining. A precision is undefined in a run that gives no pixel the class; classes that the truth lacks
    are left out.
    """
    held = [i for i in range(len(space)) if any(run[STAGES[0]][i].any() for run in runs)]

    def scores(title: str, of_class: Score, whole: Callable[[NDArray[np.int64]], float], names: Sequence[str]) -> Table:
        cells = [("all pixels", tuple(tuple(whole(run[name]) for run in runs) for name in names))]
        for i in held:
            cells.append((space.names[i], tuple(tuple(of_class(run[name], i) for run in runs) for name in names)))
        return Table(title, tuple(names), tuple(cells), scale=100, digits=1)

    precisions, recalls = (_precision, _right), (_recall, _labeled)
    return (
        scores("precision, %", *precisions, STAGES),
        scores("recall, %", *recalls, STAGES),
        _swaps(runs, held, space),
        scores("precision by rule of mining, %", *precisions, by_rule(SHOWN)),
        scores("recall by rule of mining, %", *recalls, by_rule(SHOWN)),
    )


def choose(runs: Sequence[Counts], rule: str, precision: float, space: LabelSpace = CITYSCAPES) -> dict[str, float]:
    """Return by name the lowest threshold at which the labels of a class are so precise, over all runs.

    A class that is never so precise has 1, which next to no probability reaches: it is not labeled.
    """
    pixels = {t: np.sum([run[f"{rule} above {t}"] for run in runs], axis=0) for t in THRESHOLDS}
    return {
        name: next((t for t in THRESHOLDS if _precision(pixels[t], i) >= precision), 1.0)
        for i, name in enumerate(space.names)
    }


def as_option(thresholds: Mapping[str, float]) -> str:
    """Return thresholds as the trainer's ``losses.theta`` takes them."""
    return ", ".join(f"{name}={threshold:g}" for name, threshold in thresholds.items())


def chosen(runs: Sequence[Counts], rule: str, precision: float, space: LabelSpace = CITYSCAPES) -> Table:
    """Return the thresholds that :func:`choose` gives, and what is labeled by them."""
    rows: list[tuple[str, tuple[Values, ...]]] = []
    for name, threshold in choose(runs, rule, precision, space).items():
        i = space.index(name)
        taken = [run[f"{rule} above {threshold}"] for run in runs if threshold < 1]
        if any(run[STAGES[0]][i].any() for run in runs):
            cells = (tuple(100 * of(counts, i) for counts in taken) for of in (_precision, _recall))
            rows.append((name, ((threshold,) if threshold < 1 else (), *cells)))
    columns = ("threshold", "precision, %", "recall, %")
    return Table(f"{rule}: thresholds for a precision of {precision:.0%}", columns, tuple(rows), digits=2)


def positions(data: Path, enough: int = 4, space: LabelSpace = CITYSCAPES) -> Table:
    """Return which share of the thermal images that hold a small-sample class has enough positions of it for ACA.

    By the true labels of ``valB``, at the size of features of several strides.
    """
    maps = [case.labels for case in map(read_case, list_cases(data)) if case.labels is not None]
    rows: list[tuple[str, tuple[Values, ...]]] = []
    for i in space.small_sample:
        held = [labels for labels in maps if bool((labels == i).any())]
        counts = {stride: [_at_stride(labels, stride).eq(i).sum().item() for labels in held] for stride in STRIDES}
        if held:
            shares = ((100 * float(np.mean([n >= enough for n in counts[stride]])),) for stride in STRIDES)
            rows.append((space.names[i], ((len(held),), *shares)))
    title = f"thermal images with at least {enough} positions of a class, % of those that hold it"
    return Table(title, ("images", *(f"stride {stride}" for stride in STRIDES)), tuple(rows), digits=0)


def _at_stride(labels: Tensor, stride: int) -> Tensor:
    """Return labels at the size of features, as ACA resizes them."""
    H, W = labels.shape
    return F.interpolate(labels[None, None].float(), (H // stride, W // stride), mode="nearest")[0, 0]


def acting(folders: Sequence[Path]) -> Table | None:
    """Return in which share of the last phase's steps ACA found a class in both images; None where it never acts.

    Of a stem of the ablation study, the steps of the run that has kept it count.
    """
    rows: dict[str, list[float]] = {}
    for folder in folders:
        log = (folder.parents[1] if folder.parent.name == "stems" else folder) / "log.csv"
        steps = [row for row in read_log(log) if int(row["phase"]) == Phase.COLLABORATE] if log.is_file() else []
        shares = {key: [float(row[key] or 0) > 0 for row in steps] for key in (steps[0] if steps else ()) if _acts(key)}
        if shares:
            rows.setdefault("any", []).append(float(np.any(list(shares.values()), axis=0).mean()))
        for key, found in shares.items():
            rows.setdefault(key.removeprefix(PRESENT).replace("_", " "), []).append(float(np.mean(found)))
    cells = tuple((name, (tuple(values),)) for name, values in rows.items())
    return Table("steps of the last phase in which ACA acts, %", ("share",), cells, 100, 1) if rows else None


def _acts(key: str) -> bool:
    return key.startswith(PRESENT)


Score = Callable[[NDArray[np.int64], int], float]


def _precision(counts: NDArray[np.int64], i: int) -> float:
    return share(float(counts[i, i]), float(counts[:, i].sum()))


def _recall(counts: NDArray[np.int64], i: int) -> float:
    return share(float(counts[i, i]), float(counts[i].sum()))


def _right(counts: NDArray[np.int64]) -> float:
    return share(float(np.trace(counts)), float(counts[:, :-1].sum()))


def _labeled(counts: NDArray[np.int64]) -> float:
    return share(float(np.trace(counts)), float(counts.sum()))


def _swaps(runs: Sequence[Counts], held: Sequence[int], space: LabelSpace) -> Table:
    """Return which share of a class's pixels is taken for which other class, where some stage does so often."""
    stages = STAGES[:-1]  # what is mined is mostly nothing

    def taken(run: Counts, stage: str, i: int, j: int) -> float:
        return share(float(run[stage][i, j]), float(run[stage][i].sum()))

    rows = []
    for i in held:
        for j in range(len(space)):
            cells = tuple(tuple(taken(run, stage, i, j) for run in runs) for stage in stages)
            if i != j and max(np.nanmean(cell) for cell in cells) >= SWAPPED:
                rows.append((f"{space.names[i]} as {space.names[j]}", cells))
    return Table("taken for another class, % of its pixels", stages, tuple(rows), scale=100, digits=1)
