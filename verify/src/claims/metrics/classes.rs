//! Accuracy and F1 of classes from a table of how often each class was taken for each, and figures
//! of groups from the examples that are in them.

use super::given;
use crate::bounds::UNIT_ROUNDOFF_F64;
use crate::cases::Draw;
use crate::{Case, Result, Tolerance};
use inducer_datasets::metrics::accuracy::{self, Counts};
use inducer_datasets::metrics::f1::macro_f1;
use inducer_datasets::metrics::glue::{glue, mnli};
use inducer_datasets::metrics::groups::by_category;
use inducer_datasets::{Example, Input};

const NAMES: [&str; 4] = ["no", "yes", "Maybe", "7"];

/// Items in an order that is drawn.
fn shuffled<T>(draw: &mut Draw, mut items: Vec<T>) -> Vec<T> {
    let mut out = Vec::with_capacity(items.len());
    while !items.is_empty() {
        let at = draw.size(0, items.len() - 1);
        out.push(items.swap_remove(at));
    }
    out
}

/// A quotient of counts; 0 of nothing.
fn share(part: usize, of: usize) -> f64 {
    match of {
        0 => 0.0,
        n => part as f64 / n as f64,
    }
}

fn few_roundings() -> Tolerance {
    let why = "16 u: a mean of at most four quotients, of a figure up to 1";
    Tolerance::stated(16.0 * UNIT_ROUNDOFF_F64, why)
}

/// Accuracy is the diagonal of the table of counts over all of it, a class's F1 the harmonic mean
/// of its precision and recall, macro F1 the mean over the classes that occur. In the control F1
/// is the precision.
pub(super) fn classes(case: &mut Case) -> Result<()> {
    let kinds = case.draw.size(2, NAMES.len());
    // how often a class, the first number, is taken for the second
    let table: Vec<Vec<usize>> = (0..kinds)
        .map(|_| (0..kinds).map(|_| case.draw.size(0, 3)).collect())
        .collect();
    let mut pairs = Vec::new();
    for (is, row) in table.iter().enumerate() {
        for (said, n) in row.iter().enumerate() {
            pairs.extend(std::iter::repeat_n((NAMES[said], NAMES[is]), *n));
        }
    }
    let total = pairs.len();
    let (predicted, expected): (Vec<&str>, Vec<&str>) =
        shuffled(&mut case.draw, pairs).into_iter().unzip();
    let place = |what: &str| format!("{what}: {predicted:?} for {expected:?}");
    let right: usize = (0..kinds).map(|class| table[class][class]).sum();
    let found = given(accuracy::accuracy(&predicted, &expected))?;
    case.same((found.correct, found.total), (right, total), || {
        place("counts")
    });
    let tolerance = few_roundings();
    case.close(found.score, share(right, total), &tolerance, || {
        place("accuracy")
    });
    let found = given(macro_f1(&predicted, &expected))?;
    let (mut sum, mut occur) = (0.0, 0);
    for class in 0..kinds {
        let of_class: usize = table[class].iter().sum();
        let said: usize = table.iter().map(|row| row[class]).sum();
        if of_class + said == 0 {
            continue;
        }
        let precision = share(table[class][class], said);
        let recall = share(table[class][class], of_class);
        let f1 = match table[class][class] {
            0 => 0.0,
            _ => 2.0 * precision * recall / (precision + recall),
        };
        let f1 = case.or_control(f1, precision);
        (sum, occur) = (sum + f1, occur + 1);
        let of = found.classes.get(NAMES[class]).copied();
        case.close(of.unwrap_or(f64::NAN), f1, &tolerance, || {
            place(NAMES[class])
        });
    }
    case.same(found.classes.len(), occur, || place("classes"));
    let mean = sum / occur.max(1) as f64;
    case.close(found.macro_f1, mean, &tolerance, || place("macro F1"));
    Ok(())
}

/// Figures of seen and unseen categories, of each category and each genre are those of their
/// examples alone, and MNLI's is the mean of its two. In the control seen and unseen, and with them
/// the two parts' sizes, change places.
pub(super) fn groups(case: &mut Case) -> Result<()> {
    let categories = ["Food", "City", "Comet", ""];
    let seen = [(); 4].map(|()| case.draw.chance(0.5));
    let rows = case.draw.size(1, 20);
    let rows: Vec<(usize, u32, u32)> = (0..rows)
        .map(|_| {
            let [category, class, said] = case.draw.sizes([(0, 3), (0, 2), (0, 2)]);
            (category, class as u32, said as u32)
        })
        .collect();
    let examples: Vec<Example> = (rows.iter().enumerate())
        .map(|(i, (category, class, _))| Example {
            position: i + 1,
            category: categories[*category].into(),
            seen: seen[*category],
            input: Input::Sentence(String::new()),
            references: Vec::new(),
            class: Some(*class),
            id: None,
        })
        .collect();
    let predicted: Vec<u32> = rows.iter().map(|(_, _, said)| *said).collect();
    // right ones and all among some rows, none where there is no such row
    let among = |within: &dyn Fn(usize) -> bool| {
        let own: Vec<_> = rows
            .iter()
            .filter(|(category, ..)| within(*category))
            .collect();
        let right = own.iter().filter(|(_, class, said)| class == said).count();
        (!own.is_empty()).then_some((right, own.len()))
    };
    let classes: Vec<u32> = rows.iter().map(|(_, class, _)| *class).collect();
    let counts = given(accuracy::counts(&predicted, &classes))?;
    let found = given(by_category(&counts, &examples, |sum: &Counts| *sum))?;
    let pair = |counts: &Counts| (counts.correct, counts.total);
    let place = |what: &str| format!("{what} of {rows:?}, seen {seen:?}");
    let control = case.control;
    let side = |of: bool| among(&|category| (seen[category] == of) != control);
    let sides = [found.seen, found.unseen].map(|side| side.map(|counts| pair(&counts)));
    case.same(sides, [side(true), side(false)], || {
        place("seen and unseen")
    });
    case.same(Some(pair(&found.all)), among(&|_| true), || place("all"));
    let genres = given(glue(&predicted, &examples))?;
    for (i, name) in categories.into_iter().enumerate() {
        let own = among(&|category| category == i);
        case.same(found.categories.get(name).map(pair), own, || place(name));
        let genre = genres.genres.get(name).map(|a| (a.correct, a.total));
        let own = own.filter(|_| !name.is_empty());
        case.same(genre, own, || place(&format!("genre {name:?}")));
    }
    let score = |side: Option<(usize, usize)>| side.map_or(0.0, |(part, of)| share(part, of));
    let tolerance = few_roundings();
    case.close(
        genres.overall.score,
        score(among(&|_| true)),
        &tolerance,
        || place("accuracy"),
    );
    let parts = sides.map(|side| side.unwrap_or_default());
    let [matched, mismatched] = parts.map(|(part, of)| accuracy::Accuracy::new(part, of));
    let mean = (score(sides[0]) + score(sides[1])) / 2.0;
    case.close(mnli(&matched, &mismatched), mean, &tolerance, || {
        place("MNLI")
    });
    Ok(())
}
