//! Kernels of our own for a card, and how they are launched.
//!
//! They are in CUDA C++ beside this file. With the feature `cuda` nvcc makes code of them, which
//! candle's device loads; tensors stay candle's. The same text also compiles as C++ over
//! `emulator.h`, and [`emulated`] runs it on tensors of the CPU: so every kernel, forward and
//! backward, is tested where there is no card.
//!
//! Everything is launched on one stream and nothing waits for it. Inputs are contiguous tensors of
//! f32 or bf16, indices u32.
// Kernels are given addresses.
#![allow(unsafe_code)]

use super::mask::Dropout;
use super::{Form, form, switched_to};
use crate::error::Result;
use candle_core::backend::BackendStorage as _;
use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Shape, Storage, Tensor};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

#[cfg(feature = "cuda")]
mod card;
#[cfg(feature = "cuda")]
mod cublaslt;
#[cfg(emulated_kernels)]
mod on_cpu;
pub(crate) mod product;
pub(crate) mod rows;

/// Whether the emulated kernels are part of this program: they are where a C++ compiler built it.
pub const EMULATED: bool = cfg!(emulated_kernels);

/// Whether the card's kernels apply to a tensor.
pub(crate) fn runs(t: &Tensor) -> bool {
    runs_in(t.dtype(), t.device())
}

/// Whether they apply to tensors of this type on this device.
pub(crate) fn runs_in(dtype: DType, device: &Device) -> bool {
    let here = match form() {
        Form::Kernels => device.is_cuda(),
        Form::Emulated => device.is_cpu(),
        Form::Tensors => false,
    };
    here && matches!(dtype, DType::F32 | DType::BF16)
}

/// The card of this index.
///
/// # Errors
/// There is none, or the program was built without the feature `cuda`.
pub fn open(ordinal: usize) -> candle_core::Result<Device> {
    #[cfg(feature = "cuda")]
    return Ok(Device::Cuda(card::open(ordinal)?));
    #[cfg(not(feature = "cuda"))]
    Device::new_cuda(ordinal)
}

/// Whether products of f32 on a card may be in TF32, which rounds their factors to 10 bits of
/// mantissa; at first they may not. It holds for the whole process.
pub fn allow_tf32(allow: bool) {
    candle_core::cuda::set_gemm_reduced_precision_f32(allow);
}

/// The most bytes of tensors that were on a device at one time; nothing for the CPU.
///
/// # Errors
/// The driver does not say.
pub fn peak_bytes(device: &Device) -> candle_core::Result<Option<u64>> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => card::peak_bytes(device).map(Some),
        _ => Ok(None),
    }
}

/// Runs `f` with the card's kernels on tensors of the CPU, emulated. The calling thread is alone,
/// as in [`super::without_cpu_kernels`].
///
/// # Panics
/// The program was built without a C++ compiler ([`EMULATED`]).
pub fn emulated<R>(f: impl FnOnce() -> R) -> R {
    if !EMULATED {
        panic!("no C++ compiler built the emulated kernels into this program");
    }
    switched_to(Form::Emulated, f)
}

/// How many blocks of how many threads run a kernel, and the bytes of memory that a block shares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    pub(crate) blocks: [usize; 3],
    pub(crate) threads: usize,
    pub(crate) shared: usize,
}

impl Grid {
    /// Threads for `n` elements, each of which may serve several.
    pub(crate) fn over(n: usize) -> Self {
        Self::blocks(n.div_ceil(256).clamp(1, 65_535 * 8), 256)
    }

    /// A warp for each of `n` rows.
    pub(crate) fn rows(n: usize) -> Self {
        Self::blocks(n.div_ceil(8), 256)
    }

    /// So many blocks of so many threads.
    pub(crate) fn blocks(blocks: usize, threads: usize) -> Self {
        Self {
            blocks: [blocks, 1, 1],
            threads,
            shared: 0,
        }
    }

    /// Threads for the rows of a matrix, each of `width` elements of which one access has `each`:
    /// a warp a row or less, and how many threads a row has.
    pub(crate) fn lanes_a_row(rows: usize, width: usize, each: usize) -> (Self, usize) {
        let lanes = width.div_ceil(each).next_power_of_two().min(32);
        (Self::blocks(rows.div_ceil(256 / lanes), 256), lanes)
    }

    /// A block of threads for a row of `width` elements of which one access has `each`, with
    /// memory for sums over the block.
    pub(crate) fn row_a_block(rows: usize, width: usize, each: usize) -> Self {
        let threads = width.div_ceil(each).next_multiple_of(32).min(1024);
        Self::blocks(rows, threads).sharing(256)
    }

    /// The same with shared memory of so many bytes a block.
    pub(crate) fn sharing(self, shared: usize) -> Self {
        Self { shared, ..self }
    }
}

/// What a kernel is given.
#[derive(Clone, Copy)]
pub(crate) enum Arg<'a> {
    /// The address of a tensor's elements, to read.
    In(&'a Tensor),
    /// The same, from an element on.
    InAt(&'a Tensor, usize),
    /// The address of a tensor, where there is one; else a null pointer.
    Maybe(Option<&'a Tensor>),
    /// The address of the elements of a tensor that nobody else sees, to write.
    Out(&'a Tensor),
    /// The same, from an element on.
    OutAt(&'a Tensor, usize),
    /// The address of a tensor to write, where there is one.
    MaybeOut(Option<&'a Tensor>),
    /// A 32-bit number.
    U32(usize),
    /// A 32-bit float.
    F32(f64),
    /// Dropout at one site.
    Dropout(Dropout),
}

/// Dropout as kernels read it (`common.cuh`).
#[repr(C)]
#[derive(Clone, Copy)]
struct DropoutArg {
    key: u64,
    threshold: u32,
    keep: f32,
}

/// An argument in memory.
#[repr(C)]
#[derive(Clone, Copy)]
union Word {
    address: u64,
    number: u32,
    float: f32,
    dropout: DropoutArg,
}

impl Arg<'_> {
    fn word(&self) -> Result<Word> {
        Ok(match self {
            Self::In(t) | Self::Maybe(Some(t)) => Word {
                address: address(t)?,
            },
            Self::Out(t) | Self::MaybeOut(Some(t)) => Word {
                address: address_mut(t)?,
            },
            Self::InAt(t, at) => Word {
                address: address(t)? + (at * t.dtype().size_in_bytes()) as u64,
            },
            Self::OutAt(t, at) => Word {
                address: address_mut(t)? + (at * t.dtype().size_in_bytes()) as u64,
            },
            Self::Maybe(None) | Self::MaybeOut(None) => Word { address: 0 },
            Self::U32(n) => Word {
                number: number(*n)?,
            },
            Self::F32(x) => Word { float: *x as f32 },
            Self::Dropout(d) if d.first > 0 => {
                let message = "a kernel takes the masks of whole batches";
                return Err(candle_core::Error::Msg(message.into()).into());
            }
            Self::Dropout(d) => Word {
                dropout: DropoutArg {
                    key: d.key,
                    threshold: d.threshold(),
                    keep: (1.0 / (1.0 - d.rate)) as f32,
                },
            },
        })
    }
}

/// Where each argument is, as launches take them.
#[cfg(any(feature = "cuda", emulated_kernels))]
fn pointers(words: &mut [Word]) -> Vec<*mut std::ffi::c_void> {
    let each = words.iter_mut().map(std::ptr::from_mut);
    each.map(<*mut Word>::cast).collect()
}

/// How the names of kernels call a scalar type.
pub(crate) fn suffix(dtype: DType) -> &'static str {
    match dtype {
        DType::BF16 => "bf16",
        _ => "f32",
    }
}

/// Launches the kernel of this name from one scalar type to another.
///
/// # Errors
/// As [`launch`].
pub(crate) fn launch_pair(
    [from, to]: [&Tensor; 2],
    name: &str,
    grid: Grid,
    args: &[Arg<'_>],
) -> Result<()> {
    let name = format!("{name}_{}_{}", suffix(from.dtype()), suffix(to.dtype()));
    launch_named(from.device(), &name, grid, args)
}

/// Launches the kernel of this name for the scalar type of `like`, on its device.
///
/// # Errors
/// There is no such kernel, a tensor that is not contiguous, or the device refuses.
pub(crate) fn launch(like: &Tensor, name: &str, grid: Grid, args: &[Arg<'_>]) -> Result<()> {
    let name = format!("{name}_{}", suffix(like.dtype()));
    launch_named(like.device(), &name, grid, args)
}

/// Launches the kernel of this very name.
///
/// # Errors
/// As [`launch`].
pub(crate) fn launch_named(
    device: &Device,
    name: &str,
    grid: Grid,
    args: &[Arg<'_>],
) -> Result<()> {
    if grid.blocks.contains(&0) {
        return Ok(());
    }
    let words = args.iter().map(Arg::word).collect::<Result<Vec<_>>>()?;
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => card::launch(device, name, grid, &words),
        #[cfg(emulated_kernels)]
        Device::Cpu => on_cpu::launch(name, grid, &words),
        _ => Err(candle_core::Error::Msg(format!("no kernel {name} on {device:?}")).into()),
    }
}

/// A tensor for a kernel to write. Emulated, it is full of NaN, or of the largest u32: what nobody
/// writes shows.
///
/// # Errors
/// No memory.
pub(crate) fn empty(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
    let shape = shape.into();
    match dtype {
        DType::U32 if device.is_cpu() => return Ok(Tensor::full(u32::MAX, shape, device)?),
        _ if device.is_cpu() => return Ok(Tensor::full(f32::NAN, shape, device)?.to_dtype(dtype)?),
        _ => {}
    }
    // SAFETY: kernels write every element before anything reads it, which the emulated ones show
    Ok(unsafe { Tensor::empty(shape, dtype, device)? })
}

/// Numbers for a kernel to read. Those that were uploaded last are found again: the layers of a
/// model ask for the same.
///
/// # Errors
/// No memory.
pub(crate) fn upload(numbers: &[u32], device: &Device) -> Result<Tensor> {
    const KEPT: usize = 8;
    type Known = VecDeque<(Vec<u32>, Tensor)>;
    thread_local! {
        static KNOWN: RefCell<Known> = const { RefCell::new(VecDeque::new()) };
    }
    let found = KNOWN.with_borrow(|known| {
        let mut all = known.iter();
        all.find(|(n, t)| n == numbers && t.device().same_device(device))
            .map(|(_, t)| t.clone())
    });
    if let Some(tensor) = found {
        return Ok(tensor);
    }
    let tensor = Tensor::from_slice(numbers, numbers.len(), device)?;
    KNOWN.with_borrow_mut(|known| {
        known.truncate(KEPT - 1);
        known.push_front((numbers.to_vec(), tensor.clone()));
    });
    Ok(tensor)
}

/// A table of addresses and numbers for a kernel to read, a cell of 64 bits each. Whoever launches
/// the kernel keeps the tensors until then.
///
/// # Errors
/// A tensor that is not contiguous; no memory.
pub(crate) fn table(cells: &[Arg<'_>], device: &Device) -> Result<Tensor> {
    let mut numbers = Vec::with_capacity(2 * cells.len());
    for cell in cells {
        numbers.extend(match cell {
            Arg::F32(x) => [(*x as f32).to_bits(), 0],
            Arg::U32(n) => [number(*n)?, 0],
            Arg::Dropout(_) => return Err(elsewhere().into()),
            // SAFETY: of anything else the word is an address
            of_tensor => halves(unsafe { of_tensor.word()?.address }),
        });
    }
    upload(&numbers, device)
}

/// The lower and the upper half of an address.
fn halves(address: u64) -> [u32; 2] {
    [address as u32, (address >> 32) as u32]
}

fn number(n: usize) -> Result<u32> {
    Ok(u32::try_from(n)
        .map_err(|_| candle_core::Error::Msg(format!("{n} is too large for a kernel")))?)
}

/// The address of a contiguous tensor's elements.
fn address(t: &Tensor) -> Result<u64> {
    let (storage, layout) = t.storage_and_layout();
    let from = first(layout)?;
    let bytes = from * t.dtype().size_in_bytes();
    Ok(match &*storage {
        Storage::Cpu(storage) => cpu_address(storage)? + bytes as u64,
        #[cfg(feature = "cuda")]
        Storage::Cuda(storage) => card::address(storage)? + bytes as u64,
        _ => return Err(elsewhere().into()),
    })
}

/// The same of a tensor that will be written, from exclusive access to its storage.
fn address_mut(t: &Tensor) -> Result<u64> {
    if t.elem_count() == 0 {
        return Ok(0); // its strides have a zero, which candle takes for elements that repeat
    }
    let found = Cell::new(0);
    t.inplace_op1(&Address(&found))?;
    Ok(found.get())
}

/// Where a contiguous tensor begins in its storage.
fn first(layout: &Layout) -> candle_core::Result<usize> {
    match layout.contiguous_offsets() {
        Some((from, _)) => Ok(from),
        None => candle_core::bail!("a kernel needs a contiguous tensor, found {layout:?}"),
    }
}

fn elsewhere() -> candle_core::Error {
    candle_core::Error::Msg("a kernel was given a tensor of another device or type".into())
}

fn cpu_address(storage: &CpuStorage) -> candle_core::Result<u64> {
    Ok(match storage {
        CpuStorage::F32(v) => v.as_ptr() as u64,
        CpuStorage::BF16(v) => v.as_ptr() as u64,
        CpuStorage::U32(v) => v.as_ptr() as u64,
        _ => return Err(elsewhere()),
    })
}

/// Finds the address of the storage that it is given to change.
struct Address<'a>(&'a Cell<u64>);

impl InplaceOp1 for Address<'_> {
    fn name(&self) -> &'static str {
        "address"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let at = match storage {
            CpuStorage::F32(v) => v.as_mut_ptr() as u64,
            CpuStorage::BF16(v) => v.as_mut_ptr() as u64,
            CpuStorage::U32(v) => v.as_mut_ptr() as u64,
            _ => return Err(elsewhere()),
        };
        let bytes = first(layout)? * storage.dtype().size_in_bytes();
        self.0.set(at + bytes as u64);
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &mut candle_core::CudaStorage,
        layout: &Layout,
    ) -> candle_core::Result<()> {
        let bytes = first(layout)? * storage.dtype().size_in_bytes();
        self.0.set(card::address(storage)? + bytes as u64);
        Ok(())
    }
}

#[cfg(test)]
#[cfg(emulated_kernels)]
mod tests;
