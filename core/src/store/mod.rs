//! Storage: memory that becomes durable later.
//!
//! [`log::CommitLog`] is the one growing sequence of bytes; [`queues::Queues`] say which message stands where.
//! Both live in memory and send what must be kept out as [`Disk`] operations; a driver executes them outside
//! the broker's lock and reports each one back, once, by its id. What a medium must offer beyond that is the
//! [`Store`] trait: bytes of the log by position, and whether there is room.
//!
//! Must stay true: nothing above the `visible` mark is read; a completion names the operation that it completes;
//! after a failed flush nothing is written any more (DUR-5).

pub mod checkpoint;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod log;
pub mod memory;
pub mod opening;
pub mod queues;

use alloc::string::String;
use alloc::vec::Vec;

use crate::ids::{LogPos, QueueOffset, StoreId, Ticket};
use crate::wire::names::is_name_char;

/// Whether a topic's name is one that RocketMQ knows, so that it can also name a folder: 1 to 255 characters of
/// `%`, `|`, `_`, `-`, letters and digits (SEC-3).
pub fn is_topic(name: &str) -> bool {
    (1..=255).contains(&name.len()) && name.chars().all(is_name_char)
}

/// What a medium offers to the engine: reads by position, and room.
pub trait Store {
    /// Counted bytes of the log. Keeps them alive; they never change.
    type Lease: AsRef<[u8]> + Clone;

    /// The `len` bytes at `at`. All of them have been written (a [`Disk::Write`] that was reported done covers them).
    fn read(&self, at: LogPos, len: usize) -> Read<Self::Lease>;

    /// Whether the log may grow to `end`, a position inside one segment.
    fn room(&self, end: LogPos) -> Room;
}

/// The answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read<L> {
    /// Here it is.
    Ready(L),
    /// Not in memory: load this, then ask again.
    Missing(Missing),
    /// There, and wrong: it fails its checksum or the medium returned an error. Never served.
    Damaged,
    /// Removed by retention.
    Trimmed,
}

/// Something that is not in memory and can be loaded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// Bytes of the log.
    Log {
        /// Where they start.
        at: LogPos,
        /// How many. Fewer than a record has: all of the record that begins there, if one does.
        len: usize,
    },
    /// Units of a ConsumeQueue.
    Units {
        /// The topic.
        topic: String,
        /// The queue.
        queue_id: u32,
        /// The first queue offset.
        from: QueueOffset,
        /// How many units.
        count: usize,
    },
}

/// Whether the log may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Yes.
    Ready,
    /// Soon: a [`Disk::Prepare`] is on its way. The request stays untouched with its connection.
    Later,
    /// The medium is full. Sends are refused, reads go on (STO-1).
    Full,
    /// The medium failed: no more writes (DUR-5).
    Failed,
}

/// Why a storage operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// No space; nothing was lost, the same operation may succeed later.
    Full,
    /// Anything else, in the medium's words.
    Failed(String),
}

/// Small files that are replaced whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// `config/topics.json`
    Topics,
    /// `config/consumerOffset.json`
    ConsumerOffsets,
    /// `config/subscriptionGroup.json`
    SubscriptionGroups,
    /// `checkpoint`: 4096 bytes, five longs used. Says how far the queues on disk are true.
    Checkpoint,
}

/// What the medium shall do. Each is answered once by `handle_stored(id, ..)` or `handle_loaded(ticket, ..)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Write log bytes at `at`. They never cross a segment. Several may be in flight.
    Write {
        /// Names the operation.
        id: StoreId,
        /// Where.
        at: LogPos,
        /// What.
        bytes: Vec<u8>,
    },
    /// Make durable all log bytes whose writes were reported done before this was polled.
    Flush {
        /// Names the operation.
        id: StoreId,
    },
    /// Make room up to `upto` (rounded by the medium), ahead of need.
    Prepare {
        /// Names the operation.
        id: StoreId,
        /// The position up to which room is wanted.
        upto: LogPos,
    },
    /// Write these units into the queues' files, and make them durable when `flush` says so.
    Units {
        /// Names the operation.
        id: StoreId,
        /// Runs of units, each a multiple of [`queues::UNIT`] bytes.
        runs: Vec<UnitRun>,
        /// Flush the files after writing.
        flush: bool,
    },
    /// Replace a small file, durably, so that at no moment neither version is there (DUR-6).
    Put {
        /// Names the operation.
        id: StoreId,
        /// Which.
        table: Table,
        /// Its whole content.
        bytes: Vec<u8>,
    },
    /// Load something that a read missed.
    Load {
        /// Names the load.
        ticket: Ticket,
        /// What.
        what: Missing,
    },
}

/// How an operation ended: what a driver hands to `handle_stored` or `handle_loaded`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Any operation with a [`StoreId`].
    Stored {
        /// The operation.
        id: StoreId,
        /// A write may give its buffer back for reuse.
        result: Result<Option<Vec<u8>>, StoreError>,
    },
    /// A load.
    Loaded {
        /// The load.
        ticket: Ticket,
        /// The bytes. Those of a [`Missing::Log`] may be left out, since a read finds them now.
        result: Result<Vec<u8>, StoreError>,
    },
}

/// Consecutive units of one ConsumeQueue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitRun {
    /// The topic.
    pub topic: String,
    /// The queue.
    pub queue_id: u32,
    /// Queue offset of the first unit.
    pub from: QueueOffset,
    /// The units' bytes.
    pub bytes: Vec<u8>,
}
