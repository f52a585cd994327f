//! The report as Markdown: the same sentences and the same tables as the page.

use super::table::Table;
use super::words::markdown;
use super::{claims, curves, html, lengths, mechanism, record, samples, tables, verdict};
use crate::study::Study;

/// The page.
pub fn render(study: &Study) -> String {
    [
        verdict_section(study),
        results(study),
        figures(study),
        outputs(study),
        claims_section(study),
        record_section(study),
    ]
    .concat()
    .trim_end()
    .to_string()
        + "\n"
}

fn paragraph(text: &str) -> String {
    format!("{}\n\n", markdown(text))
}

fn verdict_section(study: &Study) -> String {
    let mut out = format!("# {}\n\n", markdown(&html::title(study)));
    out += &paragraph(&html::what(study));
    out += "## What the ablation shows\n\n";
    out += &format!("**{}**\n\n", markdown(&verdict::lead(study)));
    out += &paragraph(&verdict::summary(study).join(" "));
    out += "### The paper's order, step by step\n\n";
    for (i, m) in verdict::steps(study).iter().enumerate() {
        let verdict = m.verdict.words();
        let words = markdown(&verdict::step_words(study, m));
        out += &format!("{}. **{verdict}**: {words}\n", i + 1);
    }
    out += "\n";
    out + &paragraph(verdict::METHOD)
}

fn results(study: &Study) -> String {
    let mut out = String::from("## Results beside the paper's\n\n");
    out += &tables::main(study).markdown();
    out += &paragraph(tables::MARKS);
    out += &tables::beside_paper(study).map_or(String::new(), |t| t.markdown());
    out += "### What is comparable with the paper\n\n";
    for sentence in &study.provenance.comparable {
        out += &paragraph(sentence);
    }
    out
}

fn figures(study: &Study) -> String {
    let mut out = [
        "## The ladder, and what each part is worth\n\n".into(),
        tables::ladder(study).markdown(),
        tables::costs(study).markdown(),
        "## What long inputs do\n\n".into(),
    ]
    .concat();
    for (heading, lengths) in lengths::parts(study) {
        out += &format!("### {}\n\n", markdown(&heading));
        let table = lengths.table("Score and loss by length of the input");
        if table.columns.len() == 1 {
            out += &paragraph(lengths::NOT_MEASURED);
            continue;
        }
        for sentence in lengths.sentences() {
            out += &paragraph(&sentence);
        }
        out += &table.markdown();
        let mechanism = lengths.mechanism("λ and μ by length of the input");
        if !mechanism.rows.is_empty() {
            out += &mechanism.markdown();
        }
    }
    out += "## λ and μ, and how far the keys lie\n\n";
    out += &tables::gates(study).markdown();
    out += &mechanism::position_table(study).markdown();
    out += &paragraph(mechanism::DISTANCE_KEY);
    out += &mechanism::distances(study).markdown();
    out += "## Drift from the frozen model\n\n";
    out += &paragraph(curves::DRIFT_KEY);
    out += &tables::drift(study).markdown();
    out += "## Training, time and memory\n\n";
    out += &tables::curves(study).markdown();
    out += &record::effort(study).markdown();
    out + &paragraph(record::EFFORT)
}

fn claims_section(study: &Study) -> String {
    let table = study.ledger.as_ref().map(claims::table);
    let table = table.map_or(String::new(), |t| t.markdown());
    format!(
        "## What has been verified\n\n{}{table}",
        paragraph(&claims::sentence(study))
    )
}

/// A document of paragraphs, each with a table or none.
pub fn plain(title: &str, sections: &[(String, Option<Table>)]) -> String {
    let mut out = format!("# {}\n\n", markdown(title));
    for (text, table) in sections {
        out += &paragraph(text);
        out += &table.as_ref().map_or(String::new(), Table::markdown);
    }
    out.trim_end().to_string() + "\n"
}

fn outputs(study: &Study) -> String {
    let key = samples::KEY.replace("Marked:", "Bold:");
    "## Outputs side by side\n\n".to_string() + &paragraph(&key) + &samples::to_markdown(study)
}

fn record_section(study: &Study) -> String {
    let [common, differing] = record::configurations(study);
    [
        "## Settings and sources\n\nRun it again:\n\n".into(),
        format!(
            "```sh\n{}\n```\n\n",
            study.provenance.rerun.replace("```", "")
        ),
        record::sources(study).markdown(),
        record::runs(study).markdown(),
        common.markdown(),
        differing.markdown(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::super::measure::Measure;
    use super::super::{fixture, words};
    use super::*;

    /// Every number of the main table, made again from the JSON text alone.
    #[test]
    fn every_number_of_the_main_table_is_in_both_pages_and_follows_from_the_json() {
        let study = fixture::study();
        let json = serde_json::to_string_pretty(&study).unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let (page, text) = (html::render(&study), render(&study));
        let table = tables::main(&study);
        for (row, cells) in value["rows"].as_array().unwrap().iter().zip(&table.rows) {
            let number = |run: &serde_json::Value, m: Measure| match m {
                Measure::BleuSeen => run["bleu"]["seen"].as_f64().unwrap(),
                Measure::BleuUnseen => run["bleu"]["unseen"].as_f64().unwrap(),
                Measure::BleuAll => run["bleu"]["all"].as_f64().unwrap(),
                Measure::Loss => run["best_validation_loss"].as_f64().unwrap(),
                Measure::Meteor => run["meteor"].as_f64().unwrap(),
                Measure::Ter => run["ter"].as_f64().unwrap(),
                other => panic!("{other:?} is no measure of WebNLG's"),
            };
            for (m, cell) in Measure::main(inducer_datasets::Task::WebNlg)
                .iter()
                .copied()
                .zip(&cells[2..])
            {
                let x: Vec<f64> = row["runs"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|r| number(r, m))
                    .collect();
                let n = x.len() as f64;
                let mean = x.iter().sum::<f64>() / n;
                let sd = (x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
                let expected = format!("{mean:.*} ± {sd:.*}", m.digits(), m.digits());
                let figure = cell.text.trim_end_matches(" *").trim_end_matches(" †");
                assert_eq!(figure, expected);
                assert!(
                    page.contains(&words::html(&expected)) && text.contains(&expected),
                    "{expected}"
                );
            }
            let share = format!("{:.2}", row["share"].as_f64().unwrap());
            assert_eq!(cells[1].text, share);
        }
        let last = text
            .lines()
            .find(|l| l.starts_with("| Inducer + LoRA |"))
            .unwrap();
        for cell in &table.rows[7] {
            assert!(last.contains(&words::markdown(&cell.text)), "{last}");
        }
    }

    #[test]
    fn the_json_is_the_study_and_both_pages_come_from_it() {
        let study = fixture::study();
        let json = serde_json::to_string_pretty(&study).unwrap();
        let again: Study = serde_json::from_str(&json).unwrap();
        assert_eq!(html::render(&again), html::render(&study));
        assert_eq!(render(&again), render(&study));
    }

    #[test]
    fn the_best_of_a_column_is_neither_end_of_the_scale() {
        let table = tables::main(&fixture::study());
        let best: Vec<&str> = table
            .rows
            .iter()
            .filter(|r| r[4].best)
            .map(|r| r[0].text.as_str())
            .collect();
        assert_eq!(best, ["Inducer + LoRA"]);
    }
}
