"""Make a weights file out of the authors' published checkpoints, for colorize.py and for --init_from.

python examples/import_published.py --input checkpoints/flir --output weights/published.safetensors
python examples/import_published.py --input checkpoints/kaist --epoch 160 --output weights/kaist.safetensors
python examples/import_published.py --input . --output published.safetensors
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("import_published.py needs: pip install 'morn-losses[train]'")

from ntir2dc.console import call, escape_what_cannot_be_shown
from ntir2dc.files import check_writable, write_text
from ntir2dc.run.published import FORM, Imported, import_generators
from ntir2dc.run.weights import WeightsError, load_translator, save_weights

CARD = """# {name}

Night thermal infrared to day color, taken out of the authors' published checkpoint of epoch {epoch} by
`examples/import_published.py`. SHA-256 of `{name}`: `{sha256}`.

| network | file | SHA-256 of the file | parameters |
|---|---|---|---:|
{rows}

- **Form**: width {width}, {encoder_blocks} residual blocks in an encoder, {decoder_blocks} in a decoder, group norm.
- **Input**: white-hot thermal images; they were trained on frames resized to 500 x 400 and cut to 360 x 288.
- **Output**: day color in [-1, 1]. `colorize.py --stretch` writes pictures as the authors did.
- **Not taken**: discriminators and segmenters. The checkpoints hold no optimizers, pools or memory.
- **Terms**: those under which the checkpoint was published. This package grants no right to it.
"""


def card_of(name: str, sha256: str, epoch: int, networks: Mapping[str, Imported]) -> str:
    """Return what a person should know of the weights file, as Markdown."""
    rows = [
        f"| `{role}` | `{held.file.name}` | `{held.sha256}` | {sum(p.numel() for p in held.network.parameters()):,} |"
        for role, held in networks.items()
    ]
    return CARD.format(name=name, sha256=sha256, epoch=epoch, rows="\n".join(rows), **FORM)


def main(input: Path, output: Path, epoch: int | None = None) -> int:
    """Write a weights file with the published generators, and a card beside it.

    Args:
        input: folder with <epoch>_net_G1.pth and <epoch>_net_G2.pth, the night-to-day generator; G0 and G3, day to
            night, are taken too where they are there.
        output: the weights file, a name that ends in .safetensors; the card has the same name and ends in .md.
        epoch: which of several; the newest if it is not given.

    Returns:
        0, or 1 where a file is missing or is another network's; nothing is written then.
    """
    escape_what_cannot_be_shown()
    card = output.with_suffix(".md")
    try:
        if output.suffix != ".safetensors":
            raise WeightsError(f"{output}: expected a name that ends in .safetensors")
        for path in (output, card):
            if path.exists():
                raise WeightsError(f"{path}: is there already; choose another output")
        check_writable(output.parent)
        chosen, networks = import_generators(input, epoch)
        save_weights(output, {role: held.network for role, held in networks.items()}, FORM)
        load_translator(output)
        write_text(card, card_of(output.name, hashlib.sha256(output.read_bytes()).hexdigest(), chosen, networks))
    except (WeightsError, OSError) as error:
        print(f"import_published: {error}", file=sys.stderr)
        return 1
    print(f"{', '.join(networks)} of epoch {chosen} written to {output}, described in {card}")
    return 0


if __name__ == "__main__":
    sys.exit(call(main))
