"""One call of each public function for the fuzz tests, and which of its inputs' values take part in the result."""

from __future__ import annotations

from collections.abc import Callable

from fuzz import calls_on_images as on_images
from fuzz import calls_on_labels as on_labels
from fuzz.call import Call
from fuzz.drawing import Draw

LOSSES: dict[str, Callable[[Draw], Call]] = {
    "channel_max, channel_min": on_images.channel_max,
    "to_gray": on_images.to_gray,
    "gradient_magnitude": on_images.gradient_magnitude,
    "monochromatic_regularization": on_images.monochromatic,
    "temperature_regularization": on_images.temperature,
    "sga_loss": on_images.sga,
    "sga_plus_loss": on_images.sga_plus,
    "cgr_loss": on_images.cgr,
    "total_variation_loss": on_images.total_variation,
    "reconstruction_loss": on_images.reconstruction,
    "sr_loss": on_images.sr,
    "SRLoss": on_images.sr_module,
    "relativistic_lsgan_loss": on_images.lsgan,
    "class_balanced_cross_entropy": on_labels.cross_entropy,
    "boundary_loss": on_labels.boundary,
    "segmentation_loss": on_labels.segmentation,
    "aca_loss": on_labels.aca,
    "descriptor_similarity": on_labels.similarity,
}
