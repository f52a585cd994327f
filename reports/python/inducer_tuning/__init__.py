"""Inducer-tuning (EMNLP 2022) in Python: adapters of the `inducer` command in transformers.

    from transformers import AutoModelForCausalLM
    import inducer_tuning

    model = AutoModelForCausalLM.from_pretrained("gpt2")
    model = inducer_tuning.load(model, "run/best")
    model.generate(...)

The package is typed. PyTorch and transformers are imported when a model is loaded; the
configuration and the command (`python -m inducer_tuning`) need neither.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .config import (
    AdapterConfig,
    AttentionAdapter,
    ConfigError,
    FfnAdapter,
    Ia3,
    Inducer,
    Lora,
    LoraException,
    Prefix,
)

if TYPE_CHECKING:
    from .files import AdapterError as AdapterError
    from .model import InducerModel as InducerModel
    from .model import get_inducer_model as get_inducer_model
    from .model import load as load
    from .model import observe_gates as observe_gates
    from .prompts import Coqa as Coqa
    from .prompts import WebNlg as WebNlg

__all__ = [
    "AdapterConfig",
    "AdapterError",
    "AttentionAdapter",
    "ConfigError",
    "Coqa",
    "FfnAdapter",
    "Ia3",
    "Inducer",
    "InducerModel",
    "Lora",
    "LoraException",
    "Prefix",
    "WebNlg",
    "get_inducer_model",
    "load",
    "observe_gates",
]

_WITH_TORCH = {
    "AdapterError": "files",
    "Coqa": "prompts",
    "InducerModel": "model",
    "WebNlg": "prompts",
    "get_inducer_model": "model",
    "load": "model",
    "observe_gates": "model",
}


def __getattr__(name: str) -> Any:
    """Imports what needs PyTorch and transformers when it is first used."""
    if name not in _WITH_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f".{_WITH_TORCH[name]}", __name__), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(__name__):
            raise
        raise ModuleNotFoundError(
            f"inducer_tuning.{name} needs {error.name}: pip install torch transformers safetensors",
            name=error.name,
        ) from error
