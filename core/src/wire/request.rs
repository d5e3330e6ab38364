//! Typed requests, borrowed from the bytes that carried them.
//!
//! One variant for each thing that may be asked, whatever code and serialization carried it: 10, 310 and
//! 320 are all [`Request::Send`]. Field names are the protocol's own; a header field's absence is `None`
//! or the protocol's default. Fields that the protocol requires and a peer left out are a
//! [`Refusal`](super::reply::Refusal), since Apache's decoder answers and keeps the connection too.

use alloc::string::String;
use alloc::vec::Vec;

use crate::time::Unix;

/// A message to store: codes 10, 310 (short keys) and 320 (batch).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendMessage<'a> {
    /// The producer group.
    pub group: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The template to create the topic from when it does not exist (`TBW102`).
    pub default_topic: &'a str,
    /// Queues that the producer would like in a topic created so.
    pub default_topic_queues: i32,
    /// The queue, or -1 to let the broker choose.
    pub queue_id: i32,
    /// Message system flags: compression, transaction kind.
    pub sys_flag: i32,
    /// When the producer made the message.
    pub born: Unix,
    /// An integer of the user's, stored with the message.
    pub flag: i32,
    /// `name 0x01 value 0x02`, repeated.
    pub properties: &'a str,
    /// How often this message was consumed in vain (retry topics).
    pub reconsume_times: i32,
    /// The retry limit the consumer asks for.
    pub max_reconsume_times: Option<i32>,
    /// The body is a batch: several messages, each with its own properties.
    pub batch: bool,
    /// The message's body, or the batch.
    pub body: &'a [u8],
}

/// Long-poll read of one queue: codes 11 and 361.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullMessage<'a> {
    /// The consumer group.
    pub group: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The queue.
    pub queue_id: i32,
    /// First queue offset wanted.
    pub offset: i64,
    /// At most this many messages.
    pub max: i32,
    /// At most about this many bytes, when given.
    pub max_bytes: Option<i32>,
    /// Bits of [`pull_flag`].
    pub sys_flag: i32,
    /// The group's progress, valid with [`pull_flag::COMMIT`].
    pub commit_offset: i64,
    /// How long to hold the request when nothing is there, in ms; valid with [`pull_flag::SUSPEND`].
    pub suspend_ms: i64,
    /// The subscription, valid with [`pull_flag::SUBSCRIPTION`].
    pub subscription: Option<&'a str>,
    /// The version of the subscription that the group's heartbeat must have reached.
    pub sub_version: i64,
    /// `TAG` (also absent or empty) or `SQL92`.
    pub expression_type: Option<&'a str>,
}

/// Bits of a pull request's `sysFlag`.
pub mod pull_flag {
    /// `commitOffset` is to be stored.
    pub const COMMIT: i32 = 1;
    /// The request may be held.
    pub const SUSPEND: i32 = 2;
    /// `subscription` and `expressionType` are to be used.
    pub const SUBSCRIPTION: i32 = 4;
    /// The client filters by class; not served.
    pub const CLASS_FILTER: i32 = 8;
    /// Sent by a lite pull consumer.
    pub const LITE: i32 = 16;
}

/// A topic and a queue of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueOf<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The queue's number on this broker.
    pub queue_id: i32,
}

/// Which message a search by time means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Boundary {
    /// The first message stored at or after the time.
    #[default]
    Lower,
    /// The last message stored at or before the time.
    Upper,
}

/// What a topic is on one broker, as requests and tables carry it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// The topic's name.
    pub name: String,
    /// Queues that consumers read.
    pub read_queues: i32,
    /// Queues that producers write.
    pub write_queues: i32,
    /// Bits: 4 read, 2 write, 1 inherit.
    pub perm: i32,
    /// Bits: 1 unit, 2 unit subscription.
    pub sys_flag: i32,
    /// The topic is ordered: sends do not move to another broker.
    pub order: bool,
    /// `SINGLE_TAG` or `MULTI_TAG`, kept as text since it has no effect.
    pub filter_type: String,
    /// Attributes such as `message.type`, sorted by name. In a request to change a topic an empty value removes.
    pub attributes: Vec<(String, String)>,
}

/// One topic of a consumer's subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The topic.
    pub topic: String,
    /// `*`, or tags joined by `||`, or an SQL92 expression.
    pub expression: String,
    /// `TAG` or `SQL92`; an empty one means `TAG`.
    pub expression_type: String,
    /// The tags of the expression; empty means all.
    pub tags: Vec<String>,
    /// Larger replaces smaller. Java: ms; Go: ns.
    pub version: i64,
}

/// A consumer group in a heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerData {
    /// The group.
    pub group: String,
    /// `CONSUME_ACTIVELY` (pull), `CONSUME_PASSIVELY` (push) or `CONSUME_POP`.
    pub consume_type: String,
    /// `CLUSTERING` or `BROADCASTING`.
    pub message_model: String,
    /// `CONSUME_FROM_LAST_OFFSET`, `CONSUME_FROM_FIRST_OFFSET` or `CONSUME_FROM_TIMESTAMP`.
    pub from: String,
    /// What the group subscribes to.
    pub subscriptions: Vec<Subscription>,
}

/// Who a client is and what groups it has: code 34.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Names the client among its group.
    pub client_id: String,
    /// Producer groups.
    pub producers: Vec<String>,
    /// Consumer groups.
    pub consumers: Vec<ConsumerData>,
    /// Not 0 for heartbeat V2.
    pub fingerprint: i32,
    /// V2: subscriptions were left out because they did not change.
    pub without_sub: bool,
    /// The client's language, as in the frame's header.
    pub language: String,
    /// The client's `MQVersion` ordinal.
    pub version: i32,
}

/// A version of a table: equal only when all three are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataVersion {
    /// Term of the writer; 0 outside controller mode.
    pub state_version: i64,
    /// When it last changed, ms.
    pub timestamp: i64,
    /// How often it changed.
    pub counter: i64,
}

/// A broker's registration with a NameServer: code 103.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterBroker {
    /// The broker's cluster.
    pub cluster: String,
    /// The name that master and slaves share.
    pub name: String,
    /// `host:port` for clients.
    pub address: String,
    /// 0 is the master.
    pub id: i64,
    /// `host:port` for slaves.
    pub ha_address: String,
    /// After this silence the broker is dropped, in ms; absent: 120 s.
    pub heartbeat_timeout_ms: Option<i64>,
    /// Present only from 5.x brokers.
    pub acting_master: Option<bool>,
    /// Version of the topic table.
    pub version: DataVersion,
    /// The topics.
    pub topics: Vec<TopicConfig>,
}

/// Everything that a peer may ask. What is not in this list is [`Request::Unknown`] and refused with code 3.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request<'a> {
    /// 10, 310, 320.
    Send(SendMessage<'a>),
    /// 11, 361.
    Pull(PullMessage<'a>),
    /// 14: a group's progress in a queue.
    QueryOffset {
        /// The consumer group.
        group: &'a str,
        /// The queue.
        queue: QueueOf<'a>,
        /// Answer 0 for a group without progress; `false` answers "none".
        zero_if_none: bool,
    },
    /// 15: store a group's progress.
    UpdateOffset {
        /// The consumer group.
        group: &'a str,
        /// The queue.
        queue: QueueOf<'a>,
        /// The next offset to consume.
        offset: i64,
    },
    /// 29: the offset at a time.
    SearchOffset {
        /// The queue.
        queue: QueueOf<'a>,
        /// The time.
        at: Unix,
        /// Which side of it.
        boundary: Boundary,
    },
    /// 30: the next offset to be written.
    MaxOffset(QueueOf<'a>),
    /// 31: the first offset still kept.
    MinOffset(QueueOf<'a>),
    /// 32: when the oldest message of the queue was stored.
    EarliestStoreTime(QueueOf<'a>),
    /// 33: one message by its position in the log.
    ViewMessage {
        /// Position in the log, bytes.
        at: i64,
    },
    /// 34.
    Heartbeat(Heartbeat),
    /// 35: a client leaves.
    UnregisterClient {
        /// The client.
        client_id: &'a str,
        /// Its producer group, if that is what leaves.
        producer_group: Option<&'a str>,
        /// Its consumer group, if that is what leaves.
        consumer_group: Option<&'a str>,
    },
    /// 36, consumer to broker: a message could not be consumed; deliver it again later.
    SendBack {
        /// Its position in the log.
        at: i64,
        /// The consumer group.
        group: &'a str,
        /// 0: by how often it was tried; negative: put it aside for good.
        delay_level: i32,
        /// The broker's id of the copy that was read.
        origin_id: &'a str,
        /// The topic it was first sent to.
        origin_topic: &'a str,
        /// Deliveries after the first before it is put aside.
        max_reconsume_times: i32,
    },
    /// 38: the ids of a group's members.
    ConsumerList {
        /// The consumer group.
        group: &'a str,
    },
    /// 40, broker to client: the members of a group changed.
    NotifyConsumerIds {
        /// The consumer group.
        group: &'a str,
    },
    /// 17: create or change a topic.
    UpdateTopic {
        /// What it shall be.
        config: TopicConfig,
    },
    /// 21: all topics of this broker.
    TopicConfigs,
    /// 28: key and value texts about this broker.
    BrokerInfo,
    /// 202: min and max offset of each queue of a topic.
    TopicStats {
        /// The topic.
        topic: &'a str,
    },
    /// 208: a group's progress beside the broker's, per queue.
    ConsumeStats {
        /// The consumer group.
        group: &'a str,
        /// One topic, or all that the group has progress in.
        topic: Option<&'a str>,
    },
    /// 103.
    RegisterBroker(RegisterBroker),
    /// 104.
    UnregisterBroker {
        /// Its cluster.
        cluster: &'a str,
        /// Its name.
        name: &'a str,
        /// Its address.
        address: &'a str,
        /// Its id.
        id: i64,
    },
    /// 105.
    Route {
        /// The topic.
        topic: &'a str,
        /// Quote numeric keys (version 401 and later, or asked for); otherwise the older form.
        standard_json: bool,
    },
    /// 106.
    ClusterInfo,
    /// 206.
    TopicList,
    /// A code that is not served.
    Unknown {
        /// The request code.
        code: i32,
    },
}

impl Request<'_> {
    /// Whether the answer grows with what the server knows: a driver lets it leave before it takes the next request,
    /// so that few bytes of requests cost little memory (SEC-10).
    pub fn asks_for_much(&self) -> bool {
        matches!(
            self,
            Self::TopicConfigs
                | Self::TopicStats { .. }
                | Self::ConsumeStats { .. }
                | Self::ConsumerList { .. }
                | Self::Route { .. }
                | Self::ClusterInfo
                | Self::TopicList
        )
    }
}
