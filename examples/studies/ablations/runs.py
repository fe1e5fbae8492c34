"""Training and scoring the rows, each row and seed in processes of its own, from wherever an earlier call stopped."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ntir2dc.config import TrainConfig, differences, to_dict, what_matters, with_defaults
from ntir2dc.files import write_atomically
from ntir2dc.run.log import read_log
from studies.ablations.design import Row, apply
from studies.ablations.frozen import Frozen
from studies.ablations.stems import find_stem, shared_steps, start_from, stem_steps
from studies.ablations.worker import steps_done

EXAMPLES = Path(__file__).resolve().parents[2]
State = Literal["done", "half done", "to do", "outdated"]


@dataclass(frozen=True)
class Run:
    """A row and a seed, the options it is trained with, and the folder it lives in."""

    row: Row
    seed: int
    config: TrainConfig
    folder: Path

    @property
    def name(self) -> str:
        """Return how messages call it."""
        return f"{self.row.name} seed {self.seed}"


def make_runs(out: Path, base: TrainConfig, rows: Sequence[Row], seeds: Sequence[int], frozen: Frozen) -> list[Run]:
    """Return the runs of some rows and seeds: all rows of a seed before the next seed."""
    runs = []
    for seed in seeds:
        for row in rows:
            folder = out / "rows" / row.name / f"seed_{seed}"
            config = dataclasses.replace(apply(base, row.changes), seed=seed, out=str(folder), data=str(frozen.data))
            runs.append(Run(row, seed, config, folder))
    return runs


def identity(run: Run, frozen: Frozen) -> dict[str, Any]:
    """Return what a finished run must have been made with, to count as finished, and with what code it is made."""
    return {"options": what_matters(to_dict(run.config)), **frozen.hashes(), "code_sha256": hash_code()}


def total_steps(config: TrainConfig, n_images: int) -> int:
    """Return the steps of a whole run; ``n_images`` is the size of the larger domain."""
    return config.epochs * (config.steps_per_epoch or -(-n_images // config.batch_size))


def steps_an_epoch(run: Run, n_images: int) -> int:
    """Return the steps of an epoch."""
    return total_steps(run.config, n_images) // run.config.epochs


def find_state(run: Run, frozen: Frozen, *, same_code: bool = False) -> tuple[State, list[str]]:
    """Return how far a run is, and for an outdated one in what it differs from what is asked for.

    A run of other code is outdated only with ``same_code``: most changes of code change no result.
    """
    wanted = identity(run, frozen)
    for name, state in (("done.json", "done"), ("started.json", "half done")):
        path = run.folder / name
        if path.is_file():
            held = json.loads(path.read_text())["identity"]
            held["options"] = what_matters(with_defaults(held["options"]))
            if not same_code:
                held["code_sha256"] = wanted["code_sha256"]
            changed = differences(held, wanted)
            if changed:
                return "outdated", changed
            return ("done" if state == "done" else "half done"), []
    return "to do", []


def set_aside(run: Run) -> Path:
    """Move an outdated run out of the way; return where to. Nothing that was trained is deleted."""
    number = 0
    while (target := run.folder.with_name(f"{run.folder.name}_outdated_{number}")).exists():
        number += 1
    run.folder.rename(target)
    return target


@functools.cache
def hash_code() -> str:
    """Return the SHA-256 of the library and the trainer as they are now: what else decides a result."""
    digest = hashlib.sha256()
    root = EXAMPLES.parent
    for folder in (root / "morn_losses", EXAMPLES / "ntir2dc", EXAMPLES / "scenes"):
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def describe_machine(device: str) -> str:
    """Return the processor or GPU, and the version of torch."""
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
    else:
        name = platform.processor() or platform.machine()
        info = Path("/proc/cpuinfo")
        if info.is_file():
            models = [line.split(":", 1)[1] for line in info.read_text().splitlines() if line.startswith("model name")]
            name = f"one thread of {' '.join(models[0].split())}" if models else name
    return f"{name}, torch {torch.__version__}"


class StoppedError(Exception):
    """The study was asked to stop; everything is kept."""


class Children:
    """The processes at work, so that all of them can be told to stop. Trainers then save their state.

    Args:
        lock: a file descriptor that the processes inherit: a lock on it lasts as long as any of them.
    """

    def __init__(self, lock: int) -> None:
        self.lock, self.stopping = lock, False
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()

    def call(self, command: Sequence[str], log: Path) -> None:
        """Run a command to its end with its output appended to ``log``.

        Raises:
            StoppedError: it was told to stop.
            RuntimeError: it failed; the message holds its last lines.
        """
        path = [str(EXAMPLES.parent), str(EXAMPLES), *filter(None, [os.environ.get("PYTHONPATH")])]
        # one thread each: the rows share the cores, not the steps
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path)}
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            with self._guard:
                if self.stopping:
                    raise StoppedError
                # a session of its own: Ctrl-C reaches this process alone, which then tells the others
                process = subprocess.Popen(
                    [sys.executable, *command], stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                    env=environment, pass_fds=(self.lock,), start_new_session=True,
                )  # fmt: skip
                self._processes.add(process)
            status = process.wait()
            with self._guard:
                self._processes.discard(process)
        if self.stopping:
            raise StoppedError
        if status:
            last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-3:]
            raise RuntimeError(f"ended with status {status}: " + " | ".join(last))

    def stop(self) -> None:
        """Tell every process to stop, and start no more."""
        with self._guard:
            self.stopping = True
            for process in self._processes:
                process.send_signal(signal.SIGTERM)


def find_start(run: Run, frozen: Frozen, n_images: int, *, same_code: bool) -> tuple[Path, int] | None:
    """Return the longest beginning that another run of the same seed has trained for this one, and its steps.

    A run that was set aside may have begun alike.
    """
    rows, seed = run.folder.parents[1], run.folder.name
    donors = [path.parent for name in (seed, f"{seed}_outdated_*") for path in rows.glob(f"*/{name}/started.json")]
    hashes = frozen.hashes() | ({"code_sha256": hash_code()} if same_code else {})
    return find_stem(run.config, hashes, sorted(donors), steps_an_epoch(run, n_images))


def codes_of(stem: Path) -> list[str]:
    """Return what code has made a beginning: its donor's, and that of what the donor itself began with."""
    started = json.loads((stem.parents[1] / "started.json").read_text())
    return sorted({started["identity"]["code_sha256"], *started.get("began_with", [])})


def choose_next(
    waiting: Sequence[Run], active: Sequence[Run], frozen: Frozen, n_images: int, *, same_code: bool
) -> Run:
    """Return the first run that no run at work is about to save steps; if all would gain by waiting, the first."""
    for run in waiting:
        start = find_start(run, frozen, n_images, same_code=same_code)
        begun = max(steps_done(run.folder), start[1] if start else 0)
        rivals = [other for other in active if other.seed == run.seed]
        if all(shared_steps(run.config, r.config, steps_an_epoch(run, n_images)) <= begun for r in rivals):
            return run
    return waiting[0]


def complete(run: Run, frozen: Frozen, children: Children, n_images: int, *, same_code: bool = False) -> dict[str, Any]:
    """Train (or go on training) and score a run; return its record, ``done.json``."""
    folder = run.folder
    started: dict[str, Any] = {"identity": identity(run, frozen), "options": to_dict(run.config)}
    if not steps_done(folder) and (stem := find_start(run, frozen, n_images, same_code=same_code)):
        start_from(stem[0], folder, run.config)
        started["began_with"] = codes_of(stem[0])
    elif (folder / "started.json").is_file():
        started["began_with"] = json.loads((folder / "started.json").read_text()).get("began_with", [])
    write_atomically(folder / "started.json", (json.dumps(started, indent=2) + "\n").encode())
    write_atomically(folder / "options.json", json.dumps(to_dict(run.config), indent=2).encode())
    task = {
        "run": str(folder),
        "steps": total_steps(run.config, n_images),
        "stems": stem_steps(run.config, steps_an_epoch(run, n_images)),
        "data": str(frozen.data),
        "judge": frozen.judge if frozen.judge_sha256 else None,
        "judge_file": str(frozen.judge_file),
        "judge_steps": frozen.judge_steps,
        "device": run.config.device,
    }
    children.call([str(Path(__file__).with_name("worker.py")), json.dumps(task)], folder / "train.log")
    record = {
        "identity": started["identity"],
        "began_with": started.get("began_with", []),
        "machine": describe_machine(run.config.device),
        "steps": task["steps"],
        "log": summarize_log(folder / "log.csv"),
    }
    write_atomically(folder / "done.json", (json.dumps(record, indent=2) + "\n").encode())
    for derived in ("checkpoints", "cache", "tensorboard"):  # weights.safetensors is what the tables need
        shutil.rmtree(folder / derived, ignore_errors=True)
    return record


def summarize_log(path: Path) -> dict[str, float | None]:
    """Return the seconds of training, and what the modules had to work with in the last phase.

    ``mined`` is the share of thermal pixels with a pseudo-label, ``pair_shared`` and ``pair_random`` are how often the
    partner chosen by the memory, or a random one, shared a small-sample class, and ``aca_found`` is the mean number of
    classes that ACA found in both images of a pair.
    """
    rows = read_log(path)
    last = [row for row in rows if row["phase"] == rows[-1]["phase"]]

    def mean(values: Sequence[float]) -> float | None:
        return sum(values) / len(values) if values else None

    summary = {
        key: mean([float(row[key]) for row in last if row[key]]) for key in ("mined", "pair_shared", "pair_random")
    }
    present = [name for name in last[0] if name.startswith("aca_present_")]
    summary["aca_found"] = mean([sum(float(row[name]) for name in present) for row in last if row[present[0]]])
    return {"seconds": sum(float(row["seconds"]) for row in rows), **summary}


def complete_all(
    runs: Sequence[Run],
    frozen: Frozen,
    *,
    jobs: int,
    n_images: int,
    same_code: bool = False,
    lock: int,
    say: Callable[[str], None],
) -> dict[str, str]:
    """Complete every run that is not done, ``jobs`` at a time.

    Returns:
        The runs that failed, with the reason.

    Raises:
        KeyboardInterrupt: after every process has saved its state.
    """
    waiting = []
    for run in runs:
        state, changed = find_state(run, frozen, same_code=same_code)
        if state == "outdated":
            target = set_aside(run)
            say(f"{run.name}: was run with something else and is run again; the old one is now {target}")
            for line in changed:
                say(f"    {line}")
        if state != "done":
            waiting.append(run)
    say(f"{len(runs) - len(waiting)} of {len(runs)} runs are done, {len(waiting)} to go, {jobs} at a time")
    children, failed = Children(lock), dict[str, str]()

    total, active, guard = len(waiting), list[Run](), threading.Lock()

    def work() -> str:
        with guard:
            run = choose_next(waiting, active, frozen, n_images, same_code=same_code)
            waiting.remove(run)
            active.append(run)
        try:
            done, stem = steps_done(run.folder), find_start(run, frozen, n_images, same_code=same_code)
            start = f"goes on after step {done}" if done else "starts"
            if not done and stem:
                start = f"starts after the {stem[1]} steps that it shares with {stem[0].parents[2].name}"
            say(f"{run.name}: {start}")
            begun = time.monotonic()
            complete(run, frozen, children, n_images, same_code=same_code)
            return f"{run.name}: done in {(time.monotonic() - begun) / 60:.1f} min"
        except (RuntimeError, OSError) as error:
            failed[run.name] = str(error)
            return f"{run.name}: failed: {error}"
        finally:
            with guard:
                active.remove(run)

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(work) for _ in range(total)]
        try:
            for number, future in enumerate(as_completed(futures), 1):
                say(f"{future.result()} ({number} of {total})")
        except BaseException:
            say("stopping; every run saves its state first")
            children.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return failed
