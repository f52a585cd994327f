//! The report as one HTML file: no script, no font, no request; readable on a phone, on paper, and
//! by ear.

use super::table::Table;
use super::words::{count, html};
use super::{
    chart, claims, curves, gates, intervals, lengths, mechanism, palette, record, samples, tables,
    verdict,
};
use crate::study::Study;

const STYLE: &str = include_str!("style.css");

/// Sections: id, name in the contents.
const SECTIONS: [(&str, &str); 9] = [
    ("results", "Results"),
    ("ladder", "Ladder"),
    ("lengths", "Length"),
    ("gates", "λ and μ"),
    ("drift", "Drift"),
    ("training", "Training"),
    ("samples", "Outputs"),
    ("claims", "Claims"),
    ("record", "Settings"),
];

/// The page.
pub fn render(study: &Study) -> String {
    let body: String = [
        head(study),
        verdict_section(study),
        results(study),
        ladder(study),
        lengths_section(study),
        gates_section(study),
        drift_section(study),
        training(study),
        samples_section(study),
        claims_section(study),
        record_section(study),
        foot(study),
    ]
    .concat();
    document(&title(study), &body)
}

/// A whole document of one body.
fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta \
         name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\">\n<title>{}</title>\n<link rel=\"icon\" \
         href=\"data:,\">\n<style>\n{}{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        html(title),
        palette::css()
    )
}

/// A document of paragraphs, each with a table or none.
pub fn plain(title: &str, sections: &[(String, Option<Table>)]) -> String {
    let mut body = format!(
        "<header><h1>{}</h1></header>\n<main id=\"main\">\n",
        html(title)
    );
    for (text, table) in sections {
        body += &paragraph("", text);
        body += &table.as_ref().map_or(String::new(), Table::html);
    }
    document(title, &(body + "</main>\n"))
}

/// The title of a report.
pub fn title(study: &Study) -> String {
    format!(
        "Inducer-tuning, taken apart: {}",
        study.provenance.data.name
    )
}

/// What was done, in one sentence.
pub fn what(study: &Study) -> String {
    let p = &study.provenance;
    let runs: usize = study.rows.iter().map(|r| r.runs.len()).sum();
    format!(
        "{} methods, {} seeds, {runs} runs of {} steps on {}; backbone {} with {} parameters.",
        study.rows.len(),
        p.settings.seeds.len(),
        count(p.settings.steps as u64),
        p.data.name,
        p.backbone.name,
        count(p.backbone.parameters as u64)
    )
}

fn head(study: &Study) -> String {
    let links: String = SECTIONS
        .iter()
        .map(|(id, name)| format!("<li><a href=\"#{id}\">{name}</a></li>"))
        .collect();
    format!(
        "<a class=\"skip\" href=\"#main\">Skip to the results</a>\n<header>\n<p \
         class=\"kind\">Ablation report</p>\n<h1>{}</h1>\n<p class=\"what\">{}</p>\n<nav \
         aria-label=\"Contents\"><ul>{links}</ul></nav>\n</header>\n<main id=\"main\" \
         tabindex=\"-1\">\n",
        html(&title(study)),
        html(&what(study))
    )
}

fn section(id: &str, heading: &str, body: &str) -> String {
    format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-h\">\n<h2 \
         id=\"{id}-h\">{}</h2>\n{body}</section>\n",
        html(heading)
    )
}

fn paragraph(class: &str, text: &str) -> String {
    format!("<p class=\"{class}\">{}</p>\n", html(text))
}

/// A figure with its number, and the table behind it.
fn figure(number: usize, title: &str, key: &str, picture: &str, table: &Table) -> String {
    format!(
        "<figure>\n{picture}<figcaption><b>Figure {number}. {}.</b> {}</figcaption>\n</figure>\n{}",
        html(title),
        html(key),
        details(&format!("Figure {number} as a table"), &table.html())
    )
}

fn details(summary: &str, body: &str) -> String {
    format!(
        "<details><summary>{}</summary>\n{body}</details>\n",
        html(summary)
    )
}

fn verdict_section(study: &Study) -> String {
    let mut body = paragraph("lead", &verdict::lead(study));
    body += &paragraph("", &verdict::summary(study).join(" "));
    body += "<h3>The paper's order, step by step</h3>\n<ol class=\"steps\">\n";
    for m in verdict::steps(study) {
        let verdict = m.verdict.words();
        let words = html(&verdict::step_words(study, &m));
        body += &format!("<li><b>{verdict}</b> {words}</li>\n");
    }
    body += "</ol>\n";
    body += &paragraph("note", verdict::METHOD);
    section("verdict", "What the ablation shows", &body)
}

fn results(study: &Study) -> String {
    let mut body = tables::main(study).html();
    body += &paragraph("note", tables::MARKS);
    body += &tables::beside_paper(study).map_or(String::new(), |t| t.html());
    body += "<h3>What is comparable with the paper</h3>\n";
    for sentence in &study.provenance.comparable {
        body += &paragraph("", sentence);
    }
    section("results", "Results beside the paper's", &body)
}

fn ladder(study: &Study) -> String {
    let mut body = figure(
        1,
        "The ablation ladder",
        intervals::LADDER_KEY,
        &intervals::ladder(study),
        &tables::ladder(study),
    );
    body += &figure(
        2,
        "What each ablation costs and each addition brings",
        intervals::COSTS_KEY,
        &intervals::costs(study),
        &tables::costs(study),
    );
    section("ladder", "The ladder, and what each part is worth", &body)
}

/// Where score and mechanism go with the length of the input: the study's own inputs, and long
/// ones.
fn lengths_section(study: &Study) -> String {
    let mut body = String::new();
    for (number, (heading, lengths)) in [3, 4].into_iter().zip(lengths::parts(study)) {
        body += &format!("<h3>{}</h3>\n", html(&heading));
        let picture = lengths.scores();
        if picture.is_empty() {
            body += &paragraph("", lengths::NOT_MEASURED);
            continue;
        }
        for sentence in lengths.sentences() {
            body += &paragraph("", &sentence);
        }
        let table = lengths.table("Score and loss by length of the input");
        body += &figure(
            number,
            "Score by length of the input",
            lengths::KEY,
            &picture,
            &table,
        );
        let mechanism = lengths.mechanism("λ and μ by length of the input");
        if !mechanism.rows.is_empty() {
            body += &details(
                "λ, μ and distances by length of the input",
                &mechanism.html(),
            );
        }
    }
    section("lengths", "What long inputs do", &body)
}

fn gates_section(study: &Study) -> String {
    let picture = gates::draw(study);
    if picture.is_empty() {
        let body = paragraph("", "No method of this study has a gate.");
        return section("gates", "λ and μ", &body);
    }
    let title = "How much weight the added tokens get";
    let mut body = figure(5, title, gates::KEY, &picture, &tables::gates(study));
    let picture = mechanism::positions(study);
    if !picture.is_empty() {
        let table = mechanism::position_table(study);
        let title = "λ and μ by position of the query";
        body += &figure(6, title, mechanism::POSITION_KEY, &picture, &table);
        body += "<h3>How far the added keys lie</h3>\n";
        body += &paragraph("note", mechanism::DISTANCE_KEY);
        body += &mechanism::distances(study).html();
    }
    section("gates", "λ and μ, and how far the keys lie", &body)
}

fn drift_section(study: &Study) -> String {
    let picture = curves::drift(study);
    let body = match picture.is_empty() {
        true => paragraph("", "The drift was not measured in these runs."),
        false => figure(
            7,
            "How far each method moves from the frozen model",
            curves::DRIFT_KEY,
            &picture,
            &tables::drift(study),
        ),
    };
    section("drift", "Drift from the frozen model", &body)
}

fn training(study: &Study) -> String {
    let picture = curves::draw(study);
    let mut body = if picture.is_empty() {
        paragraph(
            "",
            "No method was validated at more than one step, so there are no curves.",
        )
    } else {
        let key = format!("{}{}", chart::KEY, curves::left_out_words(study));
        figure(8, "Learning curves", &key, &picture, &tables::curves(study))
    };
    body += &record::effort(study).html();
    body += &paragraph("note", record::EFFORT);
    section("training", "Training, time and memory", &body)
}

fn claims_section(study: &Study) -> String {
    let mut body = paragraph("", &claims::sentence(study));
    if let Some(ledger) = &study.ledger {
        body += &details("Every claim", &claims::table(ledger).html());
    }
    section("claims", "What has been verified", &body)
}

fn samples_section(study: &Study) -> String {
    if study.samples.is_empty() {
        return section(
            "samples",
            "Outputs side by side",
            &paragraph("", "No outputs were kept."),
        );
    }
    let body = paragraph("note", samples::KEY) + &samples::to_html(study);
    section("samples", "Outputs side by side", &body)
}

fn record_section(study: &Study) -> String {
    let mut body = format!(
        "<h3>Run it again</h3>\n<pre tabindex=\"0\" role=\"group\" \
         aria-label=\"Command\"><code>{}</code></pre>\n",
        html(&study.provenance.rerun)
    );
    body += &record::sources(study).html();
    body += &details("Every run", &record::runs(study).html());
    let [common, differing] = record::configurations(study);
    body += &details(
        "Every run's configuration",
        &(common.html() + &differing.html()),
    );
    section("record", "Settings and sources", &body)
}

fn foot(study: &Study) -> String {
    format!(
        "</main>\n<footer><p>inducer {}. The same numbers are in <code>report.md</code> and \
         <code>report.json</code>. Method: Chen et al., <cite>Inducer-tuning: Connecting \
         Prefix-tuning and Adapter-tuning</cite>, EMNLP 2022.</p></footer>\n",
        html(&study.provenance.version)
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_page_asks_for_nothing_and_runs_nothing() {
        let page = render(&fixture::study());
        for forbidden in [
            "http://", "https://", "<script", "@import", "url(", "src=", "NaN", "inf<",
        ] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        assert!(page.contains("Artist &lt;script&gt;"));
    }

    #[test]
    fn ids_are_unique_and_every_reference_has_its_target() {
        let page = render(&fixture::study());
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
        let page = render(&fixture::study());
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
        let page = render(&fixture::study());
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
        let mut study = fixture::study();
        study.samples.clear();
        for row in &mut study.rows {
            row.runs.clear();
        }
        let page = render(&study);
        assert!(page.contains("cannot be said") && page.contains("missing: seed 1, 2 and 3"));
        assert!(!page.contains("NaN"));
        study.rows.clear();
        assert!(!render(&study).contains("NaN"));
    }
}
