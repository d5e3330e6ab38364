//! The queues' files: `consumequeue/<topic>/<queue>/` and 20 digits, the byte offset of the file's first unit.
//!
//! 300,000 units of 20 bytes each, as Apache has them, but sparse: a file takes the blocks that were written, so a
//! queue with one message costs one block. Files are opened when needed and only [`HANDLES`] stay open. Everything
//! here can be rebuilt from the log (STO-4). Start at [`Units::write`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use skylark_core::store::opening::{FoundQueue, Stale};
use skylark_core::store::queues::UNIT;
use skylark_core::store::{UnitRun, is_topic};

use super::log::{base, name, sync_dir};
use super::os;

/// Units in a file.
const PER_FILE: u64 = 300_000;
/// Bytes of a file.
pub const FILE: u64 = PER_FILE * UNIT as u64;
/// Files that are kept open.
const HANDLES: usize = 256;
/// When more files than this are to be flushed, the whole file system is, at once.
const FLUSH_EACH: usize = 64;

/// All queues' files of one store.
#[derive(Debug)]
pub struct Units {
    dir: PathBuf,
    open: BTreeMap<PathBuf, (Arc<File>, u64)>,
    clock: u64,
    /// Written since the last flush, and the folders that got a new name since.
    dirty: BTreeSet<PathBuf>,
    grown: BTreeSet<PathBuf>,
}

impl Units {
    /// The files under `dir`, the folder `consumequeue`.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, open: BTreeMap::new(), clock: 0, dirty: BTreeSet::new(), grown: BTreeSet::new() }
    }

    /// The queues that have files. Names that are no topics or queues are left alone.
    pub fn found(&self) -> io::Result<Vec<FoundQueue>> {
        let mut found = Vec::new();
        for topic_dir in folders(&self.dir)? {
            let Some(topic) = topic_dir.file_name().and_then(|n| n.to_str()).filter(|n| is_topic(n)) else { continue };
            for queue_dir in folders(&topic_dir)? {
                let Some(queue_id) = queue_dir.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok()) else {
                    continue;
                };
                if let Some((start, end)) = extent(&queue_dir)? {
                    let units = start / UNIT as u64..end.div_ceil(UNIT as u64);
                    found.push(FoundQueue { topic: topic.to_owned(), queue_id, units });
                }
            }
        }
        Ok(found)
    }

    /// Writes runs of units.
    pub fn write(&mut self, runs: &[UnitRun]) -> io::Result<()> {
        for run in runs {
            let mut bytes = &run.bytes[..];
            let mut from = run.from;
            while !bytes.is_empty() {
                let here = bytes.len().min((PER_FILE - from % PER_FILE) as usize * UNIT);
                let path = self.path(&run.topic, run.queue_id, from)?;
                self.file(&path)?.write_all_at(&bytes[..here], from % PER_FILE * UNIT as u64)?;
                self.dirty.insert(path);
                bytes = &bytes[here..];
                from += (here / UNIT) as u64;
            }
        }
        Ok(())
    }

    /// Reads units; what was never written reads as zeros.
    pub fn read(&mut self, topic: &str, queue_id: u32, from: u64, count: usize) -> io::Result<Vec<u8>> {
        let mut out = vec![0; count * UNIT];
        let (mut done, mut next) = (0, from);
        while done < out.len() {
            let here = (out.len() - done).min((PER_FILE - next % PER_FILE) as usize * UNIT);
            let path = self.path(topic, queue_id, next)?;
            if let Some(file) = self.known(&path)? {
                os::read_or_zeros(&file, &mut out[done..done + here], next % PER_FILE * UNIT as u64)?;
            }
            done += here;
            next += (here / UNIT) as u64;
        }
        Ok(out)
    }

    /// Makes units that belong to no record read as zeros.
    pub fn clear(&mut self, stale: &Stale) -> io::Result<()> {
        let mut next = stale.units.start;
        while next < stale.units.end {
            let stop = stale.units.end.min((next / PER_FILE + 1) * PER_FILE);
            let path = self.path(&stale.topic, stale.queue_id, next)?;
            if let Some(file) = self.known(&path)? {
                let (from, to) = (next % PER_FILE * UNIT as u64, (stop - next / PER_FILE * PER_FILE) * UNIT as u64);
                if os::any_data(&file, from, to)? {
                    os::zero(&file, from, to - from)?;
                    self.dirty.insert(path);
                }
            }
            next = stop;
        }
        Ok(())
    }

    /// Makes durable what was written since the last flush.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.dirty.len() > FLUSH_EACH && os::sync_all_files(&File::open(&self.dir)?).is_ok() {
            self.dirty.clear();
            self.grown.clear();
            return Ok(());
        }
        for path in std::mem::take(&mut self.dirty) {
            self.file(&path)?.sync_data()?;
        }
        std::mem::take(&mut self.grown).iter().try_for_each(|dir| sync_dir(dir))
    }

    fn path(&self, topic: &str, queue_id: u32, unit: u64) -> io::Result<PathBuf> {
        if !is_topic(topic) {
            let why = format!("the topic {topic:?} cannot name a folder");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let mut path = self.dir.join(topic);
        path.push(queue_id.to_string());
        path.push(name(unit / PER_FILE * FILE));
        Ok(path)
    }

    /// The file if it is there.
    fn known(&mut self, path: &Path) -> io::Result<Option<Arc<File>>> {
        if let Some(file) = self.handle(path) {
            return Ok(Some(file));
        }
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => Ok(Some(self.keep(path, file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file, made when it is not there.
    fn file(&mut self, path: &Path) -> io::Result<Arc<File>> {
        if let Some(file) = self.handle(path) {
            return Ok(file);
        }
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(queue_dir) = path.parent() {
                    fs::create_dir_all(queue_dir)?;
                    self.grown.insert(self.dir.clone());
                    self.grown.extend(queue_dir.parent().map(Path::to_owned));
                }
                open()?
            }
            other => other?,
        };
        if file.metadata()?.len() == 0 {
            file.set_len(FILE)?;
            self.grown.extend(path.parent().map(Path::to_owned));
        }
        Ok(self.keep(path, file))
    }

    fn handle(&mut self, path: &Path) -> Option<Arc<File>> {
        self.clock += 1;
        let (file, used) = self.open.get_mut(path)?;
        *used = self.clock;
        Some(file.clone())
    }

    /// Keeps a file open, in the place of the one that was used longest ago.
    fn keep(&mut self, path: &Path, file: File) -> Arc<File> {
        if self.open.len() >= HANDLES
            && let Some(oldest) = self.open.iter().min_by_key(|(_, (_, used))| *used).map(|(path, _)| path.clone())
        {
            self.open.remove(&oldest);
        }
        let file = Arc::new(file);
        self.open.insert(path.to_owned(), (file.clone(), self.clock));
        file
    }
}

/// The folders in `dir`, in the order of their names; none when it is not there.
fn folders(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(entries) => {
            for entry in entries {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    found.push(entry.path());
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The bytes of a queue in which units may stand, over all its files.
fn extent(queue_dir: &Path) -> io::Result<Option<(u64, u64)>> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(queue_dir)? {
        bases.extend(entry?.file_name().to_str().and_then(base).filter(|base| base % FILE == 0));
    }
    bases.sort_unstable();
    let data = |base: &u64| -> io::Result<Option<(u64, u64)>> {
        let file = File::open(queue_dir.join(name(*base)))?;
        let len = file.metadata()?.len();
        if len != 0 && len != FILE {
            let why = format!(
                "{} has {len} bytes, this version reads queue files of {FILE} (mappedFileSizeConsumeQueue); move the folder consumequeue away and it is built anew",
                queue_dir.join(name(*base)).display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(os::data(&file, len).map(|(start, end)| (base + start, base + end)))
    };
    let mut first = None;
    for (index, base) in bases.iter().enumerate() {
        if let Some(found) = data(base)? {
            first = Some((index, found));
            break;
        }
    }
    let Some((index, (start, mut end))) = first else { return Ok(None) };
    for base in bases[index + 1..].iter().rev() {
        if let Some((_, last)) = data(base)? {
            end = last;
            break;
        }
    }
    Ok(Some((start, end)))
}
