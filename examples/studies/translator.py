"""Train what is shipped in examples/weights, a translator and its segmenters: the whole method on scenes, for hours.

python examples/studies/translator.py --out runs/translator
python examples/studies/translator.py --out runs/translator --resume
python examples/studies/translator.py --out runs/short --max_steps 500
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("translator.py needs: pip install 'morn-losses[train]'")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import train_morngan
from ntir2dc.console import call
from ntir2dc.run.shipped import SEGMENTERS, TRANSLATOR, write_segmenters, write_translator
from ntir2dc.run.weights import WeightsError

OPTIONS = TRANSLATOR.with_suffix(".json")


def main(out: Path = Path("runs/translator"), resume: bool = False, max_steps: int = 0) -> int:
    """Train with the options of examples/weights/translator.json, and write both files into the folder.

    Args:
        out: folder of the run.
        resume: go on from the newest checkpoint.
        max_steps: stop after so many steps of the run; 0 goes on to its end.

    Returns:
        0, or the status of the trainer.
    """
    going_on = ["--resume"] if resume else ["--preset", "mini", "--config", str(OPTIONS)]
    status = train_morngan.main([*going_on, "--out", str(out), "--max_steps", str(max_steps)])
    if status == 0:
        for file, write in ((TRANSLATOR, write_translator), (SEGMENTERS, write_segmenters)):
            try:
                print(f"{out / file.name}: SHA-256 {write(out, out / file.name)}")
            except WeightsError as error:  # options without segmenters
                print(f"translator: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(call(main))
