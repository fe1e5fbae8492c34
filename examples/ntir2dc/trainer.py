"""The training loop of MornGAN, read from top to bottom: run, epoch, step.

An image comes from ``loading`` with its partner, goes through the networks in ``passes`` and becomes terms in
``objective``; here are the gradients, the optimizers, the log and the checkpoints.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from morn_losses import CITYSCAPES, LabelSpace, MemoryBank
from morn_losses.functional import mine_labels
from ntir2dc.config import TrainConfig, differences, to_dict, what_matters, with_defaults
from ntir2dc.data.folders import TrainingData
from ntir2dc.data.loading import memory_loader, training_loader
from ntir2dc.data.pairing import psi
from ntir2dc.files import write_atomically
from ntir2dc.methods.morngan.forward import Passes
from ntir2dc.methods.morngan.model import evaluating, make_average, make_model, make_optimizers, set_requires_grad
from ntir2dc.methods.morngan.objective import Objective, make_distillation
from ntir2dc.methods.morngan.observations import log_columns, observe
from ntir2dc.methods.morngan.schedule import Phase, Schedule
from ntir2dc.methods.morngan.step import Step, Terms, add_up
from ntir2dc.networks.pool import ImagePool
from ntir2dc.parallel.microbatches import Parts
from ntir2dc.parallel.world import World, be_deterministic, device_of
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
from ntir2dc.run.faults import explained, how_to_go_on, stop_on_signals
from ntir2dc.run.finite import check_terms, check_weights
from ntir2dc.run.log import RunLog
from ntir2dc.run.panels import save_samples
from ntir2dc.run.progress import Progress
from ntir2dc.run.weights import FILE_NAME, describe_generators, save_generator_weights


class Trainer:
    """One run of MornGAN.

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
        self.parts = Parts(self.world, config.accumulate, config.batch_size, config.seed)
        longest = max(len(data.a), len(data.b))
        self.steps_per_epoch = config.steps_per_epoch or -(-longest // config.batch_size)
        self.schedule = Schedule.from_options(config.phases, config.epochs)

        torch.manual_seed(config.seed)
        self.model = make_model(config, len(space)).to(self.device)
        self.optimizers = make_optimizers(self.model, config)
        self.averaged = make_average(self.model, config.ema_decay) if config.ema_decay else None
        self.pool_a, self.pool_b = ImagePool(config.pool), ImagePool(config.pool)
        self.objective = Objective(config, space)
        self.distill = make_distillation(config, space).to(self.device)
        # an entry says where its crop was cut: (row, col)
        self.memory = MemoryBank(len(data.b), len(space.small_sample), payload_size=2)
        self.step = 0
        if config.compile:
            for network in self.model.children():
                network.compile()
        if config.precision == "bf16-mixed" and self.device.type == "cpu":
            self.say("bf16-mixed: many times slower than 32-true on a CPU without instructions for bfloat16")

    # ---- the run -------------------------------------------------------------------------------------------------

    @property
    def total_steps(self) -> int:
        """Steps of the whole run; ``max_steps`` only stops earlier."""
        return self.config.epochs * self.steps_per_epoch

    @property
    def last_step(self) -> int:
        """The step after which this call stops."""
        return min(self.total_steps, self.config.max_steps or self.total_steps)

    def fit(self) -> bool:
        """Train to the end, to ``max_steps`` or to the first Ctrl-C; return whether the whole run is done."""
        if self.step >= self.total_steps:
            self.say(f"the run is finished: all {self.total_steps} steps are done")
            return True
        self.say(self.schedule.describe())
        log = RunLog(self.out, self.columns(), last_step=self.step - 1) if self.world.is_first else None
        progress = Progress(self.last_step, self.step, self.say, show=self.world.is_first)
        try:
            with stop_on_signals() as requested, progress, explained(self.out, self.save):
                while self.step < self.last_step and not self.world.any(requested()):
                    epoch, first = divmod(self.step, self.steps_per_epoch)
                    phase = self.enter_epoch(epoch)
                    for batch in self.world.each(self.loader(epoch, first, phase)):
                        started = time.perf_counter()
                        values = self.training_step(batch, phase, epoch)
                        seconds = time.perf_counter() - started
                        if log is not None:
                            log.write(
                                {"step": self.step, "epoch": epoch, "phase": int(phase), **values, "seconds": seconds}
                            )
                        self.step += 1
                        progress.update(phase, values["total"])
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
            interrupted = self.step < self.last_step
            why, options = ("interrupted", []) if interrupted else ("max_steps reached", ["--max_steps 0"])
            done = f"{why} after {self.step} of {self.total_steps} steps; everything is saved"
            self.say(f"{done}. {how_to_go_on(self.out, *options)}")
        return self.step >= self.total_steps

    # ---- an epoch ------------------------------------------------------------------------------------------------

    def enter_epoch(self, epoch: int) -> Phase:
        """Return the epoch's phase; on the way into the last one, freeze the segmenters and fill the memory."""
        phase = self.schedule.phase(epoch)
        frozen = phase >= Phase.COLLABORATE
        set_requires_grad(self.model.segmenters(), not frozen)
        for segmenter in self.model.segmenters():
            segmenter.train(not frozen)
        if self.pairs(phase) and not self.memory.is_full:
            self.world.together(self.describe_thermal_images)
            self.memory.synchronize()
            held = int(self.memory.descriptors.ne(0).any(1).sum())
            self.say(f"memory filled: {len(self.memory)} thermal images, {held} of them hold a small-sample class")
        return phase

    def pairs(self, phase: Phase) -> bool:
        """Whether the memory picks the thermal images of the phase."""
        return phase >= Phase.COLLABORATE and self.config.modules.mgca

    @torch.no_grad()
    def describe_thermal_images(self) -> None:
        """Describe one crop of every thermal image of this process's share by its mined labels (section 3.4.1)."""
        with evaluating(self.model):
            for indices, real_b, windows in memory_loader(self.config, self.data, self.parts):
                descriptors = self.passes.describe(self.model.moved(real_b), self.model.moved(windows))
                self.memory.write(indices, descriptors.cpu(), windows[:, :2])

    def loader(self, epoch: int, first: int, phase: Phase) -> DataLoader[Any]:
        """Return this process's share of an epoch from step ``first`` on; pairing reads the memory as it is now."""
        memory = self.memory if self.pairs(phase) else None
        steps = range(first, self.steps_per_epoch)
        return training_loader(self.config, self.data, self.space, memory, self.parts, epoch, steps, phase)

    # ---- a step --------------------------------------------------------------------------------------------------

    def training_step(self, batch: dict[str, Tensor], phase: Phase, epoch: int) -> dict[str, Any]:
        """The gradients of every part of the batch, then a step of each optimizer; return what the log shows."""
        trained = ["generators", *(["segmenters"] if Phase.SEGMENT_A <= phase < Phase.COLLABORATE else [])]
        optimizers = [self.optimizers[name] for name in (*trained, "discriminators") if name in self.optimizers]
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        seen = [self.gradients(part, phase, epoch) for part in self.parts.of(batch, self.step, self.model)]
        values = self.checked(self.parts.merged(seen, self.columns()))
        for optimizer in optimizers:
            held = [p.grad for group in optimizer.param_groups for p in group["params"]]
            # which networks have gradients depends on the phase alone
            self.world.mean(g for g in held if g is not None)
            optimizer.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.model.generators())
        return values

    def gradients(self, batch: dict[str, Tensor], phase: Phase, epoch: int) -> dict[str, Any]:
        """Add the gradients of a part: generators (and segmenters), then discriminators; return what the log shows."""
        step = self.inputs(batch)
        found: list[Terms] = []
        for piece in self.passes.pieces(step, phase, self.scale(epoch)):
            with self.autocast():
                terms = piece()
            self.backward(torch.stack(list(terms.values())).sum())
            found.append({name: value.detach() for name, value in terms.items()})
        summed = add_up(found)
        total = torch.stack(list(summed.values())).sum()

        set_requires_grad(self.model.discriminators(), True)
        pooled_a = self.parts.pooled(self.pool_a, step.fake_a, 0)
        pooled_b = self.parts.pooled(self.pool_b, step.fake_b, 1)
        with self.autocast():
            scores_a, scores_b = self.model.discriminator_a(pooled_a), self.model.discriminator_b(pooled_b)
            terms = self.objective.discriminator_terms(step, scores_a, scores_b)
        self.backward(torch.stack(list(terms.values())).sum())
        seen = observe(step, batch, self.objective, self.memory if self.pairs(phase) else None)
        return {**_floats({**summed, "total": total, **terms}), **seen}

    def autocast(self) -> torch.autocast:
        """Return the context of the networks' passes: bfloat16 if asked for."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16-mixed")

    def inputs(self, batch: dict[str, Tensor]) -> Step:
        """Return the batch on the device, as a step that has not begun."""
        return Step(**{k: self.model.moved(v) for k, v in batch.items() if k != "index_b"})

    @property
    def passes(self) -> Passes:
        """What runs the networks of a step."""
        return Passes(self.model, self.objective, self.distill, self.mine)

    def mine(self, logits_b: Tensor, logits_a: Tensor, real_b: Tensor) -> Tensor:
        """Return the pseudo-labels of thermal images once the segmenters are frozen."""
        if not self.config.losses.mine_frozen_alone:
            labels: Tensor = self.distill(logits_b, logits_a, real_b)
            return labels
        alone = mine_labels(logits_b, logits_b, self.config.losses.theta_fg, ignore_index=self.space.ignore_index)
        denoised: Tensor = self.distill.denoiser(alone, real_b)
        return denoised

    def scale(self, epoch: int) -> float:
        """Return the scale of Eq. 22 for this epoch (published: for this step)."""
        losses = self.config.losses
        draw = psi(self.config.seed, self.step if losses.sr_every_step else epoch)
        return losses.sr_alpha if draw < 0.5 else losses.sr_beta

    def checked(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the values; a non-finite one stops the run before it can touch a weight."""
        check_terms(values, self.step, self.out)
        return values

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a part's loss, of which the parts of a process are the mean."""
        (loss / self.config.accumulate).backward()  # type: ignore[no-untyped-call]

    # ---- log, panels, state --------------------------------------------------------------------------------------

    def columns(self) -> list[str]:
        """Return the columns of the log."""
        return log_columns(self.objective)

    def held(self) -> Held:
        """Return what changes as the run trains, under the names that it has in a checkpoint."""
        return {
            "model": self.model,
            "optimizers": self.optimizers,
            "pools": {"a": self.pool_a, "b": self.pool_b},
            "memory": self.memory,
            "averaged": self.averaged,
        }

    def for_inference(self) -> nn.ModuleDict:
        """Return the halves of the generators by name: their running average where there is one."""
        halves = self.model.generators() if self.averaged is None else self.averaged.module
        assert isinstance(halves, nn.ModuleDict)
        return halves

    def save_panel(self) -> None:
        """Write what the networks make of the first images of both domains."""
        if self.world.is_first:
            path = self.out / "panels" / f"step_{self.step:08d}.png"
            save_samples(path, self.model, self.for_inference(), self.data, self.space, self.mine)

    def save(self) -> None:
        """Write a checkpoint and the weights for inference."""
        check_weights(self.model, self.step, self.out)
        if not self.world.is_first:
            return
        state = {
            "config": to_dict(self.config),
            "step": self.step,
            **states_of(self.held()),
            "rng": random_states(self.device),
        }
        save_checkpoint(self.out / "checkpoints", state, self.config.keep_checkpoints)
        save_generator_weights(
            self.out / FILE_NAME, dict(self.for_inference().items()), describe_generators(self.config.networks)
        )

    def resume(self) -> None:
        """Load the newest checkpoint of the run.

        Raises:
            CheckpointError: there is none, or it belongs to another configuration; the differences are listed.
        """
        state = self.world.together(lambda: load_newest(self.out / "checkpoints", self.say))
        changed = differences(what_matters(with_defaults(state["config"])), what_matters(to_dict(self.config)))
        if changed:
            listed = "\n  ".join(changed)
            raise CheckpointError(f"{self.out}: the run was started with other options:\n  {listed}")
        load_states(self.held(), state)
        load_random_states(state["rng"], self.device)
        self.step = int(state["step"])
        if len(set(self.world.gather(torch.tensor([self.step], device=self.device)).tolist())) > 1:
            raise CheckpointError(
                f"{self.out}: expected a folder that all processes share, they found other checkpoints"
            )
        self.say(f"resumed after step {self.step} of {self.total_steps}")

    def save_config(self) -> None:
        """Write the resolved options as ``config.json``."""
        text = json.dumps(dataclasses.asdict(self.config), indent=2)
        write_atomically(self.out / "config.json", text.encode())


def _floats(terms: dict[str, Tensor]) -> dict[str, float]:
    return dict(zip(terms, torch.stack([t.detach() for t in terms.values()]).tolist(), strict=True))
