//! Every method on both backbones: trained on rows in the tasks' own format until the loss has
//! clearly fallen, saved, loaded, the same logits.
#![allow(clippy::unwrap_used)]

use crate::common::Fixture;
use candle_core::{Device, Tensor};
use inducer_datasets::batches::pack;
use inducer_datasets::synthetic::{self, GlueConfig};
use inducer_datasets::{Batch, Malformed, Surface, Task, directory};
use inducer_gpu::adapter::Attached;
use inducer_gpu::train::{Data, TrainConfig, evaluate, train};
use inducer_gpu::{Method, Model};
use inducer_reports::compute::Precision;
use inducer_reports::run::{self, Prepared, Source};
use std::path::Path;

const SEED: u64 = 5;

/// The same rows at every step.
struct Fixed(Vec<Batch>);

impl Data for Fixed {
    fn epoch(&self, _epoch: usize) -> Vec<Batch> {
        self.0.clone()
    }
    fn validation(&self) -> &[Batch] {
        &self.0
    }
}

fn rows(task: Task, dir: &Path, count: usize) -> Fixed {
    let splits = directory::load(task, &dir.join("data"), Malformed::Refuse).unwrap();
    let source = Source {
        task,
        data: dir.join("data"),
        backbone: dir.join("backbone"),
        surface: Surface::Raw,
        reading: Default::default(),
    };
    let all = Prepared::new(source, splits, &[]).unwrap();
    Fixed(vec![pack(
        &all.train.iter().take(count).collect::<Vec<_>>(),
    )])
}

/// The directories of a task: its files and a small pretrained backbone for it.
fn fixture(task: Task) -> (Fixture, Fixed) {
    let f = Fixture::new();
    let text = synthetic::pretraining_text(1, 60_000);
    std::fs::write(f.path("text.txt"), text).unwrap();
    let (kind, hidden) = if task.generates() {
        ("gpt2", 24)
    } else {
        ("roberta", 48)
    };
    let line = format!(
        "pretrain --kind {kind} --text text.txt --out backbone --vocabulary 400 --layers 2 \
         --hidden {hidden} --heads 3 --positions 320 --length 48 --batch-size 8 --steps 200 \
         --learning-rate 0.003"
    );
    let out = f.inducer(&line.split(' ').collect::<Vec<_>>());
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    if task == Task::Sst2 {
        let small = GlueConfig {
            train: 40,
            dev: 8,
            ..GlueConfig::default()
        };
        synthetic::write_sst2(&f.path("data"), small).unwrap();
    }
    let data = rows(task, f.0.path(), 12);
    (f, data)
}

/// How many classes the task's head tells apart.
fn head(task: Task) -> Option<usize> {
    (!task.generates()).then_some(task.classes().len())
}

fn fresh(f: &Fixture, task: Task, method: Method, dtype: Precision) -> Model {
    let mut model = run::load(head(task), &f.path("backbone"), SEED, dtype, &Device::Cpu).unwrap();
    let config = method.on(&model.backbone.config());
    let special = task.special_tokens().len();
    model.attach(&config, special, SEED).unwrap();
    model
}

/// A learning rate that moves no number: no training takes 0.
const NONE: f64 = f64::MIN_POSITIVE;

fn settings(task: Task, learning_rate: f64) -> TrainConfig {
    let steps = if task.generates() { 60 } else { 200 };
    let steps = if learning_rate > 0.0 { steps } else { 3 };
    TrainConfig {
        warmup: 4.min(steps),
        dropout: 0.0,
        label_smoothing: 0.0,
        validate_every: 1000,
        patience: None,
        seed: SEED,
        ..TrainConfig::generation(learning_rate.max(NONE), steps)
    }
}

/// Loss before, after, and with the method's own parameters put back where they began: what the
/// head or the special rows do by themselves.
fn losses(
    f: &Fixture,
    task: Task,
    data: &Fixed,
    method: Method,
    dtype: Precision,
    rate: f64,
) -> (Model, [f64; 3]) {
    let mut model = fresh(f, task, method, dtype);
    let before = evaluate(&model, &data.0).unwrap();
    let first: Vec<Tensor> = model
        .trainable()
        .iter()
        .map(|p| p.tensor.copy().unwrap())
        .collect();
    let settings = settings(task, rate);
    train(&mut model, data, &settings, None, &mut |_| {}).unwrap();
    let after = evaluate(&model, &data.0).unwrap();
    let last: Vec<Tensor> = model
        .trainable()
        .iter()
        .map(|p| p.tensor.copy().unwrap())
        .collect();
    let common = |name: &str| name == Attached::SPECIAL_TOKENS || name.starts_with("classifier.");
    for (p, first) in model.trainable_mut().into_iter().zip(first) {
        if !common(&p.name) {
            p.tensor = first;
        }
    }
    let without = evaluate(&model, &data.0).unwrap();
    for (p, last) in model.trainable_mut().into_iter().zip(last) {
        p.tensor = last;
    }
    (model, [before, after, without])
}

/// What a method must show: a loss on fixed rows, without dropout, that fell by a twentieth
/// (BitFit's few hundred numbers do no more in this time; nothing is random here, so any fall is
/// the training's), and that its own parameters had a part in.
fn learned([before, after, without]: [f64; 3]) -> bool {
    after < 0.95 * before && after < without - 0.01
}

fn every_method() -> impl Iterator<Item = Method> {
    Method::ALL.into_iter().filter(|m| *m != Method::None)
}

fn trained(task: Task, dtype: Precision, methods: impl Iterator<Item = Method>) {
    let (f, data) = fixture(task);
    for method in methods {
        let name = method.name();
        let rate = match method {
            Method::Full => 1e-3,
            Method::Prefix => 3e-3, // through its reparametrisation
            _ => 1e-2,
        };
        let (model, found) = losses(&f, task, &data, method, dtype, rate);
        assert!(learned(found), "{task}, {name}: {found:?}");
        // the control: the same steps at a rate of zero
        let (_, still) = losses(&f, task, &data, method, dtype, 0.0);
        assert!(!learned(still), "{task}, {name}, rate 0: {still:?}");

        let dir = f.path(&format!("saved-{name}"));
        model.save_adapter(&dir).unwrap();
        let mut loaded = run::load(
            head(task),
            &f.path("backbone"),
            SEED + 1,
            dtype,
            &Device::Cpu,
        )
        .unwrap();
        let untuned = loaded.logits(&data.0[0]).map(|t| bits(&t));
        loaded.attach_saved(&dir).unwrap();
        let [mine, again] = [&model, &loaded].map(|m| bits(&m.logits(&data.0[0]).unwrap()));
        assert_eq!(mine.len(), again.len());
        let worst = mine
            .iter()
            .zip(&again)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        // a reparametrised prefix is stored as itself and not computed again; everything else is
        // the same bits
        let bound = if method == Method::Prefix { 1e-5 } else { 0.0 };
        assert!(worst <= bound, "{task}, {name}: {worst:e}");
        assert!(
            untuned.is_err() || untuned.unwrap() != again,
            "{task}, {name}: nothing was loaded"
        );
    }
}

fn bits(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn every_method_learns_on_gpt2_and_comes_back_from_its_files() {
    trained(Task::WebNlg, Precision::F32, every_method());
}

#[test]
fn every_method_learns_on_roberta_and_comes_back_from_its_files() {
    trained(Task::Sst2, Precision::F32, every_method());
}

/// Mixed precision: one method of each kind of part. (A reparametrised prefix is stored from its
/// network in f32 and was trained in bf16: not the same bits.)
const MIXED: [Method; 5] = [
    Method::Full,
    Method::Adapter,
    Method::Lora,
    Method::Gating,
    Method::MamInducer,
];

#[test]
fn methods_learn_in_mixed_precision_on_gpt2_and_come_back_from_their_files() {
    trained(Task::WebNlg, Precision::Bf16, MIXED.into_iter());
}

#[test]
fn methods_learn_in_mixed_precision_on_roberta_and_come_back_from_their_files() {
    trained(Task::Sst2, Precision::Bf16, MIXED.into_iter());
}
