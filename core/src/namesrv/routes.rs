//! The route tables: clusters, brokers, topics' queues. Rules of registration in the order of remoting.md 8.1.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::wire::body::{BrokerData, ClusterInfo, QueueData, TopicRoute};
use crate::wire::codes::Code;
use crate::wire::reply::Refusal;
use crate::wire::request::{DataVersion, RegisterBroker};

#[derive(Debug)]
struct Broker {
    cluster: String,
    addresses: BTreeMap<i64, Entry>,
    /// `None` from brokers before 5.x.
    acting_master: Option<bool>,
}

#[derive(Clone, Debug)]
struct Entry {
    address: String,
    ha: String,
    version: DataVersion,
}

/// What a registration gives back to a slave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// The master's address.
    pub master: Option<String>,
    /// The master's HA address.
    pub ha: Option<String>,
}

/// A broker address that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The broker's name.
    pub broker: String,
    /// The address.
    pub address: String,
}

/// All that a NameServer knows.
#[derive(Debug, Default)]
pub struct Routes {
    brokers: BTreeMap<String, Broker>,
    topics: BTreeMap<String, BTreeMap<String, QueueData>>,
}

impl Routes {
    /// Takes in a registration.
    pub fn register(&mut self, new: &RegisterBroker) -> Result<Registered, Refusal> {
        for what in [&new.name, &new.cluster, &new.address] {
            if what.is_empty() {
                return Err(Refusal::new(
                    Code::SYSTEM_ERROR,
                    "register broker failed: it needs a name, a cluster and an address",
                ));
            }
        }
        let known = self.brokers.get(&new.name).and_then(|b| b.addresses.get(&new.id));
        if known.is_some_and(|old| old.address != new.address && old.version.state_version > new.version.state_version)
        {
            return Ok(Registered::default());
        }
        if known.is_none() && new.topics.len() == 1 {
            return Err(Refusal::new(
                Code::SYSTEM_ERROR,
                "register broker failed: a first registration carries all topics",
            ));
        }
        let first = known.is_none();
        let changed = known.is_none_or(|old| old.version != new.version);

        let broker = self.brokers.entry(new.name.clone()).or_insert_with(|| Broker {
            cluster: new.cluster.clone(),
            addresses: BTreeMap::new(),
            acting_master: None,
        });
        broker.cluster.clone_from(&new.cluster);
        broker.acting_master = new.acting_master;
        broker.addresses.retain(|id, entry| *id == new.id || entry.address != new.address);
        let entry = Entry { address: new.address.clone(), ha: new.ha_address.clone(), version: new.version };
        broker.addresses.insert(new.id, entry);

        let smallest = broker.addresses.keys().next() == Some(&new.id);
        let acting = smallest && new.id != 0 && broker.acting_master == Some(true);
        if new.id == 0 || smallest && broker.acting_master.is_some() {
            for topic in &new.topics {
                let queues = self.topics.entry(topic.name.clone()).or_default();
                if first || changed || !queues.contains_key(&new.name) {
                    let write = if acting { !WRITE } else { !0 };
                    let data = QueueData {
                        broker: new.name.clone(),
                        read_queues: topic.read_queues,
                        write_queues: topic.write_queues,
                        perm: topic.perm & write,
                        sys_flag: topic.sys_flag,
                    };
                    queues.insert(new.name.clone(), data);
                }
            }
        }
        let master = self.brokers.get(&new.name).and_then(|b| b.addresses.get(&0)).filter(|_| new.id != 0);
        Ok(Registered { master: master.map(|m| m.address.clone()), ha: master.map(|m| m.ha.clone()) })
    }

    /// A broker said goodbye.
    pub fn unregister(&mut self, cluster: &str, name: &str, address: &str, id: i64) -> Option<Left> {
        let broker = self.brokers.get_mut(name).filter(|b| b.cluster == cluster)?;
        broker.addresses.get(&id).filter(|entry| entry.address == address)?;
        self.remove(name, id)
    }

    /// Whoever has this address is gone.
    pub fn remove_address(&mut self, address: &str) -> Option<Left> {
        let found = self.brokers.iter().find_map(|(name, broker)| {
            let id = broker.addresses.iter().find(|(_, entry)| entry.address == address)?.0;
            Some((name.clone(), *id))
        });
        let (name, id) = found?;
        self.remove(&name, id)
    }

    fn remove(&mut self, name: &str, id: i64) -> Option<Left> {
        let broker = self.brokers.get_mut(name)?;
        let entry = broker.addresses.remove(&id)?;
        if broker.addresses.is_empty() {
            self.brokers.remove(name);
            self.topics.retain(|_, queues| {
                queues.remove(name);
                !queues.is_empty()
            });
        } else if broker.acting_master == Some(true) && !broker.addresses.contains_key(&0) {
            for data in self.topics.values_mut().filter_map(|queues| queues.get_mut(name)) {
                data.perm &= !WRITE;
            }
        }
        Some(Left { broker: name.into(), address: entry.address })
    }

    /// Where a topic is. `None` when no living broker has it.
    pub fn route(&self, topic: &str) -> Option<TopicRoute> {
        let queues = self.topics.get(topic)?;
        let brokers: Vec<BrokerData> = queues.keys().filter_map(|name| self.broker(name)).collect();
        (!brokers.is_empty()).then(|| TopicRoute {
            queues: queues.values().cloned().collect(),
            brokers,
            order_conf: None,
        })
    }

    fn broker(&self, name: &str) -> Option<BrokerData> {
        let broker = self.brokers.get(name)?;
        Some(BrokerData {
            cluster: broker.cluster.clone(),
            name: name.into(),
            addresses: broker.addresses.iter().map(|(id, entry)| (*id, entry.address.clone())).collect(),
            acting_master: broker.acting_master == Some(true),
        })
    }

    /// All clusters and brokers, by name.
    pub fn cluster_info(&self) -> ClusterInfo {
        let mut clusters: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (name, broker) in &self.brokers {
            clusters.entry(&broker.cluster).or_default().push(name.clone());
        }
        ClusterInfo {
            brokers: self.brokers.keys().filter_map(|name| self.broker(name)).collect(),
            clusters: clusters.into_iter().map(|(cluster, names)| (cluster.into(), names)).collect(),
        }
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(String::as_str)
    }

    /// How many broker names are known.
    pub fn broker_count(&self) -> usize {
        self.brokers.len()
    }

    /// Whether a topic of this name is known.
    pub fn has_topic(&self, name: &str) -> bool {
        self.topics.contains_key(name)
    }

    /// How many topics are known.
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }
}

/// Bit of `perm`: producers may write.
const WRITE: i32 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::request::TopicConfig;
    use alloc::vec;

    fn topic(name: &str) -> TopicConfig {
        TopicConfig {
            name: name.into(),
            read_queues: 4,
            write_queues: 4,
            perm: 6,
            sys_flag: 0,
            order: false,
            filter_type: "SINGLE_TAG".into(),
            attributes: vec![],
        }
    }

    fn broker(id: i64, counter: i64, topics: &[&str]) -> RegisterBroker {
        RegisterBroker {
            cluster: "C".into(),
            name: "b".into(),
            address: alloc::format!("10.0.0.{id}:10911"),
            id,
            ha_address: alloc::format!("10.0.0.{id}:10912"),
            heartbeat_timeout_ms: None,
            acting_master: None,
            version: DataVersion { state_version: 0, timestamp: 1, counter },
            topics: topics.iter().map(|name| topic(name)).collect(),
        }
    }

    #[test]
    fn a_registration_makes_routes_and_the_last_address_takes_them_away() {
        let mut routes = Routes::default();
        routes.register(&broker(0, 1, &["T", "U"])).expect("master");
        let slave = routes.register(&broker(1, 1, &["T", "U"])).expect("slave");
        assert_eq!(slave.master.as_deref(), Some("10.0.0.0:10911"));
        let route = routes.route("T").expect("route");
        assert_eq!(route.brokers[0].addresses.len(), 2);
        assert!(routes.unregister("C", "b", "10.0.0.0:10911", 0).is_some());
        assert!(routes.route("T").is_some(), "readable through the slave");
        assert!(routes.remove_address("10.0.0.1:10911").is_some());
        assert!(routes.route("T").is_none());
        assert_eq!((routes.broker_count(), routes.topic_count()), (0, 0));
    }

    #[test]
    fn topics_that_a_later_registration_lacks_are_kept_and_a_first_one_is_whole() {
        let mut routes = Routes::default();
        assert!(routes.register(&broker(0, 1, &["T"])).is_err());
        routes.register(&broker(0, 1, &["T", "U"])).expect("full");
        routes.register(&broker(0, 2, &["V"])).expect("incremental");
        assert_eq!(routes.topics().collect::<Vec<_>>(), ["T", "U", "V"]);
    }
}
