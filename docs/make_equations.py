"""Write the table and the list of docs/equations.md from what docstrings and tests say of themselves.

python docs/make_equations.py

A row is a public function, a module with mathematics of its own, or the trainer's objective. Its docstring ends with
``Source: Eq. 12-17, section 3.4.2``; the row is in the paper's order, and its symbols are what the docstring's
equation defines. Its tests are, in the test file of its source file, those that call it and are named after the kinds
of tests that every equation has (by loops, by hand, a contract, the paper's settings). A test of a detail, in any
file, says so by a docstring that starts with ``Eq. 15:`` or ``Section 3.4.1:``, or by ``eq_15`` in its name.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import morn_losses  # noqa: E402
from morn_losses import functional, metrics  # noqa: E402

PAGE = ROOT / "docs" / "equations.md"
OBJECTIVE = ROOT / "examples" / "ntir2dc" / "methods" / "morngan" / "objective.py"
KINDS = (r"equals?_.*(loops|scikit_learn)", r"_by_hand$", r"Contract$", r"of_the_paper$|the_papers$")
SOURCE = re.compile(r"^Source: (?:Eq\. (\d+)(?:-(\d+))?(?: \(([^)]+)\))?, )?section ([\d.]*\d)", re.MULTILINE)
DETAIL = re.compile(r"(?:Eq\. (\d+)|Section ([\d.]*\d))\b")


@dataclasses.dataclass
class Row:
    """A row; ``first`` and ``last`` are its equations, 0 where there is none; ``place``: file and line."""

    section: str
    first: int
    last: int
    part: str
    symbols: list[str]
    what: str
    name: str
    is_function: bool
    place: tuple[str, int]
    module: str = ""
    tests: dict[Path, list[str]] = dataclasses.field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """What a test of it calls."""
        return {self.name.split(".")[-1], self.module.split(".")[-1]} - {""}

    @property
    def number(self) -> str:
        """Its equations, as the page writes them."""
        return f"Eq. {self.first}" + (f"–{self.last}" if self.last > self.first else "") if self.first else ""

    def cells(self) -> list[str]:
        """Return its row of the table of functions."""
        what = self.what + (f" ({self.part})" if self.part and self.part not in self.what.lower() else "")
        names = dict.fromkeys(name for name in (self.name, self.module) if name)
        called = ", ".join(f"`{name}`" for name in names)
        place = self.section + (f", {self.number}" if self.number else "")
        return [place, ", ".join(f"${s}$" for s in self.symbols), what, called]

    def tested(self) -> str:
        """Return its item of the list of tests."""
        number = f" ({self.number})" if self.number else ""
        tests = "; ".join(f"`{file}`: " + ", ".join(names) for file, names in self.tests.items())
        return f"- **`{self.name}`**{number}, in {tests}"


def defined_symbols(docstring: str) -> list[str]:
    """Return the left-hand sides of a docstring's first equation."""
    block = re.search(r"\.\. math::[ \n]+(.*?)(?:\n\n|\Z)", docstring, re.DOTALL)
    if block is None:
        return []
    text = " ".join(block[1].split())
    inline = re.findall(r":math:`([^`]+)`\s+\(Eq\. \d+\)", docstring)
    sides = re.findall(r"(?:^|\\\\)\s*([^&=]+?) &=", text) or [
        side[1] for part in text.split(r"\qquad") if (side := re.match(r"\s*([^=]+?) =", part))
    ]
    return [side for side in (*inline, *sides) if "|" not in side and r"\text" not in side]


def read_row(name: str, item: Any, prefix: str = "") -> Row | None:
    """Return the row of a public name, None if its docstring names no equation or section of the paper."""
    docstring = inspect.getdoc(item) or ""
    source = SOURCE.search(docstring)
    if source is None:
        return None
    first, last, part, section = source.groups()
    # up to the first comma, colon or bracket: what follows explains it
    what = re.split(r"[:.](?:\s|$)|, | \(| of (?:section|one branch)", " ".join(docstring.split()))[0]
    is_function = inspect.isfunction(item)
    own = "" if is_function else prefix + name
    return Row(
        *(section, int(first or 0), int(last or first or 0), part or "", defined_symbols(docstring), what),
        *(prefix + name, is_function, (item.__module__, inspect.getsourcelines(item)[1]), own),
    )


def read_rows() -> list[Row]:
    """Return all rows in the paper's order, without their tests."""
    rows = [read_row(name, getattr(functional, name)) for name in functional.__all__]
    rows += [read_row(n, getattr(morn_losses, n)) for n in morn_losses.__all__ if n not in functional.__all__]
    rows += [read_row(name, getattr(metrics, name), "morn_losses.metrics.") for name in metrics.__all__]
    known = [row for row in rows if row is not None]
    by_function = {row.name.split(".")[-1]: row for row in known if row.is_function}
    for prefix, package in (("", morn_losses), ("morn_losses.metrics.", metrics)):
        for name in package.__all__:
            item = getattr(package, name)
            summary = (inspect.getdoc(item) or "").split("\n\n")[0]
            of = re.search(r"(?:Module of|around|Streaming) (?::func:)?`+[\w.~]*?(\w+)`+", summary)
            if inspect.isclass(item) and of is not None and of[1] in by_function:
                by_function[of[1]].module = prefix + name
    objective = ast.get_docstring(ast.parse(OBJECTIVE.read_text())) or ""
    if number := re.match(r"Eq\. (\d+): ", objective):
        equation, name = int(number[1]), str(OBJECTIVE.relative_to(ROOT))
        known.append(Row("3.7", equation, equation, "", [], "The sum of all terms", name, True, (name, 0)))
    return in_order(known)


def in_order(rows: list[Row]) -> list[Row]:
    """Sort by section; in a section by file, the one with the first equation first; in a file as it is written."""
    first: dict[tuple[str, str], int] = {}
    for row in rows:
        group = (row.section, row.place[0])
        first[group] = min(first.get(group, 99), row.first or 99)

    def key(row: Row) -> tuple[list[int], int, tuple[str, int]]:
        return [int(n) for n in row.section.split(".")], first[row.section, row.place[0]], row.place

    return sorted(rows, key=key)


def names_in(node: ast.AST, others: dict[str, ast.stmt]) -> set[str]:
    """Return the names that a test uses, by itself and through the helpers and base classes of its file."""
    used: set[str] = set()
    waiting = [node]
    while waiting:
        for part in ast.walk(waiting.pop()):
            name = part.id if isinstance(part, ast.Name) else part.attr if isinstance(part, ast.Attribute) else ""
            if name and name not in used:
                used.add(name)
                if name in others:
                    waiting.append(others[name])
    return used


def add_tests(rows: list[Row]) -> None:
    """Give every row its tests."""
    home = {row.name: home_of(row) for row in rows}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        file = path.relative_to(ROOT)
        body = ast.parse(path.read_text()).body
        definitions: dict[str, ast.stmt] = {n.name: n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        for name, node in definitions.items():
            if not name.lower().startswith("test"):
                continue
            assert isinstance(node, ast.FunctionDef | ast.ClassDef)
            used = names_in(node, definitions)
            callers = [row for row in rows if row.names & used]
            chosen = [row for row in callers if home[row.name] == file] if kind_of(name) < len(KINDS) else []
            # a module of a function has that function's tests there
            modules = {row.module for row in chosen if row.is_function}
            chosen = [row for row in chosen if row.is_function or row.name not in modules]
            equation = ""
            if not chosen:
                chosen, equation = detail_of(name, ast.get_docstring(node) or "", rows, callers)
            for row in chosen:
                label = f" (Eq. {equation})" if equation and row.last > row.first else ""
                row.tests.setdefault(file, []).append(f"`{name}`{label}")
    for row in rows:
        row.tests = dict(sorted(row.tests.items(), key=lambda item: (item[0] != home[row.name], item[0])))
        for names in row.tests.values():
            names.sort(key=lambda text: kind_of(text.split("`")[1]))


def kind_of(name: str) -> int:
    """Return which of ``KINDS`` a test is of."""
    return next((i for i, kind in enumerate(KINDS) if re.search(kind, name)), len(KINDS))


def home_of(row: Row) -> Path | None:
    """Return the test file that mirrors a row's source file."""
    if row.name.endswith(".py"):
        return None
    short = row.name.split(".")[-1]
    item = next(getattr(place, short) for place in (functional, morn_losses, metrics) if hasattr(place, short))
    parts = item.__module__.split(".")[1:]
    return Path("tests", *parts[:-1], f"test_{parts[-1]}.py")


def detail_of(name: str, docstring: str, rows: list[Row], callers: list[Row]) -> tuple[list[Row], str]:
    """Return the rows whose equation or section a test names, those that it calls if there are any; its equation."""
    said = DETAIL.match(docstring)
    in_name = re.search(r"(?:^|_)eq_(\d+)(?:_|$)", name)
    equation = said[1] if said is not None else in_name[1] if in_name is not None else None
    if said is not None and equation is None:
        meant = [row for row in rows if row.section == said[2]]
    elif equation is not None:
        meant = [row for row in rows if row.first <= int(equation) <= row.last]
        meant = [row for row in meant if not row.part] or meant
    else:
        return [], ""
    if not meant:
        raise ValueError(f"{name}: names an equation or section that no docstring names")
    return [row for row in meant if row in callers] or meant, equation or ""


def page() -> str:
    """Return the page with the table and the list of now."""
    rows = read_rows()
    add_tests(rows)
    head = ["section, equation", "symbol", "what", "function, module"]
    lines = [head, ["---"] * len(head), *(row.cells() for row in rows)]
    parts = {
        "table": "\n".join("| " + " | ".join(cells) + " |" for cells in lines),
        "tests": "\n".join(row.tested() for row in rows),
    }
    text = PAGE.read_text()
    for name, part in parts.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, rest = text.split(begin)
        text = f"{before}{begin}\n\n{part}\n\n{end}{rest.split(end)[1]}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page())
