//! What a person may get wrong: each is answered by one clear sentence on standard error that names what to change, and by an exit
//! code other than 0; nothing is lost by it (STO-7, SEC-6).

use skylark_tests::{Folder, Options, Server, binary, wait_for};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Runs a command that has to refuse, and returns its words.
fn refused(command: &mut Command) -> String {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_for("the program to refuse", Duration::from_secs(20), || child.try_wait().expect("its state"))
    }));
    if end.is_err() {
        drop(child.kill());
    }
    let output = child.wait_with_output().expect("its output");
    let words = String::from_utf8(output.stderr).expect("its words are text");
    assert!(end.is_ok(), "{command:?} went on instead of refusing; it said:\n{words}");
    assert!(!output.status.success(), "{command:?} ended well; it said:\n{words}");
    assert!(output.status.code().is_some(), "{command:?} was ended by a signal; it said:\n{words}");
    assert!(!words.contains("panicked"), "{command:?} panicked:\n{words}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "nothing belongs on standard output");
    let lines: Vec<_> = words.lines().filter(|line| !line.trim().is_empty()).collect();
    // The parser of arguments adds a hint at --help in a line of its own.
    let lines: Vec<_> =
        lines.into_iter().filter(|line| !line.contains("try '--help'") && !line.starts_with("Usage")).collect();
    assert_eq!(lines.len(), 1, "one sentence, not:\n{words}");
    words
}

fn assert_says(words: &str, parts: &[&str]) {
    for part in parts {
        assert!(words.contains(part), "\"{part}\" is missing in: {words}");
    }
}

fn up(dir: &Path, namesrv: &str, broker: &str) -> Command {
    let mut command = Command::new(binary());
    command.args(["up", "--json", "--namesrv", namesrv, "--broker", broker, "--dir"]).arg(dir);
    command
}

#[test]
fn port_in_use() {
    let folder = Folder::new();
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = other.local_addr().expect("its address").to_string();
    let words = refused(&mut up(&folder.join("store"), "127.0.0.1:0", &taken));
    assert_says(&words, &[&taken, "--broker"]);
    let words = refused(&mut up(&folder.join("store"), &taken, "127.0.0.1:0"));
    assert_says(&words, &[&taken, "--namesrv"]);
}

#[test]
fn folder_that_cannot_be_written() {
    let folder = Folder::new();
    let file = folder.join("file");
    fs::write(&file, "no folder").expect("a file");
    for dir in [file.join("store"), "/proc/skylark".into(), file] {
        let words = refused(&mut up(&dir, "127.0.0.1:0", "127.0.0.1:0"));
        assert_says(&words, &[&dir.display().to_string(), "--dir"]);
    }
    assert_eq!(fs::read_to_string(folder.join("file")).expect("the file"), "no folder");
}

#[test]
fn second_server_on_one_folder() {
    let folder = Folder::new();
    let mut first = Server::start(&folder, &Options::sync());
    let mut link = first.link();
    link.create_topic("kept", 1);
    let send = |link: &mut skylark_tests::Link, text: &str| {
        link.send("kept", 0, "", text.as_bytes()).expect("an answer").expect("it is accepted");
    };
    send(&mut link, "before");
    let store = folder.join("store");
    let words = refused(&mut up(&store, "127.0.0.1:0", "127.0.0.1:0"));
    assert_says(&words, &[&store.display().to_string(), "--dir"]);
    send(&mut link, "after");
    first.assert_healthy();
    first.kill();
    let again = Server::start(&folder, &Options::sync());
    let bodies: Vec<_> = again.link().pull_all("kept", 0, 0).into_iter().map(|record| record.body).collect();
    assert_eq!(bodies, [b"before".to_vec(), b"after".to_vec()]);
}

#[test]
fn address_that_is_none() {
    let folder = Folder::new();
    for bad in ["nonsense", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:", ":1", "http://127.0.0.1:1"] {
        let words = refused(&mut up(&folder.join("store"), "127.0.0.1:0", bad));
        assert_says(&words, &[bad, "--broker"]);
        let words = refused(&mut up(&folder.join("store"), bad, "127.0.0.1:0"));
        assert_says(&words, &[bad, "--namesrv"]);
    }
    assert!(!folder.join("store").exists(), "a refused start made a folder");
}

/// Beyond loopback a server is open to strangers: that needs the word (SEC-6).
#[test]
fn address_beyond_loopback_without_the_word() {
    let folder = Folder::new();
    for open in ["0.0.0.0:0", "[::]:0"] {
        let words = refused(&mut up(&folder.join("store"), "127.0.0.1:0", open));
        assert_says(&words, &["--insecure", open]);
        let words = refused(&mut up(&folder.join("store"), open, "127.0.0.1:0"));
        assert_says(&words, &["--insecure", open]);
    }
}

#[test]
fn topic_that_is_unknown_with_auto_create_off() {
    let folder = Folder::new();
    let mut server = Server::start(&folder, &Options::default().with(&["--no-auto-create-topic"]));
    let refusal = server.link().send("absent", 0, "", b"body").expect("an answer").expect_err("there is no such topic");
    assert_eq!(refusal.code, 17);
    assert_says(&refusal.remark, &["absent"]);
    let words = refused(Command::new(binary()).args(["produce", "--namesrv", &server.namesrv, "absent", "x"]));
    assert_says(&words, &["absent", "create the topic"]);
    server.assert_healthy();
}

#[test]
fn nobody_at_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address").to_string();
    drop(listener);
    let words = refused(Command::new(binary()).args(["produce", "--namesrv", &address, "t", "x"]));
    assert_says(&words, &[&address, "check that the server runs"]);
}
