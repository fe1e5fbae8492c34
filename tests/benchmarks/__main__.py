"""Run the benchmarks; write a JSON file and the tables of a Markdown page."""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import morn_losses
from ntir2dc.methods.morngan.schedule import PAPER_PHASES
from studies.comparing.measuring import Timing
from tests.benchmarks import (
    data,
    edges,
    exporting,
    inference,
    kmeans,
    kmeans_peers,
    lookups,
    losses,
    options,
    precisions,
    scaling,
    training_step,
)
from tests.benchmarks.harness import Row, Settings, table

MARK = "<!-- measured -->"
MODULES = {
    "kmeans": kmeans,
    "losses": losses,
    "lookups": lookups,
    "edges": edges,
    "step": training_step,
    "options": options,
    "precisions": precisions,
    "data": data,
    "inference": inference,
    "export": exporting,
}
PARTS = (*MODULES, "scaling")
WITH_FULL = ("step", "options", "precisions", "inference", "export")
FULL = " in full"
"""What the results of ``--full`` are called beside those without."""
ON_GPU = " on a GPU"
"""What the results of ``--device cuda`` are called beside those of the CPU."""


def machine(device: str) -> str:
    """Describe what this runs on."""
    if device != "cpu":
        return torch.cuda.get_device_name(device)
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores"


def conditions(device: str) -> str:
    """Describe how it runs: threads, clock and what else was running."""
    if device != "cpu":
        return f"CUDA {torch.version.cuda}, wall-clock time"
    threads = torch.get_num_threads()
    clock = "CPU time of the process" if threads == 1 else "wall-clock time"
    load = f"; load average at the start {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"threads: {threads}, {clock}{load}"


def render(results: dict[str, Any]) -> str:
    """Return the tables of all parts that have been measured."""
    parts = []
    names = [(part, f"{part}{full}{gpu}") for gpu in ("", ON_GPU) for part in PARTS for full in ("", FULL)]
    for part, name in names:
        if name not in results:
            continue
        measured = results[name]["results"]
        if part == "scaling":
            parts.append(scaling.table(measured, name.replace(part, scaling.TITLE, 1)))
        else:
            rows = [Row(**{**row, "timings": [Timing(**t) for t in row["timings"]]}) for row in measured]
            parts.append(table(name.replace(part, MODULES[part].TITLE, 1), rows))
        about = results[name]
        parts.append(
            f"morn-losses {about['version']}; {about['machine']}, torch {about['torch']}, {about['conditions']}\n"
        )
    return "\n".join(parts)


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks.json"), help="parts in it are kept")
    parser.add_argument("--page", type=Path, help="Markdown page whose end, from the mark on, the tables replace")
    parser.add_argument("--picture", type=Path, help="file for the plot of the scaling")
    parser.add_argument("--only", nargs="*", choices=PARTS, help="all if not given; none of them: tables anew")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--full", action="store_true", help="networks of the paper's size, and compiled: hours")
    phases = [phase.name.lower() for phase in PAPER_PHASES]
    parser.add_argument("--phases", nargs="*", choices=phases, default=[], help="of the training step; all if none")
    parser.add_argument("--eager", action="store_true", help="nothing compiled, which would take minutes a row")
    parser.add_argument("--tiny", action="store_true", help="smallest sizes, one repetition: do the scripts run?")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    settings = Settings(args.repeats, args.tiny, args.full, tuple(args.phases), args.device, not args.eager)
    if args.only is None:  # precisions are a GPU's matter, exported files the CPU's
        args.only = [part for part in PARTS if part != ("export" if settings.on_gpu else "precisions")]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {}
    for part in args.only:
        # the peers of k-means are named where they are missing
        packages = {n: v for n, v in kmeans_peers.versions().items() if part == "kmeans" or v != "not installed"}
        packages |= exporting.versions() if part == "export" else {}
        how = "; ".join((conditions(args.device), *(f"{name} {version}" for name, version in packages.items())))
        if part == "scaling":
            measured: Any = scaling.curves(settings)
        else:
            measured = [asdict(row) for row in MODULES[part].rows(settings)]
        name = f"{part}{FULL if args.full and part in WITH_FULL else ''}{ON_GPU if settings.on_gpu else ''}"
        results[name] = {
            "version": morn_losses.__version__,
            "machine": machine(args.device),
            "torch": torch.__version__,
            "conditions": f"{how}; repetitions: {args.repeats}.",
            "results": measured,
        }
        args.out.write_text(json.dumps(results, indent=1))
    tables = render(results)
    if args.page is not None:
        text = args.page.read_text()
        args.page.write_text(text[: text.index(MARK) + len(MARK)] + "\n\n" + tables)
    if args.picture is not None and "scaling" in results:
        scaling.picture(results["scaling"]["results"]).save(args.picture)
    print(tables)


if __name__ == "__main__":
    main()
