//! The log's segment files: `commitlog/` and 20 digits, the position of the file's first byte.
//!
//! A file has its full length from the start (a Java broker refuses any other), and gets its blocks in steps ahead
//! of the log's end, so that a write never meets a full disk (STO-1). Bytes are written with `pwrite` from the
//! batch that the broker filled, and read through a mapping. Start at [`Segments::write`] and [`Segments::read`].
//!
//! Must stay true: a read never serves a record that nobody has checked. What this process wrote, and what opening
//! scanned, is checked; older records are checked when they are first read, outside the broker's lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use skylark_core::ids::LogPos;
use skylark_core::record::layout::SMALLEST;
use skylark_core::record::{self, Scan};
use skylark_core::store::{Missing, Read, Room};

use super::map::{Lease, Map};
use super::os;

/// Blocks are given to the log in steps of this size, bytes.
const STEP: u64 = 16 << 20;
/// When so much is not to be had, this is tried.
const SMALL_STEP: u64 = 1 << 20;
/// Old records are read and checked in runs of this size, bytes.
const CHECK: usize = 1 << 20;
/// Runs and damaged places that are remembered; beyond that all are forgotten, and checked again when needed.
const REMEMBERED: usize = 4096;

#[derive(Debug)]
struct Segment {
    file: File,
    map: OnceLock<Arc<Map>>,
    dirty: AtomicBool,
}

/// Which of the older records were checked, and which did not pass.
#[derive(Debug, Default)]
struct Checked {
    runs: BTreeMap<u64, u64>,
    damaged: BTreeSet<u64>,
}

/// All segments of one log.
#[derive(Debug)]
pub struct Segments {
    dir: PathBuf,
    size: u64,
    files: RwLock<BTreeMap<u64, Arc<Segment>>>,
    /// Positions below have blocks, from the log's end at opening on.
    room: AtomicU64,
    full: AtomicBool,
    growing: Mutex<()>,
    flushing: Mutex<()>,
    /// Everything from here on is checked, but for `damage`.
    checked_from: u64,
    damage: Vec<Range<u64>>,
    checked: Mutex<Checked>,
    /// A disk's size, for tests.
    #[cfg(test)]
    pub(super) capacity: AtomicU64,
}

/// Locks are held over no call that can panic; one that did leaves nothing half done.
fn held<T>(lock: Result<T, PoisonError<T>>) -> T {
    lock.unwrap_or_else(PoisonError::into_inner)
}

impl Segments {
    /// Takes the files that are in `dir`. Each has `size` bytes and the name of a multiple of it.
    pub fn open(dir: PathBuf, size: u64, bases: &[u64]) -> io::Result<Self> {
        let mut segments = BTreeMap::new();
        for base in bases {
            let file = OpenOptions::new().read(true).write(true).open(dir.join(name(*base)))?;
            segments.insert(base / size, Arc::new(Segment::new(file)));
        }
        Ok(Self {
            dir,
            size,
            files: RwLock::new(segments),
            room: AtomicU64::new(0),
            full: AtomicBool::new(false),
            growing: Mutex::new(()),
            flushing: Mutex::new(()),
            checked_from: 0,
            damage: Vec::new(),
            checked: Mutex::default(),
            #[cfg(test)]
            capacity: AtomicU64::new(u64::MAX),
        })
    }

    /// From the first segment's start to the last byte that may not be zero.
    pub fn extent(&self) -> Range<LogPos> {
        let segments = held(self.files.read());
        let first = segments.keys().next().map_or(0, |index| index * self.size);
        let data =
            |(index, segment): (&u64, &Arc<Segment>)| Some(index * self.size + os::data(&segment.file, self.size)?.1);
        let end = segments.iter().rev().find_map(data).unwrap_or(first);
        LogPos(first)..LogPos(end)
    }

    /// What opening found out: the log ends at `end`, all from `scanned_from` on was checked, `damage` did not pass.
    pub fn opened(&mut self, end: LogPos, scanned_from: LogPos, damage: Vec<Range<u64>>) {
        self.room = AtomicU64::new(end.0);
        self.checked_from = scanned_from.0;
        self.damage = damage;
    }

    fn segment(&self, at: LogPos) -> Option<Arc<Segment>> {
        held(self.files.read()).get(&(at.0 / self.size)).cloned()
    }

    fn within(&self, at: LogPos, len: u64) -> Option<Range<u64>> {
        let start = at.0 % self.size;
        let end = start.checked_add(len)?;
        (end <= self.size).then_some(start..end)
    }

    /// Reads log bytes through the file, for opening. What was never written reads as zeros.
    pub fn load(&self, at: LogPos, out: &mut [u8]) -> io::Result<()> {
        let missing =
            || io::Error::new(io::ErrorKind::NotFound, format!("there is no file {}", name(at.0 - at.0 % self.size)));
        let segment = self.segment(at).ok_or_else(missing)?;
        os::read_or_zeros(&segment.file, out, at.0 % self.size)
    }

    /// Log bytes for the broker.
    pub fn read(&self, at: LogPos, len: usize) -> Read<Lease> {
        let (Some(segment), Some(range)) = (self.segment(at), self.within(at, len as u64)) else {
            return self.nothing(at);
        };
        if at.0 < self.checked_from {
            let checked = held(self.checked.lock());
            if checked.damaged.contains(&at.0) {
                return Read::Damaged;
            }
            let run = checked.runs.range(..=at.0).next_back();
            if run.is_none_or(|(_, end)| at.0 + len as u64 > *end) {
                return Read::Missing(Missing::Log { at, len });
            }
        } else if self.damage.iter().any(|bad| bad.start < at.0 + len as u64 && at.0 < bad.end) {
            return Read::Damaged;
        }
        let map = match segment.map(self.size) {
            Ok(map) => map,
            Err(error) => {
                tracing::error!(%error, position = at.0, "a log segment could not be mapped");
                return Read::Damaged;
            }
        };
        Lease::new(map, range.start as usize..range.end as usize).map_or(Read::Damaged, Read::Ready)
    }

    /// A position that has no file.
    fn nothing(&self, at: LogPos) -> Read<Lease> {
        let segments = held(self.files.read());
        if segments.keys().next().is_some_and(|first| at.0 < first * self.size) { Read::Trimmed } else { Read::Damaged }
    }

    /// Reads and checks the record of `len` bytes at `at`, and those that follow it. From then on a read gives it,
    /// or says that it is damaged. With fewer bytes than a record has, `at` is a guess: where no record begins, nothing
    /// is said of it.
    pub fn check(&self, at: LogPos, len: usize) {
        let rest = self.size - at.0 % self.size;
        let guess = len < SMALLEST;
        let mut bytes = vec![0; len.max(CHECK).min(rest as usize)];
        let mut end = at;
        if let Err(error) = self.load(at, &mut bytes) {
            // Perhaps only what follows cannot be read.
            bytes.truncate(len);
            if self.load(at, &mut bytes).is_err() {
                tracing::error!(%error, position = at.0, "a log record cannot be read");
                bytes.clear();
            }
        }
        let mut i = 0;
        while let Scan::Record(record) = record::scan(&bytes[i..], end) {
            if i == 0 && record.size() != len && !guess {
                break;
            }
            i += record.size();
            end = at.plus(i as u64);
        }
        if end == at && guess {
            return;
        }
        let mut checked = held(self.checked.lock());
        if checked.runs.len() + checked.damaged.len() >= REMEMBERED {
            *checked = Checked::default();
        }
        if end == at {
            tracing::error!(position = at.0, length = len, "a log record is damaged and is not served");
            checked.damaged.insert(at.0);
            return;
        }
        // Runs that touch become one.
        let before =
            checked.runs.range(..=at.0).next_back().filter(|(_, stop)| **stop >= at.0).map(|(start, _)| *start);
        let start = before.unwrap_or(at.0);
        let mut stop = end.0.max(checked.runs.get(&start).copied().unwrap_or(0));
        while let Some((next, next_stop)) = checked.runs.range(start + 1..=stop).next().map(|(a, b)| (*a, *b)) {
            checked.runs.remove(&next);
            stop = stop.max(next_stop);
        }
        checked.runs.insert(start, stop);
    }

    /// Whether the log may grow to `end`.
    pub fn room(&self, end: LogPos) -> Room {
        if end.0 <= self.room.load(Ordering::Acquire) {
            Room::Ready
        } else if self.full.load(Ordering::Acquire) {
            Room::Full
        } else {
            Room::Later
        }
    }

    /// Gives blocks to the log up to `upto`, and to the rest of the step.
    pub fn prepare(&self, upto: LogPos) -> io::Result<()> {
        let _growing = held(self.growing.lock());
        let result = self.grow(upto.0);
        self.full.store(result.is_err(), Ordering::Release);
        result
    }

    fn grow(&self, upto: u64) -> io::Result<()> {
        loop {
            let from = self.room.load(Ordering::Acquire);
            if from >= upto {
                return Ok(());
            }
            let segment = self.segment_or_new(from)?;
            let start = from % self.size;
            let step = |size: u64| ((start / size + 1) * size).min(self.size) - start;
            let (long, short) = (step(STEP), step(SMALL_STEP));
            let allocate = |len| {
                #[cfg(test)]
                if from + len > self.capacity.load(Ordering::Relaxed) {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                os::allocate(&segment.file, start, len)
            };
            let len = match allocate(long) {
                Err(error) if is_full(&error) && short < long => {
                    allocate(short)?;
                    short
                }
                other => other.map(|()| long)?,
            };
            segment.dirty.store(true, Ordering::Release);
            self.room.store(from + len, Ordering::Release);
        }
    }

    fn segment_or_new(&self, at: u64) -> io::Result<Arc<Segment>> {
        if let Some(segment) = self.segment(LogPos(at)) {
            return Ok(segment);
        }
        let base = at - at % self.size;
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.dir.join(name(base)))?;
        file.set_len(self.size)?;
        file.sync_all()?;
        sync_dir(&self.dir)?;
        let segment = Arc::new(Segment::new(file));
        held(self.files.write()).insert(base / self.size, segment.clone());
        Ok(segment)
    }

    /// Writes a batch. It lies in one segment, for which there was room.
    pub fn write(&self, at: LogPos, bytes: &[u8]) -> io::Result<()> {
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, format!("no room was made at position {}", at.0));
        let (Some(segment), Some(range)) = (self.segment(at), self.within(at, bytes.len() as u64)) else {
            return Err(outside());
        };
        segment.file.write_all_at(bytes, range.start)?;
        segment.dirty.store(true, Ordering::Release);
        Ok(())
    }

    /// Makes durable everything whose write had ended when this was called.
    pub fn flush(&self) -> io::Result<()> {
        let _flushing = held(self.flushing.lock());
        let dirty: Vec<_> = {
            let segments = held(self.files.read());
            segments.values().filter(|s| s.dirty.swap(false, Ordering::AcqRel)).cloned().collect()
        };
        dirty.iter().try_for_each(|segment| segment.file.sync_data())
    }

    /// Makes durable what an earlier process may have left unflushed from `from` on.
    pub fn flush_from(&self, from: LogPos) -> io::Result<()> {
        let segments = held(self.files.read());
        segments.range(from.0 / self.size..).try_for_each(|(_, segment)| segment.file.sync_data())
    }

    /// Makes the bytes of `range` zeros, if any is not. Gives whether one was not.
    pub fn zero(&self, range: Range<LogPos>) -> io::Result<bool> {
        let segments = held(self.files.read());
        let mut any = false;
        for (index, segment) in segments.range(range.start.0 / self.size..) {
            let base = index * self.size;
            let from = range.start.0.saturating_sub(base);
            if os::any_data(&segment.file, from, self.size)? {
                any = true;
                os::zero(&segment.file, from, self.size - from)?;
                segment.file.sync_data()?;
            }
        }
        Ok(any)
    }
}

impl Segment {
    fn new(file: File) -> Self {
        Self { file, map: OnceLock::new(), dirty: AtomicBool::new(false) }
    }

    fn map(&self, size: u64) -> io::Result<Arc<Map>> {
        if let Some(map) = self.map.get() {
            return Ok(map.clone());
        }
        let map = Map::new(&self.file, size as usize)?;
        Ok(self.map.get_or_init(|| map).clone())
    }
}

/// A file's name: the position of its first byte, 20 digits.
pub fn name(base: u64) -> String {
    format!("{base:020}")
}

/// The position that a file's name tells.
pub fn base(name: &str) -> Option<u64> {
    (name.len() == 20 && name.bytes().all(|b| b.is_ascii_digit())).then(|| name.parse().ok())?
}

/// Whether there was no space.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// Makes the names in a folder durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}
