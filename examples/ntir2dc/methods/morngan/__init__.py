"""MornGAN, from top to bottom: schedule, forward, pseudo_labels, objective; method joins them for the trainer."""

from ntir2dc.methods.morngan.method import MornGAN
from ntir2dc.methods.morngan.networks import make_translator, untrained_translator

__all__ = ["MornGAN", "make_translator", "untrained_translator"]
