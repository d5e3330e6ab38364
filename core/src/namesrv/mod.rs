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
/// Most brokers and topics that one NameServer keeps (SEC-10).
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
                if left.is_some() {
                    self.live.remove(*address);
                }
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
        let known = self.live.contains_key(&broker.address);
        let new_topics = broker.topics.iter().filter(|topic| !self.routes.has_topic(&topic.name)).count();
        if !known && self.live.len() >= MAX_BROKERS || self.routes.topic_count() + new_topics > MAX_TOPICS {
            return Err(Refusal::new(
                Code::SYSTEM_ERROR,
                "this NameServer is full: it keeps no more brokers or topics",
            ));
        }
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
            // An address that registered under two names leaves under both.
            while let Some(left) = self.routes.remove_address(&address) {
                self.note_left(Some(left));
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Unix;
    use crate::wire::request::{DataVersion, TopicConfig};
    use alloc::vec;

    const NOW: Now = Now { mono: Instant(0), wall: Unix(0) };

    fn broker(name: &str, address: &str) -> RegisterBroker {
        let topic = |name: &str| TopicConfig {
            name: name.into(),
            read_queues: 4,
            write_queues: 4,
            perm: 6,
            sys_flag: 0,
            order: false,
            filter_type: "SINGLE_TAG".into(),
            attributes: vec![],
        };
        RegisterBroker {
            cluster: "C".into(),
            name: name.into(),
            address: address.into(),
            id: 0,
            ha_address: String::new(),
            heartbeat_timeout_ms: None,
            acting_master: None,
            version: DataVersion { state_version: 0, timestamp: 1, counter: 1 },
            topics: vec![topic("T"), topic("U")],
        }
    }

    fn ask(namesrv: &mut NameServer, conn: u64, request: &Request<'_>) -> Reply<NoLease> {
        let call = Call { conn: ConnId(conn), opaque: 1, binary: false, oneway: false };
        namesrv.handle_request(NOW, call, request);
        while let Some(output) = namesrv.poll_output() {
            if let Output::Reply { reply, .. } = output {
                return reply;
            }
        }
        panic!("no reply")
    }

    fn register(namesrv: &mut NameServer, conn: u64, name: &str, address: &str) -> bool {
        let request = Request::RegisterBroker(broker(name, address));
        matches!(ask(namesrv, conn, &request), Reply::Registered { .. })
    }

    fn knows(namesrv: &mut NameServer) -> bool {
        matches!(ask(namesrv, 99, &Request::Route { topic: "T", standard_json: true }), Reply::Body(_))
    }

    #[test]
    fn a_goodbye_that_names_another_broker_leaves_this_one_watched() {
        let mut namesrv = NameServer::new(NamesrvConfig::default(), NOW);
        assert!(register(&mut namesrv, 1, "a", "10.0.0.1:10911"));
        let wrong = Request::UnregisterBroker { cluster: "C", name: "b", address: "10.0.0.1:10911", id: 0 };
        assert_eq!(ask(&mut namesrv, 2, &wrong), Reply::Done);
        assert!(knows(&mut namesrv));
        namesrv.handle_closed(NOW, ConnId(1));
        assert!(!knows(&mut namesrv), "its connection is gone");
    }

    #[test]
    fn an_address_that_changed_its_name_leaves_under_both() {
        let mut namesrv = NameServer::new(NamesrvConfig::default(), NOW);
        assert!(register(&mut namesrv, 1, "a", "10.0.0.1:10911"));
        assert!(register(&mut namesrv, 2, "b", "10.0.0.1:10911"));
        namesrv.handle_closed(NOW, ConnId(2));
        assert!(!knows(&mut namesrv));
    }

    #[test]
    fn a_full_namesrv_keeps_those_it_knows() {
        // SEC-10: overload of one harms no other.
        let mut namesrv = NameServer::new(NamesrvConfig::default(), NOW);
        for n in 0..MAX_BROKERS {
            assert!(register(&mut namesrv, 1, &format!("b{n}"), &format!("10.0.0.1:{n}")));
        }
        assert!(!register(&mut namesrv, 1, "one more", "10.0.0.2:1"));
        assert!(register(&mut namesrv, 1, "b7", "10.0.0.1:7"));
    }
}
