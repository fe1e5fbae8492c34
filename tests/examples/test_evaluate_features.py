"""KID and FD in features that the user names, and the flags that say how night images are read."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import evaluate as command
from ntir2dc.data.images import DataError, list_images
from ntir2dc.data.thermal import ThermalAsked
from ntir2dc.evaluation import features as module
from ntir2dc.evaluation.features import FeatureDistances, distances, load_features

H, W = 16, 24

MODULE = """
import torch
def means(x):
    assert 0 <= float(x.min()) and float(x.max()) <= 1
    return torch.cat((x.mean((2, 3)), x.std((2, 3))), 1)
def wrong(x):
    return x
def broken(x):
    raise RuntimeError("no such layer\\nin detail")
number = 3
"""


class Means(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Night images, colorful pictures by their names, and further day images of the same kind."""
    path = tmp_path_factory.mktemp("features")
    rng = np.random.default_rng(0)
    for name, count, shape in (("valB", 6, (H, W)), ("colored", 6, (H, W, 3)), ("trainA", 8, (H, W, 3))):
        (path / name).mkdir()
        for i in range(count):
            light = 100 if len(shape) == 3 else 0
            picture = rng.integers(light, light + 120 + 4 * i, shape).astype(np.uint8)
            Image.fromarray(picture).save(path / name / f"{i}.png")
    (path / "my_features.py").write_text(MODULE)
    return path


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_features", raising=False)
    return folder


def test_the_frechet_distance_is_that_of_two_gaussians() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(400, 3), 2 * torch.randn(400, 3) + torch.tensor([1.0, 0, -2])
    found = distances(x, y)
    a, b = (np.cov(z.double().numpy().T) for z in (x, y))
    middle = float(((x.double().mean(0) - y.double().mean(0)) ** 2).sum())
    root = np.sqrt(np.linalg.eigvals(a @ b).real).sum()
    assert found["fd"]["value"] == pytest.approx(middle + np.trace(a) + np.trace(b) - 2 * root, rel=1e-3)


def test_the_kernel_distance_is_the_mean_over_subsets() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(40, 4), torch.randn(40, 4) + 1
    found = distances(x, y)["kid"]

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / 4 + 1) ** 3

    n = 40
    own = sum((kernel(z, z).sum() - kernel(z, z).trace()) / (n * (n - 1)) for z in (x, y))
    whole = float(own - 2 * kernel(x, y).mean())
    assert found["value"] == pytest.approx(whole, rel=0.25)
    assert 0 < found["error"] < whole
    assert distances(x, y)["kid"] == found  # the subsets are the same each time
    assert abs(distances(x, torch.randn(40, 4))["kid"]["value"]) < whole / 5


def test_a_callable_gives_a_table_with_a_warning(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(
        data=here, results=["colored=colored"], out=here / "out", features="my_features:means", device="cpu"
    ) == 0  # fmt: skip
    found = json.loads((here / "out" / "metrics.json").read_text())["distances"]
    rows = {row["name"]: row["figures"] for row in found["rows"]}
    assert list(rows) == ["input", "tinted input", "colored"]
    assert rows["colored"]["kid"]["value"] < rows["input"]["kid"]["value"]
    assert rows["colored"]["fd"]["value"] < rows["input"]["fd"]["value"]
    printed = capsys.readouterr().out
    for text in (
        "KID x 1000",
        "6 translations with 8 true day images",
        "in the 6 features of my_features:means",
        "KID and FD of 6 images are not to be relied on: expected at least 500",
    ):
        assert text in printed  # fmt: skip
    assert "KID x 1000" in (here / "out" / "metrics.md").read_text()


def test_files_give_the_features_that_they_hold(tmp_path: Path) -> None:
    images = torch.rand(1, 3, H, W)
    scripted, exported = tmp_path / "means.pt", tmp_path / "means.pt2"
    torch.jit.trace(Means(), images).save(scripted)
    torch.export.save(torch.export.export(Means(), (images,)), exported)
    for path in (scripted, exported):
        assert torch.allclose(load_features(str(path))(images), images.mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "expected module:function or a file of TorchScript or torch.export, got nothing"),
        ("my_features:gone", "my_features:gone cannot be imported"),
        ("no_such_module:f", "no_such_module:f cannot be imported (No module named 'no_such_module')"),
        ("my_features:number", "my_features:number is no function of images"),
        ("my_features:wrong", "expected finite (1, D) of one image, got (1, 3, 16, 24)"),
        ("my_features:broken", "fail on an image (1, 3, 16, 24): no such layer"),
        ("my_features.py", "my_features.py: cannot be loaded as features"),
    ],
)
def test_features_that_are_none_are_named(
    here: Path, name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = here / "none"
    assert command.main(data=here, results=["colored=colored"], out=out, features=name, device="cpu") == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_without_true_images_or_torchmetrics_it_says_what_to_do(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = FeatureDistances(Means(), ["x"])
    looking.features["x"] = [torch.zeros(1, 3)] * 2
    with pytest.raises(DataError, match="expected at least two true day images for KID and FD, found 0"):
        looking.describe("means", tmp_path)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"KID and FD need torchmetrics: pip install 'morn-losses\[metrics\]'"):
        FeatureDistances(Means(), ["x"])


# ---- how night images are read ---------------------------------------------------------------------------------------


def test_thermal_flags_change_what_is_read(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    (data / "valB").mkdir(parents=True)
    inverted = tmp_path / "inverted"
    inverted.mkdir()
    for path in list_images(folder / "valB"):
        gray = np.array(Image.open(path))
        Image.fromarray(7000 + 2 * (255 - gray.astype(np.uint16))).save(data / "valB" / path.name)
        Image.fromarray(gray).save(inverted / path.name)
    thermal = ThermalAsked("7000,7510", "black")
    results = [f"same={inverted}"]
    assert command.main(data=data, results=results, out=tmp_path / "a", thermal=thermal, device="cpu") == 0
    assert "7000 becomes black and 7510 white in all thermal frames" in capsys.readouterr().out
    rows = {r["name"]: r["figures"] for r in json.loads((tmp_path / "a" / "metrics.json").read_text())["rows"]}
    assert rows["same"]["apce"]["value"] == rows["input"]["apce"]["value"] == 1
    assert command.main(data=data, results=results, out=tmp_path / "b", thermal=ThermalAsked("wide")) == 1
    assert (
        "options: thermal.range: expected sequence, percentiles, full, frame, or two counts" in capsys.readouterr().err
    )


def test_odd_night_images_are_warned_of(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "valB").mkdir()
    rng = np.random.default_rng(0)
    for i in range(2):
        Image.fromarray(rng.integers(0, 256, (H, W, 3), dtype=np.uint8)).save(tmp_path / "valB" / f"{i}.png")
    arguments = {"data": tmp_path, "results": [f"x={folder / 'colored'}"], "out": tmp_path / "out"}
    assert command.main(**arguments, device="cpu") == 0
    assert "warning: " in (printed := capsys.readouterr().out)
    assert "2 of 2 frames looked at are colored" in printed
