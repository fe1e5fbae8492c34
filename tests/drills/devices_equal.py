"""Train once in one process and once in two, on the same batches, and compare after every phase.

And what rounding alone does: one process that computes its batches in two parts.

python tests/drills/devices_equal.py
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "examples"), str(ROOT / "tests")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from PIL import Image  # noqa: E402

from helpers.small_folder import write_folder  # noqa: E402
from helpers.tiny_run import NETWORKS, THRESHOLDS, quiet  # noqa: E402
from morn_losses import CITYSCAPES  # noqa: E402
from ntir2dc.config import DataOptions, TrainConfig, make_config  # noqa: E402
from ntir2dc.data.folders import TrainingData, prepare_training_data  # noqa: E402
from ntir2dc.data.images import read_labels  # noqa: E402
from ntir2dc.methods.morngan.schedule import PAPER_PHASES, Phase  # noqa: E402
from ntir2dc.parallel.world import World  # noqa: E402
from ntir2dc.trainer import Trainer  # noqa: E402

STEPS = 4
"""Steps of each phase."""


def make_data(folder: Path) -> TrainingData:
    """Write a small folder in which every crop of every second color image holds four pixels of a traffic light."""
    write_folder(folder / "data", n_a=4, single=True)
    for i in (0, 2):
        path = folder / "data" / "labelsA" / f"a{i}.png"
        labels = read_labels(path).numpy().astype(np.uint8)
        labels[20:22, 24:26] = CITYSCAPES.index("traffic light")
        Image.fromarray(labels).save(path)
    return prepare_training_data(
        folder / "data", folder / "cache", CITYSCAPES, crop=32, denoise=False, report=lambda _: None
    )


def same_anyhow(out: Path, **changes: Any) -> TrainConfig:
    """Four steps a phase, and nothing drawn that depends on how a batch is spread.

    No dropout, one cluster (wherever k-means starts, it ends at the mean) and pools that do not fill up.
    """
    base = make_config("mini")
    base = dataclasses.replace(
        base,
        out=str(out),
        epochs=len(PAPER_PHASES),
        steps_per_epoch=STEPS,
        batch_size=2,
        pool=1000,
        segmenter_crops=2,
        ema_decay=0.5,
        checkpoint_every=STEPS,
        keep_checkpoints=100,
        panel_every=1000,
        precision="64-true",
        networks=dataclasses.replace(NETWORKS, dropout=0.0),
        dataset=DataOptions(crop=32),
        losses=dataclasses.replace(base.losses, **THRESHOLDS, aca_clusters=1, boundary_weight=0.5),
    )
    return dataclasses.replace(base, **changes)


def in_processes(
    count: int, work: Path, config: TrainConfig, act: Callable[[Trainer], None], data: TrainingData
) -> None:
    """Let ``act`` do something with a trainer in each of several processes that are connected by gloo."""
    store = work / f"store_{len(list(work.glob('store_*')))}"

    def process(rank: int) -> None:
        torch.set_num_threads(1)
        dist.init_process_group("gloo", store=dist.FileStore(str(store), count), rank=rank, world_size=count)
        act(Trainer(config, data, say=quiet, world=World(rank, count)))
        dist.barrier()
        dist.destroy_process_group()

    # forked: nothing is imported a second time
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=process, args=(rank,)) for rank in range(count)]
    for p in processes:
        p.start()
    for p in processes:
        p.join(300)
    assert [p.exitcode for p in processes] == [0] * count


def states(out: Path) -> dict[int, dict[str, Any]]:
    """Return the checkpoints of a run by step."""
    loaded = [torch.load(path, weights_only=True) for path in sorted((out / "checkpoints").glob("step_*.pt"))]
    return {state["step"]: state for state in loaded}


def largest_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Return the largest absolute difference between the values of two state dicts."""
    assert a.keys() == b.keys()
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a if a[name].numel())


def translated(config: TrainConfig, data: TrainingData, state: dict[str, Any]) -> torch.Tensor:
    """Return what the generators of a state make of noise."""
    model = Trainer(config, data, say=quiet).method.networks
    model.load_state_dict(state["model"])
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).to(next(model.parameters())) * 2 - 1
    with torch.no_grad():
        return torch.cat((model.translate_ab(x), model.translate_ba(x)))


def compare(work: Path, data: TrainingData, *, processes: int = 2, **changes: Any) -> dict[Phase, tuple[float, float]]:
    """Return the largest differences of parameters, and of translated images, between two parts of a batch and one.

    Args:
        work: where the runs go, ``one`` and ``two``.
        data: what they train on.
        processes: 2 computes a part in each, 1 both in turn.
        changes: options of both runs.
    """
    one = same_anyhow(work / "one", **changes)
    Trainer(one, data, say=quiet).fit()
    two = same_anyhow(work / "two", devices=processes, accumulate=2 // processes, **changes)
    if processes == 1:
        Trainer(two, data, say=quiet).fit()
    else:
        in_processes(2, work, two, lambda trainer: quiet(str(trainer.fit())), data)
    largest = {}
    for step, state in states(work / "one").items():
        other = states(work / "two")[step]
        images = [translated(one, data, s) for s in (state, other)]
        largest[Phase(step // one.steps_per_epoch)] = (
            largest_difference(state["model"], other["model"]),
            float((images[0] - images[1]).abs().max()),
        )
    return largest


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        data = make_data(work)
        exact = compare(work / "64", data)
        rounded = compare(work / "32", data, precision="32-true")
        alone = compare(work / "alone", data, precision="32-true", processes=1)
        print("| phase | steps | float64: parameters | images | float32: parameters | images | rounding: images |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        for phase in PAPER_PHASES:
            cells = " | ".join(f"{x:.0e}" for x in (*exact[phase], *rounded[phase], alone[phase][1]))
            print(f"| {phase.name.lower()} | {STEPS * int(phase)} | {cells} |")


if __name__ == "__main__":
    main()
