//! Push consumers: shares, first offsets, delivery, acks, commits, trouble.

use super::*;

fn subscribe(world: &mut World, options: SubscribeOptions) -> ConsumerId {
    let now = world.time();
    let consumer = world.client.subscribe(now, "g", "T", options).unwrap();
    world.run();
    consumer
}

fn first() -> SubscribeOptions {
    SubscribeOptions { from: From::First, ..SubscribeOptions::default() }
}

fn assigned(world: &World, consumer: ConsumerId) -> Vec<String> {
    world.client.assigned(consumer).map(ToString::to_string).collect()
}

#[test]
fn a_lone_consumer_has_all_queues_and_gets_what_comes() {
    let mut world = World::new(&["a", "b"]).topic("T", 2);
    let consumer = subscribe(&mut world, SubscribeOptions::default());
    assert_eq!(assigned(&world, consumer), ["T/a/0", "T/a/1", "T/b/0", "T/b/1"]);
    world.put("b", "T", 1, "TAGS\u{1}x\u{2}KEYS\u{1}k1 k2\u{2}UNIQ_KEY\u{1}U\u{2}", "hello");
    let messages = world.delivered();
    assert_eq!(bodies(&messages), ["hello"]);
    let message = &messages[0];
    assert_eq!((message.tag(), message.message_id.as_str()), (Some("x"), "U"));
    assert_eq!(message.keys().collect::<Vec<_>>(), ["k1", "k2"]);
    assert_eq!((message.queue.to_string().as_str(), message.offset), ("T/b/1", 0));
}

#[test]
fn last_means_after_the_start_and_first_means_all() {
    for (from, expected) in [(From::Last, &["new"][..]), (From::First, &["old", "new"][..])] {
        let mut world = World::new(&["a"]).topic("T", 1);
        world.put("a", "T", 0, "", "old");
        subscribe(&mut world, SubscribeOptions { from, ..SubscribeOptions::default() });
        world.put("a", "T", 0, "", "new");
        assert_eq!(bodies(&world.delivered()), expected);
    }
}

#[test]
fn last_reads_a_queue_that_came_later_from_its_beginning() {
    let mut world = World::new(&["a"]);
    subscribe(&mut world, SubscribeOptions::default());
    assert!(matches!(&world.events[0], Event::Trouble { error, .. } if error.kind == ErrorKind::NoRoute));
    // A producer creates the topic by sending to it, before the consumer can know.
    world.cluster.topics.insert("T".to_owned(), 1);
    world.put("a", "T", 0, "", "first of all");
    world.pass(4_000);
    assert_eq!(bodies(&world.delivered()), ["first of all"]);
}

#[test]
fn where_it_started_is_committed_so_that_the_next_owner_loses_nothing() {
    let mut world = World::new(&["a"]).topic("T", 1);
    world.put("a", "T", 0, "", "old");
    subscribe(&mut world, SubscribeOptions::default());
    assert_eq!(world.offset("g", "T", "a", 0), Some(1), "DEL-1");
}

#[test]
fn queues_are_told_when_nothing_sent_to_them_can_be_missed() {
    let mut world = World::new(&["a"]).topic("T", 2);
    let now = world.time();
    world.client.subscribe(now, "g", "T", SubscribeOptions::default()).unwrap();
    let address = world.address("a");
    // Step by step: as soon as the queues are told, something is sent to them.
    loop {
        while let Some(event) = world.client.poll_event() {
            world.events.push_back(event);
        }
        if world.events.iter().any(|event| matches!(event, Event::Assigned { queues, .. } if queues.len() == 2)) {
            break;
        }
        world.step();
    }
    for queue in [0, 1] {
        world.cluster.store(&(address.clone(), "T".to_owned(), queue), "", b"new", 0);
    }
    world.run();
    assert_eq!(bodies(&world.delivered()), ["new", "new"]);
}

#[test]
fn progress_is_taken_up() {
    let mut world = World::new(&["a"]).topic("T", 1);
    for body in ["0", "1", "2"] {
        world.put("a", "T", 0, "", body);
    }
    let address = world.address("a");
    world.cluster.offsets.insert(("g".to_owned(), "T".to_owned(), address, 0), 2);
    subscribe(&mut world, first());
    assert_eq!(bodies(&world.delivered()), ["2"]);
}

#[test]
fn the_commit_waits_for_the_oldest_unacked() {
    let mut world = World::new(&["a"]).topic("T", 1);
    for body in ["0", "1", "2"] {
        world.put("a", "T", 0, "", body);
    }
    let consumer = subscribe(&mut world, first());
    let messages = world.delivered();
    world.ack(consumer, &messages[1]);
    world.ack(consumer, &messages[2]);
    world.pass(6_000);
    assert_eq!(world.offset("g", "T", "a", 0), Some(0), "DEL-4: message 0 is not done");
    world.ack(consumer, &messages[0]);
    world.pass(5_000);
    assert_eq!(world.offset("g", "T", "a", 0), Some(3));
    let commits = world.count("commit T/0=3");
    world.pass(12_000);
    assert_eq!(world.count("commit T/0=3"), commits, "what has not moved is not told again");
}

#[test]
fn an_ack_counts_once_and_for_its_own_queue_only() {
    let mut world = World::new(&["a"]).topic("T", 1);
    world.put("a", "T", 0, "", "0");
    world.put("a", "T", 0, "", "1");
    let consumer = subscribe(&mut world, first());
    let messages = world.delivered();
    world.ack(consumer, &messages[0]);
    world.ack(consumer, &messages[0]);
    let now = world.time();
    let other = MessageQueue { id: 7, ..messages[1].queue.clone() };
    world.client.ack(now, consumer, &other, 1);
    world.client.ack(now, ConsumerId(99), &messages[1].queue, 1);
    world.client.ack(now, consumer, &messages[1].queue, 55);
    world.pass(6_000);
    assert_eq!(world.offset("g", "T", "a", 0), Some(1));
}

#[test]
fn members_share_by_average_and_a_notice_is_heeded() {
    let mut world = World::new(&["a"]).topic("T", 4);
    let consumer = subscribe(&mut world, first());
    world.put("a", "T", 3, "", "mine for now");
    assert_eq!(assigned(&world, consumer).len(), 4);
    let messages = world.delivered();
    world.pass(1_500);
    // "he" sorts before "me": the first half is his.
    world.cluster.members.entry("g".to_owned()).or_default().insert("he".to_owned());
    let conn = *world.conns.iter().find(|(_, at)| **at == world.cluster.brokers[0].1).unwrap().0;
    let call = Call { conn, opaque: 1, binary: false, oneway: true };
    let now = world.time();
    world.client.handle_request(now, call, &Request::NotifyConsumerIds { group: "g" });
    world.run();
    assert_eq!(assigned(&world, consumer), ["T/a/2", "T/a/3"]);
    let told = world.events.iter().rev().find_map(|event| match event {
        Event::Assigned { queues, .. } => Some(queues.len()),
        _ => None,
    });
    assert_eq!(told, Some(2));
    world.ack(consumer, &messages[0]);
    // When he leaves, the 20 s round gives everything back.
    world.cluster.members.get_mut("g").unwrap().remove("he");
    world.pass(20_000);
    assert_eq!(assigned(&world, consumer).len(), 4);
    assert_eq!(world.offset("g", "T", "a", 3), Some(1));
}

#[test]
fn a_lost_queue_is_committed_and_its_acks_are_void() {
    let mut world = World::new(&["a"]).topic("T", 2);
    for body in ["0", "1"] {
        world.put("a", "T", 0, "", body);
    }
    let consumer = subscribe(&mut world, first());
    let messages = world.delivered();
    world.ack(consumer, &messages[0]);
    world.put("a", "T", 0, "", "never taken by the user");
    world.cluster.members.entry("g".to_owned()).or_default().insert("he".to_owned());
    // What waits in the machine for the user is dropped with the queue.
    let now = world.time();
    world.now = world.now.plus_ms(20_000);
    assert!(world.now > now.mono);
    world.pass(0);
    assert_eq!(assigned(&world, consumer), ["T/a/1"]);
    assert_eq!(world.offset("g", "T", "a", 0), Some(1), "committed when it was given up");
    world.ack(consumer, &messages[1]);
    world.pass(6_000);
    assert_eq!(world.offset("g", "T", "a", 0), Some(1), "the new owner's progress is not touched");
}

#[test]
fn tags_are_compared_as_text() {
    let mut world = World::new(&["a"]).topic("T", 1);
    let consumer = subscribe(&mut world, SubscribeOptions { tags: "A || B".to_owned(), ..first() });
    // "Aa" and "BB" have one hash; the broker's filter lets both through, and here even more.
    for (tag, body) in [("A", "1"), ("C", "2"), ("B", "3"), ("Aa", "4")] {
        world.put("a", "T", 0, &format!("TAGS\u{1}{tag}\u{2}"), body);
    }
    world.put("a", "T", 0, "", "no tag");
    let messages = world.delivered();
    assert_eq!(bodies(&messages), ["1", "3"]);
    for message in &messages {
        world.ack(consumer, message);
    }
    world.pass(6_000);
    assert_eq!(world.offset("g", "T", "a", 0), Some(5), "what does not match is passed");
}

#[test]
fn reading_stops_at_the_prefetch_and_goes_on_with_an_ack() {
    let mut world = World::new(&["a"]).topic("T", 1);
    for i in 0..10 {
        world.put("a", "T", 0, "", &i.to_string());
    }
    let consumer = subscribe(&mut world, SubscribeOptions { prefetch: 3, ..first() });
    let messages = world.delivered();
    assert_eq!(bodies(&messages), ["0", "1", "2"]);
    world.pass(60_000);
    assert!(world.delivered().is_empty(), "SEC-10: no more than asked for");
    world.ack(consumer, &messages[0]);
    world.ack(consumer, &messages[1]);
    assert_eq!(bodies(&world.delivered()), ["3", "4"]);
}

#[test]
fn a_wide_span_stops_reading() {
    let mut world = World::new(&["a"]).topic("T", 1);
    for i in 0..3_000 {
        world.put("a", "T", 0, "", &i.to_string());
    }
    let consumer = subscribe(&mut world, SubscribeOptions { prefetch: 10_000, ..first() });
    let mut messages = world.delivered();
    let stuck = messages.remove(0);
    let mut most = 0;
    while !messages.is_empty() {
        for message in messages {
            most = message.offset;
            world.ack(consumer, &message);
        }
        messages = world.delivered();
    }
    assert!((2_000..=2_064).contains(&most), "{most}");
    world.ack(consumer, &stuck);
    assert!(!world.delivered().is_empty());
}

#[test]
fn pause_and_resume() {
    let mut world = World::new(&["a"]).topic("T", 1);
    let consumer = subscribe(&mut world, first());
    world.client.pause(consumer);
    world.put("a", "T", 0, "", "under way");
    let messages = world.delivered();
    assert_eq!(bodies(&messages), ["under way"], "a pull that was held already still delivers");
    world.ack(consumer, &messages[0]);
    world.put("a", "T", 0, "", "later");
    world.pass(30_000);
    assert!(world.delivered().is_empty());
    let now = world.time();
    world.client.resume(now, consumer);
    world.run();
    assert_eq!(bodies(&world.delivered()), ["later"]);
}

#[test]
fn an_offset_that_is_gone_moves_to_what_is_kept() {
    let mut world = World::new(&["a"]).topic("T", 1);
    for body in ["0", "1", "2", "3"] {
        world.put("a", "T", 0, "", body);
    }
    let address = world.address("a");
    world.cluster.min.insert((address.clone(), "T".to_owned(), 0), 2);
    subscribe(&mut world, first());
    assert_eq!(bodies(&world.delivered()), ["2", "3"]);
    // Progress beyond the end: the broker lost its tail. What comes next is read.
    let mut world = World::new(&["a"]).topic("T", 1);
    world.put("a", "T", 0, "", "0");
    world.cluster.offsets.insert(("g".to_owned(), "T".to_owned(), address, 0), 50);
    subscribe(&mut world, first());
    world.put("a", "T", 0, "", "1");
    assert_eq!(bodies(&world.delivered()), ["1"]);
    assert_eq!(world.offset("g", "T", "a", 0), Some(1), "the wrong progress was put right at once");
}

#[test]
fn a_broken_connection_is_told_and_healed() {
    let mut world = World::new(&["a"]).topic("T", 1);
    let consumer = subscribe(&mut world, first());
    let address = world.address("a");
    world.cluster.dead.insert(address.clone());
    world.cut(&address);
    world.pass(5_000);
    let troubles = world.events.iter().filter(|event| matches!(event, Event::Trouble { .. })).count();
    assert_eq!(troubles, 1, "told once");
    world.cluster.dead.clear();
    world.put("a", "T", 0, "", "after");
    world.pass(20_000);
    assert_eq!(bodies(&world.delivered()), ["after"]);
    assert_eq!(assigned(&world, consumer), ["T/a/0"]);
    let back = world.cluster.heard.iter().rposition(|heard| heard.what == "beat").unwrap();
    assert!(world.cluster.heard[back..].iter().any(|heard| heard.what.starts_with("pull")), "the heartbeat came first");
}

#[test]
fn a_broker_that_lost_the_heartbeat_gets_another() {
    let mut world = World::new(&["a"]).topic("T", 1);
    world.put("a", "T", 0, "", "0");
    world.cluster.pull_refusals.push_back(Code::SUBSCRIPTION_NOT_EXIST);
    subscribe(&mut world, first());
    world.pass(1_000);
    assert_eq!(bodies(&world.delivered()), ["0"]);
    assert_eq!(world.count("beat"), 2);
    assert!(!world.events.iter().any(|e| matches!(e, Event::Trouble { .. })), "not worth a word");
    world.cluster.pull_refusals.extend([Code::SUBSCRIPTION_NOT_LATEST; 2]);
    world.put("a", "T", 0, "", "1");
    world.pass(3_000);
    assert!(world.events.iter().any(|e| matches!(e, Event::Trouble { .. })), "twice is");
}

#[test]
fn other_refusals_of_a_pull_wait_and_refresh_the_route() {
    let mut world = World::new(&["a"]).topic("T", 1);
    world.put("a", "T", 0, "", "0");
    world.cluster.pull_refusals.extend([Code::FLOW_CONTROL, Code::NO_PERMISSION]);
    subscribe(&mut world, first());
    let routes = world.count("route T");
    world.pass(19);
    assert_eq!(world.cluster.pull_refusals.len(), 1);
    world.pass(1_500);
    assert_eq!(bodies(&world.delivered()), ["0"]);
    let told = world.events.iter().find_map(|event| match event {
        Event::Trouble { error, .. } => Some(error.kind),
        _ => None,
    });
    assert_eq!(told, Some(ErrorKind::Refused(Code::NO_PERMISSION)));
    assert_eq!(world.count("route T"), routes, "A66: not twice within a second");
    world.cluster.pull_refusals.push_back(Code::SYSTEM_BUSY);
    world.put("a", "T", 0, "", "1");
    world.pass(1_500);
    assert_eq!(world.count("route T"), routes + 1, "A66");
}

#[test]
fn a_broker_that_does_not_serve_send_back_leaves_the_message_here() {
    let mut world = World::new(&["a"]).topic("T", 1);
    world.put("a", "T", 0, "", "0");
    world.put("a", "T", 0, "", "1");
    let consumer = subscribe(&mut world, first());
    let messages = world.delivered();
    let now = world.time();
    world.client.nack(now, consumer, &messages[0].queue, 0);
    world.ack(consumer, &messages[1]);
    world.pass(9_999);
    assert!(world.delivered().is_empty());
    assert_eq!(world.offset("g", "T", "a", 0), Some(0), "DEL-1: it holds the commit");
    world.pass(1);
    let again = world.delivered();
    assert_eq!((bodies(&again), again[0].reconsume_times), (["0"].to_vec(), 1));
    let now = world.time();
    world.client.nack(now, consumer, &again[0].queue, 0);
    world.pass(29_999);
    assert!(world.delivered().is_empty(), "the second pause is longer");
    world.pass(1);
    let again = world.delivered();
    assert_eq!(again[0].reconsume_times, 2);
    world.ack(consumer, &again[0]);
    world.pass(6_000);
    assert_eq!(world.offset("g", "T", "a", 0), Some(2));
    assert_eq!(world.count("send back T@0"), 2);
}

#[test]
fn a_broker_takes_a_message_back() {
    let mut world = World::new(&["a"]).topic("T", 1);
    world.cluster.serves_send_back = Some(Code::SUCCESS);
    world.put("a", "T", 0, "", "0");
    let consumer = subscribe(&mut world, first());
    world.pass(5_000);
    world.cluster.topics.insert("%RETRY%g".to_owned(), 1);
    let messages = world.delivered();
    let now = world.time();
    world.client.nack(now, consumer, &messages[0].queue, 0);
    world.put("a", "%RETRY%g", 0, "RETRY_TOPIC\u{1}T\u{2}", "again");
    world.pass(6_000);
    assert_eq!(world.offset("g", "T", "a", 0), Some(1));
    assert_eq!(bodies(&world.delivered()), ["again"], "the retry topic is looked for at once");
}

#[test]
fn a_copy_goes_to_the_retry_topic_when_the_broker_cannot_take_it_back() {
    let mut world = World::new(&["a"]).topic("T", 1).topic("%RETRY%g", 1);
    world.cluster.serves_send_back = Some(Code::SYSTEM_ERROR);
    world.put("a", "T", 0, "TAGS\u{1}x\u{2}UNIQ_KEY\u{1}U\u{2}", "0");
    let consumer = subscribe(&mut world, first());
    let messages = world.delivered();
    let now = world.time();
    world.client.nack(now, consumer, &messages[0].queue, 0);
    world.pass(1_000);
    world.wake(|_, _| true);
    let again = world.delivered();
    assert_eq!(bodies(&again), ["0"]);
    assert_eq!((&*again[0].topic, &*again[0].queue.topic), ("T", "%RETRY%g"), "it shows its first topic");
    assert_eq!(again[0].properties.get("DELAY").map(String::as_str), Some("3"));
    assert_eq!(again[0].tag(), Some("x"));
    assert!(!world.events.iter().any(|e| matches!(e, Event::Sent { .. })), "nobody asked for that send");
    world.ack(consumer, &again[0]);
    world.pass(6_000);
    assert_eq!(world.offset("g", "T", "a", 0), Some(1));
    assert_eq!(world.offset("g", "%RETRY%g", "a", 0), Some(1));
}

#[test]
fn compressed_bodies_are_opened_up_to_a_bound() {
    let mut config = ClientConfig::new([NAMESRV.to_owned()].into(), "me");
    config.max_decompressed = 1_000;
    let mut world = World::with(&["a"], config).topic("T", 1);
    let zip = |len: usize| miniz_oxide::deflate::compress_to_vec_zlib(&alloc::vec![b'x'; len], 6);
    for (flags, body) in [
        (0x1, zip(1_000)),
        (0x301, zip(10)),
        (0x1, zip(1_001)),
        (0x1, b"not zlib".to_vec()),
        (0x101, b"lz4".to_vec()),
        (0x201, b"zstd".to_vec()),
    ] {
        world.put_flagged("a", "T", 0, "", &body, flags);
    }
    subscribe(&mut world, first());
    let messages = world.delivered();
    let why: Vec<_> = messages.iter().map(|m| m.body.as_ref().map(Vec::len).map_err(|error| error.why)).collect();
    assert_eq!(
        why,
        [
            Ok(1_000),
            Ok(10),
            Err(BodyTrouble::TooLarge { max: 1_000 }),
            Err(BodyTrouble::Corrupt),
            Err(BodyTrouble::Lz4),
            Err(BodyTrouble::Zstd)
        ],
        "SEC-9; none is lost in silence"
    );
    assert_eq!(messages[5].body.as_ref().unwrap_err().raw, b"zstd");
}

#[test]
fn a_damaged_message_is_told_and_never_stepped_over() {
    let mut world = World::new(&["a"]).topic("T", 1);
    world.put("a", "T", 0, "", "0");
    world.put("a", "T", 0, "", "1");
    let key = (world.address("a"), "T".to_owned(), 0);
    let damaged = &mut world.cluster.messages.get_mut(&key).unwrap()[1].1;
    let at = damaged.len() / 2;
    damaged[at] ^= 1;
    let consumer = subscribe(&mut world, first());
    let messages = world.delivered();
    assert_eq!(bodies(&messages), ["0"]);
    assert!(
        world.events.iter().any(|e| matches!(e, Event::Trouble { error, .. } if error.kind == ErrorKind::Malformed))
    );
    world.ack(consumer, &messages[0]);
    world.pass(6_000);
    assert_eq!(world.offset("g", "T", "a", 0), Some(1));
    world.cluster.messages.get_mut(&key).unwrap()[1].1[at] ^= 1;
    world.pass(2_000);
    assert_eq!(bodies(&world.delivered()), ["1"], "DEL-1: once it is repaired, it comes");
}

#[test]
fn leaving_commits_and_leaves_the_group() {
    let mut world = World::new(&["a"]).topic("T", 1);
    world.put("a", "T", 0, "", "0");
    world.put("a", "T", 0, "", "1");
    let consumer = subscribe(&mut world, first());
    let messages = world.delivered();
    world.ack(consumer, &messages[0]);
    let now = world.time();
    world.client.unsubscribe(now, consumer);
    assert!(!world.events.contains(&Event::Unsubscribed { consumer }), "not before the broker has it");
    world.run();
    assert!(world.events.contains(&Event::Unsubscribed { consumer }));
    assert_eq!(world.offset("g", "T", "a", 0), Some(1));
    let address = world.address("a");
    assert_eq!(world.heard(&address).last(), Some(&"leave consumer g"));
    let pulls = world.cluster.heard.len();
    world.put("a", "T", 0, "", "2");
    world.pass(25_000);
    assert!(world.delivered().is_empty());
    assert!(!world.cluster.heard[pulls..].iter().any(|heard| heard.what.starts_with("pull")));
}

#[test]
fn closing_commits_everything_and_ends() {
    let mut world = World::new(&["a", "b"]).topic("T", 2);
    let consumer = subscribe(&mut world, first());
    world.put("b", "T", 1, "", "0");
    let messages = world.delivered();
    world.ack(consumer, &messages[0]);
    let now = world.time();
    world.client.close(now);
    world.run();
    assert!(world.client.is_closed());
    assert_eq!(world.offset("g", "T", "b", 1), Some(1));
    assert_eq!(world.count("leave consumer g"), 2, "both brokers are told");
    assert!(world.conns.is_empty());
}

#[test]
fn closing_ends_even_when_nobody_answers() {
    let mut world = World::new(&["a"]).topic("T", 1);
    subscribe(&mut world, first());
    let address = world.address("a");
    world.cluster.silent.insert(address);
    let now = world.time();
    world.client.close(now);
    world.pass(5_000);
    assert!(world.client.is_closed());
    assert_eq!(world.events.back(), Some(&Event::Closed));
}

#[test]
fn two_topics_of_one_group_are_one_member() {
    let mut world = World::new(&["a"]).topic("T", 1).topic("U", 1);
    let t = subscribe(&mut world, first());
    let now = world.time();
    let u = world.client.subscribe(now, "g", "U", first()).unwrap();
    world.run();
    world.pass(2_000);
    world.put("a", "T", 0, "", "t");
    world.put("a", "U", 0, "", "u");
    let mut got = Vec::new();
    for event in &world.events {
        if let Event::Messages { consumer, batch, .. } = event {
            got.push((*consumer, batch[0].text().unwrap().to_owned()));
        }
    }
    assert_eq!(got, [(t, "t".to_owned()), (u, "u".to_owned())]);
    let now = world.time();
    let error = world.client.subscribe(now, "g", "U", first()).unwrap_err();
    assert!(error.to_string().contains("already"), "{error}");
    world.client.unsubscribe(now, u);
    world.run();
    assert_eq!(world.count("leave consumer g"), 0, "the group is still consumed");
    world.delivered();
    world.put("a", "T", 0, "", "more");
    assert_eq!(bodies(&world.delivered()), ["more"]);
}

#[test]
fn bad_subscriptions_are_refused() {
    let mut world = World::new(&["a"]);
    let now = world.time();
    for (group, topic, options) in [
        ("", "T", first()),
        ("g", "a b", first()),
        ("DEFAULT_CONSUMER", "T", first()),
        ("g", "T", SubscribeOptions { prefetch: 0, ..first() }),
        ("g", "T", SubscribeOptions { batch: 2_000, ..first() }),
    ] {
        let error = world.client.subscribe(now, group, topic, options).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Usage, "{error}");
    }
}
