//! Variants of your own, right and wrong: the right ones pass every check, the wrong ones fail
//! where they differ and nowhere else. The complete right one is `examples/my_variant`.

#![allow(clippy::unwrap_used)]

#[path = "../examples/my_variant/src/two_inducers.rs"]
mod two_inducers;

use inducer_gpu::notes;
use inducer_gpu::parts::{CustomConfig, Inducer};
use inducer_gpu::{AdapterConfig, BackboneConfig, Gpt2Config, Method, Named, Variant, counts};
use inducer_reference::inducer::{lambda, own_scores, residual_form};
use inducer_verify::custom::{self, prelude::*};
use inducer_verify::{Ledger, Options, ReportRow, Verdict, render, run};
use std::sync::Mutex;
use two_inducers::{Two, TwoInducers, declared, log_sum_exp};

/// The engine's side with a fault that is easily made: each λ as if the other inducer were not
/// there.
struct Wrong;

fn gate_alone(lse: &Tensor, scores: &[Tensor], a: usize) -> candle_core::Result<Tensor> {
    let all = Tensor::stack(&[lse, &scores[a]], 2)?;
    (&scores[a] - log_sum_exp(&all)?)?.exp()
}

impl CustomMethod for Wrong {
    fn name(&self) -> &'static str {
        "wrong"
    }

    fn title(&self) -> &'static str {
        "Wrong"
    }

    fn source(&self) -> &'static str {
        "wrong"
    }

    fn declare(&self, size: usize, layer: Layer<'_>, at: &Declare<'_>) -> Result<Box<dyn Part>> {
        Ok(Box::new(Two {
            layer: layer.index,
            parameters: declared(size, layer, at)?,
            gate: gate_alone,
        }))
    }
}

/// A built-in variant through the same door: Adaptive (§6.2), f + λ MLP_v(q) with P_k = q, by the
/// reference's functions and the engine's own part.
struct Adaptive;

impl Formula for Adaptive {
    fn shapes(heads: Heads, size: usize) -> Vec<(&'static str, Vec<usize>)> {
        let (h, p) = (heads.count, heads.width);
        vec![
            ("down", vec![h, p, size]),
            ("down_bias", vec![h, size]),
            ("up", vec![h, size, p]),
            ("up_bias", vec![h, p]),
        ]
    }

    fn head<T: Real>(points: &Points<'_, T>, tensors: &Tensors<T>) -> Array2<T> {
        let Points {
            h,
            q,
            k,
            v,
            visible,
        } = points;
        let attended = attend(q, k, v, visible);
        let gate = lambda(&own_scores(q, q), &attended.lse);
        let hidden = q.dot(&matrix(&tensors["down"], *h)) + vector(&tensors["down_bias"], *h);
        let mlp_v = hidden.mapv(T::tanh).dot(&matrix(&tensors["up"], *h));
        residual_form(
            &attended.f,
            &gate,
            &(mlp_v + vector(&tensors["up_bias"], *h)),
        )
    }
}

impl CustomMethod for Adaptive {
    fn name(&self) -> &'static str {
        "adaptive-again"
    }

    fn title(&self) -> &'static str {
        "Adaptive again"
    }

    fn source(&self) -> &'static str {
        "adaptive"
    }

    fn declare(&self, size: usize, layer: Layer<'_>, at: &Declare<'_>) -> Result<Box<dyn Part>> {
        let (h, p) = (layer.spec.heads.count, layer.spec.heads.width);
        let start = Init::TruncatedNormal(0.01);
        Ok(Box::new(Inducer {
            layer: layer.index,
            variant: Variant::Adaptive,
            key: None,
            value: [
                at.weight("down", [h, p, size], start)?,
                at.bias("down_bias", [h, size], start)?,
                at.weight("up", [h, size, p], start)?,
                at.bias("up_bias", [h, p], start)?,
            ],
        }))
    }
}

fn verdicts(rows: &[ReportRow]) -> String {
    rows.iter().map(|row| render::line(row) + "\n").collect()
}

fn all_pass(rows: &[ReportRow]) {
    assert!(
        rows.iter().all(|row| row.verdict == Verdict::Passed),
        "{}",
        verdicts(rows)
    );
}

/// Whether a row is about values or gradients of the engine.
fn computes(row: &ReportRow) -> bool {
    let of_values = ["agree", "gradients", "decoding"];
    row.engine.starts_with("cpu") && of_values.iter().any(|end| row.claim.ends_with(end))
}

#[test]
fn two_inducers_pass_every_check() {
    let rows = custom::check::<TwoInducers>(&TwoInducers, 20, 1).unwrap();
    assert_eq!(rows.len(), 29, "{}", verdicts(&rows));
    all_pass(&rows);
}

#[test]
fn an_engine_whose_gates_ignore_each_other_fails_where_it_differs_and_nowhere_else() {
    let rows = custom::check::<TwoInducers>(&Wrong, 20, 1).unwrap();
    for row in &rows {
        // eight bits do not show so small a difference, and a wrong gate seldom moves a greatest
        // logit
        if row.engine == "cpu bf16" || row.claim == "decoding" {
            continue;
        }
        assert_eq!(
            row.verdict == Verdict::Failed,
            computes(row),
            "{}",
            render::line(row)
        );
    }
}

#[test]
fn a_built_in_variant_passes_through_the_same_door() {
    all_pass(&custom::check::<Adaptive>(&Adaptive, 20, 1).unwrap());
}

#[test]
fn a_formula_whose_gate_lacks_the_inducer_is_not_what_the_engine_trains() {
    struct Half;
    impl Formula for Half {
        fn shapes(heads: Heads, size: usize) -> Vec<(&'static str, Vec<usize>)> {
            Adaptive::shapes(heads, size)
        }

        fn head<T: Real>(points: &Points<'_, T>, tensors: &Tensors<T>) -> Array2<T> {
            let f = attend(&points.q, &points.k, &points.v, points.visible).f;
            let whole = Adaptive::head(points, tensors);
            // λ halved
            (whole + &f) * T::from_f64(0.5)
        }
    }
    let rows = custom::check::<Half>(&Adaptive, 13, 1).unwrap();
    for row in rows.iter().filter(|row| row.engine.starts_with("cpu")) {
        if row.engine == "cpu bf16" || row.claim == "decoding" {
            continue;
        }
        assert_eq!(
            row.verdict == Verdict::Failed,
            computes(row),
            "{}",
            render::line(row)
        );
    }
}

#[test]
fn tensors_that_the_formula_and_the_part_do_not_share_are_named() {
    struct Renamed;
    impl Formula for Renamed {
        fn shapes(heads: Heads, size: usize) -> Vec<(&'static str, Vec<usize>)> {
            let mut shapes = Adaptive::shapes(heads, size);
            shapes[1].0 = "bias_down";
            shapes
        }

        fn head<T: Real>(points: &Points<'_, T>, _tensors: &Tensors<T>) -> Array2<T> {
            points.v.clone()
        }
    }
    let rows = custom::check::<Renamed>(&Adaptive, 1, 1).unwrap();
    let agree = rows.iter().find(|row| row.engine == "cpu f64").unwrap();
    let note = agree.note.as_deref().unwrap_or_default();
    assert!(note.contains("custom.down_bias` is missing"), "{note}");
}

#[test]
fn a_registered_variant_is_a_method_by_its_name_and_stands_in_the_ledger() {
    custom::register(&TwoInducers).unwrap();
    custom::register(&TwoInducers).unwrap();
    let method = Named::find("two-inducers").unwrap();
    assert_eq!(method.title(), "Two inducers");
    assert_eq!(
        Named::all()
            .iter()
            .filter(|m| m.name() == method.name())
            .count(),
        1
    );
    // its size comes near the budget of Inducer-tuning
    let small = BackboneConfig::from(&Gpt2Config::small());
    let config = method.on(&small);
    let budget = counts::stored(&Method::Inducer.on(&small), &small);
    let own = counts::stored(&config, &small);
    assert!(own.abs_diff(budget) * 100 < budget, "{own} for {budget}");
    let size = config.custom.as_ref().unwrap().size;
    assert_eq!(own, 12 * 12 * (2 * 64 + 4 * 64 * size));
    // the ledger has its rows once, and runs them
    let ledger = Ledger::read().unwrap();
    let rows = ledger
        .claim
        .iter()
        .filter(|c| c.id.starts_with("two-inducers-"));
    assert_eq!(rows.count(), 13);
    let report = run(
        &Options::new(2, 1).only("two-inducers-roberta-agree"),
        &|_| {},
    )
    .unwrap();
    assert_eq!(report.rows.len(), 5);
    all_pass(&report.rows);
}

#[test]
fn its_configuration_is_read_back_and_says_what_is_wrong_with_it() {
    custom::register(&TwoInducers).unwrap();
    let config = AdapterConfig {
        custom: Some(CustomConfig::new(&TwoInducers, 7)),
        ..AdapterConfig::none()
    };
    let json = serde_json::to_value(&config).unwrap();
    let read: AdapterConfig = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(read, config);
    let with = |field: &str, value: serde_json::Value| {
        let mut json = json.clone();
        json["custom"][field] = value;
        serde_json::from_value::<AdapterConfig>(json)
    };
    // a file that a person wrote needs no hash; one that another text trained differs
    let mut by_hand = json.clone();
    by_hand["custom"].as_object_mut().unwrap().remove("source");
    assert_eq!(
        serde_json::from_value::<AdapterConfig>(by_hand).unwrap(),
        config
    );
    assert_ne!(with("source", "0123456789abcdef".into()).unwrap(), config);
    let unknown = with("name", "three-inducers".into())
        .unwrap_err()
        .to_string();
    assert!(unknown.contains("found `three-inducers`"), "{unknown}");
    assert!(unknown.contains("two-inducers"), "{unknown}");
    assert!(
        with("rank", 2.into())
            .unwrap_err()
            .to_string()
            .contains("rank")
    );
    let none = with("size", 0.into()).unwrap().check("a file").unwrap_err();
    let none = none.to_string();
    assert!(
        none.contains("field `custom.size`: expected a whole number, 1 to"),
        "{none}"
    );
}

static NOTES: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[test]
fn what_another_text_has_trained_is_noted_and_what_this_one_has_is_not() {
    notes::listen(|note| NOTES.lock().unwrap().push(note.to_owned()));
    custom::register(&TwoInducers).unwrap();
    let config = CustomConfig::new(&TwoInducers, 7);
    assert_eq!(format!("{config:?}"), "two-inducers of size 7");
    let json = serde_json::to_value(&config).unwrap();
    let own = json["source"].as_str().unwrap();
    assert!(
        own.len() == 16 && own.bytes().all(|c| c.is_ascii_hexdigit()),
        "{own}"
    );
    let noted = |source: &str| {
        let mut json = json.clone();
        json["source"] = source.into();
        serde_json::from_value::<CustomConfig>(json).unwrap();
        let notes = NOTES.lock().unwrap();
        let note = format!(
            "another text of two-inducers has trained an adapter that is read here \
                            ({source}, now {own})"
        );
        notes.iter().any(|found| found.contains(&note))
    };
    assert!(noted("fedcba9876543210"));
    assert!(!noted(own));
}

#[test]
fn a_name_that_is_taken_or_no_directory_is_refused() {
    struct Called(&'static str);
    impl CustomMethod for Called {
        fn name(&self) -> &'static str {
            self.0
        }

        fn title(&self) -> &'static str {
            self.0
        }

        fn source(&self) -> &'static str {
            self.0
        }

        fn declare(&self, size: usize, at: Layer<'_>, from: &Declare<'_>) -> Result<Box<dyn Part>> {
            TwoInducers.declare(size, at, from)
        }
    }
    custom::register(&TwoInducers).unwrap();
    for (method, reason) in [
        (&Called("lora"), "a method of the paper"),
        (&Called("Two Inducers"), "expected a-z"),
        (&Called(""), "expected a-z"),
        (&Called("long-one"), "long inputs"),
        (&Called("two-inducers"), "another method of this program"),
    ] {
        let message = inducer_gpu::register(method).unwrap_err().to_string();
        assert!(message.contains(reason), "{}: {message}", method.0);
    }
}
