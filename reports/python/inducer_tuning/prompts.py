"""Prompts as the command writes them for the paper's two generation tasks.

    WebNLG  <bos_webnlg> (<subject> s <property> p <object> o)* <target_webnlg>
    CoQA    <bos_qa> <document> passage (<question> q <answer> a){last 2} <question> q <answer>

The tokens in angle brackets are not in the tokenizer: the i-th has the id that follows the
backbone's vocabulary by i, and its row is part of the adapter. Each position has the marker of its
part as segment, which GPT-2 in transformers takes as `token_type_ids`.

    layout = inducer_tuning.WebNlg(tokenizer, model)
    batch = layout.batch([[("Aarhus", "country", "Denmark")]])
    texts = layout.texts(batch, model.generate(**batch, **layout.generation))
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

Surface = Literal["raw", "plain"]
PASSAGE_TOKENS = 400
HISTORY_TURNS = 2


class Layout:
    """Rows of token ids and segments, padded on the left, for one task."""

    special: tuple[str, ...] = ()
    """The task's added tokens; the last ends a text, the one before marks the target."""

    def __init__(self, tokenizer: Any, model: Any, surface: Surface = "raw"):
        """`model` has an adapter of the task; `surface` is the run's (`raw` unless told)."""
        wte = model.get_input_embeddings()
        found = 0 if getattr(wte, "added", None) is None else wte.added.shape[0]
        if found != len(self.special):
            raise ValueError(
                f"the adapter has {found} special tokens, expected {len(self.special)}: "
                f"{' '.join(self.special)}"
            )
        self.tokenizer = tokenizer
        self.surface = surface
        self.first: int = wte.num_embeddings
        self.device = wte.weight.device

    @property
    def eos(self) -> int:
        """The id that ends a generated text."""
        return self.first + len(self.special) - 1

    @property
    def generation(self) -> dict[str, Any]:
        """What `generate` needs besides a batch to decode as the command does."""
        return {"eos_token_id": self.eos, "pad_token_id": self.eos, "do_sample": False}

    def encode(self, text: str) -> list[int]:
        """A piece by itself, without the tokenizer's own special tokens."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def running(self, text: str) -> str:
        """A running text as the surface writes it."""
        return text if self.surface == "raw" else f" {text}"

    def row(self, parts: Iterable[tuple[int, list[int]]]) -> list[list[int]]:
        """Ids and segments of the first special token, which is its own segment, and of parts."""
        ids, segments = [self.first], [self.first]
        for marker, tokens in parts:
            ids += [self.first + marker, *tokens]
            segments += [self.first + marker] * (1 + len(tokens))
        return [ids, segments]

    def padded(self, rows: Sequence[list[list[int]]]) -> dict[str, Tensor]:
        """`input_ids`, `token_type_ids` and `attention_mask` [rows, longest]."""
        width = max(len(ids) for ids, _ in rows)
        filled = []
        for ids, segments in rows:
            pad = [self.eos] * (width - len(ids))
            filled.append([pad + ids, pad + segments, [0] * len(pad) + [1] * len(ids)])
        names = ("input_ids", "token_type_ids", "attention_mask")
        columns = zip(*filled, strict=True)
        return {
            name: torch.tensor(column, device=self.device)
            for name, column in zip(names, columns, strict=True)
        }

    def texts(self, batch: dict[str, Tensor], generated: Tensor) -> list[str]:
        """The texts behind the prompts, up to the token that ends each."""
        width = batch["input_ids"].shape[1]
        out = []
        for ids in generated[:, width:].tolist():
            own = ids[: ids.index(self.eos)] if self.eos in ids else ids
            text = self.tokenizer.decode(
                [i for i in own if i < self.first], clean_up_tokenization_spaces=False
            )
            out.append(text if self.surface == "raw" else text.removeprefix(" "))
        return out


class WebNlg(Layout):
    """Texts from triples."""

    special = (
        "<bos_webnlg>",
        "<subject>",
        "<property>",
        "<object>",
        "<target_webnlg>",
        "<eos_webnlg>",
    )

    def field(self, text: str) -> str:
        """A field of a triple as the surface writes it."""
        if self.surface == "raw":
            return text
        bare = text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
        return f" {split_camel(bare.replace('_', ' ')).strip()}"

    def batch(self, prompts: Sequence[Sequence[tuple[str, str, str]]]) -> dict[str, Tensor]:
        """One row for each list of (subject, property, object)."""
        rows = []
        for triples in prompts:
            fields = [(1 + i, f) for triple in triples for i, f in enumerate(triple)]
            parts = [(marker, self.encode(self.field(f))) for marker, f in fields]
            rows.append(self.row([*parts, (4, [])]))
        return self.padded(rows)


class Coqa(Layout):
    """Answers to questions on a passage."""

    special = ("<bos_qa>", "<document>", "<question>", "<answer>", "<eos_qa>")

    def batch(
        self, prompts: Sequence[tuple[str, Sequence[tuple[str, str]], str]]
    ) -> dict[str, Tensor]:
        """One row for each (passage, earlier questions with their answers, question)."""
        rows = []
        for passage, history, question in prompts:
            parts = [(1, self.encode(self.running(passage))[:PASSAGE_TOKENS])]
            for asked, answer in history[-HISTORY_TURNS:]:
                parts += [(2, self.encode(self.running(asked)))]
                parts += [(3, self.encode(self.running(answer)))]
            parts += [(2, self.encode(self.running(question))), (3, [])]
            ids, segments = self.row(parts)
            segments[0] = self.first + 1  # the first token belongs to the document
            rows.append([ids, segments])
        return self.padded(rows)


def split_camel(text: str) -> str:
    """`cityServed` to `city served`; anything that is not one camel-case word stays."""
    if not (text.isascii() and text.isalpha() and text[:1].islower()):
        return text
    return "".join(f" {c.lower()}" if c.isupper() else c for c in text)
