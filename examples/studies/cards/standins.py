"""Small networks that stand in for trained ones.

An adversarial training would take hours. The translators learn from pairs of one scene by day and at night, which real
frames do not offer. The segmenters are those of a late stage: S_B has learned from thermal images and S_A from
translations G_BA(x_b), both with imperfect labels of their scenes (the fused and denoised ones of section 3.3.2) and
neither from a true label.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor, nn

from morn_losses import CITYSCAPES, SRLoss
from morn_losses.functional import reconstruction_loss
from ntir2dc.data.images import to_image
from ntir2dc.data.pairing import cut, random_corner
from ntir2dc.judge import Judge, train_judge
from ntir2dc.networks.generators import Decoder, Encoder
from ntir2dc.networks.init import init_weights
from ntir2dc.seeds import psi, seeded
from studies.cards.streets import SEGMENT, TEST, TRANSLATE, Options, Streets, pseudo_labels_of_day, render_streets

WIDTH, BLOCKS = 16, 2
BATCH, CROP = 2, 64
LEARNING_RATE = 1e-3
STEPS_PER_PSI = 10
"""Training steps that share one draw of psi, as an epoch does in Eq. 22."""


T = TypeVar("T", bound=nn.Module)


class Translator(nn.Module):
    """An encoder and a decoder of the reference trainer, small."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.encoder = Encoder(WIDTH, BLOCKS)
        self.decoder = Decoder(WIDTH, BLOCKS)
        init_weights(self, generator=torch.Generator().manual_seed(seed))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)`` to the other domain."""
        image: Tensor = self.decoder(self.encoder(x))
        return image


class SkipTranslator(nn.Module):
    """The U-Net of the evaluation with colors for logits: what it translates keeps its outlines after few steps."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = Judge(3)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)`` to the other domain."""
        image: Tensor = self.network(x).tanh()
        return image


@dataclass(frozen=True)
class Standins:
    """The networks of one set, in eval mode, and the unseen streets to measure them on."""

    seed: int
    test: Streets
    to_day: SkipTranslator
    """G_BA of the pseudo-labels and of ACA."""
    plain: Translator
    """Night to day, for scale robustness."""
    robust: Translator
    """Trained as ``plain``, with the scale robustness loss added."""
    to_night: Translator
    """Day to night; its encoder is E_A."""
    segment_day: Judge
    segment_night: Judge

    @torch.no_grad()
    def logits(self) -> tuple[Tensor, Tensor]:
        """Return S_B(x_b) and S_A(G_BA(x_b)) of the test streets."""
        return run(self.segment_night, self.test.night), run(self.segment_day, run(self.to_day, self.test.night))


@torch.no_grad()
def run(network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Run a network image by image, so that memory stays small."""
    return torch.cat([network(image[None]) for image in images])


def train_translator(
    translator: T, source: Tensor, target: Tensor, *, steps: int, seed: int, robust: bool = False
) -> T:
    """Train a translator on pairs by the distance of the cycle loss, 10 L1 + 1 - SSIM; ``robust`` adds L_sr.

    The same seed gives the same crops, whether ``robust`` or not. Returns the translator, frozen and in eval mode.
    """
    translator.train()
    optimizer = torch.optim.Adam(translator.parameters(), LEARNING_RATE, betas=(0.5, 0.999))
    scale_robustness = SRLoss()
    generator = seeded(seed, 1)
    crop = min(CROP, *(side // 4 * 4 for side in source.shape[-2:]))
    size = (source.shape[-2], source.shape[-1])
    for step in range(steps):
        drawn = torch.randint(len(source), (BATCH,), generator=generator).tolist()
        corners = [random_corner(size, crop, generator) for _ in drawn]
        flips = (torch.rand(BATCH, generator=generator) < 0.5).tolist()
        x, y = (
            torch.stack([cut(t[i], c, crop, f) for i, c, f in zip(drawn, corners, flips, strict=True)])
            for t in (source, target)
        )
        output = translator(x)
        loss = reconstruction_loss(output, y, distance="l1")
        if robust:
            small = psi(seed, step // STEPS_PER_PSI) < 0.5
            scale = scale_robustness.alpha if small else scale_robustness.beta
            loss = loss + scale_robustness(translator, x, output=output, scale=scale)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    translator.requires_grad_(False).eval()
    return translator


def train_segmenter(images: Tensor, labels: Tensor, *, steps: int, seed: int) -> Judge:
    """Train the small segmentation network of the evaluation on images and (pseudo-)labels."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = []
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            paths = Path(folder) / f"{index:05d}.png", Path(folder) / f"{index:05d}_labels.png"
            to_image(image).save(paths[0], compress_level=1)
            Image.fromarray(label.to(torch.uint8).numpy()).save(paths[1], compress_level=1)
            pairs.append(paths)
        return train_judge(pairs, CITYSCAPES, steps=steps, seed=seed)


def train_standins(seed: int, options: Options, say: Callable[[str], None] = lambda _: None) -> Standins:
    """Train the networks of one set."""
    paired = render_streets(seed, TRANSLATE, options.n_train, options.size)
    steps = options.translator_steps
    say(f"set {seed}: translators")
    night, day = paired.night, paired.day
    to_day = train_translator(SkipTranslator(seed), night, day, steps=steps, seed=seed)
    plain, robust = (
        train_translator(Translator(seed), night, day, steps=steps, seed=seed, robust=r) for r in (False, True)
    )
    to_night = train_translator(Translator(seed), day, night, steps=steps, seed=seed)
    say(f"set {seed}: segmenters")
    streets = render_streets(seed, SEGMENT, options.n_train, options.size)
    labels = pseudo_labels_of_day(streets)
    segment_night, segment_day = (
        train_segmenter(images, labels, steps=options.segmenter_steps, seed=seed + shift)
        for images, shift in ((streets.night, 0), (run(to_day, streets.night), 1000))
    )
    test = render_streets(seed, TEST, options.n_test, options.size)
    return Standins(seed, test, to_day, plain, robust, to_night, segment_day, segment_night)
