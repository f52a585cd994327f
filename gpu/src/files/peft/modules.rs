//! The backbone's own tensors in a file of PEFT's: heads, biases, embeddings, whatever a
//! `modules_to_save` names. PEFT loads a tensor that has the name of one of the model's, so each of
//! those counts; a module with LoRA on it is wrapped, and its own are below `base_layer`.
//!
//! ```text
//! embeddings  saved as a module, wte is the input alone: the head stays what it was, if
//!             `ensure_weight_tying` does not tie the copies. Otherwise a tied head follows wte.
//!             Rows after the backbone's vocabulary are the added tokens'.
//! ```

use super::Read;
use super::matching::{is_saved, to_save};
use crate::adapter::{AdapterConfig, Attached};
use crate::backbone::{Backbone, Gpt2};
use crate::config::BackboneConfig;
use crate::counts::Shape;
use crate::error::{Error, Result};
use crate::files::adapter::PEFT_PREFIX;
use crate::files::safetensors::{Weights, same_name};
use crate::tape::Parameter;
use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

const WTE: &str = "transformer.wte.weight";

/// The tensors of a method and, beside them, the backbone's own in the file, which `config` then
/// names; nothing else may be in it.
pub(super) fn read(
    path: &Path,
    whole: &Value,
    backbone: &dyn Backbone,
    weights: &Weights,
    mut read: Read,
    config: &mut AdapterConfig,
    (dtype, device): (DType, &Device),
) -> Result<BTreeMap<String, Tensor>> {
    let saved = to_save(path, whole)?;
    let prefix = match config.prefix() {
        Some(_) => "base_model.",
        None => PEFT_PREFIX,
    };
    let own = backbone.own_parameters().len();
    for (i, p) in backbone.parameters().into_iter().enumerate() {
        if [WTE, Gpt2::LM_HEAD].contains(&p.name.as_str()) {
            continue;
        }
        let module = p.name.rsplit_once('.').map_or("", |(module, _)| module);
        let kind = p.name.strip_prefix(module).unwrap_or_default();
        let there = match read.wrapped.iter().any(|key| key == module) {
            true => format!("{prefix}{module}.base_layer{kind}"),
            false => format!("{prefix}{}", p.name),
        };
        let (is_there, is_head) = (weights.shape(&there)?.is_some(), i >= own);
        if !is_there && !is_saved(&saved, module) {
            if is_head {
                read.tensors
                    .insert(p.name.clone(), p.tensor.to_dtype(dtype)?.to_device(device)?);
            }
            continue;
        }
        let shape = (there.clone(), p.tensor.dims().to_vec());
        let found = weights
            .read(&[shape], same_name, dtype, device)?
            .remove(&there);
        read.taken.insert(there);
        if let Some(found) = found {
            read.tensors.insert(p.name.clone(), found);
            if !is_head {
                config.tuned.push(p.name.clone());
            }
        }
    }
    if let BackboneConfig::Gpt2(c) = backbone.config() {
        let embeddings = Embeddings {
            path,
            backbone,
            weights,
            prefix,
            input_is_saved: is_saved(&saved, "transformer.wte"),
            head_is_saved: is_saved(&saved, "lm_head"),
            ties: whole["ensure_weight_tying"] == true
                && saved.iter().any(|n| {
                    let last = n.rsplit('.').next();
                    last == Some("lm_head") || last == Some("embed_tokens")
                }),
            tied: c.tie_word_embeddings,
        };
        embeddings.read(&mut read, config, (dtype, device))?;
    }
    let known: Vec<Shape> = read.taken.iter().map(|n| (n.clone(), Vec::new())).collect();
    // copies that PEFT keeps and does not use, and GPT-2's mask buffers
    weights.refuse_others(&known, same_name, |name| {
        name.contains(".original_module.")
            || name.contains(".modules_to_save.")
            || name.ends_with(".attn.bias")
            || name.ends_with(".attn.masked_bias")
    })?;
    Ok(read.tensors)
}

struct Embeddings<'a> {
    path: &'a Path,
    backbone: &'a dyn Backbone,
    weights: &'a Weights,
    prefix: &'static str,
    input_is_saved: bool,
    head_is_saved: bool,
    ties: bool,
    tied: bool,
}

impl Embeddings<'_> {
    /// A table in the file, with at least the backbone's rows.
    fn table(
        &self,
        name: &str,
        needed: bool,
        read: &mut Read,
        (dtype, device): (DType, &Device),
    ) -> Result<Option<Tensor>> {
        let there = format!("{}{name}", self.prefix);
        let spec = self.backbone.spec();
        let rows = match self.weights.shape(&there)? {
            None if !needed => return Ok(None),
            found => found.and_then(|s| s.first().copied()).unwrap_or(0),
        };
        let shape = (there.clone(), vec![rows.max(spec.vocabulary), spec.hidden]);
        let found = self
            .weights
            .read(&[shape], same_name, dtype, device)?
            .remove(&there);
        read.taken.insert(there);
        Ok(found)
    }

    fn read(
        &self,
        read: &mut Read,
        config: &mut AdapterConfig,
        as_type: (DType, &Device),
    ) -> Result<()> {
        let known = self.backbone.spec().vocabulary;
        let needed = self.input_is_saved || self.ties;
        let input = self.table(WTE, needed, read, as_type)?;
        let head = self.table(
            Gpt2::LM_HEAD,
            self.head_is_saved && !self.ties,
            read,
            as_type,
        )?;
        let own = |p: &Parameter| p.tensor.to_dtype(as_type.0)?.to_device(as_type.1);
        let base = own(self.backbone.token_embeddings())?;
        let base_head = own(self.backbone.output_embeddings())?;
        let saved_apart = (self.input_is_saved || self.head_is_saved) && !self.ties;
        let wrong = |message: &str| Err(Error::config(self.path, "modules_to_save", message));
        let head = match (&input, head) {
            (Some(input), Some(head)) if self.tied && !saved_apart && !equal(input, &head)? => {
                let message = "expected wte.weight and lm_head.weight to be equal, as the head is \
                               tied and neither is saved as a module";
                return wrong(message);
            }
            (_, Some(head)) => head,
            (Some(input), None) if self.tied && !(self.input_is_saved && saved_apart) => {
                input.clone()
            }
            (_, None) => base_head.clone(),
        };
        let input = input.unwrap_or_else(|| base.clone());
        let rows = input.dim(0)?;
        if head.dim(0)? != rows {
            let message = format!(
                "wte has {rows} rows and the head {}: expected as many, so save both or tie them",
                head.dim(0)?
            );
            return wrong(&message);
        }
        let (first, first_head) = (input.narrow(0, 0, known)?, head.narrow(0, 0, known)?);
        if rows > known {
            let added = |t: &Tensor| t.narrow(0, known, rows - known)?.contiguous();
            let (added, of_head) = (added(&input)?, added(&head)?);
            if !equal(&added, &of_head)? {
                return wrong("expected added rows of wte and lm_head that are equal");
            }
            read.tensors.insert(Attached::SPECIAL_TOKENS.into(), added);
        }
        if !equal(&first, &base)? {
            read.tensors.insert(WTE.into(), first.contiguous()?);
            config.tuned.push(WTE.into());
        }
        let follows = if self.tied { &first } else { &base_head };
        if !equal(&first_head, follows)? {
            read.tensors
                .insert(Gpt2::LM_HEAD.into(), first_head.contiguous()?);
            config.tuned.push(Gpt2::LM_HEAD.into());
        }
        Ok(())
    }
}

fn equal(a: &Tensor, b: &Tensor) -> Result<bool> {
    if a.dims() != b.dims() {
        return Ok(false);
    }
    let apart = (a - b)?.abs()?.max_all()?.to_dtype(DType::F64)?;
    Ok(apart.to_scalar::<f64>()? == 0.0)
}
