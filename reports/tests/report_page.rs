//! The report's page in a browser: every figure there, nothing asked for, readable in light, dark,
//! narrow and print.
//!
//! It is the page of the committed study, `reports/results/embedded.json`.
#![allow(clippy::unwrap_used)] // tests

use crate::browser::Page;
use inducer_reports::report;
use inducer_reports::study::Study;
use std::path::Path;
use tempfile::TempDir;

/// Figures by the id of their picture.
const FIGURES: [&str; 7] = [
    "ladder",
    "costs",
    "lengths",
    "long",
    "positions",
    "drift",
    "curves",
];

fn open() -> Option<(TempDir, Page)> {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/embedded.json");
    let study = Study::read(&results).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.html");
    std::fs::write(&file, report::html(&study)).unwrap();
    let mut page = Page::open(&file)?;
    page.wait_for("document.readyState === 'complete'");
    Some((directory, page))
}

#[test]
fn every_figure_is_shown_once_in_each_width_with_a_table_behind_it() {
    let Some((_directory, mut page)) = open() else {
        return;
    };
    for (width, shown, hidden) in [(1280, "wide", "narrow"), (390, "narrow", "wide")] {
        page.viewport(width, 900);
        for figure in FIGURES {
            let height = |size: &str| {
                format!(
                    "document.getElementById('{figure}-{size}-t').closest('svg')
                        .getBoundingClientRect().height"
                )
            };
            assert!(page.number(&height(shown)) > 100.0, "{figure} at {width}");
            assert_eq!(page.number(&height(hidden)), 0.0, "{figure} at {width}");
        }
        assert!(page.number("document.querySelectorAll('.panels svg').length") >= 6.0);
        let beyond = page.number("document.documentElement.scrollWidth - innerWidth");
        assert_eq!(beyond, 0.0, "the page is wider than {width} pixels");
    }
    let without = "[...document.querySelectorAll('figure')].filter(f => \
     f.nextElementSibling?.tagName !== 'DETAILS' || !f.nextElementSibling.querySelector('table \
     tbody tr')).length";
    assert_eq!(page.number(without), 0.0, "a figure without a table");
    let silent = "[...document.querySelectorAll('figure svg .fill')].filter(s => \
     !s.closest('g').querySelector('title')).length";
    assert_eq!(
        page.number(silent),
        0.0,
        "a sign without its values on hover"
    );
    assert_eq!(page.errors(), [""; 0]);
    assert_eq!(page.requests(), [""; 0]);
}

#[test]
fn every_figure_is_saved_as_svg_and_as_png() {
    let Some((_directory, mut page)) = open() else {
        return;
    };
    let without = "[...document.querySelectorAll('figure')].filter(f => \
                   f.querySelectorAll('a[download$=\".svg\"]').length === 0 || \
                   f.querySelectorAll('a[download$=\".svg\"]').length !== \
                   f.querySelectorAll('button[data-save=png]').length).length";
    assert_eq!(page.number(without), 0.0);
    page.evaluate(
        "HTMLAnchorElement.prototype.click = function () { window.saved = [this.download, \
         this.href]; }",
    );
    page.click("button[data-save=png]");
    page.wait_for("window.saved");
    let link = page.text("document.querySelector('a[download$=\".svg\"]').download");
    assert_eq!(page.text("saved[0]"), link.replace(".svg", ".png"));
    let loaded = "new Promise(done => { const i = new Image(); i.onload = () => done(i); i.src = \
                  saved[1]; })";
    page.evaluate(&format!("{loaded}.then(i => {{ window.picture = i; }})"));
    // twice the size, on the ground of the light scheme, and something is drawn on it
    let width = page.number(
        "parseFloat(decodeURIComponent(document.querySelector(\
                             'a[download$=\".svg\"]').href).match(/ width=\"(\\d+)/)[1])",
    );
    assert_eq!(page.number("picture.naturalWidth"), 2.0 * width);
    page.evaluate(
        "(() => { const c = document.createElement('canvas'); [c.width, c.height] = \
         [picture.naturalWidth, picture.naturalHeight]; const x = c.getContext('2d'); \
         x.drawImage(picture, 0, 0); window.pixels = x.getImageData(0, 0, c.width, c.height).data; \
         })()",
    );
    assert_eq!(
        page.text("[...pixels.slice(0, 4)].join()"),
        "253,252,250,255"
    );
    let colours = "new Set(new Uint32Array(pixels.buffer)).size";
    assert!(page.number(colours) > 20.0);
    assert_eq!(page.errors(), [""; 0]);
    assert_eq!(page.requests(), [""; 0]);
}

#[test]
fn no_text_of_a_figure_lies_outside_it_or_on_another() {
    let Some((_directory, mut page)) = open() else {
        return;
    };
    for width in [1280, 390] {
        page.viewport(width, 900);
        let outside = "
            [...document.querySelectorAll('figure svg')]
                .filter(s => s.getBoundingClientRect().height)
                .flatMap(s => [...s.querySelectorAll('text')]
                    .filter(t => {
                        const a = t.getBoundingClientRect(), b = s.getBoundingClientRect();
                        return a.left < b.left - 1 || a.right > b.right + 1
                            || a.bottom > b.bottom + 1;
                    })
                    .map(t => s.querySelector('title').textContent + ': ' + t.textContent))
                .join(' | ')";
        assert_eq!(page.text(outside), "", "{width} pixels");
        let crossing = "
            [...document.querySelectorAll('figure svg')]
                .filter(s => s.getBoundingClientRect().height)
                .flatMap(s => {
                    const labels = [...s.querySelectorAll('text.label, text.name')]
                        .map(t => [t.textContent, t.getBoundingClientRect()]);
                    return labels.flatMap(([n, a], i) => labels.slice(i + 1)
                        .filter(([, b]) => a.left < b.right && b.left < a.right
                            && a.top + 3 < b.bottom && b.top + 3 < a.bottom)
                        .map(([m]) => n + ' on ' + m));
                })
                .join(' | ')";
        assert_eq!(page.text(crossing), "", "{width} pixels");
    }
}

#[test]
fn a_reader_with_a_keyboard_finds_the_answer_first() {
    let Some((_directory, mut page)) = open() else {
        return;
    };
    page.viewport(390, 844);
    let lead = page.text("document.querySelector('.lead').textContent");
    assert!(
        lead.contains("Of the paper's 5 steps, by the loss"),
        "{lead}"
    );
    // on a phone the answer stands on the first two screens
    assert!(
        page.number("document.querySelector('.lead').getBoundingClientRect().bottom") < 2.0 * 844.0
    );
    let unreachable = "[...document.querySelectorAll('.scroll')].filter(s => s.scrollWidth > \
     s.clientWidth && s.tabIndex !== 0).length";
    assert_eq!(page.number(unreachable), 0.0);
}

#[test]
fn light_dark_and_print_pass_axe() {
    let Some((_directory, mut page)) = open() else {
        return;
    };
    page.passes_axe(&[("light", "screen"), ("dark", "screen"), ("dark", "print")]);
}
