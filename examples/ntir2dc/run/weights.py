"""The generators' weights as one safetensors file, which describes its networks and can hold no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ntir2dc.config import NetworkOptions
from ntir2dc.files import named_in_text, write_atomically
from ntir2dc.networks import Decoder, Encoder

FILE_NAME = "weights.safetensors"


class WeightsError(ValueError):
    """A weights file that cannot be used; the message starts with its path."""


class Translator(nn.Module):
    """G_BA: the encoder of night thermal followed by the decoder of day color."""

    def __init__(self, encoder_b: Encoder, decoder_a: Decoder) -> None:
        super().__init__()
        self.encoder_b = encoder_b
        self.decoder_a = decoder_a

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)`` in [-1, 1], H and W at least 8 and divisible by 4, to the same shape and range."""
        image: Tensor = self.decoder_a(self.encoder_b(x))
        return image


def save_generator_weights(path: Path, networks: Mapping[str, nn.Module], config: Mapping[str, int | str]) -> None:
    """Write encoders and decoders whole or not at all.

    Args:
        path: of the file, ``weights.safetensors`` in the folder of a run.
        networks: ``encoder_b`` and ``decoder_a``, which translate night thermal to day color, and any others.
        config: ``width``, ``encoder_blocks`` and ``decoder_blocks`` of all of them; ``decoder_norm`` if not ``group``.
    """
    tensors = {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }
    write_atomically(path, save(tensors, metadata={"config": json.dumps(dict(config))}))


def describe_generators(options: NetworkOptions) -> dict[str, int | str]:
    """Return what a weights file says of its networks."""
    return {
        "width": options.generator_width,
        "encoder_blocks": options.encoder_blocks,
        "decoder_blocks": options.decoder_blocks,
        "decoder_norm": options.decoder_norm,
    }


def load_translator(path: Path | str) -> Translator:
    """Return the night thermal to day color generator of a run, in eval mode, on the CPU.

    Args:
        path: a weights file, or the folder of a run that holds ``weights.safetensors``.

    Raises:
        WeightsError: no such file, a file that is not safetensors (nothing else is ever read), without the
            description of its networks, or whose tensors do not fit it.
    """
    path = Path(path)
    if path.is_dir():
        path = path / FILE_NAME
        if not path.is_file():
            raise WeightsError(f"{path.parent}: holds no {FILE_NAME}, expected the folder of a run or a weights file")
    if not path.is_file():
        raise WeightsError(f"{path}: no such file or folder")
    try:
        with named_in_text(path) as named, safe_open(named, framework="pt", device="cpu") as file:
            names = [name for name in file.keys() if name.startswith(("encoder_b.", "decoder_a."))]  # noqa: SIM118
            config = _read_config(path, (file.metadata() or {}).get("config"))
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors, the only format accepted ({error})") from error

    width, encoder_blocks, decoder_blocks, norm = config
    if max(encoder_blocks, decoder_blocks) > len(tensors):
        raise WeightsError(f"{path}: holds fewer tensors than the {max(config[1:3])} residual blocks it describes")
    try:
        # nothing is allocated for networks that the file then turns out not to hold
        with torch.device("meta"):
            translator = Translator(Encoder(width, encoder_blocks), Decoder(width, decoder_blocks, norm))
    except (ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: describes networks that cannot be built ({error})") from error
    _check_fit(path, tensors, translator.state_dict())
    translator.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    return translator.requires_grad_(False).eval()


def _read_config(path: Path, text: str | None) -> tuple[int, int, int, Literal["group", "instance"]]:
    keys = ("width", "encoder_blocks", "decoder_blocks")
    try:
        config = json.loads(text) if text is not None else None
    except (ValueError, RecursionError):
        config = None
    values = [config.get(key) for key in keys] if isinstance(config, dict) else []
    numbers = [value for value in values if type(value) is int and value >= 0]
    if len(numbers) != len(keys):
        raise WeightsError(f"{path}: does not describe its networks; expected metadata 'config' with {', '.join(keys)}")
    width, encoder_blocks, decoder_blocks = numbers
    norm = config.get("decoder_norm", "group") if isinstance(config, dict) else None
    if norm not in ("group", "instance"):
        raise WeightsError(f"{path}: describes networks that cannot be built (decoder_norm {norm!r})")
    return width, encoder_blocks, decoder_blocks, norm


def _check_fit(path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    problems = [f"{name} is missing" for name in expected if name not in tensors]
    problems += [f"{name} is unknown" for name in tensors if name not in expected]
    problems += [
        f"{name} is {tuple(tensors[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(f"{path}: does not fit the networks it describes: {', '.join(problems[:3])}{more}")
