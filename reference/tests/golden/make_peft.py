"""Golden numbers from the peft package: (IA)³, rsLoRA and DoRA on the tiny backbones of make.py.

    pip install "peft==0.21.2" "transformers==5.24.0" "torch==2.15.0" "numpy==2.4.6"
    python make_peft.py       # rewrites peft/ beside this file; needs gpt2/ and roberta/ of make.py

For each backbone and method: the adapter as peft saves it (tensors in float32, drawn from numpy's
default_rng(20220511), no scale near 1 and no factor of LoRA zero), and in expected.json, computed
in float64: for three rows the logits, the loss, the gradient of that loss in every tensor of the
adapter, and the logits of the merged model. The versions used are stored beside them.

(IA)³ stands where peft puts it by default: on GPT-2's fused c_attn (so that queries have a scale
too) and the input of mlp.c_proj; on RoBERTa's key and value and the inputs of both modules named
output.dense (so that the heads have a scale before W^o too).
"""
import json
import pathlib
import shutil

import numpy as np
import peft
import torch
import transformers
from peft import IA3Config, LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy
from transformers import GPT2LMHeadModel, RobertaForSequenceClassification

HERE = pathlib.Path(__file__).parent
MODULES = (peft, transformers, torch, np)
VERSIONS = {module.__name__: module.__version__ for module in MODULES}
rng = np.random.default_rng(20220511)

GPT2 = [
    ([3, 1, 4, 1, 5, 9, 2], [1] * 7, [-100, 1, 4, -100, 5, 9, 2]),
    ([0, 0, 6, 5, 3, 12, 8], [0, 0, 1, 1, 1, 1, 1], [-100, -100, -100, 5, 3, 12, 8]),
    ([7, 2], [1, 1], [7, 2]),
]
ROBERTA = [
    ([0, 5, 7, 2, 2, 9, 2], [1] * 7, 2),
    ([0, 5, 7, 2, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0], 0),
    ([0, 2], [1, 1], 1),
]
METHODS = {
    "ia3": lambda task: IA3Config(task_type=task),
    "rslora": lambda task: lora(task, use_rslora=True),
    "dora": lambda task: lora(task, use_dora=True),
}


def lora(task, **fields):
    return LoraConfig(
        task_type=task, r=3, lora_alpha=5,
        target_modules=["c_attn"] if task == "CAUSAL_LM" else ["query", "value"],
        fan_in_fan_out=task == "CAUSAL_LM", **fields,
    )


def backbone(name):
    kind = {"gpt2": GPT2LMHeadModel, "roberta": RobertaForSequenceClassification}[name]
    return kind.from_pretrained(HERE / name, attn_implementation="eager", dtype=torch.float32)


def draw(name, parameter):
    centre = 1.0 if "ia3_l" in name or "magnitude" in name else 0.0
    values = centre + 0.4 * rng.standard_normal(tuple(parameter.shape))
    parameter.data = torch.from_numpy(values.astype(np.float32))


def inputs(name, ids, mask):
    ids, mask = torch.tensor([ids]), torch.tensor([mask])
    if name == "roberta":
        return {"input_ids": ids, "attention_mask": mask}
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return {"input_ids": ids, "attention_mask": mask, "position_ids": positions}


def case(model, name, ids, mask, labels):
    model.zero_grad()
    logits = model(**inputs(name, ids, mask)).logits
    # transformers' own loss of a language model is in float32
    if name == "gpt2":
        loss = cross_entropy(logits[0, :-1], torch.tensor(labels[1:]))
    else:
        loss = cross_entropy(logits, torch.tensor([labels]))
    loss.backward()
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    stored = lambda n: n.replace(".modules_to_save", "").replace(".default", "")
    gradients = {stored(n): p.grad.tolist() for n, p in trained}
    return {"ids": ids, "mask": mask, "labels": labels, "logits": logits[0].tolist(),
            "loss": loss.item(), "gradients": gradients}


def golden(name, method):
    out = HERE / "peft" / f"{name}-{method}"
    shutil.rmtree(out, ignore_errors=True)
    task = {"gpt2": "CAUSAL_LM", "roberta": "SEQ_CLS"}[name]
    model = get_peft_model(backbone(name), METHODS[method](task)).eval()
    for n, parameter in sorted(model.named_parameters()):
        if parameter.requires_grad:
            draw(n, parameter)
    model.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    path = out / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = f"../../{name}"  # not this machine's path
    for field, value in config.items():  # peft's sets have no order
        config[field] = sorted(value) if isinstance(value, list) else value
    path.write_text(json.dumps(config, indent=1) + "\n")
    model.double()
    rows = {"gpt2": GPT2, "roberta": ROBERTA}[name]
    cases = [case(model, name, *row) for row in rows]
    model.merge_adapter()
    with torch.no_grad():
        for row in cases:
            logits = model(**inputs(name, row["ids"], row["mask"])).logits
            row["merged_logits"] = logits[0].tolist()
    expected = {"versions": VERSIONS, "cases": cases}
    (out / "expected.json").write_text(json.dumps(expected) + "\n")


# an order in which a new method leaves what was drawn for the others
for methods in (["ia3", "rslora"], ["dora"]):
    for name in ("gpt2", "roberta"):
        for method in methods:
            golden(name, method)
