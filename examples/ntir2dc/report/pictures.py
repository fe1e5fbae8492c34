"""Pictures of a run, embedded into the page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

from ntir2dc.data.images import DataError

MAX_PNG_BYTES = 400_000


def embed(path: Path, title: str) -> dict[str, str]:
    """Return a picture as a data URI; a large PNG becomes a JPEG.

    Raises:
        DataError: a file that is no picture.
    """
    data = path.read_bytes()
    kind = "png"
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            if len(data) > MAX_PNG_BYTES:
                buffer = io.BytesIO()
                image.convert("RGB").save(buffer, format="JPEG", quality=88)
                data, kind = buffer.getvalue(), "jpeg"
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path.name}: cannot be read as an image ({error})") from error
    return {"title": title, "source": f"data:image/{kind};base64,{base64.b64encode(data).decode()}"}


def panels(run: Path, missing: list[str]) -> list[dict[str, str]]:
    """Return the first, the middle and the last sample panel; what is wrong is added to ``missing``."""
    paths = sorted((run / "panels").glob("step_*.png"))
    if not paths:
        missing.append("No sample panels: the folder panels holds no step_*.png.")
    chosen = sorted({0, len(paths) // 2, len(paths) - 1}) if paths else []
    pictures = []
    for index in chosen:
        step = paths[index].stem.removeprefix("step_").lstrip("0") or "0"
        try:
            pictures.append(embed(paths[index], f"After step {step}"))
        except DataError as error:
            missing.append(f"A sample panel is left out. {error}")
    return pictures
