//! Small files that are replaced whole: `config/*.json` and `checkpoint`.
//!
//! A new version is written beside, flushed, and takes the name; the version before keeps a name too (`.bak`, as
//! Java has it). At no moment is there neither (DUR-6). Start at [`put`].

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use skylark_core::store::Table;

use super::log::sync_dir;

/// Where a table's file is, under the store's folder.
pub fn path(dir: &Path, table: Table) -> PathBuf {
    dir.join(match table {
        Table::Topics => "config/topics.json",
        Table::ConsumerOffsets => "config/consumerOffset.json",
        Table::SubscriptionGroups => "config/subscriptionGroup.json",
        Table::Checkpoint => "checkpoint",
    })
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Replaces a table's file.
pub fn put(dir: &Path, table: Table, bytes: &[u8]) -> io::Result<()> {
    let path = path(dir, table);
    let (new, old) = (beside(&path, ".tmp"), beside(&path, ".bak"));
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    match fs::rename(&path, &old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(&new, &path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// The versions of a table that are there, the newest first. An empty file is none.
pub fn versions(dir: &Path, table: Table) -> io::Result<Vec<Vec<u8>>> {
    let path = path(dir, table);
    let mut found = Vec::new();
    for path in [path.clone(), beside(&path, ".bak")] {
        match fs::read(&path) {
            Ok(bytes) if bytes.is_empty() => {}
            Ok(bytes) => found.push(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
