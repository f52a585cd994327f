"""The losses of twelve trainings on a device beside the CPU's: a part of cuda_report.py."""

import math

# Half an ulp of 1 in f32.
ROUNDOFF = 2.0**-24
METHODS = (
    "full bitfit adapter lora prefix mam-adapter adaptive extension gating inducer inducer-lora "
    "mam-inducer"
).split()


def bound():
    """How far the first step's loss may lie from the CPU's, relatively, and its gradient's norm.

    The parameters (drawn on the host), the data and the dropout masks (a hash of key and index) are
    the same, so that the first step differs by rounding alone: in f32, in the order of sums. The
    error of a sum of K products in which rounding errors are independent has the standard deviation
    √(K/3) u of the terms' size (u = 2⁻²⁴, errors uniform in ±u; Higham and Mary 2019), which D
    products one behind the other carry on in quadrature: √(DK/3) u. A loss of the size of its
    logits takes that over, since a cross-entropy changes by no more than twice its logits do: a
    factor of 2. Two evaluations differ by √2 of one, and six standard deviations are allowed:

        6 · 2 · √(2 D K / 3) · u

    A layer has 6 products one behind the other (q, scores, values, output, up, down) and a method
    2 more; the head is one. The longest sum is that of a hidden layer of 4 × 64 terms, of a row's
    keys, which are at most 256, or of a prefix's own network of width 512. The gradient's norm has
    three times as many products (forward, back to activations, back to weights), and its sums run
    over the rows' tokens, at most 8 × 256.

    The mean over tokens makes the true difference smaller still; what the CPU's f32 differs from
    its f64 stands beside it, and the control (a dropout rate of 0.101 for 0.1) must lie beyond.

    No bound is stated for later steps. AdamW's first update is ± the learning rate whatever the
    gradient's size: an element whose gradient is below its rounding error takes either sign, and
    from there on the loss's curvature decides. CPU f32 − CPU f64 is the measure to read them by.
    """
    layers, longest, tokens = 2, 512, 8 * 256
    products = 8 * layers + 1
    return {
        "loss": 12 * math.sqrt(2 * products * longest / 3) * ROUNDOFF,
        "gradient_norm": 12 * math.sqrt(2 * 3 * products * tokens / 3) * ROUNDOFF,
    }


def differences(raw, one, other):
    """Relative differences of two trainings: first step, its gradient, ten steps, all steps."""
    a, b = ({x["step"]: x for x in raw.objects(f"train-{n}.jsonl") if x.get("loss") is not None}
            for n in (one, other))
    steps = sorted(a.keys() & b.keys())
    if not steps or steps[0] != 1:
        return None

    def apart(step, key="loss"):
        x, y = a[step].get(key), b[step].get(key)
        if x is None or y is None:
            return None
        return abs(x - y) / max(abs(y), 1e-30) if math.isfinite(x - y) else math.inf

    return {
        "first": apart(1),
        "gradient_norm": apart(1, "gradient_norm"),
        "ten": max(apart(s) for s in steps if s <= 10),
        "all": max(apart(s) for s in steps),
        "steps": len(steps),
    }


def beyond(found, allowed):
    """What of the first step is not within its bound."""
    return [k for k, key in (("loss", "first"), ("gradient_norm", "gradient_norm"))
            if found[key] is not None and not found[key] <= allowed[k]]


def methods(raw):
    failures, rows, allowed = [], [], bound()
    steps = raw.facts["steps_of_a_training"]
    if raw.failed("backbone"):
        return {}, ["the backbone: " + raw.why("backbone")]
    for method in METHODS:
        names = {kind: f"{method}-{kind}" for kind in ("device", "f32", "f64")}
        row = {"method": method, "device": None, "cpu": None, "problem": None}
        rows.append(row)
        for kind in ("device", "f32"):
            if why := raw.why("train-" + names[kind]):
                row["problem"] = row["problem"] or f"{kind}: {why}"
                if raw.failed("train-" + names[kind]):
                    failures.append(f"{method}: {kind}: {why}")
        row["device"] = differences(raw, names["device"], names["f32"])
        row["cpu"] = differences(raw, names["f32"], names["f64"])
        found = row["device"]
        if row["problem"] or not found:
            continue
        if past := beyond(found, allowed):
            row["problem"] = "first step beyond its bound: " + ", ".join(past)
        elif found["steps"] < steps:
            row["problem"] = f"{found['steps']} steps of {steps} in the metrics"
        elif found["all"] == math.inf:
            row["problem"] = "a loss is not finite"
        if row["problem"]:
            failures.append(f"{method}: {row['problem']}")
    control = differences(raw, "control", "inducer-f32")
    caught = control and bool(beyond(control, allowed))
    if raw.failed("train-control"):
        failures.append("the control: " + raw.why("train-control"))
    elif control and not caught:
        failures.append("the control (dropout 0.101) lies within the bound")
    found = {"bound": allowed, "dropout": 0.1, "control": control, "control_caught": caught}
    return {**found, "rows": rows}, failures
