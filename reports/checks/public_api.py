#!/usr/bin/env python3
"""What other crates can build on: every public item of the five crates with its types, one a line.

    python3 reports/checks/public_api.py            compares with reports/results/public-api.txt
    python3 reports/checks/public_api.py --write    writes it
    python3 reports/checks/public_api.py --json DIR ...   of rustdoc's JSON that is there already

A line that is gone or changed is a change for whoever uses it: before 1.0 a new minor version
(CONTRIBUTING.md). Exit status 1 where the listing differs. rustdoc's JSON is not stable yet; this
reads that of Rust 1.95, with the switch of the stable compiler that lets rustdoc write it.
"""

import argparse
import difflib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LISTING = ROOT / "reports/results/public-api.txt"
CRATES = ["reference", "datasets", "gpu", "verify", "reports"]


def documented():
    """Has cargo write the JSON; returns its folder."""
    with tempfile.TemporaryDirectory() as folder:
        wrapper = Path(folder, "rustdoc")
        # for rustdoc alone: for rustc it would be another build of every dependency
        wrapper.write_text('#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc "$@"\n')
        wrapper.chmod(0o755)
        flags = "-Z unstable-options --output-format json"
        environment = {**os.environ, "RUSTDOC": str(wrapper), "RUSTDOCFLAGS": flags}
        command = "cargo doc --release --workspace --lib --no-deps --quiet".split()
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"), "doc")


def names(items):
    return ", ".join(items)


class Crate:
    def __init__(self, path):
        whole = json.loads(path.read_text())
        self.index, self.lines = whole["index"], set()
        self.where, self.again = {}, []
        root = self.item(whole["root"])
        self.module(root, root["name"], set())
        for target, name, at in self.again:
            if target["id"] in self.where:
                self.lines.add(f"use {at}::{name} = {self.where[target['id']]}")
            else:
                self.one({**target, "name": name, "visibility": "public"}, at, set())

    def item(self, key):
        return self.index.get(str(key))

    # types as they are written

    def path(self, found):
        name = (found.get("path") or found.get("name") or "").rsplit("::", 1)[-1]
        return name + self.arguments(found.get("args"))

    def arguments(self, args):
        if not args:
            return ""
        if "parenthesized" in args:
            given = args["parenthesized"]
            output = f" -> {self.type(given['output'])}" if given["output"] else ""
            return f"({names(map(self.type, given['inputs']))}){output}"
        given = args.get("angle_bracketed", {})
        out = [self.argument(a) for a in given.get("args", [])]
        for bound in given.get("constraints", []):
            binding = bound["binding"]
            value = binding.get("equality")
            if value is not None:
                out.append(f"{bound['name']} = {self.argument(value)}")
            else:
                out.append(f"{bound['name']}: {self.bounds(binding['constraint'])}")
        return f"<{names(out)}>" if out else ""

    def argument(self, a):
        if a == "infer":
            return "_"
        kind, value = next(iter(a.items()))
        if kind == "type":
            return self.type(value)
        return value if kind == "lifetime" else str(value.get("expr", value))

    def bounds(self, bounds):
        out = []
        for bound in bounds:
            kind, value = next(iter(bound.items()))
            if kind == "trait_bound":
                sign = "?" if value["modifier"] == "maybe" else ""
                out.append(sign + self.path(value["trait"]))
            elif kind == "outlives":
                out.append(value)
        return " + ".join(out)

    def type(self, t):
        if t is None or t == "infer":
            return "_"
        kind, v = next(iter(t.items()))
        if kind == "resolved_path":
            return self.path(v)
        if kind in ("generic", "primitive"):
            return v
        if kind == "tuple":
            return f"({names(map(self.type, v))})"
        if kind == "slice":
            return f"[{self.type(v)}]"
        if kind == "array":
            return f"[{self.type(v['type'])}; {v['len']}]"
        if kind == "borrowed_ref":
            life = f"{v['lifetime']} " if v["lifetime"] else ""
            return f"&{life}{'mut ' if v['is_mutable'] else ''}{self.type(v['type'])}"
        if kind == "raw_pointer":
            return f"*{'mut' if v['is_mutable'] else 'const'} {self.type(v['type'])}"
        if kind == "impl_trait":
            return f"impl {self.bounds(v)}"
        if kind == "dyn_trait":
            bounds = [self.path(x["trait"]) for x in v["traits"]]
            return "dyn " + " + ".join(bounds + [v["lifetime"]] * bool(v["lifetime"]))
        if kind == "function_pointer":
            return f"fn{self.signature(v['sig'])}"
        if kind == "qualified_path":
            of = self.type(v["self_type"])
            trait = f" as {self.path(v['trait'])}" if v["trait"] else ""
            return f"<{of}{trait}>::{v['name']}"
        raise ValueError(f"rustdoc's JSON: a type of the kind {kind} is not known here")

    def signature(self, sig):
        given = names(f"{name}: {self.type(t)}" for name, t in sig["inputs"])
        output = f" -> {self.type(sig['output'])}" if sig["output"] else ""
        return f"({given}){output}"

    def generics(self, generics):
        """Parameters in angle brackets, and what follows `where`."""
        out = []
        for p in generics["params"]:
            kind, v = next(iter(p["kind"].items()))
            if kind == "type" and not v["is_synthetic"]:
                bounds = self.bounds(v["bounds"])
                out.append(f"{p['name']}: {bounds}" if bounds else p["name"])
            elif kind == "const":
                out.append(f"const {p['name']}: {self.type(v['type'])}")
            elif kind == "lifetime":
                out.append(p["name"])
        where = []
        for predicate in generics["where_predicates"]:
            kind, v = next(iter(predicate.items()))
            if kind == "bound_predicate":
                where.append(f"{self.type(v['type'])}: {self.bounds(v['bounds'])}")
        return f"<{names(out)}>" if out else "", f" where {names(where)}" if where else ""

    # items

    def module(self, module, at, seen):
        for key in module["inner"]["module"]["items"]:
            self.one(self.item(key), at, seen)

    def one(self, item, at, seen):
        if item is None or item["visibility"] not in ("public", "default"):
            return
        kind, v = next(iter(item["inner"].items()))
        name = f"{at}::{item['name']}"
        if kind == "use":
            target = self.item(v["id"]) if v["id"] is not None else None
            if target is None:
                self.lines.add(f"use {at}::{v['name']} = {v['source']}")
            elif v["is_glob"] and v["id"] not in seen:
                self.module(target, at, seen | {v["id"]})
            elif not v["is_glob"]:
                # where it stands itself is known when all modules have been seen
                self.again.append((target, v["name"], at))
            return
        self.where[item["id"]] = name
        if kind == "module":
            self.lines.add(f"mod {name}")
            self.module(item, name, seen)
        else:
            getattr(self, f"of_{kind}", self.of_other)(item, v, name, kind)

    def of_other(self, item, v, name, kind):
        self.lines.add(f"{kind} {name}")

    def of_function(self, item, v, name, kind):
        generics, where = self.generics(v["generics"])
        words = [w for w in ("const", "async", "unsafe") if v["header"].get(f"is_{w}")]
        start = " ".join([*words, "fn"])
        self.lines.add(f"{start} {name}{generics}{self.signature(v['sig'])}{where}")

    def of_constant(self, item, v, name, kind):
        self.lines.add(f"const {name}: {self.type(v['type'])}")

    def of_static(self, item, v, name, kind):
        self.lines.add(f"static {name}: {self.type(v['type'])}")

    def of_assoc_const(self, item, v, name, kind):
        self.lines.add(f"const {name}: {self.type(v['type'])}")

    def of_assoc_type(self, item, v, name, kind):
        own = f" = {self.type(v['type'])}" if v["type"] else ""
        self.lines.add(f"type {name}: {self.bounds(v['bounds'])}{own}")

    def of_type_alias(self, item, v, name, kind):
        generics, where = self.generics(v["generics"])
        self.lines.add(f"type {name}{generics} = {self.type(v['type'])}{where}")

    def of_struct_field(self, item, v, name, kind):
        self.lines.add(f"field {name}: {self.type(v)}")

    def of_struct(self, item, v, name, kind):
        generics, where = self.generics(v["generics"])
        self.lines.add(f"struct {name}{generics}{where}{self.open_to(item)}")
        self.fields(v["kind"], name)
        self.impls(v["impls"], name)

    def of_enum(self, item, v, name, kind):
        generics, where = self.generics(v["generics"])
        self.lines.add(f"enum {name}{generics}{where}{self.open_to(item)}")
        for key in v["variants"]:
            variant = self.item(key)
            at = f"{name}::{variant['name']}"
            self.lines.add(f"variant {at}")
            self.fields(variant["inner"]["variant"]["kind"], at)
        self.impls(v["impls"], name)

    def open_to(self, item):
        """Whether more may come without notice."""
        attributes = json.dumps(item.get("attrs", []))
        return " (non-exhaustive)" if "non_exhaustive" in attributes else ""

    def fields(self, kind, at):
        if not isinstance(kind, dict):
            return
        inner = next(iter(kind.values()))
        for key in inner if isinstance(inner, list) else inner["fields"]:
            field = self.item(key) if key is not None else None
            if field is not None:
                self.one(field, at, set())

    def impls(self, keys, name):
        for key in keys:
            v = self.item(key)["inner"]["impl"]
            if v["is_synthetic"] or v["blanket_impl"]:
                continue
            if v["trait"] and v["trait"]["path"].endswith("StructuralPartialEq"):
                continue
            if v["trait"]:
                generics, where = self.generics(v["generics"])
                of = f"{self.path(v['trait'])} for {name}: {self.type(v['for'])}"
                self.lines.add(f"impl{generics} {of}{where}")
                continue
            for item in v["items"]:
                self.one(self.item(item), name, set())

    def of_trait(self, item, v, name, kind):
        generics, where = self.generics(v["generics"])
        bounds = self.bounds(v["bounds"])
        self.lines.add(f"trait {name}{generics}{': ' if bounds else ''}{bounds}{where}")
        for key in v["items"]:
            own = self.item(key)
            self.one(own, name, set())
            inner = own["inner"].get("function")
            if inner and not inner["has_body"]:
                self.lines.add(f"required {name}::{own['name']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--json", type=Path, help="the folder of rustdoc's JSON")
    a = parser.parse_args()
    folder = a.json or documented()
    lines = []
    for name in CRATES:
        lines += sorted(Crate(folder / f"inducer_{name}.json").lines)
    text = "".join(f"{line}\n" for line in lines)
    if a.write:
        LISTING.write_text(text)
        print(f"{LISTING.relative_to(ROOT)}: {len(lines)} lines")
        return
    was = LISTING.read_text()
    changes = difflib.unified_diff(was.splitlines(), text.splitlines(), "listed", "found", n=0)
    found = [line for line in changes if line[0] in "+-" and line[:3] not in ("+++", "---")]
    print("\n".join(found) if found else f"{len(lines)} lines, as listed")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
