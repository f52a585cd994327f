//! Launches on a card, through candle's device.

use super::{Grid, Word, pointers};
use crate::error::Result;
use candle_core::CudaDevice;
use candle_core::backend::BackendStorage as _;
use candle_core::cuda_backend::CudaStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaFunction, CudaModule, DevicePtr as _, sys};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;
use half::bf16;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// The kernels of one file, for several cards.
macro_rules! of_file {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".fatbin"))
    };
}

/// What nvcc made of the kernels' files.
const FILES: [&[u8]; 8] = [
    of_file!("attention"),
    of_file!("embedding"),
    of_file!("inducer"),
    of_file!("linear"),
    of_file!("loss"),
    of_file!("optimiser"),
    of_file!("pointwise"),
    of_file!("rows"),
];

/// The files as they were loaded on each device.
static MODULES: Mutex<BTreeMap<usize, Vec<Arc<CudaModule>>>> = Mutex::new(BTreeMap::new());

thread_local! {
    /// Functions by device and name: looking one up costs more than launching it.
    static FUNCTIONS: RefCell<HashMap<(usize, String), CudaFunction>> = RefCell::default();
}

pub(super) fn launch(device: &CudaDevice, name: &str, grid: Grid, words: &[Word]) -> Result<()> {
    let function = function(device, name)?;
    if grid.shared > 48 << 10 {
        let size = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        function
            .set_attribute(size, grid.shared as i32)
            .map_err(candle_core::Error::wrap)?;
    }
    let mut words = words.to_vec();
    let mut arguments = pointers(&mut words);
    let [x, y, z] = grid.blocks.map(|n| n as u32);
    let stream = device.cuda_stream();
    stream
        .context()
        .bind_to_thread()
        .map_err(candle_core::Error::wrap)?;
    // SAFETY: as many arguments as the kernel has parameters, each in memory of its own; the
    // tensors behind the addresses are freed on the same stream, after the kernel
    unsafe {
        candle_core::cuda_backend::cudarc::driver::result::launch_kernel(
            function.cu_function(),
            (x, y, z),
            (grid.threads as u32, 1, 1),
            grid.shared as u32,
            stream.cu_stream(),
            &mut arguments,
        )
    }
    .map_err(candle_core::Error::wrap)?;
    Ok(())
}

fn function(device: &CudaDevice, name: &str) -> Result<CudaFunction> {
    let key = (device.cuda_stream().context().ordinal(), name.to_owned());
    let known = FUNCTIONS.with_borrow(|all| all.get(&key).cloned());
    if let Some(function) = known {
        return Ok(function);
    }
    let modules = modules(device)?;
    let found = modules.iter().find_map(|m| m.load_function(name).ok());
    let Some(function) = found else {
        return Err(candle_core::Error::Msg(format!("there is no kernel {name}")).into());
    };
    FUNCTIONS.with_borrow_mut(|all| all.insert(key, function.clone()));
    Ok(function)
}

/// The kernels of all files on a device.
fn modules(device: &CudaDevice) -> Result<Vec<Arc<CudaModule>>> {
    let context = device.cuda_stream().context().clone();
    let mut loaded = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(modules) = loaded.get(&context.ordinal()) {
        return Ok(modules.clone());
    }
    let load = |file: &[u8]| context.load_module(Ptx::from_binary(file.to_vec()));
    let modules: std::result::Result<Vec<_>, _> = FILES.into_iter().map(load).collect();
    let modules = modules.map_err(|error| {
        let message = format!("the kernels cannot be loaded on this card: {error}");
        candle_core::Error::Msg(message)
    })?;
    loaded.insert(context.ordinal(), modules.clone());
    Ok(modules)
}

/// The address of a storage's first element.
pub(super) fn address(storage: &CudaStorage) -> candle_core::Result<u64> {
    let stream = storage.device().cuda_stream();
    Ok(match storage.dtype() {
        candle_core::DType::F32 => storage.as_cuda_slice::<f32>()?.device_ptr(&stream).0,
        candle_core::DType::BF16 => storage.as_cuda_slice::<bf16>()?.device_ptr(&stream).0,
        candle_core::DType::U32 => storage.as_cuda_slice::<u32>()?.device_ptr(&stream).0,
        _ => return Err(super::elsewhere()),
    })
}

/// A card, every tensor of which is on one stream: so nothing has to be waited for between
/// threads. Memory that was freed is kept for the next tensors rather than given back at every
/// synchronisation.
pub(super) fn open(ordinal: usize) -> candle_core::Result<CudaDevice> {
    let device = CudaDevice::new_with_stream(ordinal)?;
    // SAFETY: there is one stream
    unsafe { device.disable_event_tracking() };
    let mut keep = u64::MAX;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the attribute is a number of 64 bits
    let mut set = |pool| unsafe {
        sys::cuMemPoolSetAttribute(pool, attribute, std::ptr::from_mut(&mut keep).cast())
    };
    set(pool(&device)?)
        .result()
        .map_err(candle_core::Error::wrap)?;
    Ok(device)
}

/// The most bytes of tensors that were on the card at one time.
pub(super) fn peak_bytes(device: &CudaDevice) -> candle_core::Result<u64> {
    let mut peak = 0_u64;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
    // SAFETY: the attribute is a number of 64 bits
    let mut get = |pool| unsafe {
        sys::cuMemPoolGetAttribute(pool, attribute, std::ptr::from_mut(&mut peak).cast())
    };
    get(pool(device)?)
        .result()
        .map_err(candle_core::Error::wrap)?;
    Ok(peak)
}

/// Where a card's tensors come from.
fn pool(device: &CudaDevice) -> candle_core::Result<sys::CUmemoryPool> {
    let stream = device.cuda_stream();
    stream
        .context()
        .bind_to_thread()
        .map_err(candle_core::Error::wrap)?;
    let mut pool = std::ptr::null_mut();
    // SAFETY: the device is that of a context
    let found = unsafe { sys::cuDeviceGetDefaultMemPool(&mut pool, stream.context().cu_device()) };
    found.result().map_err(candle_core::Error::wrap)?;
    Ok(pool)
}
