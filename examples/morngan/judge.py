"""The segmentation network that judges translations: trained apart, on true day images and their labels alone.

It sees neither the night images nor the generators, and no generator is ever trained by it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from morn_losses import LabelSpace
from morngan.data.images import DataError, list_images, read_color, read_labels
from morngan.files import write_atomically
from morngan.networks.segmenter import add_coordinates

STEPS = 600
WIDTH = 16
BATCH = 8
CROP = 64
LEARNING_RATE = 4e-3

Pair = tuple[Path, Path]
"""A day image and its label map."""


def _block(channels_in: int, channels: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())


class Judge(nn.Module):
    """A small U-Net with the pixels' coordinates as input channels.

    Choice: batch norm, so that in eval mode an image is judged by its own colors, not relative to its own mean; skips
    are added, which takes half the time of concatenation.

    Args:
        n_classes: channels of the logits.
        width: channels at full size; doubled at each of the three halvings.
    """

    def __init__(self, n_classes: int, width: int = WIDTH) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(4)]
        self.down = nn.ModuleList(
            nn.Sequential(_block(before, after), _block(after, after))
            for before, after in zip([5, *widths[:-1]], widths, strict=True)
        )
        self.narrow = nn.ModuleList(
            nn.Conv2d(deep, skip, 1) for deep, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.up = nn.ModuleList(_block(skip, skip) for skip in widths[-2::-1])
        self.head = nn.Conv2d(width, n_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)`` in [-1, 1], any H and W, to logits ``(B, n_classes, H, W)``."""
        H, W = x.shape[-2:]
        return self.classify(add_coordinates(x))[..., :H, :W]

    def classify(self, x: Tensor) -> Tensor:
        """Map an image with its coordinates, ``(B, 5, H, W)``, to logits of the size rounded up to multiples of 8."""
        x = F.pad(x, (0, -x.shape[-1] % 8, 0, -x.shape[-2] % 8), mode="replicate")
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        x = skips.pop()
        for narrow, block in zip(self.narrow, self.up, strict=True):
            x = block(F.interpolate(narrow(x), scale_factor=2.0) + skips.pop())
        logits: Tensor = self.head(x)
        return logits


def judge_pairs(folder: Path) -> list[Pair]:
    """Return the day images that the judge is trained on with their label maps, by name; empty if there are none.

    Raises:
        DataError: an image without a label map.
    """
    labels = {path.stem: path for path in list_images(folder / "judgeA_labels")}
    images = list_images(folder / "judgeA")
    for image in images:
        if image.stem not in labels:
            raise DataError(f"{image}: has no label map of its name in {folder / 'judgeA_labels'}")
    return [(image, labels[image.stem]) for image in images]


def hash_files(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of folder names, file names and contents, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.parent.name}/{path.name}:{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()


def hash_weights(module: nn.Module) -> str:
    """Return the SHA-256 of a module's state."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name}:{value.dtype}:{tuple(value.shape)}:".encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class Crops:
    """Training crops. Every other one is centred on a class drawn evenly from those present, the rest are anywhere.

    Choice: a class that covers a thousandth of the pixels in a tenth of the images is hardly met otherwise.
    """

    def __init__(self, pairs: Sequence[Pair], space: LabelSpace, crop: int, seed: int) -> None:
        self.pairs, self.space, self.crop = pairs, space, crop
        self.rng = np.random.default_rng(seed)
        counts = np.stack([self._count(path) for _, path in pairs])
        self.holders = {c: np.flatnonzero(counts[:, c]) for c in range(len(space)) if counts[:, c].any()}
        if not self.holders:
            raise DataError(f"{pairs[0][1].parent}: holds no labeled pixel")
        self.pixels = counts.sum(0)

    def _count(self, path: Path) -> NDArray[np.int64]:
        labels = read_labels(path)
        if bool(((labels >= len(self.space)) & (labels != self.space.ignore_index)).any()):
            raise DataError(f"{path}: holds ids outside [0, {len(self.space)}) that are not {self.space.ignore_index}")
        counts: NDArray[np.int64] = torch.bincount(labels.flatten(), minlength=256).numpy()[: len(self.space)]
        return counts

    def class_weights(self) -> Tensor:
        """Return one over the root of each class's share of the pixels; their mean over the labeled pixels is 1."""
        shares = torch.from_numpy(self.pixels / self.pixels.sum())
        weights = shares.clamp_min(1e-4).rsqrt()
        return (weights / (weights * shares).sum()).float()

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Return images with coordinates ``(B, 5, h, w)`` and labels ``(B, h, w)``."""
        cuts = [self._cut(centred=i % 2 == 1) for i in range(size)]
        # images may differ in size
        h, w = (min(image.shape[axis] for image, _ in cuts) for axis in (1, 2))
        return torch.stack([i[:, :h, :w] for i, _ in cuts]), torch.stack([t[:h, :w] for _, t in cuts])

    def _cut(self, *, centred: bool) -> tuple[Tensor, Tensor]:
        wanted = int(self.rng.choice(list(self.holders))) if centred else None
        candidates = np.arange(len(self.pairs)) if wanted is None else self.holders[wanted]
        image_path, labels_path = self.pairs[int(self.rng.choice(candidates))]
        image, labels = read_color(image_path), read_labels(labels_path)
        if image.shape[1:] != labels.shape:
            raise DataError(f"{labels_path}: {tuple(labels.shape)} differs from its image's {tuple(image.shape[1:])}")
        if self.rng.random() < 0.5:
            image, labels = image.flip(-1), labels.flip(-1)
        image = add_coordinates(self._jittered(image)[None])[0]
        corner = []
        places = (labels == wanted).nonzero() if wanted is not None else None
        place = places[int(self.rng.integers(len(places)))].tolist() if places is not None else None
        for axis, length in enumerate(labels.shape):
            room = max(0, length - self.crop)
            start = int(self.rng.integers(room + 1))
            if place is not None:
                start = min(max(0, place[axis] - int(self.rng.integers(1, self.crop))), room)
            corner.append(start)
        top, left = corner
        window = (slice(top, top + self.crop), slice(left, left + self.crop))
        return image[:, window[0], window[1]], labels[window]

    def _jittered(self, image: Tensor) -> Tensor:
        """Vary brightness, contrast and the balance of the channels."""
        contrast = 1 + 0.2 * self.rng.uniform(-1, 1)
        offset = torch.from_numpy(0.2 * self.rng.uniform(-1, 1) + 0.1 * self.rng.uniform(-1, 1, (3, 1, 1))).float()
        return (image * contrast + offset).clamp(-1, 1)


def train_judge(
    pairs: Sequence[Pair],
    space: LabelSpace,
    *,
    steps: int = STEPS,
    seed: int = 0,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = lambda _: None,
) -> Judge:
    """Train a judge for a fixed number of steps; the same arguments give the same judge on the same machine.

    AdamW with one cycle of the learning rate, cross-entropy with weights of one over the root of a class's frequency.

    Args:
        pairs: day images and label maps.
        space: the label space of the maps.
        steps: batches of 8 crops.
        seed: of the weights and the crops.
        device: where to train.
        say: is told the loss now and then.

    Raises:
        DataError: no pairs, files that cannot be used, sizes that differ, unknown ids.
    """
    if not pairs:
        raise DataError("judgeA: expected day images with label maps, found none")
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, got {steps}")
    crops = Crops(pairs, space, CROP, seed)
    weights = crops.class_weights().to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = Judge(len(space), WIDTH).to(device)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps + 1, pct_start=0.2)
    losses: list[float] = []
    judge.train()
    for step in range(1, steps + 1):
        images, labels = crops.batch(BATCH)
        logits = judge.classify(images.to(device))[..., : labels.shape[-2], : labels.shape[-1]]
        loss = F.cross_entropy(logits, labels.to(device), weights, ignore_index=space.ignore_index)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step % 50 == 0 or step == steps:
            say(f"judge: step {step}/{steps}, loss {np.mean(losses[-50:]):.3f}")
    return judge.requires_grad_(False).eval()


def load_or_train_judge(
    pairs: Sequence[Pair],
    cache: Path,
    space: LabelSpace,
    *,
    steps: int = STEPS,
    seed: int = 0,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Judge, dict[str, str | int]]:
    """Return the judge kept at ``cache`` if it was trained with the same settings on the same files, else a new one.

    Returns:
        The judge in eval mode, and the settings it was trained with.
    """
    settings: dict[str, str | int] = {
        "steps": steps,
        "seed": seed,
        "images": len(pairs),
        "data_sha256": hash_files(path for pair in pairs for path in pair),
        "recipe": f"unet {WIDTH}, batch {BATCH}, crop {CROP}, lr {LEARNING_RATE:g}",
    }
    judge = _load(cache, settings, len(space))
    if judge is not None:
        say(f"judge: taken from {cache}")
        return judge.to(device), settings
    judge = train_judge(pairs, space, steps=steps, seed=seed, device=device, say=say)
    state = {name: value.cpu().contiguous() for name, value in judge.state_dict().items()}
    write_atomically(cache, save(state, metadata={"settings": json.dumps(settings)}))
    return judge, settings


def _load(cache: Path, settings: dict[str, str | int], n_classes: int) -> Judge | None:
    """Return the kept judge, or None if it is absent, damaged or of other settings."""
    judge = Judge(n_classes)
    try:
        with safe_open(cache, framework="pt", device="cpu") as file:
            if json.loads((file.metadata() or {}).get("settings", "null")) != settings:
                return None
            judge.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError):
        return None
    return judge.requires_grad_(False).eval()


@torch.inference_mode()
def predict(judge: nn.Module, image: Tensor) -> Tensor:
    """Return the most likely class of each pixel, int64 ``(H, W)`` on the CPU, of an image ``(3, H, W)``."""
    device = next(judge.parameters()).device
    labels: Tensor = judge(image[None].to(device))[0].argmax(0).cpu()
    return labels


def confusion_matrix(prediction: Tensor, truth: Tensor, space: LabelSpace) -> NDArray[np.int64]:
    """Count pixels by true (row) and predicted (column) class; unlabeled ones are left out.

    Returns:
        int64 ``(K, K)``.

    Raises:
        ValueError: shapes that differ, or ids outside the space.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction: expected {tuple(truth.shape)}, got {tuple(prediction.shape)}")
    known = truth != space.ignore_index
    true, predicted = truth[known].long(), prediction[known].long()
    K = len(space)
    for name, ids in (("prediction", predicted), ("truth", true)):
        if bool(((ids < 0) | (ids >= K)).any()):
            raise ValueError(f"{name}: expected ids in [0, {K})")
    counts: NDArray[np.int64] = torch.bincount(true * K + predicted, minlength=K * K).view(K, K).numpy()
    return counts


def class_iou(confusion: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the intersection over union of each class, NaN for one that is in neither truth nor prediction.

    Args:
        confusion: ``(..., K, K)``, rows are true.

    Returns:
        float64 ``(..., K)``.
    """
    counts = confusion.astype(np.float64)
    both = np.diagonal(counts, axis1=-2, axis2=-1)
    either = counts.sum(-1) + counts.sum(-2) - both
    return np.where(either > 0, both, np.nan) / np.where(either > 0, either, 1)


def mean_iou(confusion: NDArray[np.integer] | NDArray[np.floating], classes: Sequence[int]) -> NDArray[np.float64]:
    """Return the mean over those of ``classes`` that occur, NaN if none does; float64 ``(...)``."""
    iou = class_iou(confusion)[..., list(classes)]
    occurs = ~np.isnan(iou)
    count = occurs.sum(-1)
    return np.where(count > 0, np.where(occurs, iou, 0).sum(-1), np.nan) / np.where(count > 0, count, 1)
