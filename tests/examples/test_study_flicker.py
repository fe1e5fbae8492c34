"""The study of flicker: its rows, on small networks, and frames that it cannot use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ntir2dc.methods.morngan import make_translator
from ntir2dc.run.weights import save_weights
from studies.flicker import main


def weights(path: Path, antialias: int) -> Path:
    translator = make_translator(4, 1, 1, antialias=antialias)
    description = {"width": 4, "encoder_blocks": 1, "decoder_blocks": 1, "antialias": antialias}
    save_weights(path, dict(translator.named_children()), description)
    return path


def test_rows_and_tables(tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    counts = np.random.default_rng(0).integers(0, 256, (14, 16), dtype=np.uint8)
    for index in range(1):
        Image.fromarray(np.roll(counts, index, 0)).resize((64, 56)).save(frames / f"{index}.png")
    plain, blurred = weights(tmp_path / "a.safetensors", 0), weights(tmp_path / "b.safetensors", 1)
    assert main(plain, tmp_path / "out", blurred, frames, large=frames, tile=48, halos=(0, 16)) == 0
    flicker, tiles = json.loads((tmp_path / "out" / "flicker.json").read_text())["tables"]
    rows = {name: {column: cell["sets"] for column, cell in row.items()} for name, row in flicker["rows"].items()}
    assert list(rows) == [
        *("as it is", "as it is, statistics held", "as it is, 2 shifts", "as it is, 4 shifts"),
        *("antialiased", "antialiased, statistics held", "antialiased, 2 shifts"),
    ]
    assert rows["as it is"]["sharpness"] == [1]
    for first, second in ((0, 3), (4, 6)):
        moved = [sum(list(rows.values())[place]["moved 1-3 px"]) for place in (first, second)]
        assert moved[1] < moved[0]
    assert list(tiles["rows"]) == ["halo of 0", "halo of 16"]


def test_what_cannot_be_used_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = weights(tmp_path / "a.safetensors", 0)
    assert main(plain, tmp_path / "out") == 1
    assert "holds no image; name a folder with --frames" in capsys.readouterr().err
    Image.new("L", (40, 40)).save(tmp_path / "small.png")
    assert main(plain, tmp_path / "out", frames=tmp_path) == 1
    assert "frames of 40 pixels, too small to be moved" in capsys.readouterr().err
