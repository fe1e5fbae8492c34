from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ntir2dc.networks import Decoder, Encoder
from ntir2dc.run.weights import FILE_NAME, WeightsError, load_translator, save_weights

CONFIG = {"width": 4, "encoder_blocks": 1, "decoder_blocks": 2}


def networks() -> dict[str, nn.Module]:
    return {
        "encoder_a": Encoder(4, 1),
        "encoder_b": Encoder(4, 1),
        "decoder_a": Decoder(4, 2),
        "decoder_b": Decoder(4, 2),
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    save_weights(tmp_path / "run" / FILE_NAME, networks(), CONFIG)
    return tmp_path / "run"


def rewrite(run: Path, change: Callable[[dict[str, Tensor]], Any], config: object = CONFIG) -> Path:
    tensors = load_file(run / FILE_NAME)
    change(tensors)
    metadata = {} if config is None else {"config": config if isinstance(config, str) else json.dumps(config)}
    save_file(tensors, run / FILE_NAME, metadata=metadata)
    return run / FILE_NAME


def nothing(_: dict[str, Tensor]) -> None:
    pass


def test_translates_exactly_as_the_networks_that_were_saved(tmp_path: Path) -> None:
    saved = networks()
    path = tmp_path / "run" / FILE_NAME
    save_weights(path, saved, CONFIG)
    x = torch.rand(2, 3, 12, 8) * 2 - 1
    expected = saved["decoder_a"](saved["encoder_b"](x))
    for source in (path, path.parent, str(path)):
        assert torch.equal(load_translator(source)(x), expected)


def test_is_ready_for_inference(run: Path) -> None:
    translator = load_translator(run)
    assert not translator.training
    assert not any(p.requires_grad for p in translator.parameters())
    assert {p.device.type for p in translator.parameters()} == {"cpu"}


def test_the_norm_of_the_decoders_is_remembered(tmp_path: Path) -> None:
    saved = {**networks(), "decoder_a": Decoder(4, 2, "instance")}
    path = tmp_path / "w.safetensors"
    save_weights(path, saved, {**CONFIG, "decoder_norm": "instance"})
    x = torch.rand(1, 3, 12, 8)
    assert torch.equal(load_translator(path)(x), saved["decoder_a"](saved["encoder_b"](x)))
    save_weights(path, saved, {**CONFIG, "decoder_norm": "batch"})
    with pytest.raises(WeightsError, match="cannot be built .decoder_norm 'batch'"):
        load_translator(path)


def test_blur_is_remembered(tmp_path: Path) -> None:
    saved = {"encoder_b": Encoder(4, 1, antialias=True), "decoder_a": Decoder(4, 1, antialias=True)}
    path = tmp_path / "w.safetensors"
    description = {"width": 4, "encoder_blocks": 1, "decoder_blocks": 1, "antialias": 1}
    save_weights(path, saved, description)
    x = torch.rand(1, 3, 12, 8)
    assert torch.equal(load_translator(path)(x), saved["decoder_a"](saved["encoder_b"](x)))
    save_weights(path, saved, {**description, "antialias": 2})
    with pytest.raises(WeightsError, match="cannot be built .antialias 2"):
        load_translator(path)


def test_two_networks_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    both = {name: network for name, network in networks().items() if name in ("encoder_b", "decoder_a")}
    save_weights(path, both, CONFIG)
    assert load_translator(path)(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 8, 8)
    assert {key.split(".")[0] for key in load_file(path)} == {"encoder_b", "decoder_a"}


def test_half_precision_is_loaded_as_float32(run: Path) -> None:
    def halve(tensors: dict[str, Tensor]) -> None:
        tensors.update({name: tensor.half() for name, tensor in tensors.items()})

    translator = load_translator(rewrite(run, halve))
    assert translator(torch.zeros(1, 3, 8, 8)).dtype == torch.float32


def test_loading_leaves_the_global_random_state(run: Path) -> None:
    before = torch.random.get_rng_state()
    load_translator(run)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_weights_survive_the_file_being_replaced(run: Path) -> None:
    x = torch.rand(1, 3, 8, 8)
    translator = load_translator(run)
    before = translator(x)
    save_weights(run / FILE_NAME, networks(), CONFIG)
    assert torch.equal(translator(x), before)
    assert not torch.equal(load_translator(run)(x), before)
    assert [p.name for p in run.iterdir()] == [FILE_NAME]


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="none: no such file or folder"):
        load_translator(tmp_path / "none")
    with pytest.raises(WeightsError, match=f"{tmp_path.name}: holds no weights.safetensors, expected the folder"):
        load_translator(tmp_path)


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("kind", ["pickle", "torch", "empty", "text", "truncated", "huge header"])
def test_only_safetensors_is_read(run: Path, kind: str) -> None:
    path, trap = run / FILE_NAME, run / "trap"
    whole = path.read_bytes()
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Payload(trap)))
    elif kind == "torch":
        torch.save({"encoder_b": Payload(trap)}, path)
    else:
        path.write_bytes(
            {
                "empty": b"",
                "text": b"some text",
                "truncated": whole[: len(whole) // 2],
                "huge header": b"\xff" * 8 + whole[8:],
            }[kind]
        )
    with pytest.raises(WeightsError, match="weights.safetensors: cannot be read as safetensors"):
        load_translator(run)
    assert not trap.exists()


@pytest.mark.parametrize(
    "config",
    [
        None,
        "not json",
        "[4, 1, 2]",
        "null",
        "[" * 100_000,
        {"width": 4, "encoder_blocks": 1},
        {**CONFIG, "width": "4"},
        {**CONFIG, "width": True},
        {**CONFIG, "encoder_blocks": -1},
        {**CONFIG, "decoder_blocks": 2.0},
    ],
)
def test_a_file_that_does_not_describe_its_networks(run: Path, config: object) -> None:
    rewrite(run, nothing, config)
    with pytest.raises(WeightsError, match="does not describe its networks.*width, encoder_blocks, decoder_blocks"):
        load_translator(run)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**CONFIG, "width": 6}, "cannot be built .*multiple of 4"),
        ({**CONFIG, "width": 0}, "cannot be built .*multiple of 4"),
        ({**CONFIG, "width": 4 * 10**12}, "weights.safetensors: "),
        ({**CONFIG, "encoder_blocks": 10**9}, "fewer tensors than the 1000000000 residual blocks"),
        (
            {**CONFIG, "width": 8},
            r"does not fit .*encoder_b.layers.1.weight is \(4, 3, 7, 7\) instead of \(8, 3, 7, 7\)",
        ),
        ({**CONFIG, "encoder_blocks": 2}, "does not fit .*encoder_b.layers.11.layers.1.weight is missing"),
        ({**CONFIG, "decoder_blocks": 1}, "does not fit .* more$"),
    ],
)
def test_a_description_that_does_not_fit(run: Path, config: dict[str, int], message: str) -> None:
    rewrite(run, nothing, config)
    with pytest.raises(WeightsError, match=message):
        load_translator(run)


def test_missing_and_unknown_tensors_are_named(run: Path) -> None:
    rewrite(run, lambda tensors: tensors.pop("decoder_a.layers.3.weight"))
    with pytest.raises(WeightsError, match=r"decoder_a\.layers\.3\.weight is missing$"):
        load_translator(run)


def test_unknown_tensors_are_named(run: Path) -> None:
    rewrite(run, lambda tensors: tensors.update({"encoder_b.extra": torch.zeros(1)}))
    with pytest.raises(WeightsError, match=r"encoder_b\.extra is unknown$"):
        load_translator(run)


def test_a_file_without_the_needed_networks(tmp_path: Path) -> None:
    save_weights(tmp_path / FILE_NAME, {"encoder_a": Encoder(4, 1), "decoder_b": Decoder(4, 2)}, CONFIG)
    with pytest.raises(WeightsError, match=f"{FILE_NAME}: "):
        load_translator(tmp_path)
