"""Run by ``make wheel`` with the python of an environment that holds the built wheel: every example gives help.

build/wheel-venv/bin/python tests/drills/check_examples.py --installed train

The examples run from a copy of their folder, beside which there is no checkout of the library, and from a working
directory of their own; what they import as morn_losses has to lie in the environment. One that needs an extra which
is not installed has to say so in a line.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

# Python imports a module of this name before the example runs
PROBE = """
import atexit, os, sys
def save():
    with open(os.environ["MORN_PROBE"], "w") as file:
        file.write(getattr(sys.modules.get("morn_losses"), "__file__", ""))
atexit.register(save)
"""


def scripts(folder: Path) -> list[Path]:
    """Programs among the examples, relative to their folder; packages that they share are none."""
    paths = [p for pattern in ("*.py", "recipes/*.py", "studies/*.py") for p in sorted(folder.glob(pattern))]
    return [p.relative_to(folder) for p in paths if "__main__" in p.read_text()]


def flags_in_use(script: Path, root: Path = EXAMPLES.parent) -> list[str]:
    """Options that the commands in a script's docstring, in README and in the documentation give it."""
    pages = [root / "examples" / script, root / "README.md", *sorted((root / "docs").glob("**/*.md"))]
    flags: set[str] = set()
    for page in pages:
        # a command may go on in the next line, and a remark may follow it
        text = page.read_text().replace("\\\n", " ")
        for command in re.findall(rf"python examples/{re.escape(script.as_posix())}([^\n`#;|]*)", text):
            flags |= set(re.findall(r"(?<=\s)--[\w.]+", command))
    return sorted(flags)


def verdict(status: int, out: str, err: str, flags: Sequence[str], installed: Sequence[str]) -> tuple[bool, str]:
    """Whether an example that was asked for help is right, and why."""
    if status == 0:
        # the examples before them show options as well
        options = set(re.findall(r"--[\w.]+", out.partition("\noptions:")[2])) - {"--help"}
        missing = [flag for flag in flags if flag not in options]
        if not out.startswith("usage:") or not options:
            return False, "status 0, but no help"
        if missing:
            return False, f"help lacks {', '.join(missing)}"
        return True, f"{len(options)} options"
    needs = re.fullmatch(r"[\w. ]+ needs: pip install 'morn-losses\[([\w,]+)\]'\n", err)
    if needs is None or out:
        return False, f"status {status}: {(err or out).strip().splitlines()[-1:]}"
    if set(needs[1].split(",")) <= set(installed):
        return False, f"asks for [{needs[1]}], which is installed"
    return True, f"asks for [{needs[1]}]"


def check(script: Path, folder: Path, installed: Sequence[str]) -> tuple[bool, str]:
    """Ask an example in a copy of the folder for help."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "sitecustomize.py").write_text(PROBE)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        environment |= {"PYTHONPATH": name, "MORN_PROBE": str(work / "probe"), "COLUMNS": "120", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(folder / script), "--help"]
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
        # of a program that ended by itself; empty where it did without morn_losses
        origin = (work / "probe").read_text() if (work / "probe").is_file() else None
    flags = flags_in_use(script)
    right, why = verdict(done.returncode, done.stdout, done.stderr, flags, installed)
    if not right or done.returncode:
        return right, why
    if origin is None:
        return False, "did not say what it imported"
    if not origin:
        return True, f"{why}, without morn_losses"
    if Path(sysconfig.get_path("purelib")).resolve() not in Path(origin).resolve().parents:
        return False, f"imports {origin}, not the installed package"
    return right, why


def main() -> int:
    """Check all examples; return 1 if one of them is wrong."""
    parser = argparse.ArgumentParser(description="Ask every example for help.")
    parser.add_argument("--installed", default="", help="extras that are installed, with commas between")
    parser.add_argument("--jobs", type=int, default=1, help="examples at a time")
    options = parser.parse_args()
    installed = [extra for extra in options.installed.split(",") if extra]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "examples"
        shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__"))
        programs = scripts(folder)
        with ThreadPoolExecutor(options.jobs) as pool:
            results = list(pool.map(lambda script: check(script, folder, installed), programs))
    for script, (right, why) in zip(programs, results, strict=True):
        print(f"{'ok  ' if right else 'FAIL'} examples/{script}: {why}")
    n_wrong = sum(not right for right, _ in results)
    extras = f"[{options.installed}]" if installed else "the core packages"
    print(f"{len(programs) - n_wrong} of {len(programs)} right with {extras}, {time.perf_counter() - started:.0f} s")
    return 1 if n_wrong or not programs else 0


if __name__ == "__main__":
    sys.exit(main())
