"""One experiment for each module of the paper: does it do what the paper says?

python examples/studies/report_card.py
python examples/studies/report_card.py --out runs/report_card
python examples/studies/report_card.py --options '{sets: 2, draws: 10}' --out runs/try
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("report_card.py needs: pip install 'morn-losses[train]'")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from ntir2dc.console import call
from ntir2dc.files import check_writable
from studies.cards.report_card import write_report_card
from studies.cards.streets import Options


def main(out: Path = Path("runs/report_card"), options: Options | None = None) -> int:
    """Write report_card.md, report_card.json and pictures of every experiment into a folder.

    Args:
        out: the folder.
        options: how much is measured; None takes the defaults, minutes on one core.

    Returns:
        0, or 1 where nothing can be written there.
    """
    # sums differ with the number of threads
    torch.set_num_threads(1)
    try:
        check_writable(out)
        write_report_card(out, options or Options())
    except OSError as error:
        print(f"report_card: {error}", file=sys.stderr)
        return 1
    print(f"written: {out / 'report_card.md'}, {out / 'report_card.json'}, {out / 'pictures'}")
    return 0


if __name__ == "__main__":
    sys.exit(call(main))
