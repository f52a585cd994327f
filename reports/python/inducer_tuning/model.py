"""Adapters of the `inducer` command on models of transformers, with PEFT's names and habits.

`load` puts the parts of a method into a model and gives it the methods of `InducerModel`. It stays
the transformers model that it was: `generate`, `Trainer`, pipelines and `torch.compile` know it.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from . import config as c
from . import files, gpt2, parts, roberta
from .files import AdapterError


class InducerModel:
    """What `load` and `get_inducer_model` add to a transformers model.

    `InducerModel.from_pretrained(model, directory)` is `load`, by PEFT's name.
    """

    inducer_config: c.AdapterConfig
    _own_tensors: dict[str, Tensor]
    _own_class: type

    @staticmethod
    def from_pretrained(
        model: Any, adapter: str | Path, is_trainable: bool = False, **unknown: Any
    ) -> Any:
        """As PEFT's: for inference, frozen and in evaluation mode, unless `is_trainable`."""
        if unknown:
            raise TypeError(f"from_pretrained: unknown argument {next(iter(unknown))}")
        model = load(model, adapter, trainable=is_trainable)
        return model if is_trainable else model.eval()

    def adapter_parameters(self) -> dict[str, nn.Parameter]:
        """What the method trains, by its name in files."""
        named = dict(self.named_parameters())  # type: ignore[attr-defined]
        return {to_file(self, n): p for n, p in named.items() if trains(self, n)}

    def get_nb_trainable_parameters(self) -> tuple[int, int]:
        """Numbers of trainable and of all parameters."""
        model: Any = self
        sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
        return sum(n for n, trained in sizes if trained), sum(n for n, _ in sizes)

    def print_trainable_parameters(self) -> None:
        """Prints how many parameters are trained, of how many."""
        trained, everything = self.get_nb_trainable_parameters()
        print(
            f"trainable params: {trained:,d} || all params: {everything:,d} || "
            f"trainable%: {100 * trained / everything:.4f}"
        )

    def save_pretrained(
        self,
        save_directory: str | Path,
        is_main_process: bool = True,
        state_dict: dict[str, Tensor] | None = None,
        **_: Any,
    ) -> None:
        """Writes the adapter alone, as the command reads it: its configuration and its tensors.

        In a checkpoint of `Trainer` also an index, by which it finds the tensors when it resumes.
        """
        if not is_main_process:
            return
        tensors: dict[str, Tensor] = dict(self.adapter_parameters())
        if state_dict is not None:
            given = {to_file(self, name): t for name, t in state_dict.items()}
            tensors = {name: given.get(name, t) for name, t in tensors.items()}
        self.inducer_config.save_pretrained(save_directory)
        files.write(save_directory, tensors)
        if Path(save_directory).name.startswith("checkpoint-") and to_file(self, "") == "":
            files.write_index(save_directory, tensors)

    def load_adapter(self, adapter: str | Path, *_: Any, **__: Any) -> None:
        """Replaces the tensors by those of a directory of the same method."""
        found = c.AdapterConfig.read(adapter)
        own = self.inducer_config
        for name in ("attention", "lora", "ia3", "ffn", "bitfit", "full", "tuned"):
            if getattr(found, name) != getattr(own, name):
                raise c.ConfigError(
                    f"{Path(adapter, c.CONFIG_FILE)}: {name}: expected {getattr(own, name)}, "
                    f"found {getattr(found, name)}"
                )
        fill(self, adapter, files.read(adapter))

    def unload(self) -> Any:
        """The transformers model as it was before the adapter, the same object."""
        model: Any = self
        kind = backbone_kind(model)
        kind.detach(model, backbone_of(model))
        named = dict(model.named_parameters())
        with torch.no_grad():
            for name, tensor in self._own_tensors.items():
                if name in named:  # a head of its own is tied again
                    named[name].copy_(tensor)
        model._inducer_hook.remove()
        model.__class__ = self._own_class
        for name in ("inducer_config", "_own_tensors", "_own_class", "_inducer_hook"):
            delattr(model, name)
        return model

    def merge_and_unload(self) -> Any:
        """The transformers model with the adapter folded into its weights, the same object.

        LoRA, (IA)3 and trained tensors of the backbone can be folded, exactly over the reals.
        Raises AdapterError where a part cannot.
        """
        model, config = self, self.inducer_config
        rest = [n for n in ("attention", "ffn") if getattr(config, n) is not None]
        if rest:
            raise AdapterError(
                f"{', '.join(rest)}: cannot be folded into a backbone; `inducer merge` folds the "
                "rest and writes these parts beside it"
            )
        if files.HEAD in config.tuned:
            raise AdapterError(
                f"{files.HEAD}: a head of its own; `inducer merge` writes a backbone with it"
            )
        backbone = backbone_of(model)
        added = getattr(getattr(backbone, "wte", None), "added", None)
        with torch.no_grad():
            fold(backbone_kind(model), backbone)
        self._own_tensors = {}
        base = self.unload()
        if added is not None:
            rows = base.config.vocab_size
            base.resize_token_embeddings(rows + added.shape[0], mean_resizing=False)
            with torch.no_grad():
                base.get_input_embeddings().weight[rows:].copy_(added)
        return base

    @contextlib.contextmanager
    def disable_adapter(self) -> Iterator[Any]:
        """Within it the model computes as it did before the adapter."""
        model: Any = self
        state = {n: p.detach().clone() for n, p in self.adapter_parameters().items()}
        grads = {n: p.requires_grad for n, p in model.named_parameters()}
        config, training = self.inducer_config, model.training
        base = self.unload()
        try:
            yield base
        finally:
            special = state[files.ADDED].shape[0] if files.ADDED in state else 0
            attach(base, config, special)
            with torch.no_grad():
                for name, parameter in base.adapter_parameters().items():
                    parameter.copy_(state[name])
            for name, parameter in base.named_parameters():
                parameter.requires_grad_(grads[name])
            base.train(training)


def load(model: Any, adapter: str | Path, *, trainable: bool = True) -> Any:
    """Attaches an adapter directory of the `inducer` command to a transformers model.

    `model`: a GPT2LMHeadModel, a RobertaForSequenceClassification (with as many labels as the
    adapter has classes), a RobertaForMaskedLM, or the bare backbone of either. It is changed and
    returned; its class becomes a subclass of its own with the methods of `InducerModel`.
    `trainable`: whether the adapter's parameters require gradients; all others never do.

    Raises ConfigError or AdapterError naming file and field or tensor.
    """
    config = c.AdapterConfig.read(adapter)
    if config.prefix is not None and config.prefix.reparametrisation is not None:
        raise c.ConfigError(
            f"{Path(adapter, c.CONFIG_FILE)}: attention.reparametrisation: a saved adapter holds "
            "the prefix itself"
        )
    tensors = files.read(adapter)
    special = tensors[files.ADDED].shape[0] if files.ADDED in tensors else 0
    attach(model, config, special)
    try:
        fill(model, adapter, tensors)
    except AdapterError:
        model.unload()
        raise
    freeze(model, trainable)
    return model


def get_inducer_model(
    model: Any, config: c.AdapterConfig | dict[str, Any] | str | Path, special_tokens: int = 0
) -> Any:
    """Attaches a new adapter with its initial values, drawn from torch's generator.

    `config`: a configuration, the contents of an `adapter_config.json`, or its directory.
    `special_tokens`: trained rows behind the vocabulary (GPT-2).
    """
    if isinstance(config, (str, Path)):
        config = c.AdapterConfig.read(config)
    elif isinstance(config, dict):
        config = c.AdapterConfig.from_dict(config)
    config.check()
    if config.prefix is not None and config.prefix.reparametrisation is not None:
        raise c.ConfigError(
            "attention.reparametrisation: only `inducer train` trains a prefix through a network; "
            "leave the field out to train the prefix itself"
        )
    attach(model, config, special_tokens)
    freeze(model, True)
    return model


def backbone_of(model: Any) -> Any:
    """The bare backbone in a model."""
    return getattr(model, model.base_model_prefix, model)


def backbone_kind(model: Any) -> ModuleType:
    """The module that knows the model's backbone."""
    kinds = {"gpt2": gpt2, "roberta": roberta}
    found = getattr(getattr(model, "config", None), "model_type", None)
    if found not in kinds:
        raise AdapterError(
            f"the model's config.model_type: expected gpt2 or roberta, found {found}"
        )
    return kinds[found]


def to_file(model: Any, name: str) -> str:
    """A parameter's name in files: a bare backbone has none of their first word."""
    prefix = model.base_model_prefix
    return name if hasattr(model, prefix) else f"{prefix}.{name}"


UNTRAINED = ("lm_head.bias", "lm_head.decoder.bias")
"""Of a masked language model's head, as the command keeps it."""
PARTS = (".lora.", ".ia3", ".inducer.", ".prefix.", ".adapter.", "wte.added")


def trains(model: Any, name: str) -> bool:
    """Whether the method trains a parameter of the model.

    A classifier is trained with every method.
    """
    config = model.inducer_config
    if any(part in f".{name}" for part in PARTS) or name.startswith("classifier."):
        return True
    if to_file(model, name) in config.tuned:
        return True
    if ".pooler." in f".{name}" or name in UNTRAINED:
        return False
    return config.full or (config.bitfit and name.endswith(".bias"))


def attach(model: Any, config: c.AdapterConfig, special: int) -> None:
    """Puts the parts of a method into a model, with initial values."""
    if isinstance(model, InducerModel):
        raise AdapterError("the model has an adapter already: call its unload() first")
    kind, backbone = backbone_kind(model), backbone_of(model)
    kind.refuse(model.config)
    for e in () if config.lora is None else config.lora.exceptions:
        if e.layer >= model.config.num_hidden_layers:
            raise c.ConfigError(
                f"lora.exceptions: expected layers below {model.config.num_hidden_layers}, "
                f"found {e.layer}"
            )
    if model.config._attn_implementation not in ("eager", "sdpa"):
        model.set_attn_implementation("sdpa")
    kind.attach(model, backbone, config, special)
    model.train(model.training)  # new modules begin in training mode
    own = type(model)
    added = {"from_pretrained": own.from_pretrained, "__module__": own.__module__}
    model.__class__ = type(own.__name__, (InducerModel, own), added)
    model.inducer_config, model._own_class = config, own
    model._inducer_hook = model.register_forward_pre_hook(before_forward, with_kwargs=True)
    like = next(backbone.parameters())
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    model._own_tensors = {}
    for name, parameter in model.named_parameters():
        if any(part in f".{name}" for part in PARTS):
            parameter.data = parameter.data.to(like.device, dtype)
        elif trains(model, name):
            model._own_tensors[name] = parameter.detach().clone()


def fill(model: Any, adapter: str | Path, tensors: dict[str, Tensor]) -> None:
    """Copies an adapter's tensors into a model that has its parts."""
    parameters = model.adapter_parameters()
    classes = tensors.get(files.CLASSES)
    own = parameters.get(files.CLASSES)
    if classes is not None and own is not None and classes.shape != own.shape:
        raise AdapterError(
            f"{Path(adapter, files.TENSORS_FILE)}: tensor {files.CLASSES}: the adapter has "
            f"{classes.shape[0]} classes, the model {own.shape[0]}: load the model with "
            f"num_labels={classes.shape[0]}"
        )
    files.check(adapter, tensors, {n: tuple(p.shape) for n, p in parameters.items()})
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def freeze(model: Any, trainable: bool) -> None:
    """Lets the adapter's parameters require gradients, and no others."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trainable and trains(model, name))


def fold(kind: ModuleType, backbone: Any) -> None:
    """Folds LoRA and (IA)3 into the backbone's weights."""
    for layer in kind.layers(backbone):
        maps = layer.maps
        for module in (layer.attention, layer.ffn):
            if hasattr(module, "lora"):
                module.lora.fold(maps)
        if hasattr(layer.attention, "ia3"):
            layer.attention.ia3.fold(maps)
        if hasattr(layer.ffn, "ia3"):
            down = maps["down"].weight
            down.copy_(down.double() * layer.ffn.ia3.double())


def before_forward(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Puts positions and padding in order before a forward pass."""
    signature = inspect.signature(module.forward)
    given = dict(zip(signature.parameters, args, strict=False))
    return (), backbone_kind(module).place(module, {**given, **kwargs})


@contextlib.contextmanager
def observe_gates(model: Any) -> Iterator[list[list[Tensor]]]:
    """Within it, every forward pass appends its gates, layer by layer, to the list it gives.

    A gate is lambda of an inducer or mu of a prefix, [b, H, n].
    """
    seen: list[list[Tensor]] = []
    sources = [m for m in model.modules() if isinstance(m, (parts.Inducer, parts.Prefix))]
    if not sources:
        raise AdapterError("the adapter has neither an inducer nor a prefix")

    def watch(module: nn.Module, _: Any, attended: parts.Attended) -> None:
        if module is sources[0]:
            seen.append([])
        assert attended.gate is not None
        seen[-1].append(attended.gate.detach())

    hooks = [source.register_forward_hook(watch) for source in sources]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
