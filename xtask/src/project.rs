//! Where the project's folders are, and how its tasks run other programs and show progress.
//!
//! A command either shares the terminal or, while a suite of `cargo xtask test` runs, writes into that
//! suite's log. Which of the two is the `Project`'s business, so no task needs to know. Web output
//! is always in `target/` of the work tree, because the TypeScript and Vite configurations name
//! it; what cargo builds goes where `CARGO_TARGET_DIR` says.

use anyhow::{Context, Result, bail};
use std::collections::hash_map::DefaultHasher;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) struct Project {
    /// The work tree.
    pub(crate) root: PathBuf,
    /// cargo's target folder.
    pub(crate) target: PathBuf,
    /// Where commands write instead of the terminal.
    log: Option<PathBuf>,
}

impl Project {
    pub(crate) fn find() -> Result<Self> {
        let xtask =
            env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = xtask.parent().context("xtask has no parent folder")?.to_path_buf();
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        Ok(Self { root, target, log: None })
    }

    /// The same project, with the output of its commands written into `log`.
    pub(crate) fn logging_to(&self, log: PathBuf) -> Result<Self> {
        make_dir(log.parent().context("a log file has a folder")?)?;
        File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        Ok(Self { root: self.root.clone(), target: self.target.clone(), log: Some(log) })
    }

    /// Where generated web files go: `target/` of the work tree.
    pub(crate) fn web_target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// The cargo that runs this program, in the work tree.
    pub(crate) fn cargo(&self) -> Command {
        self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// Runs a command to its end. Its failure is an error that names it.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        command.stdin(Stdio::null());
        if let Some(log) = &self.log {
            let file =
                File::options().append(true).open(log).with_context(|| format!("cannot write {}", log.display()))?;
            command.stdout(file.try_clone()?).stderr(file);
        }
        let status = command.status().with_context(|| format!("cannot start {}", name_of(command)))?;
        if !status.success() {
            bail!("`{}` failed ({status})", line_of(command));
        }
        Ok(())
    }

    /// A line for the person, or for the log.
    pub(crate) fn say(&self, line: &str) {
        use std::io::Write as _;
        match &self.log {
            None => println!("{line}"),
            Some(log) => {
                if let Ok(mut file) = File::options().append(true).open(log) {
                    // A log that cannot be written is found by the next command that needs it.
                    let _ = writeln!(file, "{line}");
                }
            }
        }
    }

    /// Does one step of a longer task, and says which and how long it took.
    pub(crate) fn step<T>(&self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.say(&format!("- {what} ..."));
        let start = Instant::now();
        let result = work().with_context(|| format!("{what}: failed after {}", seconds(start.elapsed())))?;
        self.say(&format!("  {what}: {}", seconds(start.elapsed())));
        Ok(result)
    }

    /// Does a step only if `inputs` differ from the last time it ended well, or if `product` is gone.
    pub(crate) fn step_if_changed(
        &self,
        what: &str,
        product: &Path,
        inputs: u64,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let stamps = self.web_target().join("stamps");
        let stamp = stamps.join(what.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        let inputs = format!("{inputs:016x}");
        if product.exists() && fs::read_to_string(&stamp).is_ok_and(|last| last == inputs) {
            self.say(&format!("  {what}: unchanged"));
            return Ok(());
        }
        self.step(what, work)?;
        make_dir(&stamps)?;
        fs::write(&stamp, inputs).with_context(|| format!("cannot write {}", stamp.display()))
    }
}

/// Runs a command in place of this program, so that a signal sent to it reaches the command.
pub(crate) fn replace_by(command: &mut Command) -> Result<()> {
    #[cfg(unix)]
    let error = std::os::unix::process::CommandExt::exec(command);
    #[cfg(not(unix))]
    let error = match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    };
    Err(error).with_context(|| format!("cannot start {}", name_of(command)))
}

/// What a program prints on stdout, or `None` where it cannot be started or fails.
pub(crate) fn stdout_of(program: impl AsRef<OsStr>, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stderr(Stdio::null()).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A hash of the names and contents of all files below `paths`, in a fixed order. Folders that a build makes are left out.
pub(crate) fn hash_files(paths: &[&Path]) -> Result<u64> {
    fn add(path: &Path, hasher: &mut DefaultHasher) -> Result<()> {
        if path.is_dir() {
            let mut entries: Vec<PathBuf> =
                fs::read_dir(path)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
            entries.sort();
            for entry in entries.iter().filter(|entry| !entry.ends_with("node_modules") && !entry.ends_with("target")) {
                add(entry, hasher)?;
            }
        } else if path.is_file() {
            hasher.write(path.as_os_str().as_encoded_bytes());
            hasher.write(&fs::read(path)?);
        }
        Ok(())
    }
    let mut hasher = DefaultHasher::new();
    for path in paths {
        add(path, &mut hasher).with_context(|| format!("cannot read {}", path.display()))?;
    }
    Ok(hasher.finish())
}

pub(crate) fn hash_text(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

pub(crate) fn make_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create the folder {}", dir.display()))
}

pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn name_of(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn line_of(command: &Command) -> String {
    let args = command.get_args().map(|arg| arg.to_string_lossy());
    std::iter::once(command.get_program().to_string_lossy()).chain(args).collect::<Vec<_>>().join(" ")
}
