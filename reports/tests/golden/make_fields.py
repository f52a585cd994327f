"""The fields of peft's and transformers' configurations with their defaults, as fields.json.

    python make_fields.py > fields.json

Made with peft 0.21.2 and transformers 5.24.0. A test (reports/tests/fields.rs) holds the lists
of this project against it: a field that is not in them fails it.
"""

import dataclasses
import json

import peft
import transformers
from transformers import CamembertConfig, GPT2Config, RobertaConfig, XLMRobertaConfig

PEFT = {
    "LORA": peft.LoraConfig,
    "IA3": peft.IA3Config,
    "PREFIX_TUNING": peft.PrefixTuningConfig,
}
TRANSFORMERS = {
    "gpt2": GPT2Config,
    "roberta": RobertaConfig,
    "xlm-roberta": XLMRobertaConfig,
    "camembert": CamembertConfig,
}


def plain(value):
    """A default as JSON has it; what JSON has not is its name."""
    try:
        json.dumps(value)
    except TypeError:
        return str(value)
    return value


def default(field):
    if field.default is not dataclasses.MISSING:
        return plain(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return plain(field.default_factory())
    return None


def fields(cls):
    return {f.name: default(f) for f in dataclasses.fields(cls)}


print(
    json.dumps(
        {
            "versions": {
                "peft": peft.__version__,
                "transformers": transformers.__version__,
            },
            "peft": {name: fields(cls) for name, cls in PEFT.items()},
            "transformers": {name: fields(cls) for name, cls in TRANSFORMERS.items()},
        },
        indent=1,
    )
)
