//! What stands at a position of the log, as recovery must know it before it believes it.
//!
//! A record must pass all its sums and name the very position at which it was found, so that bytes left behind by
//! an older end of the log cannot pass for a record (store.md, traps 6 and 14). Unlike [`crate::record::scan`]
//! this tells a record that is cut off by the bytes that were loaded from one that is cut off for good.

use crate::ids::LogPos;
use crate::record::layout::SMALLEST;
use crate::record::{FILLER_MAGIC, MAGIC_V1, MAGIC_V2, Record};
use crate::store::log::FILLER;

/// Bytes that tell a record's size, kind and position.
const HEAD: usize = 36;

/// What stands at a position.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen<'a> {
    /// A whole record.
    Record(Record<'a>),
    /// The segment is closed; the next record is at the next segment's start.
    Filler,
    /// It looks like a record, and this many bytes are needed to tell.
    Short(usize),
    /// Nothing that was ever written whole.
    Bad,
}

/// Looks at `bytes`, which begin at `at`, with `rest` bytes left in the segment from there.
pub(super) fn look(bytes: &[u8], at: LogPos, rest: u64) -> Seen<'_> {
    let word = |from: usize| bytes.get(from..)?.first_chunk().map(|b| u32::from_be_bytes(*b));
    let (Some(size), Some(magic)) = (word(0), word(4)) else {
        return if rest >= FILLER { Seen::Short(HEAD.min(rest as usize)) } else { Seen::Bad };
    };
    if magic == FILLER_MAGIC {
        return if u64::from(size) == rest { Seen::Filler } else { Seen::Bad };
    }
    let possible = (SMALLEST as u64..=rest.saturating_sub(FILLER)).contains(&u64::from(size));
    if (magic != MAGIC_V1 && magic != MAGIC_V2) || !possible {
        return Seen::Bad;
    }
    match bytes.get(28..).and_then(|b| b.first_chunk()) {
        Some(position) if u64::from_be_bytes(*position) != at.0 => return Seen::Bad,
        Some(_) if bytes.len() >= size as usize => {}
        _ => return Seen::Short(size as usize),
    }
    match Record::check(bytes) {
        Ok((record, _)) if record.verify().is_ok() && !half_written(record.properties) => Seen::Record(record),
        _ => Seen::Bad,
    }
}

/// No writer ends its properties in a zero: a write that stopped before the record's CRC was there.
fn half_written(properties: &str) -> bool {
    properties.ends_with('\0')
}
