//! Topic configurations and statistics: the answers of a broker to codes 21, 202 and 208, and `topics.json`.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use super::add;
use crate::sorted;
use crate::wire::WireError;
use crate::wire::json::{self, Object, Reader};
use crate::wire::request::{DataVersion, TopicConfig};

/// A queue, as the keys of offset tables name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageQueue {
    /// The topic.
    pub topic: String,
    /// The broker's name.
    pub broker: String,
    /// The queue's number on that broker.
    pub queue_id: i32,
}

impl MessageQueue {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        json::object(out, |o| {
            o.str("brokerName", &self.broker);
            o.int("queueId", self.queue_id);
            o.str("topic", &self.topic);
        });
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut queue = Self::default();
        r.object(|r, key| {
            match &*key {
                "brokerName" => queue.broker = r.string()?,
                "queueId" => queue.queue_id = r.i32()?,
                "topic" => queue.topic = r.string()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(queue)
    }

    /// Reads a table keyed by queues in any of its three forms: bare objects as keys, the same as quoted text,
    /// or a list of pairs.
    pub(crate) fn table<T>(
        r: &mut Reader<'_>,
        mut value: impl FnMut(&mut Reader<'_>) -> Result<T, WireError>,
    ) -> Result<Vec<(Self, T)>, WireError> {
        let mut table = Vec::new();
        if r.at_list() {
            r.list(|r| {
                let (mut queue, mut found) = (None, None);
                r.list(|r| {
                    if queue.is_none() {
                        queue = Some(Self::read(r)?);
                    } else if found.is_none() {
                        found = Some(value(r)?);
                    } else {
                        r.skip()?;
                    }
                    Ok(())
                })?;
                match (queue, found) {
                    (Some(queue), Some(found)) => add(&mut table, (queue, found)),
                    _ => Err(WireError::Malformed { what: "queue and value", at: 0 }),
                }
            })?;
        } else {
            r.object(|r, key| {
                let queue = Self::read(&mut Reader::new(key.as_bytes()))?;
                let found = value(r)?;
                add(&mut table, (queue, found))
            })?;
        }
        Ok(table)
    }
}

impl TopicConfig {
    pub(crate) fn write(&self, o: &mut Object<'_>) {
        o.object("attributes", |o| {
            for (key, value) in &self.attributes {
                o.str(key, value);
            }
        });
        o.bool("order", self.order);
        o.int("perm", self.perm);
        o.int("readQueueNums", self.read_queues);
        o.str("topicFilterType", &self.filter_type);
        o.str("topicName", &self.name);
        o.int("topicSysFlag", self.sys_flag);
        o.int("writeQueueNums", self.write_queues);
    }

    /// Reads one; the text beside it is the path of a `$ref` that stands for its attributes.
    fn read(r: &mut Reader<'_>) -> Result<(Self, Option<String>), WireError> {
        let mut config = Self {
            name: String::new(),
            read_queues: 16,
            write_queues: 16,
            perm: 6,
            sys_flag: 0,
            order: false,
            filter_type: "SINGLE_TAG".to_owned(),
            attributes: Vec::new(),
        };
        let mut shared = None;
        r.object(|r, key| {
            match &*key {
                "attributes" => r.object(|r, key| {
                    let value = r.string()?;
                    if key == "$ref" {
                        shared = Some(value);
                        return Ok(());
                    }
                    add(&mut config.attributes, (key.into_owned(), value))
                })?,
                "order" => config.order = r.bool()?,
                "perm" => config.perm = r.i32()?,
                "readQueueNums" => config.read_queues = r.i32()?,
                "topicFilterType" => {
                    // An enum's ordinal is taken too.
                    config.filter_type =
                        if matches!(&*r.text()?, "MULTI_TAG" | "1") { "MULTI_TAG" } else { "SINGLE_TAG" }.into();
                }
                "topicName" => config.name = r.string()?,
                "topicSysFlag" => config.sys_flag = r.i32()?,
                "writeQueueNums" => config.write_queues = r.i32()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        sorted::sort(&mut config.attributes);
        Ok((config, shared))
    }
}

/// The topics of a broker: code 21's answer, a registration's core, and `topics.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicConfigTable {
    /// The table's version.
    pub version: DataVersion,
    /// The topics.
    pub topics: Vec<TopicConfig>,
}

impl TopicConfigTable {
    pub(crate) fn write(&self, o: &mut Object<'_>) {
        write_table(&self.version, &self.topics, o);
    }

    pub(crate) fn member(&mut self, r: &mut Reader<'_>, key: &str) -> Result<(), WireError> {
        match key {
            "dataVersion" => self.version = DataVersion::read(r)?,
            "topicConfigTable" => {
                let mut shared = Vec::new();
                r.object(|r, name| {
                    let (mut config, path) = TopicConfig::read(r)?;
                    config.name = name.into_owned();
                    if let Some(path) = path {
                        shared.push((self.topics.len(), path));
                    }
                    add(&mut self.topics, config)
                })?;
                self.share(&shared);
            }
            _ => r.skip()?,
        }
        Ok(())
    }

    /// Java writes attributes that two topics share once, and a path in the other place.
    fn share(&mut self, shared: &[(usize, String)]) {
        for (index, path) in shared {
            let path: String = path.chars().filter(|c| *c != '\\').collect();
            let Some((_, rest)) = path.split_once("topicConfigTable") else { continue };
            let name = rest.strip_suffix(".attributes").unwrap_or(rest);
            let name = name.trim_start_matches(['.', '[']).trim_end_matches(']').trim_matches(['"', '\'']);
            let found = self.topics.iter().take(*index).find(|t| t.name == name).map(|t| t.attributes.clone());
            if let (Some(found), Some(topic)) = (found, self.topics.get_mut(*index)) {
                topic.attributes = found;
            }
        }
    }

    /// The body of code 21's answer.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        json::object(&mut out, |o| {
            self.write(o);
            o.object("topicQueueMappingDetailMap", |_| {});
        });
        out
    }

    /// The content of `topics.json`.
    pub fn to_file(&self) -> Vec<u8> {
        let mut out = Vec::new();
        json::object(&mut out, |o| self.write(o));
        json::pretty(&out)
    }

    /// Reads either.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut table = Self::default();
        Reader::new(bytes).object(|r, key| table.member(r, &key))?;
        Ok(table)
    }
}

pub(super) fn write_table(version: &DataVersion, topics: &[TopicConfig], o: &mut Object<'_>) {
    o.object("dataVersion", |o| version.write(o));
    o.object("topicConfigTable", |o| {
        for topic in topics {
            o.object(&topic.name, |o| topic.write(o));
        }
    });
}

/// Offsets of one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// First offset kept.
    pub min: i64,
    /// Next offset to be written.
    pub max: i64,
    /// When the last message was stored, ms; 0 for never.
    pub last_update: i64,
}

/// A topic's queues on one broker: code 202's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicStats {
    /// One entry for each queue.
    pub queues: Vec<(MessageQueue, QueueStats)>,
    /// Messages stored per second.
    pub put_tps: f64,
}

impl TopicStats {
    /// The body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        json::object(&mut out, |o| {
            o.object("offsetTable", |o| {
                for (queue, stats) in &self.queues {
                    o.bare(
                        |out| queue.write(out),
                        |out| {
                            json::object(out, |o| {
                                o.int("lastUpdateTimestamp", stats.last_update);
                                o.int("maxOffset", stats.max);
                                o.int("minOffset", stats.min);
                            });
                        },
                    );
                }
            });
            o.float("topicPutTps", self.put_tps);
        });
        out
    }

    /// Reads the body.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut all = Self::default();
        Reader::new(bytes).object(|r, key| {
            match &*key {
                "offsetTable" => {
                    all.queues = MessageQueue::table(r, |r| {
                        let mut stats = QueueStats::default();
                        r.object(|r, key| {
                            match &*key {
                                "lastUpdateTimestamp" => stats.last_update = r.i64()?,
                                "maxOffset" => stats.max = r.i64()?,
                                "minOffset" => stats.min = r.i64()?,
                                _ => r.skip()?,
                            }
                            Ok(())
                        })?;
                        Ok(stats)
                    })?;
                }
                "topicPutTps" => all.put_tps = r.f64()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(all)
    }
}

/// A group's place in one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Next offset to be written.
    pub broker: i64,
    /// Next offset to be consumed.
    pub consumer: i64,
    /// Next offset to be pulled.
    pub pull: i64,
    /// When the last consumed message was stored, ms.
    pub last_timestamp: i64,
}

/// A group's progress on one broker: code 208's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConsumeStats {
    /// One entry for each queue.
    pub queues: Vec<(MessageQueue, Progress)>,
    /// Messages consumed per second.
    pub consume_tps: f64,
}

impl ConsumeStats {
    /// The body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        json::object(&mut out, |o| {
            o.float("consumeTps", self.consume_tps);
            o.object("offsetTable", |o| {
                for (queue, progress) in &self.queues {
                    o.bare(
                        |out| queue.write(out),
                        |out| {
                            json::object(out, |o| {
                                o.int("brokerOffset", progress.broker);
                                o.int("consumerOffset", progress.consumer);
                                o.int("lastTimestamp", progress.last_timestamp);
                                o.int("pullOffset", progress.pull);
                            });
                        },
                    );
                }
            });
        });
        out
    }

    /// Reads the body.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut all = Self::default();
        Reader::new(bytes).object(|r, key| {
            match &*key {
                "consumeTps" => all.consume_tps = r.f64()?,
                "offsetTable" => {
                    all.queues = MessageQueue::table(r, |r| {
                        let mut progress = Progress::default();
                        r.object(|r, key| {
                            match &*key {
                                "brokerOffset" => progress.broker = r.i64()?,
                                "consumerOffset" => progress.consumer = r.i64()?,
                                "lastTimestamp" => progress.last_timestamp = r.i64()?,
                                "pullOffset" => progress.pull = r.i64()?,
                                _ => r.skip()?,
                            }
                            Ok(())
                        })?;
                        Ok(progress)
                    })?;
                }
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(all)
    }
}
