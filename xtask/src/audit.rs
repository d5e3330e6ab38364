//! `cargo xtask audit`: what the dependencies are, against deny.toml.
//!
//! Licences and sources of all crates in Cargo.lock that the listed systems need, and of the npm packages in
//! package-lock.json (licences of those that are shipped); duplicates among the crates. Known security holes are not looked for: the list of
//! them is not in any registry. Not part of `cargo xtask test`, since it changes only when a lock file does.

use crate::project::Project;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Check licences, sources and duplicates of the dependencies against deny.toml.
#[derive(clap::Args)]
#[command(after_help = "Example: cargo xtask audit")]
pub(crate) struct Args {}

/// The part of cargo-deny's configuration that is understood here; another key is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    graph: Graph,
    licenses: Licenses,
    sources: Sources,
    bans: Bans,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Graph {
    targets: Vec<String>,
    all_features: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Licenses {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    #[serde(rename = "crate")]
    package: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sources {
    unknown_registry: Level,
    unknown_git: Level,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Bans {
    multiple_versions: Level,
    #[serde(default)]
    skip: Vec<Skip>,
    #[serde(default)]
    skip_tree: Vec<Skip>,
}

/// `NAME` or `NAME@VERSION`, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Skip {
    #[serde(rename = "crate")]
    package: String,
    #[allow(dead_code, reason = "a reason has to be given; it is for the reader of deny.toml")]
    reason: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Level {
    Allow,
    Deny,
}

/// What `cargo metadata` prints.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    /// `None` for a crate of this workspace.
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

/// package-lock.json.
#[derive(Deserialize)]
struct NpmLock {
    packages: BTreeMap<String, NpmPackage>,
}

#[derive(Deserialize)]
struct NpmPackage {
    license: Option<String>,
    resolved: Option<String>,
    #[serde(default)]
    link: bool,
    /// Used for building and testing only.
    #[serde(default)]
    dev: bool,
    #[serde(default, rename = "devOptional")]
    dev_optional: bool,
}

const CRATES_IO: [&str; 2] =
    ["registry+https://github.com/rust-lang/crates.io-index", "sparse+https://index.crates.io/"];

pub(crate) fn run(project: &Project, _args: &Args) -> Result<()> {
    let config: Config = toml::from_str(&read(project, "deny.toml")?).context("deny.toml")?;
    let metadata = metadata(project, &config.graph)?;
    let npm: NpmLock = serde_json::from_str(&read(project, "package-lock.json")?).context("package-lock.json")?;
    let mut complaints = crates(&config, &metadata)?;
    complaints.extend(duplicates(&config.bans, &metadata));
    complaints.extend(npm_packages(&config.licenses, &npm)?);
    for complaint in &complaints {
        println!("{complaint}");
    }
    if !complaints.is_empty() {
        bail!("{} dependencies break a rule of deny.toml", complaints.len());
    }
    println!(
        "audit: {} crates and {} npm packages keep the rules of deny.toml",
        metadata.packages.len(),
        npm.packages.len()
    );
    Ok(())
}

fn read(project: &Project, name: &str) -> Result<String> {
    fs::read_to_string(project.root.join(name)).with_context(|| format!("cannot read {name}"))
}

/// The crates that the systems in `graph` need.
fn metadata(project: &Project, graph: &Graph) -> Result<Metadata> {
    let mut cargo = project.cargo();
    cargo.args(["metadata", "--format-version", "1", "--locked"]);
    cargo.args(graph.targets.iter().flat_map(|target| ["--filter-platform", target]));
    if graph.all_features {
        cargo.arg("--all-features");
    }
    let output = cargo.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata")
}

fn crates(config: &Config, metadata: &Metadata) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    for package in &metadata.packages {
        let Package { name, version, .. } = package;
        let more = config
            .licenses
            .exceptions
            .iter()
            .filter(|exception| exception.package == *name)
            .flat_map(|exception| &exception.allow);
        let allowed: Vec<&String> = config.licenses.allow.iter().chain(more).collect();
        if let Some(why) = refused_license(package.license.as_deref(), &allowed)? {
            complaints.push(format!("crate {name} {version}: {why}"));
        }
        let refused = package.source.as_deref().is_some_and(|source| {
            let level =
                if source.starts_with("git+") { config.sources.unknown_git } else { config.sources.unknown_registry };
            !CRATES_IO.contains(&source) && level == Level::Deny
        });
        if refused {
            complaints
                .push(format!("crate {name} {version}: comes from {}", package.source.as_deref().unwrap_or_default()));
        }
    }
    Ok(complaints)
}

/// Why a licence is not allowed, or `None`. An allowed name that is no SPDX expression is an error of deny.toml.
fn refused_license(license: Option<&str>, allowed: &[&String]) -> Result<Option<String>> {
    let Some(license) = license else { return Ok(Some("names no licence".to_owned())) };
    let Ok(expression) = spdx::Expression::parse_mode(license, spdx::ParseMode::LAX) else {
        return Ok(Some(format!("its licence `{license}` is no SPDX expression")));
    };
    let mut licensees = Vec::new();
    for name in allowed {
        licensees
            .push(spdx::Licensee::parse(name).with_context(|| format!("deny.toml: `{name}` is no licence's name"))?);
    }
    let fits = expression.evaluate(|wanted| licensees.iter().any(|licensee| licensee.satisfies(wanted)));
    Ok((!fits).then(|| format!("its licence `{license}` is not allowed")))
}

fn duplicates(bans: &Bans, metadata: &Metadata) -> Vec<String> {
    if bans.multiple_versions == Level::Allow {
        return Vec::new();
    }
    let named = |skip: &Skip, package: &Package| {
        skip.package == package.name || skip.package == format!("{}@{}", package.name, package.version)
    };
    // What lies below a skipped tree does not count.
    let mut left_out = BTreeSet::new();
    let roots = metadata.packages.iter().filter(|package| bans.skip_tree.iter().any(|skip| named(skip, package)));
    let mut below: Vec<&str> = roots.map(|package| package.id.as_str()).collect();
    let dependencies: BTreeMap<&str, &Vec<String>> =
        metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), &node.dependencies)).collect();
    while let Some(id) = below.pop() {
        if left_out.insert(id) {
            below.extend(dependencies.get(id).into_iter().flat_map(|ids| ids.iter()).map(String::as_str));
        }
    }
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in &metadata.packages {
        if !left_out.contains(package.id.as_str()) && !bans.skip.iter().any(|skip| named(skip, package)) {
            versions.entry(&package.name).or_default().push(&package.version);
        }
    }
    let several = versions.into_iter().filter(|(_, versions)| versions.len() > 1);
    several
        .map(|(name, versions)| {
            format!("crate {name}: versions {}; see `cargo tree --invert {name}@VERSION`", versions.join(" and "))
        })
        .collect()
}

fn npm_packages(licenses: &Licenses, lock: &NpmLock) -> Result<Vec<String>> {
    let allowed: Vec<&String> = licenses.allow.iter().collect();
    let mut complaints = Vec::new();
    for (name, package) in lock.packages.iter().filter(|(_, package)| !package.link) {
        if let Some(resolved) = &package.resolved {
            complaints.push(format!("npm {name}: comes from {resolved}, not by its name from the registry"));
        }
        // Nothing of a tool is in what people get.
        if package.dev || package.dev_optional {
            continue;
        }
        let more: Vec<&String> = licenses
            .exceptions
            .iter()
            .filter(|exception| name.ends_with(&format!("node_modules/{}", exception.package)))
            .flat_map(|exception| &exception.allow)
            .collect();
        if let Some(why) = refused_license(package.license.as_deref(), &[allowed.clone(), more].concat())? {
            complaints.push(format!("npm {name}: {why}"));
        }
    }
    Ok(complaints)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> Package {
        Package {
            id: format!("{name}@{version}"),
            name: name.into(),
            version: version.into(),
            license: None,
            source: None,
        }
    }

    fn metadata(edges: &[(&str, &str, &[&str])]) -> Metadata {
        let packages = edges.iter().map(|(name, version, _)| package(name, version)).collect();
        let nodes = edges.iter().map(|(name, version, to)| Node {
            id: format!("{name}@{version}"),
            dependencies: to.iter().map(ToString::to_string).collect(),
        });
        Metadata { packages, resolve: Resolve { nodes: nodes.collect() } }
    }

    fn skip(package: &str) -> Vec<Skip> {
        vec![Skip { package: package.into(), reason: String::new() }]
    }

    #[test]
    fn licences_are_expressions() {
        let allowed = ["MIT".to_owned(), "Apache-2.0".to_owned()];
        let allowed: Vec<&String> = allowed.iter().collect();
        let refused = |license| refused_license(license, &allowed).expect("deny.toml is well");
        assert_eq!(refused(Some("GPL-3.0 OR MIT")), None);
        assert_eq!(refused(Some("MIT/Unlicense")), None, "the old form");
        assert!(refused(Some("(MIT OR Apache-2.0) AND Unicode-3.0")).is_some());
        assert!(refused(Some("GPL-3.0-only")).is_some());
        assert!(refused(None).is_some());
        assert!(refused_license(Some("MIT"), &[&"No such licence".to_owned()]).is_err());
    }

    #[test]
    fn two_versions_are_named_unless_skipped() {
        let graph = metadata(&[("a", "1.0.0", &["b@1.0.0"]), ("b", "1.0.0", &[]), ("b", "2.0.0", &[])]);
        let bans = |skip, skip_tree| Bans { multiple_versions: Level::Deny, skip, skip_tree };
        assert_eq!(duplicates(&bans(vec![], vec![]), &graph).len(), 1);
        assert_eq!(duplicates(&bans(skip("b@1.0.0"), vec![]), &graph), Vec::<String>::new());
        assert_eq!(duplicates(&bans(vec![], skip("a")), &graph), Vec::<String>::new());
        assert_eq!(duplicates(&bans(skip("b@3.0.0"), vec![]), &graph).len(), 1);
    }

    #[test]
    fn sources_other_than_crates_io_are_named() {
        let config: Config = toml::from_str(include_str!("../../deny.toml")).expect("deny.toml");
        let mut graph = metadata(&[("a", "1.0.0", &[]), ("b", "1.0.0", &[]), ("c", "1.0.0", &[])]);
        for (package, source) in
            graph.packages.iter_mut().zip([CRATES_IO[0], "git+https://example.org/b", "registry+https://example.org"])
        {
            package.license = Some("MIT".into());
            package.source = Some(source.into());
        }
        let complaints = crates(&config, &graph).expect("deny.toml is well");
        assert_eq!(complaints.len(), 2, "{complaints:?}");
    }
}
