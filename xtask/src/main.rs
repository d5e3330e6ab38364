//! The commands people type: `cargo xtask play`, `test`, `pack` and their friends.
//!
//! One file a task; this one only reads the arguments. What the tasks share: `project` (where things
//! are, how a command is run and its progress shown), `toolchain` (a compiler for wasm32) and `node`
//! (Node's packages). Every task leaves what it made under `target/`, except `play`, whose broker
//! keeps its messages in `./data`.

mod audit;
mod bench;
mod build_web;
mod node;
mod play;
mod project;
mod soak;
mod test;
mod tidy;
mod toolchain;
mod wasm;
mod wasm_std;

use clap::{Parser, Subcommand};
use project::Project;

/// Skylark's development commands. Each sets up what it needs and says what it did.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = "Example: cargo xtask play")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Play(play::Args),
    Test(test::Args),
    Bench(bench::Args),
    Pack(build_web::PackArgs),
    Tidy(tidy::Args),
    Audit(audit::Args),
    Soak(soak::Args),
    BuildWeb(build_web::Args),
    Wasm(wasm::Args),
}

fn main() {
    let task = Args::parse().task;
    let outcome = Project::find().and_then(|project| match task {
        Task::Play(args) => play::run(&project, &args),
        Task::Test(args) => test::run(&project, &args),
        Task::Bench(args) => bench::run(&project, &args),
        Task::Pack(args) => build_web::pack(&project, &args),
        Task::Tidy(args) => tidy::run(&project, &args),
        Task::Audit(args) => audit::run(&project, &args),
        Task::Soak(args) => soak::run(&project, &args),
        Task::BuildWeb(args) => build_web::run(&project, &args),
        Task::Wasm(args) => wasm::run(&project, &args),
    });
    if let Err(error) = outcome {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
}
