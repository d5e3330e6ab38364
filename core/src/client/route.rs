//! Where topics live: what NameServers said, and the queues and addresses that follow from it.
//!
//! A topic's entry never expires by itself: a NameServer that forgets a topic leaves the last known route in use,
//! as official clients do. Deliberately elsewhere: when routes are asked for ([`super::Client`]).

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::SendId;
use super::error::ClientError;
use super::message::MessageQueue;
use crate::sorted::{self, Map, Set};
use crate::time::Instant;
use crate::wire::body::TopicRoute;

/// The topic that others are created after.
pub(super) const DEFAULT_TOPIC: &str = "TBW102";
/// Queues that a producer wants in a topic created so.
pub(super) const DEFAULT_QUEUES: i32 = 4;

const READ: i32 = 4;
const WRITE: i32 = 2;

/// Addresses of a broker name: id 0 is the master.
pub(super) type Addresses = Map<i64, String>;

#[derive(Debug, Default)]
pub(super) struct Topic {
    /// Queues to send to, sorted; empty until a route is known.
    pub(super) write: Vec<MessageQueue>,
    /// Queues to read, sorted.
    pub(super) read: Vec<MessageQueue>,
    pub(super) brokers: Set<Arc<str>>,
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
    pub(super) topics: Map<Arc<str>, Topic>,
    brokers: Map<Arc<str>, Addresses>,
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
        let mut brokers = Set::new();
        for broker in &route.brokers {
            let key: Arc<str> = Arc::from(broker.name.as_str());
            let addresses: Addresses = broker.addresses.iter().map(|(id, address)| (*id, address.clone())).collect();
            if self.brokers.get(&key) != Some(&addresses) {
                changed = true;
                self.brokers.insert(key.clone(), addresses);
            }
            brokers.insert(key);
        }
        let cut = |n: i32| if from_default { n.min(DEFAULT_QUEUES) } else { n };
        let add = |queues: &mut Vec<MessageQueue>, broker: &str, n: i32| {
            let broker: Arc<str> = Arc::from(broker);
            let room = MAX_QUEUES.saturating_sub(queues.len());
            queues.extend((0..n).take(room).map(|id| MessageQueue { topic: name.clone(), broker: broker.clone(), id }));
        };
        let (mut read, mut write) = (Vec::new(), Vec::new());
        for data in &route.queues {
            if data.perm & READ != 0 {
                add(&mut read, &data.broker, cut(data.read_queues));
            }
            if data.perm & WRITE != 0 && self.master(&data.broker).is_some() {
                add(&mut write, &data.broker, if from_default { cut(data.read_queues) } else { data.write_queues });
            }
        }
        if let Some(conf) = route.order_conf.as_deref().filter(|conf| !conf.is_empty()) {
            // An ordered topic's queues stay as they were configured, whatever its brokers say: `broker:n;broker:n`.
            write.clear();
            for (broker, n) in conf.split(';').filter_map(|part| part.split_once(':')) {
                add(&mut write, broker, n.trim().parse().unwrap_or(0));
            }
        }
        sorted::sort(&mut read);
        read.dedup();
        sorted::sort(&mut write);
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
    pub(super) fn addresses(&self, slaves_too: bool) -> Set<String> {
        self.brokers
            .values()
            .flat_map(|addresses| addresses.iter())
            .filter(|(id, _)| slaves_too || **id == 0)
            .map(|(_, address)| address.clone())
            .collect()
    }

    /// A broker is known at this address.
    pub(super) fn is_broker(&self, address: &str) -> bool {
        self.brokers.values().any(|addresses| addresses.values().any(|known| known == address))
    }

    /// Brokers of a topic, master or else any, sorted by name.
    pub(super) fn brokers_of(&self, topic: &str) -> Vec<&str> {
        let names = self.topics.get(topic).map(|topic| &topic.brokers);
        names.into_iter().flatten().filter_map(|name| self.master_or_any(name)).collect()
    }

    /// Drops brokers that no topic's route names any more.
    pub(super) fn forget_unused(&mut self) {
        let used: Set<Arc<str>> = self.topics.values().flat_map(|topic| topic.brokers.iter().cloned()).collect();
        self.brokers.retain(|name, _| used.contains(name));
    }
}

/// Queues of a topic that are believed: a route must not fill the memory (SEC-10).
const MAX_QUEUES: usize = 65_536;

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::wire::body::{BrokerData, QueueData};

    fn broker(name: &str, addresses: &[(i64, &str)]) -> BrokerData {
        let addresses = addresses.iter().map(|(id, address)| (*id, (*address).to_string())).collect();
        BrokerData { cluster: "c".to_string(), name: name.to_string(), addresses, acting_master: false }
    }

    fn queues(broker: &str, read: i32, write: i32, perm: i32) -> QueueData {
        QueueData { broker: broker.to_string(), read_queues: read, write_queues: write, perm, sys_flag: 0 }
    }

    fn names(queues: &[MessageQueue]) -> Vec<String> {
        queues.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn queues_follow_permission_and_masters_and_are_sorted() {
        let mut routes = Routes::default();
        let route = TopicRoute {
            brokers: [broker("b", &[(0, "b:1")]), broker("a", &[(0, "a:1"), (1, "a:2")]), broker("s", &[(1, "s:2")])]
                .into(),
            queues: [queues("b", 1, 2, 6), queues("a", 2, 1, 4), queues("s", 1, 1, 6)].into(),
            order_conf: None,
        };
        assert!(routes.learn(&Arc::from("T"), &route, false));
        assert!(!routes.learn(&Arc::from("T"), &route, false), "the same again is no change");
        let topic = &routes.topics["T"];
        assert_eq!(names(&topic.write), ["T/b/0", "T/b/1"], "a is read-only, s has no master");
        assert_eq!(names(&topic.read), ["T/a/0", "T/a/1", "T/b/0", "T/s/0"]);
        assert_eq!(routes.brokers_of("T"), ["a:1", "b:1", "s:2"]);
        assert_eq!(routes.reader("a", 1), Some(("a:2", false)));
        assert_eq!(routes.reader("s", 0), Some(("s:2", false)), "any address when the master is gone");
        assert_eq!((routes.master("s"), routes.is_broker("s:2"), routes.is_broker("x")), (None, true, false));
        assert_eq!((routes.addresses(false).len(), routes.addresses(true).len()), (2, 4));
    }

    #[test]
    fn an_ordered_topic_has_the_queues_of_its_configuration() {
        let mut routes = Routes::default();
        let route = TopicRoute {
            brokers: [broker("a", &[(0, "a:1")])].into(),
            queues: [queues("a", 8, 8, 6)].into(),
            order_conf: Some("a:2;b:1".to_string()),
        };
        routes.learn(&Arc::from("T"), &route, false);
        assert_eq!(names(&routes.topics["T"].write), ["T/a/0", "T/a/1", "T/b/0"]);
    }

    #[test]
    fn a_monstrous_route_is_cut() {
        let mut routes = Routes::default();
        let route = TopicRoute {
            brokers: [broker("a", &[(0, "a:1")])].into(),
            queues: (0..20).map(|_| queues("a", i32::MAX, i32::MAX, 6)).collect(),
            order_conf: None,
        };
        routes.learn(&Arc::from("T"), &route, false);
        assert_eq!(routes.topics["T"].read.len(), MAX_QUEUES, "SEC-10");
    }
}
