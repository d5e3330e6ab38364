//! Node: that it is there, and the packages that package-lock.json names.
//!
//! Packages are installed without running their scripts, and only from the lock file. `wasm-opt`,
//! `tsc`, `vite` and the browser tests' driver all come from there.

use crate::project::{Project, hash_files, stdout_of};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

const MINIMUM_MAJOR: u32 = 20;

pub(crate) struct Node {
    root: PathBuf,
}

impl Node {
    /// Finds Node and installs the packages of the lock file, unless that was done.
    pub(crate) fn set_up(project: &Project) -> Result<Self> {
        let how = "install Node 20 or later with npm (on Debian: apt-get install nodejs npm; elsewhere see nodejs.org)";
        let version = stdout_of("node", &["--version"]).with_context(|| format!("there is no `node`: {how}"))?;
        let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major < Some(MINIMUM_MAJOR) {
            bail!("`node` is {version}: {how}");
        }
        if stdout_of("npm", &["--version"]).is_none() {
            bail!("there is no `npm` beside `node`: {how}");
        }
        let root = &project.root;
        let manifests = [
            "package.json",
            "package-lock.json",
            ".npmrc",
            "wasm/npm/package.json",
            "www/package.json",
            "tests/browser/package.json",
        ];
        let manifests: Vec<PathBuf> = manifests.iter().map(|name| root.join(name)).collect();
        let inputs = hash_files(&manifests.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
        project.step_if_changed("npm packages", &root.join("node_modules/.package-lock.json"), inputs, || {
            project.run(project.command("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])).context(
                "`npm ci` failed; if a package.json was changed, run `npm install` once and commit package-lock.json",
            )
        })?;
        Ok(Self { root: root.clone() })
    }

    /// A program that an installed package brings.
    pub(crate) fn tool(&self, project: &Project, name: &str) -> Command {
        let mut command = project.command("node");
        command.arg(self.root.join("node_modules/.bin").join(name));
        command
    }
}
