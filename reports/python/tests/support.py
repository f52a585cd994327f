"""Small random backbones, an adapter of each method, and the `inducer` command to hold them to."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

INDUCER = os.environ.get("INDUCER", "inducer")
CLASSES = 3

transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()


def inducer(*args: Any) -> str:
    """Runs the command; an error is its message."""
    done = subprocess.run([INDUCER, *map(str, args)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"inducer {' '.join(map(str, args))}\n{done.stderr}")
    return done.stdout


def gpt2(directory: Path, heads: int = 3) -> Path:
    """A GPT-2 with large random weights, so that every part matters."""
    config = transformers.GPT2Config(
        n_layer=2, n_embd=24, n_head=heads, n_inner=40, vocab_size=50, n_positions=48,
        bos_token_id=0, eos_token_id=0, initializer_range=0.2,
        attn_pdrop=0.0, resid_pdrop=0.0, embd_pdrop=0.0,
    )  # fmt: skip
    transformers.GPT2LMHeadModel(config).save_pretrained(directory)
    return directory


def roberta(directory: Path) -> Path:
    """A RoBERTa with a head for three classes."""
    config = transformers.RobertaConfig(
        num_hidden_layers=2, hidden_size=24, num_attention_heads=3, intermediate_size=40,
        vocab_size=50, max_position_embeddings=50, type_vocab_size=1, initializer_range=0.2,
        layer_norm_eps=1e-5, num_labels=CLASSES, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    transformers.RobertaForSequenceClassification(config).save_pretrained(directory)
    return directory


def model(directory: Path, dtype: torch.dtype = torch.float32, **options: Any) -> Any:
    """The backbone in transformers, in evaluation mode."""
    kind = json.loads((directory / "config.json").read_text())["model_type"]
    classes = {
        "gpt2": transformers.GPT2LMHeadModel,
        "roberta": transformers.RobertaForSequenceClassification,
    }
    return classes[kind].from_pretrained(directory, dtype=dtype, **options).eval()


def adapter(
    directory: Path, backbone: Path, config: dict[str, Any], special: int = 0, seed: int = 1
) -> Path:
    """An adapter of that method whose every tensor is random."""
    import inducer_tuning

    made = inducer_tuning.get_inducer_model(model(backbone), config, special)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in made.adapter_parameters().items():
            noise = torch.randn(parameter.shape, generator=generator) * 0.3
            factor = name.endswith(("ia3", "ia3.k", "ia3.v", "LayerNorm.weight", "norm.weight"))
            of_backbone = name in made._own_tensors
            kept = of_backbone or name.endswith("magnitude")
            base = parameter.detach() if kept else (1.0 if factor else 0.0)
            parameter.copy_(base + noise)
    made.save_pretrained(directory)
    return directory


def forward(
    folder: Path,
    backbone: Path,
    adapter_dir: Path,
    batch: dict[str, Any],
    dtype: str,
    gradients: bool = False,
) -> dict[str, Tensor]:
    """Logits, loss and gradients of the engine."""
    lists = {k: v.tolist() if isinstance(v, Tensor) else v for k, v in batch.items()}
    (folder / "batch.json").write_text(json.dumps(lists))
    out = folder / "out.safetensors"
    inducer(
        "forward", "--backbone", backbone, "--adapter", adapter_dir, "--batch",
        folder / "batch.json", "--out", out, "--dtype", dtype,
        *(["--gradients"] if gradients else []),
    )  # fmt: skip
    return load_file(out)


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean loss in the logits' own type (transformers computes it in float32)."""
    if logits.ndim == 2:
        return F.cross_entropy(logits, labels[:, 0])
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def apart(a: Tensor, b: Tensor) -> float:
    """The largest difference."""
    assert a.shape == b.shape, (a.shape, b.shape)
    return (a.double() - b.double()).abs().max().item() if a.numel() else 0.0


INDUCERS = ("adaptive", "extension", "gating", "inducer")


def methods(task: str) -> dict[str, dict[str, Any]]:
    """A configuration of every method, by its name on the command line."""
    base = {"peft_type": "INDUCER", "task_type": task}

    def variant(name: str) -> dict[str, Any]:
        key = {"key_bottleneck": 3} if name in ("gating", "inducer") else {}
        return {"kind": "inducer", "variant": name, "value_bottleneck": 4, **key}

    lora = {"targets": ["q", "v"], "rank": 3, "alpha": 5.0, "dropout": 0.1, "bias": True}
    on_q = {**lora, "targets": ["q"]}
    everywhere = {**lora, "targets": ["q", "k", "v", "o", "up", "down"]}
    exceptions = [
        {"layer": 0, "target": "q", "rank": 5, "alpha": 2.0},
        {"layer": 1, "target": "down", "rank": 2, "alpha": 9.0},
        {"layer": 1, "target": "v", "rank": 0, "alpha": 1.0},
    ]
    dora = {**everywhere, "bias": False, "use_dora": True}
    some = {
        "CAUSAL_LM": ["transformer.ln_f.weight", "transformer.wte.weight"],
        "SEQ_CLS": ["roberta.encoder.layer.0.output.dense.weight"],
    }
    prefix = {"kind": "prefix", "length": 4, "offset_positions": True}
    ffn = {"kind": "adapter", "placement": "parallel", "bottleneck": 5, "scale": 1.5}
    all_of = {
        **{name: {"attention": variant(name)} for name in INDUCERS},
        "full": {"full": True},
        "bitfit": {"bitfit": True},
        "adapter": {"attention": {"kind": "adapter", "bottleneck": 5, "layer_norm": True}},
        "lora": {"lora": lora},
        "rslora": {"lora": {**lora, "targets": ["q", "k", "v"], "use_rslora": True}},
        "lora-everywhere": {"lora": {**everywhere, "exceptions": exceptions}},
        "dora": {"lora": dora},
        "dora-bitfit": {"lora": {**dora, "exceptions": exceptions}, "bitfit": True},
        "dora-ia3": {"lora": dora, "ia3": {"targets": ["k", "v", "ffn"]}},
        "lora-beside": {"attention": variant("inducer"), "lora": everywhere, "ffn": ffn},
        "tuned": {"lora": on_q, "tuned": some[task]},
        "ia3": {"ia3": {"targets": ["k", "v", "ffn"]}},
        "prefix": {"attention": prefix},
        "prefix-in-place": {"attention": {**prefix, "offset_positions": False}},
        "mam-adapter": {"attention": prefix, "ffn": {**ffn, "layer_norm": True}},
        "inducer-lora": {"attention": variant("inducer"), "lora": on_q},
        "mam-inducer": {"attention": variant("inducer"), "lora": on_q, "ffn": ffn},
    }
    return {name: {**base, **parts} for name, parts in all_of.items()}


def write_tensors(directory: Path, change: dict[str, Tensor | None]) -> None:
    """Adds, replaces or (None) takes away tensors of an adapter's file."""
    path = directory / "adapter_model.safetensors"
    tensors = load_file(path)
    for name, tensor in change.items():
        if tensor is None:
            del tensors[name]
        else:
            tensors[name] = tensor
    save_file(tensors, path)
