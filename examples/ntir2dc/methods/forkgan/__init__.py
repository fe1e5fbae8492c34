"""ForkGAN: two decoders a direction, discriminators for three kinds of images, a classifier of codes; no labels."""

from ntir2dc.methods.forkgan.method import ForkGAN
from ntir2dc.methods.forkgan.networks import Networks, make_translator, untrained_translator

__all__ = ["ForkGAN", "Networks", "make_translator", "untrained_translator"]
