"""Argument checks: shape, dtype, range of options. Values of tensors are looked at on the CPU alone, outside graphs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor


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


def check_labels(labels: Tensor, name: str, size: tuple[int, int, int] | None = None) -> None:
    """Check an int64 ``(B, H, W)`` label map, of exactly ``size`` when given."""
    check_tensor(labels, name)
    if labels.dtype != torch.int64:
        raise TypeError(f"{name}: expected dtype torch.int64, got {labels.dtype}")
    if labels.ndim != 3:
        raise ValueError(f"{name}: expected (B, H, W), got {_shape(labels.shape)}")
    if min(labels.shape) < 1:
        raise ValueError(f"{name}: expected (B, H, W) without an empty axis, got {_shape(labels.shape)}")
    if size is not None:
        check_shape(labels, name, "(B, H, W)", size)


def check_class_ids(labels: Tensor, name: str, n_classes: int, ignore_index: int) -> None:
    """Raise ``ValueError`` for an id outside ``[0, n_classes)`` but ``ignore_index``; eager CPU tensors only."""
    if not may_look(labels):
        return
    bad = ((labels < 0) | (labels >= n_classes)) & (labels != ignore_index)
    if bad.any():
        ids = _some(labels, bad)
        raise ValueError(f"{name}: expected class ids in [0, {n_classes}) or {ignore_index}, got {ids}")


def as_class_ids(labels: Tensor, logits: Tensor, ignore_index: int) -> Tensor:
    """Check labels of logits ``(B, K, H, W)``; return them with K, a class of their own, in place of unlabeled ones."""
    check_image(logits, "logits", channels=None)
    B, K, H, W = logits.shape
    check_labels(labels, "labels", (B, H, W))
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
    found = mask != 0
    if mask.dtype != torch.bool and may_look(mask) and (found != (mask == 1)).any():
        raise ValueError(f"{name}: expected bool or values 0 and 1, got {_some(mask, found & (mask != 1))}")
    return found


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
    groups = tuple(tuple(c) if isinstance(c, Sequence) and not isinstance(c, str) else (c,) for c in classes)
    if not groups or not all(groups):
        raise ValueError(f"classes: expected at least one id, also in every tuple, got {classes!r}")
    ids = [i for group in groups for i in group]
    for i in ids:
        check_integer(i, "classes", minimum=0)
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
) -> None:
    """Check a finite real number within ``[minimum, maximum]`` (``exclusive``: strictly above ``minimum``)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    _check_int64(value, name)
    inside = minimum < value <= maximum if exclusive else minimum <= value <= maximum
    if not inside or value in (float("inf"), float("-inf")):
        left = "(" if exclusive or minimum == float("-inf") else "["
        right = ")" if maximum == float("inf") else "]"
        raise ValueError(f"{name}: expected a number in {left}{minimum}, {maximum}{right}, got {value}")


def check_integer(value: object, name: str, *, minimum: int) -> None:
    """Check an integer of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected an int, got {type(value).__name__}")
    if value < minimum:
        raise ValueError(f"{name}: expected an int >= {minimum}, got {value}")
    _check_int64(value, name)


def _check_int64(value: float, name: str) -> None:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"{name}: expected an int of 64 bits, got {value}")


def check_bool(value: object, name: str) -> None:
    """Raise ``TypeError`` unless ``value`` is a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected a bool, got {type(value).__name__}")


def check_value_range(value_range: object) -> None:
    """Check ``(low, high)`` with ``low < high``, both finite."""
    if not isinstance(value_range, (tuple, list)) or len(value_range) != 2:
        raise ValueError(f"value_range: expected (low, high), got {value_range!r}")
    low, high = value_range
    check_number(low, "value_range")
    check_number(high, "value_range")
    if not low < high:
        raise ValueError(f"value_range: expected low < high, got {value_range!r}")


def check_generator(generator: object) -> None:
    """Raise ``TypeError`` unless ``generator`` is None or a ``torch.Generator``."""
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(f"generator: expected a torch.Generator or None, got {type(generator).__name__}")
