//! Launches, and the emulator itself.

use super::*;
use crate::ops::testing::{distance, parameters};

/// What a sanitizer or the alignment of an access has to end; no other test launches them.
const CONTROLS: [&str; 2] = ["one_beyond", "shifted"];

/// `verify/checks/sanitized_kernels.sh` runs it when all others have run.
#[test]
#[ignore = "looks at what the other tests have launched, in INDUCER_KERNELS_SEEN"]
fn every_kernel_was_launched_by_a_test() {
    let dir = std::env::var("INDUCER_KERNELS_SEEN").expect("INDUCER_KERNELS_SEEN: a directory");
    let seen = |name: &String| std::path::Path::new(&dir).join(name).exists();
    let (known, unknown): (Vec<_>, Vec<_>) = on_cpu::names().into_iter().partition(seen);
    assert!(
        known.len() > 100,
        "{dir} has the names of {} kernels",
        known.len()
    );
    assert_eq!(
        unknown, CONTROLS,
        "launched by no test, where the controls are expected"
    );
}

/// Numbers that go through shared memory by copies that a thread may not have waited for.
fn copied(from: &Tensor, at: usize, waits: bool) -> Vec<f32> {
    let to = Tensor::zeros(8, DType::F32, &Device::Cpu).unwrap();
    let args = [
        Arg::InAt(from, at),
        Arg::Out(&to),
        Arg::U32(usize::from(waits)),
    ];
    let grid = Grid::blocks(1, 2).sharing(32);
    launch_named(&Device::Cpu, "copied", grid, &args).unwrap();
    to.to_vec1().unwrap()
}

#[test]
fn what_is_copied_has_not_arrived_before_it_is_waited_for() {
    let numbers = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    let from = Tensor::new(&numbers, &Device::Cpu).unwrap();
    assert_eq!(copied(&from, 0, true), numbers);
    assert!(copied(&from, 0, false).iter().all(|x| x.is_nan()));
}

#[test]
#[ignore = "ends the program: the control of the next test"]
fn a_copy_begins_between_two_vectors() {
    copied(
        &Tensor::zeros(9, DType::F32, &Device::Cpu).unwrap(),
        1,
        true,
    );
}

#[test]
fn an_access_that_is_not_aligned_ends_the_program() {
    let name = "kernels::cuda::tests::a_copy_begins_between_two_vectors";
    let mut program = std::process::Command::new(std::env::current_exe().unwrap());
    let found = program
        .args(["--ignored", "--exact", name, "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&found.stderr);
    assert!(!found.status.success());
    assert!(
        said.contains("kernel copied") && said.contains("not aligned"),
        "{said}"
    );
}

/// This and the next are what `verify/checks/sanitized_kernels.sh` must catch.
#[test]
#[ignore = "writes beyond the end of a tensor: the control of the sanitizers"]
fn one_element_beyond_the_end_is_written() {
    let x = Tensor::zeros(7, DType::F32, &Device::Cpu).unwrap();
    let args = [Arg::Out(&x), Arg::U32(7)];
    emulated(|| launch_named(&Device::Cpu, "one_beyond", Grid::blocks(1, 1), &args)).unwrap();
}

#[test]
#[ignore = "shifts 32 bits by 32: the control of the sanitizers"]
fn a_number_is_shifted_by_all_its_bits() {
    let x = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
    let args = [Arg::Out(&x), Arg::U32(32)];
    emulated(|| launch_named(&Device::Cpu, "shifted", Grid::blocks(1, 1), &args)).unwrap();
}

#[test]
fn memory_that_no_kernel_wrote_shows() {
    let new = |dtype| empty(3, dtype, &Device::Cpu).unwrap();
    assert_eq!(new(DType::U32).to_vec1::<u32>().unwrap(), [u32::MAX; 3]);
    for dtype in [DType::F32, DType::BF16] {
        let found = new(dtype).to_dtype(DType::F32).unwrap();
        assert!(found.to_vec1::<f32>().unwrap().iter().all(|x| x.is_nan()));
    }
}

#[test]
fn a_tensor_without_elements_may_be_written() {
    let x = empty((3, 0, 8), DType::BF16, &Device::Cpu).unwrap();
    assert_eq!(address_mut(&x).unwrap(), 0);
}

#[test]
fn a_kernel_with_too_few_arguments_is_not_run() {
    let x = Tensor::zeros(7, DType::F32, &Device::Cpu).unwrap();
    let found = launch_named(
        &Device::Cpu,
        "one_beyond",
        Grid::blocks(1, 1),
        &[Arg::Out(&x)],
    );
    let message = found.unwrap_err().to_string();
    assert!(
        message.contains("1 arguments for 2 parameters"),
        "{message}"
    );
}

#[test]
fn a_kernel_that_is_not_there_is_an_error_with_its_name() {
    let found = launch_named(&Device::Cpu, "nothing", Grid::blocks(1, 1), &[]);
    assert!(found.unwrap_err().to_string().contains("nothing"));
}

/// Chunks of rows have more than 32 of them beyond 4,096 rows.
#[test]
fn sums_of_very_many_rows() {
    let x = parameters(6, &[&[5000, 3]], DType::F32).remove(0).tensor;
    for dtype in [DType::F32, DType::BF16] {
        let x = x.to_dtype(dtype).unwrap();
        let sum = |n: usize| {
            let exact = x.to_dtype(DType::F64).unwrap().narrow(0, 0, n).unwrap();
            exact.sqr().unwrap().sum(0).unwrap()
        };
        let found = emulated(|| rows::sum_rows(&x, Some(&x), 0..3)).unwrap();
        // squares, of 40 rows by 8 warps, of 125 chunks by 8 warps: 1 + 5 + 8 + 16 + 8 roundings
        let bound = 38.0 * 2.0_f64.powi(-24);
        let e = distance(&found, &sum(5000));
        assert!(e <= bound, "{dtype:?}: {e:e}");
        assert!(distance(&found, &sum(4999)) > bound);
    }
}

#[test]
fn rows_that_nothing_goes_to_are_zero() {
    let x = parameters(2, &[&[200, 5]], DType::F32).remove(0).tensor;
    let pairs: Vec<(u32, u32)> = (0..200)
        .map(|i| ([4, 4, 4, 1][i as usize % 4], i))
        .collect();
    let y = emulated(|| rows::scatter(&x, pairs, 6, DType::F32)).unwrap();
    let y: Vec<Vec<f32>> = y.to_vec2().unwrap();
    for (i, row) in y.iter().enumerate() {
        assert_eq!(
            row.iter().any(|v| *v != 0.0),
            [1, 4].contains(&i),
            "{i}: {row:?}"
        );
    }
}
