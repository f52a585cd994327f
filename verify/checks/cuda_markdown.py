"""What verify/checks/cuda.sh found, as Markdown: a part of cuda_report.py."""


def on_card(engine):
    return "cuda" in engine or "gpu" in engine


def memory(line):
    """Peak on the device, and where that comes from."""
    for key in ("device_peak_mib", "card_mib", "peak_mib"):
        if line and line.get(key) is not None:
            return line[key]
    return None


def number(x, form="{:.1e}"):
    return "–" if x is None else "0" if x == 0 else form.format(x)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows] + [""]


def head_lines(result):
    found = result.get("device") or {}
    card = ", ".join(found[k] for k in ("card", "driver", "memory", "power_limit") if k in found)
    where = [card] if card else ["no card"] if result["device_asked"] == "cuda" else []
    where.append(f"{result['processor']}, {result['cores']} cores")
    lines = [f"# CUDA check, {result['date']}", ""]
    lines.append(f"`{result['command']}`: {found.get('version', 'inducer')}; " + "; ".join(where))
    lines.append("")
    rows = [(n, s["status"], number(s.get("seconds"), "{:.1f}"), s["why"].replace("|", "/"))
            for n, s in result["steps"].items() if s["why"] != "not asked for"]
    return lines + table(("step", "status", "seconds", ""), rows)


def verify_lines(found):
    engines = found.get("engines", {})
    shown = sorted(engines, key=lambda e: (not on_card(e), e))
    lines = [f"## The ledger, {found.get('cases')} cases", ""]
    lines += table(("engine", "passed", "failed", "not run"),
                   [(e, *engines[e].values()) for e in shown])
    if found["failing"]:
        rows = [(r["claim"], r["engine"], number(r["error"]), number(r["bound"]),
                 (r["note"] or "")[:160].replace("|", "/")) for r in found["failing"]]
        lines += table(("failing claim", "engine", "error", "bound", "note"), rows)
    return lines


def methods_lines(found, steps):
    allowed, rows = found["bound"], []
    for row in found["rows"]:
        here, cpu = row["device"] or {}, row["cpu"] or {}
        cells = [number(x.get(k)) for x in (here, cpu)
                 for k in ("first", "gradient_norm", "ten", "all")]
        rows.append([row["method"], *cells, row["problem"] or "within"])
    lines = [f"## Twelve methods, {steps} steps, f32, dropout 0.1: relative differences", ""]
    columns = ("‖g‖ 1", "10 steps", "all")
    head = ("method", "loss 1", *columns, "CPU f32 − f64: loss 1", *columns, "")
    lines += table(head, rows)
    control = found["control"]
    lines.append(
        f"Device against CPU. Bounds of the first step: loss {allowed['loss']:.1e}, gradient norm "
        f"{allowed['gradient_norm']:.1e}. Later steps are reported, not bounded (AdamW's first "
        "update has the sign of gradients that are rounding errors). Control, dropout 0.101: "
        + (f"loss {number(control['first'])}, gradient norm {number(control['gradient_norm'])}, "
           f"{'caught' if found['control_caught'] else 'NOT caught'}."
           if control else "not run.")
    )
    return lines + [""]


def resume_lines(found):
    rows = [(r["method"], r["dtype"], r["twin"], r["killed"], r["resumed"],
             r.get("problem") or ("not run (time)" if "not_run" in r else ""))
            for r in found["rows"]]
    head = ("method", "type", "two runs", "SIGKILL", "resumed", "")
    return ["## Same bytes of the adapters", ""] + table(head, rows)


def speed(line):
    if not line:
        return "not run", "–"
    if "error" in line:
        return line["error"][:60].replace("|", "/"), "–"
    return f"{line['tokens_per_s']:,.0f}", number(memory(line), "{:,.0f}")


def bench_lines(result):
    rows = []
    for c in result["bench"]:
        ours = c["ours"] or {}
        cells = [cell for form in ("ours", "eager", "compile") for cell in speed(c[form])]
        ratios = [c.get("ratio_" + f, "–") for f in ("eager", "compile")]
        memories = [c.get("memory_" + f, "–") for f in ("eager", "compile")]
        rows.append([f"{c['rows']} × {c['length']}", c["dtype"], c["method"],
                     number(ours.get("step_ms"), "{:.1f}"), *cells, *ratios, *memories,
                     number(c.get("tflops"), "{:.1f}"), number(c.get("share"), "{:.0%}")])
    head = ("size", "type", "method", "step ms", "tokens/s", "MiB", "eager", "MiB", "compile",
            "MiB", "× eager", "× compile", "memory / eager", "/ compile", "TFLOP/s", "of the rate")
    lines = [f"## Training steps, preset {result['preset']}", ""] + table(head, rows)
    counted = any("device_peak_mib" in (c["ours"] or {}) for c in result["bench"])
    note = ("counted by the program" if counted else
            "seen by nvidia-smi, the context (some 500 MiB) included")
    if result["device_asked"] == "cuda":
        lines.append(f"Memory: ours {note}; PyTorch's is max_memory_allocated. A prefix at 1,024 "
                     "has rows of at most 916 tokens on both sides.")
        lines.append("")
    rate = result.get("rate")
    if rate:
        lines += [f"Product rate ({rate['size']}³, {rate['software']}): bf16 {rate['bf16']} "
                  f"TFLOP/s, f32 {rate['f32']} TFLOP/s.", ""]
    return lines


def decode_lines(found):
    rows = [(k, number(v.get("decode_ms"), "{:.1f}"), *speed(v))
            for k, v in found.items() if isinstance(v, dict)]
    lines = ["## Decoding, f32", ""] + table(("", "ms", "new tokens/s", "MiB"), rows)
    return lines + ([f"Ratio to `generate`: {found['ratio']}.", ""] if "ratio" in found else [])


def markdown(result):
    lines = head_lines(result)
    if result.get("verify"):
        lines += verify_lines(result["verify"])
    if (result.get("methods") or {}).get("rows"):
        lines += methods_lines(result["methods"], result["steps_of_a_training"])
    if (result.get("resume") or {}).get("rows"):
        lines += resume_lines(result["resume"])
    if result.get("bench"):
        lines += bench_lines(result)
    if result.get("decode"):
        lines += decode_lines(result["decode"])
    failed = result["failed"]
    lines.append("Failed: " + ", ".join(failed) + "." if failed else "Nothing failed.")
    return "\n".join(lines) + "\n"
