//! Timing of a training step: gradients, clipping, AdamW.

use super::work::{flops, product_rate};
use super::{Options, ids, least, lengths, median, peak_mib, rounded, seconds};
use anyhow::{Context, Result};
use candle_core::DType;
use inducer_datasets::batch::{Batch, IGNORE};
use inducer_gpu::backbone::Gpt2;
use inducer_gpu::kernels::cuda;
use inducer_gpu::kernels::precision::master_dtype;
use inducer_gpu::train::{AdamW, AdamWConfig, Pending};
use inducer_gpu::{LossOptions, Model};
use serde::Serialize;

/// One line of JSON.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Program and version.
    pub software: String,
    /// Method.
    pub method: &'static str,
    /// Preset.
    pub preset: &'static str,
    /// Device.
    pub device: &'static str,
    /// Scalar type.
    pub dtype: String,
    /// Rows.
    pub batch: usize,
    /// Length of the longest row.
    pub length: usize,
    /// Threads.
    pub threads: usize,
    /// Trained parameters.
    pub trainable: usize,
    /// Median time of a step in milliseconds.
    pub step_ms: f64,
    /// Shortest time.
    pub step_ms_min: f64,
    /// Real tokens a second.
    pub tokens_per_s: f64,
    /// Largest resident set in MiB.
    pub peak_mib: Option<f64>,
    /// Most memory of tensors on the device at one time in MiB (GPU).
    pub device_peak_mib: Option<f64>,
    /// Loss of the last step.
    pub loss: f64,
    /// Operations of the step's matrix products, in GFLOP.
    pub step_gflop: f64,
    /// The machine's own rate of f32 matrix products in this run, in GFLOP/s (CPU).
    pub product_gflops: Option<f64>,
    /// Share of that rate that the step's useful operations reach.
    pub share: Option<f64>,
}

impl Report {
    /// As text for people.
    pub fn text(&self) -> String {
        let mut out = format!(
            "{} on {}, {} {}, {} × {} tokens, {} threads\n\n\
             step            {:>10.2} ms   (shortest {:.2} ms)\n\
             tokens          {:>10.1} /s\n",
            self.method,
            self.preset,
            self.device,
            self.dtype,
            self.batch,
            self.length,
            self.threads,
            self.step_ms,
            self.step_ms_min,
            self.tokens_per_s
        );
        if let Some(peak) = self.peak_mib {
            out += &format!("peak memory     {peak:>10.1} MiB\n");
        }
        if let Some(peak) = self.device_peak_mib {
            out += &format!("device memory   {peak:>10.1} MiB\n");
        }
        if let (Some(rate), Some(share)) = (self.product_gflops, self.share) {
            out += &format!(
                "arithmetic      {:>10.1} GFLOP a step: {:.0} % of the {rate:.0} GFLOP/s of this \
                 machine's own matrix product\n",
                self.step_gflop,
                100.0 * share
            );
        }
        let trained = format!("{:>10} parameters, loss {}", self.trainable, self.loss);
        out + &format!("trained         {trained}\n")
    }
}

/// Steps on a card that are timed as one.
const TOGETHER: usize = 4;

/// Batches in turn, so that a card is sent each step's: it keeps the last eight lists that it was
/// sent (`kernels::cuda::upload`).
const BATCHES: usize = 9;

/// The batches: random rows whose last third is labelled, the same ones from another row on, so
/// that every step has the same work and mean. Of one row there is one batch.
fn batches(options: &Options) -> Vec<Batch> {
    let lengths = lengths(options.batch, options.length, options.seed);
    let vocabulary = options.config.vocab_size;
    let mut rows = Vec::new();
    let mut labels = Vec::new();
    for (i, n) in lengths.into_iter().enumerate() {
        let row = ids(n, vocabulary, options.seed.wrapping_add(i as u64));
        let from = n - n / 3;
        labels.push(
            row.iter()
                .enumerate()
                .map(|(j, id)| if j >= from { i64::from(*id) } else { IGNORE })
                .collect(),
        );
        rows.push(row);
    }
    let turned = (0..rows.len().clamp(1, BATCHES)).map(|_| {
        let batch = Batch::pack(&rows, None, Some(&labels));
        rows.rotate_left(1);
        labels.rotate_left(1);
        batch
    });
    turned.collect()
}

/// Times the steps.
///
/// # Errors
/// A combination that the engine refuses, such as rows longer than the backbone's positions.
pub fn run(options: &Options) -> Result<Report> {
    let (config, adapter) = (&options.config, &options.adapter);
    let (dtype, cpu) = (options.precision.begin(), options.device.is_cpu());
    let master = master_dtype(dtype);
    let backbone = Gpt2::random(config.clone(), options.seed, master, &options.device)?;
    let mut model = Model::new(backbone, dtype, &options.device);
    model.attach(adapter, 0, options.seed)?;
    model.cast_frozen_weights()?;
    let batches = batches(options);
    let (batch, mut turns) = (&batches[0], batches.iter().cycle());
    let labelled = model.targets(batch)?.len();
    let mut optimiser = AdamW::new(AdamWConfig {
        weight_decay: 0.01,
        ..AdamWConfig::default()
    });
    let mut step = || -> Result<Pending> {
        let batch = turns.next().unwrap_or(batch);
        let (loss, gradients) = model.loss_and_gradients(batch, LossOptions::PLAIN)?;
        let (trained, limit) = (model.trainable_mut(), Some(1.0));
        Ok(optimiser.clipped_step(trained, &gradients, loss, 1e-4, limit)?)
    };
    // the host waits for the last of them, as in training
    let mut steps = |count: usize| -> Result<f64> {
        for _ in 1..count {
            step()?;
        }
        let loss = step()?.read()?.loss;
        options.device.synchronize().context("synchronising")?;
        Ok(loss)
    };
    if options.warmup > 0 {
        steps(options.warmup)?;
    }
    let (mut times, mut loss) = (Vec::new(), f64::NAN);
    let together = if cpu { 1 } else { TOGETHER };
    for _ in 0..options.steps.max(1) {
        let (time, value) = seconds(|| steps(together))?;
        times.push(time / together as f64);
        loss = value;
    }
    let trained = model.trainable();
    let trainable = trained.iter().map(|p| p.tensor.elem_count()).sum();
    let peak = peak_mib();
    let lengths: Vec<usize> = (0..batch.sequences())
        .map(|r| batch.sequence(r).len())
        .collect();
    let work = flops(config, adapter, &lengths, labelled);
    let rate = (cpu && options.rate).then(|| product_rate(20, dtype == DType::BF16));
    let time = median(&times);
    Ok(Report {
        software: format!("inducer {}", env!("CARGO_PKG_VERSION")),
        method: options.method.name(),
        preset: options.preset.name(),
        device: if cpu { "cpu" } else { "cuda" },
        dtype: options.precision.name().into(),
        batch: options.batch,
        length: options.length,
        threads: options.threads,
        trainable,
        step_ms: rounded(time * 1e3, 2),
        step_ms_min: rounded(least(&times) * 1e3, 2),
        tokens_per_s: rounded(batch.tokens() as f64 / time, 1),
        peak_mib: peak.map(|m| rounded(m, 1)),
        device_peak_mib: cuda::peak_bytes(&options.device)?
            .map(|bytes| rounded(bytes as f64 / f64::from(1 << 20), 1)),
        loss: rounded(loss, 4),
        step_gflop: rounded(work / 1e9, 2),
        product_gflops: rate.map(|r| rounded(r / 1e9, 1)),
        share: rate.map(|r| rounded(work / time / r, 3)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Preset;
    use crate::compute::Precision;
    use candle_core::Device;
    use inducer_gpu::{AdapterConfig, Method, Named};

    #[test]
    fn batches_in_turn_are_the_same_rows_and_no_two_are_alike() {
        let options = |batch| Options {
            preset: Preset::Tiny,
            config: Preset::Tiny.config(),
            method: Named::Paper(Method::Lora),
            adapter: AdapterConfig::none(),
            batch,
            length: 40,
            steps: 1,
            warmup: 0,
            seed: 1,
            rate: false,
            threads: 1,
            precision: Precision::F32,
            device: Device::Cpu,
        };
        let rows = |b: &Batch| {
            let mut all: Vec<_> = (0..b.sequences())
                .map(|r| b.ids[b.sequence(r)].to_vec())
                .collect();
            all.sort();
            all
        };
        for (count, expected) in [(1, 1), (5, 5), (32, BATCHES)] {
            let all = batches(&options(count));
            assert_eq!(all.len(), expected);
            for (i, batch) in all.iter().enumerate() {
                assert_eq!(rows(batch), rows(&all[0]));
                assert!(all[..i].iter().all(|other| other.ids != batch.ids));
            }
        }
    }
}
