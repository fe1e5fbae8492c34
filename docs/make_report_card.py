"""Copy the numbers and pictures of a report card into docs/report_card.md.

python examples/studies/report_card.py --out runs/report_card
python docs/make_report_card.py --run runs/report_card
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path

DOCS = Path(__file__).resolve().parent


def section(text: str, key: str) -> re.Match[str]:
    """Find what stands between the marks of a card."""
    part = re.search(rf"(?<=<!-- {key} -->\n).*?(?=<!-- end of {key} -->)", text, re.DOTALL)
    if part is None:
        raise SystemExit(f"no marks of {key!r}")
    return part


def fill(page: str, sections: dict[str, str]) -> str:
    """Return ``page`` with new text between the marks of each section."""
    for key, text in sections.items():
        place = section(page, key)
        page = f"{page[: place.start()]}\n{text.strip()}\n\n{page[place.end() :]}"
    return page


def read_sections(folder: Path) -> dict[str, str]:
    """Return what the page takes from a report card: the machine, and each card's numbers and picture."""
    result = json.loads((folder / "report_card.json").read_text())
    report = (folder / "report_card.md").read_text()
    machine = result["machine"]
    made = f"torch {machine['torch']} on the CPU, {machine['threads']} thread, {machine['seconds']} s."
    sections = {"machine": f"{result['options']['sets']} sets, {made}"}
    for key, card in result["cards"].items():
        picture = f"![{card['title']}](pictures/report_card/{key}.png)"
        sections[key] = f"{card['how']}\n\n{section(report, key).group().strip()}\n\n{picture}"
    return sections


def main() -> None:
    """Fill the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--run", type=Path, default=DOCS.parent / "runs" / "report_card", help="folder of a report card"
    )
    folder = parser.parse_args().run
    sections = read_sections(folder)
    page = DOCS / "report_card.md"
    page.write_text(fill(page.read_text(), sections))
    pictures = DOCS / "pictures" / "report_card"
    pictures.mkdir(parents=True, exist_ok=True)
    for key in sections.keys() - {"machine"}:
        shutil.copyfile(folder / "pictures" / f"{key}.png", pictures / f"{key}.png")


if __name__ == "__main__":
    main()
