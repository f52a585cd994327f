"""The protocol's side of an engine in PyTorch (README.md beside this file): messages and files.

An engine is a function `load(backbone_dir, adapter_dir)` that returns a model with

    forward(batch) -> (logits, gates)    logits [texts, n, ids] or [texts, classes]; gates a list of
                                         [texts, n, heads], one a layer, or an empty list
    trainable      -> {name: tensor}     the tensors that train, by their names in files
    tensors()      -> {name: tensor}     every tensor of backbone and adapter by those names

and `serve(name, features, answers, load)` does the rest: loss, gradients, generation, a step.
"""

import json
import os
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file


class Unsupported(Exception):
    """A case that the engine does not do, though it does its features one by one."""


class Batch:
    """Rows of one width: ids [texts, n], visible [texts, n], segments and labels or None."""

    def __init__(self, file):
        long = lambda name: torch.tensor(file[name]) if file.get(name) is not None else None
        self.ids, self.segments, self.labels = map(long, ["input_ids", "segment_ids", "labels"])
        mask = long("attention_mask")
        self.visible = torch.ones_like(self.ids).bool() if mask is None else mask.bool()

    def positions(self):
        """Positions of a causal text count from its first visible token."""
        first = self.visible.long().argmax(1, keepdim=True)
        return (torch.arange(self.ids.shape[1])[None] - first).clamp(min=0)


def read_json(path):
    return json.loads(Path(path).read_text())


def read_tensors(path):
    """The tensors of a file in the type in which the engine computes."""
    default = torch.get_default_dtype()
    return {name: tensor.to(default) for name, tensor in load_file(path).items()}


def loss_of(logits, labels, smoothing):
    """Mean cross entropy over the labelled places; a language model's labels are shifted."""
    if logits.dim() == 3:
        logits, labels = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    return F.cross_entropy(logits, labels.flatten(), label_smoothing=smoothing)


def gradients(model, batch, smoothing):
    """The loss's gradient of every trainable tensor, zeros where it does not depend on one."""
    loss = loss_of(model.forward(batch)[0], batch.labels, smoothing)
    names, tensors = zip(*model.trainable.items())
    found = torch.autograd.grad(loss, tensors, allow_unused=True)
    return {n: torch.zeros_like(t) if g is None else g for n, t, g in zip(names, tensors, found)}


def compute(model, batch, request):
    out, want = {}, request["want"]
    if {"logits", "gates", "loss"} & set(want):
        with torch.no_grad():
            logits, gates = model.forward(batch)
        if "logits" in want:
            out["logits"] = logits
        if "gates" in want:
            out.update({f"gates.{layer}": gate for layer, gate in enumerate(gates)})
        if "loss" in want:
            out["loss"] = loss_of(logits, batch.labels, request["label_smoothing"]).reshape(1)
    if "gradients" in want:
        found = gradients(model, batch, request["label_smoothing"])
        out.update({f"grad.{name}": g for name, g in found.items()})
    return out


def generate(model, batch, request):
    """The likeliest token, again and again, each text by itself and without a cache."""
    rows = []
    for ids, visible in zip(batch.ids, batch.visible):
        text, new = ids[visible].tolist(), []
        for _ in range(request["new_tokens"]):
            with torch.no_grad():
                logits = model.forward(Batch({"input_ids": [text + new]}))[0]
            new.append(int(logits[0, -1].argmax()))
        rows.append(new)
    return rows


def step(model, batch, request):
    """Every tensor after x <- x - rate * gradient; those that do not train are left alone."""
    found = gradients(model, batch, request["label_smoothing"])
    with torch.no_grad():
        for name, tensor in model.trainable.items():
            tensor -= request["learning_rate"] * found[name]
    return dict(model.tensors())


def handle(load, request, models):
    """The answer to one request; a step spoils its model, so that one is not kept."""
    key = (request["backbone"], request["adapter"])
    model = models.pop(key, None) or load(*key)
    batch = Batch(read_json(request["batch"]))
    if request["request"] == "generate":
        models[key] = model
        return {"tokens": generate(model, batch, request)}
    if request["request"] == "step":
        out = step(model, batch, request)
    else:
        out, models[key] = compute(model, batch, request), model
    while len(models) > 4:
        models.pop(next(iter(models)))
    save_file({n: t.detach().contiguous().clone() for n, t in out.items()}, request["out"])
    return {}


def serve(name, features, answers, load, dtype=torch.float64):
    """Answers every request on standard input until it ends."""
    torch.set_default_dtype(dtype)
    torch.set_num_threads(1)
    # what libraries print must not stand between messages
    output = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    scalar = {torch.float64: "f64", torch.float32: "f32"}[dtype]
    models = {}
    for line in sys.stdin:
        request = json.loads(line)
        answer = {"id": request["id"]}
        if request["request"] == "hello":
            answer |= {"name": name, "dtype": scalar, "features": features, "answers": answers}
        else:
            try:
                answer |= handle(load, request, models)
            except Unsupported as error:
                answer["unsupported"] = str(error)
            except Exception as error:  # the row fails with it, the next one may not
                answer["error"] = f"{type(error).__name__}: {error}"
        print(json.dumps(answer), file=output)
