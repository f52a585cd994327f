//! Launches of the emulated kernels (`emulator.cpp`).

use super::{Grid, Word, pointers};
use crate::error::Result;
use std::ffi::{CString, c_char, c_void};

unsafe extern "C" {
    fn emulator_launch(
        name: *const c_char,
        grid: *const u32,
        size: *const u32,
        shared: u32,
        arguments: *mut *mut c_void,
        count: usize,
    ) -> i32;
    #[cfg(test)]
    fn emulator_kernel(i: usize) -> *const c_char;
}

/// The names of all kernels, in order.
#[cfg(test)]
pub(super) fn names() -> Vec<String> {
    // SAFETY: it is null or a name that ends with a zero and stays
    let name = |i| unsafe {
        let name = emulator_kernel(i);
        (!name.is_null()).then(|| {
            std::ffi::CStr::from_ptr(name)
                .to_string_lossy()
                .into_owned()
        })
    };
    (0..).map_while(name).collect()
}

pub(super) fn launch(name: &str, grid: Grid, words: &[Word]) -> Result<()> {
    let mut words = words.to_vec();
    let mut arguments = pointers(&mut words);
    let message = |what: &str| candle_core::Error::Msg(format!("kernel {name}: {what}"));
    let c_name = CString::new(name).map_err(|_| message("not a name"))?;
    let blocks = grid.blocks.map(|n| n as u32);
    let size = [grid.threads as u32, 1, 1];
    // SAFETY: the name ends with a zero, there are three numbers of each size, and each of so many
    // arguments is in memory of its own
    let found = unsafe {
        emulator_launch(
            c_name.as_ptr(),
            blocks.as_ptr(),
            size.as_ptr(),
            grid.shared as u32,
            arguments.as_mut_ptr(),
            arguments.len(),
        )
    };
    match usize::try_from(found) {
        Ok(parameters) if parameters == arguments.len() => Ok(()),
        Ok(parameters) => {
            let given = arguments.len();
            Err(message(&format!("{given} arguments for {parameters} parameters")).into())
        }
        Err(_) => Err(message("there is none of this name").into()),
    }
}
