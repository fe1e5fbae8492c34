"""All experiments, one after another, and the files they leave."""

from __future__ import annotations

import io
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from ntir2dc.files import attempt, write_atomically, write_text
from studies.cards import aca, cgr, distillation, labels, memory, sr
from studies.cards.card import Card, to_json, to_markdown
from studies.cards.standins import train_standins
from studies.cards.streets import Options

Say = Callable[[str], None]


def cards(options: Options, say: Say) -> Iterator[Card]:
    """Run the experiments in the order of the paper."""
    say("labels of day images")
    yield labels.study(options)
    standins = [train_standins(seed, options, say) for seed in range(options.sets)]
    say("label mining")
    yield distillation.study_mining(standins)
    say("labels of thermal images")
    yield distillation.study_denoising(standins)
    say("memory")
    yield memory.study(options)
    say("collaborative attention")
    yield aca.study(options, standins)
    say("gradient repair")
    yield cgr.study(options)
    say("scale robustness")
    yield sr.study(options, standins)


def write_report_card(folder: Path, options: Options, say: Say = print) -> list[Card]:
    """Run everything and write ``report_card.md``, ``report_card.json`` and ``pictures/*.png`` into ``folder``.

    Runs on the CPU with the number of threads it finds; the same options give the same numbers on the same machine.
    """
    start = time.perf_counter()
    written = []
    for card in cards(options, say):
        verdicts = [claim.verdict() for claim in card.claims]
        say(f"  {card.title}: {verdicts.count('yes')} of {len(verdicts)} claims hold in every set")
        written.append(card)
    seconds = time.perf_counter() - start
    problems: list[str] = []
    for card in written:
        path = folder / "pictures" / f"{card.key}.png"
        attempt(partial(save_png, card.picture, path), path, problems)
    machine = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "platform": platform.platform(),
        "seconds": round(seconds),
    }
    result = {
        "options": asdict(options),
        "machine": machine,
        "cards": {card.key: to_json(card) for card in written},
    }
    texts = {
        "report_card.json": json.dumps(result, indent=1, allow_nan=False) + "\n",
        "report_card.md": page(written, options, machine),
    }
    for name, text in texts.items():
        attempt(partial(write_text, folder / name, text), folder / name, problems)
    if problems:
        raise OSError("; ".join(problems))
    return written


def page(shown: list[Card], options: Options, machine: dict[str, object]) -> str:
    """Return the whole report as Markdown; comments mark the numbers of each card, for pages that copy them."""
    parts = [
        "# Module report card",
        f"{options.sets} sets; ± is the standard deviation over them. A claim holds in a set where its margin is above "
        f"0: yes means in every set, no in none. torch {machine['torch']}, {machine['threads']} thread(s), "
        f"{machine['seconds']} s.",
    ]
    for card in shown:
        numbers = f"<!-- {card.key} -->\n\n{to_markdown(card)}\n<!-- end of {card.key} -->"
        parts += [f"## {card.title}", card.how, numbers, f"![{card.title}](pictures/{card.key}.png)"]
    return "\n\n".join(parts) + "\n"


def save_png(picture: Image.Image, path: Path) -> None:
    """Write a picture as a small PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    write_atomically(path, buffer.getvalue())
