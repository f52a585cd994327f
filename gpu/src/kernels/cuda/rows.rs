//! Sums of rows by the kernels of a card. Every sum has a fixed order.

use super::{Arg, Grid, empty, launch, launch_named, suffix, upload};
use crate::error::Result;
use candle_core::{DType, Device, Tensor};
use std::ops::Range;

/// Chunks of rows whose sums the first of two passes makes: enough to fill a card.
const CHUNKS: usize = 128;

/// Rows of a result's sum that one block adds up. A longer list is divided.
const PIECE: usize = 64;

/// How many chunks that many rows are divided into, and the rows of each.
pub(crate) fn chunks(rows: usize) -> (usize, usize) {
    let chunk = rows.div_ceil(CHUNKS).max(32);
    (rows.div_ceil(chunk), chunk)
}

/// Blocks for the sums over chunks of rows of a matrix with so many columns.
pub(crate) fn over_chunks(width: usize, chunks: usize) -> Grid {
    Grid {
        blocks: [width.div_ceil(128), chunks, 1],
        threads: 256,
        // a warp's sums in 256 columns for each of eight warps
        shared: 8 * 256 * 4,
    }
}

/// The sums over chunks [chunks, width] added up: [width].
///
/// # Errors
/// The device refuses.
pub(crate) fn added(partial: &Tensor) -> Result<Tensor> {
    let (count, width) = partial.dims2()?;
    if count == 1 {
        return Ok(partial.reshape(width)?);
    }
    let sums = empty(width, DType::F32, partial.device())?;
    let sizes = [count, 0, width, width, count].map(Arg::U32);
    let tensors = [Arg::In(partial), Arg::Maybe(None), Arg::Out(&sums)];
    let grid = over_chunks(width, 1);
    launch(partial, "sum_rows", grid, &[&tensors[..], &sizes].concat())?;
    Ok(sums)
}

/// Σ over the rows of `x`, or of `x ∘ y`, in some columns of both, in f32.
///
/// # Shapes
/// `x`, `y` [rows, total] → as many entries as there are columns.
///
/// # Errors
/// The device refuses.
pub(crate) fn sum_rows(x: &Tensor, y: Option<&Tensor>, columns: Range<usize>) -> Result<Tensor> {
    let ((rows, total), width) = (x.dims2()?, columns.len());
    let (count, chunk) = chunks(rows);
    let partial = empty((count, width), DType::F32, x.device())?;
    let sizes = [rows, columns.start, width, total, chunk].map(Arg::U32);
    let tensors = [Arg::In(x), Arg::Maybe(y), Arg::Out(&partial)];
    let grid = over_chunks(width, count);
    launch(x, "sum_rows", grid, &[&tensors[..], &sizes].concat())?;
    added(&partial)
}

/// Several lists for kernels to read, in one transfer.
///
/// # Errors
/// No memory.
pub(crate) fn upload_all<const N: usize>(
    lists: [&[u32]; N],
    device: &Device,
) -> Result<[Tensor; N]> {
    let all = upload(&lists.concat(), device)?;
    let mut from = 0;
    let parts = lists.map(|list| {
        from += list.len();
        all.narrow(0, from - list.len(), list.len())
    });
    let mut tensors = [const { None }; N];
    for (place, part) in tensors.iter_mut().zip(parts) {
        *place = Some(part?);
    }
    Ok(tensors.map(|t| t.unwrap_or_else(|| unreachable!("a part for each list"))))
}

/// Sums of rows: which ones (`members`), where each sum's list begins and the last one ends
/// (`starts`), and the row of the result that it is written to (`to`).
#[derive(Default)]
struct Sums {
    members: Vec<u32>,
    starts: Vec<u32>,
    to: Vec<u32>,
}

impl Sums {
    fn push(&mut self, members: impl IntoIterator<Item = u32>, to: u32) {
        self.starts.push(self.members.len() as u32);
        self.members.extend(members);
        self.to.push(to);
    }

    /// Writes the sums of the rows of `x` to their rows of `y`.
    fn run(mut self, x: &Tensor, y: &Tensor) -> Result<()> {
        if self.to.is_empty() {
            return Ok(());
        }
        self.starts.push(self.members.len() as u32);
        let lists = [&self.members[..], &self.starts, &self.to];
        let [members, starts, to] = upload_all(lists, x.device())?;
        let name = format!("sum_members_{}_{}", suffix(x.dtype()), suffix(y.dtype()));
        let (count, width) = (self.to.len(), x.dim(1)?);
        let args = [
            Arg::In(x),
            Arg::In(&members),
            Arg::In(&starts),
            Arg::In(&to),
            Arg::Out(y),
            Arg::U32(width),
        ];
        launch_named(x.device(), &name, Grid::blocks(count, 256), &args)
    }
}

/// The sums of the rows of `x` that go to the same row of the result, in the order of `pairs`; the
/// other rows are zero.
///
/// # Shapes
/// `x` [n, d], pairs of a row of the result and one of `x` → [rows, d] of this type.
///
/// # Errors
/// The device refuses.
pub(crate) fn scatter(
    x: &Tensor,
    mut pairs: Vec<(u32, u32)>,
    rows: usize,
    dtype: DType,
) -> Result<Tensor> {
    pairs.sort_by_key(|(row, _)| *row);
    // a long list is added up by several blocks, and their sums by another one
    let (mut whole, mut pieces, mut long) = (Sums::default(), Sums::default(), Sums::default());
    for list in pairs.chunk_by(|a, b| a.0 == b.0) {
        let (row, first) = (list[0].0, pieces.to.len() as u32);
        if list.len() <= PIECE {
            whole.push(list.iter().map(|p| p.1), row);
            continue;
        }
        for piece in list.chunks(PIECE) {
            let to = pieces.to.len() as u32;
            pieces.push(piece.iter().map(|p| p.1), to);
        }
        long.push(first..pieces.to.len() as u32, row);
    }
    let width = x.dim(1)?;
    let y = Tensor::zeros((rows, width), dtype, x.device())?;
    whole.run(x, &y)?;
    if !long.to.is_empty() {
        let partial = empty((pieces.to.len(), width), DType::F32, x.device())?;
        pieces.run(x, &partial)?;
        long.run(&partial, &y)?;
    }
    Ok(y)
}
