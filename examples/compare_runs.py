"""Compare two runs on the same frames: the difference in every figure, frame by frame, with its interval.

python examples/compare_runs.py --run runs/mini --against runs/mini_baseline
python examples/compare_runs.py --run runs/mini --against runs/mini_baseline --data DIR --out runs/comparison
python examples/compare_runs.py --run runs/mini --against runs/mini_baseline --limit 20 --device cpu
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("compare_runs.py needs: pip install 'morn-losses[train]'")

import numpy as np

from morn_losses import CITYSCAPES
from ntir2dc.console import call, escape_what_cannot_be_shown
from ntir2dc.data.images import DataError
from ntir2dc.data.thermal import tones_of
from ntir2dc.evaluation import (
    COLUMNS,
    SECOND,
    UNTRAINED,
    Scores,
    data_of,
    find_cases,
    list_cases,
    load_config,
    run_network,
    score,
)
from ntir2dc.evaluation.comparison import LEVEL, cells, compare, over_frames, to_json
from ntir2dc.evaluation.formats import to_csv, to_markdown
from ntir2dc.evaluation.showing import check_options, show, tell_written, wide_console
from ntir2dc.files import attempt, check_writable, write_text
from ntir2dc.judge import STEPS, Choice, find_judges, hash_files
from ntir2dc.methods import METHODS
from ntir2dc.run.device import choose_device
from ntir2dc.run.weights import WeightsError, load_translator, thermal_of

CAVEAT = "One training of each: what other seeds would give is not in the spread."


def find_frames(runs: Sequence[Path], data: Path | None, limit: int) -> tuple[Path, list[dict[str, Path]]]:
    """Return the folder to compare on and the files of its frames: ``data``, or what the runs were trained on.

    Raises:
        DataError: no frames, or runs that were trained on different data where none is named.
    """
    if data is not None:
        return data, find_cases(data, CITYSCAPES, limit)
    folders = [data_of(run, load_config(run)) for run in runs]
    of_folders = [list_cases(folder, limit) for folder in folders]
    # equal scenes that each run has rendered for itself are the same data
    if len({hash_files(path for case in cases for path in case.values()) for cases in of_folders}) > 1:
        places = " and ".join(str(folder / "valB") for folder in folders)
        raise DataError(f"{places}: hold different frames; name the folder to compare on with --data")
    return folders[0], find_cases(folders[0], CITYSCAPES, limit)


def short_names(run: Path, against: Path) -> tuple[str, str]:
    """Return the names of the runs' folders, or their paths where the names are the same."""
    first, second = (path.absolute().name for path in (run, against))
    return (first, second) if first != second else (str(run), str(against))


def by_frame(frames: Sequence[str], scores: Mapping[str, Sequence[Scores]], keys: Sequence[str]) -> str:
    """Return the figures of each frame alone, unrounded, as comma-separated lines; empty where undefined."""
    lines = [["frame", "way", *keys]]
    for name, frame_scores in scores.items():
        figures = over_frames(frame_scores, CITYSCAPES)
        for index, frame in enumerate(frames):
            values = [float(figures[key][index - len(frames)]) for key in keys]
            lines.append([frame, name, *(repr(v) if np.isfinite(v) else "" for v in values)])
    return to_csv(lines)


def main(
    run: Path,
    against: Path,
    data: Path | None = None,
    out: Path | None = None,
    judge: Choice = "auto",
    judge_steps: int = STEPS,
    judge_seed: int = 0,
    limit: int = 0,
    device: str = "auto",
) -> int:
    """Compare two runs; writes comparison.md, comparison.json and, with every frame, comparison.csv.

    Args:
        run: folder of the first run; a judge that is trained is kept in it, as evaluate.py does.
        against: folder of the second, which is subtracted.
        data: folder with valB and, where known, valB_day, valB_labels, judgeA and judgeA_labels; the runs' own data
            if it is not given.
        out: where to write; the folder of the first run if it is not given.
        judge: which segmentation network reads the translations, as in evaluate.py: auto, shipped or trained.
        judge_steps: training steps of a judge that is trained.
        judge_seed: seed of such a judge.
        limit: compare only the first frames; 0 is all of them.
        device: auto, cpu, cuda, cuda:1, mps.

    Returns:
        0, or 1 where the runs cannot be compared.
    """
    escape_what_cannot_be_shown()
    try:
        check_options(judge_steps, judge_seed, limit)
        place = choose_device(device)
        target = out or run
        check_writable(target)
        folder, files = find_frames((run, against), data, limit)
        config, names = load_config(run), short_names(run, against)
        untrained = METHODS[config.method].untrained_translator(config, len(CITYSCAPES)).eval().to(place)
        ways = {UNTRAINED: untrained}
        options = thermal_of(run)
        if options != thermal_of(against):
            raise DataError(f"{run} and {against}: have learned from frames read in two ways; see --thermal.range")
        tones = tones_of([case["night"] for case in list_cases(folder)], options)
        ways |= {name: load_translator(path).to(place) for name, path in zip(names, (run, against), strict=True)}
        judges = None
        if "labels" in files[0]:
            judges = find_judges(
                folder, run / "judge.safetensors", CITYSCAPES,
                choice=judge, steps=judge_steps, seed=judge_seed, device=place, say=print,
            )  # fmt: skip
        first, second = (judges.first, judges.second) if judges else (None, None)
        scores = {
            name: score(files, run_network(way, place), first, CITYSCAPES, second, tones) for name, way in ways.items()
        }
    except (DataError, WeightsError, OSError) as error:
        print(f"compare_runs: {error}", file=sys.stderr)
        return 1

    differences = compare(scores[names[0]], scores[names[1]], CITYSCAPES)
    table = cells(differences, names, {UNTRAINED: scores[UNTRAINED]}, CITYSCAPES)
    keys = [one.column.key for one in differences]
    left_out = [c.title.removesuffix(" %").removesuffix(" dB") for c in COLUMNS if c.key not in (*keys, *SECOND)]
    n = len(files)
    spread = f"± is the standard error over the frames, and the interval is a {LEVEL:.0%} t-interval over them."
    notes = [
        f"{n} frames that both translate; differences are taken frame by frame.",
        spread if n > 1 else "One frame has no spread.",
        CAVEAT,
    ]
    if left_out:
        notes.append(f"Not in the table, for the data lacks what they need: {', '.join(left_out)}.")
    facts = {
        "first": names[0], "second": names[1],
        "data": {"folder": str(folder), "images": n,
                 "images_sha256": hash_files(path for case in files for path in case.values())},
        "figures": to_json(differences), "notes": notes,
    }  # fmt: skip
    page = f"{to_markdown(table)}\n\n" + "\n".join(f"- {note}" for note in notes) + "\n"
    texts = {
        target / "comparison.md": page,
        target / "comparison.json": json.dumps(facts, indent=2, allow_nan=False) + "\n",
        target / "comparison.csv": by_frame([f["night"].stem for f in files], scores, keys),
    }
    problems: list[str] = []
    for path, text in texts.items():
        attempt(partial(write_text, path, text), path, problems)

    console = wide_console()
    show(table[0], table[1:], console)
    for note in notes:
        console.print(note, highlight=False)
    return tell_written(list(texts), problems)


if __name__ == "__main__":
    sys.exit(call(main))
