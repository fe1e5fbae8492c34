"""The training loop, read from top to bottom: run, epoch, step. What a step computes is the method's matter."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from morn_losses import CITYSCAPES, LabelSpace
from ntir2dc.config import TrainConfig, differences, of_the_run, to_dict, what_matters, with_defaults
from ntir2dc.data.folders import TrainingData
from ntir2dc.data.loading import load
from ntir2dc.files import write_atomically
from ntir2dc.methods import METHODS, Method
from ntir2dc.methods.method import Part, Terms, Update
from ntir2dc.networks.discriminators import ImagePool
from ntir2dc.optimizers import make_optimizers, set_lr
from ntir2dc.parallel.microbatches import Microbatches
from ntir2dc.parallel.world import World, be_deterministic, device_of
from ntir2dc.run.beginning import Origin, take_networks
from ntir2dc.run.checkpoint import (
    CheckpointError,
    Held,
    load_newest,
    load_random_states,
    load_states,
    random_states,
    save_checkpoint,
    states_of,
)
from ntir2dc.run.faults import explained, how_to_begin_from, how_to_go_on, stop_on_signals
from ntir2dc.run.finite import check_terms, check_weights
from ntir2dc.run.log import RunLog
from ntir2dc.run.panels import save_panel
from ntir2dc.run.progress import Progress
from ntir2dc.run.weights import FILE_NAME, save_weights


class Trainer:
    """One run of a method.

    Args:
        config: all options.
        data: the checked training data.
        space: the label space of its label maps.
        say: is told what a person should read.
        world: the processes of the run; None is this one alone.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: TrainingData,
        space: LabelSpace = CITYSCAPES,
        say: Callable[[str], None] = print,
        world: World | None = None,
    ) -> None:
        self.config, self.data, self.space = config, data, space
        self.out = Path(config.out)
        self.world = world or World(device=device_of(config.device))
        self.say = say if self.world.is_first else lambda _: None
        if config.devices * config.num_nodes != self.world.size:
            raise ValueError(f"devices: expected {self.world.size} in all, got {config.devices} * {config.num_nodes}")
        if config.deterministic:
            be_deterministic()
        self.device = self.world.device
        longest = max(len(data.a), len(data.b))
        self.steps_per_epoch = config.steps_per_epoch or -(-longest // config.batch_size)

        torch.manual_seed(config.seed)
        method = METHODS[config.method].method
        self.pools = {name: ImagePool(config.pool) for name in method.pools}
        self.microbatches = Microbatches(self.world, config.accumulate, config.batch_size, config.seed, self.pools)
        self.method: Method = method(config, data, space, self.microbatches, self.say)
        self.method.networks.to(torch.float64 if config.precision == "64-true" else torch.float32)
        self.groups = self.method.groups()
        self.optimizers = make_optimizers(self.groups)
        self.averaged = _average(self.method.generators(), config.ema_decay) if config.ema_decay else None
        self.step = 0
        if config.compile:
            for network in self.method.networks.children():
                network.compile()
        if config.precision == "bf16-mixed" and self.device.type == "cpu":
            self.say("bf16-mixed: many times slower than 32-true on a CPU without instructions for bfloat16")

    # ---- the run -------------------------------------------------------------------------------------------------

    @property
    def total_steps(self) -> int:
        """Steps of the whole run; ``max_steps`` only stops a call earlier."""
        return self.config.epochs * self.steps_per_epoch

    @property
    def last_step(self) -> int:
        """The step after which this call stops."""
        return min(self.total_steps, self.config.max_steps or self.total_steps)

    def fit(self) -> bool:
        """Train to the end, to ``max_steps`` or to the first Ctrl-C; return whether the whole run is done."""
        if self.step >= self.total_steps:
            self.say(f"the run is finished: all {self.total_steps} steps are done. {how_to_begin_from(self.out)}")
            return True
        self.say(self.method.plan())
        log = RunLog(self.out, self.method.log.columns(), last_step=self.step - 1) if self.world.is_first else None
        progress = Progress(self.last_step, self.step, self.say, show=self.world.is_first)
        try:
            with stop_on_signals() as requested, progress, explained(self.out, self.save):
                while self.step < self.last_step and not self.world.any(requested()):
                    epoch, first = divmod(self.step, self.steps_per_epoch)
                    self.method.enter_epoch(epoch)
                    phase = self.method.phase(epoch)
                    for batch in self.batches(epoch, first):
                        started = time.perf_counter()
                        values = self.training_step(batch, epoch)
                        seconds = time.perf_counter() - started
                        if log is not None:
                            log.write(
                                {"step": self.step, "epoch": epoch, "phase": int(phase), **values, "seconds": seconds}
                            )
                        self.step += 1
                        progress.update(phase, values.get("total", 0.0))
                        if self.step % self.config.panel_every == 0 or self.step == self.last_step:
                            self.world.together(self.save_panel)
                        if self.step == self.last_step or self.world.any(requested()):
                            break
                        if self.step % self.config.checkpoint_every == 0:
                            self.save()
            self.save()
        finally:
            if log is not None:
                log.close()
        if self.step < self.total_steps:
            why = "interrupted" if self.step < self.last_step else "max_steps reached"
            done = f"{why} after {self.step} of {self.total_steps} steps; everything is saved"
            self.say(f"{done}. {how_to_go_on(self.out)}")
        return self.step >= self.total_steps

    def loader(self, epoch: int, first: int) -> DataLoader[dict[str, Any]]:
        """Return this process's share of an epoch from step ``first`` on."""
        config, microbatches = self.config, self.microbatches
        return load(
            self.method.crops(epoch, self.steps_per_epoch * config.batch_size),
            microbatches.size * microbatches.accumulate,
            microbatches.positions(first, self.steps_per_epoch),
            config.seed,
            epoch,
            workers=config.dataset.workers,
        )

    def batches(self, epoch: int, first: int) -> Iterable[dict[str, Any]]:
        """Return the batches of the loader; with several processes equally many in all."""
        loader = self.loader(epoch, first)
        return loader if self.world.size == 1 else self.world.each(loader)

    # ---- a step --------------------------------------------------------------------------------------------------

    def training_step(self, batch: dict[str, Tensor], epoch: int) -> dict[str, float]:
        """Take the updates of a step, one after another; return what the log shows."""
        set_lr(self.optimizers, self.groups, self.config, self.step, self.steps_per_epoch)
        values: dict[str, float] = {}
        stepped: list[str] = []
        for index, update in enumerate(self.method.updates(epoch)):
            optimizers = [self.optimizers[name] for name in update.optimizers]
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            parts = self.microbatches.of(batch, self.method.networks, self.step, index)
            seen = [self.gradients(update, part, epoch, i) for i, part in enumerate(parts)]
            log = self.method.log
            found = self.checked(self.microbatches.merged(seen, log.columns(), log.weights), stepped)
            if "total" in found:  # of the step, which may have several updates of generators
                found["total"] += values.get("total", 0.0)
            values |= found
            for name, optimizer in zip(update.optimizers, optimizers, strict=True):
                held = [p.grad for group in optimizer.param_groups for p in group["params"]]
                # which networks have gradients depends on the phase alone
                self.world.mean(g for g in held if g is not None)
                if max_norm := self.groups[name].max_norm:
                    nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], max_norm)
                optimizer.step()
            stepped += update.optimizers
        if self.averaged is not None:
            self.averaged.update_parameters(self.method.generators())
        return values

    def gradients(self, update: Update, batch: dict[str, Tensor], epoch: int, number: int = 0) -> dict[str, float]:
        """Add the gradients of a numbered part of the batch, piece by piece; return what the log shows of it."""
        part = self.part(batch, epoch, number)
        pieces, done = update.losses(part), list[Terms]()
        while True:
            with self.autocast():
                terms = next(pieces, None)
            if terms is None:
                break
            self.backward(torch.stack(list(terms.values())).sum())
            done.append({name: value.detach() for name, value in terms.items()})
        summed = add_up(done)
        generators = [value for name, value in summed.items() if name not in self.method.log.adversaries]
        if generators:  # an update may be of discriminators alone
            summed["total"] = torch.stack(generators).sum()
        return {**dict(zip(summed, torch.stack(list(summed.values())).tolist(), strict=True)), **part.log}

    def part(self, batch: dict[str, Tensor], epoch: int, number: int = 0) -> Part:
        """Return a part of this step's batch, ready for the method."""
        pools, first = self.microbatches.shared(), self.microbatches.first(number)
        return Part(self.moved(batch), self.step, epoch, pools, first)

    def moved(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return a batch on the networks' device; floats in their precision."""
        dtype = next(self.method.networks.parameters()).dtype
        return {
            name: x.to(self.device, dtype if x.is_floating_point() else None, non_blocking=True)
            for name, x in batch.items()
        }

    def autocast(self) -> torch.autocast:
        """Return the context of the networks' passes: bfloat16 if asked for."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16-mixed")

    def checked(self, values: dict[str, Any], stepped: Sequence[str]) -> dict[str, Any]:
        """Return the values; a non-finite one stops the run before it is saved or touches a weight of this update."""
        check_terms(values, self.step, self.out, stepped)
        return values

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a part's loss, of which the parts of a process are the mean."""
        (loss / self.config.accumulate).backward()  # type: ignore[no-untyped-call]

    # ---- log, panels, state --------------------------------------------------------------------------------------

    def held(self) -> Held:
        """Return what changes as the run trains, under the names that it has in a checkpoint."""
        return {
            "model": self.method.networks,
            "optimizers": self.optimizers,
            "pools": self.pools,
            "averaged": self.averaged,
            **self.method.held(),
        }

    def for_inference(self) -> nn.ModuleDict:
        """Return the generators' networks by name: their running average where there is one."""
        generators = self.method.generators() if self.averaged is None else self.averaged.module
        assert isinstance(generators, nn.ModuleDict)
        return generators

    def save_panel(self) -> None:
        """Write what the networks make of the first images of both domains."""
        if self.world.is_first:
            path = self.out / "panels" / f"step_{self.step:08d}.png"
            save_panel(path, self.method, self.for_inference(), self.data, self.space)

    def save(self) -> None:
        """Write a checkpoint and the weights for inference."""
        check_weights(self.method.networks, self.step, self.out)
        if not self.world.is_first:
            return
        state = {
            "config": of_the_run(self.config),
            "step": self.step,
            **states_of(self.held()),
            "rng": random_states(self.device),
        }
        save_checkpoint(self.out / "checkpoints", state, self.config.keep_checkpoints)
        description = {"method": self.config.method, **self.method.describe()}
        save_weights(self.out / FILE_NAME, dict(self.for_inference().items()), description, self.config.thermal)

    def resume(self) -> None:
        """Load the newest checkpoint of the run.

        Raises:
            CheckpointError: there is none, or it belongs to another configuration; the differences are listed.
        """
        state = self.world.together(lambda: load_newest(self.out / "checkpoints", self.say))
        changed = differences(what_matters(with_defaults(state["config"])), what_matters(to_dict(self.config)))
        if changed:
            listed = "\n  ".join(changed)
            raise CheckpointError(
                f"{self.out}: the run was started with other options, and keeps them:\n  {listed}\n"
                f"{how_to_begin_from(self.out)}"
            )
        load_states(self.held(), state)
        load_random_states(state["rng"], self.device)
        self.step = int(state["step"])
        if len(set(self.world.gather(torch.tensor([self.step], device=self.device)).tolist())) > 1:
            raise CheckpointError(
                f"{self.out}: expected a folder that all processes share, they found other checkpoints"
            )
        self.say(f"resumed after step {self.step} of {self.total_steps}")

    def begin_with(self, origin: Origin) -> None:
        """Take the networks of another run that fit; optimizers, pools, memory, random numbers and steps start anew.

        Raises:
            CheckpointError: none of them fits.
        """
        self.say(take_networks(self.method.networks, origin, to_dict(self.config)["networks"]))
        if self.averaged is not None:  # a run that is stopped before its first step saves it
            self.averaged.module.load_state_dict(self.method.generators().state_dict())

    def save_config(self) -> None:
        """Write the run's resolved options as ``config.json``."""
        text = json.dumps(of_the_run(self.config), indent=2)
        write_atomically(self.out / "config.json", text.encode())


def add_up(parts: Iterable[Terms]) -> Terms:
    """Return the sums of the terms of the same name."""
    total: Terms = {}
    for terms in parts:
        for name, value in terms.items():
            total[name] = total[name] + value if name in total else value
    return total


def _average(generators: nn.ModuleDict, decay: float) -> AveragedModel:
    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(generators, multi_avg_fn=average)
