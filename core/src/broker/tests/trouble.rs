//! Stops under load, media that fail or have no room, NameServers that refuse, callers that ask for too much.

use super::*;
use crate::ids::{LinkId, LogPos};
use crate::session::{Incoming, Session};
use crate::store::{Read, Room};

#[test]
fn a_stop_takes_no_more_sends_so_that_it_ends_under_load() {
    let mut world = World::plain();
    world.hold = |disk| matches!(disk, Disk::Flush { .. });
    world.stored("T", "a", b"1");
    world.broker.handle_stop(world.now);
    for topic in ["T", "New"] {
        let refusal = world.refused(Request::Send(message(topic, "", b"2")));
        assert_eq!(refusal.code, Code::SERVICE_NOT_AVAILABLE, "{}", refusal.remark);
    }
    assert!(world.broker.topics.get("New").is_none(), "a refused send changes nothing");
    world.release();
    assert!(world.broker.is_stopped());
}

#[test]
fn a_stop_is_not_over_while_a_table_is_not_saved() {
    // DEL-4: after a stop nothing goes back.
    let mut world = World::plain();
    world.stored("T", "a", b"1");
    world.hold = |disk| matches!(disk, Disk::Put { table: Table::ConsumerOffsets, .. });
    world.ask(Request::UpdateOffset { group: "G", queue: QueueOf { topic: "T", queue_id: 0 }, offset: 1 });
    world.broker.handle_stop(world.now);
    world.drain();
    let Some(Disk::Put { id, .. }) = world.held.pop() else { panic!("offsets are saved") };
    world.broker.handle_stored(world.now, id, Err(StoreError::Full));
    world.drain();
    assert!(!world.broker.is_stopped(), "the offsets are not saved");
    world.wait(1_000);
    world.release();
    assert!(world.broker.is_stopped());
}

#[test]
fn after_a_failed_flush_a_write_is_not_acknowledged_either_and_its_sender_is_answered() {
    // DUR-5
    let mut world = World::plain();
    world.hold = |disk| matches!(disk, Disk::Write { .. } | Disk::Flush { .. });
    assert_eq!(world.send("T", "a", b"1"), None);
    world.release();
    world.replies.clear();
    world.wait(500);
    let Some(Disk::Flush { id }) = world.held.pop() else { panic!("no flush") };
    assert_eq!(world.send("T", "a", b"2"), None);
    world.broker.handle_stored(world.now, id, Err(StoreError::Failed("EIO".into())));
    world.release();
    let Some((_, Reply::Refused(refusal))) = world.replies.pop_front() else { panic!("not refused") };
    assert_eq!(refusal.code, Code::SERVICE_NOT_AVAILABLE, "{}", refusal.remark);
    assert!(world.replies.is_empty(), "acknowledged: {:?}", world.replies);
    assert_eq!(world.pulled(Request::Pull(pull("T", 0))).max, 1);
}

#[test]
fn a_commit_does_not_pass_the_end_of_its_queue() {
    // DEL-4: what comes later would be skipped.
    let mut world = World::plain();
    world.stored("T", "a", b"1");
    let queue = QueueOf { topic: "T", queue_id: 0 };
    let progress = Request::QueryOffset { group: "G", queue, zero_if_none: false };
    assert_eq!(world.ask(Request::UpdateOffset { group: "G", queue, offset: 9 }), Some(Reply::Done));
    assert_eq!(world.ask(progress.clone()), Some(Reply::Offset(1)));
    world.stored("T", "a", b"2");
    let flags = pull_flag::SUBSCRIPTION | pull_flag::COMMIT;
    world.pulled(Request::Pull(PullMessage { sys_flag: flags, commit_offset: 9, ..pull("T", 0) }));
    assert_eq!(world.ask(progress), Some(Reply::Offset(2)));
}

#[test]
fn a_pull_may_not_name_tags_without_end() {
    // SEC-8, SEC-10: what is held costs memory.
    let mut world = World::plain();
    world.stored("T", "a", b"1");
    let tags = "a||".repeat(2_000);
    let refusal = world.refused(Request::Pull(PullMessage { subscription: Some(&tags), ..pull("T", 0) }));
    assert_eq!(refusal.code, Code::SUBSCRIPTION_PARSE_FAILED, "{}", refusal.remark);
}

/// A medium whose log is not in memory before it is loaded.
#[derive(Debug)]
struct Cold(MemoryStore, bool);

impl Store for Cold {
    type Lease = Lease;
    fn read(&self, at: LogPos, len: usize) -> Read<Lease> {
        if self.1 { self.0.read(at, len) } else { Read::Missing(Missing::Log { at, len }) }
    }
    fn room(&self, end: LogPos) -> Room {
        self.0.room(end)
    }
}

#[test]
fn a_message_is_found_by_its_position_also_when_it_must_be_loaded() {
    let now = Now { mono: Instant(0), wall: Unix(1_700_000_000_000) };
    let store = Cold(MemoryStore::new(1 << 30), false);
    let opened = Opened::empty(1 << 20, false);
    let mut broker = Broker::new(BrokerConfig::default(), store, opened, Tables::default(), 7, now);
    let call = Call { conn: ConnId(1), opaque: 1, binary: false, oneway: false };
    let mut replies = Vec::new();
    for request in
        [Request::Send(message("T", "", b"1")), Request::ViewMessage { at: 0 }, Request::ViewMessage { at: 1 }]
    {
        assert_eq!(broker.handle_request(now, call, request), Taken::Yes);
        while let Some(output) = broker.poll_output() {
            match output {
                Output::Reply { reply, .. } => replies.push(reply),
                Output::Disk(Disk::Load { ticket, .. }) => {
                    broker.store_mut().1 = true;
                    broker.handle_loaded(now, ticket, Ok(Vec::new()));
                    broker.store_mut().1 = false;
                }
                Output::Disk(disk) => match broker.store_mut().0.execute(disk) {
                    Done::Stored { id, result } => broker.handle_stored(now, id, result),
                    Done::Loaded { .. } => unreachable!("loads are taken above"),
                },
                _ => {}
            }
        }
    }
    assert!(matches!(&replies[..], [Reply::Sent(_), Reply::Messages(_), Reply::Refused(_)]), "{replies:?}");
}

/// A medium that has room up to a position, or says something else beyond it.
#[derive(Debug)]
struct Roomy(u64, Room);

impl Store for Roomy {
    type Lease = Vec<u8>;
    fn read(&self, _: LogPos, _: usize) -> Read<Vec<u8>> {
        Read::Damaged
    }
    fn room(&self, end: LogPos) -> Room {
        if end.0 <= self.0 { Room::Ready } else { self.1 }
    }
}

fn over(store: Roomy, segment: u64) -> Broker<Roomy> {
    let now = Now { mono: Instant(0), wall: Unix(1_700_000_000_000) };
    Broker::new(BrokerConfig::default(), store, Opened::empty(segment, false), Tables::default(), 7, now)
}

fn offer(broker: &mut Broker<Roomy>, body: &[u8]) -> Taken {
    let call = Call { conn: ConnId(1), opaque: 1, binary: false, oneway: false };
    broker.handle_request(broker.now, call, Request::Send(message("T", "", body)))
}

/// Takes all outputs, makes the room that is asked for, and gives the first reply.
fn drained(broker: &mut Broker<Roomy>) -> Option<Reply<Vec<u8>>> {
    let (mut reply, now) = (None, broker.now);
    while let Some(output) = broker.poll_output() {
        match output {
            Output::Reply { reply: it, .. } => reply = reply.or(Some(it)),
            Output::Disk(Disk::Prepare { id, upto }) => {
                broker.store_mut().0 = upto.0;
                broker.handle_stored(now, id, Ok(None));
            }
            Output::Disk(Disk::Write { id, .. }) => broker.handle_stored(now, id, Ok(None)),
            _ => {}
        }
    }
    reply
}

#[test]
fn the_largest_message_finds_room_where_it_must_begin_a_new_segment() {
    // A send that waits for room waits for something that comes.
    let large = vec![1; 4 << 20];
    let mut broker = over(Roomy(u64::MAX, Room::Full), 1 << 30);
    assert_eq!(offer(&mut broker, b"1"), Taken::Yes);
    let small = broker.log.end().0;
    let mut broker = over(Roomy(0, Room::Later), small - 1 + large.len() as u64 + 8);
    drained(&mut broker);
    assert_eq!(offer(&mut broker, b"1"), Taken::Yes);
    assert!(matches!(drained(&mut broker), Some(Reply::Sent(_))));
    assert_eq!(offer(&mut broker, &large), Taken::Later);
    drained(&mut broker);
    assert_eq!(offer(&mut broker, &large), Taken::Yes);
    assert!(matches!(drained(&mut broker), Some(Reply::Sent(_))));
}

#[test]
fn a_medium_that_has_failed_is_not_called_full() {
    // DUR-5
    let mut broker = over(Roomy(0, Room::Failed), 1 << 30);
    assert_eq!(offer(&mut broker, b"1"), Taken::Yes);
    let Some(Reply::Refused(refusal)) = drained(&mut broker) else { panic!("not refused") };
    assert!(refusal.remark.contains("failed"), "{}", refusal.remark);
    assert!(broker.failed);
}

#[test]
fn a_namesrv_that_refuses_is_not_asked_again_at_once() {
    let mut world = World::new(BrokerConfig { namesrvs: vec!["n:9876".into()], ..BrokerConfig::default() });
    let caller = Caller { peer: ([127, 0, 0, 1], 9876).into(), local: ([127, 0, 0, 1], 5000).into() };
    let asks = |world: &mut World| {
        let mut asks = Vec::new();
        while let Some(output) = world.broker.poll_output() {
            match output {
                Output::Ask { frame, .. } => asks.push(frame),
                Output::Disk(disk) => world.execute(disk),
                _ => {}
            }
        }
        asks
    };
    world.broker.handle_linked(world.now, LinkId(0), ConnId(9), caller);
    assert_eq!(asks(&mut world).len(), 1);
    let ask = AskId(world.broker.next_ask);
    let call = Call { conn: ConnId(9), opaque: ask.0, binary: false, oneway: false };
    let (mut frame, mut session) = (Vec::new(), Session::new(ConnId(9)));
    let refusal = Refusal::new(Code::SYSTEM_ERROR, "full");
    encode::reply(&call, &Reply::<Vec<u8>>::Refused(refusal), &mut frame);
    session.split(&mut frame).expect("a frame");
    let Some(Incoming::Answer(ask, answer)) = session.get(0, &frame) else { panic!("no answer") };
    world.broker.handle_answer(world.now, ConnId(9), ask, &answer);
    assert!(asks(&mut world).is_empty(), "it would be asked for ever");
    world.assert_rests();
}

#[test]
fn a_broker_named_as_its_cluster_has_more_than_one_topic_to_register() {
    // A first registration of one topic is refused by NameServers (remoting.md, trap 45).
    let one = |auto_create_topic| BrokerConfig {
        name: "x".into(),
        cluster: "x".into(),
        auto_create_topic,
        ..BrokerConfig::default()
    };
    for auto in [true, false] {
        assert!(World::new(one(auto)).broker.topics.len() > 1, "{auto}");
    }
}

#[test]
fn the_time_of_a_queues_last_message_is_there_when_it_is_asked_for_again() {
    let now = Now { mono: Instant(0), wall: Unix(1_700_000_000_000) };
    let mut world = World::plain();
    world.broker = Broker::new(
        BrokerConfig::default(),
        MemoryStore::new(1 << 30),
        Opened::empty(1 << 20, true),
        Tables::default(),
        7,
        now,
    );
    world.drain();
    world.stored("T", "a", b"1");
    world.wait(2_000);
    // As after a restart: the queue is on disk and nothing of it is in memory.
    let key = world.broker.queues.known("T").expect("a topic");
    world.broker.queues.restore(key, 0, 0, 1);
    let mut stats = || match world.ask(Request::TopicStats { topic: "T" }) {
        Some(Reply::Body(body)) => crate::wire::body::TopicStats::decode(&body).expect("stats").queues[0].1.last_update,
        other => panic!("{other:?}"),
    };
    assert_eq!((stats(), stats()), (0, now.wall.0));
}
