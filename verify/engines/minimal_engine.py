#!/usr/bin/env python3
"""GPT-2 with LoRA in numpy, written from README.md alone: logits and loss in double precision.

    pip install numpy safetensors
    inducer verify --engine 'python3 verify/engines/minimal_engine.py'
"""

import json
import sys

import numpy as np
from safetensors.numpy import load_file, save_file


def norm(x, tensors, at, epsilon):
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon)
    return x * tensors[f"{at}.weight"] + tensors[f"{at}.bias"]


def linear(x, tensors, at):
    return x @ tensors[f"{at}.weight"] + tensors[f"{at}.bias"]


def softmax(x):
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def attention(x, tensors, lora, at, heads):
    n, d = x.shape
    parts = dict(zip("qkv", np.split(linear(x, tensors, f"{at}.c_attn"), 3, -1)))
    for name in lora["targets"] if lora else []:
        a, b = (tensors[f"{at}.lora.{name}.{part}"] for part in "ab")
        bias = tensors.get(f"{at}.lora.{name}.bias", 0.0)
        rank = lora["rank"] ** (0.5 if lora.get("use_rslora") else 1.0)
        parts[name] = parts[name] + lora["alpha"] / rank * (x @ a.T @ b.T + bias)
    q, k, v = (y.reshape(n, heads, -1).transpose(1, 0, 2) for y in parts.values())
    score = q @ k.transpose(0, 2, 1) / np.sqrt(d // heads)
    score = np.where(np.tril(np.ones((n, n))), score, -np.inf)
    f = (softmax(score) @ v).transpose(1, 0, 2).reshape(n, d)
    return linear(f, tensors, f"{at}.c_proj")


def logits(tensors, settings, lora, ids):
    epsilon = settings["layer_norm_epsilon"]
    x = tensors["transformer.wte.weight"][ids] + tensors["transformer.wpe.weight"][: len(ids)]
    for layer in range(settings["n_layer"]):
        at = f"transformer.h.{layer}"
        seen = norm(x, tensors, f"{at}.ln_1", epsilon)
        x = x + attention(seen, tensors, lora, f"{at}.attn", settings["n_head"])
        u = linear(norm(x, tensors, f"{at}.ln_2", epsilon), tensors, f"{at}.mlp.c_fc")
        u = 0.5 * u * (1 + np.tanh(np.sqrt(2 / np.pi) * (u + 0.044715 * u**3)))
        x = x + linear(u, tensors, f"{at}.mlp.c_proj")
    return norm(x, tensors, "transformer.ln_f", epsilon) @ tensors["transformer.wte.weight"].T


def compute(request):
    backbone, adapter = request["backbone"], request["adapter"]
    files = [f"{backbone}/model.safetensors", f"{adapter}/adapter_model.safetensors"]
    tensors = {n: t.astype(np.float64) for file in files for n, t in load_file(file).items()}
    settings = json.load(open(f"{backbone}/config.json"))
    lora = json.load(open(f"{adapter}/adapter_config.json")).get("lora")
    batch = json.load(open(request["batch"]))
    out = {"logits": np.stack([logits(tensors, settings, lora, i) for i in batch["input_ids"]])}
    if "loss" in request["want"]:
        costs = []
        for rows, labels in zip(out["logits"], batch["labels"]):
            pairs = [(row, label) for row, label in zip(rows, labels[1:]) if label >= 0]
            costs += [-np.log(softmax(row)[label]) for row, label in pairs]
        out["loss"] = np.array([np.mean(costs)])
    save_file(out, request["out"])


for line in sys.stdin:
    request = json.loads(line)
    answer = {"id": request["id"]}
    if request["request"] == "hello":
        features = ["gpt2", "lora", "lora-bias", "lora-key", "rslora"]
        answer |= {"name": "minimal", "dtype": "f64", "features": features}
        answer["answers"] = ["logits", "loss"]
    else:
        compute(request)
    print(json.dumps(answer), flush=True)
