"""Attention from its parts, for engines that follow what happens inside.

PyTorch's attention is one function, which an engine that replaces tensors by its own sees from outside only. These do
the same with functions that have rules; ``None`` says that a call asks for more than they know.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def scaled_dot_product(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor | None:
    """As `torch.nn.functional.scaled_dot_product_attention`."""
    if is_causal or enable_gqa:
        return None
    scores = _scores(query, key, scale)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    weights = F.softmax(scores, -1) if attn_mask is None else _kernel_softmax(scores)
    return F.dropout(weights, dropout_p) @ value


def multi_head(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    **options: Any,
) -> tuple[Tensor, Tensor | None] | None:
    """As `torch.nn.functional.multi_head_attention_forward`, of a sequence (length, n, features) to itself."""
    extras = use_separate_proj_weight or add_zero_attn or bias_k is not None or bias_v is not None or is_causal
    if in_proj_weight is None or extras or any(o is not None for o in options.values()):
        return None
    if not query is key is value or query.ndim != 3:
        return None
    length, n, _ = query.shape
    x = query.transpose(0, 1)
    heads = F.linear(x, in_proj_weight, in_proj_bias).unflatten(-1, (3, num_heads, -1)).permute(2, 0, 3, 1, 4)
    scores = _scores(heads[0], heads[1])
    if attn_mask is not None:
        scores = _hidden(scores, attn_mask.view(n, num_heads, length, length) if attn_mask.ndim == 3 else attn_mask)
    if key_padding_mask is not None:
        scores = _hidden(scores, key_padding_mask[:, None, None, :])
    explicit = need_weights or (attn_mask is None and key_padding_mask is None)
    weights = F.dropout((F.softmax if explicit else _kernel_softmax)(scores, -1), dropout_p, training)
    out = F.linear((weights @ heads[2]).transpose(1, 2).flatten(2), out_proj_weight, out_proj_bias)
    out = out.transpose(0, 1).contiguous()  # PyTorch's layout, in which a dropout that follows draws its numbers
    if not need_weights:
        return out, None
    return out, weights.mean(1) if average_attn_weights else weights


def _scores(query: Tensor, key: Tensor, scale: float | None = None) -> Tensor:
    products = query @ key.transpose(-2, -1)
    return products / math.sqrt(query.shape[-1]) if scale is None else products * scale


def _kernel_softmax(scores: Tensor, dim: int = -1) -> Tensor:
    """As in PyTorch's kernel: where a row sees no key its weights are 0. A softmax by itself would be NaN there."""
    blind = (scores == -math.inf).all(dim, keepdim=True)
    return F.softmax(scores.masked_fill(blind, 0), dim).masked_fill(blind, 0)


def _hidden(scores: Tensor, mask: Tensor) -> Tensor:
    """Here a truth value says where *not* to look; numbers are added."""
    return scores.masked_fill(mask, -math.inf) if mask.dtype == torch.bool else scores + mask


COMPOSED: dict[Callable, Callable] = {
    F.scaled_dot_product_attention: scaled_dot_product,
    F.multi_head_attention_forward: multi_head,
}
