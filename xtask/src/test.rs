//! `cargo xtask test`: what has to hold before a change lands, as a table of suites.
//!
//! First what the chosen suites need is set up, each step shown; then one line a suite, and all that a failed one
//! printed. A set-up that fails fails the suites that need it and no other. The last line is `N passed, N failed`, of
//! suites. What a suite checks lies beside what it checks; here stands only how it is called.

use crate::node::Node;
use crate::project::{Project, make_dir, seconds, stdout_of};
use crate::toolchain::{TARGET, WasmToolchain, sysroot_flag};
use crate::{build_web, play, tidy, wasm, wasm_std};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Set up and run the test suites, all or the named ones.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask test\n  cargo xtask test fmt clippy unit\n  cargo xtask test --list")]
pub(crate) struct Args {
    /// Suites to run; without names, all.
    suites: Vec<String>,
    /// Show the suites and how long each took the last time.
    #[arg(long)]
    list: bool,
}

struct Suite {
    name: &'static str,
    about: &'static str,
    needs: &'static [Need],
    run: fn(&Project) -> Result<()>,
}

/// What is set up before suites run; in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// A compiler for wasm32.
    Wasm,
    /// The binder and test runner for wasm.
    Binder,
    /// Node and its packages.
    Node,
    /// Chromium and its driver.
    Chromium,
    /// A JDK and Maven.
    Java,
    /// The npm package and the playground's page.
    Page,
    /// The program `skylark`, as people get it.
    Program,
}

const SUITES: &[Suite] = &[
    Suite { name: "fmt", about: "rustfmt changes nothing", needs: &[], run: fmt },
    Suite { name: "tidy", about: "the house rules that a program can check", needs: &[], run: tidy::check },
    Suite { name: "clippy", about: "no lint is broken", needs: &[], run: clippy },
    Suite { name: "unit", about: "unit, property and golden tests of core, native and xtask", needs: &[], run: unit },
    Suite { name: "no_std", about: "core compiles where there is no std", needs: &[Need::Wasm], run: no_std },
    Suite {
        name: "wasm",
        about: "the wasm modules: imports, size budgets, types, a tab cluster in Node, tests in Chromium",
        needs: &[Need::Wasm, Need::Binder, Need::Node, Need::Chromium],
        run: wasm_suite,
    },
    Suite {
        name: "page",
        about: "types and tests of the playground's own modules",
        needs: &[Need::Node, Need::Page],
        run: page,
    },
    Suite {
        name: "npm",
        about: "the packed npm package against a server, in Node 20 and 22",
        needs: &[Need::Node, Need::Java, Need::Page, Need::Program],
        run: npm,
    },
    Suite {
        name: "server",
        about: "a real server: killed, fed with malformed frames, measured, refused input",
        needs: &[Need::Program],
        run: server,
    },
    Suite {
        name: "java",
        about: "the official Java clients 4.9.8 and 5.3.3",
        needs: &[Need::Java, Need::Program],
        run: java,
    },
    Suite {
        name: "browser",
        about: "the playground in Chromium, with the Java client at the other end",
        needs: &[Need::Node, Need::Chromium, Need::Java, Need::Page, Need::Program],
        run: browser,
    },
    Suite {
        name: "bench-smoke",
        about: "every benchmark runs for a second; no time is judged",
        needs: &[],
        run: bench_smoke,
    },
];

pub(crate) fn run(project: &Project, args: &Args) -> Result<()> {
    let dir = project.web_target().join("xtask");
    make_dir(&dir)?;
    let mut durations = Durations::read(dir.join("durations.json"));
    if args.list {
        for suite in SUITES {
            println!("{:<12} {:>8}  {}", suite.name, durations.of(suite.name), suite.about);
        }
        return Ok(());
    }
    if let Some(unknown) = args.suites.iter().find(|name| SUITES.iter().all(|suite| suite.name != **name)) {
        bail!("there is no suite `{unknown}`; `cargo xtask test --list` shows them");
    }
    let chosen: Vec<&Suite> = SUITES
        .iter()
        .filter(|suite| args.suites.is_empty() || args.suites.iter().any(|name| name == suite.name))
        .collect();

    let broken = set_up(project, &chosen);
    let mut failed = 0;
    for suite in &chosen {
        print!("{:<12} ", suite.name);
        std::io::stdout().flush()?;
        let start = Instant::now();
        let log = dir.join(format!("{}.log", suite.name));
        let outcome = match suite.needs.iter().find_map(|need| broken.get(need)) {
            Some(why) => Err(anyhow::anyhow!("its set-up failed: {why}")),
            None => project.logging_to(log.clone()).and_then(|logging| (suite.run)(&logging)),
        };
        let took = start.elapsed();
        match outcome {
            Ok(()) => {
                println!("ok      {:>8}", seconds(took));
                durations.set(suite.name, took)?;
            }
            Err(error) => {
                failed += 1;
                println!("FAILED  {:>8}", seconds(took));
                show(&log);
                println!("{}: {error:#}\n", suite.name);
            }
        }
    }
    println!("\n{} passed, {failed} failed", chosen.len() - failed);
    if failed > 0 {
        std::process::exit(1);
    }
    Ok(())
}

/// Sets up what the suites need. Answers what could not be, with the reason.
fn set_up(project: &Project, suites: &[&Suite]) -> BTreeMap<Need, String> {
    let mut needs: Vec<Need> = suites.iter().flat_map(|suite| suite.needs).copied().collect();
    needs.sort();
    needs.dedup();
    let mut broken = BTreeMap::new();
    for need in needs {
        let outcome = match need {
            Need::Wasm => WasmToolchain::find_or_set_up(project).map(drop),
            Need::Binder => wasm::bindgen(project).map(drop),
            Need::Node => Node::set_up(project).map(drop),
            Need::Chromium => chromium().map(drop),
            Need::Java => find_java(),
            Need::Page => play::page(project),
            Need::Program => play::program(project).map(drop),
        };
        if let Err(error) = outcome {
            println!("  {error:#}");
            broken.insert(need, format!("{error:#}"));
        }
    }
    println!();
    broken
}

fn fmt(project: &Project) -> Result<()> {
    project.run(project.cargo().args(["fmt", "--all", "--check"])).context("`cargo fmt --all` repairs this")
}

fn clippy(project: &Project) -> Result<()> {
    let mut cargo = project.cargo();
    cargo.args([
        "clippy",
        "--quiet",
        "--keep-going",
        "--workspace",
        "--exclude",
        "skylark-bindgen",
        "--all-targets",
        "--all-features",
        "--",
        "--deny",
        "warnings",
    ]);
    project.run(&mut cargo)
}

fn unit(project: &Project) -> Result<()> {
    let mut cargo = project.cargo();
    cargo.args([
        "test",
        "--quiet",
        "--no-fail-fast",
        "--package",
        "skylark-core",
        "--package",
        "skylark",
        "--package",
        "xtask",
        "--all-features",
    ]);
    project.run(&mut cargo)?;
    project.run(project.cargo().args(["test", "--quiet", "--package", "skylark-tests", "--lib"]))
}

/// Compiles core against a sysroot that has `core` and `alloc` only. A crate that uses std must not
/// compile there, or the check shows nothing: that is tried first.
fn no_std(project: &Project) -> Result<()> {
    let toolchain = WasmToolchain::find_or_set_up(project)?;
    let sysroot = wasm_std::without_std(project, &toolchain)?;
    let probe = project.target.join("no-std-probe");
    make_dir(&probe)?;
    fs::write(probe.join("probe.rs"), "pub fn now() -> std::time::Instant { std::time::Instant::now() }\n")?;
    let mut rustc = project.command(&toolchain.rustc);
    rustc.args(["--crate-type", "rlib", "--edition", "2024", "--target", TARGET, "--out-dir"]);
    rustc.arg(&probe).arg(sysroot_flag(&sysroot)).arg(probe.join("probe.rs"));
    if project.run(&mut rustc).is_ok() {
        bail!("a crate that uses std compiled in {}: the check would show nothing", sysroot.display());
    }
    let mut cargo = toolchain.cargo(project, "build");
    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", sysroot_flag(&sysroot));
    cargo.env("CARGO_TARGET_DIR", project.target.join("no-std-build"));
    project
        .run(cargo.args(["--quiet", "--package", "skylark-core"]))
        .context("skylark-core needs std (error E0463 names the crate)")
}

fn wasm_suite(project: &Project) -> Result<()> {
    build_web::build(project)?;
    let node = Node::set_up(project)?;
    let tests = project.root.join("wasm/npm/test");
    project.run(node.tool(project, "tsc").arg("--project").arg(&tests))?;
    let names = ["alone.test.mjs", "cluster.test.mjs"].map(|name| tests.join(name));
    project.run(project.command("node").arg("--test").args(names))?;
    let toolchain = WasmToolchain::find_or_set_up(project)?;
    let mut cargo = toolchain.cargo(project, "test");
    cargo
        .args(["--package", "skylark-wasm", "--all-features", "--tests"])
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", wasm::bindgen(project)?)
        // Limits for a loaded machine, in seconds.
        .env("WASM_BINDGEN_TEST_TIMEOUT", "120")
        .env("WASM_BINDGEN_TEST_DRIVER_TIMEOUT", "60");
    project.run(&mut cargo)
}

fn page(project: &Project) -> Result<()> {
    for script in ["check", "test"] {
        project.run(project.command("npm").args(["run", "--silent", script, "--workspace", "www"]))?;
    }
    Ok(())
}

/// Packs the npm package; the test installs the tarball in an empty folder, as a user would.
fn npm(project: &Project) -> Result<()> {
    build_web::pack(project, &build_web::PackArgs {})?;
    browser_tests(project, &["npm.test.mjs".to_owned()])
}

fn browser(project: &Project) -> Result<()> {
    let files = files(&project.root.join("tests/browser"), "mjs")?;
    let names = files.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
    let names: Vec<String> = names.filter(|name| name.ends_with(".test.mjs") && name != "npm.test.mjs").collect();
    browser_tests(project, &names)
}

fn browser_tests(project: &Project, files: &[String]) -> Result<()> {
    let mut node = project.command("node");
    node.current_dir(project.root.join("tests/browser")).args(["--test", "--test-reporter=spec"]).args(files);
    node.env("SKYLARK_BIN", play::program(project)?).env("CARGO_TARGET_DIR", &project.target);
    if let Ok(chromium) = chromium() {
        node.env("CHROMIUM", chromium);
    }
    project.run(&mut node)
}

fn server(project: &Project) -> Result<()> {
    let names = test_files(project)?;
    let named = names.iter().filter(|name| *name != "java").flat_map(|name| ["--test", name.as_str()]);
    project.run(server_tests(project)?.args(named))
}

fn java(project: &Project) -> Result<()> {
    project.run(server_tests(project)?.args(["--test", "java"]))
}

/// `cargo test` of the tests crate against the built program; which tests is still to be said.
pub(crate) fn server_tests(project: &Project) -> Result<Command> {
    let mut cargo = project.cargo();
    cargo
        .args(["test", "--quiet", "--no-fail-fast", "--package", "skylark-tests"])
        .env("SKYLARK_BIN", play::program(project)?);
    Ok(cargo)
}

/// The names of the tests crate's test programs.
pub(crate) fn test_files(project: &Project) -> Result<Vec<String>> {
    let files = files(&project.root.join("tests/tests"), "rs")?;
    Ok(files.iter().filter_map(|path| path.file_stem()).map(|stem| stem.to_string_lossy().into_owned()).collect())
}

fn bench_smoke(project: &Project) -> Result<()> {
    crate::bench::run(project, &crate::bench::Args::smoke())
}

fn chromium() -> Result<String> {
    if stdout_of("chromedriver", &["--version"]).is_none() {
        bail!("there is no `chromedriver` (on Debian: apt-get install chromium chromium-driver fonts-dejavu-core)");
    }
    let path = "command -v chromium || command -v google-chrome || command -v chromium-browser";
    stdout_of("sh", &["-c", path])
        .context("there is no Chromium (on Debian: apt-get install chromium chromium-driver fonts-dejavu-core)")
}

fn find_java() -> Result<()> {
    for program in ["javac", "mvn"] {
        if stdout_of(program, &["-version"]).is_none() {
            bail!(
                "there is no `{program}`: a JDK 11 or later and Maven are needed (on Debian: apt-get install default-jdk-headless maven)"
            );
        }
    }
    Ok(())
}

fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    if files.is_empty() {
        bail!("{} has no .{extension} file: nothing was tested", dir.display());
    }
    Ok(files)
}

/// Prints the end of a failed suite's log.
fn show(log: &Path) {
    const MOST: usize = 400;
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(MOST);
    if from > 0 {
        println!("    (the first {from} lines are in {})", log.display());
    }
    for line in &lines[from..] {
        println!("    {line}");
    }
}

/// How long each suite took when it last passed, in seconds.
struct Durations {
    path: PathBuf,
    of: BTreeMap<String, f64>,
}

impl Durations {
    fn read(path: PathBuf) -> Self {
        let of = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { path, of }
    }

    fn of(&self, suite: &str) -> String {
        self.of.get(suite).map_or_else(|| "-".to_owned(), |time| format!("{time:.1} s"))
    }

    fn set(&mut self, suite: &str, took: Duration) -> Result<()> {
        self.of.insert(suite.to_owned(), took.as_secs_f64());
        let json = serde_json::to_vec_pretty(&self.of)?;
        fs::write(&self.path, json).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suite_names_are_unique() {
        for (i, suite) in SUITES.iter().enumerate() {
            assert!(SUITES[i + 1..].iter().all(|other| other.name != suite.name), "{} is there twice", suite.name);
        }
    }
}
