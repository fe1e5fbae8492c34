"""Write the table of parameters in docs/methods.md from the networks of each method at the paper's width.

python docs/make_methods.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(folder) for folder in (ROOT / "examples", ROOT / "docs") if str(folder) not in sys.path]

from make_report_card import fill  # noqa: E402

from morn_losses import CITYSCAPES  # noqa: E402
from ntir2dc.config import TrainConfig, make_config  # noqa: E402
from ntir2dc.methods import METHODS, cyclegan, drit, forkgan, morngan, pearlgan, unit  # noqa: E402

PAGE = ROOT / "docs" / "methods.md"


def backbone(config: TrainConfig) -> nn.Module:
    """Return ToDayGAN's networks: MornGAN's without segmenters."""
    return morngan.networks.Networks(config.networks, len(CITYSCAPES), config.seed, segmenters=False)


NETWORKS: dict[str, tuple[str, Callable[[TrainConfig], nn.Module]]] = {
    "cyclegan": ("CycleGAN", lambda config: cyclegan.Networks(config.networks, config.seed)),
    "unit": ("UNIT", lambda config: unit.Networks(config.networks, config.seed)),
    "todaygan": ("ToDayGAN", backbone),
    "drit": ("DRIT++", drit.Networks),
    "forkgan": ("ForkGAN", lambda config: forkgan.Networks(config.networks, config.seed)),
    "pearlgan": ("PearlGAN", lambda config: pearlgan.Networks(config.networks, config.seed)),
    # whose reconstruction of DlamGAN has the same networks
    "morngan": (
        "MornGAN, DlamGAN (reconstruction)",
        lambda config: morngan.networks.make_networks(config, len(CITYSCAPES)),
    ),
}
"""Name of a method for a reader, and all that it trains."""


def count(*modules: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(p.numel() for module in modules for p in module.parameters())


def parameters() -> list[str]:
    """Return the rows of the table."""
    rows = [
        "| method | night to day | MB | both directions | one domain's discriminator | all that is trained |",
        "|---|---|---|---|---|---|",
    ]
    for method, (name, make) in NETWORKS.items():
        config = make_config("flir", method=method)  # type: ignore[arg-type]
        with torch.device("meta"):
            to_day = count(METHODS[method].untrained_translator(config, len(CITYSCAPES)))
            networks = dict(make(config).named_children())
        both = count(*(part for part_name, part in networks.items() if part_name.split("_")[0] in GENERATORS))
        numbers = (both, count(networks["discriminator_a"]), count(*networks.values()))
        rows.append(f"| {name} | {to_day:,} | {4 * to_day / 1e6:.1f} | " + " | ".join(f"{n:,}" for n in numbers) + " |")
    return rows


GENERATORS = ("generator", "encoder", "decoder")


def page() -> str:
    """Return the page with the table of now."""
    return fill(PAGE.read_text(), {"parameters": "\n".join(parameters())})


if __name__ == "__main__":
    PAGE.write_text(page())
