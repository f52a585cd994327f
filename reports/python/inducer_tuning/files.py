"""`adapter_model.safetensors`: an adapter's tensors by name, float32, checked when read."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

TENSORS_FILE = "adapter_model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
ADDED = "transformer.wte.added"
CLASSES = "classifier.out_proj.bias"
HEAD = "lm_head.weight"


class AdapterError(ValueError):
    """An adapter's file that is broken or does not fit the model."""


def read(directory: str | Path) -> dict[str, Tensor]:
    """The tensors of an adapter directory; raises AdapterError naming file and tensor."""
    path = Path(directory, TENSORS_FILE)
    if not path.is_file():
        raise AdapterError(f"{path}: no such file")
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise AdapterError(f"{path}: {error}") from error
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise AdapterError(f"{path}: tensor {name}: a value that is not finite")
    return tensors


def check(
    directory: str | Path, tensors: dict[str, Tensor], expected: dict[str, tuple[int, ...]]
) -> None:
    """Raises AdapterError for a tensor that is missing, extra or of another shape."""
    path = Path(directory, TENSORS_FILE)
    for name, shape in expected.items():
        if name not in tensors:
            raise AdapterError(f"{path}: tensor {name}: missing, expected {list(shape)}")
        found = tuple(tensors[name].shape)
        if found != shape:
            raise AdapterError(
                f"{path}: tensor {name}: expected {list(shape)}, found {list(found)}"
            )
    for name, tensor in tensors.items():
        if name not in expected:
            raise AdapterError(f"{path}: tensor {name} {list(tensor.shape)}: not expected")


def write(directory: str | Path, tensors: dict[str, Tensor]) -> None:
    """Writes the tensors as float32."""
    path = Path(directory, TENSORS_FILE)
    path.parent.mkdir(parents=True, exist_ok=True)
    wide = {n: t.detach().to("cpu", torch.float32).contiguous() for n, t in tensors.items()}
    save_file(wide, path, metadata={"format": "pt"})


def write_index(directory: str | Path, tensors: dict[str, Tensor]) -> None:
    """Writes what transformers finds tensors by that are not in `model.safetensors`.

    `Trainer` knows adapters of PEFT's classes alone; from its checkpoints it resumes by this.
    """
    index = {"metadata": {}, "weight_map": dict.fromkeys(sorted(tensors), TENSORS_FILE)}
    Path(directory, INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
