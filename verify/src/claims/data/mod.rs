//! What becomes of data: files written as their formats have them and read again, and examples on
//! their way into batches. Each file writes what it knows, and shares no code with what reads it.

mod backbone;
mod config;
mod coqa;
mod glue;
mod layout;
mod own;
mod packing;
mod split;
mod tokenizer;
mod webnlg;

use super::metrics::given;
use crate::cases::Draw;
use crate::{Case, Claim, Target};
use inducer_datasets::{Example, Splits, Task};

/// The claims of these files.
#[must_use]
pub fn claims() -> Vec<Claim> {
    vec![
        // five formats, and what few entries have
        Claim::new("data-webnlg")
            .at_least(64)
            .on_one_sided(Target::CpuF64, webnlg::webnlg),
        Claim::new("data-glue").on_one_sided(Target::CpuF64, glue::glue),
        Claim::new("data-coqa").on_one_sided(Target::CpuF64, coqa::coqa),
        Claim::new("data-own").on_one_sided(Target::CpuF64, own::own),
        Claim::new("data-split").on_one_sided(Target::CpuF64, split::split),
        // two kinds of tokenizer, each as it comes from training and from two kinds of files
        Claim::new("data-tokenizer")
            .at_least(6)
            .on_one_sided(Target::CpuF64, tokenizer::tokenizer),
        Claim::new("layout-webnlg").on_one_sided(Target::CpuF64, |case| {
            layout::generation(case, Task::WebNlg)
        }),
        Claim::new("layout-coqa")
            .on_one_sided(Target::CpuF64, |case| layout::generation(case, Task::Coqa)),
        Claim::new("layout-classes").on_one_sided(Target::CpuF64, layout::classes),
        Claim::new("data-packing").on_one_sided(Target::CpuF64, packing::packing),
        Claim::new("data-epochs").on_one_sided(Target::CpuF64, packing::epochs),
        Claim::new("data-cache").on_one_sided(Target::CpuF64, packing::cached),
        Claim::new("backbone-files").on_one_sided(Target::CpuF32, backbone::files),
        Claim::new("backbone-configs").on_one_sided(Target::CpuF32, config::configs),
        Claim::new("merge-tuned").on_one_sided(Target::CpuF32, backbone::merged),
    ]
}

/// Words of a text, with characters that mean something to one format or another; no line end and
/// no tab.
fn prose(draw: &mut Draw, least: usize, most: usize) -> String {
    const WORDS: [&str; 9] = [
        "plain",
        "Ærø",
        "a<b",
        "R&D",
        "\"said\"",
        "it's",
        "1,5",
        "back\\slash",
        "&amp;",
    ];
    let n = draw.size(least, most);
    let words: Vec<&str> = (0..n).map(|_| draw.pick(&WORDS)).collect();
    words.join(" ")
}

/// The three parts of what was read are these examples, one by one and in their order.
fn parts_are(case: &mut Case, found: &Splits, expected: [Vec<Example>; 3]) {
    let parts = [&found.train, &found.dev, &found.test];
    for ((name, found), expected) in ["train", "dev", "test"]
        .into_iter()
        .zip(parts)
        .zip(expected)
    {
        case.same(found.len(), expected.len(), || {
            format!("examples of {name}")
        });
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            case.same(found, expected, || format!("{name}, example {i}"));
        }
    }
}
