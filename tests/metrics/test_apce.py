from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from morn_losses import metrics
from morn_losses.edges import canny, canny_edges
from morn_losses.metrics import APCEResult, EdgeScoresResult, apce, edge_scores, statistics

ROOT = Path(__file__).resolve().parents[2]
Pairs = list[tuple[NDArray[np.float64], NDArray[np.float64]]]


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def by_loops(pairs: Pairs, count: int) -> dict[str, list[float]]:
    """Curves of recall, precision and F1 of gray images, Canny run anew for every image and threshold."""
    curves: dict[str, list[float]] = {"recall": [], "precision": [], "f1": []}
    for j in range(1, count + 1):
        t = j / (count + 1)
        recall, precision, f1 = [], [], []
        for source, translated in pairs:
            s, e = canny_edges(source, t / 2, t), canny_edges(translated, t / 2, t)
            both = int((s & e).sum())
            if s.sum():
                recall.append(both / s.sum())
            if e.sum():
                precision.append(both / e.sum())
            if s.sum() + e.sum():
                f1.append(2 * both / (s.sum() + e.sum()))
        for name, values in (("recall", recall), ("precision", precision), ("f1", f1)):
            curves[name].append(mean(values))
    return curves


def defined_mean(curve: list[float]) -> float:
    return mean([v for v in curve if not math.isnan(v)])


def square(top: int = 6, left: int = 6, size: int = 9) -> NDArray[np.float64]:
    image = np.zeros((24, 26))
    image[top : top + size, left : left + size] = 1
    return image


@pytest.mark.parametrize("count", [1, 7, 99])
def test_equals_canny_at_every_threshold(pairs: Pairs, count: int) -> None:
    """Section 4.1.2: one Canny call for each threshold."""
    sources, translated = [s for s, _ in pairs], [t for _, t in pairs]
    expected = by_loops(pairs, count)
    result = apce(sources, translated, count)
    assert isinstance(result, APCEResult)
    np.testing.assert_allclose(result.curve, expected["recall"], rtol=1e-12)
    assert result.value == pytest.approx(defined_mean(expected["recall"]), rel=1e-12)
    np.testing.assert_array_equal(result.thresholds, [j / (count + 1) for j in range(1, count + 1)])
    scores = edge_scores(sources, translated, count)
    assert isinstance(scores, EdgeScoresResult)
    for name in ("recall", "precision", "f1"):
        np.testing.assert_allclose(getattr(scores, f"{name}_curve"), expected[name], rtol=1e-12)
        assert getattr(scores, name) == pytest.approx(defined_mean(expected[name]), rel=1e-12)
    np.testing.assert_array_equal(scores.thresholds, result.thresholds)
    assert scores[:3] == (scores.apce, scores.precision, scores.f1)
    # a recall is what APCE is
    assert scores.apce == scores.recall == result.value
    assert scores.apce_curve is scores.recall_curve


def test_thresholds_are_a_hundredth_apart_by_default() -> None:
    result = apce(square(), square())
    np.testing.assert_array_equal(result.thresholds, [j / 100 for j in range(1, 100)])
    assert result.curve.shape == (99,)
    assert isinstance(result.value, float)


def test_value_by_hand() -> None:
    # equally strong steps: every source has two columns of edges, the translation keeps one, then adds a third
    source = np.zeros((8, 40))
    source[:, 10:20] = 1
    kept = np.zeros((8, 40))
    kept[:, 20:] = 1
    assert apce(source, kept).value == pytest.approx(0.5)
    kept[:, 30:] = 2
    scores = edge_scores(source, kept)
    assert scores.recall == pytest.approx(1 / 2)
    assert scores.precision == pytest.approx(1 / 2)
    scores = edge_scores(kept[:, ::-1], kept[:, ::-1] * (np.arange(40) < 15))  # a step less, another stronger
    assert 0 < scores.recall < 1


def test_curve_by_hand() -> None:
    # the translation's second step is 0.3 of its first one: an edge at t <= 0.3 alone, since the two are far apart
    source = np.zeros((8, 60))
    source[:, 20:] = 1
    source[:, 40:] = 2
    translated = np.zeros((8, 60))
    translated[:, 20:] = 1
    translated[:, 40:] = 1.3
    curve = apce(source, translated).curve
    np.testing.assert_array_equal(curve, np.where(np.arange(1, 100) <= 30, 1.0, 0.5))
    assert apce(source, translated).value == pytest.approx((30 + 0.5 * 69) / 99)
    backwards = edge_scores(translated, source)
    np.testing.assert_array_equal(backwards.recall_curve, 1.0)
    np.testing.assert_array_equal(backwards.precision_curve, np.where(np.arange(1, 100) <= 30, 1.0, 0.5))
    np.testing.assert_allclose(backwards.f1_curve, np.where(np.arange(1, 100) <= 30, 1.0, 2 / 3))


def test_every_image_weighs_the_same() -> None:
    long = np.zeros((80, 24))
    long[:, 12:] = 1
    short = long[:8]
    # all of the long image's edges are kept, none of the short one's
    assert apce([long, short], [long, np.roll(short, 4, 1) * 0]).value == pytest.approx(0.5)


def test_a_tinted_copy_keeps_every_edge() -> None:
    gray = np.random.default_rng(0).random((20, 20))
    tinted = np.stack((0.9 * gray + 0.1, 0.5 * gray, 1 - 0.2 * gray))
    assert apce(gray, gray).value == 1
    assert apce(gray, tinted).value == pytest.approx(1, abs=1e-3)
    assert apce(square(), np.stack((0.9 * square(), 0.5 * square(), 0.7 - 0.2 * square()))).value == 1


def test_a_shifted_copy_keeps_fewer() -> None:
    near, far = apce(square(), square(7)).value, apce(square(), square(9, 9)).value
    assert far < near < 0.8


def test_source_and_translation_are_not_alike() -> None:
    fewer = np.pad(square(), ((0, 0), (0, 26)))
    more = fewer + np.roll(fewer, 26, 1)
    assert apce(fewer, more).value == 1
    assert apce(more, fewer).value == pytest.approx(0.5)


LAYOUTS: dict[str, Callable[[NDArray[np.float64]], Any]] = {
    "(1, H, W)": lambda x: x[None],
    "(H, W, 1)": lambda x: x[..., None],
    "(3, H, W)": lambda x: np.stack((x, x, x)),
    "(H, W, 3)": lambda x: np.stack((x, x, x), -1),
    "(1, 1, H, W)": lambda x: x[None, None],
    "(1, 3, H, W)": lambda x: np.stack((x, x, x))[None],
    "(1, H, W, 3)": lambda x: np.stack((x, x, x), -1)[None],
    "list": lambda x: [x],
    "generator": lambda x: (y for y in [x]),
    "uint8": lambda x: (255 * x).astype(np.uint8),
    "int64": lambda x: x.astype(np.int64),
    "bool": lambda x: x > 0,
    "float16": lambda x: x.astype(np.float16),
    "torch": lambda x: torch.from_numpy(x),
    "torch with grad": lambda x: torch.from_numpy(x).requires_grad_(),
    "torch uint8": lambda x: (255 * torch.from_numpy(x)).to(torch.uint8),
    "torch bfloat16": lambda x: torch.from_numpy(x).to(torch.bfloat16),
    "torch half": lambda x: torch.from_numpy(x)[None, None].half(),
    "tanh range": lambda x: 2 * x - 1,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_and_dtypes_do_not_matter(layout: str) -> None:
    expected = apce(square(), square(7))
    for result in (apce(LAYOUTS[layout](square()), square(7)), apce(square(), LAYOUTS[layout](square(7)))):
        np.testing.assert_allclose(result.curve, expected.curve)


@pytest.mark.parametrize("channels_last", [False, True])
def test_gray_values_of_a_color_image(channels_last: bool) -> None:
    color = np.random.default_rng(0).random((3, 15, 17))
    gray = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    image = np.moveaxis(color, 0, -1) if channels_last else color
    other = np.random.default_rng(1).random((15, 17))
    np.testing.assert_allclose(apce(image, other).curve, apce(gray, other).curve, rtol=1e-12)
    assert apce(image, other).value != apce(color[0], other).value


def test_channels_come_first_where_both_readings_fit() -> None:
    image = np.random.default_rng(0).random((3, 9, 3))
    gray = np.tensordot((0.299, 0.587, 0.114), image, 1)
    with pytest.raises(ValueError, match=r"\(9, 3\), got \(3, 9\)"):
        apce(image, gray.T)
    apce(image, gray)


def test_a_batch_is_its_images() -> None:
    source, translated = torch.rand(3, 3, 16, 14), torch.rand(3, 1, 16, 14)
    expected = apce(list(source), list(translated))
    np.testing.assert_array_equal(apce(source, translated).curve, expected.curve)
    np.testing.assert_array_equal(apce([source[:2], source[2]], translated).curve, expected.curve)


def test_without_edges_the_score_is_undefined() -> None:
    flat, image = np.full((24, 26), 0.4), square()
    result = apce(flat, image)
    assert math.isnan(result.value)
    assert np.isnan(result.curve).all()
    assert apce(image, flat).value == 0
    assert apce([image, flat], [image, image]).value == 1  # the flat source takes no part
    scores = edge_scores(image, flat)
    assert (scores.recall, scores.f1) == (0, 0)
    assert math.isnan(scores.precision)
    assert math.isnan(edge_scores(flat, flat).f1)


def test_undefined_thresholds_take_no_part() -> None:
    # the step is strongest in the first row, which holds no edges: none reaches the upper thresholds
    source = np.zeros((12, 30))
    source[:, 15:] = np.linspace(1, 0, 12)[:, None]
    result = apce(source, source)
    assert np.isnan(result.curve).any()
    assert result.value == 1


def test_errors_name_the_argument() -> None:
    image = square()
    cases: list[tuple[type[Exception], str, Any, Any, Any]] = [
        (ValueError, "thresholds: expected an int >= 1, got 0", image, image, 0),
        (TypeError, "thresholds: expected an int", image, image, 9.0),
        (ValueError, r"translated: expected image 0 of \(H, W\) = \(24, 26\), got \(23, 26\)", image, image[:23], 9),
        (ValueError, "translated: expected as many images as source, got only 1", [image, image], [image], 9),
        (ValueError, "source: expected as many images as translated, got only 1", [image], [image, image], 9),
        (ValueError, "source: expected at least one image", [], [], 9),
        (ValueError, r"source: expected \(H, W\).*got \(2, 24, 26\)", np.stack((image, image)), image, 9),
        (ValueError, r"translated: expected \(H, W\).*got \(24,\)", image, image[:, 0], 9),
        (ValueError, r"source: expected \(H, W\)", np.zeros((0, 5)), np.zeros((0, 5)), 9),
        (ValueError, r"source: expected \(H, W\)", np.zeros((1, 1, 3, 5, 5)), image, 9),
        (ValueError, "source: expected finite values", np.where(image > 0, np.nan, 0), image, 9),
        (ValueError, "translated: expected finite values", image, torch.full((24, 26), math.inf), 9),
        (TypeError, "source: expected a real dtype, got complex", image.astype(complex), image, 9),
        (TypeError, "translated: expected a numpy array, a torch tensor or several, got str", image, "image.png", 9),
        (TypeError, "source: expected numpy arrays or torch tensors, got list", [[[0.0]]], image, 9),
        (TypeError, "source: expected a numpy array, a torch tensor or several, got int", 3, image, 9),
    ]
    for error, message, source, translated, thresholds in cases:
        for function in (apce, edge_scores):
            with pytest.raises(error, match=message):
                function(source, translated, thresholds)


# --- tensors on other devices -----------------------------------------------------------------------------------------


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the way of other devices on the CPU."""
    for module in (canny, statistics):
        monkeypatch.setattr(module, "on_host", lambda _: False)


def test_on_other_devices_the_scores_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    source, translated = torch.rand(3, 3, 20, 22), torch.rand(3, 1, 20, 22)
    source[2], translated[1] = 0.5, 0.5  # flat
    expected = edge_scores(source, translated)
    elsewhere(monkeypatch)
    for value, other in zip(edge_scores(source, translated), expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-12)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_on_other_devices_what_is_not_finite_shows(side: int, bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [torch.rand(2, 1, 12, 12), torch.rand(2, 1, 12, 12)]
    images[side][1, 0, 5, 5] = bad
    elsewhere(monkeypatch)
    assert math.isnan(apce(*images).value)
    assert np.isnan(edge_scores(*images).f1_curve).all()


def test_on_the_meta_device_nothing_but_the_end_of_the_hysteresis_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canny, "_is_settled", lambda *_: True)
    for source in (torch.rand(2, 3, 12, 14, device="meta"), torch.rand(2, 12, 14, 1, device="meta")):
        found = statistics.edge_statistics(source, torch.rand(2, 1, 12, 14, device="meta"), 9)
        assert [(x.device.type, x.shape, x.dtype) for x in found] == [
            ("meta", (3, 9), torch.float64),
            ("meta", (3, 9), torch.int64),
        ]


@pytest.mark.gpu
def test_on_cuda_the_scores_are_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    source, translated = torch.rand(3, 3, 40, 44), torch.rand(3, 3, 40, 44)
    expected = edge_scores(source, translated)
    # where the other side lies does not matter
    for other in (translated.cuda(), translated, translated.numpy()):
        for value, on_cpu in zip(edge_scores(source.cuda(), other), expected, strict=True):
            np.testing.assert_allclose(value, on_cpu, rtol=1e-12)
    monkeypatch.setattr(canny, "_is_settled", lambda *_: True)
    images = source.cuda(), translated.cuda()
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        statistics.edge_statistics(*images, 99)
    finally:
        torch.cuda.set_sync_debug_mode(mode)


@pytest.mark.parametrize("sizes", [([3, 2], [1, 4]), ([5], [2, 2, 1]), ([1, 1, 3], [5])])
def test_either_side_may_come_in_other_pieces(sizes: tuple[list[int], list[int]]) -> None:
    images = torch.rand(5, 3, 14, 15), torch.rand(5, 3, 14, 15)
    expected = edge_scores(*images)
    pieces = [list(x.split(s)) for x, s in zip(images, sizes, strict=True)]
    np.testing.assert_allclose(edge_scores(*pieces).f1_curve, expected.f1_curve, rtol=1e-12)
    with pytest.raises(ValueError, match="translated: expected as many images as source, got only"):
        edge_scores(pieces[0], pieces[1][:-1])
    pieces[1][-1] = pieces[1][-1][..., :9]
    with pytest.raises(ValueError, match=rf"translated: expected image {5 - sizes[1][-1]} of \(H, W\) = \(14, 15\)"):
        edge_scores(*pieces)


def run_without_torchmetrics(code: str) -> subprocess.CompletedProcess[str]:
    hide = "import sys; sys.modules['torchmetrics'] = None\n"
    return subprocess.run([sys.executable, "-c", hide + code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_torchmetrics_is_optional() -> None:
    done = run_without_torchmetrics(
        "import numpy, morn_losses.metrics as m\n"
        "print(m.apce(numpy.eye(9), numpy.eye(9)).value)\n"
        "try:\n    m.APCE\nexcept ImportError as e:\n    print(e)\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "1.0"
    assert "pip install 'morn-losses[metrics]'" in done.stdout


def test_torchmetrics_is_loaded_on_first_use_only() -> None:
    code = "import sys, morn_losses.metrics; sys.exit('torchmetrics' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_public_names() -> None:
    assert set(metrics.__all__) == {"APCE", "APCEResult", "EdgeScores", "EdgeScoresResult", "apce", "edge_scores"}
    assert all(hasattr(metrics, name) for name in metrics.__all__)
    assert set(metrics.__all__) <= set(dir(metrics))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        metrics.nothing  # noqa: B018
