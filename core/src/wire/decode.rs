//! From a [`Frame`] to a [`Request`]: header fields by name, bodies through [`super::body`].
//!
//! A peer whose request lacks a required field, or has a number that is none, is answered
//! `SYSTEM_ERROR` with a sentence that names the field; the connection stays. Start at [`Request::decode`].

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::body;
use super::codes::{Code, VERSION_MAPPINGS, VERSION_STANDARD_JSON, request as rc};
use super::frame::Frame;
use super::header::parse_i64;
use super::id::crc;
use super::reply::Refusal;
use super::request::{Boundary, PullMessage, QueueOf, RegisterBroker, Request, SendMessage, TopicConfig};
use crate::sorted;
use crate::time::Unix;

impl Refusal {
    /// A refusal with this code and sentence.
    pub fn new(code: Code, remark: impl Into<String>) -> Self {
        Self { code, remark: remark.into() }
    }
}

fn missing(name: &str) -> Refusal {
    Refusal::new(Code::SYSTEM_ERROR, format!("the request has no header field '{name}'; the client must send it"))
}

fn not_a(what: &str, name: &str) -> Refusal {
    Refusal::new(Code::SYSTEM_ERROR, format!("the header field '{name}' is not {what}; the client must correct it"))
}

fn text<'a>(name: &str, value: &'a [u8]) -> Result<&'a str, Refusal> {
    core::str::from_utf8(value).map_err(|_| not_a("UTF-8 text", name))
}

fn long(name: &str, value: &[u8]) -> Result<i64, Refusal> {
    parse_i64(value).ok_or_else(|| not_a("a number of 64 bits", name))
}

fn int(name: &str, value: &[u8]) -> Result<i32, Refusal> {
    parse_i64(value).and_then(|n| i32::try_from(n).ok()).ok_or_else(|| not_a("a number of 32 bits", name))
}

impl<'a> Frame<'a> {
    fn opt_str(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        self.field(name).map(|v| text(name, v)).transpose()
    }

    fn str(&self, name: &str) -> Result<&'a str, Refusal> {
        self.opt_str(name)?.ok_or_else(|| missing(name))
    }

    fn opt_int(&self, name: &str) -> Result<Option<i32>, Refusal> {
        self.field(name).filter(|v| !v.is_empty()).map(|v| int(name, v)).transpose()
    }

    fn int(&self, name: &str) -> Result<i32, Refusal> {
        self.opt_int(name)?.ok_or_else(|| missing(name))
    }

    fn opt_long(&self, name: &str) -> Result<Option<i64>, Refusal> {
        self.field(name).filter(|v| !v.is_empty()).map(|v| long(name, v)).transpose()
    }

    fn long(&self, name: &str) -> Result<i64, Refusal> {
        self.opt_long(name)?.ok_or_else(|| missing(name))
    }

    fn flag_set(&self, name: &str) -> Option<bool> {
        self.field(name).filter(|v| !v.is_empty()).map(|v| v.eq_ignore_ascii_case(b"true"))
    }

    fn queue(&self) -> Result<QueueOf<'a>, Refusal> {
        Ok(QueueOf { topic: self.str("topic")?, queue_id: self.int("queueId")? })
    }
}

impl<'a> Request<'a> {
    /// What a broker asks of a client: the few requests that clients serve. All others are [`Request::Unknown`], so
    /// that a client alone carries no decoder for what only servers are asked.
    pub fn decode_for_client(frame: &Frame<'a>) -> Result<Self, Refusal> {
        match frame.code() {
            rc::NOTIFY_CONSUMER_IDS_CHANGED => Ok(Self::NotifyConsumerIds { group: frame.str("consumerGroup")? }),
            code => Ok(Self::Unknown { code }),
        }
    }

    /// Decodes a request frame. The frame's body is what the frame carries; nothing is copied but the bodies
    /// of heartbeats and registrations, and the texts of a topic's configuration.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, Refusal> {
        Ok(match frame.code() {
            rc::SEND_MESSAGE => Self::Send(send(frame, &LONG)?),
            rc::SEND_MESSAGE_V2 | rc::SEND_BATCH_MESSAGE => Self::Send(send(frame, &SHORT)?),
            rc::PULL_MESSAGE | rc::LITE_PULL_MESSAGE => Self::Pull(pull(frame)?),
            rc::QUERY_CONSUMER_OFFSET => Self::QueryOffset {
                group: frame.str("consumerGroup")?,
                queue: frame.queue()?,
                zero_if_none: frame.flag_set("setZeroIfNotFound").unwrap_or(true),
            },
            rc::UPDATE_CONSUMER_OFFSET => Self::UpdateOffset {
                group: frame.str("consumerGroup")?,
                queue: frame.queue()?,
                offset: frame.long("commitOffset")?,
            },
            rc::SEARCH_OFFSET_BY_TIMESTAMP => Self::SearchOffset {
                queue: frame.queue()?,
                at: Unix(frame.long("timestamp")?),
                boundary: match frame.field("boundaryType") {
                    Some(v) if v.eq_ignore_ascii_case(b"UPPER") => Boundary::Upper,
                    _ => Boundary::Lower,
                },
            },
            rc::GET_MAX_OFFSET => Self::MaxOffset(frame.queue()?),
            rc::GET_MIN_OFFSET => Self::MinOffset(frame.queue()?),
            rc::GET_EARLIEST_MSG_STORETIME => Self::EarliestStoreTime(frame.queue()?),
            rc::VIEW_MESSAGE_BY_ID => Self::ViewMessage { at: frame.long("offset")? },
            rc::HEART_BEAT => {
                let mut heartbeat = body::heartbeat::decode(frame.body()).map_err(|e| bad_body("heartbeat", &e))?;
                frame.language().name().clone_into(&mut heartbeat.language);
                heartbeat.version = frame.version();
                Self::Heartbeat(heartbeat)
            }
            rc::UNREGISTER_CLIENT => Self::UnregisterClient {
                client_id: frame.str("clientID")?,
                producer_group: frame.opt_str("producerGroup")?.filter(|g| !g.is_empty()),
                consumer_group: frame.opt_str("consumerGroup")?.filter(|g| !g.is_empty()),
            },
            rc::GET_CONSUMER_LIST_BY_GROUP => Self::ConsumerList { group: frame.str("consumerGroup")? },
            rc::NOTIFY_CONSUMER_IDS_CHANGED => Self::NotifyConsumerIds { group: frame.str("consumerGroup")? },
            rc::UPDATE_AND_CREATE_TOPIC => Self::UpdateTopic { config: topic_config(frame)? },
            rc::GET_ALL_TOPIC_CONFIG => Self::TopicConfigs,
            rc::GET_BROKER_RUNTIME_INFO => Self::BrokerInfo,
            rc::GET_TOPIC_STATS_INFO => Self::TopicStats { topic: frame.str("topic")? },
            rc::GET_CONSUME_STATS => Self::ConsumeStats {
                group: frame.str("consumerGroup")?,
                topic: frame.opt_str("topic")?.filter(|t| !t.is_empty()),
            },
            rc::REGISTER_BROKER => Self::RegisterBroker(register(frame)?),
            rc::UNREGISTER_BROKER => Self::UnregisterBroker {
                cluster: frame.str("clusterName")?,
                name: frame.str("brokerName")?,
                address: frame.str("brokerAddr")?,
                id: frame.long("brokerId")?,
            },
            rc::GET_ROUTEINFO_BY_TOPIC => Self::Route {
                topic: frame.str("topic")?,
                standard_json: frame.version() >= VERSION_STANDARD_JSON
                    || frame.flag_set("acceptStandardJsonOnly").unwrap_or(false),
            },
            rc::GET_BROKER_CLUSTER_INFO => Self::ClusterInfo,
            rc::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => Self::TopicList,
            code => Self::Unknown { code },
        })
    }
}

fn bad_body(what: &str, error: &super::WireError) -> Refusal {
    Refusal::new(Code::SYSTEM_ERROR, format!("the {what} body cannot be read: {error}; the sender must correct it"))
}

/// Names of a send's fields in the order of [`SendMessage`]: `a` to `m`.
type Names = [&'static str; 13];
const SHORT: Names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"];
const LONG: Names = [
    "producerGroup",
    "topic",
    "defaultTopic",
    "defaultTopicQueueNums",
    "queueId",
    "sysFlag",
    "bornTimestamp",
    "flag",
    "properties",
    "reconsumeTimes",
    "unitMode",
    "maxReconsumeTimes",
    "batch",
];

/// One pass over the fields; what occurs twice counts as it stands last.
fn send<'a>(frame: &Frame<'a>, names: &Names) -> Result<SendMessage<'a>, Refusal> {
    let mut found: [Option<&'a [u8]>; 13] = [None; 13];
    let short = names[0].len() == 1;
    for (key, value) in frame.fields() {
        let index = match key {
            [letter] if short => usize::from(letter.wrapping_sub(b'a')),
            key if !short => names.iter().position(|n| n.as_bytes() == key).unwrap_or(names.len()),
            _ => continue,
        };
        if let Some(slot) = found.get_mut(index) {
            *slot = (!value.is_empty()).then_some(value);
        }
    }
    let need = |i: usize| found[i].ok_or_else(|| missing(names[i]));
    Ok(SendMessage {
        group: text(names[0], need(0)?)?,
        topic: text(names[1], need(1)?)?,
        default_topic: text(names[2], need(2)?)?,
        default_topic_queues: int(names[3], need(3)?)?,
        queue_id: int(names[4], need(4)?)?,
        sys_flag: int(names[5], need(5)?)?,
        born: Unix(long(names[6], need(6)?)?),
        flag: int(names[7], need(7)?)?,
        properties: text(names[8], found[8].unwrap_or_default())?,
        reconsume_times: found[9].map_or(Ok(0), |v| int(names[9], v))?,
        max_reconsume_times: found[11].map(|v| int(names[11], v)).transpose()?,
        batch: frame.code() == rc::SEND_BATCH_MESSAGE || found[12].is_some_and(|v| v == b"true"),
        body: frame.body(),
    })
}

fn pull<'a>(frame: &Frame<'a>) -> Result<PullMessage<'a>, Refusal> {
    Ok(PullMessage {
        group: frame.str("consumerGroup")?,
        topic: frame.str("topic")?,
        queue_id: frame.int("queueId")?,
        offset: frame.long("queueOffset")?,
        max: frame.int("maxMsgNums")?,
        max_bytes: frame.opt_int("maxMsgBytes")?,
        sys_flag: frame.int("sysFlag")?,
        commit_offset: frame.long("commitOffset")?,
        suspend_ms: frame.long("suspendTimeoutMillis")?,
        subscription: frame.opt_str("subscription")?,
        sub_version: frame.long("subVersion")?,
        expression_type: frame.opt_str("expressionType")?,
    })
}

fn topic_config(frame: &Frame<'_>) -> Result<TopicConfig, Refusal> {
    let mut attributes = Vec::new();
    let text = frame.opt_str("attributes")?.unwrap_or_default();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let pair = match (item.strip_prefix('+').and_then(|kv| kv.split_once('=')), item.strip_prefix('-')) {
            (Some((key, value)), _) if !key.is_empty() && !value.is_empty() => (key.to_owned(), value.to_owned()),
            (_, Some(key)) if !key.is_empty() => (key.to_owned(), String::new()),
            _ => {
                return Err(Refusal::new(
                    Code::SYSTEM_ERROR,
                    format!("the topic attribute '{item}' is neither '+key=value' nor '-key'; correct the attributes"),
                ));
            }
        };
        attributes.push(pair);
    }
    sorted::sort(&mut attributes);
    Ok(TopicConfig {
        name: frame.str("topic")?.to_owned(),
        read_queues: frame.int("readQueueNums")?,
        write_queues: frame.int("writeQueueNums")?,
        perm: frame.int("perm")?,
        sys_flag: frame.opt_int("topicSysFlag")?.unwrap_or(0),
        order: frame.flag_set("order").unwrap_or(false),
        filter_type: match frame.str("topicFilterType")? {
            kind @ ("SINGLE_TAG" | "MULTI_TAG") => kind.to_owned(),
            _ => return Err(not_a("SINGLE_TAG or MULTI_TAG", "topicFilterType")),
        },
        attributes,
    })
}

fn register(frame: &Frame<'_>) -> Result<RegisterBroker, Refusal> {
    let stated = frame.opt_int("bodyCrc32")?.unwrap_or(0);
    if stated != 0 && stated as u32 != crc(frame.body()) {
        return Err(Refusal::new(
            Code::SYSTEM_ERROR,
            "crc32 not match: the registration's body was changed on its way",
        ));
    }
    let table = body::register::decode(frame.body(), frame.version() >= VERSION_MAPPINGS)
        .map_err(|e| bad_body("registration", &e))?;
    Ok(RegisterBroker {
        cluster: frame.str("clusterName")?.to_owned(),
        name: frame.str("brokerName")?.to_owned(),
        address: frame.str("brokerAddr")?.to_owned(),
        id: frame.long("brokerId")?,
        ha_address: frame.opt_str("haServerAddr")?.unwrap_or_default().to_owned(),
        heartbeat_timeout_ms: frame.opt_long("heartbeatTimeoutMillis")?,
        acting_master: frame.flag_set("enableActingMaster"),
        version: table.version,
        topics: table.topics,
    })
}
