//! `cargo xtask play`: from a fresh clone to a running cluster with its playground, in one command.
//!
//! The npm package → the page (Vite, into target/www) → the program with the page in it → `skylark up`.
//! Everything that is unchanged since the last time is skipped. What the server does is native's business.

use crate::build_web;
use crate::node::Node;
use crate::project::{Project, hash_files, replace_by, stdout_of};
use anyhow::{Result, bail};
use std::env::consts::EXE_SUFFIX;
use std::net::TcpListener;
use std::path::PathBuf;

/// Build everything and start a cluster of one with the playground.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask play\n  cargo xtask play -- --flush sync")]
pub(crate) struct Args {
    /// Folder of the store.
    #[arg(long, default_value = "./data")]
    dir: PathBuf,
    /// More arguments for `skylark up`.
    #[arg(last = true)]
    up: Vec<String>,
}

pub(crate) fn run(project: &Project, args: &Args) -> Result<()> {
    if stdout_of("rustc", &["--version"]).is_none() {
        bail!("there is no `rustc`: install Rust 1.95 or later, see rustup.rs");
    }
    page(project)?;
    let program = program(project)?;
    let mut up = project.command(program);
    up.arg("up").arg("--dir").arg(&args.dir);
    for (role, default) in [("namesrv", 9876), ("broker", 10911)] {
        if args.up.iter().any(|arg| arg.trim_start_matches('-').split('=').next() == Some(role)) {
            continue;
        }
        let port = free_port(default)?;
        if port != default {
            println!("- port {default} is in use: the {role} takes {port}");
        }
        up.arg(format!("--{role}")).arg(format!("127.0.0.1:{port}"));
    }
    up.args(&args.up);
    println!("- start the cluster; Ctrl-C ends it");
    replace_by(&mut up)
}

/// Builds the playground into target/www.
pub(crate) fn page(project: &Project) -> Result<()> {
    let package = build_web::build(project)?;
    if !project.root.join("www/package.json").exists() {
        project.say("  www/package.json is missing: no page to build");
        return Ok(());
    }
    Node::set_up(project)?;
    let inputs = hash_files(&[&project.root.join("www"), &package, &project.root.join("package-lock.json")])?;
    project.step_if_changed("the playground's page (vite)", &www(project).join("index.html"), inputs, || {
        project.run(project.command("npm").args(["run", "--silent", "build", "--workspace", "www"]))
    })
}

/// Builds the program, with the page in it if that was built. Answers its path.
pub(crate) fn program(project: &Project) -> Result<PathBuf> {
    project.step("the program skylark (cargo build --release)", || {
        let mut cargo = project.cargo();
        cargo.args(["build", "--quiet", "--release", "--package", "skylark", "--bin", "skylark"]);
        if www(project).join("index.html").exists() {
            cargo.env("SKYLARK_WWW", www(project));
        }
        project.run(&mut cargo)
    })?;
    Ok(project.target.join("release").join(format!("skylark{EXE_SUFFIX}")))
}

fn www(project: &Project) -> PathBuf {
    project.web_target().join("www")
}

/// `wanted` on loopback, or another port that is free now.
fn free_port(wanted: u16) -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", wanted)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)))?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_replaced_by_a_free_one() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let taken = taken.local_addr().map(|address| (address.port(), taken)).expect("its address");
        assert_ne!(free_port(taken.0).expect("another port"), taken.0);
    }
}
