//! Which layers and heads a page carries, and how much it may carry.

use super::numbers::characters;
use super::{Input, Request};
use anyhow::{Result, ensure};
use inducer_gpu::AdapterConfig;
use inducer_gpu::config::Spec;
use serde::Serialize;

/// Most characters of an adapter's numbers: GPT-2 small with 64 tokens and a prefix of 108 makes
/// 5.6 million, and a page of them stays under 6 MB.
const MOST: usize = 5_650_000;

/// Layers and heads whose queries and keys are carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chosen {
    /// From 0.
    pub layers: Vec<usize>,
    /// From 0.
    pub heads: Vec<usize>,
}

impl Chosen {
    /// Those of a request, all where it names none.
    ///
    /// # Errors
    /// A layer or a head that the backbone has not; more numbers than a page may carry.
    pub(super) fn of(request: &Request, spec: &Spec, input: &Input) -> Result<Self> {
        let mut chosen = Self {
            layers: places("--layers", &request.layers, spec.layers)?,
            heads: places("--heads", &request.heads, spec.heads.count)?,
        };
        let tokens = input.tokens.len();
        if request.thin {
            let all = chosen.layers.clone();
            let fits = |chosen: &Self| -> Result<bool> {
                for adapter in &request.adapters {
                    let config = crate::inference::parts(Some(adapter), &request.backbone)?;
                    if chosen.fits(&config, spec, tokens).is_err() {
                        return Ok(false);
                    }
                }
                Ok(true)
            };
            while chosen.layers.len() > 1 && !fits(&chosen)? {
                let fewer = chosen.layers.len() - 1;
                chosen.layers = crate::run::evenly(&all, fewer).copied().collect();
            }
        }
        let longest = |dir: &std::path::PathBuf| -> Result<usize> {
            let config = crate::inference::parts(Some(dir), &request.backbone)?;
            chosen.fits(&config, spec, tokens)?;
            Ok(spec.positions.saturating_sub(config.position_offset()))
        };
        for adapter in &request.adapters {
            let longest = longest(adapter)?;
            ensure!(
                tokens <= longest,
                "the text has {tokens} tokens; expected at most {longest}: the backbone has {} \
                 positions{}",
                spec.positions,
                match spec.positions - longest {
                    0 => String::new(),
                    offset => format!(" and the prefix takes {offset}"),
                }
            );
        }
        Ok(chosen)
    }

    /// Whether an adapter's numbers may all be carried.
    fn fits(&self, config: &AdapterConfig, spec: &Spec, tokens: usize) -> Result<()> {
        let added = match config.prefix() {
            Some(prefix) => prefix.length,
            None => tokens,
        };
        let one = self.heads.len() * characters(2 * spec.heads.width * (2 * tokens + added));
        let all = 2 * spec.layers * spec.heads.count * characters(4 * tokens);
        let found = one * self.layers.len() + all;
        let fit = MOST.saturating_sub(all) / one.max(1);
        ensure!(
            found <= MOST,
            "{tokens} tokens in {} layers and {} heads make {:.1} MB of numbers, more than a page \
             carries ({:.2}); expected a shorter text, or {}",
            self.layers.len(),
            self.heads.len(),
            found as f64 / 1e6,
            MOST as f64 / 1e6,
            match fit {
                0 => "fewer --layers and --heads".into(),
                n => format!("at most {n} of the layers (as in --layers 1-{n}), or fewer --heads"),
            }
        );
        Ok(())
    }
}

/// Numbers from 1 as places from 0, in order; all of `count` where none are given.
fn places(option: &str, given: &[usize], count: usize) -> Result<Vec<usize>> {
    if given.is_empty() {
        return Ok((0..count).collect());
    }
    let mut places = Vec::new();
    for number in given {
        ensure!(
            (1..=count).contains(number),
            "{option} {number}: expected a number from 1 to {count}"
        );
        places.push(number - 1);
    }
    places.sort_unstable();
    places.dedup();
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use inducer_gpu::{BackboneConfig, Gpt2Config, Method};

    #[test]
    fn gpt2_small_with_64_tokens_fits_under_every_method_and_a_longer_text_in_fewer_layers() {
        let backbone = BackboneConfig::Gpt2(Gpt2Config::small());
        let spec = backbone.spec();
        let whole = Chosen {
            layers: (0..12).collect(),
            heads: (0..12).collect(),
        };
        for method in Method::ALL {
            whole.fits(&method.on(&backbone), &spec, 64).unwrap();
        }
        let inducer = Method::Inducer.on(&backbone);
        let said = whole.fits(&inducer, &spec, 200).unwrap_err().to_string();
        assert!(
            said.contains("at most 4 of the layers (as in --layers 1-4)"),
            "{said}"
        );
        let part = Chosen {
            layers: (0..4).collect(),
            ..whole.clone()
        };
        part.fits(&inducer, &spec, 200).unwrap();
        let more = Chosen {
            layers: (0..5).collect(),
            ..whole
        };
        assert!(more.fits(&inducer, &spec, 200).is_err());
    }

    #[test]
    fn layers_and_heads_are_numbered_from_one_and_stand_once() {
        assert_eq!(places("--layers", &[], 3).unwrap(), [0, 1, 2]);
        assert_eq!(places("--layers", &[3, 1, 3], 3).unwrap(), [0, 2]);
        for wrong in [0, 4] {
            let said = places("--heads", &[wrong], 3).unwrap_err().to_string();
            assert_eq!(
                said,
                format!("--heads {wrong}: expected a number from 1 to 3")
            );
        }
    }
}
