//! `cargo xtask build-web` and `pack`: the npm package, from wasm-pack.toml to a tarball.
//!
//! Each variant: cargo → bind → wasm-opt → `target/npm/skylark-mq/wasm/NAME.{js,d.ts,wasm}`; then `tsc`
//! puts the hand-written TypeScript of wasm/npm/src beside them. Always true afterwards: no module
//! imports from `env` (that would be a C symbol nobody provides) and each is within its budget.
//! What the package exports is decided in wasm/npm, not here.

use crate::node::Node;
use crate::project::{Project, hash_files, hash_text, make_dir, stdout_of};
use crate::toolchain::{TARGET, WasmToolchain};
use crate::wasm;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Build the npm package into target/npm/skylark-mq, and check its size.
#[derive(clap::Args)]
#[command(after_help = "Example: cargo xtask build-web")]
pub(crate) struct Args {}

/// Build the npm package and leave its tarball in target/npm.
#[derive(clap::Args)]
#[command(after_help = "Example: cargo xtask pack && npm install ./target/npm/skylark-mq-0.1.0.tgz")]
pub(crate) struct PackArgs {}

/// wasm-pack.toml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    #[serde(rename = "crate")]
    package: String,
    profile: String,
    target: String,
    wasm_opt: Vec<String>,
    variants: BTreeMap<String, Variant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variant {
    features: Vec<String>,
    #[serde(default)]
    inline: bool,
    budget: Budget,
}

/// Bytes of module and glue after brotli.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    must: u64,
    aim: u64,
}

/// What measure.mjs prints.
#[derive(Deserialize)]
struct Measured {
    raw: u64,
    gzip: u64,
    brotli: u64,
    imports: Vec<String>,
}

pub(crate) fn run(project: &Project, _args: &Args) -> Result<()> {
    build(project)?;
    Ok(())
}

/// Builds the package. Answers its folder.
pub(crate) fn build(project: &Project) -> Result<PathBuf> {
    let config = read_config(project)?;
    let toolchain = WasmToolchain::find_or_set_up(project)?;
    let node = Node::set_up(project)?;
    let bindgen = wasm::bindgen(project)?;
    let package = project.web_target().join("npm/skylark-mq");
    make_dir(&package.join("wasm"))?;

    for (name, variant) in &config.variants {
        let compiled = compile(project, &toolchain, &config, name, variant)?;
        let optimized = package.join("wasm").join(format!("{name}.wasm"));
        let inputs = hash_files(&[&compiled, &project.root.join("wasm-pack.toml"), &project.root.join("Cargo.lock")])?;
        project.step_if_changed(&format!("bind and optimize {name}.wasm"), &optimized, inputs, || {
            bind(project, &node, &bindgen, &config, name, &compiled, &package.join("wasm"))
        })?;
        if variant.inline {
            inline(&optimized)?;
        }
        check(project, name, variant, &optimized)?;
    }
    typescript(project, &node, &package)?;
    Ok(package)
}

pub(crate) fn pack(project: &Project, _args: &PackArgs) -> Result<()> {
    let package = build(project)?;
    if !package.join("package.json").exists() {
        bail!("wasm/npm/package.json is missing: there is no npm package to pack");
    }
    project.step("npm pack", || {
        let mut npm = project.command("npm");
        npm.current_dir(&package).args(["pack", "--ignore-scripts", "--silent", "--pack-destination", ".."]);
        project.run(&mut npm)
    })?;
    let tarball = tarball(project);
    if !tarball.exists() {
        bail!("wasm/npm/package.json has another version than Cargo.toml: {} was not made", tarball.display());
    }
    project.say(&format!("  {}", tarball.display()));
    Ok(())
}

/// Where `pack` leaves the package.
pub(crate) fn tarball(project: &Project) -> PathBuf {
    project.web_target().join(concat!("npm/skylark-mq-", env!("CARGO_PKG_VERSION"), ".tgz"))
}

fn read_config(project: &Project) -> Result<Config> {
    let path = project.root.join("wasm-pack.toml");
    let text = fs::read_to_string(&path).context("cannot read wasm-pack.toml")?;
    toml::from_str(&text).context("wasm-pack.toml")
}

/// Compiles one variant. Cargo gives the modules of all variants one name, so that building another one throws the last
/// one away: each is put aside, and compiled again only if something that it is made of changed.
fn compile(
    project: &Project,
    toolchain: &WasmToolchain,
    config: &Config,
    name: &str,
    variant: &Variant,
) -> Result<PathBuf> {
    let build = project.target.join("wasm-build");
    let aside = build.join(format!("{name}.wasm"));
    let made_of = ["core", "wasm/src", "wasm/Cargo.toml", "Cargo.toml", "Cargo.lock", "wasm-pack.toml"];
    let made_of = made_of.map(|path| project.root.join(path));
    let mut inputs = hash_files(&made_of.each_ref().map(PathBuf::as_path))?;
    inputs ^= hash_text(&stdout_of(&toolchain.rustc, &["-vV"]).unwrap_or_default());
    project.step_if_changed(&format!("compile {} for {name}", config.package), &aside, inputs, || {
        let mut cargo = toolchain.cargo(project, "build");
        cargo.args(["--quiet", "--package", &config.package, "--profile", &config.profile, "--lib"]);
        cargo.args(["--no-default-features", "--features", &variant.features.join(",")]);
        project.run(&mut cargo)?;
        let file = format!("{}.wasm", config.package.replace('-', "_"));
        let built = build.join(TARGET).join(&config.profile).join(file);
        fs::copy(&built, &aside).with_context(|| format!("cannot copy {}", built.display()))?;
        Ok(())
    })?;
    Ok(aside)
}

/// Binds a compiled module and optimizes it: `dir/NAME.js`, `NAME.d.ts` and `NAME.wasm`.
fn bind(
    project: &Project,
    node: &Node,
    bindgen: &Path,
    config: &Config,
    name: &str,
    compiled: &Path,
    dir: &Path,
) -> Result<()> {
    let mut bind = project.command(bindgen);
    bind.args(["bind", "--target", &config.target, "--out-name", name, "--out-dir"]).arg(dir).arg(compiled);
    project.run(&mut bind)?;

    // The binder calls the module NAME_bg.wasm, the package calls it NAME.wasm.
    let bound = dir.join(format!("{name}_bg.wasm"));
    let mut optimize = node.tool(project, "wasm-opt");
    optimize.args(&config.wasm_opt).arg(&bound).arg("-o").arg(dir.join(format!("{name}.wasm")));
    project.run(&mut optimize)?;
    let glue = dir.join(format!("{name}.js"));
    let text = fs::read_to_string(&glue).with_context(|| format!("cannot read {}", glue.display()))?;
    fs::write(&glue, without_doc_comments(&text.replace(&format!("{name}_bg.wasm"), &format!("{name}.wasm"))))?;
    fs::remove_file(bound)?;
    fs::remove_file(dir.join(format!("{name}_bg.wasm.d.ts")))?;
    Ok(())
}

/// The glue as pages download it: its documentation is in `NAME.d.ts` too.
fn without_doc_comments(script: &str) -> String {
    let mut kept = String::with_capacity(script.len());
    let mut inside = false;
    for line in script.lines() {
        let start = line.trim_start();
        inside |= start.starts_with("/**");
        if !inside {
            kept.push_str(line);
            kept.push('\n');
        }
        inside &= !start.ends_with("*/");
    }
    kept
}

/// Writes a module once more as a script that holds it, `NAME.inline.js`.
fn inline(module: &Path) -> Result<()> {
    let bytes = fs::read(module)?;
    fs::write(module.with_extension("inline.js"), format!("export const base64 = \"{}\";\n", base64(&bytes)))?;
    fs::write(
        module.with_extension("inline.d.ts"),
        "/** The wasm module of the same name, in base64. */\nexport declare const base64: string;\n",
    )?;
    Ok(())
}

/// Prints a variant's size, and refuses one that is over its budget or that imports from `env`.
fn check(project: &Project, name: &str, variant: &Variant, module: &Path) -> Result<()> {
    let script = project.root.join("xtask/src/measure.mjs");
    let paths = [script, module.to_path_buf(), module.with_extension("js")];
    let args: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let json = stdout_of("node", &args.iter().map(String::as_str).collect::<Vec<_>>())
        .with_context(|| format!("cannot measure {}: it is not a wasm module", module.display()))?;
    let measured: Measured = serde_json::from_str(&json).context("measure.mjs")?;
    let Budget { must, aim } = variant.budget;
    project.say(&format!(
        "  {name}.wasm with its glue: {} bytes, gzip {}, brotli {} (must {must}, aim {aim})",
        measured.raw, measured.gzip, measured.brotli
    ));
    if measured.imports.iter().any(|from| from == "env") {
        bail!(
            "{name}.wasm imports from `env`: some dependency expects a C library; find it with `cargo tree -p skylark-wasm`"
        );
    }
    if measured.brotli > must {
        bail!(
            "{name}.wasm with its glue is {} bytes after brotli, its budget in wasm-pack.toml is {must}",
            measured.brotli
        );
    }
    Ok(())
}

/// Compiles wasm/npm/src into the package and lays the files beside it that npm publishes.
fn typescript(project: &Project, node: &Node, package: &Path) -> Result<()> {
    let source = project.root.join("wasm/npm");
    if !source.join("tsconfig.json").exists() {
        project.say("  wasm/npm/tsconfig.json is missing: no TypeScript to compile");
        return Ok(());
    }
    project.step("TypeScript of wasm/npm (tsc)", || {
        project.run(node.tool(project, "tsc").arg("--project").arg(&source).arg("--outDir").arg(package))
    })?;
    for (from, name) in [(&source, "package.json"), (&source, "README.md"), (&project.root, "LICENSE")] {
        if from.join(name).exists() {
            fs::copy(from.join(name), package.join(name)).with_context(|| format!("cannot copy {name}"))?;
        }
    }
    Ok(())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().enumerate().fold(0_u32, |bits, (i, byte)| bits | u32::from(*byte) << (16 - 8 * i));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= chunk.len() { DIGITS[index] as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doc_comments_go_and_code_stays() {
        let script = "/* kept */\nlet a = 1; // kept\n  /**\n   * gone\n   */\nlet b = 2;\n/** gone */\nlet c = 3;\n";
        assert_eq!(without_doc_comments(script), "/* kept */\nlet a = 1; // kept\nlet b = 2;\nlet c = 3;\n");
    }

    #[test]
    fn base64_pads_to_four() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn the_committed_configuration_is_read() {
        let config: Config = toml::from_str(include_str!("../../wasm-pack.toml")).expect("wasm-pack.toml");
        assert!(config.variants["client"].budget.aim < config.variants["broker"].budget.must);
    }
}
