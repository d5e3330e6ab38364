//! A `skylark up` process: started on free loopback ports, stopped or killed by its own process id, watched from outside.
//!
//! The program must have been built: `cargo build --bin skylark`, or its path given in `SKYLARK_BIN`.

use crate::{Folder, Link, wait_for};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_mins(1);

/// When a message is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Once it is in the page cache.
    Async,
    /// Once it is on the disk.
    Sync,
}

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--flush`.
    pub flush: Flush,
    /// Further arguments.
    pub more: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { flush: Flush::Async, more: Vec::new() }
    }
}

impl Options {
    /// With sync flush.
    pub fn sync() -> Self {
        Self { flush: Flush::Sync, ..Self::default() }
    }

    /// With these arguments too.
    #[must_use]
    pub fn with(mut self, more: &[&str]) -> Self {
        self.more.extend(more.iter().map(|&argument| argument.to_owned()));
        self
    }
}

/// The program under test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("SKYLARK_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().expect("the path of the test");
    let beside = own.parent().and_then(Path::parent).expect("a test lies in a target folder").join("skylark");
    assert!(
        beside.exists(),
        "{} is not built: run `cargo build --bin skylark` first, or name the program in SKYLARK_BIN",
        beside.display()
    );
    beside
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    stderr: PathBuf,
    /// `HOST:PORT` of the NameServer.
    pub namesrv: String,
    /// `HOST:PORT` of the broker.
    pub broker: String,
    /// Address of the page, with its token.
    pub playground: String,
}

impl Server {
    /// Starts one over `folder`/store and returns once it serves. Panics with its own words if it does not.
    pub fn start(folder: &Folder, options: &Options) -> Self {
        let stderr = folder.join("stderr.txt");
        let log = File::options().create(true).append(true).open(&stderr).expect("a file for the server's words");
        let mut child = Self::command(&folder.join("store"), options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let stdout = BufReader::new(child.stdout.take().expect("its output is piped"));
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                drop(tell.send(line));
            }
        });
        let Ok(line) = told.recv_timeout(START) else {
            drop(child.kill());
            let status = child.wait();
            let words = std::fs::read_to_string(&stderr).unwrap_or_default();
            panic!("the server did not say within {START:?} that it serves ({status:?}):\n{words}");
        };
        let said: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("not one line of JSON, {error}: {line}"));
        let text = |name: &str| said[name].as_str().unwrap_or_else(|| panic!("no {name} in {line}")).to_owned();
        assert_eq!(said["pid"].as_u64(), Some(u64::from(child.id())), "the pid in {line}");
        Self { stderr, namesrv: text("namesrv"), broker: text("broker"), playground: text("playground"), child }
    }

    /// The command that starts one over the store folder `dir`.
    pub fn command(dir: &Path, options: &Options) -> Command {
        let mut command = Command::new(binary());
        command.args(["up", "--namesrv", "127.0.0.1:0", "--broker", "127.0.0.1:0", "--json", "--flush"]);
        command.arg(match options.flush {
            Flush::Async => "async",
            Flush::Sync => "sync",
        });
        command.arg("--dir").arg(dir).args(&options.more);
        command
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new connection to the broker.
    pub fn link(&self) -> Link {
        Link::connect(&self.broker)
            .unwrap_or_else(|error| panic!("cannot connect to the broker at {}: {error}", self.broker))
    }

    /// Creates a topic and returns once the NameServer knows it.
    pub fn create_topic(&self, topic: &str, queues: u32) {
        self.link().create_topic(topic, queues);
        let mut namesrv = Link::connect(&self.namesrv).expect("the NameServer accepts");
        wait_for("the NameServer to know the topic", Duration::from_secs(10), || {
            namesrv.has_route(topic).then_some(())
        });
    }

    /// What it wrote to standard error so far, over all starts in this folder.
    pub fn words(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Panics if it ended, or if anything in it panicked.
    pub fn assert_healthy(&mut self) {
        let ended = self.child.try_wait().expect("the state of the server");
        let words = self.words();
        assert!(ended.is_none(), "the server ended ({ended:?}):\n{words}");
        assert!(!words.contains("panicked"), "the server panicked:\n{words}");
    }

    /// A line of `/proc/PID/status`, in bytes: `RssAnon`, `VmRSS`.
    pub fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kibibytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        kibibytes.unwrap_or_else(|| panic!("no {name} in the state of the server")) * 1024
    }

    /// CPU time that the server has used since its start, in clock ticks (100 a second).
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("the server runs");
        // The second field is the program's name in brackets; user and system time are the 14th and 15th.
        let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
        fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
    }

    /// Number of memory mappings.
    pub fn mappings(&self) -> usize {
        std::fs::read_to_string(format!("/proc/{}/maps", self.pid())).expect("the server runs").lines().count()
    }

    /// Number of open files and sockets.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the server runs").count()
    }

    /// Asks it to stop (TERM) and returns its exit status.
    pub fn stop(mut self) -> ExitStatus {
        let asked = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status();
        assert!(asked.is_ok_and(|status| status.success()), "cannot signal the server");
        let status =
            wait_for("the server to stop after TERM", STOP, || self.child.try_wait().expect("the state of the server"));
        let words = self.words();
        assert!(!words.contains("panicked"), "the server panicked:\n{words}");
        status
    }

    /// Ends it at once (KILL), wherever it is.
    pub fn kill(mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server is gone");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let words = self.words();
            let tail = words.char_indices().rev().nth(2000).map_or(0, |(at, _)| at);
            eprintln!("the server's last words:\n{}", &words[tail..]);
        }
    }
}
