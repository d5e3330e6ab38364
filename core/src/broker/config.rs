//! What an operator may set, with Apache's names and defaults where Apache has the setting.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};

/// When a send is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushMode {
    /// When the medium has taken it: survives the process, not the machine's power (DUR-1, W1).
    #[default]
    Async,
    /// When it is flushed: survives a loss of power.
    Sync,
}

/// Settings of one broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfig {
    /// The name that master and slaves share. Java: `brokerName`. Default: `broker-a`.
    pub name: String,
    /// The cluster. Java: `brokerClusterName`. Default: `DefaultCluster`.
    pub cluster: String,
    /// 0 is the master. Java: `brokerId`.
    pub id: i64,
    /// The address that records and message ids carry: the advertised one when it is an address, else the first bound.
    pub host: SocketAddr,
    /// `host:port` that is registered. `None`: the bound address, or on a wildcard address the local address of
    /// the connection to each NameServer. Java: `brokerIP1`.
    pub advertise: Option<String>,
    /// NameServers, `host:port` each. Java: `namesrvAddr`. May be empty.
    pub namesrvs: Vec<String>,
    /// Java: `flushDiskType`. Default: [`FlushMode::Async`].
    pub flush: FlushMode,
    /// Create a topic at its first send. Java: `autoCreateTopicEnable`. Default: true.
    pub auto_create_topic: bool,
    /// Most queues of a topic created so. Java: `defaultTopicQueueNums`. Default: 8.
    pub default_topic_queues: i32,
    /// Largest body, bytes. Java: `maxMessageSize`. Default: 4 MiB.
    pub max_message_size: usize,
    /// How long a send waits for its flush before it is answered `FLUSH_DISK_TIMEOUT`, ms. Java:
    /// `syncFlushTimeout`. Default: 5000.
    pub sync_flush_timeout: u64,
    /// Time between flushes in async mode, ms. Java: `flushIntervalCommitLog`. Default: 500.
    pub flush_interval: u64,
    /// Time between saves of consumer offsets, ms. Java: `flushConsumerOffsetInterval`. Default: 5000.
    pub offset_interval: u64,
    /// Most bytes of messages in one pull's answer. Java: `maxTransferBytesOnMessageInMemory`. Default: 256 KiB.
    pub max_transfer_bytes: usize,
    /// Most messages in one pull's answer. Java: `maxTransferCountOnMessageInMemory`. Default: 32.
    pub max_transfer_count: usize,
    /// A log no longer than this counts as "in memory" for a new group's first offset, bytes. Java: 40 % of the
    /// machine's memory (`accessMessageInMemoryMaxRatio`). Default: 4 GiB.
    pub hot_bytes: u64,
    /// Most pulls held at once; more are answered at once. Default: 100,000.
    pub max_held_pulls: usize,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            name: "broker-a".into(),
            cluster: "DefaultCluster".into(),
            id: 0,
            host: SocketAddr::from((Ipv4Addr::LOCALHOST, 10911)),
            advertise: None,
            namesrvs: Vec::new(),
            flush: FlushMode::Async,
            auto_create_topic: true,
            default_topic_queues: 8,
            max_message_size: 4 << 20,
            sync_flush_timeout: 5000,
            flush_interval: 500,
            offset_interval: 5000,
            max_transfer_bytes: 256 << 10,
            max_transfer_count: 32,
            hot_bytes: 4 << 30,
            max_held_pulls: 100_000,
        }
    }
}
