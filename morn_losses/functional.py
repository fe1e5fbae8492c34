"""The public functions, flat. Nothing is defined here."""

from morn_losses.image import channel_max, channel_min, gradient_magnitude, to_gray
from morn_losses.kmeans import KMeansResult, kmeans
from morn_losses.losses.aca import ACATerms, aca_loss
from morn_losses.losses.adversarial import relativistic_lsgan_loss
from morn_losses.losses.boundary import boundary_loss
from morn_losses.losses.cgr import cgr_loss
from morn_losses.losses.class_balanced import class_balanced_cross_entropy
from morn_losses.losses.reconstruction import reconstruction_loss
from morn_losses.losses.segmentation import segmentation_loss
from morn_losses.losses.sga import sga_loss, sga_plus_loss
from morn_losses.losses.sr import sr_loss
from morn_losses.losses.thermal import monochromatic_regularization, temperature_regularization
from morn_losses.losses.total_variation import total_variation_loss
from morn_losses.memory import descriptor_similarity, semantic_descriptor
from morn_losses.pseudo_labels.denoise import denoise_labels
from morn_losses.pseudo_labels.fuse import fuse_labels
from morn_losses.pseudo_labels.mine import fill_unlabeled, mine_labels

__all__ = [
    "ACATerms",
    "KMeansResult",
    "aca_loss",
    "boundary_loss",
    "cgr_loss",
    "channel_max",
    "channel_min",
    "class_balanced_cross_entropy",
    "denoise_labels",
    "descriptor_similarity",
    "fill_unlabeled",
    "fuse_labels",
    "gradient_magnitude",
    "kmeans",
    "mine_labels",
    "monochromatic_regularization",
    "reconstruction_loss",
    "relativistic_lsgan_loss",
    "segmentation_loss",
    "semantic_descriptor",
    "sga_loss",
    "sga_plus_loss",
    "sr_loss",
    "temperature_regularization",
    "to_gray",
    "total_variation_loss",
]
