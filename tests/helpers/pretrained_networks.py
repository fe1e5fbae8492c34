"""Small networks of ``transformers`` of random weights, saved as their authors would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

SIZE = {"height": 32, "width": 64}


def installed() -> Any:
    """Return ``transformers``, or skip the tests of a file."""
    reason = "comes with the extra teacher, which CI does not install"
    transformers = pytest.importorskip("transformers", reason=reason)
    transformers.logging.disable_progress_bar()
    return transformers


def processor(kind: str, size: Mapping[str, int] = SIZE, **options: Any) -> Any:
    """Return what makes the input of a network, by way of Pillow."""
    transformers = installed()
    name = f"{kind}ImageProcessorPil" if hasattr(transformers, f"{kind}ImageProcessorPil") else f"{kind}ImageProcessor"
    return getattr(transformers, name)(size=dict(size), **options)


def write_segformer(folder: Path, names: Mapping[int, str]) -> Path:
    """Write a SegFormer of two blocks that knows some classes."""
    transformers = installed()
    config = transformers.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[4, 2], hidden_sizes=[4, 8], patch_sizes=[7, 3], strides=[4, 2],
        num_attention_heads=[1, 1], mlp_ratios=[2, 2], decoder_hidden_size=8, id2label=dict(names),
        initializer_range=2.0,
    )  # fmt: skip
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    processor("Segformer").save_pretrained(folder)
    return folder


def write_yolos(folder: Path, names: Mapping[int, str]) -> Path:
    """Write a YOLOS of one block and eight boxes that knows some classes."""
    transformers = installed()
    config = transformers.YolosConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=[32, 48],
        patch_size=8, num_detection_tokens=8, id2label=dict(names), initializer_range=1.0,
    )  # fmt: skip
    model = transformers.YolosForObjectDetection(config)
    torch.nn.init.normal_(model.vit.embeddings.detection_tokens)  # equal ones would find one box
    model.save_pretrained(folder)
    processor("Yolos", {"shortest_edge": 32, "longest_edge": 64}).save_pretrained(folder)
    return folder
