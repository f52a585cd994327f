//! An invented study with realistic numbers, for tests and for looking at the pages.

use crate::run::RunResult;
use crate::run::directory::Curves;
use crate::stats::contrast::Contrast;
use crate::study::measure::Measure;
use crate::study::paper::{STEPS, Step};
use crate::study::rates::{Candidate, Found, Tried};
use crate::study::*;
use serde_json::json;

/// A fixed sequence in (−1, 1), roughly bell-shaped.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        let mut sum = 0.0;
        for _ in 0..3 {
            self.0 = self
                .0
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            sum += (self.0 >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0;
        }
        sum / 3.0
    }
}

/// Method, title, BLEU seen and unseen, last loss, parameters trained and stored, rate, mean gate.
type Invented = (
    &'static str,
    &'static str,
    [f64; 2],
    f64,
    [usize; 2],
    Option<f64>,
    Option<f64>,
);

#[rustfmt::skip]
const METHODS: [Invented; 8] = [
    ("none", "Untuned backbone", [0.9, 0.7], 4.793, [0, 0], None, None),
    ("full", "Fine-tuning", [52.3, 31.2], 1.212, [2_680_000, 2_680_000], Some(6.25e-5), None),
    ("prefix", "Prefix-tuning", [31.4, 24.1], 2.013, [212_000, 41_472], Some(1.25e-3), Some(0.31)),
    ("adaptive", "Adaptive", [38.6, 27.9], 1.804, [42_240, 42_240], Some(1.25e-3), Some(0.12)),
    ("extension", "Extension", [42.2, 29.4], 1.671, [41_900, 41_900], Some(1.25e-3), Some(0.14)),
    ("gating", "Gating", [24.7, 15.6], 2.244, [43_100, 43_100], Some(1.25e-3), Some(0.05)),
    ("inducer", "Inducer-tuning", [42.9, 29.8], 1.655, [43_100, 43_100], Some(1.25e-3), Some(0.22)),
    (
        "inducer-lora",
        "Inducer + LoRA",
        [45.8, 31.0],
        1.498,
        [42_700, 42_700],
        Some(1.25e-3),
        Some(0.27),
    ),
];

/// The order that a report shows.
const ORDER: [&str; 8] = [
    "none",
    "full",
    "prefix",
    "adaptive",
    "extension",
    "gating",
    "inducer",
    "inducer-lora",
];

/// The study: eight methods, three seeds, one run missing.
pub fn study() -> Study {
    let mut noise = Noise(7);
    let mut rows: Vec<Row> = METHODS.iter().map(|m| row(m, &mut noise)).collect();
    rows.sort_by_key(|r| ORDER.iter().position(|m| *m == r.method));
    if let Some(row) = rows.iter_mut().find(|r| r.method == "adaptive") {
        row.runs.pop();
    }
    Study {
        schema: SCHEMA,
        task: inducer_datasets::Task::WebNlg,
        provenance: provenance(),
        contrasts: contrasts(&rows),
        rates: Some(rates()),
        rows,
        samples: samples(),
        going: None,
        looks: vec![Look {
            file: "explain-1.html".into(),
            entry: 12,
            rule: "largest gain".into(),
            tokens: 57,
            losses: vec![("prefix".into(), 2.25), ("inducer".into(), 1.5)],
        }],
        long: None,
        ledger: Some(ledger()),
    }
}

/// The paper's steps; that of Adaptive misses a run.
fn contrasts(rows: &[Row]) -> Vec<Contrast> {
    let of = |method: &str| rows.iter().find(|r| r.method == method);
    let mean = |row: &Row| Measure::TestLoss.summary(row).map(|s| s.mean);
    let contrast = |s: &Step<'_>| {
        let (a, b) = (of(s.lower)?, of(s.upper)?);
        Some(Contrast {
            lower: s.lower.into(),
            upper: s.upper.into(),
            difference: mean(b)? - mean(a)?,
            seeds: [a.runs.len(), b.runs.len()],
            seed_variances: [0.0002; 2],
            entry_variance: 0.00004,
            entries: 300,
        })
    };
    STEPS.iter().filter_map(contrast).collect()
}

/// The inducer's slope beside a prefix's, of eight runs each.
pub fn slope(lower: &str, difference: f64) -> Contrast {
    Contrast {
        lower: lower.into(),
        upper: "inducer".into(),
        difference,
        seeds: [8, 8],
        seed_variances: [1e-4; 2],
        entry_variance: 1e-5,
        entries: 100,
    }
}

/// A search in which the sign of the first step turns with the rate, and one candidate diverged.
fn rates() -> Found {
    let tried = |method: &str, losses: [Option<f64>; 3], chosen| Tried {
        method: method.into(),
        candidates: [1e-3, 3e-3, 1e-2]
            .into_iter()
            .zip(losses)
            .map(|(learning_rate, validation_loss)| Candidate {
                learning_rate,
                validation_loss,
            })
            .collect(),
        chosen,
    };
    Found {
        seed: 0,
        steps: 40,
        methods: vec![
            tried("prefix", [Some(1.65), Some(1.7), None], 1e-3),
            tried("adaptive", [Some(1.75), Some(1.6), Some(1.7)], 3e-3),
        ],
    }
}

fn ledger() -> Ledger {
    let claim = |id: &str, passed: usize, not_run: usize| ClaimLine {
        id: id.into(),
        statement: "The two forms are one.".into(),
        place: "Eq. (7)".into(),
        passed,
        failed: 0,
        not_run,
        cases: 8 * passed,
        worst: (passed > 0).then_some(0.02),
    };
    Ledger {
        command: "inducer verify --cases 4".into(),
        cases: 4,
        claims: vec![claim("eq07-eq08", 4, 0), claim("empirical-order", 0, 1)],
    }
}

fn row(m: &Invented, noise: &mut Noise) -> Row {
    let (method, title, bleu, loss, [trained, stored], learning_rate, gate) = *m;
    let runs = (1..=3)
        .map(|seed| run(method, seed, bleu, loss, gate, noise))
        .collect();
    let adapter = match method {
        "none" => json!({"peft_type": "INDUCER", "attention": null}),
        "full" => json!({"peft_type": "INDUCER", "full": true}),
        "prefix" => json!({"attention": {"kind": "prefix", "length": 27}}),
        _ => json!({"attention": {"kind": "inducer", "variant": method, "value_bottleneck": 15}}),
    };
    Row {
        method: method.into(),
        title: title.into(),
        adapter,
        trained,
        stored,
        share: trained as f64 / 26_800.0,
        learning_rate,
        runs,
        p_value: (method == "gating").then_some(0.0005),
        step: None,
    }
}

fn run(
    method: &str,
    seed: u64,
    bleu: [f64; 2],
    loss: f64,
    gate: Option<f64>,
    noise: &mut Noise,
) -> Run {
    let trained = method != "none";
    let jitter = if trained { noise.next() } else { 0.0 };
    let [seen, unseen] = [
        bleu[0] + 1.2 * jitter,
        bleu[1] + jitter + 0.4 * noise.next() * f64::from(trained),
    ];
    let last = loss + 0.03 * jitter;
    let steps: Vec<usize> = (0..=8).map(|i| i * 40).collect();
    let steps = if trained { &steps[..] } else { &[0] };
    let validation = validation_curve(steps, last, noise);
    let train_curve = (1..=320).step_by(10).filter(|_| trained).map(|s| {
        let loss = last + 0.3 + 3.0 * (-(s as f64) / 50.0).exp();
        (s, loss + 0.1 * noise.next())
    });
    let train = train_curve.collect();
    let drift = |s: &usize| (*s, 1e-4 + 0.8 * (1.0 - (-(*s as f64) / 80.0).exp()));
    let drift = steps.iter().filter(|_| trained).map(drift).collect();
    let training = training(&validation, trained, noise);
    let tokens_per_second = if trained {
        4200.0 + 100.0 * noise.next()
    } else {
        0.0
    };
    let mechanism = Mechanism {
        gates: gate.map_or(Vec::new(), |g| {
            (0..4).map(|layer| gates(layer, g, noise)).collect()
        }),
        by_position: gate.map_or(Vec::new(), |g| (0..3).map(|i| position(i, g)).collect()),
        by_length: (0..4).map(|i| length(i, seen, gate, noise)).collect(),
        fixed_gates: gate.map(|_| FixedLosses {
            own: last,
            head_mean: last + 0.05,
            one: last + 0.4,
        }),
    };
    Run {
        seed,
        result: RunResult {
            scores: scores(seen, unseen),
            training,
            test_loss: Some(last + 0.1),
            mechanism,
            peak_bytes: trained.then_some(42_000_000),
        },
        tokens_per_second,
        curves: Curves {
            train,
            validation,
            drift,
        },
        directory: format!("runs/{method}-seed{seed}"),
        configuration: json!({
            "method": method,
            "seed": seed,
            "train": {"steps": 320, "clip": 1.0},
            "device": "cpu",
        }),
    }
}

fn validation_curve(steps: &[usize], last: f64, noise: &mut Noise) -> Vec<(usize, f64)> {
    let mut loss = |s: usize| {
        let fall = (4.793 - last) * (-(s as f64) / 60.0).exp();
        last + fall + 0.02 * noise.next() * f64::from(s > 0)
    };
    steps.iter().map(|s| (*s, loss(*s))).collect()
}

fn scores(seen: f64, unseen: f64) -> Scores {
    Scores::WebNlg {
        bleu: Bleu {
            seen: Some(seen),
            unseen: Some(unseen),
            all: Some(0.55 * seen + 0.45 * unseen),
            without_empty: Some(0.5 * seen + 0.4 * unseen),
        },
        meteor: Some((0.004 * seen + 0.15, Vec::new())),
        ter: Some(1.0 - 0.01 * seen),
        scores: None,
    }
}

fn training(curve: &[(usize, f64)], trained: bool, noise: &mut Noise) -> TrainingSummary {
    let best = curve.iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    TrainingSummary {
        validation_loss: best.1,
        best_step: best.0,
        last_validation_loss: curve[curve.len() - 1].1,
        steps: 0,
        tokens: if trained { 258_420 } else { 0 },
        train_seconds: if trained {
            61.0 + 4.0 * noise.next()
        } else {
            0.0
        },
        decode_seconds: 0.0,
    }
}

fn position(i: usize, gate: f64) -> PositionGates {
    let from = [0, 8, 16][i];
    PositionGates {
        from,
        to: [7, 15, 31][i],
        queries: 500,
        gate: gate / (1.0 + i as f64),
        unreached: 0.1 * i as f64,
        distance: 1.0 + i as f64,
    }
}

fn length(i: usize, score: f64, gate: Option<f64>, noise: &mut Noise) -> LengthBin {
    LengthBin {
        from: 10 + 20 * i,
        to: 29 + 20 * i,
        entries: 75,
        score: Some(score - 2.0 * i as f64 + noise.next()),
        loss: 1.2 + 0.1 * i as f64,
        gate: gate.map(|g| g / (1.0 + i as f64)),
        unreached: gate.map(|_| 0.05 * i as f64),
        distance: gate.map(|_| 1.5 + i as f64),
    }
}

fn gates(layer: usize, mean: f64, noise: &mut Noise) -> LayerGates {
    let centre = (mean * (0.5 + 0.4 * layer as f64) + 0.05 * noise.next()).clamp(0.02, 0.95);
    let width = 0.25 * centre.min(1.0 - centre) + 0.02;
    let shape = |x: f64| (-((x - centre) / width).powi(2) / 2.0).exp();
    let raw: Vec<f64> = (0..20)
        .map(|i| shape((f64::from(i) + 0.5) / 20.0))
        .collect();
    let total: f64 = raw.iter().sum();
    let at = |z: f64| (centre + z * width).clamp(0.0, 1.0);
    LayerGates {
        layer,
        mean: centre,
        quantiles: [at(-1.64), at(-0.67), at(0.0), at(0.67), at(1.64)],
        histogram: raw.iter().map(|x| x / total).collect(),
        heads: (0..4).map(|h| at(0.5 * f64::from(h) - 0.75)).collect(),
        distance: Some([0.5, 1.0, 1.6, 2.2, 3.0]),
        unreached: Some(0.08),
        untrained: Some(at(-0.5)),
    }
}

fn provenance() -> Provenance {
    Provenance {
        version: "0.1.0".into(),
        command: "inducer report --data webnlg --backbone wiki-192".into(),
        rerun: "cargo run --release -- report --data webnlg --backbone wiki-192 --seeds 1,2,3"
            .into(),
        options: json!({ "seeds": [1, 2, 3], "long-data": "coqa", "no-long": false }),
        started: "2026-11-23T01:17:12Z".into(),
        finished: "2026-11-23T01:58:40Z".into(),
        device: "CPU".into(),
        threads: 2,
        budget: None,
        settings: Settings {
            steps: 320,
            batch_size: 8,
            warmup: 50,
            label_smoothing: 0.1,
            dropout: 0.1,
            seeds: vec![1, 2, 3],
            loss_seeds: Vec::new(),
            max_new_tokens: 40,
        },
        data: DataSource {
            name: "WebNLG 2017".into(),
            origin: "webnlg".into(),
            fingerprint: "3f1c2a".repeat(10) + "beef",
            train: PartCount {
                entries: 6935,
                texts: 18_025,
            },
            dev: PartCount {
                entries: 150,
                texts: 400,
            },
            test: PartCount {
                entries: 1862,
                texts: 4928,
            },
            test_seen: 971,
            test_unseen: 891,
            skipped: 6,
        },
        backbone: BackboneSource {
            name: "wiki-192".into(),
            origin: "pretrained on Wikipedia text with other software".into(),
            layers: 4,
            hidden: 192,
            heads: 4,
            vocabulary: 4096,
            parameters: 2_680_000,
            fingerprint: "9ab0d4".repeat(10) + "cafe",
        },
        comparable: vec![
            "The data are the paper's WebNLG files, and BLEU is computed as its scorer does."
                .into(),
            "The backbone has 2.7 M parameters instead of GPT-2 small's 124 M and saw 320 steps \
             instead of 10 epochs: levels are not comparable, only the order of the methods \
             is."
            .into(),
        ],
    }
}

fn samples() -> Vec<Sample> {
    let text = |m: &str| match m {
        "none" => "The of the the in 1990 and the of <eos> & more".to_string(),
        "gating" => "Ajax is located in the city of Rome.".into(),
        "prefix" => "The ground of Ajax is the Amsterdam Arena, which is a stadium.".into(),
        _ => "AFC Ajax play at the Amsterdam Arena in Amsterdam.".into(),
    };
    let one = |category: &str, seen: bool| Sample {
        category: category.into(),
        seen,
        input: vec![
            "AFC_Ajax | ground | Amsterdam_Arena".into(),
            "Amsterdam_Arena | location | Amsterdam".into(),
        ],
        references: vec![
            "AFC Ajax play at the Amsterdam Arena in Amsterdam.".into(),
            "The Amsterdam Arena, located in Amsterdam, is the ground of AFC Ajax.".into(),
        ],
        outputs: ORDER.iter().map(|m| (m.to_string(), text(m))).collect(),
    };
    vec![
        one("SportsTeam", true),
        one("Artist <script>alert(1)</script>", false),
    ]
}

/// Writes the invented report where one can look at it: `REPORT_PREVIEW=DIR cargo test preview`.
#[test]
fn preview() {
    if let Ok(dir) = std::env::var("REPORT_PREVIEW") {
        let dir = std::path::Path::new(&dir);
        let study = study();
        let json = serde_json::to_string_pretty(&study).unwrap();
        std::fs::write(dir.join("report.html"), super::html(&study)).unwrap();
        std::fs::write(dir.join("report.md"), super::markdown(&study)).unwrap();
        std::fs::write(dir.join("report.json"), json).unwrap();
    }
}

/// The runs of a study as if their inputs were the long ones.
pub fn on_long_inputs(study: &Study) -> Long {
    Long {
        settings: study.provenance.settings.clone(),
        data: study.provenance.data.clone(),
        backbone: None,
        rates: None,
        constant: None,
        rows: study.rows.clone(),
        slopes: Vec::new(),
    }
}
