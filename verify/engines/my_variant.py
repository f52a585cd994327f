#!/usr/bin/env python3
"""A variant of your own in fifteen lines of PyTorch: two inducers for each query.

    cargo run --release --example my_variant_in_python

checks it against the formula of verify/examples/my_variant: logits, loss, every gradient,
causality, packing. Copy both files and change them.
"""

import argparse

import torch
from inducer_protocol import serve
from torch_engine import ANSWERS, FEATURES, Attention, Model


class TwoInducers(Attention):
    """f + sum_a lambda_a tanh(q D_a) U_a, P_k,a = q + c_a, each lambda over all n + 2 points."""

    others = True  # whether a gate's denominator has the other inducer in it

    def custom(self, q, f, lse, raw, v):
        score, value = [], []
        for a in (1, 2):
            key = q + self.tensor(f"custom.offset_{a}")[:, None]
            score.append((q * key).sum(-1) * self.scale(q))
            hidden = torch.tanh(q @ self.tensor(f"custom.down_{a}"))
            value.append(hidden @ self.tensor(f"custom.up_{a}"))
        for a in (0, 1):
            points = [lse, *score] if self.others else [lse, score[a]]
            gate = (score[a] - torch.stack(points).logsumexp(0)).exp()
            f = f + gate[..., None] * value[a]
        return self.of[2](self.join(f)), None


class Variant(Model):
    attention = TwoInducers


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wrong", action="store_true", help="gates that ignore each other")
    TwoInducers.others = not parser.parse_args().wrong
    serve("two-inducers", [*FEATURES, "custom"], ANSWERS, Variant)
