"""Tiles of large frames: each pixel once, statistics shared, nothing of it left in the network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from ntir2dc.colorizing.flicker import noise_change, shift_changes
from ntir2dc.colorizing.sizes import translate
from ntir2dc.colorizing.tiles import Statistics, _spans, check_tile, shared_statistics, translate_in_tiles
from ntir2dc.data.samples import DataError
from ntir2dc.methods.morngan import make_translator


@pytest.fixture(scope="module")
def network() -> Iterator[nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield make_translator(4, 1, 1).eval()


def frame(H: int, W: int) -> Tensor:
    """A smooth frame that gets brighter to one side, so that tiles differ in their statistics."""
    rows, columns = torch.linspace(0, 9, H)[:, None], torch.linspace(0, 12, W)
    pattern = (rows.sin() * columns.cos() + columns / 6 - 1) / 2
    return pattern.clamp(-1, 1).expand(1, 3, H, W)


@pytest.mark.parametrize(("size", "tile", "halo"), [(40, 40, 8), (41, 40, 8), (100, 40, 8), (203, 96, 32), (30, 40, 8)])
def test_every_pixel_is_kept_once_and_far_from_inner_borders(size: int, tile: int, halo: int) -> None:
    spans = _spans(size, tile, halo)
    assert [first for _, first, _ in spans] == [0, *(last for _, _, last in spans[:-1])]
    assert spans[-1][2] == size
    for start, first, last in spans:
        assert start % 4 == 0
        assert start <= first < last <= min(start + tile, size)
        assert first == 0 or first - start >= halo
        assert last == size or start + tile - last >= halo


@torch.inference_mode()
def test_statistics_of_the_frame_itself_change_nothing(network: nn.Module) -> None:
    x = frame(24, 32)
    expected = network(x)
    statistics = Statistics([])
    with shared_statistics(network, statistics):
        torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5)
        statistics.applied = True
        torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(network(x.flip(-1) / 2), network(x.flip(-1)))
    torch.testing.assert_close(network(x), expected, rtol=0, atol=0)


def test_tiles_agree_with_the_whole_frame(network: nn.Module) -> None:
    x = frame(96, 160)
    whole = translate(network, x)
    tiles = translate_in_tiles(network, x, 96, 16)
    alone = torch.cat([translate(network, part) for part in x.split(32, -1)], -1)
    shared, naive = float((tiles - whole).abs().mean()), float((alone - whole).abs().mean())
    assert shared < naive / 3
    assert translate_in_tiles(network, x, 160).equal(whole)


def test_a_tile_that_is_all_halo_is_refused() -> None:
    check_tile(0)
    check_tile(96)
    for tile in (64, 98, -4):
        with pytest.raises(DataError, match="tile: expected 0 or a multiple of 4 from 96 on"):
            check_tile(tile)


def test_flicker_is_what_moves_against_its_input() -> None:
    x = frame(64, 80)[0]
    assert shift_changes(lambda x: x, x, [(1, 3)]) == [0]

    def checkered(x: Tensor) -> Tensor:
        return x + (torch.arange(x.shape[-1]) % 4 == 0) * 0.5

    # of four columns two differ by 0.5
    deviation = float(checkered(x[None, :, 4:-4, 4:-4])[..., 16:-16, 16:-16].std())
    found = shift_changes(checkered, x, [(2, 1), (0, 4)])
    assert found == pytest.approx([0.25 / deviation, 0], rel=1e-4, abs=1e-6)


def test_noise_of_a_still_frame_is_noise_of_the_output() -> None:
    x = frame(64, 80)[0] / 2
    found = noise_change(lambda x: x, x, levels=2, seed=0)
    # two draws differ by 2 / sqrt(pi) of their deviation in the mean
    assert found == pytest.approx(2 / 127.5 * 2 / torch.pi**0.5 / float(x.std()), rel=0.05)
    assert noise_change(lambda x: 3 * x, x, levels=2, seed=0) == pytest.approx(found, rel=0.01)
