"""Image files that Pillow reads but does not write."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

GRAY, COLOR, PALETTE, GRAY_ALPHA, COLOR_ALPHA = 0, 2, 3, 4, 6


def write_png(
    path: Path, samples: np.ndarray, *, bits: int = 16, kind: int = GRAY, chunks: tuple[tuple[bytes, bytes], ...] = ()
) -> Path:
    """Write samples ``(H, W)`` or ``(H, W, C)`` as a PNG of any depth; a width must fill its bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    H, W = samples.shape[:2]
    flat = samples.reshape(H, -1)
    if bits == 16:
        rows = flat.astype(">u2").view(np.uint8)
    else:
        of_a_byte = flat.reshape(H, -1, 8 // bits).astype(np.uint8)
        shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
        rows = np.bitwise_or.reduce(of_a_byte << shifts, axis=-1)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, bits, kind, 0, 0, 0))
    parts = [head, *(chunk(*c) for c in chunks), chunk(b"IDAT", zlib.compress(body)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def exif_of(orientation: int) -> Image.Exif:
    """Return the note of a camera that was held so."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def exif_chunk(orientation: int) -> tuple[bytes, bytes]:
    """Return the note as a chunk of a PNG."""
    return b"eXIf", exif_of(orientation).tobytes().removeprefix(b"Exif\0\0")
