//! Numbers of the protocol: request codes, response codes, languages, versions.
//!
//! Request codes are plain `i32` constants in [`request`]; response codes are [`Code`]s. Only what Skylark
//! sends or acts on is named here; everything else travels as a number.

pub use super::reply::Code;

/// The `version` that Skylark writes: the ordinal of V5_3_3. Java clients refuse SQL92 below 232, and a
/// NameServer reads a registration below 37 in an older form.
pub const VERSION: i32 = 479;
/// From this version on a route is wanted with quoted numeric keys (V4_9_4).
pub const VERSION_STANDARD_JSON: i32 = 401;
/// From this version on a compressed registration ends in a list of static-topic mappings (V5_0_0).
pub const VERSION_MAPPINGS: i32 = 413;

/// Request codes.
pub mod request {
    /// Store a message, long header names.
    pub const SEND_MESSAGE: i32 = 10;
    /// Long-poll read.
    pub const PULL_MESSAGE: i32 = 11;
    /// A group's progress.
    pub const QUERY_CONSUMER_OFFSET: i32 = 14;
    /// Store a group's progress.
    pub const UPDATE_CONSUMER_OFFSET: i32 = 15;
    /// Create or change a topic.
    pub const UPDATE_AND_CREATE_TOPIC: i32 = 17;
    /// All topics of a broker.
    pub const GET_ALL_TOPIC_CONFIG: i32 = 21;
    /// Key and value texts about a broker.
    pub const GET_BROKER_RUNTIME_INFO: i32 = 28;
    /// The offset at a time.
    pub const SEARCH_OFFSET_BY_TIMESTAMP: i32 = 29;
    /// The next offset to be written.
    pub const GET_MAX_OFFSET: i32 = 30;
    /// The first offset kept.
    pub const GET_MIN_OFFSET: i32 = 31;
    /// When the oldest message was stored.
    pub const GET_EARLIEST_MSG_STORETIME: i32 = 32;
    /// One message by its position.
    pub const VIEW_MESSAGE_BY_ID: i32 = 33;
    /// A client shows itself.
    pub const HEART_BEAT: i32 = 34;
    /// A client leaves.
    pub const UNREGISTER_CLIENT: i32 = 35;
    /// A consumer gives a message back.
    pub const CONSUMER_SEND_MSG_BACK: i32 = 36;
    /// The members of a group.
    pub const GET_CONSUMER_LIST_BY_GROUP: i32 = 38;
    /// Broker to client: members changed.
    pub const NOTIFY_CONSUMER_IDS_CHANGED: i32 = 40;
    /// A broker registers with a NameServer.
    pub const REGISTER_BROKER: i32 = 103;
    /// A broker leaves a NameServer.
    pub const UNREGISTER_BROKER: i32 = 104;
    /// Where a topic lives.
    pub const GET_ROUTEINFO_BY_TOPIC: i32 = 105;
    /// All clusters and brokers.
    pub const GET_BROKER_CLUSTER_INFO: i32 = 106;
    /// Offsets of each queue of a topic.
    pub const GET_TOPIC_STATS_INFO: i32 = 202;
    /// All topics that a NameServer knows.
    pub const GET_ALL_TOPIC_LIST_FROM_NAMESERVER: i32 = 206;
    /// A group's progress beside the broker's.
    pub const GET_CONSUME_STATS: i32 = 208;
    /// Store a message, short header names.
    pub const SEND_MESSAGE_V2: i32 = 310;
    /// Store several messages, short header names.
    pub const SEND_BATCH_MESSAGE: i32 = 320;
    /// Long-poll read of a lite pull consumer.
    pub const LITE_PULL_MESSAGE: i32 = 361;
}

impl Code {
    /// Done.
    pub const SUCCESS: Self = Self(0);
    /// Anything that has no better code.
    pub const SYSTEM_ERROR: Self = Self(1);
    /// Try later, or elsewhere.
    pub const SYSTEM_BUSY: Self = Self(2);
    /// The request code is not served.
    pub const REQUEST_CODE_NOT_SUPPORTED: Self = Self(3);
    /// Stored, but not flushed in time.
    pub const FLUSH_DISK_TIMEOUT: Self = Self(10);
    /// Stored, but no slave was there.
    pub const SLAVE_NOT_AVAILABLE: Self = Self(11);
    /// Stored, but not copied in time.
    pub const FLUSH_SLAVE_TIMEOUT: Self = Self(12);
    /// The message breaks a limit.
    pub const MESSAGE_ILLEGAL: Self = Self(13);
    /// The broker takes no messages now.
    pub const SERVICE_NOT_AVAILABLE: Self = Self(14);
    /// The peer's version is not served.
    pub const VERSION_NOT_SUPPORTED: Self = Self(15);
    /// Not allowed.
    pub const NO_PERMISSION: Self = Self(16);
    /// No such topic.
    pub const TOPIC_NOT_EXIST: Self = Self(17);
    /// The topic is there already.
    pub const TOPIC_EXIST_ALREADY: Self = Self(18);
    /// Nothing there yet.
    pub const PULL_NOT_FOUND: Self = Self(19);
    /// Nothing matched; pull again at once.
    pub const PULL_RETRY_IMMEDIATELY: Self = Self(20);
    /// The offset asked for is outside the queue.
    pub const PULL_OFFSET_MOVED: Self = Self(21);
    /// Nothing of that name or key.
    pub const QUERY_NOT_FOUND: Self = Self(22);
    /// The expression does not parse.
    pub const SUBSCRIPTION_PARSE_FAILED: Self = Self(23);
    /// The group subscribes to no such topic.
    pub const SUBSCRIPTION_NOT_EXIST: Self = Self(24);
    /// The broker knows an older subscription than the request names.
    pub const SUBSCRIPTION_NOT_LATEST: Self = Self(25);
    /// No such group.
    pub const SUBSCRIPTION_GROUP_NOT_EXIST: Self = Self(26);
    /// A field has a value that cannot be.
    pub const INVALID_PARAMETER: Self = Self(29);
    /// Nobody of the group is connected.
    pub const CONSUMER_NOT_ONLINE: Self = Self(206);
    /// Slow down.
    pub const FLOW_CONTROL: Self = Self(215);
    /// Not while this is so.
    pub const ILLEGAL_OPERATION: Self = Self(604);
    /// The server is shutting down.
    pub const GO_AWAY: Self = Self(1500);

    /// The protocol's name of the code, or `UNKNOWN`.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "SUCCESS",
            1 => "SYSTEM_ERROR",
            2 => "SYSTEM_BUSY",
            3 => "REQUEST_CODE_NOT_SUPPORTED",
            4 => "TRANSACTION_FAILED",
            10 => "FLUSH_DISK_TIMEOUT",
            11 => "SLAVE_NOT_AVAILABLE",
            12 => "FLUSH_SLAVE_TIMEOUT",
            13 => "MESSAGE_ILLEGAL",
            14 => "SERVICE_NOT_AVAILABLE",
            15 => "VERSION_NOT_SUPPORTED",
            16 => "NO_PERMISSION",
            17 => "TOPIC_NOT_EXIST",
            18 => "TOPIC_EXIST_ALREADY",
            19 => "PULL_NOT_FOUND",
            20 => "PULL_RETRY_IMMEDIATELY",
            21 => "PULL_OFFSET_MOVED",
            22 => "QUERY_NOT_FOUND",
            23 => "SUBSCRIPTION_PARSE_FAILED",
            24 => "SUBSCRIPTION_NOT_EXIST",
            25 => "SUBSCRIPTION_NOT_LATEST",
            26 => "SUBSCRIPTION_GROUP_NOT_EXIST",
            27 => "FILTER_DATA_NOT_EXIST",
            28 => "FILTER_DATA_NOT_LATEST",
            29 => "INVALID_PARAMETER",
            200 => "TRANSACTION_SHOULD_COMMIT",
            201 => "TRANSACTION_SHOULD_ROLLBACK",
            202 => "TRANSACTION_STATE_UNKNOW",
            203 => "TRANSACTION_STATE_GROUP_WRONG",
            204 => "NO_BUYER_ID",
            205 => "NOT_IN_CURRENT_UNIT",
            206 => "CONSUMER_NOT_ONLINE",
            207 => "CONSUME_MSG_TIMEOUT",
            208 => "NO_MESSAGE",
            209 => "POLLING_FULL",
            210 => "POLLING_TIMEOUT",
            211 => "BROKER_NOT_EXIST",
            212 => "BROKER_DISPATCH_NOT_COMPLETE",
            213 => "BROADCAST_CONSUMPTION",
            215 => "FLOW_CONTROL",
            501 => "NOT_LEADER_FOR_QUEUE",
            604 => "ILLEGAL_OPERATION",
            1500 => "GO_AWAY",
            3001 => "USER_NOT_EXIST",
            3002 => "POLICY_NOT_EXIST",
            _ => "UNKNOWN",
        }
    }
}

/// A language, as headers name it. The number is the binary header's byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Language(pub u8);

const LANGUAGES: [&str; 14] = [
    "JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP", "OMS", "RUST",
    "NODE_JS",
];

impl Language {
    /// What a header without a language means.
    pub const JAVA: Self = Self(0);
    /// Stands for every name that is not in the list.
    pub const OTHER: Self = Self(7);
    /// Skylark's own.
    pub const RUST: Self = Self(12);

    /// The name; `OTHER` for a number that is not in the list.
    pub fn name(self) -> &'static str {
        LANGUAGES.get(usize::from(self.0)).copied().unwrap_or("OTHER")
    }

    /// The language of that name; `OTHER` for a name that is not in the list.
    pub fn of_name(name: &[u8]) -> Self {
        LANGUAGES.iter().position(|n| n.as_bytes() == name).map_or(Self::OTHER, |n| Self(n as u8))
    }
}
