//! Products of cuBLASLt, with what follows them in the same pass.
//!
//! An algorithm is chosen once for operands of one form, by the library's own estimate, so two
//! runs choose the same. Where a sum is divided among blocks its parts are kept in f32 in memory
//! of their own and added up in a fixed order.

use super::product::{Matrix, Then};
use super::{address, address_mut};
use crate::error::Result;
use crate::kernels::last_dim;
use candle_core::cuda_backend::cudarc::cublas::sys::cublasOperation_t as Operation;
use candle_core::cuda_backend::cudarc::cublaslt::result::CublasError;
use candle_core::cuda_backend::cudarc::cublaslt::{result, sys};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr as _};
use candle_core::{CudaDevice, Tensor};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_void;
use sys::cublasLtEpilogue_t as Epilogue;
use sys::cublasLtMatmulDescAttributes_t as Attribute;
use sys::cublasLtMatmulPreferenceAttributes_t as Preference;

/// Memory for parts of sums: what NVIDIA recommends for the cards that need most.
const WORKSPACE: usize = 32 << 20;

/// The best alignment of an address that an algorithm may ask for.
const ALIGNMENT: u64 = 256;

thread_local! {
    static LIBRARIES: RefCell<HashMap<usize, Library>> = RefCell::default();
}

/// Writes `then(scale · a b + onto)` to `out`. Nothing is done, and the answer is no, where the
/// library has no algorithm for it.
pub(super) fn product(
    device: &CudaDevice,
    [a, b]: [Matrix<'_>; 2],
    scale: f64,
    onto: Option<Matrix<'_>>,
    out: Matrix<'_>,
    then: Then<'_>,
) -> Result<bool> {
    let ordinal = device.cuda_stream().context().ordinal();
    LIBRARIES.with_borrow_mut(|libraries| {
        let library = match libraries.entry(ordinal) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => new.insert(Library::new(device)?),
        };
        let job = Job::new([a, b], onto, out, then)?;
        library.run(device, &job, scale as f32)
    })
}

/// The form of operands: all that an algorithm depends on. The library counts along columns, so it
/// sees each matrix transposed, and the second factor first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Form {
    epilogue: Epilogue,
    added: bool,
    transposed: [bool; 2],
    /// Columns, rows and inner size of the result.
    sizes: [usize; 3],
    /// Elements from row to row: of b, a, what is added, the result, and what goes beside it.
    pitches: [usize; 5],
    alignments: [u32; 4],
}

/// A product with addresses, in the library's order.
struct Job {
    form: Form,
    a: u64,
    b: u64,
    c: u64,
    d: u64,
    bias: u64,
    beside: u64,
}

impl Job {
    fn new(
        [a, b]: [Matrix<'_>; 2],
        onto: Option<Matrix<'_>>,
        out: Matrix<'_>,
        then: Then<'_>,
    ) -> Result<Self> {
        let pointer = |t: Option<&Tensor>| t.map_or(Ok(0), address);
        let (epilogue, bias, beside, written) = match then {
            Then::Nothing => (Epilogue::CUBLASLT_EPILOGUE_DEFAULT, None, None, None),
            Then::Bias(bias) => (Epilogue::CUBLASLT_EPILOGUE_BIAS, Some(bias), None, None),
            Then::Gelu(bias, None) => {
                let epilogue = Epilogue::CUBLASLT_EPILOGUE_GELU_BIAS;
                (epilogue, Some(bias), None, None)
            }
            Then::Gelu(bias, before) => {
                let epilogue = Epilogue::CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
                (epilogue, Some(bias), None, before)
            }
            Then::GeluSlope(before) => {
                (Epilogue::CUBLASLT_EPILOGUE_DGELU, None, Some(before), None)
            }
        };
        let ([rows, inner], [_, columns]) = (a.dims(), b.dims());
        let d = address_mut(out.tensor)? + out.skipped();
        let c = match onto {
            Some(onto) => address(onto.tensor)? + onto.skipped(),
            None => d,
        };
        let beside_pitch = beside.or(written).map_or(0, last_dim);
        let (first, second) = (
            address(b.tensor)? + b.skipped(),
            address(a.tensor)? + a.skipped(),
        );
        Ok(Self {
            form: Form {
                epilogue,
                added: onto.is_some(),
                transposed: [b.transposed, a.transposed],
                sizes: [columns, rows, inner],
                pitches: [
                    b.pitch(),
                    a.pitch(),
                    onto.unwrap_or(out).pitch(),
                    out.pitch(),
                    beside_pitch,
                ],
                alignments: [first, second, c, d].map(|p| 1 << (p | ALIGNMENT).trailing_zeros()),
            },
            a: first,
            b: second,
            c,
            d,
            bias: pointer(bias)?,
            beside: match written {
                Some(before) => address_mut(before)?,
                None => pointer(beside)?,
            },
        })
    }

    fn point(&self, description: sys::cublasLtMatmulDesc_t) -> Found<()> {
        if self.bias != 0 {
            set(
                description,
                Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                &self.bias,
            )?;
        }
        if self.beside != 0 {
            let attribute = Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER;
            set(description, attribute, &self.beside)?;
        }
        Ok(())
    }
}

type Found<T> = std::result::Result<T, CublasError>;

fn set<T>(description: sys::cublasLtMatmulDesc_t, attribute: Attribute, value: &T) -> Found<()> {
    let (from, size) = (std::ptr::from_ref(value).cast(), size_of::<T>());
    // SAFETY: the attributes that are set here are of as many bytes as their values
    unsafe { result::set_matmul_desc_attribute(description, attribute, from, size) }
}

/// The library on one card, used by one thread.
struct Library {
    handle: sys::cublasLtHandle_t,
    workspace: CudaSlice<u8>,
    plans: HashMap<Form, Option<Plan>>,
}

impl Library {
    fn new(device: &CudaDevice) -> Result<Self> {
        let stream = device.cuda_stream();
        stream
            .context()
            .bind_to_thread()
            .map_err(candle_core::Error::wrap)?;
        // SAFETY: the library writes what it reads there
        let workspace = unsafe { stream.alloc::<u8>(WORKSPACE) };
        Ok(Self {
            handle: result::create_handle().map_err(candle_core::Error::wrap)?,
            workspace: workspace.map_err(candle_core::Error::wrap)?,
            plans: HashMap::new(),
        })
    }

    fn run(&mut self, device: &CudaDevice, job: &Job, scale: f32) -> Result<bool> {
        let stream = device.cuda_stream();
        stream
            .context()
            .bind_to_thread()
            .map_err(candle_core::Error::wrap)?;
        if !self.plans.contains_key(&job.form) {
            let plan = Plan::new(self.handle, job).ok();
            self.plans.insert(job.form, plan);
        }
        let Some(Some(plan)) = self.plans.get(&job.form) else {
            return Ok(false);
        };
        let beta = if job.form.added { 1.0_f32 } else { 0.0 };
        let workspace = self.workspace.device_ptr(&stream).0;
        job.point(plan.description)
            .map_err(candle_core::Error::wrap)?;
        let [a, b, c, d] = plan.layouts;
        // SAFETY: the matrices have the sizes of the plan's layouts; they are freed on the same
        // stream, after the product
        let launched = unsafe {
            result::matmul(
                self.handle,
                plan.description,
                std::ptr::from_ref(&scale).cast(),
                std::ptr::from_ref(&beta).cast(),
                job.a as *const c_void,
                a,
                job.b as *const c_void,
                b,
                job.c as *const c_void,
                c,
                job.d as *mut c_void,
                d,
                &plan.algorithm,
                workspace as *mut c_void,
                WORKSPACE,
                stream.cu_stream().cast(),
            )
        };
        launched.map_err(candle_core::Error::wrap)?;
        Ok(true)
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: nobody else has the handle; an error has nowhere to go
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

/// An algorithm for operands of one form, and how they are described.
struct Plan {
    description: sys::cublasLtMatmulDesc_t,
    layouts: [sys::cublasLtMatrixLayout_t; 4],
    algorithm: sys::cublasLtMatmulAlgo_t,
}

impl Plan {
    fn new(handle: sys::cublasLtHandle_t, job: &Job) -> Found<Self> {
        let form = &job.form;
        let [m, n, k] = form.sizes.map(|n| n as u64);
        let [of_b, of_a] = form.transposed;
        let layout = |rows: u64, columns: u64, pitch: usize, transposed: bool| {
            let [rows, columns] = match transposed {
                true => [columns, rows],
                false => [rows, columns],
            };
            let kind = sys::cudaDataType_t::CUDA_R_16BF;
            result::create_matrix_layout(kind, rows, columns, pitch as i64)
        };
        // built first, so that what fails below is dropped
        let mut plan = Self {
            description: result::create_matmul_desc(
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                sys::cudaDataType_t::CUDA_R_32F,
            )?,
            layouts: [
                layout(m, k, form.pitches[0], of_b)?,
                layout(k, n, form.pitches[1], of_a)?,
                layout(m, n, form.pitches[2], false)?,
                layout(m, n, form.pitches[3], false)?,
            ],
            algorithm: sys::cublasLtMatmulAlgo_t { data: [0; 8] },
        };
        let operation = |transposed| match transposed {
            true => Operation::CUBLAS_OP_T,
            false => Operation::CUBLAS_OP_N,
        };
        let description = plan.description;
        set(
            description,
            Attribute::CUBLASLT_MATMUL_DESC_TRANSA,
            &operation(of_b),
        )?;
        set(
            description,
            Attribute::CUBLASLT_MATMUL_DESC_TRANSB,
            &operation(of_a),
        )?;
        set(
            description,
            Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE,
            &form.epilogue,
        )?;
        if form.pitches[4] > 0 {
            let pitch = form.pitches[4] as i64;
            set(
                description,
                Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD,
                &pitch,
            )?;
        }
        job.point(description)?;
        plan.algorithm = plan.choose(handle, form)?;
        Ok(plan)
    }

    fn choose(
        &self,
        handle: sys::cublasLtHandle_t,
        form: &Form,
    ) -> Found<sys::cublasLtMatmulAlgo_t> {
        let wishes = Wishes(result::create_matmul_pref()?);
        wishes.set(
            Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
            &WORKSPACE,
        )?;
        let reduction = sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
        wishes.set(
            Preference::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
            &reduction,
        )?;
        let alignments = [
            Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
        ];
        for (attribute, bytes) in alignments.into_iter().zip(&form.alignments) {
            wishes.set(attribute, bytes)?;
        }
        let [a, b, c, d] = self.layouts;
        // SAFETY: all of them are alive
        let found = unsafe {
            result::get_matmul_algo_heuristic(handle, self.description, a, b, c, d, wishes.0)
        };
        Ok(found?.algo)
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: nobody else has them; an error has nowhere to go
        unsafe {
            let _ = result::destroy_matmul_desc(self.description);
            for layout in self.layouts {
                let _ = result::destroy_matrix_layout(layout);
            }
        }
    }
}

/// What an algorithm has to satisfy.
struct Wishes(sys::cublasLtMatmulPreference_t);

impl Wishes {
    fn set<T>(&self, attribute: Preference, value: &T) -> Found<()> {
        let (from, size) = (std::ptr::from_ref(value).cast(), size_of::<T>());
        // SAFETY: the attributes that are set here are of as many bytes as their values
        unsafe { result::set_matmul_pref_attribute(self.0, attribute, from, size) }
    }
}

impl Drop for Wishes {
    fn drop(&mut self) {
        // SAFETY: nobody else has it; an error has nowhere to go
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}
