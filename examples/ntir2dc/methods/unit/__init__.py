"""UNIT: an autoencoder for each domain around a noisy latent, discriminators at three scales; no labels or edges."""

from ntir2dc.methods.unit.method import UNIT
from ntir2dc.methods.unit.networks import Networks, make_translator, untrained_translator

__all__ = ["UNIT", "Networks", "make_translator", "untrained_translator"]
