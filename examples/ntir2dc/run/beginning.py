"""Networks of another run, or of a weights file, that a new run begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ntir2dc.config import differences, with_defaults
from ntir2dc.run.checkpoint import CheckpointError, list_checkpoints, load_newest
from ntir2dc.run.weights import misfits, read_weights

State = dict[str, Tensor]

NO_MATTER = ("segmenter_init", "checkpointing")
"""Options of networks that do not change what trained ones compute."""


@dataclass(frozen=True)
class Origin:
    """Networks to begin with.

    Args:
        text: where they come from, for a person.
        networks: their states, by name.
        options: the options of networks in that run, where they are known.
    """

    text: str
    networks: Mapping[str, State]
    options: Mapping[str, Any] = field(default_factory=dict)


def read_networks(path: Path, say: Callable[[str], None] = lambda _: None) -> Origin:
    """Return the networks of a run, all of them if it has a checkpoint, or those of a weights file, the generators.

    Choice: where a run keeps a running average of its generators, this average is taken, as in its weights file.

    Args:
        path: folder of the run, or a weights file.
        say: is told of a checkpoint that had to be passed over.

    Raises:
        CheckpointError: no checkpoint of the run can be used.
        WeightsError: nothing is there, or no weights file.
    """
    if not list_checkpoints(path / "checkpoints"):
        return Origin(str(path), by_network(read_weights(path)))
    state = load_newest(path / "checkpoints", say)
    average = {
        name.removeprefix("module."): value
        for name, value in (state.get("averaged") or {}).items()
        if name.startswith("module.")
    }
    networks = {**by_network(state["model"]), **by_network(average)}
    return Origin(f"{path} after step {state['step']}", networks, with_defaults(state["config"])["networks"])


def by_network(tensors: Mapping[str, Tensor]) -> dict[str, State]:
    """Return tensors named ``network.layer`` by network."""
    networks: dict[str, State] = {}
    for name, tensor in tensors.items():
        network, layer = name.split(".", 1)
        networks.setdefault(network, {})[layer] = tensor
    return networks


def take_networks(networks: nn.Module, origin: Origin, options: Mapping[str, Any]) -> str:
    """Give networks the states of those of the same name where all shapes fit; return what was taken and what was not.

    Options that differ are told as well: not each of them shows in a shape.

    Raises:
        CheckpointError: not one of them fits.
    """
    taken: list[str] = []
    left: list[str] = []
    for name, network in networks.named_children():
        state = origin.networks.get(name)
        problems = ["none of this name is there"] if state is None else misfits(state, network.state_dict())
        if state is not None and not problems:
            network.load_state_dict(state)
            taken.append(name)
        else:
            left.append(f"{name}: {problems[0]}")
    listed = "\n  ".join(left)
    if not taken:
        raise CheckpointError(
            f"{origin.text}: none of its networks fits this run; their widths and depths are options "
            f"(--networks.generator_width)\n  {listed}"
        )
    told = [f"begins with {', '.join(taken)} of {origin.text}; all else starts anew"]
    if left:
        told.append(f"not taken:\n  {listed}")
    unused = sorted(origin.networks.keys() - dict(networks.named_children()).keys())
    if unused:
        told.append(f"there, and not needed: {', '.join(unused)}")
    theirs, ours = (
        {name: value for name, value in held.items() if name not in NO_MATTER} for held in (origin.options, options)
    )
    changed = differences(theirs, ours, "networks.") if theirs else []
    if changed:
        told.append("\n  ".join(("options of networks that differ:", *changed)))
    return "\n".join(told)
