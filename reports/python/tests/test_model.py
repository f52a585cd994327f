"""The habits of PEFT and transformers: files, training, merging, taking away."""

from __future__ import annotations

import copy
import json
import tempfile
import unittest
from pathlib import Path
from typing import Any

import inducer_tuning
import torch
import transformers
from safetensors.torch import load_file

from . import support

TASKS = {"CAUSAL_LM": support.gpt2, "SEQ_CLS": support.roberta}
ROW = torch.tensor([[3, 17, 40, 9, 28], [5, 6, 7, 8, 9]])


class Model(unittest.TestCase):
    """Both backbones."""

    def setUp(self) -> None:
        """Makes a backbone of each kind."""
        torch.manual_seed(5)
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.backbones = {t: make(self.folder / t) for t, make in TASKS.items()}

    def each(self, *names: str) -> Any:
        """Of each task and method: its name, its backbone's and its adapter's directory."""
        for task, backbone in self.backbones.items():
            for name, config in support.methods(task).items():
                if names and name not in names:
                    continue
                path = self.folder / f"{task}-{name}"
                special = 2 if task == "CAUSAL_LM" and name != "full" else 0
                support.adapter(path, backbone, config, special)
                with self.subTest(method=name, task=task):
                    yield name, backbone, path

    def logits(self, model: Any, ids: torch.Tensor = ROW) -> torch.Tensor:
        """In evaluation."""
        with torch.no_grad():
            return model.eval()(ids).logits

    def test_what_is_saved_is_what_was_read(self) -> None:
        """Bit by bit, and the configuration as the command writes it."""
        for _, backbone, path in self.each():
            model = inducer_tuning.load(support.model(backbone), path)
            again = self.folder / "again"
            model.save_pretrained(again)
            first, second = (load_file(p / "adapter_model.safetensors") for p in (path, again))
            self.assertEqual(set(first), set(second))
            for name, tensor in first.items():
                self.assertTrue(torch.equal(tensor, second[name]), name)
            configs = [json.loads((p / "adapter_config.json").read_text()) for p in (path, again)]
            self.assertEqual(configs[0], configs[1])

    def test_unload_and_disable_give_the_backbone_back(self) -> None:
        """The same values and class; and after `disable_adapter` the adapter's again."""
        for _, backbone, path in self.each():
            model = support.model(backbone)
            own, names = type(model), list(model.state_dict())
            before = self.logits(model)
            model = inducer_tuning.load(model, path)
            inside = self.logits(model)
            self.assertGreater(support.apart(inside[..., : before.shape[-1]], before), 1e-3)
            with model.disable_adapter() as base:
                self.assertTrue(torch.equal(self.logits(base), before))
            self.assertTrue(torch.equal(self.logits(model), inside))
            trained = [p.requires_grad for p in model.adapter_parameters().values()]
            self.assertTrue(all(trained))
            self.assertIs(model.unload(), model)
            self.assertIs(type(model), own)
            self.assertEqual(list(model.state_dict()), names)
            self.assertTrue(torch.equal(self.logits(model), before))

    def test_merging_keeps_the_function_or_says_why_not(self) -> None:
        """And the merged model is transformers' own, whose directory it loads."""
        merged = 0
        for _, backbone, path in self.each():
            model = inducer_tuning.load(support.model(backbone, torch.float64), path)
            before = self.logits(model)
            if "attention" in json.loads((path / "adapter_config.json").read_text()):
                with self.assertRaisesRegex(ValueError, "cannot be folded"):
                    model.merge_and_unload()
                continue
            model = model.merge_and_unload()
            self.assertLessEqual(support.apart(self.logits(model), before), 1e-11)
            out = self.folder / "merged"
            model.save_pretrained(out)
            again = support.model(out, torch.float64)
            self.assertLessEqual(support.apart(self.logits(again), before), 1e-11)
            merged += 1
        self.assertEqual(merged, 2 * 10)

    def test_a_head_of_its_own(self) -> None:
        """A GPT-2 whose head the adapter unties computes what the command computes."""
        backbone = self.backbones["CAUSAL_LM"]
        config = {**support.methods("CAUSAL_LM")["tuned"], "tuned": ["lm_head.weight"]}
        path = support.adapter(self.folder / "head", backbone, config, 2)
        model = support.model(backbone, torch.float64)
        before = self.logits(model)
        model = inducer_tuning.load(model, path)
        batch = {"input_ids": ROW, "labels": ROW}
        found = support.forward(self.folder, backbone, path, batch, "f64", gradients=True)
        logits = model(ROW).logits
        support.loss_of(logits, ROW).backward()
        self.assertLessEqual(support.apart(logits.detach(), found["logits"]), 1e-10)
        for name, parameter in model.adapter_parameters().items():
            self.assertLessEqual(support.apart(parameter.grad, found[f"grad.{name}"]), 1e-10, name)
        with self.assertRaisesRegex(ValueError, "lm_head.weight: a head of its own"):
            model.merge_and_unload()
        model = model.unload()
        self.assertTrue(torch.equal(self.logits(model), before))
        self.assertIs(model.lm_head.weight, model.transformer.wte.weight)

    def test_training_moves_the_adapter_alone(self) -> None:
        """In training mode with dropout; the frozen tensors keep their bytes."""
        for name, backbone, path in self.each():
            model = inducer_tuning.load(support.model(backbone), path).train()
            before = {n: p.detach().clone() for n, p in model.named_parameters()}
            own = {id(p) for p in model.adapter_parameters().values()}
            optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
            labels = ROW if "CAUSAL" in path.name else torch.tensor([0, 2])
            model(ROW, labels=labels).loss.backward()
            optimiser.step()
            for tensor, parameter in model.named_parameters():
                same = torch.equal(parameter, before[tensor])
                if id(parameter) not in own:
                    self.assertTrue(same, tensor)
                    self.assertIsNone(parameter.grad, tensor)
            moved = [not torch.equal(p, before[n]) for n, p in model.named_parameters()]
            self.assertTrue(any(moved), name)

    def test_trainer_trains_saves_and_resumes(self) -> None:
        """A checkpoint is an adapter directory that the command reads."""
        for task, names in {"CAUSAL_LM": ("mam-inducer",), "SEQ_CLS": ("inducer-lora",)}.items():
            for _, backbone, path in self.each(*names):
                if not path.name.startswith(task):
                    continue
                labels = ROW if task == "CAUSAL_LM" else torch.tensor([0, 2])
                rows = [
                    {"input_ids": r, "attention_mask": torch.ones_like(r), "labels": y, "extra": 1}
                    for r, y in zip(ROW, labels, strict=True)
                ] * 4

                def trainer(
                    out: Path, backbone: Path = backbone, path: Path = path, rows: Any = rows
                ) -> transformers.Trainer:
                    model = inducer_tuning.load(support.model(backbone), path)
                    options = transformers.TrainingArguments(
                        output_dir=str(out), max_steps=4, save_steps=2, logging_steps=1,
                        per_device_train_batch_size=2, learning_rate=1e-2, report_to=[],
                        use_cpu=True, disable_tqdm=True,
                    )  # fmt: skip
                    return transformers.Trainer(model=model, args=options, train_dataset=rows)

                whole = trainer(self.folder / "whole")
                whole.train()
                losses = [e["loss"] for e in whole.state.log_history if "loss" in e]
                self.assertLess(losses[-1], losses[0])
                checkpoint = self.folder / "whole" / "checkpoint-4"
                found = support.forward(
                    self.folder, backbone, checkpoint, {"input_ids": ROW}, "f32"
                )
                self.assertLessEqual(support.apart(self.logits(whole.model), found["logits"]), 1e-4)
                resumed = trainer(self.folder / "resumed")
                resumed.train(resume_from_checkpoint=str(self.folder / "whole" / "checkpoint-2"))
                ends = whole.model.adapter_parameters()
                for tensor, parameter in resumed.model.adapter_parameters().items():
                    self.assertLessEqual(support.apart(parameter, ends[tensor]), 1e-6, tensor)

    def test_gates_are_seen_layer_by_layer(self) -> None:
        """One [b, H, n] a layer and pass, between 0 and 1."""
        for _, backbone, path in self.each("inducer", "prefix"):
            model = inducer_tuning.load(support.model(backbone), path)
            with inducer_tuning.observe_gates(model) as seen:
                self.logits(model)
                self.logits(model)
            self.assertEqual([len(layers) for layers in seen], [2, 2])
            for gate in seen[0]:
                self.assertEqual(gate.shape, (2, 3, 5))
                self.assertTrue(bool(((gate > 0) & (gate < 1)).all()))

    def test_copies_checkpointing_half_precision_and_attention_implementations(self) -> None:
        """They compute the same function."""
        for name, backbone, path in self.each("mam-inducer", "prefix", "lora", "ia3"):
            model = inducer_tuning.load(support.model(backbone), path)
            before = self.logits(model)
            twin = copy.deepcopy(model)
            with torch.no_grad():
                for parameter in model.adapter_parameters().values():
                    parameter.zero_()
            self.assertTrue(torch.equal(self.logits(twin), before), "a copy has its own tensors")
            eager = support.model(backbone, attn_implementation="eager")
            eager = inducer_tuning.load(eager, path)
            self.assertLessEqual(support.apart(self.logits(eager), before), 1e-5)
            half = inducer_tuning.load(support.model(backbone, torch.bfloat16), path)
            self.assertLessEqual(support.apart(self.logits(half), before), 0.3, name)
            kept = {p.dtype for n, p in half.named_parameters() if "classifier" not in n
                    and p.requires_grad}  # fmt: skip
            self.assertEqual(kept, {torch.float32})
            labels = ROW if "CAUSAL" in path.name else torch.tensor([0, 2])
            grads = []
            for checkpointing in (False, True):
                again = inducer_tuning.load(support.model(backbone), path).train()
                for part in again.modules():
                    if hasattr(part, "rate"):
                        part.rate = 0.0
                if checkpointing:
                    again.gradient_checkpointing_enable()
                again(ROW, labels=labels, use_cache=False).loss.backward()
                grads.append({n: p.grad for n, p in again.adapter_parameters().items()})
            for tensor, gradient in grads[0].items():
                self.assertLessEqual(support.apart(gradient, grads[1][tensor]), 1e-6, tensor)

    def test_attentions_and_hidden_states_are_given_where_asked_for(self) -> None:
        """With the eager implementation, as in transformers."""
        for _, backbone, path in self.each("inducer", "prefix", "lora"):
            model = support.model(backbone, attn_implementation="eager")
            model = inducer_tuning.load(model, path)
            with torch.no_grad():
                out = model(ROW, output_attentions=True, output_hidden_states=True)
            self.assertEqual([a.shape for a in out.attentions], [(2, 3, 5, 5)] * 2)
            self.assertEqual(len(out.hidden_states), 3)

    def test_counts_are_those_of_params(self) -> None:
        """`get_nb_trainable_parameters` against `inducer params`."""
        for name, backbone, path in self.each("mam-inducer", "lora", "adapter"):
            if backbone.name != "CAUSAL_LM":
                continue
            rows = json.loads(
                support.inducer(
                    "params", "--backbone", backbone, "--adapter", path / "adapter_config.json",
                    "--json",
                )
            )  # fmt: skip
            model = inducer_tuning.load(support.model(backbone), path)
            trained = model.get_nb_trainable_parameters()[0] - 2 * 24  # the special tokens' rows
            text = json.dumps(rows)
            self.assertIn(str(trained), text, name)


class Registry(unittest.TestCase):
    """What DESIGN.md says of PEFT's registry of methods."""

    def test_peft_takes_no_method_from_outside(self) -> None:
        """Its list of types is closed; when this fails, the package can be registered."""
        try:
            import peft
        except ModuleNotFoundError:
            raise unittest.SkipTest("not run: no peft") from None
        from peft.utils import register_peft_method

        with self.assertRaisesRegex(ValueError, "Unknown PEFT type INDUCER"):
            register_peft_method(
                name="inducer", config_cls=peft.PeftConfig, model_cls=peft.PeftModel
            )


class Refused(unittest.TestCase):
    """Bad input is an error that names file and field, and leaves the model as it was."""

    def setUp(self) -> None:
        """A backbone and an adapter."""
        torch.manual_seed(5)
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.backbone = support.gpt2(self.folder / "backbone")
        config = support.methods("CAUSAL_LM")["inducer-lora"]
        self.path = support.adapter(self.folder / "adapter", self.backbone, config, 1)

    def refused(self, pattern: str, model: Any = None) -> None:
        """The adapter is refused with such a message."""
        model = support.model(self.backbone) if model is None else model
        own, names = type(model), list(model.state_dict())
        with self.assertRaisesRegex(ValueError, pattern):
            inducer_tuning.load(model, self.path)
        self.assertIs(type(model), own)
        self.assertEqual(list(model.state_dict()), names)

    def config(self, change: Any) -> None:
        """Changes the adapter's configuration."""
        path = self.path / "adapter_config.json"
        config = json.loads(path.read_text())
        change(config)
        path.write_text(json.dumps(config))

    def test_tensors(self) -> None:
        """Missing, extra, of another shape, not finite, no file."""
        name = "transformer.h.1.attn.lora.q.a"
        whole = load_file(self.path / "adapter_model.safetensors")
        for change, pattern in (
            ({name: None}, f"adapter_model.safetensors: tensor {name}: missing, expected .3, 24."),
            ({name: torch.zeros(2, 24)}, f"tensor {name}: expected .3, 24., found .2, 24."),
            ({name: torch.full((3, 24), torch.nan)}, f"tensor {name}: .*not finite"),
            ({"more": torch.zeros(1)}, "tensor more .1.: not expected"),
        ):
            support.write_tensors(self.path, change)
            self.refused(pattern)
            support.write_tensors(self.path, {**whole, **dict.fromkeys(set(change) - set(whole))})
        (self.path / "adapter_model.safetensors").write_bytes(b"{}")
        self.refused("adapter_model.safetensors")
        (self.path / "adapter_model.safetensors").unlink()
        self.refused("adapter_model.safetensors: no such file")

    def test_configurations(self) -> None:
        """A wrong value, an unknown field, PEFT's own layout."""
        saved = (self.path / "adapter_config.json").read_text()
        exception = {"layer": 0, "target": "q", "rank": 2, "alpha": 1.0}
        for change, pattern in (
            (lambda c: c["lora"].update(rnk=3), "adapter_config.json: lora.rnk: unknown field"),
            (lambda c: c["lora"].update(rank="3"), "lora.rank: expected an integer"),
            (lambda c: c["lora"].update(rank=0), "lora.rank: expected at least 1"),
            (lambda c: c["lora"].update(targets=["q", "q"]), "lora.targets: expected some of"),
            (lambda c: c["lora"].update(targets=["w"]), r"lora.targets.0.: expected \"q\""),
            (lambda c: c["lora"].update(use_dora=True, bias=False), "use_dora: expected false"),
            (
                lambda c: c["lora"].update(exceptions=[exception, exception]),
                "lora.exceptions: expected targets of the list, each once a layer; found q of",
            ),
            (
                lambda c: c["lora"].update(exceptions=[{**exception, "layer": 2}]),
                "lora.exceptions: expected layers below 2, found 2",
            ),
            (lambda c: c["lora"].update(dropout=1), "lora.dropout: expected a number in"),
            (lambda c: c["lora"].pop("alpha"), "lora.alpha: missing"),
            (lambda c: c["attention"].update(kind="x"), "attention.kind: expected"),
            (lambda c: c["attention"].pop("key_bottleneck"), "attention.key_bottleneck: expected"),
            (lambda c: c.update(full="yes"), "full: expected true or false"),
            (lambda c: c.update(peft_type="LORA"), "PEFT's own layout"),
            (lambda c: c.pop("task_type"), "task_type: missing"),
        ):
            self.config(change)
            self.refused(pattern)
            (self.path / "adapter_config.json").write_text(saved)

    def test_models(self) -> None:
        """Another architecture, a switch that methods are not defined for, a second adapter."""
        config = transformers.BertConfig(
            num_hidden_layers=1, hidden_size=8, num_attention_heads=1, intermediate_size=8,
            vocab_size=9,
        )  # fmt: skip
        self.refused("expected gpt2 or roberta, found bert", transformers.BertModel(config))
        model = support.model(self.backbone)
        model.config.scale_attn_by_inverse_layer_idx = True
        self.refused("scale_attn_by_inverse_layer_idx: expected False, found True", model)
        model = inducer_tuning.load(support.model(self.backbone), self.path)
        with self.assertRaisesRegex(ValueError, "has an adapter already"):
            inducer_tuning.load(model, self.path)

    def test_rows_and_ids(self) -> None:
        """An id beyond the special tokens, a row beyond the positions behind a prefix."""
        model = inducer_tuning.load(support.model(self.backbone), self.path)
        model(torch.tensor([[50]]))  # the special token
        with self.assertRaises(IndexError):
            model(torch.tensor([[51]]))
        config = support.methods("CAUSAL_LM")["prefix"]
        path = support.adapter(self.folder / "prefix", self.backbone, config)
        model = inducer_tuning.load(support.model(self.backbone), path)
        model(torch.zeros(1, 44, dtype=torch.long))
        with self.assertRaisesRegex(IndexError, "position 44 behind a prefix of 4: the backbone"):
            model(torch.zeros(1, 45, dtype=torch.long))

    def test_classes(self) -> None:
        """A head for another number of classes."""
        backbone = support.roberta(self.folder / "roberta")
        config = support.methods("SEQ_CLS")["inducer"]
        self.path = support.adapter(self.folder / "classes", backbone, config)
        model = support.model(backbone, num_labels=2, ignore_mismatched_sizes=True)
        self.refused("has 3 classes, the model 2: load the model with num_labels=3", model)
