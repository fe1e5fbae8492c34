"""Options are judged where they are given: a module refuses what its function refuses, in the same words."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import morn_losses as m
from morn_losses import functional as f
from morn_losses import metrics
from morn_losses.pseudo_labels.look import RandomThermalLook, random_thermal_look

IMAGE = torch.rand(2, 3, 12, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
LABELS = torch.tensor([0, 1, 11, 255]).repeat(2, 12, 4)
LOGITS = torch.rand(2, 12, 12, 16, generator=torch.Generator().manual_seed(1))
EDGES = torch.ones(2, 12, 16)

POSITIVE = (0, -1, math.nan, math.inf, "1", True)
AT_LEAST_0 = (-1, math.nan, math.inf, "1", None)
SHARE = (-0.1, 1.1, math.nan, "1", None)
COUNT = (0, -1, 1.5, "1", True, None)
ID = (-1, 1.5, "road", True, None)
BOOL = (1, 0, "yes", None)
CHOICE = ("nosuch", "", 1, None)
IGNORED = (1.5, "255", True, None, 2**63)

REDUCTION = {"reduction": ("avg", "", 1, None)}
RANGE = {"value_range": ((1, 0), (0, 0), (0, math.inf), (math.nan, 1), ("0", "1"), (0, 1, 2), 1, None)}
GRADIENT = {"padding_mode": CHOICE, "eps": POSITIVE}
ALIGNMENT = {"threshold": SHARE, "grid": COUNT, "patches": CHOICE, **GRADIENT, **RANGE, **REDUCTION}
TEMPERATURE = {"road": ID, "person": ID, "detach_road": BOOL}
DISTANCE = {"weight_l1": AT_LEAST_0, "weight_ssim": AT_LEAST_0, "window_size": (*COUNT, 1, 4), **RANGE, **REDUCTION}
BALANCE = {
    "small_area": SHARE,
    "small_pixels": (-1, 1.5, "1", True),
    "small_weight": (*POSITIVE, 1e39),
    "ignore_index": IGNORED,
    **REDUCTION,
}
BOUNDARY = {"clear_ignored": BOOL, "ignore_index": IGNORED, **REDUCTION}
CENTERS = (*CHOICE, torch.zeros(2, 2, dtype=torch.int64))
CLUSTERS = {
    "n_clusters": COUNT,
    "metric": ("l2", *CHOICE),
    "init": CENTERS,
    "max_iter": COUNT,
    "tol": AT_LEAST_0,
    "n_init": COUNT,
}


@dataclass
class Case:
    """A module, its function with tensors that are good, the options neither has a default for, and bad values."""

    module: Callable[..., nn.Module]
    function: Callable[..., Any] | None = None
    tensors: tuple[Any, ...] = ()
    required: dict[str, Any] = field(default_factory=dict)
    bad: dict[str, tuple[Any, ...]] = field(default_factory=dict)


MINER, DENOISER = m.LabelMiner(0.9), m.SemanticDenoiser([(8, (10,))])
BANK, NETWORK = m.MemoryBank(4, 2), nn.Conv2d(3, 12, 1)

CASES = (
    Case(m.MonochromaticRegularization, f.monochromatic_regularization, (IMAGE,), bad=REDUCTION),
    Case(
        m.TemperatureRegularization, f.temperature_regularization, (IMAGE, LABELS),
        bad={**TEMPERATURE, "eps": POSITIVE, **RANGE, **REDUCTION},
    ),
    Case(m.SGALoss, f.sga_loss, (IMAGE, EDGES), bad=ALIGNMENT),
    Case(
        m.SGAPlusLoss, f.sga_plus_loss, (IMAGE, EDGES, LABELS),
        bad={**ALIGNMENT, **TEMPERATURE, "temperature_eps": POSITIVE},
    ),
    Case(m.CGRLoss, f.cgr_loss, (IMAGE, IMAGE), bad={**GRADIENT, **RANGE, **REDUCTION}),
    Case(
        m.SRLoss, f.sr_loss, (IMAGE, IMAGE),
        bad={
            "alpha": (*POSITIVE, 1.1), "beta": (0.9, math.nan, math.inf, "2", None),
            **DISTANCE, "detach_target": BOOL,
        },
    ),
    Case(
        m.ACALoss, f.aca_loss, (LOGITS, LOGITS, LABELS, LABELS), {"classes": (11, (0, 1))},
        bad={
            "classes": ((), ((),), (-1,), (1.5,), ("11",), "11", 11, None, (11, 11), ((11, 0), (0, 11))),
            **CLUSTERS, "phi_local": AT_LEAST_0, "phi_global": AT_LEAST_0, "average": CHOICE,
            "min_positions": (0, -1, 1.5, "1", True), **REDUCTION, "return_terms": BOOL,
            "warn_after": (0, -1, 1.5, "1", True),
        },
    ),
    Case(m.TotalVariationLoss, f.total_variation_loss, (IMAGE,), bad=REDUCTION),
    Case(m.ReconstructionLoss, f.reconstruction_loss, (IMAGE, IMAGE), bad={"distance": ("l2", *CHOICE), **DISTANCE}),
    Case(
        m.RelativisticLSGANLoss, f.relativistic_lsgan_loss, (IMAGE, IMAGE, "generator"),
        bad={"scale_weights": ((0,), (-1.0,), (math.nan,), ("1",), (), ((),), ((0,),), (1, (1,)), "1", 1), **REDUCTION},
    ),
    Case(m.ClassBalancedCrossEntropy, f.class_balanced_cross_entropy, (LOGITS, LABELS), bad=BALANCE),
    Case(m.BoundaryLoss, f.boundary_loss, (LOGITS, LABELS), bad=BOUNDARY),
    Case(
        m.SegmentationLoss, f.segmentation_loss, (LOGITS, LABELS),
        bad={"boundary_weight": AT_LEAST_0, **BALANCE, **BOUNDARY},
    ),
    Case(m.KMeans, f.kmeans, (IMAGE[:, 0],), {"n_clusters": 2}, bad=CLUSTERS),
    Case(
        m.SemanticDenoiser, f.denoise_labels, (LABELS, IMAGE), {"rules": [(8, (10,))]},
        bad={
            "rules": ([(8, ())], [(8, (8,))], [(8, (-1,))], [(8, (255,))], [(8, ("10",))], [(8, 10)], [8], 8, "", None),
            "ignore_index": IGNORED,
        },
    ),
    Case(
        m.LabelFusion, f.fuse_labels, (LABELS, LABELS), {"agree": (11,)},
        bad={
            "agree": ((-1,), (1.5,), "11", 11, None),
            "aliases": ({0: -1}, {1.5: 0}, (0, 1), 1),
            "overrides": ({(0, 1): -1}, {(0, 1.5): 1}, {0: 1}, {(0, 1, 2): 1}, 1),
            "alias_secondary": BOOL,
            "ignore_index": IGNORED,
        },
    ),
    Case(
        m.LabelMiner, f.mine_labels, (LOGITS, LOGITS), {"thresholds": (0.9,) * 12},
        bad={
            "thresholds": ((), (1.1,) * 12, ("1",) * 12, -0.1, math.nan, "1", None, torch.ones(12, dtype=torch.int64)),
            "from_logits": BOOL,
            "ignore_index": (*IGNORED, 0, 11),
        },
    ),
    Case(
        m.OnlineSemanticDistillation, required={"miner": MINER, "denoiser": DENOISER},
        bad={
            "miner": (None, 0.9, nn.Identity()),
            "denoiser": (None, [(8, (10,))], m.SemanticDenoiser((), ignore_index=-1)),
        },
    ),
    Case(
        m.PseudoLabeler, required={"teacher": NETWORK, "distill": m.OnlineSemanticDistillation(MINER, DENOISER)},
        bad={
            "teacher": (None, 0.9, "net"),
            "distill": (None, MINER, m.OnlineSemanticDistillation(m.LabelMiner(0.9, from_logits=False), DENOISER)),
            "student": (0.9, "net", NETWORK),
            "agree": BOOL,
        },
    ),
    Case(
        RandomThermalLook, random_thermal_look, (IMAGE, LABELS), {"ranges": ((0.0, 1.0),) * 12},
        bad={
            "ranges": ((), ((0.0,),), ((0.5, 0.2),), ((0.0, 1.1),), ((math.nan, 0.5),)),
            "ignore_index": IGNORED,
        },
    ),
    Case(
        m.MemoryBank, required={"capacity": 4, "n_classes": 2},
        bad={"capacity": COUNT, "n_classes": COUNT, "payload_size": (-1, 1.5, "1", True, None)},
    ),
    Case(m.MemorySampler, required={"bank": BANK}, bad={"bank": (None, nn.Identity()), "k": COUNT}),
    Case(metrics.APCE, metrics.apce, (np.eye(8), np.eye(8)), bad={"thresholds": COUNT}),
    Case(metrics.EdgeScores, metrics.edge_scores, (np.eye(8), np.eye(8)), bad={"thresholds": COUNT}),
)  # fmt: skip

EVERY = pytest.mark.parametrize("case", CASES, ids=lambda case: case.module.__name__)
OF_THE_MODULE_ALONE = {"alpha", "beta", "warn_after"}  # what SRLoss draws from; how long ACALoss is silent


def refusal(call: Callable[..., Any], *tensors: Any, **options: Any) -> tuple[type[Exception], str]:
    with pytest.raises((TypeError, ValueError)) as caught:
        call(*tensors, **options)
    return caught.type, str(caught.value)


def test_every_module_is_here() -> None:
    exported = {
        value for name in m.__all__ if inspect.isclass(value := getattr(m, name)) and issubclass(value, nn.Module)
    }
    beside = {metrics.APCE, metrics.EdgeScores, RandomThermalLook}
    assert exported | beside == {case.module for case in CASES}
    functions = {value for name in f.__all__ if inspect.isfunction(value := getattr(f, name))} | {random_thermal_look}
    # one value, a pair of tensors, or part of a module that is here
    without_module = {
        f.channel_max, f.channel_min, f.to_gray, f.gradient_magnitude, f.descriptor_similarity, f.semantic_descriptor,
        f.fill_unlabeled,
    }  # fmt: skip
    scores = {metrics.apce, metrics.edge_scores}
    assert functions - without_module | scores == {case.function for case in CASES if case.function}


@EVERY
def test_every_option_is_here(case: Case) -> None:
    options = set(inspect.signature(case.module).parameters) - {"kwargs"}  # torchmetrics' own
    assert options == set(case.bad)
    if case.function is not None:
        of_function = inspect.signature(case.function).parameters
        assert options - set(of_function) <= OF_THE_MODULE_ALONE
        # the module is given all but what changes from call to call
        by_keyword = {p.name for p in of_function.values() if p.kind == p.KEYWORD_ONLY}
        assert by_keyword - options <= {"generator", "mask"}


@EVERY
def test_a_module_refuses_bad_options_when_it_is_made(case: Case) -> None:
    case.module(**case.required)
    for option, values in case.bad.items():
        for value in values:
            given = {**case.required, option: value}
            kind, message = refusal(case.module, **given)
            assert message.startswith(f"{option}: "), (option, value, message)
            if case.function is not None and option in inspect.signature(case.function).parameters:
                assert refusal(case.function, *case.tensors, **given) == (kind, message)
