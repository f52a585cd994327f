"""RoBERTa of transformers with a method's parts in it.

    y = LN(drop(attention(x)) + x),   x <- LN(drop(FFN(y)) + adapter beside it + y)

As in `gpt2.py`, modules keep their tensors and names, and only their classes are exchanged.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.roberta import modeling_roberta as roberta

from . import config as c
from . import places
from .parts import Heads, Map
from .places import Sizes


def map_of(linear: Any) -> Map:
    """A linear map as it is."""
    return Map(linear.weight, linear.bias)


def projection(attention: Any, target: c.Target) -> Map:
    """The map to queries, keys or values."""
    linears = (attention.query, attention.key, attention.value)
    return map_of(linears[places.PROJECTIONS.index(target)])


class SelfAttention(roberta.RobertaSelfAttention):
    """Attention before W^o."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Heads side by side [b, n, d], attention weights, what is added after W^o [b, n, d]."""
        x = hidden_states
        heads = Heads(self.num_attention_heads, self.attention_head_size)
        projected = [self.query(x), self.key(x), self.value(x)]
        projected = places.project(self, x, projected, self.map)
        qkv = [places.split(y, heads) for y in projected]
        eager = self.config._attn_implementation == "eager"
        attended = places.attend(self, qkv, attention_mask, self.dropout.p, False, eager)
        return places.joined(attended.f), attended.weights, attended.update

    def map(self, target: c.Target) -> Map:
        """One of the three projections."""
        return projection(self, target)


class Attention(roberta.RobertaAttention):
    """The attention sub-layer."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Output [b, n, d] and, where they were computed, attention weights."""
        f, weights, update = self.self(hidden_states, attention_mask=attention_mask)
        out = self.output
        y = places.mapped(self.self, "o", f, out.dense(f), lambda _: map_of(out.dense))
        y = places.output(self.self, y, update)
        return out.LayerNorm(out.dropout(y) + hidden_states), weights


class Layer(roberta.RobertaLayer):  # type: ignore[no-untyped-call]
    """A layer; the parts at its FFN stand in `ffn`."""

    def feed_forward_chunk(self, attention_output: Tensor) -> Tensor:
        """Output [b, n, d]."""
        y, inner, out = attention_output, self.intermediate, self.output
        u = places.mapped(self.ffn, "up", y, inner.dense(y), lambda _: map_of(inner.dense))
        hidden = places.rescale(self.ffn, inner.intermediate_act_fn(u))
        z = out.dense(hidden)
        z = places.mapped(self.ffn, "down", hidden, z, lambda _: map_of(out.dense))
        z = places.beside(self.ffn, y, out.dropout(z))
        normed: Tensor = out.LayerNorm(z + y)
        return normed


def refuse(config: Any) -> None:
    """Raises ValueError for a switch of the configuration that methods are not defined for."""
    for name, wanted in (("is_decoder", False), ("position_embedding_type", "absolute")):
        found = getattr(config, name, None)
        if found is not None and found != wanted:
            raise ValueError(f"the backbone's config.{name}: expected {wanted}, found {found}")


def sizes(config: Any) -> Sizes:
    """What parts have to know."""
    count = config.num_attention_heads
    return Sizes(
        heads=Heads(count, config.hidden_size // count),
        inner=config.intermediate_size,
        epsilon=config.layer_norm_eps,
        deviation=config.initializer_range,
    )


def layers(backbone: Any) -> list[places.Layer]:
    """Its layers."""
    return [
        places.Layer(i, layer.attention.self, layer.ffn, partial(map_in, layer))
        for i, layer in enumerate(backbone.encoder.layer)
    ]


def map_in(layer: Any, target: c.Target) -> Map:
    """A linear map of a layer."""
    if target in places.PROJECTIONS:
        return projection(layer.attention.self, target)
    if target == "o":
        return map_of(layer.attention.output.dense)
    return map_of(layer.intermediate.dense if target == "up" else layer.output.dense)


def attach(model: Any, backbone: Any, config: c.AdapterConfig, special: int) -> None:
    """Puts a method's parts into the model."""
    if special:
        raise ValueError("special tokens: expected none with a RoBERTa")
    places.offset_positions(backbone.embeddings.position_embeddings, config)
    for layer in backbone.encoder.layer:
        layer.ffn = nn.Module()
    for at, layer in zip(layers(backbone), backbone.encoder.layer, strict=True):
        places.attach(config, sizes(model.config), at)
        attention = layer.attention
        attention.self.__class__, attention.__class__ = SelfAttention, Attention
        layer.__class__ = Layer


def detach(model: Any, backbone: Any) -> None:
    """Takes the parts out again."""
    places.plain_positions(backbone.embeddings.position_embeddings)
    for layer in backbone.encoder.layer:
        attention = layer.attention
        layer.__class__ = roberta.RobertaLayer
        attention.self.__class__ = roberta.RobertaSelfAttention
        attention.__class__ = roberta.RobertaAttention
        places.detach(attention.self, layer.ffn)
        del layer.ffn


def place(module: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Before a forward pass of a classifier: rows padded on the left are padded on the right.

    The head reads a row's first place, which has to be its first token and no padding.
    """
    mask = given.get("attention_mask")
    classifies = isinstance(getattr(module, "classifier", None), roberta.RobertaClassificationHead)
    if not classifies or mask is None or mask.ndim != 2 or bool(mask[:, 0].all()):
        return given
    first = mask.long().argmax(-1, keepdim=True)
    order = (torch.arange(mask.shape[1], device=mask.device) + first) % mask.shape[1]
    names = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
    turned = {n: given[n].gather(1, order) for n in names if given.get(n) is not None}
    return {**given, **turned}
