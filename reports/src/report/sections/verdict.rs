//! What the study says about the paper's claims, in sentences that come from the runs alone.

use super::steps::{self, missing};
use super::title;
use crate::document::format::{fixed, list, signed, signed_interval};
use crate::document::{Block, ListStyle, Role, Section, Span, Text};
use crate::stats::{Summary, Verdict, excludes_zero};
use crate::study::measure::Measure;
use crate::study::paper::{ABLATIONS, FULL_METHOD, STEPS, Step};
use crate::study::{Row, Study};
use inducer_datasets::Task;

/// How a verdict is reached.
const METHOD: &str = "Differences are taken seed by seed and averaged; their 95 % intervals are \
 Student's t, each for its step alone. A step appears when its interval lies above zero, does not \
 appear when it lies below, and is within the spread over seeds when it holds zero.";

/// The section: by the loss of the test part, or by the first score of runs that kept no losses.
pub fn section(study: &Study) -> Section {
    if !study.contrasts.is_empty() {
        return steps::section(study);
    }
    let step = |m: &Measured<'_>| {
        let verdict = Span::Bold(m.verdict.label().into());
        let sentence = Span::Plain(format!(" {}", step_sentence(study, m)));
        Text(vec![verdict, sentence])
    };
    let list =
        |steps: &[Measured<'_>]| Block::List(ListStyle::Steps, steps.iter().map(step).collect());
    let mut blocks = vec![
        Block::Paragraph(Role::Lead, lead(study).into()),
        Block::body(summary(study).join(" ")),
        Block::heading("The paper's order, step by step"),
        list(&steps(study, &STEPS)),
    ];
    let own = steps(study, &study.own_steps());
    if !own.is_empty() {
        blocks.extend([Block::heading("Steps of one's own"), list(&own)]);
    }
    blocks.push(Block::note(METHOD));
    Section {
        id: "verdict",
        name: None,
        heading: "What the ablation shows",
        blocks,
    }
}

/// The score that is shown run by run: the task's first one; BLEU without empty references where
/// the runs that were decoded have it.
pub fn measure(study: &Study) -> Measure {
    let has = |row: &Row| {
        let decoded = row.runs.len() - row.by_loss_alone();
        Measure::BleuWithoutEmpty.by_seed(row).len() == decoded
    };
    match study.task {
        Task::WebNlg if study.rows.iter().all(has) => Measure::BleuWithoutEmpty,
        other => Measure::first(other),
    }
}

/// One step, measured here.
#[derive(Clone, Debug, PartialEq)]
struct Measured<'a> {
    /// The step.
    step: Step<'a>,
    /// `upper − lower` here.
    difference: Option<Summary>,
    /// Whether it appears.
    verdict: Verdict,
}

/// The steps as they were measured here.
fn steps<'a>(study: &Study, steps: &[Step<'a>]) -> Vec<Measured<'a>> {
    let measured = |step: &Step<'a>| {
        let difference = between(study, step.lower, step.upper);
        Measured {
            step: *step,
            difference,
            verdict: Verdict::of(difference.as_ref()),
        }
    };
    steps.iter().map(measured).collect()
}

fn between(study: &Study, a: &str, b: &str) -> Option<Summary> {
    measure(study).difference(study.row(a)?, study.row(b)?)
}

/// A difference with its interval: `+0.71 BLEU (95 % interval +0.30 to +1.12, 3 seeds)`.
fn with_interval(d: Summary, measure: Measure) -> String {
    let (value, unit) = (signed(d.mean, measure.named().digits), measure.named().unit);
    match signed_interval(Some(d), measure.named().digits) {
        Some(i) => format!("{value} {unit} (95 % interval {i}, {} seeds)", d.n),
        None => format!("{value} {unit} (one seed, no interval)"),
    }
}

/// The sentence of a step, but for its verdict.
fn step_sentence(study: &Study, m: &Measured<'_>) -> String {
    let (lower, upper) = (title(study, m.step.lower), title(study, m.step.upper));
    let (measure, change) = (measure(study), m.step.change);
    let here = m.difference.map(|d| with_interval(d, measure));
    let here = here.unwrap_or("no common seed".into());
    let paper = measure
        .beside()
        .paper_difference(m.step.lower, m.step.upper);
    let paper = paper.map_or(String::new(), |p| {
        let p = signed(p, measure.named().paper_digits);
        format!("; in the paper {p} {}", measure.named().unit)
    });
    format!("{lower} → {upper}: {here}{paper}. What changes: {change}.")
}

/// The first sentence: which ablation costs most, and how much.
fn lead(study: &Study) -> String {
    let (whole, measure) = (title(study, FULL_METHOD), measure(study));
    let Some(score) = study.row(FULL_METHOD).and_then(|r| measure.summary(r)) else {
        return format!(
            "No run of {whole} has a score here, so what an ablation costs cannot be said."
        );
    };
    let Some((method, taken, d)) = costs(study).into_iter().next() else {
        return format!("No ablation shares a seed with {whole} here, so none can be compared.");
    };
    let (name, difference) = (title(study, method), with_interval(d, measure));
    let score = format!(
        "{whole} scores {} {}.",
        fixed(score.mean, 2),
        measure.named().unit
    );
    if d.mean >= 0.0 {
        return format!(
            "{score} No ablation scores below it: the lowest, {name}, differs by {difference}."
        );
    }
    let doubt = match (d.interval, excludes_zero(&d)) {
        (Some(_), false) => " That is within the spread over seeds.",
        _ => "",
    };
    format!(
        "{score} The ablation that hurts most is {name}, which takes away {taken}: \
         {difference}.{doubt}"
    )
}

/// What each ablation costs, the dearest first.
fn costs(study: &Study) -> Vec<(&'static str, &'static str, Summary)> {
    let mut costs: Vec<_> = ABLATIONS
        .iter()
        .filter_map(|(m, taken)| between(study, FULL_METHOD, m).map(|d| (*m, *taken, d)))
        .collect();
    costs.sort_by(|a, b| a.2.mean.total_cmp(&b.2.mean));
    costs
}

/// The other ablations in one sentence.
fn other_ablations(study: &Study) -> Option<String> {
    let rest: Vec<String> = costs(study)
        .into_iter()
        .skip(1)
        .map(|(m, _, d)| {
            let range = signed_interval(Some(d), 2).map_or(String::new(), |i| format!(" ({i})"));
            format!("{} {}{range}", title(study, m), signed(d.mean, 2))
        })
        .collect();
    let whole = title(study, FULL_METHOD);
    (!rest.is_empty()).then(|| format!("The others, against {whole}: {}.", list(&rest)))
}

/// The sentences after the lead: the other ablations, the order as a whole, the two ends of the
/// scale, and what is missing.
fn summary(study: &Study) -> Vec<String> {
    let order = Some(order(&steps(study, &STEPS)));
    let all = [other_ablations(study), order, ends(study), missing(study)];
    all.into_iter().flatten().collect()
}

fn order(steps: &[Measured<'_>]) -> String {
    let with = |v: Verdict| steps.iter().filter(|m| m.verdict == v).count();
    let all = steps.len();
    if with(Verdict::Appears) == all {
        return format!(
            "The paper's order appears here in full: each of its {all} steps has an interval above \
             zero."
        );
    }
    let parts: Vec<String> = [
        Verdict::Appears,
        Verdict::WithinSpread,
        Verdict::Reversed,
        Verdict::OneSeed,
        Verdict::NotMeasured,
    ]
    .into_iter()
    .filter(|v| with(*v) > 0)
    .map(|v| {
        let n = with(v);
        let verb = |one, many| if n == 1 { one } else { many };
        match v {
            Verdict::Appears => format!("{n} {}", verb("appears", "appear")),
            Verdict::WithinSpread => {
                let (are, against) = (verb("is", "are"), against(steps));
                format!("{n} {are} within the spread over seeds{against}")
            }
            Verdict::Reversed => {
                let (does, is) = (verb("does", "do"), verb("is", "are"));
                format!("{n} {does} not appear and {is} reversed")
            }
            Verdict::OneSeed => format!("{n} cannot be judged from one seed"),
            Verdict::NotMeasured => format!("{n} {} not measured", verb("was", "were")),
        }
    })
    .collect();
    format!(
        "The paper's order does not appear here in full: of its {all} steps, {}.",
        list(&parts)
    )
}

/// How many of the steps within the spread point the other way.
fn against(steps: &[Measured<'_>]) -> String {
    let falls = |m: &&Measured<'_>| {
        m.verdict == Verdict::WithinSpread && m.difference.is_some_and(|d| d.mean < 0.0)
    };
    match steps.iter().filter(falls).count() {
        0 => String::new(),
        n => format!(" ({n} with the opposite sign)"),
    }
}

fn ends(study: &Study) -> Option<String> {
    let measure = measure(study);
    let mean = |method| Some(fixed(measure.summary(study.row(method)?)?.mean, 2));
    Some(format!(
        "The scale runs from {} {} for the untuned backbone to {} for full fine-tuning.",
        mean("none")?,
        measure.named().unit,
        mean("full")?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;
    use crate::study::Scores;

    #[test]
    fn the_lead_names_the_ablation_with_the_largest_loss() {
        let study = testing::study();
        let lead = lead(&study);
        assert!(lead.contains("hurts most is Gating"), "{lead}");
        let d = between(&study, "inducer", "gating").unwrap();
        assert!(lead.contains(&signed(d.mean, 2)), "{lead}");
    }

    #[test]
    fn an_order_that_does_not_appear_is_said_to_be_absent() {
        let mut study = testing::study();
        let gating = study.row("gating").unwrap().runs.clone();
        let inducer = study.row("inducer").unwrap().runs.clone();
        for row in &mut study.rows {
            match row.method.as_str() {
                "gating" => row.runs = inducer.clone(),
                "inducer" => row.runs = gating.clone(),
                _ => {}
            }
        }
        let last = &steps(&study, &STEPS)[4];
        assert_eq!(last.verdict, Verdict::Reversed);
        assert_eq!(last.verdict.label(), "does not appear");
        assert!(step_sentence(&study, last).contains("BLEU (95 % interval −"));
        assert!(summary(&study)[1].contains("does not appear here in full"));
        assert!(summary(&study)[1].contains("reversed"));
    }

    #[test]
    fn runs_by_their_loss_alone_leave_the_score_and_its_seeds_as_they_are() {
        let mut study = testing::study();
        assert_eq!(measure(&study), Measure::BleuWithoutEmpty);
        let before = crate::report::markdown(&study);
        assert!(!before.contains("by loss"), "{before}");
        let row = study.rows.iter_mut().find(|r| r.method == "inducer");
        let row = row.unwrap();
        let mut further = row.runs[0].clone();
        further.seed = 9;
        further.result.scores = Scores::none();
        further.result.mechanism = Default::default();
        further.configuration["loss_only"] = true.into();
        row.runs.push(further);
        assert_eq!(measure(&study), Measure::BleuWithoutEmpty);
        let page = crate::report::markdown(&study);
        assert!(page.contains("| 3, by loss 1 more |"), "{page}");
        assert!(!page.contains("seed 9 |"), "{page}");
        // a decoded run without that score is another thing
        let row = study.rows.iter_mut().find(|r| r.method == "inducer");
        row.unwrap().runs[3].configuration["loss_only"] = false.into();
        assert_eq!(measure(&study), Measure::BleuAll);
    }

    #[test]
    fn methods_and_seeds_that_are_absent_are_named() {
        let mut study = testing::study();
        study.rows.retain(|r| r.method != "extension");
        study.rows[2].runs.pop();
        let steps = steps(&study, &STEPS);
        assert_eq!(steps[1].verdict, Verdict::NotMeasured);
        assert_eq!(steps[2].verdict, Verdict::NotMeasured);
        let all = summary(&study).join(" ");
        assert!(all.contains("2 were not measured"), "{all}");
        assert!(all.contains("Runs are missing: "), "{all}");
        study.rows.clear();
        assert!(lead(&study).contains("cannot be said"));
    }

    #[test]
    fn one_seed_gives_no_verdict() {
        let mut study = testing::study();
        for row in &mut study.rows {
            row.runs.truncate(1);
        }
        assert!(
            steps(&study, &STEPS)
                .iter()
                .all(|m| m.verdict == Verdict::OneSeed)
        );
        assert!(summary(&study)[1].contains("5 cannot be judged from one seed"));
        // what is one is not said as if it were several
        study.provenance.settings.seeds.truncate(1);
        study.rows.truncate(1);
        let page = crate::report::markdown(&study);
        for wrong in [" 1 seeds", " 1 runs", " 1 methods", " 1 entries"] {
            assert!(!page.contains(wrong), "{wrong}: {page}");
        }
    }
}
