//! wasm-bindgen's binder and its test runner in one program, built from the same Cargo.lock as the
//! `wasm-bindgen` that the wasm crate links, so the two versions cannot differ.
//!
//! A package of its own, because its 150 dependencies are compiled only by who builds for wasm.
//! `skylark-bindgen bind ARGS...` is `wasm-bindgen ARGS...`; anything else is a run of the test
//! runner, since cargo starts a runner as `RUNNER FILE.wasm TEST-ARGS...`.

use std::env;
use std::ffi::OsString;

fn main() -> anyhow::Result<()> {
    let mut args: Vec<OsString> = env::args_os().collect();
    if args.get(1).is_some_and(|first| first == "bind") {
        args.remove(1);
        wasm_bindgen_cli::wasm_bindgen::run_cli_with_args(args)
    } else {
        wasm_bindgen_cli::wasm_bindgen_test_runner::run_cli_with_args(args)
    }
}
