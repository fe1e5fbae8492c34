"""Make the pictures of the concept pages, each from procedural scenes and a seed, by the functions it is about.

python docs/make_concept_pictures.py

Where a picture needs a translation or a network, something simple stands in and the page says what: the true day image,
a filter, a blurred label map. Nothing here is trained but the two small segmenters of the labeler, in a minute or two.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "examples"), str(ROOT / "examples" / "recipes")]

from morn_losses import (  # noqa: E402
    CITYSCAPES,
    LabelFusion,
    LabelMiner,
    MemoryBank,
    OnlineSemanticDistillation,
    PseudoLabeler,
    SemanticDenoiser,
)
from morn_losses.edges import canny_edges, soft_edges  # noqa: E402
from morn_losses.functional import (  # noqa: E402
    class_balanced_cross_entropy,
    descriptor_similarity,
    gradient_magnitude,
    kmeans,
    mine_labels,
    semantic_descriptor,
    to_gray,
)
from morn_losses.image import central_differences  # noqa: E402
from ntir2dc.data.images import to_image  # noqa: E402
from ntir2dc.networks.discriminators import flat_kernel  # noqa: E402
from ntir2dc.run.contact_sheet import colorize_labels, contact_sheet  # noqa: E402
from scenes import predict_labels, render_scene  # noqa: E402
from scenes.render import Scene  # noqa: E402
from segmenters import Segmenter  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
SIZE = (96, 128)


def color(scene: Scene) -> Tensor:
    """Return the day image ``(1, 3, H, W)`` in [-1, 1]."""
    return torch.from_numpy(scene.color.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def thermal(scene: Scene) -> Tensor:
    """Return the night image, its three channels equal."""
    return (torch.from_numpy(scene.thermal.copy())[None, None].float() / 127.5 - 1).repeat(1, 3, 1, 1)


def labels(array: np.ndarray) -> Tensor:
    """Return a label map ``(1, H, W)``."""
    return torch.from_numpy(array.astype(np.int64))[None]


def shown(x: Tensor) -> Image.Image:
    """Return an image in [-1, 1], twice as large."""
    return enlarged(to_image(x[0] if x.ndim == 4 else x))


def heat(x: Tensor) -> Image.Image:
    """Return a map ``(H, W)`` from 0 (black) to 1 (white)."""
    return shown(x.clamp(0, 1)[None].repeat(3, 1, 1) * 2 - 1)


def painted(x: Tensor) -> Image.Image:
    """Return labels ``(1, H, W)`` in the colors of Cityscapes."""
    return enlarged(colorize_labels(x[0], CITYSCAPES))


def enlarged(picture: Image.Image) -> Image.Image:
    """Return the picture with every pixel repeated."""
    return picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST)


def save(name: str, row: dict[str, Image.Image]) -> None:
    """Write pictures as two columns with their titles above them."""
    pictures, titles = list(row.values()), list(row)
    pairs = [contact_sheet([pictures[i : i + 2]], titles[i : i + 2]) for i in range(0, len(pictures), 2)]
    sheet = Image.new("RGB", (max(p.width for p in pairs), sum(p.height for p in pairs)), "white")
    top = 0
    for pair in pairs:
        sheet.paste(pair, (0, top))
        top += pair.height
    sheet.quantize(128, dither=Image.Dither.NONE).save(PICTURES / f"{name}.png", optimize=True)


# ---- the concepts ----------------------------------------------------------------------------------------------------


def baseline() -> None:
    """What the three discriminators see."""
    day = color(render_scene(0, 5, SIZE))
    blurred = F.conv2d(F.pad(day, (2, 2, 2, 2), mode="replicate"), flat_kernel().expand(3, 1, 5, 5), groups=3)
    gray = to_gray(day)
    gx, gy = central_differences(gray[..., ::2, ::2], "replicate")
    save(
        "baseline",
        {
            "day image": shown(day),
            "blurred": shown(blurred),
            "gray": shown(gray.repeat(1, 3, 1, 1)),
            "gradients of every second pixel": heat(F.interpolate((gx.square() + gy.square()).sqrt(), SIZE)[0, 0]),
        },
    )


def aca() -> None:
    """Parts of a class, and how two images answer to them."""
    scene = render_scene(0, 5, SIZE)
    real, vehicles = color(scene), CITYSCAPES.mask(labels(scene.labels), CITYSCAPES.ids("car", "truck", "bus"))[0]
    blurred = F.avg_pool2d(F.pad(real, (4, 4, 4, 4), mode="replicate"), 9, stride=1)

    def features(x: Tensor) -> Tensor:
        """What stands in for an encoder: color, contrast and gradients, one vector a pixel, ``(H * W, 8)``."""
        local = F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
        gray = to_gray(x)
        gx, gy = central_differences(gray, "replicate")
        return torch.cat((x, local, gx, gy), 1)[0].flatten(1).mT

    points = features(real)[vehicles.flatten()]
    clustered = kmeans(points, 4, generator=torch.Generator().manual_seed(0), n_init=4)
    hues = torch.tensor([[0.9, 0.2, 0.2], [0.2, 0.8, 0.3], [0.2, 0.4, 1.0], [0.95, 0.8, 0.2]])
    parts = real[0].permute(1, 2, 0).clone() * 0.3 - 0.5
    parts[vehicles] = hues[clustered.assignments] * 2 - 1

    def answer(x: Tensor) -> Tensor:
        similarity = torch.cosine_similarity(features(x)[:, None], clustered.centroids[None], dim=2).amax(1)
        return torch.where(vehicles, (similarity.view(*SIZE) - 0.7) / 0.3, 0)

    save(
        "aca",
        {
            "real image": shown(real),
            "4 parts of its vehicles": shown(parts.permute(2, 0, 1)),
            "best answer: black 0.7, white 1": heat(answer(real)),
            "the same for a blurred copy": heat(answer(blurred)),
        },
    )


def cgr() -> None:
    """Strong gradients of the background, and which of them a translation lacks."""
    scene = render_scene(0, 7, SIZE)
    night, day = thermal(scene), color(scene)
    region = CITYSCAPES.background(labels(scene.labels))
    real, fake = ((gradient_magnitude((x + 1) / 2)[:, 0] * region)[0] for x in (night, day))
    strong = real > real.sum() / region.sum()
    save(
        "cgr",
        {
            "source x_b": shown(night),
            "translation": shown(day),
            "M_gh: strong gradients of the background": heat(strong.float()),
            "what the translation lacks there": heat(4 * (strong * (real - fake).relu())),
        },
    )


def sga() -> None:
    """Edges of the source, and the gradient of the translation as a share of its patch's largest."""
    scene = render_scene(0, 5, SIZE)
    night, day = thermal(scene), color(scene)
    edges = canny_edges(night)[0, 0].float()
    gradient = gradient_magnitude((day + 1) / 2)
    h, w = SIZE[0] // 8, SIZE[1] // 8
    largest = F.interpolate(F.max_pool2d(gradient, (h, w)), scale_factor=(h, w))
    share = (gradient / largest)[0, 0]
    save(
        "sga",
        {
            "translation": shown(day),
            "edges e of the source": heat(edges),
            "gradient over its patch's largest": heat(share),
            "relu(0.8 e - share)": heat((0.8 * edges - share).relu() / 0.8),
        },
    )


def sr() -> None:
    """A translation that depends on the scale."""
    night = thermal(render_scene(0, 3, SIZE))

    def translate(x: Tensor) -> Tensor:
        """What stands in for a generator: contrast against a neighborhood of fixed size."""
        around = F.avg_pool2d(F.pad(x, (6, 6, 6, 6), mode="replicate"), 13, stride=1)
        return (1.5 * (x - around)).clamp(-1, 1)

    output = translate(night)
    scaled = translate(F.interpolate(night, scale_factor=0.5, mode="bilinear"))
    target = F.interpolate(output, scale_factor=0.5, mode="bilinear")

    def double(x: Tensor) -> Image.Image:
        return shown(F.interpolate(x, scale_factor=2.0))

    save(
        "sr",
        {
            "x": shown(night),
            "O = G(x), halved": double(target),
            "G(x halved)": double(scaled),
            "difference": double((scaled - target).abs() * 2 - 1),
        },
    )


def mining() -> None:
    """Two predictions fused and denoised; and labels mined from two segmenters."""
    scene = render_scene(0, 2, SIZE)
    first, second = (labels(p) for p in predict_labels(scene, 0, 2))
    fused = LabelFusion.visible(CITYSCAPES)(first, second)
    clean = SemanticDenoiser.visible(CITYSCAPES)(fused, color(scene))

    def probabilities(prediction: Tensor) -> Tensor:
        """What stands in for a segmenter: a label map, less sure near its borders."""
        onehot = F.one_hot(prediction, 19).permute(0, 3, 1, 2).float()
        return F.avg_pool2d(F.pad(onehot, (3, 3, 3, 3), mode="replicate"), 7, stride=1)

    both = probabilities(first), probabilities(second)
    save(
        "mining",
        {
            "day image": shown(color(scene)),
            "first prediction": painted(first),
            "second prediction": painted(second),
            "fused": painted(fused),
            "denoised": painted(clean),
            "mined at 0.95: both segmenters sure": painted(mine_labels(*both, 0.95, from_logits=False)),
        },
    )


def pseudo_labeler() -> None:
    """A student that learns to read night images, and the labels that it and its teacher agree on."""
    scenes = [render_scene(0, 100 + i, SIZE) for i in range(24)]
    days, nights = torch.cat([color(s) for s in scenes]), torch.cat([thermal(s) for s in scenes])
    predicted = torch.cat([labels(predict_labels(s, 0, 100 + i)[0]) for i, s in enumerate(scenes)])
    torch.manual_seed(0)

    def train(network: torch.nn.Module, loss: Callable[[Tensor], Tensor]) -> None:
        optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3)
        for _ in range(150):
            optimizer.zero_grad()
            loss(torch.randperm(len(scenes))[:4]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    def logits(network: torch.nn.Module, x: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(network(x), size=SIZE, mode="bilinear")

    teacher = Segmenter(len(CITYSCAPES))
    train(teacher, lambda i: class_balanced_cross_entropy(logits(teacher, days[i]), predicted[i]))
    miner = LabelMiner.from_label_space(CITYSCAPES, foreground=0.5, background=0.6)
    label = PseudoLabeler(teacher, OnlineSemanticDistillation(miner, SemanticDenoiser.thermal(CITYSCAPES)))
    scene = render_scene(0, 2, SIZE)
    night, day = thermal(scene), color(scene)

    @torch.no_grad()
    def reads(network: torch.nn.Module, x: Tensor) -> Image.Image:
        read = painted(logits(network.eval(), x).argmax(1))
        network.train()
        return read

    before = reads(label.student, night)
    train(label.student, lambda i: label.student_loss(nights[i], predicted[i]))
    save(
        "pseudo_labeler",
        {
            "night image x_b": shown(night),
            "its translation": shown(day),
            "the student, a copy of the teacher": before,
            "the student after 150 steps": reads(label.student, night),
            "the teacher on the translation": reads(teacher, day),
            "labels: both are sure, denoised": painted(label(night, day)),
        },
    )


def memory() -> None:
    """A day image and the night images whose labels are most like its own."""
    day = render_scene(0, 21, SIZE)
    wanted = semantic_descriptor(labels(predict_labels(day, 0, 21)[0]), CITYSCAPES.small_sample)
    nights = [render_scene(0, 1_000_000 + i, SIZE) for i in range(60)]
    bank = MemoryBank(len(nights), len(CITYSCAPES.small_sample))
    maps = torch.cat([labels(predict_labels(s, 0, 1_000_000 + i)[0]) for i, s in enumerate(nights)])
    bank.write(torch.arange(len(nights)), semantic_descriptor(maps, CITYSCAPES.small_sample))
    similarity = descriptor_similarity(wanted, bank.descriptors)[0]
    row = {"day image": shown(color(day)), "its labels": painted(labels(predict_labels(day, 0, 21)[0]))}
    for rank, index in enumerate(similarity.topk(4).indices.tolist(), start=1):
        row[f"number {rank} of 60: similarity {similarity[index]:.2f}"] = shown(thermal(nights[index]))
    save("memory", row)


def clusters() -> None:
    """An image in the mean colors of its clusters."""
    day = color(render_scene(0, 9, SIZE))
    points = day[0].flatten(1).mT
    row = {"image": shown(day)}
    for k in (2, 4, 8):
        clustered = kmeans(points, k, generator=torch.Generator().manual_seed(0))
        row[f"{k} clusters, inertia {clustered.inertia:.0f}"] = shown(
            clustered.centroids[clustered.assignments].mT.view_as(day[0])
        )
    save("kmeans", row)


def metrics() -> None:
    """Edges that a translation keeps, at one of APCE's thresholds."""
    scene = render_scene(0, 14, SIZE)
    night, day = (canny_edges(x)[0, 0] for x in (thermal(scene), color(scene)))
    save(
        "metrics",
        {
            "source": shown(thermal(scene)),
            "translation": shown(color(scene)),
            "edges of the source": heat(night.float()),
            f"of them kept: {int((night & day).sum())} of {int(night.sum())}": heat((night & day).float()),
        },
    )


def soft() -> None:
    """Canny's edges beside the map that has a gradient."""
    day = color(render_scene(0, 14, SIZE))
    save(
        "soft_edges",
        {
            "image": shown(day),
            "canny_edges": heat(canny_edges(day)[0, 0].float()),
            "soft_edges": heat(soft_edges(day)[0, 0]),
            "soft_edges, softness 3": heat(soft_edges(day, softness=3)[0, 0]),
        },
    )


CONCEPTS: tuple[Callable[[], None], ...] = (
    baseline,
    aca,
    cgr,
    sga,
    sr,
    mining,
    pseudo_labeler,
    memory,
    clusters,
    metrics,
    soft,
)


def main() -> None:
    """Write all pictures to docs/pictures."""
    for make in CONCEPTS:
        make()
        print(make.__name__)


if __name__ == "__main__":
    main()
