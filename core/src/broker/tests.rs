//! The broker on a memory store, driven by hand: what goes in, what must come out. What goes wrong around it is in
//! [`trouble`].

mod trouble;

use alloc::string::ToString;
use alloc::vec;

use super::*;
use crate::ids::StoreId;
use crate::record::properties;
use crate::store::checkpoint::{Checkpoint, Found};
use crate::store::memory::{Lease, MemoryStore};
use crate::store::{Disk, Done, StoreError};
use crate::time::Unix;
use crate::wire::reply::{Positions, Pulled, Sent};
use crate::wire::request::Boundary::{Lower, Upper};
use crate::wire::request::{ConsumerData, PullMessage, QueueOf, SendMessage, Subscription, pull_flag};

/// A broker, its clock, and what its medium shall do next.
struct World {
    broker: Broker<MemoryStore>,
    now: Now,
    opaque: i32,
    replies: VecDeque<(Call, Reply<Lease>)>,
    held: Vec<Disk>,
    hold: fn(&Disk) -> bool,
}

impl World {
    fn new(config: BrokerConfig) -> Self {
        let now = Now { mono: Instant(0), wall: Unix(1_700_000_000_000) };
        let store = MemoryStore::new(1 << 30);
        let broker = Broker::new(config, store, Opened::empty(1 << 20, false), Tables::default(), 7, now);
        let mut world = Self { broker, now, opaque: 0, replies: VecDeque::new(), held: vec![], hold: |_| false };
        world.drain();
        world
    }

    fn plain() -> Self {
        Self::new(BrokerConfig::default())
    }

    fn synced() -> Self {
        let mut world = Self::new(BrokerConfig { flush: FlushMode::Sync, ..BrokerConfig::default() });
        world.hold = |disk| matches!(disk, Disk::Flush { .. });
        world
    }

    fn drain(&mut self) {
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Reply { call, reply } => self.replies.push_back((call, reply)),
                Output::Disk(disk) if (self.hold)(&disk) => self.held.push(disk),
                Output::Disk(disk) => self.execute(disk),
                _ => {}
            }
        }
    }

    fn execute(&mut self, disk: Disk) {
        match self.broker.store_mut().execute(disk) {
            Done::Stored { id, result } => self.broker.handle_stored(self.now, id, result),
            Done::Loaded { ticket, result } => self.broker.handle_loaded(self.now, ticket, result),
        }
    }

    fn release(&mut self) {
        for disk in core::mem::take(&mut self.held) {
            self.execute(disk);
        }
        self.drain();
    }

    /// Whatever happened, the broker wants to be called later than now: a driver would spin otherwise.
    fn assert_rests(&self) {
        let next = self.broker.poll_timeout().expect("there is always a scan");
        assert!(next > self.now.mono, "due at {next:?}, now {:?}", self.now.mono);
    }

    fn wait(&mut self, ms: u64) {
        self.now = Now { mono: self.now.mono.plus_ms(ms), wall: self.now.wall + ms as i64 };
        self.broker.handle_timeout(self.now);
        self.drain();
        self.assert_rests();
    }

    fn call(&mut self) -> Call {
        self.opaque += 1;
        Call { conn: ConnId(1), opaque: self.opaque, binary: false, oneway: false }
    }

    fn ask(&mut self, request: Request<'_>) -> Option<Reply<Lease>> {
        let call = self.call();
        assert_eq!(self.broker.handle_request(self.now, call, request), Taken::Yes);
        self.drain();
        self.assert_rests();
        self.answer_to(call)
    }

    fn answer_to(&mut self, call: Call) -> Option<Reply<Lease>> {
        let at = self.replies.iter().position(|(answered, _)| *answered == call)?;
        self.replies.remove(at).map(|(_, reply)| reply)
    }

    fn send(&mut self, topic: &str, tag: &str, body: &[u8]) -> Option<Reply<Lease>> {
        let text = properties::text([("TAGS", tag), ("UNIQ_KEY", "K")]);
        self.ask(Request::Send(message(topic, &text, body)))
    }

    fn stored(&mut self, topic: &str, tag: &str, body: &[u8]) -> Sent {
        match self.send(topic, tag, body) {
            Some(Reply::Sent(sent)) => sent,
            other => panic!("not stored: {other:?}"),
        }
    }

    fn refused(&mut self, request: Request<'_>) -> Refusal {
        match self.ask(request) {
            Some(Reply::Refused(refusal)) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    fn pulled(&mut self, request: Request<'_>) -> Pulled<Lease> {
        match self.ask(request) {
            Some(Reply::Pulled(pulled)) => pulled,
            other => panic!("no pull's answer: {other:?}"),
        }
    }
}

fn message<'a>(topic: &'a str, properties: &'a str, body: &'a [u8]) -> SendMessage<'a> {
    SendMessage {
        group: "P",
        topic,
        default_topic: topics::AUTO_CREATE,
        default_topic_queues: 4,
        queue_id: 0,
        sys_flag: 0,
        born: Unix(1),
        flag: 0,
        properties,
        reconsume_times: 0,
        max_reconsume_times: None,
        batch: false,
        body,
    }
}

fn pull(topic: &str, offset: i64) -> PullMessage<'_> {
    PullMessage {
        group: "G",
        topic,
        queue_id: 0,
        offset,
        max: 32,
        max_bytes: None,
        sys_flag: pull_flag::SUBSCRIPTION,
        commit_offset: 0,
        suspend_ms: 15_000,
        subscription: Some("*"),
        sub_version: 0,
        expression_type: None,
    }
}

fn bodies(pulled: &Pulled<Lease>) -> Vec<Vec<u8>> {
    let records = pulled.leases.iter().map(|lease| crate::record::Record::check(lease.as_ref()).expect("a record").0);
    records.map(|record| record.body.to_vec()).collect()
}

#[test]
fn what_is_sent_is_pulled_in_order() {
    let mut world = World::plain();
    for n in 0..40_u8 {
        let sent = world.stored("T", "a", &[n + 1]);
        assert_eq!((sent.code, sent.queue_offset), (Code::SUCCESS, n as u64));
    }
    let first = world.pulled(Request::Pull(pull("T", 0)));
    assert_eq!((first.code, first.next, first.min, first.max), (Code::SUCCESS, 32, 0, 40));
    let rest = world.pulled(Request::Pull(pull("T", first.next)));
    let all: Vec<u8> = bodies(&first).into_iter().chain(bodies(&rest)).flatten().collect();
    assert_eq!(all, (1..=40).collect::<Vec<u8>>());
}

#[test]
fn a_pull_at_the_end_waits_for_a_message_or_its_deadline() {
    // A33, DEL-1: no parked pull is without a deadline.
    let mut world = World::plain();
    world.stored("T", "a", b"1");
    let flags = pull_flag::SUBSCRIPTION | pull_flag::SUSPEND;
    let held = PullMessage { sys_flag: flags, ..pull("T", 1) };
    assert_eq!(world.ask(Request::Pull(held)), None);
    world.stored("T", "a", b"2");
    let Some((_, Reply::Pulled(woken))) = world.replies.pop_front() else { panic!("not woken") };
    assert_eq!((woken.code, woken.next, bodies(&woken)), (Code::SUCCESS, 2, vec![b"2".to_vec()]));

    assert_eq!(world.ask(Request::Pull(PullMessage { offset: 2, ..held })), None);
    world.wait(15_000);
    let Some((_, Reply::Pulled(late))) = world.replies.pop_front() else { panic!("not answered in time") };
    assert_eq!((late.code, late.next), (Code::PULL_NOT_FOUND, 2));
}

#[test]
fn a_held_pull_sleeps_through_messages_of_other_tags() {
    let mut world = World::plain();
    world.stored("T", "a", b"1");
    let flags = pull_flag::SUBSCRIPTION | pull_flag::SUSPEND;
    let held = PullMessage { sys_flag: flags, subscription: Some("b || c"), ..pull("T", 1) };
    assert_eq!(world.ask(Request::Pull(held)), None);
    world.stored("T", "a", b"2");
    assert!(world.replies.is_empty());
    world.stored("T", "c", b"3");
    let Some((_, Reply::Pulled(woken))) = world.replies.pop_front() else { panic!("not woken") };
    assert_eq!((woken.next, bodies(&woken)), (3, vec![b"3".to_vec()]));
}

#[test]
fn filtered_messages_count_for_the_next_offset() {
    let mut world = World::plain();
    for n in 0..10_u8 {
        world.stored("T", if n % 2 == 0 { "even" } else { "odd" }, &[n + 1]);
    }
    let odd = world.pulled(Request::Pull(PullMessage { subscription: Some("odd"), ..pull("T", 0) }));
    assert_eq!((odd.next, odd.leases.len()), (10, 5));
    let none = world.pulled(Request::Pull(PullMessage { subscription: Some("none"), ..pull("T", 0) }));
    assert_eq!((none.code, none.next), (Code::PULL_RETRY_IMMEDIATELY, 10));
}

#[test]
fn offsets_out_of_range_are_moved_and_an_empty_queue_says_so() {
    let mut world = World::plain();
    world.stored("T", "a", b"1");
    let beyond = world.pulled(Request::Pull(pull("T", 9)));
    assert_eq!((beyond.code, beyond.next), (Code::PULL_OFFSET_MOVED, 1));
    let before = world.pulled(Request::Pull(pull("T", -5)));
    assert_eq!((before.code, before.next), (Code::PULL_OFFSET_MOVED, 0));
    let empty = |offset| PullMessage { queue_id: 1, ..pull("T", offset) };
    let at_start = world.pulled(Request::Pull(empty(0)));
    assert_eq!(at_start.code, Code::PULL_NOT_FOUND);
    let elsewhere = world.pulled(Request::Pull(empty(3)));
    assert_eq!((elsewhere.code, elsewhere.next), (Code::PULL_OFFSET_MOVED, 0));
}

#[test]
fn a_sync_send_is_acknowledged_and_visible_only_after_the_flush() {
    // DUR-1, DUR-3: sync flush.
    let mut world = World::synced();
    assert_eq!(world.send("T", "a", b"1"), None);
    assert_eq!(world.pulled(Request::Pull(pull("T", 0))).max, 0);
    world.release();
    let Some((_, Reply::Sent(sent))) = world.replies.pop_front() else { panic!("not acknowledged") };
    assert_eq!((sent.code, sent.queue_offset), (Code::SUCCESS, 0));
    assert_eq!(world.pulled(Request::Pull(pull("T", 0))).max, 1);
}

#[test]
fn one_flush_serves_many_and_only_those_it_covers() {
    let mut world = World::synced();
    assert_eq!(world.send("T", "a", b"1"), None);
    for _ in 0..5 {
        assert_eq!(world.send("T", "a", b"2"), None);
    }
    assert_eq!(world.held.len(), 1, "one flush at a time");
    world.release();
    assert_eq!(world.replies.len(), 1, "the first flush began before the others were written");
    world.release();
    assert_eq!(world.replies.len(), 6);
}

#[test]
fn a_flush_that_does_not_come_is_said_so_and_one_that_fails_ends_all_acknowledging() {
    // DUR-3, DUR-5
    let mut world = World::synced();
    assert_eq!(world.send("T", "a", b"1"), None);
    world.wait(5_000);
    let Some((_, Reply::Sent(sent))) = world.replies.pop_front() else { panic!("not answered") };
    assert_eq!(sent.code, Code::FLUSH_DISK_TIMEOUT);

    assert_eq!(world.send("T", "a", b"2"), None);
    let Some(Disk::Flush { id }) = world.held.pop() else { panic!("no flush") };
    world.broker.handle_stored(world.now, id, Err(StoreError::Failed("EIO".into())));
    world.drain();
    let Some((_, Reply::Refused(refusal))) = world.replies.pop_front() else { panic!("not refused") };
    assert_eq!(refusal.code, Code::SERVICE_NOT_AVAILABLE, "never acknowledged");
    let refusal = world.refused(Request::Send(message("T", "", b"3")));
    assert_eq!(refusal.code, Code::SERVICE_NOT_AVAILABLE);
    world.wait(10_000);
    assert!(world.held.is_empty(), "a failed volume takes no more writes and flushes");
}

#[test]
fn a_wait_false_send_does_not_wait_for_the_flush() {
    let mut world = World::synced();
    let text = properties::text([("WAIT", "false")]);
    let answer = world.ask(Request::Send(message("T", &text, b"1")));
    assert!(matches!(answer, Some(Reply::Sent(_))), "{answer:?}");
}

#[test]
fn a_batch_takes_consecutive_offsets_and_is_whole_or_nothing() {
    let mut world = World::plain();
    let mut body = Vec::new();
    for n in 0..3_u8 {
        let text = properties::text([("TAGS", "a")]);
        crate::record::batch::write(
            &crate::record::batch::Entry { flag: 0, body: &[n + 1], properties: &text },
            &mut body,
        );
    }
    let Some(Reply::Sent(sent)) = world.ask(Request::Send(SendMessage { batch: true, ..message("T", "", &body) }))
    else {
        panic!("not stored")
    };
    assert!(matches!(&sent.at, Positions::Many(at) if at.len() == 3));
    let all = world.pulled(Request::Pull(pull("T", 0)));
    assert_eq!((all.max, bodies(&all)), (3, vec![vec![1], vec![2], vec![3]]));

    let torn = &body[..body.len() - 1];
    let refusal = world.refused(Request::Send(SendMessage { batch: true, ..message("T", "", torn) }));
    assert_eq!(refusal.code, Code::MESSAGE_ILLEGAL);
    assert_eq!(world.pulled(Request::Pull(pull("T", 0))).max, 3);
}

#[test]
fn refusals_name_what_is_wrong_and_change_nothing() {
    let mut world = World::new(BrokerConfig { auto_create_topic: false, ..BrokerConfig::default() });
    let unknown = world.refused(Request::Send(message("T", "", b"1")));
    assert_eq!(unknown.code, Code::TOPIC_NOT_EXIST);
    let config = topics::plain("T", 2, topics::READ | topics::WRITE);
    assert_eq!(world.ask(Request::UpdateTopic { config }), Some(Reply::Done));
    let end = world.broker.log.end();
    let delayed = properties::text([("DELAY", "3")]);
    let half = properties::text([("TRAN_MSG", "true")]);
    let large = vec![0; 5 << 20];
    for (request, code) in [
        (message("T", "", b""), Code::MESSAGE_ILLEGAL),
        (message("T", &delayed, b"1"), Code::MESSAGE_ILLEGAL),
        (message("T", &half, b"1"), Code::MESSAGE_ILLEGAL),
        (message("T", "", &large), Code::MESSAGE_ILLEGAL),
        (SendMessage { queue_id: 2, ..message("T", "", b"1") }, Code::INVALID_PARAMETER),
        (message("../T", "", b"1"), Code::INVALID_PARAMETER),
        (message("SCHEDULE_TOPIC_XXXX", "", b"1"), Code::NO_PERMISSION),
    ] {
        let refusal = world.refused(Request::Send(request));
        assert_eq!(refusal.code, code, "{}", refusal.remark);
    }
    assert_eq!(world.broker.log.end(), end);
    assert_eq!(world.refused(Request::Unknown { code: 4711 }).code, Code::REQUEST_CODE_NOT_SUPPORTED);
}

#[test]
fn a_full_medium_refuses_sends_and_serves_reads() {
    // STO-1
    let mut world = World::plain();
    world.stored("T", "a", b"1");
    world.broker.store.set_capacity(0);
    let refusal = world.refused(Request::Send(message("T", "", b"2")));
    assert_eq!(refusal.code, Code::SERVICE_NOT_AVAILABLE);
    assert_eq!(world.pulled(Request::Pull(pull("T", 0))).leases.len(), 1);
    world.broker.store.set_capacity(1 << 30);
    assert_eq!(world.stored("T", "a", b"3").queue_offset, 1);
}

#[test]
fn consumers_hear_of_each_other_and_commit() {
    let mut world = World::plain();
    let subscriptions =
        vec![Subscription { topic: "T".into(), expression: "*".into(), version: 1, ..Default::default() }];
    let beat = Heartbeat {
        client_id: "c1".into(),
        consumers: vec![ConsumerData {
            group: "G".into(),
            consume_type: "CONSUME_PASSIVELY".into(),
            message_model: "CLUSTERING".into(),
            from: "CONSUME_FROM_LAST_OFFSET".into(),
            subscriptions,
        }],
        ..Default::default()
    };
    assert_eq!(world.refused(Request::ConsumerList { group: "G" }).code, Code::SYSTEM_ERROR);
    assert_eq!(world.ask(Request::Heartbeat(beat)), Some(Reply::HeartbeatDone));
    assert!(matches!(world.ask(Request::ConsumerList { group: "G" }), Some(Reply::Body(_))));
    assert!(world.broker.topics.get("%RETRY%G").is_some());

    world.stored("T", "a", b"1");
    let from_heartbeat = PullMessage { sys_flag: pull_flag::COMMIT, commit_offset: 1, sub_version: 1, ..pull("T", 0) };
    assert_eq!(world.pulled(Request::Pull(from_heartbeat)).leases.len(), 1);
    let queue = QueueOf { topic: "T", queue_id: 0 };
    let asked = Request::QueryOffset { group: "G", queue, zero_if_none: true };
    assert_eq!(world.ask(asked), Some(Reply::Offset(1)));
    let stale = PullMessage { sub_version: 2, ..from_heartbeat };
    assert_eq!(world.refused(Request::Pull(stale)).code, Code::SUBSCRIPTION_NOT_LATEST);

    world.broker.handle_closed(world.now, ConnId(1));
    assert_eq!(world.refused(Request::ConsumerList { group: "G" }).code, Code::SYSTEM_ERROR);
}

#[test]
fn offsets_are_found_by_time() {
    let mut world = World::plain();
    let start = world.now.wall;
    for n in 0..10_u8 {
        world.stored("T", "a", &[n + 1]);
        world.wait(10);
    }
    let queue = QueueOf { topic: "T", queue_id: 0 };
    let mut at = |ms, boundary| match world.ask(Request::SearchOffset { queue, at: start + ms, boundary }) {
        Some(Reply::Offset(offset)) => offset,
        other => panic!("{other:?}"),
    };
    assert_eq!((at(-5, Lower), at(30, Lower), at(31, Lower), at(999, Lower)), (0, 3, 4, 10));
    assert_eq!((at(-5, Upper), at(30, Upper), at(39, Upper), at(999, Upper)), (0, 3, 3, 9));
}

#[test]
fn one_message_is_found_by_its_position_and_nothing_else_is() {
    let mut world = World::plain();
    let sent = world.stored("T", "a", b"1");
    let Positions::One(at) = sent.at else { panic!("one record") };
    let found = world.ask(Request::ViewMessage { at: at.0 as i64 });
    assert!(matches!(found, Some(Reply::Messages(leases)) if leases.len() == 1));
    for wrong in [-1, 1, 1 << 40] {
        assert_eq!(world.refused(Request::ViewMessage { at: wrong }).code, Code::SYSTEM_ERROR);
    }
}

#[test]
fn a_stop_flushes_and_saves_everything() {
    let mut world = World::new(BrokerConfig::default());
    world.stored("T", "a", b"1");
    world.ask(Request::UpdateOffset { group: "G", queue: QueueOf { topic: "T", queue_id: 0 }, offset: 1 });
    world.broker.handle_stop(world.now);
    world.drain();
    assert!(world.broker.is_stopped());
    assert_eq!(world.broker.log.flushed(), world.broker.log.end());
    let offsets = world.broker.store.table(Table::ConsumerOffsets).expect("saved");
    assert!(core::str::from_utf8(offsets).expect("text").contains("T@G"));
    let mut tables = Tables::default();
    tables.read(Table::Topics, world.broker.store.table(Table::Topics).expect("saved")).expect("readable");
    assert!(tables.topics.topics.iter().any(|topic| topic.name == "T"));
}

#[test]
fn a_checkpoint_comes_even_when_there_is_always_more_to_flush() {
    let mut world = World::plain();
    world.hold = |disk| matches!(disk, Disk::Flush { .. });
    let mut messages_at = BTreeMap::new();
    for _ in 0..130 {
        for _ in 0..2 {
            world.stored("T", "a", b"1");
            messages_at.insert(world.broker.log.end(), messages_at.len() as u64 + 1);
            world.wait(500);
        }
        // The second message was written after this flush began.
        world.release();
        assert!(world.broker.log.flushed() < world.broker.log.written());
    }
    let bytes = world.broker.store.table(Table::Checkpoint).expect("put once a minute");
    let Found::Whole(checkpoint) = Checkpoint::decode(bytes) else { panic!("unreadable") };
    assert!(checkpoint.queues <= world.broker.log.flushed(), "DUR-3");
    assert_eq!(messages_at.get(&checkpoint.queues), Some(&checkpoint.units));
}

#[test]
fn writes_that_complete_out_of_order_acknowledge_in_order() {
    let mut world = World::plain();
    world.hold = |disk| matches!(disk, Disk::Write { .. });
    assert_eq!(world.send("T", "a", b"1"), None);
    assert_eq!(world.send("T", "a", b"2"), None);
    let second = world.held.pop().expect("the second write");
    world.execute(second);
    world.drain();
    assert!(world.replies.is_empty(), "DUR-2: no hole may be acknowledged over");
    world.release();
    let offsets: Vec<_> = world.replies.drain(..).map(|(_, reply)| reply.to_offset()).collect();
    assert_eq!(offsets, [Some(0), Some(1)]);
}

impl<L> Reply<L> {
    fn to_offset(&self) -> Option<u64> {
        match self {
            Self::Sent(sent) => Some(sent.queue_offset),
            _ => None,
        }
    }
}

#[test]
fn an_unknown_completion_changes_nothing() {
    let mut world = World::plain();
    world.broker.handle_stored(world.now, StoreId(u64::MAX), Err(StoreError::Full));
    world.stored("T", "a", b"1".to_vec().as_slice());
    assert_eq!(world.broker.counters.sent.to_string(), "1");
}

#[test]
fn saves_that_the_medium_refuses_are_tried_again_later_and_not_at_once() {
    // STO-1: reads and sends go on meanwhile.
    let mut world = World::plain();
    world.hold = |disk| matches!(disk, Disk::Put { .. });
    world.stored("T", "a", b"1");
    let Some(Disk::Put { id, table: Table::Topics, .. }) = world.held.pop() else { panic!("the new topic is saved") };
    world.broker.handle_stored(world.now, id, Err(StoreError::Full));
    world.drain();
    assert!(world.held.is_empty());
    world.stored("T", "a", b"2");
    world.wait(1_000);
    assert!(matches!(world.held.pop(), Some(Disk::Put { table: Table::Topics, .. })));
}

#[test]
fn a_flush_that_took_its_time_leaves_nothing_due_behind() {
    let mut world = World::plain();
    world.hold = |disk| matches!(disk, Disk::Flush { .. });
    world.stored("T", "a", b"1");
    world.wait(500);
    assert_eq!(world.held.len(), 1);
    world.wait(10);
    world.release();
    for _ in 0..100 {
        world.wait(100);
    }
    assert!(world.held.is_empty(), "all is flushed");
}
