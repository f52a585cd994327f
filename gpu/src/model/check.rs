//! Whether a batch fits a model.

use super::Model;
use crate::error::{Error, Result};
use inducer_datasets::batch::Batch;

impl Model {
    /// Checks ids, segments and lengths of a batch.
    pub(super) fn check(&self, batch: &Batch) -> Result<()> {
        let all = self.ids() as u32;
        let types = self.backbone.spec().segment_types.map_or(all, |n| n as u32);
        check_ids("input_ids", &batch.ids, batch.tokens(), all)?;
        if let Some(segments) = &batch.segments {
            check_ids("segment_ids", segments, batch.tokens(), types)?;
        }
        if let Some(positions) = &batch.positions {
            let spec = self.backbone.spec();
            let rows = (spec.positions + spec.first_position) as u32;
            check_ids("position_ids", positions, batch.tokens(), rows)?;
        }
        if batch.longest() > self.longest() {
            return Err(Error::Batch(format!(
                "a row of {} tokens; expected at most {} ({})",
                batch.longest(),
                self.longest(),
                match self.backbone.spec().padding {
                    None => "n_positions less a prefix's offset",
                    Some(_) => "max_position_embeddings less those up to pad_token_id",
                }
            )));
        }
        if batch.offsets.windows(2).any(|w| w[0] >= w[1]) {
            return Err(Error::Batch("input_ids: an empty row".into()));
        }
        Ok(())
    }

    /// Checks the length of the longest row that is decoded.
    pub(super) fn check_decoded(&self, tokens: usize) -> Result<()> {
        match tokens > self.longest() {
            true => Err(Error::Batch(format!(
                "a row of {tokens} tokens while decoding; expected at most {}",
                self.longest()
            ))),
            false => Ok(()),
        }
    }
}

fn check_ids(field: &str, ids: &[u32], tokens: usize, limit: u32) -> Result<()> {
    if ids.len() != tokens {
        let found = ids.len();
        return Err(Error::Batch(format!(
            "{field}: expected {tokens} ids, found {found}"
        )));
    }
    match ids.iter().position(|id| *id >= limit) {
        Some(i) => Err(Error::Batch(format!(
            "{field}: id {} at position {i}; expected ids below {limit} (vocabulary and special \
             tokens, segment types, or positions)",
            ids[i]
        ))),
        None => Ok(()),
    }
}
