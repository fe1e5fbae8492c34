"""What a short training of the segmenter S_A depends on, one option at a time, scored on held-out frames.

python examples/studies/segmenters.py --data DIR --out runs/segmenters
python examples/studies/segmenters.py --data DIR --preset demo
python examples/studies/segmenters.py --data DIR --crop 96
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("segmenters.py needs: pip install 'morn-losses[train]'")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from morn_losses import CITYSCAPES
from ntir2dc.config import PresetName, make_config
from ntir2dc.console import call
from ntir2dc.data.folders import prepare_training_data
from ntir2dc.data.images import DataError
from ntir2dc.evaluation.showing import tell_written
from ntir2dc.files import check_writable
from studies.cards.card import save_tables
from studies.teaching.segmenters import Options, study


def main(
    data: Path,
    out: Path = Path("runs/segmenters"),
    preset: PresetName = "mini",
    crop: int = 0,
    options: Options | None = None,
) -> int:
    """Write segmenters.md and segmenters.json into a folder.

    Args:
        data: folder with trainA, trainB and labels or two predictions of them.
        out: the folder.
        preset: whose options the rows change.
        crop: side of the crops; 0 is the preset's.
        options: how much is measured; None takes the defaults.

    Returns:
        0, or 1 where the data or an option is wrong.
    """
    torch.set_num_threads(1)  # sums differ with the number of threads
    options = options or Options()
    config = make_config(preset)
    dataset = dataclasses.replace(config.dataset, crop=crop or config.dataset.crop)
    try:
        check_writable(out)
        config = dataclasses.replace(config, out=str(out), device="cpu", dataset=dataset)
        edges = (dataset.edge_low, dataset.edge_high)
        frames = prepare_training_data(
            data, out / "cache", CITYSCAPES, crop=dataset.crop, edge_thresholds=edges, report=print
        )
        tables = study(config, frames, options)
    except (DataError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    facts = {"options": dataclasses.asdict(options), "preset": preset, "crop": dataset.crop, "torch": torch.__version__}
    problems: list[str] = []
    page = save_tables(out, "segmenters", tables, facts, problems)
    print(f"\n{page}\n± is the standard deviation over {options.seeds} seeds")
    return tell_written([out / "segmenters.md", out / "segmenters.json"], problems)


if __name__ == "__main__":
    sys.exit(call(main))
