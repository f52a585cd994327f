#!/usr/bin/env python3
"""LoRA, (IA)^3 and prefixes by the peft package itself, on transformers' models.

    pip install torch transformers peft safetensors
    inducer verify --engine 'python3 verify/engines/peft_engine.py'

The adapter directory's tensors are put where peft keeps its own: GPT-2's q, k and v are one module
there, so their LoRAs stand as blocks in one.
"""

import torch
import torch.nn.functional as F
from peft import IA3Config, LoraConfig, PrefixTuningConfig, get_peft_model
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from inducer_protocol import Unsupported, read_json, read_tensors, serve

FEATURES = (
    "gpt2 roberta prefix prefix-network lora lora-bias lora-key rslora ia3 segments "
    "label-smoothing padding"
).split()
ANSWERS = ["logits", "loss", "gradients", "tokens", "step"]
MODULES = {"q": "query", "k": "key", "v": "value"}


class Model:
    def __init__(self, backbone, adapter):
        self.config = read_json(f"{adapter}/adapter_config.json")
        settings = read_json(f"{backbone}/config.json")
        self.is_gpt2 = settings["model_type"] == "gpt2"
        self.prefix = self.config.get("attention")
        if self.prefix and not self.is_gpt2:
            raise Unsupported("a prefix on RoBERTa: its model takes no past keys in peft")
        own = read_tensors(f"{adapter}/adapter_model.safetensors")
        self.frozen = read_tensors(f"{backbone}/model.safetensors")
        self.trainable = {name: nn.Parameter(tensor) for name, tensor in own.items()}
        settings["attn_implementation"] = "eager"
        if self.is_gpt2:
            self.base = GPT2LMHeadModel(GPT2Config(**settings))
            self.layers, self.d, self.heads = (settings[k] for k in ["n_layer", "n_embd", "n_head"])
        else:
            self.base = RobertaForSequenceClassification(RobertaConfig(**settings))
            self.layers, self.d = settings["num_hidden_layers"], settings["hidden_size"]
        self.base.load_state_dict(self.frozen | own, strict=False)
        config = self.peft_config()
        self.peft = (get_peft_model(self.base, config) if config else self.base).eval()

    def peft_config(self):
        lora, ia3 = self.config.get("lora"), self.config.get("ia3")
        if lora:
            modules = ["c_attn"] if self.is_gpt2 else [MODULES[t] for t in lora["targets"]]
            blocks = len(lora["targets"]) if self.is_gpt2 else 1
            rs = lora.get("use_rslora", False)
            # blocks side by side have their number of times the rank, so that alpha goes with it
            grown = blocks**0.5 if rs else blocks
            return LoraConfig(
                r=lora["rank"] * blocks,
                lora_alpha=lora["alpha"] * grown,
                use_rslora=rs,
                lora_bias=lora.get("bias", False),
                target_modules=modules,
                fan_in_fan_out=self.is_gpt2,
            )
        if ia3:
            ffn = r"mlp\.c_proj" if self.is_gpt2 else r"layer\.\d+\.output\.dense"
            names = [MODULES[t] for t in ia3["targets"] if t in MODULES]
            names = ["c_attn"] if self.is_gpt2 and names else names
            names = names + [ffn] if "ffn" in ia3["targets"] else names
            return IA3Config(
                target_modules=rf".*\.({'|'.join(names)})",
                feedforward_modules=rf".*\.({ffn})" if "ffn" in ia3["targets"] else [],
                fan_in_fan_out=self.is_gpt2,
            )
        if not self.prefix:
            return None
        network = self.prefix.get("reparametrisation")
        return PrefixTuningConfig(
            task_type="CAUSAL_LM",
            num_virtual_tokens=self.prefix["length"],
            prefix_projection=network is not None,
            encoder_hidden_size=network["width"] if network else None,
        )

    def placed(self):
        """peft's parameters made from the trainable tensors."""
        lora, out = self.config.get("lora"), {}
        for name, _ in self.peft.named_parameters():
            if ".lora_" in name or ".ia3_l" in name:
                out[name] = self.lora(name) if lora else self.ia3(name)
            elif "prompt_encoder" in name:
                out[name] = self.encoder(name)
            elif (own := name.removeprefix("base_model.model.")) in self.trainable:
                out[name] = self.trainable[own]
        return out

    def at(self, name):
        """Our name of the attention or FFN module that a parameter of peft's belongs to."""
        layer = next(part for part in name.split(".") if part.isdigit())
        if self.is_gpt2:
            return f"transformer.h.{layer}.{'mlp' if '.mlp.' in name else 'attn'}"
        ffn = "attention" not in name
        return f"roberta.encoder.layer.{layer}.{'ffn' if ffn else 'attention.self'}"

    def lora(self, name):
        lora, at = self.config["lora"], self.at(name)
        part = "a" if "lora_A" in name else "bias" if name.endswith(".bias") else "b"
        of = lambda target: self.trainable[f"{at}.lora.{target}.{part}"]
        if not self.is_gpt2:
            return of(next(t for t, module in MODULES.items() if f".{module}." in name))
        targets = lora["targets"]
        if part == "a":
            return torch.cat([of(t) for t in targets])
        if part == "bias":
            return torch.cat([of(t) if t in targets else torch.zeros(self.d) for t in "qkv"])
        nothing, r = torch.zeros(self.d, lora["rank"]), len(targets)
        block = lambda t, i: of(t) if i < r and targets[i] == t else nothing
        return torch.cat([torch.cat([block(t, i) for i in range(r)], 1) for t in "qkv"])

    def ia3(self, name):
        at = self.at(name)
        if at.endswith((".mlp", ".ffn")):
            return self.trainable[f"{at}.ia3"][None]
        if not self.is_gpt2:
            target = next(t for t, module in MODULES.items() if f".{module}." in name)
            return self.trainable[f"{at}.ia3.{target}"][:, None]
        ones = torch.ones(self.d)
        return torch.cat([self.trainable.get(f"{at}.ia3.{t}", ones) for t in "qkv"])[:, None]

    def encoder(self, name):
        own, part = self.trainable, name.split("prompt_encoder.default.")[1]
        named = {"embedding": "embedding", "transform.0": "down", "transform.2": "up"}
        if "transformer.prefix.embedding" in own:
            module, kind = part.rsplit(".", 1)
            of = f"transformer.prefix.{named[module]}"
            return own[of if module == "embedding" else f"{of}.{kind}"]
        blocks = []
        for layer in range(self.layers):
            for kind in ["key", "value"]:
                prefix = own[f"transformer.h.{layer}.attn.prefix.{kind}"]
                blocks.append(prefix.transpose(0, 1).flatten(1))
        return torch.cat(blocks, 1)

    def forward(self, batch):
        given = {"attention_mask": batch.visible.long()}
        if not self.is_gpt2:
            given["input_ids"] = batch.ids
        else:
            table = self.base.transformer.wte.weight
            x = F.embedding(batch.ids, table)
            if batch.segments is not None:
                x = x + F.embedding(batch.segments, table)
            given["inputs_embeds"] = x
            if self.prefix and not batch.visible[:, 0].all():
                raise Unsupported("a prefix and hidden tokens before the text: no position ids")
            if not self.prefix:
                given["position_ids"] = batch.positions()
        return torch.func.functional_call(self.peft, self.placed(), (), given).logits, []

    def tensors(self):
        return self.frozen | self.trainable


if __name__ == "__main__":
    serve("peft", FEATURES, ANSWERS, Model)
