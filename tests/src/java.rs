//! The official Java client as a program (`tests/java`): built once per version by Maven, then run with plain `java`.
//!
//! A stamp beside the classes holds what they were built from, so Maven runs again only after a change.

use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A version of `org.apache.rocketmq:rocketmq-client`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Java {
    /// 4.9.8
    V4,
    /// 5.3.3
    V5,
}

impl Java {
    fn version(self) -> &'static str {
        match self {
            Self::V4 => "4.9.8",
            Self::V5 => "5.3.3",
        }
    }

    /// Builds what is not built yet and returns the ready client. Needs `mvn` and `java` on the path.
    pub fn prepare(self) -> JavaClient {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("java");
        let target = std::env::current_exe().expect("the path of the test");
        let target = target.ancestors().nth(3).expect("a test lies in a target folder").join("java");
        let build = target.join(self.version());
        fs::create_dir_all(&build).expect("a folder for the Java classes");
        let lock = File::create(target.join("lock")).expect("a lock file");
        lock.lock().expect("the lock");
        let sources = sources(&project);
        let stamp = build.join("built-from");
        if fs::read_to_string(&stamp).ok().as_deref() != Some(&sources) {
            let profile = if self == Self::V4 { "-Pv4" } else { "-Pv5" };
            let output = Command::new("mvn")
                .args(["--quiet", "--batch-mode", profile, "compile"])
                .arg(format!("-Dskylark.build={}", build.display()))
                .current_dir(&project)
                .output()
                .unwrap_or_else(|error| panic!("cannot run mvn, which the Java tests need: {error}"));
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "mvn could not build the Java client {}:\n{said}", self.version());
            fs::write(&stamp, &sources).expect("the stamp");
        }
        JavaClient { build, options: Vec::new() }
    }
}

/// All that the classes depend on, as one text.
fn sources(project: &Path) -> String {
    let mut text = fs::read_to_string(project.join("pom.xml")).expect("tests/java/pom.xml");
    let folder = project.join("src/main/java/skylark/tests");
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("the Java sources").flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        text += &fs::read_to_string(path).expect("a Java source");
    }
    text
}

/// A built client.
#[derive(Clone, Debug)]
pub struct JavaClient {
    build: PathBuf,
    options: Vec<String>,
}

/// A client that runs.
#[derive(Debug)]
pub struct JavaRun {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl JavaClient {
    /// The same client, sending binary ("ROCKETMQ") headers instead of JSON ones.
    #[must_use]
    pub fn with_binary_headers(mut self) -> Self {
        self.options.push("-Drocketmq.serialize.type=ROCKETMQ".to_owned());
        self
    }

    /// Starts it; its own log goes below `logs`.
    pub fn start(&self, logs: &Path, arguments: &[&str]) -> JavaRun {
        let build = self.build.display();
        let mut child = Command::new("java")
            .args(["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .arg(format!("-Duser.home={}", logs.display()))
            .arg(format!("-Drocketmq.client.logRoot={}", logs.display()))
            .args(["-Drocketmq.client.logLevel=WARN", "-Drocketmq.log.level=WARN"])
            .args(&self.options)
            .args(["-cp", &format!("{build}/classes:{build}/lib/*"), "skylark.tests.Main"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run java, which the Java tests need: {error}"));
        let lines = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
        JavaRun { child, lines }
    }

    /// Runs it to its end and returns what it reported.
    pub fn run(&self, logs: &Path, arguments: &[&str]) -> Vec<Value> {
        self.start(logs, arguments).finish().1
    }
}

impl JavaRun {
    /// The next report, `None` when it has ended. The client has a deadline for all that it does.
    pub fn report(&mut self) -> Option<Value> {
        let line = self.lines.next()?.expect("the client's output is text");
        Some(
            serde_json::from_str(&line)
                .unwrap_or_else(|error| panic!("the Java client printed no JSON, {error}: {line}")),
        )
    }

    /// Reads up to the report of this kind.
    pub fn until(&mut self, kind: &str) -> Value {
        let mut seen = Vec::new();
        while let Some(report) = self.report() {
            if report["kind"] == kind {
                return report;
            }
            seen.push(report);
        }
        panic!("the Java client ended without \"{kind}\": {seen:?}");
    }

    /// The remaining reports, and whether it ended content.
    pub fn finish(mut self) -> (bool, Vec<Value>) {
        let mut reports = Vec::new();
        while let Some(report) = self.report() {
            reports.push(report);
        }
        (self.child.wait().expect("the client ends").success(), reports)
    }
}

impl Drop for JavaRun {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
