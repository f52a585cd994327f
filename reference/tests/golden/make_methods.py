"""Golden numbers of every method of the paper, stated once more from its equations in PyTorch.

    pip install "torch==2.15.0" "safetensors==0.8.0" "numpy==2.4.6"
    python make_methods.py    # rewrites methods/ beside this file

methods/gpt2 and methods/roberta hold a tiny backbone each, and a batch of rows of unequal lengths
in the layout of `inducer forward --batch`. methods/FAMILY-METHOD holds an adapter as its files are
and what it computes on the batch: in expected.safetensors, in float64,

    logits      of the real tokens, row after row (of a classifier, one line for each row)
    loss        with the family's label smoothing, and without it
    gradients   of the smoothed loss, by autograd, in every tensor of the adapter, one behind the
                other in the order of their names

Every tensor is drawn in float32 by PyTorch's generator from SEED and its directory's name: no bias,
no factor of LoRA and no scale is 0 or 1. SEED is the first from 20221207 on at which neither a ReLU
nor a gate leaves a tensor without a gradient. made.json has it, the versions and the smoothing.

Nothing is shared with the Rust crates or with the other PyTorch code here, and nothing is rewritten
for speed: rows are computed one by one without their padding, one head at a time, the output as the
sum of Equation (4). An inducer is a support point more in each query's own softmax, Equation (7),
and a prefix so many rows more of K and V.
"""
import json
import math
import pathlib
import shutil
import zlib

import numpy
import safetensors
import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy

OUT = pathlib.Path(__file__).parent / "methods"
SEED = 20221210
D, HEADS, LAYERS, INNER, EPSILON = 6, 2, 2, 10, 1e-5
P = D // HEADS
VOCABULARY, CLASSES = 9, 3
ADDED, NETWORK = "transformer.wte.added", "transformer.prefix"
# the attention's module of a layer, and the name before that of an adapter beside its FFN
PLACES = {
    "gpt2": ("transformer.h.{}.attn", "transformer.h.{}.mlp"),
    "roberta": ("roberta.encoder.layer.{}.attention.self", "roberta.encoder.layer.{}.ffn"),
}
CONFIGS = {
    "gpt2": {
        "model_type": "gpt2", "vocab_size": VOCABULARY, "n_positions": 9, "n_embd": D,
        "n_layer": LAYERS, "n_head": HEADS, "n_inner": INNER, "layer_norm_epsilon": EPSILON,
        "activation_function": "gelu_new",
    },
    "roberta": {
        "model_type": "roberta", "vocab_size": VOCABULARY, "max_position_embeddings": 12,
        "type_vocab_size": 2, "hidden_size": D, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "intermediate_size": INNER, "layer_norm_eps": EPSILON,
        "hidden_act": "gelu", "pad_token_id": 1,
        "id2label": {str(c): f"class {c}" for c in range(CLASSES)},
    },
}
# GPT-2's ids from VOCABULARY on are the trained rows; the label of a row's first token predicts
# nothing, since labels are shifted
BATCHES = {
    "gpt2": {
        "input_ids": [[9, 3, 1, 10, 5], [0, 0, 7, 10, 2], [4, 6, 0, 0, 0]],
        "attention_mask": [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [1, 1, 0, 0, 0]],
        "segment_ids": [[9, 9, 9, 10, 10], [0, 0, 9, 10, 10], [3, 9, 0, 0, 0]],
        "labels": [[-100, -100, 1, 10, 5], [-100, -100, -100, 10, 2], [4, 6, -100, -100, -100]],
    },
    "roberta": {
        "input_ids": [[0, 5, 7, 2, 2, 8, 2], [0, 6, 2, 4, 2, 1, 1], [0, 3, 2, 1, 1, 1, 1]],
        "attention_mask": [[1] * 7, [1] * 5 + [0] * 2, [1] * 3 + [0] * 4],
        "segment_ids": [[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0], [0] * 7],
        "labels": [2, 0, 1],
    },
}
SMOOTHING = {"gpt2": 0.1, "roberta": 0.2}


# --- tensors ---------------------------------------------------------------------------------


def linear_shapes(family, name, into, out):
    """GPT-2's maps are [in, out], RoBERTa's [out, in]."""
    shape = [into, out] if family == "gpt2" else [out, into]
    return {f"{name}.weight": shape, f"{name}.bias": [out]}


def norm_shapes(name):
    return {f"{name}.weight": [D], f"{name}.bias": [D]}


def backbone_shapes(family):
    config, shapes = CONFIGS[family], {}
    if family == "gpt2":
        shapes["transformer.wte.weight"] = [VOCABULARY, D]
        shapes["transformer.wpe.weight"] = [config["n_positions"], D]
        maps = {
            "attn.c_attn": (D, 3 * D), "attn.c_proj": (D, D),
            "mlp.c_fc": (D, INNER), "mlp.c_proj": (INNER, D),
        }
        norms, layers, after = ["ln_1", "ln_2"], "transformer.h", ["transformer.ln_f"]
    else:
        at = "roberta.embeddings"
        shapes[f"{at}.word_embeddings.weight"] = [VOCABULARY, D]
        shapes[f"{at}.position_embeddings.weight"] = [config["max_position_embeddings"], D]
        shapes[f"{at}.token_type_embeddings.weight"] = [config["type_vocab_size"], D]
        maps = {f"attention.self.{name}": (D, D) for name in ("query", "key", "value")}
        maps |= {
            "attention.output.dense": (D, D),
            "intermediate.dense": (D, INNER), "output.dense": (INNER, D),
        }
        norms, layers = ["attention.output.LayerNorm", "output.LayerNorm"], "roberta.encoder.layer"
        after = [f"{at}.LayerNorm"]
        shapes |= classifier_shapes()
    for i in range(LAYERS):
        for name, (into, out) in maps.items():
            shapes |= linear_shapes(family, f"{layers}.{i}.{name}", into, out)
        after += [f"{layers}.{i}.{name}" for name in norms]
    for name in after:
        shapes |= norm_shapes(name)
    return shapes


def classifier_shapes():
    dense = linear_shapes("roberta", "classifier.dense", D, D)
    return dense | linear_shapes("roberta", "classifier.out_proj", D, CLASSES)


def bottleneck_shapes(name, part):
    r = part["bottleneck"]
    shapes = linear_shapes("roberta", f"{name}.down", D, r)
    shapes |= linear_shapes("roberta", f"{name}.up", r, D)
    return shapes | (norm_shapes(f"{name}.layer_norm") if part["layer_norm"] else {})


def inducer_shapes(at, part):
    variant, r_k, r_v = part["variant"], part.get("key_bottleneck"), part["value_bottleneck"]
    shapes = {f"{at}.value.down": [HEADS, P, r_v], f"{at}.value.down_bias": [HEADS, r_v]}
    if variant in ("gating", "inducer"):
        shapes |= {f"{at}.key.down": [HEADS, P, r_k], f"{at}.key.down_bias": [HEADS, r_k]}
        shapes |= {f"{at}.key.up": [HEADS, r_k, P], f"{at}.key.up_bias": [HEADS, P]}
    width, bias = (P, [HEADS, P]) if variant == "adaptive" else (D, [D])
    return shapes | {f"{at}.value.up": [HEADS, r_v, width], f"{at}.value.up_bias": bias}


def adapter_shapes(family, method):
    """Every tensor that is trained: those of the method's parts, and the task's."""
    shapes = {ADDED: [2, D]} if family == "gpt2" else classifier_shapes()
    own = backbone_shapes(family).items()
    full, bitfit = method.get("full"), method.get("bitfit")
    shapes |= {n: s for n, s in own if full or (bitfit and n.endswith(".bias"))}
    part = method.get("attention") or {"kind": None}
    if "reparametrisation" in part:
        width = part["reparametrisation"]["width"]
        shapes |= {f"{NETWORK}.embedding": [part["length"], D]}
        shapes |= linear_shapes("roberta", f"{NETWORK}.down", D, width)
        shapes |= linear_shapes("roberta", f"{NETWORK}.up", width, 2 * LAYERS * D)
    for i in range(LAYERS):
        at, ffn = (place.format(i) for place in PLACES[family])
        if part["kind"] == "inducer":
            shapes |= inducer_shapes(f"{at}.inducer", part)
        if part["kind"] == "prefix" and "reparametrisation" not in part:
            shape = [HEADS, part["length"], P]
            shapes |= {f"{at}.prefix.key": shape, f"{at}.prefix.value": shape}
        if part["kind"] == "adapter":
            shapes |= bottleneck_shapes(f"{at}.adapter", part)
        if lora := method.get("lora"):
            for c in lora["targets"]:
                shapes |= {f"{at}.lora.{c}.a": [lora["rank"], D]}
                shapes |= {f"{at}.lora.{c}.b": [D, lora["rank"]]}
                shapes |= {f"{at}.lora.{c}.bias": [D]} if lora["bias"] else {}
        if method.get("ffn"):
            shapes |= bottleneck_shapes(f"{ffn}.adapter", method["ffn"])
    return shapes


def drawn(directory, shapes):
    generator = torch.Generator().manual_seed(SEED + zlib.crc32(directory.encode()))
    tensors = {}
    for name, shape in sorted(shapes.items()):
        norm = any(part in name for part in ("ln_", "LayerNorm", "layer_norm"))
        centre = 1.0 if norm and name.endswith(".weight") else 0.0
        tensors[name] = centre + 0.5 * torch.randn(shape, generator=generator)
    return tensors


# --- the paper's equations -------------------------------------------------------------------


def layer_norm(x, t, name):
    centred = x - x.mean(-1, keepdim=True)
    deviation = ((centred**2).mean(-1, keepdim=True) + EPSILON).sqrt()
    return centred / deviation * t[f"{name}.weight"] + t[f"{name}.bias"]


def linear(x, t, name):
    return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]


def conv1d(x, t, name):
    return x @ t[f"{name}.weight"] + t[f"{name}.bias"]


def bottleneck(x, t, name):
    """(1): ReLU(x W_1 + b_1) W_2 + b_2, of LN(x) where there is one."""
    if f"{name}.layer_norm.weight" in t:
        x = layer_norm(x, t, f"{name}.layer_norm")
    return linear(linear(x, t, f"{name}.down").clamp(min=0), t, f"{name}.up")


def low_rank(x, t, name, lora):
    """(10): (alpha/r) (x A^T B^T + b_lora)."""
    update = x @ t[f"{name}.a"].T @ t[f"{name}.b"].T + t.get(f"{name}.bias", 0.0)
    return lora["alpha"] / lora["rank"] * update


def mlp(q, t, name, h):
    """tanh(q W_1 + b_1) W_2 of a head, without its last bias."""
    hidden = torch.tanh(q @ t[f"{name}.down"][h] + t[f"{name}.down_bias"][h])
    return hidden @ t[f"{name}.up"][h]


def one_head(h, q, k, v, sees, w_o, at, t, part, prefix):
    """What head h adds to the sub-layer's output, W^o's block of rows included: [n, d]."""
    scores = (q @ k.T / math.sqrt(P)).masked_fill(~sees, -math.inf)
    f = scores.softmax(1) @ v  # (3)
    if part["kind"] == "prefix":
        p_k, p_v = prefix[0][h], prefix[1][h]
        weights = torch.cat([q @ p_k.T / math.sqrt(P), scores], 1).softmax(1)
        return weights @ torch.cat([p_v, v]) @ w_o
    if part["kind"] != "inducer":
        return f @ w_o
    variant, at = part["variant"], f"{at}.inducer"
    p_k = q
    if variant in ("gating", "inducer"):
        p_k = q + mlp(q, t, f"{at}.key", h) + t[f"{at}.key.up_bias"][h]  # (5)
    own = (q * p_k).sum(1, keepdim=True) / math.sqrt(P)
    weights = torch.cat([own, scores], 1).softmax(1)  # (7): n + 1 support points of this query
    gate, rest = weights[:, :1], weights[:, 1:]
    update = mlp(q, t, f"{at}.value", h)
    if variant == "adaptive":
        p_v = f + update + t[f"{at}.value.up_bias"][h]  # (6)
        return (gate * p_v + rest @ v) @ w_o
    v = v @ w_o  # (9)
    p_v = update if variant == "gating" else f @ w_o + update  # (6)
    return gate * p_v + rest @ v


def sub_layer(x, qkv, sees, w_o, b_o, at, t, method, prefix):
    """(2), (4): the attention up to b^o and whatever else stands before dropout and residual."""
    lora = method.get("lora") or {"targets": []}
    part = method.get("attention") or {"kind": None}
    q, k, v = (
        y + low_rank(x, t, f"{at}.lora.{c}", lora) if c in lora["targets"] else y
        for c, y in zip("qkv", qkv, strict=True)
    )
    y = b_o
    for h in range(HEADS):
        own = slice(h * P, (h + 1) * P)
        head = one_head(h, q[:, own], k[:, own], v[:, own], sees, w_o[own], at, t, part, prefix)
        y = y + head
    if part["kind"] == "inducer" and part["variant"] != "adaptive":
        y = y + t[f"{at}.inducer.value.up_bias"]  # (11): b_2 once, like b^o
    if part["kind"] == "adapter":
        y = y + bottleneck(y, t, f"{at}.adapter")
    return y


def prefixes(family, t, method):
    """Keys and values [H, l, p] of every layer, and by how much the text's positions move."""
    part = method.get("attention") or {}
    if part.get("kind") != "prefix":
        return [None] * LAYERS, 0
    offset = part["length"] if part["offset_positions"] else 0
    places = [PLACES[family][0].format(i) for i in range(LAYERS)]
    if "reparametrisation" not in part:
        return [(t[f"{at}.prefix.key"], t[f"{at}.prefix.value"]) for at in places], offset
    # P = MLP(E), as past keys and values of every layer: [l, L, 2, H, p]
    hidden = torch.tanh(linear(t[f"{NETWORK}.embedding"], t, f"{NETWORK}.down"))
    made = linear(hidden, t, f"{NETWORK}.up").reshape(part["length"], LAYERS, 2, HEADS, P)
    return list(made.permute(1, 2, 3, 0, 4)), offset


def beside_ffn(x, at, t, method):
    """s Adapter(x) beside the FFN, x its input."""
    ffn = method.get("ffn")
    return ffn["scale"] * bottleneck(x, t, f"{at}.adapter") if ffn else 0.0


def gpt2(ids, segments, t, method):
    """Logits [n, ids], pre-norm and causal, the head tied."""
    made, offset = prefixes("gpt2", t, method)
    n, table = len(ids), torch.cat([t["transformer.wte.weight"], t[ADDED]])
    x = table[ids] + table[segments] + t["transformer.wpe.weight"][offset : offset + n]
    sees = torch.ones(n, n).tril().bool()
    for i in range(LAYERS):
        layer = f"transformer.h.{i}"
        at, ffn_at = (place.format(i) for place in PLACES["gpt2"])
        y = layer_norm(x, t, f"{layer}.ln_1")
        qkv = conv1d(y, t, f"{at}.c_attn").split(D, 1)
        w_o, b_o = t[f"{at}.c_proj.weight"], t[f"{at}.c_proj.bias"]
        x = x + sub_layer(y, qkv, sees, w_o, b_o, at, t, method, made[i])
        y = layer_norm(x, t, f"{layer}.ln_2")
        u = conv1d(y, t, f"{ffn_at}.c_fc")
        u = u / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)))
        x = x + conv1d(u, t, f"{ffn_at}.c_proj") + beside_ffn(y, ffn_at, t, method)
    return layer_norm(x, t, "transformer.ln_f") @ table.T


def roberta(ids, segments, t, method):
    """Logits [1, classes], post-norm, every token seen."""
    made, offset = prefixes("roberta", t, method)
    n, at = len(ids), "roberta.embeddings"
    positions = CONFIGS["roberta"]["pad_token_id"] + 1 + offset + torch.arange(n)
    x = t[f"{at}.word_embeddings.weight"][ids] + t[f"{at}.position_embeddings.weight"][positions]
    x = layer_norm(x + t[f"{at}.token_type_embeddings.weight"][segments], t, f"{at}.LayerNorm")
    sees = torch.ones(n, n).bool()
    for i in range(LAYERS):
        layer = f"roberta.encoder.layer.{i}"
        at, ffn_at = (place.format(i) for place in PLACES["roberta"])
        qkv = [linear(x, t, f"{at}.{name}") for name in ("query", "key", "value")]
        output = f"{layer}.attention.output"
        w_o, b_o = t[f"{output}.dense.weight"].T, t[f"{output}.dense.bias"]
        y = sub_layer(x, qkv, sees, w_o, b_o, at, t, method, made[i])
        y = layer_norm(y + x, t, f"{output}.LayerNorm")
        u = linear(y, t, f"{layer}.intermediate.dense")
        u = u / 2 * (1 + torch.erf(u / math.sqrt(2)))
        x = linear(u, t, f"{layer}.output.dense") + beside_ffn(y, ffn_at, t, method) + y
        x = layer_norm(x, t, f"{layer}.output.LayerNorm")
    return linear(torch.tanh(linear(x[:1], t, "classifier.dense")), t, "classifier.out_proj")


def compute(family, t, method):
    """Logits of the whole batch, the labels that they are held against, and those logits."""
    batch, rows, labelled, labels = BATCHES[family], [], [], []
    for i, mask in enumerate(batch["attention_mask"]):
        real = torch.tensor(mask).bool()
        ids, segments = (torch.tensor(batch[f])[i][real] for f in ("input_ids", "segment_ids"))
        label = torch.tensor(batch["labels"][i : i + 1])
        if family == "gpt2":
            logits = gpt2(ids, segments, t, method)
            labelled.append(logits[:-1])
            labels.append(label[0][real][1:])
        else:
            logits = roberta(ids, segments, t, method)
            labelled.append(logits)
            labels.append(label)
        rows.append(logits)
    return torch.cat(rows), torch.cat(labelled), torch.cat(labels)


# --- the methods -----------------------------------------------------------------------------


def inducer(variant, r_k=2, r_v=4):
    part = {"kind": "inducer", "variant": variant, "value_bottleneck": r_v}
    return part | ({"key_bottleneck": r_k} if variant in ("gating", "inducer") else {})


def lora(targets, bias):
    return {"targets": list(targets), "rank": 2, "alpha": 5.0, "dropout": 0.1, "bias": bias}


def prefix(length, offset_positions=True, **network):
    part = {"kind": "prefix", "length": length, "offset_positions": offset_positions}
    return part | network


def methods(family):
    """The paper's form for generation on GPT-2, for classification on RoBERTa."""
    generates = family == "gpt2"
    ffn = {
        "kind": "adapter", "placement": "parallel", "bottleneck": 2, "layer_norm": False,
        "scale": 0.75 if generates else 2.0,  # the paper has 1 on GPT-2, where a factor is unseen
    }
    own = {"attention": inducer("inducer"), "lora": lora("q", generates)}
    other = "lora-without-bias" if generates else "lora-bias"
    return {
        "none": {},
        "full": {"full": True},
        "bitfit": {"bitfit": True},
        "adapter": {"attention": {"kind": "adapter", "bottleneck": 3, "layer_norm": True}},
        "lora": {"lora": lora("qv", generates)},
        other: {"lora": lora("qv", not generates)},
        "lora-qkv": {"lora": lora("qkv", False)},
        "lora-qkv-bias": {"lora": lora("qkv", True)},
        "prefix": {"attention": prefix(3)},
        "prefix-in-place": {"attention": prefix(3, offset_positions=False)},
        "prefix-network": {"attention": prefix(3, reparametrisation={"width": 5})},
        "mam-adapter": {"attention": prefix(2), "ffn": ffn},
        "adaptive": {"attention": inducer("adaptive")},
        "extension": {"attention": inducer("extension")},
        "gating": {"attention": inducer("gating")},
        "inducer": {"attention": inducer("inducer")},
        "inducer-lora": own,
        "mam-inducer": own | {"ffn": ffn},
    }


def golden(family, name, method, backbone):
    directory = f"{family}-{name}"
    out = OUT / directory
    out.mkdir()
    own = drawn(directory, adapter_shapes(family, method))
    config = {
        "peft_type": "INDUCER",
        "task_type": {"gpt2": "CAUSAL_LM", "roberta": "SEQ_CLS"}[family],
        "base_model_name_or_path": f"../{family}",
    }
    write_json(out / "adapter_config.json", config | method)
    save_file(own, out / "adapter_model.safetensors")
    trained = {n: x.double().requires_grad_() for n, x in sorted(own.items())}
    tensors = {n: x.double() for n, x in backbone.items()} | trained
    logits, labelled, labels = compute(family, tensors, method)
    plain = cross_entropy(labelled, labels)
    loss = cross_entropy(labelled, labels, label_smoothing=SMOOTHING[family])
    gradients = torch.autograd.grad(loss, trained.values())
    for n, g in zip(trained, gradients, strict=True):
        # the same for every key, which the softmax does not see
        unseen = n.endswith((".self.key.bias", ".lora.k.bias"))
        assert (g.abs().max() > 1e-4) != unseen, (directory, n, g.abs().max())
    expected = {
        "logits": logits.detach(),
        "loss": torch.stack([loss, plain]).detach(),
        "gradients": torch.cat([g.flatten() for g in gradients]),
    }
    save_file(expected, out / "expected.safetensors")


def write_json(path, value):
    path.write_text(json.dumps(value) + "\n")


def main():
    torch.set_num_threads(1)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    versions = {m.__name__: m.__version__ for m in (torch, safetensors, numpy)}
    made = {"seed": SEED, "versions": versions, "label_smoothing": SMOOTHING}
    write_json(OUT / "made.json", made)
    for family, config in CONFIGS.items():
        out = OUT / family
        out.mkdir()
        backbone = drawn(family, backbone_shapes(family))
        write_json(out / "config.json", config)
        write_json(out / "batch.json", BATCHES[family])
        save_file(backbone, out / "model.safetensors", metadata={"format": "pt"})
        for name, method in methods(family).items():
            golden(family, name, method, backbone)


if __name__ == "__main__":
    main()
