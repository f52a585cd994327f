//! The paper's results (Tables 1 and 5, GPT-2 small) and what it expects of its ablation.

/// The methods of the paper's claim on long inputs: a fixed prefix loses more there than inducers.
pub const ON_LENGTH: [&str; 2] = ["prefix", "inducer"];

/// A prefix beside which the text keeps its positions: with it what a prefix loses on long inputs
/// is told apart from what later positions cost.
pub const NO_OFFSET: &str = "prefix-no-offset";

/// The methods of the part on long inputs.
pub const LONG_METHODS: [&str; 3] = [ON_LENGTH[0], NO_OFFSET, ON_LENGTH[1]];

/// One row of the paper's tables on generation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PaperRow {
    /// Name on the command line.
    pub method: &'static str,
    /// Name in the paper.
    pub title: &'static str,
    /// WebNLG BLEU: seen, unseen, all.
    pub bleu: [f64; 3],
    /// WebNLG METEOR: seen, unseen, all.
    pub meteor: [f64; 3],
    /// WebNLG TER: seen, unseen, all (lower is better).
    pub ter: [f64; 3],
    /// CoQA: exact match, F1.
    pub coqa: [f64; 2],
}

const fn row(
    method: &'static str,
    title: &'static str,
    bleu: [f64; 3],
    meteor: [f64; 3],
    ter: [f64; 3],
    coqa: [f64; 2],
) -> PaperRow {
    PaperRow {
        method,
        title,
        bleu,
        meteor,
        ter,
        coqa,
    }
}

/// The rows, in the paper's order.
#[rustfmt::skip]
pub const TABLE: [PaperRow; 11] = [
    row("full", "Fine-tuning",
        [59.8, 28.7, 46.1], [0.43, 0.29, 0.36], [0.38, 0.68, 0.51], [59.0, 67.4]),
    row("adapter", "Adapter-108",
        [59.5, 34.1, 48.2], [0.42, 0.32, 0.38], [0.38, 0.61, 0.49], [57.7, 66.4]),
    row("lora", "LoRA-54",
        [54.8, 36.9, 46.7], [0.40, 0.33, 0.37], [0.41, 0.55, 0.47], [57.2, 65.7]),
    row("prefix", "Prefix-tuning-108",
        [56.1, 37.2, 47.6], [0.40, 0.33, 0.37], [0.40, 0.55, 0.47], [51.8, 60.3]),
    row("mam-adapter", "MAM adapter",
        [58.9, 36.2, 48.7], [0.42, 0.33, 0.38], [0.38, 0.59, 0.47], [56.4, 65.0]),
    row("adaptive", "Adaptive",
        [57.5, 36.9, 48.2], [0.41, 0.33, 0.37], [0.39, 0.57, 0.47], [55.4, 63.9]),
    row("extension", "Extension",
        [59.1, 36.7, 49.0], [0.42, 0.33, 0.38], [0.38, 0.58, 0.47], [57.2, 65.7]),
    row("gating", "Gating",
        [57.1, 29.2, 44.6], [0.41, 0.286, 0.35], [0.40, 0.65, 0.51], [49.1, 58.5]),
    row("inducer", "Inducer-tuning",
        [59.4, 36.8, 49.2], [0.42, 0.33, 0.38], [0.38, 0.59, 0.47], [57.7, 66.1]),
    row("inducer-lora", "Inducer + LoRA",
        [59.8, 37.5, 49.7], [0.43, 0.34, 0.38], [0.37, 0.57, 0.46], [58.7, 67.1]),
    row("mam-inducer", "MAM inducer",
        [59.9, 36.8, 49.5], [0.43, 0.33, 0.38], [0.37, 0.57, 0.47], [59.9, 68.4]),
];

/// The paper's row of a method.
pub fn of(method: &str) -> Option<&'static PaperRow> {
    TABLE.iter().find(|r| r.method == method)
}

/// A step from one method to another: one that the paper finds to help, or one's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// The method below.
    pub lower: &'a str,
    /// The method above.
    pub upper: &'a str,
    /// What the upper one has and the lower one has not.
    pub change: &'a str,
}

/// The two ends of the scale, the untuned backbone and full fine-tuning, which are not compared.
pub fn is_end(method: &str) -> bool {
    matches!(method, "none" | "full")
}

/// The method that the ablations are taken from.
pub const FULL_METHOD: &str = "inducer";

/// The ladder Prefix < Adaptive < Extension < Inducer < Inducer + LoRA, and the branch Gating <
/// Inducer.
#[rustfmt::skip]
pub const STEPS: [Step<'static>; 5] = [
    Step { lower: "prefix", upper: "adaptive", change: "one virtual token made from each query, \
     instead of tokens that all queries share" },
    Step { lower: "adaptive", upper: "extension", change: "values extended to the whole hidden \
     size" },
    Step { lower: "extension", upper: "inducer", change: "MLP_k moves the virtual key away from \
     its query" },
    Step { lower: "inducer", upper: "inducer-lora", change: "LoRA on the query projection" },
    Step { lower: "gating", upper: "inducer", change: "f(q) kept in the virtual value: the \
     residual form" },
];

/// The ablations of [`FULL_METHOD`], and what each takes away.
pub const ABLATIONS: [(&str, &str); 4] = [
    ("extension", "MLP_k"),
    ("adaptive", "MLP_k and the value extension"),
    ("prefix", "the dependence on the query altogether"),
    (
        "gating",
        "f(q) in the virtual value, that is the residual form",
    ),
];

/// What may be added to [`FULL_METHOD`], and what each adds.
pub const ADDITIONS: [(&str, &str); 2] = [
    ("inducer-lora", "LoRA on the query projection"),
    ("mam-inducer", "LoRA and an adapter beside the FFN"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::measure::Measure;
    use approx::assert_abs_diff_eq;

    #[test]
    fn every_step_of_the_paper_rises_in_its_own_figures() {
        let rises: Vec<f64> = STEPS
            .iter()
            .map(|s| Measure::BleuAll.paper_difference(s.lower, s.upper).unwrap())
            .collect();
        for (rise, expected) in rises.iter().zip([0.6, 0.8, 0.2, 0.5, 4.6]) {
            assert_abs_diff_eq!(*rise, expected, epsilon = 1e-9);
        }
        for (method, _) in ABLATIONS {
            let rise = Measure::BleuAll.paper_difference(method, FULL_METHOD);
            assert!(rise.unwrap() > 0.0, "{method}");
        }
    }

    #[test]
    fn bleu_on_all_lies_between_seen_and_unseen() {
        for r in &TABLE {
            assert!(r.bleu[1] < r.bleu[2] && r.bleu[2] < r.bleu[0], "{r:?}");
        }
        assert_eq!(of("none"), None);
    }
}
