"""What every differentiable loss must satisfy, written once (house rules of the library).

A test class subclasses :class:`LossContract`, names the function and the module, and makes inputs.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn


def _map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)(_map_tensors(v, change) for v in value)
    return value


def _strided(x: Tensor) -> Tensor:
    """Return an equal tensor whose memory is spread out."""
    wide = torch.empty((*x.shape[:-1], 2 * x.shape[-1] + 1), dtype=x.dtype)
    wide[..., ::2][..., : x.shape[-1]] = x
    out = wide[..., ::2][..., : x.shape[-1]]
    assert out.shape == x.shape
    return out


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


class LossContract:
    """Subclasses set ``function`` (a ``staticmethod``), ``module`` (one that holds ``options``) and ``inputs``."""

    function: Callable[..., Any]
    module: nn.Module
    options: dict[str, Any] = {}
    grad_options: dict[str, Any] = {}  # on top of options for gradcheck, where a detach has to be off
    differentiable: tuple[int, ...] = (0,)  # positions of the inputs that carry grad
    half_tolerance = 0.05
    compiles = True
    maps = True

    def inputs(self, batch: int, dtype: torch.dtype) -> tuple[Any, ...]:
        """Return tensors (or lists of them) with the batch axis first, drawn from torch's global RNG."""
        raise NotImplementedError

    def run(self, *inputs: Any, **options: Any) -> Tensor:
        return type(self).function(*inputs, **{**self.options, **options})

    def test_module_equals_function(self) -> None:
        inputs = self.inputs(2, torch.float32)
        torch.manual_seed(1)
        expected = self.run(*inputs)
        torch.manual_seed(1)
        torch.testing.assert_close(self.module(*inputs), expected, rtol=0, atol=0)
        assert not list(self.module.parameters())
        assert not self.module.state_dict()

    def test_module_holds_the_functions_options_and_defaults(self) -> None:
        of_function = {
            p.name: p.default
            for p in inspect.signature(type(self).function).parameters.values()
            if p.kind == p.KEYWORD_ONLY
        }
        of_module = {p.name: p.default for p in inspect.signature(type(self.module)).parameters.values()}
        for name, default in of_function.items():
            if name not in ("generator", "return_terms"):
                assert of_module[name] == default, name
        assert repr(self.module).startswith(type(self.module).__name__)

    def test_reductions_agree(self) -> None:
        inputs = self.inputs(3, torch.float64)
        values = []
        for reduction in ("none", "mean", "sum"):
            torch.manual_seed(1)
            values.append(self.run(*inputs, reduction=reduction))
        none, mean, total = values
        assert none.shape == (3,)
        assert mean.shape == total.shape == ()
        torch.testing.assert_close(none.mean(), mean)
        torch.testing.assert_close(none.sum(), total)
        with pytest.raises(ValueError, match="reduction"):
            self.run(*inputs, reduction="median")

    def test_batch_equals_one_by_one(self) -> None:
        inputs = self.inputs(3, torch.float64)
        whole = self.run(*inputs, reduction="none")
        assert len(set(whole.tolist())) > 1, "inputs should differ between samples"
        for i in range(3):
            one = self.run(*_map_tensors(inputs, lambda x, i=i: x[i : i + 1]), reduction="none")
            torch.testing.assert_close(one[0], whole[i])

    def test_gradcheck(self) -> None:
        inputs = list(self.inputs(2, torch.float64))
        for i in self.differentiable:
            inputs[i] = _map_tensors(inputs[i], lambda x: x.detach().clone().requires_grad_())
        leaves: list[Tensor] = []
        for i in self.differentiable:
            _map_tensors(inputs[i], lambda x: leaves.append(x) or x)

        def of_leaves(*_: Tensor) -> Tensor:
            return self.run(*inputs, reduction="none", **self.grad_options)

        assert torch.autograd.gradcheck(of_leaves, leaves)

    def test_gradient_is_not_zero_everywhere(self) -> None:
        inputs = list(self.inputs(2, torch.float32))
        for i in self.differentiable:
            inputs[i] = _map_tensors(inputs[i], lambda x: x.detach().clone().requires_grad_())
        self.run(*inputs, **self.grad_options).backward()
        for i in self.differentiable:

            def check(x: Tensor) -> Tensor:
                assert x.grad is not None
                assert x.grad.isfinite().all()
                assert x.grad.abs().sum() > 0
                return x

            _map_tensors(inputs[i], check)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_is_computed_in_float32(self, dtype: torch.dtype) -> None:
        inputs = self.inputs(2, torch.float32)
        half = _map_tensors(inputs, lambda x: x.to(dtype) if x.dtype.is_floating_point else x)
        rounded = _map_tensors(half, lambda x: x.float() if x.dtype.is_floating_point else x)
        torch.manual_seed(1)
        value = self.run(*half)
        torch.manual_seed(1)
        expected = self.run(*rounded)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)

    def test_autocast_does_not_change_the_value(self) -> None:
        inputs = self.inputs(2, torch.float32)
        torch.manual_seed(1)
        expected = self.run(*inputs)
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = self.run(*inputs)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected)

    def test_float64_stays_float64(self) -> None:
        assert self.run(*self.inputs(1, torch.float64)).dtype == torch.float64

    @pytest.mark.parametrize("layout", [_strided, _channels_last])
    def test_memory_layout_does_not_matter(self, layout: Callable[[Tensor], Tensor]) -> None:
        inputs = self.inputs(2, torch.float64)
        torch.manual_seed(1)
        expected = self.run(*inputs)
        torch.manual_seed(1)
        torch.testing.assert_close(self.run(*_map_tensors(inputs, layout)), expected)

    def test_compiles_as_one_graph(self) -> None:
        if not self.compiles:
            pytest.skip("documented exception: may sync with the host")
        torch.compiler.reset()
        inputs = list(self.inputs(2, torch.float32))
        for i in self.differentiable:
            inputs[i] = _map_tensors(inputs[i], lambda x: x.detach().clone().requires_grad_())
        compiled = torch.compile(
            functools.partial(type(self).function, **self.options), fullgraph=True, backend="aot_eager"
        )
        torch.manual_seed(1)
        expected = self.run(*inputs)
        torch.manual_seed(1)
        value = compiled(*inputs)
        torch.testing.assert_close(value, expected)
        value.backward()

    def test_elsewhere_than_on_the_cpu_it_looks_at_no_value_and_brings_no_tensor_of_the_cpu(self) -> None:
        """On the meta device, whose tensors have no values and mix with no other device's."""
        if not self.compiles:
            pytest.skip("documented exception: the host waits for the device")
        value = self.run(*self.on("meta", self.inputs(2, torch.float32)))
        assert (value.device.type, value.shape, value.dtype) == ("meta", (), torch.float32)
        value.backward()

    def test_vmap_over_the_samples_equals_the_batch(self) -> None:
        """Where a loss looks at no value under vmap, as all but ACA do."""
        if not self.maps:
            pytest.skip("documented exception: looks at values on the CPU")
        inputs = self.inputs(3, torch.float64)
        leaves: list[Tensor] = []
        _map_tensors(inputs, lambda x: leaves.append(x) or x)

        def one(*samples: Tensor) -> Tensor:
            rest = iter(samples)
            return self.run(*_map_tensors(inputs, lambda _: next(rest)[None]), reduction="none")[0]

        torch.testing.assert_close(torch.func.vmap(one)(*leaves), self.run(*inputs, reduction="none"))

    @pytest.mark.gpu
    def test_on_cuda_the_host_does_not_wait(self) -> None:
        if not self.compiles:
            pytest.skip("documented exception: the host waits for the device")
        inputs = self.on("cuda", self.inputs(2, torch.float32))
        mode = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            self.run(*inputs).backward()
        finally:
            torch.cuda.set_sync_debug_mode(mode)

    @pytest.mark.gpu
    def test_on_cuda_values_and_gradients_are_those_of_the_cpu(self) -> None:
        inputs = self.inputs(2, torch.float64)
        draws = "generator" in inspect.signature(type(self).function).parameters
        found = []
        for device in ("cpu", "cuda"):
            given = self.on(device, inputs)
            value = self.run(*given, **({"generator": torch.Generator().manual_seed(1)} if draws else {}))
            leaves: list[Tensor] = []
            _map_tensors(given, lambda x, leaves=leaves: leaves.append(x) or x if x.requires_grad else x)
            gradients = torch.autograd.grad(value, leaves, allow_unused=True)  # a target may be detached
            found.append([value.cpu(), *(grad.cpu() for grad in gradients if grad is not None)])
        assert len(found[0]) > 1
        for of_cpu, of_cuda in zip(*found, strict=True):
            torch.testing.assert_close(of_cuda, of_cpu)

    def on(self, device: str, inputs: tuple[Any, ...]) -> list[Any]:
        """Return the inputs on a device, those that carry grad as leaves."""
        given = [_map_tensors(x, lambda x: x.detach().clone().to(device)) for x in inputs]
        for i in self.differentiable:
            _map_tensors(given[i], lambda x: x.requires_grad_())
        return given

    def test_value_is_finite_and_a_python_float(self) -> None:
        assert math.isfinite(float(self.run(*self.inputs(2, torch.float32))))
