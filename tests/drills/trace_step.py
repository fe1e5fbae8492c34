"""List the trainer's files through which a thermal frame goes in one training step, in the order of entering them.

python tests/drills/trace_step.py           # the way of a thermal frame
python tests/drills/trace_step.py --every   # all calls of the step, with or without the frame
python tests/drills/trace_step.py --root /path/to/another/checkout --package its_package

What is traced is the last step of a run of tiny networks, in the phase ``collaborate``, from the file of its sample on.
Only files of the trainer are listed, which are those under ``examples/``: not the library, not torch.

- **The frame** is what ``read_thermal`` returns of a file in ``trainB``, and every tensor that torch or the library
  makes of it going forward. Gradients and what they move (weights) are not part of it.
- **A call counts** if the frame is among its arguments or results: such a tensor by itself, or in a list, tuple, dict
  or dataclass. A resumed generator is no new call. Comprehensions and lambdas belong to the file that they stand in.
- **A file is entered** when one of its functions that counts is called from another file. Between the two may lie
  torch, the library, and functions that do not count. A call of a file that is itself at work further up is a way back
  up, such as a callback, and enters nothing.
- **A file's stay** is all the time for which one file above it calls it: the passes of a network in one step are one
  stay, however many functions of the file above start them. What lies below stays with it.
- **A file is entered again** when it has returned, and afterwards another file above calls it. It is then a second
  place from which a reader must come to it.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.util
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass
class Call:
    """A call of a function of the trainer.

    Args:
        file: where the function stands, relative to the traced folder.
        above: the call that made it; None for the run's loop.
        counts: whether the frame was among its arguments or results.
    """

    file: str
    above: Call | None
    counts: bool = False

    def caller(self) -> Call | None:
        """Return the nearest call above that counts."""
        above = self.above
        while above is not None and not above.counts:
            above = above.above
        return above

    def at_work(self) -> set[str]:
        """Return the files of all calls above that count."""
        above = self.caller()
        return set() if above is None else {above.file, *above.at_work()}


@dataclasses.dataclass
class Way:
    """Where the frame went.

    Args:
        files: in the order in which they were entered, the run's loop first.
        entries: for each of them, how many calls came from which file above.
    """

    files: list[str]
    entries: dict[str, Counter[str]]

    def again(self) -> dict[str, list[str]]:
        """Return the files that were entered again, each with the files that did so."""
        return {file: list(above)[1:] for file, above in self.entries.items() if len(above) > 1}


def way_of(calls: Iterable[Call]) -> Way:
    """Return the way that calls, in the order of time, tell of."""
    way = Way([], {})
    for call in calls:
        if not call.counts or call.file in call.at_work():
            continue
        above = call.caller()
        if call.file not in way.entries:
            way.files.append(call.file)
            way.entries[call.file] = Counter()
        if above is not None:
            way.entries[call.file][above.file] += 1
    return way


class Thermal(TorchFunctionMode):
    """Knows the thermal frame and what is made of it."""

    def __init__(self) -> None:
        super().__init__()
        # kept alive, so that no other tensor takes its id
        self.known: dict[int, torch.Tensor] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.holds(args) or self.holds(kwargs):
            self.learn(result)
        return result

    def holds(self, value: Any) -> bool:
        """Whether something of the frame is in a value."""
        if isinstance(value, torch.Tensor):
            return id(value) in self.known
        return any(self.holds(item) for item in _items(value))

    def learn(self, value: Any) -> None:
        """Take the tensors in a value as made of the frame."""
        if isinstance(value, torch.Tensor) and not isinstance(value, torch.nn.Parameter):
            self.known[id(value)] = value
        for item in _items(value):
            self.learn(item)


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, dict):
        return value.values()
    if dataclasses.is_dataclass(value) and not isinstance(value, (type, torch.nn.Module)):
        return vars(value).values() if hasattr(value, "__dict__") else ()
    return ()


class Tracer:
    """Records the trainer's calls between :meth:`start` and :meth:`stop`.

    Args:
        examples: the folder whose files are the trainer.
        library: the folder of the library.
        every: take every call as one that counts.
    """

    def __init__(self, examples: Path, library: Path, *, every: bool = False) -> None:
        self.examples, self.library, self.every = f"{examples}/", f"{library}/", every
        self.thermal = Thermal()
        self.calls: dict[FrameType, Call] = {}

    def start(self) -> None:
        """Record from now on."""
        self.thermal.__enter__()
        sys.setprofile(self._see)

    def stop(self) -> None:
        """Record no more."""
        sys.setprofile(None)
        self.thermal.__exit__(None, None, None)

    def _see(self, frame: FrameType, event: str, value: Any) -> None:
        if event not in ("call", "return"):
            return
        path = frame.f_code.co_filename
        if path.startswith(self.examples):
            call = self._call(frame)
            if event == "return" and frame.f_code.co_name == "read_thermal" and "trainB" in _arguments(frame)[0].parts:
                self.thermal.learn(value)
            seen = value if event == "return" else _arguments(frame)
            call.counts = call.counts or self.every or self.thermal.holds(seen)
        # kernels and functions with a backward pass of their own go by ways that torch's functions do not show
        elif (
            event == "return"
            and (path.startswith(self.library) or frame.f_code.co_name == "apply")
            and self.thermal.holds(_arguments(frame))
        ):
            self.thermal.learn(value)

    def _call(self, frame: FrameType) -> Call:
        if frame not in self.calls:
            above = frame.f_back
            while above is not None and not above.f_code.co_filename.startswith(self.examples):
                above = above.f_back
            if above is None or above in self.calls:
                self.calls[frame] = Call(frame.f_code.co_filename, None if above is None else self.calls[above])
            else:
                # it was at work before the tracing: the loop of the run
                self.calls[above] = Call(above.f_code.co_filename, None, counts=True)
                self.calls[frame] = Call(frame.f_code.co_filename, self.calls[above])
        return self.calls[frame]

    def way(self) -> Way:
        """Return the way of the frame, with paths below the traced folder."""
        for call in self.calls.values():
            call.file = call.file.removeprefix(self.examples)
        return way_of(self.calls.values())


def _arguments(frame: FrameType) -> list[Any]:
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)
    return [frame.f_locals.get(name) for name in code.co_varnames[:count]]


def trace(work: Path, root: Path = ROOT, package: str = "ntir2dc", *, every: bool = False) -> Way:
    """Train tiny networks to the end, and return the way of the frame in the last step.

    Args:
        work: an empty folder for data and run.
        root: the repository.
        package: its trainer, a package in ``examples/``.
        every: follow all calls of the step instead of the frame.
    """
    helpers = "helpers." if (root / "tests" / "helpers").is_dir() else ""
    tiny = importlib.import_module(f"{helpers}tiny_run").TINY
    importlib.import_module(f"{helpers}small_folder").write_folder(work / "data")
    train = importlib.import_module("train_morngan").main
    trainer = importlib.import_module(f"{package}.trainer").Trainer
    tracer = Tracer(root / "examples", root / "morn_losses", every=every)
    training_step, taken = trainer.training_step, 0

    def watched(self: Any, *arguments: Any) -> Any:
        nonlocal taken
        taken += 1
        values = training_step(self, *arguments)
        if taken == self.total_steps - 1:
            tracer.start()
        elif taken == self.total_steps:
            tracer.stop()
        return values

    trainer.training_step = watched
    try:
        every = [f"--{name}_every=1000" for name in ("checkpoint", "panel")]
        status = train(["--preset=mini", *tiny, *every, f"--data={work / 'data'}", f"--out={work / 'run'}"])
    finally:
        trainer.training_step = training_step
    assert status == 0
    return tracer.way()


def report(way: Way) -> list[str]:
    """Return the list as a table, and what it comes to."""
    lines = ["| | file | entered from (calls) |", "|---:|---|---|"]
    for number, file in enumerate(way.files, 1):
        above = ", ".join(f"`{name}` ({count})" for name, count in way.entries[file].items())
        lines.append(f"| {number} | `{file}` | {above or 'the loop of the run'} |")
    again = way.again()
    return [*lines, "", f"{len(way.files)} files, {len(again)} of them entered again: {', '.join(again) or 'none'}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository whose trainer is traced")
    parser.add_argument("--package", default="ntir2dc", help="the trainer's package under examples/")
    parser.add_argument("--every", action="store_true", help="all calls, with or without the frame")
    options = parser.parse_args()
    root = options.root.resolve()
    sys.path[:0] = [str(root), str(root / "examples"), str(root / "tests")]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        print("\n".join(report(trace(Path(work), root, options.package, every=options.every))))


if __name__ == "__main__":
    main()
