"""Argument checks: shape, dtype, range of options. Values of tensors are looked at on the CPU alone, outside graphs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from morn_losses._precision import promote

LABEL_IDS = "Cityscapes' labelIds become trainIds by label_spaces.CITYSCAPES.remap(labels, LABEL_IDS_TO_CITYSCAPES)"
NO_IDS = (
    "whole numbers become ids by .long(); a PNG of 0..255 is read by torch.from_numpy(numpy.array(Image.open(path))), "
    "not by ToTensor, which divides by 255"
)


def _shape(shape: Sequence[int]) -> str:
    return "(" + ", ".join(str(int(s)) for s in shape) + ("," if len(shape) == 1 else "") + ")"


def check_tensor(x: object, name: str) -> None:
    """Raise ``TypeError`` unless ``x`` is a tensor."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(x).__name__}")


def check_real(x: Tensor, name: str) -> None:
    """Raise ``TypeError`` unless ``x`` is a tensor of a dtype that is not complex."""
    check_tensor(x, name)
    if x.dtype.is_complex:
        raise TypeError(f"{name}: expected a real dtype, got {x.dtype}")


def check_floating(x: Tensor, name: str) -> None:
    """Raise ``TypeError`` unless ``x`` is a real floating-point tensor."""
    check_tensor(x, name)
    if not x.dtype.is_floating_point:
        raise TypeError(f"{name}: expected a floating-point dtype, got {x.dtype}")


def check_shape(x: Tensor, name: str, axes: str, expected: Sequence[int]) -> None:
    """Raise ``ValueError`` unless ``x.shape == expected``; ``axes`` names them, for example ``"(B, H, W)"``."""
    if tuple(x.shape) != tuple(expected):
        raise ValueError(f"{name}: expected {axes} = {_shape(expected)}, got {_shape(x.shape)}")


def check_image(x: Tensor, name: str, *, channels: Collection[int] | None = (1, 3)) -> None:
    """Check a float ``(B, C, H, W)`` tensor without empty axes; ``channels=None`` allows any C."""
    check_floating(x, name)
    if x.ndim != 4:
        raise ValueError(f"{name}: expected (B, C, H, W), got {_shape(x.shape)}")
    if min(x.shape) < 1:
        raise ValueError(f"{name}: expected (B, C, H, W) without an empty axis, got {_shape(x.shape)}")
    if channels is not None and x.shape[1] not in channels:
        allowed = " or ".join(str(c) for c in sorted(channels))
        raise ValueError(f"{name}: expected (B, C, H, W) with C = {allowed}, got {_shape(x.shape)}")


def check_same_shape(x: Tensor, name: str, like: Tensor, like_name: str) -> None:
    """Raise ``ValueError`` unless both tensors have one shape."""
    if x.shape != like.shape:
        raise ValueError(f"{name}: expected the shape of {like_name} = {_shape(like.shape)}, got {_shape(x.shape)}")


def as_ids(labels: Tensor, name: str) -> Tensor:
    """Return class ids of any integer dtype and shape as int64; ``TypeError`` for any other dtype."""
    check_tensor(labels, name)
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
        hint = f"; {NO_IDS}" if labels.dtype.is_floating_point else ""
        raise TypeError(f"{name}: expected an integer dtype, got {labels.dtype}{hint}")
    return labels.long()


def check_labels(labels: Tensor, name: str, size: tuple[int, int, int] | None = None) -> Tensor:
    """Check a ``(B, H, W)`` label map of any integer dtype, of exactly ``size`` when given; return it as int64."""
    labels = as_ids(labels, name)
    if labels.ndim != 3:
        hint = "; drop the axis by squeeze(1)" if labels.ndim == 4 and labels.shape[1] == 1 else ""
        raise ValueError(f"{name}: expected (B, H, W), got {_shape(labels.shape)}{hint}")
    if min(labels.shape) < 1:
        raise ValueError(f"{name}: expected (B, H, W) without an empty axis, got {_shape(labels.shape)}")
    if size is not None:
        check_shape(labels, name, "(B, H, W)", size)
    return labels


def check_class_ids(labels: Tensor, name: str, n_classes: int, ignore_index: int) -> None:
    """Raise ``ValueError`` for an id outside ``[0, n_classes)`` but ``ignore_index``; eager CPU tensors only."""
    if not may_look(labels):
        return
    bad = ((labels < 0) | (labels >= n_classes)) & (labels != ignore_index)
    if bad.any():
        expected = f"expected class ids in [0, {n_classes}) or {ignore_index}"
        raise ValueError(f"{name}: {expected}, got {_some(labels, bad)}; {LABEL_IDS}")


def as_class_ids(labels: Tensor, logits: Tensor, ignore_index: int) -> Tensor:
    """Check labels of logits ``(B, K, H, W)``; return them with K, a class of their own, in place of unlabeled ones."""
    check_image(logits, "logits", channels=None)
    B, K, H, W = logits.shape
    labels = check_labels(labels, "labels", (B, H, W))
    check_class_ids(labels, "labels", K, ignore_index)
    return torch.where((labels != ignore_index) & (labels >= 0) & (labels < K), labels, K)


def check_unit_interval(x: Tensor, name: str) -> None:
    """Raise ``ValueError`` for a number below 0 or above 1, which a NaN is not; eager CPU tensors only."""
    if not may_look(x):
        return
    x = x.detach()
    low, high = x.aminmax()  # in one pass, several times faster than comparisons, but NaN if anything is
    if low >= 0 and high <= 1:
        return
    bad = (x < 0) | (x > 1)
    if bad.any():
        raise ValueError(f"{name}: expected values in [0, 1], got {_some(x, bad)}")


def check_logits(logits: Tensor, name: str, remedy: str = "pass from_logits=False") -> None:
    """Raise ``ValueError`` for what a softmax has gone over already; eager CPU tensors only."""

    def are_probabilities(x: Tensor) -> bool:
        one = (promote(x).sum(1) - 1).abs() < 0.01  # wide enough for sums of rounded half precision
        return bool((x >= 0).all() & one.all())

    logits = logits.detach()
    # a row of logits nearly always tells; of a single class any map is as good
    if may_look(logits) and logits.shape[1] > 1 and are_probabilities(logits[:, :, :1]) and are_probabilities(logits):
        raise ValueError(f"{name}: expected logits, got probabilities (at least 0, of sum 1): {remedy}")


def may_look(*tensors: Tensor) -> bool:
    """Return whether the values of all tensors may be looked at: eager, and in the CPU's own memory.

    Elsewhere a look would wait for the device, break the graph, or find no value, as under ``torch.func.vmap``.
    """
    if torch.compiler.is_compiling():
        return False
    try:
        return all(x.untyped_storage().device.type == "cpu" for x in tensors)
    except RuntimeError:  # a transform's tensor has no memory of its own
        return False


def _some(x: Tensor, bad: Tensor) -> list[float]:
    return sorted(set(x[bad].tolist()))[:5]


def as_bool(mask: Tensor, name: str) -> Tensor:
    """Return a real mask as bool; ``ValueError`` for a value but 0 and 1, on eager CPU tensors only."""
    inside = mask != 0
    if mask.dtype != torch.bool and may_look(mask) and (inside != (mask == 1)).any():
        raise ValueError(f"{name}: expected bool or values 0 and 1, got {_some(mask, inside & (mask != 1))}")
    return inside


def as_mask(mask: Tensor, name: str, size: tuple[int, int, int]) -> Tensor:
    """Return a ``(B, H, W)`` or ``(B, 1, H, W)`` mask of bool or {0, 1} as bool ``(B, 1, H, W)``."""
    return as_bool(as_map(mask, name, size), name)


def as_map(x: Tensor, name: str, size: tuple[int, int, int]) -> Tensor:
    """Return a real ``(B, H, W)`` or ``(B, 1, H, W)`` tensor as ``(B, 1, H, W)``."""
    check_real(x, name)
    B, H, W = size
    if x.ndim == 4:
        check_shape(x, name, "(B, 1, H, W)", (B, 1, H, W))
        return x
    check_shape(x, name, "(B, H, W)", (B, H, W))
    return x[:, None]


def as_classes(classes: Sequence[int | Sequence[int]], *, overlap: bool = False) -> tuple[tuple[int, ...], ...]:
    """Return the ids of each class, of which several in a sequence count as one; no class may occur twice.

    Without ``overlap`` no id may, either.
    """
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        raise TypeError(f"classes: expected a sequence of ids or of tuples of ids, got {type(classes).__name__}")
    nested = tuple(tuple(c) if isinstance(c, Sequence) and not isinstance(c, str) else (c,) for c in classes)
    if not nested or not all(nested):
        raise ValueError(f"classes: expected at least one id, also in every tuple, got {classes!r}")
    groups = tuple(tuple(check_integer(i, "classes", minimum=0) for i in group) for group in nested)
    ids = [i for group in groups for i in group]
    if len(set(ids)) != len(ids) and not overlap:
        raise ValueError(f"classes: expected every id once, got {classes!r}")
    if len({tuple(sorted(group)) for group in groups}) != len(groups):
        raise ValueError(f"classes: expected every class once, got {classes!r}")
    return groups


def check_choice(value: object, name: str, choices: Collection[str]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")


def check_number(
    value: object,
    name: str,
    *,
    minimum: float = float("-inf"),
    maximum: float = float("inf"),
    exclusive: bool = False,
) -> float:
    """Check a finite real number within ``[minimum, maximum]`` (``exclusive``: strictly above ``minimum``).

    Returns it as Python's, which compilers and arithmetic with tensors take; numpy's are as good.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    number = int(value) if isinstance(value, (int, np.integer)) else float(value)
    _check_int64(number, name)
    inside = minimum < number <= maximum if exclusive else minimum <= number <= maximum
    if not inside or number in (float("inf"), float("-inf")):
        left = "(" if exclusive or minimum == float("-inf") else "["
        right = ")" if maximum == float("inf") else "]"
        raise ValueError(f"{name}: expected a number in {left}{minimum}, {maximum}{right}, got {number}")
    return number


def check_integer(value: object, name: str, *, minimum: int = -(2**63)) -> int:
    """Check an integer of at least ``minimum``; return it as Python's."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected an int, got {type(value).__name__}")
    number = int(value)
    if number < minimum:
        raise ValueError(f"{name}: expected an int >= {minimum}, got {number}")
    _check_int64(number, name)
    return number


def _check_int64(value: float, name: str) -> None:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"{name}: expected an int of 64 bits, got {value}")


def check_bool(value: object, name: str) -> None:
    """Raise ``TypeError`` unless ``value`` is a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected a bool, got {type(value).__name__}")


def check_value_range(value_range: object) -> tuple[float, float]:
    """Check ``(low, high)`` with ``low < high``, both finite; return them as Python's numbers."""
    if not isinstance(value_range, (tuple, list)) or len(value_range) != 2:
        raise ValueError(f"value_range: expected (low, high), got {value_range!r}")
    low, high = (check_number(bound, "value_range") for bound in value_range)
    if not low < high:
        raise ValueError(f"value_range: expected low < high, got {value_range!r}")
    return low, high


def check_generator(generator: object) -> None:
    """Raise ``TypeError`` unless ``generator`` is None or a ``torch.Generator``."""
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(f"generator: expected a torch.Generator or None, got {type(generator).__name__}")
