//! A folder for one test, removed at its end, kept when the test fails so that the log and the server's words can be read.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A new empty folder.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one in the system's folder for temporary files.
    #[expect(clippy::new_without_default, reason = "it has an effect on the disk")]
    pub fn new() -> Self {
        let name = format!("skylark-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path inside it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Bytes that the files below really occupy (holes do not count).
    pub fn disk_bytes(&self) -> u64 {
        fn of(path: &Path) -> u64 {
            use std::os::unix::fs::MetadataExt;
            let Ok(meta) = path.symlink_metadata() else { return 0 };
            let own = meta.blocks() * 512;
            if !meta.is_dir() {
                return own;
            }
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            own + entries.map(|entry| of(&entry.path())).sum::<u64>()
        }
        of(&self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept {}", self.0.display());
        } else {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }
}
