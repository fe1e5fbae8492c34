"""Memory-guided sample selection (section 3.4.1): which NTIR image to learn with, by what its labels hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from morn_losses._checks import (
    as_classes,
    check_floating,
    check_generator,
    check_integer,
    check_labels,
    check_shape,
    check_tensor,
)
from morn_losses._options import show_options
from morn_losses._precision import full_precision, promote

__all__ = ["MemoryBank", "MemorySampler", "descriptor_similarity", "semantic_descriptor"]

# rounding errors of float32 descriptors stay below it
_TIE = 1e-6


def semantic_descriptor(labels: Tensor, classes: Sequence[int | Sequence[int]]) -> Tensor:
    r"""Semantic distribution feature of section 3.4.1: how much of the image each class covers, against their mean.

    .. math:: f_d = s - \bar{s}, \qquad s_c = \frac{|\{p : M_p = c\}|}{H W}, \qquad \bar{s} = \frac{1}{n} \sum_c s_c

    The shares are of the full image, unlabeled pixels included.

    Choice: with a single class the mean is not subtracted, since nothing would be left of it.

    Args:
        labels: integers ``(B, H, W)``.
        classes: n class ids; several ids in a tuple count as one class. None occurs twice.

    Returns:
        float32 ``(B, n)``; exactly 0 for a sample in which none of the classes occurs, or all to the same share.

    Raises:
        ValueError: the shape of ``labels``; no classes, an empty, negative or repeated one.
        TypeError: another dtype, or ids that are no integers.

    Example:
        >>> labels = torch.tensor([[[6, 6, 6, 0], [7, 255, 0, 0]]])
        >>> semantic_descriptor(labels, (6, 7))
        tensor([[ 0.1250, -0.1250]])
        >>> semantic_descriptor(labels, ((6, 7),))
        tensor([[0.5000]])

    Source: section 3.4.1.
    """
    labels = check_labels(labels, "labels")
    groups = as_classes(classes)
    counts = torch.stack([_count(labels, group) for group in groups], 1)
    n, (_, H, W) = len(groups), labels.shape
    if n > 1:
        # whole numbers: equal shares cancel exactly, and no rounding error is taken for a direction
        counts, H = n * counts - counts.sum(1, keepdim=True), n * H
    return counts.to(torch.float32) / (H * W)


def descriptor_similarity(a: Tensor, b: Tensor) -> Tensor:
    r"""Similarity of descriptors, Eq. 11: the cosine of every one of ``a`` with every one of ``b``.

    .. math:: d_{AB} = \frac{f_d^A \cdot f_d^B}{\|f_d^A\|_2 \, \|f_d^B\|_2}

    Args:
        a: ``(Na, n)``.
        b: ``(Nb, n)``.

    Returns:
        ``(Na, Nb)`` in [-1, 1]; 0 where either is the zero vector. Half precision comes back as float32.

    Raises:
        ValueError: shapes other than these.
        TypeError: dtypes that are not floating-point.

    Example:
        >>> a = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
        >>> descriptor_similarity(a, torch.tensor([[3.0, 4.0]]))
        tensor([[0.6000],
                [0.0000]])

    Source: Eq. 11, section 3.4.1.
    """
    for x, name, rows in ((a, "a", "Na"), (b, "b", "Nb")):
        check_floating(x, name)
        if x.ndim != 2 or x.shape[1] < 1:
            raise ValueError(f"{name}: expected ({rows}, n), got {tuple(x.shape)}")
    check_shape(b, "b", "(Nb, n)", (b.shape[0], a.shape[1]))
    dtype = torch.promote_types(promote(a).dtype, promote(b).dtype)
    with full_precision(a):
        # a bank is long and its rows are short: many times faster with the long axis last
        return (_unit(a.to(dtype).mT).mT @ _unit(b.to(dtype).mT)).clamp(-1, 1)


class _Entries(nn.Module):
    """The tensors of a memory, as the buffers of a module that no other module knows."""

    descriptors: Tensor
    payload: Tensor
    filled: Tensor
    units: Tensor

    def __init__(self, capacity: int, n_classes: int, payload_size: int) -> None:
        super().__init__()
        self.register_buffer("descriptors", torch.zeros(capacity, n_classes, dtype=torch.float32))
        self.register_buffer("payload", torch.zeros(capacity, payload_size, dtype=torch.int64))
        self.register_buffer("filled", torch.zeros(capacity, dtype=torch.bool))
        # follows from the descriptors; the long axis last, in which products with short vectors are fast
        self.register_buffer("units", torch.zeros(n_classes, capacity, dtype=torch.float32), persistent=False)

    def renew_units(self) -> None:
        """Make ``units`` anew from the descriptors."""
        units = _unit(self.descriptors.mT)
        if units.device == self.units.device:
            self.units.copy_(units)  # in place: the memory may be shared
        else:
            self.units = units

    def leave_inference_mode(self) -> None:
        """Make tensors that came about in inference mode such as can be written to outside of it."""
        with torch.inference_mode(False):
            for name, buffer in self.named_buffers():
                if buffer.is_inference():
                    setattr(self, name, buffer.clone())


class MemoryBank(nn.Module):
    """Memory of NTIR images: the descriptor of each, and a few integers to find it again.

    An entry is an image id below ``capacity``. ``state_dict`` holds the state whole: ``descriptors`` float32
    ``(capacity, n_classes)``, ``payload`` int64 ``(capacity, payload_size)`` and ``filled`` bool ``(capacity,)``.
    ``len(bank)`` is the number of filled entries. Descriptors are changed by ``write``, ``synchronize`` and
    ``load_state_dict`` alone, which keep the same vectors at length 1 beside them for the look-up.

    The state moves with the module and is copied with it, but ``buffers()`` of a model that holds the bank does not
    list it: ``DistributedDataParallel`` would overwrite what a rank wrote with what rank 0 holds, and
    ``AveragedModel`` would average ids. Ranks exchange what they wrote by ``synchronize``; a copy of a model has a
    memory of its own.

    Args:
        capacity: number of entries.
        n_classes: length of a descriptor.
        payload_size: integers stored beside a descriptor, for example the corner of the crop it describes.

    Example:
        >>> bank = MemoryBank(capacity=4, n_classes=2, payload_size=2)
        >>> bank.write(torch.tensor([3, 0]), torch.eye(2), torch.tensor([[8, 16], [0, 4]]))
        >>> len(bank), bank.is_full, bank.unfilled()
        (2, False, tensor([1, 2]))
        >>> bank.payload[3]
        tensor([ 8, 16])

    Source: section 3.4.1.
    """

    def __init__(self, capacity: int, n_classes: int, payload_size: int = 0) -> None:
        super().__init__()
        self.capacity = capacity = check_integer(capacity, "capacity", minimum=1)
        self.n_classes = n_classes = check_integer(n_classes, "n_classes", minimum=1)
        self.payload_size = payload_size = check_integer(payload_size, "payload_size", minimum=0)
        # in a tuple, where a module is no submodule
        self._entries = (_Entries(capacity, n_classes, payload_size),)

    @property
    def descriptors(self) -> Tensor:
        """float32 ``(capacity, n_classes)``."""
        return self._entries[0].descriptors

    @property
    def payload(self) -> Tensor:
        """int64 ``(capacity, payload_size)``."""
        return self._entries[0].payload

    @property
    def filled(self) -> Tensor:
        """Bool ``(capacity,)``."""
        return self._entries[0].filled

    @property
    def units(self) -> Tensor:
        """The descriptors at length 1, float32 ``(n_classes, capacity)``."""
        return self._entries[0].units

    @torch.no_grad()
    def write(self, indices: Tensor, descriptors: Tensor, payload: Tensor | None = None) -> None:
        """Fill or replace entries; if anything is wrong with any of them, none is written.

        Args:
            indices: integers ``(B,)``, ids in [0, capacity), each once.
            descriptors: floating-point ``(B, n_classes)``, finite.
            payload: integers ``(B, payload_size)``; exactly when ``payload_size`` is not 0.

        Raises:
            IndexError: an id out of range; negative ones do not count from the end.
            ValueError: a wrong shape, a repeated id, a descriptor that is not finite, a payload missing or unwanted.
            TypeError: a wrong dtype.
        """
        indices = _as_int64(indices, "indices")
        if indices.ndim != 1:
            raise ValueError(f"indices: expected (B,), got {tuple(indices.shape)}")
        B = indices.shape[0]
        check_floating(descriptors, "descriptors")
        check_shape(descriptors, "descriptors", "(B, n_classes)", (B, self.n_classes))
        if self.payload_size == 0:
            if payload is not None:
                raise ValueError("payload: expected None, since payload_size is 0")
        elif payload is None:
            raise ValueError(f"payload: expected (B, payload_size) = ({B}, {self.payload_size}), got None")
        else:
            payload = _as_int64(payload, "payload")
            check_shape(payload, "payload", "(B, payload_size)", (B, self.payload_size))
        outside = (indices < 0) | (indices >= self.capacity)
        if bool(outside.any()):
            raise IndexError(f"indices: expected ids in [0, {self.capacity}), got {indices[outside].tolist()[:5]}")
        if len(set(indices.tolist())) != B:
            raise ValueError(f"indices: expected every id once, got {indices.tolist()}")
        # in the precision of the buffer, where a large float64 may have become infinite
        descriptors = descriptors.to(self.descriptors)
        if not bool(descriptors.isfinite().all()):
            raise ValueError("descriptors: expected finite values, got NaN or infinity")

        self._entries[0].leave_inference_mode()
        indices = indices.to(self.filled.device)
        self.descriptors[indices] = descriptors
        self.units[:, indices] = _unit(descriptors.mT)
        if payload is not None:
            self.payload[indices] = payload.to(self.payload.device)
        # last: whoever shares the memory finds a filled entry complete
        self.filled[indices] = True

    def __len__(self) -> int:
        return int(self.filled.sum())

    @property
    def is_full(self) -> bool:
        """Whether every entry is filled."""
        return bool(self.filled.all())

    def unfilled(self) -> Tensor:
        """Return the ids that are still to be written, ascending, int64."""
        return (~self.filled).nonzero().flatten()

    def share_memory_(self) -> MemoryBank:
        """Move the state to shared memory, so that data-loader workers see later writes; returns the bank.

        Call it before the workers start. ``load_state_dict`` and ``synchronize`` keep the memory shared, moving the
        bank to another device does not.
        """
        return self.share_memory()

    @torch.no_grad()
    def synchronize(self) -> None:
        """Merge what the ranks of the default ``torch.distributed`` group have written; afterwards all hold the same.

        An entry that several ranks have filled is that of the lowest of them. Every rank has to call it; without an
        initialised group nothing happens.
        """
        if not (dist.is_available() and dist.is_initialized()):
            return
        self._entries[0].leave_inference_mode()
        # NCCL takes CUDA tensors only, and the bank may live on the CPU
        on_cuda = dist.get_backend() == "nccl"
        device = torch.device("cuda", torch.cuda.current_device()) if on_cuda else self.filled.device
        rank, world_size = dist.get_rank(), dist.get_world_size()
        owner = torch.where(self.filled.to(device), rank, world_size)
        dist.all_reduce(owner, dist.ReduceOp.MIN)
        mine = owner == rank
        for buffer in (self.descriptors, self.payload) if self.payload_size else (self.descriptors,):
            # one rank contributes to each entry, so that the sum is a copy
            part = torch.where(mine[:, None], buffer.to(device), 0)
            dist.all_reduce(part, dist.ReduceOp.SUM)
            buffer.copy_(part)
        self._entries[0].renew_units()
        self.filled.copy_(owner < world_size)

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Return the state by name; of a model that holds the bank, ``named_buffers`` leaves it out."""
        return self._entries[0].named_buffers(prefix, recurse, remove_duplicate)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> MemoryBank:
        self._entries[0]._apply(fn)  # type: ignore[no-untyped-call]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def _save_to_state_dict(self, *arguments: Any) -> None:
        self._entries[0]._save_to_state_dict(*arguments)

    @torch.no_grad()
    def _load_from_state_dict(self, *arguments: Any) -> None:
        self._entries[0].leave_inference_mode()
        self._entries[0]._load_from_state_dict(*arguments)
        self._entries[0].renew_units()

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)


class MemorySampler(nn.Module):
    """Memory-guided selection: draw one of the k entries of a `MemoryBank` nearest to a descriptor (Eq. 11).

    ``forward(descriptors, generator=None)`` takes ``(B, n_classes)`` and returns int64 ``(B,)`` entry ids. Each is
    uniform among the ``k`` most similar filled entries, among all of them if fewer are filled; entries that tie at rank
    k share what is left of the k places with equal chances. Similarities within 1e-6 of that at rank k are ties. The
    zero vector is equally similar to everything, so for it the draw is uniform among all filled entries.

    Choice: the paper leaves k open; 10 is what the published code uses.

    Args:
        bank: the memory; a submodule, so that the sampler's ``state_dict`` holds it.
        k: number of candidates, at least 1; 1 always draws the most similar entry.

    Raises:
        RuntimeError: (``forward``) the bank is empty.
        ValueError: (``forward``) another shape, or descriptors that are not finite.

    Example:
        >>> bank = MemoryBank(capacity=3, n_classes=2)
        >>> bank.write(torch.arange(2), torch.tensor([[0.5, -0.5], [-0.5, 0.5]]))
        >>> MemorySampler(bank, k=1)(torch.tensor([[-0.1, 0.1], [0.2, -0.2]]))
        tensor([1, 0])

    Source: section 3.4.1.
    """

    def __init__(self, bank: MemoryBank, k: int = 10) -> None:
        super().__init__()
        if not isinstance(bank, MemoryBank):
            raise TypeError(f"bank: expected a MemoryBank, got {type(bank).__name__}")
        self.k = check_integer(k, "k", minimum=1)
        self.bank = bank

    @torch.no_grad()
    def forward(self, descriptors: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return one entry id per descriptor."""
        check_floating(descriptors, "descriptors")
        if descriptors.ndim != 2 or descriptors.shape[1] != self.bank.n_classes:
            raise ValueError(
                f"descriptors: expected (B, n_classes) = (B, {self.bank.n_classes}), got {tuple(descriptors.shape)}"
            )
        check_generator(generator)
        if not bool(descriptors.isfinite().all()):
            raise ValueError("descriptors: expected finite values, got NaN or infinity")
        # a copy, since another process may be writing
        filled = self.bank.filled.clone()
        n_filled = int(filled.count_nonzero())
        k = min(self.k, n_filled)
        if k == 0:
            raise RuntimeError("bank: expected at least one filled entry, got an empty memory")

        device, units = filled.device, self.bank.units
        with full_precision(units):
            similarity = _unit(promote(descriptors).mT).to(units).mT @ units
        if n_filled < len(filled):
            similarity = torch.where(filled, similarity, float("-inf"))
        last = _kth_largest(similarity, k)
        # few: those above rank k and those that tie there, by row and then by id
        rows, ids = (similarity >= last - _TIE).nonzero(as_tuple=True)
        above = similarity[rows, ids] > last[rows, 0] + _TIE
        B = len(descriptors)
        n_above, n_tied = (torch.bincount(rows[kind], minlength=B) for kind in (above, ~above))

        # a rank among the k places; those that the entries above leave free are any tied entry's
        where = device if generator is None else generator.device
        drawn = torch.randint(2**31 - 1, (B, 2), device=where, generator=generator).to(device)
        place, among_tied = drawn[:, 0] % k, drawn[:, 1] % n_tied
        is_above = place < n_above
        index, count = torch.where(is_above, place, among_tied), torch.where(is_above, n_above, n_tied)
        # the candidates of all rows are counted through, so that each row starts where those before it end
        counted = (above == is_above[rows]).cumsum(0)
        places = torch.searchsorted(counted, count.cumsum(0) - count + index + 1)
        return ids[places].to(descriptors.device)

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)


def _count(labels: Tensor, ids: tuple[int, ...]) -> Tensor:
    mask = labels == ids[0]
    for i in ids[1:]:
        mask = mask | (labels == i)
    return mask.flatten(1).sum(1)


def _unit(x: Tensor) -> Tensor:
    """Return the columns of ``x`` at length 1, zero columns as they are."""
    x = x.contiguous()
    # scaled first: the square of a large or a tiny entry would leave the range of the dtype
    largest = x.abs().amax(0)
    x = x / torch.where(largest > 0, largest, 1)
    return x / torch.where(largest > 0, x.square().sum(0), 1).sqrt()


def _kth_largest(x: Tensor, k: int) -> Tensor:
    """Return the k-th largest of each row, ``(B, N)`` to ``(B, 1)``.

    No more than k blocks of a row can hold its k largest: those of the k largest maxima.
    """
    block = 128
    n = x.shape[1] // block
    if n > k:
        blocks = x[:, : n * block].view(len(x), n, block)
        best = blocks.amax(2).topk(k, 1).indices
        held = blocks.gather(1, best[..., None].expand(-1, -1, block)).flatten(1)
        x = torch.cat((held, x[:, n * block :]), 1)
    return x.topk(k, 1).values[:, -1:]


def _as_int64(x: Tensor, name: str) -> Tensor:
    check_tensor(x, name)
    if x.dtype.is_floating_point or x.dtype.is_complex or x.dtype == torch.bool:
        raise TypeError(f"{name}: expected an integer dtype, got {x.dtype}")
    return x.long()
