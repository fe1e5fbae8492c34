"""The detector in ``examples/weights``, which ``studies/detector.py`` trained once, on procedural scenes."""

from __future__ import annotations

import hashlib

import torch
from safetensors.torch import load

from ntir2dc.data.images import DataError
from ntir2dc.detector.network import Detector
from ntir2dc.judge.shipped import FOLDER

FILE = "detector.safetensors"
SHA256 = ""


def load_detector(device: torch.device | str = "cpu") -> Detector:
    """Return the detector in eval mode.

    Raises:
        DataError: the file is missing, or is not the one that was shipped.
    """
    path = FOLDER / FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); it comes with the repository") from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise DataError(f"{path}: is not the detector that was shipped: SHA-256 {found}, expected {SHA256}")
    return from_half(content).to(device)


def from_half(content: bytes) -> Detector:
    """Return the detector that a file in half precision keeps, in single precision and eval mode."""
    detector = Detector()
    detector.load_state_dict(load(content))
    return detector.requires_grad_(False).eval()
