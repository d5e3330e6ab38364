//! The client against a small made-up cluster on a virtual clock: what it says, when, and what it makes of answers.
//!
//! [`World`] holds one client and everything around it. Frames are encoded and decoded for real, in both directions.
//! The cluster keeps messages, offsets and members, and can be told to refuse, stay silent, or be gone.

mod admins;
mod chaos;
mod consumers;
mod sends;

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::*;
use crate::ids::LogPos;
use crate::record::Draft;
use crate::time::Unix;
use crate::wire::body::{
    self, BrokerData, ClusterInfo, ConsumeStats, ConsumerIds, KeyValues, QueueData, TopicConfigTable, TopicList,
    TopicStats,
};
use crate::wire::encode;
use crate::wire::frame::{Frames, MAX_FRAME};
use crate::wire::reply::{Positions, Pulled, Sent};
use crate::wire::request::{PullMessage, QueueOf, SendMessage, TopicConfig, pull_flag};

const NAMESRV: &str = "10.0.0.1:9876";
const WALL: i64 = 1_700_000_000_000;

/// A request that reached the cluster, in short: `send T/0`, `pull T/0@5`, `commit T/0=3`, `route T`, `beat`, ...
#[derive(Clone, Debug, PartialEq, Eq)]
struct Heard {
    at: u64,
    address: String,
    what: String,
}

struct Parked {
    conn: ConnId,
    call: Call,
    key: Key,
    offset: u64,
    until: Instant,
}

/// Broker address, topic, queue.
type Key = (String, String, i32);

#[derive(Default)]
struct Cluster {
    /// Broker name and master's address.
    brokers: Vec<(String, String)>,
    /// Topic, and queues on each broker.
    topics: BTreeMap<String, i32>,
    messages: BTreeMap<Key, Vec<(u64, Vec<u8>)>>,
    next: BTreeMap<Key, u64>,
    min: BTreeMap<Key, u64>,
    /// Group, topic, broker address, queue.
    offsets: BTreeMap<(String, String, String, i32), i64>,
    members: BTreeMap<String, BTreeSet<String>>,
    /// Answers to the next sends at an address, instead of storing.
    refusals: BTreeMap<String, VecDeque<Code>>,
    /// Addresses where connections are refused.
    dead: BTreeSet<String>,
    /// Addresses that accept and never answer.
    silent: BTreeSet<String>,
    serves_send_back: Option<Code>,
    /// Answers to the next pulls.
    pull_refusals: VecDeque<Code>,
    parked: Vec<Parked>,
    heard: Vec<Heard>,
}

struct World {
    client: Client,
    cluster: Cluster,
    now: Instant,
    conns: BTreeMap<ConnId, String>,
    next_conn: u64,
    events: VecDeque<Event>,
}

fn caller() -> Caller {
    let any: SocketAddr = "127.0.0.1:1".parse().unwrap();
    Caller { peer: any, local: any }
}

impl World {
    /// A client of seed 1, and a cluster with these brokers, without topics.
    fn new(brokers: &[&str]) -> Self {
        Self::seeded(brokers, 1)
    }

    fn seeded(brokers: &[&str], seed: u64) -> Self {
        Self::made(brokers, ClientConfig::new([NAMESRV.to_owned()].into(), "me"), seed)
    }

    fn with(brokers: &[&str], config: ClientConfig) -> Self {
        Self::made(brokers, config, 1)
    }

    fn made(brokers: &[&str], config: ClientConfig, seed: u64) -> Self {
        let brokers = (2..).zip(brokers).map(|(i, name)| ((*name).to_owned(), format!("10.0.0.{i}:10911"))).collect();
        let cluster = Cluster { brokers, ..Cluster::default() };
        let now = Instant(0);
        let client = Client::new(config, seed, Now { mono: now, wall: Unix(WALL) }).unwrap();
        Self { client, cluster, now, conns: BTreeMap::new(), next_conn: 0, events: VecDeque::new() }
    }

    fn topic(mut self, name: &str, queues: i32) -> Self {
        self.cluster.topics.insert(name.to_owned(), queues);
        self
    }

    fn time(&self) -> Now {
        Now { mono: self.now, wall: Unix(WALL + (self.now.0 / 1000) as i64) }
    }

    fn address(&self, broker: &str) -> String {
        self.cluster.brokers.iter().find(|(name, _)| name == broker).unwrap().1.clone()
    }

    /// Carries out what the client wants until it wants nothing more at this moment.
    fn run(&mut self) {
        while self.step() {}
        while let Some(event) = self.client.poll_event() {
            self.events.push_back(event);
        }
    }

    /// Carries out one thing; `false` when there is none.
    fn step(&mut self) -> bool {
        while let Some(event) = self.client.poll_event() {
            self.events.push_back(event);
        }
        let now = self.time();
        let Some(output) = self.client.poll_output() else { return false };
        match output {
            Output::Dial { link, address } => {
                if self.cluster.dead.contains(&address) {
                    self.client.handle_link_failed(now, link, "connection refused");
                } else {
                    self.next_conn += 1;
                    let conn = ConnId(self.next_conn);
                    self.conns.insert(conn, address);
                    self.client.handle_linked(now, link, conn, caller());
                }
            }
            Output::Ask { conn, mut frame } => {
                let Some(address) = self.conns.get(&conn).cloned() else { return true };
                let mut frames = Frames::new();
                assert_eq!(frames.split(&mut frame, MAX_FRAME), Ok(frame.len()));
                let asked = frames.get(0, &frame).unwrap();
                let call = asked.call(conn);
                let request = Request::decode(&asked);
                let reply = match (request, asked.code()) {
                    (_, 36) => Some(self.cluster.send_back(&address, self.now, &asked)),
                    (Ok(request), _) => self.cluster.serve(&address, self.now, call, &request),
                    (Err(refusal), _) => panic!("the client sent what cannot be decoded: {refusal:?}"),
                };
                let silent = self.cluster.silent.contains(&address);
                if let Some(reply) = reply.filter(|_| !silent) {
                    self.answer(conn, &call, &reply);
                }
            }
            Output::Close { conn } => {
                self.conns.remove(&conn);
                self.cluster.parked.retain(|parked| parked.conn != conn);
            }
            Output::Reply { call, .. } => assert!(!call.oneway),
            other => panic!("a client has no use for {other:?}"),
        }
        true
    }

    fn answer(&mut self, conn: ConnId, call: &Call, reply: &Reply<Vec<u8>>) {
        let mut bytes = Vec::new();
        encode::reply(call, reply, &mut bytes);
        for lease in encode::leases(reply) {
            bytes.extend_from_slice(lease);
        }
        if bytes.is_empty() {
            return;
        }
        let mut frames = Frames::new();
        assert_eq!(frames.split(&mut bytes, MAX_FRAME), Ok(bytes.len()));
        let frame = frames.get(0, &bytes).unwrap();
        let now = self.time();
        self.client.handle_answer(now, conn, frame.ask(), &Answer::of(frame));
    }

    /// Lets time pass, stopping at everything that is due on the way.
    fn pass(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        self.run();
        loop {
            let parked = self.cluster.parked.iter().map(|parked| parked.until).min();
            let due = [self.client.poll_timeout(), parked].into_iter().flatten().min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            let now = self.time();
            self.client.handle_timeout(now);
            self.run();
            self.wake(|parked, now| parked.until <= now);
            self.run();
        }
        self.now = end;
    }

    /// Answers pulls that were held.
    fn wake(&mut self, which: impl Fn(&Parked, Instant) -> bool) {
        let now = self.now;
        let (awake, parked) =
            core::mem::take(&mut self.cluster.parked).into_iter().partition(|parked| which(parked, now));
        self.cluster.parked = parked;
        let awake: Vec<Parked> = awake;
        for Parked { conn, call, key, offset, .. } in awake {
            if self.conns.contains_key(&conn) {
                let reply = self.cluster.read(&key, offset, 32);
                self.answer(conn, &call, &reply);
            }
        }
        self.run();
    }

    /// A message appears in a queue, and whoever waits for it gets it.
    fn put(&mut self, broker: &str, topic: &str, queue: i32, properties: &str, body: &str) -> u64 {
        self.put_flagged(broker, topic, queue, properties, body.as_bytes(), 0)
    }

    fn put_flagged(&mut self, broker: &str, topic: &str, queue: i32, properties: &str, body: &[u8], flags: i32) -> u64 {
        let key = (self.address(broker), topic.to_owned(), queue);
        let offset = self.cluster.store(&key, properties, body, flags);
        self.wake(|parked, _| parked.key == key);
        offset
    }

    /// A connection is cut by the peer.
    fn cut(&mut self, address: &str) {
        let gone: Vec<ConnId> = self.conns.iter().filter(|(_, at)| *at == address).map(|(conn, _)| *conn).collect();
        for conn in gone {
            self.conns.remove(&conn);
            self.cluster.parked.retain(|parked| parked.conn != conn);
            let now = self.time();
            self.client.handle_closed(now, conn);
        }
        self.run();
    }

    /// What reached an address, without the routine: routes and heartbeats.
    fn heard(&self, address: &str) -> Vec<&str> {
        let all = self.cluster.heard.iter().filter(|heard| heard.address == address);
        all.map(|heard| heard.what.as_str()).filter(|what| !what.starts_with("route") && *what != "beat").collect()
    }

    fn count(&self, what: &str) -> usize {
        self.cluster.heard.iter().filter(|heard| heard.what == what).count()
    }

    fn sent(&mut self, id: SendId) -> Result<Vec<SendResult>, ClientError> {
        let found = self.events.iter().position(|event| matches!(event, Event::Sent { id: of, .. } if *of == id));
        match self.events.remove(found.expect("the send has ended")) {
            Some(Event::Sent { result, .. }) => result,
            _ => unreachable!(),
        }
    }

    fn is_sent(&self, id: SendId) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Sent { id: of, .. } if *of == id))
    }

    /// Messages delivered since the last call, in order.
    fn delivered(&mut self) -> Vec<Arc<Message>> {
        let events = core::mem::take(&mut self.events).into_iter();
        let (messages, rest): (Vec<Event>, Vec<Event>) =
            events.partition(|event| matches!(event, Event::Messages { .. }));
        self.events = rest.into();
        let messages = messages.into_iter();
        let batches = messages.map(|event| match event {
            Event::Messages { batch, .. } => batch,
            _ => unreachable!(),
        });
        batches.flatten().collect()
    }

    fn ack(&mut self, consumer: ConsumerId, message: &Message) {
        let now = self.time();
        self.client.ack(now, consumer, &message.queue, message.offset);
        self.run();
    }

    fn offset(&self, group: &str, topic: &str, broker: &str, queue: i32) -> Option<i64> {
        self.cluster.offsets.get(&(group.to_owned(), topic.to_owned(), self.address(broker), queue)).copied()
    }
}

impl Cluster {
    fn hear(&mut self, now: Instant, address: &str, what: String) {
        self.heard.push(Heard { at: now.0 / 1000, address: address.to_owned(), what });
    }

    fn store(&mut self, key: &Key, properties: &str, body: &[u8], flags: i32) -> u64 {
        let next = self.next.entry(key.clone()).or_default();
        let offset = *next;
        *next += 1;
        let host: SocketAddr = key.0.parse().unwrap();
        let draft = Draft {
            topic: &key.1,
            queue_id: key.2,
            queue_offset: offset,
            flag: 0,
            sys_flag: flags,
            born: Unix(WALL),
            born_host: host,
            store: Unix(WALL),
            store_host: host,
            reconsume_times: 0,
            prepared: 0,
            body,
            properties,
            extra: &[],
            crc: true,
        };
        let mut bytes = Vec::new();
        draft.size().unwrap();
        draft.write(LogPos(offset * 1000), &mut bytes);
        self.messages.entry(key.clone()).or_default().push((offset, bytes));
        offset
    }

    fn read(&self, key: &Key, offset: u64, max: usize) -> Reply<Vec<u8>> {
        let (min, end) = (self.min.get(key).copied().unwrap_or(0), self.next.get(key).copied().unwrap_or(0));
        let all = self.messages.get(key).into_iter().flatten();
        let found: Vec<Vec<u8>> =
            all.filter(|(at, _)| *at >= offset && *at >= min).take(max).map(|(_, bytes)| bytes.clone()).collect();
        let (code, next) = match offset {
            _ if offset < min => (Code::PULL_OFFSET_MOVED, min),
            _ if offset > end => (Code::PULL_OFFSET_MOVED, end),
            _ if found.is_empty() => (Code::PULL_NOT_FOUND, offset),
            _ => (Code::SUCCESS, offset + found.len() as u64),
        };
        let leases = if code == Code::SUCCESS { found } else { Vec::new() };
        let numbers = (next as i64, min as i64, end as i64);
        Reply::Pulled(Pulled { code, remark: "", next: numbers.0, min: numbers.1, max: numbers.2, suggest: 0, leases })
    }

    fn data(&self) -> Vec<BrokerData> {
        let data = |(name, address): &(String, String)| BrokerData {
            cluster: "c".to_owned(),
            name: name.clone(),
            addresses: [(0, address.clone())].into(),
            acting_master: false,
        };
        self.brokers.iter().map(data).collect()
    }

    fn route(&self, topic: &str) -> Option<TopicRoute> {
        let queues = *self.topics.get(topic)?;
        let data = |(name, _): &(String, String)| QueueData {
            broker: name.clone(),
            read_queues: queues,
            write_queues: queues,
            perm: 6,
            sys_flag: 0,
        };
        Some(TopicRoute {
            brokers: self.data(),
            queues: self.brokers.iter().map(data).collect(),
            ..TopicRoute::default()
        })
    }

    fn refuse(code: Code, remark: &str) -> Reply<Vec<u8>> {
        Reply::Refused(Refusal { code, remark: remark.to_owned() })
    }

    fn send_back(&mut self, address: &str, now: Instant, frame: &crate::wire::frame::Frame<'_>) -> Reply<Vec<u8>> {
        let field = |name| core::str::from_utf8(frame.field(name).unwrap_or_default()).unwrap_or_default().to_owned();
        self.hear(now, address, format!("send back {}@{}", field("originTopic"), field("offset")));
        match self.serves_send_back {
            Some(Code::SUCCESS) => Reply::Done,
            Some(code) => Self::refuse(code, "no"),
            None => Self::refuse(Code::REQUEST_CODE_NOT_SUPPORTED, "not served"),
        }
    }

    fn serve(&mut self, address: &str, now: Instant, call: Call, request: &Request<'_>) -> Option<Reply<Vec<u8>>> {
        let key = |queue: &QueueOf<'_>| (address.to_owned(), queue.topic.to_owned(), queue.queue_id);
        let what = match request {
            Request::Send(send) => format!("send {}/{}", send.topic, send.queue_id),
            Request::Pull(pull) => format!("pull {}/{}@{}", pull.topic, pull.queue_id, pull.offset),
            Request::UpdateOffset { queue, offset, .. } => {
                format!("commit {}/{}={offset}", queue.topic, queue.queue_id)
            }
            Request::QueryOffset { queue, .. } => format!("progress {}/{}", queue.topic, queue.queue_id),
            Request::MaxOffset(queue) => format!("max {}/{}", queue.topic, queue.queue_id),
            Request::Route { topic, .. } => format!("route {topic}"),
            Request::Heartbeat(_) => "beat".to_owned(),
            Request::ConsumerList { group } => format!("members {group}"),
            Request::UnregisterClient { producer_group: Some(group), .. } => format!("leave producer {group}"),
            Request::UnregisterClient { consumer_group, .. } => {
                format!("leave consumer {}", consumer_group.unwrap_or(""))
            }
            other => format!("code {}", other.code()),
        };
        self.hear(now, address, what);
        if self.silent.contains(address) {
            return None;
        }
        Some(match request {
            Request::Route { topic, .. } => match self.route(topic) {
                Some(route) => Reply::Body(route.encode(true)),
                None => Self::refuse(Code::TOPIC_NOT_EXIST, "no route"),
            },
            Request::ClusterInfo => {
                Reply::Body(ClusterInfo { brokers: self.data(), ..ClusterInfo::default() }.encode())
            }
            Request::TopicList => Reply::Body(TopicList { topics: self.topics.keys().cloned().collect() }.encode()),
            Request::Heartbeat(beat) => {
                for consumer in &beat.consumers {
                    self.members.entry(consumer.group.clone()).or_default().insert(beat.client_id.clone());
                }
                Reply::HeartbeatDone
            }
            Request::ConsumerList { group } => {
                let ids = self.members.get(*group).into_iter().flatten().cloned().collect();
                Reply::Body(ConsumerIds { ids }.encode())
            }
            Request::Send(send) => self.take(address, send),
            Request::Pull(pull) => return self.pull(address, now, call, pull),
            Request::QueryOffset { group, queue, .. } => {
                let key = ((*group).to_owned(), queue.topic.to_owned(), address.to_owned(), queue.queue_id);
                match self.offsets.get(&key) {
                    Some(offset) => Reply::Offset(*offset),
                    None => Self::refuse(Code::QUERY_NOT_FOUND, "none"),
                }
            }
            Request::UpdateOffset { group, queue, offset } => {
                let key = ((*group).to_owned(), queue.topic.to_owned(), address.to_owned(), queue.queue_id);
                self.offsets.insert(key, *offset);
                Reply::Done
            }
            Request::MaxOffset(queue) => Reply::Offset(self.next.get(&key(queue)).copied().unwrap_or(0) as i64),
            Request::TopicStats { topic } => self.stats(address, topic),
            Request::ConsumeStats { .. } => Reply::Body(ConsumeStats::default().encode()),
            Request::BrokerInfo => {
                Reply::Body(KeyValues { entries: [("putTps".to_owned(), "1".to_owned())].into() }.encode())
            }
            Request::TopicConfigs => Reply::Body(TopicConfigTable::default().encode()),
            Request::UpdateTopic { config } => {
                self.topics.insert(config.name.clone(), config.write_queues);
                Reply::Done
            }
            Request::UnregisterClient { .. } => Reply::Done,
            _ => Self::refuse(Code::REQUEST_CODE_NOT_SUPPORTED, "not served"),
        })
    }

    fn take(&mut self, address: &str, send: &SendMessage<'_>) -> Reply<Vec<u8>> {
        if let Some(code) = self.refusals.get_mut(address).and_then(VecDeque::pop_front) {
            return Self::refuse(code, "as told");
        }
        let key = (address.to_owned(), send.topic.to_owned(), send.queue_id);
        let mut at = Vec::new();
        let mut first = None;
        if send.batch {
            for entry in crate::record::batch::entries(send.body) {
                let entry = entry.unwrap();
                let offset = self.store(&key, entry.properties, entry.body, 0);
                first.get_or_insert(offset);
                at.push(LogPos(offset * 1000));
            }
        } else {
            let offset = self.store(&key, send.properties, send.body, 0);
            first = Some(offset);
            at.push(LogPos(offset * 1000));
        }
        Reply::Sent(Sent {
            code: Code::SUCCESS,
            host: address.parse().unwrap(),
            at: if send.batch { Positions::Many(at) } else { Positions::One(at[0]) },
            queue_id: send.queue_id,
            queue_offset: first.unwrap(),
            unique_key: String::new(),
        })
    }

    fn pull(&mut self, address: &str, now: Instant, call: Call, pull: &PullMessage<'_>) -> Option<Reply<Vec<u8>>> {
        if pull.sys_flag & pull_flag::COMMIT != 0 {
            let key = (pull.group.to_owned(), pull.topic.to_owned(), address.to_owned(), pull.queue_id);
            self.offsets.insert(key, pull.commit_offset);
        }
        if let Some(code) = self.pull_refusals.pop_front() {
            return Some(Self::refuse(code, "as told"));
        }
        let key = (address.to_owned(), pull.topic.to_owned(), pull.queue_id);
        let offset = u64::try_from(pull.offset).unwrap();
        let reply = self.read(&key, offset, usize::try_from(pull.max).unwrap());
        if let Reply::Pulled(Pulled { code: Code::PULL_NOT_FOUND, .. }) = reply {
            let until = now.plus_ms(pull.suspend_ms as u64);
            self.parked.push(Parked { conn: call.conn, call, key, offset, until });
            return None;
        }
        Some(reply)
    }

    fn stats(&self, address: &str, topic: &str) -> Reply<Vec<u8>> {
        let broker = self.brokers.iter().find(|(_, at)| at == address).unwrap().0.clone();
        let queue = |id| {
            let key = (address.to_owned(), topic.to_owned(), id);
            let max = self.next.get(&key).copied().unwrap_or(0) as i64;
            let queue = body::MessageQueue { topic: topic.to_owned(), broker: broker.clone(), queue_id: id };
            (queue, body::QueueStats { min: 0, max, last_update: 0 })
        };
        let queues = (0..self.topics.get(topic).copied().unwrap_or(0)).map(queue).collect();
        Reply::Body(TopicStats { queues, put_tps: 0.0 }.encode())
    }
}

fn config(name: &str, queues: i32) -> TopicConfig {
    TopicConfig {
        name: name.to_owned(),
        read_queues: queues,
        write_queues: queues,
        perm: 6,
        sys_flag: 0,
        order: false,
        filter_type: "SINGLE_TAG".to_owned(),
        attributes: Vec::new(),
    }
}

fn bodies(messages: &[Arc<Message>]) -> Vec<&str> {
    messages.iter().map(|message| message.text().unwrap()).collect()
}

#[test]
fn bad_settings_are_refused_in_a_sentence() {
    let now = Now::default();
    for (namesrvs, part) in [(&[][..], "no NameServer"), (&["nowhere"][..], "host:port"), (&["h:0"][..], "host:port")] {
        let namesrvs = namesrvs.iter().map(ToString::to_string).collect();
        let error = Client::new(ClientConfig::new(namesrvs, "me"), 1, now).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Usage);
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn the_same_seed_and_inputs_give_the_same_frames() {
    let run = || {
        let mut world = World::new(&["a", "b"]).topic("T", 4);
        let now = world.time();
        world.client.subscribe(now, "g", "T", SubscribeOptions::default()).unwrap();
        for i in 0..20 {
            let now = world.time();
            let message = OutgoingMessage::new("T", format!("{i}"));
            world.client.send(now, "p", message, &SendOptions::default()).unwrap();
            world.pass(700);
        }
        world.cluster.heard
    };
    assert_eq!(run(), run());
}
