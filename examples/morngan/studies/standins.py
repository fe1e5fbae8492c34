"""Small networks that stand in for trained ones.

The translators learn from pairs of one scene by day and at night, which real frames do not offer: an adversarial
training would take hours. The segmenters are then trained and used as in section 3.3.3: S_A on day images and their
pseudo-labels, S_B on the translations of those day images with the same labels; neither sees a true label or a real
thermal image.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from morn_losses import CITYSCAPES, SRLoss
from morn_losses.functional import reconstruction_loss
from morngan.data.images import to_image
from morngan.data.pairing import cut, psi, random_corner, seeded
from morngan.judge import Judge, train_judge
from morngan.networks.generator import Decoder, Encoder
from morngan.networks.init import init_weights
from morngan.studies.streets import SEGMENT, TEST, TRANSLATE, Options, Streets, pseudo_labels_of_day, render_streets

WIDTH, BLOCKS = 16, 2
BATCH, CROP = 4, 64
LEARNING_RATE = 1e-3
STEPS_PER_PSI = 10
"""Training steps that share one draw of psi, as an epoch does in Eq. 22."""


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


@dataclass(frozen=True)
class Standins:
    """The networks of one set, in eval mode, and the unseen streets to measure them on."""

    seed: int
    test: Streets
    to_day: Translator
    to_day_robust: Translator
    """Trained as ``to_day``, with the scale robustness loss added."""
    to_night: Translator
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


def train_translator(source: Tensor, target: Tensor, *, steps: int, seed: int, robust: bool = False) -> Translator:
    """Train a translator on pairs by the distance of the cycle loss, 10 L1 + 1 - SSIM; ``robust`` adds L_sr.

    The same seed gives the same initial weights and crops, whether ``robust`` or not.
    """
    translator = Translator(seed)
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
    return translator.requires_grad_(False).eval()


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
    to_day, to_day_robust = (
        train_translator(paired.night, paired.day, steps=steps, seed=seed, robust=robust) for robust in (False, True)
    )
    to_night = train_translator(paired.day, paired.night, steps=steps, seed=seed)
    say(f"set {seed}: segmenters")
    streets = render_streets(seed, SEGMENT, options.n_train, options.size)
    labels = pseudo_labels_of_day(streets)
    # thermal frames are gray: read back, the three channels are the same
    fake_night = run(to_night, streets.day).mean(1, keepdim=True).repeat(1, 3, 1, 1)
    segment_day, segment_night = (
        train_segmenter(images, labels, steps=options.segmenter_steps, seed=seed)
        for images in (streets.day, fake_night)
    )
    test = render_streets(seed, TEST, options.n_test, options.size)
    return Standins(seed, test, to_day, to_day_robust, to_night, segment_day, segment_night)
