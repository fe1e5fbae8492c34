"""Train one of the two judges that are shipped, on procedural scenes, and mark it on scenes that it never saw.

python examples/studies/judge.py --judge a --out runs/judge
python examples/studies/judge.py --judge b --out runs/judge
python examples/studies/judge.py --judge a --out runs/judge --steps 500
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from functools import partial
from pathlib import Path
from typing import Literal

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("judge.py needs: pip install 'morn-losses[train]'")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from morn_losses import CITYSCAPES
from ntir2dc.console import call
from ntir2dc.data.images import DataError
from ntir2dc.evaluation.showing import tell_written
from ntir2dc.files import attempt, check_writable, write_atomically, write_text
from ntir2dc.judge.shipped import SHIPPED, from_half, to_half
from studies.judging.marks import confusion_of, format_marks, marks
from studies.judging.scenes import marks_pairs
from studies.judging.training import RECIPES, train_from_scenes


def main(judge: Literal["a", "b"], out: Path = Path("runs/judge"), steps: int = 0) -> int:
    """Write the judge's weights and its marks; the same command goes on where it was killed.

    Args:
        judge: which one.
        out: folder for scenes, checkpoints and what is written.
        steps: of training; 0 is what the shipped one had.

    Returns:
        0, or 1 where something cannot be written or an option is wrong.
    """
    torch.set_num_threads(1)  # sums differ with the number of threads
    shipped, recipe = SHIPPED[judge], RECIPES[judge]
    say = partial(print, flush=True)
    try:
        if steps < 0:
            raise DataError(f"steps: expected at least 0, got {steps}")
        check_writable(out)
        state = train_from_scenes(recipe, out, steps=steps or recipe.options.steps, say=say)
        content = to_half(state)
        path = out / shipped.file
        write_atomically(path, content)
        network = from_half(content, shipped)
        by_size = {
            size: confusion_of(network, pairs, CITYSCAPES) for size, pairs in marks_pairs(out / "scenes").items()
        }
    except (DataError, ValueError, OSError) as error:
        print(f"judge: {error}", file=sys.stderr)
        return 1
    page = format_marks({f"judge {judge}": by_size}, CITYSCAPES)
    sha256 = hashlib.sha256(content).hexdigest()
    facts = {
        "sha256": sha256,
        "bytes": len(content),
        "torch": torch.__version__,
        "marks": {f"{h}x{w}": marks(confusion, CITYSCAPES) for (h, w), confusion in by_size.items()},
    }
    texts = {out / f"judge_{judge}.md": page, out / f"judge_{judge}.json": json.dumps(facts, indent=2) + "\n"}
    problems: list[str] = []
    for target, text in texts.items():
        attempt(partial(write_text, target, text), target, problems)
    print(f"{page}\n{path}: {len(content)} bytes, SHA-256 {sha256}")
    return tell_written([path, *texts], problems)


if __name__ == "__main__":
    sys.exit(call(main))
