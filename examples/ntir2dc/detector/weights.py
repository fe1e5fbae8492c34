"""The weights of a detector that ``studies/detector.py`` trained on procedural scenes."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from ntir2dc.data.images import DataError
from ntir2dc.detector.network import Detector

FILE = "detector.safetensors"


def load_detector(path: Path, device: torch.device | str = "cpu") -> Detector:
    """Return the detector of a file, in single precision and eval mode.

    Raises:
        DataError: a file that is missing, or holds something else.
    """
    try:
        return from_half(path.read_bytes()).to(device)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); examples/studies/detector.py trains a detector"
        ) from None
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: holds no detector of examples/studies/detector.py ({reason})") from error


def from_half(content: bytes) -> Detector:
    """Return the detector that a file in half precision keeps, in single precision and eval mode."""
    detector = Detector()
    detector.load_state_dict(load(content))
    return detector.requires_grad_(False).eval()
