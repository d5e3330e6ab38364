//! Opening a store: from what a medium holds to a log's end and queues that can be believed.
//!
//! A machine like the others: the driver asks [`Opening::step`] what is wanted, does it, and hands the result to
//! `handle_*`, until it is [`Step::Finished`]; then [`Opening::finish`]. Opening changes nothing by itself but the
//! queues' files, which can always be rebuilt, so it may be dropped at any step and begun again (STO-6).
//!
//! The order: the queues on the medium are believed up to the checkpoint's position, the log is scanned from there,
//! and every record pushed again. Without a whole checkpoint, or when its sum does not fit the queues that are
//! there, all of the log is scanned and all queues are rebuilt (STO-4).
//!
//! A record that is not whole means one of two things (STO-3). Above the durable mark it is a torn tail: the log
//! ends before it. Below the mark it is damage: nothing behind it is dropped, the range is named, and the next whole
//! record is searched. Where no mark is known, a later whole record decides. Start at [`Opening::step`].

mod check;
mod tails;
#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use self::check::{Seen, look};
use self::tails::Tail;
use super::checkpoint::{self, Checkpoint};
use super::queues::{MAX_QUEUES, Queues, Unit};
use super::{Missing, StoreError, UnitRun, is_topic};
use crate::ids::{LogPos, QueueOffset};
use crate::record::{Record, sys_flag};

/// Log bytes wanted at a time.
const WINDOW: usize = 1 << 20;
/// What is tried after a read of more has failed; a failed read of this much is skipped.
const SECTOR: usize = 4096;
/// Units that may gather in memory before they are saved.
const SAVE: usize = 64 << 10;

/// Queue offsets from here on are nonsense: their place in a file could not be counted in bytes.
const MAX_OFFSET: u64 = i64::MAX as u64 / 32;

/// What a medium holds, before anything of it is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Bytes of one log segment.
    pub segment: u64,
    /// From the first byte of the first segment to where nothing but zeros follows. Not an error when too long.
    pub log: Range<LogPos>,
    /// The checkpoint's bytes; of the previous one when the current is not whole.
    pub checkpoint: Option<Vec<u8>>,
    /// The queues that have files, in any order.
    pub queues: Vec<FoundQueue>,
    /// The last process that used the store said good-bye (Java: there is no file `abort`).
    pub clean: bool,
}

/// A queue that has files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundQueue {
    /// The topic.
    pub topic: String,
    /// The queue.
    pub queue_id: u32,
    /// Where units may stand: before and behind there are only zeros. Not an error when too wide.
    pub units: Range<QueueOffset>,
}

/// What the machine wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Load this and call [`Opening::handle_loaded`]. What was never written reads as zeros.
    Load(Missing),
    /// Write these units, need not flush, and call [`Opening::handle_saved`].
    Save(Vec<UnitRun>),
    /// All is known: call [`Opening::finish`].
    Finished,
}

/// How far the work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Log bytes that were scanned.
    pub scanned: u64,
    /// Log bytes that are there to be scanned, at most.
    pub total: u64,
    /// Queues that were looked at.
    pub queues: usize,
    /// Queues that are there.
    pub queues_total: usize,
}

/// A range of the log that holds no whole record although it was flushed. It stays where it is, and is never served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it starts.
    pub at: LogPos,
    /// Its length, bytes.
    pub len: u64,
}

/// Units of a queue's file that belong to no record: to be zeroed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// The topic.
    pub topic: String,
    /// The queue.
    pub queue_id: u32,
    /// Which.
    pub units: Range<QueueOffset>,
}

/// What opening met, to be shown to a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The last process said good-bye.
    pub clean: bool,
    /// Where the scan began.
    pub scanned_from: LogPos,
    /// Messages that the scan put into queues.
    pub messages: u64,
    /// All queues were rebuilt from the log.
    pub rebuilt: bool,
    /// A record was torn at the log's end and is cut off there.
    pub torn: bool,
    /// What was flushed and is not whole (STO-3).
    pub damage: Vec<Damage>,
    /// Whole records that no queue can take: a topic, queue or offset that no broker would write.
    pub strange: u64,
}

/// A store that can be used. Before new bytes are written the driver must zero `must_zero` and `stale` and flush
/// (STO-5), and then put `checkpoint`.
#[derive(Debug)]
pub struct Opened {
    /// Bytes of one log segment.
    pub segment: u64,
    /// The first position that is kept.
    pub first: LogPos,
    /// The log's end: where the next record goes.
    pub end: LogPos,
    /// The queues, complete up to `end`. Topics that only they know are to be created anew.
    pub queues: Queues,
    /// Bytes behind the end that could pass for records.
    pub must_zero: Option<Range<LogPos>>,
    /// Units behind the queues' ends that could pass for units.
    pub stale: Vec<Stale>,
    /// What is true once all of it is flushed.
    pub checkpoint: Checkpoint,
    /// For people.
    pub report: Report,
}

impl Opened {
    /// A store that holds nothing. With `on_disk` queues are written behind (see [`Queues::new`]).
    pub fn empty(segment: u64, on_disk: bool) -> Self {
        Self {
            segment,
            first: LogPos(0),
            end: LogPos(0),
            queues: Queues::new(on_disk),
            must_zero: None,
            stale: Vec::new(),
            checkpoint: Checkpoint::default(),
            report: Report { clean: true, ..Report::default() },
        }
    }
}

/// The store was written by a later version, with this format. It must be left as it is (STO-7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newer(pub u32);

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Tails(Tail),
    Log,
    Finished,
}

/// The machine.
#[derive(Debug)]
pub struct Opening {
    found: Found,
    checkpoint: Option<Checkpoint>,
    stage: Stage,
    /// Queue files are believed up to here.
    trust: LogPos,
    queues: Queues,
    /// For each found queue: one past the last unit that is not zero, as far as that was looked at.
    tops: Vec<QueueOffset>,
    /// Where the scan is, and how many bytes it wants there.
    pos: LogPos,
    want: usize,
    /// The scan met something that is not a record here, and searches for the next one.
    bad: Option<LogPos>,
    bad_is_blank: bool,
    /// A longer read has just failed.
    narrow: bool,
    /// Queue files were not looked at; their units are all suspect.
    rebuild: bool,
    last_stored: i64,
    report: Report,
}

impl Opening {
    /// Begins with what a medium holds.
    pub fn new(found: Found) -> Result<Self, Newer> {
        let checkpoint = match found.checkpoint.as_deref().map(Checkpoint::decode) {
            Some(checkpoint::Found::Whole(it)) => Some(it),
            Some(checkpoint::Found::Newer(version)) => return Err(Newer(version)),
            Some(checkpoint::Found::Unknown) | None => None,
        };
        let mut it = Self {
            trust: found.log.start,
            checkpoint,
            stage: Stage::Finished,
            queues: Queues::new(true),
            tops: Vec::new(),
            pos: found.log.start,
            want: WINDOW,
            bad: None,
            bad_is_blank: true,
            narrow: false,
            rebuild: false,
            last_stored: checkpoint.map_or(0, |c| c.physic),
            report: Report { clean: found.clean, ..Report::default() },
            found,
        };
        match checkpoint {
            Some(checkpoint) => {
                it.trust = checkpoint.queues.max(it.found.log.start);
                it.start_tails(false);
            }
            None => it.rebuild(),
        }
        Ok(it)
    }

    /// What is wanted next. Each step is answered before the next is asked for.
    pub fn step(&mut self) -> Step {
        match &self.stage {
            Stage::Tails(tail) => Step::Load(tail.wanted(&self.found)),
            Stage::Finished | Stage::Log if self.queues.unsaved() >= SAVE || self.last_save() => {
                Step::Save(self.queues.poll_save())
            }
            Stage::Log => {
                let len = (self.want as u64).min(self.segment_rest()) as usize;
                Step::Load(Missing::Log { at: self.pos, len })
            }
            Stage::Finished => Step::Finished,
        }
    }

    fn last_save(&self) -> bool {
        self.stage == Stage::Finished && self.queues.unsaved() > 0
    }

    /// What was loaded, or why not.
    pub fn handle_loaded(&mut self, loaded: Result<&[u8], StoreError>) {
        match (&self.stage, loaded) {
            (Stage::Tails(_), Ok(bytes)) => self.tail_loaded(bytes),
            // Files that cannot be read are not believed: the log says it all again.
            (Stage::Tails(_), Err(_)) => self.rebuild(),
            (Stage::Log, Ok(bytes)) => {
                self.scan(bytes);
                self.log_done();
            }
            (Stage::Log, Err(_)) => {
                self.unreadable();
                self.log_done();
            }
            (Stage::Finished, _) => {}
        }
    }

    /// The units are written.
    pub fn handle_saved(&mut self) {
        self.queues.saved();
    }

    /// How far the work is.
    pub fn progress(&self) -> Progress {
        let looked_at = match &self.stage {
            Stage::Tails(tail) => tail.queue,
            _ => self.found.queues.len(),
        };
        Progress {
            scanned: self.pos.0 - self.report.scanned_from.0.min(self.pos.0),
            total: self.found.log.end.0.max(self.pos.0) - self.report.scanned_from.0.min(self.pos.0),
            queues: looked_at,
            queues_total: self.found.queues.len(),
        }
    }

    /// The result, once [`Step::Finished`] was given.
    pub fn finish(mut self) -> Opened {
        let end = self.pos;
        let stale = self.stale().collect();
        let stored = self.last_stored;
        Opened {
            segment: self.found.segment,
            first: self.found.log.start,
            end,
            must_zero: (self.found.log.end > end).then_some(end..self.found.log.end),
            stale,
            checkpoint: Checkpoint {
                physic: stored,
                logics: stored,
                flushed: end,
                queues: end,
                units: self.queues.total(),
            },
            report: core::mem::take(&mut self.report),
            queues: self.queues,
        }
    }

    /// Nothing of the queues is believed: all of the log is scanned.
    fn rebuild(&mut self) {
        self.queues = Queues::new(true);
        self.trust = self.found.log.start;
        self.rebuild = true;
        self.report.rebuilt = self.found.log.start < self.found.log.end;
        // Only of messages that retention has removed do the files know more than the log.
        if self.found.log.start > LogPos(0) && !matches!(&self.stage, Stage::Tails(tail) if tail.removed_only) {
            self.start_tails(true);
        } else {
            self.start_log();
        }
    }

    fn start_log(&mut self) {
        self.stage = Stage::Log;
        (self.pos, self.want) = (self.trust, WINDOW);
        self.report.scanned_from = self.trust;
        self.log_done();
    }

    /// Everything below is flushed; unknown without a whole checkpoint.
    fn mark(&self) -> Option<LogPos> {
        self.checkpoint.map(|c| c.flushed)
    }

    fn segment_rest(&self) -> u64 {
        self.found.segment - self.pos.0 % self.found.segment
    }

    /// Where a search for the next whole record gives up.
    fn search_limit(&self) -> LogPos {
        self.mark().unwrap_or(self.found.log.end)
    }

    /// Ends the scan when it is at the end, and a search when it is at its limit.
    fn log_done(&mut self) {
        if let Some(bad) = self.bad
            && self.pos >= self.search_limit()
        {
            self.bad = None;
            if let Some(mark) = self.mark() {
                // A record begins at the mark, whatever lies before it.
                self.damaged(bad, mark);
                (self.pos, self.want) = (mark, WINDOW);
            } else {
                self.torn(bad);
            }
        }
        if self.stage == Stage::Log && self.bad.is_none() && self.pos >= self.found.log.end {
            self.lost_end();
            self.stage = Stage::Finished;
        }
    }

    /// The medium ends before the mark. Positions are not given out twice (ORD-1).
    fn lost_end(&mut self) {
        let Some(mark) = self.mark().filter(|mark| *mark > self.found.log.end) else { return };
        // Right behind a filler, the next segment need not be there.
        let segment = self.found.segment;
        let last_is_there = mark.0 % segment == 0 && self.found.log.end.0 + segment > mark.0;
        if !last_is_there {
            self.damaged(self.pos.min(self.found.log.end), mark);
        }
        self.pos = self.pos.max(mark);
    }

    fn torn(&mut self, at: LogPos) {
        self.report.torn = !self.bad_is_blank;
        self.pos = at;
        self.stage = Stage::Finished;
    }

    fn damaged(&mut self, from: LogPos, to: LogPos) {
        if to > from {
            self.report.damage.push(Damage { at: from, len: to.0 - from.0 });
        }
    }

    /// Walks over the bytes at `pos`.
    fn scan(&mut self, bytes: &[u8]) {
        let (wanted, narrow) = (core::mem::replace(&mut self.want, WINDOW), core::mem::take(&mut self.narrow));
        let mut i = 0;
        while i < bytes.len() && self.stage == Stage::Log {
            if self.bad.is_some() && self.pos >= self.search_limit() {
                return;
            }
            let rest = self.segment_rest();
            match look(&bytes[i..], self.pos, rest) {
                Seen::Record(record) => {
                    if let Some(bad) = self.bad.take() {
                        self.damaged(bad, self.pos);
                    }
                    self.dispatch(&record);
                    i += record.size();
                    self.pos = self.pos.plus(record.size() as u64);
                }
                Seen::Filler if self.bad.is_none() => {
                    self.pos = self.pos.plus(rest);
                    return;
                }
                Seen::Short(need) if i > 0 || (need > wanted && !narrow) => {
                    self.want = need.max(WINDOW);
                    return;
                }
                _ => i += self.not_a_record(&bytes[i..]),
            }
        }
    }

    /// What stands at `pos` is no record: the log's end, or the start of a search. Gives how far to step.
    fn not_a_record(&mut self, bytes: &[u8]) -> usize {
        if self.bad.is_none() {
            self.bad_is_blank = bytes.iter().take(8).all(|b| *b == 0);
            if self.mark().is_some_and(|mark| self.pos >= mark) {
                self.torn(self.pos);
                return 0;
            }
            self.bad = Some(self.pos);
        }
        // A record has its magic 4 bytes behind its start, and its size, below 16 MiB, begins with a zero.
        let limit = self.search_limit().0.saturating_sub(self.pos.0).max(1) as usize;
        let next = (1..bytes.len()).find(|i| bytes[*i] == 0 && bytes.get(i + 4).is_none_or(|magic| *magic == 0xDA));
        let step = next.unwrap_or(bytes.len()).min(limit);
        self.pos = self.pos.plus(step as u64);
        step
    }

    /// The bytes at `pos` cannot be read.
    fn unreadable(&mut self) {
        if self.want > SECTOR {
            (self.want, self.narrow) = (SECTOR, true);
            return;
        }
        if self.bad.is_none() {
            self.bad_is_blank = false;
            if self.mark().is_some_and(|mark| self.pos >= mark) {
                self.torn(self.pos);
                return;
            }
            self.bad = Some(self.pos);
        }
        self.pos = self.pos.plus((SECTOR as u64).min(self.segment_rest()));
    }

    fn dispatch(&mut self, record: &Record<'_>) {
        self.last_stored = self.last_stored.max(record.store.0);
        // These take no queue offset.
        let kind = record.sys_flag & sys_flag::TRANSACTION;
        if kind == sys_flag::TRANSACTION_PREPARED || kind == sys_flag::TRANSACTION_ROLLBACK {
            return;
        }
        let offset = u64::try_from(record.queue_offset).ok().filter(|offset| *offset < MAX_OFFSET);
        let queue_id = u32::try_from(record.queue_id).ok().filter(|id| *id < MAX_QUEUES);
        let batch = record.sys_flag & sys_flag::INNER_BATCH != 0;
        let (Some(queue_id), Some(offset), true) = (queue_id, offset, !batch && is_topic(record.topic)) else {
            self.report.strange += 1;
            return;
        };
        let topic = self.queues.topic(record.topic);
        let unit = Unit { at: self.pos, size: record.size() as u32, tags: record.tag_code() };
        if self.queues.push(topic, queue_id, offset, unit) {
            self.report.messages += 1;
        } else if offset >= self.queues.bounds(topic, queue_id).max {
            self.report.strange += 1;
        }
    }
}
