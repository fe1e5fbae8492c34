"""Wrong arguments: one argument of a good call is replaced, and the call works or names what is wrong."""

from __future__ import annotations

import inspect
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fuzz.calls import LOSSES
from fuzz.counts import COUNTS, examples, no_hang
from fuzz.drawing import one_of
from morn_losses import functional

OPTIONS = (
    *(None, True, "nosuch", "", b"x", [], (), {}, 1j, object(), torch.tensor(0.5), torch.zeros(2), np.float64(0.5)),
    *(math.nan, math.inf, -math.inf, -1, -0.5, 0, 0.0, 1e-320, 7, 33, 1e300, 10**30, 10**400, -(10**400)),
    *((1.0, -1.0), (0.0, 0.0), (math.nan, 1.0), (-1e300, 1e300), (0.0, 1e-300), ("a", "b"), (1, 2, 3)),
)


def wrong_tensors(x: Tensor) -> dict[str, Any]:
    """Return what to put in the place of a tensor, by what is wrong with it; ``maybe`` may be right after all."""
    return {
        "None": None,
        "number": 1.0,
        "text": "x",
        "array": x.float().numpy(),
        "one axis less": x[0],
        "one axis more": x[None],
        "empty batch": x[:0],
        "empty axis": x[..., :0],
        "another batch": torch.cat([x, x]),
        "another width": torch.cat([x, x], -1),
        "complex": x.to(torch.complex64),
        "text in a list": ["x"],
        "maybe integer": x.to(torch.int64),
        "maybe narrow integer": x.to(torch.int32),
        "maybe bool": x.to(torch.bool),
        "maybe float": x.to(torch.float64),
        "maybe list": [x],
        "maybe scalar": x.flatten()[0],
    }


@pytest.mark.parametrize("name", [n for n in LOSSES if n != "SRLoss"])
def test_wrong_arguments_are_named(name: str) -> None:
    @examples(short=15, full=300)
    @given(st.data())
    def fire(data: st.DataObject) -> None:
        call = LOSSES[name](data.draw)
        tensors = {n: x for n, x in call.tensors.items() if isinstance(x, Tensor)}
        public = getattr(functional, name.split(",")[0])
        options = [p.name for p in inspect.signature(public).parameters.values() if p.kind == p.KEYWORD_ONLY]
        arguments, keywords = dict(call.tensors), dict(call.options)
        kind = ""
        changed = one_of(data.draw, [*tensors, *options])
        if changed in tensors:
            # what the values are does not matter here
            clean = tensors[changed]
            clean = clean.nan_to_num(0, 0, 0).clamp(-1, 1) if clean.is_floating_point() else clean.clamp(0, 255)
            wrong = wrong_tensors(clean)
            kind = one_of(data.draw, list(wrong))
            arguments[changed] = wrong[kind]
        else:
            keywords[changed] = one_of(data.draw, OPTIONS)
        optional = changed == "mask" and kind == "None"
        alone = len(tensors) == 1 and kind.startswith("another")
        complaint = None
        try:
            with no_hang():
                call.function(*arguments.values(), **keywords)
        except (ValueError, TypeError) as error:
            complaint = str(error)
        if complaint is not None:
            # a call that is refused as it is may be refused for either reason
            either = changed in tensors or call.refused is not None
            # images may be too small for the window that is asked for now
            either |= changed in ("weight_ssim", "window_size")
            # the labels may hold what was ignored before
            either |= changed == "ignore_index"
            known = [*call.tensors, *options] if either else [changed]
            named = re.match(r"(?:the smaller of )?(\w+)", complaint)
            assert named, complaint
            assert named[1] in known, complaint
            COUNTS[f"wrong arguments of {name}"]["refused"] += 1
        else:
            shape_may_differ = name in ("sr_loss", "aca_loss", "relativistic_lsgan_loss", "descriptor_similarity")
            # (1, H, W) becomes (1, 1, H, W), which masks and edges may be
            channel = kind == "one axis more" and changed in ("mask", "edges") and len(tensors[changed]) == 1
            maybe = kind.startswith("maybe")
            if changed in tensors and not (maybe or optional or alone or channel or shape_may_differ):
                raise AssertionError(f"{changed} passes with {kind}")
            COUNTS[f"wrong arguments of {name}"]["works"] += 1

    fire()


def test_the_list_of_losses_is_complete() -> None:
    named = {part for name in LOSSES for part in name.split(", ")}
    others = {"ACATerms", "KMeansResult", "kmeans", "denoise_labels", "fuse_labels", "mine_labels", "fill_unlabeled",
              "semantic_descriptor"}  # fmt: skip
    assert set(functional.__all__) - others <= named
