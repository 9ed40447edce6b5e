"""A fused LoRA layer for the pass over unique tokens.

PEFT adds the adapter to the base layer in separate operations: a product, a scaling and an addition, and the same in
the backward pass. On a CPU each of them is another pass over memory. Here the adapter's product is accumulated
directly, forward and backward; the results are equal to rounding. Layers other than one plain adapter on one frozen
linear layer are not changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import Tensor, nn


class _Fused(torch.autograd.Function):
    """``x W' + b + s x A' B'`` with W and b frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        inner = rows @ a.T
        out = rows @ weight.T if bias is None else torch.addmm(bias, rows, weight.T)
        out.addmm_(inner, b.T, alpha=scale)
        ctx.save_for_backward(rows, weight, a, b, inner)
        ctx.scale, ctx.shape = scale, x.shape
        return out.view(*x.shape[:-1], out.shape[-1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        rows, weight, a, b, inner = ctx.saved_tensors
        gradient = gradient.reshape(-1, gradient.shape[-1])
        back_inner = (gradient @ b) * ctx.scale
        back_a = back_inner.T @ rows
        back_b = (gradient.T @ inner) * ctx.scale
        back = None
        if ctx.needs_input_grad[0]:
            back = (gradient @ weight).addmm_(back_inner, a).view(ctx.shape)
        return back, None, None, back_a, back_b, None


def _forward(layer: LoraLinear, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if not torch.is_grad_enabled() or layer.disable_adapters or layer.merged or len(layer.active_adapters) != 1:
        return type(layer).forward(layer, x, *args, **kwargs)
    name, base = layer.active_adapters[0], layer.base_layer
    a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
    return _Fused.apply(x, base.weight, base.bias, a, b, layer.scaling[name])


def _plain(layer: nn.Module) -> bool:
    if type(layer) is not LoraLinear or type(layer.base_layer) is not nn.Linear or layer.fan_in_fan_out:
        return False
    halves = [half for part in (layer.lora_A, layer.lora_B) for half in part.values()]
    return (
        all(half.bias is None and half.weight.dtype == layer.base_layer.weight.dtype for half in halves)
        and all(isinstance(dropout, nn.Identity) or not dropout.p for dropout in layer.lora_dropout.values())
        and not any(layer.use_dora.values())
        and not any(parameter.requires_grad for parameter in layer.base_layer.parameters())
    )


@contextmanager
def fused(model: nn.Module) -> Iterator[None]:
    """Inside, the model's plain LoRA layers are fused."""
    layers = [layer for layer in model.modules() if isinstance(layer, LoraLinear) and _plain(layer)]
    for layer in layers:
        # Set on the instance, where it shadows the class's method until it is deleted. The checks of _plain() cover the
        # attributes of PEFT's LoRA layer; new ones that change its sum must be added there.
        layer.forward = partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
