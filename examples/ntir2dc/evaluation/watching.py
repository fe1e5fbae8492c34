"""What looks on while images are translated: the picture of the evaluation, and a detector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from PIL import Image
from torch import Tensor, nn

from morn_losses import LabelSpace
from ntir2dc.data.partners import name_of
from ntir2dc.detector import FrameBoxes
from ntir2dc.evaluation.cases import INPUT, Case
from ntir2dc.judge import predict
from ntir2dc.run.contact_sheet import colorize_labels, save_sheet

PANEL_ROWS = 5

Images = Mapping[str, Tensor]


class Watcher(Protocol):
    """What is shown each case with its translations."""

    def look(self, index: int, case: Case, images: Images, /) -> None:
        """Look at a case."""


Detect = Callable[[Sequence[Tensor]], Sequence[FrameBoxes]]
"""From images ``(3, H, W)`` in [-1, 1] of one size to what is found in each: the detector of scenes, or any other."""


class Panel:
    """Images at a fixed stride, side by side: the input, its translations, and what is known of them.

    Args:
        count: of the images.
        space: of the labels.
        judge: what it reads in ``judged`` is shown; None shows none.
        judged: name of a way of translating.
    """

    def __init__(self, count: int, space: LabelSpace, judge: nn.Module | None, judged: str) -> None:
        self.stride = max(1, count // PANEL_ROWS)
        self.space, self.judge, self.judged = space, judge, judged
        self.rows: list[list[Tensor | Image.Image]] = []
        self.titles: list[str] = []

    def look(self, index: int, case: Case, images: Images) -> None:
        """Keep the images of a case whose turn it is."""
        if index % self.stride or len(self.rows) == PANEL_ROWS:
            return
        shown: dict[str, Tensor | Image.Image] = {"night input": case.night, **images}
        shown.pop(INPUT)
        if self.judge is not None:
            read = colorize_labels(predict(self.judge, images[self.judged]), self.space)
            shown[f"judge on {self.judged.removesuffix(' generator')}"] = read
        if case.labels is not None:
            shown["true labels"] = colorize_labels(case.labels, self.space)
        self.rows.append(list(shown.values()))
        self.titles = list(shown)

    def save(self, path: Path) -> None:
        """Write the picture."""
        save_sheet(path, self.rows, self.titles)


class Finder:
    """What a detector finds in every translation of the frames whose objects are known.

    Args:
        detect: the detector.
        frames: names of these frames.
        ways: names of the ways of translating.
    """

    def __init__(self, detect: Detect, frames: Sequence[str], ways: Sequence[str]) -> None:
        self.detect, self.frames = detect, frozenset(frames)
        self.found: dict[str, dict[str, FrameBoxes]] = {way: {} for way in ways}

    def look(self, index: int, case: Case, images: Images) -> None:
        """Detect in every translation of a case."""
        name = name_of(Path(f"{case.name}.png"))
        if name in self.frames:
            found = self.detect([image.clamp(-1, 1) for image in images.values()])
            for way, boxes in zip(images, found, strict=True):
                self.found[way][name] = boxes
