"""How much translations flicker where their input only moves or stands still, and what each remedy leaves and costs.

python examples/studies/flicker.py --run runs/demo --large data/mine/trainB --out runs/flicker
python examples/studies/flicker.py --run runs/demo --antialiased runs/demo_antialias --out runs/flicker
python examples/studies/flicker.py --run runs/mini --frames data/flir/valB --limit 20 --out runs/flicker_flir
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("flicker.py needs: pip install 'morn-losses[train]'")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor, nn

from ntir2dc.colorizing.flicker import BORDER, REACH, Translate, noise_change, sharpness, shift_changes
from ntir2dc.colorizing.sizes import translate
from ntir2dc.colorizing.tiles import Statistics, shared_statistics, translate_in_tiles
from ntir2dc.colorizing.translating import Shifts, Translating
from ntir2dc.console import call, counted
from ntir2dc.data.images import DataError, list_images, read_thermal
from ntir2dc.data.thermal import tones_of
from ntir2dc.evaluation.showing import tell_written
from ntir2dc.files import check_writable
from ntir2dc.run.weights import WeightsError, load_translator, thermal_of
from studies.cards.card import Table, save_tables

MOVES = ((0, 1), (1, 0), (2, 2), (3, 1))
"""Pixels down and right that a frame is moved by: 1 to 3."""

STRIDE = ((4, 4),)
"""Those by which nothing about the network's stride changes."""

REPEATS = 3
"""Calls of which the fastest is counted."""

Row = tuple[str, Callable[[Tensor], Translate]]
"""A way to translate; it may look at the frame beforehand, as a video's average would."""


def rows_of(network: nn.Module, name: str, counts: tuple[Shifts, ...]) -> list[Row]:
    """Return the rows of a network: as it is, with the statistics of the whole scene, averaged over shifts."""
    cpu = torch.device("cpu")

    def with_scene(frame: Tensor) -> Translate:
        """Hold the norms' statistics, the limit of averaging them over a video of one scene."""
        statistics = Statistics([])
        with shared_statistics(network, statistics):
            translate(network, frame[None])
        statistics.applied = True

        def steady(x: Tensor) -> Tensor:
            with shared_statistics(network, statistics):
                return translate(network, x)

        return steady

    rows: list[Row] = [(name, lambda _: lambda x: translate(network, x)), (f"{name}, statistics held", with_scene)]
    for count in counts:
        averaged = Translating(network, cpu, shifts=count)
        rows.append((f"{name}, {count} shifts", lambda _, averaged=averaged: averaged))  # type: ignore[misc]
    return rows


def measure(row: Row, frame: Tensor, still: Tensor, levels: float) -> tuple[float, ...]:
    """Return how a way to translate does on one frame: moved, moved by the stride, in noise, its edges, its seconds."""
    run = row[1](frame)
    changes = shift_changes(run, frame, (*MOVES, *STRIDE))
    moved, by_stride = changes[: len(MOVES)], changes[len(MOVES) :]
    seconds = []
    for _ in range(REPEATS):
        started = time.process_time()
        output = run(frame[None])
        seconds.append(time.process_time() - started)
    return (
        sum(moved) / len(moved),
        sum(by_stride) / len(by_stride),
        noise_change(run, frame, levels, seed=0),
        sharpness(output) / sharpness(still),
        min(seconds),
    )


def tile_difference(network: nn.Module, frame: Tensor, tile: int, halo: int) -> tuple[float, float]:
    """Return the mean difference from the whole frame of tiles that share statistics, and of those that do not."""
    whole = translate(network, frame[None])
    shared = translate_in_tiles(network, frame[None], tile, halo)
    alone = torch.empty_like(whole)
    for top in range(0, whole.shape[-2], tile):
        for left in range(0, whole.shape[-1], tile):
            part = ..., slice(top, top + tile), slice(left, left + tile)
            alone[part] = translate(network, frame[None][part])
    return float((shared - whole).abs().mean()), float((alone - whole).abs().mean())


def main(
    run: Path,
    out: Path = Path("runs/flicker"),
    antialiased: Path | None = None,
    frames: Path | None = None,
    limit: int = 8,
    levels: float = 2.0,
    large: Path | None = None,
    tile: int = 128,
    halos: tuple[int, ...] = (0, 16, 32, 48),
) -> int:
    """Write flicker.md and flicker.json.

    Args:
        run: a run, or a weights file.
        out: where to write.
        antialiased: a run like it with --networks.antialias.
        frames: folder of thermal frames; none: the scenes that the run was tested on.
        limit: how many of them, evenly placed.
        levels: the noise of a frame that stands still, in gray levels of 8 bits.
        large: folder of larger frames, for the table of tiles; none: there is no such table.
        tile: side of a tile, its halo included.
        halos: pixels around tiles that are thrown away.

    Returns:
        0, or 1 where something cannot be used.
    """
    problems: list[str] = []
    try:
        check_writable(out)
        folder = frames or run / "scenes" / "valB"
        paths = list_images(folder)
        if not paths:
            raise DataError(f"{folder}: holds no image; name a folder with --frames")
        paths = [paths[i * len(paths) // min(limit, len(paths))] for i in range(min(limit, len(paths)))]
        tones = tones_of(paths, thermal_of(run))
        nights = [read_thermal(path, tones) for path in paths]
        smallest = min(side for night in nights for side in night.shape[1:])
        if smallest < 2 * (REACH + BORDER) + 16:
            raise DataError(f"{folder}: holds frames of {smallest} pixels, too small to be moved")
        larger = [read_thermal(path, tones) for path in list_images(large)[:limit]] if large is not None else []
        network = load_translator(run)
        rows = rows_of(network, "as it is", (2, 4))
        if antialiased is not None:
            rows += rows_of(load_translator(antialiased), "antialiased", (2,))
    except (DataError, WeightsError, OSError) as error:
        print(f"flicker: {error}", file=sys.stderr)
        return 1
    found: dict[str, list[tuple[float, ...]]] = {row[0]: [] for row in rows}
    for night in counted(nights, "frames"):
        still = translate(network, night[None])
        for row in rows:
            found[row[0]].append(measure(row, night, still, levels))
    first = found[rows[0][0]]
    cells = {
        name: [(*values[:4], values[4] / base[4]) for values, base in zip(measured, first, strict=True)]
        for name, measured in found.items()
    }
    columns = ("moved 1-3 px", "moved 4 px", "still, in noise", "sharpness", "time")
    flicker = Table(
        "change of the output, in its standard deviations; sharpness and time of one frame, that of the first row is 1",
        columns,
        tuple((name, tuple(zip(*values, strict=True))) for name, values in cells.items()),
    )
    tables = [flicker]
    if larger:
        rows_of_tiles = []
        for halo in halos:
            pairs = [tile_difference(network, night, tile, halo) for night in counted(larger, f"halo of {halo}")]
            rows_of_tiles.append((f"halo of {halo}", tuple(zip(*pairs, strict=True))))
        H, W = larger[0].shape[1:]
        title = f"mean difference from the whole frame of {W} x {H}, of 2, in tiles of {tile} with their halo"
        tables.append(Table(title, ("shared statistics", "each tile by itself"), tuple(rows_of_tiles)))
    facts = {
        "run": str(run),
        "antialiased": str(antialiased),
        "frames": len(nights),
        "noise": levels,
        "large": str(large),
    }
    print(save_tables(out, "flicker", tables, facts, problems))
    return tell_written([out / "flicker.md", out / "flicker.json"], problems)


if __name__ == "__main__":
    sys.exit(call(main))
