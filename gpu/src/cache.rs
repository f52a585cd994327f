//! Keys and values of the tokens decoded so far, row by row and layer by layer.

use crate::error::Result;
use crate::kernels::cpu;
use crate::ops::attention::{Heads, Visible, attention_cached, attention_cached_tensors};
use candle_core::{DType, Device, Tensor};

enum Store {
    F32(Vec<[Vec<f32>; 2]>),
    F64(Vec<[Vec<f64>; 2]>),
    Device(Vec<Option<[Tensor; 2]>>),
}

/// The cache of a batch of rows.
pub struct Cache {
    layers: Vec<Store>,
    /// Tokens seen of each row.
    pub seen: Vec<usize>,
}

impl Cache {
    /// An empty cache for `rows` rows of a model that computes in `dtype` on `device`.
    pub fn new(layers: usize, rows: usize, dtype: DType, device: &Device) -> Self {
        let store = || match dtype {
            DType::F64 if device.is_cpu() => Store::F64(vec![[Vec::new(), Vec::new()]; rows]),
            DType::F32 if device.is_cpu() => Store::F32(vec![[Vec::new(), Vec::new()]; rows]),
            _ => Store::Device(vec![None; rows]),
        };
        Self {
            layers: (0..layers).map(|_| store()).collect(),
            seen: vec![0; rows],
        }
    }

    /// Adds the new tokens' keys and values to a layer and attends with their queries to all it
    /// holds.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn attend(
        &mut self,
        layer: usize,
        qkv: &Tensor,
        heads: Heads,
        starts: &[usize],
        visible: Visible,
    ) -> Result<(Tensor, Tensor)> {
        match &mut self.layers[layer] {
            Store::F32(rows) => host(rows, qkv, heads, starts, visible),
            Store::F64(rows) => host(rows, qkv, heads, starts, visible),
            Store::Device(rows) => attention_cached_tensors(qkv, rows, starts, heads, visible),
        }
    }

    /// Keeps only the rows at these indices.
    pub fn keep(&mut self, rows: &[usize]) {
        self.seen = rows.iter().map(|r| self.seen[*r]).collect();
        for layer in &mut self.layers {
            match layer {
                Store::F32(all) => {
                    *all = rows.iter().map(|r| std::mem::take(&mut all[*r])).collect()
                }
                Store::F64(all) => {
                    *all = rows.iter().map(|r| std::mem::take(&mut all[*r])).collect()
                }
                Store::Device(all) => *all = rows.iter().map(|r| all[*r].take()).collect(),
            }
        }
    }
}

fn host<T: crate::kernels::elem::Elem>(
    rows: &mut [[Vec<T>; 2]],
    qkv: &Tensor,
    heads: Heads,
    starts: &[usize],
    visible: Visible,
) -> Result<(Tensor, Tensor)> {
    let d = heads.hidden();
    {
        let x = cpu(qkv)?;
        let x = x.slice::<T>()?;
        for (r, w) in starts.windows(2).enumerate() {
            for t in w[0]..w[1] {
                rows[r][0].extend_from_slice(&x[t * 3 * d + d..t * 3 * d + 2 * d]);
                rows[r][1].extend_from_slice(&x[t * 3 * d + 2 * d..(t + 1) * 3 * d]);
            }
        }
    }
    attention_cached(qkv, rows, starts, heads, visible)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Gpt2Config;
    use crate::gpt2::Gpt2;
    use crate::kernels::precision::master_dtype;
    use crate::{Method, Model};
    use inducer_datasets::batch::Batch;

    /// The logits after the last of `ids`, the first three at once and the rest one by one through
    /// a cache, or all at once without.
    fn after(model: &Model, ids: &[u32], cached: bool) -> Vec<f64> {
        let logits = match cached {
            true => {
                let mut cache = model.cache(1);
                let rows = std::iter::once(&ids[..3]).chain(ids[3..].chunks(1));
                rows.map(|row| {
                    let batch = Batch::pack(&[row.to_vec()], None, None);
                    model.decode(&batch, &mut cache).unwrap()
                })
                .last()
                .unwrap()
            }
            false => {
                let batch = Batch::pack(&[ids.to_vec()], None, None);
                let all = model.logits(&batch).unwrap();
                all.narrow(0, ids.len() - 1, 1).unwrap()
            }
        };
        let logits = logits.to_dtype(DType::F64).unwrap();
        logits.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn decoding_is_recomputation_in_every_type_and_an_early_token_matters() {
        let config: Gpt2Config = serde_json::from_value(serde_json::json!({
            "vocab_size": 17, "n_positions": 16, "n_embd": 12, "n_layer": 2, "n_head": 3, "initializer_range": 0.6
        }))
        .unwrap();
        // products of 12 and 48 terms; in bf16 what is rounded once more may fall to the other side
        for (dtype, bound) in [
            (DType::F64, 1e-12),
            (DType::F32, 1e-5),
            (DType::BF16, 1.0 / 32.0),
        ] {
            let backbone =
                Gpt2::random(config.clone(), 3, master_dtype(dtype), &Device::Cpu).unwrap();
            let mut model = Model::new(backbone, dtype, &Device::Cpu);
            model.attach(&Method::Inducer.paper(), 0, 4).unwrap();
            let ids = [5, 1, 9, 16, 2, 7];
            let (cached, whole) = (after(&model, &ids, true), after(&model, &ids, false));
            let other = after(&model, &[6, 1, 9, 16, 2, 7], false);
            let top = whole.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
            let apart = |a: &[f64], b: &[f64]| {
                let each = a.iter().zip(b).map(|(a, b)| (a - b).abs());
                each.fold(0.0_f64, f64::max) / top
            };
            assert!(apart(&cached, &whole) <= bound, "{dtype:?}");
            assert!(apart(&cached, &other) > 2.0 * bound, "{dtype:?}: control");
        }
    }
}
