"""The long training of a judge that is shipped: on scenes, with checkpoints, ending in half-precision weights."""

from __future__ import annotations

import dataclasses
import io
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from morn_losses import CITYSCAPES, LabelSpace
from ntir2dc.files import write_atomically
from ntir2dc.judge.crops import Crops
from ntir2dc.judge.shipped import SHIPPED
from ntir2dc.networks.init import init_weights
from studies.judging.scenes import training_pairs


@dataclass(frozen=True)
class Options:
    """How long and how a judge is trained.

    Args:
        steps: batches.
        batch: crops a batch.
        crop: side of the crops, in pixels.
        learning_rate: after the warm-up and before the decay.
        warmup: steps in which it rises.
        decay: share of the steps, at the end, in which it falls to 0.
        ema_decay: of the running average of the weights, which is what is kept.
        seconds_between_checkpoints: a kill loses no more than that.
    """

    steps: int = 3000
    batch: int = 8
    crop: int = 96
    learning_rate: float = 3e-3
    warmup: int = 100
    decay: float = 0.4
    ema_decay: float = 0.995
    seconds_between_checkpoints: float = 90.0


@dataclass(frozen=True)
class Recipe:
    """How one of the judges that are shipped came about.

    Args:
        judge: its name.
        seed: of its first weights and of the crops.
        options: of its training.
    """

    judge: str
    seed: int
    options: Options


RECIPES = {"a": Recipe("a", 1, Options(steps=4000)), "b": Recipe("b", 2, Options(steps=2600))}


def train_from_scenes(
    recipe: Recipe, folder: Path, *, steps: int, say: Callable[[str], None] = lambda _: None
) -> dict[str, Tensor]:
    """Render the scenes and train a judge on them, or go on; return its state.

    Args:
        recipe: of the judge.
        folder: holds the scenes and the checkpoint.
        steps: of training, in place of the recipe's.
        say: is told how far it is.
    """
    say(f"scenes: rendered into {folder / 'scenes'} unless they are there")
    pairs = training_pairs(folder / "scenes", recipe.judge)
    crops = Crops(pairs, CITYSCAPES, recipe.options.crop, recipe.seed, keep=True)
    network = SHIPPED[recipe.judge].make(len(CITYSCAPES))
    options = dataclasses.replace(recipe.options, steps=steps)
    checkpoint = folder / f"checkpoint_{recipe.judge}.pt"
    return train(network, crops, CITYSCAPES, checkpoint, options, seed=recipe.seed, say=say)


class RunningAverage:
    """A running average of a network's weights and of the statistics of its batch norm."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in network.state_dict().items()}

    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the network; in the first steps by more, since the start is drawn at random."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value.detach(), 1 - decay)


def rate_at(step: int, options: Options) -> float:
    """Return the learning rate of a step as a share of the highest: up, level, and down to 0 as a cosine.

    Choice: level until the decay, so that a run under way may still be made longer or shorter.
    """
    start = (1 - options.decay) * options.steps
    fallen = min(1.0, max(0.0, (step - start) / (options.steps - start)))
    return min(1.0, (step + 1) / options.warmup) * (1 + math.cos(math.pi * fallen)) / 2


def train(
    network: nn.Module,
    crops: Crops,
    space: LabelSpace,
    checkpoint: Path,
    options: Options,
    *,
    seed: int,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Tensor]:
    """Train a judge, going on from the checkpoint if there is one; return the running average of its state.

    Cross-entropy with weights of one over the root of a class's frequency, products in bfloat16.

    Args:
        network: the judge to train.
        crops: of the training scenes.
        space: their label space.
        checkpoint: the file that training goes on from after a kill.
        options: how long and how.
        seed: of the initial weights.
        say: is told the loss now and then.
    """
    init_weights(network, "he", generator=torch.Generator().manual_seed(seed))
    weights = crops.class_weights()

    def loss_on() -> Tensor:
        images, labels = crops.batch(options.batch)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network.classify(images)  # type: ignore[operator]
        logits = logits.float()[..., : labels.shape[-2], : labels.shape[-1]]
        return F.cross_entropy(logits, labels, weights, ignore_index=space.ignore_index)

    return optimize(network, loss_on, crops.rng, checkpoint, options, say=say)


def optimize(
    network: nn.Module,
    loss_on: Callable[[], Tensor],
    rng: np.random.Generator,
    checkpoint: Path,
    options: Options,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Tensor]:
    """Train with AdamW, going on from the checkpoint if there is one; return the running average of the state.

    Args:
        network: with its initial weights.
        loss_on: draws a batch and returns the network's loss on it.
        rng: what it draws from.
        checkpoint: the file that training goes on from after a kill.
        options: how long and how.
        say: is told the loss now and then.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(rate_at, options=options))
    average = RunningAverage(network, options.ema_decay)
    parts: Mapping[str, Any] = {"network": network, "optimizer": optimizer, "schedule": schedule}
    first = 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        average.values = state["average"]
        rng.bit_generator.state = state["rng"]
        first = state["step"]
        say(f"going on from step {first}")
    saved, losses = time.monotonic(), []
    network.train()
    for step in range(first + 1, options.steps + 1):
        loss = loss_on()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        average.update(network, step)
        losses.append(float(loss.detach()))
        if step % 50 == 0 or step == options.steps:
            say(f"step {step}/{options.steps}, loss {sum(losses) / len(losses):.3f}")
            losses.clear()
        if time.monotonic() - saved > options.seconds_between_checkpoints or step == options.steps:
            state = {name: part.state_dict() for name, part in parts.items()}
            state |= {"average": average.values, "rng": rng.bit_generator.state, "step": step}
            buffer = io.BytesIO()
            torch.save(state, buffer)
            write_atomically(checkpoint, buffer.getvalue())
            saved = time.monotonic()
    return average.values
