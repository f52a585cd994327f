//! CoQA's scores of answers whose words are known before they are written out.

use super::given;
use crate::bounds::UNIT_ROUNDOFF_F64;
use crate::cases::Draw;
use crate::{Case, Result, Tolerance};
use inducer_datasets::metrics::coqa::{self as script, Counts};
use std::collections::BTreeSet;

/// Words that stay, some of which begin or end as an article does or hold one behind a letter that
/// is not ASCII.
const WORDS: [&str; 6] = ["ant", "theme", "éan", "cat", "7", "banana"];

/// What the script takes out, once case and punctuation are gone.
const ARTICLES: [&str; 6] = ["a", "an", "the", "The", "t-he", "AN."];

/// Words in letters of either case, with punctuation in and around them, and articles and spaces
/// between them.
fn written(draw: &mut Draw, words: &[usize]) -> String {
    let mut text = String::new();
    for word in words {
        if draw.chance(0.4) {
            text += draw.pick(&ARTICLES);
        }
        text += draw.pick(&[" ", "  ", "\t"]);
        let (word, at) = (WORDS[*word], draw.size(0, 1));
        let (before, after) = word.split_at(if at == 0 { 0 } else { word.len() });
        let sign = draw.pick(&["", "", "'", "-", "_", "\"", "("]);
        let whole = format!("{before}{sign}{after}{}", draw.pick(&["", ",", "?!"]));
        text += &if draw.chance(0.3) {
            whole.to_uppercase()
        } else {
            whole
        };
        text += " ";
    }
    if draw.chance(0.3) {
        text += draw.pick(&ARTICLES);
    }
    text
}

/// 2 · common / (words of both); 1 where neither has any.
fn f1(answer: &[usize], gold: &[usize]) -> f64 {
    if answer.is_empty() && gold.is_empty() {
        return 1.0;
    }
    let mut left = gold.to_vec();
    let mut common = 0;
    for word in answer {
        if let Some(at) = left.iter().position(|other| other == word) {
            left.remove(at);
            common += 1;
        }
    }
    f64::from(2 * common) / (answer.len() + gold.len()) as f64
}

/// The mean over the references of the best score against the others; of one reference its own.
fn left_out(scores: &[f64]) -> f64 {
    let n = scores.len();
    let best = |others: Vec<f64>| others.into_iter().fold(0.0, f64::max);
    if n == 1 {
        return scores[0];
    }
    let without = |i: usize| best([&scores[..i], &scores[i + 1..]].concat());
    (0..n).map(without).sum::<f64>() / n as f64
}

/// The script's means over the questions, times 100, of all and of each domain; and the mean of the
/// best references, as SQuAD has it. In the control CoQA's are that too.
pub(super) fn coqa(case: &mut Case) -> Result<()> {
    let text = |draw: &mut Draw| -> Vec<usize> {
        let n = draw.size(0, 4);
        (0..n).map(|_| draw.size(0, WORDS.len() - 1)).collect()
    };
    let (mut answers, mut references, mut domains) = (Vec::new(), Vec::new(), Vec::new());
    // exact match and F1, left out in turn and of the best
    let mut scores: Vec<[[f64; 2]; 2]> = Vec::new();
    for _ in 0..case.draw.size(1, 6) {
        let own: Vec<Vec<usize>> = (0..case.draw.size(1, 4))
            .map(|_| text(&mut case.draw))
            .collect();
        let answer = match case.draw.chance(0.5) {
            true => own[case.draw.size(0, own.len() - 1)].clone(),
            false => text(&mut case.draw),
        };
        let exact: Vec<f64> = own.iter().map(|r| f64::from(*r == answer)).collect();
        let overlap: Vec<f64> = own.iter().map(|r| f1(&answer, r)).collect();
        let best = |scores: &[f64]| scores.iter().copied().fold(0.0, f64::max);
        let kinds = [&exact, &overlap];
        let best = kinds.map(|scores| best(scores));
        let turned = case.or_control(kinds.map(|scores| left_out(scores)), best);
        scores.push([turned, best]);
        answers.push(written(&mut case.draw, &answer));
        references.push(
            own.iter()
                .map(|r| written(&mut case.draw, r))
                .collect::<Vec<_>>(),
        );
        domains.push(case.draw.pick(&["cnn", "race"]).to_owned());
    }
    let found = given(script::coqa(&answers, &references, &domains))?;
    let mut best = Counts::default();
    for (answer, own) in answers.iter().zip(&references) {
        best += Counts::best(answer, own);
    }
    let names: BTreeSet<&String> = domains.iter().collect();
    let found_names: BTreeSet<&String> = found.domains.keys().collect();
    case.same(found_names, names.clone(), || "domains".into());
    let all: Vec<usize> = (0..answers.len()).collect();
    let mut sides = vec![(found.overall, all.clone(), 0), (best.score(), all, 1)];
    for name in names {
        let own = (0..domains.len())
            .filter(|i| domains[*i] == *name)
            .collect();
        sides.extend(found.domains.get(name).map(|scores| (*scores, own, 0)));
    }
    let why = "100 · 32 u: means of six quotients over four, and over the questions";
    let tolerance = Tolerance::stated(3200.0 * UNIT_ROUNDOFF_F64, why);
    for (found, questions, of) in sides {
        case.same(found.questions, questions.len(), || "questions".into());
        for (kind, found) in [found.exact_match, found.f1].into_iter().enumerate() {
            let sum: f64 = questions.iter().map(|i| scores[*i][of][kind]).sum();
            let expected = 100.0 * sum / questions.len() as f64;
            case.close(found, expected, &tolerance, || {
                format!("{answers:?} against {references:?}, {of} {kind}")
            });
        }
    }
    Ok(())
}
