//! Timing: one training step, or greedy decoding, on a backbone with random weights.
//!
//! The work is that of a PyTorch script which users can run beside it
//! (`reports/peers/compare.py`): the same presets, the same rule for lengths and labels, the
//! same keys in the JSON line.

pub mod decode;
pub mod train;
pub mod work;

use crate::compute::Precision;
use crate::run::{Knobs, MethodSpec};
use anyhow::Result;
use candle_core::Device;
use inducer_gpu::{AdapterConfig, Gpt2Config, Named};
use rand::{Rng, SeedableRng};
use serde::Deserialize;
use std::time::Instant;

/// Size of the backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// 4 layers, hidden 128, 4 heads, 4,096 tokens.
    Tiny,
    /// 6 layers, hidden 256, 4 heads, 8,192 tokens.
    Mini,
    /// GPT-2 small: 12 layers, hidden 768, 12 heads, 50,257 tokens.
    Gpt2,
}

impl Preset {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Mini => "mini",
            Self::Gpt2 => "gpt2",
        }
    }

    /// Its configuration; no dropout, 1,024 positions.
    pub fn config(self) -> Gpt2Config {
        let (n_layer, n_embd, n_head, vocab_size) = match self {
            Self::Tiny => (4, 128, 4, 4096),
            Self::Mini => (6, 256, 4, 8192),
            Self::Gpt2 => (12, 768, 12, 50_257),
        };
        Gpt2Config {
            n_layer,
            n_embd,
            n_head,
            vocab_size,
            n_positions: 1024,
            ..Gpt2Config::small()
        }
    }
}

/// What to time.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose size the backbone has, but for what `config` says.
    pub preset: Preset,
    /// The backbone.
    pub config: Gpt2Config,
    /// Method.
    pub method: Named,
    /// Its parts.
    pub adapter: AdapterConfig,
    /// Rows, or prompts.
    pub batch: usize,
    /// Length of the longest row, or of every prompt.
    pub length: usize,
    /// Timed steps, or repeats of decoding.
    pub steps: usize,
    /// Steps before the clock starts.
    pub warmup: usize,
    /// Seed of ids and initial values.
    pub seed: u64,
    /// Whether the rate of this machine's own matrix product is measured too.
    pub rate: bool,
    /// Threads, for the record.
    pub threads: usize,
    /// Scalar type.
    pub precision: Precision,
    /// Device.
    pub device: Device,
}

/// The method with its sizes on GPT-2 small on every preset, but for those that are asked for; a
/// prefix without its reparametrisation, as the other side trains it.
///
/// # Errors
/// A size that the method does not have.
pub fn method(method: Named, knobs: &Knobs) -> Result<AdapterConfig> {
    let found = [MethodSpec::find(
        method.name(),
        &(&Gpt2Config::small()).into(),
        knobs,
    )?];
    MethodSpec::check_sizes(&found)?;
    let [found] = found;
    Ok(found.adapter.stored())
}

/// Length of each row: `length − (i · 7919 + seed) mod (length / 4)`.
pub fn lengths(batch: usize, length: usize, seed: u64) -> Vec<usize> {
    let less = |i: usize| (i as u64 * 7919 + seed) % (length as u64 / 4).max(1);
    (0..batch).map(|i| length - less(i) as usize).collect()
}

/// Token ids in 1 .. vocabulary.
pub fn ids(count: usize, vocabulary: usize, seed: u64) -> Vec<u32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let ids = (0..count).map(|_| rng.random_range(1..vocabulary as u32));
    ids.collect()
}

/// Seconds that `f` takes.
pub fn seconds<T>(f: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let start = Instant::now();
    let value = f()?;
    Ok((start.elapsed().as_secs_f64(), value))
}

/// Median of some times.
pub fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    if n == 0 {
        return f64::NAN;
    }
    (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0
}

/// The least of some times.
pub fn least(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Largest resident set of this process so far in MiB (Linux's `VmHWM`); none where the system does
/// not say.
pub fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Rounded for printing.
pub fn rounded(x: f64, digits: i32) -> f64 {
    let f = 10.0_f64.powi(digits);
    (x * f).round() / f
}

#[cfg(test)]
mod tests {
    use super::*;
    use inducer_gpu::Method;

    #[test]
    fn lengths_follow_the_rule_of_the_other_side() {
        // 128 − (i · 7919) mod 32: 7919 mod 32 = 15
        assert_eq!(lengths(4, 128, 0), [128, 113, 98, 115]);
        assert_eq!(lengths(2, 96, 5), [91, 96 - (7924 % 24)]);
    }

    #[test]
    fn median_of_even_and_odd_counts() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn a_prefix_is_timed_without_its_reparametrisation_and_the_rest_has_the_papers_sizes() {
        let small = Preset::Gpt2.config();
        let trained = |m| {
            inducer_gpu::counts::trained(
                &method(Named::Paper(m), &Knobs::default()).unwrap(),
                &small,
            )
        };
        assert_eq!(trained(Method::Prefix), 1_990_656);
        assert_eq!(trained(Method::Inducer), 2_003_472);
        assert_eq!(inducer_gpu::counts::of_backbone(&small), 124_439_808);
    }
}
