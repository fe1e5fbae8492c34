"""The CycleGAN of cyclegan.py as a LightningModule with manual optimisation; with --morn, ACA and CGR join in.

pip install 'morn-losses[lightning,train]'
python examples/recipes/lightning_module.py --out runs/lightning --morn

The optimizers take turns, so that Lightning cannot step them by itself. The losses hold no parameters and need nothing
of Lightning; the labeler is a part of the module, and its student has a third optimizer.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import sys

if importlib.util.find_spec("lightning") is None:
    sys.exit("lightning_module.py needs: pip install 'morn-losses[lightning,train]'")

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor

from crops import crop_loader, parse, save_pictures, start
from cyclegan import Generator, discriminator, should_be
from morn_losses import CITYSCAPES, ACALoss, CGRLoss
from ntir2dc.networks.discriminators import ImagePool
from segmenters import VEHICLES, Shares, night_labeler


class CycleGANModule(lightning.LightningModule):
    """Two generators and two discriminators; ``forward`` translates night to day.

    Args:
        options: of ``crops.parse``.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.lr, self.morn = options.lr, options.morn
        self.weight_aca, self.weight_cgr = options.aca, options.cgr
        self.g_ab, self.g_ba = Generator(options.width), Generator(options.width)
        self.d_a, self.d_b = discriminator(options.width), discriminator(options.width)
        self.pool_a, self.pool_b = ImagePool(), ImagePool()
        self.aca = ACALoss.from_label_space(CITYSCAPES, merge=[VEHICLES], return_terms=True)
        self.cgr, self.shares = CGRLoss(), Shares(self.aca)
        if self.morn:
            self.label, self.look = night_labeler(options)

    def forward(self, x: Tensor) -> Tensor:
        """Translate night thermal images."""
        translated: Tensor = self.g_ba(x)
        return translated

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return the optimizers of the generators, of the discriminators and, with labels, of the student."""
        generators = itertools.chain(self.g_ab.parameters(), self.g_ba.parameters())
        discriminators = itertools.chain(self.d_a.parameters(), self.d_b.parameters())
        parameters = [generators, discriminators]
        optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam(p, self.lr, betas=(0.5, 0.999)) for p in parameters]
        if self.morn:
            optimizers.append(torch.optim.Adam(self.label.student.parameters(), 1e-4))
        return optimizers

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """The student of the labeler, generators, then discriminators."""
        real_a, labels_a, real_b = batch
        opt_g, opt_d, *opt_label = self.optimizers()
        fake_b, fake_a = self.g_ab(real_a), self.g_ba(real_b)
        cycle = F.l1_loss(self.g_ba(fake_b), real_a) + F.l1_loss(self.g_ab(fake_a), real_b)
        loss = should_be(self.d_a(fake_a), 1) + should_be(self.d_b(fake_b), 1) + 10 * cycle
        if self.morn:
            opt_label[0].zero_grad()
            self.manual_backward(self.label.student_loss(fake_b, labels_a))
            self.manual_backward(self.label.student_loss(self.look(real_a, labels_a), labels_a))
            opt_label[0].step()
            labels_b = self.label(real_b, fake_a)
            aca, terms = self.aca(self.g_ab.encode(real_a), self.g_ab.encode(fake_a), labels_a, labels_b)
            cgr = self.cgr(real_b, fake_a, CITYSCAPES.background(labels_b))
            self.shares.add(terms)
            recent = self.shares.last(50)["any"]
            self.log_dict({"aca": aca.detach(), "cgr": cgr.detach(), "aca_found": recent}, prog_bar=True)
            loss = loss + self.weight_aca * aca + self.weight_cgr * cgr
        opt_g.zero_grad()
        self.manual_backward(loss)
        opt_g.step()

        loss_d = should_be(self.d_a(real_a), 1) + should_be(self.d_a(self.pool_a.query(fake_a)), 0)
        loss_d = loss_d + should_be(self.d_b(real_b), 1) + should_be(self.d_b(self.pool_b.query(fake_b)), 0)
        opt_d.zero_grad()
        self.manual_backward(loss_d / 2)
        opt_d.step()
        self.log_dict({"generators": loss.detach(), "discriminators": loss_d.detach()}, prog_bar=True)


def main(arguments: list[str] | None = None) -> CycleGANModule:
    """Train, write ``generator.pt`` and ``translations.png``, and return the module."""
    options = parse(__doc__, arguments)
    lightning.seed_everything(options.seed, verbose=False)
    module = CycleGANModule(options)
    trainer = lightning.Trainer(
        max_steps=(3 if options.morn else 2) * options.steps,  # manual optimisation counts the steps of every optimizer
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=options.steps > 50,
        default_root_dir=options.out,
    )
    trainer.fit(module, crop_loader(options))

    options.out.mkdir(parents=True, exist_ok=True)
    torch.save(module.g_ba.state_dict(), options.out / "generator.pt")
    save_pictures(options, module.to(options.device))
    print(f"written: {options.out / 'generator.pt'}, {options.out / 'translations.png'}")
    return module


if __name__ == "__main__":
    start(main)
