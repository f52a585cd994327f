//! What a card does with all trained tensors at once (`optimiser.cu`): the norm of their gradients
//! in two launches, a step of AdamW in one, and in one their copies in another type. Nothing is
//! read back in between.

use super::cuda::{self, Arg, Grid};
use crate::error::Result;
use candle_core::{DType, Device, Tensor};

/// Elements of a tensor that a block of threads has.
const CHUNK: usize = 4096;

/// A tensor in a step of AdamW.
pub(crate) struct Trained {
    /// It, and its first and second moment. They are changed.
    pub(crate) weight: Tensor,
    pub(crate) moments: [Tensor; 2],
    /// 1 − lr · decay.
    pub(crate) shrink: f64,
    /// The decay that is part of the gradient.
    pub(crate) decay: f64,
}

/// The numbers of a step of AdamW that all tensors share.
pub(crate) struct Rates {
    pub(crate) betas: [f64; 2],
    /// lr / (1 − β₁ᵗ).
    pub(crate) rate: f64,
    /// 1 − β₂ᵗ.
    pub(crate) c2: f64,
    pub(crate) eps: f64,
}

/// Gradients, and what is trained by them, where a kernel finds them.
pub(crate) struct Table {
    cells: Tensor,
    columns: usize,
    entries: usize,
    chunks: usize,
    /// The table has but addresses; here the tensors are kept.
    _tensors: (Vec<Tensor>, Vec<Trained>),
}

/// What a pass over the gradients found, on the device: their norm, the factor that clips them, and
/// whether a step may be taken; then the losses.
pub(crate) struct Found(Tensor);

/// Copies of contiguous tensors of one type, f32 or bf16, in the other one.
///
/// # Errors
/// A tensor of another device; no memory.
pub(crate) fn converted(tensors: &[Tensor], to: DType) -> Result<Vec<Tensor>> {
    let Some(first) = tensors.first() else {
        return Ok(Vec::new());
    };
    let (mut cells, mut chunks, mut copies) = (Vec::new(), 0, Vec::new());
    for t in tensors {
        copies.push(cuda::empty(t.shape(), to, t.device())?);
    }
    for (t, copy) in tensors.iter().zip(&copies) {
        let n = t.elem_count();
        cells.extend([Arg::In(t), Arg::U32(n), Arg::U32(chunks), Arg::Out(copy)]);
        chunks += n.div_ceil(CHUNK);
    }
    let cells = cuda::table(&cells, first.device())?;
    let args = [Arg::In(&cells), Arg::U32(tensors.len()), Arg::U32(4)];
    let grid = Grid::blocks(chunks, 256);
    let kinds = [first, &copies[0]];
    cuda::launch_pair(kinds, "convert", grid, &args)?;
    Ok(copies)
}

/// Whether the kernels apply to these tensors, of which there is at least one.
pub(crate) fn runs<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> bool {
    let mut tensors = tensors.into_iter().peekable();
    tensors.peek().is_some() && tensors.all(|t| cuda::runs(t) && t.dtype() == DType::F32)
}

impl Table {
    /// A table of gradients, at least one, and of what the first of them train.
    ///
    /// # Errors
    /// A tensor of another device; no memory.
    pub(crate) fn new<'a>(
        gradients: impl IntoIterator<Item = &'a Tensor>,
        trained: Vec<Trained>,
    ) -> Result<Self> {
        let gradients: Vec<Tensor> = gradients
            .into_iter()
            .map(|g| g.to_dtype(DType::F32)?.contiguous())
            .collect::<candle_core::Result<_>>()?;
        let (mut cells, mut chunks) = (Vec::new(), 0);
        for (i, g) in gradients.iter().enumerate() {
            let n = g.elem_count();
            cells.extend([Arg::In(g), Arg::U32(n), Arg::U32(chunks)]);
            chunks += n.div_ceil(CHUNK);
            match trained.get(i) {
                Some(t) => cells.extend([
                    Arg::F32(t.shrink),
                    Arg::F32(t.decay),
                    Arg::Out(&t.weight),
                    Arg::Out(&t.moments[0]),
                    Arg::Out(&t.moments[1]),
                ]),
                None => cells.extend([Arg::Maybe(None); 5]),
            }
        }
        let entries = gradients.len();
        let device = gradients.first().map_or(&Device::Cpu, Tensor::device);
        Ok(Self {
            columns: cells.len() / entries.max(1),
            cells: cuda::table(&cells, device)?,
            entries,
            chunks,
            _tensors: (gradients, trained),
        })
    }

    /// Norm, factor and whether a step may be taken with these losses.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn measure(&self, losses: &[&Tensor], limit: Option<f64>) -> Result<Found> {
        let device = self.cells.device();
        let parts = cuda::empty(self.chunks, DType::F32, device)?;
        let args = [
            Arg::In(&self.cells),
            Arg::Out(&parts),
            Arg::U32(self.entries),
            Arg::U32(self.columns),
        ];
        let grid = Grid::blocks(self.chunks, 256).sharing(128);
        cuda::launch_named(device, "gradient_norm_parts", grid, &args)?;
        let losses = match losses {
            [] => None,
            [one] => Some(one.reshape(1)?),
            all => Some(Tensor::stack(all, 0)?),
        };
        let count = losses.as_ref().map_or(0, Tensor::elem_count);
        let state = cuda::empty(3 + count, DType::F32, device)?;
        let args = [
            Arg::In(&parts),
            Arg::Maybe(losses.as_ref()),
            Arg::Out(&state),
            Arg::U32(self.chunks),
            Arg::U32(count),
            Arg::F32(limit.unwrap_or(f64::INFINITY)),
        ];
        let threads = self.chunks.next_power_of_two().clamp(32, 1024);
        let grid = Grid::blocks(1, threads).sharing(8 * threads);
        cuda::launch_named(device, "gradient_norm", grid, &args)?;
        Ok(Found(state))
    }

    /// A step of AdamW, if it may be taken.
    ///
    /// # Errors
    /// The device refuses.
    pub(crate) fn step(&self, rates: &Rates, found: &Found) -> Result<()> {
        let [beta1, beta2] = rates.betas;
        let args = [
            Arg::In(&self.cells),
            Arg::In(&found.0),
            Arg::U32(self.entries),
            Arg::U32(self.columns),
            Arg::F32(beta1),
            Arg::F32(1.0 - beta1),
            Arg::F32(beta2),
            Arg::F32(1.0 - beta2),
            Arg::F32(rates.rate),
            Arg::F32(rates.c2),
            Arg::F32(rates.eps),
        ];
        let grid = Grid::blocks(self.chunks, 256);
        cuda::launch_named(self.cells.device(), "adamw", grid, &args)
    }

    /// What stands for a pass over the gradients where their factor is known.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn given(&self, factor: f64) -> Result<Found> {
        let state = [f32::NAN, factor as f32, 1.0];
        Ok(Found(Tensor::from_slice(&state, 3, self.cells.device())?))
    }
}

impl Found {
    /// The factor that clips the gradients, as a scalar on the device.
    ///
    /// # Errors
    /// A candle error.
    pub(crate) fn factor(&self) -> Result<Tensor> {
        Ok(self.0.get(1)?)
    }

    /// The norm and the losses: the one transfer.
    ///
    /// # Errors
    /// The device fails.
    pub(crate) fn read(&self) -> Result<(f64, Vec<f64>)> {
        let all: Vec<f64> = self
            .0
            .to_vec1::<f32>()?
            .into_iter()
            .map(f64::from)
            .collect();
        Ok((all[0], all[3..].to_vec()))
    }
}
