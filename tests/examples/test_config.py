from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import Any

import numpy as np
import pytest
import torch

from ntir2dc.config import (
    LossOptions,
    ModuleOptions,
    TrainConfig,
    differences,
    from_dict,
    from_stored,
    make_config,
    to_dict,
    with_defaults,
)
from ntir2dc.config.ranges import RANGES


@pytest.mark.parametrize("preset", ["demo", "mini", "flir", "kaist"])
@pytest.mark.parametrize("variant", ["paper", "published"])
def test_survives_json(preset: str, variant: str) -> None:
    config = make_config(preset, variant)
    assert config.preset == preset
    assert config.variant == variant
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_numbers_of_numpy_become_pythons() -> None:
    plain = make_config("mini")

    def with_numpys(value: Any) -> Any:
        if dataclasses.is_dataclass(value):
            return dataclasses.replace(
                value, **{f.name: with_numpys(getattr(value, f.name)) for f in dataclasses.fields(value)}
            )  # type: ignore[type-var]
        if isinstance(value, tuple):
            return tuple(with_numpys(part) for part in value)
        return {bool: np.bool_, int: np.int64, float: np.float64}.get(type(value), lambda x: x)(value)

    config = with_numpys(plain)
    assert config == plain
    assert json.dumps(to_dict(config)) == json.dumps(to_dict(plain))
    assert json.dumps(config.dataset.scenes()) == json.dumps(plain.dataset.scenes())
    assert [type(value) for value in to_dict(config)["networks"].values()] == [
        type(value) for value in to_dict(plain)["networks"].values()
    ]


def test_the_defaults_are_the_papers() -> None:
    flir = make_config("flir")
    assert (flir.lr, flir.batch_size, flir.epochs, flir.dataset.crop, flir.dataset.flip) == (2e-4, 1, 80, 256, 0.5)
    losses = flir.losses
    assert losses == LossOptions()
    assert (losses.lambda_tv, losses.lambda_sga, losses.lambda_cyc) == (5, 0.5, 10)
    assert losses.lambda_thermal == losses.lambda_sga  # Eq. 4 puts both terms inside L_sga
    assert (losses.theta_fg, losses.theta_bg, losses.aca_clusters) == (0.95, 0.99, 4)
    assert (losses.aca_phi_local, losses.aca_phi_global, losses.sr_alpha, losses.sr_beta) == (0.9, 0.9, 0.5, 1.5)
    assert make_config("kaist").epochs == 160


def test_a_preset_keeps_the_papers_modules_and_a_variant_only_changes_readings() -> None:
    for preset in ("demo", "mini", "flir", "kaist"):
        paper, published = make_config(preset), make_config(preset, "published")
        beyond = preset == "demo"  # the start for the night, which the published code has not
        assert paper.modules == ModuleOptions(looks=beyond, early_fa=beyond)
        assert published.modules == ModuleOptions()
        assert (published.losses.theta, published.losses.theta_frozen) == ("", "")
        changed = {
            f.name for f in dataclasses.fields(TrainConfig) if getattr(paper, f.name) != getattr(published, f.name)
        }
        assert changed - {"modules"} == {"variant", "networks", "dataset", "losses"}
        assert published.networks == dataclasses.replace(
            paper.networks,
            segmenter_variant="published",
            segmenter_norm="instance",
            segmenter_init="normal",
            segmenter_coordinates="crop",
        )


def test_differences_are_named() -> None:
    a, b = to_dict(make_config("flir")), to_dict(make_config("kaist"))
    lines = differences(a, b)
    assert "epochs: 80 in the run, 160 asked for" in lines
    assert any(line.startswith("losses.sga_threshold: 0.8 ") for line in lines)
    assert differences(a, a) == []


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ValueError, match="preset"):
        make_config("nosuch")
    with pytest.raises(ValueError, match="variant"):
        make_config("demo", "nosuch")
    with pytest.raises(ValueError, match=r"modules\.sdp"):
        ModuleOptions(sc=False)
    with pytest.raises(ValueError, match="batch_size"):
        TrainConfig(batch_size=0)
    with pytest.raises(ValueError, match="crop"):
        dataclasses.replace(make_config("mini"), dataset=dataclasses.replace(make_config("mini").dataset, crop=126))
    ModuleOptions(sc=False, sdp=False, mgca=False)
    with pytest.raises(ValueError, match="ema_decay"):
        TrainConfig(ema_decay=1.0)
    with pytest.raises(ValueError, match="segmenter_crops"):
        TrainConfig(segmenter_crops=0)


def numbers(plain: dict[str, Any], prefix: str = "") -> set[str]:
    """The dotted names of all options that are numbers."""
    found: set[str] = set()
    for name, value in plain.items():
        if isinstance(value, dict):
            found |= numbers(value, f"{prefix}{name}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found.add(prefix + name)
    return found


def with_option(config: TrainConfig, name: str, value: float) -> TrainConfig:
    """The configuration with one option, named as on the command line, changed."""
    *group, option = name.split(".")
    if not group:
        return dataclasses.replace(config, **{option: value})
    part = dataclasses.replace(getattr(config, group[0]), **{option: value})
    return dataclasses.replace(config, **{group[0]: part})


def test_every_number_has_a_range() -> None:
    assert set(RANGES) == numbers(to_dict(TrainConfig()))


@pytest.mark.parametrize("name", sorted(RANGES))
def test_a_number_out_of_its_range_is_refused_by_name(name: str) -> None:
    allowed = RANGES[name]
    bad = [math.nan, math.inf, allowed.low if allowed.above_low else allowed.low - 1]
    if allowed.high < math.inf:
        bad.append(allowed.high if allowed.below_high else allowed.high + 1)
    if allowed.multiple_of > 1:
        bad.append(allowed.low + 1)
    for value in bad:
        with pytest.raises(ValueError, match=f"^{re.escape(name)}: expected "):
            with_option(TrainConfig(), name, value)
    good = allowed.low + allowed.multiple_of if allowed.high == math.inf else (allowed.low + min(allowed.high, 1)) / 2
    assert allowed.holds(good)


def test_only_the_short_presets_depart_from_the_papers_segmenters_and_weights() -> None:
    for preset in ("flir", "kaist"):
        config = make_config(preset)
        assert (config.segmenter_crops, config.ema_decay, config.networks.segmenter_norm) == (1, 0, "instance")


def test_options_that_are_new_since_have_their_default() -> None:
    config = make_config("mini", "published")
    stored = to_dict(config)
    del stored["segmenter_lr"]
    del stored["losses"]["adversarial"]
    stored["losses"]["gone"] = 3
    restored = with_defaults(stored)
    assert restored["segmenter_lr"] == TrainConfig().segmenter_lr
    assert restored["losses"]["adversarial"] == "relativistic"
    # what is known no more shows as a difference
    assert differences(restored, to_dict(config)) == [
        "losses.gone: 3 in the run, None asked for",
        f"segmenter_lr: 0.0 in the run, {config.segmenter_lr} asked for",
    ]


def test_stored_options_of_an_older_version_are_read_and_unknown_ones_named() -> None:
    config = make_config("mini", "published")
    stored = to_dict(config)
    del stored["segmenter_lr"], stored["cyclegan"], stored["losses"]["adversarial"]
    assert from_stored(stored) == dataclasses.replace(config, segmenter_lr=TrainConfig().segmenter_lr)
    stored["nosuch"] = stored["losses"]["gone"] = 3
    for text in (from_dict, from_stored):
        with pytest.raises(ValueError, match=r"^losses\.gone, nosuch: no option of this trainer$"):
            text(stored)
    with pytest.raises(ValueError, match="^networks: expected options by their names, got 3$"):
        from_stored({"networks": 3})
    with pytest.raises(ValueError, match="^expected options by their names, got a list$"):
        from_stored([])


@pytest.mark.parametrize("value", [np.array(3), np.array([3]), torch.tensor(3), "3", None], ids=repr)
def test_what_is_no_number_is_refused_in_a_sentence(value: Any) -> None:
    for name in ("epochs", "losses.lambda_tv"):
        with pytest.raises(ValueError, match=f"^{re.escape(name)}: expected a number >= .*, got "):
            with_option(TrainConfig(), name, value)


@pytest.mark.parametrize("name", ["max_steps", "losses.aca_clusters"])
def test_a_fraction_is_no_integer(name: str) -> None:
    for value in (2.5, np.float64(2.5)):
        with pytest.raises(ValueError, match=f"^{re.escape(name)}: expected an integer, got 2.5$"):
            with_option(TrainConfig(), name, value)
