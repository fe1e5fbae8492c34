"""Every option of the trainer as frozen dataclasses, the presets, and the two readings of the losses.

A preset changes sizes, data and schedule, never the code path; a variant changes which reading of the losses is used.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

PresetName = Literal["demo", "mini", "flir", "kaist"]
VariantName = Literal["paper", "published"]


@dataclass(frozen=True)
class NetworkOptions:
    """Widths and depths.

    Args:
        generator_width: channels after the first convolution of encoders and decoders; a multiple of 4.
        encoder_blocks: residual blocks of an encoder.
        decoder_blocks: residual blocks of a decoder.
        discriminator_width: channels after the first layer of a discriminator.
        discriminator_layers: stride-2 layers of the three discriminators: blurred color, gray, gradients.
        discriminator_views: what they look at: these three (ToDayGAN), or the color image as it is alone (CycleGAN).
        spectral_norm: of the discriminators' convolutions; ToDayGAN and CycleGAN have none.
        decoder_norm: the norm of a decoder's last two layers but one; ToDayGAN and CycleGAN have ``instance``.
        segmenter_width: channels after the first convolution of a segmenter.
        segmenter_blocks: residual blocks of a segmenter.
        aspp_channels: channels of each branch of the segmenter's pyramid.
        merged_channels: channels after the branches are merged.
        dropout: dropout before a segmenter's last layer.
        segmenter_norm: norm of a segmenter's layers; ``instance`` takes the image's mean color out, ``group`` keeps it,
            and so does ``batch``, which needs several ``segmenter_crops``.
        segmenter_init: initial weights of a segmenter: N(0, 0.02) as everywhere, or those of He et al.
        segmenter_coordinates: what a segmenter is told of each pixel: where it lies in the crop (published), or in the
            frame that the crop was cut out of, which says more where crops are small.
        checkpointing: keep less of generators and segmenters for the backward pass and run their layers twice: the
            same gradients in less memory and more time.
    """

    generator_width: int = 64
    encoder_blocks: int = 4
    decoder_blocks: int = 5
    discriminator_width: int = 64
    discriminator_layers: tuple[int, int, int] = (4, 4, 3)
    discriminator_views: Literal["three", "color"] = "three"
    spectral_norm: bool = True
    decoder_norm: Literal["group", "instance"] = "group"
    segmenter_width: int = 64
    segmenter_blocks: int = 4
    aspp_channels: int = 64
    merged_channels: int = 256
    dropout: float = 0.5
    segmenter_norm: Literal["instance", "group", "batch"] = "instance"
    segmenter_init: Literal["normal", "he"] = "normal"
    segmenter_coordinates: Literal["crop", "frame"] = "crop"
    checkpointing: bool = False


@dataclass(frozen=True)
class DataOptions:
    """Where training images come from and how they are cut.

    Args:
        crop: side of the square training crop in pixels; a multiple of 4.
        flip: probability of a horizontal flip.
        edge_low: lower Canny threshold of missing edge maps.
        edge_high: upper Canny threshold of missing edge maps.
        scene_height: height of the procedural scenes, used without ``data``.
        scene_width: width of the procedural scenes.
        scenes_a: number of daytime training scenes.
        scenes_b: number of night thermal training scenes.
        scenes_val: number of night thermal scenes with ground truth, for evaluation.
        scenes_judge: number of daytime scenes that train the segmentation network of ``evaluate.py``.
        scene_seed: seed of the procedural scenes, apart from the run's own.
        workers: data-loader processes; 0 loads in the training process.
    """

    crop: int = 256
    flip: float = 0.5
    edge_low: float = 0.1
    edge_high: float = 0.2
    scene_height: int = 128
    scene_width: int = 160
    scenes_a: int = 160
    scenes_b: int = 160
    scenes_val: int = 24
    scenes_judge: int = 240
    scene_seed: int = 0
    workers: int = 0

    def scenes(self) -> dict[str, Any]:
        """Return the arguments of ``write_scenes`` for these scenes."""
        return {
            "seed": self.scene_seed,
            "n_train_a": self.scenes_a,
            "n_train_b": self.scenes_b,
            "n_val": self.scenes_val,
            "n_judge": self.scenes_judge,
            "size": (self.scene_height, self.scene_width),
        }


@dataclass(frozen=True)
class PhaseOptions:
    """When each phase starts: below 1 a fraction of all epochs, from 1 on an epoch (counted from 0).

    Args:
        structure: the SSIM term of the cycle loss and the temperature term come in.
        segment_a: the segmenter of the color domain, S_A, is trained on real images.
        segment_b: S_A also learns boundaries and its own confident predictions; S_B is trained on translated images.
        distill: S_B is also trained on real thermal images with mined labels; the semantic loss on translated thermal
            images reaches the generator; scale robustness comes in.
        collaborate: the segmenters are frozen and the memory is filled; ACA, CGR and the semantic loss on translated
            color images come in.
    """

    structure: float = 10 / 80
    segment_a: float = 20 / 80
    segment_b: float = 30 / 80
    distill: float = 40 / 80
    collaborate: float = 75 / 80


@dataclass(frozen=True)
class ModuleOptions:
    """The rows of the paper's Table 5: what is added to the baseline.

    Args:
        sc: semantic consistency: segmenters, label mining and the segmentation losses (Eq. 8-10).
        sdp: semantic denoising of the pseudo-labels of both domains (Eq. 5-7); needs ``sc``.
        mgca: memory-guided collaborative attention: memory, pairing and ACA (Eq. 11-17); needs ``sc``.
        cgr: conditional gradient repair (Eq. 18-19); without ``sc`` the whole image counts as background.
        sr: scale robustness (Eq. 20-22).
    """

    sc: bool = True
    sdp: bool = True
    mgca: bool = True
    cgr: bool = True
    sr: bool = True

    def __post_init__(self) -> None:
        for name in ("sdp", "mgca"):
            if getattr(self, name) and not self.sc:
                raise ValueError(f"modules.{name}: needs modules.sc, which gives the pseudo-labels")


@dataclass(frozen=True)
class LossOptions:
    """Weights of Eq. 23 and the options of its terms; the defaults are the paper's.

    Args:
        lambda_cyc: weight of the distance inside the cycle loss; its SSIM term weighs 1.
        lambda_tv: weight of total variation.
        lambda_sga: weight of structured gradient alignment.
        lambda_thermal: weight of the monochromatic and the temperature term; the paper's is ``lambda_sga``.
        lambda_seg: weight of all segmentation losses.
        boundary_weight: weight of the boundary loss beside the cross-entropy of S_A.
        lambda_aca: weight of adaptive collaborative attention.
        lambda_cgr: weight of conditional gradient repair.
        lambda_sr: weight of scale robustness.
        adversarial: relativistic least squares, or those of CycleGAN (``least_squares``).
        published_adversarial: divide each discriminator's adversarial term by its number of scales.
        cycle_distance: ``l1`` (paper) or ``smooth_l1`` (published).
        sga_threshold: threshold of SGA; 0.8 for FLIR, 0.44 for KAIST.
        sga_patches: mean over all patches with an edge, or one of them at random (published).
        gradient_padding: border of the gradients in SGA and CGR; ``zeros`` is published.
        theta_fg: mining threshold of foreground classes (Eq. 9).
        theta_bg: mining threshold of background classes (Eq. 9).
        mine_frozen_alone: once frozen, mine from S_B(x_b) alone, all classes at ``theta_fg`` (published).
        fill_threshold: S_A's predictions above it fill unlabeled pixels of real color images.
        published_fusion: fuse rider into person and trust the second predictor's trucks (published).
        aca_clusters: clusters of ACA.
        aca_phi_local: local threshold of Eq. 16.
        aca_phi_global: global threshold of Eq. 16.
        aca_metric: distance of the k-means.
        aca_init: start of the k-means.
        aca_average: divide by the number of classes (paper) or of those present (published).
        aca_merge_vehicles: one class of car, truck, bus and train (published).
        memory_k: candidates that the memory draws from.
        sr_alpha: smaller scale of Eq. 20.
        sr_beta: larger scale of Eq. 21.
        sr_every_step: draw psi of Eq. 22 at every step (published) instead of once an epoch.
    """

    lambda_cyc: float = 10.0
    lambda_tv: float = 5.0
    lambda_sga: float = 0.5
    lambda_thermal: float = 0.5
    lambda_seg: float = 1.0
    boundary_weight: float = 0.5
    lambda_aca: float = 1.0
    lambda_cgr: float = 1.0
    lambda_sr: float = 1.0
    adversarial: Literal["relativistic", "least_squares"] = "relativistic"
    published_adversarial: bool = False
    cycle_distance: Literal["l1", "smooth_l1"] = "l1"
    sga_threshold: float = 0.8
    sga_patches: Literal["all", "random"] = "all"
    gradient_padding: Literal["replicate", "zeros"] = "replicate"
    theta_fg: float = 0.95
    theta_bg: float = 0.99
    mine_frozen_alone: bool = False
    fill_threshold: float = 0.95
    published_fusion: bool = False
    aca_clusters: int = 4
    aca_phi_local: float = 0.9
    aca_phi_global: float = 0.9
    aca_metric: Literal["euclidean", "cosine"] = "euclidean"
    aca_init: Literal["k-means++", "random"] = "k-means++"
    aca_average: Literal["all", "present"] = "all"
    aca_merge_vehicles: bool = False
    memory_k: int = 10
    sr_alpha: float = 0.5
    sr_beta: float = 1.5
    sr_every_step: bool = False


@dataclass(frozen=True)
class TrainConfig:
    """A whole run.

    Args:
        preset: where the defaults of all other options come from.
        variant: which reading of the losses: the paper's, or that of the authors' published code.
        out: folder of the run.
        data: folder with ``trainA trainB`` (and more, see the README); None renders procedural scenes into ``out``.
        epochs: length of the run; the phases are compressed with it.
        steps_per_epoch: steps an epoch; 0 is one pass over the larger domain.
        max_steps: stop after this many steps in all without moving the phases; 0 is no limit.
        batch_size: images of each domain a step, on all devices together.
        seed: seed of everything.
        lr: learning rate of Adam, constant.
        segmenter_lr: learning rate of the segmenters; 0 is ``lr``, as in the paper.
        segmenter_crops: color crops that teach the segmenters for each image of the batch; beyond the image itself,
            they are cut out of other images, every second one around a small-sample class. 1 is the paper's.
        ema_decay: decay of the running average of the generators' weights that is saved for inference; 0 saves the
            weights as they are, as in the paper.
        pool: capacity of the pool of translated images for each discriminator.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
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
    """

    preset: PresetName = "demo"
    variant: VariantName = "paper"
    out: str = "runs/demo"
    data: str | None = None
    epochs: int = 80
    steps_per_epoch: int = 0
    max_steps: int = 0
    batch_size: int = 1
    seed: int = 0
    lr: float = 2e-4
    segmenter_lr: float = 0.0
    segmenter_crops: int = 1
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

    def __post_init__(self) -> None:
        counts = ("epochs", "batch_size", "segmenter_crops", "checkpoint_every", "panel_every", "keep_checkpoints")
        for name in (*counts, "devices", "num_nodes", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected an int >= 1, got {getattr(self, name)}")
        parts = self.devices * self.num_nodes * self.accumulate
        if self.batch_size % parts:
            raise ValueError(
                f"batch_size: expected a multiple of devices * num_nodes * accumulate = {parts}, got {self.batch_size}"
            )
        if self.devices > 1 and ":" in self.device:
            raise ValueError(f"device: expected auto, cpu or cuda with several devices, got {self.device}")
        for name in ("steps_per_epoch", "max_steps", "pool", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected an int >= 0, got {getattr(self, name)}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay: expected a number in [0, 1), got {self.ema_decay}")
        if self.modules.sc and self.losses.lambda_seg <= 0:
            raise ValueError("losses.lambda_seg: expected a positive weight; switch modules.sc off instead")
        if self.dataset.crop % 4 or self.dataset.crop < 32:
            raise ValueError(f"dataset.crop: expected a multiple of 4 of at least 32, got {self.dataset.crop}")


_SMALL_NETWORKS = NetworkOptions(
    generator_width=16,
    discriminator_width=16,
    segmenter_width=16,
    aspp_channels=16,
    merged_channels=64,
    dropout=0.1,
)

# segmenters start at once, and the last phase gets its share of a short run
_SHORT_PHASES = PhaseOptions(structure=0.05, segment_a=0.1, segment_b=0.2, distill=0.4, collaborate=0.7)

# no segmenter is sure of 95 or 99 percent after a thousandth of the paper's steps
_SHORT_LOSSES = LossOptions(theta_fg=0.5, theta_bg=0.6, fill_threshold=0.8)

_PRESETS: dict[str, TrainConfig] = {
    "demo": TrainConfig(
        preset="demo",
        out="runs/demo",
        epochs=20,
        steps_per_epoch=30,
        lr=5e-4,
        segmenter_lr=2e-3,
        ema_decay=0.98,
        networks=_SMALL_NETWORKS,
        dataset=DataOptions(crop=96, scene_height=96, scene_width=128),
        phases=_SHORT_PHASES,
        losses=_SHORT_LOSSES,
    ),
    "mini": TrainConfig(
        preset="mini",
        out="runs/mini",
        epochs=29,
        lr=4e-4,
        segmenter_lr=2e-3,
        segmenter_crops=4,
        ema_decay=0.995,
        networks=dataclasses.replace(_SMALL_NETWORKS, segmenter_norm="batch", segmenter_init="he"),
        dataset=DataOptions(crop=128),
        phases=_SHORT_PHASES,
        # real thermal images leave them less sure still, and S_A on translations least of all
        losses=dataclasses.replace(
            _SHORT_LOSSES, theta_fg=0.3, theta_bg=0.5, mine_frozen_alone=True, boundary_weight=0.0
        ),
    ),
    "flir": TrainConfig(preset="flir", out="runs/flir", epochs=80, checkpoint_every=1000, panel_every=1000),
    "kaist": TrainConfig(
        preset="kaist",
        out="runs/kaist",
        epochs=160,
        checkpoint_every=1000,
        panel_every=1000,
        phases=PhaseOptions(
            structure=10 / 160, segment_a=50 / 160, segment_b=90 / 160, distill=100 / 160, collaborate=145 / 160
        ),
        losses=LossOptions(sga_threshold=0.44),
    ),
}


def _published(losses: LossOptions) -> LossOptions:
    """Return the reading of the authors' published code, as far as options reach it."""
    return dataclasses.replace(
        losses,
        lambda_thermal=1.0,
        published_adversarial=True,
        cycle_distance="smooth_l1",
        sga_patches="random",
        gradient_padding="zeros",
        mine_frozen_alone=True,
        published_fusion=True,
        aca_metric="cosine",
        aca_init="random",
        aca_average="present",
        aca_merge_vehicles=True,
        sr_every_step=True,
    )


def make_config(preset: PresetName = "demo", variant: VariantName = "paper") -> TrainConfig:
    """Return the configuration of a preset in one of the two readings."""
    if preset not in _PRESETS:
        raise ValueError(f"preset: expected one of {', '.join(_PRESETS)}, got {preset!r}")
    if variant not in get_args(VariantName):
        raise ValueError(f"variant: expected one of {', '.join(get_args(VariantName))}, got {variant!r}")
    config = _PRESETS[preset]
    losses = _published(config.losses) if variant == "published" else config.losses
    return dataclasses.replace(config, variant=variant, losses=losses)


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as nested plain dicts, as JSON and checkpoints hold it."""
    plain = dataclasses.asdict(config)
    plain["networks"]["discriminator_layers"] = list(plain["networks"]["discriminator_layers"])
    return plain


def from_dict(plain: dict[str, Any]) -> TrainConfig:
    """Return the configuration that :func:`to_dict` gave."""
    values = dict(plain)
    networks = dict(values["networks"])
    networks["discriminator_layers"] = tuple(networks["discriminator_layers"])
    values["networks"] = NetworkOptions(**networks)
    values["dataset"] = DataOptions(**values["dataset"])
    values["phases"] = PhaseOptions(**values["phases"])
    values["modules"] = ModuleOptions(**values["modules"])
    values["losses"] = LossOptions(**values["losses"])
    return TrainConfig(**values)


def with_defaults(plain: dict[str, Any]) -> dict[str, Any]:
    """Return stored options with the defaults of those that did not exist when they were stored."""

    def over(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
        merged = {**defaults, **values}
        for key, value in values.items():
            if isinstance(value, dict) and isinstance(defaults.get(key), dict):
                merged[key] = over(value, defaults[key])
        return merged

    return over(plain, to_dict(TrainConfig()))


def what_matters(config: dict[str, Any]) -> dict[str, Any]:
    """Leave out the options that may change between two parts of a run."""
    free = {"out", "max_steps", "checkpoint_every", "panel_every", "keep_checkpoints", "device", "data"}
    free |= {"devices", "num_nodes", "strategy", "precision", "accumulate", "compile"}
    kept = {key: value for key, value in config.items() if key not in free}
    kept["dataset"] = {key: value for key, value in kept["dataset"].items() if key != "workers"}
    kept["networks"] = {key: value for key, value in kept["networks"].items() if key != "checkpointing"}
    return kept


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Return one line for each option in which two configurations differ."""
    lines: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            lines += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            lines.append(f"{prefix}{key}: {a!r} in the run, {b!r} asked for")
    return lines
