"""The places of a transformer layer where parts act, the same for both backbones.

    attention   q, k, v = x W + b          LoRA, (IA)3                       `project`
                f, LSE = attention(q, k, v)   inducer, prefix                `attend`
                y = f W^o + b^o (+ update)    LoRA, adapter         `mapped`, `output`
    FFN         u = phi(x W + b)           LoRA, (IA)3             `mapped`, `rescale`
                y = u W + b                LoRA, adapter beside it  `mapped`, `beside`

Parts stand as modules on the backbone's own: `lora`, `ia3`, `inducer`, `prefix` and `adapter` at an
attention module, `ia3` and `adapter` at what holds the FFN. `attach` puts them there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import config as c
from . import parts
from .parts import Attended, Heads, Map

PROJECTIONS: tuple[c.Target, ...] = ("q", "k", "v")
OF_FFN: tuple[c.Target, ...] = ("up", "down")
Maps = Callable[[c.Target], Map]
"""Gives a module's linear map by its name."""


@dataclass(frozen=True)
class Sizes:
    """What parts have to know of a backbone."""

    heads: Heads
    inner: int
    """Hidden units of the FFN."""
    epsilon: float
    """Of its LayerNorms."""
    deviation: float
    """Of its initial weights."""


@dataclass(frozen=True)
class Layer:
    """One layer of a backbone."""

    index: int
    attention: nn.Module
    """What holds the parts in its attention."""
    ffn: nn.Module
    """What holds those at its FFN."""
    map: Maps
    """Its linear maps, as views."""

    @property
    def maps(self) -> dict[str, Map]:
        """All of them by name."""
        return {target: self.map(target) for target in get_args(c.Target)}


def attach_lora(config: c.Lora, sizes: Sizes, layer: Layer) -> None:
    """Puts LoRA on those of a layer's linear maps that it acts on, with initial values."""
    d, inner = sizes.heads.hidden, sizes.inner
    for target in config.targets:
        found = config.at(layer.index, target)
        if found is None:
            continue
        module = layer.ffn if target in OF_FFN else layer.attention
        if not hasattr(module, "lora"):
            module.lora = parts.Lora()
        ends = {"up": (d, inner), "down": (inner, d)}.get(target, (d, d))
        part = parts.LowRank(config, ends, *found)
        part.start(layer.map(target))
        module.lora.add_module(target, part)  # type: ignore[union-attr]


def attach(config: c.AdapterConfig, sizes: Sizes, layer: Layer) -> None:
    """Puts the parts of a method on one layer's attention module and on what holds its FFN.

    New parts have their initial values.
    """
    d, attention, ffn = sizes.heads.hidden, layer.attention, layer.ffn
    if config.lora is not None:
        attach_lora(config.lora, sizes, layer)
    if config.ia3 is not None:
        if {"k", "v"} & set(config.ia3.targets):
            attention.ia3 = parts.Ia3(config.ia3, d)
        if "ffn" in config.ia3.targets:
            ffn.ia3 = nn.Parameter(torch.ones(sizes.inner))
    kind = config.attention
    if isinstance(kind, c.Inducer):
        attention.inducer = parts.Inducer(kind, sizes.heads)
    elif isinstance(kind, c.Prefix):
        attention.prefix = parts.Prefix(kind, sizes.heads)
        attention.prefix.start(sizes.deviation)
    elif isinstance(kind, c.AttentionAdapter):
        made = parts.Bottleneck(d, kind.bottleneck, kind.layer_norm, 1.0, sizes.epsilon)
        attention.adapter = made
    if config.ffn is not None:
        beside = config.ffn
        ffn.adapter = parts.Bottleneck(
            d, beside.bottleneck, beside.layer_norm, beside.scale, sizes.epsilon
        )
    for module in (attention, ffn):
        for name in ("inducer", "adapter"):
            part: Any = getattr(module, name, None)
            if part is not None:
                part.start()


def detach(attention: nn.Module, ffn: nn.Module) -> None:
    """Takes the parts away again."""
    for name in ("lora", "ia3", "inducer", "prefix", "adapter"):
        for module in (attention, ffn):
            if hasattr(module, name):
                delattr(module, name)


class PositionEmbedding(nn.Embedding):
    """The position embedding of a text that starts behind a prefix."""

    offset: int

    def forward(self, input: Tensor) -> Tensor:
        """Rows [..., d]."""
        try:
            return super().forward(input + self.offset)
        except IndexError:
            raise IndexError(
                f"position {int(input.max())} behind a prefix of {self.offset}: the backbone has "
                f"{self.num_embeddings} positions"
            ) from None


def offset_positions(embedding: Any, config: c.AdapterConfig) -> None:
    """Lets positions start behind the prefix, where the method has one that counts."""
    if config.position_offset:
        embedding.__class__ = PositionEmbedding
        embedding.offset = config.position_offset


def plain_positions(embedding: Any) -> None:
    """Lets positions start where the backbone's do."""
    if hasattr(embedding, "offset"):
        embedding.__class__ = nn.Embedding
        del embedding.offset


def mapped(at: Any, target: c.Target, x: Tensor, y: Tensor, maps: Maps) -> Tensor:
    """A linear map's result `y` [b, n, outputs] of `x` after the part that acts on it."""
    part = getattr(at.lora, target, None) if hasattr(at, "lora") else None
    return y if part is None else part(x, y, maps(target))


def project(at: Any, x: Tensor, qkv: list[Tensor], maps: Maps) -> list[Tensor]:
    """Projections q, k, v [b, n, d] of `x` after the parts that act on them."""
    qkv = [mapped(at, t, x, y, maps) for t, y in zip(PROJECTIONS, qkv, strict=True)]
    if hasattr(at, "ia3"):
        qkv = at.ia3(qkv)
    return qkv


def split(x: Tensor, heads: Heads) -> Tensor:
    """[b, n, d] as [b, H, n, p]."""
    return x.view(*x.shape[:-1], heads.count, heads.width).transpose(1, 2)


def joined(f: Tensor) -> Tensor:
    """[b, H, n, p] as [b, n, d]."""
    # of one head or one token `flatten` makes a view, which GPT-2's maps do not take
    return f.transpose(1, 2).flatten(2).contiguous()


def attend(
    at: Any,
    qkv: list[Tensor],
    mask: Tensor | None,
    dropout: float,
    causal: bool,
    weights: bool,
) -> Attended:
    """Attention of q, k, v [b, H, n or m, p] and the part in it.

    `weights`: whether the attention weights are wanted. They are computed anyway where a part needs
    the log-sum-exp, which PyTorch's fused attention does not return.
    """
    q, k, v = qkv
    part = at.inducer if hasattr(at, "inducer") else getattr(at, "prefix", None)
    rate = dropout if at.training else 0.0
    if part is None and not weights:
        bias = score_bias(mask, q, k, False, q.dtype)
        alone = mask is None and causal and q.shape[2] > 1
        f = F.scaled_dot_product_attention(q, k, v, bias, dropout_p=rate, is_causal=alone)
        return Attended(f, f.new_zeros(()))

    def drop(x: Tensor) -> Tensor:
        return F.dropout(x, rate, at.training)

    bias = score_bias(mask, q, k, causal, parts.wide(q).dtype)
    attended = parts.attention(q, k, v, bias, drop)
    return attended if part is None else part(q, attended, drop)


def score_bias(
    mask: Tensor | None, q: Tensor, k: Tensor, causal: bool, dtype: torch.dtype
) -> Tensor | None:
    """What is added to scores: 0 where a query sees a key, the most negative number elsewhere.

    `mask` is what transformers hands to a layer: boolean, or such numbers already, or nothing where
    every query sees all keys (all up to its own, if `causal`).
    """
    n, m = q.shape[2], k.shape[2]
    if mask is None:
        if not causal or n == 1:
            return None
        mask = torch.ones(n, m, dtype=torch.bool, device=q.device).tril(m - n)
    mask = mask[..., :m]
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)


def output(at: Any, y: Tensor, update: Tensor | None) -> Tensor:
    """The sub-layer's output `y` [b, n, d] after W^o with what the parts add to it."""
    if update is not None:
        y = y + update
    return y + at.adapter(y) if hasattr(at, "adapter") else y


def rescale(at: Any, hidden: Tensor) -> Tensor:
    """The FFN's hidden units [b, n, inner]."""
    return hidden * at.ia3.to(hidden.dtype) if hasattr(at, "ia3") else hidden


def beside(at: Any, x: Tensor, y: Tensor) -> Tensor:
    """The FFN's output `y` [b, n, d] of `x` with what acts beside it."""
    return y + at.adapter(x) if hasattr(at, "adapter") else y
