//! What can go wrong for a user of the client: one type, one clear sentence each.
//!
//! A sentence names what failed and what to change. Codes are the protocol's: a broker's own code when a
//! broker refused, otherwise the numbers that Apache's clients use for the same causes (10001 to 10005).

use alloc::string::String;
use core::fmt;

use crate::wire::codes::Code;

/// Why something that was asked of the [`Client`](super::Client) did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientError {
    /// Which kind of failure.
    pub kind: ErrorKind,
    /// The sentence, for people.
    pub message: String,
}

/// Kinds of failure that a program may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No NameServer could be reached.
    NoNameServer,
    /// The NameServer knows no broker for the topic.
    NoRoute,
    /// A broker is not known by that name.
    NoBroker,
    /// A connection could not be opened, or broke while waiting. After a send the outcome is unknown.
    Connect,
    /// No answer in time. After a send the outcome is unknown.
    Timeout,
    /// The server understood and refused.
    Refused(Code),
    /// A message is larger than allowed.
    TooLarge,
    /// The caller asked for something that cannot be done as asked.
    Usage,
    /// As much is in flight as the configuration allows.
    Overloaded,
    /// The answer does not parse.
    Malformed,
    /// The client, or the consumer, is closed.
    Closed,
}

impl ClientError {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// The numeric code: the server's when it refused, Apache's client codes for the same causes, else -1.
    pub fn code(&self) -> i32 {
        match self.kind {
            ErrorKind::Refused(code) => code.0,
            ErrorKind::Connect => 10001,
            ErrorKind::Timeout => 10002,
            ErrorKind::NoBroker => 10003,
            ErrorKind::NoNameServer => 10004,
            ErrorKind::NoRoute => 10005,
            ErrorKind::TooLarge => Code::MESSAGE_ILLEGAL.0,
            ErrorKind::Usage | ErrorKind::Overloaded | ErrorKind::Malformed | ErrorKind::Closed => -1,
        }
    }

    /// The code's name: RocketMQ's for a server's code, else the kind's.
    pub fn name(&self) -> &'static str {
        match self.kind {
            ErrorKind::Refused(code) => code.name(),
            ErrorKind::NoNameServer => "NO_NAME_SERVER",
            ErrorKind::NoRoute => "NOT_FOUND_TOPIC",
            ErrorKind::NoBroker => "BROKER_NOT_EXIST",
            ErrorKind::Connect => "CONNECT_BROKER",
            ErrorKind::Timeout => "ACCESS_BROKER_TIMEOUT",
            ErrorKind::TooLarge => "MESSAGE_TOO_LARGE",
            ErrorKind::Usage => "USAGE",
            ErrorKind::Overloaded => "OVERLOADED",
            ErrorKind::Malformed => "MALFORMED_ANSWER",
            ErrorKind::Closed => "CLOSED",
        }
    }

    /// Asking again later, unchanged, may succeed.
    pub fn retryable(&self) -> bool {
        match self.kind {
            ErrorKind::NoNameServer
            | ErrorKind::NoRoute
            | ErrorKind::NoBroker
            | ErrorKind::Connect
            | ErrorKind::Timeout
            | ErrorKind::Overloaded => true,
            ErrorKind::Refused(code) => retryable_code(code),
            ErrorKind::TooLarge | ErrorKind::Usage | ErrorKind::Malformed | ErrorKind::Closed => false,
        }
    }
}

/// Codes after which a sync send tries another queue: the set of Apache's producer.
pub(super) fn retryable_code(code: Code) -> bool {
    matches!(code.0, 1 | 2 | 14 | 16 | 17 | 204 | 205 | 1500)
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for ClientError {}
