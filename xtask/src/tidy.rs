//! `cargo xtask tidy`: the house rules that a program can check.
//!
//! A rule is a function from a file's path and text to complaints, so each has a test that shows what it catches. Looked
//! at is what git knows or would add. The rules are explained in CONTRIBUTING.md and ARCHITECTURE.md; formatting and lints are rustfmt's
//! and clippy's business.

use crate::project::{Project, stdout_of};
use anyhow::{Context, Result, bail};
use std::fs;

/// Check the house rules.
#[derive(clap::Args)]
#[command(after_help = "Example: cargo xtask tidy")]
pub(crate) struct Args {}

const MOST_LINES: usize = 700;

/// Files that may be longer, each with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Core's modules by level: a module may name those of lower levels and its own, never another one of its level or above.
/// The words everyone uses (`time`, `ids`, ...) are not listed: everyone may name them, and they name nobody listed.
const LEVELS: &[(&str, u8)] = &[
    ("wire", 1),
    ("record", 2),
    ("store", 3),
    ("replica", 4),
    ("output", 5),
    ("session", 6),
    ("broker", 7),
    ("namesrv", 7),
    ("client", 7),
];

/// The only file that may contain unsafe code.
const UNSAFE_HOME: &str = "native/src/store/map.rs";

/// One broken rule. Line 0 is the file as a whole.
#[derive(Debug, PartialEq, Eq)]
struct Complaint {
    line: usize,
    what: String,
}

type Rule = fn(path: &str, text: &str) -> Vec<Complaint>;

const RULES: &[Rule] = &[header, length, arrows, unsafe_code, strangers, unfinished, white_space, machine_paths];

pub(crate) fn run(project: &Project, _args: &Args) -> Result<()> {
    check(project)?;
    println!("tidy: nothing to complain about");
    Ok(())
}

pub(crate) fn check(project: &Project) -> Result<()> {
    let root = project.root.display().to_string();
    let list = stdout_of("git", &["-C", &root, "ls-files", "--cached", "--others", "--exclude-standard"])
        .context("`git ls-files` failed: tidy looks at the files of a git work tree")?;
    let mut count = 0;
    for path in list.lines() {
        // What is no text, or deleted but still known to git, has no lines to look at.
        let Ok(text) = fs::read_to_string(project.root.join(path)) else { continue };
        for Complaint { line, what } in RULES.iter().flat_map(|rule| rule(path, &text)) {
            count += 1;
            project.say(&format!("{path}:{line}: {what}"));
        }
    }
    if count > 0 {
        bail!("{count} house rules are broken");
    }
    Ok(())
}

fn header(path: &str, text: &str) -> Vec<Complaint> {
    if !is(path, "rs") || text.starts_with("//!") {
        return Vec::new();
    }
    whole("starts without a `//!` header: what lives here, what must stay true, what is elsewhere".to_owned())
}

fn length(path: &str, text: &str) -> Vec<Complaint> {
    let lines = text.lines().count();
    let source = ["rs", "ts", "tsx", "mjs", "java", "css"].iter().any(|extension| is(path, extension));
    if !source || lines <= MOST_LINES || LONG_FILES.iter().any(|(long, _)| *long == path) {
        return Vec::new();
    }
    whole(format!("has {lines} lines, {MOST_LINES} is the most: it wants a wall"))
}

fn arrows(path: &str, text: &str) -> Vec<Complaint> {
    let Some(inside) = path.strip_prefix("core/src/").filter(|_| is(path, "rs")) else { return Vec::new() };
    let own = inside.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    if own == "lib" {
        return Vec::new();
    }
    let level = |module: &str| LEVELS.iter().find(|(name, _)| *name == module).map(|(_, level)| *level);
    let own_level = level(own).unwrap_or(0);
    let mut complaints = Vec::new();
    for (line, code) in code_lines(text) {
        for (at, _) in code.match_indices("crate::") {
            for module in named_after(&code[at + "crate::".len()..]) {
                if module != own && level(module).is_some_and(|other| other >= own_level) {
                    complaints.push(Complaint {
                        line,
                        what: format!("`{own}` names `{module}`: core's arrows point the other way"),
                    });
                }
            }
        }
    }
    complaints
}

/// The modules that a path behind `crate::` names: one, or several in braces on the same line.
fn named_after(rest: &str) -> Vec<&str> {
    let word = |text: &'_ str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    match rest.strip_prefix('{') {
        None => vec![&rest[..word(rest)]],
        Some(group) => {
            // Only the first level of braces names modules.
            let mut depth = 0_i32;
            let parts = group.split(|c: char| {
                depth += i32::from(c == '{') - i32::from(c == '}');
                c == ',' && depth == 0
            });
            parts.map(str::trim_start).map(|part| &part[..word(part)]).collect()
        }
    }
}

fn unsafe_code(path: &str, text: &str) -> Vec<Complaint> {
    if !is(path, "rs") || path == UNSAFE_HOME {
        return Vec::new();
    }
    let hit = |code: &str| words(code).any(|word| word == "unsafe");
    find(text, hit, &format!("unsafe code lives in {UNSAFE_HOME} and nowhere else"))
}

/// native and wasm do not know each other, and core knows neither.
fn strangers(path: &str, text: &str) -> Vec<Complaint> {
    let strangers: &[&str] = match path.split('/').next() {
        Some("core") => &["skylark", "skylark_wasm"],
        Some("native") => &["skylark_wasm"],
        Some("wasm") => &["skylark"],
        _ => return Vec::new(),
    };
    let what = "native and wasm do not know each other, and core knows neither";
    if is(path, "rs") {
        let names_one = |code: &str| {
            strangers.iter().any(|name| {
                code.match_indices(&format!("{name}::"))
                    .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
            })
        };
        find(text, names_one, what)
    } else if path.ends_with("Cargo.toml") {
        let depends = |line: &str| {
            let key = line.split(['=', '.']).next().unwrap_or_default().trim().replace('-', "_");
            line.contains(['=']) && strangers.contains(&key.as_str())
        };
        find(text, depends, what)
    } else {
        Vec::new()
    }
}

fn unfinished(path: &str, text: &str) -> Vec<Complaint> {
    if !is(path, "rs") {
        return Vec::new();
    }
    let hit = |code: &str| ["todo!", "unimplemented!", "dbg!"].iter().any(|name| code.contains(name));
    find(text, hit, "unfinished or debugging code")
}

fn white_space(path: &str, text: &str) -> Vec<Complaint> {
    // Two spaces at the end of a line mean something in Markdown, but there are plainer ways to say it.
    let mut complaints: Vec<Complaint> = text
        .split('\n')
        .enumerate()
        .filter(|(_, line)| line.ends_with([' ', '\t', '\r']))
        .map(|(i, _)| Complaint { line: i + 1, what: "white space at the end of the line".to_owned() })
        .collect();
    // Golden vectors are bytes that others made: they stay as they came.
    if !text.is_empty() && !text.ends_with('\n') && !path.starts_with("tests/golden/") {
        complaints.extend(whole("does not end with a line feed".to_owned()));
    }
    complaints
}

/// What is true on one machine only has no place in the repository.
fn machine_paths(path: &str, text: &str) -> Vec<Complaint> {
    // Written in two pieces, so that this file does not break its own rule.
    const PATHS: [&str; 5] = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/tmp/", "wt"),
        concat!("../sha", "red/"),
    ];
    let mut complaints = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let found = PATHS.iter().find(|wrong| {
            line.match_indices(**wrong)
                .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}*".contains(c)))
        });
        if let Some(wrong) = found {
            complaints.push(Complaint { line: i + 1, what: format!("`{wrong}` names a place on one machine") });
        }
        if path.ends_with("package-lock.json") && line.contains("\"resolved\": \"http") {
            complaints.push(Complaint {
                line: i + 1,
                what: "names a registry's host: .npmrc keeps it out, run `npm install` again".to_owned(),
            });
        }
    }
    complaints
}

fn is(path: &str, extension: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, found)| found == extension)
}

fn whole(what: String) -> Vec<Complaint> {
    vec![Complaint { line: 0, what }]
}

fn find(text: &str, hit: impl Fn(&str) -> bool, what: &str) -> Vec<Complaint> {
    code_lines(text).filter(|(_, code)| hit(code)).map(|(line, _)| Complaint { line, what: what.to_owned() }).collect()
}

/// Lines with their numbers, without what `//` hides and without the contents of one-line strings.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, String)> {
    text.lines().enumerate().map(|(i, line)| {
        let mut code = String::new();
        let (mut in_string, mut escaped, mut before) = (false, false, '\0');
        for c in line.chars() {
            if in_string {
                in_string = escaped || c != '"';
                escaped = c == '\\' && !escaped;
            } else if c == '/' && before == '/' {
                code.pop();
                break;
            } else if c == '"' && before != '\'' {
                in_string = true;
            } else {
                code.push(c);
            }
            before = c;
        }
        (i + 1, code)
    })
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(complaints: &[Complaint]) -> Vec<usize> {
        complaints.iter().map(|complaint| complaint.line).collect()
    }

    #[test]
    fn a_rust_file_starts_with_its_header() {
        assert_eq!(header("a.rs", "//! Here.\n"), []);
        assert_eq!(lines(&header("a.rs", "// Here.\n")), [0]);
        assert_eq!(header("a.ts", "export {};\n"), []);
    }

    #[test]
    fn a_file_ends_before_it_wants_a_wall() {
        assert_eq!(length("a.rs", &"x\n".repeat(MOST_LINES)), []);
        assert_eq!(lines(&length("a.rs", &"x\n".repeat(MOST_LINES + 1))), [0]);
        assert_eq!(length("package-lock.json", &"x\n".repeat(9000)), []);
    }

    #[test]
    fn arrows_in_core_point_down() {
        assert_eq!(
            arrows(
                "core/src/broker/send.rs",
                "use crate::store::Store;\nuse crate::broker::topics;\nuse crate::time::Now;\n"
            ),
            []
        );
        assert_eq!(lines(&arrows("core/src/wire/frame.rs", "use core::fmt;\nuse crate::store::Store;\n")), [2]);
        assert_eq!(
            lines(&arrows("core/src/broker/mod.rs", "use crate::namesrv::Routes;\n")),
            [1],
            "machines do not know each other"
        );
        assert_eq!(
            lines(&arrows("core/src/session.rs", "use crate::{ids::{ConnId, Call}, wire::Frame, client::Client};\n")),
            [1]
        );
        assert_eq!(
            lines(&arrows("core/src/time.rs", "fn f() -> crate::wire::Frame {}\n")),
            [1],
            "the shared words name nobody"
        );
        assert_eq!(arrows("core/src/wire/frame.rs", "// as crate::store::Store does\n"), []);
        assert_eq!(arrows("core/src/lib.rs", "pub use crate::broker::Broker;\n"), []);
        assert_eq!(arrows("native/src/main.rs", "use crate::client::X;\n"), []);
    }

    #[test]
    fn unsafe_code_has_one_home() {
        assert_eq!(lines(&unsafe_code("native/src/conn.rs", "let x = unsafe { *p };\n")), [1]);
        assert_eq!(unsafe_code(UNSAFE_HOME, "unsafe { *p }\n"), []);
        assert_eq!(
            unsafe_code("core/src/lib.rs", "#![forbid(unsafe_code)]\n// unsafe\nlet x = \"unsafe \\\" unsafe\";\n"),
            []
        );
    }

    #[test]
    fn native_and_wasm_are_strangers() {
        assert_eq!(lines(&strangers("wasm/src/lib.rs", "use skylark_core::X;\nuse skylark::Y;\n")), [2]);
        assert_eq!(lines(&strangers("native/src/lib.rs", "use skylark_wasm::Y;\n")), [1]);
        assert_eq!(strangers("native/src/main.rs", "use skylark::cli;\n"), []);
        assert_eq!(
            lines(&strangers(
                "wasm/Cargo.toml",
                "name = \"skylark-wasm\"\nskylark-core.workspace = true\nskylark.workspace = true\n"
            )),
            [3]
        );
    }

    #[test]
    fn unfinished_code_is_named() {
        let text = ["fn f() { ", "to", "do!() }\n"].concat();
        assert_eq!(lines(&unfinished("a.rs", &text)), [1]);
        assert_eq!(unfinished("a.rs", "// a dbg! in a comment\n"), []);
    }

    #[test]
    fn lines_end_where_they_end() {
        assert_eq!(white_space("a.md", "a\n\nb\n"), []);
        assert_eq!(lines(&white_space("a.md", "a \nb\t\nc\r\n")), [1, 2, 3]);
        assert_eq!(lines(&white_space("a.md", "a")), [0]);
    }

    #[test]
    fn places_on_one_machine_are_named() {
        assert_eq!(lines(&machine_paths("a.md", concat!("see /wo", "rk/x\n"))), [1]);
        assert_eq!(machine_paths("a.md", concat!("https://example.org/ho", "me/x and frame", "work/x\n")), []);
        let lock = "\"resolved\": \"https://example.org/x.tgz\"\n";
        assert_eq!(lines(&machine_paths("package-lock.json", lock)), [1]);
    }
}
