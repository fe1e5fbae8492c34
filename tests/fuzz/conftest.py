from __future__ import annotations

from typing import Any

from fuzz.counts import COUNTS, FULL


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not (FULL and COUNTS):
        return
    terminalreporter.section("examples tried")
    for name, outcomes in COUNTS.items():
        listed = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
        terminalreporter.write_line(f"{name}: {outcomes.total()} ({listed})")
    terminalreporter.write_line(f"in all: {sum(c.total() for c in COUNTS.values())}")
