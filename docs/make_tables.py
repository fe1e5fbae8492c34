"""Copy the tables that examples have written to where the pages show them; only those whose folder is named.

python docs/make_tables.py --comparison runs/mini                    # of examples/compare_runs.py
python docs/make_tables.py --recipes runs/compare                    # of examples/recipes/compare.py
python docs/make_tables.py --thresholds runs/thresholds              # of examples/recipes/thresholds.py
python docs/make_tables.py --shares runs/aca                         # of runs of examples/recipes/cyclegan.py --morn
python docs/make_tables.py --scene_statistics runs/scene_statistics  # of examples/studies/scene_statistics.py
python docs/make_tables.py --flicker runs/flicker                      # of examples/studies/flicker.py
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


def flicker(folder: Path, docs: Path) -> None:
    """Show what remedies of flicker leave and cost, and how far tiles agree."""
    fill_page(docs / "guides" / "video.md", {"flicker": (folder / "flicker.md").read_text()})


SOURCES = {
    "comparison": comparison,
    "recipes": recipes,
    "thresholds": thresholds,
    "shares": shares,
    "scene_statistics": scene_statistics,
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
