"""Speed and memory of the library and its trainer against named peers: ``python -m tests.benchmarks``."""

import sys
from pathlib import Path

# the trainer is no part of the package
sys.path.append(str(Path(__file__).resolve().parents[2] / "examples"))
