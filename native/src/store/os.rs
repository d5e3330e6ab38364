//! What the standard library does not offer of the operating system's file calls.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Zeros are written in pieces of this size where the file system has no call for it. Bytes.
const PIECE: usize = 1 << 20;

/// Gives blocks to `len` bytes from `from` on, without changing what is written there. The range ends within the
/// file. Where the file system cannot, zeros are written, so what was ever written there must not matter.
pub fn allocate(file: &File, from: u64, len: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use nix::errno::Errno;
        use nix::fcntl::{FallocateFlags, fallocate};
        loop {
            match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, from as i64, len as i64) {
                Ok(()) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    write_zeros(file, from, len)
}

/// Makes `len` bytes from `from` on read as zeros. Their blocks may be given back.
pub fn zero(file: &File, from: u64, len: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use nix::errno::Errno;
        use nix::fcntl::{FallocateFlags, fallocate};
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        loop {
            match fallocate(file, flags, from as i64, len as i64) {
                Ok(()) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    write_zeros(file, from, len)
}

fn write_zeros(file: &File, from: u64, len: u64) -> io::Result<()> {
    let zeros = vec![0; PIECE.min(len as usize)];
    let mut done = 0;
    while done < len {
        let piece = (len - done).min(PIECE as u64);
        file.write_all_at(&zeros[..piece as usize], from + done)?;
        done += piece;
    }
    Ok(())
}

/// Where a file's data begins and ends, as far as the file system tells holes from data; all of it otherwise.
/// `None` when it is one hole.
pub fn data(file: &File, len: u64) -> Option<(u64, u64)> {
    #[cfg(target_os = "linux")]
    {
        use nix::errno::Errno;
        use nix::unistd::{Whence, lseek};
        let mut found: Option<(u64, u64)> = None;
        let mut at = 0;
        while at < len as i64 {
            match lseek(file, at, Whence::SeekData) {
                Ok(start) => {
                    let end = lseek(file, start, Whence::SeekHole).unwrap_or(len as i64);
                    found = Some((found.map_or(start as u64, |f| f.0), end as u64));
                    at = end.max(start + 1);
                }
                Err(Errno::ENXIO) => return found,
                Err(_) => return Some((0, len)),
            }
        }
        found
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = file;
        Some((0, len))
    }
}

/// Whether any of the bytes from `from` to `to` is not zero. Holes are not read.
pub fn any_data(file: &File, from: u64, to: u64) -> io::Result<bool> {
    let Some((start, end)) = data(file, to) else { return Ok(false) };
    let mut buffer = vec![0; 256 << 10];
    let (mut at, end) = (from.max(start), to.min(end));
    while at < end {
        let len = ((end - at) as usize).min(buffer.len());
        let read = file.read_at(&mut buffer[..len], at)?;
        if read == 0 {
            return Ok(false);
        }
        if buffer[..read].iter().any(|b| *b != 0) {
            return Ok(true);
        }
        at += read as u64;
    }
    Ok(false)
}

/// Fills `out` from `from` on; what lies beyond the file's end reads as zeros.
pub fn read_or_zeros(file: &File, out: &mut [u8], from: u64) -> io::Result<()> {
    let mut done = 0;
    while done < out.len() {
        match file.read_at(&mut out[done..], from + done as u64) {
            Ok(0) => {
                out[done..].fill(0);
                return Ok(());
            }
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes the first byte of `file` for this opening of it alone. `false` when someone else has it: another
/// process, a Java broker among them, or another opening in this one.
pub fn lock(file: &File) -> io::Result<bool> {
    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;
    let range = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 1,
        l_pid: 0,
    };
    // A lock of the opening, not of the process: it excludes Java's, which is of its process, all the same.
    #[cfg(target_os = "linux")]
    let ask = FcntlArg::F_OFD_SETLK(&range);
    #[cfg(not(target_os = "linux"))]
    let ask = FcntlArg::F_SETLK(&range);
    match fcntl(file, ask) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Flushes everything of the file system that holds `file`.
pub fn sync_all_files(file: &File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return nix::unistd::syncfs(file).map_err(Into::into);
    #[cfg(not(target_os = "linux"))]
    Err(io::Error::new(io::ErrorKind::Unsupported, format!("{file:?}: no syncfs")))
}
