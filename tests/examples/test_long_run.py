"""The long run of tests/drills/long_run.py, made short: what it measures, and that no file stays open."""

from __future__ import annotations

from pathlib import Path

import pytest

from drills.long_run import Sample, long_run, report, slope
from ntir2dc.methods.morngan.schedule import PAPER_PHASES, Phase


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")
def test_no_file_stays_open_through_all_phases(tmp_path: Path) -> None:
    samples = long_run(tmp_path, 30)
    assert [s.step for s in samples] == list(range(30))
    assert {s.phase for s in samples} == set(PAPER_PHASES)
    # a checkpoint or a panel after every step; what is open at the first one is the log
    assert max(s.files for s in samples[2:]) <= samples[2].files
    lines = report(samples)
    assert len(lines) == 2 + len(PAPER_PHASES)
    assert all(line.count("|") == 8 for line in lines)


def test_the_slope_is_that_of_least_squares() -> None:
    line = [Sample(step, Phase.BASELINE, 1000 + 8 * step, 5, float(step)) for step in range(50)]
    assert slope(line) == pytest.approx((8, 0), abs=1e-6)
    rise, error = slope([Sample(s.step, s.phase, s.memory + (-1) ** s.step * 100, 5, s.clock) for s in line])
    assert rise == pytest.approx(8, abs=2)
    assert 0.5 < error < 2
