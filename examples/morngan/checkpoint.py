"""Complete states of a run, written so that a file is either whole or absent."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from morngan.files import atomic_file

VERSION = 1


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used; the message says what to do."""


def save_checkpoint(folder: Path, state: dict[str, Any], keep: int) -> Path:
    """Write ``state`` (which holds ``step``) and delete all but the newest ``keep`` checkpoints."""
    path = folder / f"step_{state['step']:08d}.pt"
    with atomic_file(path) as file:
        torch.save({"version": VERSION, **state}, file)
    for old in list_checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run from oldest to newest."""
    return sorted(folder.glob("step_*.pt"))


def load_newest(folder: Path) -> dict[str, Any]:
    """Return the newest state that can be read; only tensors and plain values are unpickled.

    Raises:
        CheckpointError: no checkpoint, or none that can be read.
    """
    paths = list_checkpoints(folder)
    if not paths:
        raise CheckpointError(f"{folder}: no checkpoint to resume from; start without --resume")
    problems = []
    for path in reversed(paths):
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            problems.append(f"{path}: {(str(error) or type(error).__name__).splitlines()[0]}")
            continue
        if state.get("version") != VERSION:
            raise CheckpointError(f"{path}: written by another version ({state.get('version')}), expected {VERSION}")
        return state
    raise CheckpointError("no checkpoint can be read:\n  " + "\n  ".join(problems))
