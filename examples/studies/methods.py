"""The methods of the paper's tables on the same images: trained by equal steps over seeds, measured in one table.

python examples/studies/methods.py --out runs/methods
python examples/studies/methods.py --methods cyclegan,todaygan,morngan --seeds 1 --steps 600
python examples/studies/methods.py --data data/flir --crop 128 --results peer=peer_day/ --out runs/methods_flir
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("methods.py needs: pip install 'morn-losses[train]'")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from evaluate import named
from morn_losses import CITYSCAPES
from ntir2dc.config import PresetName
from ntir2dc.console import call
from ntir2dc.data.images import DataError
from ntir2dc.evaluation.showing import tell_written
from ntir2dc.files import check_writable
from ntir2dc.run.device import choose_device
from ntir2dc.run.weights import WeightsError
from scenes import write_scenes
from studies.comparing.runs import choose_methods, is_done, make_runs, train
from studies.comparing.table import NAMES, measure_runs, save


def main(
    out: Path = Path("runs/methods"),
    methods: str = "",
    seeds: int = 3,
    steps: int = 2000,
    epochs: int = 20,
    preset: PresetName = "demo",
    crop: int = 96,
    data: Path | None = None,
    options: Path | None = None,
    results: list[str] = [],  # noqa: B006  read only
    device: str = "auto",
) -> int:
    """Train every method with every seed, one run after the other; write methods.csv, .md, .tex and .png.

    The same command goes on where it was stopped; finished runs are left as they are.

    Args:
        out: the folder; a run is in METHOD/seed_N.
        methods: names with commas between; all of them if empty.
        seeds: the seeds 0, 1, ... up to this number of them.
        steps: of each run; a multiple of epochs.
        epochs: of each run, which phases and learning rates follow.
        preset: where all other options come from.
        crop: side of the crops; DRIT++ needs 64, PearlGAN 76.
        data: a folder of real frames instead of procedural scenes.
        options: a JSON or YAML file of trainer options over the preset, for all methods.
        results: further rows, NAME=FOLDER of finished pictures by the names of valB, one after the other.
        device: auto, cpu, cuda, cuda:1.

    Returns:
        0, 130 where a training was stopped, or another status where something failed.
    """
    try:
        if min(seeds, steps, epochs) < 1 or steps % epochs:
            raise DataError("options: expected seeds and epochs of at least 1, and steps that are a multiple of epochs")
        check_writable(out)
        place, pictures = choose_device(device), named("results", results)
        folder = (data or out / "scenes").absolute()
        common = [
            *([f"--config={options}"] if options else []),
            *(f"--preset={preset}", f"--data={folder}", f"--device={place}", f"--dataset.crop={crop}"),
            *(f"--epochs={epochs}", f"--steps_per_epoch={steps // epochs}"),
        ]
        runs = make_runs(out, choose_methods(methods), seeds, common)
        to_do = [run for run in runs if not is_done(run)]
        if data is None:
            write_scenes(folder, **runs[0].config.dataset.scenes())
        print(f"{len(runs) - len(to_do)} of {len(runs)} runs are done")
        for run in to_do:
            print(f"{run.folder}: {run.steps} steps", flush=True)
            if status := train(run):
                how = "stopped" if status == 130 else "failed"
                print(f"{run.folder}: {how}; the same command goes on", file=sys.stderr)
                return status
        judge = out / "judge.safetensors"
        table = measure_runs(runs, folder, pictures, CITYSCAPES, cache=judge, device=place, say=print)
        problems: list[str] = []
        print(save(out, table, folder, runs, problems))
    except (DataError, WeightsError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return tell_written([out / name for name in NAMES], problems)


if __name__ == "__main__":
    sys.exit(call(main))
