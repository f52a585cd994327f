"""RoBERTa of transformers with a method's parts in it.

    y = LN(drop(attention(x)) + x),   x <- LN(drop(FFN(y)) + adapter beside it + y)

As in `gpt2.py`, modules keep their tensors and names, and only their classes are exchanged.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.roberta import modeling_roberta as roberta

from . import config as c
from . import places
from .parts import Heads
from .places import Sizes


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
        qkv = [places.split(y, heads) for y in places.project(self, x, projected)]
        eager = self.config._attn_implementation == "eager"
        attended = places.attend(self, qkv, attention_mask, self.dropout.p, False, eager)
        return places.joined(attended.f), attended.weights, attended.update


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
        y = places.output(self.self, out.dense(f), update)
        return out.LayerNorm(out.dropout(y) + hidden_states), weights


class Layer(roberta.RobertaLayer):  # type: ignore[no-untyped-call]
    """A layer; the parts at its FFN stand in `ffn`."""

    def feed_forward_chunk(self, attention_output: Tensor) -> Tensor:
        """Output [b, n, d]."""
        y, out = attention_output, self.output
        hidden = places.rescale(self.ffn, self.intermediate(y))
        z = places.beside(self.ffn, y, out.dropout(out.dense(hidden)))
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


def layers(backbone: Any) -> list[tuple[nn.Module, nn.Module]]:
    """Of each layer, what holds the parts in its attention and at its FFN."""
    return [(layer.attention.self, layer.ffn) for layer in backbone.encoder.layer]


def attach(model: Any, backbone: Any, config: c.AdapterConfig, special: int) -> None:
    """Puts a method's parts into the model."""
    if special:
        raise ValueError("special tokens: expected none with a RoBERTa")
    places.offset_positions(backbone.embeddings.position_embeddings, config)
    for layer in backbone.encoder.layer:
        attention = layer.attention
        layer.ffn = nn.Module()
        places.attach(config, sizes(model.config), attention.self, layer.ffn)
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


def maps(backbone: Any) -> list[tuple[list[tuple[str, Tensor, Tensor]], Tensor]]:
    """Of each layer, what LoRA and (IA)3 fold into: q, k and v with weight [outputs, inputs] and
    bias, and the weight of the FFN's second map."""
    out = []
    for layer in backbone.encoder.layer:
        at = layer.attention.self
        each = [("q", at.query), ("k", at.key), ("v", at.value)]
        projections = [(target, linear.weight, linear.bias) for target, linear in each]
        out.append((projections, layer.output.dense.weight))
    return out
