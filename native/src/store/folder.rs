//! The store's folder: whether it may be used, by whom it is used, and how its last use ended.
//!
//! Nothing is changed before all of this is known: a folder in use, or with something in it that this version does
//! not know, stays as it is (STO-7). Start at [`Folder::take`].

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use skylark_core::store::checkpoint::{self, Checkpoint};

use super::log::{base, name, sync_dir};
use super::os;

/// Why a store cannot be opened: one sentence that says what to do.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it.
    InUse {
        /// The folder.
        dir: PathBuf,
        /// The process, when it is known.
        pid: Option<u32>,
    },
    /// The path names something that is no folder.
    NoFolder(PathBuf),
    /// It holds something that this version does not know.
    Foreign {
        /// The file or folder.
        path: PathBuf,
        /// What it is, and what to do.
        what: String,
    },
    /// The store was made with other segments than were asked for.
    SegmentSize {
        /// The folder.
        dir: PathBuf,
        /// What it has, bytes.
        has: u64,
        /// What was asked for, bytes.
        asked: u64,
    },
    /// The system refused something.
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Its answer.
        error: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { dir, pid } => {
                write!(f, "the store in {} is in use by ", dir.display())?;
                match pid {
                    Some(pid) => write!(f, "process {pid}: stop it")?,
                    None => write!(f, "another process: stop that one")?,
                }
                write!(f, ", or choose another folder with --dir")
            }
            Self::NoFolder(path) => {
                write!(f, "{} is a file, and the store needs a folder: choose another one with --dir", path.display())
            }
            Self::Foreign { path, what } => write!(f, "{}: {what}; nothing was changed", path.display()),
            Self::SegmentSize { dir, has, asked } => write!(
                f,
                "the store in {} has log segments of {has} bytes, not {asked}: leave --segment-size out, or choose another folder with --dir",
                dir.display()
            ),
            Self::Io { doing, path, error } => {
                let what = match error.kind() {
                    io::ErrorKind::PermissionDenied => {
                        "permission denied; give this user the right to write there, or choose another folder with --dir"
                    }
                    io::ErrorKind::ReadOnlyFilesystem => {
                        "the file system is read-only; choose another folder with --dir"
                    }
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        "there is no space; free some, or choose another folder with --dir"
                    }
                    _ => {
                        let how = "put that right, or choose another folder with --dir";
                        return write!(f, "cannot {doing} {}: {error}; {how}", path.display());
                    }
                };
                write!(f, "cannot {doing} {}: {what}", path.display())
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Wraps what the system said.
pub fn io<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> OpenError + 'a {
    move |error| OpenError::Io { doing, path: path.to_owned(), error }
}

/// A folder that this process has to itself, for as long as this lives.
#[derive(Debug)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// The last use ended in good order.
    pub clean: bool,
    _lock: File,
}

impl Folder {
    /// Takes the folder, which is made when it is not there. `asked` is the size of log segments that somebody
    /// wants; gives the size that it is, and the positions of the log's files.
    pub fn take(path: &Path, asked: Option<u64>, default: u64) -> Result<(Self, u64, Vec<u64>), OpenError> {
        if path.exists() && !path.is_dir() {
            return Err(OpenError::NoFolder(path.to_owned()));
        }
        refuse_foreign(path)?;
        if !path.exists() {
            fs::create_dir_all(path).map_err(io("make the folder", path))?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            sync_dir(parent).map_err(io("flush", parent))?;
        }
        let lock_path = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(io("write", &lock_path))?;
        let abort = path.join("abort");
        if !os::lock(&lock).map_err(io("lock", &lock_path))? {
            let pid = fs::read_to_string(&abort).ok().and_then(|text| text.trim().parse().ok());
            return Err(OpenError::InUse { dir: path.to_owned(), pid });
        }
        let (size, bases) = segments(path, asked, default)?;
        if lock.metadata().is_ok_and(|m| m.len() == 0) {
            lock.write_all(b"lock").map_err(io("write", &lock_path))?;
        }
        let folder = Self { clean: !abort.exists(), path: path.to_owned(), _lock: lock };
        for name in ["commitlog", "consumequeue", "config"] {
            let dir = path.join(name);
            fs::create_dir_all(&dir).map_err(io("make the folder", &dir))?;
        }
        fs::write(&abort, std::process::id().to_string()).map_err(io("write", &abort))?;
        sync_dir(path).map_err(io("flush", path))?;
        Ok((folder, size, bases))
    }

    /// Says good-bye: everything is where it belongs.
    pub fn leave(&self) -> io::Result<()> {
        fs::remove_file(self.path.join("abort"))?;
        sync_dir(&self.path)
    }
}

/// Things that other kinds and later versions of brokers keep in such a folder, and that must not be ignored.
fn refuse_foreign(dir: &Path) -> Result<(), OpenError> {
    let foreign = |path: PathBuf, what: &str| Err(OpenError::Foreign { path, what: what.to_owned() });
    for (name, what) in [
        ("batchconsumequeue", "this store has batch queues (queue.type=BatchCQ), which this version cannot read"),
        (
            "consumequeue_ext",
            "this store has extended queue units (enableConsumeQueueExt), which this version cannot read",
        ),
        ("compaction", "this store has compacted topics (cleanup.policy=COMPACTION), which this version cannot read"),
    ] {
        let path = dir.join(name);
        if fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some()) {
            return foreign(path, what);
        }
    }
    if let Ok(bytes) = fs::read(dir.join("checkpoint"))
        && let checkpoint::Found::Newer(version) = Checkpoint::decode(&bytes)
    {
        return Err(newer(dir, version));
    }
    let rocks = dir.join("consumequeue/CURRENT");
    if rocks.exists() {
        return foreign(
            rocks,
            "this store keeps its queues in RocksDB (storeType=defaultRocksDB), which this version cannot read",
        );
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with("dledger-")) {
            return foreign(entry.path(), "this store was written in DLedger mode, which this version cannot read");
        }
    }
    Ok(())
}

/// A store of a later version.
pub fn newer(dir: &Path, version: u32) -> OpenError {
    let what = format!(
        "written by a later Skylark, in store format {version}: use that version, or choose another folder with --dir"
    );
    OpenError::Foreign { path: dir.join("checkpoint"), what }
}

/// The log's files: their size and positions.
fn segments(dir: &Path, asked: Option<u64>, default: u64) -> Result<(u64, Vec<u64>), OpenError> {
    let log = dir.join("commitlog");
    let mut found = Vec::new();
    match fs::read_dir(&log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io("read", &log)(error)),
        Ok(entries) => {
            for entry in entries {
                let entry = entry.map_err(io("read", &log))?;
                let metadata = entry.metadata().map_err(io("read", &log))?;
                if !metadata.is_file() {
                    continue;
                }
                let Some(base) = entry.file_name().to_str().and_then(base) else {
                    let what =
                        "only log segments, named by 20 digits, may stand in this folder: move it away".to_owned();
                    return Err(OpenError::Foreign { path: entry.path(), what });
                };
                found.push((base, metadata.len()));
            }
        }
    }
    found.sort_unstable();
    // A file that was just being made.
    if let Some((base, _)) = found.pop_if(|(_, len)| *len == 0) {
        let path = log.join(name(base));
        fs::remove_file(&path).map_err(io("remove the empty file", &path))?;
    }
    let Some((_, size)) = found.first().copied() else { return Ok((asked.unwrap_or(default), Vec::new())) };
    if let Some((base, len)) = found.iter().find(|(base, len)| *len != size || base % size != 0) {
        let what =
            format!("a log segment of {len} bytes among others of {size}: copy the file again from where it came");
        return Err(OpenError::Foreign { path: log.join(name(*base)), what });
    }
    if let Some(asked) = asked.filter(|asked| *asked != size) {
        return Err(OpenError::SegmentSize { dir: dir.to_owned(), has: size, asked });
    }
    Ok((size, found.into_iter().map(|(base, _)| base).collect()))
}
