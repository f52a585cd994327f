#!/usr/bin/env python3
"""Adapters to PEFT and back, and merged backbones in transformers: the same logits (≤ 1e-4).

    pip install torch transformers peft
    cargo build --release
    python3 verify/checks/peft_interchange.py \\
        [--engine target/release/inducer] [--cases 10] [--seed 1]

For random small GPT-2s and RoBERTa classifiers (made by transformers; a RoBERTa takes LoRA and
(IA)³ only, PEFT has no prefix for its classifier):
  1. LoRA, (IA)³ and prefix adapters written by this project's format -> `inducer export` ->
     PeftModel.from_pretrained: logits against `inducer forward`;
  2. LoRA, (IA)³ and prefix adapters made and saved by peft -> `inducer forward --adapter` reads
     them as they are: logits against peft;
  3. `inducer merge` of LoRA and (IA)³ for random α -> transformers' from_pretrained: logits against
     the unmerged `inducer forward`. Prints the worst difference of each; exit status 1 when one is
     above 1e-4.
"""

import argparse, json, os, random, subprocess, sys, tempfile
import peft, torch, transformers
from peft import IA3Config, LoraConfig, PeftModel, PrefixTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")


def engine_logits(a, folder, backbone, adapter, ids):
    batch, out = os.path.join(folder, "batch.json"), os.path.join(folder, "out.safetensors")
    with open(batch, "w") as f:
        json.dump({"input_ids": ids.tolist()}, f)
    run(
        a.engine,
        "forward",
        "--backbone",
        backbone,
        *(["--adapter", adapter] if adapter else []),
        "--batch",
        batch,
        "--out",
        out,
    )
    return load_file(out)["logits"]


def own_adapter(path, config, kind, rng):
    """A random adapter in this project's documented format."""
    os.makedirs(path)
    d, h, layers = config.n_embd, config.n_head, config.n_layer
    p, tensors = d // h, {}
    settings = {"peft_type": "INDUCER", "task_type": "CAUSAL_LM", "base_model_name_or_path": ""}
    if kind == "lora":
        targets, rank = rng.sample(["q", "k", "v"], rng.randint(1, 3)), rng.randint(1, 5)
        settings["lora"] = {
            "targets": targets,
            "rank": rank,
            "alpha": rng.choice([1.0, 7.5, 32.0]),
            "dropout": 0.1,
            "bias": rng.random() < 0.5,
            "use_rslora": rng.random() < 0.5,
        }
        for i in range(layers):
            for t in targets:
                at = f"transformer.h.{i}.attn.lora.{t}"
                tensors[at + ".a"], tensors[at + ".b"] = (
                    torch.randn(rank, d) * 0.2,
                    torch.randn(d, rank) * 0.2,
                )
                if settings["lora"]["bias"]:
                    tensors[at + ".bias"] = torch.randn(d) * 0.2
    elif kind == "ia3":
        targets = rng.sample(["k", "v", "ffn"], rng.randint(1, 3))
        settings["ia3"] = {"targets": targets}
        for i in range(layers):
            names = {"k": "attn.ia3.k", "v": "attn.ia3.v", "ffn": "mlp.ia3"}
            for t in targets:
                width = 4 * d if t == "ffn" else d
                tensors[f"transformer.h.{i}.{names[t]}"] = 1 + torch.randn(width) * 0.4
    else:
        length = rng.randint(1, 6)
        settings["attention"] = {"kind": "prefix", "length": length, "offset_positions": True}
        for i in range(layers):
            for name in ("key", "value"):
                tensors[f"transformer.h.{i}.attn.prefix.{name}"] = torch.randn(h, length, p)
    if rng.random() < 0.5:
        tensors["transformer.wte.added"] = torch.randn(rng.randint(1, 4), d) * 0.1
    save_file(tensors, os.path.join(path, "adapter_model.safetensors"))
    with open(os.path.join(path, "adapter_config.json"), "w") as f:
        json.dump(settings, f)
    return tensors.get("transformer.wte.added", torch.zeros(0, d)).shape[0]


def difference(x, y):
    assert x.shape == y.shape, (x.shape, y.shape)
    return (x - y).abs().max().item()


def one(a, case, worst):
    rng = random.Random(a.seed * 1000 + case)
    torch.manual_seed(a.seed * 1000 + case)
    h, p, vocab = rng.randint(1, 4), rng.choice([4, 8, 16]), rng.randint(20, 60)
    config = GPT2Config(
        n_layer=rng.randint(1, 3),
        n_embd=h * p,
        n_head=h,
        vocab_size=vocab,
        n_positions=64,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.3,
    )
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        at = lambda name: os.path.join(folder, name)
        GPT2LMHeadModel(config).eval().save_pretrained(at("backbone"))
        fresh = lambda path=at("backbone"): GPT2LMHeadModel.from_pretrained(path).eval()
        for kind in ("lora", "ia3", "prefix"):
            added = own_adapter(at(kind), config, kind, rng)
            ids = torch.randint(0, vocab + added, (2, rng.randint(1, 20)))
            found = engine_logits(a, folder, at("backbone"), at(kind), ids)
            run(
                a.engine,
                "export",
                "--backbone",
                at("backbone"),
                "--adapter",
                at(kind),
                "--out",
                at(kind + "-peft"),
            )
            model = fresh()
            model.resize_token_embeddings(vocab + added, mean_resizing=False)
            model = PeftModel.from_pretrained(model, at(kind + "-peft")).eval()
            note(worst, f"{kind}: exported, in peft", difference(model(ids).logits, found))
            if kind != "prefix":
                merged = at(kind + "-merged")
                run(
                    a.engine,
                    "merge",
                    "--backbone",
                    at("backbone"),
                    "--adapter",
                    at(kind),
                    "--out",
                    merged,
                )
                note(
                    worst,
                    f"{kind}: merged, in transformers",
                    difference(fresh(merged)(ids).logits, found),
                )
            run(
                a.engine,
                "export",
                "--layout",
                "inducer",
                "--backbone",
                at("backbone"),
                "--adapter",
                at(kind + "-peft"),
                "--out",
                at(kind + "-back"),
            )
            note(
                worst,
                f"{kind}: there and back",
                difference(
                    engine_logits(a, folder, at("backbone"), at(kind + "-back"), ids), found
                ),
            )
        given = {
            "lora": LoraConfig(
                task_type="CAUSAL_LM",
                r=rng.randint(1, 6),
                lora_alpha=rng.choice([1, 8, 32]),
                target_modules=["c_attn"],
                fan_in_fan_out=True,
                init_lora_weights=False,
                lora_bias=rng.random() < 0.5,
                use_rslora=rng.random() < 0.5,
            ),
            "ia3": IA3Config(task_type="CAUSAL_LM", fan_in_fan_out=True),
            "prefix": PrefixTuningConfig(
                task_type="CAUSAL_LM", num_virtual_tokens=rng.randint(1, 6)
            ),
        }
        for kind, settings in given.items():
            model = get_peft_model(fresh(), settings).eval()
            for name, parameter in model.named_parameters():
                if parameter.requires_grad or "lora_" in name:
                    parameter.normal_(1.0 if "ia3_" in name else 0.0, 0.3)
            model.save_pretrained(at(kind + "-made"))
            ids = torch.randint(0, vocab, (2, rng.randint(1, 20)))
            note(
                worst,
                f"{kind}: made by peft, read here",
                difference(
                    model(ids).logits,
                    engine_logits(a, folder, at("backbone"), at(kind + "-made"), ids),
                ),
            )


def roberta_adapter(path, config, classes, kind, rng):
    """Random LoRA or (IA)³ and a random head in this project's documented format."""
    os.makedirs(path)
    d, tensors = config.hidden_size, {}
    settings = {"peft_type": "INDUCER", "task_type": "SEQ_CLS", "base_model_name_or_path": ""}
    if kind == "lora":
        targets, rank = rng.sample(["q", "k", "v"], rng.randint(1, 3)), rng.randint(1, 5)
        settings["lora"] = {
            "targets": targets,
            "rank": rank,
            "alpha": rng.choice([1.0, 7.5, 32.0]),
            "dropout": 0.1,
            "bias": rng.random() < 0.5,
            "use_rslora": rng.random() < 0.5,
        }
    else:
        targets = rng.sample(["k", "v", "ffn"], rng.randint(1, 3))
        settings["ia3"] = {"targets": targets}
    for i in range(config.num_hidden_layers):
        layer = f"roberta.encoder.layer.{i}"
        for t in targets:
            at = f"{layer}.attention.self.{kind}.{t}"
            if kind == "ia3":
                name, width = (
                    (f"{layer}.ffn.ia3", config.intermediate_size) if t == "ffn" else (at, d)
                )
                tensors[name] = 1 + torch.randn(width) * 0.4
                continue
            tensors[at + ".a"], tensors[at + ".b"] = (
                torch.randn(rank, d) * 0.2,
                torch.randn(d, rank) * 0.2,
            )
            if settings["lora"]["bias"]:
                tensors[at + ".bias"] = torch.randn(d) * 0.2
    for name, shape in {
        "dense.weight": (d, d),
        "dense.bias": (d,),
        "out_proj.weight": (classes, d),
        "out_proj.bias": (classes,),
    }.items():
        tensors["classifier." + name] = torch.randn(*shape) * 0.3
    save_file(tensors, os.path.join(path, "adapter_model.safetensors"))
    with open(os.path.join(path, "adapter_config.json"), "w") as f:
        json.dump(settings, f)


def roberta(a, case, worst):
    rng = random.Random(a.seed * 1000 + case + 500)
    torch.manual_seed(a.seed * 1000 + case + 500)
    h, p, vocab, classes = (
        rng.randint(1, 4),
        rng.choice([4, 8, 16]),
        rng.randint(20, 60),
        rng.randint(2, 5),
    )
    config = RobertaConfig(
        num_hidden_layers=rng.randint(1, 3),
        hidden_size=h * p,
        num_attention_heads=h,
        intermediate_size=rng.randint(4, 70),
        vocab_size=vocab,
        max_position_embeddings=40,
        type_vocab_size=1,
        initializer_range=0.3,
        layer_norm_eps=1e-5,
    )
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        at = lambda name: os.path.join(folder, name)
        # a headless encoder: the classes are the adapter's
        RobertaForMaskedLM(config).eval().save_pretrained(at("backbone"))
        fresh = lambda path=at("backbone"): RobertaForSequenceClassification.from_pretrained(
            path, num_labels=classes
        ).eval()
        ids = lambda: torch.randint(3, vocab, (2, rng.randint(1, 20)))
        modules = rng.sample(["query", "key", "value"], rng.randint(1, 3))
        given = {
            "lora": LoraConfig(
                task_type="SEQ_CLS",
                r=rng.randint(1, 6),
                lora_alpha=rng.choice([1, 8, 32]),
                target_modules=modules,
                init_lora_weights=False,
                lora_bias=rng.random() < 0.5,
                use_rslora=rng.random() < 0.5,
            ),
            "ia3": IA3Config(task_type="SEQ_CLS"),
        }
        for kind in ("lora", "ia3"):
            own, there, back, merged, made = (
                at(kind + end) for end in ("", "-peft", "-back", "-merged", "-made")
            )
            roberta_adapter(own, config, classes, kind, rng)
            row, what = ids(), f"roberta {kind}"
            found = engine_logits(a, folder, at("backbone"), own, row)
            run(a.engine, "export", "--backbone", at("backbone"), "--adapter", own, "--out", there)
            note(
                worst,
                f"{what}: exported, in peft",
                difference(PeftModel.from_pretrained(fresh(), there).eval()(row).logits, found),
            )
            run(a.engine, "merge", "--backbone", at("backbone"), "--adapter", own, "--out", merged)
            model = RobertaForSequenceClassification.from_pretrained(merged).eval()
            note(worst, f"{what}: merged, in transformers", difference(model(row).logits, found))
            run(
                a.engine,
                "export",
                "--layout",
                "inducer",
                "--backbone",
                at("backbone"),
                "--adapter",
                there,
                "--out",
                back,
            )
            note(
                worst,
                f"{what}: there and back",
                difference(engine_logits(a, folder, at("backbone"), back, row), found),
            )
            model = get_peft_model(fresh(), given[kind]).eval()
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    parameter.normal_(1.0 if "ia3_" in name else 0.0, 0.3)
            model.save_pretrained(made)
            row = ids()
            note(
                worst,
                f"{what}: made by peft, read here",
                difference(model(row).logits, engine_logits(a, folder, at("backbone"), made, row)),
            )


def note(worst, what, error):
    worst[what] = max(worst.get(what, 0.0), error)


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("--engine", default="target/release/inducer")
    ap.add_argument("--cases", type=int, default=10)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    worst = {}
    for case in range(a.cases):
        one(a, case, worst)
        roberta(a, case, worst)
    print(
        f"peft {peft.__version__}, transformers {transformers.__version__}, "
        f"torch {torch.__version__}; {a.cases} cases, seed {a.seed}"
    )
    for what, error in worst.items():
        print(f"{what:38} {error:.2e}  {'ok' if error <= 1e-4 else 'FAILED'}")
    sys.exit(any(error > 1e-4 for error in worst.values()))


if __name__ == "__main__":
    main()
