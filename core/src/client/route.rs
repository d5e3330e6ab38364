//! Where topics live: what NameServers said, and the queues and addresses that follow from it.
//!
//! A topic's entry never expires by itself: a NameServer that forgets a topic leaves the last known route in use,
//! as official clients do. Deliberately elsewhere: when routes are asked for ([`super::Client`]).

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::SendId;
use super::error::ClientError;
use super::message::MessageQueue;
use crate::time::Instant;
use crate::wire::body::TopicRoute;

/// The topic that others are created after.
pub(super) const DEFAULT_TOPIC: &str = "TBW102";
/// Queues that a producer wants in a topic created so.
pub(super) const DEFAULT_QUEUES: i32 = 4;

const READ: i32 = 4;
const WRITE: i32 = 2;

/// Addresses of a broker name: id 0 is the master.
pub(super) type Addresses = BTreeMap<i64, String>;

#[derive(Debug, Default)]
pub(super) struct Topic {
    /// Queues to send to, sorted; empty until a route is known.
    pub(super) write: Vec<MessageQueue>,
    /// Queues to read, sorted.
    pub(super) read: Vec<MessageQueue>,
    pub(super) brokers: BTreeSet<Arc<str>>,
    /// The queues are those of the default topic: this one does not exist yet.
    pub(super) from_default: bool,
    /// A NameServer has answered for this topic since it was first wanted.
    pub(super) answered: bool,
    pub(super) asking: bool,
    pub(super) last_ask: Option<Instant>,
    /// Sends that wait for the route.
    pub(super) waiting: VecDeque<SendId>,
    pub(super) error: Option<ClientError>,
}

#[derive(Debug, Default)]
pub(super) struct Routes {
    pub(super) topics: BTreeMap<Arc<str>, Topic>,
    brokers: BTreeMap<Arc<str>, Addresses>,
}

impl Routes {
    /// The entry of a topic, made if need be.
    pub(super) fn topic(&mut self, name: &str) -> &mut Topic {
        if !self.topics.contains_key(name) {
            self.topics.insert(Arc::from(name), Topic::default());
        }
        self.topics.get_mut(name).expect("just inserted")
    }

    /// Takes a route. `true` when the readable queues or any address changed.
    pub(super) fn learn(&mut self, name: &Arc<str>, route: &TopicRoute, from_default: bool) -> bool {
        let mut changed = false;
        let mut brokers = BTreeSet::new();
        for broker in &route.brokers {
            let key: Arc<str> = Arc::from(broker.name.as_str());
            let addresses: Addresses = broker.addresses.iter().map(|(id, address)| (*id, address.clone())).collect();
            if self.brokers.get(&key) != Some(&addresses) {
                changed = true;
                self.brokers.insert(key.clone(), addresses);
            }
            brokers.insert(key);
        }
        let queue = |broker: &str, id| MessageQueue { topic: name.clone(), broker: Arc::from(broker), id };
        let cut = |n: i32| if from_default { n.min(DEFAULT_QUEUES) } else { n };
        let (mut read, mut write) = (Vec::new(), Vec::new());
        for data in &route.queues {
            if data.perm & READ != 0 {
                read.extend((0..cut(data.read_queues).min(MAX_QUEUES)).map(|id| queue(&data.broker, id)));
            }
            let has_master = self.brokers.get(data.broker.as_str()).is_some_and(|a| a.contains_key(&0));
            if data.perm & WRITE != 0 && has_master {
                let n = if from_default { cut(data.read_queues) } else { data.write_queues };
                write.extend((0..n.min(MAX_QUEUES)).map(|id| queue(&data.broker, id)));
            }
        }
        read.sort();
        read.dedup();
        write.sort();
        write.dedup();
        let topic = self.topic(name);
        if from_default {
            read.clear();
        }
        changed |= topic.read != read || topic.brokers != brokers;
        topic.read = read;
        topic.write = write;
        topic.brokers = brokers;
        topic.from_default = from_default;
        topic.error = None;
        changed
    }

    /// The master's address.
    pub(super) fn master(&self, broker: &str) -> Option<&str> {
        self.brokers.get(broker)?.get(&0).map(String::as_str)
    }

    /// The master's address, or any.
    pub(super) fn master_or_any(&self, broker: &str) -> Option<&str> {
        self.brokers.get(broker)?.values().next().map(String::as_str)
    }

    /// The address to read from: the broker id that was suggested, the next one, or any. And whether it is the master.
    pub(super) fn reader(&self, broker: &str, suggested: i64) -> Option<(&str, bool)> {
        let addresses = self.brokers.get(broker)?;
        let exact = |id: i64| addresses.get_key_value(&id);
        let (id, address) = exact(suggested)
            .or_else(|| if suggested == 0 { None } else { exact(suggested.saturating_add(1)) })
            .or_else(|| addresses.first_key_value())?;
        Some((address.as_str(), *id == 0))
    }

    /// Addresses of all known brokers; of masters only, or of slaves too.
    pub(super) fn addresses(&self, slaves_too: bool) -> BTreeSet<String> {
        self.brokers
            .values()
            .flat_map(|addresses| addresses.iter())
            .filter(|(id, _)| slaves_too || **id == 0)
            .map(|(_, address)| address.clone())
            .collect()
    }

    /// Brokers of a topic, master or else any, sorted by name.
    pub(super) fn brokers_of(&self, topic: &str) -> Vec<&str> {
        let names = self.topics.get(topic).map(|topic| &topic.brokers);
        names.into_iter().flatten().filter_map(|name| self.master_or_any(name)).collect()
    }

    /// Drops brokers that no topic's route names any more.
    pub(super) fn forget_unused(&mut self) {
        let used: BTreeSet<Arc<str>> = self.topics.values().flat_map(|topic| topic.brokers.iter().cloned()).collect();
        self.brokers.retain(|name, _| used.contains(name));
    }
}

/// A NameServer's number of queues is believed up to this: a route must not fill the memory.
const MAX_QUEUES: i32 = 65_536;
