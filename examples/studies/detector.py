"""Train a detector of persons and cars on procedural scenes, and mark it on scenes that it never saw.

python examples/studies/detector.py --out runs/detector
python examples/studies/detector.py --out runs/detector --steps 500
python examples/studies/detector.py --out runs/detector --steps 0
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
import time
from functools import partial
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("detector.py needs: pip install 'morn-losses[train]'")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from ntir2dc.console import call
from ntir2dc.data.images import DataError
from ntir2dc.detector.weights import FILE, from_half
from ntir2dc.evaluation.showing import tell_written
from ntir2dc.files import attempt, check_writable, write_atomically, write_text
from ntir2dc.judge.shipped import to_half
from studies.detecting.marks import format_marks, marks_of
from studies.detecting.scenes import marks_scenes
from studies.detecting.training import OPTIONS, train_from_scenes


def main(out: Path = Path("runs/detector"), steps: int = 0) -> int:
    """Write the detector's weights and its marks; the same command goes on where it was killed.

    Args:
        out: folder for scenes, checkpoint and what is written.
        steps: of training; 0 is what the recipe says.

    Returns:
        0, or 1 where something cannot be written or an option is wrong.
    """
    torch.set_num_threads(1)  # sums differ with the number of threads
    say = partial(print, flush=True)
    try:
        if steps < 0:
            raise DataError(f"steps: expected at least 0, got {steps}")
        check_writable(out)
        content = to_half(train_from_scenes(out, steps=steps or OPTIONS.steps, say=say))
        path = out / FILE
        write_atomically(path, content)
        detector = from_half(content)
        by_size = {size: marks_of(detector, known) for size, known in marks_scenes(out / "scenes").items()}
    except (DataError, ValueError, OSError) as error:
        print(f"detector: {error}", file=sys.stderr)
        return 1
    page, sha256 = format_marks(by_size), hashlib.sha256(content).hexdigest()
    facts = {
        "sha256": sha256,
        "bytes": len(content),
        "torch": torch.__version__,
        "marks": {f"{height}x{width}": marks for (height, width), marks in by_size.items()},
    }
    texts = {out / "detector.md": page, out / "detector.json": json.dumps(facts, indent=2) + "\n"}
    problems: list[str] = []
    for target, text in texts.items():
        attempt(partial(write_text, target, text), target, problems)
    print(f"{page}\n{path}: {len(content)} bytes, SHA-256 {sha256}, {time.process_time():.0f} s of processor time")
    return tell_written([path, *texts], problems)


if __name__ == "__main__":
    sys.exit(call(main))
