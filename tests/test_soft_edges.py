from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from morn_losses.edges import canny_edges, soft_edges

# a Gaussian of one pixel: by hand the image is as it is given
SHARP = 0.1


def shapes(dtype: torch.dtype = torch.float64, channels: int = 1) -> Tensor:
    """Blurred random shapes, each image its own."""
    rng = np.random.default_rng(0)
    images = np.zeros((3, channels, 40, 44))
    for image in images:
        for _ in range(8):
            top, left = rng.integers(2, 30, 2)
            image[:, top : top + rng.integers(4, 12), left : left + rng.integers(4, 12)] = rng.random((channels, 1, 1))
    return torch.from_numpy(images + 0.02 * rng.random(images.shape)).to(dtype)


def smooth_step(u: float) -> float:
    v = min(max(u, 0), 1)
    return 3 * v**2 - 2 * v**3


def by_loops(gray: np.ndarray, low: float, high: float, softness: float) -> np.ndarray:
    """The equation pixel by pixel, of an image that is smooth already."""
    H, W = gray.shape

    def at(i: int, j: int) -> float:
        return float(gray[min(max(i, 0), H - 1), min(max(j, 0), W - 1)])

    g = {(i, j): (at(i + 1, j) - at(i - 1, j), at(i, j + 1) - at(i, j - 1)) for i in range(H) for j in range(W)}
    peak = max(math.hypot(*v) for v in g.values())
    root = math.sqrt(1e-8)
    m = {
        k: (math.sqrt((math.hypot(*v) / peak) ** 2 + 1e-8) - root) / (math.sqrt(1 + 1e-8) - root) for k, v in g.items()
    }
    edges = np.zeros((H, W))
    for i in range(1, H - 1):
        for j in range(1, W - 1):
            down, right = g[i, j]
            reach = max(abs(down), abs(right))
            if m[i, j] <= low or reach == 0:
                continue
            value = smooth_step((m[i, j] - low) / (high - low))
            for side in (1, -1):
                y, x = side * down / reach, side * right / reach  # one of the two is 1 or -1
                share = min(abs(y), abs(x))
                straight = (round(y), 0) if abs(y) > abs(x) else (0, round(x))
                diagonal = (int(math.copysign(1, y)), int(math.copysign(1, x)))
                beside = (1 - share) * m[i + straight[0], j + straight[1]] + share * m[i + diagonal[0], j + diagonal[1]]
                value *= smooth_step(0.5 + (m[i, j] - beside) / (softness * m[i, j]))
            edges[i, j] = value
    return edges


@pytest.mark.parametrize(("low", "high", "softness"), [(0.1, 0.2, 0.5), (0.3, 1.0, 2.0), (0.01, 0.02, 0.01)])
def test_equals_the_equation_written_with_loops(low: float, high: float, softness: float) -> None:
    image = torch.rand(2, 1, 9, 11, dtype=torch.float64)
    edges = soft_edges(image, low, high, SHARP, softness=softness)
    assert edges.shape == (2, 1, 9, 11)
    for x, found in zip(image[:, 0].numpy(), edges[:, 0].numpy(), strict=True):
        np.testing.assert_allclose(found, by_loops(x, low, high, softness), atol=1e-9)
        assert found.max() > 0.5


def line(*values: float) -> Tensor:
    """An image of five equal rows."""
    return torch.tensor(values, dtype=torch.float64).expand(1, 1, 5, len(values)).clone()


def test_value_by_hand() -> None:
    # differences 0 0 1 1 0 0: the step lies between two pixels, each of which is as strong as the other
    edges = soft_edges(line(0, 0, 0, 1, 1, 1), sigma=SHARP)
    torch.testing.assert_close(edges[0, 0, 2], torch.tensor([0, 0, 0.5, 0.5, 0, 0], dtype=torch.float64))
    # differences 0 1 2 1 0: twice as strong as what is beside it, which is all of the edge with tau up to 1
    ramp = line(0, 0, 1, 2, 2)
    torch.testing.assert_close(soft_edges(ramp, sigma=SHARP)[0, 0, 2], torch.tensor([0, 0, 1, 0, 0], dtype=ramp.dtype))
    # tau = 2: u = 1/2 + (1 - 1/2) / 2 = 3/4 on either side, S(3/4) = 27/32; beside it u = 1/2 + (1/2 - 1) / (2/2) = 0
    wide = soft_edges(ramp, sigma=SHARP, softness=2)[0, 0, 2]
    torch.testing.assert_close(wide, torch.tensor([0, 0, (27 / 32) ** 2, 0, 0], dtype=ramp.dtype), atol=1e-4, rtol=0)
    # a second step of three tenths, halfway between the thresholds: S(1/2) of one half
    two = line(0, 0, 0, 1, 1, 1, 1, 1.3, 1.3, 1.3)
    found = soft_edges(two, 0.2, 0.4, SHARP)[0, 0, 2]
    expected = torch.tensor([0, 0, 0.5, 0.5, 0, 0, 0.25, 0.25, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_defaults() -> None:
    x = shapes()
    assert torch.equal(soft_edges(x), soft_edges(x, 0.1, 0.2, math.sqrt(2), softness=0.5))
    changes: list[dict[str, float]] = [{"low": 0.05}, {"high": 0.5}, {"sigma": 1.0}, {"softness": 0.2}]
    for other in changes:
        assert not torch.allclose(soft_edges(x), soft_edges(x, **other))


def test_it_becomes_cannys_edges() -> None:
    # of random images, in which no two neighbours are equally strong
    for seed in range(5):
        x = torch.rand(1, 1, 30, 33, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        for t in (0.05, 0.2, 0.5):
            expected = canny_edges(x, t, t)
            far, near = (soft_edges(x, t * (1 - d), t * (1 + d), softness=d) for d in (0.3, 1e-4))
            assert ((near > 0.5) == expected).all()
            differs = [(e - expected.double()).abs().sum() for e in (far, near)]
            assert differs[1] < 0.02 * differs[0]
            assert expected.any()


def test_its_support_holds_cannys() -> None:
    x = shapes()
    for low, high in ((0.1, 0.2), (0.2, 0.5)):
        edges = canny_edges(x, low, high)
        soft = soft_edges(x, low * 0.99, high)
        assert edges.sum() > 100
        assert (soft[edges] > 0).all()
        assert soft.sum() < 3 * edges.sum()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 0.3, -1.0, 1e4])
def test_a_flat_image_is_exactly_0_with_zero_gradient(dtype: torch.dtype, value: float) -> None:
    flat = torch.full((2, 3, 9, 12), value, dtype=dtype, requires_grad=True)
    edges = soft_edges(flat, 1e-6, 1e-5)
    assert not edges.any()
    edges.sum().backward()
    assert flat.grad is not None
    assert not flat.grad.any()


def test_rounding_errors_of_a_flat_image_are_no_edges() -> None:
    for dtype in (torch.float32, torch.float64):
        noise = torch.finfo(dtype).eps * torch.randint(-2, 3, (1, 1, 12, 12))
        assert not soft_edges((1 + noise).to(dtype)).any()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("options", [{}, {"low": 0.01, "high": 1.0, "softness": 2.0}, {"sigma": 0.6, "softness": 5.0}])
def test_gradcheck(channels: int, options: dict[str, float]) -> None:
    x = torch.rand(2, channels, 7, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(functools.partial(soft_edges, **options), x)
    assert soft_edges(x, **options).sum() > 0.5


def test_gradient_leads_towards_an_edge() -> None:
    # a faint step grows when its edge is asked for, beside a strong one that the thresholds are shares of
    image = torch.zeros(1, 1, 12, 40, dtype=torch.float64)
    image[..., 12:] = 1
    faint = image.clone()
    faint[..., 28:] += 0.13
    faint.requires_grad_()
    before = soft_edges(faint)[..., 2:-2, 26:30].sum()
    before.backward()
    assert faint.grad is not None
    moved = (faint + 0.05 * faint.grad / faint.grad.abs().max()).detach()
    assert soft_edges(moved)[..., 2:-2, 26:30].sum() > before + 0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    x = shapes(dtype, 3)
    edges = soft_edges(x)
    assert edges.dtype == torch.float32
    torch.testing.assert_close(edges, soft_edges(x.float()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(soft_edges(x.float()), edges, rtol=0, atol=0)
    assert soft_edges(x.double()).dtype == torch.float64


def test_scale_offset_and_contrast_do_not_matter() -> None:
    x = shapes()
    changed = torch.stack([soft_edges(y) for y in (1 - x, 255 * x, 1e-6 * x, x - 0.5, 1e200 * x, 1e-200 * x)])
    torch.testing.assert_close(changed, soft_edges(x).expand(6, -1, -1, -1, -1), rtol=1e-6, atol=1e-6)


def test_turned_and_mirrored_images_have_turned_and_mirrored_edges() -> None:
    x = shapes()
    for turns in range(4):
        torch.testing.assert_close(soft_edges(x.rot90(turns, (2, 3))), soft_edges(x).rot90(turns, (2, 3)))
    torch.testing.assert_close(soft_edges(x.flip(3)), soft_edges(x).flip(3))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([torch.float32, torch.float64]), st.sampled_from([0, 1, 8]))
def test_it_is_between_0_and_1_with_a_finite_gradient(seed: int, dtype: torch.dtype, decimals: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (2, 1, *rng.integers(1, 9, 2).tolist())
    x = torch.from_numpy(rng.standard_normal(shape).round(decimals)).to(dtype).requires_grad_()
    edges = soft_edges(x, 1e-4, 1, 0.5, softness=float(rng.choice([1e-3, 0.5, 10])))
    assert edges.shape == shape
    assert ((edges >= 0) & (edges <= 1)).all()
    edges.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_the_outermost_pixels_are_0() -> None:
    edges = soft_edges(torch.rand(1, 1, 15, 16), 1e-3, 0.1)
    assert edges.sum() == edges[..., 1:-1, 1:-1].sum()
    for side in (edges[..., 1, :], edges[..., -2, :], edges[..., 1], edges[..., -2]):
        assert side.any()


def test_samples_and_layouts_do_not_influence_each_other() -> None:
    x = shapes(channels=3)
    expected = soft_edges(x)
    for i in range(3):
        assert torch.equal(soft_edges(x[i : i + 1])[0], expected[i])
    spread = torch.empty(3, 3, 40, 88, dtype=x.dtype)[..., ::2].copy_(x)
    for other in (x.contiguous(memory_format=torch.channels_last), spread):
        torch.testing.assert_close(soft_edges(other), expected)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_image_that_is_not_finite_is_nan_and_the_others_are_not(bad: float) -> None:
    x = shapes()
    clean = soft_edges(x)
    x[1, 0, 5, 7] = bad
    edges = soft_edges(x)
    assert edges[1, :, 1:-1, 1:-1].isnan().all()
    assert torch.equal(edges[::2], clean[::2])


def test_compiles_as_one_graph() -> None:
    torch.compiler.reset()
    x = shapes(torch.float32, 3).requires_grad_()
    edges = torch.compile(soft_edges, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(edges, soft_edges(x))
    edges.sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_on_the_meta_device_it_looks_at_no_value_and_brings_no_tensor_of_the_cpu() -> None:
    edges = soft_edges(torch.rand(2, 3, 12, 14, device="meta", requires_grad=True))
    assert (edges.device.type, edges.shape, edges.dtype) == ("meta", (2, 1, 12, 14), torch.float32)
    edges.sum().backward()


@pytest.mark.gpu
def test_on_cuda_it_waits_for_nothing_and_gives_the_values_and_gradients_of_the_cpu() -> None:
    found = []
    for device in ("cpu", "cuda"):
        x = shapes(channels=3).to(device).requires_grad_()
        mode = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            edges = soft_edges(x)
            edges.square().sum().backward()
        finally:
            torch.cuda.set_sync_debug_mode(mode)
        assert x.grad is not None
        found.append((edges.detach().cpu(), x.grad.cpu()))
    torch.testing.assert_close(found[1], found[0])


def test_errors_name_the_argument() -> None:
    x = torch.zeros(1, 1, 5, 6)
    cases: list[tuple[type[Exception], str, Any, dict[str, Any]]] = [
        (TypeError, "image: expected a torch.Tensor, got ndarray", x.numpy(), {}),
        (TypeError, "image: expected a floating-point dtype, got torch.uint8", x.to(torch.uint8), {}),
        (ValueError, r"image: expected \(B, C, H, W\), got \(5, 6\)", x[0, 0], {}),
        (ValueError, "image: expected .* with C = 1 or 3", torch.zeros(1, 2, 5, 6), {}),
        (ValueError, r"low: expected a number in \(0, 1\], got 0", x, {"low": 0}),
        (ValueError, r"high: expected a number in \[0, 1\], got 1.1", x, {"high": 1.1}),
        (ValueError, "low: expected less than high = 0.1, got 0.1", x, {"high": 0.1}),
        (ValueError, "sigma: expected a number in", x, {"sigma": 0}),
        (ValueError, "softness: expected a number in", x, {"softness": 0}),
        (TypeError, "softness: expected a number, got str", x, {"softness": "1"}),
    ]
    for error, message, image, options in cases:
        with pytest.raises(error, match=message):
            soft_edges(image, **options)
    with pytest.raises(TypeError):
        soft_edges(x, 0.1, 0.2, 1.0, 0.5)  # type: ignore[misc]
