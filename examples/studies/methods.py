"""The methods of the paper's tables on the same images, trained over seeds and measured in one table, with their costs.

python examples/studies/methods.py --out runs/methods
python examples/studies/methods.py --methods cyclegan,todaygan,morngan --seeds 1 --minutes 10 --out runs/by_time
python examples/studies/methods.py --data data/flir --crop 128 --results peer=peer_day/ --out runs/methods_flir
python examples/studies/methods.py --tested_on world_b=runs/world_b --detector detector.safetensors
python examples/studies/methods.py --only_costs --out runs/costs
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("methods.py needs: pip install 'morn-losses[train]'")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from evaluate import named
from morn_losses import CITYSCAPES
from ntir2dc.config import PresetName
from ntir2dc.console import call
from ntir2dc.data.images import DataError
from ntir2dc.evaluation import list_cases
from ntir2dc.evaluation.objects import ObjectsAsked, search_scenes
from ntir2dc.evaluation.showing import tell_written
from ntir2dc.files import check_writable
from ntir2dc.judge import are_known_scenes
from ntir2dc.run.checkpoint import CheckpointError
from ntir2dc.run.device import choose_device
from ntir2dc.run.weights import WeightsError
from scenes import write_scenes
from studies.comparing import costs
from studies.comparing.budget import steps_that_fit
from studies.comparing.runs import Run, choose_methods, is_done, make_runs, train
from studies.comparing.table import files_of, measure_runs, save


def main(
    out: Path = Path("runs/methods"),
    methods: str = "",
    seeds: int = 3,
    steps: int = 2000,
    minutes: float = 0,
    epochs: int = 20,
    preset: PresetName = "demo",
    crop: int = 96,
    data: Path | None = None,
    options: Path | None = None,
    results: list[str] = [],  # noqa: B006  read only
    tested_on: list[str] = [],  # noqa: B006
    detector: Path | None = None,
    only_costs: bool = False,
    device: str = "auto",
) -> int:
    """Train every method with every seed, one run after the other; write methods.csv, .md, .tex and .png.

    What the networks and a step cost is in methods.md as well, and in costs.csv and costs.md. The same command goes on
    where it was stopped; finished runs are left as they are.

    Args:
        out: the folder; a run is in METHOD/seed_N.
        methods: names with commas between; all of them if empty.
        seeds: the seeds 0, 1, ... up to this number of them.
        steps: of each run; a multiple of epochs.
        minutes: in place of steps, what the steps of each run may take here, by the clock of the costs.
        epochs: of each run, which phases and learning rates follow.
        preset: where all other options come from.
        crop: side of the crops; DRIT++ needs 64, PearlGAN 76.
        data: a folder of real frames instead of procedural scenes.
        options: a JSON or YAML file of trainer options over the preset, for all methods.
        results: further rows, NAME=FOLDER of finished pictures by the names of valB, one after the other.
        tested_on: other data whose valB the runs are tested on as well, NAME=FOLDER, one after the other; each gives
            methods_on_NAME.csv, .md, .tex and .png.
        detector: weights of studies/detector.py, which look for persons and cars in the translations of scenes.
        only_costs: train nothing; measure the costs alone, those of untrained networks where a run is not finished.
        device: auto, cpu, cuda, cuda:1.

    Returns:
        0, 130 where a training was stopped, or another status where something failed.
    """
    problems: list[str] = []
    try:
        if min(seeds, steps, epochs) < 1 or minutes < 0 or (steps % epochs and not minutes):
            raise DataError(
                "options: expected seeds and epochs of at least 1, steps that are a multiple of epochs, and minutes of "
                "at least 0"
            )
        names = choose_methods(methods)
        pictures, elsewhere = named("results", results), named("tested_on", tested_on)
        check_writable(out)
        place, folder = choose_device(device), (data or out / "scenes").absolute()
        common = [
            *([f"--config={options}"] if options else []),
            *(f"--preset={preset}", f"--data={folder}", f"--device={place}", f"--dataset.crop={crop}"),
            f"--epochs={epochs}",
        ]
        lengths = dict.fromkeys(names, max(1, steps // epochs))
        runs = make_runs(out, lengths, seeds, common)
        if data is None:
            write_scenes(folder, **runs[0].config.dataset.scenes())
        folders = {"methods": folder, **{f"methods_on_{name}": path.absolute() for name, path in elsewhere.items()}}
        detectors = choose_detectors(folders, detector)
        if minutes:
            lengths = steps_that_fit(out, minutes, make_runs(out, lengths, 1, common), print)
            runs = make_runs(out, lengths, seeds, common)
        if not only_costs and (status := train_all(runs)):
            return status
        measured = costs.measure_costs(runs, folder, print)
        measured.save(out, problems)
        written = [out / name for name in costs.NAMES]
        if only_costs:
            print(measured.page())
            return tell_written(written, problems)
        for name, frames in folders.items():
            own = name == "methods"
            table = measure_runs(
                runs, frames, CITYSCAPES, results=pictures if own else {}, detector=detectors[name],
                cache=out / f"judge{name.removeprefix('methods')}.safetensors", device=place, say=print,
            )  # fmt: skip
            if minutes:
                table.notes.append(f"The steps are those that fit {minutes:g} minutes by the seconds of minutes.json.")
            print(save(out, name, table, problems, f"\n{measured.page()}" if own else ""))
            written += files_of(out, name)
    except (CheckpointError, DataError, WeightsError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return tell_written(written, problems)


def choose_detectors(folders: Mapping[str, Path], detector: Path | None) -> dict[str, Path | None]:
    """Return the detector for each folder of test images: none for those whose scenes it does not know.

    Raises:
        DataError: a folder or a detector that cannot be used; it is said before the trainings, not after them.
    """
    chosen: dict[str, Path | None] = {}
    for name, folder in folders.items():
        nights = [files["night"] for files in list_cases(folder)]
        chosen[name] = detector if name == "methods" or are_known_scenes(folder) else None
        if detector is not None and chosen[name]:
            search_scenes(ObjectsAsked(detector=str(detector)), folder, nights, (), "cpu")
    return chosen


def train_all(runs: Sequence[Run]) -> int:
    """Train the runs that are not finished; return 0, or another status where one was stopped or failed."""
    to_do = [run for run in runs if not is_done(run)]
    print(f"{len(runs) - len(to_do)} of {len(runs)} runs are done")
    for run in to_do:
        print(f"{run.folder}: {run.steps} steps", flush=True)
        if status := train(run):
            how = "stopped" if status == 130 else "failed"
            print(f"{run.folder}: {how}; the same command goes on", file=sys.stderr)
            return status
    return 0


if __name__ == "__main__":
    sys.exit(call(main))
