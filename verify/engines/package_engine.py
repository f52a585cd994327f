#!/usr/bin/env python3
"""The Python package inducer_tuning (reports/python) on transformers' models.

    pip install torch transformers safetensors
    inducer verify --engine 'python3 verify/engines/package_engine.py'

What is run is what `pip install inducer-tuning` gives, or, where that is not installed, the folder
of this repository.
"""

import importlib.util
import sys
from pathlib import Path

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from inducer_protocol import Unsupported, read_json, read_tensors, serve

if importlib.util.find_spec("inducer_tuning") is None:
    sys.path.insert(0, str(Path(__file__).parents[2] / "reports/python"))
import inducer_tuning  # noqa: E402

FEATURES = (
    "gpt2 roberta adaptive extension gating inducer prefix prefix-in-place adapter lora lora-bias "
    "lora-key rslora ia3 ffn-adapter bitfit full special-tokens segments label-smoothing padding"
).split()
ANSWERS = ["logits", "loss", "gates", "gradients", "tokens", "step"]


class Model:
    def __init__(self, backbone, adapter):
        attention = read_json(f"{adapter}/adapter_config.json").get("attention") or {}
        if attention.get("length") == 0:
            raise Unsupported("a prefix of length 0, which no file has")
        settings = read_json(f"{backbone}/config.json")
        self.is_gpt2 = settings["model_type"] == "gpt2"
        if self.is_gpt2:
            model = GPT2LMHeadModel(GPT2Config(**settings))
        else:
            model = RobertaForSequenceClassification(RobertaConfig(**settings))
        weights = read_tensors(f"{backbone}/model.safetensors")
        # an encoder's head stands in the adapter's file
        own = read_tensors(f"{adapter}/adapter_model.safetensors")
        known = model.state_dict()
        given = weights | {name: t for name, t in own.items() if name in known}
        missing, _ = model.load_state_dict(given, strict=False)
        if missing := [name for name in missing if name != "lm_head.weight"]:
            raise ValueError(f"tensors are missing: {missing}")
        self.model = inducer_tuning.load(model.eval(), adapter)
        self.trainable = self.model.adapter_parameters()
        self.has_gates = attention.get("kind") in ("inducer", "prefix")

    def forward(self, batch):
        given = {"input_ids": batch.ids, "attention_mask": batch.visible.long()}
        if self.is_gpt2:
            given["token_type_ids"] = batch.segments
        if not self.has_gates:
            return self.model(**given).logits, []
        with inducer_tuning.observe_gates(self.model) as seen:
            logits = self.model(**given).logits
        gates = [gate.transpose(1, 2) for gate in seen[0]]
        return logits, gates if self.is_gpt2 else [self.turned_back(batch, g) for g in gates]

    def turned_back(self, batch, gate):
        """Gates [texts, n, heads] of rows that were padded on the left, which the package pads on
        the right, since RoBERTa's classifier reads the first place."""
        first = batch.visible.long().argmax(1, keepdim=True)
        n = gate.shape[1]
        order = (torch.arange(n) - first) % n
        return gate.gather(1, order[..., None].expand_as(gate))

    def tensors(self):
        # the model's own names are those of files
        return dict(self.model.named_parameters()) | self.trainable


if __name__ == "__main__":
    serve("package", FEATURES, ANSWERS, Model)
