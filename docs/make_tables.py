"""Copy the tables that examples have written to where the pages show them; only those whose folder is named.

python docs/make_tables.py --comparison runs/mini                    # of examples/compare_runs.py
python docs/make_tables.py --recipes runs/compare                    # of examples/recipes/compare.py
python docs/make_tables.py --thresholds runs/thresholds              # of examples/recipes/thresholds.py
python docs/make_tables.py --shares runs/aca                         # of runs of examples/recipes/cyclegan.py --morn
python docs/make_tables.py --scene_statistics runs/scene_statistics  # of examples/studies/scene_statistics.py
python docs/make_tables.py --pseudo_labels runs/pseudo_labels        # of examples/studies/pseudo_labels.py
python docs/make_tables.py --night_labels runs/night/labels          # likewise, of the runs with labels for the night
python docs/make_tables.py --flicker runs/flicker                    # of examples/studies/flicker.py
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))

from make_report_card import fill  # noqa: E402


def fill_page(page: Path, sections: dict[str, str]) -> None:
    """Put new text between the marks of a page."""
    page.write_text(fill(page.read_text(), sections))


def comparison(folder: Path, docs: Path) -> None:
    """Show what compare_runs.py wrote for two runs on real frames."""
    fill_page(docs / "ablation.md", {"real frames": (folder / "comparison.md").read_text()})


def recipes(folder: Path, docs: Path) -> None:
    """Show the CycleGANs with and without the losses, and their picture in 256 colors, a third of its size."""
    fill_page(docs / "guides" / "gan.md", {"recipes": (folder / "compare.md").read_text()})
    with Image.open(folder / "compare.png") as picture:
        picture.convert("RGB").quantize(256).save(docs / "pictures" / "recipe.png", optimize=True)


def thresholds(folder: Path, docs: Path) -> None:
    """Show how right the recipes' night labels are at which threshold."""
    fill_page(docs / "guides" / "gan.md", {"thresholds of recipes": (folder / "thresholds.md").read_text()})


def shares(folder: Path, docs: Path) -> None:
    """Show in which share of the steps ACA found its classes, for every run in a folder."""
    runs = {file.parent.name: json.loads(file.read_text()) for file in sorted(folder.glob("*/aca.json"))}
    names = list(next(iter(runs.values()))["all"])
    lines = [["run", "steps", *names], ["---", *["---:"] * (len(names) + 1)]]
    for name, run in runs.items():
        for part, found in (("", run["all"]), (", last tenth", run["tenths"][-1])):
            steps = run["steps"] // (len(run["tenths"]) if part else 1)
            lines.append([name + part, str(steps), *(f"{100 * found[n]:.0f}%" for n in names)])
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
    fill_page(docs / "guides" / "gan.md", {"shares of recipes": text})


def scene_statistics(folder: Path, docs: Path) -> None:
    """Show statistics of procedural scenes and real frames, and their curves."""
    fill_page(docs / "ablation.md", {"scene statistics": (folder / "scene_statistics.md").read_text()})
    with Image.open(folder / "scene_statistics.png") as picture:
        picture.convert("RGB").quantize(64).save(docs / "pictures" / "scene_statistics.png", optimize=True)


STAGES = ("S_A, true day image", "S_A, translation", "S_B, translated day image", "S_B, thermal image", "mined")
CLASSES = (
    *("all pixels", "road", "building", "vegetation", "sky", "car"),
    *("person", "traffic light", "traffic sign", "truck", "bus", "motorcycle"),
)


def pseudo_labels(folder: Path, docs: Path) -> None:
    """Show how right the labels of a run are."""
    fill_page(docs / "concepts" / "mining.md", {"labels of a run": labels_of(folder)})


def night_labels(folder: Path, docs: Path) -> None:
    """Show how right the labels of the runs with labels for the night are."""
    fill_page(docs / "night.md", {"labels of the runs": labels_of(folder)})


def labels_of(folder: Path) -> str:
    """Return how right labels are at some stages, precision / recall in %, and how often ACA acts."""
    tables = {
        table["title"]: table["rows"] for table in json.loads((folder / "pseudo_labels.json").read_text())["tables"]
    }

    def cell(title: str, name: str, stage: str) -> str:
        mean = tables[title][name][stage]["mean"]
        return "-" if mean is None else f"{100 * mean:.0f}"

    lines = [["%", *STAGES], ["---", *["---:"] * len(STAGES)]]
    for name in (name for name in CLASSES if name in tables["precision, %"]):
        pairs = ([cell(title, name, stage) for title in ("precision, %", "recall, %")] for stage in STAGES)
        lines.append([name, *(" / ".join(pair) for pair in pairs)])
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
    acting = next((rows for title, rows in tables.items() if "ACA acts" in title), {})
    shares = [f"{name} {100 * row['share']['mean']:.0f}" for name, row in acting.items()]
    if shares:
        text += f"\nSteps of the last phase in which ACA acts, %: {', '.join(shares)}.\n"
    return text


def flicker(folder: Path, docs: Path) -> None:
    """Show what remedies of flicker leave and cost, and how far tiles agree."""
    fill_page(docs / "guides" / "video.md", {"flicker": (folder / "flicker.md").read_text()})


SOURCES = {
    "comparison": comparison,
    "recipes": recipes,
    "thresholds": thresholds,
    "shares": shares,
    "scene_statistics": scene_statistics,
    "pseudo_labels": pseudo_labels,
    "night_labels": night_labels,
    "flicker": flicker,
}
"""By their names on the command line."""


def main(arguments: list[str] | None = None) -> None:
    """Fill the pages."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, source in SOURCES.items():
        parser.add_argument(f"--{name}", type=Path, help=source.__doc__)
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the pages")
    options = vars(parser.parse_args(arguments))
    if not any(options[name] for name in SOURCES):
        parser.error(f"expected at least one of {', '.join(f'--{name}' for name in SOURCES)}")
    for name, source in SOURCES.items():
        if options[name]:
            source(options[name], options["docs"])


if __name__ == "__main__":
    main()
