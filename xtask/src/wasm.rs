//! `cargo xtask wasm ...`: cargo with the compiler, target, target folder and test runner for wasm set.

use crate::project::Project;
use crate::toolchain::WasmToolchain;
use anyhow::{Context, Result};
use std::env::consts::EXE_SUFFIX;
use std::path::PathBuf;

/// Run a cargo command for wasm32, tests in headless Chromium.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask wasm check -p skylark-wasm\n  cargo xtask wasm test -p skylark-wasm --tests"
)]
pub(crate) struct Args {
    /// A cargo subcommand and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    cargo: Vec<String>,
}

pub(crate) fn run(project: &Project, args: &Args) -> Result<()> {
    let toolchain = WasmToolchain::find_or_set_up(project)?;
    let (subcommand, rest) = args.cargo.split_first().context("name a cargo command, for example `check`")?;
    let mut cargo = toolchain.cargo(project, subcommand);
    if subcommand == "test" {
        cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", bindgen(project)?);
    }
    project.run(cargo.args(rest))
}

/// The binder and test runner of the same version as the `wasm-bindgen` in Cargo.lock, compiled when needed.
pub(crate) fn bindgen(project: &Project) -> Result<PathBuf> {
    project.step("wasm-bindgen's binder and test runner (the first time: a minute)", || {
        project.run(project.cargo().args(["build", "--quiet", "--package", "skylark-bindgen", "--profile", "tool"]))
    })?;
    Ok(project.target.join("tool").join(format!("skylark-bindgen{EXE_SUFFIX}")))
}
