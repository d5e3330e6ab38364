//! Frames being written: replies and requests, straight into a byte vector.
//!
//! A frame is begun, given its fields, and ended; lengths are filled in at the end. JSON headers are written
//! compact with sorted members; binary headers when the asker's was binary and the code fits 16 bits.
//! Hot replies use no formatting machinery. Start at [`reply`] and [`request`].

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::body;
use super::codes::{Code, Language, VERSION, request as rc};
use super::id::{crc, write_offset_id};
use super::json;
use super::reply::{Positions, Reply, Sent};
use super::request::{Boundary, PullMessage, QueueOf, RegisterBroker, Request, SendMessage, TopicConfig};
use crate::ids::{AskId, Call};

/// The region that replies to sends name.
const REGION: &str = "DefaultRegion";

/// A frame on its way into `out`.
struct Writer<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    binary: bool,
    flag: i32,
    opaque: i32,
    remark: Option<&'o str>,
    /// JSON: a field was written. Binary: not used.
    any: bool,
    /// Binary: where the length of all fields goes.
    fields: usize,
}

impl<'o> Writer<'o> {
    fn begin(out: &'o mut Vec<u8>, binary: bool, code: i32, flag: i32, opaque: i32, remark: Option<&'o str>) -> Self {
        let start = out.len();
        let short = i16::try_from(code).ok().filter(|_| binary);
        let mut writer = Self { out, start, binary: short.is_some(), flag, opaque, remark, any: false, fields: 0 };
        let out = &mut *writer.out;
        out.extend_from_slice(&[0; 8]);
        if let Some(code) = short {
            out.extend_from_slice(&code.to_be_bytes());
            out.push(Language::RUST.0);
            out.extend_from_slice(&(VERSION as i16).to_be_bytes());
            out.extend_from_slice(&opaque.to_be_bytes());
            out.extend_from_slice(&flag.to_be_bytes());
            let remark = remark.unwrap_or_default();
            out.extend_from_slice(&(remark.len() as u32).to_be_bytes());
            out.extend_from_slice(remark.as_bytes());
            writer.fields = out.len();
            out.extend_from_slice(&[0; 4]);
        } else {
            out.extend_from_slice(b"{\"code\":");
            json::int(out, code.into());
        }
        writer
    }

    /// A field whose value `value` writes; the value needs no escaping.
    fn field(&mut self, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
        if self.binary {
            self.out.extend_from_slice(&(key.len() as u16).to_be_bytes());
            self.out.extend_from_slice(key.as_bytes());
            let at = self.out.len();
            self.out.extend_from_slice(&[0; 4]);
            value(self.out);
            let len = (self.out.len() - at - 4) as u32;
            put_u32(self.out, at, len);
        } else {
            self.out.extend_from_slice(if self.any { b",\"" } else { b",\"extFields\":{\"" });
            self.any = true;
            self.out.extend_from_slice(key.as_bytes());
            self.out.extend_from_slice(b"\":\"");
            value(self.out);
            self.out.push(b'"');
        }
    }

    /// A text. In a binary header an empty one would read as absent, so it is left out.
    fn str(&mut self, key: &str, value: &str) {
        if self.binary && value.is_empty() {
            return;
        }
        let binary = self.binary;
        self.field(key, |out| if binary { out.extend_from_slice(value.as_bytes()) } else { json::escaped(out, value) });
    }

    fn opt_str(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.str(key, value);
        }
    }

    fn int(&mut self, key: &str, value: impl Into<i64>) {
        let value = value.into();
        self.field(key, |out| json::int(out, value));
    }

    fn bool(&mut self, key: &str, value: bool) {
        self.field(key, |out| out.extend_from_slice(if value { b"true" } else { b"false" }));
    }

    fn queue(&mut self, queue: &QueueOf<'_>) {
        self.str("topic", queue.topic);
        self.int("queueId", queue.queue_id);
    }

    /// Ends the header and the frame: `body` follows, then `more` bytes that someone else appends.
    fn end(self, body: &[u8], more: usize) {
        let Self { out, start, binary, flag, opaque, remark, any, fields } = self;
        if binary {
            let len = (out.len() - fields - 4) as u32;
            put_u32(out, fields, len);
        } else {
            out.extend_from_slice(if any { b"},\"flag\":" } else { b",\"flag\":" });
            json::int(out, flag.into());
            out.extend_from_slice(b",\"language\":\"RUST\",\"opaque\":");
            json::int(out, opaque.into());
            if let Some(remark) = remark {
                out.extend_from_slice(b",\"remark\":");
                json::string(out, remark);
            }
            out.extend_from_slice(b",\"version\":");
            json::int(out, VERSION.into());
            out.push(b'}');
        }
        let header = (out.len() - start - 8) as u32;
        out.extend_from_slice(body);
        let total = (out.len() - start - 4 + more) as u32;
        put_u32(out, start, total);
        put_u32(out, start + 4, u32::from(binary) << 24 | (header & 0x00FF_FFFF));
    }
}

fn put_u32(out: &mut [u8], at: usize, value: u32) {
    if let Some(slot) = out.get_mut(at..at + 4) {
        slot.copy_from_slice(&value.to_be_bytes());
    }
}

/// The leases whose bytes follow the head that [`reply`] wrote, in this order.
pub fn leases<L>(reply: &Reply<L>) -> &[L] {
    match reply {
        Reply::Pulled(pulled) => &pulled.leases,
        Reply::Messages(leases) => leases,
        _ => &[],
    }
}

/// Appends the reply's head to `out`: the whole frame but for the bytes of its [`leases`], which are counted in
/// the lengths and which the driver sends right behind. Writes nothing for a oneway call.
pub fn reply<L: AsRef<[u8]>>(call: &Call, reply: &Reply<L>, out: &mut Vec<u8>) {
    if call.oneway {
        return;
    }
    let (code, remark) = match reply {
        Reply::Refused(refusal) => (refusal.code, Some(&*refusal.remark)),
        Reply::Sent(sent) => (sent.code, None),
        Reply::Pulled(pulled) => (pulled.code, Some(pulled.remark).filter(|r| !r.is_empty())),
        _ => (Code::SUCCESS, None),
    };
    let more = leases(reply).iter().map(|l| l.as_ref().len()).sum();
    let mut w = Writer::begin(out, call.binary, code.0, 1, call.opaque, remark);
    let mut body: &[u8] = &[];
    match reply {
        Reply::Done | Reply::Refused(_) | Reply::HeartbeatDone | Reply::Messages(_) => {}
        Reply::Sent(sent) => sent_fields(&mut w, sent),
        Reply::Pulled(pulled) => {
            w.int("maxOffset", pulled.max);
            w.int("minOffset", pulled.min);
            w.int("nextBeginOffset", pulled.next);
            w.int("suggestWhichBrokerId", pulled.suggest);
        }
        Reply::Offset(offset) => w.int("offset", *offset),
        Reply::Timestamp(at) => w.int("timestamp", *at),
        Reply::Body(bytes) => body = bytes,
        Reply::Registered { master, ha, body: bytes } => {
            w.opt_str("haServerAddr", ha.as_deref());
            w.opt_str("masterAddr", master.as_deref());
            body = bytes;
        }
    }
    w.end(body, more);
}

fn sent_fields(w: &mut Writer<'_>, sent: &Sent) {
    let host: &SocketAddr = &sent.host;
    w.str("MSG_REGION", REGION);
    w.str("TRACE_ON", "true");
    w.field("msgId", |out| match &sent.at {
        Positions::One(at) => write_offset_id(out, host, *at),
        Positions::Many(all) => {
            out.reserve(all.len() * 57);
            for (i, at) in all.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_offset_id(out, host, *at);
            }
        }
    });
    w.int("queueId", sent.queue_id);
    w.int("queueOffset", sent.queue_offset as i64);
    if !sent.unique_key.is_empty() {
        w.str("transactionId", &sent.unique_key);
    }
}

impl Request<'_> {
    /// The request code that [`request`] writes for it.
    pub fn code(&self) -> i32 {
        match self {
            Self::Send(send) if send.batch => rc::SEND_BATCH_MESSAGE,
            Self::Send(_) => rc::SEND_MESSAGE_V2,
            Self::Pull(_) => rc::PULL_MESSAGE,
            Self::QueryOffset { .. } => rc::QUERY_CONSUMER_OFFSET,
            Self::UpdateOffset { .. } => rc::UPDATE_CONSUMER_OFFSET,
            Self::SearchOffset { .. } => rc::SEARCH_OFFSET_BY_TIMESTAMP,
            Self::MaxOffset(_) => rc::GET_MAX_OFFSET,
            Self::MinOffset(_) => rc::GET_MIN_OFFSET,
            Self::EarliestStoreTime(_) => rc::GET_EARLIEST_MSG_STORETIME,
            Self::ViewMessage { .. } => rc::VIEW_MESSAGE_BY_ID,
            Self::Heartbeat(_) => rc::HEART_BEAT,
            Self::UnregisterClient { .. } => rc::UNREGISTER_CLIENT,
            Self::SendBack { .. } => rc::CONSUMER_SEND_MSG_BACK,
            Self::ConsumerList { .. } => rc::GET_CONSUMER_LIST_BY_GROUP,
            Self::NotifyConsumerIds { .. } => rc::NOTIFY_CONSUMER_IDS_CHANGED,
            Self::UpdateTopic { .. } => rc::UPDATE_AND_CREATE_TOPIC,
            Self::TopicConfigs => rc::GET_ALL_TOPIC_CONFIG,
            Self::BrokerInfo => rc::GET_BROKER_RUNTIME_INFO,
            Self::TopicStats { .. } => rc::GET_TOPIC_STATS_INFO,
            Self::ConsumeStats { .. } => rc::GET_CONSUME_STATS,
            Self::RegisterBroker(_) => rc::REGISTER_BROKER,
            Self::UnregisterBroker { .. } => rc::UNREGISTER_BROKER,
            Self::Route { .. } => rc::GET_ROUTEINFO_BY_TOPIC,
            Self::ClusterInfo => rc::GET_BROKER_CLUSTER_INFO,
            Self::TopicList => rc::GET_ALL_TOPIC_LIST_FROM_NAMESERVER,
            Self::Unknown { code } => *code,
        }
    }
}

/// Appends a whole request frame with a JSON header; `ask` is the number that its answer will carry.
pub fn request(request: &Request<'_>, ask: AskId, oneway: bool, out: &mut Vec<u8>) {
    write(request, ask, oneway, false, out);
}

/// Like [`request`], with a binary header.
pub fn binary_request(request: &Request<'_>, ask: AskId, oneway: bool, out: &mut Vec<u8>) {
    write(request, ask, oneway, true, out);
}

fn write(request: &Request<'_>, ask: AskId, oneway: bool, binary: bool, out: &mut Vec<u8>) {
    let mut made = Vec::new();
    let mut body: &[u8] = &[];
    let mut w = Writer::begin(out, binary, request.code(), if oneway { 2 } else { 0 }, ask.0, None);
    match request {
        Request::Send(send) => {
            send_fields(&mut w, send);
            body = send.body;
        }
        Request::Pull(pull) => pull_fields(&mut w, pull),
        Request::QueryOffset { group, queue, zero_if_none } => {
            w.str("consumerGroup", group);
            w.queue(queue);
            w.bool("setZeroIfNotFound", *zero_if_none);
        }
        Request::UpdateOffset { group, queue, offset } => {
            w.str("consumerGroup", group);
            w.queue(queue);
            w.int("commitOffset", *offset);
        }
        Request::SearchOffset { queue, at, boundary } => {
            w.queue(queue);
            w.int("timestamp", at.0);
            w.str("boundaryType", if *boundary == Boundary::Upper { "UPPER" } else { "LOWER" });
        }
        Request::MaxOffset(queue) | Request::MinOffset(queue) | Request::EarliestStoreTime(queue) => w.queue(queue),
        Request::ViewMessage { at } => w.int("offset", *at),
        Request::Heartbeat(heartbeat) => made = body::heartbeat::encode(heartbeat),
        Request::UnregisterClient { client_id, producer_group, consumer_group } => {
            w.str("clientID", client_id);
            w.opt_str("producerGroup", *producer_group);
            w.opt_str("consumerGroup", *consumer_group);
        }
        Request::SendBack { at, group, delay_level, origin_id, origin_topic, max_reconsume_times } => {
            w.int("offset", *at);
            w.str("group", group);
            w.int("delayLevel", *delay_level);
            w.str("originMsgId", origin_id);
            w.str("originTopic", origin_topic);
            w.bool("unitMode", false);
            w.int("maxReconsumeTimes", *max_reconsume_times);
        }
        Request::ConsumerList { group } | Request::NotifyConsumerIds { group } => w.str("consumerGroup", group),
        Request::UpdateTopic { config } => topic_fields(&mut w, config),
        Request::TopicStats { topic } => w.str("topic", topic),
        Request::ConsumeStats { group, topic } => {
            w.str("consumerGroup", group);
            w.opt_str("topic", *topic);
        }
        Request::RegisterBroker(broker) => {
            made = body::register::encode(broker);
            register_fields(&mut w, broker, &made);
        }
        Request::UnregisterBroker { cluster, name, address, id } => {
            w.str("brokerAddr", address);
            w.int("brokerId", *id);
            w.str("brokerName", name);
            w.str("clusterName", cluster);
        }
        Request::Route { topic, standard_json } => {
            w.str("topic", topic);
            w.bool("acceptStandardJsonOnly", *standard_json);
        }
        Request::TopicConfigs
        | Request::BrokerInfo
        | Request::ClusterInfo
        | Request::TopicList
        | Request::Unknown { .. } => {}
    }
    w.end(if made.is_empty() { body } else { &made }, 0);
}

fn send_fields(w: &mut Writer<'_>, send: &SendMessage<'_>) {
    w.str("a", send.group);
    w.str("b", send.topic);
    w.str("c", send.default_topic);
    w.int("d", send.default_topic_queues);
    w.int("e", send.queue_id);
    w.int("f", send.sys_flag);
    w.int("g", send.born.0);
    w.int("h", send.flag);
    w.str("i", send.properties);
    w.int("j", send.reconsume_times);
    w.bool("k", false);
    if let Some(max) = send.max_reconsume_times {
        w.int("l", max);
    }
    w.bool("m", send.batch);
}

fn pull_fields(w: &mut Writer<'_>, pull: &PullMessage<'_>) {
    w.str("consumerGroup", pull.group);
    w.str("topic", pull.topic);
    w.int("queueId", pull.queue_id);
    w.int("queueOffset", pull.offset);
    w.int("maxMsgNums", pull.max);
    w.int("sysFlag", pull.sys_flag);
    w.int("commitOffset", pull.commit_offset);
    w.int("suspendTimeoutMillis", pull.suspend_ms);
    w.opt_str("subscription", pull.subscription);
    w.int("subVersion", pull.sub_version);
    w.opt_str("expressionType", pull.expression_type);
    if let Some(bytes) = pull.max_bytes {
        w.int("maxMsgBytes", bytes);
    }
}

fn topic_fields(w: &mut Writer<'_>, config: &TopicConfig) {
    w.str("topic", &config.name);
    w.str("defaultTopic", "TBW102");
    w.int("readQueueNums", config.read_queues);
    w.int("writeQueueNums", config.write_queues);
    w.int("perm", config.perm);
    w.str("topicFilterType", &config.filter_type);
    w.int("topicSysFlag", config.sys_flag);
    w.bool("order", config.order);
    if !config.attributes.is_empty() {
        let binary = w.binary;
        w.field("attributes", |out| {
            for (i, (key, value)) in config.attributes.iter().enumerate() {
                out.extend_from_slice(if i > 0 { b"," } else { b"" });
                out.push(if value.is_empty() { b'-' } else { b'+' });
                for (part, text) in [("", key), ("=", value)].into_iter().filter(|(_, text)| !text.is_empty()) {
                    out.extend_from_slice(part.as_bytes());
                    if binary { out.extend_from_slice(text.as_bytes()) } else { json::escaped(out, text) }
                }
            }
        });
    }
}

fn register_fields(w: &mut Writer<'_>, broker: &RegisterBroker, body: &[u8]) {
    w.int("bodyCrc32", crc(body));
    w.str("brokerAddr", &broker.address);
    w.int("brokerId", broker.id);
    w.str("brokerName", &broker.name);
    w.str("clusterName", &broker.cluster);
    w.bool("compressed", false);
    if let Some(acting) = broker.acting_master {
        w.bool("enableActingMaster", acting);
    }
    w.str("haServerAddr", &broker.ha_address);
    if let Some(ms) = broker.heartbeat_timeout_ms {
        w.int("heartbeatTimeoutMillis", ms);
    }
}
