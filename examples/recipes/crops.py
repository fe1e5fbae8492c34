"""What every recipe reads: crops of day images with fused labels, and of night thermal images, unpaired."""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

if importlib.util.find_spec("PIL") is None:
    sys.exit("this recipe needs: pip install 'morn-losses[train]'")

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from morn_losses import CITYSCAPES, LabelFusion, SemanticDenoiser

# a recipe is started by its file name: what it shares with the trainer lies one folder up
sys.path.append(str(Path(__file__).resolve().parents[1]))

from ntir2dc.console import escape_what_cannot_be_shown
from ntir2dc.data.images import DataError, check_size, list_images, load_color, load_thermal, read_thermal
from ntir2dc.data.maps import read_known_labels, read_labels
from ntir2dc.data.pairing import corner_at_class, cut
from ntir2dc.data.partners import partners_of
from ntir2dc.data.samples import Source
from ntir2dc.files import check_writable
from ntir2dc.run.contact_sheet import save_sheet
from ntir2dc.seeds import seeded
from scenes import write_scenes

Batch = tuple[Tensor, Tensor, Tensor]
"""``real_a (B, 3, h, w)``, ``labels_a (B, h, w)``, ``real_b (B, 3, h, w)``."""


def parse(description: str | None, arguments: list[str] | None) -> argparse.Namespace:
    """Return the options that all recipes have."""
    parser = argparse.ArgumentParser(description=(description or "A recipe.").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, help="folder with trainA trainB labels_pred1 labels_pred2; none: procedural scenes"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/recipe"), help="folder of the results")
    parser.add_argument("--morn", action="store_true", help="add ACA and CGR")
    parser.add_argument("--aca", type=float, default=1.0, help="weight of ACA, with --morn")
    parser.add_argument("--cgr", type=float, default=1.0, help="weight of CGR, with --morn")
    parser.add_argument("--segmenter", type=Path, help="weights of the night segmenter; taught where there is no file")
    parser.add_argument("--segmenter_steps", type=int, default=400, help="that it is taught for, batches of 8")
    parser.add_argument("--segmenter_crop", type=int, help="side of its crops; none: that of --crop")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--crop", type=int, default=96, help="side of the crops, a multiple of 16 of at least 32")
    parser.add_argument("--width", type=int, default=16, help="channels of the first layers")
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.segmenter_crop is None:
        options.segmenter_crop = options.crop
    if options.segmenter_crop < 32 or options.segmenter_steps < 1:
        parser.error("expected --segmenter_crop of at least 32, and --segmenter_steps of at least 1")
    if options.crop % 16 or options.crop < 32 or min(options.steps, options.batch, options.width) < 1:
        parser.error("expected --crop a multiple of 16 of at least 32, and --steps, --batch, --width of at least 1")
    if not (0 <= options.aca < math.inf and 0 <= options.cgr < math.inf):
        parser.error("expected --aca and --cgr of at least 0")
    if not options.morn and (options.aca, options.cgr) != (1, 1):
        parser.error("--aca and --cgr weigh the losses that --morn adds")
    options.segmenter = options.segmenter or options.out / "segmenter.pt"
    options.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    check_writable(options.out)
    if options.data is None:
        options.data = options.out / "scenes"
        try:
            write_scenes(options.data, seed=0, n_train_a=160, n_train_b=160, n_val=24, n_judge=0, size=(96, 128))
        except ValueError as error:
            raise DataError(f"{options.data}: {error}") from error
    return options


def start(main: Callable[[], object]) -> None:
    """Run a recipe; files that cannot be used end it in a sentence."""
    escape_what_cannot_be_shown()
    try:
        main()
    except (DataError, OSError) as error:
        sys.exit(f"error: {error}")


class Crops(Dataset[Batch]):
    """Pairs of random crops; ``len`` is the number of pairs that a run sees.

    The labels of a day image are those that two pretrained networks predicted, fused (section 3.3.2) and denoised by
    the image (Eq. 5-7), both before the crop: a crop has other means, or lacks the class that another is confused with.
    Without ``labels`` no label file is read, and all pixels are unlabeled.

    With ``seeking`` every second crop of a day image holds a small-sample class, if its image does.

    Raises:
        DataError: names the first file that is missing, unreadable, of the wrong size or with unknown ids.
    """

    def __init__(self, folder: Path, length: int, *, crop: int, seed: int, labels: bool, seeking: bool = False) -> None:
        self.a, self.b = list_images(folder / "trainA"), list_images(folder / "trainB")
        self.length, self.crop, self.seed, self.labels, self.seeking = length, crop, seed, labels, seeking
        for name, images in (("trainA", self.a), ("trainB", self.b)):
            if not images:
                raise DataError(f"{folder / name}: expected a folder with images, found none")
        kinds = ("labels_pred1", "labels_pred2") if labels else ()
        maps = [partners_of(self.a, folder / kind, complete=True) for kind in kinds]
        self.predictions = [[path for path in of_image if path] for of_image in zip(*maps, strict=True)]
        self._check(folder)
        # made once for each image, of a byte a pixel
        self.fused: dict[int, Tensor] = {}
        self.fuse = LabelFusion.visible(CITYSCAPES)
        self.denoise = SemanticDenoiser.visible(CITYSCAPES)

    def _check(self, folder: Path) -> None:
        """Read every file once, since the first bad one would end the run that reads it."""
        for i, path in enumerate(self.a):
            source = load_color(path)[1]
            check_size(source, self.crop, f"the crop of {self.crop}")
            for labels in self.predictions[i] if self.labels else ():
                read_known_labels(labels, source, CITYSCAPES)
        for path in self.b:
            check_size(load_thermal(path)[1], self.crop, f"the crop of {self.crop}")
        for path in list_images(folder / "valB"):
            check_size(load_thermal(path)[1])

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Batch:
        """Return the pair at a position; the same seed and position give the same pair."""
        generator = seeded(self.seed, index)
        index_a, index_b = (int(torch.randint(len(x), (), generator=generator)) for x in (self.a, self.b))
        (real_a, source), real_b = load_color(self.a[index_a]), read_thermal(self.b[index_b])
        labels_a = self._labels(index_a, real_a, source)
        sought = CITYSCAPES.small_sample if self.seeking and index % 2 else ()
        real_a, labels_a = self._cut(generator, labels_a, sought, real_a, labels_a)
        (real_b,) = self._cut(generator, real_b[0], (), real_b)
        return real_a, labels_a, real_b

    def _labels(self, index: int, image: Tensor, source: Source) -> Tensor:
        if not self.labels:
            return torch.full(image.shape[1:], CITYSCAPES.ignore_index)
        if index not in self.fused:
            first, second = (read_labels(path, source)[None] for path in self.predictions[index])
            self.fused[index] = self.denoise(self.fuse(first, second), image[None])[0].byte()
        return self.fused[index].long()

    def _cut(self, generator: torch.Generator, labels: Tensor, classes: Sequence[int], *maps: Tensor) -> list[Tensor]:
        corner = corner_at_class(labels, classes, self.crop, generator)
        mirrored = bool(torch.rand((), generator=generator) < 0.5)
        return [cut(x, corner, self.crop, mirrored) for x in maps]


def crop_loader(options: argparse.Namespace) -> DataLoader[Batch]:
    """Return the batches of a whole run."""
    crops = Crops(
        options.data, options.steps * options.batch, crop=options.crop, seed=options.seed, labels=options.morn
    )
    # a generator of its own: the loader would draw from the global one
    return DataLoader(crops, options.batch, generator=seeded(options.seed))


@torch.no_grad()
def save_pictures(options: argparse.Namespace, translate: torch.nn.Module) -> None:
    """Write ``translations.png``: the first night images of ``valB`` (else of ``trainB``) and their translations."""
    nights = list_images(options.data / "valB") or list_images(options.data / "trainB")
    rows = []
    for path in nights[:4]:
        night = read_thermal(path)
        night = night[:, : night.shape[1] // 8 * 8, : night.shape[2] // 8 * 8]
        rows.append([night, translate(night[None].to(options.device))[0]])
    save_sheet(options.out / "translations.png", rows, ("night", "translation"))
