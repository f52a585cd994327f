#!/usr/bin/env python3
"""transformers' GPT-2 and RoBERTa with every method of the paper in plain PyTorch.

    pip install torch transformers safetensors
    inducer verify --engine 'python3 verify/engines/torch_engine.py'

--dtype f32 computes in single precision. --fault NAME breaks one term, to see which row says so.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from inducer_protocol import read_json, read_tensors, serve

FEATURES = (
    "gpt2 roberta adaptive extension gating inducer prefix prefix-in-place prefix-network adapter "
    "lora lora-bias lora-key rslora ia3 ffn-adapter bitfit full special-tokens segments "
    "label-smoothing padding"
).split()
ANSWERS = ["logits", "loss", "gates", "gradients", "tokens", "step"]
FAULTS = ["drop-sqrt-p", "second-softmax", "weighted-b2", "prefix-offset"]
NETWORK = "transformer.prefix."


def bottleneck(tensors, at, x, epsilon):
    """relu(LN(x) W_1 + b_1) W_2 + b_2 (1)."""
    if f"{at}.layer_norm.weight" in tensors:
        norm = [tensors[f"{at}.layer_norm.{part}"] for part in ["weight", "bias"]]
        x = F.layer_norm(x, x.shape[-1:], *norm, epsilon)
    hidden = F.relu(F.linear(x, tensors[f"{at}.down.weight"], tensors[f"{at}.down.bias"]))
    return F.linear(hidden, tensors[f"{at}.up.weight"], tensors[f"{at}.up.bias"])


class Attention(nn.Module):
    """The attention sub-layer with all that a method adds to it, up to W^o and b^o."""

    def __init__(self, model, at, index, project, output, after):
        super().__init__()
        self.at, self.index = at, index
        # the model and its own modules are not this module's to register
        self.of = [model, project, output, after]

    def tensor(self, name):
        return self.of[0].trainable[f"{self.at}.{name}"]

    def forward(self, x, *_, **__):
        model, project, output, after = self.of
        q, k, v = self.updated(x, project(x))
        raw = q @ k.mT * self.scale(q)
        score = raw.masked_fill(~model.sees, -torch.inf)
        f, lse = score.softmax(-1) @ v, score.logsumexp(-1)
        kind = (model.config.get("attention") or {}).get("kind")
        if kind in ("inducer", "prefix", "custom"):
            y, gate = getattr(self, kind)(q, f, lse, raw, v)
            model.gates += [] if gate is None else [gate.transpose(1, 2)]
        else:
            y = output(self.join(f))
        if kind == "adapter":
            y = y + bottleneck(model.trainable, f"{self.at}.adapter", y, model.epsilon)
        return after(y, x), None

    def scale(self, q):
        return 1.0 if self.of[0].fault == "drop-sqrt-p" else q.shape[-1] ** -0.5

    def split(self, x):
        heads = self.of[0].heads
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    def join(self, x):
        return x.transpose(1, 2).flatten(2).contiguous()

    def updated(self, x, qkv):
        """q, k, v [texts, heads, n, p] with LoRA (10) and the vectors of (IA)^3."""
        config, out = self.of[0].config, []
        lora, ia3 = config.get("lora"), (config.get("ia3") or {}).get("targets", [])
        for name, y in zip("qkv", qkv):
            if lora and name in lora["targets"]:
                root = lora["rank"] ** (0.5 if lora.get("use_rslora") else 1.0)
                a, b = (self.tensor(f"lora.{name}.{part}") for part in "ab")
                bias = self.tensor(f"lora.{name}.bias") if lora.get("bias") else 0.0
                y = y + lora["alpha"] / root * (x @ a.T @ b.T + bias)
            if name in ia3:
                y = y * self.tensor(f"ia3.{name}")
            out.append(self.split(y))
        return out

    def network(self, name, q):
        """tanh(q W_1 + b_1) [texts, heads, n, r]."""
        down, bias = self.tensor(f"inducer.{name}.down"), self.tensor(f"inducer.{name}.down_bias")
        return torch.tanh(q @ down + bias[:, None])

    def own_score(self, q):
        """The score of the query's own inducer, P_k = q + MLP_k(q) (5)."""
        key = q
        if self.of[0].config["attention"]["variant"] in ("gating", "inducer"):
            up, bias = self.tensor("inducer.key.up"), self.tensor("inducer.key.up_bias")
            key = q + self.network("key", q) @ up + bias[:, None]
        return (q * key).sum(-1) * self.scale(q)

    def gate(self, q, lse, raw):
        """lambda of (7) from the log-sum-exp."""
        own = self.own_score(q)
        if self.of[0].fault == "second-softmax":
            # the own score over a softmax of the text's columns alone
            return (own - lse).exp().clamp(max=1.0)
        return torch.sigmoid(own - lse)

    def inducer(self, q, f, lse, raw, v):
        """(8), (9), (11), and the steps of the ladder."""
        model, _, output, _ = self.of
        gate, variant = self.gate(q, lse, raw), model.config["attention"]["variant"]
        up, bias = self.tensor("inducer.value.up"), self.tensor("inducer.value.up_bias")
        update = gate[..., None] * self.network("value", q)
        if variant == "adaptive":
            f = f + update @ up + gate[..., None] * bias[:, None]
            return output(self.join(f)), gate
        if variant == "gating":
            f = (1 - gate[..., None]) * f
        once = bias * (gate.sum(1)[..., None] if model.fault == "weighted-b2" else 1.0)
        return output(self.join(f)) + (update @ up).sum(1) + once, gate

    def prefix(self, q, f, lse, raw, v):
        """The mixture of the text and the prefix with mu."""
        key, value = self.of[0].prefixes[self.index]
        score = q @ key.mT * self.scale(q)
        mu = torch.sigmoid(score.logsumexp(-1) - lse)
        f = (1 - mu[..., None]) * f + mu[..., None] * (score.softmax(-1) @ value)
        return self.of[2](self.join(f)), mu


class Ffn(nn.Module):
    """The FFN with the vectors of (IA)^3 on its hidden units and an adapter beside it."""

    def __init__(self, model, at, into, out, after):
        super().__init__()
        self.at, self.of = at, [model, into, out, after]

    def forward(self, x, *_, **__):
        model, into, out, after = self.of
        hidden, ffn = into(x), model.config.get("ffn")
        if f"{self.at}.ia3" in model.trainable:
            hidden = hidden * model.trainable[f"{self.at}.ia3"]
        y = out(hidden)
        if ffn:
            beside = bottleneck(model.trainable, f"{self.at}.adapter", x, model.epsilon)
            y = y + ffn.get("scale", 1.0) * beside
        return after(y, x)


class Model:
    """A backbone of transformers with the method of an adapter directory."""

    attention = Attention

    def __init__(self, backbone, adapter, fault=None):
        self.fault, self.gates = fault, []
        self.config = read_json(f"{adapter}/adapter_config.json")
        settings = read_json(f"{backbone}/config.json")
        self.is_gpt2 = settings["model_type"] == "gpt2"
        own = read_tensors(f"{adapter}/adapter_model.safetensors")
        weights = read_tensors(f"{backbone}/model.safetensors")
        self.heads = settings["n_head" if self.is_gpt2 else "num_attention_heads"]
        self.build(settings, weights | own)
        inside = dict(self.backbone.named_parameters())
        self.trainable = {}
        for name, tensor in own.items():
            self.trainable[name] = inside.get(name, nn.Parameter(tensor))
        self.frozen = {n: inside[n] for n in weights if n not in own}
        self.install()

    def build(self, settings, tensors):
        """The backbone; what the adapter trains of it has the adapter's numbers."""
        if self.is_gpt2:
            self.backbone = GPT2LMHeadModel(GPT2Config(**settings)).eval()
            self.epsilon = settings["layer_norm_epsilon"]
        else:
            self.backbone = RobertaForSequenceClassification(RobertaConfig(**settings)).eval()
            self.epsilon = settings["layer_norm_eps"]
        missing, _ = self.backbone.load_state_dict(tensors, strict=False)
        missing = [name for name in missing if name != "lm_head.weight"]
        if missing:
            raise ValueError(f"tensors are missing: {missing}")

    def install(self):
        """Every layer's attention and FFN in the form that the methods need."""
        if self.is_gpt2:
            for i, block in enumerate(self.backbone.transformer.h):
                at, attn, mlp = f"transformer.h.{i}", block.attn, block.mlp
                project = lambda x, attn=attn: attn.c_attn(x).chunk(3, -1)
                into = lambda x, mlp=mlp: mlp.act(mlp.c_fc(x))
                alone = lambda y, x: y
                block.attn = self.attention(
                    self, f"{at}.attn", i, project, attn.c_proj, alone
                )
                block.mlp = Ffn(self, f"{at}.mlp", into, mlp.c_proj, alone)
            return
        for i, layer in enumerate(self.backbone.roberta.encoder.layer):
            at, own, dense = f"roberta.encoder.layer.{i}", *layer.attention.children()
            project = lambda x, own=own: (own.query(x), own.key(x), own.value(x))
            after = lambda y, x, norm=dense.LayerNorm: norm(y + x)
            layer.attention = self.attention(
                self, f"{at}.attention.self", i, project, dense.dense, after
            )
            inner, output = layer.intermediate, layer.output
            after = lambda y, x, norm=output.LayerNorm: norm(y + x)
            layer.intermediate = nn.Identity()
            layer.output = Ffn(self, f"{at}.ffn", inner, output.dense, after)

    def start(self, batch):
        """What a batch's attention needs: who sees whom, the prefixes; the position's offset."""
        n = batch.ids.shape[1]
        sees = batch.visible[:, None, None, :]
        if self.is_gpt2:
            sees = sees & torch.ones(n, n).tril().bool()
        # a hidden query sees itself: its output means nothing but is a number
        self.sees, self.gates = sees | torch.eye(n).bool(), []
        attention = self.config.get("attention") or {}
        if attention.get("kind") != "prefix":
            return 0
        self.prefixes = self.made_prefixes()
        offset = attention.get("offset_positions", True) and self.fault != "prefix-offset"
        return attention["length"] if offset else 0

    def made_prefixes(self):
        """Keys and values [heads, l, p] of every layer, from their network where there is one."""
        own = self.trainable
        if f"{NETWORK}embedding" not in own:
            modules = [b.attn if self.is_gpt2 else b.attention for b in self.layers()]
            return [(m.tensor("prefix.key"), m.tensor("prefix.value")) for m in modules]
        part = lambda name: (own[f"{NETWORK}{name}.weight"], own[f"{NETWORK}{name}.bias"])
        hidden = torch.tanh(F.linear(own[f"{NETWORK}embedding"], *part("down")))
        # [l, 2 L d] as [L, 2, heads, l, p]
        flat = F.linear(hidden, *part("up"))
        p = own[f"{NETWORK}embedding"].shape[1] // self.heads
        return flat.unflatten(-1, (-1, 2, self.heads, p)).permute(1, 2, 3, 0, 4)

    def layers(self):
        own = self.backbone
        return own.transformer.h if self.is_gpt2 else own.roberta.encoder.layer

    def forward(self, batch):
        offset = self.start(batch)
        if not self.is_gpt2:
            pad = self.backbone.config.pad_token_id
            real = (batch.ids != pad).long()
            positions = real.cumsum(1) * real + pad + offset * real
            hidden = self.backbone.roberta(batch.ids, position_ids=positions)
            return self.backbone.classifier(hidden.last_hidden_state), self.gates
        table = self.backbone.transformer.wte.weight
        if "transformer.wte.added" in self.trainable:
            table = torch.cat([table, self.trainable["transformer.wte.added"]])
        x = F.embedding(batch.ids, table)
        if batch.segments is not None:
            x = x + F.embedding(batch.segments, table)
        positions = batch.positions() + offset
        hidden = self.backbone.transformer(
            inputs_embeds=x, position_ids=positions, use_cache=False
        )
        return hidden.last_hidden_state @ table.T, self.gates

    def tensors(self):
        return self.frozen | self.trainable


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=["f32", "f64"], default="f64")
    parser.add_argument("--fault", choices=FAULTS)
    return parser.parse_args()


if __name__ == "__main__":
    chosen = options()
    serve(
        chosen.fault or "torch",
        FEATURES,
        ANSWERS,
        lambda backbone, adapter: Model(backbone, adapter, chosen.fault),
        {"f32": torch.float32, "f64": torch.float64}[chosen.dtype],
    )
