"""Golden numbers from other software: tiny random GPT-2 and RoBERTa classifiers, logits in float64.

    pip install "transformers==4.46.3" "jax[cpu]" flax safetensors numpy
    python make.py            # rewrites gpt2/ and roberta/ beside this file

Weights come from numpy's default_rng(20221120), the models are transformers' Flax classes in double
precision. The versions used are stored in each expected.json.
"""

import json, pathlib
import jax
jax.config.update("jax_enable_x64", True)
import flax, numpy as np, transformers
import jax.numpy as jnp
from safetensors.numpy import save_file
from transformers import (
    FlaxGPT2LMHeadModel,
    FlaxRobertaForSequenceClassification,
    GPT2Config,
    RobertaConfig,
)

HERE = pathlib.Path(__file__).parent
VERSIONS = {
    "transformers": transformers.__version__,
    "jax": jax.__version__,
    "flax": flax.__version__,
    "numpy": np.__version__,
}
rng = np.random.default_rng(20221120)


def draw(name, *shape):
    centre = 1.0 if ("ln_" in name or "LayerNorm" in name) and name.endswith("weight") else 0.0
    return (centre + 0.4 * rng.standard_normal(shape)).astype(np.float32)


def put(tensors, name, *shape):
    tensors[name] = draw(name, *shape)


def gpt2():
    out = HERE / "gpt2"
    out.mkdir(exist_ok=True)
    config = GPT2Config(
        vocab_size=13,
        n_positions=16,
        n_embd=8,
        n_layer=2,
        n_head=2,
        n_inner=20,
        layer_norm_epsilon=1e-5,
    )
    d, t = 8, {}
    put(t, "transformer.wte.weight", 13, d)
    put(t, "transformer.wpe.weight", 16, d)
    for i in range(2):
        h = f"transformer.h.{i}"
        for norm in ("ln_1", "ln_2"):
            put(t, f"{h}.{norm}.weight", d)
            put(t, f"{h}.{norm}.bias", d)
        for name, a, b in (
            ("attn.c_attn", d, 3 * d),
            ("attn.c_proj", d, d),
            ("mlp.c_fc", d, 20),
            ("mlp.c_proj", 20, d),
        ):
            put(t, f"{h}.{name}.weight", a, b)
            put(t, f"{h}.{name}.bias", b)
    put(t, "transformer.ln_f.weight", d)
    put(t, "transformer.ln_f.bias", d)
    save_file(t, out / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(out)
    model = FlaxGPT2LMHeadModel.from_pretrained(out, dtype=jnp.float64)
    model.params = jax.tree_util.tree_map(lambda x: x.astype(jnp.float64), model.params)
    cases = []
    for ids, mask in (
        ([3, 1, 4, 1, 5, 9, 2], [1] * 7),
        ([0, 0, 6, 5, 3, 12, 8], [0, 0, 1, 1, 1, 1, 1]),
        ([7], [1]),
    ):
        ids, mask = np.array([ids]), np.array([mask])
        positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
        logits = model(ids, attention_mask=mask, position_ids=positions).logits[0]
        cases.append(
            {
                "ids": ids[0].tolist(),
                "mask": mask[0].tolist(),
                "logits": np.asarray(logits).tolist(),
            }
        )
    (out / "expected.json").write_text(json.dumps({"versions": VERSIONS, "cases": cases}) + "\n")


def roberta():
    out = HERE / "roberta"
    out.mkdir(exist_ok=True)
    config = RobertaConfig(
        vocab_size=13,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=20,
        max_position_embeddings=20,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        num_labels=3,
        pad_token_id=1,
    )
    config.architectures = ["RobertaForSequenceClassification"]
    d, t = 8, {}

    def linear(name, a, b):
        put(t, f"{name}.weight", b, a)
        put(t, f"{name}.bias", b)

    def norm(name):
        put(t, f"{name}.weight", d)
        put(t, f"{name}.bias", d)

    e = "roberta.embeddings"
    put(t, f"{e}.word_embeddings.weight", 13, d)
    put(t, f"{e}.position_embeddings.weight", 20, d)
    put(t, f"{e}.token_type_embeddings.weight", 1, d)
    norm(f"{e}.LayerNorm")
    for i in range(2):
        h = f"roberta.encoder.layer.{i}"
        for part in ("query", "key", "value"):
            linear(f"{h}.attention.self.{part}", d, d)
        linear(f"{h}.attention.output.dense", d, d)
        norm(f"{h}.attention.output.LayerNorm")
        linear(f"{h}.intermediate.dense", d, 20)
        linear(f"{h}.output.dense", 20, d)
        norm(f"{h}.output.LayerNorm")
    linear("classifier.dense", d, d)
    linear("classifier.out_proj", d, 3)
    save_file(t, out / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(out)
    model = FlaxRobertaForSequenceClassification.from_pretrained(out, dtype=jnp.float64)
    model.params = jax.tree_util.tree_map(lambda x: x.astype(jnp.float64), model.params)
    cases = []
    for ids in ([0, 5, 7, 2, 2, 9, 2], [0, 5, 7, 2, 1, 1, 1], [0, 2]):
        ids = np.array([ids])
        mask = (ids != 1).astype(int)
        logits = model(ids, attention_mask=mask).logits[0]
        cases.append(
            {
                "ids": ids[0].tolist(),
                "mask": mask[0].tolist(),
                "logits": np.asarray(logits).tolist(),
            }
        )
    (out / "expected.json").write_text(json.dumps({"versions": VERSIONS, "cases": cases}) + "\n")


gpt2()
roberta()
