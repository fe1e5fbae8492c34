"""The translator in ``examples/weights``: night thermal to day color, as ``studies/translator.py`` trained it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from safetensors.torch import save

from ntir2dc.files import write_atomically
from ntir2dc.run.weights import WeightsError, opened, read_weights

TRANSLATOR = Path(__file__).resolve().parents[2] / "weights" / "translator.safetensors"


def write_half(run: Path, target: Path) -> str:
    """Write what translates night to day of a run's weights, in half precision; return the file's SHA-256.

    Raises:
        WeightsError: the run has no weights, or they are of another method.
    """
    names = ("encoder_b.", "decoder_a.")
    tensors = {name: value for name, value in read_weights(run).items() if name.startswith(names)}
    with opened(run) as file:
        metadata = file.metadata()
    if json.loads(metadata["config"]).get("method") != "morngan":
        raise WeightsError(f"{run}: expected a run of method morngan")
    content = save({name: value.half().contiguous() for name, value in tensors.items()}, metadata=metadata)
    write_atomically(target, content)
    return hashlib.sha256(content).hexdigest()
