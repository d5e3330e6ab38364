//! The store on disk, in Apache's layout, so that a Java broker's folder opens in place.
//!
//! ```text
//! commitlog/<20 digits>                         log: segments, full length, blocks ahead of the tail
//! consumequeue/<topic>/<queue>/<20 digits>      log: units, sparse, rebuilt when missing
//! config/topics.json, consumerOffset.json ...   tables: replaced whole, the version before as .bak
//! checkpoint                                    tables: how far all this is true
//! lock, abort                                   folder: who uses it, and that nobody said good-bye
//! ```
//!
//! [`open`] runs the core's `Opening` over these files. It gives two halves that share one state: [`Log`] for the
//! broker, read under its lock, and [`Disk`](Volume), which executes operations outside it, from any thread. Which
//! operation when is decided in the core, never here.
//!
//! Must stay true: after a flush has failed nothing is written any more (DUR-5); a completion is given only after
//! the system has answered. Start at [`open`] and [`Volume::execute`].

mod folder;
mod log;
mod map;
mod os;
mod tables;
#[cfg(test)]
mod tests;
mod units;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use skylark_core::ids::LogPos;
use skylark_core::store::opening::{Found, Newer, Opened, Opening, Progress, Step};
use skylark_core::store::{Disk, Done, Missing, Read, Room, Store, StoreError, Table};

pub use folder::OpenError;
use folder::{Folder, io as io_error};
pub use map::Lease;

/// Size of a log segment unless another is asked for, bytes. Java: `mappedFileSizeCommitLog`.
pub const SEGMENT: u64 = 1 << 30;
/// The smallest and largest segment, bytes; any size between them that is a multiple of the smallest will do.
pub const SEGMENT_RANGE: (u64, u64) = (64 << 10, 2 << 30);

/// How to open a store.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Size of log segments, bytes. `None`: what the store has, or [`SEGMENT`] for a new one.
    pub segment_size: Option<u64>,
}

/// An open store: what the broker takes, and what its driver keeps.
#[derive(Debug)]
pub struct Native {
    /// For the broker.
    pub log: Log,
    /// For the driver.
    pub volume: Volume,
    /// For the broker.
    pub opened: Opened,
}

/// The broker's half: reads and room.
#[derive(Clone, Debug)]
pub struct Log(Arc<Shared>);

/// The driver's half: executes operations.
#[derive(Clone, Debug)]
pub struct Volume(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    log: log::Segments,
    units: Mutex<units::Units>,
    tables: Mutex<()>,
    failed: AtomicBool,
    folder: Folder,
    #[cfg(test)]
    faults: tests::Faults,
}

/// Opens the store in `dir`, which is made when it is not there. `progress` hears of long work, a few times a second
/// at most being of use to anybody.
pub fn open(dir: &Path, options: Options, mut progress: impl FnMut(Progress)) -> Result<Native, OpenError> {
    let (folder, segment, bases) = Folder::take(dir, options.segment_size, SEGMENT)?;
    let checkpoint =
        tables::versions(dir, Table::Checkpoint).map_err(io_error("read the checkpoint in", dir))?.into_iter().next();
    let log_dir = dir.join("commitlog");
    let mut log =
        log::Segments::open(log_dir.clone(), segment, &bases).map_err(io_error("open the log in", &log_dir))?;
    let queue_dir = dir.join("consumequeue");
    let mut units = units::Units::new(queue_dir.clone());
    let queues = units.found().map_err(io_error("read the queues in", &queue_dir))?;
    let found = Found { segment, log: log.extent(), checkpoint: checkpoint.clone(), queues, clean: folder.clean };
    let mut opening = Opening::new(found).map_err(|Newer(version)| folder::newer(dir, version))?;
    let mut buffer = Vec::new();
    loop {
        match opening.step() {
            Step::Load(Missing::Log { at, len }) => {
                buffer.resize(len, 0);
                let loaded = log.load(at, &mut buffer).map(|()| &buffer[..]);
                opening.handle_loaded(loaded.map_err(|e| failed(&e)));
            }
            Step::Load(Missing::Units { topic, queue_id, from, count }) => {
                let loaded = units.read(&topic, queue_id, from, count);
                opening.handle_loaded(loaded.as_deref().map_err(|e| StoreError::Failed(e.to_string())));
            }
            Step::Save(runs) => {
                units.write(&runs).map_err(io_error("write the queues in", &queue_dir))?;
                opening.handle_saved();
            }
            Step::Finished => break,
        }
        progress(opening.progress());
    }
    let mut opened = opening.finish();
    settle(dir, &mut log, &mut units, &mut opened, checkpoint)?;
    let damage = opened.report.damage.iter().map(|d| d.at.0..d.at.0 + d.len).collect();
    log.opened(opened.end, opened.report.scanned_from, damage);
    // A full disk is no reason not to open: what is there can still be read.
    if let Err(error) = log.prepare(opened.end.plus(1)).or_else(|e| if log::is_full(&e) { Ok(()) } else { Err(e) }) {
        return Err(io_error("make room in", &log_dir)(error));
    }
    let shared = Arc::new(Shared {
        log,
        units: Mutex::new(units),
        tables: Mutex::new(()),
        failed: AtomicBool::new(false),
        folder,
        #[cfg(test)]
        faults: tests::Faults::default(),
    });
    Ok(Native { log: Log(shared.clone()), volume: Volume(shared), opened })
}

/// Makes what opening found true on the disk, before anything new is written (STO-5).
fn settle(
    dir: &Path,
    log: &mut log::Segments,
    units: &mut units::Units,
    opened: &mut Opened,
    checkpoint: Option<Vec<u8>>,
) -> Result<(), OpenError> {
    let (log_dir, queue_dir) = (dir.join("commitlog"), dir.join("consumequeue"));
    if let Some(range) = opened.must_zero.take() {
        let any = log.zero(range).map_err(io_error("cut the log's torn end in", &log_dir))?;
        opened.report.torn |= any;
    }
    for stale in &opened.stale {
        units.clear(stale).map_err(io_error("clear old queue units in", &queue_dir))?;
    }
    let bytes = opened.checkpoint.encode();
    if checkpoint.is_some_and(|known| known == bytes) {
        return Ok(());
    }
    log.flush_from(opened.report.scanned_from).map_err(io_error("flush the log in", &log_dir))?;
    units.flush().map_err(io_error("flush the queues in", &queue_dir))?;
    match tables::put(dir, Table::Checkpoint, &bytes) {
        // Without it the next opening does this work again, that is all.
        Err(error) if !log::is_full(&error) => Err(io_error("write the checkpoint in", dir)(error)),
        _ => Ok(()),
    }
}

/// What opening met, in sentences for a person; none when there is nothing to tell.
pub fn tell(opened: &Opened) -> Vec<String> {
    let (report, end) = (&opened.report, opened.end.0);
    let mut told = Vec::new();
    if !report.clean {
        let scanned = end.saturating_sub(report.scanned_from.0);
        told.push(format!(
            "the last use of this store did not end in good order: {scanned} bytes of the log were read again and {} messages put into their queues",
            report.messages
        ));
    } else if report.rebuilt {
        told.push(format!("the queues were built anew from the log: {} messages", report.messages));
    }
    if report.torn {
        told.push(format!(
            "the log ended in a record that was not written whole: it is cut off, the log ends at {end}"
        ));
    }
    for damage in &report.damage {
        let offset = damage.at.0 % opened.segment;
        told.push(format!(
            "damage: commitlog/{} has {} bytes from offset {offset} that hold no whole record although they were flushed; messages there are lost, everything behind them is kept",
            log::name(damage.at.0 - offset),
            damage.len
        ));
    }
    if report.strange > 0 {
        told.push(format!(
            "{} records have a topic, queue or offset that no broker writes: they stay in the log and in no queue",
            report.strange
        ));
    }
    told
}

fn failed(error: &io::Error) -> StoreError {
    if log::is_full(error) { StoreError::Full } else { StoreError::Failed(error.to_string()) }
}

impl Store for Log {
    type Lease = Lease;

    fn read(&self, at: LogPos, len: usize) -> Read<Lease> {
        self.0.log.read(at, len)
    }

    fn room(&self, end: LogPos) -> Room {
        if self.0.failed.load(Ordering::Acquire) { Room::Failed } else { self.0.log.room(end) }
    }
}

impl Volume {
    /// Executes an operation. Blocks for as long as the disk takes; any thread may call this, at any time.
    pub fn execute(&self, disk: Disk) -> Done {
        let shared = &*self.0;
        match disk {
            Disk::Write { id, at, bytes } => {
                let result = shared.guarded(|s| s.log.write(at, &bytes)).map(|()| Some(bytes));
                Done::Stored { id, result: shared.final_when_failed(result) }
            }
            Disk::Flush { id } => {
                let result = shared.guarded(|s| s.log.flush()).map(|()| None);
                Done::Stored { id, result: shared.final_when_failed(result) }
            }
            Disk::Prepare { id, upto } => {
                Done::Stored { id, result: shared.guarded(|s| s.log.prepare(upto)).map(|()| None) }
            }
            Disk::Units { id, runs, flush } => {
                let mut units = shared.units.lock().unwrap_or_else(PoisonError::into_inner);
                let result = shared.guarded(|_| units.write(&runs));
                let result = match result {
                    Ok(()) if flush => shared.final_when_failed(shared.guarded(|_| units.flush())),
                    other => other,
                };
                Done::Stored { id, result: result.map(|()| None) }
            }
            Disk::Put { id, table, bytes } => {
                let _one = shared.tables.lock().unwrap_or_else(PoisonError::into_inner);
                let result = shared.guarded(|s| tables::put(&s.folder.path, table, &bytes));
                Done::Stored { id, result: result.map(|()| None) }
            }
            Disk::Load { ticket, what: Missing::Log { at, len } } => {
                shared.log.check(at, len);
                Done::Loaded { ticket, result: Ok(Vec::new()) }
            }
            Disk::Load { ticket, what: Missing::Units { topic, queue_id, from, count } } => {
                let mut units = shared.units.lock().unwrap_or_else(PoisonError::into_inner);
                Done::Loaded { ticket, result: units.read(&topic, queue_id, from, count).map_err(|e| failed(&e)) }
            }
        }
    }

    /// The versions of a table that are there, the newest first: the first that parses is the one.
    pub fn table(&self, table: Table) -> Result<Vec<Vec<u8>>, OpenError> {
        let path = tables::path(&self.0.folder.path, table);
        tables::versions(&self.0.folder.path, table).map_err(io_error("read", &path))
    }

    /// Says that this use ended in good order: the broker has stopped, everything is flushed and saved. Not after a
    /// failure, so that the next use looks closely. The folder is free for others when both halves are dropped.
    pub fn close(&self) -> io::Result<()> {
        if self.0.failed.load(Ordering::Acquire) { Ok(()) } else { self.0.folder.leave() }
    }
}

impl Shared {
    /// Does it unless the store has failed.
    fn guarded<T>(&self, act: impl FnOnce(&Self) -> io::Result<T>) -> Result<T, StoreError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(StoreError::Failed("the store failed before and takes no more writes: restart it".into()));
        }
        #[cfg(test)]
        self.faults.strike().map_err(|e| failed(&e))?;
        act(self).map_err(|e| failed(&e))
    }

    /// A log that may have a hole, or pages that the system has dropped, takes no more writes (DUR-5).
    fn final_when_failed<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        result
    }
}
