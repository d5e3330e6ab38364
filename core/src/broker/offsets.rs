//! How far each group has consumed each queue. The last commit wins, a lower one too (remoting.md 3.7); who commits
//! sees to it that none passes the queue's end (DEL-4).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::wire::body::OffsetTable;
use crate::wire::body::tables::GroupOffsets;
use crate::wire::request::DataVersion;

/// Progress of one group in one topic: queue id to the next offset to consume.
pub type Progress = BTreeMap<u32, i64>;

/// Progress of all groups.
#[derive(Debug, Default)]
pub struct Offsets {
    table: BTreeMap<String, BTreeMap<String, Progress>>,
    dirty: bool,
}

impl Offsets {
    /// The next offset that the group wants, if it ever committed one.
    pub fn get(&self, group: &str, topic: &str, queue_id: u32) -> Option<i64> {
        self.table.get(group)?.get(topic)?.get(&queue_id).copied()
    }

    /// Stores a commit.
    pub fn commit(&mut self, group: &str, topic: &str, queue_id: u32, offset: i64) {
        let progress = match self.table.get_mut(group).and_then(|topics| topics.get_mut(topic)) {
            Some(progress) => progress,
            None => self.table.entry(group.into()).or_default().entry(topic.into()).or_default(),
        };
        self.dirty |= progress.insert(queue_id, offset) != Some(offset);
    }

    /// The topics that a group has progress in.
    pub fn topics(&self, group: &str) -> Vec<&str> {
        self.table.get(group).into_iter().flat_map(BTreeMap::keys).map(String::as_str).collect()
    }

    /// The table as the file carries it.
    pub fn table(&self, version: DataVersion) -> OffsetTable {
        let mut entries = Vec::new();
        for (group, topics) in &self.table {
            for (topic, progress) in topics {
                let queues = progress.iter().map(|(id, offset)| (*id as i32, *offset)).collect();
                entries.push(GroupOffsets { topic: topic.clone(), group: group.clone(), queues });
            }
        }
        OffsetTable { version, entries }
    }

    /// The table as it was saved. Negative queue ids and offsets are no progress.
    pub fn restore(table: OffsetTable) -> Self {
        let mut offsets = Self::default();
        for entry in table.entries {
            for (id, offset) in entry.queues {
                if let (Ok(id), 0..) = (u32::try_from(id), offset) {
                    offsets.commit(&entry.group, &entry.topic, id, offset);
                }
            }
        }
        offsets.dirty = false;
        offsets
    }

    /// Whether something changed since the mark was last taken.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Takes the mark that something changed since this was last asked.
    pub fn take_dirty(&mut self) -> bool {
        core::mem::take(&mut self.dirty)
    }

    /// Sets the mark again: what was taken did not reach the medium.
    pub fn mark_dirty(&mut self) {
        self.dirty = true;
    }

    /// Progress never passes the end of its queue: after a crash that cut the log, it is clamped (DEL-4).
    pub fn clamp(&mut self, max: impl Fn(&str, u32) -> i64) {
        for topics in self.table.values_mut() {
            for (topic, progress) in topics {
                for (queue_id, offset) in progress {
                    let end = max(topic, *queue_id);
                    if *offset > end {
                        *offset = end;
                        self.dirty = true;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_commit_wins_and_only_changes_are_saved() {
        let mut offsets = Offsets::default();
        offsets.commit("G", "T", 1, 9);
        assert!(offsets.take_dirty());
        offsets.commit("G", "T", 1, 9);
        assert!(!offsets.take_dirty());
        offsets.commit("G", "T", 1, 4);
        assert_eq!(offsets.get("G", "T", 1), Some(4));
        assert_eq!(offsets.get("G", "T", 2), None);
    }

    #[test]
    fn progress_beyond_the_log_is_cut_back() {
        // DEL-4
        let mut offsets = Offsets::default();
        offsets.commit("G", "T", 0, 9);
        offsets.take_dirty();
        offsets.clamp(|_, _| 5);
        assert_eq!(offsets.get("G", "T", 0), Some(5));
        assert!(offsets.take_dirty());
    }
}
