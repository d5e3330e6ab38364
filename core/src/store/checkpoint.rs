//! The checkpoint: how far the log was flushed, and how far the queues on disk are true.
//!
//! The file has Apache's size and its five longs (`checkpoint`, 4096 bytes), so that a Java broker can take the
//! folder over. What Java's longs cannot say stands at the file's end, under a checksum over all 4096 bytes: a
//! Java broker that wrote into the file breaks the checksum, and the file is then read cautiously, which means
//! "nothing is known" and a scan of the whole log. Start at [`Checkpoint::decode`].

use alloc::vec;
use alloc::vec::Vec;

use crate::ids::LogPos;

/// Length of the file, bytes.
pub const CHECKPOINT: usize = 4096;
/// Where our part begins.
const OURS: usize = CHECKPOINT - 64;
const MAGIC: [u8; 8] = *b"SKYLARK\0";
/// The format that this program writes.
pub const VERSION: u32 = 1;

/// What a checkpoint says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Store time of the last flushed message, ms. Java: `physicMsgTimestamp`.
    pub physic: i64,
    /// Store time of the last message whose unit is on disk, ms. Java: `logicsMsgTimestamp`.
    pub logics: i64,
    /// All log bytes below are flushed (STO-3: what fails below is damage, what fails above is a torn tail).
    pub flushed: LogPos,
    /// The queues' files hold, flushed, a unit for every message below, a place where a record begins. Never
    /// above `flushed`. Java: `confirmPhyOffset`.
    pub queues: LogPos,
    /// The sum of all queues' max offsets as of `queues` ([`Queues::total`](super::queues::Queues::total)): a
    /// queue's folder that is missing or strange is found by it.
    pub units: u64,
}

/// A checkpoint file as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Written by this format, whole.
    Whole(Checkpoint),
    /// Missing, damaged, or last written by a Java broker: nothing may be concluded from it.
    Unknown,
    /// Written by a later format, its version: the store must be left alone (STO-7).
    Newer(u32),
}

impl Checkpoint {
    /// The file's content.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; CHECKPOINT];
        out[..8].copy_from_slice(&self.physic.to_be_bytes());
        out[8..16].copy_from_slice(&self.logics.to_be_bytes());
        out[32..40].copy_from_slice(&self.queues.0.to_be_bytes());
        out[OURS..OURS + 8].copy_from_slice(&MAGIC);
        out[OURS + 8..OURS + 12].copy_from_slice(&VERSION.to_be_bytes());
        out[OURS + 16..OURS + 24].copy_from_slice(&self.flushed.0.to_be_bytes());
        out[OURS + 24..OURS + 32].copy_from_slice(&self.units.to_be_bytes());
        let sum = checksum(&out);
        out[OURS + 12..OURS + 16].copy_from_slice(&sum.to_be_bytes());
        out
    }

    /// Reads a file's content.
    pub fn decode(bytes: &[u8]) -> Found {
        let Some(ours) = bytes.get(OURS..CHECKPOINT).filter(|_| bytes.len() == CHECKPOINT) else {
            return Found::Unknown;
        };
        if ours[..8] != MAGIC {
            return Found::Unknown;
        }
        let word = |at: usize| ours[at..].first_chunk().map_or(0, |b| u32::from_be_bytes(*b));
        let long = |part: &[u8], at: usize| part[at..].first_chunk().map_or(0, |b| u64::from_be_bytes(*b));
        if word(8) > VERSION {
            return Found::Newer(word(8));
        }
        let it = Self {
            physic: long(bytes, 0) as i64,
            logics: long(bytes, 8) as i64,
            flushed: LogPos(long(ours, 16)),
            queues: LogPos(long(bytes, 32)),
            units: long(ours, 24),
        };
        if word(8) == VERSION && word(12) == checksum(bytes) && it.queues <= it.flushed {
            Found::Whole(it)
        } else {
            Found::Unknown
        }
    }
}

/// CRC-32 of the whole file without the four bytes that hold it.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..OURS + 12]);
    crc.update(&bytes[OURS + 16..]);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Checkpoint {
        Checkpoint {
            physic: 1_700_000_000_123,
            logics: 1_700_000_000_100,
            flushed: LogPos(5000),
            queues: LogPos(4000),
            units: 17,
        }
    }

    #[test]
    fn both_ways_and_java_finds_its_longs_where_it_looks() {
        let bytes = sample().encode();
        assert_eq!(bytes.len(), CHECKPOINT);
        assert_eq!(bytes[0..8], 1_700_000_000_123_i64.to_be_bytes());
        assert_eq!(bytes[8..16], 1_700_000_000_100_i64.to_be_bytes());
        assert_eq!(bytes[16..32], [0; 16]);
        assert_eq!(bytes[32..40], 4000_i64.to_be_bytes());
        assert_eq!(Checkpoint::decode(&bytes), Found::Whole(sample()));
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        // STO-2, STO-3: a damaged mark leads to the cautious reading.
        let bytes = sample().encode();
        for at in (0..CHECKPOINT).step_by(7).chain(0..40).chain(OURS..CHECKPOINT) {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            let found = Checkpoint::decode(&bad);
            assert!(!matches!(found, Found::Whole(_)), "byte {at}: {found:?}");
        }
        assert_eq!(Checkpoint::decode(&bytes[..CHECKPOINT - 1]), Found::Unknown);
        assert_eq!(Checkpoint::decode(&[0; CHECKPOINT]), Found::Unknown);
    }

    #[test]
    fn a_java_broker_that_wrote_into_it_is_noticed_and_a_newer_format_is_named() {
        let mut java = sample().encode();
        java[0..8].copy_from_slice(&1_800_000_000_000_i64.to_be_bytes());
        assert_eq!(Checkpoint::decode(&java), Found::Unknown);
        let mut newer = sample().encode();
        newer[OURS + 8..OURS + 12].copy_from_slice(&7_u32.to_be_bytes());
        assert_eq!(Checkpoint::decode(&newer), Found::Newer(7));
    }
}
