"""The networks of ToDayGAN-NTIR, the backbone of MornGAN."""

from morngan.networks.discriminator import Discriminator, scale_weights
from morngan.networks.generator import Decoder, Encoder
from morngan.networks.init import init_weights
from morngan.networks.segmenter import Segmenter

__all__ = ["Decoder", "Discriminator", "Encoder", "Segmenter", "init_weights", "scale_weights"]
