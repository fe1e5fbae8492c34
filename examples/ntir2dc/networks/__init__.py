"""The networks of ToDayGAN-NTIR, the backbone of MornGAN, and those of CycleGAN, UNIT and DRIT++."""

from ntir2dc.networks.discriminators import Discriminator, scale_weights
from ntir2dc.networks.generators import Decoder, Encoder
from ntir2dc.networks.init import init_weights
from ntir2dc.networks.multiscale import MultiScaleDiscriminator
from ntir2dc.networks.resnet import PatchDiscriminator, ResnetGenerator
from ntir2dc.networks.segmenters import Segmenter
from ntir2dc.networks.unet import ResidualUNet
from ntir2dc.networks.unit import UNITDecoder, UNITEncoder

__all__ = [
    "Decoder",
    "Discriminator",
    "Encoder",
    "MultiScaleDiscriminator",
    "PatchDiscriminator",
    "ResidualUNet",
    "ResnetGenerator",
    "Segmenter",
    "UNITDecoder",
    "UNITEncoder",
    "init_weights",
    "scale_weights",
]
