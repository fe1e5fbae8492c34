"""The judge's training, and the file that keeps it."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch.nn import functional as F

from morn_losses import LabelSpace
from ntir2dc.data.images import DataError
from ntir2dc.files import named_in_text, write_atomically
from ntir2dc.judge.crops import Crops, Pair
from ntir2dc.judge.hashes import hash_files
from ntir2dc.judge.network import WIDTH, Judge

STEPS = 600
BATCH = 8
CROP = 64
LEARNING_RATE = 4e-3


def train_judge(
    pairs: Sequence[Pair],
    space: LabelSpace,
    *,
    steps: int = STEPS,
    seed: int = 0,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = lambda _: None,
) -> Judge:
    """Train a judge for a fixed number of steps; the same arguments give the same judge on the same machine.

    AdamW with one cycle of the learning rate, cross-entropy with weights of one over the root of a class's frequency.

    Args:
        pairs: day images and label maps.
        space: the label space of the maps.
        steps: batches of 8 crops.
        seed: of the weights and the crops.
        device: where to train.
        say: is told the loss now and then.

    Raises:
        DataError: no pairs, files that cannot be used, sizes that differ, unknown ids.
    """
    steps, seed = operator.index(steps), operator.index(seed)
    if not pairs:
        raise DataError("judgeA: expected day images with label maps, found none")
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, got {steps}")
    crops = Crops(pairs, space, CROP, seed)
    weights = crops.class_weights().to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = Judge(len(space), WIDTH).to(device)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps + 1, pct_start=0.2)
    losses: list[float] = []
    judge.train()
    for step in range(1, steps + 1):
        images, labels = crops.batch(BATCH)
        logits = judge.classify(images.to(device))[..., : labels.shape[-2], : labels.shape[-1]]
        loss = F.cross_entropy(logits, labels.to(device), weights, ignore_index=space.ignore_index)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step % 50 == 0 or step == steps:
            say(f"judge: step {step}/{steps}, loss {np.mean(losses[-50:]):.3f}")
    return judge.requires_grad_(False).eval()


def load_or_train_judge(
    pairs: Sequence[Pair],
    cache: Path,
    space: LabelSpace,
    *,
    steps: int = STEPS,
    seed: int = 0,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Judge, dict[str, str | int]]:
    """Return the judge kept at ``cache`` if it was trained with the same settings on the same files, else a new one.

    Returns:
        The judge in eval mode, and the settings it was trained with.
    """
    settings: dict[str, str | int] = {
        "steps": operator.index(steps),
        "seed": operator.index(seed),
        "images": len(pairs),
        "data_sha256": hash_files(path for pair in pairs for path in pair),
        "recipe": f"unet {WIDTH}, batch {BATCH}, crop {CROP}, lr {LEARNING_RATE:g}",
    }
    judge = _load(cache, settings, len(space))
    if judge is not None:
        say(f"judge: taken from {cache}")
        return judge.to(device), settings
    judge = train_judge(pairs, space, steps=steps, seed=seed, device=device, say=say)
    state = {name: value.cpu().contiguous() for name, value in judge.state_dict().items()}
    write_atomically(cache, save(state, metadata={"settings": json.dumps(settings)}))
    return judge, settings


def _load(cache: Path, settings: dict[str, str | int], n_classes: int) -> Judge | None:
    """Return the kept judge, or None if it is absent, damaged or of other settings."""
    judge = Judge(n_classes)
    try:
        with named_in_text(cache) as named, safe_open(named, framework="pt", device="cpu") as file:
            if json.loads((file.metadata() or {}).get("settings", "null")) != settings:
                return None
            judge.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError):
        return None
    return judge.requires_grad_(False).eval()
