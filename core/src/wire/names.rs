//! What names may look like, for whoever checks one (SEC-3). How long each may be is said where it is checked.

/// Whether a character may stand in the name of a topic, a group, a broker or a cluster: RocketMQ's own set, so that
/// every name can also name a folder.
pub fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '%' | '|' | '-' | '_')
}

/// Topics that only brokers write to.
pub const BROKER_ONLY: [&str; 6] = [
    "SCHEDULE_TOPIC_XXXX",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
];
