"""The options of a whole run."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ntir2dc.config.options import (
    CycleGANOptions,
    DataOptions,
    DRITOptions,
    ForkGANOptions,
    LossOptions,
    ModuleOptions,
    NetworkOptions,
    PearlGANOptions,
    PhaseOptions,
    ToDayGANOptions,
    UNITOptions,
)
from ntir2dc.config.ranges import check_ranges
from ntir2dc.data.thermal import ThermalOptions

PresetName = Literal["demo", "mini", "flir", "kaist"]
VariantName = Literal["paper", "published"]
MethodName = Literal["morngan", "cyclegan", "unit", "todaygan", "drit", "forkgan", "pearlgan", "dlamgan"]


@dataclass(frozen=True)
class TrainConfig:
    """A whole run.

    Args:
        preset: where the defaults of all other options come from.
        variant: which reading of networks and losses: the paper's, or that of the authors' published code.
        method: the system that is trained; ``phases``, ``modules`` and ``losses`` are MornGAN's and DlamGAN's.
            ``dlamgan`` is a reconstruction: no code of it is public.
        out: folder of the run.
        data: folder with ``trainA``, ``trainB`` and label maps, laid out as docs/training.md says; None renders
            procedural scenes into ``out``.
        init_from: begin with the networks of another run (its folder) or of a weights file, those whose shapes fit;
            without ``preset``, ``variant`` and ``method`` that run's options are the defaults.
        segmenter_a: beyond the paper: a pretrained network of ``transformers`` that labels pixels, a local folder or a
            name on the hub, is S_A from the start and never learns; its classes are matched by their names.
        epochs: length of the run; the phases are compressed with it.
        steps_per_epoch: steps an epoch; 0 is one pass over the larger domain.
        max_steps: stop this call after so many steps of the run in all, without moving the phases; 0 is no limit. It is
            not kept: ``--resume`` alone goes on to the end.
        batch_size: images of each domain a step, on all devices together.
        seed: seed of everything.
        lr: learning rate of Adam at the start.
        lr_schedule: ``constant``; ``linear``: down to 0 after ``lr_decay_start``; ``linear_late``: likewise, an epoch
            later; or ``step``: halved every ``lr_halve_every`` steps.
        lr_decay_start: share of the epochs before a linear decay.
        lr_halve_every: steps.
        weight_decay: of Adam.
        segmenter_lr: learning rate of the segmenters; 0 is ``lr``, as in the paper.
        segmenter_lr_schedule: that of ``lr_schedule``, as in the paper; or ``cosine``: down to 0 when they are frozen.
        segmenter_crops: color crops that teach the segmenters for each image of the batch; beyond the image itself,
            they are cut out of other images, every second one around a small-sample class. 1 is the paper's.
        warm_up_crops: the same before ``phases.baseline``; 0 is ``segmenter_crops``.
        ema_decay: decay of the running average of the generators' weights that is saved for inference; 0 saves the
            weights as they are, as in the paper.
        pool: capacity of the pool of translated images for each discriminator.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        devices: processes on this machine, each with a device and its share of every batch.
        num_nodes: machines; more than one needs a launcher, see the guide to devices.
        strategy: how devices share the work: ``ddp``, each with all networks and a part of the batch, is the only one.
        precision: of the networks: ``32-true``, ``bf16-mixed`` (autocast; images, scores and losses stay float32), or
            ``64-true``, which tells rounding from error.
        accumulate: parts of a device's share of the batch, computed one after another; more need less memory.
        compile: pass the networks through ``torch.compile``.
        deterministic: choose kernels that give the same result every time; for CUDA, where others are the default.
        checkpoint_every: steps between checkpoints.
        panel_every: steps between sample panels.
        keep_checkpoints: how many checkpoints are kept.
        networks: widths and depths.
        dataset: crops, edges and procedural scenes.
        phases: when each phase starts.
        modules: the switches of Table 5.
        losses: weights and readings.
        cyclegan: weights of ``method`` cyclegan.
        forkgan: weights, noise and output of ``method`` forkgan.
        pearlgan: weights, threshold and phases of ``method`` pearlgan.
        todaygan: weights of ``method`` todaygan.
        unit: weights of ``method`` unit.
        drit: weights of ``method`` drit.
        thermal: how thermal frames are read, here and wherever the weights are used.
    """

    preset: PresetName = "demo"
    variant: VariantName = "paper"
    method: MethodName = "morngan"
    out: str = "runs/demo"
    data: str | None = None
    init_from: str | None = None
    segmenter_a: str | None = None
    epochs: int = 80
    steps_per_epoch: int = 0
    max_steps: int = 0
    batch_size: int = 1
    seed: int = 0
    lr: float = 2e-4
    lr_schedule: Literal["constant", "linear", "linear_late", "step"] = "constant"
    lr_decay_start: float = 0.5
    lr_halve_every: int = 100_000
    weight_decay: float = 0.0
    segmenter_lr: float = 0.0
    segmenter_lr_schedule: Literal["common", "cosine"] = "common"
    segmenter_crops: int = 1
    warm_up_crops: int = 0
    ema_decay: float = 0.0
    pool: int = 50
    device: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: Literal["ddp"] = "ddp"
    precision: Literal["32-true", "bf16-mixed", "64-true"] = "32-true"
    accumulate: int = 1
    compile: bool = False
    deterministic: bool = False
    checkpoint_every: int = 200
    panel_every: int = 200
    keep_checkpoints: int = 2
    networks: NetworkOptions = field(default_factory=NetworkOptions)
    dataset: DataOptions = field(default_factory=DataOptions)
    phases: PhaseOptions = field(default_factory=PhaseOptions)
    modules: ModuleOptions = field(default_factory=ModuleOptions)
    losses: LossOptions = field(default_factory=LossOptions)
    cyclegan: CycleGANOptions = field(default_factory=CycleGANOptions)
    forkgan: ForkGANOptions = field(default_factory=ForkGANOptions)
    pearlgan: PearlGANOptions = field(default_factory=PearlGANOptions)
    todaygan: ToDayGANOptions = field(default_factory=ToDayGANOptions)
    unit: UNITOptions = field(default_factory=UNITOptions)
    drit: DRITOptions = field(default_factory=DRITOptions)
    thermal: ThermalOptions = field(default_factory=ThermalOptions)

    def __post_init__(self) -> None:
        _make_plain(self)
        check_ranges(self)
        parts = self.devices * self.num_nodes * self.accumulate
        if self.batch_size % parts:
            raise ValueError(
                f"batch_size: expected a multiple of devices * num_nodes * accumulate = {parts}, got {self.batch_size}"
            )
        if self.devices > 1 and ":" in self.device:
            raise ValueError(f"device: expected auto, cpu or cuda with several devices, got {self.device}")
        if self.data is not None and Path(self.data).resolve() == Path(self.out).resolve():
            raise ValueError(f"out: expected another folder than that of the data, got {self.out}")
        if self.modules.sc and self.losses.lambda_seg <= 0:
            raise ValueError("losses.lambda_seg: expected a positive weight; switch modules.sc off instead")
        if self.segmenter_a is not None and not (self.modules.sc and self.method in ("morngan", "dlamgan")):
            raise ValueError("segmenter_a: needs modules.sc of method morngan or dlamgan, whose S_A it is")
        layers = self.networks.discriminator_layers
        if len(layers) != 3 or min(layers) < 1:
            raise ValueError(f"networks.discriminator_layers: expected three numbers >= 1, got {list(layers)}")
        if self.losses.resize_segmented and self.networks.segmenter_coordinates == "frame":
            raise ValueError("losses.resize_segmented: needs networks.segmenter_coordinates crop")
        if self.losses.label_with_dropout and self.networks.segmenter_variant == "unet":
            raise ValueError("losses.label_with_dropout: networks.segmenter_variant unet has no dropout")
        if self.losses.label_with_dropout and self.networks.segmenter_norm == "batch":
            raise ValueError("losses.label_with_dropout: needs networks.segmenter_norm instance or group")
        if self.dataset.edge_low > self.dataset.edge_high:
            raise ValueError(
                f"dataset.edge_low: expected at most dataset.edge_high = {self.dataset.edge_high}, "
                f"got {self.dataset.edge_low}"
            )


def _make_plain(options: Any, prefix: str = "") -> None:
    """Replace the numbers of numpy in a dataclass by Python's, which JSON and checkpoints hold.

    Raises:
        ValueError: a fraction where an integer belongs.
    """

    def plain(value: Any) -> Any:
        return value.item() if isinstance(value, np.generic) else value

    for one in fields(options):
        value = getattr(options, one.name)
        if is_dataclass(value):
            _make_plain(value, f"{one.name}.")
        # frozen for everybody else
        elif isinstance(value, tuple):
            object.__setattr__(options, one.name, tuple(plain(part) for part in value))
        elif isinstance(value, np.generic):
            object.__setattr__(options, one.name, plain(value))
        if one.type == "int" and isinstance(plain(value), float):
            raise ValueError(f"{prefix}{one.name}: expected an integer, got {value}")
