"""Write the tables of docs/method.md, and of thresholds in docs/concepts/mining.md, from the code; draw the picture.

python docs/make_method.py

The table of phases is what ``active`` returns for every phase, its words are the docstrings of the fields of
``Active``; the list of files is what ``tests/drills/trace_step.py`` finds in a step of tiny networks.
"""

from __future__ import annotations

import ast
import dataclasses
import html
import inspect
import itertools
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

ROOT = Path(__file__).resolve().parents[1]
wanted = (ROOT, ROOT / "examples", ROOT / "tests", ROOT / "docs")
sys.path[:0] = [str(folder) for folder in wanted if str(folder) not in sys.path]

from make_report_card import fill  # noqa: E402

from ntir2dc.config import ModuleOptions, PresetName, make_config  # noqa: E402
from ntir2dc.methods.morngan import schedule  # noqa: E402
from ntir2dc.methods.morngan.schedule import PAPER_PHASES, Active, Schedule, active  # noqa: E402

if TYPE_CHECKING:
    from drills.trace_step import Way

METHOD, MINING = ROOT / "docs" / "method.md", ROOT / "docs" / "concepts" / "mining.md"
PICTURE = ROOT / "docs" / "pictures" / "method.svg"

CONCEPTS = {
    "ssim": "baseline",
    "temperature": "sga",
    "seg_ra": "mining",
    "filling": "mining",
    "seg_fb": "mining",
    "seg_rb": "mining",
    "scale": "sr",
    "frozen": "mining",
    "memory": "memory",
    "aca": "aca",
    "cgr": "cgr",
    "seg_fa": "mining",
}
"""The concept page of each field of ``Active`` that tells the paper's phases apart."""
NOT_SHOWN = {"translating", "seg_la"}


# ---- tables ----------------------------------------------------------------------------------------------------------


def meanings() -> dict[str, str]:
    """Return the docstring of each field of ``Active``, without its period."""
    tree = ast.parse(inspect.getsource(schedule))
    body = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Active").body
    texts = {}
    for field, text in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            texts[field.target.id] = str(text.value.value).removesuffix(".")
    return texts


def typeset(text: str) -> str:
    """Return a docstring with its symbols as mathematics."""
    text = re.sub(r"\bL_(\w+)", r"$\\mathcal{L}_{seg}^{\1}$", text)
    return re.sub(r"\b([ST])_(\w+)", r"$\1_{\2}$", text)


def phases() -> str:
    """Return the table of what is on in which phase, and of the epochs at which phases start."""
    words = meanings()
    names = ", ".join(f"{int(phase)} `{phase.name.lower()}`" for phase in PAPER_PHASES)
    head = ["what", *(str(int(phase)) for phase in PAPER_PHASES)]
    lines = [head, ["---", *[":-:"] * len(PAPER_PHASES)]]
    for field in dataclasses.fields(Active):
        if field.name not in CONCEPTS:
            continue
        values = [getattr(active(phase, ModuleOptions()), field.name) for phase in PAPER_PHASES]
        cells = ["" if value in (False, "off") else "on" if value is True else str(value) for value in values]
        lines.append([f"[`{field.name}`](concepts/{CONCEPTS[field.name]}.md): {typeset(words[field.name])}", *cells])
    for preset in ("flir", "kaist"):
        config = make_config(preset)
        starts = Schedule.from_options(config.phases, config.epochs).starts
        lines.append([f"first epoch of {config.epochs}, `--preset {preset}`", *map(str, starts)])
    return f"Phases: {names}.\n\n" + "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def files(way: Way) -> str:
    """Return the files of a thermal frame's way, in their order, each with those that enter it."""
    lines = [["", "file", "entered from"], ["---:", "---", "---"]]
    for number, file in enumerate(way.files, 1):
        above = ", ".join(f"`{Path(name).name}`" for name in way.entries[file])
        short = file.removeprefix("ntir2dc/")
        lines.append([str(number), f"[`{short}`](../examples/{file})", above or "the run's loop"])
    again = way.again()
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    which = ", ".join(f"`{Path(name).name}`" for name in again)
    return f"{table}\n\n{len(way.files)} files, {len(again)} of them entered again: {which or 'none'}."


def traced() -> Way:
    """Return the way of a thermal frame through a step."""
    from drills.trace_step import trace

    with tempfile.TemporaryDirectory() as work:
        return trace(Path(work))


def thresholds() -> str:
    """Return the thresholds of each preset."""
    head = ["preset", "foreground", "background", "filling of day labels", "once the segmenters are frozen"]
    lines = [head, ["---", *["---:"] * 3, "---"]]
    for name in get_args(PresetName):
        losses = make_config(name).losses
        own = ", ".join(f"{level} for {of}" for of, level in losses.thresholds(frozen=True).items())
        alone = f"$S_B$ alone, {f'{own}, ' if own else ''}{losses.theta_fg} for {'all others' if own else 'all'}"
        frozen = alone if losses.mine_frozen_alone else "as before"
        lines.append([f"`{name}`", str(losses.theta_fg), str(losses.theta_bg), str(losses.fill_threshold), frozen])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def pages(way: Way) -> dict[Path, str]:
    """Return the pages with the tables of now."""
    sections = {METHOD: {"phases": phases(), "files": files(way)}, MINING: {"thresholds": thresholds()}}
    return {page: fill(page.read_text(), parts) for page, parts in sections.items()}


# ---- the picture -----------------------------------------------------------------------------------------------------

DAY, NIGHT, NETWORK, LABELS, LOSS = "#fff1c4", "#cddcf0", "#ebebeb", "#d5ecd5", "#f9dbd8"


class Box(NamedTuple):
    """A box by its middle and size."""

    x: float
    y: float
    w: float
    h: float


class Drawing:
    """Boxes and arrows as SVG. In a text ``_{...}`` is set lower, ``^{...}`` higher."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.parts: list[str] = []

    def text(self, x: float, y: float, text: str, *, size: float = 15, anchor: str = "middle") -> None:
        """Write a line of text whose middle is at height ``y``."""
        spans, shift = "", 0.0
        for piece in re.split(r"([_^]{[^}]*})", text):
            small = piece[:2] in ("_{", "^{")
            target = (0.3 if piece[0] == "_" else -0.4) * size if small else 0.0
            if piece:
                body = html.escape(piece[2:-1] if small else piece)
                font = f' font-size="{0.72 * size:.1f}"' if small else ""
                spans += f'<tspan dy="{target - shift:.1f}"{font}>{body}</tspan>'
                shift = target
        place = f'x="{x:g}" y="{y + 0.34 * size:.1f}"'
        self.parts.append(
            f'<text {place} font-size="{size:g}" text-anchor="{anchor}" xml:space="preserve">{spans}</text>'
        )

    def box(self, x: float, y: float, w: float, h: float, fill: str, *lines: str, size: float = 15) -> Box:
        """Draw a box around a middle, with lines of text."""
        place = f'x="{x - w / 2:g}" y="{y - h / 2:g}" width="{w:g}" height="{h:g}"'
        self.parts.append(f'<rect {place} rx="6" fill="{fill}" stroke="#444"/>')
        for i, line in enumerate(lines):
            self.text(x, y + (i - (len(lines) - 1) / 2) * 1.3 * size, line, size=size)
        return Box(x, y, w, h)

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """Draw an arrow through points."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="#444"{dash} marker-end="url(#tip)"/>')

    def chain(self, *boxes: Box) -> None:
        """Join boxes of one row by arrows."""
        for left, right in itertools.pairwise(boxes):
            self.arrow((left.x + left.w / 2, left.y), (right.x - right.w / 2, right.y))

    def svg(self) -> str:
        """Return the file."""
        tip = '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        size = f'width="{self.width}" height="{self.height}" viewBox="0 0 {self.width} {self.height}"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="DejaVu Sans, Verdana, sans-serif">',
                f'<defs>{tip}<path d="M0,0 L8,4 L0,8 z" fill="#444"/></marker></defs>',
                '<rect width="100%" height="100%" fill="white"/>',
                *self.parts,
                "</svg>\n",
            ]
        )


def picture() -> str:
    """Return Fig. 3 as the trainer has it: both directions of translation, the labels of both domains, the memory."""
    d = Drawing(900, 770)

    # labels of day images
    guesses = d.box(100, 45, 150, 46, NETWORK, "two pretrained", "networks", size=14)
    fusion = d.box(250, 45, 90, 46, "white", "fusion", "3.3.2", size=14)
    cleaning = d.box(385, 45, 120, 46, "white", "denoising", "Eq. 5–7", size=14)
    labels_a = d.box(505, 45, 70, 46, LABELS, "M_{PL}^{A}", size=16)
    d.chain(guesses, fusion, cleaning, labels_a)
    d.text(550, 34, "teaches S_{A} and S_{B}: L_{seg}^{ra}, L_{seg}^{fb}", size=14, anchor="start")
    d.text(550, 58, "finds road and people for L_{sga}, classes for L_{aca}", size=14, anchor="start")

    def row(y: float, images: tuple[str, str, str], here: str, there: str, colors: tuple[str, str]) -> None:
        own, other = colors
        real = d.box(70, y, 70, 54, own, images[0], size=17)
        first = [d.box(165, y, 62, 54, NETWORK, f"E_{{{here}}}"), d.box(260, y, 68, 54, NETWORK, f"Dec_{{{there}}}")]
        fake = d.box(390, y, 116, 54, other, images[1], size=17)
        second = [d.box(520, y, 62, 54, NETWORK, f"E_{{{there}}}"), d.box(615, y, 68, 54, NETWORK, f"Dec_{{{here}}}")]
        cycle = d.box(780, y, 170, 54, own, images[2], size=17)
        d.chain(real, *first, fake, *second, cycle)

    def losses(y: float, edge: float, *terms: tuple[float, float, str]) -> None:
        for x, width, term in terms:
            d.box(x, y, width, 30, LOSS, term, size=14)
            at = x + 15 if x == 335 else x
            d.arrow((at, edge), (at, y + 15 if y < edge else y - 15))

    row(200, ("x_{a}", "G_{AB}(x_{a})", "G_{BA}(G_{AB}(x_{a}))"), "A", "B", (DAY, NIGHT))
    d.arrow((70, 173), (70, 68))
    losses(130, 173, (335, 120, "L_{adv} by D_{B}"), (430, 46, "L_{tv}"), (780, 140, "L_{cyc}: is it x_{a}?"))
    d.box(575, 130, 220, 30, LOSS, "L_{sga}: edges, gray, warm people", size=13)
    d.arrow((448, 186), (490, 145))
    d.box(390, 268, 170, 32, LOSS, "S_{B}: L_{seg}^{fb}, is it M_{PL}^{A}?", size=14)
    d.arrow((390, 227), (390, 252))

    row(450, ("x_{b}", "G_{BA}(x_{b})", "G_{AB}(G_{BA}(x_{b}))"), "B", "A", (NIGHT, DAY))
    losses(518, 477, (335, 120, "L_{adv} by D_{A}"), (445, 46, "L_{tv}"), (780, 140, "L_{cyc}: is it x_{b}?"))
    d.box(575, 518, 160, 30, LOSS, "L_{sga}: edges of x_{b}", size=14)
    d.arrow((448, 468), (505, 503))
    d.box(400, 568, 330, 30, LOSS, "L_{cgr}: strong gradients of the background", size=14)
    d.arrow((408, 477), (408, 553))
    d.box(390, 384, 170, 32, LOSS, "S_{A}: L_{seg}^{fa}, is it M_{PL}^{B}?", size=14)
    d.arrow((390, 423), (390, 400))

    # between the two
    d.box(385, 326, 440, 34, LOSS, "L_{aca}: do the parts in F^{fa} look like those in F^{ra}?", size=15)
    d.arrow((211, 200), (211, 309))
    d.text(218, 250, "F^{ra}", anchor="start")
    d.arrow((566, 450), (566, 343))
    d.text(573, 396, "F^{fa}", anchor="start")
    d.box(770, 326, 200, 50, LOSS, "L_{sr}: is it the same", "at another scale?", size=14)

    # labels of night images, and the memory
    s_b = d.box(110, 630, 130, 38, NETWORK, "S_{B}(x_{b})", size=16)
    s_a = d.box(110, 684, 130, 38, NETWORK, "S_{A}(G_{BA}(x_{b}))", size=16)
    mining = d.box(265, 657, 110, 50, "white", "label mining", "Eq. 8–9", size=14)
    cleaning = d.box(405, 657, 110, 50, "white", "denoising", "Eq. 5–7", size=14)
    labels_b = d.box(525, 657, 70, 50, LABELS, "M_{PL}^{B}", size=16)
    memory = d.box(715, 657, 230, 50, "white", "memory: which small classes", "each night image holds", size=14)
    for network in (s_b, s_a):
        d.arrow(
            (network.x + network.w / 2, network.y), (mining.x - mining.w / 2, mining.y + (network.y - mining.y) / 3)
        )
    d.chain(mining, cleaning, labels_b, memory)
    d.text(405, 705, "M_{PL}^{B} also teaches S_{B} (L_{seg}^{rb}), and is in L_{cgr} and L_{aca}", size=14)
    d.arrow((memory.x, 682), (memory.x, 735), (18, 735), (18, 450), (35, 450), dashed=True)
    d.text(300, 752, "Eq. 11: picks an x_{b} that holds the small classes of x_{a}", size=14)

    colors = ((DAY, "day"), (NIGHT, "night"), (NETWORK, "network"), (LABELS, "labels"), (LOSS, "loss"))
    for i, (shade, name) in enumerate(colors):
        d.box(560 + 62 * i + (20 if i > 2 else 0), 600, 18, 16, shade)
        d.text(573 + 62 * i + (20 if i > 2 else 0), 600, name, size=13, anchor="start")
    return d.svg()


if __name__ == "__main__":
    for path, text in pages(traced()).items():
        path.write_text(text)
    PICTURE.write_text(picture())
