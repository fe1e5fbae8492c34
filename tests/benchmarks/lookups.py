"""The memory's look-up."""

from __future__ import annotations

import torch

from morn_losses import MemoryBank, MemorySampler
from tests.benchmarks.harness import Row, Settings, compare

TITLE = "Memory"


def bank(entries: int, n_classes: int = 6, payload_size: int = 0) -> MemoryBank:
    """Return a full memory, whose payload is 0."""
    memory = MemoryBank(entries, n_classes, payload_size)
    generator = torch.Generator().manual_seed(0)
    payload = torch.zeros(entries, payload_size, dtype=torch.long) if payload_size else None
    memory.write(torch.arange(entries), torch.randn(entries, n_classes, generator=generator), payload)
    return memory


def rows(settings: Settings) -> list[Row]:
    """Measure the look-up of one image at 100,000 entries."""
    entries = 500 if settings.tiny else 100_000
    memory = bank(entries).to(settings.device)
    sampler, query = MemorySampler(memory), torch.randn(1, 6).to(settings.device)

    def plain() -> int:
        similarity = torch.nn.functional.cosine_similarity(query, memory.descriptors)
        return int(similarity.topk(10).indices[torch.randint(10, ())])

    return [
        compare(
            f"look-up of one image among {entries:,} entries",
            {"morn_losses": lambda: sampler(query), "cosine_similarity + topk": plain},
            settings,
        )
    ]
