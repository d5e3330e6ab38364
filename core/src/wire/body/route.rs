//! Where topics live: the answers of a NameServer to codes 105 and 106.
//!
//! Must stay true: compact, keys sorted, `brokerAddrs` always there (the Go client panics without it).

use alloc::string::String;
use alloc::vec::Vec;

use super::{add, texts};
use crate::sorted;
use crate::wire::WireError;
use crate::wire::json::{self, Object, Reader};

/// The brokers of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerData {
    /// The cluster.
    pub cluster: String,
    /// The name.
    pub name: String,
    /// Broker id and `host:port`, sorted by id; 0 is the master.
    pub addresses: Vec<(i64, String)>,
    /// A slave may stand in for the master.
    pub acting_master: bool,
}

impl BrokerData {
    fn write(&self, o: &mut Object<'_>, standard: bool) {
        o.object("brokerAddrs", |o| {
            for (id, address) in &self.addresses {
                o.bare(
                    |out| {
                        out.extend_from_slice(if standard { b"\"" } else { b"" });
                        json::int(out, *id);
                        out.extend_from_slice(if standard { b"\"" } else { b"" });
                    },
                    |out| json::string(out, address),
                );
            }
        });
        o.str("brokerName", &self.name);
        o.str("cluster", &self.cluster);
        o.bool("enableActingMaster", self.acting_master);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut data = Self::default();
        r.object(|r, key| {
            match &*key {
                "brokerAddrs" => r.object(|r, id| {
                    let id = id.parse().map_err(|_| WireError::Malformed { what: "broker id", at: 0 })?;
                    let address = r.string()?;
                    add(&mut data.addresses, (id, address))
                })?,
                "brokerName" => data.name = r.string()?,
                "cluster" => data.cluster = r.string()?,
                "enableActingMaster" => data.acting_master = r.bool()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        sorted::sort(&mut data.addresses);
        Ok(data)
    }

    /// The master's address.
    pub fn master(&self) -> Option<&str> {
        self.addresses.iter().find(|(id, _)| *id == 0).map(|(_, address)| &**address)
    }
}

/// A topic's queues on the brokers of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueData {
    /// The broker's name.
    pub broker: String,
    /// Queues that consumers read.
    pub read_queues: i32,
    /// Queues that producers write.
    pub write_queues: i32,
    /// Bits: 4 read, 2 write, 1 inherit.
    pub perm: i32,
    /// Bits: 1 unit, 2 unit subscription.
    pub sys_flag: i32,
}

/// A topic's route: code 105's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicRoute {
    /// The brokers that the queues name.
    pub brokers: Vec<BrokerData>,
    /// The queues.
    pub queues: Vec<QueueData>,
    /// `broker-a:4;broker-b:4`: when there, producers take their queues from it instead.
    pub order_conf: Option<String>,
}

impl TopicRoute {
    /// The body; with `standard` the broker ids are quoted, otherwise bare as older peers expect.
    pub fn encode(&self, standard: bool) -> Vec<u8> {
        let mut out = Vec::new();
        json::object(&mut out, |o| {
            o.list("brokerDatas", &self.brokers, |out, b| json::object(out, |o| b.write(o, standard)));
            o.object("filterServerTable", |_| {});
            if let Some(conf) = &self.order_conf {
                o.str("orderTopicConf", conf);
            }
            o.list("queueDatas", &self.queues, |out, q| {
                json::object(out, |o| {
                    o.str("brokerName", &q.broker);
                    o.int("perm", q.perm);
                    o.int("readQueueNums", q.read_queues);
                    o.int("topicSysFlag", q.sys_flag);
                    o.int("writeQueueNums", q.write_queues);
                });
            });
        });
        out
    }

    /// Reads the body, in either form.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut route = Self::default();
        Reader::new(bytes).object(|r, key| match &*key {
            "brokerDatas" => r.list(|r| {
                let data = BrokerData::read(r)?;
                add(&mut route.brokers, data)
            }),
            "queueDatas" => r.list(|r| {
                let mut q = QueueData::default();
                r.object(|r, key| {
                    match &*key {
                        "brokerName" => q.broker = r.string()?,
                        "perm" => q.perm = r.i32()?,
                        "readQueueNums" => q.read_queues = r.i32()?,
                        "topicSysFlag" | "topicSynFlag" => q.sys_flag = r.i32()?,
                        "writeQueueNums" => q.write_queues = r.i32()?,
                        _ => r.skip()?,
                    }
                    Ok(())
                })?;
                add(&mut route.queues, q)
            }),
            "orderTopicConf" => {
                route.order_conf = Some(r.string()?).filter(|conf| !conf.is_empty());
                Ok(())
            }
            _ => r.skip(),
        })?;
        Ok(route)
    }
}

/// All clusters and brokers: code 106's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterInfo {
    /// The brokers by name.
    pub brokers: Vec<BrokerData>,
    /// Each cluster and the names of its brokers.
    pub clusters: Vec<(String, Vec<String>)>,
}

impl ClusterInfo {
    /// The body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        json::object(&mut out, |o| {
            o.object("brokerAddrTable", |o| {
                for broker in &self.brokers {
                    o.object(&broker.name, |o| broker.write(o, true));
                }
            });
            o.object("clusterAddrTable", |o| {
                for (cluster, names) in &self.clusters {
                    o.texts(cluster, names);
                }
            });
        });
        out
    }

    /// Reads the body.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut info = Self::default();
        Reader::new(bytes).object(|r, key| match &*key {
            "brokerAddrTable" => r.object(|r, name| {
                let mut data = BrokerData::read(r)?;
                data.name = name.into_owned();
                add(&mut info.brokers, data)
            }),
            "clusterAddrTable" => r.object(|r, cluster| {
                let names = texts(r)?;
                add(&mut info.clusters, (cluster.into_owned(), names))
            }),
            _ => r.skip(),
        })?;
        Ok(info)
    }
}
