//! Typed replies, generic over the lease that carries stored messages, and refusals.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::ids::LogPos;

/// A response code. Names and numbers are the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub i32);

/// A request that was understood and is refused: the code that the client acts on, the sentence that a
/// person reads. The sentence names what was refused, why, and what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: Code,
    /// The sentence.
    pub remark: String,
}

/// A send that was stored: what goes back to the producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// 0, or 10, 11, 12: stored, but a flush or a copy did not come in time.
    pub code: Code,
    /// This broker's address, which the message ids contain.
    pub host: SocketAddr,
    /// Position of each record in the log: one, or as many as the batch had.
    pub at: Positions,
    /// The queue.
    pub queue_id: i32,
    /// Queue offset of the (first) message.
    pub queue_offset: u64,
    /// The message's `UNIQ_KEY`, which clients take as transaction id; empty for a batch.
    pub unique_key: String,
}

/// Where the records of one send stand in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Positions {
    /// A single message.
    One(LogPos),
    /// The messages of a batch, in order.
    Many(Vec<LogPos>),
}

/// What a pull found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled<L> {
    /// `SUCCESS` (0), `PULL_NOT_FOUND` (19), `PULL_RETRY_IMMEDIATELY` (20) or `PULL_OFFSET_MOVED` (21).
    pub code: Code,
    /// Name of the store status, for people.
    pub remark: &'static str,
    /// The offset to ask for next.
    pub next: i64,
    /// The queue's first offset.
    pub min: i64,
    /// The queue's next offset to be written.
    pub max: i64,
    /// Which broker id to read from next; 0 is the master.
    pub suggest: i64,
    /// The messages, in order; the frame's body is their concatenation.
    pub leases: Vec<L>,
}

/// An answer. The driver writes it with [`encode`](super::encode::reply) outside the machine's lock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply<L> {
    /// Success without fields or body.
    Done,
    /// Refused.
    Refused(Refusal),
    /// A stored send. Its message ids (offset ids in upper-case hex, joined by commas) are written by the encoder.
    Sent(Sent),
    /// What a pull found.
    Pulled(Pulled<L>),
    /// A single `offset` field.
    Offset(i64),
    /// A single `timestamp` field, ms.
    Timestamp(i64),
    /// Stored messages as they stand in the log.
    Messages(Vec<L>),
    /// A heartbeat's answer.
    HeartbeatDone,
    /// A JSON (or text) body.
    Body(Vec<u8>),
    /// A NameServer's answer to a registration.
    Registered {
        /// The master's `host:port`, for slaves.
        master: Option<String>,
        /// The master's HA address, for slaves.
        ha: Option<String>,
        /// Order-topic configuration as a JSON body; empty when there is none.
        body: Vec<u8>,
    },
}
