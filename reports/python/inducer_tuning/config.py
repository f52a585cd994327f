"""`adapter_config.json`: a method as a composition of parts.

The fields, their defaults and what is refused are those of the `inducer` command; an unknown field
is an error. Needs nothing but Python.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

VARIANTS = ("adaptive", "extension", "gating", "inducer")
FOREIGN = ("LORA", "IA3", "PREFIX_TUNING")
CONFIG_FILE = "adapter_config.json"

T = TypeVar("T")


class ConfigError(ValueError):
    """A field of `adapter_config.json` that is missing, unknown or has a wrong value."""


@dataclass(frozen=True)
class Inducer:
    """Inducers (Eqs. 5-11): one virtual token for each query."""

    variant: Literal["adaptive", "extension", "gating", "inducer"]
    value_bottleneck: int
    key_bottleneck: int = 0
    kind: Literal["inducer"] = "inducer"

    @property
    def has_key_mlp(self) -> bool:
        """Whether P_k = q + MLP_k(q); otherwise P_k = q."""
        return self.variant in ("gating", "inducer")

    @property
    def extended(self) -> bool:
        """Whether MLP_v returns R^d; otherwise R^p."""
        return self.variant != "adaptive"

    def check(self) -> None:
        """Raises ConfigError for a value out of range."""
        at_least_one("value_bottleneck", self.value_bottleneck)
        if self.has_key_mlp:
            at_least_one("key_bottleneck", self.key_bottleneck)
        elif self.key_bottleneck != 0:
            raise ConfigError(
                "key_bottleneck: expected none: this variant has no MLP_k; "
                f"found {self.key_bottleneck}"
            )


@dataclass(frozen=True)
class Reparametrisation:
    """The network that makes a prefix while it is trained; files hold the prefix itself."""

    width: int


@dataclass(frozen=True)
class Prefix:
    """A learned prefix of keys and values in each layer."""

    length: int
    offset_positions: bool = True
    reparametrisation: Union[Reparametrisation, None] = None
    kind: Literal["prefix"] = "prefix"

    def check(self) -> None:
        """Raises ConfigError for a value out of range."""
        at_least_one("length", self.length)


@dataclass(frozen=True)
class AttentionAdapter:
    """A bottleneck adapter on the attention's output (Eq. 1)."""

    bottleneck: int
    layer_norm: bool = False
    kind: Literal["adapter"] = "adapter"

    def check(self) -> None:
        """Raises ConfigError for a value out of range."""
        at_least_one("bottleneck", self.bottleneck)


@dataclass(frozen=True)
class FfnAdapter:
    """A bottleneck adapter beside the FFN: FFN(x) + scale * Adapter(x)."""

    placement: Literal["parallel"]
    bottleneck: int
    layer_norm: bool = False
    scale: float = 1.0
    kind: Literal["adapter"] = "adapter"

    def check(self) -> None:
        """Raises ConfigError for a value out of range."""
        at_least_one("bottleneck", self.bottleneck)


Target = Literal["q", "k", "v", "o", "up", "down"]
"""A linear map of a layer: W^q, W^k, W^v, W^o, the FFN's first and second."""


@dataclass(frozen=True)
class LoraException:
    """A map of one layer whose update has another rank or alpha, or, at rank 0, is not there."""

    layer: int
    target: Target
    rank: int
    alpha: float


@dataclass(frozen=True)
class Lora:
    """LoRA (Eq. 10) on some of a layer's linear maps, with rsLoRA's factor or DoRA's magnitudes."""

    targets: tuple[Target, ...]
    rank: int
    alpha: float
    dropout: float = 0.0
    bias: bool = False
    use_rslora: bool = False
    use_dora: bool = False
    exceptions: tuple[LoraException, ...] = ()

    def at(self, layer: int, target: Target) -> tuple[int, float] | None:
        """Rank and alpha on a map of a layer, where there is an update."""
        if target not in self.targets:
            return None
        own = [e for e in self.exceptions if (e.layer, e.target) == (layer, target)]
        rank, alpha = (own[0].rank, own[0].alpha) if own else (self.rank, self.alpha)
        return (rank, alpha) if rank > 0 else None

    def scale(self, rank: int, alpha: float) -> float:
        """What the product of A and B is multiplied by: alpha / rank, or alpha / sqrt(rank)."""
        return alpha / (math.sqrt(rank) if self.use_rslora else rank)

    def check(self) -> None:
        """Raises ConfigError for a value out of range."""
        at_least_one("rank", self.rank)
        some_of_each_once(self.targets, '"q", "k", "v", "o", "up", "down"')
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout: expected a number in [0, 1), found {self.dropout}")
        if not math.isfinite(self.alpha):
            raise ConfigError("alpha: expected a finite number")
        if self.use_dora and self.bias:
            raise ConfigError("use_dora: expected false beside `bias`")
        seen = set()
        for e in self.exceptions:
            if e.target not in self.targets or (e.layer, e.target) in seen:
                raise ConfigError(
                    "exceptions: expected targets of the list, each once a layer; "
                    f"found {e.target} of layer {e.layer}"
                )
            seen.add((e.layer, e.target))


@dataclass(frozen=True)
class Ia3:
    """(IA)3: learned factors on keys, values and the FFN's hidden units."""

    targets: tuple[Literal["k", "v", "ffn"], ...]

    def check(self) -> None:
        """Raises ConfigError for a value out of range."""
        some_of_each_once(self.targets, '"k", "v", "ffn"')


Attention = Union[Inducer, Prefix, AttentionAdapter]


@dataclass(frozen=True)
class AdapterConfig:
    """A method as a composition of parts, as `adapter_config.json` holds it."""

    peft_type: Literal["INDUCER"] = "INDUCER"
    task_type: str = "CAUSAL_LM"
    base_model_name_or_path: str = ""
    attention: Union[Attention, None] = field(default=None)
    lora: Union[Lora, None] = None
    ia3: Union[Ia3, None] = None
    ffn: Union[FfnAdapter, None] = None
    bitfit: bool = False
    full: bool = False
    tuned: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises ConfigError for a value out of range."""
        if self.lora is not None and self.lora.use_dora and self.attention is not None:
            raise ConfigError("lora.use_dora: expected false beside a part in the attention")
        for name in ("attention", "lora", "ia3", "ffn"):
            part = getattr(self, name)
            if part is not None:
                try:
                    part.check()
                except ConfigError as error:
                    raise ConfigError(f"{name}.{error}") from None

    @property
    def prefix(self) -> Prefix | None:
        """The prefix, where there is one."""
        return self.attention if isinstance(self.attention, Prefix) else None

    @property
    def position_offset(self) -> int:
        """Where the text's positions start."""
        prefix = self.prefix
        return prefix.length if prefix is not None and prefix.offset_positions else 0

    def to_dict(self) -> dict[str, Any]:
        """As `adapter_config.json` has it: what is absent or off is left out."""
        named = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        always = ("peft_type", "task_type", "base_model_name_or_path")
        return {name: plain(value) for name, value in named.items() if name in always or value}

    @classmethod
    def from_dict(cls, value: Any) -> AdapterConfig:
        """Checked as the command checks it; raises ConfigError."""
        if isinstance(value, dict) and value.get("peft_type") in FOREIGN:
            raise ConfigError(
                f"peft_type: {value['peft_type']} is PEFT's own layout: "
                "load it with peft.PeftModel.from_pretrained"
            )
        for required in ("peft_type", "task_type"):
            if isinstance(value, dict) and required not in value:
                raise ConfigError(f"{required}: missing")
        config = parse(cls, value, "")
        config.check()
        return config

    @classmethod
    def read(cls, directory: str | Path) -> AdapterConfig:
        """Reads `adapter_config.json` of an adapter directory; errors name the file."""
        path = Path(directory, CONFIG_FILE)
        try:
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8-sig")))
        except (ConfigError, json.JSONDecodeError) as error:
            raise ConfigError(f"{path}: {error}") from None

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes `adapter_config.json` into a directory."""
        path = Path(directory, CONFIG_FILE)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")


def at_least_one(name: str, size: int) -> None:
    """Raises ConfigError unless a size is at least 1."""
    if size < 1:
        raise ConfigError(f"{name}: expected at least 1, found {size}")


def some_of_each_once(targets: tuple[str, ...], names: str) -> None:
    """Raises ConfigError unless there are targets, each once."""
    if not targets or len(set(targets)) != len(targets):
        raise ConfigError(f"targets: expected some of {names}, each once")


def part_to_dict(part: Any) -> dict[str, Any]:
    """A part's fields, its kind first; absent and zero sizes are left out as the command does."""
    out: dict[str, Any] = {"kind": part.kind} if hasattr(part, "kind") else {}
    for f in dataclasses.fields(part):
        value = getattr(part, f.name)
        if f.name == "kind" or value is None or (f.name == "key_bottleneck" and value == 0):
            continue
        if f.name in ("use_rslora", "use_dora", "exceptions") and not value:
            continue
        out[f.name] = plain(value)
    return out


def plain(value: Any) -> Any:
    """A field's value as JSON has it."""
    if isinstance(value, tuple):
        return [plain(v) for v in value]
    return part_to_dict(value) if dataclasses.is_dataclass(value) else value


def parse(kind: type[T], value: Any, at: str) -> T:
    """A dataclass from a JSON object; `at` is the path to it in the file."""
    prefix = f"{at}." if at else ""
    if not isinstance(value, dict):
        raise ConfigError(f"{at or 'top level'}: expected an object, found {json.dumps(value)}")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in value:
        if name not in fields:
            known = ", ".join(fields)
            raise ConfigError(f"{prefix}{name}: unknown field, expected one of {known}")
    given = {}
    for name, f in fields.items():
        if name in value:
            given[name] = parse_value(hints[name], value[name], f"{prefix}{name}")
        elif f.default is dataclasses.MISSING:
            raise ConfigError(f"{prefix}{name}: missing")
    return kind(**given)


def parse_value(hint: Any, value: Any, at: str) -> Any:
    """A JSON value of the type that a field is annotated with."""
    origin = typing.get_origin(hint)
    options = typing.get_args(hint)
    if origin is Literal:
        if value in options and not isinstance(value, bool):
            return value
        expected = " or ".join(json.dumps(o) for o in options)
    elif origin in (Union, types.UnionType):
        return parse_union(options, value, at)
    elif origin is tuple:
        if isinstance(value, list):
            return tuple(parse_value(options[0], v, f"{at}[{i}]") for i, v in enumerate(value))
        expected = "a list"
    elif dataclasses.is_dataclass(hint):
        return parse(typing.cast(type, hint), value, at)
    elif hint is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        expected = "a number"
    elif hint is int:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        expected = "an integer that is not negative"
    else:
        if isinstance(value, hint):
            return value
        expected = {bool: "true or false", str: "a text"}[hint]
    raise ConfigError(f"{at}: expected {expected}, found {json.dumps(value)}")


def parse_union(options: tuple[Any, ...], value: Any, at: str) -> Any:
    """One of several parts by its kind, or one that may be absent."""
    if value is None and type(None) in options:
        return None
    parts = [o for o in options if o is not type(None)]
    if len(parts) == 1:
        return parse_value(parts[0], value, at)
    kinds = {typing.get_args(typing.get_type_hints(o)["kind"])[0]: o for o in parts}
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind not in kinds:
        expected = " or ".join(json.dumps(k) for k in kinds)
        raise ConfigError(f"{at}.kind: expected {expected}, found {json.dumps(kind)}")
    return parse(kinds[kind], value, at)
