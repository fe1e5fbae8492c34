"""Train MornGAN, or another method, on a data folder, or on procedural street scenes.

python examples/train_morngan.py --preset demo --out runs/demo
python examples/train_morngan.py --preset mini --data DIR --out runs/mini
python examples/train_morngan.py --preset mini --data DIR --out runs/mini --labels none
python examples/train_morngan.py --preset flir --data DIR --out runs/flir --segmenter_a models/segformer
python examples/train_morngan.py --out runs/mini --resume
python examples/train_morngan.py --init_from runs/mini --data OTHER --out runs/tuned --epochs 10
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("train_morngan.py needs: pip install 'morn-losses[train]'")

from jsonargparse import ArgumentParser

from morn_losses import CITYSCAPES
from ntir2dc.arguments import ALONE, switches, usage_of, with_values
from ntir2dc.config import TrainConfig, from_dict, from_stored, make_config, to_dict
from ntir2dc.data.folders import MissingLabelsError, TrainingData, prepare_training_data
from ntir2dc.data.images import DataError
from ntir2dc.methods import METHODS
from ntir2dc.parallel.launching import GONE, end_with_launcher, is_launched, launch
from ntir2dc.parallel.world import LostError, World, check_launched, connect, speaks, started_by_launcher
from ntir2dc.run.beginning import read_networks
from ntir2dc.run.checkpoint import CheckpointError, list_checkpoints, load_newest
from ntir2dc.run.faults import RunError, how_to_go_on
from ntir2dc.run.finite import NonFiniteLossError
from ntir2dc.run.inventory import check_inventory
from ntir2dc.run.lock import LockedError, locked
from ntir2dc.run.streams import speak_anyhow
from ntir2dc.run.weights import WeightsError
from ntir2dc.trainer import Trainer
from scenes import write_scenes

PREPARING = {
    "flir": "python examples/prepare_data.py --dataset flir_v2 --input FLIR_ADAS_v2 --output data/flir",
    "kaist": "python examples/prepare_data.py --dataset kaist --input KAIST --output data/kaist",
}
"""What makes the data folder of a preset that has a data set of its own."""

NEEDS_LABELS = ("sc", "sdp", "mgca", "looks", "early_fa")
"""The modules that label maps of the color images are needed for."""


class Parser(ArgumentParser):
    """Says what is wrong with the options, and not how to type all of them."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Exit with status 2."""
        print(f"error: {message}\n(--help lists all options)", file=sys.stderr)
        sys.exit(2)


def parse(arguments: list[str]) -> tuple[TrainConfig, bool]:
    """Return the configuration and whether to resume: a preset (or a run's own options), then the flags over it."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("preset", "variant", "method", "out", "init_from"):
        first.add_argument(f"--{name}")
    first.add_argument("--resume", action="store_true")
    known, _ = first.parse_known_args(arguments)

    parser = Parser(
        prog="train_morngan.py",
        usage=usage_of(__doc__),
        description=__doc__.splitlines()[0] if __doc__ else None,
        epilog=ALONE,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", action="config", help="YAML or JSON file with options; config.json of a run is one."
    )
    parser.add_argument("--resume", action="store_true", help="Go on from the newest checkpoint in --out.")
    parser.add_argument(
        "--labels",
        choices=("given", "none"),
        default="given",
        help="none trains without label maps: switches off the modules that need them, sc, sdp, mgca, looks and "
        "early_fa; CGR then takes the whole image for background.",
    )
    parser.add_class_arguments(TrainConfig)
    try:
        base = make_config(known.preset or "demo", known.variant or "paper", known.method or "morngan")
        if known.resume:
            kept = options_of(Path(known.out or base.out)) or base
            base = dataclasses.replace(kept, max_steps=0)  # of the call that it was given
        elif known.init_from and not (known.preset or known.variant or known.method):
            kept = options_of(Path(known.init_from)) or base
            base = dataclasses.replace(kept, out=known.out or base.out, max_steps=0)
    except ValueError as error:
        parser.error(str(error))
    parser.set_defaults(to_dict(base))
    options = parser.parse_args(with_values(arguments, switches(TrainConfig)))
    resume = bool(options.pop("resume"))
    options.pop("config", None)
    without = options.pop("labels") == "none"
    plain = options.as_dict()
    if without:
        plain["modules"] |= dict.fromkeys(NEEDS_LABELS, False)
        plain["phases"]["baseline"] = 0.0  # no segmenters to wait for
    try:
        return from_dict(plain), resume
    except ValueError as error:
        parser.error(str(error))


def options_of(out: Path) -> TrainConfig | None:
    """Return the options of the run in ``out``, or None where they do not fit this trainer, which is then said.

    The checkpoint holds the options as well, and is compared with those asked for.
    """
    file = out / "config.json"
    unfit = (ValueError, TypeError, KeyError, AttributeError)
    try:
        return from_stored(json.loads(file.read_text()))
    except (OSError, *unfit) as error:
        why = str(error)
    try:
        config = from_stored(load_newest(out / "checkpoints", lambda _: None)["config"])
    except CheckpointError:  # said when it is loaded
        return None
    except unfit as error:
        why = f"{why}; nor do those of the checkpoint fit: {error}"
        config = None
    if speaks() and not is_launched():  # whoever has launched it has said so
        print(f"{file}: passed over ({why})", file=sys.stderr)
    return config


def how_to_prepare(preset: str) -> str:
    """Return what a preset that trains on a data set needs before it can, and what to type."""
    return (
        f"--preset {preset} needs --data, a folder of prepared frames. Make it with\n  {PREPARING[preset]}\n"
        f"and begin with --data data/{preset}; docs/guides/{preset}.md says where labels come from"
    )


def data_folder(config: TrainConfig) -> Path:
    """Return the folder of the training data: the user's, or that of the scenes that the run renders."""
    return Path(config.out) / "scenes" if config.data is None else Path(config.data)


def prepare(config: TrainConfig, resume: bool, say: Callable[[str], None]) -> TrainingData:
    """Return the training data, with what is derived from it and the scenes written into the run's folder."""
    out, dataset, folder = Path(config.out), config.dataset, data_folder(config)
    method = METHODS[config.method].method
    if not resume and list_checkpoints(out / "checkpoints"):
        raise CheckpointError(f"{out}: holds a run already; go on with --resume or choose another --out")
    if config.data is None:
        say(f"procedural scenes: rendered into {folder} unless they are there")
        write_scenes(folder, **dataset.scenes())
    data = prepare_training_data(
        folder,
        out / "cache",
        CITYSCAPES,
        crop=dataset.crop,
        edge_thresholds=(dataset.edge_low, dataset.edge_high),
        need_labels=method.needs_labels(config),
        need_edges=method.needs_edges(config),
        denoise=config.modules.sdp,
        published_fusion=config.losses.published_fusion,
        thermal=config.thermal,
        report=say,
    )
    say(f"{len(data.a)} color and {len(data.b)} thermal images, {len(data.val_b)} for validation, from {folder}")
    return data


def run(config: TrainConfig, resume: bool, world: World) -> int:
    """Train in this process, one of ``world``; return the exit status."""
    out = Path(config.out)

    def say(text: str) -> None:
        if world.is_first:
            print(text)

    def fail(text: str, status: int = 1) -> int:
        # the first process speaks for all
        if world.is_first:
            print(text, file=sys.stderr)
        return status if world.is_first else GONE

    try:
        with ExitStack() as held:
            origin = None
            if config.init_from is not None and not resume:
                source = Path(config.init_from)
                origin = world.together(lambda: read_networks(source, say))
            world.first_alone(lambda: held.enter_context(locked(out, say)))
            data = world.first_then_others(lambda: prepare(config, resume, say))
            world.first_alone(lambda: check_inventory(out, data_folder(config), say, resume=resume))
            try:
                trainer = Trainer(config, data, say=say, world=world)
            except ValueError as error:  # options that do not go together
                return fail(f"error: {error}", 2)
            if resume:
                trainer.resume()
            elif origin is not None:
                trainer.begin_with(origin)
            if world.is_first:
                trainer.save_config()
            trainer.fit()
            world.wait()
    except MissingLabelsError as error:
        return fail(f"error: {error}. --labels none trains without them")
    except (LockedError, DataError, CheckpointError, WeightsError, NonFiniteLossError, RunError) as error:
        return fail(f"error: {error}")
    except OSError as error:  # a full disk, most of the time
        return fail(f"error: {error}\n{how_to_go_on(out)}")
    except KeyboardInterrupt:  # the second Ctrl-C, or one before the first step
        return fail(f"stopped at once; what came after the last checkpoint is lost. {how_to_go_on(out)}", 130)
    except LostError as error:
        if not is_launched():
            print(f"process {world.rank}: {error}. {how_to_go_on(out)}", file=sys.stderr)
        return GONE
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run the trainer, in several processes if asked for; return the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    config, resume = parse(arguments)
    # the run is gone on with, and evaluated, from any folder
    data, init_from = (path and os.path.abspath(path) for path in (config.data, config.init_from))
    segmenter_a = config.segmenter_a
    if segmenter_a is not None and os.path.isdir(segmenter_a):  # the other is a name on the hub
        segmenter_a = os.path.abspath(segmenter_a)
    config = dataclasses.replace(config, data=data, init_from=init_from, segmenter_a=segmenter_a)
    if config.data is None and config.preset in PREPARING and not resume:
        if speaks():
            print(f"error: {how_to_prepare(config.preset)}", file=sys.stderr)
        return 2
    if resume and not list_checkpoints(Path(config.out) / "checkpoints"):  # before anything is made there
        print(f"error: {config.out}: no checkpoint to resume from", file=sys.stderr)
        return 1
    if not started_by_launcher() and config.devices > 1 and config.num_nodes == 1:
        command = [sys.executable, str(Path(__file__).resolve()), *arguments]
        return launch(command, config.devices, lambda: how_to_go_on(Path(config.out)))
    end_with_launcher()
    try:
        check_launched(config)
        world = connect(config)
    except ValueError as error:
        if speaks():
            print(f"error: {error}", file=sys.stderr)
        return 2
    return run(config, resume, world)


if __name__ == "__main__":
    speak_anyhow()
    status = main()
    if status == GONE:  # the end of the interpreter would wait for connections that are lost
        sys.stdout.flush()
        os._exit(status)
    sys.exit(status)
