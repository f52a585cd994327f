//! Keys and values of the tokens decoded so far, row by row and layer by layer.

use crate::error::Result;
use crate::kernels::elem::Elem;
use crate::kernels::{fused_in, held_in, with_slices};
use crate::ops::attention::{
    CardCache, Heads, Rows, attention_cached, attention_cached_tensors, on_card,
};
use candle_core::{DType, Device, Tensor};

/// Keys and values of each row in one layer.
trait Layer: Send + Sync {
    /// Adds those of the new tokens, and attends.
    fn attend(&mut self, qkv: &Tensor, rows: Rows<'_>) -> Result<(Tensor, Tensor)>;

    /// Keeps only the rows at these indices.
    fn keep(&mut self, rows: &[usize]);
}

/// The cache of a batch of rows.
pub struct KvCache {
    layers: Vec<Box<dyn Layer>>,
    /// Number of tokens of each row.
    pub lengths: Vec<usize>,
}

impl KvCache {
    /// An empty cache for `rows` rows of a model that computes in `dtype` on `device`.
    pub fn new(layers: usize, rows: usize, heads: Heads, dtype: DType, device: &Device) -> Self {
        let held = held_in(dtype, device);
        let layer = |_| -> Box<dyn Layer> {
            match held {
                _ if on_card(held, device, heads) => Box::new(CardCache::new(rows)),
                DType::F64 if fused_in(held, device) => {
                    Box::new(vec![<[Vec<f64>; 2]>::default(); rows])
                }
                DType::F32 if fused_in(held, device) => {
                    Box::new(vec![<[Vec<f32>; 2]>::default(); rows])
                }
                _ => Box::new(vec![None::<[Tensor; 2]>; rows]),
            }
        };
        Self {
            layers: (0..layers).map(layer).collect(),
            lengths: vec![0; rows],
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
        rows: Rows<'_>,
    ) -> Result<(Tensor, Tensor)> {
        self.layers[layer].attend(qkv, rows)
    }

    /// Keeps only the rows at these indices.
    pub fn keep(&mut self, rows: &[usize]) {
        self.lengths = rows.iter().map(|r| self.lengths[*r]).collect();
        self.layers.iter_mut().for_each(|layer| layer.keep(rows));
    }
}

/// Those of `all` at these indices.
fn kept<R: Default>(all: &mut [R], rows: &[usize]) -> Vec<R> {
    rows.iter().map(|r| std::mem::take(&mut all[*r])).collect()
}

/// On a card, or as if there were one.
impl Layer for CardCache {
    fn attend(&mut self, qkv: &Tensor, rows: Rows<'_>) -> Result<(Tensor, Tensor)> {
        let [o, lse] = CardCache::attend(self, qkv, rows)?;
        Ok((o, lse))
    }

    fn keep(&mut self, rows: &[usize]) {
        CardCache::keep(self, rows);
    }
}

/// On a device without kernels of its own: [1, H, seen, p] each, none before the first token.
impl Layer for Vec<Option<[Tensor; 2]>> {
    fn attend(&mut self, qkv: &Tensor, rows: Rows<'_>) -> Result<(Tensor, Tensor)> {
        attention_cached_tensors(qkv, self, rows)
    }

    fn keep(&mut self, rows: &[usize]) {
        *self = kept(self, rows);
    }
}

/// On the CPU: [seen, d] each, row by row.
impl<T: Elem> Layer for Vec<[Vec<T>; 2]> {
    fn attend(&mut self, qkv: &Tensor, rows: Rows<'_>) -> Result<(Tensor, Tensor)> {
        let d = rows.heads.hidden();
        with_slices([qkv], |[x]: [&[T]; 1]| {
            for ([keys, values], w) in self.iter_mut().zip(rows.offsets.windows(2)) {
                for token in x[w[0] * 3 * d..w[1] * 3 * d].chunks_exact(3 * d) {
                    keys.extend_from_slice(&token[d..2 * d]);
                    values.extend_from_slice(&token[2 * d..]);
                }
            }
        })?;
        attention_cached(qkv, self, rows)
    }

    fn keep(&mut self, rows: &[usize]) {
        *self = kept(self, rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::Gpt2;
    use crate::config::Gpt2Config;
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
            "vocab_size": 17, "n_positions": 16, "n_embd": 12, "n_layer": 2, "n_head": 3,
            "initializer_range": 0.6
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
