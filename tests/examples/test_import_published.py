"""Checkpoints of the published form, made here, give the same pictures as a forward pass that shares no code."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import colorize
from import_published import main
from ntir2dc.run.beginning import read_networks
from ntir2dc.run.published import import_network
from ntir2dc.run.weights import WeightsError, load_translator

State = dict[str, Tensor]


def empty_state() -> State:
    """Return what a module's ``state_dict`` begins as, its versions beside the tensors."""
    return nn.Module().state_dict()


def conv(state: State, key: str, outputs: int, inputs: int, kernel: int, generator: torch.Generator) -> None:
    state[f"{key}.weight"] = torch.randn(outputs, inputs, kernel, kernel, generator=generator) / (inputs**0.5 * kernel)
    state[f"{key}.bias"] = torch.randn(outputs, generator=generator) / 10


def prelu(state: State, key: str, generator: torch.Generator) -> None:
    state[f"{key}.weight"] = torch.rand(1, generator=generator)


def block(state: State, key: str, generator: torch.Generator) -> None:
    conv(state, f"{key}.conv_block.1", 256, 256, 3, generator)
    prelu(state, f"{key}.conv_block.3", generator)
    conv(state, f"{key}.conv_block.5", 256, 256, 3, generator)


def encoder_state(seed: int) -> State:
    """Return a state as the published files hold it: keys are positions in one sequence."""
    draws, state = torch.Generator().manual_seed(seed), empty_state()
    for place, (outputs, inputs, kernel) in {1: (64, 3, 7), 4: (128, 64, 3), 7: (256, 128, 3)}.items():
        conv(state, f"model.{place}", outputs, inputs, kernel, draws)
        prelu(state, f"model.{place + 2}", draws)
    for place in range(10, 14):
        block(state, f"model.{place}", draws)
    return state


def decoder_state(seed: int) -> State:
    draws, state = torch.Generator().manual_seed(seed), empty_state()
    for place in range(5):
        block(state, f"model.{place}", draws)
    for place, (inputs, outputs) in {5: (256, 128), 8: (128, 64)}.items():
        state[f"model.{place}.weight"] = torch.randn(inputs, outputs, 4, 4, generator=draws) / (inputs**0.5 * 4)
        state[f"model.{place}.bias"] = torch.randn(outputs, generator=draws) / 10
        state[f"model.{place + 1}.weight"] = 1 + torch.randn(outputs, generator=draws) / 10
        state[f"model.{place + 1}.bias"] = torch.randn(outputs, generator=draws) / 10
        prelu(state, f"model.{place + 2}", draws)
    conv(state, "model.12", 3, 64, 7, draws)
    return state


def published_forward(encoder: State, decoder: State, x: Tensor) -> Tensor:
    """Night to day from the facts alone, by functions of torch."""

    def convolve(state: State, key: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv2d(x, state[f"{key}.weight"], state[f"{key}.bias"], stride, padding)

    def mirrored(x: Tensor, n: int) -> Tensor:
        return F.pad(x, (n, n, n, n), mode="reflect")

    def residual(state: State, key: str, x: Tensor) -> Tensor:
        y = F.instance_norm(convolve(state, f"{key}.conv_block.1", mirrored(x, 1)))
        y = F.prelu(y, state[f"{key}.conv_block.3.weight"])
        return x + F.instance_norm(convolve(state, f"{key}.conv_block.5", mirrored(y, 1)))

    x = F.prelu(F.instance_norm(convolve(encoder, "model.1", mirrored(x, 3))), encoder["model.3.weight"])
    x = F.prelu(F.instance_norm(convolve(encoder, "model.4", x, 2, 1)), encoder["model.6.weight"])
    x = F.prelu(F.instance_norm(convolve(encoder, "model.7", x, 2, 1)), encoder["model.9.weight"])
    for place in (10, 11, 12, 13):
        x = residual(encoder, f"model.{place}", x)
    for place in (0, 1, 2, 3, 4):
        x = residual(decoder, f"model.{place}", x)
    for place in (5, 8):
        x = F.conv_transpose2d(x, decoder[f"model.{place}.weight"], decoder[f"model.{place}.bias"], 2, 1)
        x = F.group_norm(x, 32, decoder[f"model.{place + 1}.weight"], decoder[f"model.{place + 1}.bias"])
        x = F.prelu(x, decoder[f"model.{place + 2}.weight"])
    return torch.tanh(convolve(decoder, "model.12", mirrored(x, 3)))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    # the older of the two forms in which torch writes
    torch.save(encoder_state(1), folder / "80_net_G1.pth", _use_new_zipfile_serialization=False)
    torch.save(decoder_state(2), folder / "80_net_G2.pth")
    for other in ("80_net_D0.pth", "80_net_S1.pth", "80_net_G1.txt"):
        (folder / other).write_bytes(b"not looked at")
    return folder


@pytest.fixture(scope="module")
def weights(published: Path) -> Path:
    path = published.parent / "weights" / "published.safetensors"
    assert main(published, path) == 0
    return path


def test_the_imported_generator_computes_what_the_published_one_does(weights: Path) -> None:
    encoder, decoder = encoder_state(1), decoder_state(2)
    # the paper's 46.7 MB
    assert sum(value.numel() for value in (*encoder.values(), *decoder.values())) == 5_099_143 + 6_566_154
    x = torch.rand(2, 3, 20, 28, generator=torch.Generator().manual_seed(3)) * 2 - 1
    with torch.no_grad():
        expected, got = published_forward(encoder, decoder, x), load_translator(weights)(x)
    assert expected.std() > 0.1
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-5)


def test_the_card_names_files_and_hashes(weights: Path, published: Path) -> None:
    card = weights.with_suffix(".md").read_text()
    assert "epoch 80" in card
    assert "| `encoder_b` | `80_net_G1.pth` | `" in card
    assert "6,566,154" in card
    assert "`encoder_a`" not in card


def test_colorizing_with_them_is_one_more_command(weights: Path, tmp_path: Path) -> None:
    night = np.random.default_rng(0).integers(0, 256, (12, 18), dtype=np.uint8)
    Image.fromarray(night).save(tmp_path / "night.png")
    assert colorize.main(tmp_path / "night.png", tmp_path / "clipped.png", weights, device="cpu") == 0
    assert colorize.main(tmp_path / "night.png", tmp_path / "day.png", weights, device="cpu", stretch=True) == 0
    x = torch.from_numpy(night).float()[None, None].expand(1, 3, -1, -1) / 127.5 - 1
    with torch.no_grad():
        y = published_forward(encoder_state(1), decoder_state(2), F.pad(x, (0, 2, 0, 0), mode="reflect"))[0, :, :, :18]
    clipped, day = (np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("clipped.png", "day.png"))
    published_pixels = ((y - y.min()) / (y.max() - y.min()) * 255).byte().permute(1, 2, 0).numpy()
    assert np.abs(day - published_pixels).max() <= 1
    assert (day.min(), day.max()) == (0, 255)
    assert np.abs(clipped - (y.permute(1, 2, 0).numpy() + 1) * 127.5).max() <= 1
    assert np.abs(clipped - day).max() > 2


def test_both_directions_are_taken_where_they_are_there_for_fine_tuning(published: Path, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    shutil.copytree(published, folder)
    torch.save(encoder_state(4), folder / "80_net_G0.pth")
    torch.save(decoder_state(5), folder / "80_net_G3.pth")
    torch.save(encoder_state(6), folder / "75_net_G1.pth")
    assert main(folder, tmp_path / "both.safetensors") == 0
    networks = read_networks(tmp_path / "both.safetensors").networks
    assert set(networks) == {"encoder_a", "encoder_b", "decoder_a", "decoder_b"}
    for role, state in {
        "encoder_a": encoder_state(4),
        "encoder_b": encoder_state(1),
        "decoder_a": decoder_state(2),
        "decoder_b": decoder_state(5),
    }.items():
        renamed = {name.replace("model", "layers").replace("conv_block", "layers"): v for name, v in state.items()}
        assert networks[role].keys() == renamed.keys()
        assert all(torch.equal(value, renamed[name]) for name, value in networks[role].items()), role


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harmed",)


def test_what_cannot_be_imported_ends_in_a_sentence(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path("out.safetensors")

    def refused(folder: Path, epoch: int | None = None, output: Path = out) -> str:
        assert main(folder, output, epoch) == 1
        error = capsys.readouterr().err
        assert error.startswith("import_published: ")
        assert error.count("\n") == 1
        return error

    assert "nowhere: no such folder" in refused(Path("nowhere"))
    Path("empty").mkdir()
    assert "expected files such as 80_net_G1.pth" in refused(Path("empty"))
    assert "75_net_G1.pth: not there, and night to day needs it; there are files of the epochs 80" in refused(
        published, 75
    )
    assert "expected a name that ends in .safetensors" in refused(published, output=Path("out.pth"))
    (tmp_path / "taken.md").touch()
    assert "taken.md: is there already" in refused(published, output=Path("taken.safetensors"))

    folder = tmp_path / "swapped"
    folder.mkdir()
    for a, b in (("G1", "G2"), ("G2", "G1")):
        os.symlink(published / f"80_net_{a}.pth", folder / f"80_net_{b}.pth")
    assert "80_net_G1.pth: is no encoder of the published form: model.1.weight is missing" in refused(folder)

    wrong = tmp_path / "wrong"
    wrong.mkdir()
    path = wrong / "80_net_G1.pth"
    for protocol in (2, 4):
        path.write_bytes(pickle.dumps(Harm(), protocol))
        assert "80_net_G1.pth: is damaged, or " in refused(wrong)
    torch.save({"model.1.weight": Harm()}, path)
    assert "which is never loaded" in refused(wrong)
    torch.save([1, 2], path)
    assert "holds no state of a network" in refused(wrong)
    path.write_bytes((published / "80_net_G1.pth").read_bytes()[:100_000])
    assert "80_net_G1.pth: is damaged, or " in refused(wrong)
    state = encoder_state(1)
    state["model.4.weight"][0] = float("nan")
    torch.save(state, path)
    assert "holds values that are not finite (model.4.weight)" in refused(wrong)
    assert not Path("harmed").exists()
    assert not out.exists()
    assert not out.with_suffix(".md").exists()


def test_a_network_of_another_width_is_refused(tmp_path: Path) -> None:
    state = encoder_state(1)
    state["model.1.weight"] = torch.zeros(32, 3, 7, 7)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"model\.1\.weight is \(32, 3, 7, 7\) instead of \(64, 3, 7, 7\)"):
        import_network(tmp_path / "x.pth", "encoder_b")
