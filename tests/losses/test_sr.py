from __future__ import annotations

import math
from typing import Any

import pytest
import pytorch_msssim
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.loss_contract import LossContract
from morn_losses.losses.sr import SRLoss, sr_loss


def resize_by_loops(x: Tensor, h: int, w: int) -> Tensor:
    """Bilinear interpolation between pixel centers, edges repeated, one position after the other."""
    H, W = x.shape[-2:]

    def around(i: int, n: int, N: int) -> tuple[int, int, float]:
        center = max((i + 0.5) * N / n - 0.5, 0)
        low = min(math.floor(center), N - 1)
        return low, min(low + 1, N - 1), center - low

    out = x.new_zeros((*x.shape[:-2], h, w))
    for i in range(h):
        top, bottom, v = around(i, h, H)
        for j in range(w):
            left, right, u = around(j, w, W)
            upper = (1 - u) * x[..., top, left] + u * x[..., top, right]
            lower = (1 - u) * x[..., bottom, left] + u * x[..., bottom, right]
            out[..., i, j] = (1 - v) * upper + v * lower
    return out


def distance(x: Tensor, y: Tensor) -> Tensor:
    similarity = pytorch_msssim.ssim((x + 1) / 2, (y + 1) / 2, data_range=1, size_average=False, win_size=3)
    return torch.stack([10 * F.smooth_l1_loss(x[b], y[b]) + 1 - similarity[b] for b in range(len(x))])


class SRContract(LossContract):
    function = staticmethod(sr_loss)
    module = SRLoss()
    grad_options = {"detach_target": False}
    differentiable = (0, 1)

    def test_module_equals_function(self) -> None:
        output, scaled = self.inputs(2, torch.float32)
        assert self.module(lambda x: scaled, output, output, scale=0.5).item() == sr_loss(output, scaled).item()
        assert not list(self.module.parameters())
        assert not self.module.state_dict()


class TestSmallerContract(SRContract):
    def inputs(self, batch: int, dtype: torch.dtype) -> tuple[Any, ...]:
        return torch.rand(batch, 3, 8, 7, dtype=dtype) * 2 - 1, torch.rand(batch, 3, 4, 4, dtype=dtype) * 2 - 1


class TestLargerContract(SRContract):
    def inputs(self, batch: int, dtype: torch.dtype) -> tuple[Any, ...]:
        return torch.rand(batch, 1, 4, 5, dtype=dtype) * 2 - 1, torch.rand(batch, 1, 6, 8, dtype=dtype) * 2 - 1


@pytest.mark.parametrize(
    ("size", "scaled_size"),
    [
        ((8, 10), (4, 5)),
        ((8, 10), (12, 15)),
        ((7, 9), (4, 8)),
        ((5, 5), (5, 8)),
        ((5, 8), (5, 5)),
        ((5, 8), (9, 8)),
        ((9, 8), (5, 8)),
        ((5, 5), (5, 5)),
    ],
)
def test_equals_the_equation_on_a_resize_written_with_loops(
    size: tuple[int, int], scaled_size: tuple[int, int]
) -> None:
    output, scaled = (torch.rand(2, 3, *s, dtype=torch.float64) * 2 - 1 for s in (size, scaled_size))
    h, w = min(size[0], scaled_size[0]), min(size[1], scaled_size[1])
    expected = distance(resize_by_loops(scaled, h, w), resize_by_loops(output, h, w))
    torch.testing.assert_close(sr_loss(output, scaled, reduction="none"), expected)


def test_value_by_hand() -> None:
    # halving without antialiasing is the mean of 2 x 2 blocks: 0 everywhere, against 1
    board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(4, 4).expand(1, 1, 8, 8)
    dissimilar = 1 - (2 * 0.5 * 1 + 1e-4) / (0.25 + 1 + 1e-4)
    assert sr_loss(board, torch.ones(1, 1, 4, 4)).item() == pytest.approx(10 * 0.5 + dissimilar, rel=1e-5)
    assert sr_loss(board, torch.zeros(1, 1, 4, 4)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scaled_size", [4, 12])
def test_half_precision_is_promoted_before_the_resize(dtype: torch.dtype, scaled_size: int) -> None:
    output, scaled = torch.rand(1, 3, 8, 8).to(dtype), torch.rand(1, 3, scaled_size, scaled_size).to(dtype)
    assert sr_loss(output, scaled).item() == sr_loss(output.float(), scaled.float()).item()


@pytest.mark.parametrize(("size", "scaled_size"), [(8, 4), (8, 12), (8, 8)])
def test_the_target_is_output_whichever_is_resized(size: int, scaled_size: int) -> None:
    output = torch.rand(1, 3, size, size, requires_grad=True)
    scaled = torch.rand(1, 3, scaled_size, scaled_size, requires_grad=True)
    sr_loss(output, scaled).backward()
    assert output.grad is None
    assert scaled.grad is not None
    assert scaled.grad.abs().sum() > 0
    sr_loss(output, scaled, detach_target=False).backward()
    assert output.grad is not None
    assert output.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "options", [{"weight_l1": 0.0}, {"weight_ssim": 0.0}, {"window_size": 5}, {"value_range": (-2, 2)}]
)
def test_every_option_reaches_the_distance(options: Any) -> None:
    output, scaled = torch.rand(1, 3, 12, 12) * 2 - 1, torch.rand(1, 3, 6, 6) * 2 - 1
    function = sr_loss(output, scaled, **options)
    assert abs(function.item() - sr_loss(output, scaled).item()) > 1e-4
    assert SRLoss(**options)(lambda _: scaled, output, output, scale=0.5).item() == function.item()


def test_errors_name_the_argument() -> None:
    x = torch.rand(2, 3, 8, 8)
    with pytest.raises(ValueError, match=r"scaled_output: expected \(h, w\) within or around \(H, W\) = \(8, 8\)"):
        sr_loss(x, torch.rand(2, 3, 4, 12))
    with pytest.raises(ValueError, match=r"scaled_output: .*got \(12, 4\)"):
        sr_loss(x, torch.rand(2, 3, 12, 4))
    with pytest.raises(
        ValueError, match=r"scaled_output: expected \(B, C, h, w\) = \(2, 3, 4, 4\), got \(1, 3, 4, 4\)"
    ):
        sr_loss(x, torch.rand(1, 3, 4, 4))
    with pytest.raises(ValueError, match=r"scaled_output: .*got \(2, 1, 4, 4\)"):
        sr_loss(x, torch.rand(2, 1, 4, 4))
    with pytest.raises(ValueError, match="smaller of output and scaled_output: .*window_size = 3, got 2 and 4"):
        sr_loss(x, torch.rand(2, 3, 2, 4))
    with pytest.raises(TypeError, match="output: expected a floating-point dtype"):
        sr_loss(x.long(), x)
    with pytest.raises(TypeError, match="detach_target: expected a bool, got int"):
        sr_loss(x, x, detach_target=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weight_l1"):
        sr_loss(x, x, weight_l1=-1.0)
    with pytest.raises(ValueError, match="value_range"):
        sr_loss(x, x, value_range=(0, 0))


class Recorder(nn.Module):
    """A translation that notes what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return torch.tanh(self.conv(x))


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        ((16, 24), 0.5, (8, 12)),
        ((16, 24), 1.5, (24, 36)),
        ((20, 28), 0.4, (8, 12)),  # 8 and 11.2
        ((13, 19), 0.5, (8, 8)),  # 6.5 and 9.5
        ((5, 4), 0.25, (4, 4)),  # never below 4
        ((8, 8), 1.0, (8, 8)),
    ],
)
def test_the_input_is_resized_to_multiples_of_four(
    size: tuple[int, int], scale: float, expected: tuple[int, int]
) -> None:
    x, translate = torch.rand(1, 3, *size), Recorder()
    value = SRLoss()(translate, x, scale=scale)
    original, resized = translate.seen
    assert original is x
    assert resized.shape[-2:] == expected
    torch.testing.assert_close(resized, resize_by_loops(x, *expected))
    torch.testing.assert_close(value, sr_loss(translate(original), translate(resized)))


def test_an_output_at_hand_is_used_and_not_computed_again() -> None:
    x, translate = torch.rand(1, 3, 8, 8), Recorder()
    output = torch.rand(1, 3, 8, 8, requires_grad=True)
    value = SRLoss()(translate, x, output, 0.5)
    assert len(translate.seen) == 1
    assert value.item() == sr_loss(output, translate(translate.seen[0])).item()
    value.backward()
    assert output.grad is None
    SRLoss(detach_target=False)(translate, x, output, 0.5).backward()
    assert output.grad is not None


@pytest.mark.parametrize(("psi", "side"), [(0.0, 4), (0.4999, 4), (0.5, 16), (0.9999, 16)])
def test_psi_below_a_half_takes_alpha_else_beta(monkeypatch: pytest.MonkeyPatch, psi: float, side: int) -> None:
    """Eq. 22: the draw of the scale."""
    x, translate = torch.rand(1, 3, 8, 8), Recorder()
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor(psi))
    SRLoss(alpha=0.4, beta=2.0)(translate, x)  # 3.2 and 16
    assert translate.seen[1].shape[-1] == side


def test_default_scales_are_the_papers() -> None:
    assert (SRLoss().alpha, SRLoss().beta) == (0.5, 1.5)


def test_the_generator_decides_the_draw() -> None:
    x, translate = torch.rand(1, 3, 8, 8), Recorder()
    criterion = SRLoss()

    def sides(generator: torch.Generator | None) -> list[int]:
        translate.seen.clear()
        for _ in range(12):
            criterion(translate, x, x, generator=generator)
        return [seen.shape[-1] for seen in translate.seen]

    drawn = sides(torch.Generator().manual_seed(3))
    expected = torch.rand(12, generator=torch.Generator().manual_seed(3))
    assert drawn == [4 if psi < 0.5 else 12 for psi in expected]
    assert set(drawn) == {4, 12}
    assert drawn == sides(torch.Generator().manual_seed(3))
    state = torch.get_rng_state()
    sides(torch.Generator().manual_seed(3))
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(5)
    from_global = sides(None)
    torch.manual_seed(5)
    assert from_global == sides(None)
    torch.manual_seed(5)
    assert from_global == [4 if psi < 0.5 else 12 for psi in torch.rand(12)]


def test_a_given_scale_draws_nothing() -> None:
    state = torch.get_rng_state()
    SRLoss()(torch.tanh, torch.zeros(1, 3, 8, 8), scale=1.5)
    assert torch.equal(state, torch.get_rng_state())


def test_weights_get_their_gradient_under_autocast() -> None:
    # a pass without grad first would leave weights without grad in autocast's cache
    translate = Recorder()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = SRLoss()(translate, torch.rand(1, 3, 8, 8), scale=0.5)
    value.backward()
    assert value.dtype == torch.float32
    assert translate.conv.weight.grad is not None
    assert translate.conv.weight.grad.abs().sum() > 0


def test_module_compiles_as_one_graph_with_a_given_scale() -> None:
    torch.compiler.reset()
    x, translate = torch.rand(1, 3, 8, 8), nn.Conv2d(3, 3, 3, padding=1)
    criterion = SRLoss()
    compiled = torch.compile(lambda x: criterion(translate, x, scale=0.5), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), criterion(translate, x, scale=0.5))


def test_module_errors_name_the_argument() -> None:
    x = torch.rand(1, 3, 8, 8)
    for options, name in (({"alpha": 0.0}, "alpha"), ({"alpha": 1.5}, "alpha"), ({"beta": 0.9}, "beta")):
        with pytest.raises(ValueError, match=f"{name}: expected a number in"):
            SRLoss(**options)
    with pytest.raises(ValueError, match="scale: expected a number in"):
        SRLoss()(torch.tanh, x, scale=0.0)
    with pytest.raises(TypeError, match="translate: expected a callable, got Tensor"):
        SRLoss()(x, x)
    with pytest.raises(TypeError, match="generator: expected a torch.Generator or None, got int"):
        SRLoss()(torch.tanh, x, generator=3)
    with pytest.raises(ValueError, match=r"x: expected \(B, C, H, W\), got \(3, 8, 8\)"):
        SRLoss()(torch.tanh, x[0], scale=0.5)


def test_the_module_passes_its_reduction_on() -> None:
    x, scaled = torch.rand(3, 3, 8, 8), torch.rand(3, 3, 4, 4)
    value = SRLoss(reduction="none")(lambda _: scaled, x, x, scale=0.5)
    assert torch.equal(value, sr_loss(x, scaled, reduction="none"))
