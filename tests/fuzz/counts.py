"""How the examples of the fuzz tests ended, for the table that a full run prints; and how long a run is."""

from __future__ import annotations

import os
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from hypothesis import HealthCheck, Phase, settings

FULL = os.environ.get("MORN_FUZZ") == "full"
SECONDS = 60  # what takes longer hangs

# what, then how many examples came out how
COUNTS: defaultdict[str, Counter[str]] = defaultdict(Counter)


def examples(short: int, full: int) -> settings:
    """Settings of a test with this many examples in the short and in the full run."""
    return settings(
        max_examples=full if FULL else short,
        derandomize=not FULL,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def no_hang() -> Iterator[None]:
    """Fail where something takes longer than ``SECONDS``."""

    def fail(signum: int, frame: FrameType | None) -> None:
        raise AssertionError(f"did not end within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
