//! The report of a study, as a page and as Markdown: both are functions of
//! [`crate::study::Study`] alone, through one list of [`sections`].

pub mod claims_page;
pub mod compare;
pub mod export;
pub mod figures;
pub mod sections;
pub mod tables;

#[cfg(test)]
pub(crate) mod testing;

use crate::document::format::{count, counted};
use crate::document::{self, Document, Span, Text};
use crate::study::Study;

/// The report as one HTML file.
pub fn html(study: &Study) -> String {
    document::html::render(&document(study))
}

/// The report as Markdown.
pub fn markdown(study: &Study) -> String {
    document::markdown::render(&document(study))
}

/// The report.
fn document(study: &Study) -> Document {
    let p = &study.provenance;
    let runs: usize = study.rows.iter().map(|r| r.runs.len()).sum();
    let further = match p.settings.loss_seeds.len() {
        0 => String::new(),
        n => format!(" and {n} more of the steps' methods"),
    };
    let what = format!(
        "{}, {}{further}, {} of {} steps on {}; backbone {} with {} parameters.",
        counted(study.rows.len(), "method"),
        counted(p.settings.seeds.len(), "seed"),
        counted(runs, "run"),
        count(p.settings.steps),
        p.data.name,
        p.backbone.name,
        count(p.backbone.parameters)
    );
    Document {
        title: format!("Inducer-tuning, taken apart: {}", p.data.name),
        kind: "Ablation report",
        what,
        skip: "Skip to the results",
        sections: sections::all(study),
        foot: foot(&p.version),
    }
}

fn foot(version: &str) -> Text {
    let plain = |text: &str| Span::Plain(text.into());
    let file = |name: &str| Span::Code(name.into());
    let paper = "Inducer-tuning: Connecting Prefix-tuning and Adapter-tuning";
    Text(vec![
        plain(&format!("inducer {version}. The same numbers are in ")),
        file("report.html"),
        plain(", "),
        file("report.md"),
        plain(" and "),
        file("report.json"),
        plain(". Method: Chen et al., "),
        Span::Title(paper.into()),
        plain(", EMNLP 2022."),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_for_nothing_and_runs_only_what_saves_its_pictures() {
        let page = html(&testing::study());
        let (before, rest) = page.split_once("<script data-ground=").unwrap();
        let (script, after) = rest.split_once("</script>").unwrap();
        for forbidden in ["http", "fetch", "import", "src=", "url(", "eval"] {
            assert!(!script.contains(forbidden), "{forbidden}");
        }
        let page = format!("{before}{after}");
        for forbidden in [
            "http://", "https://", "<script", "@import", "url(", "src=", "NaN", "inf<",
        ] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        assert!(page.contains("Artist &lt;script&gt;"));
    }

    #[test]
    fn ids_are_unique_and_every_reference_has_its_target() {
        let page = html(&testing::study());
        let after = |key: &str| -> Vec<String> {
            let parts = page.split(key).skip(1);
            parts
                .map(|p| p.split('"').next().unwrap().to_string())
                .collect()
        };
        let ids = after(" id=\"");
        let unique: std::collections::HashSet<&String> = ids.iter().collect();
        assert_eq!(ids.len(), unique.len());
        for target in after("href=\"#") {
            assert!(ids.contains(&target), "{target}");
        }
        for targets in after("aria-labelledby=\"") {
            for target in targets.split(' ') {
                assert!(unique.contains(&target.to_string()), "{target}");
            }
        }
    }

    #[test]
    fn headings_descend_one_level_at_a_time() {
        let page = html(&testing::study());
        let mut last = 0;
        for part in page.split("<h").skip(1) {
            let Some(level) = part.chars().next().and_then(|c| c.to_digit(10)) else {
                continue;
            };
            assert!(level <= last + 1, "h{level} after h{last}");
            last = level;
        }
        assert_eq!(page.matches("<h1").count(), 1);
    }

    #[test]
    fn tags_are_balanced() {
        let page = html(&testing::study());
        let tags = [
            "table", "tr", "td", "th", "section", "figure", "details", "svg", "g", "text", "title",
            "dl", "ol", "ul", "li", "div", "p", "article",
        ];
        for tag in tags {
            let open = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            assert_eq!(open, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn a_study_with_nothing_in_it_still_renders() {
        let mut study = testing::study();
        study.samples.clear();
        study.contrasts.clear();
        for row in &mut study.rows {
            row.runs.clear();
        }
        let page = html(&study);
        assert!(page.contains("cannot be said") && page.contains("missing: seed 1, 2 and 3"));
        assert!(!page.contains("NaN"));
        study.rows.clear();
        assert!(!html(&study).contains("NaN"));
    }

    #[test]
    fn the_json_is_the_study_and_both_pages_come_from_it() {
        let study = testing::study();
        let json = serde_json::to_string_pretty(&study).unwrap();
        let again: Study = serde_json::from_str(&json).unwrap();
        assert_eq!(html(&again), html(&study));
        assert_eq!(markdown(&again), markdown(&study));
    }
}
