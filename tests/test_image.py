from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.color import rgb2gray
from torch import Tensor

from morn_losses.image import channel_max, channel_min, gradient_magnitude, to_gray

OPERATIONS: list[Callable[[Tensor], Tensor]] = [channel_max, channel_min, to_gray, gradient_magnitude]


def magnitude_by_loops(gray: np.ndarray, padding: str, eps: float) -> np.ndarray:
    H, W = gray.shape

    def pixel(i: int, j: int) -> float:
        if padding == "zeros" and not (0 <= i < H and 0 <= j < W):
            return 0.0
        return float(gray[min(max(i, 0), H - 1), min(max(j, 0), W - 1)])

    out = np.zeros((H, W))
    for i in range(H):
        for j in range(W):
            gx = pixel(i, j + 1) - pixel(i, j - 1)
            gy = pixel(i + 1, j) - pixel(i - 1, j)
            out[i, j] = math.sqrt(gx * gx + gy * gy + eps) - math.sqrt(eps)
    return out


# --- channel extrema --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_channel_extrema_equal_loops(channels: int) -> None:
    x = torch.randn(2, channels, 3, 4)
    for function, pick in ((channel_max, max), (channel_min, min)):
        value = function(x)
        assert value.shape == (2, 3, 4)
        for b in range(2):
            for i in range(3):
                for j in range(4):
                    assert value[b, i, j].item() == pick(x[b, :, i, j].tolist())


def test_channel_extrema_by_hand() -> None:
    x = torch.tensor([[[[1.0, -5.0]], [[2.0, -7.0]], [[-3.0, -6.0]]]])
    assert channel_max(x).tolist() == [[[2.0, -5.0]]]
    assert channel_min(x).tolist() == [[[-3.0, -7.0]]]


def test_channel_extrema_send_the_gradient_to_the_channel_they_took() -> None:
    x = torch.tensor([1.0, 3.0, 2.0]).view(1, 3, 1, 1).requires_grad_()
    (channel_max(x) + 10 * channel_min(x)).sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [10, 1, 0]


# --- gray -------------------------------------------------------------------------------------------------------------


def test_gray_equals_loops() -> None:
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    value = to_gray(x)
    assert value.shape == (2, 1, 4, 5)
    for b in range(2):
        for i in range(4):
            for j in range(5):
                r, g, b_ = x[b, :, i, j].tolist()
                assert value[b, 0, i, j].item() == pytest.approx(0.299 * r + 0.587 * g + 0.114 * b_, rel=1e-12)


def test_gray_of_equal_channels_agrees_with_scikit_image() -> None:
    x = torch.rand(1, 1, 4, 4, dtype=torch.float64).expand(1, 3, 4, 4)
    theirs = rgb2gray(x[0].permute(1, 2, 0).numpy())
    np.testing.assert_allclose(to_gray(x)[0, 0].numpy(), theirs, rtol=1e-12)


def test_gray_weights_sum_to_one_and_one_channel_is_returned_as_it_is() -> None:
    x = torch.rand(2, 1, 3, 3)
    assert to_gray(x) is x
    torch.testing.assert_close(to_gray(x.expand(2, 3, 3, 3)), x)
    primaries = torch.eye(3, dtype=torch.float64).view(3, 3, 1, 1)
    assert to_gray(primaries).flatten().tolist() == [0.299, 0.587, 0.114]


# --- gradient magnitude -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 7), (2, 2), (1, 5), (5, 1), (1, 1), (3, 2)])
@pytest.mark.parametrize("padding", ["replicate", "zeros"])
@pytest.mark.parametrize("eps", [1e-6, 0.3])
def test_gradient_magnitude_equals_loops(shape: tuple[int, int], padding: Any, eps: float) -> None:
    x = torch.randn(2, 3, *shape, dtype=torch.float64)
    value = gradient_magnitude(x, padding_mode=padding, eps=eps)
    assert value.shape == (2, 1, *shape)
    for b in range(2):
        expected = magnitude_by_loops(to_gray(x)[b, 0].numpy(), padding, eps)
        np.testing.assert_allclose(value[b, 0].numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("padding", "mode"), [("replicate", "nearest"), ("zeros", "constant")])
def test_gradient_magnitude_agrees_with_scipy(padding: Any, mode: str) -> None:
    x = torch.rand(1, 1, 8, 9, dtype=torch.float64)
    gray = x[0, 0].numpy()
    gx, gy = (ndimage.correlate1d(gray, [-1, 0, 1], axis=axis, mode=mode) for axis in (1, 0))
    value = gradient_magnitude(x, padding_mode=padding, eps=1e-12)[0, 0].numpy()
    np.testing.assert_allclose(value, np.hypot(gx, gy), atol=2e-6)


def test_gradient_magnitude_by_hand() -> None:
    x = torch.tensor([[[[0.0, 3.0, 3.0], [0.0, 0.0, 0.0], [4.0, 4.0, 0.0]]]], dtype=torch.float64)
    value = gradient_magnitude(x, eps=1e-16)[0, 0]
    # center: up 3, down 4, left 0, right 0; corner (0, 0): right 3, down 0
    assert value[1, 1].item() == pytest.approx(1.0)
    assert value[0, 0].item() == pytest.approx(3.0)
    assert value[2, 1].item() == pytest.approx(math.hypot(0 - 4, 4 - 0))
    zeros = gradient_magnitude(x, padding_mode="zeros", eps=1e-16)[0, 0]
    assert zeros[2, 1].item() == pytest.approx(math.hypot(0 - 4, 0 - 0))
    assert zeros[1, 1].item() == pytest.approx(1.0)


def test_defaults() -> None:
    x = torch.rand(1, 3, 5, 5)
    torch.testing.assert_close(gradient_magnitude(x), gradient_magnitude(x, padding_mode="replicate", eps=1e-6))
    assert not torch.allclose(gradient_magnitude(x), gradient_magnitude(x, eps=1e-3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("eps", [1e-6, 1e-4, 0.37])
@pytest.mark.parametrize("channels", [1, 3])
def test_flat_is_exactly_zero(dtype: torch.dtype, eps: float, channels: int) -> None:
    x = torch.tensor([0.3, -1.0, 1e4, 0.1]).to(dtype).view(4, 1, 1, 1).expand(4, channels, 5, 6)
    assert not gradient_magnitude(x, eps=eps).any()
    assert not gradient_magnitude(0 * x, eps=eps, padding_mode="zeros").any()


@pytest.mark.parametrize("eps", [1e-6, 1e-60])
def test_flat_has_a_zero_gradient_and_no_nan(eps: float) -> None:
    x = torch.full((1, 3, 4, 4), 0.3, requires_grad=True)
    gradient_magnitude(x, eps=eps).sum().backward()
    assert x.grad is not None
    assert not x.grad.any()


def test_it_is_never_negative() -> None:
    x = 1e-4 * torch.randn(1, 1, 50, 50)
    assert gradient_magnitude(x).min() >= 0


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
@pytest.mark.parametrize("channels", [1, 3])
def test_gradcheck(padding: Any, channels: int) -> None:
    x = torch.rand(2, channels, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: gradient_magnitude(v, padding_mode=padding, eps=1e-3), x)
    flat = torch.full((1, channels, 3, 3), 0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: gradient_magnitude(v, padding_mode=padding, eps=1e-2), flat)
    assert torch.autograd.gradcheck(to_gray, x)
    assert torch.autograd.gradcheck(channel_max, x)
    assert torch.autograd.gradcheck(channel_min, x)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_pixel_reaches_its_four_neighbours_only(bad: float) -> None:
    x = torch.rand(1, 3, 7, 7)
    clean = gradient_magnitude(x)
    x[0, :, 3, 3] = bad
    value = gradient_magnitude(x)
    hit = torch.zeros(7, 7, dtype=torch.bool)
    for i, j in ((2, 3), (4, 3), (3, 2), (3, 4)):
        hit[i, j] = True
    assert value[0, 0][hit].isfinite().sum() == 0
    torch.testing.assert_close(value[0, 0][~hit], clean[0, 0][~hit], rtol=0, atol=0)


def test_nan_stays_in_its_pixel_in_the_pointwise_operations() -> None:
    x = torch.rand(2, 3, 3, 3)
    x[0, 1, 1, 1] = math.nan
    for function in (channel_max, channel_min, to_gray):
        bad = function(x).isnan().view(2, 3, 3)
        assert bad.nonzero().tolist() == [[0, 1, 1]]


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", OPERATIONS)
def test_samples_do_not_influence_each_other(function: Callable[[Tensor], Tensor]) -> None:
    x = torch.rand(3, 3, 5, 4)
    for b in range(3):
        torch.testing.assert_close(function(x)[b], function(x[b : b + 1])[0], rtol=0, atol=0)


@pytest.mark.parametrize("function", OPERATIONS)
def test_memory_layout_does_not_matter(function: Callable[[Tensor], Tensor]) -> None:
    x = torch.rand(2, 3, 5, 4)
    expected = function(x)
    spread = torch.empty(2, 3, 5, 8)[..., ::2].copy_(x)
    torch.testing.assert_close(function(x.contiguous(memory_format=torch.channels_last)), expected)
    torch.testing.assert_close(function(spread), expected)


@pytest.mark.parametrize("function", [to_gray, gradient_magnitude])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 3])
def test_half_precision_is_computed_in_float32(
    function: Callable[[Tensor], Tensor], dtype: torch.dtype, channels: int
) -> None:
    x = torch.rand(1, channels, 4, 4).to(dtype)
    value = function(x)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, function(x.float()), rtol=0, atol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(function(x.float()), value, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes(dtype: torch.dtype) -> None:
    x = torch.rand(1, 3, 4, 4).to(dtype)
    assert channel_max(x).dtype == channel_min(x).dtype == dtype  # a selection, nothing is computed
    if dtype in (torch.float32, torch.float64):
        assert to_gray(x).dtype == gradient_magnitude(x).dtype == dtype


@pytest.mark.parametrize("function", OPERATIONS)
def test_compiles_as_one_graph(function: Callable[[Tensor], Tensor]) -> None:
    torch.compiler.reset()
    x = torch.rand(2, 3, 5, 4, requires_grad=True)
    value = torch.compile(function, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(value, function(x))
    value.sum().backward()


@pytest.mark.parametrize("function", OPERATIONS)
def test_errors_name_the_argument(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(TypeError, match="x: expected a floating-point dtype, got torch.uint8"):
        function(torch.zeros(1, 3, 2, 2, dtype=torch.uint8))
    with pytest.raises(TypeError, match="x: expected a torch.Tensor, got ndarray"):
        function(np.zeros((1, 3, 2, 2)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"x: expected \(B, C, H, W\), got \(3, 2, 2\)"):
        function(torch.zeros(3, 2, 2))
    for shape in ((0, 3, 2, 2), (1, 0, 2, 2), (1, 3, 0, 2), (1, 3, 2, 0)):
        with pytest.raises(ValueError, match="x: expected .* without an empty axis"):
            function(torch.zeros(shape))


def test_channels_and_options_are_checked() -> None:
    x = torch.zeros(1, 2, 2, 2)
    for function in (to_gray, gradient_magnitude):
        with pytest.raises(ValueError, match=r"x: expected \(B, C, H, W\) with C = 1 or 3, got \(1, 2, 2, 2\)"):
            function(x)
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="padding_mode: expected one of 'replicate', 'zeros', got 'reflect'"):
        gradient_magnitude(x, padding_mode="reflect")  # type: ignore[arg-type]
    for eps in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="eps: expected a number"):
            gradient_magnitude(x, eps=eps)
    with pytest.raises(TypeError, match="eps: expected a number, got str"):
        gradient_magnitude(x, eps="1e-6")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        gradient_magnitude(x, "zeros")  # type: ignore[misc]
