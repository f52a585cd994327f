//! The model card of an adapter, `README.md` beside its two files: what it is, how it was trained,
//! what it scored.

use super::config::RunConfig;
use super::record::RunResult;
use crate::document::format;
use crate::document::{markdown, table::Table};
use crate::parameters;
use inducer_gpu::train::{Schedule, TrainConfig};
use inducer_gpu::{Model, counts};

/// Markdown with the front matter that the Hugging Face hub reads. Both `adapter/` (the last step)
/// and `best/` get it.
pub fn text(config: &RunConfig, result: &RunResult, model: &Model) -> String {
    let backbone = model.backbone.config();
    let counted = parameters::row(
        parameters::title(&config.method),
        &config.adapter,
        &backbone,
    );
    let (title, all) = (counted.method, counts::of_backbone(&backbone));
    let base = &config.adapter.base_model_name_or_path;
    let (t, found) = (&config.train, &result.training);
    let share = |n: usize, percent: f64| format!("{n} ({percent:.2} % of the backbone's {all})");
    let (schedule, optimiser) = (schedule(t), optimiser(t));
    let clip = t.clip.map_or("–".into(), |c| c.to_string());
    let settings = Table::pairs(
        "Training",
        ["setting", "value"],
        [
            ("steps", t.steps.to_string()),
            (
                "rows a step",
                (config.batch_size * t.accumulation).to_string(),
            ),
            ("learning rate", t.learning_rate.to_string()),
            ("schedule", schedule),
            ("optimiser", optimiser),
            ("gradient norm at most", clip),
            ("label smoothing", t.label_smoothing.to_string()),
            ("dropout", t.dropout.to_string()),
            ("seed", t.seed.to_string()),
            ("data, SHA-256", config.data_fingerprint.clone()),
            ("backbone, SHA-256", config.backbone_fingerprint.clone()),
            ("program", format!("inducer {}", config.version)),
        ],
    );
    let best = format!("{:.4} at step {}", found.validation_loss, found.best_step);
    let last = format!("{:.4}", found.last_validation_loss);
    let score = match (config.loss_only, result.test_loss) {
        (true, Some(loss)) => format!("loss {loss:.4} nats a token"),
        _ => result.scores.as_text(),
    };
    let scores = Table::pairs(
        "Result",
        ["measure", "value"],
        [
            ("score on the test part", score),
            ("validation loss", best),
            ("validation loss after the last step", last),
        ],
    );
    let json = serde_json::to_string_pretty(&config.adapter).unwrap_or_default();
    format!(
        "---\nbase_model: {base}\nlibrary_name: inducer\ntags:\n- {}\n- {}\n---\n\n# {title} on \
         {}\n\n\
An adapter for the frozen backbone `{base}`, of the paper \"Inducer-tuning: Connecting \
Prefix-tuning and Adapter-tuning\" (EMNLP 2022). \
`adapter/` holds the last step's tensors, `best/` those of the best validation; the scores are the \
best's.\n\n\
- trained parameters: {}\n- stored parameters: {}\n\n```sh\ninducer evaluate --task {} --data DIR \
--backbone {base} --adapter .\n```\n\n\
{}{}## Method\n\n```json\n{json}\n```\n",
        config.method,
        config.task,
        config.task,
        share(counted.trained, counted.trained_percent),
        share(counted.stored, counted.stored_percent),
        config.task,
        markdown::table(&scores),
        markdown::table(&settings),
    )
}

/// The schedule of the learning rate in words.
fn schedule(t: &TrainConfig) -> String {
    let schedule = match t.schedule {
        Schedule::Linear => "linear to 0".into(),
        Schedule::Constant => "constant".into(),
        Schedule::Cosine => "half a cosine to 0".into(),
        Schedule::Polynomial { power, end } => {
            format!("polynomial of power {power} to {end} of the learning rate")
        }
    };
    format!("{schedule}, {}", format::counted(t.warmup, "warm-up step"))
}

/// The optimiser in words.
fn optimiser(t: &TrainConfig) -> String {
    let o = &t.optimiser;
    format!(
        "{}, β₁ {}, β₂ {}, ε {:e}, weight decay {}",
        if o.coupled { "Adam" } else { "AdamW" },
        o.beta1,
        o.beta2,
        o.eps,
        o.weight_decay
    )
}
