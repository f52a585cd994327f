//! The loss in candle's tensor operations, on any device: loss and gradients chunk by chunk.

use super::{Head, Job, LossAndGradients, apart};
use crate::error::Result;
use crate::kernels::precision::{cast_like, master_dtype, upcast};
use candle_core::{D, DType, Device, Tensor};

/// Positions whose logits exist at the same time: more than on slices, since a GPU wants more at a
/// time (206 MB of logits for GPT-2's vocabulary).
const CHUNK: usize = 1024;

/// Logits [rows, vocabulary + added].
pub(super) fn logits(hidden: &Tensor, tables: &[&Tensor]) -> candle_core::Result<Tensor> {
    let parts = tables.iter().map(|t| hidden.matmul(&t.t()?));
    Tensor::cat(&parts.collect::<candle_core::Result<Vec<_>>>()?, 1)
}

pub(super) fn run(
    hidden: &Tensor,
    head: &Head,
    job: &Job<'_>,
    wanted: &[bool],
) -> Result<LossAndGradients> {
    let (device, tables) = (hidden.device(), head.tables());
    let mut inputs = vec![hidden];
    inputs.extend(&tables);
    let mut grads: Vec<Option<Tensor>> = inputs
        .iter()
        .zip(wanted)
        .map(|(t, wanted)| wanted.then(|| upcast(t)?.zeros_like()).transpose())
        .collect::<candle_core::Result<_>>()?;
    let mut loss = 0.0;
    for chunk in job.targets.chunks(CHUNK) {
        let (rows, labels) = apart(chunk, device)?;
        let x = cast_like(&hidden.index_select(&rows, 0)?, tables[0])?;
        let z = upcast(&logits(&x, &tables)?)?;
        let wanted = grads.iter().any(Option::is_some);
        let (sum, dz) = job.chunk_loss(&z, &labels, wanted)?;
        loss += sum;
        if let Some(dz) = dz {
            add_gradients(&mut grads, &cast_like(&dz, &x)?, &x, &rows, &tables)?;
        }
    }
    let grads = inputs
        .iter()
        .zip(grads)
        .map(|(t, g)| g.map(|g| cast_like(&g, t)).transpose())
        .collect::<candle_core::Result<_>>()?;
    let loss = Tensor::new(loss / job.targets.len() as f64, &Device::Cpu)?.to_device(device)?;
    Ok((loss.to_dtype(master_dtype(hidden.dtype()))?, grads))
}

impl Job<'_> {
    /// The sum of a chunk's losses and, if wanted, the gradient of the mean over all targets by
    /// the logits: (softmax − ε/V − (1 − ε) at the label) / count.
    fn chunk_loss(
        &self,
        z: &Tensor,
        labels: &Tensor,
        wanted: bool,
    ) -> candle_core::Result<(f64, Option<Tensor>)> {
        let smoothing = self.smoothing;
        let top = z.max_keepdim(D::Minus1)?;
        let e = z.broadcast_sub(&top)?.exp()?;
        let total = e.sum_keepdim(D::Minus1)?;
        let log = (total.log()? + top)?;
        let nll = (&log - z.gather(labels, 1)?)?;
        let uniform = (log - z.mean_keepdim(D::Minus1)?)?;
        let each = ((nll * (1.0 - smoothing))? + (uniform * smoothing)?)?;
        let sum = each.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        if !wanted {
            return Ok((sum, None));
        }
        let (n, width) = z.dims2()?;
        let spread = (e.broadcast_div(&total)? - smoothing / width as f64)?;
        let at_label = Tensor::full(smoothing - 1.0, (n, 1), z.device())?;
        let at_label = cast_like(&at_label, &spread)?;
        let dz = spread.scatter_add(labels, &at_label, 1)? / self.targets.len() as f64;
        Ok((sum, Some(dz?)))
    }
}

/// Adds a chunk's gradients by hidden states and tables from those by its logits.
fn add_gradients(
    grads: &mut [Option<Tensor>],
    dz: &Tensor,
    x: &Tensor,
    rows: &Tensor,
    tables: &[&Tensor],
) -> candle_core::Result<()> {
    let mut from = 0;
    for (i, table) in tables.iter().enumerate() {
        let of_table = dz.narrow(1, from, table.dim(0)?)?.contiguous()?;
        from += table.dim(0)?;
        if let Some(dh) = grads[0].take() {
            let back = upcast(&of_table.matmul(table)?)?;
            grads[0] = Some(dh.index_add(rows, &back, 0)?);
        }
        if let Some(sum) = grads[i + 1].take() {
            grads[i + 1] = Some((sum + upcast(&of_table.t()?.matmul(x)?)?)?);
        }
    }
    Ok(())
}
