"""The guide to ACA and CGR: its code needs the wheel and Pillow alone, does what is said of it, and its lines count."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

DOCS = Path(__file__).resolve().parents[1] / "docs"
TEXT = (DOCS / "guides" / "gan.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
# what any GAN of the guide's kind has in its loop
OWN = """
day, night = crops("day", 48), crops("night", 48)
(real_a, _), (real_b, _) = batch(day, 2), batch(night, 2)
fake_a, fake_b = g_ba(real_b), g_ab(real_a)
loss = gan_loss(real_a, real_b, fake_a, fake_b)
opt_g.zero_grad()
loss.backward()
opt_g.step()
teach_critics(real_a, real_b, fake_a, fake_b)
"""


def lines_of(block: str) -> list[str]:
    """Lines without blank ones, loops' heads and indentation."""
    return [line.strip() for line in block.splitlines() if line.strip() and not line.startswith("for step")]


def block_with(text: str) -> str:
    (found,) = (block for block in BLOCKS if text in block)
    return str(found)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the blocks define, run in order in an empty folder."""
    found: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("guide"))
        for block in BLOCKS:
            exec(compile(block, "gan.md", "exec"), found)
        yield found


def truth_of(image: Tensor, values: dict[int, tuple[int, ...]]) -> Tensor:
    """Return the class whose value is nearest, pixel by pixel."""
    table = torch.tensor(list(values.values())) / 127.5 - 1
    nearest = (image[:, None] - table.mT[:, :, None, None]).square().sum(0).argmin(0)
    return torch.tensor(list(values))[nearest]


def test_nothing_but_the_wheel_and_pillow_is_imported() -> None:
    modules: set[str] = set()
    for node in ast.walk(ast.parse("\n".join(BLOCKS))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            modules.add(str(node.module).split(".")[0])
    assert modules - sys.stdlib_module_names == {"morn_losses", "torch", "numpy", "PIL"}


def test_lines_are_counted_honestly() -> None:
    text = re.sub(r"\s+", " ", TEXT)
    said = re.search(r"(\d+) lines add them .* needs labels of both sides: (\d+) more lines, .* another (\d+) to", text)
    assert said is not None
    own, without = set(OWN.splitlines()), lines_of(block_with("CGRLoss, SGALoss, SRLoss"))
    added = [line for line in without if line not in own]
    labeled = [line for line in lines_of(block_with("ACALoss.from_label_space")) if line not in own | set(added)]
    # the names that it takes from the block on denoising
    (also,) = (line for line in lines_of(block_with("LabelFusion,")) if line.startswith("from morn_losses"))
    network = [line for line in block_with("RandomThermalLook.from_").splitlines() if line.strip()]
    assert [int(n) for n in said.groups()] == [len(added), len([also, *labeled]), len(network)]
    said = re.search(r"the lines that ACA and CGR add to it, (\d+) without blank ones", text)
    assert said is not None
    diff = (DOCS / "guides" / "cyclegan.diff").read_text().splitlines()
    assert int(said[1]) == sum(line.startswith("+") and line != "+" for line in diff) - 1  # the head of the diff


def test_label_maps_move_with_their_images(names: dict[str, Any]) -> None:
    held = [next(names["day"]) for _ in range(20)]
    for image, labels in held:
        assert image.shape[1:] == labels.shape == (48, 48)
        known = labels != 255
        assert (truth_of(image, names["COLOR"]) == labels)[known].float().mean() > 0.99
        assert known.float().mean() > 0.9
    # the car stands to the right of the person, unless the crop is mirrored
    both = [x for _, x in held if (x == 11).any() and (x == 13).any()]
    order = {bool((x == 11).nonzero()[:, 1].float().mean() < (x == 13).nonzero()[:, 1].float().mean()) for x in both}
    assert order == {True, False}


def test_labels_of_the_night_are_right_and_aca_has_classes(names: dict[str, Any]) -> None:
    assert names["found"] >= names["step"] / 2
    night, _ = names["batch"](names["night"], 8)
    with torch.no_grad():
        labels = names["label"](night, names["g_ba"](night))
    truth = torch.stack([truth_of(image, names["HEAT"]) for image in night])
    labeled = labels != 255
    right = (labels == truth)[labeled].float().mean()
    assert labeled.float().mean() > 0.5
    assert right > 0.8
    persons = labels == 11
    assert (truth == 11)[persons].float().mean() > 0.5
    assert persons[truth == 11].float().mean() > 0.2
