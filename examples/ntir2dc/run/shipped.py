"""What ``studies/translator.py`` trained and ``examples/weights`` keeps: a translator, and the segmenters beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from ntir2dc.files import write_atomically
from ntir2dc.networks import ResidualUNet
from ntir2dc.run.beginning import by_network, read_networks
from ntir2dc.run.weights import WeightsError, misfits, opened, read_weights

FOLDER = Path(__file__).resolve().parents[2] / "weights"
TRANSLATOR, SEGMENTERS = (FOLDER / f"{name}.safetensors" for name in ("translator", "segmenters"))


def write_translator(run: Path, target: Path) -> str:
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
    return _write_half(tensors, target, metadata)


def write_segmenters(run: Path, target: Path) -> str:
    """Write S_A and S_B of a run's newest checkpoint, for ``--init_from``, in half precision; return the SHA-256.

    Raises:
        CheckpointError: no checkpoint can be used.
        WeightsError: the run has no segmenters.
    """
    networks = {name: state for name, state in read_networks(run).networks.items() if name.startswith("segmenter_")}
    if not networks:
        raise WeightsError(f"{run}: has no segmenters")
    tensors = {f"{name}.{key}": value for name, state in networks.items() for key, value in state.items()}
    return _write_half(tensors, target)


def load_night_segmenter(path: Path, n_classes: int) -> ResidualUNet:
    """Return S_B of a file of :func:`write_segmenters` with U-Nets, in eval mode.

    Raises:
        WeightsError: another file.
    """
    state = by_network(read_weights(path)).get("segmenter_b", {})
    if "stem.0.weight" not in state:
        raise WeightsError(f"{path}: holds no U-Net called segmenter_b")
    width = len(state["stem.0.weight"])
    network = ResidualUNet(n_classes, tuple(width * factor for factor in (1, 2, 4, 8)))
    if problems := misfits(state, network.state_dict()):
        raise WeightsError(f"{path}: segmenter_b does not fit: {problems[0]}")
    network.load_state_dict(state)
    return network.requires_grad_(False).eval()


def _write_half(tensors: Mapping[str, Tensor], target: Path, metadata: dict[str, str] | None = None) -> str:
    halves = {name: (x.half() if x.is_floating_point() else x).contiguous() for name, x in tensors.items()}
    content = save(halves, metadata=metadata)
    write_atomically(target, content)
    return hashlib.sha256(content).hexdigest()
