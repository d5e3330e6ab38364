//! The broker's tables as files that a Java broker reads too: `consumerOffset.json`, `subscriptionGroup.json`.
//!
//! Written with a line for each member; numeric keys stand without quotes, as Java writes them. `topics.json`
//! is [`super::TopicConfigTable`].

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use super::add;
use crate::sorted;
use crate::wire::WireError;
use crate::wire::json::{self, Object, Reader};
use crate::wire::request::DataVersion;

/// Consumer progress: `consumerOffset.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetTable {
    /// The table's version.
    pub version: DataVersion,
    /// One entry for each topic and group.
    pub entries: Vec<GroupOffsets>,
}

/// A group's progress in one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupOffsets {
    /// The topic.
    pub topic: String,
    /// The group.
    pub group: String,
    /// Queue and next offset to consume.
    pub queues: Vec<(i32, i64)>,
}

impl OffsetTable {
    /// The content of the file.
    pub fn to_file(&self) -> Vec<u8> {
        let mut out = Vec::new();
        json::object(&mut out, |o| {
            o.object("dataVersion", |o| self.version.write(o));
            o.object("offsetTable", |o| {
                for entry in &self.entries {
                    let key = |out: &mut Vec<u8>| {
                        out.push(b'"');
                        json::escaped(out, &entry.topic);
                        out.push(b'@');
                        json::escaped(out, &entry.group);
                        out.push(b'"');
                    };
                    o.bare(key, |out| {
                        json::object(out, |o| {
                            for (queue, offset) in &entry.queues {
                                o.bare(|out| json::int(out, (*queue).into()), |out| json::int(out, *offset));
                            }
                        });
                    });
                }
            });
        });
        json::pretty(&out)
    }

    /// Reads the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut table = Self::default();
        Reader::new(bytes).object(|r, key| {
            match &*key {
                "dataVersion" => table.version = DataVersion::read(r)?,
                "offsetTable" => r.object(|r, key| {
                    let (topic, group) = key.split_once('@').unwrap_or((&key, ""));
                    let mut entry =
                        GroupOffsets { topic: topic.to_owned(), group: group.to_owned(), queues: Vec::new() };
                    r.object(|r, queue| {
                        let queue = queue.parse().map_err(|_| WireError::Malformed { what: "queue id", at: 0 })?;
                        let offset = r.i64()?;
                        add(&mut entry.queues, (queue, offset))
                    })?;
                    add(&mut table.entries, entry)
                })?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(table)
    }
}

/// Settings of a consumer group. What the broker does not act on is kept, so that a file survives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the file has them")]
pub struct GroupConfig {
    /// The group.
    pub name: String,
    /// The group may consume.
    pub consume_enable: bool,
    /// The group may start at the first offset.
    pub from_min_enable: bool,
    /// The group may consume in broadcast mode.
    pub broadcast_enable: bool,
    /// The group consumes in order.
    pub orderly: bool,
    /// Queues of the group's retry topic.
    pub retry_queues: i32,
    /// Attempts before a message goes to the dead-letter topic.
    pub retry_max: i32,
    /// The broker id to read from.
    pub broker_id: i64,
    /// The broker id to read from when the group is slow.
    pub slow_broker_id: i64,
    /// Members are told when the membership changes.
    pub notify: bool,
    /// Minutes that one message may take.
    pub consume_timeout_minute: i32,
    /// Bits: 1 unit.
    pub sys_flag: i32,
    /// The retry policy, JSON text.
    pub retry_policy: String,
    /// Attributes, sorted by name.
    pub attributes: Vec<(String, String)>,
}

impl GroupConfig {
    /// The defaults for a group of this name.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            consume_enable: true,
            from_min_enable: true,
            broadcast_enable: true,
            orderly: false,
            retry_queues: 1,
            retry_max: 16,
            broker_id: 0,
            slow_broker_id: 1,
            notify: true,
            consume_timeout_minute: 15,
            sys_flag: 0,
            retry_policy: r#"{"type":"CUSTOMIZED"}"#.to_owned(),
            attributes: Vec::new(),
        }
    }

    fn write(&self, o: &mut Object<'_>) {
        o.object("attributes", |o| {
            for (key, value) in &self.attributes {
                o.str(key, value);
            }
        });
        o.int("brokerId", self.broker_id);
        o.bool("consumeBroadcastEnable", self.broadcast_enable);
        o.bool("consumeEnable", self.consume_enable);
        o.bool("consumeFromMinEnable", self.from_min_enable);
        o.bool("consumeMessageOrderly", self.orderly);
        o.int("consumeTimeoutMinute", self.consume_timeout_minute);
        o.str("groupName", &self.name);
        o.with("groupRetryPolicy", |out| out.extend_from_slice(self.retry_policy.as_bytes()));
        o.int("groupSysFlag", self.sys_flag);
        o.bool("notifyConsumerIdsChangedEnable", self.notify);
        o.int("retryMaxTimes", self.retry_max);
        o.int("retryQueueNums", self.retry_queues);
        o.int("whichBrokerWhenConsumeSlowly", self.slow_broker_id);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut config = Self::new("");
        r.object(|r, key| {
            match &*key {
                "attributes" => r.object(|r, key| {
                    let value = r.string()?;
                    add(&mut config.attributes, (key.into_owned(), value))
                })?,
                "brokerId" => config.broker_id = r.i64()?,
                "consumeBroadcastEnable" => config.broadcast_enable = r.bool()?,
                "consumeEnable" => config.consume_enable = r.bool()?,
                "consumeFromMinEnable" => config.from_min_enable = r.bool()?,
                "consumeMessageOrderly" => config.orderly = r.bool()?,
                "consumeTimeoutMinute" => config.consume_timeout_minute = r.i32()?,
                "groupName" => config.name = r.string()?,
                "groupRetryPolicy" if r.at_object() => config.retry_policy = compact(r.raw()?),
                "groupSysFlag" => config.sys_flag = r.i32()?,
                "notifyConsumerIdsChangedEnable" => config.notify = r.bool()?,
                "retryMaxTimes" => config.retry_max = r.i32()?,
                "retryQueueNums" => config.retry_queues = r.i32()?,
                "whichBrokerWhenConsumeSlowly" => config.slow_broker_id = r.i64()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        sorted::sort(&mut config.attributes);
        Ok(config)
    }
}

/// Consumer groups: `subscriptionGroup.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupTable {
    /// The table's version.
    pub version: DataVersion,
    /// The groups.
    pub groups: Vec<GroupConfig>,
    /// Group, topic and a bit mask of what is forbidden there.
    pub forbidden: Vec<(String, String, i32)>,
}

impl GroupTable {
    /// The content of the file.
    pub fn to_file(&self) -> Vec<u8> {
        let mut out = Vec::new();
        json::object(&mut out, |o| {
            o.object("dataVersion", |o| self.version.write(o));
            o.object("forbiddenTable", |o| {
                for group in self.forbidden.chunk_by(|a, b| a.0 == b.0) {
                    o.object(&group[0].0, |o| {
                        for (_, topic, mask) in group {
                            o.int(topic, *mask);
                        }
                    });
                }
            });
            o.object("subscriptionGroupTable", |o| {
                for group in &self.groups {
                    o.object(&group.name, |o| group.write(o));
                }
            });
        });
        json::pretty(&out)
    }

    /// Reads the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut table = Self::default();
        Reader::new(bytes).object(|r, key| {
            match &*key {
                "dataVersion" => table.version = DataVersion::read(r)?,
                "forbiddenTable" => r.object(|r, group| {
                    r.object(|r, topic| {
                        let mask = r.i32()?;
                        add(&mut table.forbidden, (group.clone().into_owned(), topic.into_owned(), mask))
                    })
                })?,
                "subscriptionGroupTable" => r.object(|r, name| {
                    let mut config = GroupConfig::read(r)?;
                    config.name = name.into_owned();
                    add(&mut table.groups, config)
                })?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        sorted::sort(&mut table.forbidden);
        Ok(table)
    }
}

/// JSON text without blanks between its parts.
fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        if quoted && c == '\\' {
            out.push(c);
            out.extend(chars.next());
            continue;
        }
        quoted ^= c == '"';
        if quoted || !c.is_whitespace() {
            out.push(c);
        }
    }
    out
}
