//! What the operations are made of: slices of tensors, products, loops over rows, types.
//!
//! Nothing here knows the tape. The CPU's kernels work over contiguous slices of f32 or f64;
//! [`fused`] says where they apply, and [`without_cpu_kernels`] leaves them aside. Those of a card
//! are in [`cuda`].

pub mod bf16;
pub mod cuda;
pub mod elem;
pub mod few_rows;
pub mod gemm;
pub mod inplace;
pub(crate) mod many;
pub mod mask;
mod matrix;
pub mod precision;
mod prefetch;
pub(crate) mod product;
pub mod threads;

use crate::error::Result;
use candle_core::{DType, Device, Shape, Storage, StorageRef, Tensor};
use elem::Elem;
use std::cell::Cell;
use threads::{alone, single_threaded};

/// Read access to the elements of a CPU tensor.
pub struct CpuSlice<'a> {
    guard: StorageRef<'a>,
    from: usize,
    to: usize,
}

impl CpuSlice<'_> {
    /// The elements, row by row.
    ///
    /// # Errors
    /// The tensor is on another device or of another type.
    pub fn slice<T: Elem>(&self) -> Result<&[T]> {
        match &*self.guard {
            Storage::Cpu(s) => Ok(&s.as_slice::<T>()?[self.from..self.to]),
            _ => Err(candle_core::Error::Msg(
                "a CPU kernel was given a tensor of another device".into(),
            )
            .into()),
        }
    }
}

/// Read access to a contiguous CPU tensor.
///
/// # Errors
/// The tensor is not contiguous.
pub fn cpu(t: &Tensor) -> Result<CpuSlice<'_>> {
    let (guard, layout) = t.storage_and_layout();
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(CpuSlice { guard, from, to }),
        None => Err(candle_core::Error::Msg(format!(
            "a CPU kernel needs a contiguous tensor, found {layout:?}"
        ))
        .into()),
    }
}

/// `f` of the elements of contiguous CPU tensors.
///
/// # Errors
/// A tensor that is not contiguous, of another type or on another device.
pub(crate) fn with_slices<T: Elem, R, const N: usize>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[T]; N]) -> R,
) -> Result<R> {
    with_some_slices(tensors.map(Some), f)
}

/// [`with_slices`] of tensors some of which may be absent: no elements.
pub(crate) fn with_some_slices<T: Elem, R, const N: usize>(
    tensors: [Option<&Tensor>; N],
    f: impl FnOnce([&[T]; N]) -> R,
) -> Result<R> {
    let mut guards = [const { None }; N];
    for (guard, t) in guards.iter_mut().zip(tensors) {
        *guard = t.map(cpu).transpose()?;
    }
    let mut slices: [&[T]; N] = [&[]; N];
    for (slice, guard) in slices.iter_mut().zip(&guards) {
        if let Some(guard) = guard {
            *slice = guard.slice()?;
        }
    }
    Ok(f(slices))
}

/// A CPU tensor from its elements, without a copy.
pub(crate) fn tensor<T: Elem>(data: Vec<T>, shape: impl Into<Shape>) -> Result<Tensor> {
    Ok(Tensor::from_vec(data, shape.into(), &Device::Cpu)?)
}

/// Length of the last axis; 1 of a scalar.
pub(crate) fn last_dim(t: &Tensor) -> usize {
    t.dims().last().copied().unwrap_or(1)
}

/// Whether the fused CPU kernels apply.
pub fn fused(t: &Tensor) -> bool {
    fused_in(t.dtype(), t.device())
}

/// Whether they apply to tensors of this type on this device.
pub(crate) fn fused_in(dtype: DType, device: &Device) -> bool {
    form() == Form::Kernels && device.is_cpu() && matches!(dtype, DType::F32 | DType::F64)
}

/// The type that values are in where `dtype` is computed in on a device: the CPU's kernels compute
/// in bf16 by rounding the operands of products, and all else is f32.
pub fn held_in(dtype: DType, device: &Device) -> DType {
    match dtype {
        DType::BF16 if fused_in(DType::F32, device) => DType::F32,
        _ => dtype,
    }
}

/// Whether they apply to both operands together: in mixed precision one may be f32 and the other
/// not.
pub fn fused_pair(a: &Tensor, b: &Tensor) -> bool {
    fused(a) && a.dtype() == b.dtype()
}

/// Runs `$body` with `$T` bound to the scalar type of `$tensor`.
macro_rules! dispatch {
    ($tensor:expr, $T:ident => $body:expr) => {
        match $tensor.dtype() {
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            _ => {
                type $T = f32;
                $body
            }
        }
    };
}
pub(crate) use dispatch;

/// Which form of the operations a thread runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The kernels of a tensor's own device, where there are any.
    Kernels,
    /// Candle's tensor operations, on any device.
    Tensors,
    /// The kernels of a card, emulated on the CPU.
    Emulated,
}

thread_local! {
    static FORM: Cell<Form> = const { Cell::new(Form::Kernels) };
}

fn form() -> Form {
    FORM.get()
}

/// Runs `f` with another form of the operations. The calling thread is alone, since a switch of its
/// own would not be on in another thread, and would be on for what this one takes over from others
/// while it waits.
fn switched_to<R>(form: Form, f: impl FnOnce() -> R) -> R {
    in_form(form, || single_threaded(f))
}

/// Runs `f` with no switch on: for what a pool may begin on a thread that waits within other work,
/// whose switches (form of the operations, threads) are not its own.
pub fn afresh<R>(f: impl FnOnce() -> R) -> R {
    in_form(Form::Kernels, || alone(false, f))
}

fn in_form<R>(form: Form, f: impl FnOnce() -> R) -> R {
    struct Reset(Form);
    impl Drop for Reset {
        fn drop(&mut self) {
            FORM.set(self.0);
        }
    }
    let _reset = Reset(FORM.replace(form));
    f()
}

/// Runs `f` without kernels of ours, on candle's tensors, as any device can run it; on the calling
/// thread alone.
pub fn without_cpu_kernels<R>(f: impl FnOnce() -> R) -> R {
    switched_to(Form::Tensors, f)
}

#[cfg(test)]
mod tests {
    use super::threads::parallel;
    use super::*;

    #[test]
    fn the_fused_kernels_are_for_f32_and_f64_on_the_cpu_of_one_type_at_a_time() {
        let of = |dtype| Tensor::zeros(2, dtype, &Device::Cpu).unwrap();
        let [single, double, half] = [DType::F32, DType::F64, DType::BF16].map(of);
        assert!(fused(&single) && fused(&double) && !fused(&half));
        assert!(fused_pair(&single, &single) && fused_pair(&double, &double));
        assert!(!fused_pair(&single, &half) && !fused_pair(&single, &double));
        assert!(!fused_pair(&half, &half));
    }

    #[test]
    fn what_begins_afresh_has_the_switches_of_a_thread_that_has_begun() {
        let x = Tensor::zeros(2, DType::F64, &Device::Cpu).unwrap();
        let now = || [fused(&x), parallel()];
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
        pool.unwrap().install(|| {
            let within = without_cpu_kernels(|| [now(), afresh(now), now()]);
            assert_eq!(within, [[false; 2], [true; 2], [false; 2]]);
        });
    }

    #[test]
    fn without_kernels_one_thread_works_until_the_switch_is_off_again() {
        let x = Tensor::zeros(2, DType::F64, &Device::Cpu).unwrap();
        let now = || [fused(&x), parallel()];
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
        let found = pool.unwrap().install(|| {
            let (before, within) = (now(), without_cpu_kernels(now));
            let failed =
                std::panic::catch_unwind(|| without_cpu_kernels(|| panic!("a failed check")));
            assert!(failed.is_err());
            [before, within, now()]
        });
        assert_eq!(found, [[true; 2], [false; 2], [true; 2]]);
    }
}
