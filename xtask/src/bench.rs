//! `cargo xtask bench`: the benchmarks, which are a program of the tests crate (tests/src/bin/bench).
//!
//! What is measured, against what, and what the figures must be is decided there; here it is built as people
//! get it and given the server program.

use crate::play;
use crate::project::Project;
use anyhow::Result;

/// Measure the broker against a server that only acknowledges; figures are ratios.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask bench\n  cargo xtask bench --check\n  cargo xtask bench --seconds 1 send"
)]
pub(crate) struct Args {
    /// Fail where a figure misses what the design demands.
    #[arg(long)]
    check: bool,
    /// Length of a round.
    #[arg(long)]
    seconds: Option<u32>,
    /// Number of interleaved rounds, of which the median counts.
    #[arg(long)]
    rounds: Option<u32>,
    /// Benchmarks to run; without names, all.
    names: Vec<String>,
}

impl Args {
    /// One round of a second each, and no figure judged.
    pub(crate) fn smoke() -> Self {
        Self { check: false, seconds: Some(1), rounds: Some(1), names: Vec::new() }
    }
}

pub(crate) fn run(project: &Project, args: &Args) -> Result<()> {
    let program = play::program(project)?;
    let mut cargo = project.cargo();
    cargo.args(["run", "--quiet", "--release", "--package", "skylark-tests", "--bin", "bench", "--"]);
    cargo.env("SKYLARK_BIN", program);
    if args.check {
        cargo.arg("--check");
    }
    for (flag, value) in [("--seconds", args.seconds), ("--rounds", args.rounds)] {
        if let Some(value) = value {
            cargo.arg(flag).arg(value.to_string());
        }
    }
    project.run(cargo.args(&args.names))
}
