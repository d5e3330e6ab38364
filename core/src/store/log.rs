//! The CommitLog's growing end: where the next record goes, what is in flight, and the marks.
//!
//! A record is encoded straight into the batch that will be written, so a body is copied once. A batch is
//! sealed when the driver drains outputs; writes may complete in any order, marks only move over what is
//! complete from the start. A record, and a batch, never crosses a segment: what does not fit leaves a filler
//! of 8 bytes behind and starts the next segment (store.md 2.5: the test is `size + 8 > remaining`).
//!
//! Start at [`CommitLog::append`].

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::Room;
use crate::ids::{LogPos, StoreId};
use crate::record::FILLER_MAGIC;

/// Bytes of the filler that are written.
pub const FILLER: u64 = 8;
/// A batch that grew beyond this is sealed, so that one write stays short. Bytes.
const BATCH: usize = 1 << 20;
/// Spare batches kept for reuse, and the largest worth keeping. Bytes.
const SPARES: usize = 4;
const SPARE_MAX: usize = 256 << 10;

/// Bytes to be written at a position.
#[derive(Debug)]
struct Batch {
    at: LogPos,
    bytes: Vec<u8>,
}

/// A write or flush on its way, with the position that it makes true.
#[derive(Debug)]
struct InFlight {
    id: StoreId,
    end: LogPos,
    done: bool,
}

/// The log's end and its marks. Positions are in bytes from the log's beginning.
#[derive(Debug)]
pub struct CommitLog {
    segment: u64,
    end: LogPos,
    filling: Option<Batch>,
    sealed: VecDeque<Batch>,
    spares: Vec<Vec<u8>>,
    writes: VecDeque<InFlight>,
    written: LogPos,
    flushing: Option<InFlight>,
    flushed: LogPos,
}

impl CommitLog {
    /// A log whose bytes up to `end` are written and flushed. `segment` is the segment's size in bytes.
    pub fn new(segment: u64, end: LogPos) -> Self {
        Self {
            segment,
            end,
            filling: None,
            sealed: VecDeque::new(),
            spares: Vec::new(),
            writes: VecDeque::new(),
            written: end,
            flushing: None,
            flushed: end,
        }
    }

    /// Where the next record goes (unless the segment is full).
    pub fn end(&self) -> LogPos {
        self.end
    }

    /// Everything below has been handed to the medium and completed.
    pub fn written(&self) -> LogPos {
        self.written
    }

    /// Everything below survives a loss of power.
    pub fn flushed(&self) -> LogPos {
        self.flushed
    }

    /// The largest run of bytes that one append may take.
    pub fn largest(&self) -> u64 {
        self.segment - FILLER
    }

    /// Appends `len` bytes as one contiguous run: `fill` gets the position and the room, and must fill all of it.
    ///
    /// `room` is the medium's word on growing to a position. When that is not [`Room::Ready`], nothing has changed.
    pub fn append(
        &mut self,
        len: usize,
        room: impl Fn(LogPos) -> Room,
        fill: impl FnOnce(LogPos, &mut Vec<u8>),
    ) -> Result<LogPos, Room> {
        let remaining = self.segment - self.end.0 % self.segment;
        let fits = len as u64 + FILLER <= remaining;
        let at = if fits { self.end } else { LogPos(self.end.0 + remaining) };
        match room(at.plus(len as u64 + FILLER)) {
            Room::Ready => {}
            other => return Err(other),
        }
        if !fits {
            self.write_filler(remaining);
        }
        if self.filling.as_ref().is_some_and(|b| b.bytes.len() + len > BATCH) {
            self.seal();
        }
        let (end, spares) = (self.end, &mut self.spares);
        let batch = self.filling.get_or_insert_with(|| Batch { at: end, bytes: spares.pop().unwrap_or_default() });
        let before = batch.bytes.len();
        fill(at, &mut batch.bytes);
        debug_assert_eq!(batch.bytes.len() - before, len, "an append fills exactly what it reserved");
        self.end = at.plus((batch.bytes.len() - before) as u64);
        Ok(at)
    }

    /// Closes the segment: size and magic are written, the rest of it is skipped.
    fn write_filler(&mut self, remaining: u64) {
        let (end, spares) = (self.end, &mut self.spares);
        let batch = self.filling.get_or_insert_with(|| Batch { at: end, bytes: spares.pop().unwrap_or_default() });
        batch.bytes.extend_from_slice(&(remaining as u32).to_be_bytes());
        batch.bytes.extend_from_slice(&FILLER_MAGIC.to_be_bytes());
        self.seal();
        self.end = LogPos(self.end.0 + remaining);
    }

    fn seal(&mut self) {
        self.sealed.extend(self.filling.take());
    }

    /// The next batch to write, in log order; `id` then stands for it. Bytes and position go to the medium.
    pub fn poll_write(&mut self, id: impl FnOnce() -> StoreId) -> Option<(StoreId, LogPos, Vec<u8>)> {
        if self.sealed.is_empty() {
            self.seal();
        }
        let batch = self.sealed.pop_front()?;
        // A batch that closed a segment makes true everything up to the next segment's start.
        let end = match (self.sealed.front(), &self.filling) {
            (Some(next), _) | (None, Some(next)) => next.at,
            (None, None) => self.end,
        };
        let id = id();
        self.writes.push_back(InFlight { id, end, done: false });
        Some((id, batch.at, batch.bytes))
    }

    /// A write is complete. Gives the new `written` mark when it moved. `buffer`, if the medium gives it back, is reused.
    pub fn handle_written(&mut self, id: StoreId, buffer: Option<Vec<u8>>) -> Option<LogPos> {
        if let Some(mut bytes) = buffer
            && self.spares.len() < SPARES
            && bytes.capacity() <= SPARE_MAX
        {
            bytes.clear();
            self.spares.push(bytes);
        }
        self.writes.iter_mut().find(|w| w.id == id)?.done = true;
        let before = self.written;
        while self.writes.front().is_some_and(|w| w.done) {
            if let Some(write) = self.writes.pop_front() {
                self.written = write.end;
            }
        }
        (self.written > before).then_some(self.written)
    }

    /// Whether `id` is a write of this log that is still in flight.
    pub fn is_writing(&self, id: StoreId) -> bool {
        self.writes.iter().any(|w| w.id == id)
    }

    /// Starts a flush of all that is written, unless one is running or nothing is to be flushed.
    pub fn poll_flush(&mut self, id: impl FnOnce() -> StoreId) -> Option<StoreId> {
        if self.flushing.is_some() || self.flushed >= self.written {
            return None;
        }
        let id = id();
        self.flushing = Some(InFlight { id, end: self.written, done: false });
        Some(id)
    }

    /// A flush is complete: the new `flushed` mark, or nothing when this flush is unknown.
    pub fn handle_flushed(&mut self, id: StoreId) -> Option<LogPos> {
        let flush = self.flushing.take_if(|f| f.id == id)?;
        self.flushed = flush.end;
        Some(self.flushed)
    }

    /// Whether a flush is in flight.
    pub fn has_flush(&self) -> bool {
        self.flushing.is_some()
    }

    /// Whether `id` is the flush in flight.
    pub fn is_flushing(&self, id: StoreId) -> bool {
        self.flushing.as_ref().is_some_and(|f| f.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn put(log: &mut CommitLog, len: usize) -> LogPos {
        log.append(len, |_| Room::Ready, |_, out| out.resize(out.len() + len, 7)).expect("room")
    }

    fn ids() -> impl FnMut() -> StoreId {
        let mut n = 0;
        move || {
            n += 1;
            StoreId(n)
        }
    }

    #[test]
    fn a_record_that_does_not_fit_leaves_a_filler_and_starts_the_next_segment() {
        let (mut log, mut next) = (CommitLog::new(64, LogPos(0)), ids());
        assert_eq!(put(&mut log, 40), LogPos(0));
        assert_eq!(put(&mut log, 17), LogPos(64)); // 17 + 8 > 24
        let (first, at, bytes) = log.poll_write(&mut next).expect("first batch");
        assert_eq!((at, bytes.len()), (LogPos(0), 48));
        assert_eq!(bytes[40..], [0, 0, 0, 24, 0xCB, 0xD4, 0x31, 0x94]);
        let (second, at, _) = log.poll_write(&mut next).expect("second batch");
        assert_eq!(at, LogPos(64));
        assert_eq!(log.handle_written(second, None), None);
        assert_eq!(log.handle_written(first, None), Some(LogPos(81)));
    }

    #[test]
    fn a_record_that_leaves_exactly_the_filler_still_fits() {
        let mut log = CommitLog::new(64, LogPos(0));
        assert_eq!(put(&mut log, 56), LogPos(0));
        assert_eq!(put(&mut log, 1), LogPos(64));
    }

    #[test]
    fn no_room_changes_nothing() {
        let mut log = CommitLog::new(64, LogPos(0));
        let full = log.append(20, |_| Room::Full, |_, _| unreachable!("nothing may be filled"));
        assert_eq!(full, Err(Room::Full));
        assert_eq!(log.end(), LogPos(0));
        assert!(log.poll_write(|| StoreId(1)).is_none());
    }

    #[test]
    fn a_flush_makes_durable_only_what_was_written_when_it_began() {
        let (mut log, mut next) = (CommitLog::new(1 << 20, LogPos(0)), ids());
        put(&mut log, 10);
        let (w1, ..) = log.poll_write(&mut next).expect("write");
        assert_eq!(log.poll_flush(&mut next), None);
        log.handle_written(w1, Some(vec![0; 10]));
        let flush = log.poll_flush(&mut next).expect("flush");
        put(&mut log, 10);
        let (w2, ..) = log.poll_write(&mut next).expect("write");
        log.handle_written(w2, None);
        assert_eq!(log.poll_flush(&mut next), None);
        assert_eq!(log.handle_flushed(flush), Some(LogPos(10)));
        assert_eq!((log.written(), log.flushed()), (LogPos(20), LogPos(10)));
        assert!(log.poll_flush(&mut next).is_some());
    }
}
