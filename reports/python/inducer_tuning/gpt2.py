"""GPT-2 of transformers with a method's parts in it.

    x <- x + drop(attention(LN(x))),   x <- x + drop(FFN(LN(x)) + adapter beside it)

The backbone's modules stay what they are and keep their tensors; their classes are exchanged for
these subclasses, which differ in `forward` alone. So every name in `state_dict` stays.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.gpt2 import modeling_gpt2 as gpt2

from . import config as c
from . import places
from .parts import Heads
from .places import Sizes

CACHES = ("cache", "past_key_values", "past_key_value", "layer_past")


class Attention(gpt2.GPT2Attention):
    """The attention sub-layer."""

    def forward(
        self,
        hidden_states: Tensor,
        *args: Any,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Output [b, n, d] and, where they were computed, attention weights [b, H, n, m]."""
        heads = Heads(self.num_heads, self.head_dim)
        x = hidden_states
        projected = list(self.c_attn(x).split(self.split_size, dim=2))
        q, k, v = (places.split(y, heads) for y in places.project(self, x, projected))
        cache = next((kwargs[name] for name in CACHES if kwargs.get(name) is not None), None)
        if cache is not None:
            position = {"cache_position": kwargs.get("cache_position")}
            k, v = cache.update(k, v, self.layer_idx, position)
        eager = self.config._attn_implementation == "eager"
        rate = self.attn_dropout.p
        attended = places.attend(self, [q, k, v], attention_mask, rate, True, eager)
        y = self.c_proj(places.joined(attended.f))
        y = places.output(self, y, attended.update)
        return self.resid_dropout(y), attended.weights


class FeedForward(gpt2.GPT2MLP):
    """The FFN."""

    def forward(self, hidden_states: Any) -> Tensor:
        """Output [b, n, d]."""
        x: Tensor = hidden_states
        y = self.c_proj(places.rescale(self, self.act(self.c_fc(x))))
        dropped: Tensor = self.dropout(places.beside(self, x, y))
        return dropped


class TokenEmbedding(nn.Embedding):
    """The token embedding with trained rows of special tokens behind its own: `added`."""

    added: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """Rows [..., d]."""
        own = self.num_embeddings
        table = super().forward(input.clamp(max=own - 1))
        rows = F.embedding((input - own).clamp(min=0), self.added).to(table.dtype)
        return torch.where((input >= own).unsqueeze(-1), rows, table)


class Scores(nn.Linear):
    """The tied head with the same added rows."""

    added: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """Logits [..., vocabulary and special tokens]."""
        own = super().forward(input)
        return torch.cat([own, F.linear(input, self.added.to(input.dtype))], dim=-1)


def refuse(config: Any) -> None:
    """Raises ValueError for a switch of the configuration that methods are not defined for."""
    for name, wanted in (
        ("scale_attn_weights", True),
        ("scale_attn_by_inverse_layer_idx", False),
        ("add_cross_attention", False),
    ):
        found = getattr(config, name, wanted)
        if found != wanted:
            raise ValueError(f"the backbone's config.{name}: expected {wanted}, found {found}")


def sizes(config: Any) -> Sizes:
    """What parts have to know."""
    return Sizes(
        heads=Heads(config.n_head, config.n_embd // config.n_head),
        inner=config.n_inner if config.n_inner is not None else 4 * config.n_embd,
        epsilon=config.layer_norm_epsilon,
        deviation=config.initializer_range,
    )


def layers(backbone: Any) -> list[tuple[nn.Module, nn.Module]]:
    """Of each layer, what holds the parts in its attention and at its FFN."""
    return [(block.attn, block.mlp) for block in backbone.h]


def attach(model: Any, backbone: Any, config: c.AdapterConfig, special: int) -> None:
    """Puts a method's parts, and `special` added tokens, into the model."""
    for block in backbone.h:
        places.attach(config, sizes(model.config), block.attn, block.mlp)
        block.attn.__class__, block.mlp.__class__ = Attention, FeedForward
    places.offset_positions(backbone.wpe, config)
    if special:
        added = torch.empty(special, model.config.n_embd).normal_(std=sizes(model.config).deviation)
        backbone.wte.added = nn.Parameter(added)
        backbone.wte.__class__ = TokenEmbedding
        model.config.vocab_size += special
        head = model.get_output_embeddings()
        if head is not None:
            head.added = backbone.wte.added
            head.__class__ = Scores


def detach(model: Any, backbone: Any) -> None:
    """Takes the parts out again; the added tokens with them."""
    for block in backbone.h:
        block.attn.__class__, block.mlp.__class__ = gpt2.GPT2Attention, gpt2.GPT2MLP
        places.detach(block.attn, block.mlp)
    places.plain_positions(backbone.wpe)
    if isinstance(backbone.wte, TokenEmbedding):
        model.config.vocab_size -= backbone.wte.added.shape[0]
        head = model.get_output_embeddings()
        for module, kind in ((backbone.wte, nn.Embedding), (head, nn.Linear)):
            if module is not None:
                module.__class__ = kind
                del module.added


def place(module: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Before a forward pass: positions count from a row's first token under mask 1.

    That is what `generate` does; transformers' bare forward counts padding as well.
    """
    mask = given.get("attention_mask")
    if given.get("position_ids") is None and mask is not None and mask.ndim == 2:
        ids = given.get("input_ids")
        width = (given["inputs_embeds"] if ids is None else ids).shape[1]
        positions = (mask.long().cumsum(-1) - 1).clamp(min=0)
        return {**given, "position_ids": positions[:, -width:]}
    return given


def maps(backbone: Any) -> list[tuple[list[tuple[str, Tensor, Tensor]], Tensor]]:
    """Of each layer, what LoRA and (IA)3 fold into, as views: q, k and v with weight
    [outputs, inputs] and bias, and the weight of the FFN's second map."""
    out = []
    for block in backbone.h:
        fused, d = block.attn.c_attn, block.attn.split_size
        columns = [slice(i * d, (i + 1) * d) for i in range(3)]
        each = [
            (t, fused.weight[:, s].T, fused.bias[s]) for t, s in zip("qkv", columns, strict=True)
        ]
        out.append((each, block.mlp.c_proj.weight.T))
    return out
