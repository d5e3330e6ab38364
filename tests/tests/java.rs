//! The official Java client, 4.9.8 and 5.3.3, with JSON and with ROCKETMQ headers, sends in each of its four ways while a push
//! consumer of it listens (DEL-1, DEL-2, DEL-3, ORD-2); what the log holds is counted and compared message by message.

use serde_json::Value;
use skylark_tests::{Folder, Java, JavaClient, Options, Server, body_of, key_of, scan_log, tag_of};
use std::collections::BTreeMap;

const COUNT: usize = 10_000;
const MODES: [&str; 4] = ["sync", "async", "oneway", "batch"];
/// "BB" is not subscribed though its hash is that of "Aa".
const SUBSCRIBED: &str = "TagA || Aa";

#[test]
fn java_4_with_json_headers() {
    everything(&Java::V4.prepare(), "V4_9_8", "JSON");
}

#[test]
fn java_4_with_binary_headers() {
    everything(&Java::V4.prepare().with_binary_headers(), "V4_9_8", "ROCKETMQ");
}

#[test]
fn java_5_with_json_headers() {
    everything(&Java::V5.prepare(), "V5_3_3", "JSON");
}

#[test]
fn java_5_with_binary_headers() {
    everything(&Java::V5.prepare().with_binary_headers(), "V5_3_3", "ROCKETMQ");
}

fn everything(client: &JavaClient, version: &str, headers: &str) {
    let folder = Folder::new();
    let mut server = Server::start(&folder, &Options::default());
    for mode in MODES {
        server.create_topic(&format!("all-{mode}"), 8);
    }
    let mut matching = (0..COUNT).filter(|&index| matches!(tag_of(index), "TagA" | "Aa"));
    let (expected, last) = (matching.clone().count(), matching.next_back().expect("one of many matches"));

    let (count, total) = (COUNT.to_string(), (expected * MODES.len()).to_string());
    let common = ["--namesrv", &server.namesrv, "--group", "tests-all", "--tags", SUBSCRIBED];
    let arguments = [&["both", "--prefix", "all", "--count", &count, "--expect", &total], common.as_slice()].concat();
    let (content, reports) = client.start(folder.path(), &arguments).finish();
    let own = one(&reports, "client", "kind", "client");
    assert_eq!((&own["version"], &own["serialize"]), (&version.into(), &headers.into()));
    for mode in MODES {
        let sent = one(&reports, "sent", "mode", mode);
        assert_eq!((&sent["acked"], &sent["failed"]), (&COUNT.into(), &0.into()), "{sent}");
        let places = if mode == "oneway" { 0 } else { COUNT };
        assert_eq!(sent["places"], places, "offsets that were answered: {sent}");

        let received = one(&reports, "received", "topic", &format!("all-{mode}"));
        for (what, number) in [("count", expected), ("distinct", expected), ("last", last)] {
            assert_eq!(received[what], number, "{what} of {received}");
        }
        for what in ["duplicates", "wrongTags", "foreign", "damaged"] {
            assert_eq!(received[what], 0, "{what} of {received}");
        }
        // Asynchronous sends leave from several threads, so their order is not the order of the indexes.
        if mode != "async" {
            assert_eq!(received["disorder"], 0, "a queue is out of order: {received}");
        }
    }
    assert!(content, "the Java client was not content: {reports:?}");

    // The group goes on where it stopped: nothing comes twice (DEL-4).
    let topics = MODES.map(|mode| format!("all-{mode}")).join(",");
    let again = [&["consume", "--topic", &topics, "--expect", "0"], common.as_slice()].concat();
    for received in client.run(folder.path(), &again).iter().filter(|report| report["kind"] == "received") {
        assert_eq!(received["count"], 0, "a new consumer of the same group got them again: {received}");
    }

    server.assert_healthy();
    assert!(server.stop().success(), "the server did not stop cleanly");
    assert_log_holds(&folder);
}

/// The log holds each of the messages once, as it was sent, with offsets that have no gap (DEL-3, ORD-1).
fn assert_log_holds(folder: &Folder) {
    let mut seen: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    let mut next: BTreeMap<(String, i32), i64> = BTreeMap::new();
    let mut ours = 0;
    scan_log(&folder.join("store"), |record| {
        if !record.topic.starts_with("all-") {
            return;
        }
        ours += 1;
        let offset = next.entry((record.topic.clone(), record.queue)).or_default();
        assert_eq!(record.offset, *offset, "offset in queue {} of {}", record.queue, record.topic);
        *offset += 1;
        let key = record.property("KEYS");
        let index: usize =
            key.strip_prefix(&format!("{}-", record.topic)).and_then(|index| index.parse().ok()).expect("our key");
        assert_eq!(key, key_of(&record.topic, index));
        assert_eq!(record.property("TAGS"), tag_of(index), "tag of {key}");
        let body = body_of(&record.topic, index);
        let compressed = record.sys_flag & 1 != 0;
        assert_eq!(
            compressed,
            body.len() >= 4096 && record.topic != "all-batch",
            "Java compresses long bodies, except in batches"
        );
        assert!(compressed || record.body == body, "body of {key}");
        let seen = seen.entry(record.topic.clone()).or_insert_with(|| vec![false; COUNT]);
        assert!(!std::mem::replace(&mut seen[index], true), "{key} is in the log twice");
    });
    assert_eq!(ours, COUNT * MODES.len(), "messages in the log");
    assert_eq!(seen.len(), MODES.len());
}

fn one<'a>(reports: &'a [Value], kind: &str, field: &str, value: &str) -> &'a Value {
    let mut found = reports.iter().filter(|report| report["kind"] == kind && report[field] == value);
    let first = found.next().unwrap_or_else(|| panic!("no {kind} with {field} {value} in {reports:?}"));
    assert!(found.next().is_none(), "more than one {kind} with {field} {value} in {reports:?}");
    first
}

/// A topic that does not exist comes into being with the first send, for a program on loopback (the operator).
#[test]
fn java_creates_a_topic_by_sending() {
    let folder = Folder::new();
    let server = Server::start(&folder, &Options::default());
    for client in [Java::V4.prepare(), Java::V5.prepare()] {
        let arguments = ["send", "--namesrv", &server.namesrv, "--topic", "new", "--count", "100", "--mode", "sync"];
        let (content, reports) = client.start(folder.path(), &arguments).finish();
        assert!(content, "{reports:?}");
    }
    let kept: usize = (0..4).map(|queue| server.link().pull_all("new", queue, 0).len()).sum();
    assert_eq!(kept, 200, "messages in the four queues of the new topic");
}
