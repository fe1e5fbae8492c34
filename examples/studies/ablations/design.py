"""What the study compares, written down before anything is run: sizes, rows, tables and contrasts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ntir2dc.config import ModuleOptions, PhaseOptions, TrainConfig, from_dict, make_config, to_dict
from ntir2dc.judge import Choice


@dataclass(frozen=True)
class Base:
    """What all rows of a study share: the same scenes, judge, networks and budget.

    Args:
        config: the full model; a row changes some of its options.
        judge_steps: training steps of a judge that is trained.
        judge: which one reads the translations, see ``find_judges``.
    """

    config: TrainConfig
    judge_steps: int
    judge: Choice = "auto"


_DEMO, _MINI = make_config("demo"), make_config("mini")

# the segmenters have learned enough when the generators begin, S_B from looks, that the memory and ACA have labels to
# work with: 1,200 steps of the segmenters alone, 1,600 of everything, and 1,200 with them frozen
_NIGHT = dataclasses.replace(
    _MINI,
    epochs=80,
    steps_per_epoch=50,
    lr=_DEMO.lr,
    segmenter_lr_schedule="cosine",
    warm_up_crops=8,
    segmenter_crops=2,
    checkpoint_every=400,
    panel_every=10**6,
    keep_checkpoints=1,
    networks=dataclasses.replace(_MINI.networks, segmenter_variant="unet", segmenter_coordinates="frame"),
    dataset=dataclasses.replace(_DEMO.dataset, scenes_a=500, scenes_b=500, scenes_val=60),
    phases=PhaseOptions(baseline=24, structure=24, segment_a=24, segment_b=24, distill=24, collaborate=56),
    modules=ModuleOptions(looks=True, early_fa=True),
    # by studies/pseudo_labels.py for a precision of 70%, where a class reaches it, on scenes of a seed of their own
    losses=dataclasses.replace(
        _MINI.losses,
        theta_fg=0.6,
        theta_bg=0.6,
        theta="road=0.3, sky=0.3, vegetation=0.3, car=0.3, traffic light=0.8, truck=0.7",
        # likewise for 40%, of the small-sample classes; trucks and signs never reach it
        theta_frozen="person=0.2, bus=0.2, motorcycle=0.2, traffic light=0.4, truck=1, traffic sign=1",
    ),
)

BASES = {
    # two cores; scenes and networks of demo, taught and mined as in mini: without pseudo-labels of small objects half
    # of the rows have nothing to work on
    "small": Base(
        dataclasses.replace(
            _MINI,
            epochs=30,
            steps_per_epoch=30,
            lr=_DEMO.lr,
            # of 900 steps, 0.995 would remember a quarter
            ema_decay=0.99,
            checkpoint_every=100,
            panel_every=10**6,
            keep_checkpoints=1,
            dataset=dataclasses.replace(_DEMO.dataset, scenes_val=60),
        ),
        judge_steps=1200,
    ),
    # two cores and a night
    "night": Base(_NIGHT, judge_steps=1200),
    # one GPU: larger scenes, networks and batches
    "gpu": Base(
        dataclasses.replace(
            _NIGHT,
            batch_size=32,
            warm_up_crops=4,
            networks=dataclasses.replace(_NIGHT.networks, generator_width=32, discriminator_width=32),
            dataset=dataclasses.replace(
                _NIGHT.dataset, crop=128, scene_height=144, scene_width=192, scenes_val=120, workers=3
            ),
        ),
        judge_steps=2400,
    ),
}


@dataclass(frozen=True)
class Row:
    """One way of training.

    Args:
        name: how files and the command line call it.
        title: how tables call it.
        changes: options that differ from the base, by dotted name.
    """

    name: str
    title: str
    changes: Mapping[str, Any]


def published_readings() -> dict[str, Any]:
    """Return what the published code's reading of networks and losses changes, by dotted name."""
    changes: dict[str, Any] = {}
    for preset in ("flir", "mini", "demo"):  # the shorter ones start from other segmenters than the paper's
        paper, published = (flatten(to_dict(make_config(preset, v))) for v in ("paper", "published"))
        changes |= {name: value for name, value in published.items() if "." in name and value != paper[name]}
    return {**changes, "networks.segmenter_coordinates": "crop"}


def make_rows(base: TrainConfig) -> dict[str, Row]:
    """Return every row by name: Table 5 (cumulative), the clusters of Table 7, the lineage of Table 1, the readings."""
    modules = ("sc", "sdp", "mgca", "cgr", "sr")

    def only(*names: str) -> dict[str, Any]:
        beyond = {f"modules.{m}": False for m in ("looks", "early_fa") if "sc" not in names}
        return {f"modules.{m}": m in names for m in modules} | beyond

    # section 3.2 backwards: the baseline without SGA and the two terms of the thermal image is ToDayGAN-TIR, which
    # without total variation and SSIM and with instance norm everywhere is ToDayGAN; a phase that starts at the end
    # never does
    todaygan_tir = {**only(), "losses.lambda_sga": 0.0, "losses.lambda_thermal": 0.0}
    todaygan = {
        **todaygan_tir,
        "networks.decoder_norm": "instance",
        "networks.discriminator_norm": "instance",
        "losses.lambda_tv": 0.0,
        **{f"phases.{f.name}": base.epochs for f in dataclasses.fields(base.phases) if f.name != "baseline"},
    }
    cyclegan = {**todaygan, "networks.discriminator_views": "color", "losses.adversarial": "least_squares"}
    published = published_readings()
    of_aca = {name: value for name, value in published.items() if name.startswith("losses.aca_")}
    rows = [
        Row("baseline", "baseline", only()),
        Row("sc", "+ SC", only("sc")),
        Row("sdp", "+ SDP", only("sc", "sdp")),
        Row("mgca", "+ MGCA", only("sc", "sdp", "mgca")),
        Row("cgr", "+ CGR", only("sc", "sdp", "mgca", "cgr")),
        Row("full", "full (+ SR)", only(*modules)),
        Row("aca_off", "full, ACA off", {"losses.lambda_aca": 0.0}),
        Row("aca_half", "full, ACA on finer features", {"losses.aca_features": "half"}),
        *(Row(f"aca{n}", f"{n} clusters", {"losses.aca_clusters": n}) for n in range(1, 7) if n != 4),
        Row("cyclegan", "CycleGAN-like", cyclegan),
        Row("todaygan", "ToDayGAN-like", todaygan),
        Row("todaygan_tir", "ToDayGAN-TIR", todaygan_tir),
        # what the baseline adds to ToDayGAN-TIR, one at a time
        Row("sga", "+ SGA", {**only(), "losses.lambda_thermal": 0.0}),
        Row("thermal", "+ thermal terms", {**only(), "losses.lambda_sga": 0.0}),
        # one threshold for all classes
        Row(
            "dlamgan",
            "DlamGAN-like",
            {**only("sc"), "losses.theta_bg": base.losses.theta_fg, "losses.theta": "", "losses.theta_frozen": ""},
        ),
        # the base lets a frozen S_B mine alone, as the published code does; here both segmenters do, as in the paper
        Row("mine_both", "+ CGR, both mine", {"modules.sr": False, "losses.mine_frozen_alone": False}),
        Row("aca_published", "+ CGR, ACA as published", {"modules.sr": False, **of_aca}),
        Row("baseline_published", "baseline, as published", {**only(), "variant": "published", **published}),
        Row("published", "full, as published", {"variant": "published", **published}),
    ]
    return {row.name: row for row in rows}


@dataclass(frozen=True)
class Table:
    """Rows in their order.

    Args:
        name: how files and the command line call it.
        title: its heading.
        rows: by name.
        titles: of rows that are called something else in this table.
        pairs: a row and the one it is compared with, where nothing was claimed beforehand.
    """

    name: str
    title: str
    rows: tuple[str, ...]
    titles: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pairs: tuple[tuple[str, str], ...] = ()


TABLES = {
    "table5": Table("table5", "Table 5: what each module adds", ("baseline", "sc", "sdp", "mgca", "cgr", "full")),
    "table7": Table(
        "table7",
        "Table 7: clusters of ACA",
        ("aca1", "aca2", "aca3", "full", "aca5", "aca6"),
        {"aca1": "1 cluster", "full": "4 clusters"},
        tuple((name, "aca1") for name in ("aca2", "aca3", "full", "aca5", "aca6")),
    ),
    "aca": Table("aca", "What ACA does where it acts", ("aca_off", "full", "aca_half"), pairs=(("aca_half", "full"),)),
    "lineage": Table(
        "lineage",
        "Table 1: the lineage",
        ("cyclegan", "todaygan", "todaygan_tir", "baseline", "dlamgan", "full"),
        {"baseline": "ToDayGAN-NTIR", "full": "MornGAN"},
        (
            ("todaygan", "cyclegan"),
            ("todaygan_tir", "todaygan"),
            ("baseline", "todaygan_tir"),
            ("dlamgan", "baseline"),
            ("full", "dlamgan"),
            ("full", "cyclegan"),
        ),
    ),
    "terms": Table(
        "terms",
        "What the baseline's own terms do",
        ("todaygan_tir", "sga", "thermal", "baseline"),
        {"baseline": "baseline (+ both)"},
        (("sga", "todaygan_tir"), ("thermal", "todaygan_tir"), ("baseline", "todaygan_tir")),
    ),
    "readings": Table(
        "readings",
        "The published code's readings",
        ("baseline", "baseline_published", "cgr", "mine_both", "aca_published", "full", "published"),
        pairs=(
            ("baseline_published", "baseline"),
            ("mine_both", "cgr"),
            ("aca_published", "cgr"),
            ("published", "full"),
        ),
    ),
}


@dataclass(frozen=True)
class Contrast:
    """A paired comparison of two rows, stated before they are run.

    Args:
        row: the row that is claimed to be better.
        against: the row it is compared with.
        key: of the figure.
        margin: None claims a gain: the interval lies above 0. A number claims that nothing is lost: the interval lies
            above ``-margin``.
    """

    row: str
    against: str
    key: str
    margin: float | None = None


CONTRASTS = (
    Contrast("full", "baseline", "miou_a"),
    Contrast("mgca", "sdp", "miou_s"),
    Contrast("full", "aca_off", "miou_s"),
    Contrast("cgr", "mgca", "apce"),
    Contrast("cgr", "mgca", "miou_a", margin=0.01),
    Contrast("cgr", "mgca", "edge_f1", margin=0.01),
)


def apply(base: TrainConfig, changes: Mapping[str, Any]) -> TrainConfig:
    """Return the base with some options changed.

    Raises:
        ValueError: a name that is no option, or a value that the configuration refuses.
    """
    plain = to_dict(base)
    for dotted, value in changes.items():
        *groups, name = dotted.split(".")
        place: Any = plain
        for group in groups:
            place = place.get(group) if isinstance(place, dict) else None
        if not isinstance(place, dict) or name not in place or isinstance(place[name], dict):
            raise ValueError(f"{dotted}: is no option of the trainer")
        place[name] = value
    return from_dict(plain)


def flatten(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested options by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def choose_rows(tables: Sequence[str], rows: Sequence[str], known: Mapping[str, Row]) -> list[Row]:
    """Return the rows of some tables, each once; only those named in ``rows`` unless that is empty.

    Raises:
        ValueError: an unknown table, an unknown row, or a row of none of the tables.
    """
    for name in tables:
        if name not in TABLES:
            raise ValueError(f"tables: expected some of {', '.join(TABLES)}, got {name!r}")
    offered = list(dict.fromkeys(row for name in tables for row in TABLES[name].rows))
    for name in rows:
        if name not in offered:
            raise ValueError(f"rows: expected some of {', '.join(offered)}, got {name!r}")
    return [known[name] for name in offered if not rows or name in rows]
