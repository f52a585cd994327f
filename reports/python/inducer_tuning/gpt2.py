"""GPT-2 of transformers with a method's parts in it.

    x <- x + drop(attention(LN(x))),   x <- x + drop(FFN(LN(x)) + adapter beside it)

The backbone's modules stay what they are and keep their tensors; their classes are exchanged for
these subclasses, which differ in `forward` alone. So every name in `state_dict` stays.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.gpt2 import modeling_gpt2 as gpt2

from . import config as c
from . import files, places
from .parts import Heads, Map
from .places import Layer, Sizes

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
        projected = places.project(self, x, projected, self.map)
        q, k, v = (places.split(y, heads) for y in projected)
        cache = next((kwargs[name] for name in CACHES if kwargs.get(name) is not None), None)
        if cache is not None:
            position = {"cache_position": kwargs.get("cache_position")}
            k, v = cache.update(k, v, self.layer_idx, position)
        eager = self.config._attn_implementation == "eager"
        rate = self.attn_dropout.p
        attended = places.attend(self, [q, k, v], attention_mask, rate, True, eager)
        f = places.joined(attended.f)
        y = places.mapped(self, "o", f, self.c_proj(f), self.map)
        y = places.output(self, y, attended.update)
        return self.resid_dropout(y), attended.weights

    def map(self, target: c.Target) -> Map:
        """One of its linear maps."""
        return map_of(self, None, target)


class FeedForward(gpt2.GPT2MLP):
    """The FFN."""

    def forward(self, hidden_states: Any) -> Tensor:
        """Output [b, n, d]."""
        x: Tensor = hidden_states
        hidden = self.act(places.mapped(self, "up", x, self.c_fc(x), self.map))
        hidden = places.rescale(self, hidden)
        y = places.mapped(self, "down", hidden, self.c_proj(hidden), self.map)
        dropped: Tensor = self.dropout(places.beside(self, x, y))
        return dropped

    def map(self, target: c.Target) -> Map:
        """One of its linear maps."""
        return map_of(None, self, target)


def map_of(attention: Any, ffn: Any, target: c.Target) -> Map:
    """A linear map of a layer's modules, as views; q, k and v lie side by side in one."""
    if target in places.PROJECTIONS:
        fused, d = attention.c_attn, attention.split_size
        first = places.PROJECTIONS.index(target) * d
        return Map(fused.weight[:, first : first + d].T, fused.bias[first : first + d])
    if target == "o":
        return Map(attention.c_proj.weight.T, attention.c_proj.bias)
    module = ffn.c_fc if target == "up" else ffn.c_proj
    return Map(module.weight.T, module.bias)


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


def layers(backbone: Any) -> list[Layer]:
    """Its layers."""
    return [
        Layer(i, block.attn, block.mlp, partial(map_of, block.attn, block.mlp))
        for i, block in enumerate(backbone.h)
    ]


def attach(model: Any, backbone: Any, config: c.AdapterConfig, special: int) -> None:
    """Puts a method's parts, and `special` added tokens, into the model."""
    for layer, block in zip(layers(backbone), backbone.h, strict=True):
        places.attach(config, sizes(model.config), layer)
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
    if has_own_head(model, config):
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())


def has_own_head(model: Any, config: c.AdapterConfig) -> bool:
    """Whether the method gives a head of its own to a model whose head is the embedding."""
    tied = hasattr(model, "lm_head") and model.config.tie_word_embeddings
    return tied and files.HEAD in config.tuned


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
    if has_own_head(model, model.inducer_config):
        model.lm_head.weight = backbone.wte.weight


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
