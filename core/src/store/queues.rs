//! ConsumeQueues: which message of a topic's queue stands where in the log.
//!
//! Each queue is a sequence of 20-byte units. Offsets are assigned when a message is appended, ahead of the units,
//! which follow when the message becomes visible. Recent units are in memory; older ones are written behind and
//! read back in pages. Everything here can be rebuilt from the log and is never believed against it (STO-4).
//!
//! Must stay true for each queue: `min <= saved <= max <= next`; units in memory end at `max` and start at or
//! before `saved`, so no unit is ever only on its way. Start at [`Queues::assign`] and [`Queues::push`].

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;

use super::{Missing, UnitRun};
use crate::ids::{LogPos, QueueOffset};

/// Bytes of a unit on disk.
pub const UNIT: usize = 20;
/// Units in a page that is read back.
const PAGE: u64 = 512;
/// Pages kept, oldest load dropped first.
const PAGES: usize = 256;
/// Written units kept in memory over all queues, shared evenly, so that readers near the end touch no file.
const KEEP: usize = 256 << 10;
/// The share of one queue, whatever their number.
const KEEP_EACH: (usize, usize) = (32, 4096);

/// Queue ids from here on are nonsense, whoever wrote them.
pub const MAX_QUEUES: u32 = 1 << 16;
/// Most offsets that may be missing between two messages of a queue.
const MAX_GAP: u64 = 1 << 16;

/// A topic's place in the tables. Given out in order, from 0, and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicKey(pub u32);

/// A unit: where a message stands, how long it is, and the hash of its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Position of the record in the log.
    pub at: LogPos,
    /// The record's size, bytes.
    pub size: u32,
    /// Java's `String.hashCode` of the tag, sign-extended; 0 without a tag.
    pub tags: i64,
}

impl Unit {
    /// Stands where a message is missing. Its size is 0 here, and 0x7fffffff in the file, as Java fills gaps,
    /// since Java takes a size of 0 for the queue's end.
    pub const GAP: Self = Self { at: LogPos(0), size: 0, tags: 0 };
    const FILE_GAP: Self = Self { size: i32::MAX as u32, ..Self::GAP };

    /// One past the record's last byte.
    pub fn end(self) -> LogPos {
        self.at.plus(self.size as u64)
    }

    /// The 20 bytes of the file, big-endian: position, size, tag hash.
    pub fn encode(self) -> [u8; UNIT] {
        if self.size == 0 {
            return Self::FILE_GAP.encode();
        }
        let mut out = [0; UNIT];
        out[..8].copy_from_slice(&self.at.0.to_be_bytes());
        out[8..12].copy_from_slice(&self.size.to_be_bytes());
        out[12..].copy_from_slice(&self.tags.to_be_bytes());
        out
    }

    /// Reads a unit; `None` for one that was never written (size 0) or makes no sense.
    pub fn decode(bytes: &[u8; UNIT]) -> Option<Self> {
        let (at, rest) = bytes.split_first_chunk::<8>()?;
        let (size, tags) = rest.split_first_chunk::<4>()?;
        let (at, size) = (i64::from_be_bytes(*at), i32::from_be_bytes(*size));
        let unit = Self { at: LogPos(at as u64), size: size as u32, tags: i64::from_be_bytes(*tags.first_chunk()?) };
        match (at, size) {
            (0, i32::MAX) => Some(Self::GAP),
            (0.., 1..) => Some(unit),
            _ => None,
        }
    }
}

/// First kept, next visible, next assigned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset that is kept.
    pub min: QueueOffset,
    /// One past the last visible message.
    pub max: QueueOffset,
}

#[derive(Debug, Default)]
struct Queue {
    min: QueueOffset,
    next: QueueOffset,
    saved: QueueOffset,
    recent: VecDeque<Unit>,
    recent_from: QueueOffset,
}

impl Queue {
    fn max(&self) -> QueueOffset {
        self.recent_from + self.recent.len() as u64
    }
}

#[derive(Debug)]
struct Topic {
    name: Box<str>,
    queues: Vec<Queue>,
}

type PageKey = (TopicKey, u32, u64);

/// All queues of one broker.
#[derive(Debug)]
pub struct Queues {
    names: BTreeMap<Box<str>, TopicKey>,
    topics: Vec<Topic>,
    count: usize,
    total: u64,
    on_disk: bool,
    dirty: BTreeSet<(TopicKey, u32)>,
    unsaved: usize,
    saving: Vec<(TopicKey, u32, QueueOffset)>,
    pages: BTreeMap<PageKey, Vec<Unit>>,
    page_order: VecDeque<PageKey>,
}

impl Queues {
    /// No queues yet. With `on_disk` units are written behind and older ones leave memory; without, all stay.
    pub fn new(on_disk: bool) -> Self {
        Self {
            names: BTreeMap::new(),
            topics: Vec::new(),
            count: 0,
            total: 0,
            on_disk,
            dirty: BTreeSet::new(),
            unsaved: 0,
            saving: Vec::new(),
            pages: BTreeMap::new(),
            page_order: VecDeque::new(),
        }
    }

    /// The topic's key, given out at its first mention.
    pub fn topic(&mut self, name: &str) -> TopicKey {
        if let Some(key) = self.names.get(name) {
            return *key;
        }
        let key = TopicKey(self.topics.len() as u32);
        self.names.insert(name.into(), key);
        self.topics.push(Topic { name: name.into(), queues: Vec::new() });
        key
    }

    /// The topic's key if it was ever mentioned.
    pub fn known(&self, name: &str) -> Option<TopicKey> {
        self.names.get(name).copied()
    }

    /// The topic's name.
    pub fn name(&self, key: TopicKey) -> &str {
        &self.topics[key.0 as usize].name
    }

    /// Topics in order of first mention, each with the number of its queues that were ever used.
    pub fn topics(&self) -> impl Iterator<Item = (&str, u32)> {
        self.topics.iter().map(|t| (&*t.name, t.queues.len() as u32))
    }

    fn get(&self, key: TopicKey, queue_id: u32) -> Option<&Queue> {
        self.topics.get(key.0 as usize)?.queues.get(queue_id as usize)
    }

    fn queue(&mut self, key: TopicKey, queue_id: u32) -> &mut Queue {
        let queues = &mut self.topics[key.0 as usize].queues;
        if queues.len() <= queue_id as usize {
            self.count += queue_id as usize + 1 - queues.len();
            queues.resize_with(queue_id as usize + 1, Queue::default);
        }
        &mut queues[queue_id as usize]
    }

    /// Sets a queue as recovery found it: its units from `min` to `max` are on disk.
    pub fn restore(&mut self, key: TopicKey, queue_id: u32, min: QueueOffset, max: QueueOffset) {
        let queue = self.queue(key, queue_id);
        let before = queue.max();
        *queue = Queue { min, next: max, saved: max, recent: VecDeque::new(), recent_from: max };
        self.total = self.total + max - before;
    }

    /// Takes the next `count` offsets of a queue and gives the first.
    pub fn assign(&mut self, key: TopicKey, queue_id: u32, count: u64) -> QueueOffset {
        let queue = self.queue(key, queue_id);
        let first = queue.next;
        queue.next += count;
        first
    }

    /// The offset that the next message of this queue will take.
    pub fn next(&self, key: TopicKey, queue_id: u32) -> QueueOffset {
        self.get(key, queue_id).map_or(0, |q| q.next)
    }

    /// Makes a message visible. Messages of a queue arrive in order; one that the queue already has is skipped
    /// (recovery meets those), and so is one too far ahead, which no broker writes: both give `false`.
    pub fn push(&mut self, key: TopicKey, queue_id: u32, offset: QueueOffset, unit: Unit) -> bool {
        let queue = self.queue(key, queue_id);
        let max = queue.max();
        if offset < max {
            return false;
        }
        if offset > max {
            // A queue that starts above 0 (older messages were removed), or a gap in a log written elsewhere.
            if max == queue.min {
                queue.min = offset;
            }
            if queue.recent.is_empty() {
                (queue.recent_from, queue.saved) = (offset, offset);
            } else {
                if offset - max > MAX_GAP {
                    return false;
                }
                queue.recent.resize((offset - queue.recent_from) as usize, Unit::GAP);
            }
        }
        queue.recent.push_back(unit);
        queue.next = queue.next.max(offset + 1);
        self.total += offset + 1 - max;
        if self.on_disk {
            self.unsaved += 1;
            self.dirty.insert((key, queue_id));
        }
        true
    }

    /// First kept and next visible offset; zeros for a queue that was never used.
    pub fn bounds(&self, key: TopicKey, queue_id: u32) -> Bounds {
        self.get(key, queue_id).map_or_else(Bounds::default, |q| Bounds { min: q.min, max: q.max() })
    }

    /// Copies units from `from` on into `out`, at most `count`, all from one place: the recent ones or one page.
    /// `from` lies within the queue's bounds. A read that misses names what to load and changes nothing.
    pub fn read(
        &self,
        key: TopicKey,
        queue_id: u32,
        from: QueueOffset,
        count: usize,
        out: &mut Vec<Unit>,
    ) -> Result<(), Missing> {
        let Some(queue) = self.get(key, queue_id) else { return Ok(()) };
        if from >= queue.recent_from {
            let skip = (from - queue.recent_from) as usize;
            let end = queue.recent.len().min(skip.saturating_add(count));
            out.extend(queue.recent.range(skip.min(end)..end));
            return Ok(());
        }
        let page = from / PAGE;
        match self.pages.get(&(key, queue_id, page)) {
            Some(units) if from - page * PAGE < units.len() as u64 => {
                let skip = (from - page * PAGE) as usize;
                out.extend(units[skip..].iter().take(count));
                Ok(())
            }
            _ => Err(Missing::Units {
                topic: self.name(key).into(),
                queue_id,
                from: page * PAGE,
                count: (queue.recent_from - page * PAGE).min(PAGE) as usize,
            }),
        }
    }

    /// Takes in a page that [`Queues::read`] named. Bytes beyond the last whole, written unit are ignored.
    pub fn loaded(&mut self, topic: &str, queue_id: u32, from: QueueOffset, bytes: &[u8]) {
        let Some(key) = self.known(topic) else { return };
        let units: Vec<Unit> =
            bytes.as_chunks::<UNIT>().0.iter().map(|unit| Unit::decode(unit).unwrap_or(Unit::GAP)).collect();
        let page = (key, queue_id, from / PAGE);
        if self.pages.insert(page, units).is_none() {
            self.page_order.push_back(page);
        }
        while self.page_order.len() > PAGES {
            if let Some(oldest) = self.page_order.pop_front() {
                self.pages.remove(&oldest);
            }
        }
    }

    /// The sum of all queues' max offsets. A checkpoint carries it.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Units that are not on disk yet.
    pub fn unsaved(&self) -> usize {
        self.unsaved
    }

    /// Everything that is not on disk yet, as runs; empty while an earlier save is in flight.
    pub fn poll_save(&mut self) -> Vec<UnitRun> {
        if !self.saving.is_empty() {
            return Vec::new();
        }
        let mut runs = Vec::with_capacity(self.dirty.len());
        for (key, queue_id) in core::mem::take(&mut self.dirty) {
            let Some(queue) = self.get(key, queue_id) else { continue };
            let skip = queue.saved.saturating_sub(queue.recent_from) as usize;
            let mut bytes = Vec::with_capacity((queue.recent.len() - skip) * UNIT);
            for unit in queue.recent.range(skip..) {
                bytes.extend_from_slice(&unit.encode());
            }
            let (topic, from, end) = (self.name(key).into(), queue.saved, queue.max());
            runs.push(UnitRun { topic, queue_id, from, bytes });
            self.saving.push((key, queue_id, end));
        }
        self.unsaved = 0;
        runs
    }

    /// The save that was in flight is complete: what is written may leave memory.
    pub fn saved(&mut self) {
        let keep = (KEEP / self.count.max(1)).clamp(KEEP_EACH.0, KEEP_EACH.1);
        for (key, queue_id, end) in core::mem::take(&mut self.saving) {
            let queue = self.queue(key, queue_id);
            queue.saved = end;
            let written = (end - queue.recent_from) as usize;
            let drop = written.min(queue.recent.len().saturating_sub(keep));
            queue.recent.drain(..drop);
            queue.recent_from += drop as u64;
            if queue.recent.capacity() > 4 * keep.max(queue.recent.len()) {
                queue.recent.shrink_to(2 * keep);
            }
            // A page that was read back while it was still growing is stale now.
            self.pages.remove(&(key, queue_id, (end.saturating_sub(1)) / PAGE));
        }
        let pages = &self.pages;
        self.page_order.retain(|page| pages.contains_key(page));
    }

    /// The save that was in flight failed: the units stay in memory and are saved again.
    pub fn save_failed(&mut self) {
        for (key, queue_id, end) in core::mem::take(&mut self.saving) {
            self.unsaved += (end - self.queue(key, queue_id).saved) as usize;
            self.dirty.insert((key, queue_id));
        }
    }

    /// The offsets of a queue that are kept, as a range.
    pub fn range(&self, key: TopicKey, queue_id: u32) -> Range<QueueOffset> {
        let Bounds { min, max } = self.bounds(key, queue_id);
        min..max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(n: u64) -> Unit {
        Unit { at: LogPos(n * 100), size: 100, tags: n as i64 }
    }

    #[test]
    fn a_unit_is_twenty_bytes_both_ways() {
        let one = Unit { at: LogPos(0x1_0000_0002), size: 91, tags: -5 };
        assert_eq!(Unit::decode(&one.encode()), Some(one));
        assert_eq!(Unit::decode(&[0; UNIT]), None);
    }

    #[test]
    fn old_units_leave_memory_once_saved_and_come_back_as_pages() {
        let mut queues = Queues::new(true);
        let topic = queues.topic("T");
        for n in 0..10_000 {
            assert_eq!(queues.assign(topic, 0, 1), n);
            assert!(queues.push(topic, 0, n, unit(n)));
        }
        let runs = queues.poll_save();
        assert_eq!((runs.len(), runs[0].from, runs[0].bytes.len()), (1, 0, 10_000 * UNIT));
        queues.saved();
        let mut out = Vec::new();
        queues.read(topic, 0, 9_990, 32, &mut out).expect("recent");
        assert_eq!(out.len(), 10);
        out.clear();
        let missing = queues.read(topic, 0, 700, 32, &mut out).expect_err("cold");
        assert_eq!(missing, Missing::Units { topic: "T".into(), queue_id: 0, from: 512, count: 512 });
        queues.loaded("T", 0, 512, &runs[0].bytes[512 * UNIT..1024 * UNIT]);
        queues.read(topic, 0, 700, 400, &mut out).expect("page");
        assert_eq!((out.len(), out[0], out[323]), (324, unit(700), unit(1023)));
    }

    #[test]
    fn a_failed_save_is_tried_again_and_nothing_is_pushed_twice() {
        let mut queues = Queues::new(true);
        let topic = queues.topic("T");
        queues.push(topic, 1, 0, unit(0));
        assert!(!queues.push(topic, 1, 0, unit(0)), "STO-6: dispatching twice changes nothing");
        assert_eq!(queues.poll_save().len(), 1);
        queues.push(topic, 1, 1, unit(1));
        assert!(queues.poll_save().is_empty(), "one save at a time");
        queues.save_failed();
        let runs = queues.poll_save();
        assert_eq!((runs[0].from, runs[0].bytes.len()), (0, 2 * UNIT));
    }

    #[test]
    fn a_restored_queue_continues_where_it_ended() {
        let mut queues = Queues::new(true);
        let topic = queues.topic("T");
        queues.restore(topic, 3, 5, 9);
        assert_eq!(queues.assign(topic, 3, 2), 9);
        assert_eq!(queues.bounds(topic, 3), Bounds { min: 5, max: 9 });
        queues.push(topic, 1, 4, unit(4));
        queues.push(topic, 1, 7, unit(7));
        assert_eq!(queues.total(), 9 + 8);
        assert!(queues.read(topic, 3, 5, 10, &mut Vec::new()).is_err());
    }
}
