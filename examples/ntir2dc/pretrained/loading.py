"""Networks of ``transformers``, out of a folder or from the hub, with all their weights."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from ntir2dc.data.samples import DataError


def load_network(
    name: str, what: str, class_of: Callable[[str, Any], Any], *, offline: bool = False
) -> tuple[nn.Module, Any]:
    """Load a network in eval mode, in single precision, and what makes its input.

    Args:
        name: a local folder, or a name on the hub.
        what: it has to be, for messages: "a segmentation network".
        class_of: gives the class of ``transformers`` for a name and a configuration, or refuses it.
        offline: take from the hub's local cache alone.

    Returns:
        The network, on the CPU, and its processor.

    Raises:
        DataError: ``transformers`` is missing, or the network is, or is of another kind, or lacks weights.
    """
    if importlib.util.find_spec("transformers") is None:
        raise DataError(f"{name}: a pretrained network needs: pip install 'morn-losses[teacher]'")
    import transformers

    local = Path(name).is_dir()
    if not local and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise DataError(f"{name}: no such folder")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    alone = {"local_files_only": offline or local}
    try:
        config = transformers.AutoConfig.from_pretrained(name, **alone)
        network, told = class_of(name, config).from_pretrained(name, config=config, output_loading_info=True, **alone)
        # what is asked for is told to this one in words
        read = transformers.AutoProcessor if config.model_type == "oneformer" else transformers.AutoImageProcessor
        processor = read.from_pretrained(name, **alone)
    except DataError:
        raise
    # whatever is wrong with a folder or the way to the hub
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        fetched = "without --offline it is fetched from the hub, or " if offline else ""
        remedy = "" if local else f"; {fetched}give a local folder"
        raise DataError(f"{name}: cannot be loaded as {what} ({first}){remedy}") from error
    missing = sorted(told["missing_keys"])
    if missing:
        raise DataError(
            f"{name}: holds no weights for {len(missing)} parts of {what} ({missing[0]}); take one that was trained as "
            "such"
        )
    # a stored dtype of half precision is of no use on a CPU
    loaded: nn.Module = network.float().eval()
    return loaded, processor
