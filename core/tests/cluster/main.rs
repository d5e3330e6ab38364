//! Name servers, brokers, producers and consumers together, in virtual time, over real bytes.

mod world;

use std::collections::BTreeMap;

use skylark_core::client::{Event, From, OutgoingMessage, SendOptions, SubscribeOptions};
use skylark_core::output::Note;
use world::World;

fn sent(world: &World) -> Vec<(String, i32, i64)> {
    let results = world.events.iter().filter_map(|(_, event)| match event {
        Event::Sent { result, .. } => Some(result.as_ref().expect("sent").clone()),
        _ => None,
    });
    results
        .flatten()
        .map(|one| (one.queue.broker.to_string(), one.queue.id, one.offset.map_or(-1, |n| n as i64)))
        .collect()
}

/// Bodies that each client received, in order of delivery; everything is acked.
fn consume(world: &mut World, into: &mut BTreeMap<usize, Vec<String>>) {
    let (now, events) = (world.now, std::mem::take(&mut world.events));
    for (client, event) in events {
        if let Event::Messages { consumer, queue, batch } = event {
            for message in batch {
                into.entry(client).or_default().push(message.text().expect("text").to_string());
                world.as_client(client).ack(now, consumer, &queue, message.offset);
            }
        } else {
            world.events.push((client, event));
        }
    }
}

fn send_many(world: &mut World, producer: usize, topic: &str, names: impl Iterator<Item = usize>) {
    let now = world.now;
    for n in names {
        let message = OutgoingMessage::new(topic, format!("{n}")).tag(if n % 2 == 0 { "even" } else { "odd" });
        world.as_client(producer).send(now, "P", message, &SendOptions::default()).expect("accepted");
    }
}

#[test]
fn a_message_goes_from_a_producer_to_a_consumer_through_all_four_components() {
    // A1, A15, A16, DEL-1, DEL-3
    let mut world = World::new();
    let names = [world.namesrv(), world.namesrv()];
    let broker = world.broker(&names, |_| {});
    world.run(1_000);
    assert_eq!(world.notes.iter().filter(|note| matches!(note, Note::Registered { .. })).count(), 2);

    let (producer, consumer) = (world.client(&names), world.client(&names));
    let now = world.now;
    let options = SubscribeOptions { from: From::First, ..SubscribeOptions::default() };
    world.as_client(consumer).subscribe(now, "G", "T", options).expect("subscribed");
    send_many(&mut world, producer, "T", 0..100);
    let mut received = BTreeMap::new();
    for _ in 0..120 {
        world.run(500);
        consume(&mut world, &mut received);
    }
    let mut all: Vec<usize> = received[&consumer].iter().map(|text| text.parse().expect("a number")).collect();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    assert_eq!(sent(&world).len(), 100);
    // A68: the first send asks a NameServer (twice for a new topic), the others do not; A70: sends go to the broker.
    let sends = world.frames.iter().filter(|(from, to, code)| (*from, *to) == (producer, broker) && *code == 310);
    assert_eq!(sends.count(), 100);
}

#[test]
fn sends_go_round_the_queues_of_all_brokers_and_survive_the_loss_of_one() {
    // A58, A72, A77
    let mut world = World::new();
    let names = [world.namesrv()];
    let brokers = [world.broker(&names, |_| {}), world.broker(&names, |_| {})];
    let producer = world.client(&names);
    world.run(1_000);
    send_many(&mut world, producer, "TBW102", 0..64);
    world.run(1_000);
    let mut places: BTreeMap<(String, i32), usize> = BTreeMap::new();
    for (broker, queue, _) in sent(&world) {
        *places.entry((broker, queue)).or_default() += 1;
    }
    assert_eq!(places.len(), 16, "8 queues on each of 2 brokers");
    assert!(places.values().all(|count| *count == 4), "{places:?}");

    world.kill(brokers[0]);
    world.events.clear();
    send_many(&mut world, producer, "TBW102", 0..64);
    world.run(5_000);
    let after = sent(&world);
    assert_eq!(after.len(), 64);
    assert!(after.iter().all(|(broker, ..)| *broker == format!("broker-{}", brokers[1])));
}

#[test]
fn members_share_the_queues_and_take_over_from_one_that_dies() {
    // A52, A56, DEL-1, DEL-2: a crash may deliver again, nothing is lost.
    let mut world = World::new();
    let names = [world.namesrv()];
    world.broker(&names, |_| {});
    let (producer, one, two) = (world.client(&names), world.client(&names), world.client(&names));
    world.run(1_000);
    send_many(&mut world, producer, "T", 0..1);
    world.run(1_000);
    for member in [one, two] {
        let now = world.now;
        let options = SubscribeOptions { from: From::First, ..SubscribeOptions::default() };
        world.as_client(member).subscribe(now, "G", "T", options).expect("subscribed");
    }
    let mut received = BTreeMap::new();
    for round in 0..40 {
        send_many(&mut world, producer, "T", 1 + round * 8..9 + round * 8);
        world.run(1_000);
        consume(&mut world, &mut received);
    }
    assert!(received[&one].len() > 50 && received[&two].len() > 50, "both work");
    world.kill(two);
    for round in 40..60 {
        send_many(&mut world, producer, "T", 1 + round * 8..9 + round * 8);
        world.run(1_000);
        consume(&mut world, &mut received);
    }
    world.run(30_000);
    consume(&mut world, &mut received);
    let mut all: Vec<usize> = received.values().flatten().map(|text| text.parse().expect("a number")).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, (0..481).collect::<Vec<_>>());
}

#[test]
fn only_messages_of_the_wanted_tag_arrive() {
    // A34
    let mut world = World::new();
    let names = [world.namesrv()];
    world.broker(&names, |_| {});
    let (producer, consumer) = (world.client(&names), world.client(&names));
    world.run(1_000);
    send_many(&mut world, producer, "T", 0..50);
    world.run(1_000);
    let now = world.now;
    let options = SubscribeOptions { tags: "odd".into(), from: From::First, ..SubscribeOptions::default() };
    world.as_client(consumer).subscribe(now, "G", "T", options).expect("subscribed");
    let mut received = BTreeMap::new();
    for _ in 0..60 {
        world.run(500);
        consume(&mut world, &mut received);
    }
    let mut all: Vec<usize> = received[&consumer].iter().map(|text| text.parse().expect("a number")).collect();
    all.sort_unstable();
    assert_eq!(all, (0..50).filter(|n| n % 2 == 1).collect::<Vec<_>>());
}

#[test]
fn a_silent_broker_leaves_the_routes_after_its_time_and_a_closed_one_at_once() {
    // A24, A64
    let mut world = World::new();
    let names = [world.namesrv()];
    let broker = world.broker(&names, |_| {});
    world.run(1_000);
    world.kill(broker);
    world.settle();
    assert!(world.notes.iter().any(|note| matches!(note, Note::BrokerDown { .. })));

    world.notes.clear();
    let silent = world.broker(&names, |_| {});
    world.run(1_000);
    let quiet = world.nodes[silent].take();
    world.run(120_000);
    assert!(!world.notes.iter().any(|note| matches!(note, Note::BrokerDown { .. })));
    world.run(12_000);
    assert!(world.notes.iter().any(|note| matches!(note, Note::BrokerDown { .. })));
    drop(quiet);
}

#[test]
fn known_topics_are_served_while_every_name_server_is_down() {
    // A28, A63
    let mut world = World::new();
    let names = [world.namesrv(), world.namesrv()];
    world.broker(&names, |_| {});
    let producer = world.client(&names);
    world.run(1_000);
    send_many(&mut world, producer, "T", 0..4);
    world.run(1_000);
    for name in names {
        world.kill(name);
    }
    world.events.clear();
    send_many(&mut world, producer, "T", 4..8);
    world.run(3_500);
    assert_eq!(sent(&world).len(), 4);
}

#[test]
fn every_member_of_a_broadcasting_group_reads_everything_and_nothing_is_left_on_the_broker() {
    let mut world = World::new();
    let names = [world.namesrv()];
    let broker = world.broker(&names, |_| {});
    let (producer, one, two) = (world.client(&names), world.client(&names), world.client(&names));
    world.run(1_000);
    send_many(&mut world, producer, "T", 0..20);
    world.run(1_000);
    for member in [one, two] {
        let now = world.now;
        let options = SubscribeOptions { from: From::First, broadcast: true, ..SubscribeOptions::default() };
        world.as_client(member).subscribe(now, "G", "T", options).expect("subscribed");
    }
    let mut received = BTreeMap::new();
    for round in 0..40 {
        world.run(500);
        if round == 20 {
            send_many(&mut world, producer, "T", 20..40);
        }
        consume(&mut world, &mut received);
    }
    for member in [one, two] {
        let mut all: Vec<usize> = received[&member].iter().map(|text| text.parse().expect("a number")).collect();
        all.sort_unstable();
        assert_eq!(all, (0..40).collect::<Vec<_>>());
        let now = world.now;
        world.as_client(member).close(now);
    }
    world.run(10_000);
    // Neither progress (15) nor a member list (38) was ever asked of the broker, and no retry topic was made.
    let asked = |code| world.frames.iter().filter(|(_, to, asked)| *to == broker && *asked == code).count();
    assert_eq!((asked(14), asked(15), asked(38)), (0, 0, 0));
    assert!(
        !world.notes.iter().any(|note| matches!(note, Note::TopicCreated { topic } if topic.starts_with("%RETRY%")))
    );
}
