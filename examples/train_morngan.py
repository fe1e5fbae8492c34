"""Train MornGAN on a data folder, or on procedural street scenes.

python examples/train_morngan.py --preset demo --out runs/demo
python examples/train_morngan.py --preset mini --data DIR --out runs/mini
python examples/train_morngan.py --out runs/mini --resume
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("train_morngan.py needs: pip install 'morn-losses[train]'")

from jsonargparse import ArgumentParser

from morn_losses import CITYSCAPES
from morngan.checkpoint import CheckpointError
from morngan.config import TrainConfig, from_dict, make_config, to_dict
from morngan.data.folders import prepare_training_data
from morngan.data.images import DataError
from morngan.data.scenes import write_scenes
from morngan.faults import RunError, how_to_go_on
from morngan.trainer import NonFiniteLossError, Trainer


def parse(arguments: list[str]) -> tuple[TrainConfig, bool]:
    """Return the configuration and whether to resume: a preset (or the run's own options), then the flags over it."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default="demo")
    first.add_argument("--variant", default="paper")
    first.add_argument("--out")
    first.add_argument("--resume", action="store_true")
    known, _ = first.parse_known_args(arguments)

    parser = ArgumentParser(prog="train_morngan.py", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--config", action="config", help="YAML or JSON file with options; config.json of a run is one."
    )
    parser.add_argument("--resume", action="store_true", help="Go on from the newest checkpoint in --out.")
    parser.add_class_arguments(TrainConfig)
    try:
        base = make_config(known.preset, known.variant)
    except ValueError as error:
        parser.error(str(error))
    out = Path(known.out or base.out)
    if known.resume and (out / "config.json").is_file():
        try:
            base = from_dict(json.loads((out / "config.json").read_text()))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            # the checkpoint holds the options as well, and is compared with those asked for
            print(f"{out / 'config.json'}: passed over, it does not fit this trainer ({error})", file=sys.stderr)
    parser.set_defaults(to_dict(base))
    options = parser.parse_args(arguments)
    resume = bool(options.pop("resume"))
    options.pop("config", None)
    try:
        return from_dict(options.as_dict()), resume
    except ValueError as error:
        parser.error(str(error))


def main(arguments: list[str] | None = None) -> int:
    """Run the trainer; return the exit status."""
    config, resume = parse(sys.argv[1:] if arguments is None else arguments)
    out = Path(config.out)
    dataset, losses = config.dataset, config.losses
    try:
        if not resume and list((out / "checkpoints").glob("step_*.pt")):
            raise CheckpointError(f"{out}: holds a run already; go on with --resume or choose another --out")
        if config.data is None:
            folder = out / "scenes"
            print(f"procedural scenes: rendered into {folder} unless they are there")
            write_scenes(
                folder,
                seed=dataset.scene_seed,
                n_train_a=dataset.scenes_a,
                n_train_b=dataset.scenes_b,
                n_val=dataset.scenes_val,
                n_judge=dataset.scenes_judge,
                size=(dataset.scene_height, dataset.scene_width),
            )
        else:
            folder = Path(config.data)
        data = prepare_training_data(
            folder,
            out / "cache",
            CITYSCAPES,
            crop=dataset.crop,
            edge_thresholds=(dataset.edge_low, dataset.edge_high),
            need_labels=config.modules.sc,
            denoise=config.modules.sdp,
            published_fusion=losses.published_fusion,
            report=print,
        )
        print(f"{len(data.a)} color and {len(data.b)} thermal images, {len(data.val_b)} for validation, from {folder}")
        trainer = Trainer(config, data)
        if resume:
            trainer.resume()
        trainer.save_config()
        trainer.fit()
    except (DataError, CheckpointError, NonFiniteLossError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, most of the time
        print(f"error: {error}\n{how_to_go_on(out)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # the second Ctrl-C, or one before the first step
        print(f"stopped at once; what came after the last checkpoint is lost. {how_to_go_on(out)}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
