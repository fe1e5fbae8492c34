"""What each number among the options may be: a mistake shows before the first step, not in the last phase."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, the ends included unless they are said not to be."""

    low: float = 0
    high: float = math.inf
    above_low: bool = False
    below_high: bool = False
    multiple_of: int = 1

    def holds(self, value: float) -> bool:
        """Whether the number lies in the range; infinity and NaN never do."""
        low = value > self.low if self.above_low else value >= self.low
        high = value < self.high if self.below_high else value <= self.high
        return low and high and math.isfinite(value) and (self.multiple_of == 1 or value % self.multiple_of == 0)

    def __str__(self) -> str:
        multiple = f"a multiple of {self.multiple_of}" if self.multiple_of > 1 else "a number"
        if self.high == math.inf:
            return f"{multiple} {'>' if self.above_low else '>='} {self.low:g}"
        left, right = "(" if self.above_low else "[", ")" if self.below_high else "]"
        return f"{multiple} in {left}{self.low:g}, {self.high:g}{right}"


WEIGHT, SHARE, COUNT, POSITIVE = Range(), Range(0, 1), Range(1), Range(above_low=True)
SEED = Range(0, 2**63, below_high=True)
WIDTH = Range(4, multiple_of=4)

RANGES = {
    **dict.fromkeys(("epochs", "batch_size", "segmenter_crops", "devices", "num_nodes", "accumulate"), COUNT),
    **dict.fromkeys(("checkpoint_every", "panel_every", "keep_checkpoints"), COUNT),
    **dict.fromkeys(("steps_per_epoch", "max_steps", "pool", "segmenter_lr", "warm_up_crops"), WEIGHT),
    "seed": SEED,
    "lr": POSITIVE,
    "lr_decay_start": SHARE,
    "lr_halve_every": COUNT,
    "weight_decay": WEIGHT,
    "ema_decay": Range(0, 1, below_high=True),
    **dict.fromkeys(("networks.generator_width", "networks.segmenter_width"), WIDTH),
    **dict.fromkeys(("networks.aspp_channels", "networks.merged_channels"), WIDTH),
    "networks.discriminator_width": COUNT,
    **dict.fromkeys(("networks.encoder_blocks", "networks.decoder_blocks", "networks.segmenter_blocks"), WEIGHT),
    "networks.dropout": Range(0, 1, below_high=True),
    "dataset.crop": Range(32, multiple_of=4),
    "dataset.flip": SHARE,
    **dict.fromkeys(("dataset.edge_low", "dataset.edge_high"), SHARE),
    **dict.fromkeys(("dataset.scenes_a", "dataset.scenes_b"), Range(1, 1_000_000)),
    **dict.fromkeys(("dataset.scenes_val", "dataset.scenes_judge"), Range(0, 1_000_000)),
    **dict.fromkeys(("dataset.scene_height", "dataset.scene_width"), Range(48)),
    "dataset.scene_seed": SEED,
    "dataset.workers": WEIGHT,
    **{f"phases.{name}": WEIGHT for name in ("baseline", "structure", "segment_a", "segment_b")},
    **{f"phases.{name}": WEIGHT for name in ("distill", "collaborate")},
    **{f"losses.lambda_{name}": WEIGHT for name in ("cyc", "tv", "sga", "thermal", "seg", "aca", "cgr", "sr")},
    **dict.fromkeys(("cyclegan.lambda_cyc", "cyclegan.lambda_identity"), WEIGHT),
    **{f"forkgan.lambda_{name}": WEIGHT for name in ("cyc", "rec", "per", "cls")},
    "forkgan.noise": WEIGHT,
    **{f"pearlgan.lambda_{name}": WEIGHT for name in ("cyc", "ssim", "tv", "sga", "ad", "accs")},
    "pearlgan.sga_threshold": SHARE,
    "pearlgan.similarity": WEIGHT,
    "todaygan.lambda_cyc": WEIGHT,
    **{f"unit.lambda_{name}": WEIGHT for name in ("rec", "kl", "cyc", "kl_cyc")},
    "drit.style": COUNT,
    **{f"drit.lambda_{name}": WEIGHT for name in ("content", "cyc", "rec", "kl", "size", "latent", "mode")},
    "losses.boundary_weight": WEIGHT,
    "losses.small_pixels": WEIGHT,
    "losses.sga_threshold": SHARE,
    **dict.fromkeys(("losses.theta_fg", "losses.theta_bg", "losses.fill_threshold"), SHARE),
    **dict.fromkeys(("losses.aca_clusters", "losses.memory_k"), COUNT),
    **dict.fromkeys(("losses.aca_phi_local", "losses.aca_phi_global"), WEIGHT),
    "losses.sr_alpha": Range(0, 1, above_low=True),
    "losses.sr_beta": Range(1),
}
"""The range of every option that is a number, by its name on the command line."""


def check_ranges(config: Any) -> None:
    """Raise ``ValueError`` for the first option of a run that is out of its range."""
    for name, allowed in RANGES.items():
        value = config
        for part in name.split("."):
            value = getattr(value, part)
        if not isinstance(value, (int, float)):
            raise ValueError(f"{name}: expected {allowed}, got {value!r}")
        if not allowed.holds(value):
            raise ValueError(f"{name}: expected {allowed}, got {value}")
    config.losses.thresholds(frozen=True)
