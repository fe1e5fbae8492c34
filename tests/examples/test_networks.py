from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ntir2dc.networks import (
    Decoder,
    Discriminator,
    Encoder,
    MultiScaleDiscriminator,
    PatchDiscriminator,
    ResnetGenerator,
    Segmenter,
    UNITDecoder,
    UNITEncoder,
    init_weights,
    scale_weights,
)
from ntir2dc.networks.blocks import Blur, ReflectionPad, ResidualBlock, group_norm, run, stages
from ntir2dc.networks.discriminators import ImagePool
from ntir2dc.networks.segmenters import ASPP, add_coordinates


def n_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small_segmenter() -> Segmenter:
    return Segmenter(n_classes=5, width=4, n_blocks=1, aspp_channels=4, merged_channels=8)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "encoder": (lambda: Encoder(4, 1), (2, 3, 12, 16)),
    "decoder": (lambda: Decoder(4, 1), (2, 16, 3, 4)),
    "segmenter": (small_segmenter, (2, 3, 12, 16)),
    "CycleGAN's generator": (lambda: ResnetGenerator(4, 1, 1), (2, 3, 12, 16)),
    "CycleGAN's discriminator": (lambda: PatchDiscriminator(4), (2, 3, 40, 24)),
    "UNIT's encoder": (lambda: UNITEncoder(4, 1), (2, 3, 12, 16)),
    "UNIT's decoder": (lambda: UNITDecoder(4, 1), (2, 16, 3, 4)),
    "UNIT's discriminator": (lambda: MultiScaleDiscriminator(4), (2, 3, 64, 72)),
    "discriminator": (lambda: Discriminator(4), (2, 3, 64, 40)),
    "instance discriminator": (lambda: Discriminator(4, (2, 3, 1), norm="instance"), (2, 3, 16, 20)),
    "plain discriminator": (lambda: Discriminator(4, (2, 3, 1), norm="none"), (2, 3, 16, 20)),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def flat(output: Tensor | list[list[Tensor]]) -> list[Tensor]:
    return [output] if isinstance(output, Tensor) else [m for maps in output for m in maps]


def test_backbone_has_the_size_the_paper_states() -> None:
    encoder, decoder = n_parameters(Encoder()), n_parameters(Decoder())
    assert encoder == 5_099_143
    assert decoder == 6_566_154
    assert round(4 * (encoder + decoder) / 1e6, 2) == 46.66


def test_generator_positions_are_those_of_the_published_checkpoints() -> None:
    encoder, decoder = Encoder(4), Decoder(4)
    assert [i for i, layer in enumerate(encoder.layers) if isinstance(layer, nn.Conv2d)] == [1, 4, 7]
    assert [i for i, layer in enumerate(encoder.layers) if isinstance(layer, nn.PReLU)] == [3, 6, 9]
    assert [i for i, layer in enumerate(encoder.layers) if isinstance(layer, ResidualBlock)] == [10, 11, 12, 13]
    assert [i for i, layer in enumerate(decoder.layers) if isinstance(layer, ResidualBlock)] == [0, 1, 2, 3, 4]
    assert [i for i, layer in enumerate(decoder.layers) if isinstance(layer, nn.ConvTranspose2d)] == [5, 8]
    assert [i for i, layer in enumerate(decoder.layers) if isinstance(layer, nn.GroupNorm)] == [6, 9]
    assert [i for i, layer in enumerate(decoder.layers) if isinstance(layer, nn.Conv2d)] == [12]
    block = encoder.layers[10].layers
    assert [i for i, layer in enumerate(block) if isinstance(layer, nn.Conv2d | nn.PReLU)] == [1, 3, 5]


@pytest.mark.parametrize("width", [4, 12])
@pytest.mark.parametrize(("B", "H", "W"), [(1, 8, 8), (2, 12, 20), (3, 16, 8)])
def test_encoder_and_decoder_shapes(width: int, B: int, H: int, W: int) -> None:
    x = torch.rand(B, 3, H, W) * 2 - 1
    features = Encoder(width, 2)(x)
    assert features.shape == (B, 4 * width, H // 4, W // 4)
    image = Decoder(width, 1)(features)
    assert image.shape == x.shape
    assert image.abs().max() <= 1


def test_decoder_ends_in_tanh() -> None:
    decoder = Decoder(4, 0)
    before = decoder.layers[:-1]
    features = 10 * torch.randn(1, 16, 2, 2)
    torch.testing.assert_close(decoder(features), before(features).tanh())


def test_residual_block_adds_to_its_input() -> None:
    block = ResidualBlock(4)
    x = torch.randn(1, 4, 5, 5)
    torch.testing.assert_close(block(x) - x, block.layers(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["encoder", "segmenter", "CycleGAN's generator"])
@pytest.mark.parametrize(("H", "W"), [(9, 8), (8, 10), (4, 8), (8, 4), (0, 8)])
def test_sizes_a_network_cannot_take_are_named(name: str, H: int, W: int) -> None:
    with pytest.raises(ValueError, match=f"at least 8 and divisible by 4, got {H} x {W}"):
        NETWORKS[name][0]()(torch.rand(1, 3, H, W))


def test_wrong_channels_and_widths_are_named() -> None:
    with pytest.raises(ValueError, match=r"x: expected \(B, 3, H, W\), got \(1, 1, 8, 8\)"):
        Encoder(4)(torch.rand(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r"x: expected \(B, 16, H, W\), got \(1, 4, 2, 2\)"):
        Decoder(4)(torch.rand(1, 4, 2, 2))
    with pytest.raises(ValueError, match="at least 2, got 1 x 2"):
        Decoder(4)(torch.rand(1, 16, 1, 2))
    with pytest.raises(ValueError, match=r"got \(0, 3, 8, 8\)"):
        Encoder(4)(torch.rand(0, 3, 8, 8))
    for network in (Encoder, Decoder, ResnetGenerator, lambda width: Segmenter(width=width)):
        with pytest.raises(ValueError, match="width: expected a positive multiple of 4, got 6"):
            network(6)


@pytest.mark.parametrize(
    ("channels", "groups"), [(64, 32), (128, 32), (256, 32), (16, 8), (4, 2), (48, 24), (40, 20), (7, 1), (1, 1)]
)
def test_group_norm_adapts_to_the_channels(channels: int, groups: int) -> None:
    assert group_norm(channels).num_groups == groups


def test_decoder_has_group_norms_of_32_groups() -> None:
    norms = [layer for layer in Decoder(64, 0).layers if isinstance(layer, nn.GroupNorm)]
    assert [(norm.num_groups, norm.num_channels) for norm in norms] == [(32, 128), (32, 64)]


@pytest.mark.parametrize("padding", [1, 2, 3])
def test_reflection_is_the_same_with_deterministic_algorithms(padding: int) -> None:
    pad = ReflectionPad(padding)
    x = torch.rand(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(pad(x), nn.ReflectionPad2d(padding)(x), rtol=0, atol=0)
    torch.testing.assert_close(pad.by_slices(x), pad(x), rtol=0, atol=0)
    weight = torch.rand_like(pad(x))
    (expected,) = torch.autograd.grad((pad(x) * weight).sum(), x)
    torch.use_deterministic_algorithms(True)
    try:
        (gradient,) = torch.autograd.grad((pad(x) * weight).sum(), x)
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(gradient, expected)


@every_network
def test_gradient_reaches_every_parameter(name: str) -> None:
    build, shape = NETWORKS[name]
    network = build()
    init_weights(network, gain=0.5, generator=seeded())
    outputs = flat(network(torch.randn(shape)))
    torch.stack([(output * torch.randn_like(output)).sum() for output in outputs]).sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        # instance norm takes the bias before it out again: its gradient is zero up to rounding
        if not key.endswith("bias"):
            assert parameter.grad.abs().max() > 1e-4, key


@every_network
def test_batch_equals_one_by_one_in_eval_mode(name: str) -> None:
    build, shape = NETWORKS[name]
    network = build().double().eval()
    x = torch.randn(shape, dtype=torch.float64)
    together = flat(network(x))
    for b in range(shape[0]):
        for whole, alone in zip(together, flat(network(x[b : b + 1])), strict=True):
            torch.testing.assert_close(whole[b : b + 1], alone)


@every_network
def test_state_dict_round_trip_is_exact(name: str) -> None:
    build, shape = NETWORKS[name]
    network, other = build(), build()
    x = torch.randn(shape)
    network(x)  # moves the power iteration on
    other.load_state_dict(copy.deepcopy(network.state_dict()))
    network.eval(), other.eval()
    for a, b in zip(flat(network(x)), flat(other(x)), strict=True):
        assert torch.equal(a, b)


@every_network
def test_init_depends_on_the_generator_alone(name: str) -> None:
    build, _ = NETWORKS[name]
    states = []
    for global_seed, seed in ((1, 0), (2, 0), (1, 1)):
        torch.manual_seed(global_seed)
        network = build()
        before = torch.random.get_rng_state()
        init_weights(network, generator=seeded(seed))
        assert torch.equal(torch.random.get_rng_state(), before)
        states.append(network.state_dict())
    same, other = states[1], states[2]
    assert all(torch.equal(value, same[key]) for key, value in states[0].items())
    assert any(not torch.equal(value, other[key]) for key, value in states[0].items())


@pytest.mark.parametrize("gain", [0.02, 0.3])
@pytest.mark.parametrize("transposed", [False, True])
def test_init_draws_convolutions_and_clears_biases(gain: float, transposed: bool) -> None:
    layer = nn.ConvTranspose2d(16, 32, 4) if transposed else nn.Conv2d(16, 32, 4)
    norm, slope = nn.GroupNorm(4, 32), nn.PReLU()
    init_weights(nn.Sequential(layer, norm, slope), gain, generator=seeded())
    assert layer.bias is not None
    assert layer.bias.abs().max() == 0
    assert layer.weight.mean().item() == pytest.approx(0, abs=0.05 * gain)
    assert layer.weight.std().item() == pytest.approx(gain, rel=0.05)
    assert norm.weight.min() == norm.weight.max() == 1
    assert slope.weight.item() == 0.25


@pytest.mark.parametrize("transposed", [False, True])
def test_init_of_he_follows_the_number_of_inputs(transposed: bool) -> None:
    layer = nn.ConvTranspose2d(64, 16, 4) if transposed else nn.Conv2d(16, 64, 4)
    init_weights(layer, "he", generator=seeded())
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (16 * 4 * 4)), rel=0.05)


def test_init_default_gain_is_published() -> None:
    layer = nn.Conv2d(32, 32, 4)
    init_weights(layer, generator=seeded())
    assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_init_leaves_spectral_norm_with_a_weight_of_norm_one() -> None:
    discriminator = Discriminator(4)
    init_weights(discriminator, generator=seeded())
    discriminator.eval()
    for layer in discriminator.modules():
        if isinstance(layer, nn.Conv2d):
            original = layer.parametrizations.weight.original
            if original.numel() > 1000:
                assert original.std().item() == pytest.approx(0.02, rel=0.1)
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.1)


Layer = tuple[Tensor, Tensor, Tensor | None]
"""Weight and bias of a convolution, and the slope of the activation after it."""


def layers_of(network: nn.Module) -> list[Layer]:
    """Return the layers in the order of their definition, weights as they are stored, before any spectral norm."""
    state = network.state_dict()
    weights = [
        v for key, v in state.items() if key.endswith(("parametrizations.weight.original", "weight")) and v.ndim == 4
    ]
    biases = [v for key, v in state.items() if key.endswith("bias")]
    slopes = [v for key, v in state.items() if key.endswith("weight") and v.shape == (1,)]
    return list(zip(weights, biases, [*slopes, None], strict=True))


def by_power_step(weight: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weight over its largest singular value as one step of the power iteration sees it, and the vectors."""
    matrix = weight.reshape(len(weight), -1)
    u = matrix @ v / (matrix @ v).norm()
    v = matrix.T @ u / (matrix.T @ u).norm()
    return weight / (u @ matrix @ v), u, v


def scatter(network: nn.Module) -> None:
    """Draw biases, slopes and the gains of norms, which start as constants."""
    generator = seeded(2)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.copy_(torch.rand(parameter.shape, generator=generator) / 2)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x > 0, x, slope * x)


def instance_normed(x: Tensor) -> Tensor:
    centered = x - x.mean((2, 3), keepdim=True)
    return centered / (centered.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()


def scales_written_out(x: Tensor, layers: list[Layer], norm: str) -> list[Tensor]:
    """The maps of one patch discriminator from its weights: stride 2 but for the last two layers."""
    maps = []
    for i, (weight, bias, slope) in enumerate(layers):
        is_last, predicts = i == len(layers) - 1, 0 < i < len(layers) - 2
        padded = torch.zeros(*x.shape[:2], x.shape[2] + 4, x.shape[3] + 4, dtype=x.dtype)
        padded[:, :, 2:-2, 2:-2] = x
        x = F.conv2d(padded, weight, bias, stride=2 if i < len(layers) - 2 else 1)
        if norm == "instance" and i > 0 and not is_last:
            x = instance_normed(x)
        if slope is not None:
            x = prelu(x, slope)
        if predicts or is_last:
            maps.append(x[:, -1:])
        if predicts:
            x = x[:, :-1]
    return maps


def flat_blur(x: Tensor) -> Tensor:
    """Zeros around it, and a Gaussian of sigma 3 cut at 12, which five places with mirrors at both ends throw back."""
    ring, line = [0, 1, 2, 3, 4, 4, 3, 2, 1, 0], [0.0] * 5
    for d in range(-12, 13):
        line[ring[(2 + d) % 10]] += math.exp(-d * d / 18)
    H, W = x.shape[2:]
    padded = nn.ZeroPad2d(2)(x)
    # single precision, in which the published kernel is held
    kernel = torch.tensor([[a * b / sum(line) ** 2 for b in line] for a in line]).to(x.dtype)
    return sum(kernel[i, j] * padded[:, :, i : i + H, j : j + W] for i in range(5) for j in range(5))


def gray_of(x: Tensor) -> Tensor:
    return 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]


def differences_of(gray: Tensor) -> Tensor:
    """x(i + 1) - x(i - 1) of every second pixel, along the columns and the rows, inside the border."""
    coarse = gray[:, :, ::2, ::2]
    return torch.cat(
        (coarse[..., 1:-1, 2:] - coarse[..., 1:-1, :-2], coarse[..., 2:, 1:-1] - coarse[..., :-2, 1:-1]), 1
    )


class TestDiscriminator:
    def test_parameters_are_the_published_ones(self) -> None:
        discriminator = Discriminator()
        assert n_parameters(discriminator.color) == 6_966_729
        assert n_parameters(discriminator.gray) == 6_964_681
        assert n_parameters(discriminator.gradient) == 2_766_791
        assert n_parameters(discriminator) == n_parameters(Discriminator(norm="instance")) == 16_698_201

    @pytest.mark.parametrize("norm", ["spectral", "instance", "none"])
    def test_maps_of_the_paper_s_crops(self, norm: Literal["spectral", "instance", "none"]) -> None:
        color, gray, gradient = Discriminator(4, norm=norm)(torch.randn(1, 3, 256, 256))
        assert [tuple(m.shape) for m in color] == [(1, 1, n, n) for n in (65, 33, 17, 19)]
        assert [tuple(m.shape) for m in gray] == [(1, 1, n, n) for n in (65, 33, 17, 19)]
        assert [tuple(m.shape) for m in gradient] == [(1, 1, n, n) for n in (33, 17, 19)]

    @pytest.mark.parametrize("norm", ["spectral", "instance", "none"])
    @pytest.mark.parametrize("n_layers", [(4, 4, 3), (1, 2, 5)])
    def test_equals_a_forward_written_out(
        self, norm: Literal["spectral", "instance", "none"], n_layers: tuple[int, int, int]
    ) -> None:
        discriminator = Discriminator(5, n_layers, norm=norm).double()
        init_weights(discriminator, gain=0.3, generator=seeded())
        scatter(discriminator)
        x = torch.randn(2, 3, 33, 46, dtype=torch.float64, generator=seeded(1))
        before = copy.deepcopy(discriminator.state_dict())
        maps = discriminator(x)

        gray = gray_of(x)
        views = {"color": flat_blur(x), "gray": gray, "gradient": differences_of(gray)}
        for found, (name, view) in zip(maps, views.items(), strict=True):
            layers = layers_of(getattr(discriminator, name))
            if norm == "spectral":
                # a pass in training mode moves the iteration of every convolution on by one step
                us, vs = (
                    [v for key, v in before.items() if key.startswith(f"{name}.") and key.endswith(end)]
                    for end in ("._u", "._v")
                )
                steps = [by_power_step(w, u, v) for (w, _, _), u, v in zip(layers, us, vs, strict=True)]
                after = getattr(discriminator, name).state_dict()
                moved = [v for key, v in after.items() if key.endswith(("._u", "._v"))]
                torch.testing.assert_close(moved, [vector for _, *vectors in steps for vector in vectors])
                # but for the last layer, whose single row is its singular vector
                assert not any(torch.equal(a, b) for a, b in zip(vs[:-1], moved[1:-2:2], strict=True))
                layers = [(w, bias, slope) for (w, *_), (_, bias, slope) in zip(steps, layers, strict=True)]
            expected = scales_written_out(view, layers, norm)
            assert len(expected) == n_layers[list(views).index(name)]
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)

    def test_eval_mode_leaves_the_power_iteration_alone(self) -> None:
        discriminator = Discriminator(4).eval()
        before = copy.deepcopy(discriminator.state_dict())
        discriminator(torch.randn(1, 3, 32, 32))
        assert all(torch.equal(value, before[key]) for key, value in discriminator.state_dict().items())

    def test_blur_is_nearly_flat(self) -> None:
        kernel = Discriminator(1).kernel
        assert kernel.shape == (3, 1, 5, 5)
        assert (round(kernel.min().item(), 4), round(kernel.max().item(), 4)) == (0.0399, 0.0401)
        assert kernel[0].sum().item() == pytest.approx(1)

    def test_what_each_of_the_three_sees(self) -> None:
        discriminator = Discriminator(4, (1, 1, 1)).eval()
        x = torch.randn(1, 3, 256, 256)
        seen = {}
        for name in ("color", "gray", "gradient"):
            network = getattr(discriminator, name)
            network.register_forward_pre_hook(lambda _, inputs, name=name: seen.update({name: inputs[0]}))
        discriminator(x)
        torch.testing.assert_close(seen["color"], flat_blur(x))
        torch.testing.assert_close(seen["gray"], gray_of(x))
        torch.testing.assert_close(seen["gradient"], differences_of(gray_of(x)))
        assert seen["gradient"].shape == (1, 2, 126, 126)

    @pytest.mark.parametrize("norm", ["spectral", "instance", "none"])
    @pytest.mark.parametrize("n_layers", [(1, 1, 1), (2, 3, 1), (4, 4, 3), (5, 5, 5)])
    def test_smallest_size_works_and_one_pixel_less_is_named(
        self, n_layers: tuple[int, int, int], norm: Literal["spectral", "instance", "none"]
    ) -> None:
        discriminator = Discriminator(1, n_layers, norm=norm)
        maps = discriminator(torch.randn(1, 3, 8, 9))
        assert tuple(len(m) for m in maps) == n_layers
        assert all(m.isfinite().all() for m in flat(maps))
        with pytest.raises(ValueError, match="at least 8, got 9 x 7"):
            discriminator(torch.randn(1, 3, 9, 7))

    @pytest.mark.parametrize(("size", "maps"), [(96, (25, 13, 7, 9)), (32, (9, 5, 3, 5))])
    def test_maps_of_small_crops(self, size: int, maps: tuple[int, ...]) -> None:
        color, gray, gradient = Discriminator(16)(torch.randn(1, 3, size, size))
        assert tuple(m.shape[-1] for m in color) == tuple(m.shape[-1] for m in gray) == maps
        assert tuple(m.shape[-1] for m in gradient) == maps[1:]

    def test_widths(self) -> None:
        discriminator = Discriminator(8, (5, 4, 3))
        channels = {
            name: [
                (layer.in_channels, layer.out_channels) for layer in network.modules() if isinstance(layer, nn.Conv2d)
            ]
            for name, network in discriminator.named_children()
        }
        assert channels["color"] == [(3, 8), (8, 17), (16, 33), (32, 65), (64, 65), (64, 64), (64, 1)]
        assert channels["gray"] == [(1, 8), (8, 17), (16, 33), (32, 65), (64, 64), (64, 1)]
        assert channels["gradient"] == [(2, 8), (8, 17), (16, 33), (32, 64), (64, 1)]

    def test_color_alone_sees_the_image_as_it_is(self) -> None:
        discriminator = Discriminator(4, (2, 4, 3), views="color")
        x = torch.randn(2, 3, 8, 9)
        maps = discriminator.eval()(x)
        assert len(maps) == 1
        for found, expected in zip(maps[0], discriminator.color(x), strict=True):
            assert torch.equal(found, expected)
        assert {key.split(".")[0] for key in discriminator.state_dict()} == {"color"}

    def test_instance_norm_leaves_the_level_to_the_coarsest_map_alone(self) -> None:
        discriminator = Discriminator(4, norm="instance")
        init_weights(discriminator, gain=0.3, generator=seeded())
        for maps in discriminator(torch.randn(1, 3, 64, 64)):
            for i, m in enumerate(maps):
                before_activation = torch.where(m < 0, m / 0.25, m)
                assert (abs(before_activation.mean().item()) < 1e-5) == (i < len(maps) - 1)

    def test_spectral_norm_bounds_the_largest_singular_value(self) -> None:
        discriminator = Discriminator(4)
        convolutions = [layer for layer in discriminator.modules() if isinstance(layer, nn.Conv2d)]
        assert len(convolutions) == 6 + 6 + 5
        with torch.no_grad():
            for layer in convolutions:
                layer.parametrizations.weight.original.mul_(7)
            for _ in range(30):
                discriminator(torch.randn(1, 3, 32, 32))
        discriminator.eval()
        for layer in convolutions:
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)

    def test_spectral_norm_can_be_left_out(self) -> None:
        plain, normed, instance = Discriminator(4, norm="none"), Discriminator(4), Discriminator(4, norm="instance")
        assert n_parameters(plain) == n_parameters(normed) == n_parameters(instance)
        assert plain.state_dict().keys() == dict(plain.named_parameters()).keys()
        assert instance.state_dict().keys() == dict(instance.named_parameters()).keys()
        assert sum(key.endswith("_u") for key in normed.state_dict()) == 17
        assert sum(isinstance(m, nn.InstanceNorm2d) for m in instance.modules()) == 4 + 4 + 3

    def test_loss_of_two_forward_passes_has_a_backward(self) -> None:
        discriminator = Discriminator(4)
        real, fake = discriminator(torch.randn(1, 3, 32, 32)), discriminator(torch.randn(1, 3, 32, 32))
        loss = torch.stack([(r - f - 1).square().mean() for r, f in zip(flat(real), flat(fake), strict=True)]).mean()
        loss.backward()
        assert loss.isfinite()

    def test_input_gets_a_gradient(self) -> None:
        x = torch.randn(1, 3, 32, 32, requires_grad=True)
        torch.stack([m.mean() for m in flat(Discriminator(4)(x))]).sum().backward()
        assert x.grad is not None
        assert (x.grad != 0).all()

    def test_double_precision(self) -> None:
        assert flat(Discriminator(4).double()(torch.randn(1, 3, 32, 32, dtype=torch.float64)))[0].dtype == torch.float64

    def test_autocast(self) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            maps = flat(Discriminator(4)(torch.randn(1, 3, 32, 32)))
        assert all(m.isfinite().all() for m in maps)

    def test_bad_options_are_named(self) -> None:
        with pytest.raises(ValueError, match="width"):
            Discriminator(0)
        with pytest.raises(ValueError, match="n_layers: expected three"):
            Discriminator(4, (4, 4))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="n_layers: expected three"):
            Discriminator(4, (4, 0, 3))
        with pytest.raises(ValueError, match="norm: expected one of spectral, instance, none, got 'batch'"):
            Discriminator(4, norm="batch")  # type: ignore[arg-type]


@pytest.mark.parametrize(("n", "weights"), [(1, (2,)), (3, (1, 2, 4)), (4, (1, 2, 3, 5))])
def test_scale_weights_are_the_published_ones(n: int, weights: tuple[float, ...]) -> None:
    assert scale_weights(n) == weights


def test_scale_weights_need_a_scale() -> None:
    with pytest.raises(ValueError, match="n: expected at least 1, got 0"):
        scale_weights(0)


class TestSegmenter:
    @pytest.mark.parametrize(("B", "H", "W"), [(1, 8, 8), (2, 12, 20)])
    @pytest.mark.parametrize("width", [4, 8])
    def test_logits_have_the_full_size(self, B: int, H: int, W: int, width: int) -> None:
        network = Segmenter(7, width, 1, 4, 8)
        assert network(torch.randn(B, 3, H, W)).shape == (B, 7, H, W)

    def test_defaults(self) -> None:
        network = Segmenter()
        assert network.layers[-1].out_channels == 19
        assert network.layers[-1].in_channels == 256
        assert network.layers[-2].p == 0.5
        assert network.layers[1].out_channels == 64
        assert sum(isinstance(layer, ResidualBlock) for layer in network.layers) == 4
        head = network.layers[-3]
        assert isinstance(head, ASPP)
        assert [branch[0].dilation for branch in head.branches] == [(1, 1), (6, 6), (12, 12), (18, 18)]
        assert [branch[0].kernel_size for branch in head.branches] == [(1, 1), (3, 3), (3, 3), (3, 3)]
        assert {branch[0].out_channels for branch in head.branches} == {64}
        assert head.pooled[1].out_channels == 64
        assert head.merge[0].in_channels == 320

    def test_parameters_are_the_published_ones(self) -> None:
        network = Segmenter(variant="published")
        assert n_parameters(network) == 5_963_874
        assert [key for key, _ in network.named_parameters() if key.endswith("bias")] == ["layers.22.bias"]

    @pytest.mark.parametrize("variant", ["paper", "published"])
    def test_equals_a_forward_written_out(self, variant: Literal["paper", "published"]) -> None:
        network = Segmenter(7, 8, 2, 4, 12, variant=variant).double().eval()
        init_weights(network, gain=0.2, generator=seeded())
        scatter(network)
        x = torch.randn(2, 3, 24, 20, dtype=torch.float64, generator=seeded(1))
        rows, columns = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in (24, 20))
        where = torch.stack((columns.expand(24, 20), rows[:, None].expand(24, 20))).expand(2, 2, 24, 20)

        take = iter(network.parameters())
        biased = variant == "paper"

        def conv(y: Tensor, transposed: bool = False, bias: bool = biased, **options: int) -> Tensor:
            operation = F.conv_transpose2d if transposed else F.conv2d
            result: Tensor = operation(y, next(take), next(take) if bias else None, **options)
            return result

        def layer(y: Tensor, transposed: bool = False, **options: int) -> Tensor:
            return prelu(instance_normed(conv(y, transposed, **options)), next(take))

        y = layer(nn.ReflectionPad2d(3)(torch.cat((x, where), 1)))
        y = layer(layer(y, stride=2, padding=1), stride=2, padding=1)
        for _ in range(2):
            y = y + instance_normed(conv(layer(y, padding=1), padding=1))
        y = layer(layer(y, True, stride=2, padding=1), True, stride=2, padding=1)
        maps = [layer(y), *(layer(y, padding=d, dilation=d) for d in (6, 12, 18))]
        maps.append(prelu(conv(y.mean((2, 3), keepdim=True)), next(take)).expand_as(maps[0]))
        y = conv(torch.cat(maps, 1))
        if variant == "paper":
            grouped = instance_normed(y.reshape(2, 6, 2 * 24, 20)).reshape(y.shape)
            gain, shift = next(take), next(take)
            y = grouped * gain[:, None, None] + shift[:, None, None]
        else:
            y = instance_normed(y)
        expected = conv(prelu(y, next(take)), bias=True)
        assert next(take, None) is None
        torch.testing.assert_close(network(x), expected, rtol=1e-6, atol=1e-8)

    def test_coordinates_span_minus_one_to_one(self) -> None:
        x = torch.randn(2, 3, 3, 5)
        y = add_coordinates(x)
        assert torch.equal(y[:, :3], x)
        assert y[1, 3, 2].tolist() == [-1, -0.5, 0, 0.5, 1]
        assert y[1, 4, :, 2].tolist() == [-1, 0, 1]

    def test_coordinates_of_a_window_are_those_of_its_frame(self) -> None:
        frame = torch.randn(1, 3, 9, 13)
        whole = add_coordinates(frame)
        assert torch.allclose(add_coordinates(frame, torch.tensor([[0, 0, 9, 13]])), whole, atol=1e-6)
        window = torch.tensor([[2, 5, 9, 13], [0, 4, 9, 13]])
        crops = torch.cat((frame[..., 2:6, 5:9], frame[..., 0:4, 4:8]))
        expected = torch.cat((whole[..., 2:6, 5:9], whole[..., 0:4, 4:8]))
        assert torch.allclose(add_coordinates(crops, window), expected, atol=1e-6)
        network = small_segmenter().eval()
        x = torch.randn(1, 3, 16, 16)
        assert not torch.equal(network(x, torch.tensor([[0, 0, 32, 32]])), network(x, torch.tensor([[16, 0, 32, 32]])))

    def test_residual_blocks_pad_with_zeros(self) -> None:
        network = small_segmenter()
        blocks = [layer for layer in network.layers if isinstance(layer, ResidualBlock)]
        assert all(isinstance(block.layers[i], nn.ZeroPad2d) for block in blocks for i in (0, 4))

    @pytest.mark.parametrize(
        ("norm", "variant", "idle"),
        [("instance", "paper", False), ("instance", "published", True), ("group", "published", False)],
    )
    def test_global_pooling_reaches_the_logits_but_past_instance_norm(
        self, norm: Literal["instance", "group"], variant: Literal["paper", "published"], idle: bool
    ) -> None:
        network = Segmenter(5, 4, 1, 4, 8, norm=norm, variant=variant).double().eval()
        init_weights(network, gain=0.3, generator=seeded())
        head = network.layers[-3]
        assert isinstance(head, ASPP)
        x = torch.randn(1, 3, 16, 16, dtype=torch.float64, generator=seeded(1))
        before = network(x)
        head.pooled.register_forward_hook(lambda _, inputs, output: output + torch.arange(4.0)[:, None, None])
        change = (network(x) - before).abs().max()
        assert change < 1e-12 if idle else change > 1e-2

    def test_group_norm_sees_a_color_cast_and_instance_norm_does_not(self) -> None:
        x = torch.randn(1, 3, 16, 16)
        cast = x + torch.tensor([0.5, 0.0, -0.5])[:, None, None]
        for norm, sees in (("instance", False), ("group", True), ("batch", True)):
            network = Segmenter(5, 8, 1, 4, 8, norm=norm).eval()
            init_weights(network, gain=0.1, generator=torch.Generator().manual_seed(0))
            assert torch.allclose(network(cast), network(x), atol=1e-3) != sees
            assert any(isinstance(m, nn.InstanceNorm2d) for m in network.modules()) != sees
            assert any(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == (norm == "batch")
        with pytest.raises(ValueError, match="norm: expected one of instance, group, batch, got 'layer'"):
            Segmenter(norm="layer")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="variant: expected one of paper, published, got 'other'"):
            Segmenter(variant="other")  # type: ignore[arg-type]

    def test_batch_norm_judges_an_image_by_itself_once_it_no_longer_learns(self) -> None:
        network = Segmenter(5, 4, 1, 4, 8, dropout=0.0, norm="batch")
        init_weights(network, "he", generator=seeded())
        x = torch.randn(3, 3, 16, 16)
        assert not torch.allclose(network(x)[:1], network(x[:1]), atol=1e-3)
        network.eval()
        assert torch.allclose(network(x)[:1], network(x[:1]), atol=1e-5)

    def test_dropout_acts_in_training_only(self) -> None:
        network = small_segmenter()
        x = torch.randn(1, 3, 8, 8)
        assert not torch.equal(network(x), network(x))
        network.eval()
        assert torch.equal(network(x), network(x))

    @pytest.mark.parametrize("norm", ["instance", "group"])
    def test_one_pass_gives_what_eval_mode_gives_as_well(self, norm: Literal["instance", "group"]) -> None:
        network = Segmenter(5, 4, 1, 4, 8, dropout=0.5, norm=norm)
        x = torch.randn(2, 3, 16, 16)
        logits, sure = network(x, also_without_dropout=True)
        assert logits.requires_grad
        assert not sure.requires_grad
        assert not torch.allclose(logits, sure, atol=1e-3)
        torch.testing.assert_close(sure, network.eval()(x).detach(), rtol=0, atol=0)

    def test_autocast(self) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert small_segmenter()(torch.randn(1, 3, 8, 8)).isfinite().all()


class TestCycleGAN:
    def test_parameters_are_the_published_ones(self) -> None:
        assert n_parameters(ResnetGenerator()) == 11_378_179
        assert n_parameters(PatchDiscriminator()) == 2_764_737

    @pytest.mark.parametrize(("H", "W", "map_size"), [(256, 256, (30, 30)), (288, 360, (34, 43))])
    def test_sizes_of_images_and_maps(self, H: int, W: int, map_size: tuple[int, int]) -> None:
        x = torch.rand(1, 3, H, W) * 2 - 1
        assert ResnetGenerator(4)(x).shape == x.shape
        ((scores,),) = PatchDiscriminator(4)(x)
        assert scores.shape == (1, 1, *map_size)

    def test_generator_equals_a_forward_written_out(self) -> None:
        generator = ResnetGenerator(4).double()
        init_weights(generator, gain=0.2, generator=seeded())
        scatter(generator)
        x = torch.randn(2, 3, 16, 20, dtype=torch.float64, generator=seeded(1))
        take = iter(generator.parameters())

        def conv(y: Tensor, reflect: int = 0, stride: int = 1, padding: int = 0) -> Tensor:
            return F.conv2d(nn.ReflectionPad2d(reflect)(y), next(take), next(take), stride, padding)

        def doubled(y: Tensor) -> Tensor:
            """The adjoint of a convolution of stride 2, written as one: zeros between and around, the kernel turned."""
            weight, bias = next(take), next(take)
            B, C, h, w = y.shape
            spread = torch.zeros(B, C, 2 * h + 2, 2 * w + 2, dtype=y.dtype)
            spread[..., 1:-1:2, 1:-1:2] = y
            return F.conv2d(spread, weight.flip(2, 3).transpose(0, 1), bias)

        y = instance_normed(conv(x, 3)).relu()
        for _ in range(2):
            y = instance_normed(conv(y, stride=2, padding=1)).relu()
        for _ in range(9):
            y = y + instance_normed(conv(instance_normed(conv(y, 1)).relu(), 1))
        for _ in range(2):
            y = instance_normed(doubled(y)).relu()
        expected = conv(y, 3).tanh()
        assert next(take, None) is None
        torch.testing.assert_close(generator(x), expected, rtol=1e-6, atol=1e-9)

    def test_discriminator_equals_a_forward_written_out(self) -> None:
        discriminator = PatchDiscriminator(4).double()
        init_weights(discriminator, gain=0.2, generator=seeded())
        scatter(discriminator)
        x = torch.randn(2, 3, 32, 43, dtype=torch.float64, generator=seeded(1))
        weights = list(discriminator.parameters())
        expected = x
        for i, stride in enumerate((2, 2, 2, 1, 1)):
            expected = F.conv2d(expected, weights[2 * i], weights[2 * i + 1], stride, padding=1)
            if 0 < i < 4:
                expected = instance_normed(expected)
            if i < 4:
                expected = torch.where(expected > 0, expected, 0.2 * expected)
        assert len(weights) == 10
        torch.testing.assert_close(discriminator(x), [[expected]], rtol=1e-6, atol=1e-9)

    def test_a_score_sees_70_pixels(self) -> None:
        """Without the norms, which see the whole image."""
        discriminator = PatchDiscriminator(4)
        discriminator.layers = nn.Sequential(
            *(m for m in discriminator.layers.modules() if isinstance(m, nn.Conv2d | nn.LeakyReLU))
        )
        x = torch.randn(1, 3, 128, 128, requires_grad=True)
        ((scores,),) = discriminator(x)
        scores[0, 0, 7, 7].backward()
        assert x.grad is not None
        seen = x.grad.abs().sum((0, 1)) > 0
        assert (seen.any(0).sum(), seen.any(1).sum()) == (70, 70)

    def test_smallest_images(self) -> None:
        ResnetGenerator(4)(torch.randn(1, 3, 8, 8))
        ((scores,),) = PatchDiscriminator(4)(torch.randn(1, 3, 24, 25))
        assert scores.shape == (1, 1, 1, 1)
        with pytest.raises(ValueError, match="at least 24, got 24 x 23"):
            PatchDiscriminator(4)(torch.randn(1, 3, 24, 23))
        with pytest.raises(ValueError, match="width: expected at least 1, got 0"):
            PatchDiscriminator(0)

    def test_autocast_leaves_images_and_scores_in_full_precision(self) -> None:
        x = torch.randn(1, 3, 32, 32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            image, scores = ResnetGenerator(4)(x), PatchDiscriminator(4)(x)
        assert image.dtype == scores[0][0].dtype == torch.float32


@pytest.mark.parametrize("activation", ["prelu", "relu"])
def test_checkpointed_layers_are_cut_at_every_activation_and_block(activation: Literal["prelu", "relu"]) -> None:
    encoder, decoder = Encoder(4, 2, activation), Decoder(4, 2, activation=activation)
    kinds = (ResidualBlock, nn.PReLU if activation == "prelu" else nn.ReLU)
    for layers, count in ((encoder.layers, 3 + 2), (decoder.layers, 2 + 2 + 1)):
        cut = list(stages(layers))
        assert len(cut) == count
        assert [layer for stage in cut for layer in stage] == list(layers)
        assert all(isinstance(stage[-1], (*kinds, nn.Tanh)) for stage in cut)
        assert not any(isinstance(layer, kinds) for stage in cut for layer in stage[:-1])
    x = torch.randn(1, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    encoder.double()
    found = []
    for checkpointing in (False, True):
        output = run(encoder.layers, x, checkpointing)
        weight = torch.randn(output.shape, dtype=torch.float64, generator=seeded())
        found.append(torch.autograd.grad((output * weight).sum(), [x, *encoder.parameters()]))
    torch.testing.assert_close(*found)


class TestImagePool:
    def images(self, first: int, n: int) -> Tensor:
        return torch.arange(first, first + n, dtype=torch.float32).reshape(n, 1, 1, 1).expand(n, 3, 2, 2).clone()

    def ids(self, images: Tensor) -> list[int]:
        return [int(i) for i in images[:, 0, 0, 0]]

    def test_returns_its_input_while_it_fills(self) -> None:
        pool = ImagePool(5)
        for first in (0, 2):
            images = self.images(first, 2)
            assert torch.equal(pool.query(images, seeded()), images)
        assert len(pool) == 4
        assert pool.query(self.images(4, 1), seeded()).shape == (1, 3, 2, 2)
        assert len(pool) == 5

    def test_then_swaps_every_second_image_with_a_random_stored_one(self) -> None:
        pool, generator = ImagePool(4), seeded()
        pool.query(self.images(0, 4), generator)
        n, swapped, places = 2000, 0, [0] * 4
        for i in range(4, 4 + n):
            before = self.ids(torch.stack(pool.images))
            (returned,) = self.ids(pool.query(self.images(i, 1), generator))
            after = self.ids(torch.stack(pool.images))
            if returned == i:
                assert after == before
                continue
            swapped += 1
            place = before.index(returned)
            places[place] += 1
            assert after == [i if k == place else old for k, old in enumerate(before)]
        assert swapped / n == pytest.approx(0.5, abs=0.05)
        assert all(count / swapped == pytest.approx(0.25, abs=0.05) for count in places)

    def test_images_of_a_batch_are_drawn_one_by_one(self) -> None:
        pool, generator = ImagePool(50), seeded()
        pool.query(self.images(0, 50), generator)
        returned = self.ids(pool.query(self.images(50, 40), generator))
        kept = sum(r == i for i, r in enumerate(returned, 50))
        assert 5 < kept < 35

    def test_a_batch_may_fill_the_pool_half_way(self) -> None:
        pool = ImagePool(2)
        returned = self.ids(pool.query(self.images(0, 6), seeded()))
        assert len(pool) == 2
        assert returned[:2] == [0, 1]
        # nothing is lost: what is not returned is stored
        assert sorted(returned + self.ids(torch.stack(pool.images))) == sorted([*range(6), 0, 1])

    def test_capacity_zero_passes_through(self) -> None:
        pool, images = ImagePool(0), self.images(0, 3).requires_grad_()
        returned = pool.query(images)
        assert torch.equal(returned, images)
        assert not returned.requires_grad
        assert len(pool) == 0

    def test_holds_and_returns_detached_copies(self) -> None:
        pool, images = ImagePool(4), self.images(0, 2).requires_grad_()
        returned = pool.query(images)
        assert not returned.requires_grad
        with torch.no_grad():
            images.add_(100)
        assert self.ids(torch.stack(pool.images)) == [0, 1]
        assert self.ids(returned) == [0, 1]
        assert not any(image.requires_grad for image in pool.images)

    def test_state_dict_continues_exactly(self) -> None:
        pool, generator = ImagePool(3), seeded()
        pool.query(self.images(0, 5), generator)
        state, position = copy.deepcopy(pool.state_dict()), generator.get_state()
        other = ImagePool(3)
        other.load_state_dict(state)
        restored = torch.Generator()
        restored.set_state(position)
        for i in range(5, 25, 4):
            assert torch.equal(pool.query(self.images(i, 4), generator), other.query(self.images(i, 4), restored))

    def test_state_dict_is_a_snapshot(self) -> None:
        pool = ImagePool(2)
        pool.query(self.images(0, 1))
        state = pool.state_dict()
        pool.query(self.images(1, 1))
        assert len(state["images"]) == 1

    def test_default_generator_is_the_global_one(self) -> None:
        results = []
        for _ in range(2):
            torch.manual_seed(3)
            results.append(ImagePool(2).query(self.images(0, 20)))
        assert torch.equal(*results)

    def test_errors(self) -> None:
        pool = ImagePool(2)
        pool.query(self.images(0, 1))
        with pytest.raises(ValueError, match=r"images: expected \(B, C, H, W\), got \(3, 2, 2\)"):
            pool.query(torch.rand(3, 2, 2))
        with pytest.raises(ValueError, match=r"expected the stored size \(2, 3, 2, 2\), got \(2, 3, 4, 4\)"):
            pool.query(torch.rand(2, 3, 4, 4))
        with pytest.raises(ValueError, match="capacity: expected at least 0, got -1"):
            ImagePool(-1)
        with pytest.raises(ValueError, match="expected a pool of capacity 2, got 3"):
            pool.load_state_dict(ImagePool(3).state_dict())
        assert ImagePool().capacity == 50


def test_decoders_end_with_the_norm_that_is_asked_for() -> None:
    for norm, kind in (("group", nn.GroupNorm), ("instance", nn.InstanceNorm2d)):
        decoder = Decoder(4, 1, norm)  # type: ignore[arg-type]
        following = [
            decoder.layers[i + 1] for i, layer in enumerate(decoder.layers) if isinstance(layer, nn.ConvTranspose2d)
        ]
        assert [type(layer) for layer in following] == [kind, kind]
        assert decoder(torch.randn(1, 16, 4, 5)).shape == (1, 3, 16, 20)


def test_blur_is_the_binomial_filter() -> None:
    line = torch.tensor([1.0, 4, 6, 4, 1]) / 16
    x = torch.rand(2, 3, 9, 11)
    kernel = torch.outer(line, line).expand(3, 1, 5, 5)
    expected = F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, groups=3)
    torch.testing.assert_close(Blur()(x), expected)
    checkers = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 1.0
    assert Blur()(checkers[None, None]).std() < 1e-6


def test_antialiased_generators_take_the_same_sizes_and_weights() -> None:
    plain, blurred = (nn.Sequential(Encoder(4, 1, antialias=a), Decoder(4, 1, antialias=a)) for a in (False, True))
    assert [p.shape for p in plain.parameters()] == [p.shape for p in blurred.parameters()]
    assert blurred(torch.rand(1, 3, 8, 12)).shape == (1, 3, 8, 12)
