//! The teaching page in a browser: every figure, every way to move a point, the self-check and what
//! must turn it red.

#![allow(clippy::unwrap_used)]

use crate::browser::Page;
use approx::assert_abs_diff_eq;
use inducer_reports::teach;
use std::path::PathBuf;
use tempfile::TempDir;

const FIGURES: [&str; 7] = [
    "smoother",
    "attention",
    "prefix",
    "growth",
    "inducer",
    "process",
    "ladder",
];

/// One changed formula for each function of `js/maths.js` and `js/process.js`: name of the
/// function, its text, what is put there.
#[rustfmt::skip]
const MUTATIONS: [(&str, &str, &str); 35] = [
    ("gaussian (on a line)", "u => Math.exp(-u * u / 2)", "u => Math.exp(-u * u)"),
    ("laplace", "laplace: u => Math.exp(-Math.abs(u))", "laplace: u => Math.exp(-2 * Math.abs(u))"),
    ("epanechnikov", "Math.max(1 - u * u, 0)", "Math.max(1 - u * u / 2, 0)"),
    ("uniform", "(Math.abs(u) <= 1 ? 1 : 0)", "(Math.abs(u) <= 2 ? 1 : 0)"),
    ("normalised", "weights.map(w => w / total)", "weights.map(w => w)"),
    ("estimate", "through(maths.normalised(weights), values)", "through(weights, values)"),
    ("score", "dot(q, k) / Math.sqrt(q.length)", "dot(q, k)"),
    (
        "kernel",
        "kernel: (q, k) => Math.exp(maths.score(q, k))",
        "kernel: (q, k) => Math.exp(-maths.score(q, k))",
    ),
    ("squaredDistance", "dot(minus(a, b), minus(a, b))", "dot(minus(a, b), plus(a, b))"),
    (
        "gaussian",
        "maths.squaredDistance(q, k) / (2 * Math.sqrt(q.length))",
        "maths.squaredDistance(q, k) / (2 * q.length)",
    ),
    ("keyWeight", "keyWeight: k => Math.exp(dot(k, k) /", "keyWeight: k => Math.exp(-dot(k, k) /"),
    ("attend: LSE", "lse: shift + Math.log(sum(shifted))", "lse: shift"),
    ("gate", "gate: (own, rest) => own / (own + rest)", "gate: (own, rest) => own / rest"),
    ("logistic", "1 / (1 + Math.exp(-x))", "1 / (2 + Math.exp(-x))"),
    ("mixture", "plus(times(1 - mu, f), times(mu, g))", "plus(times(mu, f), times(1 - mu, g))"),
    ("network", ".map(Math.tanh)", ".map(Math.sin)"),
    ("bottleneck", "times(scale, net.upBias)", "net.upBias"),
    ("inducerKey", "inducerKey: (q, mlpK) => plus(q, mlpK)", "inducerKey: (q, mlpK) => mlpK"),
    ("inducerValue", "inducerValue: (f, mlpV) => plus(f, mlpV)", "inducerValue: (f, mlpV) => mlpV"),
    ("augmented", "maths.estimate([own, ...weights]", "maths.estimate([2 * own, ...weights]"),
    (
        "residual",
        "residual: (f, lambda, mlpV) => plus(f, times(lambda, mlpV))",
        "residual: (f, lambda, mlpV) => plus(f, mlpV)",
    ),
    ("secondSoftmax", ".weights[0]", ".weights[1]"),
    ("lora", "times(scale, plus(b.map(", "times(scale * scale, plus(b.map("),
    (
        "output",
        "output: (f, weight, bias) => plus(through(f, weight), bias)",
        "output: (f, weight, bias) => through(f, weight)",
    ),
    (
        "adaptive",
        "maths.output(maths.residual(f, lambda, mlpV), weight, bias)",
        "maths.output(plus(f, mlpV), weight, bias)",
    ),
    (
        "extended",
        "plus(plus(plus(through(f, weight), times(lambda, mlpV)), b2), bias)",
        "plus(plus(plus(through(f, weight), times(lambda, mlpV)), times(lambda, b2)), bias)",
    ),
    ("gating", "times(1 - lambda, through(f, weight))", "through(f, weight)"),
    ("cholesky", "rest / l[j][j]", "rest / l[i][i]"),
    ("solve", "x[i] -= l[i][k] * x[k]", "x[i] += l[i][k] * x[k]"),
    (
        "logDeterminant",
        "2 * sum(l.map((row, i) => Math.log(row[i])))",
        "sum(l.map((row, i) => Math.log(row[i])))",
    ),
    ("withDiagonal", "(i === j ? x + d[i] : x)", "(i === j ? d[i] : x)"),
    ("logNormal", "y.length * Math.log(2 * Math.PI)", "y.length"),
    (
        "squaredExponential",
        "maths.gaussian([a / length], [b / length])",
        "maths.gaussian([a], [b])",
    ),
    ("exactProcess", "1 - dot(near, solve(l, near)) + noise", "1 - dot(near, solve(l, near))"),
    ("sparseProcess", "fit - sum(lambda) / (2 * noise)", "fit"),
];

fn page(html: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("teach.html");
    std::fs::write(&file, html).unwrap();
    (directory, file)
}

/// The page as it is made, in a browser; `None` where there is none.
fn open() -> Option<(TempDir, Page)> {
    let (directory, file) = page(&teach::page().unwrap());
    let mut browser = Page::open(&file)?;
    browser.wait_for("window.teach && teach.ready");
    Some((directory, browser))
}

/// A number that a figure shows for its present state.
fn shown(page: &mut Page, figure: &str, expression: &str) -> f64 {
    page.number(&format!(
        "(v => Number({expression}))(teach.figures['{figure}'].figure.values)"
    ))
}

#[test]
fn every_figure_is_there_the_check_is_green_and_nothing_is_asked_for() {
    let Some((_directory, mut page)) = open() else {
        return;
    };
    assert_eq!(
        page.text("document.getElementById('badge').dataset.state"),
        "green"
    );
    assert!(page.number("teach.result.numbers") > 2000.0);
    assert!(page.number("teach.result.share") <= 1.0);
    for figure in FIGURES {
        let svg = format!(
            "document.querySelectorAll('figure[data-figure={figure}] [data-panel] > svg \
             .handle').length"
        );
        assert!(page.number(&svg) >= 2.0, "{figure}");
    }
    for width in [1280, 390] {
        page.viewport(width, 900);
        let beyond = page.number("document.documentElement.scrollWidth - innerWidth");
        assert_eq!(beyond, 0.0, "the page is wider than {width} pixels");
        let cut = "[...document.querySelectorAll('math[display=block]')].filter(m => m.scrollWidth \
         > m.clientWidth).map(m => m.textContent).join(' | ')";
        assert_eq!(
            page.text(cut),
            "",
            "formulas wider than {width} pixels allow"
        );
    }
    assert_eq!(page.errors(), [""; 0]);
    assert_eq!(page.requests(), [""; 0]);
}

#[test]
fn mouse_finger_and_keys_move_the_numbers_of_every_figure() {
    // A point of each figure, the number that must follow, and the direction in which to pull.
    let moves = [
        ("smoother", "point-3", "v.estimate", (0.0, 40.0)),
        ("attention", "q", "v.f[0]", (-60.0, 20.0)),
        ("prefix", "prefixKeys-0", "v.mu", (-70.0, 60.0)),
        ("growth", "prefixKeys-0", "v.mu[5]", (-40.0, 60.0)),
        ("inducer", "queries-0", "v.lambda[0]", (-50.0, 30.0)),
        ("process", "pseudo-1", "v.titsias", (30.0, 0.0)),
        ("ladder", "x", "v.inducer[0]", (-60.0, 0.0)),
    ];
    let Some((_directory, mut page)) = open() else {
        return;
    };
    for (figure, handle, number, by) in moves {
        let selector = format!("figure[data-figure={figure}] [data-handle='{handle}']");
        let start = shown(&mut page, figure, number);
        page.drag(&selector, by);
        let dragged = shown(&mut page, figure, number);
        assert_ne!(start, dragged, "{figure}: mouse");
        let said = format!("document.querySelector(\"{selector}\").getAttribute('aria-valuetext')");
        let before = page.text(&said);
        page.press(&selector, "ArrowLeft");
        let pressed = shown(&mut page, figure, number);
        assert_ne!(dragged, pressed, "{figure}: keyboard");
        assert_ne!(
            before,
            page.text(&said),
            "{figure}: what is said of the point"
        );
        page.click(&format!("figure[data-figure={figure}] [data-do=reset]"));
        assert_eq!(shown(&mut page, figure, number), start, "{figure}: reset");
        page.viewport(390, 800);
        page.swipe(&selector, (by.0 / 2.0, by.1 / 2.0));
        assert_ne!(shown(&mut page, figure, number), start, "{figure}: finger");
        page.viewport(1280, 900);
    }
    assert_eq!(page.errors(), [""; 0]);
}

#[test]
fn what_the_exercises_promise_comes_true() {
    let Some((_directory, mut page)) = open() else {
        return;
    };
    // Chapter 2: with keys of one length the Gaussian alone is attention.
    let apart = "Math.hypot(v.f[0] - v.gaussianOnly[0], v.f[1] - v.gaussianOnly[1])";
    assert!(shown(&mut page, "attention", apart) > 0.05);
    page.click("figure[data-figure=attention] [data-do=equal]");
    // Lengths are rounded to hundredths, so the weights differ by some thousandths.
    assert!(shown(&mut page, "attention", apart) < 0.02);
    // Chapter 3: a prefix of length 0 is the frozen model.
    for _ in 0..2 {
        page.click("figure[data-figure=prefix] [data-do=remove]");
    }
    assert_eq!(shown(&mut page, "prefix", "v.mu"), 0.0);
    assert_eq!(shown(&mut page, "prefix", "v.mixture[0] - v.f[0]"), 0.0);
    // Chapter 4: a longer input loses queries.
    let lost = "v.notReachedByPrefix / v.mu.length";
    let set = |page: &mut Page, length: u32| {
        page.evaluate(&format!(
            "(e => {{ e.value = {length}; e.dispatchEvent(new Event('input')); \
             }})(document.getElementById('length-tokens'))"
        ));
    };
    set(&mut page, 4);
    assert_eq!(shown(&mut page, "growth", lost), 0.0);
    set(&mut page, 64);
    assert!(shown(&mut page, "growth", lost) > 0.4);
    assert!(
        shown(
            &mut page,
            "growth",
            "v.notReachedByPrefix - v.notReachedByInducer"
        ) > 10.0
    );
    // Chapter 5: both networks at zero leave f, with a gate that is not zero.
    page.click("figure[data-figure=inducer] [data-do=zero]");
    assert_eq!(
        shown(&mut page, "inducer", "v.residual[0][0] - v.f[0][0]"),
        0.0
    );
    assert!(shown(&mut page, "inducer", "v.lambda[0]") > 0.1);
    // Chapter 6: pseudo-inputs at the data are the exact process; crowded ones miss much of the
    // evidence.
    page.click("figure[data-figure=process] [data-do=all]");
    let missed = shown(&mut page, "process", "v.evidence - v.titsias");
    assert_abs_diff_eq!(missed, 0.0, epsilon = 1e-5);
    page.click("figure[data-figure=process] [data-do=reset]");
    page.click("figure[data-figure=process] [data-do=crowd]");
    assert!(shown(&mut page, "process", "v.evidence - v.titsias") > 10.0);
    // Chapter 7 starts where its text starts, with the prefix.
    let shows = "[...document.querySelectorAll('[data-method]')].filter(e => e.checkVisibility())\
                 .map(e => e.dataset.method).join(' ')";
    assert_eq!(page.text(shows), "prefix");
    assert_eq!(
        page.text("teach.figures.ladder.figure.state.method"),
        "prefix"
    );
    // Chapter 7: at zero only the prefix and Gating are away from the frozen model; without MLP_k
    // Inducer is Extension.
    page.click("figure[data-figure=ladder] [data-do=start]");
    let drift = |page: &mut Page, method: &str| {
        let expression =
            format!("Math.hypot(v.{method}[0] - v.frozen[0], v.{method}[1] - v.frozen[1])");
        shown(page, "ladder", &expression)
    };
    for method in ["adaptive", "extension", "inducer", "lora"] {
        assert_eq!(drift(&mut page, method), 0.0, "{method}");
    }
    for method in ["prefix", "gating"] {
        assert!(drift(&mut page, method) > 0.1, "{method}");
    }
    // Far from a prefix on the right its update is gone, the inducer's is not.
    page.click("figure[data-figure=ladder] [data-do=reset]");
    page.press("figure[data-figure=ladder] [data-handle=x]", "Home");
    assert!(drift(&mut page, "prefix") < 0.02);
    assert!(drift(&mut page, "inducer") > 0.5);
    assert_eq!(page.errors(), [""; 0]);
}

#[test]
fn figures_start_where_their_texts_begin() {
    let Some((_directory, mut page)) = open() else {
        return;
    };
    // Chapter 5 begins with both networks as they stand in (5) and (6).
    let scales = "(s => `${s.keyScale} ${s.valueScale}`)(teach.figures.inducer.figure.state)";
    assert_eq!(page.text(scales), "1 1");
    assert!(shown(&mut page, "inducer", "v.lambda[0]") > 0.1);
    // Chapter 6 begins with a few points that are well placed: little is missed.
    let few = "teach.figures.process.figure.state.pseudo.length";
    let (few, data) = (
        page.number(few),
        page.number(&few.replace("pseudo", "inputs")),
    );
    assert!(few < 0.5 * data, "{few} of {data}");
    assert!(shown(&mut page, "process", "v.evidence - v.titsias") < 5.0);
    let apart = shown(&mut page, "process", "v.evidence - v.sparseEvidence");
    assert_abs_diff_eq!(apart, 0.0, epsilon = 0.5);
    // Chapter 7 begins with the prefix.
    assert_eq!(
        page.text("teach.figures.ladder.figure.state.method"),
        "prefix"
    );
    assert_eq!(page.errors(), [""; 0]);
}

#[test]
fn a_claim_opens_the_text_of_its_proof() {
    let Some((_directory, mut page)) = open() else {
        return;
    };
    assert!(page.number("document.querySelectorAll('details.proof').length") >= 10.0);
    let proof = "document.querySelector('[data-claim=\"eq07-eq08\"] details.proof')";
    assert_eq!(page.evaluate(&format!("{proof}.open")), false);
    // the claims of a figure are folded away, and a summary within cannot be clicked
    page.evaluate(&format!("{proof}.closest('details.claims').open = true"));
    page.click("[data-claim=\"eq07-eq08\"] details.proof > summary");
    page.wait_for(&format!("{proof}.open"));
    let said = page.text(&format!("{proof}.querySelector('pre').innerText"));
    assert!(
        said.starts_with("(** ") && said.contains("Theorem "),
        "{said}"
    );
    assert!(said.trim_end().ends_with("Qed."), "{said}");
    assert_eq!(page.errors(), [""; 0]);
}

#[test]
fn a_change_of_any_formula_turns_the_check_red() {
    let html = teach::page().unwrap();
    let (_directory, file) = page(&html);
    let Some(mut browser) = Page::open(&file) else {
        return;
    };
    // A badge that is red for another reason would prove nothing.
    browser.wait_for("window.teach && teach.ready");
    assert_eq!(browser.number("teach.result.wrong.length"), 0.0);
    for (name, formula, changed) in MUTATIONS {
        assert!(
            html.contains(formula),
            "{name}: `{formula}` is not in the script"
        );
        std::fs::write(&file, html.replacen(formula, changed, 1)).unwrap();
        browser.go(&file);
        browser.wait_for("document.getElementById('badge').dataset.state !== 'none'");
        let state = browser.text("document.getElementById('badge').dataset.state");
        assert_eq!(state, "red", "{name}: `{changed}` passes the self-check");
    }
}

#[test]
fn every_formula_of_the_script_has_a_change_that_is_tried() {
    let script = include_str!("../src/teach/js/maths.js");
    let object = script.split_once("const maths = {").unwrap().1;
    let members = object.lines().filter_map(|line| {
        let name = line.strip_prefix("  ")?.split([':', '(']).next()?;
        let plain = !name.is_empty() && name.chars().all(char::is_alphabetic);
        plain.then_some(name)
    });
    let mut seen = 0;
    for name in members.filter(|name| *name != "smoothing") {
        let tried = MUTATIONS
            .iter()
            .any(|(of, _, _)| of.split(':').next() == Some(name));
        assert!(tried, "{name}: no change of this formula is tried");
        seen += 1;
    }
    assert!(seen >= 20, "only {seen} formulas were found");
}

#[test]
fn the_command_writes_the_page_and_names_a_file_that_it_cannot_write() {
    let directory = tempfile::tempdir().unwrap();
    let run = |out: &std::path::Path| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_inducer"));
        command.arg("teach").arg("--out").arg(out).output().unwrap()
    };
    let file = directory.path().join("lecture.html");
    assert!(run(&file).status.success());
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(written, teach::page().unwrap());
    let nowhere = directory.path().join("missing").join("lecture.html");
    let failed = run(&nowhere);
    assert!(!failed.status.success());
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(said.contains("lecture.html: cannot be written"), "{said}");
}

#[test]
fn the_last_chapter_has_a_command_for_a_model_of_ones_own_that_the_command_line_knows() {
    let page = teach::page().unwrap();
    let (_, last) = page.split_once("<section id=\"ladder\"").unwrap();
    let (_, command) = last.split_once("aria-label=\"Command\"").unwrap();
    let command = command.split("</pre>").next().unwrap();
    assert!(command.contains("inducer explain "), "{command}");
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_inducer"))
        .args(["explain", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let options = command.split_whitespace().filter(|w| w.starts_with("--"));
    let options: Vec<&str> = options.collect();
    assert!(options.len() >= 4, "{options:?}");
    for option in options {
        assert!(help.contains(&format!("{option} <")), "{option}");
    }
}

#[test]
fn text_contrast_labels_and_roles_pass_axe_in_light_and_dark() {
    let Some((_directory, mut page)) = open() else {
        return;
    };
    page.passes_axe(&[("light", "screen"), ("dark", "screen")]);
}
