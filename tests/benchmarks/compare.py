"""Compare two files of the benchmarks: which rows differ by more than their spread.

python tests/benchmarks/compare.py OLD.json NEW.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

SPREAD = "quartiles apart"


def timings(part: dict[str, Any]) -> dict[tuple[str, str], dict[str, float]]:
    """Return the timings of a part by task and function; those of the scaling, which have no quartiles, by size."""
    results = part["results"]
    if isinstance(results, dict):
        return {(axis, str(n)): {"median": ms} for axis, points in results.items() for n, ms in points}
    return {(row["task"], timing["name"]): timing for row in results for timing in row["timings"]}


def verdict(old: dict[str, float], new: dict[str, float]) -> str:
    """Say whether the quartiles of the two do not overlap."""
    if "low" not in old or "low" not in new:
        return "no spread known"
    if new["low"] > old["high"]:
        return f"slower, {SPREAD}"
    return f"faster, {SPREAD}" if new["high"] < old["low"] else "within the spread"


def row(task: str, function: str, old: dict[str, float], new: dict[str, float]) -> str:
    """Return a line of the table: milliseconds, their ratio, and the ratios to the first function of the task."""
    ms = f"{old['median']:.3g} | {new['median']:.3g} | {new['median'] / max(old['median'], 1e-9):.2f}"
    to_first = f"{old['ratio']:.2f} -> {new['ratio']:.2f}" if "ratio" in old and "ratio" in new else "-"
    return f"| {task} | {function} | {ms} | {verdict(old, new)} | {to_first} |"


def compare(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Return the comparison of two files' contents as Markdown."""
    lines = []
    for part in [name for name in old if name in new]:
        before, after = old[part], new[part]
        lines += [f"### {part}", ""]
        for field in ("version", "machine", "torch"):
            a, b = before.get(field, "unknown"), after.get(field, "unknown")
            lines.append(f"- {field}: {a}" + ("" if a == b else f" -> {b}"))
        if before.get("machine") != after.get("machine"):
            lines.append("- **other machines: only the ratios to the first function can be compared**")
        found, again = timings(before), timings(after)
        lines += ["", "| task | function | old ms | new ms | new / old | | times the first |"]
        lines.append("|---|---|---:|---:|---:|---|---|")
        lines += [row(*key, found[key], again[key]) for key in found if key in again]
        for which, one, other in (("old", found, again), ("new", again, found)):
            alone = [key for key in one if key not in other]
            lines += [f"| {task} | {function} | only in the {which} file | | | | |" for task, function in alone]
        lines.append("")
    lines += [f"Only in the old file: {name}" for name in old if name not in new]
    lines += [f"Only in the new file: {name}" for name in new if name not in old]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    args = parser.parse_args(argv)
    print(compare(json.loads(args.old.read_text()), json.loads(args.new.read_text())))


if __name__ == "__main__":
    main()
