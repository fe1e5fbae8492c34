"""PearlGAN: ToDayGAN's kin with guided attention, its two losses, and structured gradient alignment; no labels."""

from ntir2dc.methods.pearlgan.method import PearlGAN
from ntir2dc.methods.pearlgan.networks import Networks, make_translator, untrained_translator

__all__ = ["Networks", "PearlGAN", "make_translator", "untrained_translator"]
