"""The losses and modules of MornGAN (Luo et al., arXiv:2208.02960) for PyTorch.

Every concept is a function in :mod:`morn_losses.functional` and a module here that only holds its options.
:mod:`morn_losses.edges`, :mod:`morn_losses.metrics` and :mod:`morn_losses.estimators` are imported on first use.
"""

from typing import TYPE_CHECKING

from morn_losses import functional
from morn_losses.kmeans import KMeans, KMeansResult
from morn_losses.label_spaces import CITYSCAPES, LabelSpace
from morn_losses.losses.aca import ACALoss, ACATerms
from morn_losses.losses.adversarial import RelativisticLSGANLoss
from morn_losses.losses.boundary import BoundaryLoss
from morn_losses.losses.cgr import CGRLoss
from morn_losses.losses.class_balanced import ClassBalancedCrossEntropy
from morn_losses.losses.reconstruction import ReconstructionLoss
from morn_losses.losses.segmentation import SegmentationLoss
from morn_losses.losses.sga import SGALoss, SGAPlusLoss
from morn_losses.losses.sr import SRLoss
from morn_losses.losses.thermal import MonochromaticRegularization, TemperatureRegularization
from morn_losses.losses.total_variation import TotalVariationLoss
from morn_losses.memory import MemoryBank, MemorySampler
from morn_losses.pseudo_labels.denoise import SemanticDenoiser
from morn_losses.pseudo_labels.distill import OnlineSemanticDistillation
from morn_losses.pseudo_labels.fuse import LabelFusion
from morn_losses.pseudo_labels.labeler import PseudoLabeler
from morn_losses.pseudo_labels.mine import LabelMiner

__version__ = "0.1.0"

__all__ = [
    "CITYSCAPES",
    "ACALoss",
    "ACATerms",
    "BoundaryLoss",
    "CGRLoss",
    "ClassBalancedCrossEntropy",
    "KMeans",
    "KMeansResult",
    "LabelFusion",
    "LabelMiner",
    "LabelSpace",
    "MemoryBank",
    "MemorySampler",
    "MonochromaticRegularization",
    "OnlineSemanticDistillation",
    "PseudoLabeler",
    "ReconstructionLoss",
    "RelativisticLSGANLoss",
    "SGALoss",
    "SGAPlusLoss",
    "SRLoss",
    "SegmentationLoss",
    "SemanticDenoiser",
    "TemperatureRegularization",
    "TotalVariationLoss",
    "__version__",
    "functional",
]

_ON_FIRST_USE = ("edges", "estimators", "metrics")

if TYPE_CHECKING:
    from morn_losses import edges as edges
    from morn_losses import estimators as estimators
    from morn_losses import metrics as metrics
else:  # to a type checker every misspelt name would have a type

    def __getattr__(name):
        if name in _ON_FIRST_USE:
            from importlib import import_module

            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *_ON_FIRST_USE})
