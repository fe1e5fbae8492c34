"""ToDayGAN: two generators in halves, three relativistic discriminators a domain, a cycle; no labels or edges.

Its networks are those that MornGAN has beside its segmenters, with instance norm where MornGAN's are newer.
"""

from ntir2dc.methods.morngan import make_translator, untrained_translator
from ntir2dc.methods.todaygan.method import ToDayGAN

__all__ = ["ToDayGAN", "make_translator", "untrained_translator"]
