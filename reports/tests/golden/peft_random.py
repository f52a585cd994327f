"""Random configurations of peft's LoRA and prefix-tuning, against `inducer forward`.

    python peft_random.py INDUCER [COUNT] [SEED]

Each adapter is made and saved by peft on a small random backbone of transformers (seeded), loaded
again by peft, and its logits are compared: within 2e-5 of them, or `inducer` refuses by naming a
field. Made with peft 0.21.2, transformers 5.24.0; 100 configurations, seed 1.
"""

import json
import random
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, PrefixTuningConfig, get_peft_model
from safetensors.torch import load_file
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

warnings.simplefilter("ignore")
MOST = 2e-5
IDS = [[5, 17, 33, 2, 71, 8, 44, 60], [3, 9, 27, 81, 12, 55, 6, 30]]


def backbone(kind, tied):
    if kind == "gpt2":
        config = GPT2Config(
            vocab_size=90, n_positions=40, n_embd=32, n_layer=3, n_head=4, tie_word_embeddings=tied
        )
        return GPT2LMHeadModel(config)
    config = RobertaConfig(
        vocab_size=90,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=42,
        type_vocab_size=1,
        num_labels=3,
    )
    return RobertaForSequenceClassification(config)


def lora(kind, draw):
    gpt2 = kind == "gpt2"
    names = (
        ["c_attn", "c_fc", "attn.c_proj", "mlp.c_proj", "c_proj"]
        if gpt2
        else ["query", "key", "value", "intermediate.dense", "attention.output.dense", "dense"]
    )
    picked = draw.sample(names, draw.randint(1, 3))
    pattern = ".*\\.(" + "|".join(n.replace(".", "\\.") for n in picked) + ")"
    fields = {
        "r": draw.randint(1, 6),
        "lora_alpha": draw.choice([1, 4, 8, 32]),
        "lora_dropout": draw.choice([0.0, 0.1]),
        "use_rslora": draw.random() < 0.3,
        "target_modules": draw.choice([picked, picked, pattern, "all-linear", None]),
        "bias": draw.choice(["none", "none", "none", "all", "lora_only"]),
        "init_lora_weights": draw.choice([True, True, False, "gaussian", "olora", "pissa"]),
        "task_type": "CAUSAL_LM" if gpt2 else draw.choice(["SEQ_CLS", "SEQ_CLS", None]),
    }
    if draw.random() < 0.3:
        fields["use_dora"] = True
    elif draw.random() < 0.3 and isinstance(fields["init_lora_weights"], bool):
        fields["lora_bias"] = True
    if draw.random() < 0.3 and not isinstance(fields["target_modules"], str):
        fields["layers_to_transform"] = draw.choice([1, [0, 2], [2]])
        if draw.random() < 0.5:
            fields["layers_pattern"] = "h" if gpt2 else "layer"
    if draw.random() < 0.2:
        fields["exclude_modules"] = draw.choice([[names[0]], f".*\\.1\\..*{names[0]}"])
    if draw.random() < 0.3:
        fields["rank_pattern"] = {draw.choice(names): draw.randint(1, 7)}
    if draw.random() < 0.3:
        fields["alpha_pattern"] = {draw.choice(names): draw.randint(1, 20)}
    if draw.random() < 0.25:
        save = ["wte", "lm_head", "ln_f", "wpe", "ln_1"] if gpt2 else ["classifier", "embeddings"]
        fields["modules_to_save"] = draw.sample(save, draw.randint(1, 2))
        fields["ensure_weight_tying"] = draw.random() < 0.4
    if draw.random() < 0.08:
        fields["alora_invocation_tokens"] = [33, 2]
    if draw.random() < 0.05:
        fields["trainable_token_indices"] = {"wte" if gpt2 else "word_embeddings": [1, 2]}
    return LoraConfig(**fields)


def prefix(draw):
    return PrefixTuningConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=draw.randint(1, 7),
        prefix_projection=draw.random() < 0.4,
        encoder_hidden_size=draw.choice([16, 32]),
    )


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=torch.tensor(IDS)).logits


def one(inducer, i, draw, home):
    kind = draw.choice(["gpt2", "gpt2", "roberta"])
    torch.manual_seed(draw.randint(0, 10**9))
    base, adapter, batch, out = (home / n for n in ("base", "adapter", "b.json", "o.safetensors"))
    backbone(kind, draw.random() < 0.8).save_pretrained(base)
    load = GPT2LMHeadModel if kind == "gpt2" else RobertaForSequenceClassification
    config = prefix(draw) if kind == "gpt2" and draw.random() < 0.15 else lora(kind, draw)
    try:
        model = get_peft_model(load.from_pretrained(base), config)
        for name, p in model.named_parameters():
            if p.requires_grad:
                p.data += 0.2 * torch.randn_like(p)
        model.save_pretrained(adapter)
        want = logits(PeftModel.from_pretrained(load.from_pretrained(base), adapter))
    except Exception as e:  # a combination that peft itself does not take
        return "none", f"peft: {type(e).__name__}: {str(e)[:90]}"
    batch.write_text(json.dumps({"input_ids": IDS}))
    run = [inducer, "forward", "--backbone", base, "--adapter", adapter, "--batch", batch]
    done = subprocess.run([*map(str, run), "--out", str(out)], capture_output=True, text=True)
    if done.returncode == 1 and "field `" in done.stderr and "panicked" not in done.stderr:
        return "refused", done.stderr.strip().splitlines()[-1][-160:]
    if done.returncode != 0:
        return "FAILED", done.stderr.strip()[-300:]
    error = (load_file(out)["logits"] - want).abs().max().item()
    return ("right" if error < MOST else "WRONG"), f"{error:.1e}"


def main():
    inducer = Path(sys.argv[1]).resolve()
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    draw = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    totals, i = {}, 0
    while i < count:
        with tempfile.TemporaryDirectory() as home:
            verdict, said = one(inducer, i, draw, Path(home))
            totals[verdict] = totals.get(verdict, 0) + 1
            i += verdict != "none"
            if verdict in ("WRONG", "FAILED"):
                print((Path(home) / "adapter/adapter_config.json").read_text())
            print(i, verdict, said, flush=True)
    print(totals)
    sys.exit(1 if "WRONG" in totals or "FAILED" in totals else 0)


main()
