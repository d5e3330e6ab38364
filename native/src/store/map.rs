//! A log segment mapped for reading: the only `unsafe` of the program.
//!
//! Writes go through the file and show up in the mapping, since both are the same pages. A mapping is never
//! written to, so a full disk cannot end the process through it (STO-1). What still can: another program that
//! shortens the file while this one runs, and a block that cannot be read any more when a page that was dropped
//! from memory is touched here. The first is what the folder's lock is for. Against the second, bytes that this
//! process has neither written nor checked are read through the file first (see `log::Segments::check`), and
//! sockets take leases by a system call, which reports it as an error.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::sync::Arc;

use memmap2::{Mmap, MmapOptions};

/// A whole file, mapped shared and for reading. Unmapped when the last lease on it is gone.
#[derive(Debug)]
pub struct Map(Mmap);

impl Map {
    /// Maps the first `len` bytes of `file`, which has at least so many.
    pub fn new(file: &File, len: usize) -> io::Result<Arc<Self>> {
        // SAFETY: a mapping of a file is sound as long as nobody shortens the file, and its bytes are only read
        // as what they are at that moment. Segments have their full length from the start and are never
        // shortened; the folder's lock keeps other brokers out. Bytes below the log's written mark, the only ones
        // that leases cover, do not change any more.
        let map = unsafe { MmapOptions::new().len(len).map(file)? };
        Ok(Arc::new(Self(map)))
    }
}

/// Counted bytes of a segment. Keeps the mapping alive.
#[derive(Clone, Debug)]
pub struct Lease {
    map: Arc<Map>,
    range: Range<usize>,
}

impl Lease {
    /// The bytes `range` of a mapping; `None` when it does not hold all of them.
    pub fn new(map: Arc<Map>, range: Range<usize>) -> Option<Self> {
        (range.start <= range.end && range.end <= map.0.len()).then_some(Self { map, range })
    }
}

impl Deref for Lease {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.map.0[self.range.clone()]
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
