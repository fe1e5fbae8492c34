"""DlamGAN, a reconstruction: MornGAN's code with semantic consistency alone and one mining threshold for all classes.

Its networks are MornGAN's.
"""

from ntir2dc.methods.dlamgan.method import DlamGAN
from ntir2dc.methods.morngan import make_translator, untrained_translator

__all__ = ["DlamGAN", "make_translator", "untrained_translator"]
