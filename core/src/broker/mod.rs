//! The broker: takes messages, keeps them, hands them out.
//!
//! A plain state machine, no I/O. Give it requests, completions and time; then take outputs until there are none.
//! A send goes [`send`] → [`durable`]; a pull goes [`pull`] and may be parked in [`hold`]; clients and groups are in
//! [`groups`], their progress in [`offsets`], topics in [`topics`], the NameServers in [`register`], questions of
//! people and tools in [`admin`]. What is deliberately elsewhere: bytes and frames (`wire`, `session`), files (drivers).
//!
//! Must stay true: a refused or postponed request has changed nothing that anyone can see; every parked reply has a
//! deadline or a completion that will come.

mod admin;
pub mod config;
mod durable;
mod groups;
mod hold;
mod offsets;
mod pull;
mod register;
mod send;
#[cfg(test)]
mod tests;
mod topics;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

pub use config::{BrokerConfig, FlushMode};
use durable::{Ack, Entry, Saving};
use groups::{Changed, Groups};
use hold::Hold;
use offsets::Offsets;
use pull::HeldPull;
use register::{Namesrv, TopicWaiter};
use topics::Topics;

use crate::ids::{AskId, Call, Caller, ConnId, Ticket};
use crate::output::Output;
use crate::record::unique_key::UniqueKeys;
use crate::store::log::CommitLog;
use crate::store::opening::Opened;
use crate::store::queues::Queues;
use crate::store::{Missing, Store, Table};
use crate::time::{Instant, Now, Unix};
use crate::wire::WireError;
use crate::wire::body::{ConsumerIds, OffsetTable, TopicConfigTable};
use crate::wire::codes::Code;
use crate::wire::encode;
use crate::wire::reply::{Refusal, Reply};
use crate::wire::request::{Heartbeat, Request};

/// Time between looks for clients that went silent, ms.
const SCAN_MS: u64 = 10_000;

/// Whether a request was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    /// It was answered, or will be.
    Yes,
    /// There is no room for it yet. Nothing changed: present it again after the next storage completion.
    Later,
}

/// An answer at once, none yet (parked), or a refusal.
type Answered<L> = Result<Option<Reply<L>>, Refusal>;

/// A read that waits for a load.
#[derive(Debug)]
enum Parked {
    Pull(HeldPull),
    Search(admin::Search),
    View(admin::View),
}

impl Parked {
    fn call(&self) -> Call {
        match self {
            Self::Pull(pull) => pull.call,
            Self::Search(search) => search.call,
            Self::View(view) => view.call,
        }
    }
}

/// The small tables as they were saved.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    topics: TopicConfigTable,
    offsets: OffsetTable,
}

impl Tables {
    /// Takes in the content of a table's file. On an error nothing changed, and the driver tries the previous file.
    pub fn read(&mut self, table: Table, bytes: &[u8]) -> Result<(), WireError> {
        match table {
            Table::Topics => self.topics = TopicConfigTable::decode(bytes)?,
            Table::ConsumerOffsets => self.offsets = OffsetTable::decode(bytes)?,
            Table::SubscriptionGroups | Table::Checkpoint => {}
        }
        Ok(())
    }
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    sent: u64,
    sent_bytes: u64,
    pulled: u64,
}

/// One broker.
#[derive(Debug)]
pub struct Broker<S: Store> {
    config: BrokerConfig,
    cluster: Arc<str>,
    now: Now,
    started: Now,
    store: S,
    log: CommitLog,
    queues: Queues,
    topics: Topics,
    groups: Groups,
    offsets: Offsets,
    hold: Hold,
    callers: BTreeMap<ConnId, Caller>,
    unseen: VecDeque<Entry>,
    write_acks: VecDeque<Ack>,
    flush_acks: VecDeque<Ack>,
    loads: BTreeMap<Ticket, (Missing, Vec<Parked>)>,
    saving: Saving,
    namesrvs: Vec<Namesrv>,
    topic_waiters: VecDeque<TopicWaiter>,
    unique_keys: UniqueKeys,
    any_queue: u32,
    last_dispatched: Unix,
    ids: u64,
    next_ask: i32,
    scan_due: Instant,
    counters: Counters,
    failed: bool,
    stopping: bool,
    out: VecDeque<Output<S::Lease>>,
}

impl<S: Store> Broker<S> {
    /// A broker over an opened store. `seed` decides everything that looks random.
    pub fn new(config: BrokerConfig, store: S, opened: Opened, tables: Tables, seed: u64, now: Now) -> Self {
        let Opened { segment, end, mut queues, .. } = opened;
        let log = CommitLog::new(segment, end);
        let mut topics = Topics::default();
        topics.restore(tables.topics, &mut queues);
        let mut offsets = Offsets::restore(tables.offsets);
        offsets.clamp(|topic, id| queues.known(topic).map_or(0, |key| queues.bounds(key, id).max as i64));
        let saving = Saving::new(&config, now, opened.checkpoint.queues, topics.version().counter);
        let namesrvs = config.namesrvs.iter().map(|name| Namesrv::new(name.clone(), now)).collect();
        let mut broker = Self {
            cluster: config.cluster.as_str().into(),
            unique_keys: UniqueKeys::new(config.host.ip(), config.host.port(), (seed >> 32) as u32, seed as u16),
            config,
            now,
            started: now,
            store,
            log,
            queues,
            topics,
            groups: Groups::default(),
            offsets,
            hold: Hold::default(),
            callers: BTreeMap::new(),
            unseen: VecDeque::new(),
            write_acks: VecDeque::new(),
            flush_acks: VecDeque::new(),
            loads: BTreeMap::new(),
            saving,
            namesrvs,
            topic_waiters: VecDeque::new(),
            any_queue: seed as u32,
            last_dispatched: Unix(opened.checkpoint.physic),
            ids: 0,
            next_ask: 0,
            scan_due: now.mono.plus_ms(SCAN_MS),
            counters: Counters::default(),
            failed: false,
            stopping: false,
            out: VecDeque::new(),
        };
        broker.create_own_topics(now);
        broker.poll_register();
        broker
    }

    /// Topics that clients and tools look for on every broker, and those that the log has and the table lost.
    fn create_own_topics(&mut self, now: Now) {
        let found: Vec<(String, i32)> = self.queues.topics().map(|(name, n)| (name.into(), n.max(1) as i32)).collect();
        let read_write = topics::READ | topics::WRITE;
        let all = read_write | topics::INHERIT;
        let (cluster, name) = (self.config.cluster.clone(), self.config.name.clone());
        // Cluster and broker may have one name, and a first registration of one topic is refused: Java's third stays.
        let (third, count, perm) = if self.config.auto_create_topic {
            (topics::AUTO_CREATE, self.config.default_topic_queues, all)
        } else {
            (topics::SELF_TEST, 1, read_write)
        };
        let found = found.into_iter().map(|(topic, count)| (topic, count, read_write));
        for (topic, count, perm) in found.chain([(cluster, 16, all), (name, 1, all), (third.into(), count, perm)]) {
            self.topics.ensure(now.wall, &topic, count, perm, &mut self.queues);
        }
    }

    /// Someone connected.
    pub fn handle_connected(&mut self, now: Now, conn: ConnId, caller: Caller) {
        self.now = now;
        self.callers.insert(conn, caller);
    }

    /// A connection is gone, whoever opened it.
    pub fn handle_closed(&mut self, now: Now, conn: ConnId) {
        self.now = now;
        self.callers.remove(&conn);
        self.hold.closed(conn);
        let changed = self.groups.closed(conn);
        self.notify(changed);
        self.namesrv_closed(now, conn);
    }

    /// A request. Every answer goes out through [`Broker::poll_output`], at once or later.
    pub fn handle_request(&mut self, now: Now, call: Call, request: Request<'_>) -> Taken {
        self.now = now;
        let answer = match request {
            Request::Send(send) => return self.send(now, call, &send),
            Request::Pull(pull) => self.pull(now, call, &pull),
            Request::QueryOffset { group, queue, zero_if_none } => self.query_offset(group, queue, zero_if_none),
            Request::UpdateOffset { group, queue, offset } => self.update_offset(group, queue, offset),
            Request::SearchOffset { queue, at, boundary } => self.search_offset(call, queue, at, boundary),
            Request::MaxOffset(queue) => self.max_offset(queue),
            Request::MinOffset(queue) => self.min_offset(queue),
            Request::EarliestStoreTime(queue) => self.earliest_time(call, queue),
            Request::ViewMessage { at } => self.run_view(admin::View { call, at, loaded: false }),
            Request::Heartbeat(beat) => self.heartbeat(now, call, &beat),
            Request::UnregisterClient { producer_group, consumer_group, .. } => {
                let changed = self.groups.leave(call.conn, producer_group, consumer_group);
                self.notify(changed);
                Ok(Some(Reply::Done))
            }
            Request::ConsumerList { group } => self.consumer_list(group),
            Request::UpdateTopic { config } => self.update_topic(now, call, config),
            Request::TopicConfigs => self.topic_configs(),
            Request::BrokerInfo => self.broker_info(now),
            Request::TopicStats { topic } => self.topic_stats(topic),
            Request::ConsumeStats { group, topic } => self.consume_stats(group, topic),
            Request::Unknown { code } => Err(not_supported(code)),
            other => Err(not_supported(other.code())),
        };
        self.finish(call, answer);
        Taken::Yes
    }

    fn heartbeat(&mut self, now: Now, call: Call, beat: &Heartbeat) -> Answered<S::Lease> {
        if beat.client_id.is_empty() {
            return Err(Refusal::new(Code::INVALID_PARAMETER, "the heartbeat names no client: set its clientID"));
        }
        for data in &beat.consumers {
            topics::check_name("consumer group", &data.group)?;
            // A group whose members each read everything takes nothing back, and leaves no topic behind.
            if data.message_model == groups::BROADCASTING {
                continue;
            }
            let retry = format!("{}{}", topics::RETRY, data.group);
            topics::check_name("retry topic", &retry)?;
            if self.topics.ensure(now.wall, &retry, 1, topics::READ | topics::WRITE, &mut self.queues) {
                self.poll_register();
            }
        }
        let changed = self.groups.beat(now.mono, call.conn, beat);
        self.notify(changed);
        Ok(Some(Reply::HeartbeatDone))
    }

    fn consumer_list(&self, group: &str) -> Answered<S::Lease> {
        match self.groups.consumers(group) {
            Some(members) => Ok(Some(Reply::Body(ConsumerIds { ids: members.client_ids() }.encode()))),
            None => {
                Err(Refusal::new(Code::SYSTEM_ERROR, format!("no consumer for this group, {}", group.escape_debug())))
            }
        }
    }

    /// Tells the members of groups that changed; oneway, as official clients expect it.
    fn notify(&mut self, changed: Vec<Changed>) {
        for (group, members) in changed {
            for conn in members {
                self.next_ask = self.next_ask.wrapping_add(1);
                let mut frame = Vec::new();
                encode::request(&Request::NotifyConsumerIds { group: &group }, AskId(self.next_ask), true, &mut frame);
                self.out.push_back(Output::Ask { conn, frame });
            }
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        while let Some(pull) = self.hold.pop_due(now.mono) {
            self.wake(now, alloc::vec![pull]);
        }
        self.expire_acks(now);
        if self.scan_due <= now.mono {
            self.scan_due = now.mono.plus_ms(SCAN_MS);
            let changed = self.groups.expire(now.mono);
            self.notify(changed);
        }
        self.settle_topic_waiters(now);
        self.poll_register();
    }

    /// Stop: no NameServer shall name this broker any more, everything is flushed and saved.
    pub fn handle_stop(&mut self, now: Now) {
        self.now = now;
        if !core::mem::replace(&mut self.stopping, true) {
            self.unregister();
        }
    }

    /// After [`Broker::handle_stop`]: everything is where it belongs, the process may end.
    pub fn is_stopped(&self) -> bool {
        self.stopping && self.is_settled() && self.is_unregistered()
    }

    /// The next effect. Take them all after any number of inputs.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output<S::Lease>> {
        self.out.pop_front().or_else(|| self.poll_disk().map(Output::Disk)).or_else(|| self.out.pop_front())
    }

    /// When [`Broker::handle_timeout`] is wanted next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let some = [Some(self.scan_due), self.hold.next_deadline(), self.durable_deadline(), self.register_deadline()];
        some.into_iter().flatten().min()
    }

    /// The store, for a driver that executes on it.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    fn peer(&self, conn: ConnId) -> SocketAddr {
        self.callers.get(&conn).map_or(self.config.host, |caller| caller.peer)
    }

    fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    fn finish(&mut self, call: Call, answer: Answered<S::Lease>) {
        let reply = match answer {
            Ok(Some(reply)) => reply,
            Ok(None) => return,
            Err(refusal) => Reply::Refused(refusal),
        };
        self.out.push_back(Output::Reply { call, reply });
    }
}

fn not_supported(code: i32) -> Refusal {
    Refusal::new(Code::REQUEST_CODE_NOT_SUPPORTED, format!(" request type {code} not supported"))
}
