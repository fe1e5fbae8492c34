"""The losses and modules of MornGAN for PyTorch."""

__version__ = "0.1.0"
