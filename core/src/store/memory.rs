//! A medium in memory: the log as counted chunks. For a broker in a tab, and for tests.
//!
//! Must stay true: bytes never change once written, so a lease needs no copy; a chunk holds whole writes, so a
//! record, which lies in one write, lies in one chunk. Large writes become chunks as they are; small ones are
//! gathered, so that a million small sends do not cost a million allocations. Start at [`MemoryStore::write`].

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, Range};

use super::queues::UNIT;
use super::{Disk, Done, Missing, Read, Room, Store, StoreError, Table, UnitRun};
use crate::ids::LogPos;

/// A write from this size on becomes a chunk of its own, without a copy. Bytes.
const LARGE: usize = 16 << 10;
/// Small writes are gathered into chunks of about this size. Bytes.
const CHUNK: usize = 64 << 10;
/// This many small chunks in a row are gathered into one.
const GATHER: usize = 32;

/// Counted bytes: a range of a chunk, which lives as long as anyone holds it.
#[derive(Clone)]
pub struct Lease {
    chunk: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Deref for Lease {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.chunk[self.range.clone()]
    }
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Lease {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl Eq for Lease {}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// The log, queues' units and tables of one broker, in memory.
#[derive(Debug)]
pub struct MemoryStore {
    capacity: u64,
    begin: LogPos,
    chunks: BTreeMap<LogPos, Arc<Vec<u8>>>,
    units: BTreeMap<(String, u32), Vec<u8>>,
    tables: BTreeMap<Table, Vec<u8>>,
}

impl MemoryStore {
    /// An empty store whose log may hold `capacity` bytes at a time; beyond that sends are refused until
    /// [`trim`](Self::trim) makes room.
    pub fn new(capacity: u64) -> Self {
        Self { capacity, begin: LogPos(0), chunks: BTreeMap::new(), units: BTreeMap::new(), tables: BTreeMap::new() }
    }

    /// Changes how many bytes the log may hold at a time; what is there stays.
    pub fn set_capacity(&mut self, capacity: u64) {
        self.capacity = capacity;
    }

    /// Keeps log bytes at `at`. A buffer that was copied from is given back for reuse.
    pub fn write(&mut self, at: LogPos, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
        if bytes.len() < LARGE
            && let Some((from, last)) = self.chunks.range_mut(..at).next_back()
            && from.plus(last.len() as u64) == at
            && last.len() + bytes.len() <= CHUNK
            && let Some(open) = Arc::get_mut(last)
        {
            open.extend_from_slice(&bytes);
            return Some(bytes);
        }
        if bytes.capacity() - bytes.len() > bytes.len() / 4 {
            bytes.shrink_to_fit();
        }
        self.chunks.insert(at, Arc::new(bytes));
        self.gather(at);
        None
    }

    /// Joins the small chunks that end with the one at `last`, once there are many: someone held leases on each.
    fn gather(&mut self, last: LogPos) {
        let mut first = None;
        let (mut next, mut count, mut total) = (None, 0, 0);
        for (at, chunk) in self.chunks.range(..=last).rev() {
            let adjoins = next.is_none_or(|next| at.plus(chunk.len() as u64) == next);
            if !adjoins || chunk.len() >= LARGE {
                break;
            }
            (first, next) = (Some(*at), Some(*at));
            (count, total) = (count + 1, total + chunk.len());
        }
        let Some(first) = first.filter(|_| count >= GATHER || total >= CHUNK) else { return };
        let mut joined = Vec::with_capacity(total);
        let small: Vec<LogPos> = self.chunks.range(first..=last).map(|(at, _)| *at).collect();
        for at in small {
            joined.extend_from_slice(&self.chunks.remove(&at).unwrap_or_default());
        }
        self.chunks.insert(first, Arc::new(joined));
    }

    /// Forgets the log below `upto`, by whole chunks.
    pub fn trim(&mut self, upto: LogPos) {
        self.chunks.retain(|at, chunk| at.plus(chunk.len() as u64) > upto);
        self.begin = self.begin.max(upto);
    }

    /// Executes an operation, whatever it is.
    pub fn execute(&mut self, disk: Disk) -> Done {
        match disk {
            Disk::Write { id, at, bytes } => Done::Stored { id, result: Ok(self.write(at, bytes)) },
            Disk::Flush { id } | Disk::Prepare { id, .. } => Done::Stored { id, result: Ok(None) },
            Disk::Units { id, runs, .. } => {
                for run in &runs {
                    self.write_units(run);
                }
                Done::Stored { id, result: Ok(None) }
            }
            Disk::Put { id, table, bytes } => {
                self.tables.insert(table, bytes);
                Done::Stored { id, result: Ok(None) }
            }
            Disk::Load { ticket, what } => Done::Loaded { ticket, result: self.load(&what) },
        }
    }

    fn write_units(&mut self, run: &UnitRun) {
        let units = self.units.entry((run.topic.clone(), run.queue_id)).or_default();
        let start = run.from as usize * UNIT;
        if units.len() < start + run.bytes.len() {
            units.resize(start + run.bytes.len(), 0);
        }
        units[start..start + run.bytes.len()].copy_from_slice(&run.bytes);
    }

    fn load(&self, what: &Missing) -> Result<Vec<u8>, StoreError> {
        match what {
            Missing::Log { at, len } => match self.read(*at, *len) {
                Read::Ready(lease) => Ok(lease.to_vec()),
                _ => Err(StoreError::Failed("these log bytes are not there".into())),
            },
            Missing::Units { topic, queue_id, from, count } => {
                let mut out = alloc::vec![0; count * UNIT];
                if let Some(units) = self.units.get(&(topic.clone(), *queue_id)) {
                    let there = units.get(*from as usize * UNIT..).unwrap_or_default();
                    let len = there.len().min(out.len());
                    out[..len].copy_from_slice(&there[..len]);
                }
                Ok(out)
            }
        }
    }

    /// A table as it was last put.
    pub fn table(&self, table: Table) -> Option<&[u8]> {
        self.tables.get(&table).map(Vec::as_slice)
    }

    /// Bytes and chunks that the log takes.
    pub fn size(&self) -> (u64, usize) {
        (self.chunks.values().map(|c| c.len() as u64).sum(), self.chunks.len())
    }
}

impl Store for MemoryStore {
    type Lease = Lease;

    fn read(&self, at: LogPos, len: usize) -> Read<Lease> {
        if at < self.begin {
            return Read::Trimmed;
        }
        let Some((from, chunk)) = self.chunks.range(..=at).next_back() else { return Read::Damaged };
        let start = (at.0 - from.0) as usize;
        match start.checked_add(len).filter(|end| *end <= chunk.len()) {
            Some(end) => Read::Ready(Lease { chunk: chunk.clone(), range: start..end }),
            None => Read::Damaged,
        }
    }

    fn room(&self, end: LogPos) -> Room {
        if end.0.saturating_sub(self.begin.0) > self.capacity { Room::Full } else { Room::Ready }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn bytes(read: Read<Lease>) -> Vec<u8> {
        match read {
            Read::Ready(lease) => lease.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_large_write_becomes_a_chunk_without_a_copy() {
        let mut store = MemoryStore::new(u64::MAX);
        let bytes = vec![7; LARGE];
        let there = bytes.as_ptr();
        assert_eq!(store.write(LogPos(0), bytes), None);
        let Read::Ready(lease) = store.read(LogPos(0), LARGE) else { panic!("it was written") };
        assert_eq!(lease.as_ptr(), there);
    }

    #[test]
    fn a_million_small_writes_take_few_chunks_even_while_each_is_read() {
        for held in [false, true] {
            let mut store = MemoryStore::new(u64::MAX);
            let (mut at, mut leases) = (LogPos(0), vec![]);
            for n in 0..100_000_u64 {
                let bytes = n.to_be_bytes().repeat(3);
                store.write(at, bytes);
                if held {
                    leases.push(store.read(at, 24));
                    leases.drain(..leases.len().saturating_sub(100));
                }
                at = at.plus(24);
            }
            let (size, chunks) = store.size();
            assert_eq!(size, 2_400_000);
            assert!(chunks < 2_400_000 / LARGE + 2 * GATHER, "{chunks} chunks, held: {held}");
            for n in (0..100_000_u64).step_by(997) {
                assert_eq!(bytes(store.read(LogPos(n * 24), 24)), n.to_be_bytes().repeat(3));
            }
        }
    }

    #[test]
    fn a_lease_outlives_the_trim() {
        let mut store = MemoryStore::new(100);
        store.write(LogPos(0), vec![1; 60]);
        let Read::Ready(lease) = store.read(LogPos(10), 20) else { panic!("it was written") };
        assert_eq!(store.room(LogPos(101)), Room::Full);
        store.trim(LogPos(60));
        assert_eq!(store.room(LogPos(101)), Room::Ready);
        assert_eq!(store.read(LogPos(10), 20), Read::Trimmed);
        assert_eq!(&*lease, [1; 20]);
    }
}
