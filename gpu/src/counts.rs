//! Numbers of parameters and names of tensors, from the declarations that training runs on.

use crate::adapter::{AdapterConfig, Attached};
use crate::backbone;
use crate::config::BackboneConfig;
use crate::error::Result;
use crate::tape::Parameter;
use crate::tensors::{Source, Tensors as _};

/// Name and shape.
pub type Shape = (String, Vec<usize>);

/// Name and shape of a parameter.
pub fn shape(parameter: &Parameter) -> Shape {
    (parameter.name.clone(), parameter.tensor.dims().to_vec())
}

/// Name and shape of each of these.
pub fn shapes<'a>(parameters: impl IntoIterator<Item = &'a Parameter>) -> Vec<Shape> {
    parameters.into_iter().map(shape).collect()
}

fn total(shapes: &[Shape]) -> usize {
    let sizes = shapes.iter().map(|(_, s)| s.iter().product::<usize>());
    sizes.sum()
}

/// The tensors of a method that come in addition to the backbone's, and those of the backbone that
/// it trains.
fn declared(config: &AdapterConfig, backbone: &BackboneConfig) -> Result<Vec<Shape>> {
    let outline = Source::outline();
    let parts = Attached::declare(config, &backbone.spec(), 0, &outline.root())?;
    let mut all = shapes(parts.parameters());
    if config.tunes_any() {
        let mut backbone = backbone::declare(backbone, &outline.root())?;
        if config.unties() {
            backbone.untie();
        }
        let own = backbone.own_parameters();
        all.extend(own.into_iter().filter(|p| config.tunes(p)).map(shape));
    }
    Ok(all)
}

/// The tensors of `adapter_model.safetensors`, without the special tokens' rows; a classification
/// head's first.
///
/// # Errors
/// A candle error.
pub fn stored_tensors(config: &AdapterConfig, backbone: &BackboneConfig) -> Result<Vec<Shape>> {
    let outline = Source::outline();
    let head = backbone::declare_head(backbone, &outline.root())?;
    let mut all = shapes(head.parameters());
    all.extend(declared(&config.stored(), backbone)?);
    Ok(all)
}

/// An outline has no elements, so that nothing can fail.
fn count(shapes: Result<Vec<Shape>>) -> usize {
    shapes.map_or(0, |shapes| total(&shapes))
}

/// Number of a backbone's own parameters: a tied head once, a classification head not.
pub fn of_backbone(backbone: impl Into<BackboneConfig>) -> usize {
    let outline = Source::outline();
    let backbone = backbone::declare(&backbone.into(), &outline.root());
    count(backbone.map(|b| shapes(b.own_parameters())))
}

/// Number of stored parameters. The special tokens' rows and a classification head, which go with
/// every method, are not counted, as in the paper's tables.
pub fn stored(config: &AdapterConfig, backbone: impl Into<BackboneConfig>) -> usize {
    trained(&config.stored(), backbone)
}

/// Number of trained parameters, counted as [`stored`] counts: a reparametrised prefix through its
/// network.
pub fn trained(config: &AdapterConfig, backbone: impl Into<BackboneConfig>) -> usize {
    count(declared(config, &backbone.into()))
}
