//! What stands in the log and goes to consumers unchanged: message records, batches, properties, unique keys.
//!
//! [`Draft`] writes a record, [`Record`] reads one, [`scan`] walks a log that may be torn. Records carry a CRC
//! of their body and, by default, a second one over all their bytes in their last property, so that damage
//! anywhere is found (STO-2). [`properties`] reads and trims the property text; [`batch`] is the body of a
//! batch send; [`unique_key`] makes the ids that clients give their messages.
//!
//! Must stay true: bytes that passed [`Record::check`] give every field without a further error; no input
//! panics (SEC-14, SEC-16). Elsewhere: ConsumeQueue units are in [`crate::store::queues`].

pub mod batch;
pub mod draft;
pub mod layout;
pub mod properties;
pub mod unique_key;

pub use crate::wire::id::{crc, java_hash, offset_id, parse_offset_id, write_offset_id};
pub use draft::Draft;
pub use layout::{Damage, FILLER_MAGIC, MAGIC_V1, MAGIC_V2, Record, Scan, scan};

/// The largest body of a message, or of all of a batch, bytes.
pub const MAX_BODY: usize = 4 << 20;
/// The largest property text, bytes; what the broker adds counts.
pub const MAX_PROPERTIES: usize = 32_767;
/// The longest topic name of a record, bytes.
pub const MAX_TOPIC: usize = 255;

/// Bits of a message's `sysFlag`.
pub mod sys_flag {
    /// The body is compressed; bits 8 to 10 say how.
    pub const COMPRESSED: i32 = 0x1;
    /// Several tags.
    pub const MULTI_TAGS: i32 = 0x2;
    /// Mask of the transaction kind.
    pub const TRANSACTION: i32 = 0xC;
    /// A half message.
    pub const TRANSACTION_PREPARED: i32 = 0x4;
    /// A committed message.
    pub const TRANSACTION_COMMIT: i32 = 0x8;
    /// A message rolled back.
    pub const TRANSACTION_ROLLBACK: i32 = 0xC;
    /// The born host is an IPv6 address.
    pub const BORN_V6: i32 = 0x10;
    /// The store host is an IPv6 address.
    pub const STORE_V6: i32 = 0x20;
    /// The record holds a batch that the client must unwrap.
    pub const NEED_UNWRAP: i32 = 0x40;
    /// The record holds a batch.
    pub const INNER_BATCH: i32 = 0x80;
    /// Mask of the compression kind: 0 and 0x300 zlib, 0x100 LZ4, 0x200 Zstandard.
    pub const COMPRESSION: i32 = 0x700;
}

/// What a ConsumeQueue unit holds for a tag: its Java hash, sign-extended; 0 without a tag.
pub fn tag_code(tags: Option<&str>) -> i64 {
    tags.map_or(0, |tags| i64::from(java_hash(tags)))
}

/// Inflates a zlib body, as consumers do; `None` when it does not inflate to at most `max` bytes (SEC-9).
pub fn inflate(body: &[u8], max: usize) -> Option<alloc::vec::Vec<u8>> {
    miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(body, max).ok()
}
