//! `cargo xtask soak NAME`: the long form of one of the tests crate's tests.
//!
//! The tests themselves know what is longer when `SKYLARK_SOAK` is set; their output is shown as it comes.

use crate::project::Project;
use crate::test;
use anyhow::{Result, bail};

/// Run the long form of a test of a real server.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask soak kill9\n  cargo xtask soak malformed --repeat 20")]
pub(crate) struct Args {
    /// A test program in tests/tests, for example `kill9`.
    name: String,
    /// How often.
    #[arg(long, default_value_t = 1)]
    repeat: u32,
}

pub(crate) fn run(project: &Project, args: &Args) -> Result<()> {
    let names = test::test_files(project)?;
    if !names.contains(&args.name) {
        bail!("there is no test `{}`; there are: {}", args.name, names.join(", "));
    }
    for round in 1..=args.repeat {
        project.step(&format!("soak {} ({round} of {})", args.name, args.repeat), || {
            let mut cargo = test::server_tests(project)?;
            cargo.env("SKYLARK_SOAK", "1").args(["--test", &args.name, "--", "--nocapture"]);
            project.run(&mut cargo)
        })?;
    }
    Ok(())
}
