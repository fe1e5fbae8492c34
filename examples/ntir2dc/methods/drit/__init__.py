"""DRIT++: content that domains share, style that they do not, and adversaries of images and contents; no labels."""

from ntir2dc.methods.drit.method import DRIT
from ntir2dc.methods.drit.networks import Networks, make_translator, untrained_translator

__all__ = ["DRIT", "Networks", "make_translator", "untrained_translator"]
