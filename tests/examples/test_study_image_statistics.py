"""Statistics of images whose statistics are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from morn_losses.edges import canny_edges
from studies.frames.image_statistics import (
    blob_statistics,
    find_blobs,
    gradient,
    gradient_statistics,
    level_statistics,
    noise_sd,
    noise_statistics,
    power_spectrum,
    radial,
)

SHAPE = (96, 128)


def noise(sd: float, seed: int = 0) -> np.ndarray:
    return 128 + np.random.default_rng(seed).normal(0, sd, SHAPE)


def test_levels_of_two_halves() -> None:
    gray = np.zeros(SHAPE)
    gray[:, 64:] = 200
    found = level_statistics(gray)
    assert found["mean"] == found["sd"] == 100
    assert (found["1st percentile"], found["99th percentile"]) == (0, 200)
    assert found["entropy, bits"] == 1
    assert found["at 0 or 255, %"] == 50
    even = level_statistics(np.arange(256.0).repeat(4).reshape(32, 32))
    assert even["entropy, bits"] == pytest.approx(8)
    assert even["median"] == 127.5


def test_gradient_of_a_ramp_is_its_slope() -> None:
    rows, columns = np.mgrid[:24, :32].astype(float)
    assert gradient(3 * columns + 4 * rows)[1:-1, 1:-1] == pytest.approx(5)
    found = gradient_statistics(3 * columns)
    assert found["95th percentile of the gradient"] == pytest.approx(3)
    assert found["mean gradient"] == pytest.approx(3 * 31 / 32)  # half of it in the two columns at the border
    gray = noise(20)
    assert gradient_statistics(gray)["edge pixels, %"] == pytest.approx(100 * canny_edges(gray, 0.1, 0.2).mean())


@pytest.mark.parametrize("sd", [2.0, 15.0])
def test_white_noise_has_its_sd_and_a_flat_spectrum(sd: float) -> None:
    found = [noise_statistics(noise(sd, seed)) for seed in range(8)]
    assert [f["noise sd"] for f in found] == pytest.approx([sd] * 8, rel=0.05)
    assert np.mean([f["power above half Nyquist, %"] for f in found]) == pytest.approx(75, abs=1.5)
    assert np.mean([f["slope of the spectrum"] for f in found]) == pytest.approx(0, abs=0.08)
    assert power_spectrum(noise(sd))[1].mean() == pytest.approx(sd**2, rel=0.05)


def test_noise_is_told_from_a_scene_of_planes_and_edges() -> None:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    scene = rows + 0.5 * columns
    scene[20:60, 30:80] += 90
    assert noise_sd(scene) == 0
    assert noise_sd(scene + noise(4)) == pytest.approx(4, rel=0.06)


@pytest.mark.parametrize("slope", [-1.0, -2.0, -3.0])
def test_the_slope_of_a_power_law_is_found(slope: float) -> None:
    frequency = np.hypot(np.fft.fftfreq(SHAPE[0])[:, None], np.fft.fftfreq(SHAPE[1]))
    frequency[0, 0] = 1
    found = []
    for seed in range(8):
        shaped = np.fft.ifft2(np.fft.fft2(noise(1, seed) - 128) * frequency ** (slope / 2)).real
        found.append(noise_statistics(shaped)["slope of the spectrum"])
    assert np.mean(found) == pytest.approx(slope, abs=0.08)


def test_a_wave_has_its_power_at_its_frequency() -> None:
    columns = np.mgrid[: SHAPE[0], : SHAPE[1]][1]
    for cycles, high in ((0.3, 100), (0.1, 0)):
        wave = 100 + 50 * np.sin(2 * math.pi * cycles * columns)
        frequency, power = power_spectrum(wave)
        assert frequency[power.argmax()] == pytest.approx(cycles, abs=0.01)
        assert noise_statistics(wave)["power above half Nyquist, %"] == pytest.approx(high, abs=0.1)


def test_rings_without_a_frequency_are_unknown() -> None:
    x, y = radial(np.array([0.1, 0.11, 0.5]), np.array([1.0, 3.0, 7.0]), 0.1, bins=4)
    assert len(x) == 4
    assert (y[0], y[3]) == (2, 7)
    assert np.isnan(y[1:3]).all()


def test_a_flat_image_has_no_slope() -> None:
    found = noise_statistics(np.full(SHAPE, 9.0))
    assert found["noise sd"] == 0
    assert math.isnan(found["slope of the spectrum"])
    assert math.isnan(found["power above half Nyquist, %"])


# ---- blobs -----------------------------------------------------------------------------------------------------------


def test_one_blob_of_known_size_and_contrast() -> None:
    gray = noise(2)
    gray[40:52, 60:67] += 80
    blobs = find_blobs(gray)
    found = blob_statistics(blobs)
    assert found["blobs in an image"] == 1
    share = 100 * 12 * 7 / (96 * 128)
    assert found["median area, % of the image"] == pytest.approx(share)
    assert found["90th percentile of the area, %"] == pytest.approx(share)
    assert found["contrast, gray levels"] == pytest.approx(80, abs=1)
    assert found["sd of gray inside"] == pytest.approx(2, abs=0.4)


def test_sizes_and_number_of_several_blobs() -> None:
    gray = np.full(SHAPE, 60.0)
    gray[10:20, 10:20] += 50  # 100 pixels
    gray[50:70, 30:34] += 30  # 80
    gray[80:82, 100:102] += 50  # 4, with the next, which touches it at a corner, 8
    gray[82:84, 102:104] += 50
    gray[5, 100] += 90  # a speck
    gray[50:60, 80:90] += 9  # too little
    blobs = find_blobs(gray)
    assert sorted(np.rint(blobs.areas * gray.size)) == [8, 80, 100]
    assert sorted(blobs.contrasts) == pytest.approx([30, 50, 50])
    assert (blobs.spreads == 0).all()
    found = blob_statistics(blobs)
    assert found["90th percentile of the area, %"] == pytest.approx(100 * np.percentile([8, 80, 100], 90) / gray.size)


def test_what_is_wide_cold_or_noise_is_no_blob() -> None:
    wide = np.full(SHAPE, 60.0)
    wide[20:60, 20:70] = 160
    cold = np.full(SHAPE, 160.0)
    cold[20:30, 20:30] = 60
    for gray in (wide, cold, noise(8), np.zeros(SHAPE)):
        found = blob_statistics(find_blobs(gray))
        assert found.pop("blobs in an image") == 0
        assert all(math.isnan(value) for value in found.values())


def test_a_blob_is_the_same_share_of_a_larger_picture() -> None:
    gray = np.full(SHAPE, 60.0)
    gray[40:52, 60:67] += 80
    large = gray.repeat(3, axis=0).repeat(3, axis=1)
    assert blob_statistics(find_blobs(large)) == pytest.approx(blob_statistics(find_blobs(gray)))


def test_a_blob_that_leaves_no_ring_has_no_contrast() -> None:
    gray = np.full((24, 3), 60.0)
    gray[8:10] = 200
    found = find_blobs(gray)
    assert len(found.areas) == 1
    assert found.contrasts[0] == 140
    full = find_blobs(np.array([[0.0, 200.0, 0.0]] * 3))
    assert len(full.areas) == len(full.contrasts)
