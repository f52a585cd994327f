//! The page of `inducer explain` in a browser: figures, pointer and keys, the self-check and what
//! must turn it red, texts that are only text.
#![allow(clippy::unwrap_used)]

use crate::browser::Page;
use crate::common;
use crate::common::Fixture;
use approx::assert_abs_diff_eq;
use candle_core::{DType, Device};
use inducer_datasets::{Task, Tokenizer, synthetic};
use inducer_gpu::backbone::Roberta;
use inducer_gpu::{Method, Model};
use inducer_reports::explain::{self, Input, Request};
use std::path::PathBuf;

const FIGURES: [&str; 7] = [
    "tokens", "map", "weights", "plane", "next", "along", "layers",
];

/// Tags, a script's end, Hebrew, Arabic, an emoji of several tokens, and lines.
const TEXT: &str = "The <b>tower</b> & \"Paris\" </script><script>window.injected=1</script> <!-- \
                    שלום العربية 😀👩‍🔬\n$x$ [[version]] 'end'";

/// An adapter away from its start, so that gates differ.
fn adapter(f: &Fixture, method: Method) -> PathBuf {
    f.far_adapter(method, &format!("runs/{}/best", method.name()))
}

fn html(f: &Fixture, methods: &[Method], text: &str) -> String {
    let adapters: Vec<PathBuf> = methods.iter().map(|m| adapter(f, *m)).collect();
    let backbone = f.path("backbone");
    let input = Input::text(&backbone, &adapters[0], Task::WebNlg, text).unwrap();
    let request = Request {
        backbone,
        adapters,
        layers: Vec::new(),
        heads: Vec::new(),
        thin: false,
        device: Device::Cpu,
    };
    explain::page::html(&explain::explain(&request, input).unwrap()).unwrap()
}

fn file(f: &Fixture, html: &str) -> PathBuf {
    let file = f.path("explain.html");
    std::fs::write(&file, html).unwrap();
    file
}

fn opened(f: &Fixture, html: &str) -> Option<Page> {
    let mut page = Page::open(&file(f, html))?;
    page.wait_for("window.teach && teach.ready");
    page.settle();
    Some(page)
}

const BOTH: [Method; 2] = [Method::Prefix, Method::Inducer];

#[test]
fn every_figure_is_there_the_check_is_green_and_nothing_is_asked_for() {
    let f = Fixture::new();
    for methods in [
        &BOTH[..],
        &BOTH[1..],
        &[Method::Lora],
        &[Method::MamAdapter, Method::Adaptive],
    ] {
        let Some(mut page) = opened(&f, &html(&f, methods, TEXT)) else {
            return;
        };
        let badge = page.text("document.getElementById('badge').textContent");
        assert_eq!(
            page.text("document.getElementById('badge').dataset.state"),
            "green",
            "{badge}"
        );
        assert!(page.number("teach.result.numbers") > 300.0, "{badge}");
        assert!(page.number("teach.result.share") <= 1.0);
        assert!(
            page.number("teach.result.worst") > 0.0,
            "16 bits cost something"
        );
        for figure in FIGURES {
            if methods == [Method::Lora] && figure == "map" {
                continue;
            }
            let drawn = match figure {
                "tokens" => "[role=option]".to_string(),
                _ => "[data-panel] > svg :is(path, rect, circle)".into(),
            };
            let count = page.number(&format!(
                "document.querySelectorAll('figure[data-figure={figure}] {drawn}').length"
            ));
            assert!(count >= 3.0, "{methods:?} {figure}: {count}");
            let hidden = page.evaluate(&format!(
                "document.querySelector('figure[data-figure={figure}]').closest('section').hidden"
            ));
            assert_eq!(hidden, false, "{figure}");
        }
        for width in [1280, 390] {
            page.viewport(width, 900);
            let beyond = page.number("document.documentElement.scrollWidth - innerWidth");
            assert_eq!(
                beyond, 0.0,
                "{methods:?}: the page is wider than {width} pixels"
            );
        }
        let foot = page.text("document.querySelector('footer').textContent");
        let stated = stated(&foot).unwrap_or_else(|| panic!("no error in: {foot}"));
        let error = page.number("Math.max(...teach.page.sides.map(side => side.error))");
        assert_abs_diff_eq!(stated, error, epsilon = 0.051 * error);
        assert_eq!(page.errors(), [""; 0], "{methods:?}");
        assert_eq!(page.requests(), [""; 0]);
    }
}

/// The error of the 16 bits that a page's last lines state.
fn stated(foot: &str) -> Option<f64> {
    let (_, rest) = foot.split_once("kept in 16 bits: ")?;
    let (_, rest) = rest.split_once("is at most ")?;
    rest.split(' ').next()?.parse().ok()
}

/// What the page shows for the present view.
fn gate(page: &mut Page, side: usize) -> f64 {
    page.number(&format!("teach.view.rows[{side}].gate"))
}

#[test]
fn pointer_and_keys_move_the_numbers() {
    let f = Fixture::new();
    let Some(mut page) = opened(&f, &html(&f, &BOTH, "The tower of Paris is tall and old.")) else {
        return;
    };
    let said = "document.querySelector('figure[data-figure=weights] [data-live]').textContent";
    let list = "figure[data-figure=tokens] [role=listbox]";
    let start = (gate(&mut page, 0), gate(&mut page, 1), page.text(said));
    page.press(list, "Home");
    assert_eq!(page.number("teach.view.query"), 0.0);
    let first = (gate(&mut page, 0), gate(&mut page, 1), page.text(said));
    assert!(start.0 != first.0 && start.1 != first.1 && start.2 != first.2);
    page.press(list, "ArrowRight");
    assert_eq!(page.number("teach.view.query"), 1.0);
    page.click("#token-4");
    assert_eq!(page.number("teach.view.query"), 4.0);
    let weights = "document.querySelectorAll('[data-panel=bars-2] .bar.key').length";
    assert_eq!(
        page.number(weights),
        5.0,
        "a causal query sees itself and what is before"
    );
    page.click("[data-step='1']");
    assert_eq!(page.number("teach.view.query"), 5.0);
    // a layer and a head
    let before = gate(&mut page, 0);
    page.evaluate(
        "(s => { s.value = '1'; s.dispatchEvent(new Event('change')); \
         })(document.querySelector('[data-pick=layer]'))",
    );
    page.settle();
    assert_ne!(gate(&mut page, 0), before);
    // the map: a click goes there, and the keys too
    page.click("[data-panel=gates-1] > svg");
    let place = "[teach.view.layer, teach.view.head, teach.view.query].join(' ')";
    let there = page.text(place);
    page.press("[data-panel=gates-1] > svg", "ArrowUp");
    assert_ne!(page.text(place), there);
    // the plane: the query nearest to a click
    page.click("[data-panel=plane-1] > svg");
    page.click("[data-panel=along] > svg");
    // both forms of the kernel give the same bars; the Gaussian alone does not
    let bars = "[...document.querySelectorAll('[data-panel=bars-1] .bar title')].map(t => \
                t.textContent).join()";
    let dot = page.text(bars);
    page.click("figure[data-figure=weights] input[value=factors]");
    assert_eq!(page.text(bars), dot);
    page.click("figure[data-figure=weights] input[value=alone]");
    assert_ne!(page.text(bars), dot);
    // switches
    let loss = "teach.figures.layers.values.losses[0]";
    let without = page.number(loss);
    page.click("figure[data-figure=layers] input[value=only]");
    assert_ne!(page.number(loss), without);
    page.press("#which-layer", "ArrowRight");
    assert_eq!(page.number("teach.figures.layers.at"), 1.0);
    page.click("figure[data-figure=layers] input[value=all]");
    assert_eq!(
        page.number("teach.page.sides[0].tuned.loss"),
        page.number(loss)
    );
    for (figure, value) in [("map", "distance"), ("along", "loss")] {
        page.click(&format!(
            "figure[data-figure={figure}] input[value={value}]"
        ));
    }
    // pointing shows a token for as long as one points at it
    page.click("#token-2");
    assert_eq!(page.number("teach.view.query"), 2.0);
    page.viewport(390, 800);
    page.swipe("#token-6", (0.0, 0.0));
    assert_eq!(page.errors(), [""; 0]);
}

/// A change of a formula of the script, or of what it computes from.
#[rustfmt::skip]
const CHANGES: [(&str, &str); 9] = [
    ("inner(q, key) / root)", "inner(q, key) / this.p)"),
    ("-d / (2 * root)", "-d / root"),
    ("inner(key, key) / (2 * root)", "inner(key, key) / root"),
    ("maths.logistic(logSum(beside) - lse)", "maths.logistic(logSum(beside) - total)"),
    ("this.keys.slice(0, i + 1)", "this.keys.slice(0, i + 2)"),
    ("q.map((x, a) => x + this.moved[i][a])", "q.map((x, a) => x - this.moved[i][a])"),
    ("top + Math.log(total)", "top + Math.log(total + 0.01)"),
    ("Math.sqrt(Math.sqrt(this.p))", "Math.sqrt(this.p)"),
    ("first.value / trace", "first.value / (1.01 * trace)"),
];

#[test]
fn a_changed_formula_and_a_changed_number_turn_the_check_red() {
    let f = Fixture::new();
    let whole = html(&f, &BOTH, "The tower of Paris is tall and old.");
    let Some(mut page) = opened(&f, &whole) else {
        return;
    };
    assert_eq!(page.number("teach.result.wrong.length"), 0.0);
    let mut red = |name: &str, html: String| {
        assert_ne!(html, whole, "{name}: nothing was changed");
        page.go(&file(&f, &html));
        page.wait_for("document.getElementById('badge').dataset.state !== 'none'");
        let state = page.text("document.getElementById('badge').dataset.state");
        assert_eq!(state, "red", "{name} passes the self-check");
    };
    for (formula, changed) in CHANGES {
        assert!(whole.contains(formula), "`{formula}` is not in the script");
        red(changed, whole.replacen(formula, changed, 1));
    }
    // a scale, and a few characters of the numbers themselves
    for name in ["queries", "keys", "added", "lse", "gate", "distance"] {
        let at = whole.find(&format!("\"{name}\":{{")).unwrap();
        let from = at + whole[at..].find("\"data\":\"").unwrap() + 8;
        let changed = whole[from..from + 40].chars().rev().collect::<String>();
        red(
            name,
            format!("{}{changed}{}", &whole[..from], &whole[from + 40..]),
        );
    }
}

#[test]
fn text_is_text_whatever_is_in_it() {
    let f = Fixture::new();
    let Some(mut page) = opened(&f, &html(&f, &[Method::Inducer], TEXT)) else {
        return;
    };
    assert_eq!(page.evaluate("typeof window.injected"), "undefined");
    let shown = page
        .text("[...document.querySelectorAll('[role=option]')].map(t => t.textContent).join('')");
    for part in [
        "<b>tower</b> & \"Paris\"",
        "</script><script>window",
        "<!--",
        "$x$ [[version]]",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // the tokenizer knows no Hebrew: a letter is two tokens there, of which the first shows it
    let tokenizer = Tokenizer::load(&f.path("backbone")).unwrap();
    let one = tokenizer.encode("ש").unwrap().len();
    assert!(one == 1 || shown.contains("ש·"), "{shown}");
    assert!(shown.contains("😀"), "{shown}");
    let title = page.text("document.title");
    assert!(title.contains("The <b>tower</b>"), "{title}");
    // every token can be looked at, and no picture breaks
    let count = page.number("teach.page.tokens.length") as usize;
    for token in 0..count {
        page.evaluate(&format!("teach.view.set({{query: {token}}})"));
        page.settle();
    }
    assert_eq!(page.errors(), [""; 0]);
}

#[test]
fn a_classifier_shows_its_classes_and_all_keys() {
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture(dir);
    let text = synthetic::pretraining_text(1, 60_000);
    let tokenizer = Tokenizer::train_roberta(text.split("\n\n"), 400).unwrap();
    let backbone = f.path("backbone");
    tokenizer.save(&backbone).unwrap();
    let roberta = Roberta::random(common::tiny_roberta(), 7, DType::F32, &Device::Cpu).unwrap();
    let plain = Model::new(roberta, DType::F32, &Device::Cpu);
    plain.save_backbone(&backbone).unwrap();
    let mut model = Model::load_for(&backbone, Some(2), 3, DType::F32, &Device::Cpu).unwrap();
    let config = Method::Inducer.on(&model.backbone.config());
    model.attach(&config, 0, 5).unwrap();
    let best = f.path("run/best");
    model.save_adapter(&best).unwrap();
    let input = Input::text(&backbone, &best, Task::Sst2, "A film of great charm.").unwrap();
    let request = Request {
        backbone,
        adapters: vec![best],
        layers: Vec::new(),
        heads: vec![2],
        thin: false,
        device: Device::Cpu,
    };
    let found = explain::explain(&request, input).unwrap();
    assert_eq!(found.target.classes, ["0", "1"]);
    assert!(!found.target.given && found.target.class.is_some());
    let Some(mut page) = opened(&f, &explain::page::html(&found).unwrap()) else {
        return;
    };
    assert_eq!(
        page.text("document.getElementById('badge').dataset.state"),
        "green"
    );
    let keys = page.number("document.querySelectorAll('[data-panel=bars-1] .bar.key').length");
    assert_eq!(keys, page.number("teach.page.tokens.length"));
    assert_eq!(
        page.evaluate("document.getElementById('along').hidden"),
        true
    );
    assert_eq!(page.number("teach.figures.next.values.next[0].length"), 2.0);
    assert_eq!(page.errors(), [""; 0]);
}

#[test]
fn pictures_are_saved_and_the_page_prints() {
    let f = Fixture::new();
    let Some(mut page) = opened(&f, &html(&f, &BOTH, "The tower of Paris is tall and old.")) else {
        return;
    };
    for kind in ["svg", "png"] {
        let without = format!(
            "[...document.querySelectorAll('figure')].filter(f => \
             f.querySelectorAll('[data-save={kind}]').length !== 1).length"
        );
        assert_eq!(page.number(&without), 0.0, "{kind}");
    }
    // a button hands over one file a panel, by the panel's name
    page.evaluate(
        "HTMLAnchorElement.prototype.click = function () { \
         (window.saved ??= []).push([this.download, this.href.slice(0, 19)].join(' ')); }",
    );
    page.click("figure[data-figure=map] [data-save=svg]");
    page.click("figure[data-figure=tokens] [data-save=png]");
    page.wait_for("window.saved?.length === 3");
    assert_eq!(
        page.text("saved.join()"),
        "map-gates-1.svg data:image/svg+xml;,map-gates-2.svg data:image/svg+xml;,\
         tokens-tokens.png data:image/png;base"
    );
    let panels = "[...document.querySelectorAll('[data-panel]')]";
    let svgs = page.evaluate(&format!("{panels}.map(p => teach.svg(p))"));
    assert!(svgs.as_array().unwrap().len() >= 10);
    for svg in svgs.as_array().unwrap() {
        let svg = svg.as_str().unwrap();
        assert!(svg.contains("xmlns=\"http://www.w3.org/2000/svg\"") && !svg.contains("var("));
    }
    // the row as a picture has every word where the page has it, one text each
    let words = page.text(
        "[...new DOMParser().parseFromString(teach.svg(document.querySelector(\
         '[data-panel=tokens]')), 'image/svg+xml').querySelectorAll('text')].map(t => \
         t.textContent).join('')",
    );
    assert_eq!(words, "The tower of Paris is tall and old.");
    let png = page.text(&format!("teach.png({panels}[0])"));
    assert!(png.starts_with("data:image/png;base64,"));
    page.media("light", "print");
    let shown = |page: &mut Page, what: &str| {
        page.number(&format!(
            "document.querySelector('{what}').getClientRects().length"
        ))
    };
    assert_eq!(shown(&mut page, ".chooser"), 0.0);
    assert_eq!(shown(&mut page, "figure[data-figure=map] .controls"), 0.0);
    assert!(shown(&mut page, "[data-panel=bars-1] > svg") > 0.0);
    assert_eq!(page.errors(), [""; 0]);
}

#[test]
fn text_contrast_labels_and_roles_pass_axe_in_light_and_dark() {
    let f = Fixture::new();
    let Some(mut page) = opened(&f, &html(&f, &BOTH, TEXT)) else {
        return;
    };
    page.passes_axe(&[("light", "screen"), ("dark", "screen"), ("dark", "print")]);
}
