"""Complete states of a run, written so that a file is either whole or absent."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import torch

from ntir2dc.files import atomic_file

VERSION = 1

# what is written, read and deleted here; step_best.pt is the user's
_NAME = re.compile(r"step_(\d{8}|[1-9]\d{8,})\.pt")


class Stateful(Protocol):
    """What has a state: networks, optimizers, pools, the memory."""

    def state_dict(self) -> Any:
        """Return the state."""

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Take a state."""


Held = Mapping[str, "Stateful | Held | None"]
"""What a run holds, by the names of a checkpoint; None is what this run does without."""


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used; the message says what to do."""


def save_checkpoint(folder: Path, state: dict[str, Any], keep: int) -> Path:
    """Write ``state`` (which holds ``step``) and delete all but the newest ``keep`` checkpoints.

    Raises:
        OSError: the file cannot be written; those before it are left as they are.
    """
    path = folder / f"step_{state['step']:08d}.pt"
    for left_over in folder.glob(".step_*.tmp"):  # by a process that was killed while writing
        left_over.unlink()
    with atomic_file(path) as file:
        _save({"version": VERSION, **state}, file)
    for old in list_checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def _save(state: dict[str, Any], file: BinaryIO) -> None:
    try:
        torch.save(state, file)
    except RuntimeError as error:
        # what torch says of a full disk is the position in the file
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run from oldest to newest; a copy under another name is none of them."""
    written = [path for path in folder.glob("step_*.pt") if _NAME.fullmatch(path.name)]
    return sorted(written, key=lambda path: int(path.stem.removeprefix("step_")))


def load_newest(folder: Path, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Return the newest state that can be read; only tensors and plain values are unpickled.

    Args:
        folder: of the checkpoints.
        say: is told of a checkpoint that had to be passed over.

    Raises:
        CheckpointError: no checkpoint, none that can be read, or one of another version.
    """
    paths = list_checkpoints(folder)
    if not paths:
        raise CheckpointError(f"{folder}: holds no checkpoint (step_00000200.pt and the like)")
    problems = []
    for path in reversed(paths):
        try:
            state = _load(path)
        # damaged files make the reader raise nearly anything
        except Exception as error:
            problems.append(f"{path}: {(str(error) or type(error).__name__).splitlines()[0]}")
            continue
        if state.get("version") != VERSION:
            raise CheckpointError(
                f"{path}: written by another version of the trainer ({state.get('version')}, expected {VERSION}); "
                "go on with that version, or start a new run in another --out"
            )
        for problem in problems:
            say(f"passed over, cannot be read: {problem}")
        return state
    listed = "\n  ".join(problems)
    raise CheckpointError(f"no checkpoint can be read; start a new run in another --out:\n  {listed}")


def _load(path: Path) -> dict[str, Any]:
    # torch reads tensors without a look at their checksums
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} is damaged")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch goes on to say how to load it all the same
        raise ValueError("holds more than tensors and plain values, which is never loaded") from error
    if not isinstance(state, dict):
        raise ValueError("is not a checkpoint of this trainer")
    return state


def states_of(held: Held) -> dict[str, Any]:
    """Return the states of what a run holds, under the same names."""
    states: dict[str, Any] = {}
    for name, part in held.items():
        if isinstance(part, Mapping):
            states[name] = states_of(part)
        else:
            states[name] = None if part is None else part.state_dict()
    return states


def load_states(held: Held, states: Mapping[str, Any]) -> None:
    """Give what a run holds the states that :func:`states_of` returned."""
    for name, part in held.items():
        if isinstance(part, Mapping):
            load_states(part, states[name])
        elif part is not None:
            part.load_state_dict(states[name])


def random_states(device: torch.device) -> dict[str, Any]:
    """Return the states of torch's global random numbers."""
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if device.type == "cuda" else [],
    }


def load_random_states(states: Mapping[str, Any], device: torch.device) -> None:
    """Set the states that :func:`random_states` returned."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        # there may be fewer devices than there were
        for index, state in zip(range(torch.cuda.device_count()), states["cuda"], strict=False):
            torch.cuda.set_rng_state(state, index)
