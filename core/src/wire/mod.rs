//! What goes over the wire: frames, headers in JSON and binary, codes, typed requests and replies, bodies.
//!
//! Reading happens in two steps. [`frame`] finds whole frames in a read buffer and unescapes JSON headers
//! in place; [`request::Request`] is then a typed view that borrows from that buffer. Writing goes straight
//! into a byte vector. No map of strings is built on the hot path.
//!
//! Bytes that make no sense are a [`WireError`] and close the connection. A request that is understood and
//! refused is a [`reply::Refusal`]: a code and a sentence for the client.

pub mod answer;
pub mod body;
pub mod codes;
mod decode;
pub mod encode;
pub mod frame;
mod header;
pub mod id;
pub mod json;
pub mod names;
pub mod reply;
pub mod request;

use core::fmt;

/// Bytes that are not this protocol, or more of them than any peer may send. Closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// A length or count beyond its cap, in bytes or entries.
    TooLong {
        /// What was too long.
        what: &'static str,
        /// The cap.
        max: usize,
    },
    /// The bytes do not parse.
    Malformed {
        /// What they should have been.
        what: &'static str,
        /// Where in it, in bytes.
        at: usize,
    },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { what, max } => write!(f, "{what} is longer than {max}"),
            Self::Malformed { what, at } => write!(f, "not a {what} at byte {at}"),
        }
    }
}

impl core::error::Error for WireError {}
