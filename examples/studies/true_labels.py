"""What the modules of the last phase add when the labels of the thermal images are the true ones instead of mined ones.

python examples/studies/true_labels.py --study runs/ablation --rows sdp,mgca --seeds '[0,1,2]'
python examples/studies/true_labels.py --study runs/ablation --rows sdp --seeds '[0]'
python examples/studies/true_labels.py --study runs/ablation --clusters '[1,2,3,4,5,6,0]'
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("true_labels.py needs: pip install 'morn-losses[train]'")

EXAMPLES = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(EXAMPLES.parent), str(EXAMPLES)]

import torch  # noqa: E402

from morn_losses import CITYSCAPES  # noqa: E402
from ntir2dc.console import call, tell  # noqa: E402
from ntir2dc.data.images import DataError  # noqa: E402
from ntir2dc.evaluation import list_cases, run_network, score  # noqa: E402
from ntir2dc.evaluation.formats import to_markdown  # noqa: E402
from ntir2dc.files import attempt, write_text  # noqa: E402
from ntir2dc.judge import find_judges  # noqa: E402
from ntir2dc.methods.morngan.schedule import Phase  # noqa: E402
from ntir2dc.run.checkpoint import CheckpointError  # noqa: E402
from ntir2dc.run.weights import load_translator  # noqa: E402
from studies.ablations.design import apply  # noqa: E402
from studies.ablations.runs import summarize_log  # noqa: E402
from studies.ablations.scoring import load_scores, save_scores  # noqa: E402
from studies.ablations.stems import first_steps  # noqa: E402
from studies.ablations.tables import DIFFERENCES, column_of, difference_cells, format_cell, make_line  # noqa: E402
from studies.ablations.truth import continue_with_truth, options_of  # noqa: E402

TRUE, MINED = ", true labels", ", mined labels"
KINDS = {MINED: "rows", TRUE: "true_labels"}
CLUSTERED = "mgca"
"""The row whose clusters are changed: the first with ACA."""


def main(
    study: Path = Path("runs/ablation"),
    rows: str = "sdp,mgca",
    seeds: tuple[int, ...] = (0, 1, 2),
    clusters: tuple[int, ...] = (),
) -> int:
    """Go on from the shared beginnings that the study has kept; write true_labels.md into its results.

    What is done already is not done again; several seeds can be run at the same time by calls of their own.

    Args:
        study: folder of an ablation on procedural scenes, with these rows and seeds done.
        rows: rows of Table 5 that part ways in the last phase, with commas between.
        seeds: of the study.
        clusters: instead of these rows, + MGCA with these numbers of clusters of ACA (Table 7; 0 is without ACA);
            written into true_labels_clusters.md.

    Returns:
        0, or 1 where the study lacks something.
    """
    torch.set_num_threads(1)
    names = [name.strip() for name in rows.split(",") if name.strip()]
    try:
        for seed in seeds:
            for n in clusters:
                complete(study, CLUSTERED, seed, n)
            for name in names if not clusters else ():
                complete(study, name, seed)
        page = summarize_clusters(study, clusters, seeds) if clusters else summarize(study, names, seeds)
    except (DataError, CheckpointError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    target = "true_labels_clusters.md" if clusters else "true_labels.md"
    problems: list[str] = []
    path = study / "results" / target
    attempt(partial(write_text, path, page), path, problems)
    print(page)
    return tell(problems)


def folder_of(study: Path, name: str, clusters: int | None) -> Path:
    """Return the folder of a row's runs with true labels."""
    return study / "true_labels" / (name if clusters is None else f"{name}_{clusters}_clusters")


def complete(study: Path, name: str, seed: int, clusters: int | None = None) -> None:
    """Train and score a row and seed with true labels, unless that is done."""
    run, out = study / "rows" / name / f"seed_{seed}", folder_of(study, name, clusters) / f"seed_{seed}"
    if (out / "scores.npz").is_file():
        return
    config = options_of(run)
    if clusters is not None:
        changes = {"losses.aca_clusters": clusters} if clusters else {"losses.lambda_aca": 0.0}
        config = apply(config, changes)
    step = first_steps(config, config.steps_per_epoch)[Phase.COLLABORATE]
    stems = sorted((study / "rows").glob(f"*/seed_{seed}/stems/{step:08d}"))
    mine = [s for s in stems if s.parents[2].name in (name, "sdp")]
    if not mine:
        raise DataError(f"{study}: keeps no state before the last phase for {name} seed {seed}")
    said = "" if clusters is None else f", {clusters} clusters"
    print(f"{name} seed {seed}{said}: the last phase with true labels", flush=True)
    continue_with_truth(mine[0], out, config, say=lambda _: None)
    assert config.data is not None
    data = Path(config.data)
    base = json.loads((study / "base.json").read_text())
    judges = find_judges(data, study / "judge.safetensors", CITYSCAPES, steps=base["judge_steps"], choice=base["judge"])
    first, second = (judges.first, judges.second) if judges else (None, None)
    found = score(list_cases(data), run_network(load_translator(out)), first, CITYSCAPES, second)
    save_scores(out / "scores.npz", found)


def summarize(study: Path, names: Sequence[str], seeds: Sequence[int]) -> str:
    """Return the table of all rows, with mined and with true labels, and the differences that tell them apart."""
    places = {f"{name}{kind}": study / folder / name for name in names for kind, folder in KINDS.items()}
    pairs = [(f"{name}{TRUE}", f"{name}{MINED}") for name in names]
    pairs += [(f"{after}{TRUE}", f"{before}{TRUE}") for before, after in itertools.pairwise(names)]
    return make_page(places, pairs, seeds)


def summarize_clusters(study: Path, clusters: Sequence[int], seeds: Sequence[int]) -> str:
    """Return the table of all numbers of clusters, and their differences to the first."""
    titles = {n: f"{n} cluster{'s' if n > 1 else ''}" if n else "without ACA" for n in clusters}
    places = {title: folder_of(study, CLUSTERED, n) for n, title in titles.items()}
    first, *others = titles.values()
    return make_page(places, [(title, first) for title in others], seeds)


def make_page(places: Mapping[str, Path], pairs: Sequence[tuple[str, str]], seeds: Sequence[int]) -> str:
    """Return the table of the rows in these folders, by title, and of the differences of some pairs of them."""
    scores = {title: {s: load_scores(p / f"seed_{s}" / "scores.npz") for s in seeds} for title, p in places.items()}
    cells = [["", *(column_of(key).title for key in DIFFERENCES), "classes ACA found"]]
    for title, by_seed in scores.items():
        line = make_line(title, by_seed, CITYSCAPES)
        logs = [summarize_log(places[title] / f"seed_{s}" / "log.csv") for s in seeds]
        shares = [log["aca_found"] for log in logs if log["aca_found"] is not None]
        shown = f"{sum(shares) / len(shares):.2f}" if shares else "-"
        cells.append([title, *(format_cell(column_of(key), line.figures[key]) for key in DIFFERENCES), shown])
    return f"{to_markdown(cells)}\n\n{to_markdown(difference_cells(pairs, scores, CITYSCAPES))}\n"


if __name__ == "__main__":
    sys.exit(call(main))
