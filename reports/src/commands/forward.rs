//! `inducer forward`: logits, loss and gradients of a batch, from either engine.

use crate::cli::{Compute, model_directory, precision};
use crate::compute::Precision;
use crate::files::{At, read_json};
use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Tensor};
use clap::{Args, ValueEnum};
use inducer_datasets::{Batch, IGNORE, Labels};
use inducer_gpu::files::adapter::head_classes as saved_classes;
use inducer_gpu::files::backbone::model_type;
use inducer_gpu::files::safetensors::serialize;
use inducer_gpu::{BackboneConfig, LossOptions, Model};
use inducer_reference as reference;
use ndarray::Array2;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Which implementation computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// The training engine.
    Gpu,
    /// The ndarray reference.
    Reference,
}

/// `inducer forward`.
#[derive(Args, Clone, Debug)]
pub struct ForwardArgs {
    /// Hugging Face directory, or the name of a model in the hub's cache (HF_HUB_CACHE, HF_HOME)
    #[arg(long, value_parser = model_directory(), value_name = "DIR or NAME")]
    pub backbone: PathBuf,
    /// Adapter directory
    #[arg(long)]
    pub adapter: Option<PathBuf>,
    /// JSON file with input_ids, and optionally labels, attention_mask, segment_ids
    #[arg(long)]
    pub batch: PathBuf,
    /// safetensors file to write
    #[arg(long)]
    pub out: PathBuf,
    /// Scalar type
    #[arg(long, default_value = "f32", value_parser = precision())]
    pub dtype: Precision,
    /// Gradients of every adapter tensor as well
    #[arg(long)]
    pub gradients: bool,
    /// Implementation
    #[arg(long, value_enum, default_value = "gpu")]
    pub engine: Engine,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

/// The batch file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    input_ids: Vec<Vec<u32>>,
    #[serde(default)]
    labels: Option<Vec<Vec<i64>>>,
    #[serde(default)]
    attention_mask: Option<Vec<Vec<u8>>>,
    #[serde(default)]
    segment_ids: Option<Vec<Vec<u32>>>,
}

fn widths<T>(rows: &[Vec<T>]) -> Vec<usize> {
    rows.iter().map(Vec::len).collect()
}

/// A row without its padding: where it starts and its tokens.
struct Row {
    from: usize,
    ids: Vec<u32>,
    labels: Option<Vec<i64>>,
    segments: Option<Vec<u32>>,
}

impl File {
    /// Reads the file; for a classifier `labels` has one class a row.
    fn read(path: &Path, classifier: bool) -> Result<Self> {
        let file: Self = read_json(path)?;
        let at = path.display();
        let width = file
            .input_ids
            .first()
            .map(Vec::len)
            .with_context(|| format!("{at}: field `input_ids`: expected at least one row"))?;
        ensure!(
            width > 0,
            "{at}: field `input_ids`: expected at least one token"
        );
        let lengths = |field: &str, rows: Option<Vec<usize>>, width: usize| -> Result<()> {
            let Some(rows) = rows else { return Ok(()) };
            ensure!(
                rows.len() == file.input_ids.len(),
                "{at}: field `{field}`: expected {} rows, found {}",
                file.input_ids.len(),
                rows.len()
            );
            match rows.iter().position(|n| *n != width) {
                Some(i) => bail!(
                    "{at}: field `{field}`: row {i} has {} entries, expected {width}",
                    rows[i]
                ),
                None => Ok(()),
            }
        };
        let labels = if classifier { 1 } else { width };
        lengths("input_ids", Some(widths(&file.input_ids)), width)?;
        lengths("labels", file.labels.as_deref().map(widths), labels)?;
        lengths(
            "attention_mask",
            file.attention_mask.as_deref().map(widths),
            width,
        )?;
        lengths(
            "segment_ids",
            file.segment_ids.as_deref().map(widths),
            width,
        )?;
        Ok(file)
    }

    /// Rows without padding. Positions count from the first real token, as Hugging Face does under
    /// a mask.
    fn rows(&self, path: &Path) -> Result<Vec<Row>> {
        let width = self.input_ids[0].len();
        let mut rows = Vec::new();
        for (i, ids) in self.input_ids.iter().enumerate() {
            let (mut from, mut to) = (0, width);
            if let Some(mask) = &self.attention_mask {
                let m = &mask[i];
                let at = path.display();
                ensure!(
                    m.iter().all(|x| *x <= 1),
                    "{at}: field `attention_mask`: row {i}: expected 0 or 1"
                );
                from = m.iter().position(|x| *x == 1).with_context(|| {
                    format!("{at}: field `attention_mask`: row {i} hides every token")
                })?;
                to = m.iter().rposition(|x| *x == 1).map_or(width, |p| p + 1);
                ensure!(
                    m[from..to].iter().all(|x| *x == 1),
                    "{at}: field `attention_mask`: row {i}: expected padding at the ends only, \
                     found a hole"
                );
            }
            rows.push(Row {
                from,
                ids: ids[from..to].to_vec(),
                labels: self.labels.as_ref().map(|l| match l[i].len() == width {
                    true => l[i][from..to].to_vec(),
                    false => l[i].clone(), // a class
                }),
                segments: self.segment_ids.as_ref().map(|s| s[i][from..to].to_vec()),
            });
        }
        Ok(rows)
    }
}

/// What either engine computes, in f64: logits of each row [n, vocabulary], loss, gradients.
struct Computed {
    logits: Vec<Vec<f64>>,
    loss: Option<f64>,
    gradients: Vec<(String, Tensor)>,
}

/// Runs the command.
///
/// # Errors
/// Files that are missing or do not fit each other.
pub fn run(args: &ForwardArgs) -> Result<()> {
    let classifier = model_type(&args.backbone)? == "roberta";
    let file = File::read(&args.batch, classifier)?;
    let rows = file.rows(&args.batch)?;
    let pool = args.compute.pool()?;
    let (computed, vocabulary) = match args.engine {
        Engine::Gpu => pool.install(|| engine(args, &rows))?,
        Engine::Reference => match args.dtype {
            Precision::F32 => pool.install(|| independent::<f32>(args, &rows))?,
            Precision::F64 => pool.install(|| independent::<f64>(args, &rows))?,
            Precision::Bf16 => bail!("--dtype bf16: the reference computes in f32 and f64"),
        },
    };
    let dtype = if args.dtype == Precision::F64 {
        DType::F64
    } else {
        DType::F32
    };
    let logits = if classifier {
        Tensor::from_vec(
            computed.logits.concat(),
            (rows.len(), vocabulary),
            &Device::Cpu,
        )?
    } else {
        let width = file.input_ids[0].len();
        let mut logits = vec![0.0; rows.len() * width * vocabulary];
        for (i, (row, values)) in rows.iter().zip(&computed.logits).enumerate() {
            let at = (i * width + row.from) * vocabulary;
            logits[at..at + values.len()].copy_from_slice(values);
        }
        Tensor::from_vec(logits, (rows.len(), width, vocabulary), &Device::Cpu)?
    };
    let mut out = vec![("logits".to_string(), logits.to_dtype(dtype)?)];
    if let Some(loss) = computed.loss {
        out.push((
            "loss".to_string(),
            Tensor::new(&[loss], &Device::Cpu)?.to_dtype(dtype)?,
        ));
    }
    for (name, gradient) in computed.gradients {
        out.push((format!("grad.{name}"), gradient.to_dtype(dtype)?));
    }
    let bytes = serialize(out.iter().map(|(n, t)| (n, t)), HashMap::new())?;
    inducer_datasets::files::write_atomic(&args.out, &bytes).at(&args.out)?;
    match computed.loss {
        Some(loss) => println!(
            "{}: {} tensors, loss {loss:.6}",
            args.out.display(),
            out.len()
        ),
        None => println!("{}: {} tensors", args.out.display(), out.len()),
    }
    Ok(())
}

fn engine(args: &ForwardArgs, rows: &[Row]) -> Result<(Computed, usize)> {
    let (device, dtype) = (args.compute.device.open()?, args.dtype.dtype());
    let mut model = Model::load_for(&args.backbone, head_classes(args)?, 0, dtype, &device)?;
    if let Some(dir) = &args.adapter {
        model.attach_saved(dir)?;
    }
    let ids: Vec<Vec<u32>> = rows.iter().map(|r| r.ids.clone()).collect();
    let segments: Option<Vec<Vec<u32>>> = rows.iter().map(|r| r.segments.clone()).collect();
    let labels: Option<Vec<Vec<i64>>> = rows.iter().map(|r| r.labels.clone()).collect();
    let classes = match model.backbone.config() {
        BackboneConfig::Roberta(c) => Some(c.classes()),
        BackboneConfig::Gpt2(_) => None,
    };
    let batch = match (classes, &labels) {
        (Some(count), Some(labels)) => {
            let mut batch = Batch::pack(&ids, segments.as_deref(), None);
            batch.labels = Labels::Classes(class_ids(labels, count, &args.batch)?);
            batch
        }
        _ => Batch::pack(&ids, segments.as_deref(), labels.as_deref()),
    };
    let all: Vec<Vec<f64>> = model
        .logits(&batch)
        .at(&args.batch)?
        .to_dtype(DType::F64)?
        .to_vec2()?;
    let logits = match classes {
        Some(_) => all,
        None => (0..rows.len())
            .map(|r| all[batch.row(r)].concat())
            .collect(),
    };
    let (mut loss, mut gradients) = (None, Vec::new());
    if args.gradients {
        ensure!(
            labels.is_some(),
            "{}: --gradients needs the field `labels`",
            args.batch.display()
        );
        ensure!(
            !model.trainable().is_empty(),
            "--gradients: nothing is trainable; give --adapter"
        );
        let (value, found) = model.gradients(&batch, LossOptions::PLAIN)?;
        loss = Some(value);
        for p in model.trainable() {
            let g = found
                .get(&p.name)
                .cloned()
                .map_or_else(|| p.tensor.zeros_like(), Ok)?;
            gradients.push((p.name.clone(), g));
        }
    } else if labels.is_some() {
        loss = Some(model.loss(&batch, LossOptions::PLAIN)?);
    }
    Ok((
        Computed {
            logits,
            loss,
            gradients,
        },
        classes.unwrap_or(model.ids()),
    ))
}

/// The class of each row.
fn class_ids(labels: &[Vec<i64>], count: usize, path: &Path) -> Result<Vec<u32>> {
    labels
        .iter()
        .enumerate()
        .map(|(i, row)| {
            let class = row.first().and_then(|c| u32::try_from(*c).ok());
            class.filter(|c| (*c as usize) < count).with_context(|| {
                format!(
                    "{}: field `labels`: row {i}: expected one class below {count}, found {row:?}",
                    path.display()
                )
            })
        })
        .collect()
}

fn independent<T: reference::Real>(args: &ForwardArgs, rows: &[Row]) -> Result<(Computed, usize)> {
    ensure!(
        !args.gradients,
        "--gradients: the reference computes values only; use --engine gpu (the verification \
         compares its gradients with differences of the reference)"
    );
    let dir = args.adapter.as_deref();
    if model_type(&args.backbone)? == "roberta" {
        let mut model = reference::Roberta::<T>::load(&args.backbone)?;
        if let (None, Some(classes)) = (&model.classifier, head_classes(args)?) {
            model.config.num_labels = Some(classes);
        }
        let adapter = dir.map(|dir| reference::Adapter::<T>::load(dir, &model.config));
        let adapter = adapter.transpose()?;
        return values(args, rows, Some(model.config.classes()), |ids, segments| {
            Ok(model.forward(ids, segments, None, adapter.as_ref())?.logits)
        });
    }
    let model = reference::Gpt2::<T>::load(&args.backbone)?;
    let adapter = dir.map(|dir| reference::Adapter::<T>::load(dir, &model.config));
    let adapter = adapter.transpose()?;
    values(args, rows, None, |ids, segments| {
        Ok(model.forward(ids, segments, None, adapter.as_ref())?.logits)
    })
}

/// Logits and loss of the reference's forward pass.
fn values<T: reference::Real>(
    args: &ForwardArgs,
    rows: &[Row],
    classes: Option<usize>,
    forward: impl Fn(&[u32], Option<&[u32]>) -> Result<Array2<T>>,
) -> Result<(Computed, usize)> {
    let (mut logits, mut total, mut count, mut width) = (Vec::new(), 0.0, 0, 0);
    for row in rows {
        let out = forward(&row.ids, row.segments.as_deref()).at(&args.batch)?;
        width = out.ncols();
        if let Some(labels) = &row.labels {
            let expected = match classes {
                Some(classes) => {
                    class_ids(std::slice::from_ref(labels), classes, &args.batch)?;
                    labels.clone()
                }
                None => reference::shift_labels(labels),
            };
            if expected.iter().any(|y| *y != IGNORE) {
                let (mean, n) = reference::cross_entropy(&out, &expected, T::from_f64(0.0))?;
                total += mean.to_f64() * n as f64;
                count += n;
            }
        }
        logits.push(out.iter().map(|x| x.to_f64()).collect());
    }
    let computed = Computed {
        logits,
        loss: (count > 0).then(|| total / count as f64),
        gradients: Vec::new(),
    };
    Ok((computed, width))
}

/// The classes that the adapter's own head tells apart, which a backbone without a head is loaded
/// for.
fn head_classes(args: &ForwardArgs) -> Result<Option<usize>> {
    let found = args.adapter.as_deref().map(saved_classes).transpose()?;
    Ok(found.flatten())
}
