//! What every medium must do, as a suite that each runs in its own tests: [`check`].
//!
//! The suite drives a medium as a broker does, through [`Disk`] operations and the [`Store`] trait, and knows
//! nothing else of it. It panics, like a test, at the first thing that is wrong. Crashes are not here: what a crash
//! may do differs between media.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::checkpoint::Checkpoint;
use super::log::CommitLog;
use super::opening::Opened;
use super::queues::{Queues, UNIT, Unit};
use super::{Disk, Done, Missing, Read, Room, Store, StoreError, Table, UnitRun};
use crate::ids::{LogPos, StoreId, Ticket};
use crate::record::{Draft, FILLER_MAGIC};
use crate::time::Unix;

/// Bytes of a log segment in this suite.
pub const SEGMENT: u64 = 1 << 20;

/// A medium under test.
pub trait Medium {
    /// What the broker would own.
    type Store: Store;

    /// Executes an operation, right away.
    fn execute(&mut self, disk: Disk) -> Done;

    /// Reads and room.
    fn store(&self) -> &Self::Store;

    /// A small file as a new process would find it.
    fn table(&self, table: Table) -> Option<Vec<u8>>;

    /// Ends this use in good order and begins another. `None` for a medium that ends with its process.
    fn reopen(&mut self) -> Option<Opened>;
}

/// Runs the whole suite. `fresh` gives an empty medium whose log may take `capacity` bytes.
pub fn check<M: Medium>(mut fresh: impl FnMut(u64) -> M) {
    what_is_appended_is_read(&mut fresh(64 << 20));
    no_room_refuses_and_changes_nothing(&mut fresh(4 * SEGMENT));
    units_come_back(&mut fresh(SEGMENT));
    tables_are_replaced(&mut fresh(SEGMENT));
    another_use_finds_everything(&mut fresh(64 << 20));
}

/// Ids, and an order that is different each time and the same in each run.
struct Numbers(u64);

impl Numbers {
    fn id(&mut self) -> StoreId {
        self.0 += 1;
        StoreId(self.0)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 += 1;
        (self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) as usize % limit
    }
}

fn stored(done: Done, expected: StoreId) -> Result<Option<Vec<u8>>, StoreError> {
    match done {
        Done::Stored { id, result } => {
            assert_eq!(id, expected, "a completion names its operation");
            result
        }
        Done::Loaded { .. } => panic!("a store operation was answered as a load"),
    }
}

fn loaded(medium: &mut impl Medium, what: Missing) -> Vec<u8> {
    match medium.execute(Disk::Load { ticket: Ticket(77), what }) {
        Done::Loaded { ticket: Ticket(77), result } => result.expect("the load succeeds"),
        other => panic!("a load was answered by {other:?}"),
    }
}

/// A log and queues over a medium, as a broker has them.
struct Writer {
    log: CommitLog,
    queues: Queues,
    numbers: Numbers,
    records: Vec<(LogPos, Vec<u8>)>,
}

impl Writer {
    fn new() -> Self {
        let (log, queues) = (CommitLog::new(SEGMENT, LogPos(0)), Queues::new(true));
        Self { log, queues, numbers: Numbers(1), records: Vec::new() }
    }

    fn append(&mut self, medium: &mut impl Medium, queue_id: u32, body: usize) -> Result<LogPos, Room> {
        let topic = self.queues.topic("Conformance");
        let offset = self.queues.next(topic, queue_id);
        let mut made = Vec::new();
        for _ in 0..100 {
            let result = self.log.append(
                record(LogPos(0), "Conformance", queue_id, offset, body).len(),
                |end| medium.store().room(end),
                |at, out| {
                    made = record(at, "Conformance", queue_id, offset, body);
                    out.extend_from_slice(&made);
                },
            );
            match result {
                Err(Room::Later) => {
                    let (id, upto) = (self.numbers.id(), self.log.end().plus(body as u64 + 1000));
                    _ = stored(medium.execute(Disk::Prepare { id, upto }), id);
                    let (id, upto) = (self.numbers.id(), LogPos(upto.0.next_multiple_of(SEGMENT) + body as u64 + 1000));
                    _ = stored(medium.execute(Disk::Prepare { id, upto }), id);
                }
                Err(refused) => return Err(refused),
                Ok(at) => {
                    self.queues.assign(topic, queue_id, 1);
                    let size = made.len() as u32;
                    self.queues.push(topic, queue_id, offset, Unit { at, size, tags: 0 });
                    self.records.push((at, made));
                    return Ok(at);
                }
            }
        }
        panic!("room that comes later comes after a Prepare");
    }

    /// Writes all that is pending, in some other order.
    fn write(&mut self, medium: &mut impl Medium) {
        let mut pending = Vec::new();
        while let Some(write) = self.log.poll_write(|| self.numbers.id()) {
            pending.push(write);
        }
        while !pending.is_empty() {
            let (id, at, bytes) = pending.swap_remove(self.numbers.below(pending.len()));
            let buffer =
                stored(medium.execute(Disk::Write { id, at, bytes }), id).expect("there is room for the write");
            self.log.handle_written(id, buffer);
        }
        assert_eq!(self.log.written(), self.log.end());
    }

    fn flush(&mut self, medium: &mut impl Medium) {
        if let Some(id) = self.log.poll_flush(|| self.numbers.id()) {
            stored(medium.execute(Disk::Flush { id }), id).expect("the flush succeeds");
            assert_eq!(self.log.handle_flushed(id), Some(self.log.end()));
        }
    }

    fn save(&mut self, medium: &mut impl Medium) {
        let (id, runs) = (self.numbers.id(), self.queues.poll_save());
        stored(medium.execute(Disk::Units { id, runs, flush: true }), id).expect("the units are written");
        self.queues.saved();
    }

    fn read_all(&self, medium: &mut impl Medium) {
        for (at, bytes) in &self.records {
            let lease = match medium.store().read(*at, bytes.len()) {
                Read::Missing(what) => {
                    loaded(medium, what);
                    medium.store().read(*at, bytes.len())
                }
                other => other,
            };
            match lease {
                Read::Ready(lease) => assert!(lease.as_ref() == bytes, "the record at {at:?} is not what was written"),
                Read::Missing(_) => panic!("the record at {at:?} is missing although it was loaded"),
                Read::Damaged | Read::Trimmed => panic!("the record at {at:?} cannot be read"),
            }
        }
    }
}

fn what_is_appended_is_read(medium: &mut impl Medium) {
    let mut writer = Writer::new();
    for round in 0..12 {
        for n in 0..40 {
            let body = if n == 7 { 300_000 } else { writer.numbers.below(3000) };
            writer.append(medium, round % 3, body).expect("there is room");
            if n % 5 == 0 {
                writer.write(medium);
            }
        }
        writer.write(medium);
        writer.flush(medium);
        writer.read_all(medium);
    }
    let segments = writer.log.end().0 / SEGMENT;
    assert!(segments >= 3, "the suite must cross segments");
    for segment in 1..=segments {
        let last = writer.records.iter().rev().find(|(at, _)| at.0 < segment * SEGMENT).expect("a record");
        let end = last.0.plus(last.1.len() as u64);
        let Read::Ready(filler) = medium.store().read(end, 8) else { panic!("the filler of a segment can be read") };
        assert_eq!(filler.as_ref()[..4], ((segment * SEGMENT - end.0) as u32).to_be_bytes());
        assert_eq!(filler.as_ref()[4..], FILLER_MAGIC.to_be_bytes());
    }
}

fn no_room_refuses_and_changes_nothing(medium: &mut impl Medium) {
    // STO-1.
    let mut writer = Writer::new();
    let refused = loop {
        match writer.append(medium, 0, 100_000) {
            Ok(at) => assert!(at.0 < 6 * SEGMENT, "a full medium never said so"),
            Err(refused) => break refused,
        }
        writer.write(medium);
    };
    assert_eq!(refused, Room::Full);
    let end = writer.log.end();
    assert!(end.0 > 2 * SEGMENT, "there was room for more than {end:?}");
    assert_eq!(writer.append(medium, 0, 200_000), Err(Room::Full));
    assert_eq!((writer.log.end(), writer.log.written()), (end, end));
    writer.flush(medium);
    writer.read_all(medium);
}

fn units_come_back(medium: &mut impl Medium) {
    let run = |topic: &str, queue_id, from, count: u64| {
        let unit = |n| Unit { at: LogPos(n * 7), size: 91, tags: n as i64 }.encode();
        UnitRun { topic: topic.into(), queue_id, from, bytes: (from..from + count).flat_map(unit).collect() }
    };
    let what = |topic: &str, queue_id, from, count| Missing::Units { topic: topic.into(), queue_id, from, count };
    // 300,000 units are one of Apache's files: this run lies in two.
    let runs = vec![run("A", 0, 0, 10), run("A", 1, 299_990, 20), run("%RETRY%g", 0, 5, 5)];
    let id = StoreId(1);
    stored(medium.execute(Disk::Units { id, runs, flush: false }), id).expect("the units are written");
    let id = StoreId(2);
    let runs = vec![run("A", 0, 10, 10)];
    stored(medium.execute(Disk::Units { id, runs, flush: true }), id).expect("the units are written");
    assert_eq!(loaded(medium, what("A", 0, 0, 20)), run("A", 0, 0, 20).bytes);
    assert_eq!(loaded(medium, what("A", 0, 3, 2)), run("A", 0, 3, 2).bytes);
    assert_eq!(loaded(medium, what("A", 1, 299_990, 20)), run("A", 1, 299_990, 20).bytes);
    let zeros_first = [vec![0; 5 * UNIT], run("%RETRY%g", 0, 5, 5).bytes].concat();
    assert_eq!(loaded(medium, what("%RETRY%g", 0, 0, 10)), zeros_first, "what was never written reads as zeros");
    assert_eq!(loaded(medium, what("Unknown", 0, 0, 2)), vec![0; 2 * UNIT]);
}

fn tables_are_replaced(medium: &mut impl Medium) {
    let tables = [Table::Topics, Table::ConsumerOffsets, Table::SubscriptionGroups];
    for (round, length) in [40_000, 10, 500].into_iter().enumerate() {
        for table in tables {
            let (id, bytes) =
                (StoreId(round as u64), format!("{{\"{table:?}\":\"{}\"}}", "x".repeat(length)).into_bytes());
            stored(medium.execute(Disk::Put { id, table, bytes: bytes.clone() }), id).expect("the table is put");
            assert_eq!(medium.table(table), Some(bytes));
        }
    }
}

fn another_use_finds_everything(medium: &mut impl Medium) {
    let mut writer = Writer::new();
    for n in 0..2000 {
        writer.append(medium, n % 5, 2000).expect("there is room");
    }
    writer.write(medium);
    writer.flush(medium);
    writer.save(medium);
    let id = StoreId(3);
    let checkpoint = Checkpoint {
        flushed: writer.log.end(),
        queues: writer.log.end(),
        units: writer.queues.total(),
        ..Checkpoint::default()
    };
    stored(medium.execute(Disk::Put { id, table: Table::Checkpoint, bytes: checkpoint.encode() }), id).expect("put");
    let id = StoreId(4);
    stored(medium.execute(Disk::Put { id, table: Table::Topics, bytes: b"{}".to_vec() }), id).expect("put");
    let ends = |queues: &Queues| -> Vec<(String, u64, u64)> {
        queues
            .topics()
            .flat_map(|(name, count)| (0..count).map(move |id| (name, id)))
            .filter_map(|(name, id)| {
                let bounds = queues.bounds(queues.known(name)?, id);
                Some((format!("{name}-{id}"), bounds.min, bounds.max))
            })
            .collect()
    };
    for _ in 0..2 {
        let Some(opened) = medium.reopen() else { return };
        assert_eq!((opened.end, opened.report.messages), (writer.log.end(), 0), "nothing had to be scanned again");
        assert_eq!(ends(&opened.queues), ends(&writer.queues));
        assert_eq!(medium.table(Table::Topics).as_deref(), Some(&b"{}"[..]));
        writer.read_all(medium);
    }
    // And it goes on where it ended.
    writer.log = CommitLog::new(SEGMENT, writer.log.end());
    for n in 0..100 {
        writer.append(medium, n % 5, 2000).expect("there is room");
    }
    writer.write(medium);
    writer.flush(medium);
    let Some(opened) = medium.reopen() else { return };
    assert_eq!((opened.end, opened.report.messages), (writer.log.end(), 100));
    assert_eq!(ends(&opened.queues), ends(&writer.queues));
    writer.read_all(medium);
}

fn record(at: LogPos, topic: &str, queue_id: u32, offset: u64, len: usize) -> Vec<u8> {
    let body: Vec<u8> = (0..len).map(|n| (n as u64 ^ at.0 ^ offset) as u8).collect();
    sample(at, topic, queue_id as i32, offset, &body)
}

/// A whole record as a broker writes it, tagged `t`.
pub fn sample(at: LogPos, topic: &str, queue_id: i32, queue_offset: u64, body: &[u8]) -> Vec<u8> {
    let host = SocketAddr::from(([127, 0, 0, 1], 10911));
    let time = Unix(1_700_000_000_000 + at.0 as i64);
    let mut out = Vec::new();
    let draft = Draft {
        topic,
        queue_id,
        queue_offset,
        flag: 0,
        sys_flag: 0,
        born: time,
        born_host: host,
        store: time,
        store_host: host,
        reconsume_times: 0,
        prepared: 0,
        body,
        properties: "TAGS\u{1}t\u{2}",
        extra: &[],
        crc: true,
    };
    draft.write(at, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    impl Medium for MemoryStore {
        type Store = Self;

        fn execute(&mut self, disk: Disk) -> Done {
            Self::execute(self, disk)
        }

        fn store(&self) -> &Self {
            self
        }

        fn table(&self, table: Table) -> Option<Vec<u8>> {
            Self::table(self, table).map(<[u8]>::to_vec)
        }

        fn reopen(&mut self) -> Option<Opened> {
            None
        }
    }

    #[test]
    fn memory_conforms() {
        check(MemoryStore::new);
    }
}
