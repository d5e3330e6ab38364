//! std for wasm32, compiled from the sources that a Linux distribution ships with its compiler.
//!
//! The result is a sysroot of its own in the user's cache folder: the compiler's host libraries by
//! a link, and wasm32 beside them. Nothing outside that folder changes, no root is needed, and all
//! work trees share it. The folder's name holds a hash of the compiler's version, so a new compiler gets a
//! new one. It appears by a rename: a build that was stopped half way leaves nothing that looks whole.

use crate::project::{Project, make_dir, stdout_of};
use crate::toolchain::{TARGET, WasmToolchain};
use anyhow::{Context, Result, bail};
use std::collections::hash_map::DefaultHasher;
use std::env;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

/// What a `no_std` crate with `alloc` may link, by the start of the file's name.
const WITHOUT_STD: [&str; 5] =
    ["libcore-", "liballoc-", "libcompiler_builtins-", "librustc_std_workspace_core-", "librustc_std_workspace_alloc-"];

/// Whether a sysroot has std for wasm32.
pub(crate) fn is_in(sysroot: &Path) -> bool {
    fs::read_dir(libraries(sysroot)).is_ok_and(|entries| {
        entries.filter_map(Result::ok).any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
    })
}

/// A sysroot with std for wasm32 for `toolchain`, whose own one, `of`, has the sources.
pub(crate) fn find_or_build(project: &Project, toolchain: &WasmToolchain, of: &Path) -> Result<PathBuf> {
    let version = stdout_of(&toolchain.rustc, &["-vV"]).context("the compiler does not tell its version")?;
    let mut hasher = DefaultHasher::new();
    (&version, of).hash(&mut hasher);
    let sysroot = cache_dir()?.join(format!("wasm32-std-{:016x}", hasher.finish()));
    if is_in(&sysroot) {
        return Ok(sysroot);
    }
    let sources = of.join("lib/rustlib/src/rust/library");
    if !sources.join("std").is_dir() {
        bail!("{} has no std for wasm32 and no sources to build it from (apt-get install rust-web-src)", of.display());
    }
    project.step("compile std for wasm32, once for this compiler (about a minute)", || {
        let work = sysroot.with_extension(format!("{}.part", std::process::id()));
        let built = build(project, toolchain, &sources, &work.join("build"))?;
        lay_out(of, &work.join("sysroot"), &built, |_| true)?;
        // Another process may have been first: its result is as good.
        if fs::rename(work.join("sysroot"), &sysroot).is_err() && !is_in(&sysroot) {
            bail!("cannot create {}", sysroot.display());
        }
        fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))
    })?;
    Ok(sysroot)
}

/// A sysroot that has only `core` and `alloc` for wasm32: what needs std does not compile with it.
pub(crate) fn without_std(project: &Project, toolchain: &WasmToolchain) -> Result<PathBuf> {
    let full = match &toolchain.sysroot {
        Some(sysroot) => sysroot.clone(),
        None => stdout_of(&toolchain.rustc, &["--print", "sysroot"]).context("the compiler names no sysroot")?.into(),
    };
    let sysroot = project.target.join("no-std-sysroot");
    if sysroot.exists() {
        fs::remove_dir_all(&sysroot).with_context(|| format!("cannot remove {}", sysroot.display()))?;
    }
    lay_out(&full, &sysroot, &libraries(&full), |name| WITHOUT_STD.iter().any(|start| name.starts_with(start)))?;
    Ok(sysroot)
}

/// Compiles std by building an empty crate with cargo's `build-std`. Answers the folder of the libraries.
fn build(project: &Project, toolchain: &WasmToolchain, sources: &Path, dir: &Path) -> Result<PathBuf> {
    make_dir(&dir.join("src"))?;
    fs::write(dir.join("src/lib.rs"), "#![no_std]\n")?;
    fs::write(
        dir.join("Cargo.toml"),
        "[package]\nname = \"skylark_std_seed\"\nedition = \"2024\"\n\n[workspace]\n\n[profile.release]\ncodegen-units = 1\n",
    )?;
    // std's own dependencies lie beside its sources where a distribution ships them: no registry is asked.
    let vendor = sources.join("vendor");
    if vendor.is_dir() {
        make_dir(&dir.join(".cargo"))?;
        let config = format!(
            "[source.crates-io]\nreplace-with = \"beside-std\"\n\n[source.beside-std]\ndirectory = {:?}\n",
            vendor.display().to_string()
        );
        fs::write(dir.join(".cargo/config.toml"), config)?;
    }
    let mut cargo = toolchain.cargo_for_host(project, &dir.join("target"));
    cargo
        .current_dir(dir)
        .env_remove("RUSTUP_TOOLCHAIN")
        .env("RUSTC_BOOTSTRAP", "1")
        // Bitcode is what lets `lto = "fat"` reach into std.
        .env("RUSTFLAGS", "-Cembed-bitcode=yes")
        .args(["build", "--quiet", "--release", "--target", TARGET])
        // `test` is what lets `cargo test` work.
        .arg("-Zbuild-std=core,alloc,std,panic_abort,panic_unwind,proc_macro,test");
    project.run(&mut cargo)?;
    Ok(dir.join("target").join(TARGET).join("release/deps"))
}

/// Makes a sysroot: everything of `of` by links, and those libraries of `built` for wasm32 that `wanted` names.
fn lay_out(of: &Path, sysroot: &Path, built: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    let dest = libraries(sysroot);
    make_dir(&dest)?;
    for entry in fs::read_dir(of.join("lib/rustlib")).with_context(|| format!("cannot list {}", of.display()))? {
        let entry = entry?;
        if entry.file_name() != TARGET && entry.path().is_dir() {
            link(&entry.path(), &sysroot.join("lib/rustlib").join(entry.file_name()))?;
        }
    }
    for entry in fs::read_dir(built).with_context(|| format!("cannot list {}", built.display()))? {
        let path = entry?.path();
        // Some compilers keep a library's metadata in a file of its own.
        let library = path.extension().is_some_and(|extension| extension == "rlib" || extension == "rmeta");
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if library && !name.starts_with("libskylark_") && wanted(&name) {
            fs::copy(&path, dest.join(&name)).with_context(|| format!("cannot copy {name}"))?;
        }
    }
    Ok(())
}

fn libraries(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib").join(TARGET).join("lib")
}

#[cfg(unix)]
fn link(from: &Path, to: &Path) -> Result<()> {
    std::os::unix::fs::symlink(from, to).with_context(|| format!("cannot link {}", to.display()))
}

#[cfg(not(unix))]
fn link(_from: &Path, to: &Path) -> Result<()> {
    bail!("cannot link {}: this system has no symbolic links; use `rustup target add {TARGET}`", to.display())
}

/// The user's cache folder for this project.
fn cache_dir() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .context("no folder for caches: set HOME or XDG_CACHE_HOME")?;
    let dir = base.join("skylark");
    make_dir(&dir)?;
    Ok(dir)
}
