"""Hashes that tell whether files or weights are the same."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from torch import nn


def hash_files(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of folder names, file names and contents, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        # an accent is stored in one character here and in two there, and a name need be no text
        name = unicodedata.normalize("NFC", f"{path.parent.name}/{path.name}:{len(content)}:")
        digest.update(os.fsencode(name))
        digest.update(content)
    return digest.hexdigest()


def hash_weights(module: nn.Module) -> str:
    """Return the SHA-256 of a module's state."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name}:{value.dtype}:{tuple(value.shape)}:".encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
