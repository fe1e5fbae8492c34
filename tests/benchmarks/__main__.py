"""Run the benchmarks and write ``results.md`` and ``results.json``."""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

import torch

from tests.benchmarks import kmeans, lookups, losses, scaling
from tests.benchmarks.harness import Settings, table

PARTS = ("kmeans", "losses", "lookups", "scaling")


def machine() -> str:
    """Describe what this runs on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    threads = torch.get_num_threads()
    clock = "CPU time of the process" if threads == 1 else "wall-clock time"
    load = f", load average at the start {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{model}, {os.cpu_count()} cores, torch {torch.__version__}, threads: {threads}, {clock}{load}"


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tiny", action="store_true", help="smallest sizes, one repetition: do the scripts run?")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    settings = Settings(args.repeats, args.tiny)
    args.out.mkdir(parents=True, exist_ok=True)
    versions = kmeans.versions()
    about = f"{machine()}; " + ", ".join(f"{name} {version}" for name, version in versions.items())
    parts: list[str] = [about, ""]
    results: dict[str, object] = {"machine": about}
    for part in args.only:
        if part == "scaling":
            found = scaling.curves(settings)
            parts.append(scaling.table(found))
            results[part] = found
        else:
            module = {"kmeans": kmeans, "losses": losses, "lookups": lookups}[part]
            rows = module.rows(settings)
            parts.append(table(module.TITLE, rows))
            results[part] = [asdict(row) for row in rows]
        (args.out / "results.md").write_text("\n".join(parts))
        (args.out / "results.json").write_text(json.dumps(results, indent=1))
    print("\n".join(parts))


if __name__ == "__main__":
    main()
