//! A compiler for wasm32-unknown-unknown: found, or set up.
//!
//! In this order: the active compiler, if it has the target; the system's compiler (Debian's
//! `rustc-web` brings sources from which std is built once, see `wasm_std`); `rustup target add`;
//! Debian's packages, installed as root. A toolchain that was found is never changed, and wasm has
//! a target folder of its own, because two compilers that share one rebuild each other's work.

use crate::project::{Project, stdout_of};
use crate::wasm_std;
use anyhow::{Context, Result, bail};
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";
const SYSTEM_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld-22"];

/// A cargo and a rustc that build for wasm32.
pub(crate) struct WasmToolchain {
    cargo: PathBuf,
    pub(crate) rustc: PathBuf,
    /// Where std for wasm32 is, if not in the compiler's own sysroot.
    pub(crate) sysroot: Option<PathBuf>,
}

impl WasmToolchain {
    pub(crate) fn find_or_set_up(project: &Project) -> Result<Self> {
        if let Some(active) = Self::active_with_target() {
            return Ok(active);
        }
        let mut tried = vec!["the active rustc has no std for wasm32".to_owned()];
        match Self::system(project) {
            Ok(system) => return Ok(system),
            Err(why) => tried.push(format!("{why:#}")),
        }
        match project.step("add wasm32 to the active toolchain (rustup target add)", || {
            project.run(project.command("rustup").args(["target", "add", TARGET]))
        }) {
            Ok(()) => {
                if let Some(active) = Self::active_with_target() {
                    return Ok(active);
                }
                tried.push("`rustup target add` ended well, but the active rustc still has no wasm32".to_owned());
            }
            Err(why) => tried.push(format!("{why:#}")),
        }
        match Self::debian(project) {
            Ok(system) => return Ok(system),
            Err(why) => tried.push(format!("{why:#}")),
        }
        bail!(
            "no compiler for {TARGET}. Do one of these, then run the command again:\n  rustup target add {TARGET}\n  \
             apt-get install {}   (Debian, as root)\nWhat was tried:\n  - {}",
            DEBIAN_PACKAGES.join(" "),
            tried.join("\n  - ")
        )
    }

    /// cargo for wasm32: `subcommand` with the compiler, the target and the target folder set.
    pub(crate) fn cargo(&self, project: &Project, subcommand: &str) -> Command {
        let mut command = self.cargo_for_host(project, &project.target.join("wasm-build"));
        command.args([subcommand, "--target", TARGET]);
        if let Some(sysroot) = &self.sysroot {
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", sysroot_flag(sysroot));
        }
        command
    }

    /// This toolchain's cargo, with nothing inherited that would choose another compiler.
    pub(crate) fn cargo_for_host(&self, project: &Project, target_dir: &Path) -> Command {
        let mut command = project.command(&self.cargo);
        command.env("RUSTC", &self.rustc).env("CARGO_TARGET_DIR", target_dir);
        for name in ["CARGO", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WORKSPACE_WRAPPER"] {
            command.env_remove(name);
        }
        command
    }

    fn active_with_target() -> Option<Self> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
        let sysroot = stdout_of(&rustc, &["--print", "sysroot"])?;
        wasm_std::is_in(Path::new(&sysroot)).then(|| Self {
            cargo: env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from),
            rustc: PathBuf::from(rustc),
            sysroot: None,
        })
    }

    /// The compiler in /usr/bin: it has std for wasm32, or the sources to build it from.
    fn system(project: &Project) -> Result<Self> {
        let version = stdout_of(SYSTEM_RUSTC, &["--version"]).with_context(|| format!("there is no {SYSTEM_RUSTC}"))?;
        let minor = version
            .strip_prefix("rustc 1.")
            .and_then(|rest| rest.split('.').next())
            .and_then(|minor| minor.parse::<u32>().ok());
        if minor < Some(MINIMUM_MINOR) {
            bail!("{SYSTEM_RUSTC} is {version}, Skylark needs 1.{MINIMUM_MINOR} or later");
        }
        if stdout_of(SYSTEM_CARGO, &["--version"]).is_none() {
            bail!("{SYSTEM_RUSTC} has no {SYSTEM_CARGO} beside it");
        }
        let sysroot = stdout_of(SYSTEM_RUSTC, &["--print", "sysroot"])
            .with_context(|| format!("{SYSTEM_RUSTC} names no sysroot"))?;
        let mut system = Self { cargo: SYSTEM_CARGO.into(), rustc: SYSTEM_RUSTC.into(), sysroot: None };
        if !wasm_std::is_in(Path::new(&sysroot)) {
            system.sysroot = Some(wasm_std::find_or_build(project, &system, Path::new(&sysroot))?);
        }
        Ok(system)
    }

    fn debian(project: &Project) -> Result<Self> {
        if stdout_of("id", &["-u"]).as_deref() != Some("0") || stdout_of("apt-get", &["--version"]).is_none() {
            bail!("packages can be installed only as root on Debian");
        }
        project.step("install a compiler for wasm32 (apt-get)", || {
            let apt = || {
                let mut apt = project.command("apt-get");
                apt.env("DEBIAN_FRONTEND", "noninteractive").arg("-q");
                apt
            };
            project.run(apt().arg("update"))?;
            project.run(apt().args(["install", "-y", "--no-install-recommends"]).args(DEBIAN_PACKAGES))
        })?;
        Self::system(project)
    }
}

/// The workspace's `rust-version`, 1.x.
const MINIMUM_MINOR: u32 = 95;

/// The compiler flag that names a sysroot, as cargo's environment takes it.
pub(crate) fn sysroot_flag(sysroot: &Path) -> OsString {
    let mut flag = OsString::from("--sysroot=");
    flag.push(sysroot);
    flag
}
