"""The presets, and the two readings of networks and losses."""

from __future__ import annotations

import dataclasses
from typing import get_args

from ntir2dc.config.options import (
    DataOptions,
    LossOptions,
    ModuleOptions,
    NetworkOptions,
    PearlGANOptions,
    PhaseOptions,
)
from ntir2dc.config.train import MethodName, PresetName, TrainConfig, VariantName

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
        segmenter_lr=5e-3,
        segmenter_lr_schedule="cosine",
        segmenter_crops=2,
        warm_up_crops=6,
        ema_decay=0.98,
        networks=dataclasses.replace(
            _SMALL_NETWORKS, segmenter_variant="unet", segmenter_init="he", segmenter_coordinates="frame"
        ),
        dataset=DataOptions(crop=96, scene_height=96, scene_width=128),
        # the segmenters first: what they know by then is what the generators learn from
        phases=PhaseOptions(baseline=0.4, structure=0.4, segment_a=0.4, segment_b=0.4, distill=0.4, collaborate=0.75),
        modules=ModuleOptions(looks=True, early_fa=True),
        losses=dataclasses.replace(
            _SHORT_LOSSES,
            mine_frozen_alone=True,
            theta="person=0.3",
            # by studies/pseudo_labels.py for a precision of 40%, which no other small-sample class reaches
            theta_frozen="person=0.25",
        ),
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
        pearlgan=PearlGANOptions(sga_threshold=0.44, similarity=30 / 120),
    ),
}


def _published(losses: LossOptions, crop: int) -> LossOptions:
    """Return the reading of the authors' published code, as far as options reach it."""
    return dataclasses.replace(
        losses,
        lambda_thermal=1.0,
        published_adversarial=True,
        cycle_distance="smooth_l1",
        sga_patches="random",
        gradient_padding="zeros",
        mine_frozen_alone=True,
        theta="",
        theta_frozen="",
        published_fusion=True,
        aca_metric="cosine",
        aca_init="random",
        aca_average="present",
        aca_merge_vehicles=True,
        sr_every_step=True,
        # an absolute number: a map may be of any size
        small_pixels=crop**2 // 64,
        clear_ignored=False,
        published_fill=True,
        label_with_dropout=True,
        resize_segmented=True,
    )


def _of_the_method(preset: TrainConfig, method: MethodName) -> TrainConfig:
    """Return a preset with the schedule, and what else is the compared method's own rather than MornGAN's."""
    config = dataclasses.replace(preset, method=method)
    if method == "morngan":
        return config
    config = dataclasses.replace(config, ema_decay=0.0)
    networks, replace = config.networks, dataclasses.replace
    match method:
        case "cyclegan":
            return replace(config, lr_schedule="linear")
        case "todaygan":
            return replace(
                config,
                lr_schedule="linear_late",
                networks=replace(networks, decoder_norm="instance", discriminator_norm="instance"),
                dataset=replace(config.dataset, replacement=True),
            )
        case "forkgan":
            depths = replace(networks, encoder_blocks=5, decoder_blocks=4)
            return replace(config, lr_schedule="linear_late", networks=depths)
        case "pearlgan":
            return replace(config, lr_schedule="linear_late", dataset=replace(config.dataset, replacement=True))
        case "unit":
            return replace(
                config,
                lr=preset.lr / 2,  # the others' 2e-4 is 1e-4 in its code
                lr_schedule="step",
                weight_decay=1e-4,
                networks=replace(networks, decoder_blocks=4),
            )
        case "drit":
            return replace(
                config,
                batch_size=6,  # three of its batches, of two images each, make a full step
                lr=preset.lr / 2,  # the others' 2e-4 is 1e-4 in its code
                lr_schedule="linear",
                weight_decay=1e-4,
                networks=replace(networks, encoder_blocks=3, decoder_blocks=3),
            )
        case "dlamgan":
            losses = config.losses
            return replace(
                config,
                modules=ModuleOptions(sdp=False, mgca=False, cgr=False, sr=False),
                losses=replace(losses, theta="", theta_frozen="", theta_bg=losses.theta_fg, mine_frozen_alone=False),
            )


def make_config(
    preset: PresetName = "demo", variant: VariantName = "paper", method: MethodName = "morngan"
) -> TrainConfig:
    """Return the configuration of a preset, in one of the two readings, for a method by its own schedule."""
    for name, value, known in (
        ("preset", preset, tuple(_PRESETS)),
        ("variant", variant, get_args(VariantName)),
        ("method", method, get_args(MethodName)),
    ):
        if value not in known:
            raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
    config = _of_the_method(_PRESETS[preset], method)
    if variant == "paper":
        return config
    return dataclasses.replace(
        config,
        variant=variant,
        modules=dataclasses.replace(config.modules, looks=False, early_fa=False),
        networks=dataclasses.replace(
            config.networks,
            segmenter_variant="published",
            segmenter_norm="instance",
            segmenter_init="normal",
            segmenter_coordinates="crop",
        ),
        dataset=dataclasses.replace(config.dataset, replacement=True),
        losses=_published(config.losses, config.dataset.crop),
    )
