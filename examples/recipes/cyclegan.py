"""A plain CycleGAN from night thermal (B) to daytime color (A); with --morn, ACA and CGR join in.

python examples/recipes/cyclegan.py --out runs/cyclegan --morn

The lines marked ``# morn`` are all that the two losses add. Without them this is an ordinary CycleGAN (Zhu et al.,
ICCV 2017): least-squares adversarial loss, cycle loss, a pool of earlier translations for the discriminators.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crops import crop_loader, parse, save_pictures, start
from morn_losses import CITYSCAPES, ACALoss, CGRLoss  # morn
from ntir2dc.networks.discriminators import ImagePool
from segmenters import VEHICLES, Shares, night_labeler  # morn


class ResidualBlock(nn.Module):
    """Two convolutions around which the input goes straight."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the shape of ``x``."""
        residual: Tensor = self.layers(x)
        return x + residual


class Generator(nn.Module):
    """An encoder and a decoder; an image comes out in [-1, 1]."""

    def __init__(self, width: int, n_blocks: int = 4) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(3, width, 7),
            nn.InstanceNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.InstanceNorm2d(2 * width),
            nn.ReLU(),
            nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
            nn.InstanceNorm2d(4 * width),
            nn.ReLU(),
            *(ResidualBlock(4 * width) for _ in range(n_blocks)),
        )
        self.decode = nn.Sequential(
            nn.Upsample(scale_factor=2),
            nn.Conv2d(4 * width, 2 * width, 3, padding=1),
            nn.InstanceNorm2d(2 * width),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.InstanceNorm2d(width),
            nn.ReLU(),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, 3, 7),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)``, H and W multiples of 4, to an image of that size."""
        image: Tensor = self.decode(self.encode(x))
        return image


def discriminator(width: int) -> nn.Sequential:
    """Return a network that scores overlapping patches."""
    return nn.Sequential(
        nn.Conv2d(3, width, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
        nn.InstanceNorm2d(2 * width),
        nn.LeakyReLU(0.2),
        nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1),
        nn.InstanceNorm2d(4 * width),
        nn.LeakyReLU(0.2),
        nn.Conv2d(4 * width, 1, 3, padding=1),
    )


def should_be(scores: Tensor, target: float) -> Tensor:
    """Least-squares adversarial loss."""
    return F.mse_loss(scores, torch.full_like(scores, target))


def main(arguments: list[str] | None = None) -> Generator:
    """Train, write the generator from B to A and ``translations.png``, and return that generator."""
    options = parse(__doc__, arguments)
    torch.manual_seed(options.seed)
    g_ab, g_ba = (Generator(options.width).to(options.device) for _ in range(2))
    d_a, d_b = (discriminator(options.width).to(options.device) for _ in range(2))
    opt_g = torch.optim.Adam(itertools.chain(g_ab.parameters(), g_ba.parameters()), options.lr, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(itertools.chain(d_a.parameters(), d_b.parameters()), options.lr, betas=(0.5, 0.999))
    pool_a, pool_b = ImagePool(), ImagePool()
    if options.morn:  # morn
        label, look = night_labeler(options)  # morn
        opt_label = torch.optim.Adam(label.student.parameters(), 1e-4)  # morn
        aca = ACALoss.from_label_space(CITYSCAPES, merge=[VEHICLES], return_terms=True)  # morn
        cgr, shares = CGRLoss(), Shares(aca)  # morn

    for step, batch in enumerate(crop_loader(options), start=1):
        real_a, labels_a, real_b = (x.to(options.device) for x in batch)
        fake_b, fake_a = g_ab(real_a), g_ba(real_b)
        cycle = F.l1_loss(g_ba(fake_b), real_a) + F.l1_loss(g_ab(fake_a), real_b)
        loss = should_be(d_a(fake_a), 1) + should_be(d_b(fake_b), 1) + 10 * cycle
        if options.morn:  # morn
            opt_label.zero_grad()  # morn
            label.student_loss(fake_b, labels_a).backward()  # morn
            label.student_loss(look(real_a, labels_a), labels_a).backward()  # morn
            opt_label.step()  # morn
            labels_b = label(real_b, fake_a)  # morn
            loss_aca, terms = aca(g_ab.encode(real_a), g_ab.encode(fake_a), labels_a, labels_b)  # morn
            loss_cgr = cgr(real_b, fake_a, CITYSCAPES.background(labels_b))  # morn
            loss = loss + options.aca * loss_aca + options.cgr * loss_cgr  # morn
            shares.add(terms)  # morn
        opt_g.zero_grad()
        loss.backward()
        opt_g.step()

        loss_d = should_be(d_a(real_a), 1) + should_be(d_a(pool_a.query(fake_a)), 0)
        loss_d = loss_d + should_be(d_b(real_b), 1) + should_be(d_b(pool_b.query(fake_b)), 0)
        opt_d.zero_grad()
        (loss_d / 2).backward()
        opt_d.step()
        if step % 50 == 0 or step == options.steps:
            print(f"step {step}/{options.steps}: generators {loss.item():.3f}, discriminators {loss_d.item():.3f}")
            if options.morn:  # morn
                print(f"  ACA {loss_aca.item():.3f}, CGR {loss_cgr.item():.3f}; {shares.say(50)}")  # morn

    options.out.mkdir(parents=True, exist_ok=True)
    torch.save(g_ba.state_dict(), options.out / "generator.pt")
    if options.morn:  # morn
        torch.save(label.student.state_dict(), options.out / "night_segmenter.pt")  # morn
        shares.save(options.out / "aca.json")  # morn
    save_pictures(options, g_ba)
    print(f"written: {options.out / 'generator.pt'}, {options.out / 'translations.png'}")
    return g_ba


if __name__ == "__main__":
    start(main)
