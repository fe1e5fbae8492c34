"""MornGAN as the trainer drives it: what an epoch needs, what a step computes, what the log and a checkpoint hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from morn_losses import LabelSpace, MemoryBank, MemorySampler
from morn_losses.functional import semantic_descriptor
from morn_losses.pseudo_labels.look import RandomThermalLook
from ntir2dc.config import TrainConfig
from ntir2dc.data.folders import TrainingData
from ntir2dc.data.loading import load
from ntir2dc.data.pairing import MemoryCrops, PairedCrops
from ntir2dc.methods.halves import translators
from ntir2dc.methods.method import Group, LogNames, Part, Terms, Update
from ntir2dc.methods.morngan.forward import Forward
from ntir2dc.methods.morngan.networks import describe, make_networks
from ntir2dc.methods.morngan.objective import Objective, Step, aca_classes
from ntir2dc.methods.morngan.pseudo_labels import PseudoLabels
from ntir2dc.methods.morngan.schedule import Active, Phase, Schedule, active
from ntir2dc.networks.modes import evaluating, set_requires_grad
from ntir2dc.parallel.microbatches import Microbatches
from ntir2dc.pretrained.segmenter import load_segmenter
from ntir2dc.seeds import Stream, psi, seeded

TERMS = (
    *("adv", "cyc", "tv", "sga", "mono", "temp"),
    *("seg_ra", "seg_la", "seg_fb", "seg_rb", "seg_fa"),
    *("aca", "cgr", "sr"),
)
"""Every term of Eq. 23 (Eq. 4 and Eq. 10 written out), in the order of the log."""


class MornGAN:
    """The method of the paper; see :class:`ntir2dc.methods.method.Method`."""

    pools: ClassVar[tuple[str, ...]] = ("a", "b")

    def __init__(
        self,
        config: TrainConfig,
        data: TrainingData,
        space: LabelSpace,
        microbatches: Microbatches,
        say: Callable[[str], None],
    ) -> None:
        self.config, self.data, self.space = config, data, space
        self.microbatches, self.say = microbatches, say
        self.schedule = Schedule.from_options(config.phases, config.epochs)
        device = microbatches.world.device
        name, crop = config.segmenter_a, config.dataset.crop
        self.pretrained = None if name is None else load_segmenter(name, space, crop, device, say)
        self.networks = make_networks(config, len(space), self.pretrained).to(device)
        self.objective = Objective(config, space)
        self.labels = PseudoLabels(config, space).to(device)
        look = RandomThermalLook.from_label_space(space)
        self.forward = Forward(self.networks, self.objective, self.labels, look, config)
        # an entry says where its crop was cut: (row, col)
        self.memory = MemoryBank(len(data.b), len(space.small_sample), payload_size=2)
        self.log = LogNames(
            TERMS,
            adversaries=("disc_a", "disc_b"),
            observed=("mined", "pair_shared", "pair_random", *_present_names(config, space)),
            weights={"pair_shared": "pair_seeking", "pair_random": "pair_seeking"},
        )

    # ---- networks ------------------------------------------------------------------------------------------------

    @staticmethod
    def needs_labels(config: TrainConfig) -> bool:
        """Return that semantic consistency needs labels."""
        return config.modules.sc

    @staticmethod
    def needs_edges(config: TrainConfig) -> bool:
        """Return that SGA needs edges."""
        return config.losses.lambda_sga > 0

    def groups(self) -> dict[str, Group]:
        """Return what the optimizers of generators, segmenters (if there are any) and discriminators move."""
        config, networks = self.config, self.networks
        frozen = self.schedule.starts[-1] if config.segmenter_lr_schedule == "cosine" else 0
        groups = {
            "generators": Group(list(self.generators().values()), config.lr, config.weight_decay),
            "segmenters": Group(networks.segmenters(), config.segmenter_lr or config.lr, config.weight_decay, frozen),
            "discriminators": Group(networks.discriminators(), config.lr, config.weight_decay),
        }
        return {name: group for name, group in groups.items() if group.networks}

    def generators(self) -> nn.ModuleDict:
        """Return encoders and decoders."""
        return self.networks.generators()

    def describe(self) -> dict[str, Any]:
        """Return widths and depths of the generators."""
        return describe(self.config.networks)

    def translators(self, generators: nn.ModuleDict) -> tuple[nn.Module, nn.Module]:
        """Return G_AB and G_BA."""
        return translators(generators)

    def label_night(self, real_b: Tensor, fake_a: Tensor) -> Tensor | None:
        """Return what the segmenters mine in whole thermal images."""
        return self.forward.mine(real_b, fake_a, None) if self.networks.segmenters() else None

    def held(self) -> Mapping[str, Any]:
        """Return the memory, and what a pretrained S_A has to be compared with."""
        return {"memory": self.memory} | ({"segmenter_a": self.pretrained} if self.pretrained else {})

    # ---- an epoch ------------------------------------------------------------------------------------------------

    def plan(self) -> str:
        """Return the epochs of each phase."""
        return self.schedule.describe()

    def phase(self, epoch: int) -> Phase:
        """Return the phase of an epoch."""
        return self.schedule.phase(epoch)

    def on(self, epoch: int) -> Active:
        """Return what is on in an epoch."""
        return active(self.phase(epoch), self.config.modules, pretrained=self.pretrained is not None)

    def enter_epoch(self, epoch: int) -> None:
        """Freeze the segmenters, and fill the memory, from the epoch on in which they are."""
        on, segmenters = self.on(epoch), self.networks.segmenters()
        set_requires_grad(segmenters, not on.frozen)
        for segmenter in segmenters:
            segmenter.train(not on.frozen or self.config.losses.label_with_dropout)
        if on.memory and not self.memory.is_full:
            self.microbatches.world.together(self.fill_memory)
            self.memory.synchronize()
            held = int(self.memory.descriptors.ne(0).any(1).sum())
            self.say(f"memory filled: {len(self.memory)} thermal images, {held} of them hold a small-sample class")

    @torch.no_grad()
    def fill_memory(self) -> None:
        """Describe one crop of every thermal image of this process's share by its labels (section 3.4.1)."""
        crops, world = MemoryCrops(self.data, self.config.seed, self.config.dataset.crop), self.microbatches.world
        halves = self.generators().values()
        with evaluating(*halves), self.forward.labeling(*self.networks.segmenters()):
            for batch in load(
                crops, self.microbatches.size, range(world.rank, len(crops), world.size), self.config.seed
            ):
                labels = batch.get("labels_b")
                if labels is None:
                    real_b, windows = (self.networks.moved(batch[name]) for name in ("real_b", "window_b"))
                    labels = self.forward.mine(real_b, self.networks.translate_ba(real_b), windows)
                descriptors = semantic_descriptor(labels, self.space.small_sample)
                self.memory.write(batch["index_b"], descriptors.cpu(), batch["window_b"][:, :2])

    def crops(self, epoch: int, length: int) -> Dataset[Any]:
        """Return the crops of an epoch; pairing reads the memory as it is now."""
        config, on = self.config, self.on(epoch)
        taught = config.segmenter_crops if on.translating else config.warm_up_crops or config.segmenter_crops
        return PairedCrops(
            self.data,
            length=length,
            epoch=epoch,
            seed=config.seed,
            crop=config.dataset.crop,
            flip=config.dataset.flip,
            classes=self.space.small_sample,
            sampler=MemorySampler(self.memory, k=config.losses.memory_k) if on.memory else None,
            ignore_index=self.space.ignore_index,
            extra=taught - 1 if on.learning else 0,
            replacement=config.dataset.replacement,
        )

    # ---- a step --------------------------------------------------------------------------------------------------

    def updates(self, epoch: int) -> Sequence[Update]:
        """Return the one update: generators, segmenters while they learn, discriminators."""
        on = self.on(epoch)
        if not on.translating:
            return (Update(("segmenters",), self.losses),) if on.learning else ()
        segmenters = ("segmenters",) if on.learning else ()
        return (Update(("generators", *segmenters, "discriminators"), self.losses),)

    def losses(self, part: Part) -> Iterator[Terms]:
        """Give Eq. 23 and the discriminators' loss of a part, piece by piece."""
        on = self.on(part.epoch)
        step = self.forward.begin(part.batch, self.segmented_side(part, on))
        look = seeded(self.config.seed, Stream.LOOK, part.step)
        yield from self.forward.generate(step, on, self.scale(part), look)
        if on.translating:
            yield self.forward.discriminate(step, part.pools)
        part.log.update(self.observed(step, part, on))

    def scale(self, part: Part) -> float:
        """Return the scale of Eq. 22 for this epoch (published: for this step)."""
        losses = self.config.losses
        draw = psi(self.config.seed, part.step if losses.sr_every_step else part.epoch)
        return losses.sr_alpha if draw < 0.5 else losses.sr_beta

    def segmented_side(self, part: Part, on: Active) -> int | None:
        """Return the side to which segmenters see a step's crops resized while they learn (published), or None.

        4 x [32..79] pixels for a crop of 256, the same fractions of other crops.
        """
        if not self.config.losses.resize_segmented or on.frozen:
            return None
        crop = self.config.dataset.crop
        low, high = crop * 32 // 256, crop * 79 // 256
        draws = seeded(self.config.seed, Stream.SEGMENTED, part.step)
        return 4 * int(torch.randint(low, high + 1, (), generator=draws))

    def observed(self, step: Step, part: Part, on: Active) -> dict[str, float]:
        """Return the share of mined pixels, the classes that ACA found, and the luck of the pairing."""
        seen: dict[str, float] = {}
        if step.labels_b is not None:
            seen["mined"] = float((step.labels_b != self.space.ignore_index).float().mean())
        if step.aca_present is not None:
            counts = step.aca_present.sum(0).tolist()
            seen |= dict(zip(_present_names(self.config, self.space), map(int, counts), strict=True))
        return seen | self.luck(part.batch) if on.memory else seen

    def luck(self, batch: Mapping[str, Tensor]) -> dict[str, float]:
        """How many color images seek a partner, how many got one of their classes, and how many would by chance."""
        labels_a, drawn = batch["labels_a"].cpu(), batch["index_b"].cpu()
        held = torch.stack([(labels_a == c).flatten(1).any(1) for c in self.space.small_sample], 1)
        seeks = held.any(1)  # a color image without small-sample classes has nothing to share
        if not bool(seeks.any()):
            return {}
        # a class that is absent has the smallest value of its descriptor, minus the mean
        entries = self.memory.descriptors > self.memory.descriptors.amin(1, keepdim=True)
        held = held[seeks]
        return {
            "pair_shared": float((held & entries[drawn[seeks]]).any(1).float().mean()),
            "pair_seeking": int(seeks.sum()),
            "pair_random": float((held[:, None] & entries[None]).any(2).float().mean()),
        }


def _present_names(config: TrainConfig, space: LabelSpace) -> tuple[str, ...]:
    """Return the columns that count the images in which ACA found a class, one for each."""
    groups = [c if isinstance(c, tuple) else (c,) for c in aca_classes(config, space)]
    return tuple("aca_present_" + "+".join(space.names[c] for c in group).replace(" ", "_") for group in groups)
