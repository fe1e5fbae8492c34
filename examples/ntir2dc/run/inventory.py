"""What a run began with: the files of its data by name and content, compared when it goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from ntir2dc.data.images import list_images
from ntir2dc.files import write_atomically
from ntir2dc.run.checkpoint import CheckpointError

NAME = "data.json"
FOLDERS = ("trainA", "trainB", "labelsA", "labels_pred1", "labels_pred2", "edgesA", "edgesB")

SHOWN = 10
"""Names that are listed; the others are counted."""


def check_inventory(out: Path, folder: Path, say: Callable[[str], None], *, resume: bool) -> None:
    """Note the data of a run that begins; say by name what has changed since where one goes on.

    Choice: a run goes on with other color images, labels and edges, as another training from there, but not with other
    names of thermal images: the memory holds an entry for each, by its place among them.

    Args:
        out: folder of the run, whose ``data.json`` it is.
        folder: of the data.
        say: is told the changes.
        resume: whether the run goes on.

    Raises:
        CheckpointError: thermal images came or went.
    """
    now = take_inventory(folder)
    before = _read(out / NAME) if resume else None
    if before is None:
        write_atomically(out / NAME, json.dumps(now, indent=0).encode())
        return
    changed = compare(before, now)
    if not changed:
        return
    lines = [f"{name}: {what}" for name, what in changed.items()]
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    told = "\n  ".join((f"{folder}: changed since the run began", *lines[:SHOWN], *more))
    if any(name.startswith("trainB/") and what != "changed" for name, what in changed.items()):
        raise CheckpointError(
            f"{told}\nA run needs the thermal images it began with: put them back, or start another in another --out"
        )
    say(told)


def take_inventory(folder: Path) -> dict[str, str]:
    """Return a hash of each file that training reads, by its folder and name."""
    return {
        f"{name}/{path.name}": hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
        for name in FOLDERS
        for path in list_images(folder / name)
    }


def compare(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return the names that were added, removed or changed, those of thermal images that came or went first."""
    changes = {
        name: "added" if name not in before else "removed" if name not in now else "changed"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    }
    return dict(sorted(changes.items(), key=lambda item: not item[0].startswith("trainB/") or item[1] == "changed"))


def _read(path: Path) -> dict[str, str] | None:
    try:
        held = json.loads(path.read_text())
    except (OSError, ValueError):  # a run from before there were inventories, or damage
        return None
    return held if isinstance(held, dict) else None
