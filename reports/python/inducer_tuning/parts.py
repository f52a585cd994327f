"""The parts of a method as PyTorch modules, in the symbols of the paper.

Shapes: b rows of n queries and m keys, H heads of width p, d = H p. Queries, keys and values are
[b, H, n, p]. A parameter has the name that it has in an adapter's file, so that a model's
`state_dict` and `adapter_model.safetensors` speak of the same tensors.

A part holds its tensors and no other state. What it needs of a forward pass it is given, what it
computes it returns. Parameters are converted to the type of what they meet (mixed precision);
scores, their log-sum-exp, lambda and mu are at least float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import config as c

Dropout = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Heads:
    """Number of heads and width of each."""

    count: int
    width: int

    @property
    def hidden(self) -> int:
        """d = H p."""
        return self.count * self.width


class Attended(NamedTuple):
    """What attention, and then a part in it, makes of the queries."""

    f: Tensor
    """Heads' outputs [b, H, n, p], before W^o."""
    lse: Tensor
    """Log-sum-exp of each row of scores [b, H, n]."""
    update: Tensor | None = None
    """What is added after W^o [b, n, d]."""
    gate: Tensor | None = None
    """lambda of an inducer, mu of a prefix: [b, H, n]."""
    weights: Tensor | None = None
    """Attention weights over the text [b, H, n, m]."""


def wide(x: Tensor) -> Tensor:
    """At least float32."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def new(*shape: int) -> nn.Parameter:
    """A parameter that will be filled from a file or by its part's `start`."""
    return nn.Parameter(torch.zeros(*shape))


def truncated_normal(x: Tensor) -> None:
    """fmod(N(0, 1), 2) * 0.01, the authors' truncation at two deviations."""
    with torch.no_grad():
        x.copy_(torch.fmod(torch.randn_like(x), 2) * 0.01)


def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, drop: Dropout) -> Attended:
    """softmax(Q K^T / sqrt(p) + bias) V and its log-sum-exp (Eq. 3).

    `bias` is 0 where a query sees a key and the type's most negative number where it does not, so
    that a row which sees nothing (padding) stays finite.
    """
    scores = wide(q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
    if bias is not None:
        scores = scores + bias
    lse = torch.logsumexp(scores, dim=-1)
    weights = torch.softmax(scores, dim=-1).to(v.dtype)
    return Attended(drop(weights) @ v, lse, weights=weights)


class HeadMlp(nn.Module):
    """tanh(q W_1 + b_1) W_2 + b_2 for each head: [H, p] to [H, outputs]."""

    def __init__(self, heads: Heads, bottleneck: int, extended: bool):
        super().__init__()
        h, p, d = heads.count, heads.width, heads.hidden
        self.down = new(h, p, bottleneck)
        self.down_bias = new(h, bottleneck)
        self.up = new(h, bottleneck, d if extended else p)
        self.up_bias = new(d) if extended else new(h, p)

    def start(self) -> None:
        """Initial values (section 5 of the specification)."""
        for parameter in self.parameters():
            truncated_normal(parameter)

    def hidden(self, q: Tensor) -> Tensor:
        """tanh(q W_1 + b_1): [b, H, n, r]."""
        down, bias = self.down.to(q.dtype), self.down_bias.to(q.dtype)
        return torch.tanh(q @ down + bias.unsqueeze(1))

    def forward(self, q: Tensor) -> Tensor:
        """The MLP of each head on its own queries: [b, H, n, p]."""
        up, bias = self.up.to(q.dtype), self.up_bias.to(q.dtype)
        return self.hidden(q) @ up + bias.unsqueeze(1)


class Inducer(nn.Module):
    """Inducer-tuning and its ablations (Eqs. 5-9, 11).

    lambda = sigmoid(<q, P_k> / sqrt(p) - LSE),  P_k = q + MLP_k(q)  or  q
    Inducer, Extension   f W^o + sum_h lambda tanh(q W_1 + b_1) W_2 + b_2
    Gating               (1 - lambda) f W^o + the same
    Adaptive             [f + lambda (tanh(q W_1 + b_1) W_2 + b_2)] W^o
    """

    def __init__(self, config: c.Inducer, heads: Heads):
        super().__init__()
        self.variant = config.variant
        self.extended = config.extended
        if config.has_key_mlp:
            self.key: HeadMlp | None = HeadMlp(heads, config.key_bottleneck, False)
        else:
            self.key = None
        self.value = HeadMlp(heads, config.value_bottleneck, config.extended)

    def start(self) -> None:
        """Initial values."""
        if self.key is not None:
            self.key.start()
        self.value.start()

    def forward(self, q: Tensor, attended: Attended, drop: Dropout) -> Attended:
        """lambda, and with it what is added to f or after W^o."""
        f, lse, value = attended.f, attended.lse, self.value
        key = q if self.key is None else q + self.key(q)
        score = (wide(q) * wide(key)).sum(-1) / math.sqrt(q.shape[-1])
        gate = torch.sigmoid(score - lse)
        dropped = drop(gate).to(q.dtype).unsqueeze(-1)
        if not self.extended:
            return attended._replace(f=f + dropped * value(q), gate=gate)
        hidden = dropped * value.hidden(q)
        update = torch.einsum("bhnr,hrd->bnd", hidden, value.up.to(q.dtype))
        update = update + value.up_bias.to(q.dtype)
        if self.variant == "gating":
            f = (1 - gate).to(f.dtype).unsqueeze(-1) * f
        return attended._replace(f=f, update=update, gate=gate)


class Prefix(nn.Module):
    """Prefix-tuning: (1 - mu) f + mu softmax(q P_k^T / sqrt(p)) P_v, mu = sigmoid(LSE_P - LSE)."""

    def __init__(self, config: c.Prefix, heads: Heads):
        super().__init__()
        self.key = new(heads.count, config.length, heads.width)
        self.value = new(heads.count, config.length, heads.width)

    def start(self, deviation: float) -> None:
        """Initial values: N(0, deviation^2)."""
        nn.init.normal_(self.key, std=deviation)
        nn.init.normal_(self.value, std=deviation)

    def forward(self, q: Tensor, attended: Attended, drop: Dropout) -> Attended:
        """The mixture of attention over the text and over the prefix."""
        over = attention(q, self.key.to(q.dtype), self.value.to(q.dtype), None, drop)
        gate = torch.sigmoid(over.lse - attended.lse)
        mu = gate.to(q.dtype).unsqueeze(-1)
        f = attended.f + mu * (over.f - attended.f)
        lse = torch.logaddexp(over.lse, attended.lse)
        return attended._replace(f=f, lse=lse, gate=gate)


class Bottleneck(nn.Module):
    """scale * (ReLU(LN(x) W_1 + b_1) W_2 + b_2), the LayerNorm optional (Eq. 1)."""

    def __init__(
        self, hidden: int, bottleneck: int, layer_norm: bool, scale: float, epsilon: float
    ):
        super().__init__()
        self.scale = scale
        self.down = nn.Linear(hidden, bottleneck)
        self.up = nn.Linear(bottleneck, hidden)
        self.layer_norm = nn.LayerNorm(hidden, eps=epsilon) if layer_norm else None

    def start(self) -> None:
        """Initial values; the LayerNorm starts as the identity after normalisation."""
        for linear in (self.down, self.up):
            truncated_normal(linear.weight)
            truncated_normal(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """What is added, [b, n, d]."""
        norm = self.layer_norm
        if norm is not None:
            weight, bias = norm.weight.to(x.dtype), norm.bias.to(x.dtype)
            x = F.layer_norm(x, norm.normalized_shape, weight, bias, norm.eps)
        x = F.relu(linear(self.down, x))
        return linear(self.up, x) * self.scale


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear map in the type of its input."""
    return F.linear(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype))


class Map(NamedTuple):
    """A linear map of the backbone: y = x W^T + b."""

    weight: Tensor
    """[outputs, inputs], a view."""
    bias: Tensor
    """[outputs], a view."""


class LowRank(nn.Module):
    """LoRA on one linear map (Eq. 10), with DoRA's magnitude m where it has one.

    LoRA   y + s (drop(x) A^T B^T + bias)
    DoRA   m / |W + s B A| (x W^T + s drop(x) A^T B^T) + b

    The norm, over each output's inputs, counts as a constant in the gradient. Where the input is
    dropped, m's share of the frozen map acts on the dropped input too.
    """

    def __init__(self, config: c.Lora, sizes: tuple[int, int], rank: int, alpha: float):
        super().__init__()
        inputs, outputs = sizes
        self.scale = config.scale(rank, alpha)
        self.rate = config.dropout
        self.a = new(rank, inputs)
        self.b = new(outputs, rank)
        self.bias = new(outputs) if config.bias else None
        self.magnitude = new(outputs) if config.use_dora else None

    def start(self, own: Map) -> None:
        """Initial values: A as PyTorch's linear maps start, B and bias 0, m the map's norm."""
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))
        if self.magnitude is not None:
            with torch.no_grad():
                self.magnitude.copy_(self.norm(own.weight))

    def norm(self, weight: Tensor) -> Tensor:
        """|W + s B A| over each output's inputs, in float64."""
        with torch.no_grad():
            norm: Tensor = torch.linalg.vector_norm(weight.double() + self.change(), dim=1)
        return norm

    def change(self) -> Tensor:
        """s B A in float64."""
        return (self.b.double() @ self.a.double()) * self.scale

    def forward(self, x: Tensor, y: Tensor, own: Map) -> Tensor:
        """The map's result `y` from `x` with its update."""
        dropped = F.dropout(x, self.rate, self.training)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        low = F.linear(dropped, self.a.to(x.dtype))
        change = F.linear(low, self.b.to(x.dtype), bias) * self.scale
        if self.magnitude is None:
            return y + change
        gain = (wide(self.magnitude) / self.norm(own.weight).to(wide(y).dtype)).to(y.dtype)
        drops = self.training and self.rate > 0
        frozen = F.linear(dropped, own.weight) if drops else y - own.bias
        return y + frozen * (gain - 1) + change * gain

    def fold(self, own: Map) -> None:
        """W <- W + s B A, with DoRA times m over its norm, and b <- b + s bias, in place.

        Computed in float64 and rounded once.
        """
        weight = own.weight.double() + self.change()
        if self.magnitude is not None:
            gain = self.magnitude.double() / weight.norm(dim=1)
            weight = weight * gain.unsqueeze(1)
        own.weight.copy_(weight)
        if self.bias is not None:
            own.bias.copy_(own.bias.double() + self.bias.double() * self.scale)


class Lora(nn.Module):
    """LoRA on some of the linear maps that one module holds, each a `LowRank` by its name."""

    def start(self, maps: dict[str, Map]) -> None:
        """Initial values."""
        for target, part in self.named_children():
            part.start(maps[target])  # type: ignore[operator]

    def fold(self, maps: dict[str, Map]) -> None:
        """Folds each update into its map, in place."""
        for target, part in self.named_children():
            part.fold(maps[target])  # type: ignore[operator]


class Ia3(nn.Module):
    """(IA)3's factors on keys and values; those on the FFN's hidden units lie at the FFN."""

    def __init__(self, config: c.Ia3, hidden: int):
        super().__init__()
        for target in config.targets:
            if target != "ffn":
                self.register_parameter(target, nn.Parameter(torch.ones(hidden)))

    def forward(self, qkv: list[Tensor]) -> list[Tensor]:
        """Projections q, k, v [b, n, d], rescaled."""
        factors = [getattr(self, target, None) for target in "qkv"]
        pairs = zip(factors, qkv, strict=True)
        return [y if factor is None else y * factor.to(y.dtype) for factor, y in pairs]

    def fold(self, maps: dict[str, Map]) -> None:
        """W <- diag(l) W and b <- l * b of each projection, in place and as LoRA's."""
        for target, factor in self.named_parameters():
            weight, bias = maps[target]
            weight.copy_(weight.double() * factor.double().unsqueeze(1))
            bias.copy_(bias.double() * factor.double())
