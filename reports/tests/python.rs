//! Adapters of the command in transformers: the Python package's own tests, run with this build.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

/// `PYTHON` names an interpreter that has torch and transformers; status 77 is "not run".
#[test]
fn the_python_package_computes_what_the_command_computes() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("checks/python.sh");
    let out = Command::new(script)
        .env("INDUCER", env!("CARGO_BIN_EXE_inducer"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    match out.status.code() {
        Some(77) => eprintln!("{said}"),
        code => assert_eq!(code, Some(0), "{said}"),
    }
}
