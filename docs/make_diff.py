"""Write what ACA and CGR add to the CycleGAN recipe as a diff against the recipe without its marked lines.

python docs/make_diff.py
"""

from __future__ import annotations

import difflib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "examples" / "recipes" / "cyclegan.py"
DIFF = ROOT / "docs" / "guides" / "cyclegan.diff"
MARK = "# morn"


def recipe_diff() -> str:
    """Return the diff, without the marks."""
    lines = RECIPE.read_text().splitlines(keepends=True)
    marked = [line.rstrip().endswith(MARK) for line in lines]
    plain = [line for line, is_new in zip(lines, marked, strict=True) if not is_new]
    full = [
        line.rstrip().removesuffix(MARK).rstrip() + "\n" if is_new else line
        for line, is_new in zip(lines, marked, strict=True)
    ]
    diff = difflib.unified_diff(plain, full, "cyclegan.py", "cyclegan.py with ACA and CGR", n=2)
    return "".join(diff)


if __name__ == "__main__":
    DIFF.write_text(recipe_diff())
