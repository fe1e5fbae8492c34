from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import disk, polygon
from skimage.feature import canny

from morn_losses.edges import canny_edges, edge_levels, hysteresis, thinned_gradient


def scene(seed: int, noise: float = 0.0) -> NDArray[np.float64]:
    """A gray scene of a disk, a triangle and bars over a ramp."""
    rng = np.random.default_rng(seed)
    image = np.linspace(0.2, 0.4, 72)[:, None] * np.ones((72, 96))
    image[disk((24 + rng.uniform(-4, 4), 28 + rng.uniform(-4, 4)), rng.uniform(10, 16))] = rng.uniform(0.6, 0.9)
    image[polygon(rng.uniform(30, 65, 3), rng.uniform(45, 90, 3))] = rng.uniform(0.0, 0.1)
    image[50:66, 10:13] = 0.8
    return image + noise * rng.standard_normal(image.shape)


def by_flooding(strength: NDArray[np.float64], low: float, high: float) -> NDArray[np.bool_]:
    """Hysteresis as a flood from the strong pixels, pixel by pixel."""
    H, W = strength.shape
    edges = np.zeros((H, W), dtype=bool)
    stack = [(i, j) for i in range(H) for j in range(W) if strength[i, j] >= high and strength[i, j] > 0]
    while stack:
        i, j = stack.pop()
        if edges[i, j]:
            continue
        edges[i, j] = True
        for a in range(max(i - 1, 0), min(i + 2, H)):
            for b in range(max(j - 1, 0), min(j + 2, W)):
                if strength[a, b] >= low and strength[a, b] > 0:
                    stack.append((a, b))
    return edges


def strength_by_loops(image: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Thinned gradient pixel by pixel; ties are left out, so only for images without them."""
    smooth = ndimage.gaussian_filter(image, sigma, mode="nearest")
    H, W = image.shape

    def at(i: int, j: int) -> float:
        return float(smooth[min(max(i, 0), H - 1), min(max(j, 0), W - 1)])

    g = {(i, j): (at(i + 1, j) - at(i - 1, j), at(i, j + 1) - at(i, j - 1)) for i in range(H) for j in range(W)}
    peak = max(math.hypot(*v) for v in g.values())
    out = np.zeros((H, W))
    for i in range(1, H - 1):
        for j in range(1, W - 1):
            down, right = g[i, j]
            m = math.hypot(down, right)
            # walk until one coordinate has changed by a pixel, there interpolate along the other
            reach = max(abs(down), abs(right))
            if reach == 0:
                continue
            sides = []
            for side in (1, -1):
                y, x = i + side * down / reach, j + side * right / reach
                y0, x0 = math.floor(y + 1e-12), math.floor(x + 1e-12)
                fy, fx = max(y - y0, 0), max(x - x0, 0)
                sides.append(
                    sum(
                        wy * wx * math.hypot(*g[a, b])
                        for a, wy in ((y0, 1 - fy), (y0 + 1, fy))
                        for b, wx in ((x0, 1 - fx), (x0 + 1, fx))
                        if wy * wx > 1e-11
                    )
                )
            if m > max(sides):
                out[i, j] = m / peak
    return out


@pytest.mark.parametrize("sigma", [1.0, math.sqrt(2), 2.3])
def test_thinned_gradient_equals_loops(sigma: float) -> None:
    image = np.random.default_rng(0).random((14, 17))
    np.testing.assert_allclose(thinned_gradient(image, sigma), strength_by_loops(image, sigma), atol=6e-7)
    assert (thinned_gradient(image, sigma) > 0).sum() > 10


def test_default_sigma_is_the_root_of_two() -> None:
    image = np.random.default_rng(0).random((20, 20))
    np.testing.assert_array_equal(canny_edges(image, 0.1, 0.3), canny_edges(image, 0.1, 0.3, math.sqrt(2)))
    assert (canny_edges(image, 0.1, 0.3) != canny_edges(image, 0.1, 0.3, 1.0)).any()
    np.testing.assert_array_equal(thinned_gradient(image), thinned_gradient(image, math.sqrt(2)))


@pytest.mark.parametrize(("low", "high"), [(0.05, 0.1), (0.1, 0.2), (0.2, 0.4)])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_agrees_with_scikit_image(low: float, high: float, noise: float) -> None:
    for seed in range(3):
        image = scene(seed, noise)
        smooth = ndimage.gaussian_filter(image, math.sqrt(2), mode="nearest")
        peak = np.hypot(ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1)).max()
        theirs = canny(image, math.sqrt(2), low * peak, high * peak, mode="nearest")
        ours = canny_edges(image, low, high)
        # scikit-image smooths once more (Sobel)
        assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.9


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.3), (0.1, 0.2), (0.25, 0.5)])
def test_equals_scikit_image_from_the_same_gradient(low: float, high: float, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(1).random((50, 61))
    smooth = np.pad(ndimage.gaussian_filter(image, 1.5, mode="nearest"), 1, mode="edge")
    gradient = {1: smooth[1:-1, 2:] - smooth[1:-1, :-2], 0: smooth[2:, 1:-1] - smooth[:-2, 1:-1]}
    peak = np.hypot(gradient[0], gradient[1]).max()
    # central differences in the place of its Sobel operator; everything after it is scikit-image's
    monkeypatch.setattr(ndimage, "sobel", lambda _, axis: gradient[axis])
    theirs = canny(image, 1.5, low * peak, high * peak, mode="nearest")
    np.testing.assert_array_equal(canny_edges(image, low, high, 1.5), theirs)
    assert theirs.sum() > 30


@pytest.mark.parametrize("invert", [False, True])
def test_a_step_is_one_pixel_wide_and_in_place(invert: bool) -> None:
    step = np.zeros((9, 12))
    step[:, 6:] = 1
    expected = np.zeros((9, 12), dtype=bool)
    expected[1:-1, 6] = True
    if invert:
        step = 1 - step
    np.testing.assert_array_equal(canny_edges(step, 0.1, 0.2), expected)
    np.testing.assert_array_equal(canny_edges(step.T.copy(), 0.1, 0.2), expected.T)


def test_ties_and_thresholds_do_not_hang_on_rounding_errors() -> None:
    rng = np.random.default_rng(0)
    for percent in range(1, 101):
        steps = np.zeros((7, 40))
        steps[:, 10:] = 1
        steps[:, 30:] += percent / 100
        # the second step's magnitude equals the threshold
        for noise in (0.0, 1e-10):
            edges = canny_edges(steps + noise * rng.standard_normal(steps.shape), percent / 200, percent / 100)
            assert np.argwhere(edges).tolist() == [[i, j] for i in range(1, 6) for j in (10, 30)]


def test_a_line_has_an_edge_on_either_side() -> None:
    line = np.zeros((11, 21))
    line[:, 9:12] = 1
    columns = np.flatnonzero(canny_edges(line, 0.2, 0.5)[5])
    assert columns.tolist() == [8, 12]  # mirrored about column 10


def test_a_peak_between_equal_neighbours_stays_on_its_pixel() -> None:
    image = np.zeros((9, 15))
    image[:, 8:] = 1
    image[:, 7] = 0.5  # steepest at column 7, the same to the left and right
    assert np.flatnonzero(canny_edges(image, 0.1, 0.2)[4]).tolist() == [7]


def test_flat_images_have_no_edges() -> None:
    for value in (0.0, 0.3, 255.0, -1e-9):
        assert not canny_edges(np.full((12, 13), value), 0.0, 0.0).any()
    rounding = 0.3 + 1e-17 * np.arange(144).reshape(12, 12) + np.finfo(float).eps * (np.arange(144) % 2).reshape(12, 12)
    assert not canny_edges(rounding, 0.0, 0.0).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 9)])
def test_images_without_an_inside_have_no_edges(shape: tuple[int, int]) -> None:
    edges = canny_edges(np.random.default_rng(0).random(shape), 0.1, 0.2)
    assert edges.shape == shape
    assert not edges.any()


def test_the_outermost_pixels_are_never_edges() -> None:
    edges = canny_edges(np.random.default_rng(0).random((15, 16)), 0.0, 0.0)
    assert edges.sum() == edges[1:-1, 1:-1].sum()
    assert edges[1].any()
    assert edges[:, 1].any()
    assert edges[-2].any()
    assert edges[:, -2].any()


@pytest.mark.parametrize(
    "change", [lambda x: 1 - x, lambda x: 255 * x, lambda x: 1e-6 * x - 5, lambda x: 1e300 * x, lambda x: 1e-30 * x]
)
def test_scale_offset_and_contrast_do_not_matter(change: Any) -> None:
    image = scene(3)
    np.testing.assert_array_equal(canny_edges(change(image), 0.1, 0.2), canny_edges(image, 0.1, 0.2))


def test_turning_the_image_turns_the_edges() -> None:
    image = np.random.default_rng(2).random((24, 24))
    for turns in range(4):
        edges = canny_edges(np.rot90(image, turns), 0.1, 0.3)
        np.testing.assert_array_equal(edges, np.rot90(canny_edges(image, 0.1, 0.3), turns))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16, np.float32, np.bool_])
def test_any_real_dtype(dtype: Any) -> None:
    square = np.zeros((20, 20))
    square[6:14, 5:15] = 1
    edges = canny_edges(square.astype(dtype), 0.1, 0.2)
    assert edges.dtype == np.bool_
    np.testing.assert_array_equal(edges, canny_edges(square, 0.1, 0.2))


def test_input_is_left_alone() -> None:
    image = scene(0)
    before = image.copy()
    canny_edges(image, 0.1, 0.2)
    np.testing.assert_array_equal(image, before)


def test_hysteresis_by_hand() -> None:
    strength = np.array(
        [
            [0.4, 0.0, 0.0, 0.0, 0.3],
            [0.0, 0.2, 0.0, 0.0, 0.3],
            [0.0, 0.0, 0.0, 0.0, 0.0],
            [0.1, 0.4, 0.0, 0.2, 0.0],
        ]
    )
    kept = hysteresis(strength, 0.2, 0.4)
    # joined by a corner, equal to either threshold; the weak group and the pixel under low are gone
    assert np.argwhere(kept).tolist() == [[0, 0], [1, 1], [3, 1]]
    assert not hysteresis(strength, 0.2, 0.41).any()
    assert hysteresis(strength, 0.0, 0.0).sum() == 7
    assert hysteresis(strength, 0.3, 0.3).sum() == 4


def test_hysteresis_equals_flooding() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        strength = np.where(rng.random((12, 13)) < 0.4, rng.integers(1, 20, (12, 13)) / 20, 0)
        for low, high in ((0.0, 0.5), (0.25, 0.5), (0.5, 0.5), (0.45, 0.9)):
            np.testing.assert_array_equal(hysteresis(strength, low, high), by_flooding(strength, low, high))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.floats(0.1, 0.9), st.sampled_from([3, 20, 100]))
def test_levels_equal_hysteresis_at_every_threshold(seed: int, count: int, density: float, steps: int) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 12, 2)
    # multiples of 1 / steps, so that magnitudes often equal a threshold
    strength = np.where(rng.random(shape) < density, rng.integers(1, steps + 1, shape) / steps, 0)
    thresholds = np.arange(1, count + 1) / (count + 1)
    levels = edge_levels(strength, thresholds)
    assert levels.shape == strength.shape
    for j, t in enumerate(thresholds):
        np.testing.assert_array_equal(levels > j, hysteresis(strength, t / 2, t))


def test_levels_of_a_scene_equal_canny_at_every_threshold() -> None:
    image = scene(1, 0.05)
    thresholds = np.arange(1, 100) / 100
    levels = edge_levels(thinned_gradient(image), thresholds)
    for j in range(99):
        np.testing.assert_array_equal(levels > j, canny_edges(image, (j + 1) / 100 / 2, (j + 1) / 100))


def test_errors_name_the_argument() -> None:
    image = np.zeros((5, 6))
    with pytest.raises(TypeError, match="gray: expected a numpy array, got Tensor"):
        canny_edges(torch.zeros(5, 6), 0.1, 0.2)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="gray: expected a real dtype, got complex128"):
        canny_edges(image.astype(complex), 0.1, 0.2)
    for shape in ((5,), (1, 5, 6), (0, 6)):
        with pytest.raises(ValueError, match=r"gray: expected \(H, W\) without an empty axis"):
            canny_edges(np.zeros(shape), 0.1, 0.2)
    for bad in (math.nan, math.inf):
        image[2, 2] = bad
        with pytest.raises(ValueError, match="gray: expected finite values"):
            canny_edges(image, 0.1, 0.2)
    image[2, 2] = 0
    with pytest.raises(ValueError, match=r"low: expected at most high = 0\.1, got 0\.2"):
        canny_edges(image, 0.2, 0.1)
    for low, high, name in ((-0.1, 0.2, "low"), (0.1, 1.2, "high"), (math.nan, 0.2, "low"), (0.1, math.nan, "high")):
        with pytest.raises(ValueError, match=f"{name}: expected a number in"):
            canny_edges(image, low, high)
    with pytest.raises(ValueError, match="sigma: expected a number in"):
        canny_edges(image, 0.1, 0.2, 0.0)
    with pytest.raises(TypeError, match="low: expected a number"):
        canny_edges(image, "0.1", 0.2)  # type: ignore[arg-type]
    canny_edges(image, 0.2, 0.2)


def test_importing_does_not_load_scipy_ndimage() -> None:
    code = "import sys, morn_losses.edges, morn_losses.metrics; sys.exit('scipy.ndimage' in sys.modules)"
    root = Path(__file__).resolve().parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
