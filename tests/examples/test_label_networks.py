"""``label.py`` with networks of ``transformers``: small, of random weights, saved as their authors would."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.pretrained_networks import installed, processor, write_segformer
from label import main
from ntir2dc.data.maps import read_labels
from ntir2dc.data.samples import DataError
from ntir2dc.pretrained.teacher import load_teacher

transformers = installed()

NAMES = {0: "road", 1: "sky-other-merged", 2: "person", 3: "cat"}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of a SegFormer, a Mask2Former and a OneFormer."""
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    write_segformer(folder / "segformer", NAMES)
    backbone = transformers.SwinConfig(
        image_size=32, embed_dim=4, depths=[1] * 4, num_heads=[1] * 4, window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    queries = transformers.Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=8,
        dim_feedforward=8, encoder_layers=1, decoder_layers=2, num_attention_heads=2, num_queries=4, id2label=NAMES,
    )  # fmt: skip
    transformers.Mask2FormerForUniversalSegmentation(queries).save_pretrained(folder / "mask2former")
    processor("Mask2Former", ignore_index=255).save_pretrained(folder / "mask2former")
    write_oneformer(folder / "oneformer", backbone)
    return folder


def write_oneformer(folder: Path, backbone: Any) -> None:
    """Write a network that is told its task in words, with the words that it knows."""
    config = transformers.OneFormerConfig(
        backbone_config=backbone, num_queries=4, hidden_dim=32, mask_dim=32, conv_dim=32, encoder_feedforward_dim=8,
        dim_feedforward=8, encoder_layers=1, decoder_layers=2, num_attention_heads=2, task_seq_len=8,
        text_encoder_vocab_size=20, text_encoder_width=8, text_encoder_context_length=8, text_encoder_num_layers=1,
        text_encoder_proj_layers=1, text_encoder_n_ctx=2, query_dec_layers=1, id2label=NAMES, is_training=False,
    )  # fmt: skip
    transformers.OneFormerForUniversalSegmentation(config).save_pretrained(folder)
    classes = {str(i): {"name": name, "isthing": 0} for i, name in NAMES.items()}
    (folder / "class_info.json").write_text(json.dumps(classes))
    words = [*"semantic", "c</w>", "<unk>", "<|startoftext|>", "<|endoftext|>"]
    tokenizer = transformers.CLIPTokenizer(vocab={w: i for i, w in enumerate(dict.fromkeys(words))}, merges=[])
    images = processor(
        "OneFormer", repo_path=str(folder), class_info_file="class_info.json", num_text=2, num_labels=len(NAMES)
    )
    both = transformers.OneFormerProcessor(images, tokenizer, max_seq_length=8, task_seq_length=8)
    both.save_pretrained(folder)


@pytest.fixture
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8))


def test_a_network_of_pixels_labels_as_its_own_library_does(networks: Path, image: Image.Image) -> None:
    teacher = load_teacher(str(networks / "segformer"), CPU)
    assert teacher.names == NAMES
    scores = teacher.scores([image, image])
    assert scores.shape == (2, 4, 20, 24)
    torch.testing.assert_close(scores.sum(1), torch.ones(2, 20, 24))
    with torch.inference_mode():
        output = teacher.model(**teacher.processor(images=[image], return_tensors="pt"))
    (expected,) = teacher.processor.post_process_semantic_segmentation(output, target_sizes=[(20, 24)])
    assert torch.equal(scores[0].argmax(0), expected)
    assert len(expected.unique()) > 1


@pytest.mark.parametrize("kind", ["mask2former", "oneformer"])
def test_a_network_of_queries_labels_as_its_own_library_does(networks: Path, image: Image.Image, kind: str) -> None:
    teacher = load_teacher(str(networks / kind), CPU)
    scores = teacher.scores([image])
    assert scores.shape == (1, 4, 20, 24)
    assert float(scores.sum(1).max()) <= 1 + 1e-5
    task = {"task_inputs": ["semantic"]} if kind == "oneformer" else {}
    with torch.inference_mode():
        output = teacher.model(**teacher.processor(images=[image], return_tensors="pt", **task))
    (expected,) = teacher.processor.post_process_semantic_segmentation(output, target_sizes=[(20, 24)])
    # there masks are resized otherwise, which moves borders
    assert float((scores[0].argmax(0) == expected).float().mean()) > 0.9


def test_two_networks_by_the_command(networks: Path, image: Image.Image, tmp_path: Path) -> None:
    (tmp_path / "trainA").mkdir()
    for name in "ab":
        image.save(tmp_path / "trainA" / f"{name}.png")
    wanted = [str(networks / name) for name in ("segformer", "mask2former")]
    assert main(tmp_path / "trainA", *wanted, confidence=0.0, batch_size=2, offline=True) == 0
    for number in (1, 2):
        first, second = (read_labels(tmp_path / f"labels_pred{number}" / f"{name}.png") for name in "ab")
        assert torch.equal(first, second)
        assert set(first.unique().tolist()) <= {0, 10, 11, 255}
        assert first.shape == (20, 24)


def test_the_digest_tells_weights_apart(networks: Path, tmp_path: Path) -> None:
    shutil.copytree(networks / "segformer", tmp_path / "segformer")
    teacher = load_teacher(str(tmp_path / "segformer"), CPU)
    assert teacher.digest == load_teacher(str(networks / "segformer"), CPU).digest
    with torch.no_grad():
        next(teacher.model.parameters()).add_(1e-3)
    teacher.model.save_pretrained(tmp_path / "segformer")
    assert load_teacher(str(tmp_path / "segformer"), CPU).digest != teacher.digest


def _without_head(folder: Path) -> None:
    config = transformers.AutoConfig.from_pretrained(folder)
    transformers.SegformerModel(config).save_pretrained(folder)


def _no_segmenter(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without_head, r"holds no weights for \d+ parts of a segmentation network \(decode_head"),
        (_no_segmenter, "is of the kind bert, expected a network for semantic or panoptic segmentation"),
        (lambda folder: (folder / "config.json").unlink(), "cannot be loaded as a segmentation network"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "cannot be loaded as a segmentation network"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x"), "cannot be loaded as a segmentation network"),
    ],
)
def test_folders_that_hold_no_teacher(networks: Path, tmp_path: Path, spoil: Any, message: str) -> None:
    shutil.copytree(networks / "segformer", tmp_path / "net")
    spoil(tmp_path / "net")
    with pytest.raises(DataError, match=message) as caught:
        load_teacher(str(tmp_path / "net"), CPU)
    assert str(caught.value).startswith(str(tmp_path / "net"))
    assert "\n" not in str(caught.value)


def test_names_that_lead_nowhere() -> None:
    with pytest.raises(DataError, match="nowhere/net: no such folder"):
        load_teacher("./nowhere/net", CPU)
    with pytest.raises(
        DataError, match="nobody/nothing: cannot be loaded .*; without --offline it is fetched from the"
    ):
        load_teacher("nobody/nothing", CPU, offline=True)


def test_more_classes_than_names_are_refused(networks: Path, image: Image.Image) -> None:
    teacher = load_teacher(str(networks / "segformer"), CPU)
    teacher.names = {0: "road", 1: "sky"}
    with pytest.raises(DataError, match="gives 4 classes, its id2label names 2"):
        teacher.scores([image])
