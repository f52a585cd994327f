#!/usr/bin/env python3
"""Small sound inputs for the fuzz targets: the goldens of reference/tests, and files by hand.

    python3 seeds.py        writes seeds/TARGET/ beside this file, those of the reference's targets
                            in its own folder

PyTorch's archives are made where torch is installed.
"""

import io
import json
import struct
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
GOLDEN = HERE.parents[1] / "reference/tests/golden"
BETWEEN = b"\n=====\n"
WIDTHS = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "I64": 8}


def write(target, name, data):
    of_reference = target.startswith("reference_")
    folder = HERE.parents[1] / "reference/fuzz" if of_reference else HERE
    folder = folder / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def safetensors(tensors, metadata=None, dtype="F32"):
    """A file with tensors of zeros of these shapes."""
    header, end = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    for name, shape in sorted(tensors.items()):
        size = WIDTHS[dtype]
        for extent in shape:
            size *= extent
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def dumped(value):
    return json.dumps(value, separators=(",", ":")).encode()


GPT2 = {
    "model_type": "gpt2",
    "n_embd": 2,
    "n_head": 1,
    "n_inner": 2,
    "n_layer": 1,
    "n_positions": 2,
    "vocab_size": 2,
    "activation_function": "gelu_new",
}
ROBERTA = {
    "model_type": "roberta",
    "hidden_size": 2,
    "num_attention_heads": 1,
    "num_hidden_layers": 1,
    "intermediate_size": 2,
    "max_position_embeddings": 4,
    "type_vocab_size": 1,
    "vocab_size": 3,
    "id2label": {"0": "no", "1": "yes"},
}


def linear(name, inputs, outputs, conv=False):
    shape = [inputs, outputs] if conv else [outputs, inputs]
    return {f"{name}.weight": shape, f"{name}.bias": [outputs]}


def norm(name):
    return {f"{name}.weight": [2], f"{name}.bias": [2]}


def gpt2_tensors():
    h = "transformer.h.0"
    return {
        "transformer.wte.weight": [2, 2],
        "transformer.wpe.weight": [2, 2],
        **norm(f"{h}.ln_1"),
        **norm(f"{h}.ln_2"),
        **norm("transformer.ln_f"),
        **linear(f"{h}.attn.c_attn", 2, 6, True),
        **linear(f"{h}.attn.c_proj", 2, 2, True),
        **linear(f"{h}.mlp.c_fc", 2, 2, True),
        **linear(f"{h}.mlp.c_proj", 2, 2, True),
    }


def roberta_tensors():
    e, layer = "roberta.embeddings", "roberta.encoder.layer.0"
    tensors = {
        f"{e}.word_embeddings.weight": [3, 2],
        f"{e}.position_embeddings.weight": [4, 2],
        f"{e}.token_type_embeddings.weight": [1, 2],
        **norm(f"{e}.LayerNorm"),
        **norm(f"{layer}.attention.output.LayerNorm"),
        **norm(f"{layer}.output.LayerNorm"),
    }
    for name in [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    ]:
        tensors |= linear(f"{layer}.{name}", 2, 2)
    return tensors


def configs():
    for i, kind in enumerate(["gpt2", "roberta"]):
        write("backbone_config", kind, (GOLDEN / kind / "config.json").read_bytes())
        for name in ["ia3", "rslora"]:
            path = GOLDEN / "peft" / f"{kind}-{name}"
            config = (path / "adapter_config.json").read_bytes()
            weights = (path / "adapter_model.safetensors").read_bytes()
            config = dumped({k: v for k, v in json.loads(config).items() if v is not None})
            write("adapter_config", path.name, bytes([i]) + config)
            write("adapter_folder", path.name, bytes([i]) + config + BETWEEN + weights)
    for name, value in {"small": GPT2, "small-roberta": ROBERTA}.items():
        write("backbone_config", name, dumped(value))
    own = {
        "inducer": {
            "attention": {
                "kind": "inducer",
                "variant": "inducer",
                "key_bottleneck": 2,
                "value_bottleneck": 3,
            }
        },
        "prefix": {"attention": {"kind": "prefix", "length": 2, "reparametrisation": {"width": 3}}},
        "adapter": {
            "attention": {"kind": "adapter", "bottleneck": 2, "layer_norm": True},
            "ffn": {"kind": "adapter", "placement": "parallel", "bottleneck": 2},
        },
        "lora": {
            "lora": {
                "targets": ["q", "down"],
                "rank": 2,
                "alpha": 4,
                "use_dora": True,
                "exceptions": [{"layer": 1, "target": "q", "rank": 0, "alpha": 1}],
            }
        },
        "ia3": {"ia3": {"targets": ["k", "v", "ffn"]}, "bitfit": True},
    }
    for name, parts in own.items():
        config = {"peft_type": "INDUCER", "task_type": "CAUSAL_LM", **parts}
        write("adapter_config", name, b"\0" + dumped(config))
    prefix = {
        f"transformer.h.{i}.attn.prefix.{name}": [2, 2, 4]
        for i in range(2)
        for name in ["key", "value"]
    }
    config = {
        "peft_type": "INDUCER",
        "task_type": "CAUSAL_LM",
        "attention": {"kind": "prefix", "length": 2, "offset_positions": False},
    }
    folder = dumped(config) + BETWEEN
    folder += safetensors({**prefix, "transformer.wte.added": [1, 8]})
    for target in ["adapter_folder", "reference_adapter"]:
        write(target, "prefix", b"\0" + folder)
    given = {
        "peft_type": "PREFIX_TUNING",
        "num_virtual_tokens": 2,
        "num_layers": 2,
        "token_dim": 8,
        "num_attention_heads": 2,
    }
    write("adapter_config", "peft-prefix", b"\0" + dumped(given))
    write(
        "adapter_folder",
        "peft-prefix",
        b"\0" + dumped(given) + BETWEEN + safetensors({"prompt_embeddings": [2, 32]}),
    )
    lora = {
        "peft_type": "LORA",
        "r": 1,
        "target_modules": r".*\.c_(attn|fc)",
        "layers_to_transform": None,
        "rank_pattern": {"c_fc": 2},
        "modules_to_save": ["wte"],
    }
    write("adapter_config", "peft-lora", b"\0" + dumped(lora))
    progress = {
        "step": 3,
        "tokens": 5,
        "seconds": 1.5,
        "best": [2.0, 1],
        "stale": 0,
        "finished": False,
    }
    kinds = ["parameter", "first", "second"]
    state = {f"{kind}.{name}": shape for kind in kinds for name, shape in prefix.items()}
    metadata = {"progress": json.dumps(progress), "optimiser_step": "3"}
    write("checkpoint_state", "prefix", safetensors(state, metadata))


def weights():
    for dtype in WIDTHS:
        tensors = {"a": [2, 1], "b.c": [3], "empty": [0, 4], "one": []}
        for target in ["safetensors_file", "reference_tensors"]:
            write(target, dtype, safetensors(tensors, {"format": "pt"}, dtype))
    index = {
        "metadata": {"total_size": 8},
        "weight_map": {"a": "a.safetensors", "b": "b.safetensors"},
    }
    write("weights_index", "two", dumped(index))
    head = {**linear("classifier.dense", 2, 2), **linear("classifier.out_proj", 2, 2)}
    folders = {
        "gpt2": (GPT2, gpt2_tensors()),
        "roberta": (ROBERTA, roberta_tensors()),
        "classifier": (ROBERTA, {**roberta_tensors(), **head}),
    }
    for name, (config, tensors) in folders.items():
        for target in ["backbone_folder", "reference_backbone"]:
            write(target, name, dumped(config) + BETWEEN + safetensors(tensors))


def pickles():
    try:
        import torch
    except ImportError:
        print("seeds.py: PyTorch's archives are not made, there is no torch")
        return
    from collections import OrderedDict

    whole = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    states = {
        "plain": {"a": whole, "b": whole.t(), "c": torch.zeros(2, dtype=torch.bfloat16)},
        "ordered": OrderedDict(a=torch.nn.Parameter(whole), n=torch.ones(1, dtype=torch.int64)),
        "views": {"row": whole[1], "one": whole[0, 0], "wide": torch.ones(1).expand(2, 2)},
    }
    states["ordered"]._metadata = OrderedDict([("", {"version": 1})])
    for name, state in states.items():
        file = io.BytesIO()
        torch.save(state, file)
        with zipfile.ZipFile(file) as archive:
            inside = {n: archive.read(n) for n in archive.namelist()}
        pickle = next(data for n, data in inside.items() if n.endswith("data.pkl"))
        write("pickle_values", name, pickle)
        small = io.BytesIO()
        with zipfile.ZipFile(small, "w", zipfile.ZIP_STORED) as archive:
            for n, data in inside.items():
                if n.endswith("data.pkl") or "/data/" in n:
                    archive.writestr(zipfile.ZipInfo(n), data)
        write("pickle_archive", name, small.getvalue())


for make in [configs, weights, pickles]:
    make()
