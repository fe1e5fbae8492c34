"""What a training step of each method takes and holds; all methods take turns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from ntir2dc.config import TrainConfig
from ntir2dc.trainer import Trainer
from studies.comparing.measuring import Call, Timing, in_turns, peak_memory, timings_of
from studies.comparing.runs import TITLES, Run, is_done
from train_morngan import prepare

ROUNDS = 3
EPOCHS = 6
"""Epochs that a round takes a step of, at most: MornGAN's larger and smaller scale are drawn by the epoch."""


def ready(run: Run) -> Trainer:
    """Return the trainer of a run: as the run has ended, or else untrained.

    Untrained segmenters are sure of nothing: they get thresholds that they reach, so that no term lacks labels.
    """
    done = is_done(run)
    config = run.config if done else within_reach(run.config)
    trainer = Trainer(config, prepare(config, True, say=_nothing), say=_nothing)
    if done:
        trainer.resume()
    return trainer


def within_reach(config: TrainConfig) -> TrainConfig:
    """Return options whose thresholds are about what untrained segmenters give a class, 1 of 19."""
    losses = dataclasses.replace(
        config.losses, theta="", theta_frozen="", theta_fg=0.04, theta_bg=0.04, fill_threshold=0.05
    )
    return dataclasses.replace(config, losses=losses)


def _nothing(text: str) -> None:
    """Say nothing."""


def whole_run(trainer: Trainer) -> list[int]:
    """Return epochs at equal distances over the run."""
    return _spread(range(trainer.config.epochs))


def last_phase(trainer: Trainer) -> list[int]:
    """Return epochs at equal distances over the last phase, where all that a method computes is at work."""
    epochs = range(trainer.config.epochs)
    last = trainer.method.phase(epochs[-1])
    return _spread([epoch for epoch in epochs if trainer.method.phase(epoch) is last])


def _spread(epochs: Sequence[int]) -> list[int]:
    count = min(EPOCHS, len(epochs))
    return [epochs[(2 * i + 1) * len(epochs) // (2 * count)] for i in range(count)]


def steps_of(trainer: Trainer, epochs: Sequence[int]) -> Call:
    """Return a call that takes the first step of each epoch; the images are read before."""
    batches = {}
    for epoch in epochs:
        trainer.method.enter_epoch(epoch)
        batches[epoch] = next(iter(trainer.batches(epoch, 0)))

    def steps() -> None:
        for epoch, batch in batches.items():
            trainer.method.enter_epoch(epoch)
            trainer.step = epoch * trainer.steps_per_epoch
            trainer.training_step(batch, epoch)

    return steps


def time_steps(
    runs: Sequence[Run], epochs_of: Callable[[Trainer], Sequence[int]], say: Callable[[str], None]
) -> tuple[dict[str, Timing], dict[str, int]]:
    """Return how long a training step of each method takes, and the bytes that it holds at most, by method.

    Args:
        runs: one of each method.
        epochs_of: in which epochs a trainer takes steps.
        say: is told what is being done.
    """
    calls, counts, memory = dict[str, Call](), dict[str, int](), dict[str, int]()
    for run in runs:
        say(f"{TITLES[run.method]}: measuring a training step")
        trainer = ready(run)
        epochs = epochs_of(trainer)
        steps = steps_of(trainer, epochs)
        steps()  # warm-up, after which optimizers have their state
        trainer.method.networks.zero_grad()
        memory[run.method] = peak_memory(steps, trainer.device, warm_up=False)
        calls[run.method], counts[run.method] = steps, len(epochs)
    seconds = in_turns(calls, ROUNDS, runs[0].config.device)
    timings = timings_of({name: [s / counts[name] for s in samples] for name, samples in seconds.items()})
    return {timing.name: timing for timing in timings}, memory
