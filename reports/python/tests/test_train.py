"""From `inducer train` to transformers and back: logits, gradients and generated texts."""

from __future__ import annotations

import json
import random
import tempfile
import unittest
from pathlib import Path
from typing import Any

import inducer_tuning
import torch
import transformers

from . import support

METHODS = (
    "full bitfit adapter lora ia3 prefix mam-adapter adaptive extension gating inducer "
    "inducer-lora mam-inducer"
).split()
NAMES = ("Ada", "Aarhus", "Bree", "Cora", "Delft", "Ede", "Fano", "Ghent")
PLACES = ("Denmark", "Norway", "Holland", "Wales")
OF_FILES = ("dora", "lora-everywhere")
"""Methods of a file, as `support.methods` has them."""
STEPS = ("--steps", 4, "--batch-size", 4, "--learning-rate", 0.02, "--threads", 1)


def entries(count: int, draw: random.Random) -> dict[str, Any]:
    """WebNLG's JSON: who lives where, in one sentence."""
    out = []
    for i in range(1, count + 1):
        subject, place = draw.choice(NAMES), draw.choice(PLACES)
        triple = {"subject": subject, "property": "livesIn", "object": place}
        text = {"lex": f"{subject} lives in {place}.", "comment": "good"}
        out.append(
            {
                str(i): {
                    "category": "City",
                    "size": "1",
                    "modifiedtripleset": [triple],
                    "originaltriplesets": {"originaltripleset": [[triple]]},
                    "lexicalisations": [text],
                    "xml_id": f"Id{i}",
                }
            }
        )
    return {"entries": out}


class Train(unittest.TestCase):
    """Data and backbones that the command makes itself."""

    @classmethod
    def setUpClass(cls) -> None:
        """A text, a GPT-2 and a RoBERTa trained on it for a few steps, and data."""
        holder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(holder.cleanup)
        cls.folder = folder = Path(holder.name)
        draw = random.Random(1)
        lines = [
            f"{draw.choice(NAMES)} lives in {draw.choice(PLACES)} and likes "
            f"{draw.choice(NAMES)}, who {draw.choice(('reads', 'sings', 'sleeps'))}."
            for _ in range(600)
        ]
        (folder / "text.txt").write_text("\n\n".join(lines))
        for kind in ("gpt2", "roberta"):
            support.inducer(
                "pretrain", "--kind", kind, "--text", folder / "text.txt", "--out", folder / kind,
                "--vocabulary", 300, "--layers", 2, "--hidden", 24, "--heads", 3, "--positions",
                192, "--length", 32, "--steps", 30, "--batch-size", 8, "--learning-rate", 0.01,
            )  # fmt: skip
        (folder / "webnlg").mkdir()
        for part, count in (("train", 12), ("dev", 4), ("test", 5)):
            path = folder / "webnlg" / f"{part}.json"
            path.write_text(json.dumps(entries(count, draw)))
        (folder / "sst2").mkdir()
        for part, count in (("train", 40), ("dev", 6)):
            rows = [(line, line.count("sings")) for line in lines[:count]]
            text = "\n".join(f"{sentence}\t{label}" for sentence, label in rows)
            (folder / "sst2" / f"{part}.tsv").write_text(f"sentence\tlabel\n{text}\n")

    def trained(self, task: str, method: str) -> tuple[Path, list[Any]]:
        """An adapter that `inducer train` made, and the arguments that name its inputs."""
        name, kind = ("webnlg", "gpt2") if task == "CAUSAL_LM" else ("sst2", "roberta")
        inputs = ["--task", name, "--data", self.folder / name, "--backbone", self.folder / kind]
        run = self.folder / f"{name}-{method}"
        if method in OF_FILES:
            file = self.folder / f"{name}-of-file" / method / "adapter_config.json"
            file.parent.mkdir(parents=True)
            file.write_text(json.dumps(support.methods(task)[method]))
            method = str(file)
        support.inducer("train", *inputs, "--method", method, "--out", run, *STEPS)
        return run / "best", inputs

    def test_gpt2(self) -> None:
        """Logits, gradients and texts of every method, and the way back."""
        tokenizer = transformers.AutoTokenizer.from_pretrained(self.folder / "gpt2")
        data = json.loads((self.folder / "webnlg" / "test.json").read_text())["entries"]
        tests = [next(iter(e.values()))["modifiedtripleset"] for e in data]
        prompts = [[(t["subject"], t["property"], t["object"]) for t in e] for e in tests]
        for method in (*METHODS, *OF_FILES):
            with self.subTest(method=method):
                path, inputs = self.trained("CAUSAL_LM", method)
                out = self.folder / "texts"
                support.inducer("generate", *inputs, "--adapter", path, "--out", out)
                model = inducer_tuning.load(support.model(self.folder / "gpt2"), path)
                layout = inducer_tuning.WebNlg(tokenizer, model)
                batch = layout.batch(prompts)
                tokens = model.generate(**batch, **layout.generation, max_new_tokens=40)
                texts = [t.replace("\n", " ") for t in layout.texts(batch, tokens)]
                self.assertEqual(texts, out.read_text().split("\n")[:-1])
                self.compare(path, self.folder / "gpt2", batch)

    def test_roberta(self) -> None:
        """Logits and gradients of every method, and the way back."""
        tokenizer = transformers.AutoTokenizer.from_pretrained(self.folder / "roberta")
        texts = ["Ada sings.", "Ghent lives in Wales and sleeps."]
        batch = dict(tokenizer(texts, padding=True, return_tensors="pt"))
        batch.pop("token_type_ids", None)
        for method in (*METHODS, *OF_FILES):
            with self.subTest(method=method):
                path, inputs = self.trained("SEQ_CLS", method)
                self.compare(path, self.folder / "roberta", batch)

    def compare(self, path: Path, backbone: Path, batch: dict[str, torch.Tensor]) -> None:
        """Logits and gradients in float64, and those of what transformers saves again."""
        causal = backbone.name == "gpt2"
        options: dict[str, Any] = {} if causal else {"num_labels": 2}
        given = {k: v for k, v in batch.items() if k != "token_type_ids"}
        if causal:
            given["segment_ids"] = batch["token_type_ids"]
            labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
            first = batch["attention_mask"].argmax(-1, keepdim=True)
            labels.scatter_(1, first, -100)
        else:
            labels = torch.tensor([[1], [0]])
        given["labels"] = labels
        found = support.forward(self.folder, backbone, path, given, "f64", gradients=True)
        model = support.model(backbone, torch.float64, **options)
        model = inducer_tuning.load(model, path)
        logits = model(**batch).logits
        loss = support.loss_of(logits, labels)
        loss.backward()
        real = batch["attention_mask"].bool() if causal else slice(None)
        self.assertLessEqual(support.apart(logits[real].detach(), found["logits"][real]), 1e-10)
        for name, parameter in model.adapter_parameters().items():
            gradient = parameter.grad
            ours = found[f"grad.{name}"]
            gradient = torch.zeros_like(ours) if gradient is None else gradient
            self.assertLessEqual(support.apart(gradient, ours), 1e-10, name)
        again = self.folder / "again"
        with torch.no_grad():  # a step of training in PyTorch
            for parameter in model.adapter_parameters().values():
                if parameter.grad is not None:
                    parameter.sub_(0.01 * parameter.grad)
                parameter.copy_(parameter.float())  # files hold float32
        model.save_pretrained(again)
        back = support.forward(self.folder, backbone, again, given, "f64")
        with torch.no_grad():
            logits = model(**batch).logits
        self.assertLessEqual(support.apart(logits[real], back["logits"][real]), 1e-10)
        self.assertGreater(support.apart(back["logits"], found["logits"]), 1e-8)
