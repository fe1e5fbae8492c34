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
from skimage import feature
from skimage.draw import disk, polygon

from morn_losses.edges import canny, canny_edges
from morn_losses.edges.canny import as_gray
from morn_losses.functional import to_gray


def as_tensor(image: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image))[None, None]


def thinned_gradient(image: NDArray[np.float64], sigma: float = math.sqrt(2)) -> NDArray[np.float64]:
    return canny.thinned_gradient(as_tensor(image), sigma)[0, 0].numpy()


def hysteresis(strength: NDArray[np.float64], low: float, high: float) -> NDArray[np.bool_]:
    return canny.hysteresis(as_tensor(strength), low, high)[0, 0].numpy()


def edge_levels(strength: NDArray[np.float64], count: int) -> NDArray[np.int32]:
    """The kernel's levels of any strength whose outermost pixels are 0."""
    places = np.flatnonzero(strength)
    return canny.host.edge_levels(places, strength.ravel()[places], strength.shape, count, canny.DECIMALS)


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
        theirs = feature.canny(image, math.sqrt(2), low * peak, high * peak, mode="nearest")
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
    theirs = feature.canny(image, 1.5, low * peak, high * peak, mode="nearest")
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


def some_strength(rng: np.random.Generator, density: float, steps: int) -> NDArray[np.float64]:
    """Multiples of 1 / steps, so that they often equal a threshold; none outermost."""
    shape = rng.integers(1, 14, 2)
    strength = np.where(rng.random(shape) < density, rng.integers(1, steps + 1, shape) / steps, 0).round(6)
    strength[[0, -1]] = strength[:, [0, -1]] = 0
    return strength


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.floats(0.1, 0.9), st.sampled_from([3, 20, 100]))
def test_levels_equal_hysteresis_at_every_threshold(seed: int, count: int, density: float, steps: int) -> None:
    rng = np.random.default_rng(seed)
    strength = some_strength(rng, density, steps)
    levels = edge_levels(strength, count)
    assert levels.shape == strength.shape
    for j, t in enumerate(np.arange(1, count + 1) / (count + 1)):
        np.testing.assert_array_equal(levels > j, by_flooding(strength, t / 2, t))


def test_levels_of_a_scene_equal_canny_at_every_threshold() -> None:
    image = scene(1, 0.05)
    levels = canny.edge_levels(as_tensor(image), 99)[0, 0].numpy()
    for j in range(99):
        np.testing.assert_array_equal(levels > j, canny_edges(image, (j + 1) / 100 / 2, (j + 1) / 100))


def test_errors_name_the_argument() -> None:
    image = np.zeros((5, 6))
    with pytest.raises(TypeError, match=r"gray: expected a numpy array or a torch.Tensor, got list"):
        canny_edges([[0.0]])  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="gray: expected a real dtype, got torch.complex64"):
        canny_edges(torch.zeros(1, 1, 5, 6, dtype=torch.complex64))
    for shape, message in (
        ((5, 6), r"\(B, C, H, W\), got \(5, 6\)"),
        ((1, 2, 5, 6), "C = 1 or 3"),
        ((1, 1, 0, 6), "empty"),
    ):
        with pytest.raises(ValueError, match=f"gray: expected .*{message}"):
            canny_edges(torch.zeros(shape))
    with pytest.raises(ValueError, match="gray: expected finite values"):
        canny_edges(torch.full((2, 3, 5, 6), math.nan))
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


# --- tensors ----------------------------------------------------------------------------------------------------------


def batch(channels: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    images = [[scene(3 * i + c, 0.02) for c in range(channels)] for i in range(3)]
    return torch.from_numpy(np.array(images)).to(dtype)


@pytest.mark.parametrize("options", [{}, {"low": 0.2, "high": 0.4}, {"low": 0.0, "high": 0.05, "sigma": 2.3}])
def test_a_tensor_gives_the_bits_of_its_gray_images(options: dict[str, float]) -> None:
    for channels in (1, 3):
        x = batch(channels)
        edges = canny_edges(x, **options)
        assert (edges.shape, edges.dtype) == ((3, 1, 72, 96), torch.bool)
        for image, found in zip(to_gray(x)[:, 0].numpy(), edges[:, 0].numpy(), strict=True):
            np.testing.assert_array_equal(found, canny_edges(image, **options))
        assert 100 < edges.sum() < edges.numel() / 4


def test_default_thresholds_are_a_tenth_and_a_fifth() -> None:
    image = np.zeros((60, 60))
    image[:, 20:] = 1
    image[:, 40:] += np.linspace(0.3, 0, 60)[:, None]  # a step that fades
    edges = canny_edges(image)
    np.testing.assert_array_equal(edges, canny_edges(image, 0.1, 0.2))
    assert torch.equal(canny_edges(as_tensor(image)), as_tensor(edges))
    for low, high in ((0.09, 0.2), (0.11, 0.2), (0.1, 0.35)):
        assert (canny_edges(image, low, high) != edges).any()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float16, torch.bfloat16, torch.float32, torch.bool])
def test_a_tensor_of_any_real_dtype(dtype: torch.dtype) -> None:
    square = torch.zeros(1, 3, 20, 20)
    square[..., 6:14, 5:15] = 1
    assert torch.equal(canny_edges(square.to(dtype)), canny_edges(square.double()))


def test_layout_and_grad_of_a_tensor_do_not_matter() -> None:
    x = batch(3)
    expected = canny_edges(x)
    spread = torch.empty(3, 3, 72, 192, dtype=x.dtype)[..., ::2].copy_(x)
    for other in (x.contiguous(memory_format=torch.channels_last), spread, x.clone().requires_grad_()):
        assert torch.equal(canny_edges(other), expected)
        assert not canny_edges(other).requires_grad
    assert torch.equal(canny_edges(x[:1, :1].expand(2, 3, 72, 96)), canny_edges(x[:1, :1]).expand(2, 1, 72, 96))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1.0, 1e-8, 1e300]), st.sampled_from([0, 1, 3]), st.floats(0.05, 3))
def test_what_is_tuned_for_the_cpu_has_the_bits_of_the_definition(
    seed: int, scale: float, decimals: int, sigma: float
) -> None:
    rng = np.random.default_rng(seed)
    shape = (2, 1, *rng.integers(1, 40, 2).tolist())
    gray = torch.from_numpy(rng.standard_normal(shape).round(decimals) * scale)  # rounded: ties, and flat parts
    gray[0, :, : shape[2] // 2] = 0
    strength = canny.thinned_gradient(gray, sigma)
    assert torch.equal(strength, canny.thinned_anywhere(gray, sigma))
    found = canny.thinned_gradient(gray)
    for count in (1, 7, 99, 3000):
        assert torch.equal(canny.edge_levels(gray, count), canny.levels_anywhere(found, count))
    for low, high in ((0.0, 0.0), (0.1, 0.2), (0.5, 0.5)):
        assert torch.equal(canny.hysteresis(strength, low, high), canny.hysteresis_anywhere(strength, low, high))


def test_blocks_of_rows_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    gray = as_gray(batch(1), "gray")
    whole = canny.thinned_anywhere(gray, math.sqrt(2))
    for pixels in (1, 96, 500, 10**6):
        monkeypatch.setattr(canny.host, "_BLOCK", pixels)
        assert torch.equal(canny.thinned_gradient(gray), whole)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 150), st.floats(0.3, 1), st.sampled_from([3, 20, 10**6]))
def test_tuned_levels_equal_the_definition(seed: int, count: int, density: float, steps: int) -> None:
    rng = np.random.default_rng(seed)
    strength = some_strength(rng, density, steps)
    assert torch.equal(as_tensor(edge_levels(strength, count)), canny.levels_anywhere(as_tensor(strength), count))


@pytest.mark.parametrize("length", [3, 16, 17, 100])
def test_the_host_looks_once_in_sixteen_steps(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # a line of weak pixels with a strong one at its end
    strength = torch.zeros(1, 1, 5, length + 4, dtype=torch.float64)
    strength[..., 2, 2 : length + 2] = 0.3
    strength[..., 2, 2] = 1
    looks = []
    settled = canny._is_settled
    monkeypatch.setattr(canny, "_is_settled", lambda *maps: looks.append(1) or settled(*maps))
    edges = canny.hysteresis_anywhere(strength, 0.2, 0.5)
    assert torch.equal(edges, strength > 0)
    # the last look finds that the 16 steps before it have changed nothing
    assert len(looks) == math.ceil((length - 1) / 16) + 1


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the way of other devices on the CPU."""
    monkeypatch.setattr(canny, "on_host", lambda _: False)


def test_on_other_devices_the_edges_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x = batch(3, torch.float32)
    expected = canny_edges(x)
    elsewhere(monkeypatch)
    assert torch.equal(canny_edges(x), expected)


def test_on_other_devices_an_image_that_is_not_finite_has_no_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    x = batch(1)
    expected = canny_edges(x)
    elsewhere(monkeypatch)
    for bad in (math.nan, math.inf, -math.inf):
        worse = x.clone()
        worse[1, 0, 30, 40] = bad
        edges = canny_edges(worse)
        assert not edges[1].any()
        assert torch.equal(edges[::2], expected[::2])


@pytest.mark.parametrize("channels", [1, 3])
def test_on_the_meta_device_nothing_but_the_end_of_the_hysteresis_is_looked_at(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.rand(2, channels, 16, 24, device="meta")
    with pytest.raises(Exception, match=r"meta|Meta"):
        canny_edges(x)
    monkeypatch.setattr(canny, "_is_settled", lambda *_: True)
    edges = canny_edges(x)
    assert (edges.device.type, edges.shape, edges.dtype) == ("meta", (2, 1, 16, 24), torch.bool)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_on_cuda_the_edges_are_those_of_the_cpu(dtype: torch.dtype) -> None:
    for channels in (1, 3):
        x = batch(channels, dtype)
        assert torch.equal(canny_edges(x.cuda()).cpu(), canny_edges(x))


@pytest.mark.gpu
def test_on_cuda_the_host_waits_for_the_end_of_the_hysteresis_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    x = batch(3, torch.float32).cuda()
    monkeypatch.setattr(canny, "_is_settled", lambda *_: True)
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        canny_edges(x)
    finally:
        torch.cuda.set_sync_debug_mode(mode)


def test_it_can_be_part_of_what_is_compiled() -> None:
    torch.compiler.reset()
    x = batch(1, torch.float32)
    compiled = torch.compile(lambda image: (image + 1, canny_edges(image)), backend="aot_eager")
    assert torch.equal(compiled(x)[1], canny_edges(x))


def test_importing_does_not_load_scipy_ndimage() -> None:
    code = "import sys, morn_losses.edges, morn_losses.metrics; sys.exit('scipy.ndimage' in sys.modules)"
    root = Path(__file__).resolve().parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
