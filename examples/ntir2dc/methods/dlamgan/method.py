"""DlamGAN (Luo et al., ICIG 2021) as a reconstruction, from what the MornGAN paper says of it: no code of it is public.

It learns as MornGAN without its later modules: S_A learns labels of the color images, both segmenters mine those of the
thermal images with one threshold for all classes and without denoising, then both are frozen and judge the
translations. The threshold is 0.95, that of MornGAN's foreground classes; backbone, weights and epochs are MornGAN's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

from morn_losses import LabelSpace
from ntir2dc.config import ModuleOptions, TrainConfig
from ntir2dc.data.folders import TrainingData
from ntir2dc.methods.method import LogNames
from ntir2dc.methods.morngan import MornGAN
from ntir2dc.parallel.microbatches import Microbatches

TERMS = ("adv", "cyc", "tv", "sga", "mono", "temp", "seg_ra", "seg_fb", "seg_rb", "seg_fa")


class DlamGAN(MornGAN):
    """MornGAN with module ``sc`` alone and one threshold; see :class:`ntir2dc.methods.method.Method`."""

    def __init__(
        self,
        config: TrainConfig,
        data: TrainingData,
        space: LabelSpace,
        microbatches: Microbatches,
        say: Callable[[str], None],
    ) -> None:
        check(config)
        super().__init__(config, data, space, microbatches, say)
        self.log = LogNames(TERMS, adversaries=("disc_a", "disc_b"), observed=("mined",))

    def plan(self) -> str:
        """Return the epochs of each phase, and that this is a reconstruction."""
        return f"DlamGAN is a reconstruction here; {super().plan()}"


def check(config: TrainConfig) -> None:
    """Raise ``ValueError`` for options that would make another system of it."""
    for module in fields(ModuleOptions):
        if getattr(config.modules, module.name) != (module.name == "sc"):
            raise ValueError(f"modules.{module.name}: method dlamgan has modules.sc alone")
    losses = config.losses
    own = losses.theta or losses.theta_frozen
    if own or losses.theta_fg != losses.theta_bg:
        raise ValueError(
            "losses.theta_fg: method dlamgan has one threshold for all classes, expected losses.theta_bg the same and "
            f"losses.theta and theta_frozen empty, got {losses.theta_fg}, {losses.theta_bg} and {own!r}"
        )
