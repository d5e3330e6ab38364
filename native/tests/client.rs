//! The Rust client and the commands over it, against a server of its own on free ports of the loopback.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use skylark::client::{Client, ConsumerEvent, ErrorKind, From, OutgoingMessage, SendOptions, SendStatus, config};
use tokio::time::timeout;

const PROGRAM: &str = env!("CARGO_BIN_EXE_skylark");
/// Only a hang waits this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// `skylark up` in a folder of its own; both are gone with this.
struct Server {
    child: Child,
    dir: PathBuf,
    namesrv: String,
    broker: String,
}

impl Server {
    fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("skylark-client-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self::start_in(dir, "127.0.0.1:0", "127.0.0.1:0")
    }

    fn start_in(dir: PathBuf, namesrv: &str, broker: &str) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["up", "--json", "--segment-size", "16M", "--namesrv", namesrv, "--broker", broker, "--dir"])
            .arg(&dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).expect("the line that says where it serves");
        let address = |name: &str| said[name].as_str().unwrap().to_owned();
        Self { namesrv: address("namesrv"), broker: address("broker"), child, dir }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    async fn client(&self) -> Client {
        Client::connect(&self.namesrv).await.unwrap()
    }

    fn run(&self, args: &[&str], input: &str) -> Output {
        let mut child = Command::new(PROGRAM)
            .args(args)
            .env("NAMESRV_ADDR", &self.namesrv)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it came in time")
}

#[tokio::test]
async fn what_is_sent_is_received_once_and_progress_is_kept() {
    let server = Server::start();
    let client = server.client().await;
    let producer = client.producer("p").unwrap();
    for i in 0..20 {
        let message = OutgoingMessage::new("orders", format!("{i}")).tag(if i % 2 == 0 { "even" } else { "odd" });
        let sent = soon(producer.send(message.key(format!("k{i}")))).await.unwrap();
        assert_eq!((sent.status, &*sent.queue.topic), (SendStatus::SendOk, "orders"));
    }
    let mut consumer = client.consumer("g", "orders").tags("even").from(From::First).start().unwrap();
    let mut got = Vec::new();
    while got.len() < 10 {
        let message = soon(consumer.next()).await.unwrap();
        assert_eq!(message.tag(), Some("even"));
        got.push(message.text().unwrap().parse::<u32>().unwrap());
        if got.len() == 10 {
            message.ack();
        }
    }
    got.sort_unstable();
    assert_eq!(got, (0..20).filter(|i| i % 2 == 0).collect::<Vec<_>>());
    soon(consumer.close()).await;
    // DEL-2: without faults there are no duplicates; the group goes on behind what it acked.
    let mut consumer = client.consumer("g", "orders").tags("even").from(From::First).start().unwrap();
    soon(producer.send(OutgoingMessage::new("orders", "next").tag("even"))).await.unwrap();
    assert_eq!(soon(consumer.next()).await.unwrap().text(), Some("next"));
    soon(client.close()).await;
    assert_eq!(producer.send(OutgoingMessage::new("orders", "x")).await.unwrap_err().kind, ErrorKind::Closed);
    assert!(soon(consumer.next()).await.is_none(), "a closed client's consumers end");
}

#[tokio::test]
async fn a_message_that_is_awaited_comes_at_once() {
    let server = Server::start();
    let client = server.client().await;
    let admin = client.admin();
    let mut config = soon(admin.topic_configs(&server.broker)).await.unwrap().remove(0);
    (config.name, config.read_queues, config.write_queues, config.perm) = ("live".to_owned(), 1, 1, 6);
    soon(admin.create_topic(config, None)).await.unwrap();
    let mut consumer = client.consumer("g", "live").start().unwrap();
    while !matches!(soon(consumer.next_event()).await, Some(ConsumerEvent::Assigned(queues)) if queues.len() == 1) {}
    let producer = client.producer("p").unwrap();
    for i in 0..50 {
        soon(producer.send(OutgoingMessage::new("live", format!("{i}")))).await.unwrap();
        // Far below what a poll without waking would need.
        let message = timeout(Duration::from_secs(5), consumer.next()).await.expect("pushed").unwrap();
        assert_eq!((message.text(), message.offset), (Some(format!("{i}").as_str()), i));
    }
    let stats = soon(admin.topic_stats("live")).await.unwrap();
    assert_eq!((stats.len(), stats[0].max), (1, 50));
    assert!(soon(admin.topics()).await.unwrap().contains(&"live".to_owned()));
    assert_eq!(soon(admin.clusters()).await.unwrap().brokers[0].master(), Some(server.broker.as_str()));
    assert!(!soon(admin.broker_info("broker-a")).await.unwrap().is_empty());
    assert_eq!(soon(admin.route("live")).await.unwrap().queues.len(), 1);
}

#[tokio::test]
async fn two_members_share_the_queues_and_lose_nothing() {
    let server = Server::start();
    let (one, two) = (server.client().await, server.client().await);
    let producer = one.producer("p").unwrap();
    for i in 0..40 {
        soon(producer.send(OutgoingMessage::new("shared", format!("{i}")))).await.unwrap();
    }
    let mut a = one.consumer("g", "shared").from(From::First).start().unwrap();
    let mut b = two.consumer("g", "shared").from(From::First).start().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    let all: std::collections::BTreeSet<String> = (0..60).map(|i| i.to_string()).collect();
    // The second half is sent once both have a share.
    let mut more = Some(());
    soon(async {
        while seen != all {
            if more.is_some() && a.assigned().len() == 2 && b.assigned().len() == 2 {
                more = None;
                for i in 40..60 {
                    producer.send(OutgoingMessage::new("shared", format!("{i}"))).await.unwrap();
                }
            }
            let event = tokio::select! { event = a.next_event() => event, event = b.next_event() => event };
            if let Some(ConsumerEvent::Message(message)) = event {
                seen.insert(message.text().unwrap().to_owned());
            }
        }
    })
    .await;
    let (mine, yours) = (a.assigned(), b.assigned());
    assert_eq!((mine.len(), yours.len()), (2, 2));
    assert!(mine.iter().all(|queue| !yours.contains(queue)));
    // When one goes, the other has all.
    soon(a.close()).await;
    soon(async {
        while b.assigned().len() < 4 {
            b.next_event().await;
        }
    })
    .await;
}

#[tokio::test]
async fn held_messages_are_acked_from_elsewhere_and_given_back_ones_come_again() {
    let server = Server::start();
    let client = server.client().await;
    let producer = client.producer("p").unwrap();
    let queue = soon(producer.send(OutgoingMessage::new("t", "0"))).await.unwrap().queue;
    let options = SendOptions { queue: Some(queue.clone()), ..SendOptions::default() };
    for body in ["1", "2"] {
        soon(producer.send_with(OutgoingMessage::new("t", body), &options)).await.unwrap();
    }
    let mut consumer = client.consumer("g", "t").from(From::First).start().unwrap();
    let first = soon(consumer.next()).await.unwrap().hold();
    let second = soon(consumer.next()).await.unwrap();
    second.ack();
    let third = soon(consumer.next()).await.unwrap();
    third.nack();
    soon(consumer.close()).await;
    // "0" was held and never acked, so the group starts there again.
    let progress = soon(client.admin().consume_stats("g", Some("t"))).await.unwrap();
    let at = progress.iter().find(|progress| progress.queue == queue).unwrap();
    assert_eq!((at.consumer, at.broker), (0, 3), "DEL-4");
    assert_eq!(first.text(), Some("0"));
}

#[tokio::test]
async fn batches_and_oneway_sends_arrive() {
    let server = Server::start();
    let client = server.client().await;
    let producer = client.producer("p").unwrap();
    let batch: Vec<_> = (0..32).map(|i| OutgoingMessage::new("t", format!("b{i}"))).collect();
    let results = soon(producer.send_batch(&batch)).await.unwrap();
    assert_eq!(results.len(), 32);
    assert!(results.windows(2).all(|pair| pair[0].offset.map(|at| at + 1) == pair[1].offset));
    soon(producer.send_oneway(OutgoingMessage::new("t", "oneway"))).await.unwrap();
    let mut consumer = client.consumer("g", "t").from(From::First).start().unwrap();
    let mut got = std::collections::BTreeSet::new();
    while got.len() < 33 {
        got.insert(soon(consumer.next()).await.unwrap().text().unwrap().to_owned());
    }
    assert!(got.contains("oneway") && got.contains("b31"));
}

#[tokio::test]
async fn a_dropped_send_is_given_up_and_makes_room() {
    let server = Server::start();
    let mut settings = config(&server.namesrv);
    settings.max_sends = 1;
    let client = Client::connect_with(settings).await.unwrap();
    let producer = client.producer("p").unwrap();
    for _ in 0..20 {
        let mut send = Box::pin(producer.send(OutgoingMessage::new("t", "dropped")));
        // Polled once, so it is under way, and then dropped.
        assert!(futures_poll_once(&mut send).await.is_none());
        drop(send);
    }
    soon(producer.send(OutgoingMessage::new("t", "kept"))).await.unwrap();
}

async fn futures_poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn a_server_that_was_killed_is_found_again() {
    let mut server = Server::start();
    let client = server.client().await;
    let producer = client.producer("p").unwrap();
    soon(producer.send(OutgoingMessage::new("t", "before"))).await.unwrap();
    let mut consumer = client.consumer("g", "t").from(From::First).start().unwrap();
    assert_eq!(soon(consumer.next()).await.unwrap().text(), Some("before"));
    server.kill();
    let error = soon(producer.send(OutgoingMessage::new("t", "lost"))).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Connect, "{error}");
    assert!(error.retryable());
    loop {
        match soon(consumer.next_event()).await.unwrap() {
            ConsumerEvent::Trouble(error) => {
                assert_eq!(error.kind, ErrorKind::Connect);
                break;
            }
            ConsumerEvent::Assigned(_) => {}
            ConsumerEvent::Message(message) => panic!("{message:?}"),
        }
    }
    let (dir, namesrv, broker) = (server.dir.clone(), server.namesrv.clone(), server.broker.clone());
    let again = Server::start_in(dir, &namesrv, &broker);
    // Its folder is that of the first; only one may remove it.
    server.dir = PathBuf::from("/nonexistent");
    soon(async {
        while producer.send(OutgoingMessage::new("t", "after")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    loop {
        let message = soon(consumer.next()).await.unwrap();
        if message.text() == Some("after") {
            break;
        }
        // "before" may come again: its ack may not have been committed (DEL-2).
        assert_eq!(message.text(), Some("before"));
    }
    drop(again);
}

#[tokio::test]
async fn bad_addresses_are_one_sentence() {
    let error = Client::connect("nowhere").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Usage);
    assert!(error.to_string().contains("host:port"), "{error}");
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = soon(Client::connect(&free.to_string())).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoNameServer);
    assert!(error.to_string().contains("connection refused"), "{error}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_commands_send_and_print() {
    let server = Server::start();
    let made = server.run(&["topic", "create", "t", "--queues", "2"], "");
    assert_eq!((made.status.code(), text(&made.stderr)), (Some(0), String::new()));
    let sent = server.run(&["produce", "t", "hello", "--tag", "x", "--key", "k", "--property", "a=b"], "");
    assert!(text(&sent.stdout).starts_with("SEND_OK "), "{}", text(&sent.stderr));
    let lines = (0..500).map(|i| format!("line {i}")).collect::<Vec<_>>().join("\n");
    let sent = server.run(&["produce", "t", "--quiet"], &lines);
    assert!(text(&sent.stderr).contains("500 messages sent"), "{}", text(&sent.stderr));
    let got = server.run(&["consume", "t", "--from", "first", "--count", "501"], "");
    let printed = text(&got.stdout);
    assert_eq!((printed.lines().count(), got.status.code()), (501, Some(0)));
    assert!(printed.lines().any(|line| line.ends_with("[x] #k hello")), "{printed}");
    let got = server.run(&["consume", "t", "--from", "first", "--tags", "x", "--count", "1", "--json"], "");
    let json: serde_json::Value = serde_json::from_slice(&got.stdout).unwrap();
    assert_eq!((&json["body"], &json["properties"]["a"]), (&"hello".into(), &"b".into()));
    let stats = server.run(&["topic", "stats", "t", "--json"], "");
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&stats.stdout).unwrap();
    assert_eq!(rows.iter().map(|row| row["max"].as_u64().unwrap()).sum::<u64>(), 501);
    let one = server.run(&["topic", "create", "one", "--queues", "1"], "");
    assert_eq!(text(&one.stdout), "topic one has 1 queue on each broker\n");
    // ORD-1: what stands in one queue stands there in the order in which it was sent, and is told in it.
    let sent = server.run(&["produce", "one"], &lines);
    let places = text(&sent.stdout).lines().map(|l| l.rsplit('@').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(places, (0..500).map(|i| i.to_string()).collect::<Vec<_>>());
    let got = server.run(&["consume", "one", "--from", "first", "--count", "500"], "");
    let bodies = text(&got.stdout).lines().map(|l| l.split_once(' ').unwrap().1.to_owned()).collect::<Vec<_>>();
    assert_eq!(bodies.join("\n"), lines);
    let list = server.run(&["topic", "list"], "");
    assert!(text(&list.stdout).lines().any(|topic| topic == "t"));
}

#[test]
fn what_the_commands_cannot_do_is_one_sentence() {
    let server = Server::start();
    for (args, code, part) in [
        (&["topic", "stats", "nope"][..], 1, "nope"),
        (&["topic", "create", "a b"], 1, "' '"),
        (&["topic", "create", "t", "--broker", "zz"], 1, "'zz'"),
        (&["produce", "t", ""], 1, "empty"),
        (&["produce", "t", "x", "--namesrv", "here"], 2, "HOST:PORT"),
        (&["consume", "t", "--from", "noon"], 2, "milliseconds"),
        (&["up", "--segment-size", "3"], 2, "a multiple of 64K"),
    ] {
        let output = server.run(args, "");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(part), "{said}");
    }
}
