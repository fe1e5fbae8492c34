r"""ToDayGAN (Anoosheh et al., ICRA 2019) as the trainer drives it, read straight down.

.. math::
    \mathcal{L} = \mathcal{L}_{adv}^{A} + \mathcal{L}_{adv}^{B}
    + \lambda_{cyc} \left( d(G_{BA}(G_{AB}(x_a)), x_a) + d(G_{AB}(G_{BA}(x_b)), x_b) \right)

with :math:`G_{AB} = Dec_B \circ E_A` and :math:`G_{BA} = Dec_A \circ E_B`, relativistic least squares over three
discriminators a domain (:func:`ntir2dc.methods.adversarial.relativistic_loss`), smooth L1 as the distance d, and a
lambda of 10.
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
from ntir2dc.methods.adversarial import Scores, relativistic_loss
from ntir2dc.methods.halves import translators
from ntir2dc.methods.method import Group, LogNames, Part, Terms, Update
from ntir2dc.methods.morngan.networks import Networks, describe
from ntir2dc.methods.one_phase import Phase, plan, random_crops
from ntir2dc.networks.modes import set_requires_grad
from ntir2dc.parallel.microbatches import Microbatches

Translate = Callable[[Tensor], Tensor]


class ToDayGAN:
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
        self.config, self.data = config, data
        self.networks = Networks(config.networks, len(space), config.seed, segmenters=False)
        self.networks.to(microbatches.world.device)
        self.log = LogNames(("adv", "cyc"), adversaries=("disc_a", "disc_b"))

    @staticmethod
    def needs_labels(config: TrainConfig) -> bool:
        """Return that images alone are needed."""
        return False

    @staticmethod
    def needs_edges(config: TrainConfig) -> bool:
        """Return that images alone are needed."""
        return False

    def groups(self) -> dict[str, Group]:
        """Return one optimizer for all halves, one for all discriminators: Adam moves each number by itself."""
        config, networks = self.config, self.networks
        return {
            "generators": Group(list(self.generators().values()), config.lr, config.weight_decay),
            "discriminators": Group(networks.discriminators(), config.lr, config.weight_decay),
        }

    def generators(self) -> nn.ModuleDict:
        """Return encoders and decoders."""
        return self.networks.generators()

    def describe(self) -> dict[str, Any]:
        """Return width, depths and norm of the halves."""
        return describe(self.config.networks)

    def translators(self, generators: nn.ModuleDict) -> tuple[nn.Module, nn.Module]:
        """Return G_AB and G_BA."""
        return translators(generators)

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
        """Give all terms of x_a, then all of x_b, then the discriminators', for which real images are scored once."""
        networks, pools = self.networks, part.pools
        real_a, real_b = part.batch["real_a"], part.batch["real_b"]
        to_night, to_day = networks.translate_ab, networks.translate_ba
        d_a, d_b = networks.discriminators()

        set_requires_grad((d_a, d_b), True)
        scores_a, scores_b = d_a(real_a), d_b(real_b)
        set_requires_grad((d_a, d_b), False)
        fakes: list[Tensor] = []
        yield self.generate(to_night, to_day, real_a, d_b, scores_b, fakes)
        yield self.generate(to_day, to_night, real_b, d_a, scores_a, fakes)

        set_requires_grad((d_a, d_b), True)
        fake_b, fake_a = fakes
        yield {
            "disc_a": relativistic_loss(scores_a, d_a(pools["a"].query(fake_a)), "discriminator") / 2,
            "disc_b": relativistic_loss(scores_b, d_b(pools["b"].query(fake_b)), "discriminator") / 2,
        }

    def generate(
        self,
        there: Translate,
        back: Translate,
        real: Tensor,
        discriminator: nn.Module,
        scores: Scores,
        fakes: list[Tensor],
    ) -> Terms:
        """Return the terms of one direction, and leave the translation in ``fakes``.

        ``scores`` are the ``discriminator``'s of the real images that the translation is compared with.
        """
        fake = there(real)
        fakes.append(fake.detach())
        return {
            "adv": relativistic_loss(scores, discriminator(fake), "generator"),
            "cyc": self.config.todaygan.lambda_cyc * F.smooth_l1_loss(back(fake), real),
        }
