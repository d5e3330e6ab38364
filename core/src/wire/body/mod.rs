//! Bodies: typed, each with `encode` and `decode`, as they go over the wire and into the broker's tables.
//!
//! Keys are written in alphabetical order and without blanks, since the Go client cuts the addresses of a
//! route out of the raw text. Offset tables have whole `MessageQueue` objects as keys, the form that Java and
//! Go both read. Decoders take unknown keys, missing keys (their default), quoted numbers and the other forms
//! that [`super::json`] reads; how many entries they take is capped (SEC-8).
//!
//! [`route`]: where topics live. [`topics`]: topic configurations and statistics. [`tables`]: the broker's
//! files. [`heartbeat`], [`register`]: what clients and brokers say about themselves.

pub mod heartbeat;
pub mod register;
pub mod route;
pub mod tables;
pub mod topics;

use alloc::string::String;
use alloc::vec::Vec;

use super::WireError;
use super::json::{self, Object, Reader};
use super::request::DataVersion;

pub use route::{BrokerData, ClusterInfo, QueueData, TopicRoute};
pub use tables::{GroupConfig, GroupTable, OffsetTable};
pub use topics::{ConsumeStats, MessageQueue, Progress, QueueStats, TopicConfigTable, TopicStats};

/// The most entries that a table is read with.
pub const MAX_ENTRIES: usize = 1 << 17;

/// Adds to a list that is being decoded, up to [`MAX_ENTRIES`].
fn add<T>(list: &mut Vec<T>, item: T) -> Result<(), WireError> {
    if list.len() >= MAX_ENTRIES {
        return Err(WireError::TooLong { what: "list in a body", max: MAX_ENTRIES });
    }
    list.push(item);
    Ok(())
}

fn texts(r: &mut Reader<'_>) -> Result<Vec<String>, WireError> {
    let mut list = Vec::new();
    r.list(|r| {
        let text = r.string()?;
        add(&mut list, text)
    })?;
    Ok(list)
}

impl DataVersion {
    pub(crate) fn write(&self, o: &mut Object<'_>) {
        o.int("counter", self.counter);
        o.int("stateVersion", self.state_version);
        o.int("timestamp", self.timestamp);
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut version = Self::default();
        r.object(|r, key| {
            match &*key {
                "counter" => version.counter = r.i64()?,
                "stateVersion" => version.state_version = r.i64()?,
                "timestamp" => version.timestamp = r.i64()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(version)
    }
}

/// Code 206's answer: `{"topicList":[..]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicList {
    /// The topics.
    pub topics: Vec<String>,
}

impl TopicList {
    /// The body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        json::object(&mut out, |o| o.texts("topicList", &self.topics));
        out
    }

    /// Reads the body.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        Ok(Self { topics: one(bytes, "topicList", texts)? })
    }
}

/// Code 38's answer: `{"consumerIdList":[..]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerIds {
    /// Client ids.
    pub ids: Vec<String>,
}

impl ConsumerIds {
    /// The body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        json::object(&mut out, |o| o.texts("consumerIdList", &self.ids));
        out
    }

    /// Reads the body.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        Ok(Self { ids: one(bytes, "consumerIdList", texts)? })
    }
}

/// A table of texts, `{"table":{"key":"value"}}`: code 28's answer and a NameServer's order configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValues {
    /// Key and value, in the order written.
    pub entries: Vec<(String, String)>,
}

impl KeyValues {
    /// The body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        json::object(&mut out, |o| {
            o.object("table", |o| {
                for (key, value) in &self.entries {
                    o.str(key, value);
                }
            });
        });
        out
    }

    /// Reads the body.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let entries = one(bytes, "table", |r| {
            let mut entries = Vec::new();
            r.object(|r, key| {
                let value = r.string()?;
                add(&mut entries, (key.into_owned(), value))
            })?;
            Ok(entries)
        })?;
        Ok(Self { entries })
    }
}

/// The one member of a body that counts; its default when it is missing.
fn one<T: Default>(
    bytes: &[u8],
    name: &str,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<T, WireError>,
) -> Result<T, WireError> {
    let mut found = T::default();
    Reader::new(bytes).object(|r, key| {
        if key == name {
            found = read(r)?;
            return Ok(());
        }
        r.skip()
    })?;
    Ok(found)
}
