"""What a gray image is like in numbers: its levels, gradients, noise, spectrum and warm blobs.

Every function takes gray levels from 0 to 255, ``(H, W)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from morn_losses.edges import canny_edges

Floats = NDArray[np.float64]

GAUSSIAN = 1.4826
"""Median absolute deviation to standard deviation."""
BLOB_SIDE = 1 / 4
"""Blobs are narrower than this share of the short side, in one direction at least."""
BLOB_AREA = 3e-4
"""Smaller ones, as a share of the image, are left out: 4 pixels of 128 x 96."""
BLOB_DEVIATIONS = 5.0
BLOB_LEVELS = 10.0
"""How far a blob is above its surroundings: robust standard deviations and, at least, gray levels."""
LOWEST_CYCLES = 4.0
"""A slope is fitted from this many cycles a short side, above what the window smears, to the Nyquist frequency."""


def level_statistics(gray: Floats) -> dict[str, float]:
    """Return mean, sd, percentiles and entropy of the gray levels, and the share that is black or white."""
    p1, p50, p99 = np.percentile(gray, (1, 50, 99))
    counts = np.bincount(np.rint(gray).astype(np.intp).ravel(), minlength=256)
    shares = counts[counts > 0] / gray.size
    return {
        "mean": float(gray.mean()),
        "sd": float(gray.std()),
        "1st percentile": float(p1),
        "median": float(p50),
        "99th percentile": float(p99),
        "entropy, bits": float(-(shares * np.log2(shares)).sum()),
        "at 0 or 255, %": 100 * float(counts[0] + counts[255]) / gray.size,
    }


def gradient(gray: Floats) -> Floats:
    """Return the magnitude of the Sobel gradient in gray levels a pixel, ``(H, W)``."""
    across, down = (ndimage.sobel(gray, axis, mode="nearest") / 8 for axis in (1, 0))
    return np.hypot(across, down)


def gradient_statistics(gray: Floats, thresholds: tuple[float, float] = (0.1, 0.2)) -> dict[str, float]:
    """Return mean and 95th percentile of the gradient, and the share of Canny edges (the trainer's thresholds)."""
    strength = gradient(gray)
    return {
        "mean gradient": float(strength.mean()),
        "95th percentile of the gradient": float(np.percentile(strength, 95)),
        "edge pixels, %": 100 * float(canny_edges(gray, *thresholds).mean()),
    }


def noise_sd(gray: Floats) -> float:
    """Return the sd of white noise that would explain the finest detail, by its median absolute deviation.

    The detail is the second difference both ways, [1, -2, 1] by [1, -2, 1], which is 0 on planes and along straight
    edges of the grid. Fine texture counts as noise.
    """
    rows = gray[:-2] - 2 * gray[1:-1] + gray[2:]
    detail = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return GAUSSIAN * float(np.median(np.abs(detail))) / 6


def power_spectrum(gray: Floats) -> tuple[Floats, Floats]:
    """Return frequencies in cycles a pixel, above 0 and up to 0.5, and the power there; two flat arrays.

    Under a Hann window, and scaled so that white noise of variance v has power v at every frequency.
    """
    height, width = gray.shape
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    values = (gray - (window * gray).sum() / window.sum()) * window
    power = np.abs(np.fft.fft2(values)) ** 2 / (window**2).sum()
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    inside = (frequency > 0) & (frequency <= 0.5)
    return frequency[inside], power[inside]


def radial(frequency: Floats, power: Floats, lowest: float, bins: int = 12) -> tuple[Floats, Floats]:
    """Return frequency and mean power of rings from ``lowest`` to 0.5, evenly spaced in the logarithm; NaN if empty."""
    limits = np.geomspace(lowest, 0.5, bins + 1)
    ring = np.digitize(frequency, limits[:-1]) - 1
    means = [power[ring == i].mean() if (ring == i).any() else math.nan for i in range(bins)]
    return np.sqrt(limits[:-1] * limits[1:]), np.array(means)


def noise_statistics(gray: Floats) -> dict[str, float]:
    """Return noise, slope of the radial power spectrum in log-log, and the share of power above half Nyquist.

    White noise has slope 0 and a share of 75%.
    """
    frequency, power = power_spectrum(gray)
    x, y = radial(frequency, power, LOWEST_CYCLES / min(gray.shape))
    known = np.nan_to_num(y) > 0
    slope = np.polyfit(np.log(x[known]), np.log(y[known]), 1)[0] if known.sum() > 1 else math.nan
    total = float(power.sum())
    return {
        "noise sd": noise_sd(gray),
        "slope of the spectrum": float(slope),
        "power above half Nyquist, %": 100 * float(power[frequency > 0.25].sum()) / total if total else math.nan,
    }


@dataclass(frozen=True)
class Blobs:
    """Warm blobs of an image, one value each: share of the image, gray levels above the ring around, sd inside."""

    areas: Floats
    contrasts: Floats
    spreads: Floats


def find_blobs(gray: Floats) -> Blobs:
    """Find what is warmer than its surroundings on all sides.

    Where the white top-hat (the image minus its opening by a square of a quarter of the short side) exceeds its median
    by five robust standard deviations, and by ten gray levels at least; 8-connected, without specks.
    """
    short = min(gray.shape)
    side = max(3, round(short * BLOB_SIDE))
    above = gray - ndimage.grey_opening(gray, size=(side, side), mode="reflect")
    middle = float(np.median(above))
    rise = max(BLOB_DEVIATIONS * GAUSSIAN * float(np.median(np.abs(above - middle))), BLOB_LEVELS)
    groups, _ = ndimage.label(above > middle + rise, structure=np.ones((3, 3)))
    any_blob = groups > 0
    ring = max(1, round(short / 48))
    blobs = []
    for number, box in enumerate(ndimage.find_objects(groups), start=1):
        if (area := int((groups[box] == number).sum())) < BLOB_AREA * gray.size:
            continue
        wide = tuple(slice(max(0, cut.start - ring), cut.stop + ring) for cut in box)
        inside = groups[wide] == number
        around = ndimage.binary_dilation(inside, np.ones((3, 3), np.bool_), iterations=ring) & ~any_blob[wide]
        values = gray[wide]
        contrast = values[inside].mean() - values[around].mean() if around.any() else math.nan
        blobs.append((area / gray.size, float(contrast), float(values[inside].std())))
    return Blobs(*np.array(blobs, np.float64).reshape(-1, 3).T)


def blob_statistics(blobs: Blobs) -> dict[str, float]:
    """Return number, sizes, contrast and inner spread of an image's blobs; NaN but for the number where it has none."""
    known = blobs.contrasts[~np.isnan(blobs.contrasts)]
    some = len(blobs.areas) > 0
    return {
        "blobs in an image": float(len(blobs.areas)),
        "median area, % of the image": 100 * float(np.median(blobs.areas)) if some else math.nan,
        "90th percentile of the area, %": 100 * float(np.percentile(blobs.areas, 90)) if some else math.nan,
        "contrast, gray levels": float(known.mean()) if len(known) else math.nan,
        "sd of gray inside": float(blobs.spreads.mean()) if some else math.nan,
    }
