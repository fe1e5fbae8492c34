from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import pytorch_msssim
import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.loss_contract import LossContract
from morn_losses.losses.reconstruction import ReconstructionLoss, reconstruction_loss


def ssim_by_loops(x: np.ndarray, y: np.ndarray, size: int) -> float:
    """SSIM of Wang et al. (2004) of one ``(C, H, W)`` pair in [0, 1]: moments under a Gaussian window inside it."""
    C, H, W = x.shape
    half = size // 2
    window = np.array(
        [[math.exp(-(i * i + j * j) / (2 * 1.5**2)) for j in range(-half, half + 1)] for i in range(-half, half + 1)]
    )
    window /= window.sum()
    c1, c2 = 0.01**2, 0.03**2
    values = []
    for c in range(C):
        for i in range(H - size + 1):
            for j in range(W - size + 1):
                a, b = x[c, i : i + size, j : j + size], y[c, i : i + size, j : j + size]
                mean_a, mean_b = (window * a).sum(), (window * b).sum()
                var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
                cov = (window * (a - mean_a) * (b - mean_b)).sum()
                values.append(
                    (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
                )
    return float(sum(values) / len(values))


def distance_by_loops(x: np.ndarray, y: np.ndarray, distance: str) -> float:
    errors = [abs(a - b) for a, b in zip(x.flat, y.flat, strict=True)]
    if distance == "smooth_l1":
        errors = [0.5 * e * e if e < 1 else e - 0.5 for e in errors]
    return float(sum(errors) / len(errors))


def images(batch: int, channels: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    return tuple(torch.rand(batch, channels, 6, 7, dtype=dtype) * 2 - 1 for _ in range(2))  # type: ignore[return-value]


class TestContract(LossContract):
    function = staticmethod(reconstruction_loss)
    module = ReconstructionLoss()
    differentiable = (0, 1)

    def inputs(self, batch: int, dtype: torch.dtype) -> tuple[Any, ...]:
        return images(batch, 3, dtype)


class TestCycleContract(LossContract):
    function = staticmethod(reconstruction_loss)
    options = {"distance": "l1", "window_size": 5, "weight_l1": 1.0, "weight_ssim": 2.0, "value_range": (-2.0, 1.0)}
    module = ReconstructionLoss(distance="l1", window_size=5, weight_l1=1.0, weight_ssim=2.0, value_range=(-2.0, 1.0))
    differentiable = (0, 1)

    def test_module_holds_the_functions_options_and_defaults(self) -> None:
        for option in ("distance='l1'", "window_size=5", "weight_l1=1.0", "weight_ssim=2.0", "value_range=(-2.0, 1.0)"):
            assert option in repr(self.module)

    def inputs(self, batch: int, dtype: torch.dtype) -> tuple[Any, ...]:
        return images(batch, 1, dtype)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("distance", ["smooth_l1", "l1"])
@pytest.mark.parametrize("window_size", [3, 5])
def test_equals_the_definition_written_with_loops(channels: int, distance: Any, window_size: int) -> None:
    x, y = images(3, channels)
    x *= 1.5  # so that errors lie on both sides of 1
    value = reconstruction_loss(
        x, y, distance=distance, weight_l1=2.0, weight_ssim=3.0, window_size=window_size, reduction="none"
    )
    for b in range(3):
        a, c = x[b].numpy(), y[b].numpy()
        expected = 2 * distance_by_loops(a, c, distance)
        expected += 3 * (1 - ssim_by_loops((a + 1) / 2, (c + 1) / 2, window_size))
        # the package's window is float32
        assert value[b].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_defaults_equal_torch_and_pytorch_msssim(channels: int) -> None:
    x, y = images(2, channels)
    unit_x, unit_y = (x + 1) / 2, (y + 1) / 2
    similarity = pytorch_msssim.ssim(unit_x, unit_y, data_range=1, size_average=False, win_size=3)
    expected = torch.stack([10 * F.smooth_l1_loss(x[b], y[b]) + 1 - similarity[b] for b in range(2)])
    torch.testing.assert_close(reconstruction_loss(x, y, reduction="none"), expected)


def test_value_by_hand() -> None:
    # flat images have no variance (the package's float32 window leaves 1e-8 of it, which C2 makes 1e-5):
    # SSIM is (2 m_x m_y + C1) / (m_x^2 + m_y^2 + C1)
    gray, white = torch.zeros(1, 3, 3, 3, dtype=torch.float64), torch.ones(1, 3, 3, 3, dtype=torch.float64)
    dissimilar = 1 - (2 * 0.5 * 1 + 1e-4) / (0.25 + 1 + 1e-4)
    assert reconstruction_loss(gray, white).item() == pytest.approx(10 * 0.5 + dissimilar, rel=1e-5)
    half = reconstruction_loss(gray, 0.5 * white, weight_ssim=0)
    assert half.item() == pytest.approx(10 * 0.125)
    assert reconstruction_loss(gray, 0.5 * white, distance="l1", weight_ssim=0).item() == pytest.approx(10 * 0.5)
    assert reconstruction_loss(white, white).item() == 0


def test_value_range_reaches_the_similarity_alone() -> None:
    x, y = images(1, 3)
    similarity = {"weight_l1": 0.0, "weight_ssim": 1.0}
    in_range = reconstruction_loss(x, y, **similarity)  # type: ignore[arg-type]
    shifted = reconstruction_loss(
        (x + 1) / 2 * 255,
        (y + 1) / 2 * 255,
        value_range=(0, 255),
        **similarity,  # type: ignore[arg-type]
    )
    torch.testing.assert_close(shifted, in_range)
    distance = reconstruction_loss(x, y, weight_ssim=0)
    torch.testing.assert_close(reconstruction_loss(x, y, weight_ssim=0, value_range=(-5, 5)), distance)


def test_a_term_of_weight_zero_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = torch.rand(1, 1, 1, 1), torch.rand(1, 1, 1, 1)  # too small for a window
    assert reconstruction_loss(*tiny, weight_ssim=0).item() > 0
    x, y = images(1, 3, torch.float32)
    x[0, 0, 0, 0] = 1e30  # overflows the similarity, not the distance
    assert reconstruction_loss(x, y, weight_ssim=0, distance="l1").isfinite()
    assert not reconstruction_loss(x, y).isfinite()
    x, y = images(1, 3)
    dissimilar = reconstruction_loss(x, y) - reconstruction_loss(x, y, weight_ssim=0)
    monkeypatch.setattr(F, "smooth_l1_loss", None)
    torch.testing.assert_close(reconstruction_loss(x, y, weight_l1=0), dissimilar)


def test_no_term_at_all_is_an_exact_zero_with_a_graph() -> None:
    x, y = images(2, 3, torch.float32)
    x.requires_grad_()
    value = reconstruction_loss(x, y, weight_l1=0, weight_ssim=0, reduction="none")
    value.sum().backward()
    assert value.tolist() == [0, 0]
    assert x.grad is not None
    assert x.grad.abs().max() == 0


def test_equal_images_have_zero_gradient() -> None:
    x, _ = images(1, 3)
    x.requires_grad_()
    reconstruction_loss(x, x.detach().clone()).backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.zeros_like(x.grad), rtol=0, atol=1e-12)


@pytest.mark.parametrize("other", [torch.float16, torch.float64])
def test_dtypes_may_differ(other: torch.dtype) -> None:
    x, y = images(1, 3, torch.float32)
    y = y.to(other).requires_grad_()
    value = reconstruction_loss(x, y)
    value.backward()
    assert value.dtype == (torch.float64 if other == torch.float64 else torch.float32)
    torch.testing.assert_close(value.double(), reconstruction_loss(x.double(), y.double()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("H", "W"), [(3, 3), (3, 9), (9, 3)])
def test_smallest_images_keep_their_axes(H: int, W: int) -> None:
    x, y = torch.rand(2, 3, H, W, dtype=torch.float64), torch.rand(2, 3, H, W, dtype=torch.float64)
    value = reconstruction_loss(x, y, weight_l1=0, value_range=(0, 1), reduction="none")
    for b in range(2):
        assert value[b].item() == pytest.approx(1 - ssim_by_loops(x[b].numpy(), y[b].numpy(), 3), rel=1e-6)


@pytest.mark.parametrize(("H", "W", "window_size"), [(1, 8, 3), (8, 1, 3), (2, 2, 3), (8, 6, 7), (6, 8, 7)])
def test_images_smaller_than_the_window_are_refused(H: int, W: int, window_size: int) -> None:
    x = torch.rand(1, 3, H, W)
    message = f"output: expected H and W of at least window_size = {window_size}, got {H} and {W}"
    with pytest.raises(ValueError, match=message):
        reconstruction_loss(x, x, window_size=window_size)


@pytest.mark.parametrize("channels", [1, 3])
def test_convolutions_are_of_the_kind_that_cuda_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    kinds = set()
    conv2d = F.conv2d

    def record(x: Tensor, *args: Any, groups: int, **kwargs: Any) -> Tensor:
        kinds.add((x.is_contiguous(), groups == x.shape[1] > 1, x.dtype))
        return conv2d(x, *args, groups=groups, **kwargs)

    monkeypatch.setattr(F, "conv2d", record)
    x, y = (image.contiguous(memory_format=torch.channels_last) for image in images(2, channels, torch.float32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reconstruction_loss(x, y)
    assert kinds == {(True, True, torch.float32)}


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_on_cuda_it_is_as_exact_and_never_waits(channels: int, memory_format: torch.memory_format) -> None:
    # nearly flat images, where a similarity of TF32 precision would be off by tenths
    x, y = (0.9 + 0.02 * torch.rand(2, channels, 32, 32) for _ in range(2))
    expected = reconstruction_loss(x.double(), y.double())
    x, y = (image.cuda().contiguous(memory_format=memory_format).requires_grad_() for image in (x, y))
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.autocast("cuda"):
            value = reconstruction_loss(x, y)
        value.backward()
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=1e-2)


def test_errors_name_the_argument() -> None:
    x = torch.rand(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"target: expected the shape of output = \(2, 3, 4, 4\), got \(1, 3, 4, 4\)"):
        reconstruction_loss(x, x[:1])
    with pytest.raises(ValueError, match="output: .*C = 1 or 3"):
        reconstruction_loss(x[:, :2], x[:, :2])
    with pytest.raises(TypeError, match="target: expected a floating-point dtype"):
        reconstruction_loss(x, x.long())
    with pytest.raises(ValueError, match="distance: expected one of 'smooth_l1', 'l1', got 'l2'"):
        reconstruction_loss(x, x, distance="l2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weight_l1"):
        reconstruction_loss(x, x, weight_l1=-1.0)
    with pytest.raises(ValueError, match="weight_ssim"):
        reconstruction_loss(x, x, weight_ssim=-1.0)
    with pytest.raises(ValueError, match="window_size: expected an odd int, got 4"):
        reconstruction_loss(x, x, window_size=4)
    with pytest.raises(ValueError, match="window_size: expected an int >= 3, got 1"):
        reconstruction_loss(x, x, window_size=1)
    with pytest.raises(TypeError, match="window_size: expected an int, got float"):
        reconstruction_loss(x, x, window_size=3.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="value_range"):
        reconstruction_loss(x, x, value_range=(1, -1))


def test_the_module_passes_its_reduction_on() -> None:
    x, y = images(3, 3)
    assert torch.equal(ReconstructionLoss(reduction="none")(x, y), reconstruction_loss(x, y, reduction="none"))
