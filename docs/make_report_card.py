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
    found = re.search(rf"(?<=<!-- {key} -->\n).*?(?=<!-- end of {key} -->)", text, re.DOTALL)
    if found is None:
        raise SystemExit(f"no marks of {key!r}")
    return found


def fill(page: str, report: str, keys: list[str]) -> str:
    """Return ``page`` with the numbers of each card taken from ``report``."""
    for key in keys:
        place = section(page, key)
        page = page[: place.start()] + section(report, key).group() + page[place.end() :]
    return page


def main() -> None:
    """Fill the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--run", type=Path, default=DOCS.parent / "runs" / "report_card", help="folder of a report card"
    )
    folder = parser.parse_args().run
    keys = list(json.loads((folder / "report_card.json").read_text())["cards"])
    page = DOCS / "report_card.md"
    page.write_text(fill(page.read_text(), (folder / "report_card.md").read_text(), keys))
    (DOCS / "pictures" / "report_card").mkdir(parents=True, exist_ok=True)
    for key in keys:
        shutil.copyfile(folder / "pictures" / f"{key}.png", DOCS / "pictures" / "report_card" / f"{key}.png")


if __name__ == "__main__":
    main()
