"""Every method on both backbones computes in transformers what the command computes."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from typing import Any

import inducer_tuning
import torch

from . import support

BOUNDS = {"f32": 1e-4, "f64": 1e-10}
DTYPES = {"f32": torch.float32, "f64": torch.float64}


class Engine(unittest.TestCase):
    """On one backbone; `logits` and `gradients` against `inducer forward`."""

    folder: Path
    task = ""
    pads: dict[str, Any]

    @classmethod
    def setUpClass(cls) -> None:
        if not cls.task:
            raise unittest.SkipTest("the common part")
        torch.manual_seed(3)
        cls.holder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.holder.cleanup)
        cls.folder = Path(cls.holder.name)
        make = support.gpt2 if cls.task == "CAUSAL_LM" else support.roberta
        cls.backbone = make(cls.folder / "backbone")

    def adapter(self, name: str, config: dict[str, Any]) -> Path:
        special = 2 if self.task == "CAUSAL_LM" and name != "full" else 0
        path = self.folder / name
        return path if path.exists() else support.adapter(path, self.backbone, config, special)

    def test_logits_and_gradients_are_the_engines(self) -> None:
        for name, config in support.methods(self.task).items():
            path = self.adapter(name, config)
            top = 52 if self.task == "CAUSAL_LM" and name != "full" else 50
            batch = self.batch(top)
            for dtype, bound in BOUNDS.items():
                with self.subTest(method=name, dtype=dtype):
                    self.compare(path, batch, dtype, bound)

    def compare(self, path: Path, batch: dict[str, Any], dtype: str, bound: float) -> None:
        found = support.forward(self.folder, self.backbone, path, batch, dtype, gradients=True)
        model = inducer_tuning.load(support.model(self.backbone, DTYPES[dtype]), path)
        inputs = {k: v for k, v in batch.items() if k != "labels"}
        if "segment_ids" in inputs:
            inputs["token_type_ids"] = inputs.pop("segment_ids")
        logits = model(**inputs).logits
        loss = support.loss_of(logits, batch["labels"])
        loss.backward()
        real = batch["attention_mask"].bool() if logits.ndim == 3 else slice(None)
        self.assertLessEqual(support.apart(logits[real].detach(), found["logits"][real]), bound)
        self.assertLessEqual(abs(loss.item() - found["loss"].item()), bound)
        gradients = {n: p.grad for n, p in model.adapter_parameters().items()}
        named = {n.removeprefix("grad."): t for n, t in found.items() if n.startswith("grad.")}
        self.assertEqual(set(gradients), set(named))
        for tensor, ours in named.items():
            theirs = gradients[tensor]
            theirs = torch.zeros_like(ours) if theirs is None else theirs
            self.assertLessEqual(support.apart(theirs, ours), bound, tensor)
        trained = {id(p) for p in model.adapter_parameters().values()}
        for tensor, parameter in model.named_parameters():
            self.assertEqual(parameter.grad is not None or id(parameter) in trained,
                             id(parameter) in trained, tensor)  # fmt: skip

    def test_a_changed_tensor_is_seen(self) -> None:
        """The control: with any one tensor of a method changed, logits differ by far more."""
        for name, config in support.methods(self.task).items():
            path = self.adapter(name, config)
            batch = self.batch(50)
            inputs = {k: v for k, v in batch.items() if k in ("input_ids", "attention_mask")}
            model = inducer_tuning.load(support.model(self.backbone, torch.float64), path)
            with torch.no_grad():
                before = model(**inputs).logits
                for tensor, parameter in model.adapter_parameters().items():
                    if tensor.endswith("wte.added") or "embeddings" in tensor or "wpe" in tensor:
                        continue
                    if tensor.endswith(("key.bias", "attn.c_attn.bias", "lora.k.bias")):
                        continue  # a shift of all keys moves no softmax
                    saved = parameter.clone()
                    parameter.mul_(1.5)
                    moved = support.apart(model(**inputs).logits, before)
                    parameter.copy_(saved)
                    self.assertGreater(moved, 1e-7, f"{name}: {tensor}")

    def batch(self, top: int) -> dict[str, Any]:
        raise NotImplementedError


class OnGpt2(Engine):
    """GPT-2: rows padded left and right, segments, added tokens."""

    task = "CAUSAL_LM"

    def batch(self, top: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(7)
        ids = torch.randint(0, top, (4, 9), generator=generator)
        segments = torch.randint(0, top, (4, 9), generator=generator)
        mask = torch.ones_like(ids)
        mask[1, :3], mask[2, 6:] = 0, 0
        labels = ids.masked_fill(mask == 0, -100)
        labels[1, 3] = -100  # no loss from padding's own place
        return {
            "input_ids": ids, "segment_ids": segments, "attention_mask": mask, "labels": labels,
        }  # fmt: skip

    def test_one_head_and_one_token(self) -> None:
        """Where a tensor of several axes is a view of one."""
        backbone = support.gpt2(self.folder / "one", heads=1)
        for name in ("inducer", "prefix", "lora"):
            config = support.methods(self.task)[name]
            path = support.adapter(self.folder / f"one-{name}", backbone, config)
            model = inducer_tuning.load(support.model(backbone, torch.float64), path)
            for ids in ([[3]], [[3, 17, 40]]):
                batch = {"input_ids": ids}
                found = support.forward(self.folder, backbone, path, batch, "f64")
                logits = model(torch.tensor(ids)).logits.detach()
                self.assertLessEqual(support.apart(logits, found["logits"]), 1e-10)

    def test_a_row_is_the_same_padded_left_right_or_not(self) -> None:
        for name, config in support.methods(self.task).items():
            with self.subTest(method=name):
                model = support.model(self.backbone, torch.float64)
                model = inducer_tuning.load(model, self.adapter(name, config))
                row = torch.tensor([[3, 17, 40, 9, 28]])
                pad, one = torch.zeros(1, 3, dtype=torch.long), torch.ones_like(row)
                left = model(torch.cat([pad, row], 1), attention_mask=torch.cat([pad, one], 1))
                right = model(torch.cat([row, pad], 1), attention_mask=torch.cat([one, pad], 1))
                alone = model(row).logits
                self.assertLessEqual(support.apart(left.logits[:, 3:], alone), 1e-12)
                self.assertLessEqual(support.apart(right.logits[:, :5], alone), 1e-12)

    def test_generation_with_its_cache_is_recomputation(self) -> None:
        for name, config in support.methods(self.task).items():
            with self.subTest(method=name):
                model = support.model(self.backbone, torch.float64)
                model = inducer_tuning.load(model, self.adapter(name, config))
                prompts = torch.tensor([[0, 0, 5, 7], [9, 30, 2, 41]])
                mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
                options = {
                    "attention_mask": mask, "max_new_tokens": 12, "do_sample": False,
                    "pad_token_id": 0, "eos_token_id": None,
                }  # fmt: skip
                cached = model.generate(prompts, use_cache=True, **options)
                whole = model.generate(prompts, use_cache=False, **options)
                self.assertEqual(cached.tolist(), whole.tolist())
                static = model.generate(prompts, cache_implementation="static", **options)
                self.assertEqual(static.tolist(), whole.tolist())
                ids, again = [9, 30, 2, 41], []
                for _ in range(12):
                    batch = {"input_ids": [ids]}
                    path = self.adapter(name, config)
                    if len(again) % 4 == 0:  # the engine's next token, now and then
                        out = support.forward(self.folder, self.backbone, path, batch, "f64")
                        best = int(out["logits"][0, -1].argmax())
                    else:
                        best = int(whole[1, len(ids)])
                    again.append(best)
                    ids = [*ids, best]
                self.assertEqual(again, whole[1, 4:].tolist())


class OnRoberta(Engine):
    """RoBERTa for classes: rows padded left and right."""

    task = "SEQ_CLS"

    def batch(self, top: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(7)
        ids = torch.randint(3, top, (4, 9), generator=generator)
        mask = torch.ones_like(ids)
        mask[1, :3], mask[2, 6:] = 0, 0
        ids = ids.masked_fill(mask == 0, 1)
        labels = torch.tensor([[0], [2], [1], [2]])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}
