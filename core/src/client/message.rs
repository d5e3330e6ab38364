//! Messages as programs see them: what they hand in, what they get back, what they receive.
//!
//! Deliberately elsewhere: how a message stands in the log (`record`), and when it is sent or delivered.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use super::error::{ClientError, ErrorKind};
use crate::ids::LogPos;
use crate::time::Unix;
use crate::wire::names::{BROKER_ONLY, is_name_char};

/// One queue of a topic. Sorts as every member of a group must sort: by topic, broker name, id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageQueue {
    /// The topic.
    pub topic: Arc<str>,
    /// The name that a master and its slaves share.
    pub broker: Arc<str>,
    /// The queue's number on that broker, from 0.
    pub id: i32,
}

impl fmt::Display for MessageQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.broker, self.id)
    }
}

/// A message to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// Where to.
    pub topic: String,
    /// The content, at least one byte.
    pub body: Vec<u8>,
    /// What consumers select by.
    pub tag: Option<String>,
    /// What the message can be looked up by; without blanks.
    pub keys: Vec<String>,
    /// Further properties. Reserved names such as `UNIQ_KEY` are refused; `DELAY`, `WAIT` and the like work.
    pub properties: BTreeMap<String, String>,
    /// An integer that travels along.
    pub flag: i32,
}

impl OutgoingMessage {
    /// A message without tag, keys or properties.
    pub fn new(topic: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { topic: topic.into(), body: body.into(), ..Self::default() }
    }

    /// Sets the tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Adds a key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// Sets a property.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }
}

/// How a send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendStatus {
    /// Stored as the broker is configured to store.
    SendOk,
    /// Stored, but not flushed in time.
    FlushDiskTimeout,
    /// Stored, but not copied in time.
    FlushSlaveTimeout,
    /// Stored, but no slave was there to copy to.
    SlaveNotAvailable,
}

impl SendStatus {
    /// RocketMQ's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SendOk => "SEND_OK",
            Self::FlushDiskTimeout => "FLUSH_DISK_TIMEOUT",
            Self::FlushSlaveTimeout => "FLUSH_SLAVE_TIMEOUT",
            Self::SlaveNotAvailable => "SLAVE_NOT_AVAILABLE",
        }
    }
}

/// Where a sent message went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendResult {
    /// How well it is kept.
    pub status: SendStatus,
    /// The id that this client gave it (`UNIQ_KEY`).
    pub message_id: String,
    /// The broker's id of the stored copy; empty after a one-way send.
    pub offset_message_id: String,
    /// The queue; after a one-way send the one it was sent to.
    pub queue: MessageQueue,
    /// Its offset there; `None` after a one-way send.
    pub offset: Option<u64>,
}

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic it was first sent to; a redelivered one was read from another (see `queue`).
    pub topic: Arc<str>,
    /// Where it was read.
    pub queue: MessageQueue,
    /// Its offset there.
    pub offset: u64,
    /// Its position in the broker's log.
    pub position: LogPos,
    /// The id its producer gave it (`UNIQ_KEY`), else the broker's.
    pub message_id: String,
    /// The broker's id of the stored copy.
    pub offset_message_id: String,
    /// The content, or why it cannot be read.
    pub body: Result<Vec<u8>, BodyError>,
    /// All properties, `TAGS` and `KEYS` included.
    pub properties: BTreeMap<String, String>,
    /// The integer that the producer sent along.
    pub flag: i32,
    /// When the producer made it.
    pub born: Unix,
    /// When the broker stored it.
    pub stored: Unix,
    /// Its producer's address.
    pub born_host: SocketAddr,
    /// Its broker's address.
    pub store_host: SocketAddr,
    /// How often it was consumed in vain before.
    pub reconsume_times: i32,
}

impl Message {
    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.properties.get(TAGS).map(String::as_str)
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.properties.get(KEYS).into_iter().flat_map(|keys| keys.split_ascii_whitespace())
    }

    /// The body as text, where it is readable and UTF-8.
    pub fn text(&self) -> Option<&str> {
        self.body.as_ref().ok().and_then(|body| core::str::from_utf8(body).ok())
    }
}

/// A body that cannot be read. The bytes are as they were stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyError {
    /// Why.
    pub why: BodyTrouble,
    /// The body as stored.
    pub raw: Vec<u8>,
}

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyTrouble {
    /// Compressed with LZ4, which this client does not read.
    Lz4,
    /// Compressed with ZSTD, which this client does not read.
    Zstd,
    /// Compressed in a way that the protocol does not know.
    UnknownCompression,
    /// Said to be zlib, and is not.
    Corrupt,
    /// Larger than the client allows after decompression (SEC-9).
    TooLarge {
        /// The bound, in bytes.
        max: usize,
    },
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            BodyTrouble::Lz4 => f.write_str(
                "the body is compressed with LZ4, which this client does not read; let the producer use ZLIB",
            ),
            BodyTrouble::Zstd => f.write_str(
                "the body is compressed with ZSTD, which this client does not read; let the producer use ZLIB",
            ),
            BodyTrouble::UnknownCompression => {
                f.write_str("the body is compressed in a way that this client does not know")
            }
            BodyTrouble::Corrupt => {
                f.write_str("the body is marked as zlib and does not decompress; its producer is at fault")
            }
            BodyTrouble::TooLarge { max } => {
                write!(
                    f,
                    "the body is larger than {max} bytes after decompression; raise the client's max_decompressed to read it"
                )
            }
        }
    }
}

impl core::error::Error for BodyError {}

/// Property names that the client itself reads or writes.
pub(super) const TAGS: &str = "TAGS";
pub(super) const KEYS: &str = "KEYS";
pub(super) const UNIQ_KEY: &str = "UNIQ_KEY";
pub(super) const DELAY: &str = "DELAY";
pub(super) const WAIT: &str = "WAIT";
pub(super) const RETRY_TOPIC: &str = "RETRY_TOPIC";
pub(super) const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
pub(super) const RECONSUME_TIME: &str = "RECONSUME_TIME";
pub(super) const MAX_RECONSUME_TIMES: &str = "MAX_RECONSUME_TIMES";
pub(super) const RETRY_PREFIX: &str = "%RETRY%";

/// Names that mean something to brokers and that a producer may set.
const SETTABLE: [&str; 8] =
    [DELAY, WAIT, "TIMER_DELAY_SEC", "TIMER_DELAY_MS", "TIMER_DELIVER_MS", "__SHARDINGKEY", "BUYER_ID", "INSTANCE_ID"];

/// Names that brokers and clients keep for themselves, or that have a field of their own.
const RESERVED: [&str; 31] = [
    TAGS,
    KEYS,
    UNIQ_KEY,
    RETRY_TOPIC,
    ORIGIN_MESSAGE_ID,
    RECONSUME_TIME,
    MAX_RECONSUME_TIMES,
    "TRAN_MSG",
    "PGROUP",
    "CHECK_IMMUNITY_TIME_IN_SECONDS",
    "__transactionId__",
    "TRAN_PREPARED_QUEUE_OFFSET",
    "TRANSACTION_CHECK_TIMES",
    "REAL_TOPIC",
    "REAL_QID",
    "MIN_OFFSET",
    "MAX_OFFSET",
    "CONSUME_START_TIME",
    "MSG_REGION",
    "TRACE_ON",
    "CLUSTER",
    "MSG_TYPE",
    "POP_CK",
    "POP_CK_OFFSET",
    "1ST_POP_TIME",
    "INNER_NUM",
    "INNER_BASE",
    "INNER_MULTI_DISPATCH",
    "INNER_MULTI_QUEUE_OFFSET",
    "__CRC32#",
    "TIMER_OUT_MS",
];

/// Longest property string, bytes.
const MAX_PROPERTIES: usize = 32_767;

fn check_name(what: &str, name: &str, max: usize) -> Result<(), ClientError> {
    if name.is_empty() {
        return Err(ClientError::usage(format!("the {what} is empty; give it a name")));
    }
    if name.chars().count() > max {
        return Err(ClientError::usage(format!(
            "the {what} is longer than {max} characters: '{name}'; choose a shorter one"
        )));
    }
    if let Some(c) = name.chars().find(|c| !is_name_char(*c)) {
        return Err(ClientError::usage(format!(
            "the {what} '{name}' contains {c:?}; only letters, digits, '%', '|', '-' and '_' are allowed"
        )));
    }
    Ok(())
}

/// A topic's name may be used.
pub(super) fn check_topic(topic: &str) -> Result<(), ClientError> {
    check_name("topic", topic, if topic.starts_with(RETRY_PREFIX) { 255 } else { 127 })
}

/// A group's name may be used.
pub(super) fn check_group(group: &str) -> Result<(), ClientError> {
    check_name("group", group, 120)?;
    if matches!(group, "DEFAULT_PRODUCER" | "DEFAULT_CONSUMER") {
        return Err(ClientError::usage(format!("the group '{group}' is reserved; choose another name")));
    }
    Ok(())
}

/// A message may be sent.
pub(super) fn check_message(message: &OutgoingMessage, max_size: usize) -> Result<(), ClientError> {
    check_topic(&message.topic)?;
    if BROKER_ONLY.contains(&message.topic.as_str()) {
        return Err(ClientError::usage(format!("the topic '{}' is the broker's own; send to another", message.topic)));
    }
    if message.body.is_empty() {
        return Err(ClientError::usage("the body is empty; RocketMQ messages have at least one byte"));
    }
    if message.body.len() > max_size {
        return Err(ClientError::new(
            ErrorKind::TooLarge,
            format!(
                "the body has {} bytes and at most {max_size} are allowed (maxMessageSize); send less",
                message.body.len()
            ),
        ));
    }
    for name in message.properties.keys() {
        if name.is_empty() {
            return Err(ClientError::usage("a property has an empty name; give it one"));
        }
        if RESERVED.contains(&name.as_str()) && !SETTABLE.contains(&name.as_str()) {
            return Err(ClientError::usage(format!("the property '{name}' is reserved; use another name")));
        }
    }
    let texts = message.properties.iter().flat_map(|(name, value)| [name, value]);
    for text in texts.chain(&message.tag).chain(&message.keys) {
        if text.contains(['\u{1}', '\u{2}']) {
            return Err(ClientError::usage(format!(
                "{text:?} contains U+0001 or U+0002, which separate properties; remove it"
            )));
        }
    }
    if message.tag.as_ref().is_some_and(|tag| tag.contains("||")) {
        return Err(ClientError::usage("a message has one tag; '||' belongs to subscriptions"));
    }
    if let Some(key) = message.keys.iter().find(|key| key.is_empty() || key.contains(char::is_whitespace)) {
        return Err(ClientError::usage(format!(
            "the key {key:?} is empty or contains a blank, which separates keys; remove it"
        )));
    }
    Ok(())
}

/// The property string of a message, its id included.
pub(super) fn property_string(message: &OutgoingMessage, unique_key: &str) -> Result<String, ClientError> {
    let mut out = String::new();
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            out.push_str(name);
            out.push('\u{1}');
            out.push_str(value);
            out.push('\u{2}');
        }
    };
    put(UNIQ_KEY, unique_key);
    put(WAIT, message.properties.get(WAIT).map_or("true", String::as_str));
    if let Some(tag) = &message.tag {
        put(TAGS, tag);
    }
    if !message.keys.is_empty() {
        put(KEYS, &message.keys.join(" "));
    }
    for (name, value) in message.properties.iter().filter(|(name, _)| *name != WAIT) {
        put(name, value);
    }
    if out.len() > MAX_PROPERTIES {
        return Err(ClientError::new(
            ErrorKind::TooLarge,
            format!(
                "tag, keys and properties take {} bytes and at most {MAX_PROPERTIES} are allowed; shorten them",
                out.len()
            ),
        ));
    }
    Ok(out)
}

/// Tags of an expression; empty means all.
pub(super) fn parse_tags(expression: &str) -> Vec<String> {
    if expression.trim() == "*" {
        return Vec::new();
    }
    let mut tags: Vec<String> = Vec::new();
    for tag in expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()) {
        if !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_string());
        }
    }
    tags
}
