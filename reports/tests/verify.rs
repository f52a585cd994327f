//! `inducer verify` as a user meets it: exit status, rows that were not run, and its page in a
//! browser.

#![allow(clippy::unwrap_used)]

use crate::browser::Page;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

fn verify(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_inducer"))
        .arg("verify")
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The page of a few claims of every kind.
fn page(file: &Path) -> Output {
    verify(&[
        "--cases",
        "13",
        "--claim",
        "gat",
        "--html",
        file.to_str().unwrap(),
    ])
}

#[test]
fn an_empirical_claim_has_the_words_of_the_study_that_it_is_given() {
    let dir = TempDir::new().unwrap();
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/embedded.json");
    let of = |more: &[&str]| {
        let out = verify(&[&["--claim", "gating-collapses"], more].concat());
        assert!(out.status.success(), "{}", text(&out.stderr));
        text(&out.stdout)
    };
    let study = ["--study", dir.path().to_str().unwrap()];
    assert!(of(&[]).contains("not run: empirical: "), "{}", of(&[]));
    let missing = verify(&["--claim", "gating-collapses", study[0], study[1]]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("report.json"));
    let report = std::fs::read_to_string(committed).unwrap();
    std::fs::write(dir.path().join("report.json"), &report).unwrap();
    let found = of(&study);
    let row = "measured: appears: inducer less gating: test loss −0.";
    assert!(found.contains(row), "{found}");
    assert!(
        found.contains("0 passed, 0 failed, 0 not run, 1 measured by a study"),
        "{found}"
    );
    // of what the study did not measure it says why, which is another word than "not run"
    let of_all = |claim: &str| text(&verify(&["--claim", claim, study[0], study[1]]).stdout);
    let found = of_all("mam-long");
    let row = "not measured: no inducer-lora and mam-inducer on long inputs; ";
    assert!(found.contains(row), "{found}");
    assert!(
        found.contains("0 passed, 0 failed, 0 not run, 1 not measured by it"),
        "{found}"
    );
    let mut short: serde_json::Value = serde_json::from_str(&report).unwrap();
    short["long"] = serde_json::Value::Null;
    std::fs::write(dir.path().join("report.json"), short.to_string()).unwrap();
    for (claim, missing) in [
        ("near-inducers", "prefix and inducer"),
        ("long-inputs", "losses of prefix and inducer"),
    ] {
        let found = of_all(claim);
        let row = format!("not measured: no {missing} on long inputs; ");
        assert!(found.contains(&row), "{found}");
    }
    // the verdict follows the numbers: the same comparison with the other sign
    let mut other: serde_json::Value = serde_json::from_str(&report).unwrap();
    for c in other["contrasts"].as_array_mut().unwrap() {
        let fall = c["difference"].as_f64().unwrap();
        c["difference"] = (-fall).into();
    }
    std::fs::write(dir.path().join("report.json"), other.to_string()).unwrap();
    assert!(
        of(&study).contains("measured: reversed: "),
        "{}",
        of(&study)
    );
}

#[test]
fn rows_on_a_gpu_that_is_not_there_are_not_run_and_no_failure() {
    if cfg!(feature = "cuda") {
        eprintln!("not run: this build can have a GPU");
        return;
    }
    let found = verify(&[
        "--cases",
        "4",
        "--claim",
        "roberta-packing",
        "--device",
        "cuda",
        "--engine",
        "cuda",
    ]);
    let said = text(&found.stdout);
    assert!(found.status.success(), "{said}{}", text(&found.stderr));
    for engine in ["cuda f32", "cuda bf16"] {
        let row = said.lines().find(|line| line.contains(engine)).unwrap();
        assert!(
            row.contains("not run") && row.contains("without the feature `cuda`"),
            "{row}"
        );
    }
    assert!(said.contains("0 passed, 0 failed, 2 not run"), "{said}");
}

#[test]
fn one_case_runs_alone_by_its_name_and_what_is_no_name_is_refused() {
    let found = verify(&["--claim", "nw-constant", "--case", "7:0=0", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    let rows = report["rows"].as_array().unwrap();
    // a proof has no cases
    let ran = rows
        .iter()
        .filter(|row| row["engine"] != "proved" && row["verdict"] == "passed");
    let ran: Vec<_> = ran.collect();
    assert!(!ran.is_empty());
    for row in ran {
        assert_eq!(
            (&row["cases"], &row["worst"]["case"]),
            (&1.into(), &7.into())
        );
        assert_eq!(row["note"], "this case alone, without its control");
    }
    let refused = [
        (&["--case", "7"][..], "--claim"),
        (&["--claim", "nw-constant", "--case", "7:0"], "`7:0`"),
        (
            &["--claim", "nw", "--case", "7"],
            "no claim whose id is `nw`",
        ),
    ];
    for (words, why) in refused {
        let found = verify(words);
        let said = String::from_utf8_lossy(&found.stderr).into_owned();
        assert!(!found.status.success() && said.contains(why), "{said}");
    }
}

#[test]
fn an_unknown_claim_is_an_error_that_names_it() {
    let found = verify(&["--claim", "eq99"]);
    assert_eq!(found.status.code(), Some(1));
    let said = text(&found.stderr);
    // and what lists them, not a file that does not come with the program
    assert!(
        said.contains("`eq99`") && said.contains("`inducer verify --list`"),
        "{said}"
    );
    assert!(!said.contains("claims.toml"), "{said}");
    let found = verify(&["--claim", "eq99", "--engine", "proved"]);
    assert!(text(&found.stderr).contains("`eq99` and whose engine contains `proved`"));
}

#[test]
fn the_page_opens_its_claims_and_passes_axe_in_light_and_dark() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("claims.html");
    let made = page(&file);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let Some(mut page) = Page::open(&file) else {
        return;
    };
    assert_eq!(page.errors(), [""; 0]);
    assert_eq!(page.requests(), [""; 0]);
    // a link of the overview opens the details of its claim
    page.evaluate("document.querySelector('a[href=\"#ladder-gating\"]').click()");
    page.wait_for("document.getElementById('ladder-gating').closest('details').open");
    // and a link of the claim its proof's text
    let proof = "document.getElementById('ladder_gating').closest('details')";
    assert_eq!(page.evaluate(&format!("{proof}.open")), false);
    page.evaluate("document.querySelector('a[href=\"#ladder_gating\"]').click()");
    page.wait_for(&format!("{proof}.open"));
    let said = page.text(&format!("{proof}.querySelector('pre').innerText"));
    assert!(
        said.starts_with("(** ") && said.contains("Theorem ladder_gating"),
        "{said}"
    );
    assert!(said.trim_end().ends_with("Qed."), "{said}");
    let dead = "[...document.querySelectorAll('a[href^=\"#\"]')].map(a => \
                a.getAttribute('href').slice(1)).filter(id => !document.getElementById(id)).join()";
    assert_eq!(page.text(dead), "", "links that lead nowhere");
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })");
    for scheme in ["light", "dark"] {
        page.media(scheme, "screen");
        for width in [1280, 390] {
            page.viewport(width, 900);
            let beyond = page.number("document.documentElement.scrollWidth - innerWidth");
            assert_eq!(beyond, 0.0, "the page is wider than {width} pixels");
            let Some(violations) = page.axe() else { return };
            assert_eq!(violations, [""; 0], "{scheme}, {width} pixels");
        }
    }
}
