//! Sends: turn, retry, budget, limits.

use super::*;

fn send(world: &mut World, topic: &str, body: &str) -> SendId {
    let now = world.time();
    let id = world.client.send(now, "p", OutgoingMessage::new(topic, body), &SendOptions::default()).unwrap();
    world.run();
    id
}

#[test]
fn route_then_heartbeat_then_send() {
    let mut world = World::new(&["a"]).topic("T", 1);
    let id = send(&mut world, "T", "hello");
    let result = world.sent(id).unwrap();
    assert_eq!(result[0].status, SendStatus::SendOk);
    assert_eq!(result[0].queue.to_string(), "T/a/0");
    assert_eq!(result[0].offset, Some(0));
    assert_eq!((result[0].message_id.len(), result[0].offset_message_id.len()), (32, 32));
    let trace: Vec<&str> = world.cluster.heard.iter().map(|heard| heard.what.as_str()).collect();
    assert_eq!(trace, ["route T", "beat", "send T/0"]);
}

#[test]
fn queues_are_taken_in_turn_over_brokers() {
    let mut world = World::new(&["a", "b"]).topic("T", 2);
    for _ in 0..8 {
        let id = send(&mut world, "T", "x");
        world.sent(id).unwrap();
    }
    for broker in ["a", "b"] {
        let address = world.address(broker);
        let mut sends = world.heard(&address);
        sends.sort_unstable();
        assert_eq!(sends, ["send T/0", "send T/0", "send T/1", "send T/1"], "each queue got two of eight");
    }
}

#[test]
fn clients_that_send_once_do_not_all_take_the_first_queue() {
    let mut taken = [0; 4];
    for seed in 0..64 {
        let mut world = World::seeded(&["a"], seed).topic("T", 4);
        let id = send(&mut world, "T", "x");
        taken[world.sent(id).unwrap()[0].queue.id as usize] += 1;
    }
    assert!(taken.iter().all(|&count| count > 4), "{taken:?}");
}

#[test]
fn another_broker_takes_what_one_refuses_for_now() {
    for code in [1, 2, 14, 16, 17, 204, 205, 1500] {
        let mut world = World::new(&["a", "b"]).topic("T", 4);
        let (a, b) = (world.address("a"), world.address("b"));
        world.cluster.refusals.insert(a.clone(), [Code(code); 9].into());
        for _ in 0..8 {
            let id = send(&mut world, "T", "x");
            assert_eq!(&*world.sent(id).unwrap()[0].queue.broker, "b", "code {code}");
        }
        assert_eq!(world.heard(&b).len(), 8);
        assert!(!world.heard(&a).is_empty());
    }
}

#[test]
fn a_final_refusal_is_told_at_once() {
    let mut world = World::new(&["a", "b"]).topic("T", 1);
    for broker in ["a", "b"] {
        let address = world.address(broker);
        world.cluster.refusals.insert(address, [Code::MESSAGE_ILLEGAL].into());
    }
    let id = send(&mut world, "T", "x");
    let error = world.sent(id).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused(Code::MESSAGE_ILLEGAL));
    assert_eq!((error.code(), error.name(), error.retryable()), (13, "MESSAGE_ILLEGAL", false));
    assert!(error.to_string().contains("as told"), "{error}");
    assert_eq!(world.count("send T/0"), 1);
}

#[test]
fn three_attempts_and_no_more() {
    let mut world = World::new(&["a", "b"]).topic("T", 1);
    for broker in ["a", "b"] {
        let address = world.address(broker);
        world.cluster.refusals.insert(address, [Code::SYSTEM_BUSY; 9].into());
    }
    let id = send(&mut world, "T", "x");
    let error = world.sent(id).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused(Code::SYSTEM_BUSY));
    assert!(error.to_string().contains("after 3 attempts"), "{error}");
    assert_eq!(world.count("send T/0"), 3);
    let order: Vec<&str> = world
        .cluster
        .heard
        .iter()
        .filter(|heard| heard.what.starts_with("send"))
        .map(|heard| heard.address.as_str())
        .collect();
    assert_ne!(order[0], order[1], "the second attempt avoids the first one's broker");
    assert_ne!(order[1], order[2], "the third avoids the second's");
}

#[test]
fn all_attempts_share_three_seconds() {
    let mut world = World::new(&["a", "b"]).topic("T", 1);
    for broker in ["a", "b"] {
        let address = world.address(broker);
        world.cluster.silent.insert(address);
    }
    let id = send(&mut world, "T", "x");
    world.pass(2_999);
    assert!(!world.is_sent(id));
    world.pass(1);
    let error = world.sent(id).unwrap_err();
    assert_eq!((error.kind, error.code()), (ErrorKind::Timeout, 10_002));
    assert!(error.retryable());
    assert_eq!(world.count("send T/0"), 1, "the first attempt waited for all of it");
}

#[test]
fn a_dead_broker_is_passed_over_within_a_send() {
    let mut world = World::new(&["a", "b"]).topic("T", 1);
    let dead = world.address("a");
    world.cluster.dead.insert(dead);
    for _ in 0..6 {
        let id = send(&mut world, "T", "x");
        assert_eq!(&*world.sent(id).unwrap()[0].queue.broker, "b");
    }
}

#[test]
fn a_broken_connection_is_another_attempt() {
    let mut world = World::new(&["a", "b"]).topic("T", 1);
    let (a, b) = (world.address("a"), world.address("b"));
    world.cluster.silent.extend([a.clone(), b.clone()]);
    let id = send(&mut world, "T", "x");
    world.pass(500);
    world.cluster.silent.clear();
    let first = world.cluster.heard.iter().find(|heard| heard.what == "send T/0").unwrap().address.clone();
    world.cut(&first);
    let result = world.sent(id).unwrap();
    let went = world.address(&result[0].queue.broker);
    assert_ne!(went, first);
}

#[test]
fn a_failed_send_refreshes_the_route_once_a_second() {
    let mut world = World::new(&["a"]).topic("T", 1);
    let id = send(&mut world, "T", "x");
    world.sent(id).unwrap();
    let address = world.address("a");
    world.cluster.refusals.insert(address, [Code::SYSTEM_BUSY; 100].into());
    let before = world.count("route T");
    world.pass(2_000);
    for _ in 0..5 {
        send(&mut world, "T", "x");
        world.pass(100);
    }
    assert_eq!(world.count("route T"), before + 1);
    world.pass(600);
    send(&mut world, "T", "x");
    assert_eq!(world.count("route T"), before + 2);
}

#[test]
fn routes_in_use_are_refreshed_every_thirty_seconds() {
    let mut world = World::new(&["a"]).topic("T", 1);
    let id = send(&mut world, "T", "x");
    world.sent(id).unwrap();
    assert_eq!(world.count("route T"), 1);
    world.pass(90_000);
    assert_eq!(world.count("route T"), 4);
    assert_eq!(world.count("beat"), 1 + 3, "one when the connection opened, and one each 30 s");
}

#[test]
fn an_unknown_topic_is_created_after_the_default_topic() {
    let mut world = World::new(&["a"]).topic("TBW102", 8);
    for _ in 0..8 {
        let id = send(&mut world, "New", "x");
        assert!(world.sent(id).unwrap()[0].queue.id < 4, "at most four queues");
    }
    let trace: Vec<&str> = world.cluster.heard.iter().take(2).map(|heard| heard.what.as_str()).collect();
    assert_eq!(trace, ["route New", "route TBW102"]);
}

#[test]
fn an_unknown_topic_that_nobody_creates_is_named() {
    let mut world = World::new(&["a"]);
    let id = send(&mut world, "New", "x");
    let error = world.sent(id).unwrap_err();
    assert_eq!((error.kind, error.code()), (ErrorKind::NoRoute, 10_005));
    assert!(error.to_string().contains("'New'") && error.to_string().contains("create the topic"), "{error}");
    // Once it is there, the next send finds it.
    world.cluster.topics.insert("New".to_owned(), 1);
    let id = send(&mut world, "New", "x");
    world.sent(id).unwrap();
}

#[test]
fn the_next_nameserver_is_asked_when_one_fails() {
    let names = ["10.0.1.1:9876", "10.0.1.2:9876", "10.0.1.3:9876"];
    let config = ClientConfig::new(names.map(ToOwned::to_owned).into(), "me");
    let mut world = World::with(&["a"], config).topic("T", 1);
    let id = send(&mut world, "T", "x");
    world.sent(id).unwrap();
    let used = world.cluster.heard[0].address.clone();
    // It is kept as long as it answers.
    world.pass(31_000);
    let asked: BTreeSet<String> =
        world.cluster.heard.iter().filter(|h| h.what == "route T").map(|h| h.address.clone()).collect();
    assert_eq!(asked, [used.clone()].into());
    world.cluster.dead.insert(used.clone());
    world.cut(&used);
    let id = send(&mut world, "TBW102", "x");
    assert_eq!(world.sent(id).unwrap_err().kind, ErrorKind::NoRoute, "another one answered");
    // When none answers, that is said.
    world.cluster.dead.extend(names.map(ToOwned::to_owned));
    for name in names {
        world.cut(name);
    }
    let id = send(&mut world, "Other", "x");
    let error = world.sent(id).unwrap_err();
    assert_eq!((error.kind, error.code()), (ErrorKind::NoNameServer, 10_004));
    assert!(error.to_string().contains("connection refused"), "{error}");
}

#[test]
fn a_chosen_queue_gets_one_attempt() {
    let mut world = World::new(&["a", "b"]).topic("T", 2);
    let address = world.address("b");
    world.cluster.refusals.insert(address.clone(), [Code::SYSTEM_BUSY].into());
    let queue = MessageQueue { topic: "T".into(), broker: "b".into(), id: 1 };
    let options = SendOptions { queue: Some(queue.clone()), ..SendOptions::default() };
    let now = world.time();
    let id = world.client.send(now, "p", OutgoingMessage::new("T", "x"), &options).unwrap();
    world.run();
    assert_eq!(world.sent(id).unwrap_err().kind, ErrorKind::Refused(Code::SYSTEM_BUSY));
    let now = world.time();
    let id = world.client.send(now, "p", OutgoingMessage::new("T", "x"), &options).unwrap();
    world.run();
    assert_eq!(world.sent(id).unwrap()[0].queue, queue);
    assert_eq!(world.heard(&address), ["send T/1", "send T/1"]);
    let missing = MessageQueue { broker: "z".into(), ..queue };
    let options = SendOptions { queue: Some(missing), ..SendOptions::default() };
    let now = world.time();
    let id = world.client.send(now, "p", OutgoingMessage::new("T", "x"), &options).unwrap();
    world.run();
    assert_eq!(world.sent(id).unwrap_err().kind, ErrorKind::NoBroker);
    let now = world.time();
    let error = world.client.send(now, "p", OutgoingMessage::new("U", "x"), &options).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Usage);
}

#[test]
fn a_oneway_send_is_over_when_it_has_left() {
    let mut world = World::new(&["a"]).topic("T", 1);
    let options = SendOptions { oneway: true, ..SendOptions::default() };
    let now = world.time();
    let id = world.client.send(now, "p", OutgoingMessage::new("T", "x"), &options).unwrap();
    world.run();
    let result = world.sent(id).unwrap();
    assert_eq!((result[0].offset, result[0].offset_message_id.as_str()), (None, ""));
    assert_eq!(world.count("send T/0"), 1);
}

#[test]
fn a_batch_is_one_request_with_a_result_for_each() {
    let mut world = World::new(&["a"]).topic("T", 1);
    let messages: Vec<_> = (0..3).map(|i| OutgoingMessage::new("T", format!("m{i}")).tag("t").key("k")).collect();
    let now = world.time();
    let id = world.client.send_batch(now, "p", &messages, &SendOptions::default()).unwrap();
    world.run();
    let results = world.sent(id).unwrap();
    assert_eq!(results.iter().map(|result| result.offset).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
    let ids: BTreeSet<&str> = results.iter().flat_map(|r| [&*r.message_id, &*r.offset_message_id]).collect();
    assert_eq!(ids.len(), 6, "every message has ids of its own");
    assert_eq!(world.count("send T/0"), 1);
}

#[test]
fn what_cannot_be_sent_is_refused_before_it_leaves() {
    let mut world = World::new(&["a"]).topic("T", 1);
    let now = world.time();
    let big = "x".repeat((4 << 20) + 1);
    let ok = || OutgoingMessage::new("T", "x");
    let cases = [
        (OutgoingMessage::new("", "x"), ErrorKind::Usage, "topic is empty"),
        (OutgoingMessage::new("a b", "x"), ErrorKind::Usage, "' '"),
        (OutgoingMessage::new("t".repeat(128), "x"), ErrorKind::Usage, "127"),
        (OutgoingMessage::new("SCHEDULE_TOPIC_XXXX", "x"), ErrorKind::Usage, "broker's own"),
        (OutgoingMessage::new("T", ""), ErrorKind::Usage, "empty"),
        (OutgoingMessage::new("T", big), ErrorKind::TooLarge, "maxMessageSize"),
        (ok().property("UNIQ_KEY", "x"), ErrorKind::Usage, "reserved"),
        (ok().property("n", "a\u{1}b"), ErrorKind::Usage, "U+0001"),
        (ok().key("a b"), ErrorKind::Usage, "blank"),
        (ok().tag("a || b"), ErrorKind::Usage, "one tag"),
        (ok().property("n", "v".repeat(33_000)), ErrorKind::TooLarge, "32767"),
    ];
    for (message, kind, part) in cases {
        let error = world.client.send(now, "p", message, &SendOptions::default()).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    let error = world.client.send(now, "DEFAULT_PRODUCER", ok(), &SendOptions::default()).unwrap_err();
    assert!(error.to_string().contains("reserved"), "{error}");
    let mixed = [ok(), OutgoingMessage::new("U", "x")];
    for batch in [&mixed[..], &[], &[ok().property("DELAY", "3")], &[OutgoingMessage::new("%RETRY%g", "x")]] {
        let error = world.client.send_batch(now, "p", batch, &SendOptions::default()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Usage, "{error}");
    }
    world.run();
    assert!(world.cluster.heard.is_empty());
}

#[test]
fn too_much_in_flight_is_refused() {
    let mut config = ClientConfig::new([NAMESRV.to_owned()].into(), "me");
    (config.max_sends, config.max_send_bytes) = (2, 100);
    let mut world = World::with(&["a"], config).topic("T", 1);
    let address = world.address("a");
    world.cluster.silent.insert(address);
    let first = send(&mut world, "T", &"x".repeat(60));
    let now = world.time();
    let message = OutgoingMessage::new("T", "x".repeat(60));
    let error = world.client.send(now, "p", message, &SendOptions::default()).unwrap_err();
    assert_eq!((error.kind, error.retryable()), (ErrorKind::Overloaded, true));
    send(&mut world, "T", "x");
    let now = world.time();
    let error = world.client.send(now, "p", OutgoingMessage::new("T", "x"), &SendOptions::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Overloaded);
    // A send that is given up makes room, and says nothing more.
    let now = world.time();
    world.client.cancel(now, first);
    send(&mut world, "T", "x");
    world.pass(3_000);
    assert!(!world.is_sent(first));
}

#[test]
fn a_peer_that_went_silent_is_dialled_anew() {
    let mut world = World::new(&["a"]).topic("T", 1);
    let id = send(&mut world, "T", "x");
    world.sent(id).unwrap();
    let address = world.address("a");
    world.cluster.silent.insert(address.clone());
    let id = send(&mut world, "T", "x");
    world.pass(3_000);
    assert_eq!(world.sent(id).unwrap_err().kind, ErrorKind::Timeout);
    assert!(!world.conns.values().any(|at| *at == address), "the connection was given up");
    world.cluster.silent.clear();
    let id = send(&mut world, "T", "x");
    world.sent(id).unwrap();
}

#[test]
fn closing_lets_sends_end_and_leaves_the_group() {
    let mut world = World::new(&["a"]).topic("T", 1);
    let id = send(&mut world, "T", "x");
    world.sent(id).unwrap();
    let now = world.time();
    let id = world.client.send(now, "p", OutgoingMessage::new("T", "x"), &SendOptions::default()).unwrap();
    world.client.close(now);
    let error = world.client.send(now, "p", OutgoingMessage::new("T", "x"), &SendOptions::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Closed);
    world.run();
    world.sent(id).unwrap();
    assert!(world.client.is_closed());
    assert_eq!(world.events.back(), Some(&Event::Closed));
    let address = world.address("a");
    assert_eq!(world.heard(&address), ["send T/0", "send T/0", "leave producer p"]);
    assert!(world.conns.is_empty());
    assert_eq!(world.client.poll_timeout(), None);
}
