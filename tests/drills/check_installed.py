"""Run by ``make wheel`` in an environment that holds the built wheel and the core packages only."""

from __future__ import annotations

import importlib.metadata
import sys
import time
from pathlib import Path

started = time.perf_counter()
import torch  # noqa: E402

after_torch = time.perf_counter()
import morn_losses  # noqa: E402

done = time.perf_counter()

root = Path(morn_losses.__file__).parent
assert "site-packages" in root.parts, f"imported from {root}, not from the wheel"
assert (root / "py.typed").is_file()
assert importlib.metadata.version("morn-losses") == morn_losses.__version__
page = importlib.metadata.metadata("morn-losses").get_payload()
assert "\npip install morn-losses\n" in page, "README in the wheel is not that of an index page"
assert "BASE" not in page, "the wheel's README holds a mark in the place of an address"

core = {"torch", "numpy", "scipy", "pytorch_msssim", "sklearn"}
for extra in ("torchmetrics", "PIL", "rich", "jsonargparse", "tensorboard", "pytest", "lightning_fabric"):
    assert extra not in sys.modules, f"import morn_losses pulled in {extra}"
assert "sklearn" not in sys.modules, "scikit-learn is slow to import and must stay lazy"

for name in morn_losses.__all__:
    getattr(morn_losses, name)
fake = torch.rand(2, 3, 32, 32, requires_grad=True)
loss = morn_losses.CGRLoss(value_range=(0, 1))(torch.rand(2, 3, 32, 32), fake)
features = torch.rand(2, 8, 16, 16)
labels = torch.full((2, 32, 32), morn_losses.CITYSCAPES.index("person"))
loss = loss + morn_losses.ACALoss(morn_losses.CITYSCAPES.small_sample)(features, features.flip(1), labels, labels)
loss.backward()
assert fake.grad is not None
message = ""
try:
    from morn_losses.metrics import APCE  # noqa: F401
except ImportError as error:
    message = str(error)
assert "morn-losses[metrics]" in message, "APCE needs torchmetrics, which is not among the core packages"
print(f"wheel ok: torch imported in {after_torch - started:.1f} s, morn_losses in {done - after_torch:.2f} s more")
