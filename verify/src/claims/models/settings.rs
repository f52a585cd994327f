//! Section 6's settings, one by one as the paper's table has them, and the learning rate's course.

use crate::bounds::UNIT_ROUNDOFF_F64;
use crate::{Case, Claim, Result, Target, Tolerance};
use inducer_gpu::config::Gpt2Config;
use inducer_gpu::train::{Schedule, TrainConfig};
use inducer_gpu::{Method, counts};
use serde_json::{Value, json};

/// The claims of this file.
#[must_use]
pub fn claims() -> Vec<Claim> {
    vec![
        Claim::new("settings-generation").on_one_sided(Target::CpuF64, generation),
        Claim::new("settings-understanding").on_one_sided(Target::CpuF64, understanding),
        Claim::new("schedules").on_one_sided(Target::CpuF64, schedules),
        Claim::new("counts-printed")
            .one_case_in(1000)
            .on_one_sided(Target::CpuF64, printed),
    ]
}

/// What stands in a training configuration, by the place of each setting.
fn holds(case: &mut Case, config: &TrainConfig, expected: &[(&str, Value)]) -> Result<()> {
    let found = serde_json::to_value(config)?;
    for (place, value) in expected {
        case.same(found.pointer(place), Some(value), || place.to_string());
    }
    Ok(())
}

/// The learning rate of each method and the rest of the table's column on GPT-2. In the control the
/// column on RoBERTa is expected.
fn generation(case: &mut Case) -> Result<()> {
    let method = *case.draw.in_turn(&Method::ALL);
    let steps = case.draw.size(3000, 50_000);
    let rate = match method {
        Method::Full => 6.25e-5,
        _ => 1.25e-3,
    };
    case.same(method.learning_rate(), rate, || format!("{method:?}: rate"));
    let config = TrainConfig::generation(method.learning_rate(), steps);
    let beta2 = case.or_control(0.999, 0.98);
    let expected = [
        ("/learning_rate", json!(rate)),
        ("/steps", json!(steps)),
        ("/warmup", json!(500)),
        ("/schedule", json!("linear")),
        ("/clip", json!(1.0)),
        ("/label_smoothing", json!(0.1)),
        ("/dropout", json!(0.1)),
        ("/patience", json!(5)),
        ("/accumulation", json!(1)),
        ("/optimiser/beta1", json!(0.9)),
        ("/optimiser/beta2", json!(beta2)),
        ("/optimiser/eps", json!(1e-8)),
        ("/optimiser/coupled", json!(false)),
    ];
    holds(case, &config, &expected)
}

/// The column on RoBERTa. In the control that on GPT-2 is expected.
fn understanding(case: &mut Case) -> Result<()> {
    let hundreds = case.draw.size(1, 400);
    let config = TrainConfig::classification(2e-4, 100 * hundreds);
    let beta2 = case.or_control(0.98, 0.999);
    let expected = [
        ("/learning_rate", json!(2e-4)),
        ("/warmup", json!(6 * hundreds)),
        ("/schedule", json!("linear")),
        ("/clip", json!(1.0)),
        ("/label_smoothing", json!(0.0)),
        ("/dropout", json!(0.1)),
        ("/patience", Value::Null),
        ("/optimiser/beta1", json!(0.9)),
        ("/optimiser/beta2", json!(beta2)),
        ("/optimiser/eps", json!(1e-6)),
        ("/optimiser/weight_decay", json!(0.1)),
    ];
    holds(case, &config, &expected)
}

/// The factor of every step of every schedule is the formula's: a straight line from 0 to 1 over
/// the warm-up, then the schedule's way down. In the control the warm-up is a step longer.
fn schedules(case: &mut Case) -> Result<()> {
    let warmup = case.draw.size(1, 12);
    let total = warmup + case.draw.size(1, 30);
    let (power, end) = (case.draw.between(0.5, 3.0), case.draw.between(0.0, 0.5));
    let all = [
        Schedule::Linear,
        Schedule::Constant,
        Schedule::Cosine,
        Schedule::Polynomial { power, end },
    ];
    let schedule = *case.draw.in_turn(&all);
    let up = warmup + case.or_control(0, 1);
    for step in 0..total + 3 {
        let (t, w, n) = (step as f64, up as f64, total as f64);
        let left = ((n - t) / (total - warmup) as f64).clamp(0.0, 1.0);
        let expected = match schedule {
            _ if step < up => t / w,
            Schedule::Linear => left,
            Schedule::Constant => 1.0,
            // cos² of half the angle
            Schedule::Cosine => ((1.0 - left) * std::f64::consts::FRAC_PI_2).cos().powi(2),
            Schedule::Polynomial { power, end } => end + (1.0 - end) * left.powf(power),
        };
        let found = schedule.factor(step, warmup, total);
        let bound = 16.0 * UNIT_ROUNDOFF_F64;
        let tolerance = Tolerance::stated(bound, "16 u: a quotient below 1, its power or cosine");
        case.close(found, expected, &tolerance, || {
            format!("{schedule:?}, step {step} of {total}, {warmup} of warm-up")
        });
    }
    Ok(())
}

/// The percentages that Tables 1 and 3 print beside each method, of GPT-2 small with its tied head
/// counted once. In the control the word embedding is counted twice.
fn printed(case: &mut Case) -> Result<()> {
    let backbone = Gpt2Config::small();
    let again = backbone.vocab_size * backbone.n_embd;
    let all = counts::of_backbone(&backbone) + case.or_control(0, again);
    let stored = |method: Method| counts::stored(&method.paper(), &backbone);
    let prefix = Method::Prefix;
    let rows = [
        ("Fine-tuning", stored(Method::Full), "100.00"),
        ("Adapter-108", stored(Method::Adapter), "1.62"),
        ("LoRA-54", stored(Method::Lora), "1.61"),
        (
            "Prefix-108, train",
            counts::trained(&prefix.paper(), &backbone),
            "7.98",
        ),
        ("Prefix-108, store", stored(prefix), "1.60"),
        ("MAM adapter", stored(Method::MamAdapter), "1.61"),
        ("Adaptive", stored(Method::Adaptive), "1.62"),
        ("Extension", stored(Method::Extension), "1.55"),
        ("Gating", stored(Method::Gating), "1.61"),
        ("Inducer", stored(Method::Inducer), "1.61"),
        ("Inducer + LoRA", stored(Method::InducerLora), "1.61"),
        ("MAM inducer", stored(Method::MamInducer), "1.61"),
    ];
    for (name, count, share) in rows {
        let found = format!("{:.2}", 100.0 * count as f64 / all as f64);
        case.same(found.as_str(), share, || format!("{name}: {count}"));
    }
    Ok(())
}
