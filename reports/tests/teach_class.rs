//! The teaching page in class: one chapter at a time, links to a situation, pictures to save, and
//! answers that are folded away.
#![allow(clippy::unwrap_used)]

use crate::browser::Page;
use approx::assert_abs_diff_eq;
use inducer_reports::teach;
use std::path::PathBuf;
use tempfile::TempDir;

fn open() -> Option<(TempDir, PathBuf, Page)> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("teach.html");
    std::fs::write(&file, teach::page().unwrap()).unwrap();
    let mut page = Page::open(&file)?;
    page.wait_for("window.teach && teach.ready");
    Some((directory, file, page))
}

/// Chapters that can be seen.
const SEEN: &str = "[...document.querySelectorAll('.chapter')].filter(c => c.offsetHeight > \
                    0).map(c => c.id).join(' ')";

#[test]
fn one_chapter_at_a_time_with_the_arrow_keys_and_large_type() {
    let Some((_directory, _, mut page)) = open() else {
        return;
    };
    let size = "parseFloat(getComputedStyle(document.querySelector('.prose p:not(.number)')).\
                fontSize)";
    let small = page.number(size);
    assert_eq!(page.text(SEEN).split(' ').count(), 7);
    page.click("#class-mode");
    assert_eq!(page.text(SEEN), "smoother");
    assert!(page.number(size) > 1.3 * small);
    page.press("#main", "ArrowRight");
    page.press("#main", "ArrowRight");
    assert_eq!(page.text(SEEN), "prefix");
    let said = page.text("document.querySelector('.chapter.shown').innerText");
    assert!(said.trim_start().starts_with("Chapter 3\n"), "{said:.40}");
    page.press("#main", "ArrowLeft");
    assert_eq!(page.text(SEEN), "attention");
    for _ in 0..4 {
        page.press("#main", "ArrowRight");
    }
    assert_eq!(page.text(SEEN), "process");
    let broken = "[...document.querySelectorAll('.chapter.shown output')].filter(e => \
                  e.getClientRects().length > 1 || e.offsetHeight > 2 * \
                  parseFloat(getComputedStyle(e).fontSize)).length";
    assert_eq!(page.number(broken), 0.0, "a slider's number is broken");
    for _ in 0..4 {
        page.press("#main", "ArrowLeft");
    }
    // a point keeps its arrow keys
    page.press(
        "figure[data-figure=attention] [data-handle=q]",
        "ArrowRight",
    );
    assert_eq!(page.text(SEEN), "attention");
    let beyond = page.number("document.documentElement.scrollWidth - innerWidth");
    assert_eq!(beyond, 0.0, "wider than the screen");
    page.press("#main", "Escape");
    assert_eq!(page.text(SEEN).split(' ').count(), 7);
    assert_eq!(page.errors(), [""; 0]);
}

#[test]
fn the_address_opens_the_same_picture_and_a_broken_one_opens_the_page() {
    let Some((_directory, file, mut page)) = open() else {
        return;
    };
    let f = "teach.figures.attention.figure.values.f[0]";
    let start = page.number(f);
    page.drag(
        "figure[data-figure=attention] [data-handle='q']",
        (-60.0, 20.0),
    );
    for _ in 0..2 {
        page.click("figure[data-figure=prefix] [data-do=remove]");
    }
    page.click("#class-mode");
    page.press("#main", "ArrowRight");
    page.wait_for("location.hash.includes('attention') && location.hash.includes('chapter')");
    let (moved, hash) = (page.number(f), page.text("location.hash"));
    assert_ne!(moved, start);
    let again = |page: &mut Page, hash: &str| {
        page.go(&file);
        page.wait_for("window.teach && teach.ready");
        page.evaluate(&format!("location.hash = {}", serde_json::json!(hash)));
        page.settle();
    };
    again(&mut page, &hash);
    page.wait_for("document.body.dataset.mode === 'class'");
    // numbers in the address have three decimals
    assert_abs_diff_eq!(page.number(f), moved, epsilon = 5e-3);
    assert_eq!(page.number("teach.figures.prefix.figure.values.mu"), 0.0);
    assert_eq!(page.text(SEEN), "attention");
    for broken in [
        "#state=%7B",
        "#state=null",
        "#state=%7B%22attention%22%3A%7B%22queries%22%3A%22x%22%2C%22keys%22%3A%5B%5D%7D%7D",
        "#state=%7B%22process%22%3A%7B%22inputs%22%3A%5B1%5D%7D%7D",
    ] {
        again(&mut page, broken);
        page.wait_for(&format!("Math.abs({f} - {start}) < 1e-9"));
        assert_eq!(page.errors(), [""; 0], "{broken}");
    }
}

#[test]
fn figures_are_saved_as_pictures_that_stand_alone() {
    let Some((_directory, _, mut page)) = open() else {
        return;
    };
    let panels = "[...document.querySelectorAll('[data-panel]')]";
    let each = format!("{panels}.map(p => teach.svg(p)).join('\\n')");
    let all = page.text(&each);
    assert!(all.matches("<svg ").count() >= 7);
    assert!(all.contains("xmlns=\"http://www.w3.org/2000/svg\"") && !all.contains("class="));
    // colours are written out, and every picture can be read again
    assert!(all.contains("fill:rgb") || all.contains("fill: rgb"));
    let wrong = format!(
        "{panels}.filter(p => new DOMParser().parseFromString(teach.svg(p), \
         'image/svg+xml').querySelector('parsererror')).length"
    );
    assert_eq!(page.number(&wrong), 0.0);
    page.evaluate(
        "teach.png(document.querySelector('[data-panel]')).then(url => { window.picture = url; })",
    );
    page.wait_for("window.picture");
    assert!(
        page.text("picture")
            .starts_with("data:image/png;base64,iVBOR")
    );
    let without = "[...document.querySelectorAll('figure')].filter(f => \
                   f.querySelectorAll('[data-save=svg]').length !== 1 || \
                   f.querySelectorAll('[data-save=png]').length !== 1).length";
    assert_eq!(page.number(without), 0.0);
    assert_eq!(page.errors(), [""; 0]);
}

#[test]
fn answers_are_folded_away_and_stand_together_in_print() {
    let html = teach::page().unwrap();
    let exercises = html.matches("<details class=\"answer\">").count();
    assert!(exercises >= 21, "{exercises}");
    let solutions = html
        .split("<details class=\"all-solutions\">")
        .nth(1)
        .unwrap();
    let solutions = solutions.split("</details>").next().unwrap();
    assert_eq!(solutions.matches("<li>").count(), exercises);
    assert_eq!(solutions.matches("<h3>Chapter").count(), 7);
    assert!(html.contains("<a href=\"https://arxiv.org/abs/2210.14469\">"));
    // there is no public address of the source to link to: the page says where each formula stands
    assert!(html.contains("<code>reference/src</code>") && html.contains("<code>verify</code>"));
    // the plan's parts follow one another and fill ninety minutes
    let plan = html.split("<details class=\"plan\">").nth(1).unwrap();
    let plan = plan.split("</details>").next().unwrap();
    let parts = plan.split("<th scope=\"row\">").skip(1);
    let mut minute = 0;
    for part in parts {
        let (from, to) = part.split("</th>").next().unwrap().split_once('–').unwrap();
        assert_eq!(from.parse(), Ok(minute), "{part}");
        minute = to.parse().unwrap();
    }
    assert_eq!(minute, 90);
    let Some((_directory, _, mut page)) = open() else {
        return;
    };
    let seen = |selector: &str| {
        format!(
            "[...document.querySelectorAll('{selector}')].filter(e => e.checkVisibility() && \
             e.getBoundingClientRect().height > 0).length"
        )
    };
    assert_eq!(page.number(&seen(".answer span")), 0.0);
    page.click(".try .answer summary");
    assert_eq!(page.number(&seen(".answer span")), 1.0);
    page.media("light", "print");
    assert_eq!(page.number(&seen(".try .answer")), 0.0);
    assert_eq!(page.number(&seen(".all-solutions li")), exercises as f64);
    let broken = "[...document.querySelectorAll('.chapter')].slice(1).every(c => \
                  getComputedStyle(c).breakBefore === 'page')";
    assert_eq!(page.text(&format!("String({broken})")), "true");
}

#[test]
fn in_print_no_heading_stands_alone_at_the_foot_of_a_page() {
    let Some((_directory, _, mut page)) = open() else {
        return;
    };
    let titles = "[...document.querySelectorAll('.chapter h2')].map(h => h.textContent).join('|')";
    let titles = page.text(titles);
    let headings = page.printed_headings();
    if headings.is_empty() {
        eprintln!("not run: this Chromium writes no outline of a printed page");
        return;
    }
    assert!(headings.len() > 14, "{headings:?}");
    // in points: the lower margin, and an inch of what a heading is for
    for (title, _, height) in &headings {
        assert!(*height > 45.0 + 72.0, "{title}: {height}");
    }
    // every chapter but the first begins a page, whose upper edge is at 792 or 842 points
    let mut sheets = std::collections::BTreeSet::new();
    for title in titles.split('|').skip(1) {
        let found = headings.iter().find(|(t, ..)| t == title);
        let (_, sheet, height) = found.unwrap_or_else(|| panic!("{title}: {headings:?}"));
        assert!(sheets.insert(sheet) && *height > 650.0, "{title}: {height}");
    }
    assert_eq!(sheets.len(), 6);
}
