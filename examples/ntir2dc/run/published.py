"""Generators out of the authors' published checkpoints, ``<epoch>_net_G<i>.pth``: one state dict a file.

Its keys are positions in one sequence called ``model``, as ours are in ``layers``. An encoder has its convolutions at
1, 4 and 7, its PReLUs at 3, 6 and 9, and its residual blocks from 10 on. A decoder has its residual blocks at 0 to 4,
transposed convolutions at 5 and 8, group norms at 6 and 9, PReLUs at 7 and 10, and its last convolution at 12. The
sequence in a residual block is ``conv_block``.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ntir2dc.networks import Decoder, Encoder
from ntir2dc.run.weights import WeightsError, misfits

FORM: dict[str, int | str] = {
    "method": "morngan",
    "width": 64,
    "encoder_blocks": 4,
    "decoder_blocks": 5,
    "decoder_norm": "group",
}
"""What the published generators are, in the words of a weights file."""

ROLES = ("encoder_a", "encoder_b", "decoder_a", "decoder_b")
"""What the number of a file stands for: A is day color, B night thermal."""

NEEDED = ("encoder_b", "decoder_a")
"""Night to day."""

_NAME = re.compile(r"(\d+)_net_G([0-3])\.pth")


class Imported(NamedTuple):
    """A published network: the file it came from, its SHA-256, and the network."""

    file: Path
    sha256: str
    network: nn.Module


def import_generators(folder: Path, epoch: int | None = None) -> tuple[int, dict[str, Imported]]:
    """Return the epoch and, by name, the generators' networks of a folder: night to day, and what else is there.

    Args:
        folder: of the checkpoints.
        epoch: which; None is the newest.

    Raises:
        WeightsError: a file that is needed is not there, or one that is does not hold what its name says.
    """
    if not folder.is_dir():
        raise WeightsError(f"{folder}: no such folder")
    found = sorted({int(match[1]) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))})
    if not found:
        raise WeightsError(f"{folder}: holds no published checkpoint; expected files such as 80_net_G1.pth")
    chosen = found[-1] if epoch is None else epoch
    networks: dict[str, Imported] = {}
    for index, role in enumerate(ROLES):
        path = folder / f"{chosen}_net_G{index}.pth"
        if path.is_file():
            networks[role] = import_network(path, role)
        elif role in NEEDED:
            known = ", ".join(map(str, found))
            raise WeightsError(f"{path}: not there, and night to day needs it; there are files of the epochs {known}")
    return chosen, networks


def import_network(path: Path, role: str) -> Imported:
    """Return the network of a file.

    Raises:
        WeightsError: it cannot be read, or is another network.
    """
    half = "encoder" if role.startswith("encoder") else "decoder"
    width = int(FORM["width"])
    network: nn.Module = Encoder(width, int(FORM["encoder_blocks"]))
    if half == "decoder":
        network = Decoder(width, int(FORM["decoder_blocks"]))
    ours, state = network.state_dict(), read_state(path)
    theirs = {published_name(name): name for name in ours}
    problems = misfits(state, {key: ours[name] for key, name in theirs.items()})
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(f"{path}: is no {half} of the published form: {', '.join(problems[:3])}{more}")
    bad = [key for key, value in state.items() if not value.isfinite().all()]
    if bad:
        raise WeightsError(f"{path}: holds values that are not finite ({bad[0]})")
    network.load_state_dict({name: state[key].float() for key, name in theirs.items()})
    return Imported(path, hashlib.sha256(path.read_bytes()).hexdigest(), network)


def published_name(name: str) -> str:
    """Return the key under which a published file holds what ours is called.

    Example:
        >>> published_name("layers.10.layers.1.weight")
        'model.10.conv_block.1.weight'
    """
    outer, rest = name.split(".", 1)
    return f"{outer.replace('layers', 'model')}.{rest.replace('layers', 'conv_block')}"


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name; nothing but tensors and plain values is ever unpickled.

    Raises:
        WeightsError: it cannot be read, or holds something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch goes on to say how to load it all the same
        raise WeightsError(f"{path}: is damaged, or holds more than tensors, which is never loaded") from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error
    # damaged files make the reader raise nearly anything
    except Exception as error:
        raise WeightsError(f"{path}: is damaged, or no file of torch's") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: holds no state of a network")
    return state
