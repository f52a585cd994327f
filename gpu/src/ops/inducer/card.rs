//! The kernels of a card for operations with a bottleneck (`kernels/cuda/bottleneck.cuh`), and for
//! those on the vectors of heads.

use super::Bottleneck;
use crate::error::Result;
use crate::kernels::cuda::{self, Arg, Grid};
use crate::kernels::precision::cast_like;
use crate::ops::attention::Heads;
use crate::ops::driver::Gradient;
use candle_core::{DType, Tensor};

/// Tokens of a block at a time.
const TOKENS: usize = 64;
/// Hidden units of a warp at a time, and those whose weights' gradients a block has.
const UNITS: usize = 16;
const CHUNK: usize = 32;
/// Bytes of shared memory that any card of ours lends a block.
const SHARED: usize = 96 << 10;
/// Blocks among which a pass over all tokens is divided at least, where there are as many.
const BLOCKS: usize = 1024;

/// What of a bottleneck an operation reads.
#[derive(Clone, Copy)]
pub(super) struct Reads {
    /// W₁.
    pub(super) down: bool,
    /// W₂, whose last row is the bias.
    pub(super) up: bool,
}

impl Reads {
    /// Rows of its matrices in the kernels.
    fn units(self, r: usize) -> usize {
        r + usize::from(self.up)
    }

    fn matrices(self) -> usize {
        usize::from(self.down) + usize::from(self.up)
    }
}

impl Bottleneck {
    /// Whether there are kernels for heads of this width: those for 64 serve narrower ones too.
    pub(super) fn suits_card(&self) -> bool {
        self.heads.width <= 128
    }

    /// The width that a kernel pads heads to.
    fn padded(&self) -> usize {
        if self.heads.width <= 64 { 64 } else { 128 }
    }

    /// Bytes between the rows of a matrix of this width in shared memory.
    fn pitch(width: usize, dtype: DType) -> usize {
        width * dtype.size_in_bytes() + 16
    }

    fn args(&self) -> [Arg<'static>; 5] {
        let Heads { count, width } = self.heads;
        [self.tokens, count, width, self.r, self.total].map(Arg::U32)
    }

    fn launch(&self, like: &Tensor, name: &str, grid: Grid, args: &[&[Arg<'_>]]) -> Result<()> {
        let name = format!("{name}_{}", self.padded());
        cuda::launch(like, &name, grid, &args.concat())
    }

    /// Runs a kernel over tiles of tokens. After `args` it is given the sizes, and how many hidden
    /// units a block holds at a time; then `last`.
    pub(super) fn over_tokens(
        &self,
        like: &Tensor,
        name: &str,
        reads: Reads,
        args: &[Arg<'_>],
        last: &[Arg<'_>],
    ) -> Result<()> {
        let pitch = Self::pitch(self.padded(), like.dtype());
        let room = (SHARED - TOKENS * pitch) / (reads.matrices() * pitch);
        let all = reads.units(self.r).next_multiple_of(UNITS);
        let held = all.min(room / UNITS * UNITS);
        // two tiles a block: it loads the weights once for both
        let grid = Grid {
            blocks: [self.tokens.div_ceil(2 * TOKENS), self.heads.count, 1],
            threads: 128,
            shared: (TOKENS + reads.matrices() * held) * pitch,
        };
        let args = [args, &self.args(), &[Arg::U32(held)], last];
        self.launch(like, name, grid, &args)
    }

    /// Gradients of weights, summed over all tokens: those of W₁ and b₁, of W₂ and b₂, as far as
    /// the operation has them, in f32. The kernel is given the blocks' sums and the
    /// sizes after `args`; then `last`.
    pub(super) fn weights(
        &self,
        like: &Tensor,
        name: &str,
        [given, reads]: [Reads; 2],
        args: &[Arg<'_>],
        last: &[Arg<'_>],
    ) -> Result<Vec<Tensor>> {
        let (Heads { count, width }, r, device) = (self.heads, self.r, like.device());
        let mut sizes = Vec::new();
        if reads.down {
            sizes.extend([count * width * r, count * r]);
        }
        if reads.up {
            sizes.extend([count * r * width, count * width]);
        }
        let chunks = reads.units(r).div_ceil(CHUNK);
        let tiles = self.tokens.div_ceil(TOKENS);
        let ranges = BLOCKS.div_ceil(count * chunks).min(tiles);
        let rows = Self::pitch(self.padded(), like.dtype());
        let units = Self::pitch(CHUNK, like.dtype());
        let grid = Grid {
            blocks: [ranges, count, chunks],
            threads: 128,
            shared: (TOKENS + given.matrices() * CHUNK) * rows + reads.matrices() * TOKENS * units,
        };
        let parts = cuda::empty((ranges, sizes.iter().sum::<usize>()), DType::F32, device)?;
        let given = [args, &[Arg::Out(&parts)], &self.args(), last];
        self.launch(like, name, grid, &given)?;

        let new = |n: &usize| cuda::empty(*n, DType::F32, device);
        let sums = sizes.iter().map(new).collect::<Result<Vec<_>>>()?;
        let mut args = vec![Arg::In(&parts), Arg::U32(ranges)];
        for i in 0..4 {
            args.push(Arg::MaybeOut(sums.get(i)));
            args.push(Arg::U32(sizes.get(i).copied().unwrap_or(0)));
        }
        let grid = Grid::over(sizes.iter().sum());
        cuda::launch_named(device, "inducer_sum", grid, &args)?;
        Ok(sums)
    }
}

/// Numbers of tokens and heads as the kernels read them.
pub(super) fn numbers(t: &Tensor) -> Result<Tensor> {
    Ok(t.to_dtype(DType::F32)?)
}

/// The others in the type of `like`.
pub(super) fn alike<const N: usize>(like: &Tensor, others: [&Tensor; N]) -> Result<[Tensor; N]> {
    let mut cast = others.map(Clone::clone);
    for t in &mut cast {
        *t = cast_like(t, like)?;
    }
    Ok(cast)
}

/// A tensor of this shape to write, like another.
pub(super) fn new_like(like: &Tensor, shape: &[usize]) -> Result<Tensor> {
    cuda::empty(shape, like.dtype(), like.device())
}

/// One number for each of so many.
pub(super) fn new_numbers(like: &Tensor, shape: &[usize]) -> Result<Tensor> {
    cuda::empty(shape, DType::F32, like.device())
}

/// Runs a kernel by which eight threads have the vector of one token and head.
pub(super) fn over_heads(like: &Tensor, name: &str, count: usize, args: &[Arg<'_>]) -> Result<()> {
    cuda::launch(like, name, Grid::over(8 * count), args)
}

/// As many gradients as inputs, from those that were computed; the rest is unwanted.
pub(super) fn gradients<const N: usize>(
    computed: impl IntoIterator<Item = Option<Tensor>>,
) -> [Gradient<Tensor>; N] {
    let mut computed = computed.into_iter();
    let mut next = || computed.next().flatten();
    std::array::from_fn(|_| next().map_or(Gradient::Unwanted, Gradient::Of))
}
