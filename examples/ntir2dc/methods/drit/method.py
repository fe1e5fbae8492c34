r"""DRIT++ (Lee et al., IJCV 2020) as the trainer drives it, read straight down: styles joined by concatenation.

An image is a content c, noisy in training, and a style s from N(mu, var). With contents exchanged, u = Dec_a(c_b, s_a)
and v = Dec_b(c_a, s_b); exchanged once more, x'_a and x'_b, which should be the images again. Random styles z1 and z2
give r1 = Dec_a(c_b, z1) and r2 = Dec_a(c_b, z2), which discriminators of their own judge. Two losses, for each domain:

.. math::
    \mathcal{L}_1 = \mathcal{L}_{adv}(u) + \mathcal{L}_{adv}^{c} + 10 \|x'_a - x_a\|_1 + 10 \|Dec_a(c_a, s_a) - x_a\|_1
    + 0.01 \, KL(s_a) + 0.01 \, \overline{c_a^2}

    \mathcal{L}_2 = \mathcal{L}_{adv}(r_1) + \mathcal{L}_{adv}(r_2) + 10 \|\mu(r_1) - z_1\|_1
    + \left( \|r_2 - r_1\|_1 / \|z_2 - z_1\|_1 + 10^{-5} \right)^{-1}

with binary cross-entropies as adversarial terms, and norms as means. The second moves encoders of content and decoders
alone, right after the first; the gradients of both are taken before either step.

A step here takes three of the published code's batches of two: six images of a domain. Of each of the first two batches
an image teaches the content discriminator alone. Of the third one image does everything else, and the other one is what
the second discriminators know as real.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from morn_losses import LabelSpace
from ntir2dc.config import TrainConfig
from ntir2dc.data.folders import TrainingData
from ntir2dc.methods.adversarial import entropy_to
from ntir2dc.methods.drit.networks import Networks, describe, translator
from ntir2dc.methods.method import Group, LogNames, Part, Terms, Update
from ntir2dc.methods.noise import unit_noise
from ntir2dc.methods.one_phase import Phase, plan, random_crops
from ntir2dc.networks import MultiScaleDiscriminator
from ntir2dc.networks.modes import set_requires_grad
from ntir2dc.parallel.microbatches import Microbatches

IMAGES = 6
"""Of a domain in a step."""
CONTENT_ALONE = (0, 2)
"""Their places that teach the content discriminator alone."""
MAIN, SECOND = 4, 5
"""The place that does everything else, and that of the second discriminators' real image."""


class Noise(IntEnum):
    """What a draw of noise is for; contents of the images at other places follow."""

    CONTENT = 0
    CONTENT_OF_FAKE = 2
    STYLE = 4
    STYLE_OF_FAKE = 6
    RANDOM_1 = 8
    RANDOM_2 = 9
    CONTENT_ALONE = 10


class DRIT:
    """See :class:`ntir2dc.methods.method.Method`."""

    pools: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        config: TrainConfig,
        data: TrainingData,
        space: LabelSpace,
        microbatches: Microbatches,
        say: Callable[[str], None],
    ) -> None:
        self.config, self.data, self.options = config, data, config.drit
        smallest = MultiScaleDiscriminator.minimum_size
        if config.dataset.crop < smallest:
            raise ValueError(f"dataset.crop: expected at least {smallest}, got {config.dataset.crop}")
        if microbatches.size % IMAGES:
            parts = IMAGES * microbatches.count
            raise ValueError(f"batch_size: expected a multiple of {parts} for method drit, got {config.batch_size}")
        self.networks = Networks(config).to(microbatches.world.device)
        self.gradients: dict[int, list[Tensor]] = {}
        self.seen: dict[int, Terms] = {}
        self.log = LogNames(
            ("adv", "adv_content", "cyc", "rec", "kl", "size", "adv_random", "latent", "mode"),
            adversaries=("disc_a", "disc_b", "second_a", "second_b", "disc_content"),
        )

    @staticmethod
    def needs_labels(config: TrainConfig) -> bool:
        """Return that images alone are needed."""
        return False

    @staticmethod
    def needs_edges(config: TrainConfig) -> bool:
        """Return that images alone are needed."""
        return False

    def groups(self) -> dict[str, Group]:
        """Return one optimizer for encoders and decoders, one for discriminators, one for that of contents."""
        config, networks = self.config, self.networks
        lr, decay = config.lr, config.weight_decay
        translating = [*self.generators().values(), networks.style_a, networks.style_b]
        return {
            "generators": Group(translating, lr, decay),
            "discriminators": Group(networks.discriminators(), lr, decay),
            "content": Group([networks.content_discriminator], 0.4 * lr, decay, max_norm=5.0),
        }

    def generators(self) -> nn.ModuleDict:
        """Return encoders of content and decoders; styles are fixed at inference."""
        return self.networks.saved()

    def describe(self) -> dict[str, Any]:
        """Return width and depths, and how many numbers the style has, all 0."""
        return describe(self.config)

    def translators(self, generators: nn.ModuleDict) -> tuple[nn.Module, nn.Module]:
        """Return G_AB and G_BA with the style 0, without noise."""
        return translator(generators, "a", "b"), translator(generators, "b", "a")

    def label_night(self, real_b: Tensor, fake_a: Tensor) -> None:
        """Return nothing: there are no labels."""

    def held(self) -> Mapping[str, Any]:
        """Return nothing: networks and optimizers are all."""
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
        """Return the content discriminator's updates, that of all discriminators, and the two of what they judge."""
        return (
            *(Update(("content",), partial(self.discriminate_contents, place=place)) for place in CONTENT_ALONE),
            Update(("discriminators", "content"), self.discriminate),
            Update(("generators",), self.generate),
            Update(("generators",), self.follow),
        )

    # ---- discriminators ------------------------------------------------------------------------------------------

    def discriminate_contents(self, part: Part, place: int) -> Iterator[Terms]:
        """Give the content discriminator's loss on the images of a place."""
        set_requires_grad([self.networks.content_discriminator], True)
        with torch.no_grad():
            contents = self.contents(images(part, place), part, Noise.CONTENT_ALONE + place)
        yield {"disc_content": self.tell_apart(*contents)}

    def discriminate(self, part: Part) -> Iterator[Terms]:
        """Give the losses of all discriminators, on what the next update translates."""
        networks = self.networks
        (a, b), reals, others = networks.domains(), images(part, MAIN), images(part, SECOND)
        with torch.no_grad():
            c_a, c_b = self.contents(reals, part, Noise.CONTENT)
            (s_a, *_), (s_b, *_) = self.styles(reals, part, Noise.STYLE)
            u, v = networks.decode(a, c_b, s_a), networks.decode(b, c_a, s_b)
            of_a, of_b = ([networks.decode(d, c, z) for z in self.random(part)] for d, c in ((a, c_b), (b, c_a)))
        set_requires_grad([*networks.discriminators(), networks.content_discriminator], True)
        yield {
            "disc_a": judge(a.discriminator, reals[0], [u]),
            "disc_b": judge(b.discriminator, reals[1], [v]),
            "second_a": judge(a.second, others[0], of_a),
            "second_b": judge(b.second, others[1], of_b),
            "disc_content": self.tell_apart(c_a, c_b),
        }

    def tell_apart(self, content_a: Tensor, content_b: Tensor) -> Tensor:
        """Return the content discriminator's loss."""
        judged = self.networks.content_discriminator
        return entropy_to(judged(content_a), 0) + entropy_to(judged(content_b), 1)

    # ---- encoders and decoders -----------------------------------------------------------------------------------

    def generate(self, part: Part) -> Iterator[Terms]:
        """Give the first loss; take the gradients of the second one before it, for the update that follows."""
        networks = self.networks
        set_requires_grad([*networks.discriminators(), networks.content_discriminator], False)
        self.foresee(part)
        yield self.exchange(part)

    def exchange(self, part: Part) -> Terms:
        """Return the terms of the first loss."""
        networks, options = self.networks, self.options
        (a, b), (real_a, real_b) = networks.domains(), images(part, MAIN)
        c_a, c_b = self.contents((real_a, real_b), part, Noise.CONTENT)
        (s_a, mean_a, log_a), (s_b, mean_b, log_b) = self.styles((real_a, real_b), part, Noise.STYLE)
        u, v = networks.decode(a, c_b, s_a), networks.decode(b, c_a, s_b)

        c_u, c_v = self.contents((u, v), part, Noise.CONTENT_OF_FAKE)
        (s_u, *_), (s_v, *_) = self.styles((u, v), part, Noise.STYLE_OF_FAKE)
        again_a, again_b = networks.decode(a, c_v, s_u), networks.decode(b, c_u, s_v)
        own_a, own_b = networks.decode(a, c_a, s_a), networks.decode(b, c_b, s_b)
        judged = networks.content_discriminator
        return {
            "adv": entropy_to(a.discriminator(u), 1) + entropy_to(b.discriminator(v), 1),
            "adv_content": options.lambda_content * (entropy_to(judged(c_a), 0.5) + entropy_to(judged(c_b), 0.5)),
            "cyc": options.lambda_cyc * (F.l1_loss(again_a, real_a) + F.l1_loss(again_b, real_b)),
            "rec": options.lambda_rec * (F.l1_loss(own_a, real_a) + F.l1_loss(own_b, real_b)),
            "kl": options.lambda_kl * (divergence(mean_a, log_a) + divergence(mean_b, log_b)),
            "size": options.lambda_size * (c_a.square().mean() + c_b.square().mean()),
        }

    def vary(self, part: Part) -> Terms:
        """Return the terms of the second loss."""
        networks, options = self.networks, self.options
        c_a, c_b = self.contents(images(part, MAIN), part, Noise.CONTENT)
        z1, z2 = self.random(part)
        terms: list[Terms] = []
        for domain, content in zip(networks.domains(), (c_b, c_a), strict=True):
            r1, r2 = networks.decode(domain, content, z1), networks.decode(domain, content, z2)
            mean, _ = domain.style(r1)
            terms.append(
                {
                    "adv_random": entropy_to(domain.second(r1), 1) + entropy_to(domain.second(r2), 1),
                    "latent": options.lambda_latent * F.l1_loss(mean, z1),
                    "mode": options.lambda_mode * sameness(r1, r2, z1, z2),
                }
            )
        of_a, of_b = terms
        return {name: of_a[name] + of_b[name] for name in of_a}

    def foresee(self, part: Part) -> None:
        """Take the gradients of the second loss where the networks are now."""
        terms = self.vary(part)
        loss = torch.stack(list(terms.values())).sum()
        # a backward pass has the precision of its forward pass by itself
        with torch.autocast(loss.device.type, enabled=False):
            self.gradients[part.first] = list(torch.autograd.grad(loss, list(self.generators().parameters())))
        self.seen[part.first] = {name: term.detach() for name, term in terms.items()}

    def follow(self, part: Part) -> Iterator[Terms]:
        """Give the second loss as the plane that touched it before the first one's step: value and gradients."""
        terms, gradients = self.seen.pop(part.first), self.gradients.pop(part.first)
        parameters = self.generators().parameters()
        rise = [((p - p.detach()) * gradient).sum() for p, gradient in zip(parameters, gradients, strict=True)]
        yield {**terms, "adv_random": terms["adv_random"] + torch.stack(rise).sum()}

    # ---- contents and styles -------------------------------------------------------------------------------------

    def contents(self, pair: tuple[Tensor, Tensor], part: Part, use: int) -> tuple[Tensor, Tensor]:
        """Return the noisy contents of an image of A and one of B."""
        a, b = (self.networks.content(d, x) for d, x in zip(self.networks.domains(), pair, strict=True))
        return a + self.noise(a, part, use), b + self.noise(b, part, use + 1)

    def styles(self, pair: tuple[Tensor, Tensor], part: Part, use: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return style, mean and log variance of an image of A and of one of B."""
        found = []
        for domain, image, one in zip(self.networks.domains(), pair, (use, use + 1), strict=True):
            mean, log_variance = domain.style(image)
            found.append((mean + (log_variance / 2).exp() * self.noise(mean, part, one), mean, log_variance))
        return found

    def random(self, part: Part) -> tuple[Tensor, Tensor]:
        """Return the two random styles of each image, the same for both directions."""
        like = images(part, MAIN)[0].new_empty(len(part.batch["real_a"]) // IMAGES, self.options.style)
        return self.noise(like, part, Noise.RANDOM_1), self.noise(like, part, Noise.RANDOM_2)

    def noise(self, like: Tensor, part: Part, use: int) -> Tensor:
        """Return unit noise, whose images are every sixth of the whole batch."""
        return unit_noise(like, self.config.seed, dataclasses.replace(part, first=part.first // IMAGES), use)


def images(part: Part, place: int) -> tuple[Tensor, Tensor]:
    """Return the images of A and of B that have this place among six."""
    return part.batch["real_a"][place::IMAGES], part.batch["real_b"][place::IMAGES]


def judge(discriminator: nn.Module, real: Tensor, fakes: Sequence[Tensor]) -> Tensor:
    """Return the loss of a discriminator: a real image counts once for each fake."""
    of_real = entropy_to(discriminator(real), 1)
    return torch.stack([of_real + entropy_to(discriminator(fake), 0) for fake in fakes]).sum()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the divergence of styles from N(0, I), the mean over the images."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2


def sameness(r1: Tensor, r2: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    """Return how little two images differ for styles that do (mode seeking), the mean over the pairs."""
    apart = (r2 - r1).abs().mean((1, 2, 3)) / (z2 - z1).abs().mean(1)
    return (1 / (apart + 1e-5)).mean()
