"""Write report.html: one self-contained page with curves, panels and metrics of a run, or of an evaluation alone.

python examples/report.py --run runs/demo
python examples/report.py --run runs/ablation/rows/full/seed_0
python examples/report.py --run runs/both
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("report.py needs: pip install 'morn-losses[train]'")


from ntir2dc.console import call, escape_what_cannot_be_shown
from ntir2dc.data.images import DataError
from ntir2dc.report import write_report


def main(run: Path) -> int:
    """Write the report of a run into its folder.

    Args:
        run: folder of the run, or what evaluate.py wrote with --out; what it lacks is named on the page.

    Returns:
        0, or 1 where there is no such folder, or nothing of a run in it.
    """
    escape_what_cannot_be_shown()
    try:
        path = write_report(run)
    except (DataError, OSError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    print(f"written: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(call(main))
