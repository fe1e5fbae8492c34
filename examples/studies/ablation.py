"""Run the ablations of the paper on procedural scenes: Table 5, Table 7, the lineage of Table 1, published readings.

python examples/studies/ablation.py --rows baseline,sdp,mgca,full --seeds 3 --jobs 2
python examples/studies/ablation.py --tables table5,table7,lineage --seeds 5 --jobs 2
python examples/studies/ablation.py --tables table5 --data DIR --out runs/ablation_frames --dry_run
"""

from __future__ import annotations

import dataclasses
import fcntl
import importlib.util
import json
import signal
import sys
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("ablation.py needs: pip install 'morn-losses[train]'")


EXAMPLES = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(EXAMPLES.parent), str(EXAMPLES)]

from morn_losses import CITYSCAPES  # noqa: E402
from ntir2dc.console import call, tell  # noqa: E402
from ntir2dc.data.images import DataError, list_images  # noqa: E402
from ntir2dc.run.device import choose_device  # noqa: E402
from ntir2dc.run.weights import WeightsError  # noqa: E402
from studies.ablations.design import BASES, Base, apply, choose_rows, flatten, make_rows  # noqa: E402
from studies.ablations.frozen import freeze  # noqa: E402
from studies.ablations.results import save_base, update_docs, write_results  # noqa: E402
from studies.ablations.runs import complete_all, find_state, make_runs  # noqa: E402


def say(line: str) -> None:
    """Print a line at once and whole, whichever thread it comes from."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def read_base(name: str, options: Path | None, device: str) -> Base:
    """Return a base by its name, with the options of a JSON file over it.

    Raises:
        ValueError: an unknown base or option.
    """
    if name not in BASES:
        raise ValueError(f"base: expected one of {', '.join(BASES)}, got {name!r}")
    base = BASES[name]
    changes = flatten(json.loads(options.read_text())) if options is not None else {}
    steps, judge = int(changes.pop("judge_steps", base.judge_steps)), changes.pop("judge", base.judge)
    return Base(dataclasses.replace(apply(base.config, changes), device=device), steps, judge)


def main(
    out: Path = Path("runs/ablation"),
    base: str = "small",
    tables: str = "table5",
    rows: str = "",
    seeds: int = 3,
    jobs: int = 1,
    data: Path | None = None,
    options: Path | None = None,
    device: str = "auto",
    same_code: bool = False,
    dry_run: bool = False,
    docs: Path | None = None,
) -> int:
    """Run rows with shared seeds on frozen scenes under a frozen judge; write tables, contrasts and pictures.

    The same command goes on where it was stopped or killed. Finished runs of any earlier call count, and a row whose
    options, scenes or judge have changed since is set aside and run again.

    Args:
        out: folder of the study; what is to be read is in its results folder.
        base: sizes and budget of every row: small (two cores), night (two cores and many hours: labels that the memory
            and ACA can work with) or gpu.
        tables: some of table5, aca, table7, lineage, terms, readings, with commas between.
        rows: only these rows of the tables, with commas between; all of them if empty.
        seeds: the seeds 0, 1, ... up to this number of them.
        jobs: runs at a time, each a process of one thread; 0 trains nothing and writes what is there.
        data: a folder of real frames instead of procedural scenes.
        options: a JSON file of trainer options (and judge, judge_steps) over the base.
        device: auto, cpu, cuda, cuda:1.
        same_code: set aside and run again what was made before library or trainer changed; otherwise the tables say
            that rows were made by different code.
        dry_run: say how far each run is and train nothing (but render scenes and train the judge of real frames, where
            they are missing).
        docs: the page that is to show the results between its marks, such as docs/ablation.md.

    Returns:
        0, or 1 where something failed.
    """
    try:
        if seeds < 1 or jobs < 0:
            raise DataError("options: expected seeds of at least 1 and jobs of at least 0")
        study = read_base(base, options, str(choose_device(device)))
        known = make_rows(study.config)
        chosen = choose_rows(split(tables), split(rows), known)
        out.mkdir(parents=True, exist_ok=True)
        with open(out / ".lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise DataError(f"{out}: another call, or a run that it left behind, is at work here") from None
            frozen = freeze(out, study, CITYSCAPES, data=data, device=study.config.device, say=say)
            say(f"scenes {frozen.scenes_sha256}\njudge  {frozen.judge_sha256}")
            if frozen.second_sha256:
                say(f"second judge {frozen.second_sha256}")
            save_base(out, study)
            runs = make_runs(out, study.config, chosen, range(seeds), frozen)
            if dry_run:
                for run in runs:
                    say(f"{run.name}: {find_state(run, frozen, same_code=same_code)[0]}")
                return 0
            failed = {}
            if jobs:
                n_images = max(len(list_images(frozen.data / name)) for name in ("trainA", "trainB"))
                failed = complete_all(
                    runs, frozen, jobs=jobs, n_images=n_images, same_code=same_code, lock=lock.fileno(), say=say
                )
            problems: list[str] = []
            page = write_results(out, study, frozen, known, CITYSCAPES, problems)
            if not page:
                say("no run is done yet")
                return 1
            say(page.replace("PICTURES", f"{out / 'results'}/"))
            if docs is not None:
                update_docs(page, out / "results", docs)
                say(f"{docs}: shows these results")
            return max(tell(problems), 1 if failed else 0)
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    except (DataError, WeightsError, ValueError, OSError) as error:
        print(f"ablation: {error}", file=sys.stderr)
        return 1


def split(text: str) -> list[str]:
    """Return the parts between commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


if __name__ == "__main__":
    # SIGTERM stops as Ctrl-C does
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(call(main))
