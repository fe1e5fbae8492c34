r"""CycleGAN (Zhu et al., ICCV 2017) as the trainer drives it, read straight down.

.. math::
    \mathcal{L} = \mathcal{L}_{adv}^{A} + \mathcal{L}_{adv}^{B}
    + \lambda_{cyc} \left( \|G_{BA}(G_{AB}(x_a)) - x_a\|_1 + \|G_{AB}(G_{BA}(x_b)) - x_b\|_1 \right)
    + \lambda_{idt} \left( \|G_{AB}(x_b) - x_b\|_1 + \|G_{BA}(x_a) - x_a\|_1 \right)

with least-squares adversarial terms, norms as means over the pixels, and lambdas of 10 and 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from morn_losses import LabelSpace
from ntir2dc.config import TrainConfig
from ntir2dc.data.folders import TrainingData
from ntir2dc.methods.adversarial import should_be
from ntir2dc.methods.cyclegan.networks import Networks, describe
from ntir2dc.methods.method import Group, LogNames, Part, Terms, Update
from ntir2dc.methods.one_phase import Phase, plan, random_crops
from ntir2dc.networks import PatchDiscriminator
from ntir2dc.networks.modes import set_requires_grad
from ntir2dc.parallel.microbatches import Microbatches


class CycleGAN:
    """See :class:`ntir2dc.methods.method.Method`."""

    pools: ClassVar[tuple[str, ...]] = ("a", "b")

    def __init__(
        self,
        config: TrainConfig,
        data: TrainingData,
        space: LabelSpace,
        microbatches: Microbatches,
        say: Callable[[str], None],
    ) -> None:
        self.config, self.data, self.options = config, data, config.cyclegan
        if config.dataset.crop < PatchDiscriminator.minimum_size:
            raise ValueError(
                f"dataset.crop: expected at least {PatchDiscriminator.minimum_size}, got {config.dataset.crop}"
            )
        self.networks = Networks(config.networks, config.seed).to(microbatches.world.device)
        self.log = LogNames(("adv", "cyc", "idt"), adversaries=("disc_a", "disc_b"))

    @staticmethod
    def needs_labels(config: TrainConfig) -> bool:
        """Return that images alone are needed."""
        return False

    @staticmethod
    def needs_edges(config: TrainConfig) -> bool:
        """Return that images alone are needed."""
        return False

    def groups(self) -> dict[str, Group]:
        """Return one optimizer for both generators, one for both discriminators."""
        config, networks = self.config, self.networks
        return {
            "generators": Group(networks.generators(), config.lr, config.weight_decay),
            "discriminators": Group(networks.discriminators(), config.lr, config.weight_decay),
        }

    def generators(self) -> nn.ModuleDict:
        """Return both generators."""
        return nn.ModuleDict({"generator_ab": self.networks.generator_ab, "generator_ba": self.networks.generator_ba})

    def describe(self) -> dict[str, Any]:
        """Return width and depth of the generators."""
        return describe(self.config.networks)

    def translators(self, generators: nn.ModuleDict) -> tuple[nn.Module, nn.Module]:
        """Return G_AB and G_BA."""
        return generators["generator_ab"], generators["generator_ba"]

    def label_night(self, real_b: Tensor, fake_a: Tensor) -> None:
        """Return nothing: there are no labels."""

    def held(self) -> Mapping[str, Any]:
        """Return nothing: networks, optimizers and pools are all."""
        return {}

    def plan(self) -> str:
        """Return the epochs."""
        return plan(self.config)

    def phase(self, epoch: int) -> Phase:
        """Return the only phase."""
        return Phase.TRAIN

    def enter_epoch(self, epoch: int) -> None:
        """Do nothing."""

    def crops(self, epoch: int, length: int) -> Dataset[Any]:
        """Return the crops of an epoch, paired at random."""
        return random_crops(self.config, self.data, epoch, length)

    def updates(self, epoch: int) -> Sequence[Update]:
        """Return the one update: generators, then discriminators."""
        return (Update(("generators", "discriminators"), self.losses),)

    def losses(self, part: Part) -> Iterator[Terms]:
        """Give all terms of x_a, then all of x_b, then the discriminators'."""
        networks = self.networks
        g_ab, g_ba, d_a, d_b = (*networks.generators(), *networks.discriminators())
        real_a, real_b = part.batch["real_a"], part.batch["real_b"]

        set_requires_grad(networks.discriminators(), False)
        fakes: list[Tensor] = []
        yield self.generate(g_ab, g_ba, d_b, real_a, fakes)
        yield self.generate(g_ba, g_ab, d_a, real_b, fakes)

        set_requires_grad(networks.discriminators(), True)
        fake_b, fake_a = fakes
        yield {
            "disc_a": self.discriminate(d_a, real_a, part.pools["a"].query(fake_a)),
            "disc_b": self.discriminate(d_b, real_b, part.pools["b"].query(fake_b)),
        }

    def generate(
        self, there: nn.Module, back: nn.Module, discriminator: nn.Module, real: Tensor, fakes: list[Tensor]
    ) -> Terms:
        """Return the generators' terms of one direction, and leave the translation in ``fakes``."""
        fake = there(real)
        fakes.append(fake.detach())
        terms = {
            "adv": should_be(discriminator(fake), 1),
            "cyc": self.options.lambda_cyc * F.l1_loss(back(fake), real),
        }
        if self.options.lambda_identity > 0:
            terms["idt"] = self.options.lambda_identity * F.l1_loss(back(real), real)
        return terms

    def discriminate(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """Return the loss of one discriminator, halved as published."""
        return (should_be(discriminator(real), 1) + should_be(discriminator(fake), 0)) / 2
