"""The objects of scenes that translations keep and invent, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ntir2dc.evaluation import Case, Translate
from ntir2dc.evaluation.faithfulness import SCORE, match_classes, notes_on_objects, object_columns, object_figures
from ntir2dc.evaluation.figures import Column
from ntir2dc.evaluation.objects import ObjectsAsked, search_scenes
from ntir2dc.evaluation.watching import Finder


class Objects:
    """What a detector finds in the translations of every way of translating.

    Args:
        detector: its weights.
        folder: of scenes, which know their objects.
        nights: their test images.
        ways: names of the ways.
        device: where it runs.

    Raises:
        DataError: weights that cannot be used, or a folder that holds no such scenes, or none of their objects.
    """

    def __init__(
        self, detector: Path, folder: Path, nights: Sequence[Path], ways: Sequence[str], device: torch.device | str
    ) -> None:
        search = search_scenes(ObjectsAsked(detector=str(detector)), folder, nights, ways, device)
        assert search.finder is not None
        self.finder: Finder = search.finder
        self.known = search.known
        self.columns: tuple[Column, ...] = object_columns(self.known.names)
        self.notes = notes_on_objects(self.known, f"the detector {detector}")

    def watched(self, way: str, translate: Translate) -> Translate:
        """Return a way of translating whose results the detector looks at."""

        def translated(case: Case) -> Tensor:
            image = translate(case)
            self.finder.look(0, case, {way: image})
            return image

        return translated

    def figures(self, way: str) -> dict[str, float]:
        """Return the figures of a way that has translated all test images."""
        classes = match_classes(self.known, self.finder.found[way])
        figures = object_figures(classes, np.ones((1, len(self.known.frames))), SCORE)
        return {key: float(value[0]) for key, value in figures.items()}
