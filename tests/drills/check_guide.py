"""Run by ``make wheel`` in the environment of the built wheel: the code of the guide on GANs, from top to bottom."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from pathlib import Path

import morn_losses

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "gan.md"

assert "site-packages" in Path(morn_losses.__file__).parts, f"imported from {morn_losses.__file__}, not from the wheel"
started = time.perf_counter()
names: dict[str, object] = {}
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL):
        exec(compile(block, str(GUIDE), "exec"), names)
    os.chdir(GUIDE.parent)
assert names["found"], "ACA found no class in any step"
assert "ntir2dc" not in sys.modules
print(f"guide ok: {time.perf_counter() - started:.1f} s")
