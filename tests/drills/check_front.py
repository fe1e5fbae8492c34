"""Run what a newcomer runs: README's first snippets, each by itself, and notebooks, cell by cell.

python tests/drills/check_front.py README.md examples/notebooks/kmeans_and_aca_seen.ipynb

``make wheel`` does so in an environment that holds the built wheel. Notebooks are run as plain Python, so that no
Jupyter is needed; a cell that ends in a picture has to show one that is not of one color.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}


def first_snippets(page: Path) -> list[str]:
    """Python blocks of a page before its first section."""
    return re.findall(r"```python\n(.*?)```", page.read_text().split("\n## ")[0], re.DOTALL)


def cells(notebook: Path) -> list[str]:
    """Code cells of a notebook.

    Raises:
        ValueError: one that was saved after it had run, or made for another kernel.
    """
    content = json.loads(notebook.read_text())
    if (content["nbformat"], content["metadata"]["kernelspec"]) != (4, KERNELSPEC):
        raise ValueError(f"{notebook}: expected nbformat 4 and the kernel of Python 3")
    if len({cell["id"] for cell in content["cells"]}) < len(content["cells"]):
        raise ValueError(f"{notebook}: two cells of one id")
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    if any(cell["outputs"] or cell["execution_count"] is not None for cell in code):
        raise ValueError(f"{notebook}: holds outputs; clear them before it is committed")
    return ["".join(cell["source"]) for cell in code]


def run_cell(source: str, name: str, names: dict[str, Any]) -> Any:
    """Run a cell among the names of those before it; return the value that its last line would show."""
    module = ast.parse(source, name)
    last = module.body.pop() if module.body and isinstance(module.body[-1], ast.Expr) else None
    exec(compile(module, name, "exec"), names)
    return eval(compile(ast.Expression(last.value), name, "eval"), names) if isinstance(last, ast.Expr) else None


def count_pictures(shown: Sequence[Any]) -> int:
    """Return how many of the values are pictures.

    Raises:
        ValueError: one of a single color.
    """
    pictures = [value for value in shown if hasattr(value, "getextrema")]
    for picture in pictures:
        if all(low == high for low, high in picture.getextrema()):
            raise ValueError("a picture of one color")
    return len(pictures)


def check(document: Path) -> str:
    """Run a page's first snippets or a notebook, in the notebook's folder; return what there was."""
    if document.suffix == ".md":
        snippets = first_snippets(document)
        for number, snippet in enumerate(snippets, start=1):
            run_cell(snippet, f"{document}, snippet {number}", {})
        return f"{len(snippets)} snippets"
    sources = cells(document)
    before, path = Path.cwd(), list(sys.path)
    os.chdir(document.parent)
    names: dict[str, Any] = {}
    try:
        shown = [run_cell(source, f"{document.name}, cell {n}", names) for n, source in enumerate(sources, start=1)]
    finally:
        os.chdir(before)
        sys.path[:] = path
    return f"{len(sources)} cells, {count_pictures(shown)} pictures"


def main() -> int:
    """Run all documents; the first that fails ends it with a traceback."""
    parser = argparse.ArgumentParser(description="Run README's first snippets and notebooks.")
    parser.add_argument("documents", nargs="+", type=Path)
    for document in parser.parse_args().documents:
        started = time.perf_counter()
        what = check(document)
        print(f"ok   {document.name}: {what}, {time.perf_counter() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
