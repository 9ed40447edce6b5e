"""A forward pass that computes shared tokens once.

The completions of a group start with the same prompt, often continue with the same tokens, and are sometimes identical.
A transformer's state at a token depends only on the tokens before it, so a token with the same past has the same state
and the same gradient path and needs to be computed only once. :func:`plan` arranges the rows of a batch as a trie of
unique tokens. :func:`log_probabilities` runs the model over that trie: linear layers, norms and embeddings process each
unique token once, and attention follows each row's path from the root.

The result equals the ordinary padded forward pass to rounding, gradients included; ``docs/fast-grpo.md`` has the
mathematics.

Not supported: sliding windows, several adapters, mixture-of-experts losses, biases or scales on the output layer.
:func:`supported` returns the first of these that a model has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from core.training.prefix_sharing.fused_lora import fused

ATTENTION = "tunesmith_tree"
HEAD_ROWS = 128
"""Approximate rows of the output layer computed at a time. With a vocabulary of 49,152 that is 25 MB of logits. Half
as many take a sixth longer, because each piece reads all weights; a tensor of all rows times the vocabulary is never
created."""
PADDING = 2048
"""Query-key pairs that attention over padding may waste to avoid another call."""


class Segments(NamedTuple):
    """Stretches of new tokens whose attention is computed in one call.

    Attributes:
        queries: ``(rows, longest stretch)`` indices of unique tokens.
        keys: ``(rows, longest path)`` indices of unique tokens, from the root on.
        mask: ``(rows, 1, longest stretch, longest path)``, 0 if a token may attend, else -inf.
        valid: Flat indices of the real queries in ``rows x longest stretch``.
    """

    queries: Tensor
    keys: Tensor
    mask: Tensor
    valid: Tensor


@dataclass(frozen=True)
class Trie:
    """Rows of a batch laid out as unique tokens.

    Attributes:
        tokens: ``(N,)`` token ids, a parent always before its children.
        depths: ``(N,)`` positions, 0 for the first token of a row.
        segments: Together they contain each unique token once, in order.
        parents: ``(U,)`` unique tokens followed by a completion token.
        child_parent: ``(K,)`` for each unique completion token, its index in ``parents``; ascending.
        child_token: ``(K,)`` its token id.
        cells: ``(B, C)`` for each completion position, its index among the K; K itself if masked.
        row_tokens: Tokens of all rows together, as a padded pass without padding would compute them.
    """

    tokens: Tensor
    depths: Tensor
    segments: tuple[Segments, ...]
    parents: Tensor
    child_parent: Tensor
    child_token: Tensor
    cells: Tensor
    row_tokens: int


class _Trie:
    """Unique tokens by (parent, token), in order of insertion."""

    def __init__(self) -> None:
        self.children: dict[tuple[int, int], int] = {}
        self.tokens: list[int] = []
        self.depths: list[int] = []
        self.stretches: list[tuple[int, list[int]]] = []
        """(first new token, path from the root) for each insertion that added something."""

    def insert(self, sequence: Sequence[int], node: int = -1, path: Sequence[int] = ()) -> list[int]:
        """Add a sequence below ``node``, whose path is given, and return its whole path."""
        nodes = list(path)
        before = len(self.tokens)
        for token in sequence:
            known = self.children.get((node, token))
            if known is None:
                known = len(self.tokens)
                self.children[node, token] = known
                self.tokens.append(token)
                self.depths.append(len(nodes))
            nodes.append(known)
            node = known
        if len(self.tokens) > before:
            self.stretches.append((before, nodes))
        return nodes


def plan(input_ids: Tensor, attention_mask: Tensor, completion_length: int) -> Trie:
    """Lay rows out as a trie.

    Args:
        input_ids: ``(B, P + C)`` prompts padded on the left, completions on the right.
        attention_mask: ``(B, P + C)`` 1 for real tokens.
        completion_length: C.

    Raises:
        ValueError: A mask has holes, or a prompt is empty.
    """
    prompts, completions = _rows(input_ids, attention_mask, completion_length)
    trie = _Trie()
    # Prompts first: each becomes its own stretch, and a group's rows then only add their answers.
    roots = {prompt: trie.insert(prompt) for prompt in dict.fromkeys(prompts)}
    paths: list[list[int]] = [[]] * len(prompts)
    # Short ones first: neighbors of similar length need the least padding.
    for row in sorted(range(len(prompts)), key=lambda row: len(completions[row])):
        root = roots[prompts[row]]
        paths[row] = trie.insert(completions[row], root[-1], root)
    device = input_ids.device
    return Trie(
        tokens=torch.tensor(trie.tokens, device=device),
        depths=torch.tensor(trie.depths, device=device),
        segments=_segments(trie.stretches, len(trie.tokens), device),
        row_tokens=sum(len(path) for path in paths),
        **_targets(trie.tokens, prompts, paths, completion_length, device),
    )


def _rows(
    input_ids: Tensor, attention_mask: Tensor, length: int
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    ids, mask = input_ids.tolist(), attention_mask.bool().tolist()
    width = input_ids.shape[1] - length
    prompts, completions = [], []
    for row, kept in zip(ids, mask, strict=True):
        start, end = width - sum(kept[:width]), width + sum(kept[width:])
        if start == width or not all(kept[start:end]):
            raise ValueError("prompts must be padded on the left, completions on the right, and no prompt empty")
        prompts.append(tuple(row[start:width]))
        completions.append(tuple(row[width:end]))
    return prompts, completions


def _targets(
    tokens: list[int], prompts: list[tuple[int, ...]], paths: list[list[int]], length: int, device: torch.device
) -> dict[str, Tensor]:
    written: dict[int, int] = {}
    """Unique completion tokens and their parents."""
    for prompt, path in zip(prompts, paths, strict=True):
        written.update(zip(path[len(prompt) :], path[len(prompt) - 1 : -1], strict=True))
    children = sorted(written, key=lambda child: (written[child], child))
    places = {child: place for place, child in enumerate(children)}
    parents = sorted(set(written.values()))
    parent_places = {parent: place for place, parent in enumerate(parents)}
    cells = torch.full((len(paths), length), len(children), dtype=torch.long)
    for row, (prompt, path) in enumerate(zip(prompts, paths, strict=True)):
        answer = path[len(prompt) :]
        cells[row, : len(answer)] = torch.tensor([places[child] for child in answer], dtype=torch.long)
    return {
        "parents": torch.tensor(parents, dtype=torch.long, device=device),
        "child_parent": torch.tensor([parent_places[written[c]] for c in children], dtype=torch.long, device=device),
        "child_token": torch.tensor([tokens[child] for child in children], dtype=torch.long, device=device),
        "cells": cells.to(device),
    }


def _segments(stretches: list[tuple[int, list[int]]], total: int, device: torch.device) -> tuple[Segments, ...]:
    ends = [first for first, _ in stretches[1:]] + [total]
    items = [(first, end, path) for (first, path), end in zip(stretches, ends, strict=True)]
    batches: list[list[tuple[int, int, list[int]]]] = []
    for item in items:
        if batches and _fits(batches[-1], item):
            batches[-1].append(item)
        else:
            batches.append([item])
    return tuple(_batch(batch, device) for batch in batches)


def _fits(batch: list[tuple[int, int, list[int]]], item: tuple[int, int, list[int]]) -> bool:
    # Attention over padding is wasted work: a batch may be at most 1.5 times its content, or so small
    # that another call would cost more.
    items = [*batch, item]
    padded = len(items) * max(end - first for first, end, _ in items) * max(len(path) for *_, path in items)
    needed = sum((end - first) * len(path) for first, end, path in items)
    return padded <= 1.5 * needed or padded - needed < PADDING


def _batch(batch: list[tuple[int, int, list[int]]], device: torch.device) -> Segments:
    rows, wide = len(batch), max(end - first for first, end, _ in batch)
    deep = max(len(path) for *_, path in batch)
    queries = torch.empty((rows, wide), dtype=torch.long)
    keys = torch.zeros((rows, deep), dtype=torch.long)
    allowed = torch.zeros((rows, wide, deep), dtype=torch.bool)
    valid = torch.zeros((rows, wide), dtype=torch.bool)
    for row, (first, end, path) in enumerate(batch):
        new = end - first
        # Padding repeats the stretch's last token: a harmless query whose result is unused.
        queries[row] = torch.arange(first, first + wide).clamp(max=end - 1)
        keys[row, : len(path)] = torch.tensor(path)
        last = torch.arange(len(path) - new, len(path) - new + wide).clamp(max=len(path) - 1)
        allowed[row] = torch.arange(deep)[None] <= last[:, None]
        valid[row, :new] = True
    mask = torch.zeros((rows, 1, wide, deep)).masked_fill_(~allowed[:, None], float("-inf"))
    places = valid.flatten().nonzero().flatten()
    return Segments(queries.to(device), keys.to(device), mask.to(device), places.to(device))


def tree_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    *,
    trie: Trie,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention along each path, as transformers calls it.

    Args:
        module: The attention layer.
        query: ``(1, heads, N, d)``; key and value ``(1, key heads, N, d)``, for N unique tokens.
        attention_mask: Unused; each segment has its own.
        scaling: Factor on the scores; by default one over the square root of d.
        trie: The layout.

    Returns:
        ``(1, N, heads, d)`` and None.
    """
    outputs = [_attend(query[0], key[0], value[0], segment, scaling) for segment in trie.segments]
    return torch.cat(outputs)[None], None


def _attend(query: Tensor, key: Tensor, value: Tensor, segment: Segments, scaling: float | None) -> Tensor:
    heads, _, width = query.shape
    shared = key.shape[0]
    rows, wide = segment.queries.shape
    deep = segment.keys.shape[1]
    repeats = heads // shared
    # (rows, key heads, repeats x stretch, d): query heads that share a key head are adjacent.
    q = query.index_select(1, segment.queries.flatten()).view(shared, repeats, rows, wide, width)
    q = q.permute(2, 0, 1, 3, 4).reshape(rows, shared, repeats * wide, width)
    k = key.index_select(1, segment.keys.flatten()).view(shared, rows, deep, width).transpose(0, 1)
    v = value.index_select(1, segment.keys.flatten()).view(shared, rows, deep, width).transpose(0, 1)
    mask = segment.mask.to(query.dtype).repeat(1, 1, repeats, 1)
    out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scaling)
    out = out.view(rows, shared, repeats, wide, width).permute(0, 3, 1, 2, 4).reshape(rows * wide, heads, width)
    return out.index_select(0, segment.valid)


# transformers' registry of attention backends. A layer looks its function up by config._attn_implementation in every
# forward pass and passes on the keyword arguments that the model was called with, so `trie` gets from
# log_probabilities() to tree_attention() without changes to any model.
ALL_ATTENTION_FUNCTIONS.register(ATTENTION, tree_attention)


class _Head(torch.autograd.Function):
    """Log-probabilities and entropies from hidden states, a few rows of logits at a time.

    The gradient of log p(t) with respect to the hidden state is (W[t] - sum_v p(v) W[v]) / T. The sum
    is computed in the forward pass, while the row's probabilities are available, so the backward pass
    needs no logits at all. The output layer itself is frozen.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, parent: Tensor, token: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        chosen = hidden.new_empty(parent.shape[0])
        entropy = hidden.new_empty(hidden.shape[0])
        needed = ctx.needs_input_grad[0]
        expected = torch.empty_like(hidden) if needed else hidden
        count = hidden.shape[0]
        # Pieces of equal size: two leftover rows would read all weights again.
        size = max(1, -(-count // max(1, round(count / HEAD_ROWS))))
        starts = torch.arange(0, count + size, size, device=hidden.device)
        edges = torch.searchsorted(parent, starts).tolist()
        for piece, first in enumerate(range(0, count, size)):
            last = min(first + size, count)
            here = slice(edges[piece], edges[piece + 1])
            logits = hidden[first:last] @ weight.T
            logits = logits.float()
            logits -= logits.amax(dim=1, keepdim=True)
            if temperature != 1.0:
                logits /= temperature
            selected = logits[parent[here] - first, token[here]]
            powers = logits.exp()
            total = powers.sum(dim=1)
            entropy[first:last] = total.log() - torch.linalg.vecdot(powers, logits) / total
            chosen[here] = selected - total.log()[parent[here] - first]
            if needed:
                expected[first:last] = (powers.to(weight.dtype) @ weight) / total[:, None]
        ctx.save_for_backward(weight, expected, parent, token)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(entropy)
        return chosen, entropy

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, None, None, None]:
        weight, expected, parent, token = ctx.saved_tensors
        sums = gradient.new_zeros(expected.shape[0]).index_add_(0, parent, gradient)
        back = -sums[:, None] * expected
        back.index_add_(0, parent, gradient[:, None] * weight[token])
        return back / ctx.temperature, None, None, None, None


class Parts(NamedTuple):
    """The two halves of a causal language model: ``backbone`` computes hidden states, ``head`` logits."""

    backbone: nn.Module
    head: nn.Linear


def parts(model: Any) -> Parts:
    """Split a model, with or without an adapter around it."""
    inner = model.base_model.model if hasattr(model, "peft_config") else model
    return Parts(inner.base_model, inner.get_output_embeddings())


def supported(model: Any) -> str | None:
    """Why this model cannot be run as a trie, as part of a sentence; None if it can."""
    inner = model.base_model.model if hasattr(model, "peft_config") else model
    config = inner.config.get_text_config()
    head = inner.get_output_embeddings()
    if type(head) is not nn.Linear or head.bias is not None:
        return "the output layer has an adapter or is not a plain linear layer"
    if head.weight.requires_grad:
        return "the output layer is trained"
    if getattr(config, "final_logit_softcapping", None) or getattr(config, "attn_logit_softcapping", None):
        return "the model caps its logits or attention scores"
    if (getattr(config, "logit_scale", None) or 1.0) != 1.0 or (getattr(config, "logits_scaling", None) or 1.0) != 1.0:
        return "the model scales its output"
    if _slides(config):
        return "the model uses sliding-window attention"
    if hasattr(config, "output_router_logits") or getattr(config, "num_experts", None):
        return "the model is a mixture-of-experts model"
    if not getattr(inner, "_supports_attention_backend", False):
        return "the model's attention implementation cannot be replaced"
    return None


def _slides(config: Any) -> bool:
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return any(kind != "full_attention" for kind in kinds)
    return bool(getattr(config, "sliding_window", None)) and bool(getattr(config, "use_sliding_window", True))


@contextmanager
def _attention_of(backbone: Any) -> Iterator[None]:
    # transformers makes no mask for an unknown name, and tree_attention() needs none.
    usual = backbone.config._attn_implementation
    backbone.config._attn_implementation = ATTENTION
    try:
        yield
    finally:
        backbone.config._attn_implementation = usual


def log_probabilities(model: Any, trie: Trie, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probability of each completion token, and the entropy of its distribution.

    Args:
        model: A model for which :func:`supported` is None, with or without an adapter.
        trie: The rows, from :func:`plan`.
        temperature: Divides the logits.

    Returns:
        Two tensors ``(B, C)``, in nats, 0 where masked. The first carries gradients, the second none.
    """
    backbone, head = parts(model)
    with _attention_of(backbone), fused(backbone):
        hidden = backbone(
            input_ids=trie.tokens[None], position_ids=trie.depths[None], use_cache=False, trie=trie
        ).last_hidden_state[0]
    chosen, entropy = _Head.apply(
        hidden.index_select(0, trie.parents), head.weight, trie.child_parent, trie.child_token, temperature
    )
    zero = chosen.new_zeros(1)
    spread = torch.cat([entropy[trie.child_parent], zero])
    return torch.cat([chosen, zero])[trie.cells], spread[trie.cells]
