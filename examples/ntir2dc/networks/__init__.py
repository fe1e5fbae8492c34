"""The networks of ToDayGAN-NTIR, the backbone of MornGAN."""

from ntir2dc.networks.discriminator import Discriminator, scale_weights
from ntir2dc.networks.generator import Decoder, Encoder
from ntir2dc.networks.init import init_weights
from ntir2dc.networks.segmenter import Segmenter

__all__ = ["Decoder", "Discriminator", "Encoder", "Segmenter", "init_weights", "scale_weights"]
