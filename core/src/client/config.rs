//! What a client may be told when it is made. Every default is the official Java client's, unless said.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// Settings of a [`Client`](super::Client). Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// NameServers as `host:port`. One is used at a time; when it fails, the next.
    pub namesrvs: Vec<String>,
    /// Names this client among the members of its groups, so no two running clients may share it.
    pub client_id: String,
    /// Goes into message ids, to tell machines apart. Where there is no address, four bytes from the seed.
    pub ip: Option<IpAddr>,
    /// Goes into message ids, to tell processes apart.
    pub pid: u16,
    /// How long a connection may take to open.
    pub connect_timeout: u64,
    /// How long any request but a send and a pull may take.
    pub request_timeout: u64,
    /// How long a send may take, all attempts together.
    pub send_timeout: u64,
    /// Attempts of a send after the first.
    pub send_retries: u32,
    /// Largest body of a message, and of a batch, in bytes.
    pub max_message_size: usize,
    /// Sends in flight before more are refused as [`Overloaded`](super::ErrorKind::Overloaded).
    pub max_sends: usize,
    /// Bytes of the sends in flight before more are refused.
    pub max_send_bytes: usize,
    /// Between two refreshes of the routes in use.
    pub route_interval: u64,
    /// Between two heartbeats.
    pub heartbeat_interval: u64,
    /// Between two rebalances that nothing else caused.
    pub rebalance_interval: u64,
    /// Between two commits of consumer offsets.
    pub commit_interval: u64,
    /// How long a broker may hold a pull that finds nothing.
    pub pull_suspend: u64,
    /// How long a pull may take.
    pub pull_timeout: u64,
    /// After a failed pull, how long until the next.
    pub pull_error_delay: u64,
    /// Largest body after decompression, in bytes (SEC-9). Ours; Apache has no such bound.
    pub max_decompressed: usize,
}

impl ClientConfig {
    /// The defaults, for these NameServers and this client id.
    pub fn new(namesrvs: Vec<String>, client_id: impl Into<String>) -> Self {
        Self {
            namesrvs,
            client_id: client_id.into(),
            ip: None,
            pid: 0,
            connect_timeout: 3_000,
            request_timeout: 3_000,
            send_timeout: 3_000,
            send_retries: 2,
            max_message_size: 4 << 20,
            max_sends: 1_024,
            max_send_bytes: 100 << 20,
            route_interval: 30_000,
            heartbeat_interval: 30_000,
            rebalance_interval: 20_000,
            commit_interval: 5_000,
            pull_suspend: 15_000,
            pull_timeout: 30_000,
            pull_error_delay: 1_000,
            max_decompressed: 16 << 20,
        }
    }
}

/// Choices for one send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// This queue and no other: one attempt only.
    pub queue: Option<super::MessageQueue>,
    /// Ask for no answer: the send is over once it is handed to the connection; loss goes unseen.
    pub oneway: bool,
    /// All attempts together, ms; absent: the client's.
    pub timeout: Option<u64>,
    /// Attempts after the first; absent: the client's.
    pub retries: Option<u32>,
}

/// Where a group starts in a queue in which it has no progress yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// With what is stored after the consumer's start. A queue that did not exist then is read from its beginning.
    #[default]
    Last,
    /// With the oldest message that is kept.
    First,
    /// With the first message stored at or after this time.
    Time(crate::time::Unix),
}

/// Choices for one subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// `*` for all, or tags joined by `||`.
    pub tags: String,
    /// Where to start without progress.
    pub from: From,
    /// Messages of one queue that may be delivered and not yet acked.
    pub prefetch: usize,
    /// Bytes of one queue that may be delivered and not yet acked; one message more may come.
    pub prefetch_bytes: usize,
    /// Messages asked for at once, 1 to 1024.
    pub batch: usize,
    /// Read every queue, whoever else is in the group, and keep no progress: each start follows `from`. Nothing is
    /// left on the broker afterwards. RocketMQ's `BROADCASTING`; a group is wholly one or the other.
    pub broadcast: bool,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self {
            tags: "*".into(),
            from: From::Last,
            prefetch: 1_000,
            prefetch_bytes: 100 << 20,
            batch: 32,
            broadcast: false,
        }
    }
}
