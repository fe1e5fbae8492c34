"""CycleGAN: two generators, two discriminators, cycle and identity terms; no labels, edges or memory."""

from ntir2dc.methods.cyclegan.method import CycleGAN
from ntir2dc.methods.cyclegan.networks import Networks, make_translator, untrained_translator

__all__ = ["CycleGAN", "Networks", "make_translator", "untrained_translator"]
