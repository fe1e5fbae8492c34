"""A one-sided model in the manner of CUT, from night thermal (B) to day color (A); with --morn, ACA and CGR join in.

python examples/recipes/cut.py --out runs/cut --morn

There is a single generator. What keeps the content is PatchNCE (Park et al., ECCV 2020): a patch of the translation has
to be told apart, by the generator's own encoder, from all other patches of its source.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crops import crop_loader, parse, save_pictures, start
from cyclegan import Generator, discriminator, should_be
from morn_losses import CITYSCAPES, ACALoss, CGRLoss
from segmenters import VEHICLES, Shares, night_labeler

LAYERS = (3, 6, 9, 12)
"""Where the encoder is looked into: after each of its first three activations, and deep inside."""


class PatchNCE(nn.Module):
    """Contrast of patches: the encoder's features, projected by a small network for each layer.

    Args:
        widths: channels of the layers.
        n_patches: patches of an image, the same places in source and translation.
        temperature: of the softmax.
    """

    def __init__(self, widths: tuple[int, ...], n_patches: int = 64, temperature: float = 0.07) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Sequential(nn.Linear(w, 64), nn.ReLU(), nn.Linear(64, 64)) for w in widths)
        self.n_patches, self.temperature = n_patches, temperature

    def forward(self, encoder: nn.Sequential, source: Tensor, translation: Tensor) -> Tensor:
        """Return the cross-entropy of finding a patch's own source among the source's patches, mean over the layers."""
        losses = []
        for head, x, y in zip(self.heads, look_into(encoder, source), look_into(encoder, translation), strict=True):
            places = torch.randperm(x[0, 0].numel(), device=x.device)[: self.n_patches]
            keys = F.normalize(head(x.detach().flatten(2)[..., places].mT), dim=2)
            queries = F.normalize(head(y.flatten(2)[..., places].mT), dim=2)
            similarity = queries @ keys.detach().mT / self.temperature
            own = torch.arange(len(places), device=x.device).expand(len(x), -1)
            losses.append(F.cross_entropy(similarity.flatten(0, 1), own.flatten()))
        return torch.stack(losses).mean()


def look_into(encoder: nn.Sequential, x: Tensor) -> list[Tensor]:
    """Return the features after each of ``LAYERS``."""
    features = []
    for index, layer in enumerate(list(encoder)[: LAYERS[-1] + 1]):
        x = layer(x)
        if index in LAYERS:
            features.append(x)
    return features


def main(arguments: list[str] | None = None) -> Generator:
    """Train, write ``generator.pt`` and ``translations.png``, and return the generator."""
    options = parse(__doc__, arguments)
    torch.manual_seed(options.seed)
    width = options.width
    g, d = Generator(width).to(options.device), discriminator(width).to(options.device)
    nce = PatchNCE((width, 2 * width, 4 * width, 4 * width)).to(options.device)
    opt_g = torch.optim.Adam(itertools.chain(g.parameters(), nce.parameters()), options.lr, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(d.parameters(), options.lr, betas=(0.5, 0.999))
    if options.morn:
        label, look = night_labeler(options)
        opt_label = torch.optim.Adam(label.student.parameters(), 1e-4)
        aca = ACALoss.from_label_space(CITYSCAPES, merge=[VEHICLES], return_terms=True)
        cgr, shares = CGRLoss(), Shares(aca)

    for step, batch in enumerate(crop_loader(options), start=1):
        real_a, labels_a, real_b = (x.to(options.device) for x in batch)
        fake_a, same_a = g(real_b), g(real_a)
        loss_d = (should_be(d(real_a), 1) + should_be(d(fake_a.detach()), 0)) / 2
        opt_d.zero_grad()
        loss_d.backward()
        opt_d.step()

        # a day image is its own translation
        loss = should_be(d(fake_a), 1) + (nce(g.encode, real_b, fake_a) + nce(g.encode, real_a, same_a)) / 2
        if options.morn:
            opt_label.zero_grad()  # there is no fake night image to learn from
            label.student_loss(look(real_a, labels_a), labels_a).backward()
            opt_label.step()
            labels_b = label(real_b, fake_a)
            loss_aca, terms = aca(g.encode(real_a), g.encode(fake_a), labels_a, labels_b)
            loss_cgr = cgr(real_b, fake_a, CITYSCAPES.background(labels_b))
            loss = loss + options.aca * loss_aca + options.cgr * loss_cgr
            shares.add(terms)
        opt_g.zero_grad()
        loss.backward()
        opt_g.step()
        if step % 50 == 0 or step == options.steps:
            print(f"step {step}/{options.steps}: generator {loss.item():.3f}, discriminator {loss_d.item():.3f}")
            if options.morn:
                print(f"  ACA {loss_aca.item():.3f}, CGR {loss_cgr.item():.3f}; {shares.say(50)}")

    options.out.mkdir(parents=True, exist_ok=True)
    torch.save(g.state_dict(), options.out / "generator.pt")
    if options.morn:
        shares.save(options.out / "aca.json")
    save_pictures(options, g)
    print(f"written: {options.out / 'generator.pt'}, {options.out / 'translations.png'}")
    return g


if __name__ == "__main__":
    start(main)
