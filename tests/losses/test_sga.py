from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.loss_contract import LossContract
from morn_losses.losses.sga import SGALoss, SGAPlusLoss, sga_loss, sga_plus_loss
from morn_losses.losses.thermal import monochromatic_regularization, temperature_regularization


def patches_by_loops(
    fake: np.ndarray, edges: np.ndarray, threshold: float, grid: int, padding: str, eps: float
) -> list[float]:
    """The term of every patch that holds an edge, for one sample of gray values in [0, 1], pixel by pixel."""
    H, W = fake.shape

    def pixel(i: int, j: int) -> float:
        if padding == "zeros" and not (0 <= i < H and 0 <= j < W):
            return 0.0
        return float(fake[min(max(i, 0), H - 1), min(max(j, 0), W - 1)])

    def gradient(i: int, j: int) -> float:
        gx, gy = pixel(i, j + 1) - pixel(i, j - 1), pixel(i + 1, j) - pixel(i - 1, j)
        return math.sqrt(gx * gx + gy * gy + eps) - math.sqrt(eps)

    height, width = math.ceil(H / grid), math.ceil(W / grid)
    terms = []
    for top in range(0, H, height):
        for left in range(0, W, width):
            inside = [(i, j) for i in range(top, min(top + height, H)) for j in range(left, min(left + width, W))]
            if all(edges[i, j] == 0 for i, j in inside):
                continue
            largest = max(gradient(i, j) for i, j in inside)
            total = 0.0
            for i, j in inside:
                ratio = gradient(i, j) / largest if largest > 0 else 0.0
                total += max(threshold * float(edges[i, j]) - ratio, 0.0)
            terms.append(total / (sum(float(edges[i, j]) for i, j in inside) + 1))
    return terms


class TestContract(LossContract):
    function = staticmethod(sga_loss)
    module = SGALoss(grid=3)
    options = {"grid": 3}

    def inputs(self, batch: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        edges = torch.rand(batch, 10, 11, dtype=dtype)
        return torch.rand(batch, 3, 10, 11, dtype=dtype) * 2 - 1, torch.where(edges > 0.6, edges, 0)

    def test_module_holds_the_functions_options_and_defaults(self) -> None:
        of_function, of_module = inspect.signature(sga_loss).parameters, inspect.signature(SGALoss).parameters
        options = {n: p.default for n, p in of_function.items() if p.kind == p.KEYWORD_ONLY and n != "generator"}
        assert {n: p.default for n, p in of_module.items()} == options
        assert repr(SGALoss(grid=3)).startswith("SGALoss(threshold=0.8, grid=3, patches='all'")


class TestPlusContract(LossContract):
    function = staticmethod(sga_plus_loss)
    module = SGAPlusLoss()
    grad_options = {"detach_road": False}

    def inputs(self, batch: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        labels = torch.tensor([0, 0, 0, 11, 11, 13, 255, 0, 0]).expand(batch, 10, 9)
        return torch.rand(batch, 3, 10, 9, dtype=dtype) * 2 - 1, torch.rand(batch, 10, 9) > 0.7, labels


def test_defaults_are_the_papers() -> None:
    defaults = {n: p.default for n, p in inspect.signature(sga_plus_loss).parameters.items()}
    assert defaults["threshold"] == 0.8
    assert defaults["grid"] == 8
    assert defaults["patches"] == "all"
    assert defaults["padding_mode"] == "replicate"
    assert (defaults["eps"], defaults["temperature_eps"]) == (1e-6, 1e-4)
    assert (defaults["road"], defaults["person"], defaults["detach_road"]) == (0, 11, True)
    assert defaults["value_range"] == (-1, 1)
    of_sga = {n: p.default for n, p in inspect.signature(sga_loss).parameters.items() if p.kind == p.KEYWORD_ONLY}
    assert {n: defaults[n] for n in of_sga} == of_sga


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
@pytest.mark.parametrize("size", [(8, 12), (10, 13), (2, 3), (7, 9)])
def test_equals_the_equation_written_with_loops(padding: str, size: tuple[int, int]) -> None:
    fake = torch.rand(4, 1, *size, dtype=torch.float64)
    edges = torch.rand(4, *size, dtype=torch.float64)
    edges = torch.where(edges > 0.7, edges, 0)
    edges[2, :, : size[1] // 2] = 0
    edges[3] = 0
    for grid, threshold in ((1, 0.8), (4, 0.8), (8, 0.44)):
        expected = []
        for b in range(4):
            terms = patches_by_loops(fake[b, 0].numpy(), edges[b].numpy(), threshold, grid, padding, 1e-3)
            expected.append(sum(terms) / len(terms) if terms else 0.0)
        value = sga_loss(
            fake,
            edges,
            threshold=threshold,
            grid=grid,
            padding_mode=padding,
            eps=1e-3,
            value_range=(0, 1),
            reduction="none",
        )
        torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64))
        assert value[3].item() == 0


def test_value_by_hand() -> None:
    # gradients by column: 0, 1, 1, 0, 0.5, 0.5, 0 in each row of a single patch
    fake = torch.tensor([0.0, 0, 1, 1, 1, 0.5, 0.5], dtype=torch.float64).expand(1, 1, 2, 7)
    edges = torch.zeros(1, 2, 7)
    edges[..., 1], edges[..., 4] = 1, 1
    # the strong edge costs nothing, the weak one 0.8 - 0.5 in either row; four edge pixels
    value = sga_loss(fake, edges, grid=1, eps=1e-14, value_range=(0, 1))
    assert value.item() == pytest.approx(2 * 0.3 / (4 + 1), abs=1e-6)
    assert sga_loss(fake, edges, grid=1, eps=1e-14, threshold=0.5, value_range=(0, 1)).item() == pytest.approx(
        0, abs=1e-6
    )
    # relative to the maximum of its own patch the weak edge is strong
    assert sga_loss(fake, edges, grid=2, eps=1e-14, value_range=(0, 1)).item() == pytest.approx(0, abs=1e-6)


def test_the_gradient_is_taken_before_cutting() -> None:
    # the only step lies between the two patches
    fake = torch.tensor([0.0, 0, 1, 1]).expand(1, 1, 1, 4)
    edges = torch.tensor([0.0, 1, 1, 0]).expand(1, 1, 4)
    assert sga_loss(fake, edges, grid=2, value_range=(0, 1)).item() == 0
    # filling up the last patch makes no edge at the image's border
    last = torch.tensor([0.0, 0, 0, 1]).expand(1, 1, 4)
    flat = torch.ones(1, 1, 1, 4)
    assert sga_loss(flat, last, grid=3, value_range=(0, 1)).item() == pytest.approx(0.4)
    assert sga_loss(flat, last, grid=3, value_range=(0, 1), padding_mode="zeros").item() == 0


def test_an_erased_edge_costs_the_full_threshold() -> None:
    edges = torch.zeros(1, 4, 4)
    edges[0, 0, :3] = torch.tensor([1.0, 0.5, 0.25])
    fake = torch.full((1, 3, 4, 4), 0.3, requires_grad=True)
    value = sga_loss(fake, edges, grid=1)
    value.backward()
    assert value.item() == pytest.approx(0.8 * 1.75 / 2.75)
    assert fake.grad is not None
    assert fake.grad.abs().max() == 0


def test_soft_edges_ask_for_less() -> None:
    fake = torch.tensor([0.0, 0, 1, 1.3, 1.3], dtype=torch.float64).expand(1, 1, 1, 5)
    edges = torch.tensor([0.0, 0, 0, 0.5, 0.0]).expand(1, 1, 5)  # gradients 0, 1, 1.3, 0.3, 0
    value = sga_loss(fake, edges, grid=1, eps=1e-14, value_range=(0, 1))
    assert value.item() == pytest.approx((0.8 * 0.5 - 0.3 / 1.3) / 1.5, abs=1e-6)


def test_soft_edges_below_a_half_are_edges() -> None:
    # nothing is left of two edges of 0.4: 2 * 0.8 * 0.4 / (2 * 0.4 + 1)
    edges = torch.tensor([[[0, 0.4, 0.4, 0]]])
    value = sga_loss(torch.zeros(1, 1, 1, 4), edges, grid=1, value_range=(0, 1))
    assert value.item() == pytest.approx(0.64 / 1.8)
    # a faint one in one patch of two counts as a patch with an edge
    edges = torch.tensor([[[0.01, 0.0, 1.0, 0.0]]])
    value = sga_loss(torch.zeros(1, 1, 1, 4), edges, grid=2, value_range=(0, 1))
    assert value.item() == pytest.approx((0.008 / 1.01 + 0.8 / 2) / 2)


def test_the_strongest_gradient_of_the_patch_is_part_of_the_graph() -> None:
    # columns 1 and 2 hold the maximum, the edge is at column 4
    fake = torch.tensor([0.0, 0, 1, 1, 1, 0.5, 0.5], dtype=torch.float64).expand(1, 1, 1, 7).clone().requires_grad_()
    edges = torch.tensor([0.0, 0, 0, 0, 1, 0, 0]).expand(1, 1, 7)
    sga_loss(fake, edges, grid=1, value_range=(0, 1)).backward()
    assert fake.grad is not None
    assert fake.grad[..., 0].item() < 0  # raising it lowers the maximum
    assert fake.grad[..., 5].item() > 0


def test_edges_of_either_shape_and_dtype_agree() -> None:
    fake, edges = torch.rand(2, 3, 8, 8), torch.rand(2, 8, 8) > 0.7
    expected = sga_loss(fake, edges, grid=2)
    assert expected.item() > 0
    for same in (edges[:, None], edges.float(), edges.double(), edges.to(torch.uint8), edges.half()[:, None]):
        value = sga_loss(fake, same, grid=2)
        assert value.dtype == torch.float32
        assert value.item() == expected.item()


def test_value_range_is_mapped_to_unit() -> None:
    fake, edges = torch.rand(1, 3, 8, 8, dtype=torch.float64), torch.rand(1, 8, 8) > 0.7
    in_unit = sga_loss(fake, edges, grid=2, value_range=(0, 1), eps=1e-2)
    assert in_unit.item() > 0
    torch.testing.assert_close(sga_loss(fake * 2 - 1, edges, grid=2, eps=1e-2), in_unit)
    torch.testing.assert_close(sga_loss(fake * 255, edges, grid=2, value_range=(0, 255), eps=1e-2), in_unit)


def test_random_takes_one_patch_that_holds_an_edge_and_all_is_its_expectation() -> None:
    fake = torch.rand(1, 1, 12, 12, dtype=torch.float64)
    edges = (torch.rand(1, 12, 12) > 0.7).double()
    edges[:, :4, :8] = 0
    terms = patches_by_loops(fake[0, 0].numpy(), edges[0].numpy(), 0.8, 3, "replicate", 1e-6)
    assert len(terms) == 7
    assert min(terms) > 0
    # the samples of a large batch draw independently of each other
    many = 3500
    value = sga_loss(
        fake.expand(many, -1, -1, -1),
        edges.expand(many, -1, -1),
        grid=3,
        patches="random",
        value_range=(0, 1),
        generator=torch.Generator().manual_seed(3),
        reduction="none",
    )
    match = (value[:, None] - torch.tensor(terms, dtype=torch.float64)).abs() < 1e-9
    assert match.any(1).all()
    counts = match.sum(0)
    assert counts.min() > 400  # of 500 expected, standard deviation 21
    assert counts.max() < 600
    all_patches = sga_loss(fake, edges, grid=3, value_range=(0, 1))
    assert all_patches.item() == pytest.approx(sum(terms) / 7)
    spread = float(np.std(terms)) / math.sqrt(many)
    assert abs(value.mean().item() - all_patches.item()) < 5 * spread


def test_random_follows_the_generator() -> None:
    fake, edges = torch.rand(4, 1, 16, 16), torch.rand(4, 16, 16) > 0.5

    def draw(seed: int) -> list[float]:
        generator = torch.Generator().manual_seed(seed)
        return SGALoss(patches="random", reduction="none")(fake, edges, generator).tolist()

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    torch.manual_seed(5)
    first = sga_loss(fake, edges, patches="random", reduction="none")
    state = torch.get_rng_state()
    sga_loss(fake, edges, patches="random", generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), state)  # the global RNG is left alone
    torch.manual_seed(5)
    assert torch.equal(sga_loss(fake, edges, patches="random", reduction="none"), first)


def test_random_compiles_as_one_graph() -> None:
    torch.compiler.reset()
    fake, edges = torch.rand(2, 1, 8, 8, requires_grad=True), torch.rand(2, 8, 8) > 0.5
    compiled = torch.compile(lambda x, e: sga_loss(x, e, patches="random"), fullgraph=True, backend="aot_eager")
    torch.manual_seed(1)
    expected = sga_loss(fake, edges, patches="random")
    torch.manual_seed(1)
    value = compiled(fake, edges)
    torch.testing.assert_close(value, expected)
    value.backward()


@pytest.mark.parametrize("patches", ["all", "random"])
def test_without_edges_it_is_an_exact_zero_with_a_graph(patches: str) -> None:
    fake = torch.rand(2, 3, 8, 8, requires_grad=True)
    edges = torch.rand(2, 8, 8).round()
    edges[0] = 0
    value = sga_loss(fake, edges, grid=2, patches=patches, reduction="none")
    value.sum().backward()
    assert value[0].item() == 0
    assert value[1].item() > 0
    assert fake.grad is not None
    assert fake.grad[0].abs().max() == 0
    assert fake.grad[1].isfinite().all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_patch_without_edges_takes_no_part(bad: float) -> None:
    fake, edges = torch.rand(1, 3, 8, 8), torch.rand(1, 8, 8).round()
    edges[..., 4:] = 0
    clean = sga_loss(fake, edges, grid=2)
    # column 4 is a neighbour of a patch with edges; from 5 on nothing is
    fake[..., 5:] = bad
    fake.requires_grad_()
    value = sga_loss(fake, edges, grid=2)
    value.backward()
    assert value.item() == clean.item()
    assert fake.grad is not None
    assert fake.grad.isfinite().all()


def test_a_patch_that_was_not_drawn_takes_no_part() -> None:
    fake, edges = torch.rand(1, 3, 8, 8), torch.ones(1, 8, 8)
    fake[..., 7] = math.nan  # a neighbour of nothing on the left
    finite = 0
    for seed in range(8):
        leaf = fake.clone().requires_grad_()
        generator = torch.Generator().manual_seed(seed)
        value = sga_loss(leaf, edges, grid=2, patches="random", generator=generator)
        if value.isfinite():
            value.backward()
            assert leaf.grad is not None
            assert leaf.grad.isfinite().all()
            finite += 1
    assert 0 < finite < 8


def test_a_nan_of_the_network_is_not_hidden() -> None:
    fake = torch.rand(1, 3, 8, 8)
    fake[..., 2, 2] = math.nan
    assert sga_loss(fake, torch.ones(1, 8, 8), grid=2).isnan()


def test_nearly_flat_patches_have_finite_gradients() -> None:
    fake = (0.5 + 1e-7 * torch.rand(1, 3, 16, 16)).requires_grad_()
    sga_loss(fake, torch.ones(1, 16, 16)).backward()
    assert fake.grad is not None
    assert fake.grad.isfinite().all()


def test_plus_is_the_sum_of_its_three_terms_with_their_options() -> None:
    """Eq. 4: the three terms, weighted alike."""
    fake = torch.rand(3, 3, 12, 12, dtype=torch.float64)
    edges = torch.rand(3, 12, 12) > 0.6
    labels = torch.tensor([4, 4, 5, 6])[torch.randint(4, (3, 12, 12))]
    alignment = sga_loss(
        fake,
        edges,
        threshold=0.6,
        grid=3,
        patches="random",
        padding_mode="zeros",
        eps=1e-3,
        value_range=(0, 1),
        generator=torch.Generator().manual_seed(2),
        reduction="none",
    )
    temperature = temperature_regularization(
        fake, labels, road=4, person=5, value_range=(0, 1), eps=0.3, reduction="none"
    )
    monochromatic = monochromatic_regularization(fake, reduction="none")
    assert min(x.min().item() for x in (alignment, temperature, monochromatic)) > 0
    options = {
        "threshold": 0.6,
        "grid": 3,
        "patches": "random",
        "padding_mode": "zeros",
        "eps": 1e-3,
        "road": 4,
        "person": 5,
        "temperature_eps": 0.3,
        "value_range": (0, 1),
        "reduction": "none",
    }
    generator = torch.Generator().manual_seed(2)
    value = sga_plus_loss(fake, edges, labels, generator=generator, **options)
    torch.testing.assert_close(value, alignment + temperature + monochromatic)
    module = SGAPlusLoss(**options)
    assert torch.equal(module(fake, edges, labels, torch.Generator().manual_seed(2)), value)


@pytest.mark.parametrize("detach", [True, False])
def test_plus_hands_on_whether_the_road_is_detached(detach: bool) -> None:
    fake = torch.tensor([0.9, 0.9, 0.1, 0.1]).expand(1, 3, 4, 4).clone().requires_grad_()
    labels = torch.tensor([0, 0, 11, 11]).expand(1, 4, 4)
    SGAPlusLoss(detach_road=detach)(fake, torch.zeros(1, 4, 4), labels).backward()
    assert fake.grad is not None
    assert (fake.grad[..., 0].abs().max() == 0) == detach


def test_errors_name_the_argument() -> None:
    x, edges, labels = torch.rand(2, 3, 4, 4), torch.ones(2, 4, 4), torch.zeros(2, 4, 4, dtype=torch.long)
    with pytest.raises(ValueError, match=r"edges: expected \(B, H, W\) = \(2, 4, 4\), got \(2, 4, 5\)"):
        sga_loss(x, torch.ones(2, 4, 5))
    with pytest.raises(ValueError, match=r"edges: expected \(B, 1, H, W\) = \(2, 1, 4, 4\), got \(2, 3, 4, 4\)"):
        sga_loss(x, torch.ones(2, 3, 4, 4))
    with pytest.raises(ValueError, match="fake: .*C = 1 or 3"):
        sga_loss(torch.rand(2, 2, 4, 4), edges)
    with pytest.raises(ValueError, match="threshold"):
        sga_loss(x, edges, threshold=1.5)
    with pytest.raises(ValueError, match="grid"):
        sga_loss(x, edges, grid=0)
    with pytest.raises(ValueError, match="patches"):
        sga_loss(x, edges, patches="one")
    with pytest.raises(ValueError, match="padding_mode"):
        sga_loss(x, edges, padding_mode="reflect")
    with pytest.raises(ValueError, match="eps"):
        sga_loss(x, edges, eps=0.0)
    with pytest.raises(ValueError, match="value_range"):
        sga_loss(x, edges, value_range=(1, 0))
    with pytest.raises(TypeError, match="generator"):
        sga_loss(x, edges, generator=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="temperature_eps"):
        sga_plus_loss(x, edges, labels, temperature_eps=0.0)
    with pytest.raises(ValueError, match="labels"):
        sga_plus_loss(x, edges, labels[:1])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.float16])
def test_edges_outside_0_to_1_are_refused(dtype: torch.dtype) -> None:
    x, labels = torch.rand(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.long)
    edges = torch.ones(2, 4, 4, dtype=dtype)
    for wrong in (edges * 255, (edges * 255)[:, None]):  # as read from a picture
        for call in (lambda e: sga_loss(x, e), lambda e: sga_plus_loss(x, e, labels), lambda e: SGALoss()(x, e)):
            with pytest.raises(ValueError, match=r"^edges: expected values in \[0, 1\], got \[255\.0\]"):
                call(wrong)
    if dtype.is_floating_point:
        edges[0, 0, 1], edges[1, 2, 3] = -0.5, 1.5
        edges[1, 0, 0] = math.nan  # no edge for another to hide behind
        with pytest.raises(ValueError, match=r"edges: expected values in \[0, 1\], got \[-0\.5, 1\.5\]"):
            sga_loss(x, edges)


def test_edges_at_the_ends_and_nan_are_let_through() -> None:
    x, edges = torch.rand(2, 3, 4, 4), torch.tensor([0.0, 0.25, 1.0, 1.0]).repeat(2, 4, 1)
    clean = sga_loss(x, edges, grid=1, reduction="none")
    assert clean.isfinite().all()
    edges[0, 0, 0] = math.nan
    value = sga_loss(x, edges, grid=1, reduction="none")
    assert value[1] == clean[1]


def test_plus_calls_its_image_by_its_own_name() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"^fake_thermal: expected \(B, C, H, W\)"):
        sga_plus_loss(torch.rand(3, 8, 8), torch.ones(1, 8, 8), labels)


@pytest.mark.parametrize("grid", [9, 10**6, 2**62])
def test_a_grid_finer_than_the_image_has_a_patch_for_each_pixel(grid: int) -> None:
    fake, edges = torch.rand(2, 3, 9, 8), torch.rand(2, 9, 8).round()
    assert sga_loss(fake, edges, grid=grid) == sga_loss(fake, edges, grid=9)


def test_complex_edges_are_refused() -> None:
    with pytest.raises(TypeError, match="edges: expected a real dtype"):
        sga_loss(torch.rand(1, 3, 8, 8), torch.ones(1, 8, 8, dtype=torch.complex64))


@pytest.mark.parametrize("option", ["eps", "grid", "threshold"])
@pytest.mark.parametrize("value", [2**63, 10**400, -(10**400)])
def test_an_int_that_no_tensor_holds_is_refused(option: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"^{option}: "):
        sga_loss(torch.rand(1, 3, 8, 8), torch.ones(1, 8, 8), **{option: value})
