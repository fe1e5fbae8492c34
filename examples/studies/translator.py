"""Train the translator that is shipped in examples/weights: the whole method on procedural scenes, for hours.

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
from ntir2dc.run.shipped import TRANSLATOR, write_half

OPTIONS = TRANSLATOR.with_suffix(".json")


def main(out: Path = Path("runs/translator"), resume: bool = False, max_steps: int = 0) -> int:
    """Train with the options of examples/weights/translator.json, and write translator.safetensors into the folder.

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
        sha256 = write_half(out, out / TRANSLATOR.name)
        print(f"{out / TRANSLATOR.name}: SHA-256 {sha256}")
    return status


if __name__ == "__main__":
    sys.exit(call(main))
