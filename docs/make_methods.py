"""Write the tables in docs/methods.md: parameters of the networks, and numbers of docs/methods beside the paper's.

python docs/make_methods.py
cp runs/on_a/{methods,costs,methods_on_b}.csv runs/on_b/methods_on_a.csv docs/methods/ && python docs/make_methods.py
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(folder) for folder in (ROOT / "examples", ROOT / "docs") if str(folder) not in sys.path]

from make_report_card import fill  # noqa: E402

from morn_losses import CITYSCAPES  # noqa: E402
from ntir2dc.config import TrainConfig, make_config  # noqa: E402
from ntir2dc.evaluation import CLASSES_A, Column  # noqa: E402
from ntir2dc.evaluation.formats import to_markdown  # noqa: E402
from ntir2dc.methods import METHODS, cyclegan, drit, forkgan, morngan, pearlgan, unit  # noqa: E402
from studies.ablations.tables import format_cell  # noqa: E402
from studies.comparing.runs import TITLES  # noqa: E402

PAGE = ROOT / "docs" / "methods.md"
NUMBERS = ROOT / "docs" / "methods"
"""``paper.csv``: what the paper prints in its Tables 1, 2 and 6. The study of the methods wrote what else is there."""


def backbone(config: TrainConfig) -> nn.Module:
    """Return ToDayGAN's networks: MornGAN's without segmenters."""
    return morngan.networks.Networks(config.networks, len(CITYSCAPES), config.seed, segmenters=False)


NETWORKS: dict[str, tuple[str, Callable[[TrainConfig], nn.Module]]] = {
    "cyclegan": ("CycleGAN", lambda config: cyclegan.Networks(config.networks, config.seed)),
    "unit": ("UNIT", lambda config: unit.Networks(config.networks, config.seed)),
    "todaygan": ("ToDayGAN", backbone),
    "drit": ("DRIT++", drit.Networks),
    "forkgan": ("ForkGAN", lambda config: forkgan.Networks(config.networks, config.seed)),
    "pearlgan": ("PearlGAN", lambda config: pearlgan.Networks(config.networks, config.seed)),
    # whose reconstruction of DlamGAN has the same networks
    "morngan": (
        "MornGAN, DlamGAN (reconstruction)",
        lambda config: morngan.networks.make_networks(config, len(CITYSCAPES)),
    ),
}
"""Name of a method for a reader, and all that it trains."""


def count(*modules: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(p.numel() for module in modules for p in module.parameters())


def parameters() -> list[str]:
    """Return the rows of the table."""
    rows = [
        "| method | night to day | MB | both directions | one domain's discriminator | all that is trained |",
        "|---|---|---|---|---|---|",
    ]
    for method, (name, make) in NETWORKS.items():
        config = make_config("flir", method=method)  # type: ignore[arg-type]
        with torch.device("meta"):
            to_day = count(METHODS[method].untrained_translator(config, len(CITYSCAPES)))
            networks = dict(make(config).named_children())
        both = count(*(part for part_name, part in networks.items() if part_name.split("_")[0] in GENERATORS))
        numbers = (both, count(networks["discriminator_a"]), count(*networks.values()))
        rows.append(f"| {name} | {to_day:,} | {4 * to_day / 1e6:.1f} | " + " | ".join(f"{n:,}" for n in numbers) + " |")
    return rows


GENERATORS = ("generator", "encoder", "decoder")


# ---- numbers beside the paper's --------------------------------------------------------------------------------------

OWN = (
    *(Column(f"iou {name}", name, 100, 1) for name in CLASSES_A),
    Column("miou_a", "mIoU", 100, 1),
    Column("ap person", "AP person", 100, 1),
    Column("ap bicycle", "AP bicycle", 100, 1),
    Column("ap car", "AP car", 100, 1),
    Column("ap all", "mAP", 100, 1),
)
"""Columns of Tables 1 and 2."""
OTHER = (
    Column("miou_a there", "mIoU, K on F", 100, 1),
    Column("miou_a back", "mIoU, F on K", 100, 1),
    Column("miou_a mean", "mean", 100, 1),
    Column("apce there", "APCE, K on F", 1, 2),
    Column("apce back", "APCE, F on K", 1, 2),
    Column("apce mean", "mean", 1, 2),
)
"""Columns of Table 6; here trained on world a and tested on b, then the other way round."""

Numbers = Mapping[str, Mapping[str, Sequence[float]]]
"""Values of every seed by column, by row."""


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the lines of a CSV file; none where there is no such file."""
    if not path.is_file():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def read_numbers(path: Path) -> Numbers:
    """Return the numbers of a table of the study; none where there is no such file."""
    numbers: dict[str, dict[str, list[float]]] = {}
    for line in read_rows(path):
        row = numbers.setdefault(line["row"], {})
        for key, value in line.items():
            if key not in ("row", "seed"):
                row.setdefault(key, []).append(float(value))
    return numbers


def both_ways(there: Numbers, back: Numbers) -> Numbers:
    """Return what the study has found on either other world, and the means of both, seed by seed."""
    numbers: dict[str, dict[str, Sequence[float]]] = {}
    for row in there.keys() & back.keys():
        for key in ("miou_a", "apce"):
            x, y = there[row][key], back[row][key]
            means = [(a + b) / 2 for a, b in zip(x, y, strict=True)]
            numbers.setdefault(row, {}).update({f"{key} there": x, f"{key} back": y, f"{key} mean": means})
    return numbers


def beside_the_paper(columns: Sequence[Column], found: Numbers, paper: Sequence[Mapping[str, str]]) -> str:
    """Return the paper's rows, each followed by ours where there is one; columns that ours lack are left out then."""
    known = {key for row in found.values() for key in row}
    columns = [column for column in columns if not found or column.key in known]
    cells = [["", *(column.title for column in columns)]]
    for row in paper:
        title = next(title for title in TITLES.values() if title.startswith(row["row"]))
        cells.append([f"{row['row']}, paper", *(row[column.key] for column in columns)])
        if title in found:
            cells.append([f"{title}, here", *(format_cell(column, found[title][column.key]) for column in columns)])
    return to_markdown(cells)


def costs(path: Path) -> str:
    """Return the table of what the methods cost; nothing where there is no such file."""
    lines = read_rows(path)
    cells = [["", "GMAC a frame", "ms a frame", "MiB a step", "s a step", f"times {lines[0]['row']}"]] if lines else []
    for line in lines:
        macs, frame, held, step, ratio = (
            float(line[key]) for key in ("macs", "frame_ms", "step_bytes", "step_ms", "step_ms_ratio")
        )
        texts = (f"{macs / 1e9:.3g}", f"{frame:.3g}", f"{held / 2**20:,.0f}", f"{step / 1e3:.3g}", f"{ratio:.2f}")
        cells.append([line["row"], *texts])
    return to_markdown(cells) if cells else ""


def tables(numbers: Path = NUMBERS) -> dict[str, str]:
    """Return the tables of numbers by their marks; ``numbers`` is the folder of the study's files."""
    paper = read_rows(NUMBERS / "paper.csv")
    other = both_ways(*(read_numbers(numbers / f"methods_on_{world}.csv") for world in ("b", "a")))
    return {
        "costs": costs(numbers / "costs.csv"),
        "tables 1 and 2": beside_the_paper(OWN, read_numbers(numbers / "methods.csv"), paper),
        "table 6": beside_the_paper(OTHER, other, paper),
    }


def page() -> str:
    """Return the page with the tables of now."""
    return fill(PAGE.read_text(), {"parameters": "\n".join(parameters()), **tables()})


if __name__ == "__main__":
    PAGE.write_text(page())
