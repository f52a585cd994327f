//! The paper's steps, judged by the loss of the test part: the answer that the page opens with.

use super::{title, words};
use crate::document::format::{count, fixed, list, signed, signed_interval};
use crate::document::table::Table;
use crate::document::{Block, Figure, ListStyle, Role, Section, Span, Text};
use crate::report::figures::intervals::{Intervals, Lane};
use crate::stats::contrast::{Contrast, Judgement, MARGIN};
use crate::stats::{Summary, differences, paired};
use crate::study::judged::{Judged, judged};
use crate::study::measure::Measure;
use crate::study::paper::{STEPS, Step};
use crate::study::{Row, Study};

/// How a judgement is reached.
fn method() -> String {
    format!(
        "The measure is the loss of all references of the scored test entries, in \
 nats a token: every reference counts, nothing is decoded. Its error has three parts, what seeds \
 do to each of the two methods (by the deviation of its own runs) and the choice of entries (each \
 entry compared with itself); intervals are Student's t with Satterthwaite's degrees of freedom. \
 A step appears, or is reversed, when Holm's probability over the steps is below 0.05; it is \
 equivalent when two one-sided tests at 5 per cent place it within {MARGIN} nats; it depends on \
 the learning rate when, with both methods at one rate, its sign at the rate that is best for one \
 is another than at that which is best for the other; else it is \
 undecided. BLEU stands beside it over seeds alone."
    )
}

/// The section.
pub fn section(study: &Study) -> Section {
    let judged = judged(study, &STEPS);
    let sentence = |j: &Judged<'_>| {
        let label = Span::Bold(j.judgement.label().into());
        Text(vec![label, Span::Plain(format!(" {}", sentence(study, j)))])
    };
    let mut blocks = Vec::new();
    // a study of other methods does not open with an empty picture
    if judged.iter().any(|j| j.contrast.is_some()) {
        blocks.push(Block::Figure(losses(study, &judged, &PAPERS)));
    }
    blocks.extend([
        Block::Paragraph(Role::Lead, lead(study, &judged).into()),
        Block::heading("The paper's order, step by step"),
        Block::List(ListStyle::Steps, judged.iter().map(sentence).collect()),
    ]);
    blocks.extend(bleu(study).map(Block::Figure));
    let own = self::judged(study, &study.own_steps());
    if !own.is_empty() {
        blocks.push(Block::heading("Steps of one's own"));
        blocks.push(Block::List(
            ListStyle::Steps,
            own.iter().map(sentence).collect(),
        ));
        blocks.push(Block::Figure(losses(study, &own, &OWN)));
    }
    blocks.extend(missing(study).map(Block::body));
    blocks.push(Block::note(method()));
    Section {
        id: "verdict",
        name: None,
        heading: "What the ablation shows",
        blocks,
    }
}

/// How many of the steps come to which judgement.
fn lead(study: &Study, judged: &[Judged<'_>]) -> String {
    let name = |j: &&Judged<'_>| words(study, &j.step);
    let with = |of: Judgement| -> Vec<String> {
        let those = judged.iter().filter(|j| j.judgement == of);
        those.map(|j| name(&j)).collect()
    };
    let equivalent = |verb: &str| format!("{verb} equivalent within {MARGIN} nats a token");
    let parts: Vec<String> = [
        (Judgement::Appears, "appear", "appears"),
        (Judgement::Reversed, "are reversed", "is reversed"),
        (Judgement::Equivalent, &equivalent("are"), &equivalent("is")),
        (
            Judgement::DependsOnRate,
            "depend on the learning rate",
            "depends on the learning rate",
        ),
        (Judgement::Undecided, "stay undecided", "stays undecided"),
        (
            Judgement::NotMeasured,
            "were not measured",
            "was not measured",
        ),
    ]
    .into_iter()
    .filter_map(|(of, many, one)| match with(of).as_slice() {
        [] => None,
        [only] => Some(format!("1 {one} ({only})")),
        all => Some(format!("{} {many} ({})", all.len(), all.join(", "))),
    })
    .collect();
    format!(
        "Of the paper's {} steps, by the loss of the test part's references, {}.",
        judged.len(),
        list(&parts)
    )
}

/// The sentence of a step, but for its judgement.
fn sentence(study: &Study, j: &Judged<'_>) -> String {
    let (lower, upper) = (title(study, j.step.lower), title(study, j.step.upper));
    let here = match j.contrast {
        None => "no runs of both with losses".into(),
        Some(c) => {
            let (low, high) = c.interval(0.05);
            format!(
                "test loss {} nats a token (95 % interval {} to {}; Holm's p {}; {} and {} runs, \
                 {} entries){}",
                signed(c.difference, 3),
                signed(low, 3),
                signed(high, 3),
                probability(j.p),
                c.seeds[0],
                c.seeds[1],
                count(c.entries),
                undecided(j, c)
            )
        }
    };
    let (rows, measure) = (rows(study, &j.step), Measure::BleuWithoutEmpty);
    let bleu = rows.and_then(|(a, b)| measure.difference(a, b));
    let bleu = bleu.map_or(String::new(), |d| {
        let interval = signed_interval(Some(d), 1);
        let interval = interval.map_or(String::new(), |i| format!(" ({i} over seeds)"));
        format!(
            "; BLEU without empty references {}{interval}",
            signed(d.mean, 1)
        )
    });
    let first = Measure::first(study.task);
    let paper = first.paper_difference(j.step.lower, j.step.upper);
    let paper = paper.filter(|_| !study.task.is_own());
    let paper = paper.map_or(String::new(), |p| {
        let unit = first.named().unit;
        format!("; in the paper {} {unit}", signed(p, 1))
    });
    let change = j.step.change;
    format!("{lower} → {upper}: {here}{bleu}{paper}. What changes: {change}.")
}

/// What an undecided step would have needed.
fn undecided(j: &Judged<'_>, c: &Contrast) -> String {
    if j.judgement != Judgement::Undecided {
        return String::new();
    }
    let seen = fixed(c.detectable(j.tests), 3);
    let seeds = c.seeds_needed(j.tests).map_or(
        "a difference as small as this one needs more entries, whatever the seeds".into(),
        |n| format!("a difference as large as this one needs about {n} seeds"),
    );
    format!(", where {seen} could have been seen in four of five studies and {seeds}")
}

fn probability(p: f64) -> String {
    match p < 0.001 {
        true => "below 0.001".into(),
        false => fixed(p, 3),
    }
}

fn rows<'a>(study: &'a Study, step: &Step<'_>) -> Option<(&'a Row, &'a Row)> {
    Some((study.row(step.lower)?, study.row(step.upper)?))
}

/// What a picture of steps is called: its id, its title and the words that it begins with.
struct Called {
    id: &'static str,
    title: &'static str,
    steps: &'static str,
}

const PAPERS: Called = Called {
    id: "steps",
    title: "The paper's steps, by the loss of the test part",
    steps: "The paper's steps",
};

const OWN: Called = Called {
    id: "own-steps",
    title: "Steps of one's own, by the loss of the test part",
    steps: "Steps of one's own",
};

/// The steps in the loss, with the margin of what counts as none.
fn losses(study: &Study, judged: &[Judged<'_>], called: &Called) -> Figure {
    let lane = |j: &Judged<'_>| {
        let measure = Measure::TestLoss;
        let by_seed = |row| measure.by_seed(row);
        let dots = rows(study, &j.step).map(|(a, b)| differences(&by_seed(b), &by_seed(a)));
        let summary = j.contrast.map(|c| {
            let (low, high) = c.interval(0.05);
            Summary {
                n: c.seeds[0].min(c.seeds[1]),
                mean: -c.difference,
                sd: None,
                interval: Some((-high, -low)),
            }
        });
        Lane {
            method: j.step.upper.into(),
            title: words(study, &j.step),
            value: summary.map_or("not measured".into(), |s| signed(s.mean, 3)),
            dots: dots.unwrap_or_default(),
            summary,
            paper: None,
        }
    };
    let picture = Intervals {
        id: called.id,
        title: format!("{} in the loss of the test part", called.steps),
        axis: "How far the test loss falls, nats a token".into(),
        digits: [3, 1],
        signed: true,
        band: Some(MARGIN),
        lanes: judged.iter().map(lane).collect(),
    };
    let interval = |c: &Contrast, outside| {
        let (low, high) = c.interval(outside);
        format!("{} to {}", signed(low, 3), signed(high, 3))
    };
    let of_a_seed = |c: &Contrast, side: usize| fixed(c.seed_variances[side].sqrt(), 4);
    let of =
        |j: &&Judged<'_>, text: &dyn Fn(&Contrast) -> String| j.contrast.map_or("–".into(), text);
    let caption = format!(
        "{} in the loss of the test part: upper minus lower, nats a token",
        called.steps
    );
    let table = Table::of(&caption, judged)
        .text("Step", |j| words(study, &j.step))
        .number("difference", |j| of(j, &|c| signed(c.difference, 4)))
        .number("95 % interval", |j| of(j, &|c| interval(c, 0.05)))
        .number("90 % interval", |j| of(j, &|c| interval(c, 0.1)))
        .number("of a seed, lower", |j| of(j, &|c| of_a_seed(c, 0)))
        .number("of a seed, upper", |j| of(j, &|c| of_a_seed(c, 1)))
        .number("of the entries", |j| {
            of(j, &|c| fixed(c.entry_variance.sqrt(), 4))
        })
        .number("Holm's p", |j| of(j, &|_| probability(j.p)))
        .text("judgement", |j| j.judgement.label().to_string());
    Figure {
        title: called.title,
        meaning: "",
        signs: format!(
            "Right of zero the step helps. Large sign: mean. Line: 95 % interval over seeds and \
             entries. Small dots: one seed of both methods each. Band: differences that count as \
             none, up to {MARGIN} nats a token."
        ),
        picture: picture.draw(),
        table: table.finish(),
    }
}

/// The steps in BLEU, beside the paper's; none where the task has none.
fn bleu(study: &Study) -> Option<Figure> {
    let measure = Measure::BleuWithoutEmpty;
    let with = |step: &Step<'_>| {
        let (a, b) = rows(study, step)?;
        let (a, b) = (measure.by_seed(a), measure.by_seed(b));
        Some((differences(&a, &b), paired(&a, &b)?))
    };
    STEPS.iter().find_map(with)?;
    let lane = |step: &Step<'_>| {
        let (dots, summary) = with(step).map_or((Vec::new(), None), |(d, s)| (d, Some(s)));
        Lane {
            method: step.upper.into(),
            title: words(study, step),
            value: summary.map_or("not measured".into(), |s| signed(s.mean, 2)),
            dots,
            summary,
            paper: Measure::BleuAll.paper_difference(step.lower, step.upper),
        }
    };
    let score = measure.named().sentence;
    let picture = Intervals {
        id: "steps-bleu",
        title: format!("The paper's steps in {score}"),
        axis: format!("{}: difference of the step", measure.named().short),
        digits: [measure.named().digits, measure.named().paper_digits],
        signed: true,
        band: None,
        lanes: STEPS.iter().map(lane).collect(),
    };
    let caption = format!("The paper's steps in {score}, and in the paper's BLEU");
    let table = Table::of(&caption, STEPS)
        .text("Step", |s| words(study, s))
        .number("difference", |s| {
            with(s).map_or("–".into(), |(_, d)| signed(d.mean, 2))
        })
        .number("95 % interval", |s| {
            let interval = with(s).and_then(|(_, d)| signed_interval(Some(d), 2));
            interval.unwrap_or("–".into())
        })
        .number("in the paper", |s| {
            let paper = Measure::BleuAll.paper_difference(s.lower, s.upper);
            paper.map_or("–".into(), |p| signed(p, 1))
        });
    Some(Figure {
        title: "The same steps in BLEU, beside the paper's",
        meaning: "",
        signs: "Right of zero the step helps. Small dots: one seed each. Large sign: their mean. \
                Line: 95 % interval over seeds alone (Student's t); an arrow where it goes on \
                beyond the picture. Open diamond below: the paper's difference, on GPT-2 small and \
                WebNLG. BLEU here leaves missing references out; multi-bleu, which the paper used, \
                takes them for empty ones and so rewards leaving out facts."
            .into(),
        picture: picture.draw(),
        table: table.finish(),
    })
}

/// The runs that are not there.
pub fn missing(study: &Study) -> Option<String> {
    let gap = |row: &Row| {
        let seeds: Vec<String> = study.missing(row).iter().map(u64::to_string).collect();
        (!seeds.is_empty()).then(|| format!("{} (seed {})", row.title, list(&seeds)))
    };
    let gaps: Vec<String> = study.rows.iter().filter_map(gap).collect();
    (!gaps.is_empty()).then(|| format!("Runs are missing: {}.", list(&gaps)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;
    use crate::study::OwnStep;

    fn of(study: &Study) -> Vec<Judgement> {
        judged(study, &STEPS).iter().map(|j| j.judgement).collect()
    }

    #[test]
    fn each_step_has_its_judgement_and_the_lead_counts_them() {
        let mut study = testing::study();
        let steps = of(&study);
        // its sign turns with the rate; the same step without a search appears
        assert_eq!(steps[0], Judgement::DependsOnRate);
        study.rates = None;
        assert_eq!(of(&study)[0], Judgement::Appears);
        let last = study.contrasts.iter_mut().find(|c| c.lower == "gating");
        last.unwrap().difference *= -1.0;
        assert_eq!(of(&study)[4], Judgement::Reversed);
        study.contrasts.retain(|c| c.lower != "adaptive");
        assert_eq!(of(&study)[1], Judgement::NotMeasured);
        let lead = lead(&study, &judged(&study, &STEPS));
        assert!(
            lead.contains("1 is reversed (Gating → Inducer-tuning)"),
            "{lead}"
        );
        assert!(
            lead.contains("1 was not measured (Adaptive → Extension)"),
            "{lead}"
        );
    }

    #[test]
    fn a_study_of_other_methods_does_not_open_with_an_empty_picture() {
        let pictures = |study: &Study| {
            let blocks = section(study).blocks.into_iter();
            let figures = blocks.filter_map(|b| match b {
                Block::Figure(figure) => Some(figure.title),
                _ => None,
            });
            figures.filter(|t| *t == PAPERS.title).count()
        };
        let mut study = testing::study();
        assert_eq!(pictures(&study), 1);
        study.contrasts.retain(|c| c.lower != "prefix");
        assert_eq!(pictures(&study), 1);
        study.contrasts.clear();
        assert_eq!(pictures(&study), 0);
    }

    #[test]
    fn an_undecided_step_says_what_would_have_been_seen_and_the_seeds_that_it_needs() {
        let mut study = testing::study();
        study.rates = None;
        let c = study.contrasts.iter_mut().find(|c| c.upper == "extension");
        let c = c.unwrap();
        (c.difference, c.seed_variances) = (-0.03, [0.0016, 0.0016]);
        let c = c.clone();
        let all = judged(&study, &STEPS);
        assert_eq!(all[1].tests, STEPS.len());
        let seen = fixed(c.detectable(STEPS.len()), 3);
        let seeds = c.seeds_needed(STEPS.len()).unwrap();
        assert_eq!(all[1].judgement, Judgement::Undecided);
        let text = sentence(&study, &all[1]);
        assert!(
            text.contains(&format!("where {seen} could have been seen")),
            "{text}"
        );
        assert!(text.contains(&format!("about {seeds} seeds")), "{text}");
        assert!(text.contains("−0.030 nats a token"), "{text}");
        assert!(text.contains("in the paper +0.8 BLEU"), "{text}");
    }

    #[test]
    fn a_step_of_ones_own_is_judged_apart_from_the_papers() {
        let mut study = testing::study();
        assert!(judged(&study, &study.own_steps()).is_empty());
        let before = of(&study);
        let inducer = study.row("inducer").unwrap().clone();
        study.rows.push(Row {
            method: "mine".into(),
            title: "My own".into(),
            step: Some(OwnStep {
                lower: "inducer".into(),
                change: "a second one".into(),
            }),
            ..inducer
        });
        assert_eq!(of(&study), before);
        let own = judged(&study, &study.own_steps());
        assert_eq!(own[0].judgement, Judgement::NotMeasured);
        let contrast = study.contrasts.iter().find(|c| c.upper == "inducer");
        let contrast = Contrast {
            lower: "inducer".into(),
            upper: "mine".into(),
            ..contrast.unwrap().clone()
        };
        study.contrasts.push(contrast);
        let own = judged(&study, &study.own_steps());
        assert_ne!(own[0].judgement, Judgement::NotMeasured);
        let text = sentence(&study, &own[0]);
        assert!(text.starts_with("Inducer-tuning → My own: "), "{text}");
        assert!(text.ends_with("What changes: a second one."), "{text}");
        let headings = format!("{:?}", section(&study).blocks);
        assert!(headings.contains("Steps of one's own"));
        // the ladder has it too
        let page = crate::report::markdown(&study);
        assert!(page.contains("with a second one"), "{page}");
    }
}
