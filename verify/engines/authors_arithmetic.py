#!/usr/bin/env python3
"""The arithmetic of the authors' published code, restated: the torch engine with its departures.

    inducer verify --engine 'python3 verify/engines/authors_arithmetic.py'

What departs from the paper, and therefore fails rows of the ledger, each on RoBERTa:

- lambda comes from a softmax that is taken before the padding mask is added, so hidden keys are in
  its denominator;
- without value extension the inducer's term is added to the attention probabilities, not to the
  output; that is only possible where a text has as many tokens as a head has columns.

What it does otherwise and does not matter in exact arithmetic: two softmaxes, over n + 1 columns
for lambda and over n for the text, in place of one log-sum-exp. LoRA has a bias in NLG and none in
NLU. Clipping, the padding of data sets and decoding without a cache are no part of a model.
"""

import torch
from inducer_protocol import Unsupported, serve
from torch_engine import ANSWERS, Attention, Model

FEATURES = (
    "gpt2 roberta adaptive extension gating inducer prefix prefix-network adapter lora lora-bias "
    "ffn-adapter bitfit full special-tokens segments label-smoothing padding"
).split()


class AuthorsAttention(Attention):
    def gate(self, q, lse, raw):
        """The last of n + 1 columns of a softmax; the padding mask comes later on RoBERTa."""
        model = self.of[0]
        columns = raw.masked_fill(~model.sees, -torch.inf) if model.is_gpt2 else raw
        return torch.cat([columns, self.own_score(q)[..., None]], -1).softmax(-1)[..., -1]

    def inducer(self, q, f, lse, raw, v):
        model, _, output, _ = self.of
        if model.is_gpt2 or model.config["attention"]["variant"] != "adaptive":
            return super().inducer(q, f, lse, raw, v)
        if raw.shape[-1] != q.shape[-1]:
            raise Unsupported("adaptive on RoBERTa, unless n is the head's width")
        gate = self.gate(q, lse, raw)
        up, bias = self.tensor("inducer.value.up"), self.tensor("inducer.value.up_bias")
        update = self.network("value", q) @ up + bias[:, None]
        probabilities = raw.masked_fill(~model.sees, -torch.inf).softmax(-1)
        return output(self.join((probabilities + gate[..., None] * update) @ v)), gate


class AuthorsModel(Model):
    attention = AuthorsAttention

    def build(self, settings, tensors):
        lora = self.config.get("lora") or {}
        if not self.is_gpt2 and lora.get("bias"):
            raise Unsupported("lora-bias on RoBERTa")
        super().build(settings, tensors)


if __name__ == "__main__":
    serve("authors", FEATURES, ANSWERS, AuthorsModel)
