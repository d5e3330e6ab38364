//! The NameServer: which broker has which topic. It stores nothing: brokers tell it again and again, and one that
//! falls silent or whose connection closes is forgotten. NameServers do not know each other.
//!
//! A plain state machine like the broker. The tables are in [`routes`]; here are connections, time and answers.
//!
//! Must stay true: a broker lives on the connection that it registered through; a route names only brokers that live.

pub mod routes;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;

use routes::{Left, Routes};

use crate::ids::{Call, Caller, ConnId};
use crate::output::{Note, Output};
use crate::time::{Instant, Now};
use crate::wire::body::{BrokerData, TopicList};
use crate::wire::codes::Code;
use crate::wire::reply::{Refusal, Reply};
use crate::wire::request::{RegisterBroker, Request};

/// First look for silent brokers, and the time between looks, ms. Java: `scanNotActiveBrokerInterval` (5 s in 5.x).
const FIRST_SCAN_MS: u64 = 5_000;
const SCAN_MS: u64 = 10_000;
/// Silence after which a broker is dropped unless it registered another time, ms.
const EXPIRY_MS: u64 = 120_000;
/// Most brokers' and topics' names that one NameServer keeps (SEC-10).
const MAX_BROKERS: usize = 10_000;
const MAX_TOPICS: usize = 1_000_000;

/// The lease of a machine that leases nothing.
pub type NoLease = [u8; 0];

/// Settings of one NameServer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamesrvConfig {
    /// Brokers of this process that listen on a wildcard address and advertise none: an asker is told the address
    /// through which it reached this NameServer, with the broker's port.
    pub wildcard_brokers: Vec<String>,
}

/// A broker that is alive: its connection and its last word.
#[derive(Debug)]
struct Live {
    conn: ConnId,
    last: Instant,
    expiry_ms: u64,
}

/// One NameServer.
#[derive(Debug)]
pub struct NameServer {
    config: NamesrvConfig,
    routes: Routes,
    live: BTreeMap<String, Live>,
    callers: BTreeMap<ConnId, Caller>,
    scan_due: Instant,
    out: VecDeque<Output<NoLease>>,
}

impl NameServer {
    /// An empty NameServer.
    pub fn new(config: NamesrvConfig, now: Now) -> Self {
        Self {
            config,
            routes: Routes::default(),
            live: BTreeMap::new(),
            callers: BTreeMap::new(),
            scan_due: now.mono.plus_ms(FIRST_SCAN_MS),
            out: VecDeque::new(),
        }
    }

    /// Someone connected.
    pub fn handle_connected(&mut self, _now: Now, conn: ConnId, caller: Caller) {
        self.callers.insert(conn, caller);
    }

    /// A connection is gone, and with it the broker that registered through it.
    pub fn handle_closed(&mut self, _now: Now, conn: ConnId) {
        self.callers.remove(&conn);
        self.drop_where(|live| live.conn == conn);
    }

    /// A request. Everything is answered at once.
    pub fn handle_request(&mut self, now: Now, call: Call, request: &Request<'_>) {
        let answer = match request {
            Request::RegisterBroker(broker) => self.register(now, call.conn, broker),
            Request::UnregisterBroker { cluster, name, address, id } => {
                let left = self.routes.unregister(cluster, name, address, *id);
                self.live.remove(*address);
                self.note_left(left);
                Ok(Reply::Done)
            }
            Request::Route { topic, standard_json } => self.route(call.conn, topic, *standard_json),
            Request::ClusterInfo => Ok(Reply::Body(self.cluster_info(call.conn))),
            Request::TopicList => {
                Ok(Reply::Body(TopicList { topics: self.routes.topics().map(String::from).collect() }.encode()))
            }
            other => Err(Refusal::new(
                Code::REQUEST_CODE_NOT_SUPPORTED,
                format!(" request type {} not supported", other.code()),
            )),
        };
        let reply = answer.unwrap_or_else(Reply::Refused);
        self.out.push_back(Output::Reply { call, reply });
    }

    fn register(&mut self, now: Now, conn: ConnId, broker: &RegisterBroker) -> Result<Reply<NoLease>, Refusal> {
        if self.routes.broker_count() >= MAX_BROKERS || self.routes.topic_count() + broker.topics.len() > MAX_TOPICS {
            return Err(Refusal::new(
                Code::SYSTEM_ERROR,
                "this NameServer is full: it keeps no more brokers or topics",
            ));
        }
        let known = self.live.contains_key(&broker.address);
        let registered = self.routes.register(broker)?;
        let expiry_ms = broker.heartbeat_timeout_ms.and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0);
        let live = Live { conn, last: now.mono, expiry_ms: expiry_ms.unwrap_or(EXPIRY_MS) };
        self.live.insert(broker.address.clone(), live);
        if !known {
            let (name, address) = (broker.name.clone(), broker.address.clone());
            self.out.push_back(Output::Note(Note::BrokerUp { broker: name, address }));
        }
        Ok(Reply::Registered { master: registered.master, ha: registered.ha, body: Vec::new() })
    }

    fn route(&self, conn: ConnId, topic: &str, standard_json: bool) -> Result<Reply<NoLease>, Refusal> {
        let Some(mut route) = self.routes.route(topic) else {
            let topic = topic.escape_debug();
            let remark = format!(
                "No topic route info in name server for the topic: {topic}. Create it (skylark topic create {topic}), \
                 or send to it where the broker creates topics, and check that its broker is registered"
            );
            return Err(Refusal::new(Code::TOPIC_NOT_EXIST, remark));
        };
        for broker in &mut route.brokers {
            self.localize(conn, broker);
        }
        Ok(Reply::Body(route.encode(standard_json)))
    }

    fn cluster_info(&self, conn: ConnId) -> Vec<u8> {
        let mut info = self.routes.cluster_info();
        for broker in &mut info.brokers {
            self.localize(conn, broker);
        }
        info.encode()
    }

    /// A broker of this process on a wildcard address is named by the address that the asker came through.
    fn localize(&self, conn: ConnId, broker: &mut BrokerData) {
        let Some(caller) = self.callers.get(&conn).filter(|_| self.config.wildcard_brokers.contains(&broker.name))
        else {
            return;
        };
        for (_, address) in &mut broker.addresses {
            if let Ok(known) = address.parse::<SocketAddr>() {
                *address = SocketAddr::new(caller.local.ip(), known.port()).to_string();
            }
        }
    }

    fn drop_where(&mut self, gone: impl Fn(&Live) -> bool) {
        let lost: Vec<String> = self.live.iter().filter(|(_, live)| gone(live)).map(|(a, _)| a.clone()).collect();
        for address in lost {
            self.live.remove(&address);
            let left = self.routes.remove_address(&address);
            self.note_left(left);
        }
    }

    fn note_left(&mut self, left: Option<Left>) {
        if let Some(Left { broker, address }) = left {
            self.out.push_back(Output::Note(Note::BrokerDown { broker, address }));
        }
    }

    /// Time passed: brokers that were silent too long are dropped.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.scan_due <= now.mono {
            self.scan_due = now.mono.plus_ms(SCAN_MS);
            self.drop_where(|live| now.mono.ms_since(live.last) > live.expiry_ms);
        }
    }

    /// The next effect.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output<NoLease>> {
        self.out.pop_front()
    }

    /// When [`NameServer::handle_timeout`] is wanted next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        Some(self.scan_due)
    }
}
